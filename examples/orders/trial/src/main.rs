//! Puts the order system on trial as whole processes: `orders-trial COMMAND --help` says how.
//!
//! Links nothing of the streaming server and nothing of the services: what it proves, it proves about the built binaries.

#![allow(clippy::print_stdout, reason = "a command line tool that reports to the terminal")]

mod evidence;
mod faults;
mod judge;
mod load;
mod page;
mod postgres;
mod runner;
mod sql;
mod system;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::load::Load;
use crate::postgres::Postgres;
use crate::system::{Backend, Programs, System};
use seaway_trial::browser::Browser;

/// What the process ends with when something it needs is not installed.
const SKIPPED: u8 = 77;

/// The order system on trial.
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Subcommand)]
enum Trial {
    /// Orders flow while every process is killed at random; then everything must be there, once and complete.
    Faults(Faults),
    /// The live page in headless Chromium.
    Page(Page),
    /// The one command that runs it all.
    Runner(Runner),
}

#[derive(Args)]
struct Binaries {
    /// The `seaway` binary.
    #[arg(long)]
    server: PathBuf,
    /// The folder of the services' binaries.
    #[arg(long)]
    services: PathBuf,
}

impl Binaries {
    fn programs(&self) -> anyhow::Result<Programs> {
        Ok(Programs {
            server: std::path::absolute(&self.server).context("--server")?,
            services: std::path::absolute(&self.services).context("--services")?,
        })
    }
}

#[derive(Args)]
struct Faults {
    #[command(flatten)]
    binaries: Binaries,
    /// Where events, read model and tickets are kept.
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Database,
    /// How many orders flow.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(50..))]
    orders: u32,
    /// How often each process is killed at least.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Repeats a run; chosen at random, and printed, when absent.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Args)]
struct Page {
    #[command(flatten)]
    binaries: Binaries,
    /// Where pictures of the page go.
    #[arg(long)]
    pictures: PathBuf,
}

#[derive(Args)]
struct Runner {
    #[command(flatten)]
    binaries: Binaries,
    /// Where events, read model and tickets are kept.
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Database,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().trial {
        Trial::Faults(faults) => run_faults(&faults),
        Trial::Page(page) => run_page(&page),
        Trial::Runner(runner) => run_runner(&runner),
    };
    match outcome {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped(what)) => {
            println!("SKIPPED: {what}");
            ExitCode::from(SKIPPED)
        }
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

enum Outcome {
    Passed,
    /// Something is not installed.
    Skipped(&'static str),
}

/// Runs a trial in a directory of its own, which stays when the trial fails.
fn in_directory(trial: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<Outcome> {
    let directory = tempfile::Builder::new().prefix("orders-trial-").tempdir()?;
    let outcome = trial(directory.path());
    if outcome.is_err() {
        println!("the data and the logs were left at {}", directory.keep().display());
    }
    outcome.map(|()| Outcome::Passed)
}

/// Runs a trial with its databases, on a PostgreSQL of its own if that is asked for.
fn with_backend(
    database: Database,
    trial: impl FnOnce(&Backend<'_>, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    match (database, Postgres::programs()) {
        (Database::Sqlite, _) => in_directory(|directory| trial(&Backend::Sqlite(directory), directory)),
        (Database::Postgres, None) => Ok(Outcome::Skipped("PostgreSQL is not installed (package postgresql)")),
        (Database::Postgres, Some(programs)) => in_directory(|directory| {
            let server = Postgres::start(programs, directory)?;
            trial(&Backend::Postgres(&server), directory)
        }),
    }
}

fn run_faults(options: &Faults) -> anyhow::Result<Outcome> {
    let programs = options.binaries.programs()?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!(
        "orders: {:?}, seed {seed} (repeat with: cargo xtask orders --database {} --orders {} --rounds {} --seed {seed})",
        options.database,
        format!("{:?}", options.database).to_lowercase(),
        options.orders,
        options.rounds
    );
    with_backend(options.database, |backend, directory| {
        let mut system = System::start(&programs, backend, directory)?;
        let outcome = faults_and_judgement(&mut system, backend, options, seed);
        outcome.with_context(|| format!("seed {seed}\n{}", system.tails()))
    })
}

fn faults_and_judgement(system: &mut System, backend: &Backend<'_>, options: &Faults, seed: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    let load = Load::new(system.http_port, seed, options.orders);
    let mut kills = faults::Tally::new();
    load.run(|| {
        kills = faults::kill_while(system, &load, seed, options.rounds, options.orders)?;
        Ok(())
    })?;
    let (accepted, asked_again) = load.finish();
    let flowed = start.elapsed();
    let settled = evidence::settle(system, accepted.len())?;
    let rebuilt = backend.create("rebuilt")?;
    let evidence = evidence::gather(system, accepted, &rebuilt)?;
    let findings = judge::findings(&evidence);
    if !findings.is_empty() {
        bail!("{} findings:\n  {}", findings.len(), findings.join("\n  "));
    }
    system.stop()?;
    let killed: Vec<String> = kills.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!(
        "orders: {} orders in {:.1} s, in their final state {:.1} s later; killed: {}",
        evidence.accepted.len(),
        flowed.as_secs_f64(),
        settled.as_secs_f64(),
        killed.join(", ")
    );
    println!(
        "orders: {} requests were repeated; {} events stored, {} on the log of which {} twice, none lost; event store, read model, \
         restaurant and a read model rebuilt from the log agree; judged in {:.1} s",
        asked_again,
        evidence.events.len(),
        evidence.log.len(),
        judge::repeated(&evidence.log),
        (start.elapsed() - flowed - settled).as_secs_f64()
    );
    Ok(())
}

fn run_page(options: &Page) -> anyhow::Result<Outcome> {
    if Browser::programs().is_none() {
        return Ok(Outcome::Skipped(
            "Chromium is not installed (packages chromium and chromium-driver)",
        ));
    }
    let programs = options.binaries.programs()?;
    in_directory(|directory| page::run(&programs, directory, &options.pictures))
}

fn run_runner(options: &Runner) -> anyhow::Result<Outcome> {
    let programs = options.binaries.programs()?;
    with_backend(options.database, |backend, directory| {
        runner::run(&programs, backend, directory)
    })
}
