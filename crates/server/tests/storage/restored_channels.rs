//! Some channels of a backup, and a store of another cluster (`docs/backup.md`, restore).

use std::path::Path;

use crate::support::requests::{all, durable, publish, queue, take};
use crate::support::shell::Shell;
use crate::support::{Binary, Server};
use rustix::process::Signal;
use seaway_bench::stan::Session;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A store with three channels, a durable and a durable group with pending messages, and a backup of it; encrypted when there is a key.
fn backed_up(directory: &Path, key: &[&str]) -> (String, String) {
    let store = directory.join("store");
    let server = Server::with_files(&store, key);
    let mut publisher = server.session("publisher");
    publish(&mut publisher, "orders.new", 6);
    publish(&mut publisher, "orders.paid", 4);
    publish(&mut publisher, "stock", 3);
    let mut me = server.session("me");
    let plain = me.subscribe(durable(all("orders.new"))).unwrap();
    take(&mut me, 6);
    for sequence in [1, 2, 5] {
        me.ack(&plain, sequence);
    }
    me.subscribe(all("stock")).unwrap();
    take(&mut me, 3);
    let mut member = server.session("member");
    let group = member.subscribe(queue(durable(all("orders.paid")))).unwrap();
    take(&mut member, 4);
    member.ack(&group, 3);
    // An answer says that the acks came before.
    publish(&mut member, "stock", 1);
    publish(&mut me, "stock", 1);
    server.signal_and_wait(Signal::TERM);
    let (backups, archive) = (directory.join("backups"), directory.join("all.tar.zst"));
    for to in [&backups, &archive] {
        Shell::at("")
            .run(&["backup", "--dir", text(&store), "--to", text(to)])
            .expect(0);
    }
    (text(&backups).to_owned(), text(&archive).to_owned())
}

fn sequences(session: &mut Session, count: usize) -> Vec<u64> {
    let mut found: Vec<u64> = take(session, count).iter().map(|(sequence, _)| *sequence).collect();
    found.sort_unstable();
    found
}

#[test]
fn selected_channels_are_restored_with_their_durables_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (backups, archive) = backed_up(directory.path(), &[]);
    let shell = Shell::at("");
    for (number, from) in [backups, archive].iter().enumerate() {
        let to = directory.path().join(format!("restored-{number}"));
        let words = ["restore", from, "--to", text(&to), "--channel"];
        let said = shell.run(&[&words[..], &["nothing.*"]].concat()).expect(1);
        assert!(
            said.stderr.contains("no channel in the backup matches nothing.*"),
            "{said:#?}"
        );
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0, "nothing is left of it");
        let said = shell.run(&[&words[..], &["orders.>", "--json"]].concat()).expect(0);
        let told = &said.json()[0];
        assert_eq!(told["left_out"], serde_json::json!(["stock"]), "{told}");
        assert_eq!(told["channels"].as_array().unwrap().len(), 2, "{told}");
        shell.run(&["verify", text(&to)]).expect(0);
        let server = Server::with_files(&to, &[]);
        let channels = shell_of(&server).run(&["channels", "--json"]).expect(0);
        assert!(
            channels.stdout.contains("orders.new") && channels.stdout.contains("orders.paid"),
            "{channels:#?}"
        );
        assert!(!channels.stdout.contains("stock"), "{channels:#?}");
        let mut me = server.session("another");
        me.subscribe(all("orders.paid")).unwrap();
        assert_eq!(sequences(&mut me, 4), [1, 2, 3, 4]);
        // What the durables have pending is theirs still; sequences go on.
        let mut owner = server.session("me");
        owner.subscribe(durable(all("orders.new"))).unwrap();
        publish(&mut me, "orders.new", 1);
        assert_eq!(sequences(&mut owner, 4), [3, 4, 6, 7]);
        server.kill();
    }
}

fn shell_of(server: &Server) -> Shell {
    Shell::at(&server.address)
}

#[test]
fn a_store_of_another_cluster_has_the_durables_and_not_the_clients() {
    let directory = tempfile::tempdir().unwrap();
    let key = ["-encrypt", "-encryption_key", "secret"];
    let (backups, _) = backed_up(directory.path(), &key);
    let (shell, to) = (Shell::at(""), directory.path().join("other"));
    let file = shell.file("key", "secret");
    let words = ["restore", &backups, "--to", text(&to), "--cluster-id", "other"];
    let said = shell.run(&words).expect(1);
    assert!(said.stderr.contains("--encryption-key-file"), "{said:#?}");
    let said = shell
        .run(&[&words[..], &["--encryption-key-file", &file]].concat())
        .expect(0);
    assert!(said.stdout.contains("3 clients"), "{said:#?}");
    // One of the old cluster does not start on it.
    let old = [
        "-p",
        "-1",
        "-m",
        "-1",
        "-a",
        "127.0.0.1",
        "-store",
        "file",
        "-dir",
        text(&to),
    ];
    let log = Server::start(Binary::NatsStreamingServer, &[&old[..], &key].concat())
        .err()
        .unwrap();
    assert!(log.iter().any(|line| line.contains("does not match")), "{log:#?}");
    let server = Server::with_files(&to, &[&key[..], &["-cid", "other"]].concat());
    let session = |id: &str| Session::open(&server.address, "other", id).unwrap();
    let mut me = session("me");
    me.subscribe(durable(all("orders.new"))).unwrap();
    assert_eq!(sequences(&mut me, 3), [3, 4, 6]);
    let mut member = session("somebody");
    member.subscribe(queue(durable(all("orders.paid")))).unwrap();
    assert_eq!(sequences(&mut member, 3), [1, 2, 4]);
    server.kill();
}
