//! Runs the scenarios of `compat/`: a server and a client process for each language and suite, two runs at a time.
//!
//! It decides what counts as a pass: every scenario of the suite's list reported `ok`, none reported `FAIL`, the process ended by
//! itself with code zero.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use seaway_trial::waiting::free_port;

use crate::clients::{Language, Suite};
use crate::server_process::{Program, ServerProcess};
use crate::{control, secured, shell};

/// How long one suite may take; the scenarios have shorter deadlines of their own.
const SUITE_DEADLINE: Duration = Duration::from_secs(300);

/// Servers and clients share two cores with each other.
const RUNS_AT_A_TIME: usize = 2;

/// A client that died without a word is given up after about four seconds rather than five minutes.
const QUICK_HEARTBEATS: [&str; 6] = ["-hb_interval", "1s", "-hb_timeout", "2s", "-hb_fail_count", "3"];

/// What to run; empty lists mean everything.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) languages: Vec<String>,
    pub(crate) suites: Vec<String>,
    pub(crate) scenarios: Vec<String>,
    pub(crate) server: Option<PathBuf>,
    /// The clients are at a NATS server of somebody else, and the streaming server is attached to it: the streaming suite only.
    pub(crate) external: bool,
}

/// How a compat run ended.
pub(crate) struct Summary {
    pub(crate) passed: usize,
    /// The languages that are not on this machine.
    pub(crate) skipped: Vec<&'static str>,
}

/// Installs the clients, runs the chosen suites, reports; an error if a scenario failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<Summary> {
    let chosen = chosen_runs(options)?;
    let languages: Vec<Language> = Language::ALL
        .into_iter()
        .filter(|language| chosen.iter().any(|(of, _)| of == language))
        .collect();
    let (present, absent): (Vec<Language>, Vec<Language>) =
        languages.into_iter().partition(|language| language.is_installed());
    let binary = prepare(options, &present)?;

    let runs: Vec<(Language, Suite)> = chosen
        .into_iter()
        .filter(|(language, suite)| {
            present.contains(language)
                && (!matches!(suite, Suite::Streaming | Suite::Metrics) || Program::of(&binary) != Program::CoreOnly)
                && (!options.external || *suite == Suite::Streaming)
        })
        .collect();
    let reports = run_all(&runs, &binary, options);

    let (mut passed, mut failed) = (0, Vec::new());
    for report in &reports {
        passed += report.passed;
        failed.extend(
            report
                .problems
                .iter()
                .map(|problem| format!("{} {problem}", report.title)),
        );
    }
    let skipped: Vec<&'static str> = absent.iter().map(|language| language.name()).collect();
    for language in &skipped {
        shell::loudly(&format!(
            "SKIPPED: the scenarios in {language}, which is not installed here"
        ));
    }
    println!(
        "compat: {passed} scenarios passed, {} failed, skipped languages: {skipped:?}",
        failed.len()
    );
    if !failed.is_empty() {
        bail!("scenarios failed:\n  {}", failed.join("\n  "));
    }
    if passed == 0 {
        bail!("no scenario was run");
    }
    Ok(Summary { passed, skipped })
}

fn chosen_runs(options: &Options) -> anyhow::Result<Vec<(Language, Suite)>> {
    let known = |name: &String| {
        Language::ALL.iter().any(|language| language.name() == name)
            || Suite::ALL.iter().any(|suite| suite.name() == name)
    };
    if let Some(unknown) = options
        .languages
        .iter()
        .chain(&options.suites)
        .find(|name| !known(name))
    {
        bail!("unknown language or suite {unknown:?}");
    }
    let wanted = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
    let mut runs = Vec::new();
    // The long suites first, so that the last one to finish is short.
    for suite in [Suite::Streaming, Suite::Secured, Suite::Core, Suite::Metrics] {
        for language in Language::ALL {
            if wanted(&options.languages, language.name())
                && wanted(&options.suites, suite.name())
                && language.suites().contains(&suite)
            {
                runs.push((language, suite));
            }
        }
    }
    Ok(runs)
}

