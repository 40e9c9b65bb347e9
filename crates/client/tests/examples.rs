//! The programs in `examples/`, run as a user would against the built server, and the README that shows them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

#[path = "support/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running example.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(name: &str, arguments: &[&str]) -> Program {
        let mut folder = std::env::current_exe().unwrap();
        folder.pop();
        folder.pop();
        let path: PathBuf = folder.join("examples").join(name);
        assert!(
            path.exists(),
            "{} is not built: `cargo test -p seaway-client` builds it",
            path.display()
        );
        let mut child = Command::new(path)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Program { child, lines }
    }

    #[track_caller]
    fn next_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it prints something")
    }

    /// Everything it prints until its end, and how it ends.
    fn finish(mut self) -> (Vec<String>, ExitStatus) {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {rest:?}"),
            }
        }
        (rest, self.child.wait().unwrap())
    }

    /// SIGKILL; the rest of what it has printed.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.finish().0
    }

    /// Ctrl-C.
    fn interrupt(&self) {
        let killed = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
    }
}

fn publish(server: &server::Server) {
    let (lines, status) = Program::start("publish", &[server.url()]).finish();
    assert!(status.success());
    assert_eq!(lines.last().map(String::as_str), Some("stored 1001 messages"));
}

#[test]
fn publish_and_subscribe() {
    let Some(server) = server::start() else { return };
    publish(&server);
    let reader = Program::start("subscribe", &[server.url()]);
    assert_eq!(reader.next_line(), "1: a cup of tea");
    for number in 1..=1000 {
        assert_eq!(reader.next_line(), format!("{}: order {number}", number + 1));
    }
    reader.interrupt();
    let (rest, status) = reader.finish();
    assert!(rest.is_empty() && status.success(), "{rest:?} {status}");
}

#[test]
fn a_durable_goes_on_where_it_was() {
    let Some(server) = server::start() else { return };
    publish(&server);
    let first = Program::start("durable", &[server.url()]);
    for sequence in 1..=500 {
        assert_eq!(first.next_line(), format!("{sequence}: invoiced, attempt 1"));
    }
    // SIGKILL, perhaps with orders in work; meanwhile there is more to do.
    let done = first.kill();
    publish(&server);
    let second = Program::start("durable", &[server.url()]);
    let mut next = 501 + u32::try_from(done.len()).unwrap();
    let mut line = second.next_line();
    // What it had printed and not acknowledged comes again, and nothing before.
    while let Some(again) = line.strip_suffix(": invoiced, attempt 2") {
        let sequence: u32 = again.parse().unwrap();
        assert!(
            sequence + 10 >= next && sequence <= next,
            "{sequence} again, after {next}"
        );
        next = next.max(sequence + 1);
        line = second.next_line();
    }
    for sequence in next..=2002 {
        assert_eq!(line, format!("{sequence}: invoiced, attempt 1"));
        if sequence < 2002 {
            line = second.next_line();
        }
    }
}

#[test]
fn a_queue_shares_the_work() {
    let Some(server) = server::start() else { return };
    let workers = ["ann", "ben"].map(|name| (name, Program::start("queue", &[name, server.url()])));
    for (name, worker) in &workers {
        assert_eq!(worker.next_line(), format!("{name} is ready"));
    }
    publish(&server);
    let mut cooked = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while cooked.len() < 1001 {
        assert!(Instant::now() < deadline, "{} are cooked", cooked.len());
        for (name, worker) in &workers {
            for line in worker.lines.try_iter() {
                let sequence = line.strip_prefix(&format!("{name} cooks ")).expect("its own line");
                cooked.push(sequence.parse::<u32>().unwrap());
            }
        }
        std::thread::yield_now();
    }
    cooked.sort_unstable();
    assert!(cooked.iter().copied().eq(1..=1001), "each once");
    for (_, worker) in workers {
        worker.interrupt();
        let (rest, status) = worker.finish();
        assert!(rest.is_empty() && status.success(), "{rest:?} {status}");
    }
}

#[test]
fn a_ledger_stores_every_order_also_those_that_fail_at_first() {
    let Some(server) = server::start() else { return };
    publish(&server);
    let ledger = Program::start("ledger", &[server.url()]);
    let order = |line: &str| {
        line.strip_suffix(": stored")
            .expect("a stored order")
            .parse::<u32>()
            .unwrap()
    };
    // On a machine that is slow enough an order comes again before it is acknowledged.
    let mut stored = BTreeSet::new();
    while stored.len() < 1001 {
        stored.insert(order(&ledger.next_line()));
    }
    assert!(stored.iter().copied().eq(1..=1001), "{stored:?}");
    ledger.interrupt();
    let (rest, status) = ledger.finish();
    assert!(
        status.success() && rest.iter().all(|line| stored.contains(&order(line))),
        "{rest:?} {status}"
    );
}

/// The README shows the examples word for word, so what it shows was run.
#[test]
fn the_readme_shows_the_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for name in ["publish", "subscribe", "durable", "queue", "ledger"] {
        let source = std::fs::read_to_string(folder.join(format!("examples/{name}.rs"))).unwrap();
        let code: Vec<&str> = source
            .lines()
            .skip_while(|line| line.starts_with("//!") || line.starts_with("#!") || line.is_empty())
            .collect();
        let shown = format!("```rust\n{}\n```\n", code.join("\n"));
        assert!(
            readme.contains(&shown),
            "README.md does not show examples/{name}.rs as it is"
        );
    }
}
