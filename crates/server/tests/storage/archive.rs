//! The archive of servers that serve, are killed and come back, and what is restored of it (`docs/backup.md`, "To any moment").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::faults::Failing;
use crate::support::group::{member, server as home, session, wait_until, wait_until_active};
use crate::support::requests::{all, durable, firsts, take, wait_for};
use crate::support::shell::{Said, Shell};
use crate::support::{Binary, Server};
use rustix::process::Signal;
use seaway_bench::stan::Session;
use serde_json::Value;

/// A message of a store: its time and its body.
type Stored = BTreeMap<(String, u64), (String, String)>;

/// Directories of a test: where the store is, its archive, and what is restored.
struct Places {
    directory: tempfile::TempDir,
    restored: usize,
}

impl Places {
    fn new() -> Places {
        Places {
            directory: tempfile::tempdir().unwrap(),
            restored: 0,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn archive(&self) -> String {
        self.at("archive").to_str().unwrap().to_owned()
    }

    fn server(&self, more: &[&str]) -> Server {
        Server::with_files(&self.at("store"), &[&["-archive", &self.archive()], more].concat())
    }

    /// What was there at a moment.
    fn restore(&mut self, at: &str) -> (PathBuf, Value) {
        let (to, said) = self.try_restore(&["--at", at]);
        let json = said.expect(0).json();
        (to, json[0].clone())
    }

    fn try_restore(&mut self, more: &[&str]) -> (PathBuf, Said) {
        self.restored += 1;
        let to = self.at(&format!("restored-{}", self.restored));
        let archive = self.archive();
        let words = ["restore", "--from", &archive, "--to", to.to_str().unwrap(), "--json"];
        let said = Shell::at("").run(&[&words[..], more].concat());
        (to, said)
    }

    /// The stretches of the archive.
    fn stretches(&self) -> Vec<Value> {
        let said = Shell::at("").run(&["archive", "list", &self.archive(), "--json"]);
        said.expect(0).json()
    }

    /// Waits until the archive has a number of links.
    fn wait_for_links(&self, links: usize) {
        wait_until("something is archived", || links_in(&self.at("archive")) >= links);
    }
}

fn links_in(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".link")).count()
}

/// The messages of a store at rest.
fn stored(directory: &Path) -> Stored {
    let lines = Shell::at("").run(&["export", ">", "--dir", directory.to_str().unwrap()]);
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let lines = lines.expect(0).json();
    let message = |line: &Value| {
        let key = (text(line, "channel"), line["sequence"].as_u64().unwrap());
        (key, (text(line, "timestamp"), text(line, "payload")))
    };
    lines.iter().map(message).collect()
}

fn publish(session: &mut Session, from: usize, count: usize) {
    for number in from..from + count {
        let channel = ["orders", "events"][number % 2];
        session.publish(channel, format!("{number}").as_bytes()).unwrap();
    }
}

