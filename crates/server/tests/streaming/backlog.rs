//! Far more is stored than memory may hold: restart, read from the beginning, resume what lies at the beginning.
//!
//! `SEAWAY_BACKLOG_MB` and `SEAWAY_MEMORY_MB` size it: 4096 and 512 in the long form, less by default.

use std::thread;

use crate::support::{PATIENCE, Server};
use seaway_bench::load::Load;
use seaway_bench::stan::subscription;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn anonymous_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_backlog_larger_than_memory_is_served() {
    let backlog = from_environment("SEAWAY_BACKLOG_MB", 512);
    let memory = from_environment("SEAWAY_MEMORY_MB", 256);
    let size = 1024;
    let messages = backlog * 1024 * 1024 / size;
    let directory = tempfile::tempdir().unwrap();
    let limits = ["-mm", "0", "-mb", "0"];
    let server = Server::with_memory_limit(memory << 20, directory.path(), &limits);

    let load = |server: &Server, channel: &str, messages| Load {
        address: server.address.clone(),
        cluster_id: "test-cluster".to_owned(),
        channel_prefix: channel.to_owned(),
        channels: 1,
        messages,
        size: usize::try_from(size).unwrap(),
        in_flight: 1024,
    };
    let mut worker = server.session("worker");
    let mut durable = subscription("big");
    durable.start_position = 4;
    durable.durable_name = "dur".into();
    durable.max_in_flight = 100;
    worker.subscribe(durable.clone()).unwrap();
    load(&server, "big", messages).publish().unwrap();
    for sequence in 1..=100 {
        assert_eq!(worker.next_message(PATIENCE).unwrap().sequence, sequence);
    }
    println!(
        "{backlog} MB stored, {} MB of memory in use",
        anonymous_memory(server.pid())
    );
    server.kill();

    let started = std::time::Instant::now();
    let server = Server::with_memory_limit(memory << 20, directory.path(), &limits);
    println!("restarted in {:.0?}", started.elapsed());
    let publisher = load(&server, "big", messages / 50);
    let publishing = thread::spawn(move || publisher.publish());
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = load(&server, "big", messages);
            thread::spawn(move || reader.receive(|| {}))
        })
        .collect();

    // The worker's client is still registered; it resumes its durable, which is active, by closing it first.
    let mut worker = server.session("other");
    worker.client_id = "worker".to_owned();
    worker.close().unwrap();
    let mut worker = server.session("worker");
    durable.max_in_flight = 1000;
    let subscribed = worker.subscribe(durable).unwrap();
    for sequence in 1..=100 {
        let message = worker.next_message(PATIENCE).unwrap();
        assert_eq!(
            (message.sequence, message.redelivered),
            (sequence, true),
            "pending ones first, in order"
        );
        worker.ack(&subscribed, sequence);
    }
    for sequence in 101..=5000 {
        let message = worker.next_message(PATIENCE).unwrap();
        assert_eq!((message.sequence, message.redelivered), (sequence, false));
        worker.ack(&subscribed, sequence);
    }
    for reader in readers {
        let outcome = reader.join().unwrap().expect("everything is read from sequence 1");
        println!("read {} messages at {:.0} per second", outcome.messages, outcome.rate());
    }
    let outcome = publishing.join().unwrap().expect("publishing goes on");
    println!("published meanwhile at {:.0} per second", outcome.rate());
    let used = anonymous_memory(server.pid());
    println!("{used} MB of memory in use at the end");
    assert!(used < memory, "{used} MB in use of {memory}");
    let (status, _) = server.signal_and_wait(rustix::process::Signal::TERM);
    assert_eq!(status.code(), Some(143), "an orderly end after all that");
}
