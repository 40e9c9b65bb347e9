//! A client process that publishes numbers without end, and what it says was acknowledged.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{FINISH_DEADLINE, PROGRESS_DEADLINE};
use crate::clients::{self, Language};
use crate::shell;

/// A client process that publishes numbers and says which of them were acknowledged.
pub(crate) struct Publisher {
    child: Child,
    name: String,
    channels: Vec<String>,
    count: Arc<AtomicU64>,
    /// What it said, and when.
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
    done: Arc<AtomicBool>,
}

impl Publisher {
    /// Publishes to channels `TEST.NAME.KIND`, one number each `pace`; without that in bursts.
    pub(crate) fn start(
        language: Language,
        url: &str,
        test: &str,
        kinds: &[&str],
        pace: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let name = format!("publisher-{}", language.name());
        let channels: Vec<String> = kinds.iter().map(|kind| format!("{test}.{name}.{kind}")).collect();
        let mut command = clients::crash(language, "publish");
        if let Some(pace) = pace {
            command.env("SEAWAY_PACE", pace.as_millis().to_string());
        }
        command.env("SEAWAY_URL", url).env("SEAWAY_CLUSTER", "test-cluster");
        command
            .env("SEAWAY_CLIENT", &name)
            .env("SEAWAY_CHANNELS", channels.join(","));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start the {name}"))?;
        let output = child.stdout.take().expect("stdout was asked for");
        let publisher = Self {
            child,
            name,
            channels,
            count: Arc::default(),
            lines: Arc::default(),
            done: Arc::default(),
        };
        publisher.listen(output);
        Ok(publisher)
    }

    fn listen(&self, output: ChildStdout) {
        let (count, lines, done) = (Arc::clone(&self.count), Arc::clone(&self.lines), Arc::clone(&self.done));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line == "done" {
                    done.store(true, Ordering::Release);
                } else {
                    lines.lock().expect("no holder panics").push((Instant::now(), line));
                    count.fetch_add(1, Ordering::Release);
                }
            }
        });
    }

    /// The client's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many publishes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Its channels.
    pub(crate) fn channels(&self) -> &[String] {
        &self.channels
    }

    /// When something was acknowledged: the last time before a moment, and all times since.
    pub(crate) fn times_since(&self, moment: Instant) -> Vec<Instant> {
        let lines = self.lines.lock().expect("no holder panics");
        let first = lines.partition_point(|(at, _)| *at < moment).saturating_sub(1);
        lines[first..].iter().map(|(at, _)| *at).collect()
    }

    /// Waits until each channel can have moved on.
    pub(crate) fn wait_for_progress(&self, before: u64) -> anyhow::Result<()> {
        let moved = shell::wait_until(PROGRESS_DEADLINE, || {
            self.acknowledged() >= before + self.channels.len() as u64
        });
        ensure!(
            moved,
            "the {} got no acknowledgement for {PROGRESS_DEADLINE:?}",
            self.name
        );
        Ok(())
    }

    /// Closes the publisher's input, upon which it settles what is under way and ends.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let done = shell::wait_until(FINISH_DEADLINE, || self.done.load(Ordering::Acquire));
        ensure!(done, "the {} did not come to an end", self.name);
        self.child.wait()?;
        Ok(())
    }

    /// The acknowledged numbers of each channel.
    pub(crate) fn by_channel(&self) -> BTreeMap<String, HashSet<u64>> {
        let mut channels: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
        for (_, line) in self.lines.lock().expect("no holder panics").iter() {
            if let ["acked", channel, number] = line.split(' ').collect::<Vec<_>>()[..]
                && let Ok(number) = number.parse()
            {
                channels.entry(channel.to_owned()).or_default().insert(number);
            }
        }
        channels
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
