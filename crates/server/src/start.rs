//! Start and stop, in the order of `streaming-protocol.md` §9.2 and §9.5.
//!
//! The listener is bound before the state is recovered and accepts after: clients that come early wait in the backlog
//! instead of being turned away, and none meets a server that cannot answer.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use seaway_broker::Broker;
use seaway_config::{Options, StoreKind, StreamingOptions};
use seaway_store::{FileOptions, FileStore, MemoryStore, Recovering, Store};
use seaway_streaming::{Engine, Service};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};

use crate::engine::{Clock, EngineThread, Health, Inbox, Tag, World};
use crate::logging::{self, LogHandle};
use crate::monitoring::Monitoring;

/// Exit code after SIGTERM (§7.4).
const EXIT_TERMINATED: u8 = 143;

/// Serves until a signal ends it.
#[allow(clippy::print_stderr, reason = "there is no log yet, or it cannot be written")]
pub fn serve(options: &Options) -> ExitCode {
    let log = match logging::init(options.into()) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("{}: {error:#}", options.personality.program());
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&anyhow!(error).context("start the runtime")),
    };
    match runtime.block_on(run(options, &log)) {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => fatal(&error),
    }
}

/// Start-up failures end with this line and exit code 1 (§7.4).
fn fatal(error: &anyhow::Error) -> ExitCode {
    tracing::error!(target: "stream", fatal = true, "Failed to start: {error:#}");
    ExitCode::FAILURE
}

async fn run(options: &Options, log: &LogHandle) -> Result<u8> {
    raise_file_limit();
    let mut signals = Signals::listen().context("listen to signals")?;
    let streaming = &options.streaming;
    let server_id = token();
    greet(options, &server_id);
    write_pid_file(options)?;
    let mut engine = Engine::new(crate::engine_options::engine_options(streaming, &token())?);
    let broker = Broker::new(broker_options(options));
    let client_listener = bind(&options.broker.host, options.broker.port).await?;
    let monitoring_listener = match options.broker.http_port {
        Some(port) => Some(bind(&options.broker.host, port).await?),
        None => None,
    };
    introduce_broker(options, &broker, &client_listener, monitoring_listener.as_ref())?;

    tracing::info!(target: "stream", "Recovering the state...");
    let inbox = Arc::new(Inbox::default());
    let (store, recovered) = open_store(streaming, &mut engine, &inbox)?;
    match recovered {
        0 => tracing::info!(target: "stream", "No recovered state"),
        channels => tracing::info!(target: "stream", "Recovered {channels} channel(s)"),
    }
    let health = Health::default();
    let stop_monitoring = Arc::new(Notify::new());
    let mut monitoring: Option<tokio::task::JoinHandle<()>> = None;
    let (thread, is_started) = start_engine(engine, store, &broker, &inbox, &health)?;
    is_started.await.context("the engine thread ended while it started")?;
    if let Some(listener) = monitoring_listener {
        let ports = (client_listener.local_addr()?.port(), listener.local_addr()?.port());
        let source = Monitoring::new(options, &server_id, ports, broker.clone(), Arc::clone(&inbox), health);
        listener.set_nonblocking(true).context("serve the monitoring")?;
        let listener = tokio::net::TcpListener::from_std(listener).context("serve the monitoring")?;
        let stop = Arc::clone(&stop_monitoring);
        let stopped = async move { stop.notified().await };
        monitoring = Some(tokio::spawn(seaway_monitor::serve(listener, Arc::new(source), stopped)));
    }
    describe_store(streaming);
    let listening = broker.listen_on(client_listener).context("listen for clients")?;
    tracing::info!("Server is ready");
    tracing::info!(target: "stream", "Streaming Server is ready");
    let exit = signals.until_end(log, &thread).await;
    tracing::info!(target: "stream", "Shutting down.");
    listening.close();
    let outcome = tokio::task::spawn_blocking(move || thread.stop())
        .await
        .context("stop the engine")?;
    broker.shutdown().await;
    if let Some(monitoring) = monitoring {
        stop_monitoring.notify_one();
        // Whatever was being answered ends with it.
        let _ = monitoring.await;
    }
    if let Err(reason) = outcome {
        tracing::error!(target: "stream", "The store could not be closed: {reason}");
        return Ok(1);
    }
    exit
}

/// 22 random base-62 characters.
fn token() -> String {
    (0..22).map(|_| fastrand::alphanumeric()).collect()
}

/// As many connections as the system allows: a server's soft limit is meant for programs that use `select`.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Failing leaves the limit as it was.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

