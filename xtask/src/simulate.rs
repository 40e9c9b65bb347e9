//! Runs the simulator: the seeds that every run repeats, some that no run had before, and a control with a disk whose sync does
//! nothing, under which the simulator must fail.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::shell;

/// Seeds in the test command; the long form has more.
pub(crate) const DEFAULT_COUNT: u64 = 1_000;

/// One seed in this many is a new one.
const FRESH_SHARE: u64 = 2;

/// Seeds of the control; losing what was not synced shows at once.
const CONTROL_COUNT: u64 = 20;

/// Runs the seeds and the control; a failing seed prints the command that replays it.
pub(crate) fn run(count: u64) -> anyhow::Result<()> {
    let binary = build()?;
    shell::run(&mut simulator(&binary, Some(1), count)).context("a repeated seed failed")?;
    shell::run(&mut simulator(&binary, None, count.div_ceil(FRESH_SHARE))).context("a fresh seed failed")?;
    let control = simulator(&binary, Some(1), CONTROL_COUNT)
        .arg("--without-sync")
        .output()
        .context("run the control")?;
    ensure!(
        !control.status.success(),
        "without syncing nothing was lost in {CONTROL_COUNT} seeds: the simulator proves nothing"
    );
    println!("simulate: the control without syncing fails, as it must");
    Ok(())
}

fn build() -> anyhow::Result<PathBuf> {
    shell::run(shell::cargo().args(["build", "--release", "--locked", "--package", "seaway-simulator"]))?;
    Ok(shell::target_directory().join("release").join("seaway-simulator"))
}

fn simulator(binary: &Path, first: Option<u64>, count: u64) -> Command {
    let mut command = Command::new(binary);
    command
        .args(first.map(|seed| format!("--seed={seed}")))
        .arg(format!("--count={count}"));
    command
}
