//! A client process that works on a channel as a durable and as a durable queue group, and what it saw.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use anyhow::{Context as _, ensure};

use super::{FINISH_DEADLINE, PROGRESS_DEADLINE};
use crate::clients::{self, Language};
use crate::shell;

/// The subscribers of a worker; every message of the channel goes to each of them.
pub(crate) const SUBSCRIBERS: [&str; 2] = ["durable", "group"];

/// Payloads by subscriber and sequence, and how many deliveries there were.
#[derive(Default)]
struct Seen {
    payloads: BTreeMap<String, BTreeMap<u64, String>>,
    deliveries: u64,
    says: String,
    problem: Option<String>,
}

/// A worker that can be killed and started again with the same names; what it saw is kept.
pub(crate) struct Worker {
    child: Option<Child>,
    url: String,
    channel: String,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Worker {
    /// Starts one; returns when all its subscriptions are answered.
    pub(crate) fn start(url: &str, channel: &str) -> anyhow::Result<Self> {
        let mut worker = Self {
            child: None,
            url: url.to_owned(),
            channel: channel.to_owned(),
            seen: Arc::default(),
        };
        worker.start_again()?;
        Ok(worker)
    }

    /// The channel it works on.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Ends the process with SIGKILL, if it runs, and starts another.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        self.kill();
        let mut command = clients::crash(Language::Go, "work");
        command
            .env("SEAWAY_URL", &self.url)
            .env("SEAWAY_CLUSTER", "test-cluster");
        command.env("SEAWAY_CHANNELS", &self.channel);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the worker")?;
        self.listen(child.stdout.take().expect("stdout was asked for"));
        self.child = Some(child);
        self.wait_until_it_says("ready")
    }

    fn listen(&self, output: ChildStdout) {
        let seen = Arc::clone(&self.seen);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                seen.0.lock().expect("no holder panics").note(&line);
                seen.1.notify_all();
            }
        });
    }

    fn wait_until_it_says(&self, word: &str) -> anyhow::Result<()> {
        let seen = self.seen.0.lock().expect("no holder panics");
        let (mut seen, timeout) = self
            .seen
            .1
            .wait_timeout_while(seen, PROGRESS_DEADLINE, |seen| seen.says != word)
            .expect("no holder panics");
        seen.says.clear();
        ensure!(
            !timeout.timed_out(),
            "the worker did not say {word} within {PROGRESS_DEADLINE:?}"
        );
        Ok(())
    }

    /// Waits until each subscriber has seen this sequence and all before it.
    pub(crate) fn wait_for(&self, last: u64) -> anyhow::Result<()> {
        for name in SUBSCRIBERS {
            let complete = shell::wait_until(FINISH_DEADLINE, || self.count(name) as u64 >= last);
            ensure!(
                complete,
                "the {name} saw {} of {last} messages within {FINISH_DEADLINE:?}",
                self.count(name)
            );
        }
        Ok(())
    }

    fn count(&self, name: &str) -> usize {
        let seen = self.seen.0.lock().expect("no holder panics");
        seen.payloads.get(name).map_or(0, BTreeMap::len)
    }

    /// What a subscriber saw, by sequence.
    pub(crate) fn payloads(&self, name: &str) -> BTreeMap<u64, String> {
        let seen = self.seen.0.lock().expect("no holder panics");
        seen.payloads.get(name).cloned().unwrap_or_default()
    }

    /// Deliveries in all, and how many of them were repetitions.
    pub(crate) fn deliveries(&self) -> (u64, u64) {
        let seen = self.seen.0.lock().expect("no holder panics");
        let different: usize = seen.payloads.values().map(BTreeMap::len).sum();
        (seen.deliveries, seen.deliveries - different as u64)
    }

    /// Lets it close its connections and end; an error if a sequence came with two payloads.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
        }
        self.wait_until_it_says("done")?;
        let problem = self.seen.0.lock().expect("no holder panics").problem.take();
        ensure!(problem.is_none(), "{}", problem.unwrap_or_default());
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Seen {
    fn note(&mut self, line: &str) {
        let ["got", name, _, sequence, payload] = line.split(' ').collect::<Vec<_>>()[..] else {
            line.clone_into(&mut self.says);
            return;
        };
        let Ok(sequence) = sequence.parse() else { return };
        self.deliveries += 1;
        let known = self
            .payloads
            .entry(name.to_owned())
            .or_default()
            .entry(sequence)
            .or_insert_with(|| payload.to_owned());
        if known != payload {
            self.problem = Some(format!(
                "sequence {sequence} came to the {name} as {known} and as {payload}"
            ));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
