//! Runs every command of `README.md` as it stands, in the order in which a newcomer would.
//!
//! The shell blocks (fences marked `sh`) of one section after the other are run in a network of their own, so that the default
//! ports are free and nothing outside is touched. Conventions that a reader understands too:
//! a command followed by `# until Ctrl-C` goes on in the background and is interrupted before the next server starts; what a
//! `text` block behind a shell block shows must appear in the block's output, line by line, `...` standing for anything.
//! Blocks in Go and Rust must be part of programs that this stage runs. `cargo run -p ...` is replaced by the program that the tests
//! have built already: another choice of packages would build all dependencies once more.

mod blocks;
mod programs;

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::shell;
use blocks::{Block, Line};

/// Commands that this stage cannot run, and why that is no gap.
const RUN_ELSEWHERE: [(&str, &str); 2] = [
    ("cargo xtask test", "runs this stage"),
    ("cargo xtask test --long", "runs this stage"),
];

/// How long a server may take until it answers, a client until it has said what it has to say.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a command that was interrupted may take to end.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// Set inside the network of our own.
const INSIDE: &str = "SEAWAY_README_INSIDE";

/// Runs all of it, and returns what was skipped; an error names the command, its line and what it said.
pub(crate) fn run() -> anyhow::Result<Vec<String>> {
    if std::env::var_os(INSIDE).is_some() {
        return run_inside().map(|()| Vec::new());
    }
    shell::server_binary(None, shell::Profile::Release)?;
    programs::build()?;
    let apart = ["--user", "--map-root-user", "--net"];
    let mut probe = Command::new("unshare");
    let is_apart = shell::run_quietly(probe.args(apart).args(["ip", "link", "set", "lo", "up"])).is_ok();
    if !is_apart || !shell::is_installed("curl") {
        let what = "the commands of the README, which need curl, unshare, ip and the right to a network of their own";
        shell::loudly(&format!("SKIPPED: {what}"));
        return Ok(vec![what.to_owned()]);
    }
    // The build of the tests may have replaced the file of this program.
    let this = shell::target_directory().join("debug").join("xtask");
    let mut inside = Command::new("unshare");
    inside
        .args(apart)
        .args(["sh", "-c", "ip link set lo up && exec \"$0\" readme"])
        .arg(this)
        .env(INSIDE, "1")
        .env("CARGO_NET_OFFLINE", "true");
    shell::run(&mut inside)?;
    Ok(Vec::new())
}

fn run_inside() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(shell::root().join("README.md")).context("read README.md")?;
    let scratch = tempfile::tempdir()?;
    symlink(shell::root().join("docs"), scratch.path().join("docs"))?;
    symlink(shell::target_directory(), scratch.path().join("target"))?;
    let mut reader = Reader {
        scratch: scratch.path(),
        path: std::env::var_os("PATH").unwrap_or_default(),
        running: Vec::new(),
        commands: 0,
    };
    for block in blocks::parse(&text) {
        match &block {
            Block::Shell { lines, shown } => reader.shell(lines, shown)?,
            Block::Program { language, line, text } => {
                programs::run(language, text).with_context(|| format!("README.md:{line}, the {language} program"))?;
                reader.commands += 1;
            }
        }
    }
    reader.interrupt_all()?;
    ensure!(reader.commands > 0, "README.md holds no command");
    println!("readme: {} commands run as they stand", reader.commands);
    Ok(())
}

/// Whether a server's log names the commit of HEAD, where there is a repository.
fn names_commit(log: &str) -> bool {
    let commit = shell::run_quietly(Command::new("git").args(["-C"]).arg(shell::root()).args([
        "rev-parse",
        "--short=7",
        "HEAD",
    ]));
    commit.map_or(true, |commit| log.contains(&format!("Git commit: [{}]", commit.trim())))
}

/// Somebody who types what the README says.
struct Reader<'a> {
    scratch: &'a Path,
    /// Where programs are looked for: what the README exports counts from there on.
    path: OsString,
    running: Vec<Running>,
    commands: usize,
}

