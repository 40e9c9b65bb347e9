//! `cargo xtask fuzz`: builds the fuzz targets with coverage instrumentation on the stable toolchain and runs each for a while.
//!
//! The corpus is kept in `fuzz/corpus` between runs; an input that fails is left in `fuzz/artifacts`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::shell;

/// Seconds per target when nothing else is said.
pub(crate) const DEFAULT_SECONDS: u32 = 5;

/// What libFuzzer needs from the compiler to see which inputs reach new code.
const INSTRUMENTATION: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Clink-dead-code",
];

/// A run that tried fewer inputs than this proves nothing.
const INPUTS_MIN: u64 = 1_000;

/// What to run.
pub(crate) struct Options {
    pub(crate) seconds: u32,
    /// Names of targets; empty means all.
    pub(crate) targets: Vec<String>,
}

/// Builds and runs the chosen targets; an error names the one that failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !is_possible() {
        shell::loudly("SKIPPED: the fuzz targets, which need a C++ compiler, and none is installed here");
        return Ok(());
    }
    let all = targets()?;
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target is called {unknown:?}; there are {all:?}");
    }
    let binaries = build()?;
    let mut slow = Vec::new();
    for target in all
        .iter()
        .filter(|name| options.targets.is_empty() || options.targets.contains(name))
    {
        let inputs = fuzz(&binaries, target, options.seconds).with_context(|| format!("fuzz target {target}"))?;
        println!(
            "fuzz: {target}: {inputs} inputs in {} s, nothing failed",
            options.seconds
        );
        if inputs < INPUTS_MIN {
            slow.push(target.as_str());
        }
    }
    ensure!(slow.is_empty(), "{slow:?} tried fewer than {INPUTS_MIN} inputs");
    Ok(())
}

/// Whether there is a compiler for libFuzzer.
pub(crate) fn is_possible() -> bool {
    shell::is_installed("c++") || shell::is_installed("g++")
}

/// The targets of the manifest, which must be all the files there are.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = shell::root().join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).context("read fuzz/Cargo.toml")?;
    let paths = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
    let mut listed: Vec<String> = paths.map(str::to_owned).collect();
    listed.sort();
    let mut present = Vec::new();
    for entry in std::fs::read_dir(folder.join("fuzz_targets")).context("list the fuzz targets")? {
        present.extend(
            entry?
                .file_name()
                .to_string_lossy()
                .strip_suffix(".rs")
                .map(str::to_owned),
        );
    }
    present.sort();
    ensure!(
        listed == present,
        "fuzz/Cargo.toml lists {listed:?}, but fuzz_targets holds {present:?}"
    );
    Ok(listed)
}

/// Builds all targets and returns the folder of the binaries.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let host = shell::run_quietly(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let host = host.trim();
    let target_directory = shell::target_directory().join("fuzz");
    let mut command = shell::cargo();
    command.args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--manifest-path",
        "fuzz/Cargo.toml",
    ]);
    // With an explicit target, the flags do not reach build scripts and procedural macros.
    command.args(["--target", host, "--target-dir"]).arg(&target_directory);
    command.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    shell::run(&mut command)?;
    Ok(target_directory.join(host).join("release"))
}

/// Runs one target and returns how many inputs it tried.
fn fuzz(binaries: &std::path::Path, target: &str, seconds: u32) -> anyhow::Result<u64> {
    let folder = shell::root().join("fuzz");
    let (corpus, artifacts) = (
        folder.join("corpus").join(target),
        folder.join("artifacts").join(target),
    );
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(binaries.join(target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg("-print_final_stats=1")
        .arg("-rss_limit_mb=2048");
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    let output = command.output().context("start the target")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let from = text.len().saturating_sub(4000);
        bail!("failed with {}:\n{}", output.status, text.get(from..).unwrap_or(&text));
    }
    let executed = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    executed
        .context("the target printed no statistics")?
        .trim()
        .parse()
        .context("the number of inputs")
}
