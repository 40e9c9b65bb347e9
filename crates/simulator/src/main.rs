//! Runs the simulator over a range of seeds.
#![allow(clippy::print_stdout, reason = "a command line program")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use seaway_simulator::{Counters, Settings, run};

/// Runs seeds and says what was seen; the first failure prints the line that replays it.
#[derive(Parser)]
struct Arguments {
    /// First seed; random when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Seeds to run, one after the other from the first.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Steps of each run before it heals.
    #[arg(long, default_value_t = 4000)]
    steps: u32,
    /// Trace lines to print before a failure.
    #[arg(long, default_value_t = 60)]
    trace_lines: usize,
    /// Let the disk's sync do nothing: runs are expected to fail.
    #[arg(long)]
    without_sync: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or_else(|| fastrand::u64(..) >> 16);
    let begun = Instant::now();
    let mut total = Counters::default();
    for seed in first..first.saturating_add(arguments.count) {
        let settings = Settings {
            seed,
            steps: arguments.steps,
            trace_lines: arguments.trace_lines,
            honest_sync: !arguments.without_sync,
        };
        match run(settings) {
            Ok(counters) => total.add(&counters),
            Err(failure) => {
                for line in &failure.recent {
                    println!("    {line}");
                }
                println!("seed {seed}: {}", failure.reason);
                println!(
                    "replay: cargo run --release -p seaway-simulator -- --seed {seed} --steps {}",
                    arguments.steps
                );
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{} seeds from {first} in {:.1?}: {} acknowledged, {} crashes, {} redeliveries, {} checkpoints, {} refusals, {} poisoned",
        arguments.count,
        begun.elapsed(),
        total.acknowledged,
        total.crashes,
        total.redeliveries,
        total.checkpoints,
        total.refusals,
        total.poisoned
    );
    ExitCode::SUCCESS
}
