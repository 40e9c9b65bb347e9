//! Data directories of NATS Streaming under this server (`stores-and-clustering.md` §1.3, §3.15): taken over when that is asked for, and
//! whoever was connected, or comes back, goes on where he was.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::encoder::{HEADER, blob, index_entry, message, number, record};
use crate::support::requests::wait_for;
use crate::support::{Binary, PATIENCE, Server, files, run};
use rustix::process::Signal;
use seaway_bench::stan::subscription;
use seaway_bench::wire::{Connection, Frame};
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{Ack, MsgProto, SubscriptionRequest};

const QUIET: Duration = Duration::from_millis(200);

fn write(path: &Path, records: &[Vec<u8>]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, [&HEADER[..], &records.concat()].concat()).unwrap();
}

/// `server.dat` of a server whose publish subjects end in something else than its cluster ID, as those of old stores do.
fn server_info() -> Vec<u8> {
    let names = [
        "test-cluster",
        "_STAN.discover.test-cluster",
        "_STAN.pub.Qk3x",
        "_STAN.sub.Qk3x",
        "_STAN.unsub.Qk3x",
        "_STAN.close.Qk3x",
        "_STAN.subclose.Qk3x",
        "_STAN.ack.Qk3x",
    ];
    let fields = (1..).zip(names).map(|(field, name)| blob(field, name.as_bytes()));
    record(0, &fields.collect::<Vec<_>>().concat())
}

fn state(id: u64, client: &str, inbox: &str, ack_inbox: &str, durable: &str, last_sent: u64) -> Vec<u8> {
    let mut fields = vec![
        number(1, id),
        blob(2, client.as_bytes()),
        blob(4, inbox.as_bytes()),
        blob(5, ack_inbox.as_bytes()),
        number(6, 1024),
        number(7, 30),
        number(9, last_sent),
    ];
    if !durable.is_empty() {
        fields.extend([blob(8, durable.as_bytes()), number(10, 1), number(11, 1)]);
    }
    fields.concat()
}

/// Five messages in a channel.
fn messages(directory: &Path, channel: &str) {
    let (mut data, mut index, mut offset) = (Vec::new(), Vec::new(), 4);
    for sequence in 1..=5 {
        let time = 1_600_000_000_000_000_000 + sequence;
        let encoded = message(sequence, channel, format!("message {sequence}").as_bytes(), time);
        index.push(index_entry(sequence, offset, time, encoded.len()));
        offset += 8 + encoded.len() as u64;
        data.push(record(0, &encoded));
    }
    write(&directory.join(channel).join("msgs.1.dat"), &data);
    write(&directory.join(channel).join("msgs.1.idx"), &index);
}

/// Five messages in `foo`. `me` is connected and has a subscription that holds message 4; `you` is not, and has a durable that
/// holds messages 2 and 3.
fn original(directory: &Path) {
    write(&directory.join("server.dat"), &[server_info()]);
    let me = [
        blob(1, b"me"),
        blob(2, b"_INBOX.heartbeats"),
        blob(3, b"ABC"),
        number(4, 1),
        number(5, 5),
        number(6, 3),
    ];
    write(&directory.join("clients.dat"), &[record(1, &me.concat())]);
    messages(directory, "foo");
    let pending = |id, sequence| record(5, &[number(1, id), number(2, sequence)].concat());
    let acked = |id, sequence| record(4, &[number(1, id), number(2, sequence)].concat());
    let subscriptions = [
        record(1, &state(1, "me", "_INBOX.mine", "_INBOX.my-acks", "", 0)),
        record(1, &state(2, "you", "_INBOX.yours", "_INBOX.your-acks", "dur", 0)),
        pending(2, 1),
        pending(2, 2),
        pending(2, 3),
        acked(2, 1),
        record(2, &state(1, "me", "_INBOX.mine", "_INBOX.my-acks", "", 3)),
        pending(1, 4),
    ];
    write(&directory.join("foo/subs.dat"), &subscriptions);
}

fn next(connection: &mut Connection) -> MsgProto {
    loop {
        if let Frame::Message { subject, payload, .. } = connection.next_frame(PATIENCE).unwrap()
            && subject == b"_INBOX.mine"
        {
            return MsgProto::decode(&payload[..]).unwrap();
        }
    }
}