/// Installs the clients while the server is being built.
fn prepare(options: &Options, languages: &[Language]) -> anyhow::Result<PathBuf> {
    std::thread::scope(|scope| {
        let installing: Vec<_> = languages
            .iter()
            .map(|language| {
                scope.spawn(move || {
                    let start = Instant::now();
                    let outcome = language.prepare();
                    println!(
                        "compat: {} clients ready after {:.1} s",
                        language.name(),
                        start.elapsed().as_secs_f64()
                    );
                    outcome
                })
            })
            .collect();
        let binary = shell::streaming_server_binary(options.server.as_deref());
        for one in installing {
            one.join().expect("an installation does not panic")?;
        }
        binary
    })
}

/// What came of one language and suite.
struct Report {
    title: String,
    passed: usize,
    problems: Vec<String>,
}

fn run_all(runs: &[(Language, Suite)], binary: &Path, options: &Options) -> Vec<Report> {
    let queue = Mutex::new(runs.iter());
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..RUNS_AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no holder panics").next();
                    let Some((language, suite)) = next else { return };
                    let title = format!("{} {}", language.name(), suite.name());
                    let report = run_one(*language, *suite, binary, options).unwrap_or_else(|error| Report {
                        title: title.clone(),
                        passed: 0,
                        problems: vec![format!("{error:#}")],
                    });
                    reports.lock().expect("no holder panics").push(report);
                }
            });
        }
    });
    reports.into_inner().expect("no holder panics")
}

/// Ends a run's server with the run: the control channel keeps the process itself for as long as it listens.
struct Ending(Arc<Mutex<ServerProcess>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Ok(mut server) = self.0.lock() {
            let _ = server.kill();
        }
    }
}

/// A NATS server of somebody else: `nats-server` where it is installed, and else Seaway's own broker under another cluster ID.
fn foreign_nats(binary: &Path, data: &Path) -> anyhow::Result<ServerProcess> {
    let installed = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .chain(["/usr/sbin".into()])
        .map(|folder: PathBuf| folder.join("nats-server"))
        .find(|program| program.is_file());
    match installed {
        Some(program) => ServerProcess::start(&program, data, 0, &[]),
        None => ServerProcess::start(binary, data, 0, &["-cid", "somebody-else"]),
    }
}

fn run_one(language: Language, suite: Suite, binary: &Path, options: &Options) -> anyhow::Result<Report> {
    let scenarios = &options.scenarios;
    let data = tempfile::tempdir()?;
    let http_port = free_port()?;
    let secrets = tempfile::tempdir()?;
    let mut more: Vec<String> = Vec::new();
    match suite {
        Suite::Core | Suite::Metrics => {}
        Suite::Streaming => more.extend(QUICK_HEARTBEATS.map(str::to_owned)),
        Suite::Secured => {
            let file = secured::prepare(secrets.path())?;
            more.extend(["-c".to_owned(), file.display().to_string()]);
        }
    }
    let foreign_data = tempfile::tempdir()?;
    let foreign = options
        .external
        .then(|| foreign_nats(binary, foreign_data.path()))
        .transpose()?;
    if let Some(foreign) = &foreign {
        more.extend(["-ns".to_owned(), foreign.url()]);
    }
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let mut server = ServerProcess::start(binary, data.path(), http_port, &more)?;
    let url = foreign.as_ref().unwrap_or(&server).url();
    server.nats = foreign.map(Box::new);
    let server = Arc::new(Mutex::new(server));
    let _ending = Ending(Arc::clone(&server));
    let control = control::listen(Arc::clone(&server))?;
    let mut command = language.command(suite);
    command
        .env("SEAWAY_URL", url)
        .env("SEAWAY_HTTP", format!("http://127.0.0.1:{http_port}"))
        .env("SEAWAY_CONTROL", control.to_string())
        .env("SEAWAY_CLUSTER", "test-cluster")
        .env("SEAWAY_SECRETS", secrets.path())
        .env("SEAWAY_SCENARIOS", scenarios.join(","));

    let beside = if options.external { ", external NATS" } else { "" };
    let title = format!("{} {}{beside}", language.name(), suite.name());
    let start = Instant::now();
    let outcome = watch(&mut command, SUITE_DEADLINE)?;
    let wanted: Vec<&str> = language
        .scenarios(suite)
        .filter(|name| scenarios.is_empty() || scenarios.iter().any(|one| one == name))
        .collect();
    let report = judge(title, &outcome, &wanted);
    show(&report, &outcome, start.elapsed());
    if !report.problems.is_empty() {
        println!(
            "  the server's last words:\n{}",
            server.lock().expect("no holder panics").log_tail()
        );
    }
    Ok(report)
}

