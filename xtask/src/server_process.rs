//! A server binary under test: started on a port of its own, watched through its log, killed without mercy.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use seaway_trial::waiting::free_port;

use crate::shell;

/// How long a start may take at most, replay included.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How many log lines of a server are kept for a failure report.
const LOG_LINES_MAX: usize = 20_000;

/// Which program is under test: they differ in how they are started and in the line that says they are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `seaway serve`
    Seaway,
    /// `nats-streaming-server`
    StreamingServer,
    /// A core-only server, to prove the core scenarios themselves.
    CoreOnly,
}

impl Program {
    pub(crate) fn of(binary: &Path) -> Self {
        match binary.file_name().and_then(|name| name.to_str()) {
            Some("seaway") => Self::Seaway,
            Some("nats-server") => Self::CoreOnly,
            _ => Self::StreamingServer,
        }
    }

    fn ready_line(self) -> &'static str {
        match self {
            Self::Seaway | Self::StreamingServer => "Streaming Server is ready",
            Self::CoreOnly => "Server is ready",
        }
    }

    /// The command line for a server on these ports, with its file store in this directory. HTTP port 0 means no monitoring.
    pub(crate) fn arguments(self, port: Port, http_port: u16, data: &Path) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        if self == Self::Seaway {
            words.push("serve".into());
        }
        words.extend(["-a".into(), "127.0.0.1".into(), "-p".into()]);
        words.push(match port {
            Port::Given(port) => port.to_string(),
            Port::ChosenBySystem => "-1".into(),
        });
        words.extend(["-m".into(), http_port.to_string()]);
        if self != Self::CoreOnly {
            words.extend([
                "--store".into(),
                "file".into(),
                "--dir".into(),
                data.display().to_string(),
            ]);
        }
        words
    }
}

/// The client port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Given(u16),
    ChosenBySystem,
}

/// What a server writes, line by line.
#[derive(Default)]
pub(crate) struct Log {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    open_pipes: usize,
}

impl Log {
    fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        self.lines.lock().expect("no holder panics").open_pipes += 1;
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let mut lines = log.lines.lock().expect("no holder panics");
                if lines.text.len() < LOG_LINES_MAX {
                    lines.text.push(line);
                }
                log.grown.notify_all();
            }
            log.lines.lock().expect("no holder panics").open_pipes -= 1;
            log.grown.notify_all();
        });
    }

    /// Waits for a line that contains the text and returns it; `None` at the deadline, or when the server has closed its output.
    pub(crate) fn wait_for(&self, text: &str, deadline: Duration) -> Option<String> {
        let end = Instant::now() + deadline;
        let mut lines = self.lines.lock().expect("no holder panics");
        loop {
            if let Some(found) = lines.text.iter().find(|line| line.contains(text)) {
                return Some(found.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.open_pipes == 0 {
                return None;
            }
            lines = self.grown.wait_timeout(lines, left).expect("no holder panics").0;
        }
    }

    /// The last lines, for a failure report.
    pub(crate) fn tail(&self) -> String {
        let lines = self.lines.lock().expect("no holder panics");
        let from = lines.text.len().saturating_sub(40);
        lines.text[from..].iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "    | {line}");
            all
        })
    }
}

/// A server that can be killed and started again with the same data and ports. Dropping it kills it.
pub(crate) struct ServerProcess {
    binary: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    log: Arc<Log>,
    port: u16,
    /// What this server is attached to: killed with it, and started before it.
    pub(crate) nats: Option<Box<ServerProcess>>,
}

impl ServerProcess {
    /// Starts a server on a port of its own below the system's range for outgoing connections. (A client that keeps dialling a
    /// port inside that range while the server is down can end up connected to itself, and then holds the port.)
    pub(crate) fn start(binary: &Path, data: &Path, http_port: u16, extra: &[&str]) -> anyhow::Result<Self> {
        let mut server = Self::prepare(binary, data, http_port, extra)?;
        server.start_again()?;
        Ok(server)
    }

    /// The same without starting it yet.
    pub(crate) fn prepare(binary: &Path, data: &Path, http_port: u16, extra: &[&str]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut arguments = Program::of(binary).arguments(Port::Given(port), http_port, data);
        arguments.extend(extra.iter().map(ToString::to_string));
        Ok(Self {
            binary: binary.to_owned(),
            arguments,
            child: None,
            log: Arc::default(),
            port,
            nats: None,
        })
    }

