//! Programs under an instruction counter.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::shell;

/// A folder in memory, of which a run takes 200 MB at most.
const MEMORY_DISK: &str = "/dev/shm";

/// What a program prints, and how many instructions it takes.
pub(crate) fn instructions(program: &Path, arguments: &[&str]) -> anyhow::Result<(String, f64)> {
    let profiles = shell::target_directory().join("hot-paths");
    std::fs::create_dir_all(&profiles)?;
    let profile = profiles.join(arguments.join("."));
    let mut option = std::ffi::OsString::from("--callgrind-out-file=");
    option.push(&profile);
    let mut command = Command::new("valgrind");
    in_memory(command.args(["--quiet", "--tool=callgrind"]).arg(option).arg(program)).args(arguments);
    let output = shell::run_quietly(&mut command)?;
    let text = std::fs::read_to_string(&profile)?;
    let total = instructions_of(&text).context("callgrind's profile has no total")?;
    Ok((output, total))
}

/// Each pass of the store syncs, and beside busy neighbours that takes minutes on a disk.
pub(crate) fn in_memory(command: &mut Command) -> &mut Command {
    if Path::new(MEMORY_DISK).is_dir() {
        command.env("TMPDIR", MEMORY_DISK);
    }
    command
}

/// The total of callgrind's only event.
fn instructions_of(profile: &str) -> Option<f64> {
    let total = profile.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    total.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        assert_eq!(instructions_of("events: Ir\nfn=(1) a\n1 2\ntotals: 17\n"), Some(17.0));
        assert_eq!(instructions_of("events: Ir\n"), None);
    }
}
