//! A server under test, started for one run: on free ports, with a fresh directory that goes when it does.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use tempfile::TempDir;

use crate::stan::{Session, token};
use crate::wire::{Connection, Frame};

/// How long a start may take, recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// A start that takes longer is told of.
const START_TOLD: Duration = Duration::from_secs(10);

/// How long an orderly end may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two attempts to reach a server that starts.
const RETRY: Duration = Duration::from_millis(1);

/// Lines of a server's log that a report of its failure shows.
const LOG_LINES: usize = 20;

/// Which program it is: they differ in how they are started and in what makes them ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// `seaway serve`, file store with sync.
    Seaway,
    /// `nats-streaming-server`, file store with sync.
    NatsStreamingServer,
    /// `nats-server` with JetStream on files.
    NatsServer,
}

/// The limits of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Limits {
    /// None, as the streams that they are compared with have none.
    Unlimited,
    /// The server's own.
    Default,
}

/// How to start it.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program's file.
    pub binary: PathBuf,
    /// Which program that is.
    pub program: Program,
    /// Limits of channels, for streaming servers.
    pub limits: Limits,
    /// More arguments, at the end.
    pub arguments: Vec<String>,
    /// Folder in which its own folder is made.
    pub directory: PathBuf,
    /// Cluster ID, for streaming servers.
    pub cluster_id: String,
    /// Its place in a cluster of two, if it is in one. JetStream is off then: of two servers it makes no cluster of its own.
    pub route: Option<Route>,
}

/// A server's place in a cluster of two.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Port on which it accepts the other one.
    pub own: u16,
    /// Port of the other one, if this one dials.
    pub other: Option<u16>,
}

impl Program {
    /// What a file of this name is; unknown names are taken for streaming servers.
    pub fn of(binary: &Path) -> Program {
        match binary.file_name().and_then(|name| name.to_str()) {
            Some("seaway") => Program::Seaway,
            Some(name) if name.starts_with("nats-server") => Program::NatsServer,
            _ => Program::NatsStreamingServer,
        }
    }
}

impl Launch {
    /// The command line after the program's name.
    fn command_line(&self, port: u16, monitoring: u16, data: &Path) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        if self.program == Program::Seaway {
            words.push("serve".to_owned());
        }
        let (port, monitoring, data) = (port.to_string(), monitoring.to_string(), data.display().to_string());
        words.extend(["-a", "127.0.0.1", "-p", &port, "-m", &monitoring].map(str::to_owned));
        if self.program != Program::NatsServer {
            words.extend(["-store", "file", "-dir", &data, "-cid", &self.cluster_id].map(str::to_owned));
            if self.limits == Limits::Unlimited {
                words.extend(["-mc", "0", "-msu", "0", "-mm", "0", "-mb", "0"].map(str::to_owned));
            }
        } else if self.route.is_none() {
            words.extend(["-js", "-sd", &data].map(str::to_owned));
        }
        if let Some(Route { own, other }) = self.route {
            let address = |port: u16| format!("nats://127.0.0.1:{port}");
            words.extend([
                "-cluster".to_owned(),
                address(own),
                "-cluster_name".to_owned(),
                "bench".to_owned(),
            ]);
            words.extend(other.into_iter().flat_map(|port| ["-routes".to_owned(), address(port)]));
        }
        words.extend(self.arguments.iter().cloned());
        words
    }
}

/// A server's process; it is killed and its files are removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    words: Vec<String>,
    child: Child,
    port: u16,
    monitoring: u16,
    folder: TempDir,
}

