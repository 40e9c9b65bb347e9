//! The crash test: real clients publish while the server is killed with SIGKILL at random moments; afterwards every acknowledged
//! message must be there, from sequence 1, in the order of publishing, without a gap.
//!
//! A killed process leaves what it wrote in the page cache, so this test says nothing about syncing; `sync_trace` does.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::clients::{self, Language, Suite};
use crate::server_process::{Program, ServerProcess};
use crate::shell;

/// Kills of a server that is acknowledging publishes, per run.
pub(crate) const DEFAULT_KILLS: u32 = 50;

/// A life ends at a random moment within this time after its first acknowledgements.
const LIFE_AFTER_FIRST_ACKS: Duration = Duration::from_millis(500);

/// One restart in this many is followed by another kill before the server is ready, at a random moment within the time below.
const KILL_DURING_RECOVERY_EVERY: u32 = 4;
const RECOVERY_KILL_WITHIN: Duration = Duration::from_millis(40);

/// How long a restarted server may take until each publisher has an acknowledgement again.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(30);

/// How long publishers may take to settle what is under way at the end, and a reader to read a channel back.
const FINISH_DEADLINE: Duration = Duration::from_secs(60);

/// Channels per publisher.
const CHANNELS: u32 = 3;

/// Everything is kept, and a client that is away is not given up during the test.
const SERVER_FLAGS: [&str; 8] = [
    "-max_msgs",
    "0",
    "-max_bytes",
    "0",
    "-hb_interval",
    "30s",
    "-hb_fail_count",
    "1000",
];

/// What to run.
pub(crate) struct Options {
    pub(crate) kills: u32,
    /// Chosen at random, and printed, when absent.
    pub(crate) seed: Option<u64>,
    pub(crate) server: Option<PathBuf>,
}

/// Runs the test; an error names what was lost.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let languages: Vec<Language> = [Language::Go, Language::Python]
        .into_iter()
        .filter(|language| language.is_installed())
        .collect();
    let Some(reader) = languages.first().copied() else {
        shell::loudly("SKIPPED: the crash test, which needs Go or Python, and neither is installed here");
        return Ok(());
    };
    for language in &languages {
        language.prepare()?;
    }
    let binary = shell::server_binary(options.server.as_deref(), "seaway")?;
    ensure!(
        Program::of(&binary) != Program::CoreOnly,
        "a core-only server keeps nothing"
    );
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!(
        "crash: seed {seed}, {} kills (repeat with: cargo xtask crash --kills {} --seed {seed})",
        options.kills, options.kills
    );
    let data = tempfile::tempdir()?;
    let outcome = crash_and_check(options.kills, seed, &binary, data.path(), &languages, reader);
    if outcome.is_err() {
        println!("crash: the data directory was left at {}", data.keep().display());
    }
    outcome
}

