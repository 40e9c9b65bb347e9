//! The crash test: real clients publish and consume while the server is killed with SIGKILL at random moments; afterwards every
//! acknowledged message must be there, in the order of publishing, without a gap, as far as its channel's limits keep it; a durable
//! and a durable queue group, whose own process is killed too, must have seen each message.
//!
//! A killed process leaves what it wrote in the page cache, so this test says nothing about syncing; `sync_trace` does.

pub(crate) mod check;
pub(crate) mod publisher;
pub(crate) mod worker;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use self::check::Kept;
use self::publisher::Publisher;
use self::worker::{SUBSCRIBERS, Worker};
use crate::clients::{self, Language};
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

/// One life in this many ends with the worker killed too.
const KILL_WORKER_EVERY: u32 = 8;

/// How long messages live on the channels whose name ends in `age`, and how long after that they may be seen.
const AGE: Duration = Duration::from_secs(2);
const EXPIRY_DEADLINE: Duration = Duration::from_secs(10);

/// The channels of a publisher, and what of each is kept. The last two are limited by `LIMITS`: a message of about 90 bytes,
/// counted with the 40 that come on top in a file store, leaves room for 80 to 130 in 10 KB.
const CHANNELS: [(&str, Kept); 5] = [
    ("all", Kept::Everything),
    ("worked", Kept::Everything),
    (
        "count",
        Kept::Newest {
            at_least: 100,
            at_most: 100,
        },
    ),
    (
        "bytes",
        Kept::Newest {
            at_least: 80,
            at_most: 130,
        },
    ),
    ("age", Kept::Young),
];

/// Limits of single channels.
const LIMITS: &str = r#"
streaming {
  store_limits {
    max_msgs: 0
    max_bytes: 0
    channels {
      "crash.*.count" { max_msgs: 100 }
      "crash.*.bytes" { max_bytes: 10KB }
      "crash.*.age" { max_age: "2s" }
    }
  }
}
"#;

/// A client that is away is not given up during the test.
const SERVER_FLAGS: [&str; 4] = ["-hb_interval", "30s", "-hb_fail_count", "1000"];

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
    let binary = shell::server_binary(options.server.as_deref(), shell::Profile::Release)?;
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
    let configuration = data.join("limits.conf");
    std::fs::write(&configuration, LIMITS).context("write the configuration")?;
    let configuration = configuration.to_string_lossy().into_owned();
    let flags = [&SERVER_FLAGS[..], &["-sc", &configuration]].concat();
    let mut server = ServerProcess::start(binary, &data.join("store"), 0, &flags)?;
    let mut publishers = Vec::new();
    for language in languages {
        let kinds = CHANNELS.map(|(kind, _)| kind);
        publishers.push(Publisher::start(*language, &server.url(), "crash", &kinds, None)?);
    }
    let mut worker = match languages.contains(&Language::Go) {
        true => Some(Worker::start(
            &server.url(),
            &format!("crash.{}.worked", publishers[0].name()),
        )?),
        false => None,
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let mut statistics = Statistics::default();
    for kill in 0..kills {
        let outcome = one_life(&mut server, &publishers, &mut random, &mut statistics);
        outcome.with_context(|| format!("kill {} of {kills}; the server said\n{}", kill + 1, server.log_tail()))?;
        if let Some(worker) = &mut worker
            && random.u32(0..KILL_WORKER_EVERY) == 0
        {
            worker.start_again()?;
            statistics.worker_kills += 1;
        }
    }
    for publisher in &publishers {
        publisher.wait_for_progress(publisher.acknowledged())?;
    }
    for publisher in &mut publishers {
        publisher.finish()?;
    }
    for publisher in &publishers {
        read_and_check(publisher, reader, &server.url(), worker.as_mut(), &mut statistics)
            .with_context(|| format!("{}, seed {seed}", publisher.name()))?;
    }
    ensure!(
        statistics.acknowledged >= kills as usize,
        "only {} messages were acknowledged",
        statistics.acknowledged
    );
    statistics.show(start.elapsed());
    Ok(())
}

/// Reads the channels of a publisher back and holds them against what was acknowledged and against what the worker saw.
fn read_and_check(
    publisher: &Publisher,
    reader: Language,
    url: &str,
    worker: Option<&mut Worker>,
    statistics: &mut Statistics,
) -> anyhow::Result<()> {
    let mut worker = worker.filter(|worker| worker.channel().contains(publisher.name()));
    let acknowledged = publisher.by_channel();
    for (kind, kept) in CHANNELS {
        let channel = format!("crash.{}.{kind}", publisher.name());
        let numbers = acknowledged.get(&channel).cloned().unwrap_or_default();
        let messages = read_back(reader, url, &channel)?;
        check::channel(&messages, &numbers, kept).with_context(|| format!("channel {channel}"))?;
        statistics.stored += messages.len();
        statistics.acknowledged += numbers.len();
        if kept == Kept::Young {
            expires(reader, url, &channel)?;
        }
        if let Some(worker) = worker.take_if(|worker| worker.channel() == channel) {
            worker.wait_for(messages.last().map_or(0, |(sequence, _)| *sequence))?;
            worker.finish()?;
            for name in SUBSCRIBERS {
                check::subscriber(&messages, &worker.payloads(name))
                    .with_context(|| format!("the {name} on {channel}"))?;
            }
            (statistics.deliveries, statistics.repeated) = worker.deliveries();
        }
    }
    Ok(())
}

/// Nothing but what a reader itself adds is left once the messages are old enough.
fn expires(reader: Language, url: &str, channel: &str) -> anyhow::Result<()> {
    let end = Instant::now() + AGE + EXPIRY_DEADLINE;
    loop {
        let left = read_back(reader, url, channel)?;
        if left.len() == 1 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{channel} still holds {} messages", left.len());
    }
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
    worker_kills: u32,
    deliveries: u64,
    repeated: u64,
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
            "crash: {} kills under load and {} during recovery in {:.1} s; {} messages acknowledged, {} kept, none of the \
             acknowledged lost; restart to ready: median {median:.1?}, slowest {slowest:.1?}",
            self.kills,
            self.kills_during_recovery,
            took.as_secs_f64(),
            self.acknowledged,
            self.stored
        );
        println!(
            "crash: a durable and a queue group, killed {} times, saw everything: {} deliveries, {} of them repeated",
            self.worker_kills, self.deliveries, self.repeated
        );
    }
}

/// Everything a channel holds, as a real client receives it from sequence 1: sequence and payload.
pub(crate) fn read_back(language: Language, url: &str, channel: &str) -> anyhow::Result<Vec<(u64, String)>> {
    let mut command = clients::crash(language, "read");
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
