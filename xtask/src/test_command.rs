//! `cargo xtask test`: the one test command. Runs every stage in order, goes on after a failure, and closes with the time of each
//! stage and with cargo test's own result lines.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::ahead::Ahead;
use crate::{
    clients, codegen, compat, crash, fuzz, hot_paths, idle, orders, package, readme, recovery, setup, shell, simulate,
    sync_trace, take_overs, test_programs, tidy,
};

/// What to run.
pub(crate) struct Options {
    /// Adds the long forms.
    pub(crate) long: bool,
    /// Names of stages; empty means all.
    pub(crate) only: Vec<String>,
    /// Installs what is missing, where that is possible.
    pub(crate) sets_up: bool,
}

/// Seconds of the long simulation.
const LONG_SIMULATION_SECONDS: u64 = 1_800;

/// What the long memory test stores, and the memory the server may have meanwhile.
const BACKLOG_MB: &str = "4096";
const MEMORY_MB: &str = "512";

/// Take-overs of a fault-tolerance group in the long run: under clients in Rust, whose gaps are seen most exactly, and under those in
/// other languages.
const TAKE_OVERS: &str = "100";
const TAKE_OVERS_IN_OTHER_LANGUAGES: u32 = 300;

/// Backups of a server under load in the long run.
const BACKUPS: &str = "100";

/// Kills of the long crash run.
const LONG_KILLS: u32 = 400;

/// Seconds of fuzzing per target in the long run.
const LONG_FUZZ_SECONDS: u32 = 120;

/// What the stages gather for the end of the report.
#[derive(Default)]
struct Tally {
    tests: test_programs::Results,
    skipped: Vec<String>,
    /// The stages of this run.
    stages: Vec<&'static str>,
}

type Stage = (&'static str, fn(&mut Tally) -> anyhow::Result<()>);

/// The cheap ones first.
const STAGES: [Stage; 16] = [
    ("format", |_| check_format()),
    ("tidy", |_| tidy::run()),
    ("codegen", |_| codegen::run(true)),
    ("clippy", |_| lint()),
    ("cargo-test", run_tests),
    ("hot-paths", run_hot_paths),
    ("simulate", |_| simulate::run(simulate::DEFAULT_SECONDS)),
    ("compat", run_compat),
    ("crash", |_| run_crash(crash::DEFAULT_KILLS)),
    ("take-overs", |tally| run_take_overs(tally, take_overs::DEFAULT_COUNT)),
    ("orders", |tally| run_orders(tally, false)),
    ("sync-trace", run_sync_trace),
    ("idle", |_| idle::run(None)),
    ("readme", run_readme),
    ("packages", run_packages),
    ("fuzz", |_| run_fuzz(fuzz::DEFAULT_SECONDS)),
];

/// What `--long` adds.
const LONG_STAGES: [Stage; 11] = [
    ("simulate-long", |_| simulate::run(LONG_SIMULATION_SECONDS)),
    ("clusters-long", |_| simulate::run_clusters(LONG_SIMULATION_SECONDS)),
    ("recovery-long", |_| run_recovery()),
    ("memory-long", |_| run_backlog()),
    ("take-overs-long", run_take_overs_long),
    ("compat-external", run_compat_external),
    ("backups-long", |_| run_backups()),
    ("crash-long", |_| run_crash(LONG_KILLS)),
    ("orders-long", |tally| run_orders(tally, true)),
    ("packages-long", run_packages_long),
    ("fuzz-long", |_| run_fuzz(LONG_FUZZ_SECONDS)),
];

/// Whether a stage has this name.
#[cfg(test)]
pub(crate) fn has_stage(name: &str) -> bool {
    STAGES.iter().chain(&LONG_STAGES).any(|(known, _)| *known == name)
}

/// Runs the chosen stages; an error names those that failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let long: &[Stage] = if options.long { &LONG_STAGES } else { &[] };
    let all: Vec<&Stage> = STAGES.iter().chain(long).collect();
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| all.iter().all(|(known, _)| known != name))
    {
        bail!(
            "no stage is called {unknown:?}; there are {:?}",
            all.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
    }
    let chosen: Vec<&Stage> = all
        .into_iter()
        .filter(|(name, _)| options.only.is_empty() || options.only.iter().any(|only| only == name))
        .collect();
    let mut tally = Tally {
        stages: chosen.iter().map(|(name, _)| *name).collect(),
        ..Tally::default()
    };
    setup::prepare(&tally.stages, options.sets_up);
    let (mut outcomes, mut failed) = (Vec::new(), Vec::new());
    for (name, stage) in chosen {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = stage(&mut tally);
        if let Err(error) = &outcome {
            println!("=== {name} FAILED: {error:#}");
        }
        outcomes.push((*name, start.elapsed(), outcome.is_ok()));
        failed.extend(outcome.err().map(|error| format!("{name}: {error:#}")));
    }
    report(&tally, &outcomes);
    if !failed.is_empty() {
        // Last, and whole: often the end of a log is all that is at hand.
        bail!("failed:\n{}", failed.join("\n"));
    }
    Ok(())
}

