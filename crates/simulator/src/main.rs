//! Runs the simulator over a range of seeds, or for some time.
#![allow(clippy::print_stdout, reason = "a command line program")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use seaway_simulator::members::{self, Shape};
use seaway_simulator::{Failure, Outcome, Settings, run};

/// Runs seeds and says what was seen; the first failure prints the line that replays it.
#[derive(Parser)]
struct Arguments {
    /// First seed; random when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Seeds to run, one after the other from the first; without end when a time is given.
    #[arg(long)]
    count: Option<u64>,
    /// Begin no seed after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Begin no seed after this many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Steps of each run before it heals.
    #[arg(long, default_value_t = 4000)]
    steps: u32,
    /// Trace lines to print before a failure.
    #[arg(long, default_value_t = 60)]
    trace_lines: usize,
    /// Print what the engine knew when it failed.
    #[arg(long)]
    inspect: bool,
    /// After a failure look for the fewest steps that show it.
    #[arg(long)]
    shrink: bool,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Print what was seen after each minute.
    #[arg(long)]
    progress: bool,
    /// Let the disk's sync do nothing: runs are expected to fail.
    #[arg(long)]
    without_sync: bool,
    /// Run several members on one directory instead, each with its own engine.
    #[arg(long, conflicts_with_all = ["steps", "inspect", "shrink", "without_sync"])]
    members: bool,
}

impl Arguments {
    fn run(&self, seed: u64) -> Result<Outcome, Failure> {
        if self.members {
            members::run(seed, Shape::of(seed), None, self.trace_lines)
        } else {
            run(self.settings(seed))
        }
    }

    fn settings(&self, seed: u64) -> Settings {
        Settings {
            seed,
            steps: self.steps,
            trace_lines: self.trace_lines,
            honest_sync: !self.without_sync,
        }
    }

    fn time(&self) -> Option<Duration> {
        let seconds = self.seconds.or(self.minutes.map(|minutes| minutes * 60));
        seconds.map(Duration::from_secs)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or_else(|| fastrand::u64(..) >> 16);
    let begun = Instant::now();
    let time = arguments.time();
    let count = arguments.count.unwrap_or(if time.is_some() { u64::MAX } else { 1 });
    let (mut total, mut seeds, mut failures, mut minutes) = (Outcome::default(), 0, 0, 0);
    for seed in first..first.saturating_add(count) {
        if time.is_some_and(|time| begun.elapsed() >= time) {
            break;
        }
        seeds += 1;
        match arguments.run(seed) {
            Ok(outcome) => total.add(&outcome),
            Err(failure) => {
                report(&arguments, &failure);
                failures += 1;
                if !arguments.keep_going {
                    return ExitCode::FAILURE;
                }
            }
        }
        if arguments.progress && begun.elapsed().as_secs() / 60 > minutes {
            minutes = begun.elapsed().as_secs() / 60;
            println!("{minutes} min: {seeds} seeds, {failures} failures");
        }
    }
    let seen: Vec<String> = total
        .seen
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    println!("{}", seen.join(", "));
    println!(
        "{seeds} seeds from {first} in {:.1?}, {failures} failures",
        begun.elapsed()
    );
    if failures > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn report(arguments: &Arguments, failure: &Failure) {
    for line in &failure.recent {
        println!("    {line}");
    }
    if arguments.inspect {
        println!("{}", failure.engine);
    }
    let seed = failure.seed;
    println!("seed {seed}, step {}: {}", failure.step, failure.reason);
    if arguments.members {
        println!("replay: cargo run --release -p seaway-simulator -- --members --seed {seed}");
        return;
    }
    let steps = if arguments.shrink {
        shrink(arguments, failure)
    } else {
        arguments.steps
    };
    println!("replay: cargo run --release -p seaway-simulator -- --seed {seed} --steps {steps}");
}

/// The fewest steps after which the healing, at the latest, shows a failure: halving, because earlier steps do not change.
fn shrink(arguments: &Arguments, failure: &Failure) -> u32 {
    let (mut good, mut bad) = (0, failure.step);
    while good + 1 < bad {
        let middle = good + (bad - good) / 2;
        let settings = Settings {
            steps: middle,
            ..arguments.settings(failure.seed)
        };
        if run(settings).is_err() {
            bad = middle;
        } else {
            good = middle;
        }
    }
    bad
}