impl Server {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not serve in time; with the end of its log.
    pub fn start(launch: Launch) -> Result<Server> {
        let folder = tempfile::Builder::new()
            .prefix("seaway-bench-")
            .tempdir_in(&launch.directory)
            .with_context(|| format!("make a folder in {}", launch.directory.display()))?;
        let (port, monitoring) = (free_port()?, free_port()?);
        let words = launch.command_line(port, monitoring, &folder.path().join("data"));
        let child = spawn(&launch.binary, &words, folder.path())?;
        let mut server = Server {
            launch,
            words,
            child,
            port,
            monitoring,
            folder,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` of its monitoring.
    pub fn monitoring(&self) -> String {
        format!("127.0.0.1:{}", self.monitoring)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it was started with, without places that are different each time.
    pub fn description(&self) -> String {
        let name = self
            .launch
            .binary
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (port, monitoring) = (self.port.to_string(), self.monitoring.to_string());
        let data = self.data().display().to_string();
        let words = self.words.iter().map(|word| match word {
            word if *word == port => "PORT",
            word if *word == monitoring => "PORT",
            word if *word == data => "DIR",
            word if word.starts_with("nats://127.0.0.1:") => "ROUTE",
            word => word,
        });
        std::iter::once(name.as_str())
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Bytes that its files occupy.
    pub fn disk_bytes(&self) -> u64 {
        occupied(&self.data())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill the server")?;
        self.child.wait().context("wait for the killed server")?;
        Ok(())
    }

    /// Ends it in order with SIGTERM.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("end the server")?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait().context("wait for the server")?.is_none() {
            if Instant::now() > deadline {
                bail!("the server did not end within {} seconds", STOP_TIMEOUT.as_secs());
            }
            std::thread::sleep(RETRY);
        }
        Ok(())
    }

    /// Starts it again after an end, with the same files, and says how long it took until it served.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub fn start_again(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.child = spawn(&self.launch.binary, &self.words, self.folder.path())?;
        self.wait_until_ready()?;
        Ok(start.elapsed())
    }

    /// Has the system forget what it holds of the server's files, so that reads come from the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn cool(&self) -> Result<()> {
        for path in files(&self.data()) {
            let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
            file.sync_all().with_context(|| format!("sync {}", path.display()))?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
                .with_context(|| format!("forget {}", path.display()))?;
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        let deadline = start + START_TIMEOUT;
        let mut told = false;
        loop {
            let error = match self.probe() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if start.elapsed() > START_TOLD && !std::mem::replace(&mut told, true) {
                let binary = self.launch.binary.display();
                let text = format!("{binary} does not serve yet ({error}); waiting up to {START_TIMEOUT:?}\n");
                // Whoever reads it; the run goes on without.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
            let ended = self.child.try_wait().context("look after the server")?;
            if ended.is_some() || Instant::now() > deadline {
                let state = ended.map_or_else(|| "does not serve".to_owned(), |status| format!("ended with {status}"));
                let log = log_tail(&self.folder.path().join(LOG));
                let binary = self.launch.binary.display();
                return Err(error).context(format!("{binary} {state}; its log ends with:\n{log}"));
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Whether it serves what it is there for.
    fn probe(&self) -> std::io::Result<()> {
        match self.launch.program {
            Program::Seaway | Program::NatsStreamingServer => {
                let client_id = format!("bench-probe-{}", token());
                Session::open(self.address(), &self.launch.cluster_id, &client_id)?.close()
            }
            Program::NatsServer => {
                let mut connection = Connection::open(self.address())?;
                if self.launch.route.is_some() {
                    return Ok(());
                }
                connection.subscribe("bench.probe");
                connection.publish("$JS.API.INFO", "bench.probe", b"");
                match connection.next_frame(Duration::from_secs(5))? {
                    Frame::Message { header_bytes: 0, .. } => Ok(()),
                    other => Err(std::io::Error::other(format!("JetStream is not there: {other:?}"))),
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The log's file beside the data.
const LOG: &str = "server.log";

fn spawn(binary: &Path, words: &[String], folder: &Path) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join(LOG))
        .context("open the server's log")?;
    Command::new(binary)
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the server's log")?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))
}

fn log_tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// A port nobody listens on, below those that the system gives to outgoing connections.
pub(crate) fn free_port() -> Result<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest_outgoing = range
        .split_whitespace()
        .next()
        .and_then(|low| low.parse().ok())
        .unwrap_or(32_768);
    if lowest_outgoing > 11_000 {
        for _ in 0..1000 {
            let port = fastrand::u16(10_000..lowest_outgoing);
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
    }
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() { files(&path) } else { vec![path] }
    });
    paths.collect()
}

/// Bytes that the files of a folder occupy on the disk; a file that goes away meanwhile counts nothing.
pub(crate) fn occupied(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    files(folder)
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|file| file.blocks() * 512)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(name: &str, limits: Limits) -> String {
        launch(name, limits).command_line(1, 2, Path::new("data")).join(" ")
    }

    fn launch(name: &str, limits: Limits) -> Launch {
        Launch {
            binary: name.into(),
            program: Program::of(Path::new(name)),
            limits,
            arguments: vec!["-D".to_owned()],
            directory: "tmp".into(),
            cluster_id: "cid".to_owned(),
            route: None,
        }
    }

    #[test]
    fn two_servers_find_each_other() {
        let words = |name: &str, other: Option<u16>| {
            let launch = Launch {
                route: Some(Route { own: 3, other }),
                ..launch(name, Limits::Default)
            };
            launch.command_line(1, 2, Path::new("data")).join(" ")
        };
        let cluster = "-cluster nats://127.0.0.1:3 -cluster_name bench";
        assert_eq!(
            words("nats-server", None),
            format!("-a 127.0.0.1 -p 1 -m 2 {cluster} -D")
        );
        let seaway = words("seaway", Some(4));
        assert!(
            seaway.ends_with(&format!("-cid cid {cluster} -routes nats://127.0.0.1:4 -D")),
            "{seaway}"
        );
    }

    #[test]
    fn each_program_gets_the_command_line_it_knows() {
        let unlimited = "-mc 0 -msu 0 -mm 0 -mb 0 -D";
        let streaming = "-a 127.0.0.1 -p 1 -m 2 -store file -dir data -cid cid";
        assert_eq!(
            command_line("x/seaway", Limits::Unlimited),
            format!("serve {streaming} {unlimited}")
        );
        assert_eq!(
            command_line("x/seaway", Limits::Default),
            format!("serve {streaming} -D")
        );
        assert_eq!(
            command_line("nats-streaming-server", Limits::Unlimited),
            format!("{streaming} {unlimited}")
        );
        assert_eq!(
            command_line("nats-server-2.12", Limits::Default),
            "-a 127.0.0.1 -p 1 -m 2 -js -sd data -D"
        );
    }

    #[test]
    fn a_program_that_does_not_serve_is_reported_with_its_log() {
        let launch = Launch {
            binary: "/bin/echo".into(),
            program: Program::NatsStreamingServer,
            limits: Limits::Default,
            arguments: vec!["last words".to_owned()],
            directory: std::env::temp_dir(),
            cluster_id: "cid".to_owned(),
            route: None,
        };
        let error = Server::start(launch).expect_err("echo is no server");
        let text = format!("{error:#}");
        assert!(text.contains("last words") && text.contains("ended with"), "{text}");
    }

    #[test]
    fn files_are_counted_in_folders_too() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("inner")).expect("a folder inside");
        fs::write(folder.path().join("inner/file"), vec![1; 10_000]).expect("a file");
        assert_eq!(files(folder.path()).len(), 1);
        assert_eq!(occupied(&folder.path().join("missing")), 0);
    }
}
