//! What the test command needs of the system beside Rust, and what it skips without it: the one list of packages.
//!
//! On Debian and its kin they are installed, where nobody has to be asked: as root, or with a sudo that wants no password.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::shell;

/// Something that is looked for.
struct Need {
    is_there: fn() -> bool,
    /// What provides it.
    packages: &'static [&'static str],
    /// The stages that use it.
    stages: &'static [&'static str],
    /// What is not tested without it.
    skipped: &'static str,
}

const NEEDS: [Need; 12] = [
    Need {
        is_there: || is_program("strace"),
        packages: &["strace"],
        stages: &["sync-trace", "take-overs", "take-overs-long"],
        skipped: "the proof from system calls that nothing leaves before it is synced, and faults of disks,",
    },
    Need {
        is_there: || is_program("valgrind"),
        packages: &["valgrind"],
        stages: &["hot-paths"],
        skipped: "the instructions per message",
    },
    Need {
        is_there: || Path::new("/usr/include/nats/nats.h").exists(),
        packages: &["libnats-dev"],
        stages: &["compat", "take-overs", "take-overs-long"],
        skipped: "the scenarios in C",
    },
    Need {
        is_there: has_postgresql,
        packages: &["postgresql"],
        stages: &["cargo-test", "orders", "orders-long"],
        skipped: "the order system on PostgreSQL",
    },
    Need {
        is_there: || is_program("nats-server"),
        packages: &["nats-server"],
        stages: &["cargo-test"],
        skipped: "the load generator, the client and clusters with nats-server",
    },
    Need {
        is_there: || is_program("curl"),
        packages: &["curl"],
        stages: &["readme"],
        skipped: "the commands of the README",
    },
    Need {
        is_there: || is_program("ip"),
        packages: &["iproute2"],
        stages: &["readme", "packages-long"],
        skipped: "the commands of the README",
    },
    Need {
        is_there: || is_program("chromium") && is_program("chromedriver"),
        packages: &["chromium", "chromium-driver"],
        stages: &["cargo-test", "orders", "orders-long"],
        skipped: "the console, and the order system's page, in a browser",
    },
    Need {
        is_there: || is_program("promtool"),
        packages: &["prometheus"],
        stages: &["packages"],
        skipped: "the expressions of alerts and dashboards",
    },
    Need {
        is_there: || is_program("systemd-analyze"),
        packages: &["systemd"],
        stages: &["packages"],
        skipped: "the systemd units",
    },
    Need {
        is_there: || is_program("debootstrap") && is_program("systemd-nspawn"),
        packages: &["debootstrap", "systemd-container"],
        stages: &["packages-long"],
        skipped: "the packages in a system of their own",
    },
    Need {
        is_there: || is_program("c++") || is_program("g++"),
        packages: &["g++"],
        stages: &["fuzz", "fuzz-long"],
        skipped: "fuzzing",
    },
];

/// Whether a program is there, also where only root's `PATH` leads.
fn is_program(name: &str) -> bool {
    let outside = ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    shell::is_installed(name) || outside.iter().any(|program| program.is_file())
}

fn has_postgresql() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    { versions }.any(|version| version.path().join("bin/initdb").is_file())
}

/// Who may install packages here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// This process.
    Own,
    /// Root, whom sudo lends without a question.
    Lent,
    /// Nobody, or there is no apt.
    No,
}

impl Right {
    fn here() -> Right {
        let succeeds = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words).stdin(Stdio::null()).stderr(Stdio::null());
            command.output().is_ok_and(|output| output.status.success())
        };
        if !shell::is_installed("apt-get") {
            return Right::No;
        }
        let is_root = shell::run_quietly(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        match is_root {
            true => Right::Own,
            false if shell::is_installed("sudo") && succeeds("sudo", &["-n", "true"]) => Right::Lent,
            false => Right::No,
        }
    }

    fn apt_get(self) -> Command {
        let mut command = match self {
            Right::Lent => Command::new("sudo"),
            Right::Own | Right::No => Command::new("apt-get"),
        };
        if self == Right::Lent {
            command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// Installs what the stages need and is missing, where that is possible and wanted; otherwise says what to do, and what is skipped.
pub(crate) fn prepare(stages: &[&str], installs: bool) {
    let missing = missing(stages);
    if missing.is_empty() {
        return;
    }
    let right = if installs { Right::here() } else { Right::No };
    if right != Right::No {
        println!("setup: installing {}", packages(&missing).join(" "));
        if let Err(error) = install(right, &packages(&missing)) {
            println!("setup: {error:#}");
        }
    }
    let missing = { missing }
        .into_iter()
        .filter(|need| !(need.is_there)())
        .collect::<Vec<_>>();
    if !missing.is_empty() {
        shell::loudly(&advice(&missing));
    }
}

fn missing(stages: &[&str]) -> Vec<&'static Need> {
    let is_used = |need: &&Need| need.stages.iter().any(|stage| stages.contains(stage));
    NEEDS.iter().filter(is_used).filter(|need| !(need.is_there)()).collect()
}

fn packages(needs: &[&Need]) -> Vec<&'static str> {
    needs.iter().flat_map(|need| need.packages).copied().collect()
}

fn install(right: Right, packages: &[&str]) -> anyhow::Result<()> {
    shell::run_quietly(right.apt_get().args(["update", "--quiet"]))?;
    let words = ["install", "--yes", "--quiet", "--no-install-recommends"];
    shell::run_quietly(right.apt_get().args(words).args(packages)).map(drop)
}

/// The line to run, and what is skipped without it.
fn advice(missing: &[&Need]) -> String {
    let mut text = format!(
        "Missing here; on Debian: sudo apt-get install --no-install-recommends {}",
        packages(missing).join(" ")
    );
    for need in missing {
        let _ = write!(
            text,
            "\n!!  without {}: {} skipped",
            need.packages.join(" and "),
            need.skipped
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_stages_use_is_missed() {
        assert!(missing(&["format", "tidy", "codegen"]).is_empty());
        let used: Vec<&str> = NEEDS.iter().flat_map(|need| need.stages).copied().collect();
        for stage in used {
            assert!(crate::test_command::has_stage(stage), "no stage is called {stage}");
        }
    }

    #[test]
    fn the_advice_is_one_line_to_run_and_says_what_is_lost() {
        let all: Vec<&Need> = NEEDS.iter().collect();
        let advice = advice(&all);
        let first = advice.lines().next().expect("the line to run");
        for package in packages(&all) {
            assert!(first.contains(package), "{package} in {first}");
        }
        assert_eq!(advice.lines().count(), 1 + NEEDS.len(), "{advice}");
        assert!(
            advice.contains("without valgrind: the instructions per message"),
            "{advice}"
        );
    }

    #[test]
    fn sudo_is_never_asked_for_a_password() {
        let words = |right: Right| {
            let command = right.apt_get();
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(words(Right::Own), "apt-get");
        assert_eq!(words(Right::Lent), "sudo -n DEBIAN_FRONTEND=noninteractive apt-get");
    }
}
