//! The stage `cargo-test`: cargo builds the test programs, and they run side by side. Most of them wait (for a lease to end, for a
//! redelivery, for a killed server to come back), so that one after another would leave the processors idle for half of the time.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::shell;

/// Test programs that run at the same time.
const LANES: usize = 2;

/// What the test programs told.
#[derive(Default)]
pub(crate) struct Results {
    /// Their result lines, of those that ran at least one test.
    pub(crate) lines: Vec<String>,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// The lines of tests that failed, and programs that ended otherwise than by their tests.
    failures: Vec<String>,
}

impl Results {
    fn take(&mut self, line: &str) {
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
            if passed + failed > 0 {
                self.lines.push(line.to_owned());
            }
        } else if line.starts_with("test ") && line.ends_with(" ... FAILED") {
            self.failures.push(line.to_owned());
        }
    }
}

/// A test program as cargo built it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The package's directory, in which its tests expect to run.
    package: PathBuf,
    name: String,
    executable: PathBuf,
}

/// A test program that ended.
struct Ended {
    title: String,
    output: String,
    took: Duration,
    failure: Option<String>,
}

/// Runs these tests of the workspace, and those in the documentation; what was found is put into `results` also when this is an error,
/// which names the tests that failed.
pub(crate) fn run(programs: Vec<Program>, results: &mut Results) -> anyhow::Result<()> {
    run_side_by_side(programs, results)?;
    run_documentation(results)?;
    if !results.failures.is_empty() {
        bail!("{}", results.failures.join(", "));
    }
    if results.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Builds all tests of the workspace.
pub(crate) fn build() -> anyhow::Result<Vec<Program>> {
    let mut command = shell::cargo();
    command
        .args([
            "test",
            "--workspace",
            "--locked",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("start cargo test")?;
    let output = child.stdout.take().expect("stdout was asked for");
    let mut programs = Vec::new();
    for line in BufReader::new(output).lines() {
        programs.extend(program(&line.context("read cargo test's output")?));
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the tests could not be built: cargo test ended with {status}");
    }
    // The largest first: they start servers and take longest, and the last one to end should be short.
    programs.sort_by_cached_key(|program| {
        let bytes = std::fs::metadata(&program.executable).map_or(0, |file| file.len());
        std::cmp::Reverse(bytes)
    });
    Ok(programs)
}

/// The test program that a message of cargo's tells of.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    Some(Program {
        package: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
        executable: message["executable"].as_str()?.into(),
    })
}

fn run_side_by_side(programs: Vec<Program>, results: &mut Results) -> anyhow::Result<()> {
    let waiting = Mutex::new(VecDeque::from(programs));
    let (ended, endings) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            let (waiting, ended) = (&waiting, ended.clone());
            scope.spawn(move || {
                loop {
                    let next = waiting.lock().expect("no lane panics with the lock").pop_front();
                    let Some(program) = next else { return };
                    if ended.send(run_program(&program)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(ended);
        for ending in endings {
            let ending = ending?;
            println!(
                "\n--- {} ({:.1} s)\n{}",
                ending.title,
                ending.took.as_secs_f64(),
                ending.output
            );
            for line in ending.output.lines() {
                results.take(line);
            }
            results.failures.extend(ending.failure);
        }
        Ok(())
    })
}

fn run_program(program: &Program) -> anyhow::Result<Ended> {
    let title = format!(
        "{} of {}",
        program.name,
        program
            .package
            .strip_prefix(shell::root())
            .unwrap_or(&program.package)
            .display()
    );
    // Shown when all of it is there, or the lines of two would be mixed.
    let mut output = tempfile::tempfile().context("a file for a test's output")?;
    let start = Instant::now();
    let status = with_what_tests_need(&mut Command::new(&program.executable))
        .current_dir(&program.package)
        .env("CARGO_MANIFEST_DIR", &program.package)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .status()
        .with_context(|| format!("start {}", program.executable.display()))?;
    let took = start.elapsed();
    let mut text = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut text)?;
    Ok(Ended {
        // The code of a program whose tests failed, which are named by their lines.
        failure: (!status.success() && status.code() != Some(101)).then(|| format!("{title} ended with {status}")),
        output: String::from_utf8_lossy(&text).into_owned(),
        title,
        took,
    })
}

fn run_documentation(results: &mut Results) -> anyhow::Result<()> {
    let mut command = shell::cargo();
    command
        .args(["test", "--workspace", "--locked", "--no-fail-fast", "--doc"])
        .stdout(Stdio::piped());
    let mut child = with_what_tests_need(&mut command).spawn().context("start cargo test")?;
    let output = child.stdout.take().expect("stdout was asked for");
    for line in BufReader::new(output).lines() {
        let line = line.context("read cargo test's output")?;
        println!("{line}");
        results.take(&line);
    }
    let status = child.wait()?;
    if !status.success() && results.failures.is_empty() {
        results
            .failures
            .push(format!("the documentation's tests ended with {status}"));
    }
    Ok(())
}

/// The client's examples and documentation run against this server, and must not be passed over; some tests call cargo.
fn with_what_tests_need(command: &mut Command) -> &mut Command {
    command
        .env("SERVER_UNDER_TEST", shell::target_directory().join("debug/seaway"))
        .env("CARGO", shell::cargo().get_program())
}

/// Passed and failed tests of a line like `test result: ok. 5 passed; 0 failed; ...`.
fn counts(line: &str) -> Option<(usize, usize)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        rest.split(['.', ';'])
            .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::{Program, counts, program};

    #[test]
    fn result_lines_are_counted() {
        assert_eq!(
            counts("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured"),
            Some((5, 0))
        );
        assert_eq!(
            counts("test result: FAILED. 1 passed; 2 failed; 0 ignored"),
            Some((1, 2))
        );
        assert_eq!(counts("test one::two ... ok"), None);
    }

    #[test]
    fn only_test_programs_are_run() {
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/crates/a/Cargo.toml","target":{{"name":"b"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        assert_eq!(program(&message(false, "\"/t/b\"")), None, "an ordinary program");
        assert_eq!(program(&message(true, "null")), None, "a library");
        let expected = Program {
            package: "/w/crates/a".into(),
            name: "b".into(),
            executable: "/t/b".into(),
        };
        assert_eq!(program(&message(true, "\"/t/b\"")), Some(expected));
        assert_eq!(program("Compiling something"), None);
    }
}