fn timestamp(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn stop(server: Server) {
    let (status, log) = server.signal_and_wait(Signal::INT);
    assert!(status.success(), "{log:#?}");
}

/// What of a store had been published by a moment.
fn until(all: &Stored, moment: jiff::Timestamp) -> Stored {
    let published = all.iter().filter(|(_, (time, _))| timestamp(time) <= moment);
    published.map(|(key, message)| (key.clone(), message.clone())).collect()
}

/// Published over several lives, which are killed: what is restored is what had been published by that moment, to the message; a client reads
/// it, and its sequences go on where the command says.
#[test]
fn every_message_is_a_moment_also_over_kills() {
    let mut places = Places::new();
    for life in 0..3 {
        let server = places.server(&[]);
        publish(&mut server.session("publisher"), life * 30, 30);
        server.kill();
    }
    let server = places.server(&[]);
    publish(&mut server.session("publisher"), 90, 11);
    stop(server);
    let model = stored(&places.at("store"));
    assert_eq!(model.len(), 101);
    assert_eq!(places.stretches().len(), 1, "{:?}", places.stretches());
    let mut times: Vec<jiff::Timestamp> = model.values().map(|(time, _)| timestamp(time)).collect();
    times.sort_unstable();
    for number in [1, 29, 30, 31, 59, 75, 89, 90, 100] {
        let at = times[number];
        let before = at - Duration::from_nanos(1);
        for (moment, count) in [(at, number + 1), (before, number)] {
            let (directory, said) = places.restore(&moment.to_string());
            let expected = until(&model, moment);
            assert_eq!(expected.len(), count, "times of messages differ");
            assert_eq!(stored(&directory), expected, "{moment}");
            for channel in said["channels"].as_array().unwrap() {
                let name = channel["name"].as_str().unwrap();
                let last = expected
                    .keys()
                    .filter(|(of, _)| of == name)
                    .map(|(_, sequence)| *sequence)
                    .max();
                assert_eq!(channel["next"].as_u64(), Some(last.unwrap_or(0) + 1), "{said}");
            }
        }
    }
    let (directory, _) = places.restore(&times[74].to_string());
    let server = Server::with_files(&directory, &[]);
    let mut reader = server.session("reader");
    reader.subscribe(all("orders")).unwrap();
    let count = until(&model, times[74])
        .keys()
        .filter(|(channel, _)| channel == "orders")
        .count() as u64;
    assert_eq!(take(&mut reader, count as usize), firsts(1..=count));
    server.session("other").publish("orders", b"again").unwrap();
    assert_eq!(take(&mut reader, 1), firsts(count + 1..=count + 1));
    // Nothing of it can be had when nobody knows whether anything happened.
    let (_, said) = places.try_restore(&["--at", "2100-01-01T00:00:00Z"]);
    assert!(said.expect(1).stderr.contains("the archive reaches up to"));
    let (_, said) = places.try_restore(&["--at", "2020-01-01T00:00:00Z"]);
    assert!(said.expect(1).stderr.contains("the archive reaches back to"));
    let verified = Shell::at("").run(&["verify", &places.archive()]).expect(0);
    assert!(verified.stdout.contains("is whole"), "{verified:?}");
}

/// What was purged, acknowledged or deleted after a moment is there as it was then, and what was before it is not.
#[test]
fn purges_and_acknowledgements_are_as_of_the_moment() {
    let mut places = Places::new();
    let server = places.server(&[]);
    let mut client = server.session("client");
    let subscribed = client.subscribe(durable(all("orders"))).unwrap();
    for number in 0..10 {
        client.publish("orders", format!("{number}").as_bytes()).unwrap();
    }
    assert_eq!(take(&mut client, 10), firsts(1..=10));
    for sequence in 1..=4 {
        client.ack(&subscribed, sequence);
    }
    // Whatever has no time of its own counts as of about the second before it: the next message is later than that.
    std::thread::sleep(Duration::from_millis(1_200));
    client.publish("events", b"before the purge").unwrap();
    std::thread::sleep(Duration::from_millis(1_200));
    let shell = Shell::at(&server.address);
    shell.run(&["channel", "purge", "orders", "-y"]).expect(0);
    client.publish("events", b"after the purge").unwrap();
    stop(server);
    let model = stored(&places.at("store"));
    assert_eq!(model.len(), 2, "{model:?}");
    let times: Vec<String> = model.values().map(|(time, _)| time.clone()).collect();
    let (before, _) = places.restore(&times[0]);
    assert_eq!(stored(&before).len(), 11);
    let (after, _) = places.restore(&times[1]);
    assert_eq!(stored(&after), model);
    // The durable has what it had not acknowledged by then.
    let server = Server::with_files(&before, &[]);
    let mut client = server.session("client");
    client.subscribe(durable(all("orders"))).unwrap();
    let sequences: Vec<u64> = take(&mut client, 6).into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(sequences, (5..=10).collect::<Vec<_>>());
}

/// A store that was restored is archived to the same directory: both ways that it went can be restored to.
#[test]
fn a_restored_store_is_archived_beside_what_it_was() {
    let mut places = Places::new();
    let server = places.server(&[]);
    publish(&mut server.session("publisher"), 0, 20);
    stop(server);
    let first = stored(&places.at("store"));
    let mut times: Vec<String> = first.values().map(|(time, _)| time.clone()).collect();
    times.sort_unstable();
    let (directory, _) = places.restore(&times[9]);
    std::fs::remove_dir_all(places.at("store")).unwrap();
    std::fs::rename(directory, places.at("store")).unwrap();
    for run in 1..=3 {
        let server = places.server(&[]);
        publish(&mut server.session("publisher"), 100 * run, 10);
        stop(server);
    }
    let second = stored(&places.at("store"));
    let stretches = places.stretches();
    assert_eq!((second.len(), stretches.len()), (40, 2), "{stretches:?}");
    // Without a word of which of both nothing is restored.
    let (_, said) = places.try_restore(&["--at", &times[19]]);
    let said = said.expect(1).stderr;
    let name = |of: &dyn Fn(&&Value) -> bool| {
        let stretch = stretches.iter().find(of).unwrap();
        let short = |key: &str| {
            stretch[key]
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(8)
                .collect::<String>()
        };
        format!("{}.{}", short("store"), short("life"))
    };
    let (old, new) = (
        name(&|stretch| stretch["life"].is_null()),
        name(&|stretch| stretch["life"].is_string()),
    );
    assert!(said.contains(&old) && said.contains(&new), "{said}");
    let restored_as_of = |places: &mut Places, store: &str, at: &str| {
        let (directory, said) = places.try_restore(&["--store", store, "--at", at]);
        said.expect(0);
        stored(&directory)
    };
    assert_eq!(restored_as_of(&mut places, &old, &times[19]), first);
    let newest = second.values().map(|(time, _)| time.clone()).max().unwrap();
    assert_eq!(restored_as_of(&mut places, &new, &newest), second);
    // Of each way the end stays, and these are short.
    let pruned = Shell::at("").run(&["archive", "prune", &places.archive(), "--before", &newest, "--json"]);
    assert_eq!(pruned.expect(0).json()[0]["links"].as_u64(), Some(0));
    assert_eq!(restored_as_of(&mut places, &old, &times[19]), first);
    assert_eq!(restored_as_of(&mut places, &new, &newest), second);
    let (_, said) = places.try_restore(&["--store", &new, "--at", &times[12]]);
    assert!(said.expect(1).stderr.contains("reaches back to"));
}

/// An archive that takes nothing ends no server: it says so until the archive takes it, and nothing is missing then.
#[test]
fn a_failing_archive_is_told_of_and_tried_again() {
    let mut places = Places::new();
    // A file where the directory should be.
    std::fs::write(places.at("archive"), b"").unwrap();
    let mut server = places.server(&[]);
    let mut publisher = server.session("publisher");
    publish(&mut publisher, 0, 10);
    assert!(server.wait_for_line("Nothing is archived to").is_some());
    wait_for(&server, "/healthz", "nothing was archived for");
    assert_eq!(server.get("/healthz/ready").0, 200, "it serves");
    wait_for(&server, "/metrics", "seaway_archive_up 0");
    std::fs::remove_file(places.at("archive")).unwrap();
    std::fs::create_dir(places.at("archive")).unwrap();
    assert!(server.wait_for_line("Archiving goes on").is_some());
    wait_for(&server, "/metrics", "seaway_archive_up 1");
    assert!(
        !server.get("/healthz").1.contains("archived"),
        "{}",
        server.get("/healthz").1
    );
    // The directory goes, and comes back.
    std::fs::rename(places.at("archive"), places.at("elsewhere")).unwrap();
    publish(&mut publisher, 10, 10);
    server.log.clear();
    assert!(server.wait_for_line("Nothing is archived to").is_some());
    std::fs::rename(places.at("elsewhere"), places.at("archive")).unwrap();
    assert!(server.wait_for_line("Archiving goes on").is_some());
    stop(server);
    let model = stored(&places.at("store"));
    assert_eq!((model.len(), places.stretches().len()), (20, 1));
    let (restored, _) = places.try_restore(&[]);
    assert_eq!(stored(&restored), model);
}

/// Another directory in the place of the archive, as when a file system is mounted over it: that is said, and what is archived there can
/// be restored from there alone.
#[test]
fn another_directory_in_its_place_is_told_of_and_begun_anew() {
    let mut places = Places::new();
    let mut server = places.server(&[]);
    let mut publisher = server.session("publisher");
    publish(&mut publisher, 0, 10);
    places.wait_for_links(1);
    std::fs::rename(places.at("archive"), places.at("hidden")).unwrap();
    std::fs::create_dir(places.at("archive")).unwrap();
    publish(&mut publisher, 10, 10);
    let told = server.wait_for_line("is another directory than before");
    assert!(told.is_some_and(|line| line.contains("Nothing is archived to")));
    assert!(server.wait_for_line("has a gap").is_some());
    wait_for(&server, "/metrics", "seaway_archive_up 1");
    wait_for(&server, "/metrics", "seaway_archive_gaps_total 1");
    publish(&mut publisher, 20, 10);
    stop(server);
    let model = stored(&places.at("store"));
    let (restored, _) = places.try_restore(&[]);
    assert_eq!((stored(&restored), model.len()), (model, 30));
}

/// Errors of the archive's disk; the store's goes on.
#[test]
fn a_disk_that_fails_costs_the_archive_nothing_once_it_is_well() {
    let mut places = Places::new();
    std::fs::create_dir(places.at("archive")).unwrap();
    let mut server = places.server(&[]);
    let mut publisher = server.session("publisher");
    publish(&mut publisher, 0, 10);
    places.wait_for_links(1);
    let Some(failing) = Failing::begin_in(&server, "fsync:error=EIO", &[places.at("archive")]) else {
        return;
    };
    publish(&mut publisher, 10, 10);
    assert!(server.wait_for_line("Nothing is archived to").is_some());
    wait_for(&server, "/healthz", "nothing was archived for");
    publish(&mut publisher, 20, 10);
    drop(failing);
    assert!(server.wait_for_line("Archiving goes on").is_some());
    stop(server);
    let model = stored(&places.at("store"));
    let (restored, _) = places.try_restore(&[]);
    assert_eq!((stored(&restored), model.len()), (model, 30));
}

/// Two members that serve in turns write to one archive, and it is one history.
#[test]
fn members_of_a_group_archive_to_one_directory() {
    let mut places = Places::new();
    let (store, archive) = (places.at("store"), places.archive());
    std::fs::create_dir(&store).unwrap();
    let hub = home(Some(""), &["-store", "memory", "-cid", "another"]);
    let routes = crate::support::group::routes(&hub);
    let start = |name: &str| member(&store, name, Some(&routes), &["-archive", &archive]);
    let first = start("a");
    wait_until_active(&first);
    let second = start("b");
    publish(&mut session(&hub.address, "one"), 0, 20);
    first.kill();
    wait_until_active(&second);
    publish(&mut session(&hub.address, "two"), 20, 20);
    let first = start("a");
    stop(second);
    wait_until_active(&first);
    publish(&mut session(&hub.address, "three"), 40, 20);
    stop(first);
    let model = stored(&store);
    assert_eq!(
        (model.len(), places.stretches().len()),
        (60, 1),
        "{:?}",
        places.stretches()
    );
    let mut times: Vec<String> = model.values().map(|(time, _)| time.clone()).collect();
    times.sort_unstable();
    for number in [10, 30, 50, 59] {
        let (restored, _) = places.restore(&times[number]);
        assert_eq!(stored(&restored), until(&model, timestamp(&times[number])), "{number}");
    }
}

/// Set where a test runs in a namespace of its own, in which it may mount something.
const INSIDE: &str = "SEAWAY_INSIDE_NAMESPACE";

/// A small disk for the archive that is full: the store keeps what it may, then the archive has a gap, which the restore says; nobody who
/// publishes notices.
#[test]
fn a_full_archive_costs_a_gap_that_is_told() {
    if std::env::var_os(INSIDE).is_none() {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(program);
        let test = "archive::a_full_archive_costs_a_gap_that_is_told";
        command.args(["--exact", test, "--nocapture"]);
        let output = command.env(INSIDE, "1").output().unwrap();
        let (said, why) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(!said.contains("running 0 tests"), "there is no test {test}");
        if !said.contains("running 1 test") {
            return eprintln!("\n*** SKIPPED: a full archive, this system gives no namespaces: {why} ***\n");
        }
        return assert!(output.status.success(), "{said}\n{why}");
    }
    let mut places = Places::new();
    let archive = places.at("archive");
    std::fs::create_dir(&archive).unwrap();
    let mount = |size: &str, how: &str| {
        let options = format!("size={size}{how}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&archive)
            .status();
        assert!(mounted.unwrap().success());
    };
    mount("4m", "");
    let mut server = places.server(&["-max_bytes", "4MB", "-archive_max_backlog", "150MB"]);
    let mut publisher = server.session("publisher");
    publisher.publish("orders", b"the first").unwrap();
    // More than what was still on its way: then there is a moment.
    wait_until("a moment is archived", || {
        publisher.publish("orders", b"and another").unwrap();
        let stretches = places.stretches();
        stretches.first().is_some_and(|stretch| stretch["until"].is_string())
    });
    let filler = archive.join("filler");
    let mut room = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut room, &[1; 4_096]).is_ok() {}
    publisher.publish("orders", b"the second").unwrap();
    assert!(server.wait_for_line("Nothing is archived to").is_some());
    let body = vec![b'x'; 64 << 10];
    let mut filled = 0;
    // Segments are 64 MiB at most: enough of them are emptied by the channel's limit.
    while !server.get("/metrics").1.contains("seaway_archive_gaps_total 1") {
        assert!(filled < 8_000, "no gap: {}", server.get("/metrics").1);
        for _ in 0..100 {
            publisher.publish_async("orders", &body);
        }
        for _ in 0..100 {
            assert_eq!(publisher.next_pub_ack(crate::support::PATIENCE).unwrap().error, "");
        }
        filled += 100;
    }
    assert!(server.wait_for_line("has a gap from now on").is_some());
    // Somebody makes room.
    std::fs::remove_file(&filler).unwrap();
    mount("512m", ",remount");
    assert!(server.wait_for_line("Archiving goes on").is_some());
    stop(server);
    let model = stored(&places.at("store"));
    let (restored, _) = places.try_restore(&[]);
    assert_eq!(stored(&restored), model);
    let stretches = places.stretches();
    assert_eq!(stretches.len(), 2, "{stretches:?}");
    let between = timestamp(stretches[0]["until"].as_str().unwrap()) + Duration::from_millis(1);
    let (_, said) = places.try_restore(&["--at", &between.to_string()]);
    assert!(said.expect(1).stderr.contains("lies in a gap"));
}

/// Directories of a store, of backups and of an archive are told apart in words.
#[test]
fn directories_for_something_else_are_refused() {
    let places = Places::new();
    let server = places.server(&[]);
    publish(&mut server.session("publisher"), 0, 2);
    stop(server);
    let (store, archive) = (places.at("store"), places.archive());
    let store = store.to_str().unwrap();
    let said = |arguments: &[&str]| Shell::at("").run(arguments).expect(1).stderr;
    let backup = said(&["backup", "--dir", store, "--to", &archive]);
    assert!(backup.contains("is the archive of a server"), "{backup}");
    let list = said(&["archive", "list", store]);
    assert!(list.contains("holds no archive"), "{list}");
    let mut command = Command::new(Binary::NatsStreamingServer.path());
    let started = command
        .args(["-p", "-1", "-store", "file", "-dir", store, "-archive", store])
        .output();
    let started = started.unwrap();
    let text = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(
        !started.status.success() && text.contains("directories of their own"),
        "{text}"
    );
    let backups = places.at("backups");
    let to = backups.to_str().unwrap();
    Shell::at("").run(&["backup", "--dir", store, "--to", to]).expect(0);
    let mut server = Server::with_files(&places.at("store"), &["-archive", to]);
    let line = server.wait_for_line("Nothing is archived to").unwrap();
    assert!(line.contains("holds backups"), "{line}");
}