#[test]
fn everybody_goes_on_where_he_was() {
    let directory = tempfile::tempdir().unwrap();
    original(directory.path());
    let mut server = Server::with_files(directory.path(), &["-adopt"]);
    assert!(
        server
            .wait_for_line("Taken over: 5 messages in 1 channels, 1 clients, 2 subscriptions")
            .is_some()
    );
    // Who had stayed connected to the old server, or to others behind it, has its inboxes and acks where it always did.
    let mut mine = Connection::open(&server.address).unwrap();
    mine.subscribe("_INBOX.mine");
    for (sequence, redelivered) in [(4, true), (5, false)] {
        let message = next(&mut mine);
        assert_eq!((message.sequence, message.redelivered), (sequence, redelivered));
        assert_eq!(message.data, format!("message {sequence}"));
        assert_eq!(message.timestamp, 1_600_000_000_000_000_000 + sequence as i64);
        let ack = Ack {
            subject: "foo".into(),
            sequence,
        };
        mine.publish("_INBOX.my-acks", "", &ack.encode_to_vec());
    }
    mine.flush().unwrap();
    wait_for(&server, "/streaming/clientsz?client=me&subs=1", "\"pending_count\": 0");
    // The durable gets what it held, again, and then what it never had.
    let mut session = server.session("you");
    let request = SubscriptionRequest {
        durable_name: "dur".into(),
        ..subscription("foo")
    };
    let subscribed = session.subscribe(request).unwrap();
    let mut received = Vec::new();
    for _ in 0..4 {
        let message = session.next_message(PATIENCE).unwrap();
        received.push((message.sequence, message.redelivered));
        session.ack(&subscribed, message.sequence);
    }
    assert_eq!(received, [(2, true), (3, true), (4, false), (5, false)]);
    assert!(session.next_message(QUIET).is_err());
    session.publish("foo", b"new").unwrap();
    let message = session.next_message(PATIENCE).unwrap();
    assert_eq!((message.sequence, &message.data[..]), (6, &b"new"[..]));
    session.ack(&subscribed, 6);
    // A second start takes over nothing, with or without the flag, and remarks nothing.
    server.signal_and_wait(Signal::TERM);
    for more in [&["-adopt"][..], &[]] {
        let server = Server::with_files(directory.path(), more);
        let odd: Vec<_> = server
            .log
            .iter()
            .filter(|line| line.contains("[WRN]") || line.contains("Tak"))
            .collect();
        assert!(odd.is_empty(), "{odd:#?}");
        server.signal_and_wait(Signal::TERM);
    }
}

#[test]
fn it_is_taken_over_only_when_that_is_asked_for_and_given_back_after_a_question() {
    let directory = tempfile::tempdir().unwrap();
    original(directory.path());
    std::fs::write(directory.path().join(".rootdir.lck"), b"").unwrap();
    let path = directory.path().to_str().unwrap();
    let before = contents(directory.path());
    let serve = ["-p", "-1", "-m", "0", "-store", "file", "-dir", path];
    let (status, _, stderr) = run(Binary::NatsStreamingServer, &serve, directory.path());
    assert_eq!(status.code(), Some(1), "{stderr}");
    for words in ["holds the data of NATS Streaming", "-adopt", "seaway adopt --check"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert_eq!(contents(directory.path()), before);
    // Another cluster's.
    let other = [&serve[..], &["-adopt", "-cid", "other"]].concat();
    let (status, _, stderr) = run(Binary::NatsStreamingServer, &other, directory.path());
    assert_eq!(status.code(), Some(1), "{stderr}");
    let text = "cluster ID \"other\" does not match recovered value of \"test-cluster\"";
    assert!(stderr.contains(text), "§1.6: {stderr}");
    assert_eq!(contents(directory.path()), before);

    let server = Server::with_files(directory.path(), &["-adopt"]);
    server.session("me2").publish("foo", b"new").unwrap();
    let (status, _, stderr) = run(Binary::Seaway, &["adopt", "--undo", "--yes", path], directory.path());
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
    server.signal_and_wait(Signal::TERM);
    let (status, stdout, stderr) = run(Binary::Seaway, &["adopt", "--undo", path], directory.path());
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stdout.contains("foo: 1 new message"), "{stdout}");
    assert!(
        stderr.contains("1 message published since would be lost") && stderr.contains("--yes"),
        "{stderr}"
    );
    let (status, stdout, stderr) = run(Binary::Seaway, &["adopt", "--undo", "--yes", path], directory.path());
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stdout.contains("NATS Streaming's again"), "{stdout}");
    assert_eq!(originals(directory.path()), before);
    // And forth again.
    let (status, _, stderr) = run(Binary::Seaway, &["adopt", path], directory.path());
    assert_eq!(status.code(), Some(0), "{stderr}");
    let server = Server::with_files(directory.path(), &[]);
    assert_eq!(crate::support::requests::bounds(&server, "foo"), (5, 1, 5));
}

