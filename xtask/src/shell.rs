//! Where things lie in the work tree, and how other programs are run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The root of the work tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace's root")
}

/// Where cargo builds.
pub(crate) fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// The cargo that runs this program, at the root of the work tree.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program to its end with our own input and output; an exit code other than zero is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {}", describe(command)))?;
    if !status.success() {
        bail!("{} failed with {status}", describe(command));
    }
    Ok(())
}

/// Runs a program quietly; its output is shown only if it fails.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", describe(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed with {}\n{text}{errors}", describe(command), output.status);
    }
    Ok(text)
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Whether a program can be started at all.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

/// How far a program is optimised, by the name of cargo's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Soon built.
    Release,
    /// As in packages: the one to measure.
    Dist,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

/// Builds the programs of a package, and returns the folder in which they lie.
pub(crate) fn build(package: &str, profile: Profile) -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--profile", profile.name(), "--locked", "--package", package]))?;
    Ok(target_directory().join(profile.name()))
}

/// The server, built unless a path was given.
pub(crate) fn server_binary(given: Option<&Path>, profile: Profile) -> anyhow::Result<PathBuf> {
    match given {
        Some(path) => std::path::absolute(path).context("the path given with --server"),
        None => Ok(build("seaway-server", profile)?.join("seaway")),
    }
}

/// The server under the original's name, with its flags and defaults; built unless a path was given.
pub(crate) fn streaming_server_binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let server = server_binary(given, Profile::Release)?;
    if given.is_some() {
        return Ok(server);
    }
    let folder = target_directory().join("release");
    let mut install = Command::new(server);
    install
        .args(["install-as-nats-streaming-server", "--force"])
        .arg(&folder);
    run_quietly(&mut install)?;
    Ok(folder.join("nats-streaming-server"))
}

/// The folder of the programs as the tests build them: with debug assertions and overflow checks. All packages at once, so that
/// features, and with them the dependencies, are those that cargo-test has built already.
pub(crate) fn test_build() -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--workspace", "--all-targets", "--locked", "--quiet"]))?;
    Ok(target_directory().join("debug"))
}

/// Polls a condition that nothing announces until it holds or the deadline passes.
pub(crate) fn wait_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A banner that nobody overlooks in a long log.
pub(crate) fn loudly(text: &str) {
    let bar = "!".repeat(100);
    println!("{bar}\n!!  {text}\n{bar}");
}
