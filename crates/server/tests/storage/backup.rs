//! Backups of servers that serve and of stores at rest, and what is restored of them (`docs/backup.md`).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::administration::Asker;
use crate::support::group::{session, wait_until};
use crate::support::requests::{all, durable, firsts, publish, take};
use crate::support::shell::{Said, Shell};
use crate::support::{Server, files};
use rustix::process::Signal;
use seaway_bench::stan::Session;
use seaway_bench::wire::Connection;
use serde_json::Value;

/// Who says nothing may do everything but change something; `operator` may make backups.
const USERS: &str = "no_auth_user: all, authorization { users = [ { user: all, password: p }, { user: operator, password: p, \
                     permissions: { publish: { allow: [\">\", \"$SEAWAY.api.*.change.backup.>\"] } } } ] }";

/// A server with a file store, of whose users one may make backups.
fn server(directory: &Path, more: &[&str]) -> Server {
    let users = directory.join("users.conf");
    std::fs::write(&users, USERS).unwrap();
    let arguments = [&["-c", users.to_str().unwrap()], more].concat();
    Server::with_files(&directory.join("store"), &arguments)
}

fn back_up(shell: &Shell, to: &Path, more: &[&str]) -> Said {
    let password = shell.file("password", "p");
    let to = to.to_str().unwrap();
    let words = [
        "backup",
        "--to",
        to,
        "--user",
        "operator",
        "--password-file",
        &password,
        "--json",
    ];
    shell.run(&[&words[..], more].concat())
}

fn restore(from: &Path, to: &Path, more: &[&str]) -> Said {
    let words = [
        "restore",
        from.to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
        "--json",
    ];
    Shell::at("").run(&[&words[..], more].concat())
}

/// Bodies of the messages of a store at rest, by channel and sequence.
fn stored(directory: &Path) -> BTreeMap<String, BTreeMap<u64, String>> {
    let lines = Shell::at("")
        .run(&["export", ">", "--dir", directory.to_str().unwrap()])
        .expect(0);
    let mut found = BTreeMap::<String, BTreeMap<u64, String>>::new();
    for line in lines.json() {
        let channel = line["channel"].as_str().unwrap().to_owned();
        let body = line["payload"].as_str().unwrap().to_owned();
        found
            .entry(channel)
            .or_default()
            .insert(line["sequence"].as_u64().unwrap(), body);
    }
    found
}

/// A number of a publisher in its message, long enough that segments fill.
fn body(number: u64) -> String {
    format!("{number} {}", "x".repeat(600))
}