    /// The address for clients, as `nats://host:port`.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of memory that belong to the process alone.
    pub(crate) fn anonymous_memory(&self) -> anyhow::Result<u64> {
        let id = self.child.as_ref().context("the server is not running")?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("read the server's memory use")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .context("no RssAnon line")?;
        let kilobytes: u64 = line
            .trim()
            .trim_end_matches("kB")
            .trim()
            .parse()
            .context("the RssAnon line")?;
        Ok(kilobytes * 1024)
    }

    /// The process, while it runs.
    pub(crate) fn process(&self) -> anyhow::Result<u32> {
        Ok(self.child.as_ref().context("the server is not running")?.id())
    }

    /// Sends the process a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let process = self.process()?.to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        ensure!(sent.context("start kill")?.success(), "no SIG{name} for the server");
        Ok(())
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait_until_ended(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("the server is not running")?;
        let mut has_ended = || child.try_wait().is_ok_and(|status| status.is_some());
        ensure!(
            shell::wait_until(deadline, &mut has_ended),
            "the server did not end within {deadline:?}"
        );
        self.child = None;
        Ok(())
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("kill the server")?;
            child.wait().context("wait for the killed server")?;
        }
        if let Some(nats) = &mut self.nats {
            nats.kill()?;
        }
        Ok(())
    }

    /// Starts the killed server and returns when it says that it is ready.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.spawn()?;
        let program = Program::of(&self.binary);
        if self.log.wait_for(program.ready_line(), START_DEADLINE).is_none() {
            bail!(
                "the server did not become ready within {START_DEADLINE:?}:\n{}",
                self.log.tail()
            );
        }
        if self.arguments.iter().any(|word| word == "-ns") {
            // Its clients are somewhere else.
            return Ok(start.elapsed());
        }
        let listening = self
            .log
            .wait_for("Listening for client connections on ", START_DEADLINE);
        let named = listening.as_deref().and_then(port_of);
        if named != Some(self.port) {
            bail!("the server on port {} says {listening:?}", self.port);
        }
        Ok(start.elapsed())
    }

    /// Starts the killed server without waiting for it.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        if let Some(nats) = &mut self.nats {
            nats.start_again()?;
        }
        self.log = Arc::default();
        let mut child = Command::new(&self.binary)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        self.log.follow(child.stdout.take().expect("stdout was asked for"));
        self.log.follow(child.stderr.take().expect("stderr was asked for"));
        self.child = Some(child);
        Ok(())
    }

    /// Whether a line with this text was written by now.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log.wait_for(text, Duration::ZERO).is_some()
    }

    /// The last lines of the log, for a failure report.
    pub(crate) fn log_tail(&self) -> String {
        self.log.tail()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Gathers what a process of our own making writes.
pub(crate) fn follow(child: &mut Child) -> Arc<Log> {
    let log = Arc::new(Log::default());
    if let Some(pipe) = child.stdout.take() {
        log.follow(pipe);
    }
    if let Some(pipe) = child.stderr.take() {
        log.follow(pipe);
    }
    log
}

/// The port at the end of `... on HOST:PORT`.
pub(crate) fn port_of(line: &str) -> Option<u16> {
    line.trim_end().rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_last_number_of_the_line() {
        assert_eq!(
            port_of("[1] 2026/01/01 00:00:00.0 [INF] Listening for client connections on 127.0.0.1:4222"),
            Some(4222)
        );
        assert_eq!(
            port_of("[INF] Listening for client connections on [::1]:14222\n"),
            Some(14222)
        );
        assert_eq!(port_of("no port here"), None);
    }

    #[test]
    fn each_program_gets_the_command_line_it_knows() {
        let data = Path::new("data");
        let of = |name: &str| {
            Program::of(Path::new(name))
                .arguments(Port::ChosenBySystem, 1, data)
                .join(" ")
        };
        assert_eq!(of("x/seaway"), "serve -a 127.0.0.1 -p -1 -m 1 --store file --dir data");
        assert_eq!(
            of("x/nats-streaming-server"),
            "-a 127.0.0.1 -p -1 -m 1 --store file --dir data"
        );
        assert_eq!(of("x/nats-server"), "-a 127.0.0.1 -p -1 -m 1");
    }
}