/// `docs/migration.md`: an adoption to a directory that was killed before it was complete is none, and does not replace what a server
/// has acknowledged there.
#[test]
fn remains_of_an_adoption_to_a_directory_do_not_replace_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let [data, made, place] = ["data", "made", "place"].map(|name| folder.path().join(name));
    original(&data);
    let words = ["adopt", data.to_str().unwrap(), "--to", made.to_str().unwrap()];
    let (status, _, stderr) = run(Binary::Seaway, &words, folder.path());
    assert_eq!(status.code(), Some(0), "{stderr}");
    std::fs::create_dir(&place).unwrap();
    let server = Server::with_files(&place, &[]);
    server.session("me2").publish("bar", b"mine").unwrap();
    server.signal_and_wait(Signal::TERM);
    let remains = folder.path().join("remains");
    std::fs::create_dir(&remains).unwrap();
    for (path, _) in files(&made) {
        let name = path.file_name().unwrap().to_str().unwrap();
        for directory in [&place, &remains] {
            std::fs::copy(&path, directory.join(format!(".adopting.{name}"))).unwrap();
        }
    }
    for _ in 0..2 {
        let server = Server::with_files(&place, &[]);
        assert_eq!(crate::support::requests::bounds(&server, "bar"), (1, 1, 1));
        server.signal_and_wait(Signal::TERM);
    }
    // Without a store of its own: no empty one is made beside them.
    let before = contents(&remains);
    let path = remains.to_str().unwrap();
    let serve = ["-p", "-1", "-m", "0", "-store", "file", "-dir", path];
    let (status, _, stderr) = run(Binary::NatsStreamingServer, &serve, &remains);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("--to") && stderr.contains("remove the files"),
        "{stderr}"
    );
    assert_eq!(contents(&remains), before);
}

/// Everything with its content.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = files(directory)
        .into_iter()
        .map(|(path, _)| {
            let content = std::fs::read(&path).unwrap();
            (
                path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned(),
                content,
            )
        })
        .collect();
    all.sort();
    all
}

/// What the original takes notice of: every folder, and files whose names do not begin with a dot, but for its lock.
fn originals(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = contents(directory);
    all.retain(|(name, _)| {
        !name.starts_with(".undone.") && !name.starts_with(".adopt") && !name.starts_with(".undoing")
    });
    all
}

/// Whether there is a tracer; says loudly when there is none.
fn has_tracer() -> bool {
    use std::io::Write as _;
    if Command::new("strace").arg("-V").output().is_ok() {
        return true;
    }
    let text = "\n*** SKIPPED: strace is not there: no adoption was killed ***\n";
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    false
}

/// Runs `seaway adopt` with these words under a tracer that kills it at the `number`th call of `calls` in a thread; none when there
/// are not so many, or when there is no tracer.
fn killed_at(words: &[&str], call: &str, number: u32) -> Option<bool> {
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &inject,
    ]);
    let output = command.arg(Binary::Seaway.path()).args(words).output().ok()?;
    Some(!output.status.success())
}

