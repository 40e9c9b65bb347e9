//! One run of the load generator in a process of its own, and what its report says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value as Json;

use super::trials::Figure;

/// What every run is told.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) generator: PathBuf,
    pub(super) seconds: Option<String>,
    pub(super) warm_up: Option<String>,
    pub(super) directory: Option<PathBuf>,
    pub(super) wait_for_quiet: String,
    pub(super) strict: bool,
    pub(super) long: bool,
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The report.
    pub(super) report: Json,
}

impl Settings {
    /// The command line after the load generator's name.
    pub(super) fn words(&self, words: &str, server: Option<&Path>, half: Option<u64>) -> Vec<String> {
        let large = if self.long { "10m" } else { "1m" };
        let mut all: Vec<String> = words
            .split_whitespace()
            .map(|word| match word {
                "HALF" => half.map_or_else(|| "HALF".to_owned(), |half| half.to_string()),
                "LARGE" => large.to_owned(),
                word => word.to_owned(),
            })
            .collect();
        let mut option = |name: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|_| !words.contains(name)) {
                all.extend([name.to_owned(), value.to_owned()]);
            }
        };
        option("--seconds", self.seconds.as_deref());
        option("--warm-up", self.warm_up.as_deref());
        let directory = self.directory.as_ref().map(|path| path.display().to_string());
        option("--directory", directory.as_deref());
        let server = server.map(|path| path.display().to_string());
        option("--server-binary", server.as_deref());
        all
    }

    /// Runs the load generator.
    pub(super) fn run(&self, words: &[String]) -> anyhow::Result<Run> {
        let mut command = Command::new(&self.generator);
        command
            .args(words)
            .args(["--wait-for-quiet", &self.wait_for_quiet, "--json", "-"]);
        if self.strict {
            command.arg("--strict");
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("start {}", self.generator.display()))?;
        if !output.status.success() {
            bail!("the load generator failed with {}", output.status);
        }
        let report = serde_json::from_slice(&output.stdout).context("read the load generator's report")?;
        Ok(Run { report })
    }
}

impl Run {
    /// A figure; an error names what is missing.
    pub(super) fn figure(&self, figure: Figure) -> anyhow::Result<f64> {
        let found = match figure {
            Figure::Number(name) => self.report.pointer(&format!("/outcomes/0/figures/{name}")),
            Figure::Latency(kind, quantile) => {
                let all = self.report.pointer("/outcomes/0/latencies").and_then(Json::as_array);
                all.and_then(|all| all.iter().find(|latencies| latencies["name"] == kind)?.get(quantile))
            }
        };
        found
            .and_then(Json::as_f64)
            .with_context(|| format!("the report has no {figure:?}"))
    }

    /// What disturbed it.
    pub(super) fn warning(&self) -> Option<&str> {
        self.report.pointer("/outcomes/0/warnings/0")?.as_str()
    }

    /// What was measured: program, arguments and version.
    pub(super) fn server(&self) -> &str {
        self.report
            .pointer("/outcomes/0/server")
            .and_then(Json::as_str)
            .unwrap_or("unknown")
    }

    /// The machine, in a line.
    pub(super) fn machine(&self) -> String {
        let machine = &self.report["machine"];
        let text = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
        format!(
            "{} cores, {}, {:.0} GB of memory, kernel {}, clock {}",
            machine["cores"],
            text("processor"),
            machine["memory_bytes"].as_f64().unwrap_or(0.0) / 1e9,
            text("kernel"),
            text("clock_source")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            generator: "seaway-bench".into(),
            seconds: Some("5".to_owned()),
            warm_up: None,
            directory: None,
            wait_for_quiet: "0".to_owned(),
            strict: false,
            long: false,
        }
    }

    #[test]
    fn words_are_completed_and_never_overridden() {
        let words = |words: &str| settings().words(words, Some(Path::new("s")), Some(500)).join(" ");
        assert_eq!(words("S1 --rate HALF"), "S1 --rate 500 --seconds 5 --server-binary s");
        assert_eq!(
            words("S9 --backlog LARGE --seconds 60"),
            "S9 --backlog 1m --seconds 60 --server-binary s"
        );
    }

    #[test]
    fn figures_are_found_in_a_report() {
        let report = serde_json::json!({ "outcomes": [{
            "figures": { "rate_per_second": 5.0 },
            "latencies": [{ "name": "ack", "p99_us": 7.5 }],
            "warnings": ["noisy"],
        }] });
        let run = Run { report };
        assert_eq!(run.figure(Figure::Number("rate_per_second")).expect("is there"), 5.0);
        assert_eq!(run.figure(Figure::Latency("ack", "p99_us")).expect("is there"), 7.5);
        let error = run.figure(Figure::Latency("sync", "p99_us")).expect_err("is not there");
        assert!(error.to_string().contains("sync"), "{error}");
        assert_eq!((run.warning(), run.server()), (Some("noisy"), "unknown"));
    }
}
