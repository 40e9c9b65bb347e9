//! What can be told of packages, units, rules and dashboards without installing anything: cheap, with every test.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::chart;
use super::debian::{self, Options, Packages};
use crate::shell;

/// `systemd-analyze security` in tenths: what the units may leave open at most.
const EXPOSURE_MAX: &str = "20";

/// The first that judges the security of a unit's file, and verifies one alone.
const SYSTEMD_MIN: u32 = 250;

/// What a variable of a dashboard stands for while an expression is parsed; others stand inside quotes.
const INTERVAL: (&str, &str) = ("$__rate_interval", "5m");

/// Scripts that no test runs on every machine.
const SCRIPTS: [&str; 6] = [
    "deploy/debian/seaway/postinst",
    "deploy/debian/seaway/prerm",
    "deploy/debian/seaway/postrm",
    "deploy/debian/nats-streaming-server/postinst",
    "deploy/debian/nats-streaming-server/prerm",
    "deploy/docker/lay-out",
];

/// Runs every check that is possible here on packages of this server, and returns what was skipped.
pub(crate) fn run(server: &Path) -> anyhow::Result<Vec<String>> {
    let mut skipped = Vec::new();
    for script in SCRIPTS {
        shell::run_quietly(Command::new("sh").arg("-n").arg(shell::root().join(script)))?;
    }
    if shell::is_installed("promtool") {
        check_expressions()?;
    } else {
        skipped.push("the expressions of alerts and dashboards, which need promtool".to_owned());
    }
    if shell::is_installed("dpkg-deb") {
        let scratch = tempfile::tempdir()?;
        let packages = debian::build(&Options {
            server: Some(server.to_owned()),
            output: Some(scratch.path().to_owned()),
            ..Options::default()
        })?;
        skipped.extend(check_packages(&packages, scratch.path())?);
    } else {
        skipped.push("the Debian packages, which need dpkg-deb".to_owned());
    }
    if shell::is_installed("helm") {
        chart::render_all(Path::new("helm"), server, tempfile::tempdir()?.path())?;
    } else {
        skipped.push("the Helm chart, which needs helm".to_owned());
    }
    Ok(skipped)
}

/// Rules and dashboards are PromQL, and the alerts fire as their own tests say.
fn check_expressions() -> anyhow::Result<()> {
    let folder = shell::root().join("deploy/prometheus");
    let promtool = |words: &[&str]| shell::run_quietly(Command::new("promtool").current_dir(&folder).args(words));
    promtool(&["check", "rules", "seaway.rules.yaml"])?;
    promtool(&["test", "rules", "seaway.rules.test.yaml"])?;
    promtool(&["check", "config", "--syntax-only", "../compose/prometheus.yaml"])?;
    let mut rules = Vec::new();
    for entry in fs::read_dir(shell::root().join("deploy/grafana"))? {
        let path = entry?.path();
        let dashboard =
            serde_json::from_str(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
        expressions(&dashboard, &mut rules);
    }
    ensure!(rules.len() > 50, "the dashboards have {} expressions", rules.len());
    let numbered = rules.iter().enumerate();
    let rules: Vec<Value> = numbered
        .map(|(number, expression)| json!({"record": format!("dashboard:{number}"), "expr": expression}))
        .collect();
    let count = rules.len();
    let document = json!({"groups": [{"name": "dashboards", "rules": rules}]});
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("dashboards.yaml");
    fs::write(&file, serde_json::to_string_pretty(&document)?)?;
    shell::run_quietly(Command::new("promtool").args(["check", "rules"]).arg(&file))?;
    println!("packages: {count} expressions of dashboards parsed, alert rules parsed and tested");
    Ok(())
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    if let Some(expression) = value["expr"].as_str() {
        found.push(expression.replace(INTERVAL.0, INTERVAL.1));
    }
    let below = value.as_array().into_iter().flatten();
    let below = below.chain(value.as_object().into_iter().flat_map(|object| object.values()));
    below.for_each(|value| expressions(value, found));
}

/// The packages say who they are, and what lies in them works: the program, its configuration, the units.
fn check_packages(packages: &Packages, scratch: &Path) -> anyhow::Result<Vec<String>> {
    let tree = scratch.join("tree");
    for package in [&packages.seaway, &packages.nats_streaming_server] {
        shell::run_quietly(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&tree))?;
    }
    let field = |name: &str| -> anyhow::Result<String> {
        let said = shell::run_quietly(Command::new("dpkg-deb").arg("--field").arg(&packages.seaway).arg(name))?;
        Ok(said.trim().to_owned())
    };
    ensure!(
        field("Version")? == env!("CARGO_PKG_VERSION"),
        "the version is that of the workspace"
    );
    println!("packages: seaway depends on {}", field("Depends")?);
    let program = tree.join("usr/bin/seaway");
    for file in ["seaway.conf", "member.conf"] {
        let file = tree.join("etc/seaway").join(file);
        shell::run_quietly(Command::new(&program).arg("check-config").arg(file))?;
    }
    let alternative = tree.join("usr/lib/seaway/nats-streaming-server");
    let version = shell::run_quietly(Command::new(alternative).arg("--version"))?;
    ensure!(
        version.contains("nats-streaming-server version"),
        "the alternative says {version}"
    );
    for page in ["seaway.1.gz", "seaway-sub.1.gz", "seaway-bench.1.gz"] {
        ensure!(
            tree.join("usr/share/man/man1").join(page).is_file(),
            "no manual page {page}"
        );
    }
    check_units(&tree)
}

fn check_units(tree: &Path) -> anyhow::Result<Vec<String>> {
    if !shell::is_installed("systemd-analyze") {
        return Ok(vec!["the systemd units, which need systemd-analyze".to_owned()]);
    }
    let said = shell::run_quietly(Command::new("systemd-analyze").arg("--version"))?;
    // systemd 252 (252.39-1)
    let version = said.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    if version.is_none_or(|version: u32| version < SYSTEMD_MIN) {
        let first = said.lines().next().unwrap_or_default();
        return Ok(vec![format!(
            "the systemd units, which need systemd-analyze {SYSTEMD_MIN} or newer: this is {first}"
        )]);
    }
    for unit in ["seaway.service", "seaway-member.service"] {
        // Only what these units say counts: the targets around them are not in the package.
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "--recursive-errors=no"]);
        verify.arg(format!("--root={}", tree.display())).arg(unit);
        let output = verify.output().context("start systemd-analyze")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            said.is_empty() && output.status.success(),
            "systemd-analyze verify {unit}:\n{said}"
        );
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]);
        let said = shell::run_quietly(security.arg(tree.join("usr/lib/systemd/system").join(unit)))?;
        println!("packages: {}", said.lines().last().unwrap_or_default());
    }
    Ok(Vec::new())
}