fn greet(options: &Options, server_id: &str) {
    let version = seaway_config::STREAMING_VERSION;
    let cluster_id = &options.streaming.cluster_id;
    tracing::info!(target: "stream", "Starting nats-streaming-server[{cluster_id}] version {version}");
    tracing::info!(target: "stream", "ServerID: {server_id}");
    tracing::info!(target: "stream", "Seaway version: {}", seaway_config::SEAWAY_VERSION);
    tracing::info!(target: "stream", "Git commit: [not set]");
    for notice in &options.notices {
        tracing::warn!(target: "stream", "{notice}");
    }
    if options.streaming.store == StoreKind::File && !options.streaming.file_sync {
        tracing::warn!(
            target: "stream",
            "file_sync is off: acknowledged messages are not synced and can be lost when the machine fails"
        );
    }
}

fn write_pid_file(options: &Options) -> Result<()> {
    let Some(path) = &options.broker.pid_file else {
        return Ok(());
    };
    std::fs::write(path, std::process::id().to_string())
        .with_context(|| format!("could not write pid file {}", path.display()))
}

fn broker_options(options: &Options) -> seaway_broker::BrokerOptions {
    seaway_broker::BrokerOptions {
        server_name: options.broker.name.clone().unwrap_or_default(),
        host: options.broker.host.clone(),
        client_advertise: options.broker.client_advertise.clone(),
        version: seaway_config::BROKER_VERSION.to_owned(),
        max_connections: options.broker.max_connections,
        max_payload: options.broker.max_payload,
        max_control_line: options.broker.max_control_line,
        max_pending: options.broker.max_pending,
        max_subscriptions: options.broker.max_subscriptions,
        max_subscription_tokens: options.broker.max_subscription_tokens,
        write_deadline: options.broker.write_deadline,
        ping_interval: options.broker.ping_interval,
        ping_max: options.broker.ping_max,
        max_closed_clients: options.broker.max_closed_clients,
        no_header_support: options.broker.no_header_support,
        no_fast_producer_stall: options.broker.no_fast_producer_stall,
        ..seaway_broker::BrokerOptions::default()
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let bound = seaway_broker::bind_host(host, port).await;
    bound.map_err(|error| anyhow!("Error listening on port: {host}:{port}, \"{error}\""))
}

fn introduce_broker(
    options: &Options,
    broker: &Broker,
    clients: &TcpListener,
    monitoring: Option<&TcpListener>,
) -> Result<()> {
    tracing::info!("Starting nats-server");
    tracing::info!("  Version:  {}", seaway_config::BROKER_VERSION);
    tracing::info!("  Git:      [not set]");
    tracing::info!("  Name:     {}", broker.server_name());
    tracing::info!("  ID:       {}", broker.server_id());
    let host = &options.broker.host;
    if let Some(listener) = monitoring {
        tracing::info!("Starting http monitor on {host}:{}", listener.local_addr()?.port());
    }
    tracing::info!(
        "Listening for client connections on {host}:{}",
        clients.local_addr()?.port()
    );
    if let Some(directory) = &options.broker.ports_file_dir {
        ports_file(directory, host, clients, monitoring)?;
    }
    tracing::info!("Authentication is off: everyone who reaches this address may publish and subscribe");
    Ok(())
}

/// `<dir>/<executable>_<pid>.ports` (`nats-core.md` §5.6), complete whenever it is seen.
fn ports_file(
    directory: &std::path::Path,
    host: &str,
    clients: &TcpListener,
    monitoring: Option<&TcpListener>,
) -> Result<()> {
    let executable = std::env::current_exe().ok();
    let executable = executable
        .as_deref()
        .and_then(|path| path.file_name())
        .unwrap_or_default()
        .to_string_lossy();
    let name = format!("{executable}_{}.ports", std::process::id());
    let mut json = format!("{{\"nats\":[\"nats://{host}:{}\"]", clients.local_addr()?.port());
    if let Some(listener) = monitoring {
        json.push_str(&format!(
            ",\"monitoring\":[\"http://{host}:{}\"]",
            listener.local_addr()?.port()
        ));
    }
    json.push('}');
    let unfinished = directory.join(format!("{name}.writing"));
    std::fs::write(&unfinished, json)
        .and_then(|()| std::fs::rename(&unfinished, directory.join(name)))
        .with_context(|| format!("could not write the ports file into {}", directory.display()))
}

fn open_store(
    streaming: &StreamingOptions,
    engine: &mut Engine,
    inbox: &Arc<Inbox>,
) -> Result<(Box<dyn Store>, usize)> {
    if streaming.store == StoreKind::Memory {
        return Ok((Box::new(MemoryStore::new()), 0));
    }
    let mut recovering = Recovering::new(engine);
    let waker = Arc::clone(inbox);
    let file = FileOptions {
        synced: streaming.file_sync,
        ..FileOptions::default()
    };
    let store = FileStore::open(&streaming.dir, file, move || waker.wake(), &mut recovering)?;
    let channels = recovering.finish().map_err(|failure| {
        let directory = streaming.dir.display();
        anyhow!("the journal in {directory} holds what this version does not understand: {failure}")
    })?;
    for warning in store.opening_warnings() {
        tracing::warn!(target: "stream", "{warning}");
    }
    Ok((Box::new(store), channels))
}

fn start_engine(
    mut engine: Engine,
    store: Box<dyn Store>,
    broker: &Broker,
    inbox: &Arc<Inbox>,
    health: &Health,
) -> Result<(EngineThread, oneshot::Receiver<()>)> {
    let attachment = broker.attach("streaming", Arc::clone(inbox) as Arc<dyn seaway_broker::Sink>);
    inbox.set_gate(attachment.shared_gate());
    let clock = Clock::start();
    let probe_prefix = |prefix: &str| format!("_INBOX.{prefix}.p.");
    let mut world = World::new(store, attachment.publisher());
    engine
        .start(clock.now(), &mut world)
        .map_err(|error| anyhow!("{error}"))?;
    let prefix = engine.inbox_prefix().to_owned();
    world.set_probe_prefix(probe_prefix(&prefix));
    let subjects = engine.subjects();
    let services = [
        (subjects.discover.clone(), Service::Connect, "Discover"),
        (subjects.pings.clone(), Service::Ping, "Ping"),
        (subjects.publish_wildcard(), Service::Publish, "Publish"),
        (subjects.subscribe.clone(), Service::Subscribe, "Subscribe"),
        (
            subjects.subscription_close.clone(),
            Service::SubscriptionClose,
            "Subscription Close",
        ),
        (subjects.unsubscribe.clone(), Service::Unsubscribe, "Unsubscribe"),
        (subjects.close.clone(), Service::Close, "Close"),
    ];
    for (subject, service, name) in services {
        tracing::debug!(target: "stream", "{name} subject: {subject}");
        subscribe(&attachment, &subject, Tag::Service(service))?;
    }
    subscribe(&attachment, &format!("_INBOX.{prefix}.*"), Tag::Ack)?;
    subscribe(&attachment, &format!("{}*", probe_prefix(&prefix)), Tag::Probe)?;
    let started_at = world.appended;
    crate::engine::start(
        engine,
        world,
        started_at,
        attachment,
        Arc::clone(inbox),
        clock,
        health.clone(),
    )
    .context("start the engine thread")
}

/// Only publishers are held when the engine is behind.
fn subscribe(attachment: &seaway_broker::Attachment, subject: &str, tag: Tag) -> Result<()> {
    let holdable = tag == Tag::Service(Service::Publish);
    attachment
        .subscribe(subject, tag.number(), holdable)
        .map_err(|_| anyhow!("the cluster ID gives an invalid subject: {subject}"))
}

fn describe_store(streaming: &StreamingOptions) {
    tracing::info!(target: "stream", "Message store is {}", streaming.store.name());
    if streaming.store == StoreKind::File {
        tracing::info!(target: "stream", "Store location: {}", streaming.dir.display());
    }
    for line in crate::banner::limits_table(&streaming.limits) {
        tracing::info!(target: "stream", "{line}");
    }
}

/// The signals a server listens to (§7.7), from before it can be seen.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    reopen: Signal,
    ignored: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reopen: signal(SignalKind::user_defined1())?,
            ignored: signal(SignalKind::user_defined2())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal that ends the server; its exit code.
    async fn until_end(&mut self, log: &LogHandle, thread: &EngineThread) -> Result<u8> {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(0),
                _ = self.terminate.recv() => return Ok(EXIT_TERMINATED),
                _ = self.reopen.recv() => match log.reopen() {
                    Ok(logging::Reopened::File) => tracing::info!("File log re-opened"),
                    Ok(logging::Reopened::NotAFile) => tracing::info!("File log re-open ignored, not a file logger"),
                    Err(error) => tracing::error!("File log re-open failed: {error}"),
                },
                _ = self.ignored.recv() => {}
                _ = self.reload.recv() => tracing::error!("Reload: there is no configuration file to reload"),
                () = thread.ended() => bail!("the engine thread ended by itself"),
            }
        }
    }
}