fn crash_and_check(
    kills: u32,
    seed: u64,
    binary: &Path,
    data: &Path,
    languages: &[Language],
    reader: Language,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut server = ServerProcess::start(binary, data, 0, &SERVER_FLAGS)?;
    let mut publishers = Vec::new();
    for language in languages {
        publishers.push(Publisher::start(*language, &server.url())?);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut statistics = Statistics::default();
    for kill in 0..kills {
        let outcome = one_life(&mut server, &publishers, &mut random, &mut statistics);
        outcome.with_context(|| format!("kill {} of {kills}; the server said\n{}", kill + 1, server.log_tail()))?;
    }
    for publisher in &publishers {
        publisher.wait_for_progress(publisher.acknowledged())?;
    }
    for publisher in &mut publishers {
        publisher.finish()?;
    }
    for publisher in &publishers {
        for (channel, acknowledged) in publisher.by_channel() {
            let messages = read_back(reader, &server.url(), &channel)?;
            statistics.stored += messages.len();
            statistics.acknowledged += acknowledged.len();
            check(&messages, &acknowledged).with_context(|| format!("channel {channel}, seed {seed}"))?;
        }
    }
    ensure!(
        statistics.acknowledged >= kills as usize,
        "only {} messages were acknowledged",
        statistics.acknowledged
    );
    statistics.show(start.elapsed());
    Ok(())
}

/// Lets the server acknowledge, kills it, and starts it again, now and then with another kill while it recovers.
fn one_life(
    server: &mut ServerProcess,
    publishers: &[Publisher],
    random: &mut fastrand::Rng,
    statistics: &mut Statistics,
) -> anyhow::Result<()> {
    let before: Vec<u64> = publishers.iter().map(Publisher::acknowledged).collect();
    for (publisher, before) in publishers.iter().zip(before) {
        publisher.wait_for_progress(before)?;
    }
    // The moment of the kill is what is random here; nothing is waited for.
    std::thread::sleep(LIFE_AFTER_FIRST_ACKS.mul_f64(random.f64()));
    server.kill()?;
    statistics.kills += 1;
    if random.u32(0..KILL_DURING_RECOVERY_EVERY) == 0 {
        server.spawn()?;
        std::thread::sleep(RECOVERY_KILL_WITHIN.mul_f64(random.f64()));
        server.kill()?;
        statistics.kills_during_recovery += 1;
    }
    statistics.starts.push(server.start_again()?);
    Ok(())
}

#[derive(Default)]
struct Statistics {
    kills: u32,
    kills_during_recovery: u32,
    starts: Vec<Duration>,
    acknowledged: usize,
    stored: usize,
}

impl Statistics {
    fn show(&mut self, took: Duration) {
        self.starts.sort();
        let median = self.starts.get(self.starts.len() / 2).copied().unwrap_or_default();
        let slowest = self.starts.last().copied().unwrap_or_default();
        println!(
            "crash: {} kills under load and {} during recovery in {:.1} s; {} messages acknowledged, {} stored, none of the \
             acknowledged lost; restart to ready: median {median:.1?}, slowest {slowest:.1?}",
            self.kills,
            self.kills_during_recovery,
            took.as_secs_f64(),
            self.acknowledged,
            self.stored
        );
    }
}

/// A client process that publishes numbers and says which of them were acknowledged.
struct Publisher {
    child: Child,
    name: String,
    count: Arc<AtomicU64>,
    lines: Arc<Mutex<Vec<String>>>,
    done: Arc<std::sync::atomic::AtomicBool>,
}

impl Publisher {
    fn start(language: Language, url: &str) -> anyhow::Result<Self> {
        let name = format!("publisher-{}", language.name());
        let mut command = program(language, "publish");
        command.env("SEAWAY_URL", url).env("SEAWAY_CLUSTER", "test-cluster");
        command
            .env("SEAWAY_CLIENT", &name)
            .env("SEAWAY_CHANNELS", CHANNELS.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start the {name}"))?;
        let output = child.stdout.take().expect("stdout was asked for");
        let publisher = Self {
            child,
            name,
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
                    lines.lock().expect("no holder panics").push(line);
                    count.fetch_add(1, Ordering::Release);
                }
            }
        });
    }

    fn acknowledged(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until each channel can have moved on.
    fn wait_for_progress(&self, before: u64) -> anyhow::Result<()> {
        let moved = shell::wait_until(PROGRESS_DEADLINE, || {
            self.acknowledged() >= before + u64::from(CHANNELS)
        });
        ensure!(
            moved,
            "the {} got no acknowledgement for {PROGRESS_DEADLINE:?}",
            self.name
        );
        Ok(())
    }

    /// Closes the publisher's input, upon which it settles what is under way and ends.
    fn finish(&mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let done = shell::wait_until(FINISH_DEADLINE, || self.done.load(Ordering::Acquire));
        ensure!(done, "the {} did not come to an end", self.name);
        self.child.wait()?;
        Ok(())
    }

    /// The acknowledged numbers of each channel.
    fn by_channel(&self) -> BTreeMap<String, HashSet<u64>> {
        let mut channels: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
        for line in self.lines.lock().expect("no holder panics").iter() {
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

fn program(language: Language, what: &str) -> Command {
    if language == Language::Python {
        let mut command = clients::python(Suite::Streaming, "crash.py");
        command.arg(what);
        command
    } else {
        clients::go(&format!("crash-{what}"))
    }
}

/// Everything a channel holds, as a real client receives it from sequence 1: sequence and payload.
fn read_back(language: Language, url: &str, channel: &str) -> anyhow::Result<Vec<(u64, String)>> {
    let mut command = program(language, "read");
    command.env("SEAWAY_URL", url).env("SEAWAY_CLUSTER", "test-cluster");
    command.env("SEAWAY_CLIENT", "reader").env("SEAWAY_CHANNEL", channel);
    let text = shell::run_quietly(&mut command).with_context(|| format!("read {channel} back"))?;
    text.lines()
        .map(|line| match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["message", sequence, payload] => Ok((sequence.parse()?, payload.to_owned())),
            _ => bail!("the reader said {line:?}"),
        })
        .collect()
}

/// Sequences 1, 2, 3, ...; numbers rising; every acknowledged number there; the reader's own message last.
fn check(messages: &[(u64, String)], acknowledged: &HashSet<u64>) -> anyhow::Result<()> {
    let mut found = HashSet::new();
    let mut highest = None;
    let Some(((_, last), before)) = messages.split_last() else {
        bail!("nothing was delivered")
    };
    ensure!(last == "end", "the last message is {last:?}");
    for (index, (sequence, _)) in messages.iter().enumerate() {
        ensure!(
            *sequence == index as u64 + 1,
            "sequence {sequence} where {} was due",
            index + 1
        );
    }
    for (sequence, payload) in before {
        let number: u64 = payload
            .parse()
            .with_context(|| format!("sequence {sequence} holds {payload:?}"))?;
        ensure!(
            highest.is_none_or(|highest| highest < number),
            "sequence {sequence}: {number} after {highest:?}"
        );
        highest = Some(number);
        found.insert(number);
    }
    let mut lost: Vec<u64> = acknowledged.difference(&found).copied().collect();
    lost.sort_unstable();
    ensure!(
        lost.is_empty(),
        "{} acknowledged messages are lost, the first are {:?}",
        lost.len(),
        &lost[..lost.len().min(10)]
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(payloads: &[&str], acknowledged: &[u64]) -> Result<(), String> {
        let messages: Vec<_> = (1..).zip(payloads.iter().map(ToString::to_string)).collect();
        check(&messages, &acknowledged.iter().copied().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn all_that_was_acknowledged_must_be_there_in_order() {
        assert_eq!(checked(&["0", "3", "9", "end"], &[0, 9]), Ok(()));
        assert!(
            checked(&["0", "3", "end"], &[0, 9])
                .unwrap_err()
                .contains("1 acknowledged messages are lost")
        );
        assert!(
            checked(&["3", "0", "end"], &[])
                .unwrap_err()
                .contains("sequence 2: 0 after Some(3)")
        );
        assert!(
            checked(&["3", "3", "end"], &[])
                .unwrap_err()
                .contains("3 after Some(3)")
        );
        assert!(checked(&["3", "4"], &[]).unwrap_err().contains("the last message"));
        assert!(checked(&["rubbish", "end"], &[]).unwrap_err().contains("rubbish"));
    }

    #[test]
    fn a_gap_in_the_sequences_is_found() {
        let messages = [(1, "0".to_owned()), (3, "end".to_owned())];
        let error = check(&messages, &HashSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "sequence 3 where 2 was due");
    }
}
