//! Builds and installs what later stages need while the test programs run: those wait for most of their time, and who comes after
//! them would find idle processors, an empty target directory and a slow registry.
//!
//! Nothing depends on it: whatever fails here, or is not finished, is done again by the stage that needs it.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use crate::clients::Language;
use crate::{fuzz, shell};

/// The work ahead, in a process of its own that takes only what the tests leave of the processors.
pub(crate) struct Ahead {
    process: Child,
    output: File,
}

impl Ahead {
    /// Begins it, unless none of these stages needs anything.
    pub(crate) fn begin(stages: &[&str]) -> anyhow::Result<Option<Self>> {
        let work: Vec<&str> = Work::ALL
            .iter()
            .filter(|work| work.is_needed(stages))
            .map(|work| work.name())
            .collect();
        if work.is_empty() {
            return Ok(None);
        }
        let output = tempfile::tempfile().context("a file for what is built ahead")?;
        let program = std::env::current_exe().context("the path of this program")?;
        let mut command = match shell::is_installed("nice") {
            true => Command::new("nice"),
            false => Command::new(&program),
        };
        if shell::is_installed("nice") {
            command.args(["-n", "19"]).arg(&program);
        }
        let process = command
            .arg("ahead")
            .args(&work)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()
            .context("start what builds ahead")?;
        Ok(Some(Self { process, output }))
    }

    /// Waits for its end and shows what it said.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.process.wait().context("wait for what builds ahead")?;
        let mut text = Vec::new();
        self.output.rewind()?;
        self.output.read_to_end(&mut text)?;
        print!("{}", String::from_utf8_lossy(&text));
        Ok(())
    }
}

/// One thing that is needed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Server,
    Clients,
    Fuzz,
}

impl Work {
    const ALL: [Self; 3] = [Self::Clients, Self::Server, Self::Fuzz];

    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Clients => "clients",
            Self::Fuzz => "fuzz",
        }
    }

    fn is_needed(self, stages: &[&str]) -> bool {
        let by: &[&str] = match self {
            Self::Server => &[
                "compat",
                "crash",
                "take-overs",
                "orders",
                "sync-trace",
                "idle",
                "readme",
                "packages",
            ],
            Self::Clients => &["compat", "crash", "take-overs"],
            Self::Fuzz => &["fuzz"],
        };
        stages.iter().any(|stage| by.contains(stage))
    }

    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Server => shell::server_binary(None, shell::Profile::Release).map(drop),
            Self::Clients => Language::ALL
                .into_iter()
                // Cargo builds those in Rust in the folder that the tests use.
                .filter(|language| *language != Language::Rust && language.is_installed())
                .try_for_each(Language::prepare),
            Self::Fuzz if fuzz::is_possible() => fuzz::build().map(drop),
            Self::Fuzz => Ok(()),
        }
    }
}

/// Does the named work, each in a thread of its own where it does not wait for the same cargo: `cargo xtask ahead`.
pub(crate) fn run(names: &[String]) {
    let wanted = |work: Work| names.iter().any(|name| name == work.name());
    let attempt = |work: Work| {
        if wanted(work) {
            let outcome = work.run();
            let ended = outcome.map_or_else(|error| format!("{error:#}"), |()| "ready".to_owned());
            println!("ahead: {}: {ended}", work.name());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| attempt(Work::Clients));
        attempt(Work::Server);
        attempt(Work::Fuzz);
    });
}

#[cfg(test)]
mod tests {
    use super::Work;

    #[test]
    fn only_stages_that_exist_need_something() {
        let needing = |work: Work, stage: &str| work.is_needed(&[stage]);
        assert!(needing(Work::Server, "compat") && needing(Work::Fuzz, "fuzz") && needing(Work::Clients, "crash"));
        assert!(
            Work::ALL
                .iter()
                .all(|work| !work.is_needed(&["format", "tidy", "cargo-test"]))
        );
    }
}
