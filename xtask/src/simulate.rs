//! Runs the simulator: the seeds that every run repeats, some that no run had before for as long as there is time, and a
//! control with a disk whose sync does nothing, under which the simulator must fail.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::shell;

/// Seconds of fresh seeds in the test command.
pub(crate) const DEFAULT_SECONDS: u64 = 60;

/// Seeds that every run repeats.
const REPEATED: u64 = 1_000;

/// Programs that run side by side.
const SIDE_BY_SIDE: u64 = 2;

/// The part of that time, added to it, in which several members are simulated.
const MEMBERS_SHARE: u64 = 4;

/// Seeds of the control; losing what was not synced shows at once.
const CONTROL_COUNT: u64 = 20;

/// Runs the repeated seeds, fresh ones for some time, and the control; a failing seed prints the command that replays it.
pub(crate) fn run(seconds: u64) -> anyhow::Result<()> {
    // Hardly slower than a release build here, and it checks more.
    let binary = shell::test_build()?.join("seaway-simulator");
    let share = REPEATED.div_ceil(SIDE_BY_SIDE);
    let repeated = (0..SIDE_BY_SIDE).map(|side| {
        let mut command = Command::new(&binary);
        command.args([format!("--seed={}", 1 + side * share), format!("--count={share}")]);
        command
    });
    side_by_side(repeated).context("a repeated seed failed")?;
    let fresh = (0..SIDE_BY_SIDE).map(|_| {
        let mut command = Command::new(&binary);
        command.args([format!("--seconds={seconds}"), "--shrink".to_owned()]);
        command
    });
    side_by_side(fresh).context("a fresh seed failed")?;
    let members = (0..SIDE_BY_SIDE).map(|_| {
        let mut command = Command::new(&binary);
        command.args([
            "--members".to_owned(),
            format!("--seconds={}", seconds.div_ceil(MEMBERS_SHARE)),
        ]);
        command
    });
    side_by_side(members).context("a fresh seed with members failed")?;
    control(&binary)
}

/// Runs seeds of clusters that no run had before (`crates/replica/tests/cluster`); one that fails prints the command that replays it. Its
/// controls, and the seeds that every run repeats, are among the crate's tests.
pub(crate) fn run_clusters(seconds: u64) -> anyhow::Result<()> {
    let mut command = shell::cargo();
    command.args([
        "test",
        "--release",
        "--locked",
        "--package",
        "seaway-replica",
        "--test",
        "cluster",
    ]);
    command.args(["--", "--ignored", "--exact", "--nocapture", "many_seeds"]);
    shell::run(command.env("SEAWAY_SECONDS", seconds.to_string())).context("a fresh seed of a cluster failed")
}

/// Starts all commands, waits for all, and fails when one did, with the line that replays what it found.
fn side_by_side(commands: impl Iterator<Item = Command>) -> anyhow::Result<()> {
    let children: Vec<_> = commands
        .map(|mut command| command.stdout(Stdio::piped()).spawn().context("start the simulator"))
        .collect::<Result<_, _>>()?;
    let mut findings = Vec::new();
    for child in children {
        let output = child.wait_with_output().context("wait for the simulator")?;
        let words = String::from_utf8_lossy(&output.stdout);
        print!("{words}");
        if !output.status.success() {
            let telling = |line: &&str| line.starts_with("seed ") || line.starts_with("replay: ");
            let telling: Vec<&str> = words.lines().filter(telling).collect();
            findings.push(format!("{}: {}", output.status, telling.join("; ")));
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

fn control(binary: &Path) -> anyhow::Result<()> {
    let control = Command::new(binary)
        .args(["--seed=1", "--without-sync"])
        .arg(format!("--count={CONTROL_COUNT}"))
        .output()
        .context("run the control")?;
    ensure!(
        !control.status.success(),
        "without syncing nothing was lost in {CONTROL_COUNT} seeds: the simulator proves nothing"
    );
    println!("simulate: the control without syncing fails, as it must");
    Ok(())
}
