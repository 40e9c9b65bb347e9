//! The processes of the system: started one after another, stopped in the reverse order, their output with their names before it.

use std::io::Write as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// How long a process may take to be ready, and to stop.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often to look whether the server has said its ports.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Characters for a name before a line.
const NAME_WIDTH: usize = 19;

/// The processes that run. When this is dropped they are killed.
pub(super) struct Children {
    running: Vec<(String, Child)>,
}

impl Children {
    pub(super) fn new() -> Self {
        Self { running: Vec::new() }
    }

    /// Starts a service; returns what its line `ready: NAME ADDRESS` says.
    pub(super) async fn start(&mut self, name: &str, program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(program);
        command.args(arguments);
        let ready = self.spawn(name, command)?;
        match timeout(READY_TIMEOUT, ready).await {
            Ok(Ok(address)) => Ok(address),
            Ok(Err(_)) => bail!("{name} has ended before it was ready"),
            Err(_) => bail!("{name} was not ready within {READY_TIMEOUT:?}"),
        }
    }

    /// Starts the Seaway server on ports that the system chooses; returns its URL.
    pub(super) async fn start_server(&mut self, program: &Path, data: &Path) -> anyhow::Result<String> {
        let ports = tempfile::tempdir().context("make a folder for the ports")?;
        let mut command = Command::new(program);
        command
            .args(["-p", "-1", "-m", "-1", "-ports_file_dir"])
            .arg(ports.path())
            .arg("-dir")
            .arg(data.join("seaway"));
        self.spawn("seaway", command)?;
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(url) = url_in(ports.path())? {
                return Ok(url);
            }
            if let Some((_, server)) = self.running.last_mut()
                && let Some(status) = server.try_wait()?
            {
                bail!("the server has ended before it was ready: {status}");
            }
            if Instant::now() > deadline {
                bail!("the server was not ready within {READY_TIMEOUT:?}");
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn spawn(&mut self, name: &str, mut command: Command) -> anyhow::Result<oneshot::Receiver<String>> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches the runner, and the runner stops the others in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let (tell, ready) = oneshot::channel();
        if let Some(output) = child.stdout.take() {
            tokio::spawn(forward(name.to_owned(), output, Some(tell)));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(forward(name.to_owned(), output, None));
        }
        self.running.push((name.to_owned(), child));
        Ok(ready)
    }

    /// Waits until one of the processes ends.
    pub(super) async fn ended(&mut self) -> (String, ExitStatus) {
        let waiting = self.running.iter_mut().map(|(name, child)| {
            Box::pin(async move {
                match child.wait().await {
                    Ok(status) => (name.clone(), status),
                    // It cannot be waited for: nothing to say about its end.
                    Err(_) => std::future::pending().await,
                }
            })
        });
        let (ended, _, _) = futures_util::future::select_all(waiting).await;
        ended
    }

    /// Stops all processes, the last one first, and waits for them.
    pub(super) async fn stop(mut self) {
        while let Some((name, mut child)) = self.running.pop() {
            let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            // One that has ended has no ID any more.
            let Some(pid) = pid else { continue };
            let _ = kill_process(pid, Signal::TERM);
            if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                say(&format!("{name} does not stop, and is killed"));
                let _ = child.kill().await;
            }
        }
    }
}

/// The URL in the ports file of a server, once there is one.
fn url_in(folder: &Path) -> anyhow::Result<Option<String>> {
    for entry in std::fs::read_dir(folder).context("look for the server's ports")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ports") {
            let text = std::fs::read_to_string(&path)?;
            let ports: serde_json::Value = serde_json::from_str(&text).context("the server's ports")?;
            let url = ports["nats"][0]
                .as_str()
                .context("the server says no address for clients")?;
            return Ok(Some(url.to_owned()));
        }
    }
    Ok(None)
}

/// Prints the lines of a process with its name, and tells the address in its line of readiness.
async fn forward(name: String, output: impl AsyncRead + Unpin, mut ready: Option<oneshot::Sender<String>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        print(&name, &line);
        let address = line.strip_prefix("ready: ").and_then(|rest| rest.rsplit(' ').next());
        if let Some(address) = address
            && let Some(tell) = ready.take()
        {
            let _ = tell.send(address.to_owned());
        }
    }
}

/// Prints a line of the runner itself.
pub(super) fn say(line: &str) {
    print("orders", line);
}

fn print(name: &str, line: &str) {
    // Nobody listening is no reason to end.
    let _ = writeln!(std::io::stdout().lock(), "{name:<NAME_WIDTH$} | {line}");
}