/// Publishes numbers to three channels in turn, each when the one before was acknowledged: whoever has one of them has all before it.
struct Publisher {
    begun: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Publisher {
    fn begin(address: &str, name: &'static str, over: &Arc<AtomicBool>) -> Publisher {
        let (begun, acknowledged) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut publisher = session(address, name);
        let counts = (Arc::clone(&begun), Arc::clone(&acknowledged), Arc::clone(over));
        let thread = std::thread::spawn(move || {
            let (begun, acknowledged, over) = counts;
            for number in 1.. {
                if over.load(Ordering::Acquire) {
                    return;
                }
                begun.store(number, Ordering::Release);
                let channel = format!("{name}.{}", number % 3);
                publisher.publish(&channel, body(number).as_bytes()).unwrap();
                acknowledged.store(number, Ordering::Release);
            }
        });
        Publisher {
            begun,
            acknowledged,
            thread,
        }
    }
}

/// Receives and acknowledges one message after the other.
fn consume(address: &str, over: &Arc<AtomicBool>) -> (Arc<AtomicU64>, JoinHandle<()>) {
    let mut consumer = session(address, "consumer");
    let subscribed = consumer.subscribe(durable(all("one.1"))).unwrap();
    let (seen, over) = (Arc::<AtomicU64>::default(), Arc::clone(over));
    let count = Arc::clone(&seen);
    let thread = std::thread::spawn(move || {
        while !over.load(Ordering::Acquire) {
            let Ok(message) = consumer.next_message(Duration::from_millis(50)) else {
                continue;
            };
            consumer.ack(&subscribed, message.sequence);
            consumer.connection.flush().unwrap();
            count.store(message.sequence, Ordering::Release);
        }
    });
    (seen, thread)
}

/// Backups at random moments of a server under load, each restored and compared with what its publishers and its consumer know:
/// `SEAWAY_BACKUPS` says how many; `cargo xtask test --long` makes a hundred.
#[test]
fn backups_under_load_are_what_was_there_at_one_moment() {
    let count: u64 = std::env::var("SEAWAY_BACKUPS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6);
    let directory = tempfile::tempdir().unwrap();
    let server = server(directory.path(), &["-max_msgs", "3000"]);
    let over = Arc::<AtomicBool>::default();
    let publishers = ["one", "two"].map(|name| Publisher::begin(&server.address, name, &over));
    let (seen, consumer) = consume(&server.address, &over);
    let shell = Shell::at(&server.address);
    let backups = directory.path().join("backups");
    let mut copied = Vec::new();
    for number in 0..count {
        let wanted = publishers[0].acknowledged.load(Ordering::Acquire) + fastrand::u64(200..2_000);
        wait_until("it is published", || {
            publishers[0].acknowledged.load(Ordering::Acquire) >= wanted
        });
        let old = seen.load(Ordering::Acquire);
        let before = publishers
            .each_ref()
            .map(|publisher| publisher.acknowledged.load(Ordering::Acquire));
        let asked = Instant::now();
        let rate: &[&str] = if number % 3 == 1 { &["--rate", "20M"] } else { &[] };
        let made = back_up(&shell, &backups, &[&["--keep", "3"], rate].concat()).expect(0);
        let made = &made.json()[0];
        let after = publishers
            .each_ref()
            .map(|publisher| publisher.begun.load(Ordering::Acquire));
        copied.push((
            made["copied_bytes"].as_u64().unwrap(),
            made["bytes"].as_u64().unwrap(),
            asked.elapsed(),
        ));
        let restored = directory.path().join(format!("restored-{number}"));
        let said = restore(&backups, &restored, &[]).expect(0);
        check(&restored, &said.json()[0], before, after).unwrap_or_else(|error| panic!("backup {number}: {error}"));
        let again = Server::with_files(&restored, &[]);
        let mut consumer = again.session("consumer");
        consumer.subscribe(durable(all("one.1"))).unwrap();
        publish(&mut consumer, "one.1", 1);
        let (first, _) = take(&mut consumer, 1)[0];
        // What was acknowledged just before may come again; the place is kept.
        assert!(
            first + 100 > old && first <= after[0] / 3 + 2,
            "backup {number}: {first} where {old} were acknowledged"
        );
        again.kill();
        std::fs::remove_dir_all(&restored).unwrap();
    }
    over.store(true, Ordering::Release);
    for publisher in publishers {
        publisher.thread.join().unwrap();
    }
    consumer.join().unwrap();
    eprintln!("copied, of, in: {copied:?}");
    let listed = Shell::at("")
        .run(&["restore", backups.to_str().unwrap(), "--list", "--json"])
        .expect(0);
    assert_eq!(listed.json().len() as u64, count.min(3));
    let verified = Shell::at("").run(&["verify", backups.to_str().unwrap()]).expect(0);
    assert!(verified.stdout.contains("is whole"), "{verified:#?}");
    let (status, log) = server.signal_and_wait(Signal::TERM);
    assert_eq!(status.code(), Some(143), "{log:#?}");
}

/// A restored store has, of each publisher, everything up to some number that is not before what was acknowledged when the backup began, nor
/// behind what was published when it ended.
fn check(restored: &Path, said: &Value, before: [u64; 2], after: [u64; 2]) -> Result<(), String> {
    let found = stored(restored);
    for (name, (before, after)) in ["one", "two"].into_iter().zip(before.into_iter().zip(after)) {
        let empty = BTreeMap::new();
        let channels = [0, 1, 2].map(|channel| found.get(&format!("{name}.{channel}")).unwrap_or(&empty));
        let last = channels.map(|messages| {
            let last = messages.last_key_value()?.1;
            last.split(' ').next()?.parse::<u64>().ok()
        });
        let last = last.into_iter().flatten().max().unwrap_or(0);
        if last < before || last > after {
            return Err(format!(
                "{name}: {last} is the last, and not between {before} and {after}"
            ));
        }
        for (channel, messages) in (0_u64..).zip(channels) {
            let expected: Vec<u64> = (1..=last).filter(|number| number % 3 == channel).collect();
            // The limit takes the oldest away a moment after the newest is there.
            let first = messages.keys().next().map_or(0, |first| *first as usize - 1);
            let kept = &expected[first.min(expected.len())..];
            let is_limited = kept.len() == expected.len().min(kept.len().clamp(3_000, 3_050));
            let expected: BTreeMap<u64, String> = (first as u64 + 1..)
                .zip(kept.iter().map(|number| body(*number)))
                .collect();
            if *messages != expected || !is_limited {
                let bounds = |of: &BTreeMap<u64, String>| (of.keys().next().copied(), of.keys().next_back().copied());
                return Err(format!(
                    "{name}.{channel}: {:?} instead of {:?}",
                    bounds(messages),
                    bounds(&expected)
                ));
            }
            let told = said["channels"].as_array().into_iter().flatten();
            let told = told.filter(|told| told["name"] == format!("{name}.{channel}"));
            let next: Vec<u64> = told.filter_map(|told| told["next"].as_u64()).collect();
            if next != [messages.keys().next_back().map_or(1, |last| last + 1)] {
                return Err(format!("{name}.{channel}: {next:?} is said to be given out next"));
            }
        }
    }
    Ok(())
}

/// The right has to be given by name; the memory store has nothing to back up; one backup is made at a time.
#[test]
fn who_may_make_a_backup_and_what_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(directory.path(), &[]);
    publish(&mut server.session("me"), "orders", 3);
    let shell = Shell::at(&server.address);
    let to = directory.path().join("backups");
    let said = shell.run(&["backup", "--to", to.to_str().unwrap()]).expect(5);
    assert!(said.stderr.contains("not permitted"), "{said:#?}");
    let mut asker = operator(&server);
    let begun = asker.json("change.backup.begin", "");
    let id = begun["backup"].as_str().unwrap().to_owned();
    assert!(
        begun["files"].as_u64().unwrap() >= 3 && begun["encrypted"] == false,
        "{begun}"
    );
    let (code, words) = asker.error("change.backup.begin", "");
    assert!(code == 409 && words.contains("another backup"), "{code} {words}");
    let said = back_up(&shell, &to, &[]).expect(1);
    assert!(said.stderr.contains("another backup"), "{said:#?}");
    let listed = asker.json("change.backup.files", &format!("{{\"backup\":\"{id}\",\"limit\":2}}"));
    assert_eq!(
        (listed["count"].as_u64(), listed["files"].as_array().unwrap().len()),
        (Some(2), 2)
    );
    let length = listed["files"][0]["length"].as_u64().unwrap();
    let read = |asker: &mut Asker, file: u64, offset: u64, length: u64| {
        asker.ask(
            "change.backup.read",
            &format!("{{\"backup\":\"{id}\",\"file\":{file},\"offset\":{offset},\"length\":{length}}}"),
        )
    };
    assert_eq!(
        read(&mut asker, 0, 0, length.min(1_000)).payload.len() as u64,
        length.min(1_000)
    );
    for (file, offset, bytes) in [
        (0, length, 1),
        (0, u64::MAX, 1),
        (99_999, 0, 1),
        (0, 0, 0),
        (0, 0, 1 << 40),
        (0, 1, u64::MAX),
    ] {
        assert_eq!(
            read(&mut asker, file, offset, bytes).error().0,
            400,
            "{file} {offset} {bytes}"
        );
    }
    for (operation, body) in [
        ("files", "{}"),
        ("read", "{\"backup\":1}"),
        ("end", "{\"backup\":\"x\",\"more\":1}"),
    ] {
        assert_eq!(
            asker.error(&format!("change.backup.{operation}"), body).0,
            400,
            "{operation}"
        );
    }
    assert_eq!(asker.error("change.backup.end", "{\"backup\":\"another\"}").0, 404);
    assert_eq!(
        asker.json("change.backup.end", &format!("{{\"backup\":\"{id}\"}}"))["kept"],
        true
    );
    assert_eq!(read(&mut asker, 0, 0, 1).error().0, 404);
    assert_eq!(asker.error("change.backup.nothing", "").0, 404);
    back_up(&shell, &to, &[]).expect(0);

    let configured = Server::configured(directory.path(), USERS, &[]).unwrap();
    let (code, words) = operator(&configured).error("change.backup.begin", "");
    assert!(code == 409 && words.contains("in memory"), "{code} {words}");
}

fn operator(server: &Server) -> Asker {
    let more = "\"echo\":true,\"user\":\"operator\",\"pass\":\"p\"";
    Asker::over(Connection::open_with(&server.address, more).unwrap())
}

/// Everything that is in a store comes back: `--dir`, archives, the standard streams, a key that is not given, and what is in the way.
#[test]
fn a_store_at_rest_is_backed_up_and_restored() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let key = ["-encrypt", "-encryption_key", "secret"];
    let server = Server::with_files(&store, &key);
    let mut me = server.session("me");
    publish(&mut me, "orders", 5);
    let subscribed = me.subscribe(durable(all("orders"))).unwrap();
    assert_eq!(take(&mut me, 5), firsts(1..=5));
    for sequence in [1, 2, 4] {
        me.ack(&subscribed, sequence);
    }
    me.close_subscription(&subscribed).unwrap();
    let shell = Shell::at("");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let archive = directory.path().join("orders.tar.zst");
    let words = |to: &str| shell.run(&["backup", "--dir", &text(&store), "--to", to]);
    let said = words(&text(&archive)).expect(1);
    assert!(
        said.stderr.contains("in use by another process") && said.stderr.contains("without --dir"),
        "{said:#?}"
    );
    server.signal_and_wait(Signal::TERM);
    // But for the text in the lock's file.
    let others = || {
        let mut files = files(&store);
        files.retain(|(path, _)| !path.ends_with("journal.lock"));
        files
    };
    let before = others();
    assert!(words(&text(&archive)).expect(0).stdout.contains("encrypted"));
    let said = words(&text(&archive)).expect(1);
    assert!(said.stderr.contains("is there already"), "{said:#?}");
    words(&text(&directory.path().join("backups"))).expect(0);
    let mut piped = shell
        .command(&["backup", "--dir", &text(&store), "--to", "-"])
        .spawn()
        .unwrap();
    let mut bytes = Vec::new();
    piped.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(piped.wait().unwrap().success());
    assert_eq!(others(), before, "the store is as it was");
    let verified = shell.run(&["verify", &text(&archive)]).expect(0);
    assert!(verified.stdout.contains("is whole"), "{verified:#?}");
    shell.run_with_input(&["verify", "-"], bytes.clone()).expect(0);
    let said = shell
        .run_with_input(&["verify", "-"], bytes[..bytes.len() / 2].to_vec())
        .expect(1);
    assert!(said.stderr.contains("cut off"), "{said:#?}");
    for (number, from) in [text(&archive), text(&directory.path().join("backups")), "-".to_owned()]
        .iter()
        .enumerate()
    {
        let to = directory.path().join(format!("restored-{number}"));
        let said = shell
            .run_with_input(&["restore", from, "--to", &text(&to)], bytes.clone())
            .expect(0);
        assert!(said.stdout.contains("With the key"), "{said:#?}");
        let said = shell
            .run_with_input(&["restore", from, "--to", &text(&to)], bytes.clone())
            .expect(1);
        assert!(said.stderr.contains("nothing is overwritten"), "{said:#?}");
        let server = Server::with_files(&to, &key);
        let mut me = server.session("me");
        me.subscribe(durable(all("orders"))).unwrap();
        publish(&mut me, "orders", 1);
        let received = take(&mut me, 3);
        assert_eq!(
            received.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(),
            [3, 5, 6]
        );
        server.kill();
    }
    let file = shell.file("key", "secret");
    let to = directory.path().join("named");
    let said = shell
        .run(&[
            "restore",
            &text(&archive),
            "--to",
            &text(&to),
            "--encryption-key-file",
            &file,
        ])
        .expect(0);
    assert!(
        said.stdout.contains("orders") && said.stdout.contains("AGAIN FROM"),
        "{said:#?}"
    );
}

