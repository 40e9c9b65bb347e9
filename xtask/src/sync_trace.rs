//! Proves from a system call trace of the real binary that nothing leaves before it is synced.
//!
//! A raw client publishes messages with a marker in each payload and each GUID while the server runs under `strace`. In the trace,
//! every `PubAck` (known by the GUID) and every delivery (known by the payload) that goes to a socket must come after the end of
//! an `fdatasync` that began after the end of the write that put the message into a file. The same run with `-file_sync=false` is
//! the control: there the check must find violations, or it proves nothing.
//!
//! A third run holds every sync up: the engine has to go on meanwhile.

mod trace;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::raw_client::RawClient;
use crate::server_process::{Log, Port, Program, follow, port_of};
use crate::shell;
use trace::Findings;

/// Published one at a time, each waiting for its acknowledgement.
const ONE_BY_ONE: usize = 60;

/// Published in bursts of the size below, so that commit batches hold many messages.
const BURSTS: usize = 15;
const BURST: usize = 20;

/// How long each sync takes in the run that holds them up.
const HOLD: Duration = Duration::from_millis(300);

/// Publishes in that run; one of them has to meet a machine that is not slower than the disk.
const HELD_UP: usize = 10;

/// Starting under `strace` is slow.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Runs the proof and its control, and returns what was skipped; an error if anything left too early, or if the check cannot tell.
pub(crate) fn run(server: Option<PathBuf>) -> anyhow::Result<Vec<String>> {
    if !shell::is_installed("strace") {
        let what = "the proof from system calls: strace is not installed";
        shell::loudly(&format!("SKIPPED: {what}"));
        return Ok(vec![what.to_owned()]);
    }
    let binary = shell::server_binary(server.as_deref(), shell::Profile::Release)?;
    ensure!(
        Program::of(&binary) != Program::CoreOnly,
        "a core-only server syncs nothing"
    );

    let synced = trace_server(&binary, &[]).context("the run with syncing")?;
    println!("sync-trace: {synced}");
    let total = ONE_BY_ONE + BURSTS * BURST;
    ensure!(
        synced.acks == total,
        "{} of {total} acknowledgements were seen in the trace",
        synced.acks
    );
    ensure!(
        synced.deliveries == total,
        "{} of {total} deliveries were seen in the trace",
        synced.deliveries
    );
    ensure!(synced.syncs > 0, "no sync of a data file was seen in the trace");
    if let Some(first) = synced.violations.first() {
        bail!(
            "{} messages left before they were synced; the first: {first}",
            synced.violations.len()
        );
    }

    let control = trace_server(&binary, &["-file_sync=false"]).context("the control without syncing")?;
    println!("sync-trace: control with -file_sync=false: {control}");
    ensure!(
        !control.violations.is_empty(),
        "the check found nothing wrong although syncing was off: it proves nothing"
    );
    hold_up(&binary).context("the run that holds syncs up")?;
    Ok(Vec::new())
}

/// While a publish waits for the disk, whichever thread runs its commit, a question to the engine is answered.
fn hold_up(binary: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, output) = (folder.path().join("data"), folder.path().join("trace"));
    let hold = format!("inject=fdatasync:delay_enter={}", HOLD.as_micros());
    let options = ["-e", "trace=fdatasync", "-e", &hold];
    let mut traced = Traced::start(binary, &data, &output, &options, &[])?;
    let asked = ask_meanwhile(traced.port).with_context(|| format!("the server said\n{}", traced.log.tail()))?;
    traced.stop()?;
    println!("sync-trace: with syncs of {HOLD:?}, {asked} of {HELD_UP} questions were answered before the publish");
    ensure!(asked > 0, "the engine answers nothing while the disk is busy");
    Ok(())
}

/// Publishes one message after the other and asks the engine something while each is on its way to the disk; how many answers
/// came in less than half the time of a sync.
fn ask_meanwhile(port: u16) -> anyhow::Result<usize> {
    let mut publisher = RawClient::connect(port, "publisher")?;
    let mut asker = RawClient::connect(port, "asker")?;
    let mut answered = 0;
    for number in 0..HELD_UP {
        let published = Instant::now();
        publisher.publish("held.up", &[(trace::guid(number), trace::payload(number))])?;
        asker.request("$SEAWAY.api.test-cluster.read.channels", b"")?;
        answered += usize::from(published.elapsed() < HOLD / 2);
        publisher.receive()?;
        ensure!(
            published.elapsed() >= HOLD,
            "a publish was acknowledged before its sync was over"
        );
    }
    Ok(answered)
}