/// What a client process said, with the time since the line before, and how it ended.
struct Outcome {
    lines: Vec<(String, Duration)>,
    ending: String,
    success: bool,
}

/// Runs the client process to its end, or kills it at the deadline.
fn watch(command: &mut Command, deadline: Duration) -> anyhow::Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    let output = child.stdout.take().expect("stdout was asked for");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let start = Instant::now();
    let (mut lines, mut before) = (Vec::new(), start);
    loop {
        match receiver.recv_timeout(deadline.saturating_sub(start.elapsed())) {
            Ok(line) => {
                lines.push((line, before.elapsed()));
                before = Instant::now();
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                return Ok(Outcome {
                    lines,
                    ending: format!("was stopped after {deadline:?}"),
                    success: false,
                });
            }
        }
    }
    let status = child.wait()?;
    Ok(Outcome {
        lines,
        ending: format!("ended with {status}"),
        success: status.success(),
    })
}

fn judge(title: String, outcome: &Outcome, wanted: &[&str]) -> Report {
    let mut verdicts: HashMap<&str, Option<&str>> = HashMap::new();
    for (line, _) in &outcome.lines {
        if let Some(name) = line.strip_prefix("ok ") {
            verdicts.insert(name, None);
        } else if let Some((name, reason)) = line.strip_prefix("FAIL ").and_then(|rest| rest.split_once(": ")) {
            verdicts.insert(name, Some(reason));
        }
    }
    let mut problems = Vec::new();
    let mut passed = 0;
    for name in wanted {
        match verdicts.remove(name) {
            Some(None) => passed += 1,
            Some(Some(reason)) => problems.push(format!("{name}: {reason}")),
            None => problems.push(format!("{name}: not reported")),
        }
    }
    problems.extend(
        verdicts
            .keys()
            .map(|name| format!("{name}: not a scenario of this suite")),
    );
    if problems.is_empty() && !outcome.success {
        problems.push(format!("the client process {}", outcome.ending));
    }
    Report {
        title,
        passed,
        problems,
    }
}

fn show(report: &Report, outcome: &Outcome, took: Duration) {
    let mut text = format!(
        "compat: {} ({:.1} s): {} passed\n",
        report.title,
        took.as_secs_f64(),
        report.passed
    );
    for (line, since) in &outcome.lines {
        text += &format!("  {:>7.3} s  {line}\n", since.as_secs_f64());
    }
    for problem in &report.problems {
        text += &format!("  PROBLEM {problem}\n");
    }
    print!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str], success: bool) -> (usize, Vec<String>) {
        let lines = lines.iter().map(|line| ((*line).to_owned(), Duration::ZERO)).collect();
        let outcome = Outcome {
            lines,
            ending: "ended".into(),
            success,
        };
        let report = judge("x".into(), &outcome, &["a", "b"]);
        (report.passed, report.problems)
    }

    #[test]
    fn a_suite_passes_only_when_every_scenario_said_so() {
        assert_eq!(judged(&["ok a", "noise", "ok b"], true), (2, vec![]));
        assert_eq!(judged(&["ok a"], true), (1, vec!["b: not reported".to_owned()]));
        assert_eq!(
            judged(&["ok a", "FAIL b: it: broke"], false),
            (1, vec!["b: it: broke".to_owned()])
        );
        assert_eq!(
            judged(&["ok a", "ok b"], false),
            (2, vec!["the client process ended".to_owned()])
        );
        assert_eq!(
            judged(&["ok a", "ok b", "ok c"], true),
            (2, vec!["c: not a scenario of this suite".to_owned()])
        );
    }

    #[test]
    fn a_process_that_hangs_is_stopped() {
        let outcome = watch(
            Command::new("sh").args(["-c", "echo ok a; exec sleep 60"]),
            Duration::from_millis(300),
        );
        let outcome = outcome.expect("sh can be started");
        assert_eq!(outcome.lines[0].0, "ok a");
        assert!(!outcome.success);
    }
}