/// A client that is killed leaves nothing half, and the next backup goes on as if nothing had been.
#[test]
fn a_killed_backup_leaves_none() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(directory.path(), &[]);
    let mut me: Session = server.session("me");
    publish(&mut me, "orders", 2_000);
    let shell = Shell::at(&server.address);
    let password = shell.file("password", "p");
    let to = directory.path().join("backups");
    let words = |to: &Path, more: &[&str]| {
        let to = to.to_str().unwrap().to_owned();
        let words = [
            "backup",
            "--to",
            &to,
            "--user",
            "operator",
            "--password-file",
            &password,
        ];
        shell.command(&[&words[..], more].concat()).spawn().unwrap()
    };
    // So slow that it is killed in the middle.
    let mut killed = words(&to, &["--rate", "1000"]);
    wait_until("it writes", || to.join("object.writing").exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let listed = shell.run(&["restore", to.to_str().unwrap(), "--list"]).expect(0);
    assert!(listed.stdout.contains("no backup"), "{listed:#?}");
    // As soon as the server has noticed that the connection is gone.
    wait_until("another backup may be made", || {
        back_up(&shell, &to, &[]).code == Some(0)
    });
    assert!(!to.join("object.writing").exists());
    let restored = directory.path().join("restored");
    restore(&to, &restored, &[]).expect(0);
    assert_eq!(stored(&restored)["orders"].len(), 2_000);
}
