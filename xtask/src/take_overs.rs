//! The take-over trial: a fault-tolerance group of three, publishers in five languages, and one fault after another at whoever serves:
//! killed, told to end, stopped for a while, a disk that is full or hangs, routes that are cut. Afterwards everything acknowledged must be
//! there, each number once, in the order of publishing and without a gap, and a durable subscriber must have seen it under the same
//! sequences: so nobody acknowledged beside the one who served.

mod fault;
mod group;
mod report;
mod routes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use self::fault::{Fault, is_traceable};
use self::group::Group;
use self::report::Report;
use crate::clients::Language;
use crate::crash::check::{self, Kept};
use crate::crash::publisher::Publisher;
use crate::crash::read_back;
use crate::crash::worker::{SUBSCRIBERS, Worker};
use crate::shell;

/// Take-overs of the short form: one of each kind.
pub(crate) const DEFAULT_COUNT: u32 = 6;

/// Time between two publishes of one publisher: with three of them gaps are seen as exactly as a third of this.
const PACE: Duration = Duration::from_millis(10);

/// Publishers at the server of no group, whose connection no fault breaks; the others are at members, and connect to another one.
const AT_HOME: [Language; 3] = [Language::Go, Language::Node, Language::C];
const AT_MEMBERS: [Language; 2] = [Language::Python, Language::Java];

/// Acknowledgements that must come before the next fault.
const ACKNOWLEDGED_BETWEEN: usize = 30;

/// What the channels are called after.
const TEST: &str = "take-over";

/// What to run.
pub(crate) struct Options {
    /// Faults go on until there were so many take-overs.
    pub(crate) count: u32,
    /// Chosen at random, and printed, when absent.
    pub(crate) seed: Option<u64>,
    pub(crate) server: Option<PathBuf>,
}

/// Runs the trial; an error names what was lost. Gives back what was skipped.
pub(crate) fn run(options: &Options) -> anyhow::Result<Vec<String>> {
    let all = AT_HOME.into_iter().chain(AT_MEMBERS);
    let (languages, absent): (Vec<Language>, Vec<Language>) = all.partition(|language| language.is_installed());
    let mut skipped: Vec<String> = absent
        .iter()
        .map(|language| format!("take-overs under a publisher in {}", language.name()))
        .collect();
    if !languages.contains(&Language::Go) {
        return Ok(vec!["take-overs, which need Go".to_owned()]);
    }
    for language in &languages {
        language.prepare()?;
    }
    if !is_traceable() {
        skipped.push("take-overs because of a disk, which need strace".to_owned());
    }
    let binary = shell::server_binary(options.server.as_deref(), shell::Profile::Release)?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!(
        "take-overs: seed {seed} (repeat with: cargo xtask take-overs --count {} --seed {seed})",
        options.count
    );
    let data = tempfile::tempdir()?;
    let outcome = trial(options.count, seed, &binary, data.path(), &languages);
    if outcome.is_err() {
        println!("take-overs: the data directory was left at {}", data.keep().display());
    }
    outcome.map(|()| skipped)
}

fn trial(count: u32, seed: u64, binary: &Path, data: &Path, languages: &[Language]) -> anyhow::Result<()> {
    let mut group = Group::start(binary, data)?;
    // It is patient: whoever serves may not be known at every server yet.
    let mut worker = Worker::start(&group.home_url(), &format!("{TEST}.publisher-go.all"))?;
    let publishers = start_publishers(&group, languages)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut report = Report::default();
    for number in 0.. {
        let fault = Fault::choose(number, &mut random);
        let outcome = one_fault(&mut group, &publishers, fault, &mut report);
        outcome.with_context(|| {
            format!(
                "fault {number}, {fault:?}, seed {seed}; the servers said\n{}",
                group.logs()
            )
        })?;
        if report.take_overs() >= count {
            break;
        }
    }
    settle(&group, publishers, &mut worker, &mut report).with_context(|| format!("seed {seed}"))?;
    report.show();
    Ok(())
}

