//! Measures the journal on a real directory: appends with group commit for several numbers of logs, and the start afterwards.
//!
//! `cargo run --release -p seaway-journal --example append_rate -- [directory] [messages] [window] [logs] [encrypted]`; the last
//! word compares a plain journal with encrypted ones.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people to read")]

#[path = "../tests/support/committer.rs"]
mod committer;

use committer::committer;
use seaway_journal::disk::Disk;
use seaway_journal::disk::real::RealDisk;
use seaway_journal::{Cipher, Completion, Driver, Encryption, Journal, LogId, Need, Options, RecoveredLog, Replay};
use std::sync::Arc;
use std::time::Instant;

#[derive(Default)]
struct Count {
    logs: u64,
    messages: u64,
}

impl Replay for Count {
    fn fact(&mut self, _kind: u8, _body: &[u8]) {}
    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {}
    fn delete(&mut self, _log: LogId, _body: &[u8]) {}
    fn log_recovered(&mut self, log: RecoveredLog) {
        self.logs += 1;
        self.messages += log.last + 1 - log.first;
    }
}

/// User and system time of this process in seconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn run(folder: &std::path::Path, logs: u64, messages: u64, window: u64, cipher: Option<Cipher>) {
    let options = || {
        let mut options = Options::new([7; 16]);
        options.encryption = cipher.map(|cipher| Encryption::new(cipher, b"a key".to_vec()).unwrap());
        options
    };
    let _ = std::fs::remove_dir_all(folder);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder).unwrap());
    let started = Instant::now();
    let (mut journal, _) = Journal::open(&disk, options(), &mut Count::default()).unwrap();
    let empty_start = started.elapsed();
    let owner = std::thread::current();
    let commits = committer(owner.clone());
    let mut driver = Driver::start(Arc::clone(&disk), move || owner.unpark()).unwrap();
    let mut completions: Vec<Completion> = Vec::new();
    let (body, mut sequences) = ([0x5a; 128], vec![0u64; logs as usize]);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (mut sent, mut durable) = (0, 0);
    while durable < messages {
        while sent < messages && sent - durable < window && journal.admission(128, Need::Ordinary).is_ok() {
            let log = (sent % logs) as usize;
            sequences[log] += 1;
            journal.append_message(LogId(log as u64 + 1), sequences[log], sent as i64, &[&body]);
            sent += 1;
        }
        journal.submit();
        driver.drive(&mut journal);
        if let Some(commit) = driver.take_commit() {
            commits.send(commit).unwrap();
        }
        journal.poll(&mut completions);
        let mut progress = false;
        for completion in completions.drain(..) {
            match completion {
                Completion::Durable(position) => (durable, progress) = (position.min(messages), true),
                Completion::CheckpointNeeded => {
                    journal.begin_checkpoint().unwrap();
                    journal.finish_checkpoint().unwrap();
                }
                Completion::Poisoned(reason) => panic!("{reason}"),
                Completion::SpaceBack => progress = true,
                _ => {}
            }
        }
        if !progress && durable < messages {
            std::thread::park_timeout(std::time::Duration::from_secs(1));
        }
    }
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let statistics = journal.statistics();
    driver.close(&mut journal).unwrap();
    drop(journal);
    println!(
        "{} {logs:>7} logs, window {window:>5}: {:>9.0} messages/s, {:.2} CPU-s per million, {} commits ({:.0} us mean, \
         {:.1} ms max), {:.0} B on disk per message; empty start {:.1} ms",
        cipher.map_or("plain".to_owned(), |cipher| format!("{cipher:?}")),
        messages as f64 / elapsed,
        cpu * 1e6 / messages as f64,
        statistics.commits,
        statistics.commit_nanoseconds.sum() as f64 / 1e3 / statistics.commits.max(1) as f64,
        statistics.commit_nanoseconds_max as f64 / 1e6,
        statistics.disk_bytes as f64 / messages as f64,
        empty_start.as_secs_f64() * 1e3,
    );
    let started = Instant::now();
    let mut count = Count::default();
    let (_, opened) = Journal::open(&disk, options(), &mut count).unwrap();
    println!(
        "        start: {:.0} ms for {} logs and {} messages ({} records of tail, checkpoint {:?})",
        started.elapsed().as_secs_f64() * 1e3,
        count.logs,
        count.messages,
        opened.tail_records,
        opened.checkpoint
    );
}

/// Largest resident size of this process so far, in MB.
fn peak_megabytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or("");
    line.split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0)
        / 1_024
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join("seaway-append-rate"), Into::into);
    let messages = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    let window = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_024);
    if let Some(logs) = arguments.next().and_then(|text| text.parse().ok()) {
        let ciphers: &[Option<Cipher>] = match arguments.next().as_deref() {
            Some(_) => &[None, Some(Cipher::Aes256Gcm), Some(Cipher::ChaCha20Poly1305)],
            None => &[None],
        };
        for cipher in ciphers {
            run(&folder, logs, messages, window, *cipher);
        }
        println!("        peak memory {} MB", peak_megabytes());
        let _ = std::fs::remove_dir_all(&folder);
        return;
    }
    for logs in [1, 1_000, 100_000] {
        run(&folder, logs, messages, window, None);
    }
    // The start after many logs of a few messages each.
    run(&folder, 100_000, 1_000_000, 8_192, None);
    let _ = std::fs::remove_dir_all(&folder);
}
