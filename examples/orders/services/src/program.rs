//! What all processes of the system have in common: flags, log, readiness and the end.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::backoff::Backoff;

/// How long a process that was asked to stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Where Seaway is, and who asks.
#[derive(Args, Clone, Debug)]
pub struct SeawayArguments {
    /// Address of the Seaway server
    #[arg(
        long,
        env = "ORDERS_NATS",
        default_value = "nats://127.0.0.1:4222",
        value_name = "URL"
    )]
    pub nats: String,
    /// Its cluster ID
    #[arg(long, env = "ORDERS_CLUSTER_ID", default_value = "test-cluster", value_name = "ID")]
    pub cluster_id: String,
    /// Name of this process at the server; two processes never have the same. Default: the name of the program
    #[arg(long, env = "ORDERS_CLIENT_ID", value_name = "ID")]
    pub client_id: Option<String>,
}

/// Says when the process shall end; clones say the same.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// For tests that end by themselves.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        let (tell, stop) = watch::channel(false);
        std::mem::forget(tell);
        Self(stop)
    }

    /// Waits until the process shall end.
    pub async fn requested(&self) {
        // The sender lives as long as the process.
        let _ = self.0.clone().wait_for(|stop| *stop).await;
    }

    /// The outcome of some work, or `None` when the process shall end before.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            () = self.requested() => None,
            outcome = work => Some(outcome),
        }
    }

    /// Whether the process shall end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// Reads the flags and runs a process until its work or somebody else ends it: SIGTERM, SIGINT or SIGHUP. The exit code is 0
/// unless the work fails.
pub fn main<Arguments: Parser, Running>(run: impl FnOnce(Arguments, Stop) -> Running) -> ExitCode
where
    Running: Future<Output = anyhow::Result<()>>,
{
    let arguments = Arguments::parse();
    log_to_standard_error();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let outcome = runtime.block_on(async {
        let stop = watch_signals()?;
        let running = run(arguments, stop.clone());
        tokio::pin!(running);
        tokio::select! {
            outcome = &mut running => return outcome,
            () = stop.requested() => {}
        }
        match tokio::time::timeout(STOP_TIMEOUT, running).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("stopped before everything was closed");
                Ok(())
            }
        }
    });
    // Whatever still runs on threads of its own is a transaction, and the database bears that it is cut off.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn log_to_standard_error() {
    // What the NATS library tells about a connection at this level is told by the services, too.
    let levels = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("async_nats", LevelFilter::ERROR);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(levels).init();
}

fn failed(error: &anyhow::Error) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::FAILURE
}

fn watch_signals() -> anyhow::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (tell, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
        let _ = tell.send(true);
        // It must not be dropped while somebody may still ask.
        std::future::pending::<()>().await;
    });
    Ok(Stop(stop))
}

/// Opens a store, however long its database is away.
pub(crate) async fn open<Store, Opening>(opening: impl Fn() -> Opening) -> anyhow::Result<Store>
where
    Opening: Future<Output = Result<Store, seaway_orders_store::Error>>,
{
    let mut backoff = Backoff::new();
    loop {
        match opening().await {
            Ok(store) => return Ok(store),
            Err(error) if error.is_transient() => backoff.wait(error.to_string()).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says on the standard output that a process serves, and where: `ready: event-store 127.0.0.1:50051`.
pub fn ready(name: &str, address: impl Display) {
    let mut output = std::io::stdout().lock();
    // Nobody listening is no reason to end.
    let _ = writeln!(output, "ready: {name} {address}").and_then(|()| output.flush());
}