fn start_publishers(group: &Group, languages: &[Language]) -> anyhow::Result<Vec<Publisher>> {
    languages
        .iter()
        .map(|language| {
            let url = match AT_HOME.contains(language) {
                true => group.home_url(),
                false => group.member_urls(),
            };
            Publisher::start(*language, &url, TEST, &["all"], Some(PACE))
        })
        .collect()
}

/// Those whose connections break with no fault.
fn at_home(publishers: &[Publisher]) -> impl Iterator<Item = &Publisher> {
    let is_at_home = |publisher: &&Publisher| {
        AT_HOME
            .iter()
            .any(|language| publisher.name().ends_with(&format!("-{}", language.name())))
    };
    publishers.iter().filter(is_at_home)
}

/// Strikes whoever serves, waits until somebody serves again, and repairs what was broken.
fn one_fault(group: &mut Group, publishers: &[Publisher], fault: Fault, report: &mut Report) -> anyhow::Result<()> {
    let before = group.wait_for_the_active_one()?;
    for publisher in at_home(publishers) {
        go_on(publisher)?;
    }
    let event = Instant::now();
    let repair = group.strike(before, fault)?;
    let after = group.wait_for_the_active_one()?;
    if repair.is_cut() {
        // Clients away from whoever serves do not reach it before that.
        group.mend_routes();
    }
    for publisher in at_home(publishers) {
        go_on(publisher)?;
    }
    let is_take_over = after != before;
    ensure!(is_take_over || !fault.must_end_a_tenure(), "nobody took over");
    report.note(fault, is_take_over, gap_since(publishers, event));
    group.repair(before, repair)
}

fn go_on(publisher: &Publisher) -> anyhow::Result<()> {
    let before = publisher.acknowledged();
    for more in 0..ACKNOWLEDGED_BETWEEN as u64 {
        publisher.wait_for_progress(before + more)?;
    }
    Ok(())
}

/// From the last acknowledgement before an event to the first when service was back, of all whose connections last: the longest time
/// without one since then.
fn gap_since(publishers: &[Publisher], event: Instant) -> Duration {
    let mut times: Vec<Instant> = at_home(publishers)
        .flat_map(|publisher| publisher.times_since(event))
        .collect();
    times.sort_unstable();
    // One before the event of each publisher: the last of them counts.
    let first = times.partition_point(|at| *at < event).saturating_sub(1);
    let gaps = times[first..].windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

/// Ends the publishers and holds what was acknowledged and delivered against what is stored.
fn settle(
    group: &Group,
    mut publishers: Vec<Publisher>,
    worker: &mut Worker,
    report: &mut Report,
) -> anyhow::Result<()> {
    for publisher in &publishers {
        publisher.wait_for_progress(publisher.acknowledged())?;
    }
    for publisher in &mut publishers {
        publisher.finish()?;
    }
    for publisher in &publishers {
        let channel = &publisher.channels()[0];
        let acknowledged = publisher.by_channel().remove(channel).unwrap_or_default();
        let messages = read_back(Language::Go, &group.home_url(), channel)?;
        check::channel(&messages, &acknowledged, Kept::Everything).with_context(|| format!("channel {channel}"))?;
        ensure!(
            acknowledged.len() as u64 == publisher.acknowledged(),
            "the {} was told twice that something is stored",
            publisher.name()
        );
        report.ledger(publisher.name(), acknowledged.len(), messages.len() - 1);
        if worker.channel() == channel {
            worker.wait_for(messages.last().map_or(0, |(sequence, _)| *sequence))?;
            worker.finish()?;
            for name in SUBSCRIBERS {
                check::subscriber(&messages, &worker.payloads(name)).with_context(|| format!("the {name}"))?;
            }
            report.deliveries(worker.deliveries());
        }
    }
    Ok(())
}