#[test]
fn killed_anywhere_it_goes_on_or_the_original_is_intact() {
    if !has_tracer() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    original(&model);
    // Channels whose names are in the way.
    for name in ["before-seaway", "journal.lock", "clients"] {
        messages(&model, name);
    }
    std::fs::write(model.join(".rootdir.lck"), b"").unwrap();
    let before = contents(&model);
    let (mut kept, mut committed, mut undone) = (0, 0, 0);
    // What changes a directory or makes something last; writes to files lie between these.
    for call in ["rename", "mkdir", "unlink", "rmdir", "fsync", "fdatasync"] {
        for number in 1.. {
            let directory = folder.path().join(format!("{call}-{number}"));
            copy(&model, &directory);
            let path = directory.to_str().unwrap();
            if !killed_at(&["adopt", path], call, number).unwrap() {
                break;
            }
            let place = format!("killed at {call} {number}");
            let now = std::fs::read(directory.join("server.dat")).unwrap();
            let is_original = now == std::fs::read(model.join("server.dat")).unwrap();
            if is_original {
                assert_eq!(originals(&directory), before, "{place}: the original is not intact");
                assert!(
                    std::fs::read_dir(&directory).unwrap().all(|entry| {
                        let entry = entry.unwrap();
                        !entry.file_type().unwrap().is_dir() || model.join(entry.file_name()).is_dir()
                    }),
                    "{place}: the original takes every folder for a channel"
                );
                kept += 1;
            } else {
                committed += 1;
            }
            // A server goes on as well as the command does.
            if number % 2 == 0 || is_original {
                let (status, _, stderr) = run(Binary::Seaway, &["adopt", path], &directory);
                assert_eq!(
                    status.code(),
                    Some(if is_taken_over(&stderr) { 1 } else { 0 }),
                    "{place}: {stderr}"
                );
            }
            check_taken_over(&directory, &place, &before);
            // And back, killed as often.
            if killed_at(&["adopt", "--undo", "--yes", path], call, number).unwrap() {
                undone += 1;
                let (status, _, stderr) = run(Binary::Seaway, &["adopt", "--undo", "--yes", path], &directory);
                let is_over = stderr.contains("nothing to undo");
                assert_eq!(status.code(), Some(i32::from(is_over)), "{place}, undoing: {stderr}");
            }
            assert_eq!(originals(&directory), before, "{place}, undoing");
            std::fs::remove_dir_all(&directory).unwrap();
        }
    }
    assert!(
        kept > 10 && committed > 10 && undone > 10,
        "{kept} {committed} {undone}"
    );
}

#[test]
fn killed_anywhere_elsewhere_it_goes_on_as_well() {
    if !has_tracer() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    original(&model);
    let before = contents(&model);
    let model = model.to_str().unwrap();
    let mut killed = 0;
    for call in ["rename", "unlink", "fsync", "fdatasync"] {
        for number in 1.. {
            let place = folder.path().join(format!("{call}-{number}"));
            let to = place.to_str().unwrap();
            if !killed_at(&["adopt", "--to", to, model], call, number).unwrap() {
                break;
            }
            killed += 1;
            let (status, _, stderr) = run(Binary::Seaway, &["adopt", "--to", to, model], folder.path());
            // Nothing was left to do.
            let is_over = stderr.contains("is not empty");
            assert_eq!(
                status.code(),
                Some(i32::from(is_over)),
                "killed at {call} {number}: {stderr}"
            );
            let server = Server::with_files(&place, &[]);
            let found = crate::support::requests::bounds(&server, "foo");
            assert_eq!(found, (5, 1, 5), "killed at {call} {number}");
            server.signal_and_wait(Signal::TERM);
        }
    }
    assert!(killed > 10, "{killed}");
    assert_eq!(contents(Path::new(model)), before);
}

/// Killed behind its last step.
fn is_taken_over(stderr: &str) -> bool {
    stderr.contains("was taken over before")
}

fn check_taken_over(directory: &Path, place: &str, before: &[(String, Vec<u8>)]) {
    let server = Server::with_files(directory, &[]);
    for channel in ["foo", "before-seaway", "journal.lock", "clients"] {
        assert_eq!(
            crate::support::requests::bounds(&server, channel),
            (5, 1, 5),
            "{place}: {channel}"
        );
    }
    let (_, shown) = server.get("/streaming/channelsz?channel=foo&subs=1");
    assert!(
        shown.contains("_INBOX.my-acks") && shown.contains("\"durable_name\": \"dur\""),
        "{place}: {shown}"
    );
    server.signal_and_wait(Signal::TERM);
    // The original's files are all there, untouched.
    let mut kept = contents(&directory.join("before-seaway"));
    kept.retain(|(name, _)| name != ".adoption.json");
    let expected: Vec<_> = before
        .iter()
        .filter(|(name, _)| name != ".rootdir.lck")
        .cloned()
        .collect();
    assert_eq!(kept, expected, "{place}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
