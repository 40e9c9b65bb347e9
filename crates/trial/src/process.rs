//! One process of the system: started with its output in a file, known to be ready by a line of it, killed and started again
//! with the same command line.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};

use crate::waiting;

/// How long a start may take at most, on a busy machine and with everything else starting too.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a process may take to end when it is asked to.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// How much of a process's output a failure report shows.
const TAIL_BYTES: u64 = 4096;

/// See the module. Dropping it kills it.
pub struct Process {
    name: String,
    binary: PathBuf,
    arguments: Vec<String>,
    /// What a line of the output contains when the process serves.
    ready: String,
    log: PathBuf,
    /// Where in the log the present life begins.
    life: u64,
    child: Option<Child>,
}

impl Process {
    /// A process that is not started yet; its output will be appended to a file of its name in this directory.
    pub fn new(name: &str, binary: PathBuf, arguments: Vec<String>, ready: &str, logs: &Path) -> Self {
        Self {
            name: name.to_owned(),
            binary,
            arguments,
            ready: ready.to_owned(),
            log: logs.join(format!("{name}.log")),
            life: 0,
            child: None,
        }
    }

    /// What it is called in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the process without waiting for it.
    ///
    /// # Errors
    /// It cannot be started, or its log not be written.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let output = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;
        self.life = output.metadata()?.len();
        let child = Command::new(&self.binary)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the process says that it serves, and returns the line. A process that ends instead is an error: none of
    /// them may give up because a neighbour is away.
    ///
    /// # Errors
    /// It ended, or does not serve in time.
    pub fn wait_ready(&mut self) -> anyhow::Result<String> {
        let end = Instant::now() + START_DEADLINE;
        loop {
            if let Some(line) = self.output()?.lines().find(|line| line.contains(&self.ready)) {
                return Ok(line.to_owned());
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("{} ended with {status} instead of serving:\n{}", self.name, self.tail());
            }
            if Instant::now() > end {
                bail!(
                    "{} did not serve within {START_DEADLINE:?}:\n{}",
                    self.name,
                    self.tail()
                );
            }
            waiting::pause();
        }
    }

    /// Waits for a process that ends by itself.
    ///
    /// # Errors
    /// It does not run, or does not end in time.
    pub fn wait_end(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let Some(child) = &mut self.child else {
            bail!("{} is not running", self.name);
        };
        let mut status = None;
        let ended = waiting::until(deadline, || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        match status {
            Some(status) if ended => {
                self.child = None;
                Ok(status)
            }
            _ => bail!("{} did not end within {deadline:?}:\n{}", self.name, self.tail()),
        }
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().with_context(|| format!("kill {}", self.name))?;
            child.wait().with_context(|| format!("wait for {}", self.name))?;
        }
        Ok(())
    }

    /// Asks the process to end, and expects that it does so cleanly.
    ///
    /// # Errors
    /// It does not run, does not end in time, or says that it failed.
    pub fn stop(&mut self, signal: Signal) -> anyhow::Result<()> {
        let Some(child) = &self.child else {
            return Ok(());
        };
        let id = Pid::from_raw(i32::try_from(child.id())?).context("a process has an id")?;
        rustix::process::kill_process(id, signal).with_context(|| format!("signal {}", self.name))?;
        let status = self.wait_end(STOP_DEADLINE)?;
        if !status.success() {
            bail!("{} ended with {status} when asked to stop:\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// What the process has written in its present life.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn output(&self) -> anyhow::Result<String> {
        read_from(&self.log, self.life).with_context(|| format!("read {}", self.log.display()))
    }

    /// The end of the output, for a failure report.
    pub fn tail(&self) -> String {
        let length = std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
        let text = read_from(&self.log, length.saturating_sub(TAIL_BYTES)).unwrap_or_default();
        text.lines()
            .map(|line| format!("    {} | {line}\n", self.name))
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn read_from(path: &Path, position: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