/// Runs the server under `strace`, publishes, stops it, and judges the trace.
fn trace_server(binary: &Path, flags: &[&str]) -> anyhow::Result<Findings> {
    let folder = tempfile::tempdir()?;
    let (data, output) = (folder.path().join("data"), folder.path().join("trace"));
    // Strings long enough for a whole commit batch or socket write; file names with every descriptor.
    let options = ["-y", "-s", "1000000", "-e", trace::SYSTEM_CALLS];
    let mut traced = Traced::start(binary, &data, &output, &options, flags)?;
    let published = publish(traced.port);
    traced.stop()?;
    published.with_context(|| format!("the server said\n{}", traced.log.tail()))?;
    let text = std::fs::read(&output).context("read the trace")?;
    let findings = trace::judge(&String::from_utf8_lossy(&text), &data.display().to_string());
    if findings.violations.is_empty() != flags.is_empty() {
        println!(
            "sync-trace: the trace was left at {}",
            folder.keep().join("trace").display()
        );
    }
    Ok(findings)
}

/// Publishes one by one, then in bursts, with a subscriber listening; returns when everything is acknowledged and delivered.
fn publish(port: u16) -> anyhow::Result<()> {
    const CHANNEL: &str = "sync.trace";
    let mut subscriber = RawClient::connect(port, "subscriber")?;
    subscriber.subscribe(CHANNEL)?;
    let mut publisher = RawClient::connect(port, "publisher")?;
    let acks = publisher.ack_subject();
    let mut numbers = 0..ONE_BY_ONE + BURSTS * BURST;
    let sizes = std::iter::repeat_n(1, ONE_BY_ONE).chain(std::iter::repeat_n(BURST, BURSTS));
    for size in sizes {
        let messages: Vec<_> = numbers
            .by_ref()
            .take(size)
            .map(|n| (trace::guid(n), trace::payload(n)))
            .collect();
        publisher.publish(CHANNEL, &messages)?;
        for _ in 0..size {
            let ack = publisher.receive()?;
            ensure!(
                ack.subject == acks && ack.reply.is_none(),
                "{ack:?} is no acknowledgement"
            );
        }
    }
    for _ in 0..ONE_BY_ONE + BURSTS * BURST {
        subscriber.receive().context("wait for the deliveries")?;
    }
    Ok(())
}

/// A server under `strace`. Dropping it kills both.
struct Traced {
    strace: Child,
    log: std::sync::Arc<Log>,
    port: u16,
}

impl Traced {
    /// Starts it with these options of `strace` and these flags of the server's own.
    fn start(binary: &Path, data: &Path, output: &Path, options: &[&str], flags: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.arg("-f").args(options).arg("-o").arg(output).arg(binary);
        command
            .args(Program::of(binary).arguments(Port::ChosenBySystem, 0, data))
            .args(flags);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut strace = command.spawn().context("start strace")?;
        let log = follow(&mut strace);
        let mut traced = Self { strace, log, port: 0 };
        let listening = traced
            .log
            .wait_for("Listening for client connections on ", START_DEADLINE);
        let ready = traced.log.wait_for("Streaming Server is ready", START_DEADLINE);
        let port = listening.as_deref().and_then(port_of);
        let (Some(port), Some(_)) = (port, ready) else {
            bail!("the server did not become ready under strace:\n{}", traced.log.tail());
        };
        traced.port = port;
        Ok(traced)
    }

    /// Ends the server in an orderly way, so that the trace is whole.
    fn stop(&mut self) -> anyhow::Result<()> {
        for process in self.traced_processes() {
            shell::run_quietly(Command::new("kill").args(["-TERM", &process]))?;
        }
        let ended = shell::wait_until(START_DEADLINE, || matches!(self.strace.try_wait(), Ok(Some(_))));
        ensure!(ended, "the server did not stop on SIGTERM");
        Ok(())
    }

    /// The processes that our strace started.
    fn traced_processes(&self) -> Vec<String> {
        let id = self.strace.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        for process in self.traced_processes() {
            let _ = Command::new("kill").args(["-KILL", &process]).status();
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