fn report(tally: &Tally, outcomes: &[(&str, Duration, bool)]) {
    println!("\n=== times");
    for (name, took, ok) in outcomes {
        println!(
            "{name:<12} {:>7.1} s  {}",
            took.as_secs_f64(),
            if *ok { "ok" } else { "FAILED" }
        );
    }
    let total: Duration = outcomes.iter().map(|(_, took, _)| *took).sum();
    println!("{:<12} {:>7.1} s", "all", total.as_secs_f64());
    for skipped in &tally.skipped {
        shell::loudly(&format!("SKIPPED: {skipped}"));
    }
    for line in &tally.tests.lines {
        println!("{line}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.tests.passed,
        tally.tests.failed,
        tally.skipped.len()
    );
}

fn check_format() -> anyhow::Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--", "--check", "-l"]))?;
    let foreign = shell::root().join("compat/rust/Cargo.toml");
    shell::run(
        shell::cargo()
            .args(["fmt", "--manifest-path"])
            .arg(foreign)
            .args(["--", "--check", "-l"]),
    )?;
    if shell::is_installed("gofmt") {
        let go = shell::root().join("compat/go");
        let unformatted = shell::run_quietly(Command::new("gofmt").arg("-l").arg(go))?;
        if !unformatted.trim().is_empty() {
            bail!("gofmt would change {unformatted}");
        }
    }
    Ok(())
}

fn lint() -> anyhow::Result<()> {
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

/// What the other stages need is built meanwhile.
fn run_tests(tally: &mut Tally) -> anyhow::Result<()> {
    let programs = test_programs::build()?;
    let ahead = Ahead::begin(&tally.stages)?;
    let outcome = test_programs::run(programs, &mut tally.tests);
    if let Some(ahead) = ahead {
        ahead.finish()?;
    }
    outcome
}

fn run_hot_paths(tally: &mut Tally) -> anyhow::Result<()> {
    tally.skipped.extend(hot_paths::run()?);
    Ok(())
}

fn run_compat(tally: &mut Tally) -> anyhow::Result<()> {
    run_scenarios(tally, &compat::Options::default())?;
    let crash_needs = [clients::Language::Go, clients::Language::Python];
    if !crash_needs.iter().any(|language| language.is_installed()) {
        tally.skipped.push("the crash test".into());
    }
    Ok(())
}

/// Once more, with the clients at a NATS server that the streaming server is attached to.
fn run_compat_external(tally: &mut Tally) -> anyhow::Result<()> {
    let options = compat::Options {
        external: true,
        ..compat::Options::default()
    };
    run_scenarios(tally, &options)
}

fn run_scenarios(tally: &mut Tally, options: &compat::Options) -> anyhow::Result<()> {
    let summary = compat::run(options)?;
    tally.tests.passed += summary.passed;
    let languages = summary.skipped.iter();
    tally
        .skipped
        .extend(languages.map(|language| format!("the scenarios in {language}")));
    Ok(())
}

fn run_crash(kills: u32) -> anyhow::Result<()> {
    crash::run(&crash::Options {
        kills,
        seed: None,
        server: None,
    })
}

fn run_orders(tally: &mut Tally, long: bool) -> anyhow::Result<()> {
    let options = orders::Options {
        long,
        ..orders::Options::default()
    };
    tally.skipped.extend(orders::run(&options)?);
    Ok(())
}

fn run_sync_trace(tally: &mut Tally) -> anyhow::Result<()> {
    tally.skipped.extend(sync_trace::run(None)?);
    Ok(())
}

fn run_readme(tally: &mut Tally) -> anyhow::Result<()> {
    tally.skipped.extend(readme::run()?);
    Ok(())
}

fn run_packages(tally: &mut Tally) -> anyhow::Result<()> {
    let server = shell::server_binary(None, shell::Profile::Release)?;
    tally.skipped.extend(package::check(&server)?);
    Ok(())
}

/// As they are shipped, and installed.
fn run_packages_long(tally: &mut Tally) -> anyhow::Result<()> {
    let trial = package::Trial {
        installs: true,
        ..package::Trial::default()
    };
    let skipped = package::run(&package::Options::default(), trial)?;
    tally.skipped.extend(skipped);
    Ok(())
}

/// More stored than memory holds, in the size that the short form only hints at.
fn run_recovery() -> anyhow::Result<()> {
    recovery::run(&recovery::Options {
        channels: recovery::DEFAULT_CHANNELS,
        messages: recovery::DEFAULT_MESSAGES,
        server: None,
    })
}

fn run_backlog() -> anyhow::Result<()> {
    let mut command = server_test("streaming", "backlog::");
    shell::run(
        command
            .env("SEAWAY_BACKLOG_MB", BACKLOG_MB)
            .env("SEAWAY_MEMORY_MB", MEMORY_MB),
    )
}

fn run_take_overs(tally: &mut Tally, count: u32) -> anyhow::Result<()> {
    let options = take_overs::Options {
        count,
        seed: None,
        server: None,
    };
    tally.skipped.extend(take_overs::run(&options)?);
    Ok(())
}

fn run_take_overs_long(tally: &mut Tally) -> anyhow::Result<()> {
    let mut command = server_test("servers", "many_take_overs");
    shell::run(command.env("SEAWAY_TAKE_OVERS", TAKE_OVERS))?;
    run_take_overs(tally, TAKE_OVERS_IN_OTHER_LANGUAGES)
}

fn run_backups() -> anyhow::Result<()> {
    let mut command = server_test("storage", "backups_under_load");
    shell::run(command.env("SEAWAY_BACKUPS", BACKUPS))
}

/// Tests in one of the server's programs, built for speed.
fn server_test(program: &str, tests: &str) -> Command {
    let mut command = shell::cargo();
    command.args([
        "test",
        "--release",
        "--locked",
        "--package",
        "seaway-server",
        "--test",
        program,
        "--",
        "--nocapture",
        tests,
    ]);
    command
}

fn run_fuzz(seconds: u32) -> anyhow::Result<()> {
    fuzz::run(&fuzz::Options {
        seconds,
        targets: Vec::new(),
    })
}