/// A command that goes on until it is interrupted.
struct Running {
    text: String,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reader<'_> {
    fn shell(&mut self, lines: &[Line], shown: &[String]) -> anyhow::Result<()> {
        let mut output = String::new();
        for line in lines {
            if let Some((_, reason)) = RUN_ELSEWHERE.iter().find(|(command, _)| *command == line.command) {
                println!("readme: $ {}   (not here: it {reason})", line.command);
                continue;
            }
            println!("readme: $ {}", line.command);
            self.commands += 1;
            let place = || format!("README.md:{}: {}", line.number, line.command);
            if line.exports_path() {
                self.export_path(line).with_context(place)?;
            } else if line.until_interrupted {
                self.start(line).with_context(place)?;
            } else {
                output += &self.finish(line).with_context(place)?;
            }
        }
        if let Some(background) = lines.iter().rfind(|line| line.until_interrupted) {
            if background.starts_server() {
                let log = std::fs::read_to_string(self.log(background)).unwrap_or_default();
                ensure!(
                    names_commit(&log),
                    "the server does not say which commit it was built from:\n{log}"
                );
            }
            output += &std::fs::read_to_string(self.log(background)).unwrap_or_default();
        }
        if let Some(missing) = blocks::first_missing(shown, &output) {
            bail!("the README shows {missing:?}, which is not in the output:\n{output}");
        }
        Ok(())
    }

    /// Runs a command to its end and returns what it printed.
    fn finish(&self, line: &Line) -> anyhow::Result<String> {
        let output = self.command(line).output().context("start a shell")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ended with {}:\n{text}", output.status);
        Ok(text)
    }

    /// Keeps what a command makes of the `PATH` for those behind it, as their shell would.
    fn export_path(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut command = Command::new("bash");
        command
            .args(["-e", "-c", &format!("{}\nprintf %s \"$PATH\"", line.command)])
            .current_dir(self.scratch)
            .env("PATH", &self.path);
        self.path = shell::run_quietly(&mut command)?.into();
        Ok(())
    }

    /// Starts a command that goes on; a server replaces what ran before it.
    fn start(&mut self, line: &Line) -> anyhow::Result<()> {
        if line.starts_server() {
            self.interrupt_all()?;
        }
        let log = self.log(line);
        let file = std::fs::File::create(&log)?;
        let mut command = self.command(line);
        command.stdout(file.try_clone()?).stderr(file);
        let mut running = Running {
            text: line.command.clone(),
            child: command.spawn().context("start a shell")?,
        };
        let said = |running: &mut Running| {
            let ended = running.child.try_wait().ok().flatten();
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            (ended, text)
        };
        let mut last: (Option<ExitStatus>, String) = (None, String::new());
        let ready = shell::wait_until(START_DEADLINE, || {
            last = said(&mut running);
            last.0.is_some() || line.is_up(&last.1)
        });
        if let (Some(status), text) = &last {
            bail!("ended by itself with {status}:\n{text}");
        }
        ensure!(ready, "was not up after {START_DEADLINE:?}:\n{}", last.1);
        self.running.push(running);
        Ok(())
    }

    /// What a command in the background says.
    fn log(&self, line: &Line) -> PathBuf {
        self.scratch.join(format!("{}.log", line.number))
    }

    fn command(&self, line: &Line) -> Command {
        // Cargo needs the work tree; what others leave behind goes with the scratch folder.
        let folder = if line.command.starts_with("cargo ") {
            shell::root()
        } else {
            self.scratch
        };
        let mut command = Command::new("bash");
        let program = blocks::without_cargo(&line.command);
        let mut path = self.path.clone();
        if program.is_some() {
            path.push(":");
            path.push(shell::target_directory().join("debug"));
        }
        let text = program.unwrap_or_else(|| line.command.clone());
        // `exec` makes an interrupt reach the program itself.
        let text = if line.until_interrupted {
            format!("exec {text}")
        } else {
            text
        };
        command
            .args(["-e", "-o", "pipefail", "-c", &text])
            .current_dir(folder)
            .env("PATH", path)
            .env_remove("CARGO")
            .env("SEAWAY_DIR", self.scratch.join("seaway-data"))
            .env("XDG_CONFIG_HOME", self.scratch.join("config"))
            .stdin(Stdio::null());
        command
    }

    fn interrupt_all(&mut self) -> anyhow::Result<()> {
        while let Some(mut running) = self.running.pop() {
            let pid = running.child.id().to_string();
            shell::run_quietly(Command::new("kill").args(["-INT", &pid]))?;
            let mut status = None;
            shell::wait_until(END_DEADLINE, || {
                status = running.child.try_wait().ok().flatten();
                status.is_some()
            });
            let status = status.with_context(|| format!("{} goes on {END_DEADLINE:?} after Ctrl-C", running.text))?;
            ensure!(status.success(), "{} ended with {status} at Ctrl-C", running.text);
        }
        Ok(())
    }
}
