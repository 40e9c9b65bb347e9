//! The life of the process: start and stop, in the order of `streaming-protocol.md` §9.2 and §9.5.
//!
//! The listener is bound before the state is recovered and accepts after: clients that come early wait in the backlog
//! instead of being turned away, and none meets a server that cannot answer. Monitoring answers from the beginning. What owns
//! the store lives shorter: see [`tenure`](crate::tenure).

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use axum::Router;
use seaway_broker::{Broker, Listener, Tls, host_and_port};
use seaway_config::{Options, Personality, StoreKind, StreamingOptions};
use seaway_streaming::LimitsTable;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::administration::Administration;
use crate::bus::{Bus, External};
use crate::console;
use crate::descriptors::Shares;
use crate::files::{Ports, PortsFile, write_pid_file};
use crate::limits::{CLUSTER_PATIENCE, LOG_FLUSH_PATIENCE, TURNS_PER_LOOK_AT_SOCKETS};
use crate::logging::{self, LogHandle, LogTarget, LoggingOptions};
use crate::monitoring::{MonitoredPorts, Monitoring};
use crate::phase::{Phase, Stage};
use crate::reload::{self, Reloading, Reloads, Reread};
use crate::signals::{Ended, Signals};
use crate::system_services::SystemServices;
use crate::tenure::{Alone, Failure, Itself, Lives, Mode, SharedDirectory, Surroundings};
use crate::token::token;

/// Serves until a signal ends it; `reread` reads the options again, for a reload.
#[allow(clippy::print_stderr, reason = "there is no log yet, or it cannot be written")]
pub fn serve(options: &Options, reread: &dyn Fn() -> Result<Options, String>) -> ExitCode {
    let log = match LoggingOptions::try_from(options).and_then(logging::init) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("{}: {error:#}", options.personality.program());
            return ExitCode::FAILURE;
        }
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Sockets are looked at after so many turns of tasks, each of which may take a millisecond or two.
    builder.enable_all().event_interval(TURNS_PER_LOOK_AT_SOCKETS);
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&anyhow!(error).context("start the runtime")),
    };
    let exit = match runtime.block_on(run(options, reread, &log)) {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => fatal(&error),
    };
    // A recovery that was interrupted is still reading; what it has written any later start understands.
    runtime.shutdown_background();
    log.flush(LOG_FLUSH_PATIENCE);
    exit
}

/// Says why the server does not start with these options, where its log is; on the standard error too when that is elsewhere.
#[allow(clippy::print_stderr, reason = "whoever typed the options looks there")]
pub fn refuse(options: &Options, problems: &[String]) -> ExitCode {
    let log = LoggingOptions::try_from(options).and_then(|wanted| {
        let is_elsewhere = !matches!(wanted.target, LogTarget::StandardError);
        logging::init(wanted).map(|log| (log, is_elsewhere))
    });
    let is_elsewhere = log.as_ref().map_or(true, |(_, is_elsewhere)| *is_elsewhere);
    for problem in problems {
        if is_elsewhere {
            eprintln!("{}: {problem}", options.personality.program());
        }
        fatal(&anyhow!("{problem}"));
    }
    if let Ok((log, _)) = log {
        log.flush(LOG_FLUSH_PATIENCE);
    }
    ExitCode::FAILURE
}

/// Start-up failures end with this line and exit code 1 (§7.4).
fn fatal(error: &anyhow::Error) -> ExitCode {
    tracing::error!(target: "stream", fatal = true, "Failed to start: {error:#}");
    ExitCode::FAILURE
}

/// What others see of a server from its start on.
struct Introduced {
    monitoring: Vec<MonitoringTask>,
    administration: Administration,
    system_services: Option<SystemServices>,
    ports: Ports,
    ports_file: Option<PortsFile>,
}

async fn run(options: &Options, reread: Reread<'_>, log: &LogHandle) -> Result<u8> {
    claim_descriptors(options)?;
    let mut signals = Signals::listen().context("listen to signals")?;
    let server_id = token();
    greet(options, &server_id);
    let engine = crate::engine_options::engine_options(&options.streaming)?;
    let limits = engine.limits.clone();
    let broker_options = crate::broker_options::broker_options(options)?;
    crate::broker_options::check_own_credentials(options, &broker_options.access)?;
    let broker = Broker::new(broker_options);
    let group = options.streaming.fault_tolerance.as_ref();
    let phase = group.map_or_else(Phase::default, |options| {
        Phase::of_group(&options.group, broker.server_name())
    });
    let bus = bus(options, &broker).await?;
    let mut sockets = Sockets::bind(options).await?;
    let (reloads, mut reloads_asked) = Reloads::new();
    let introduced = introduce(options, (&broker, &bus), &mut sockets, reloads, |ports| {
        Monitoring::new(options, &server_id, ports, (broker.clone(), bus.clone()), phase.clone())
    })?;
    let surroundings = Surroundings {
        bus: bus.clone(),
        engine,
        server_id,
        phase: phase.clone(),
        archive: options.streaming.archive.clone(),
    };
    // Before the engine looks for another one of its name, so that it finds one anywhere in the cluster.
    join_cluster(&broker, &mut sockets).await?;
    let mode = mode(options, &broker, &surroundings)?;
    bus.settled().await?;
    let mut lives = Lives::new(mode, surroundings);
    let is_served = Notify::new();
    let mut door = Door::new(&broker, sockets.clients, &is_served);
    if group.is_some() {
        // Whoever serves them.
        door.open()?;
    }
    let mut described = false;
    // From the first tenure on clients are let in.
    let begun = |_| {
        if !std::mem::replace(&mut described, true) {
            describe_store(&options.streaming, &limits);
        }
        door.open()?;
        tracing::info!(target: "stream", "Streaming Server is ready");
        Ok(())
    };
    let mut reloading = Reloading {
        options: options.clone(),
        reread,
        broker: broker.clone(),
        log,
        ports: introduced.ports,
        ports_file: introduced.ports_file,
    };
    let ended = tokio::select! {
        failure = lives.run(begun) => failed(failure)?,
        ended = heed(&mut signals, &is_served, log, (&mut reloads_asked, &mut reloading)) => ended,
    };
    tracing::info!(target: "stream", "Shutting down.");
    if !lives.has_engine() && !door.is_open() {
        return Ok(ended.exit_code());
    }
    if group.is_some() {
        lives.prepare_to_hand_over().await;
    }
    phase.enter(Stage::Stopping);
    door.close();
    introduced.administration.stop().await;
    if let Some(services) = introduced.system_services {
        services.stop().await;
    }
    let stopping = stop(lives, bus, broker.clone(), introduced.monitoring);
    until_stopped(stopping, &mut signals, ended).await
}

/// Waits for the end; the exit code. Only the first signal has an effect.
async fn until_stopped(
    stopping: impl Future<Output = Result<bool>>,
    signals: &mut Signals,
    ended: Ended,
) -> Result<u8> {
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            outcome = &mut stopping => return Ok(if outcome? { ended.exit_code() } else { Ended::Failed.exit_code() }),
            _ = signals.end() => tracing::info!(target: "stream", "Shutting down."),
        }
    }
}

/// Takes the file descriptors there are; clients need none where they are at servers of somebody else.
fn claim_descriptors(options: &Options) -> Result<()> {
    let wanted = match options.streaming.external {
        Some(_) => 0,
        None => options.broker.max_connections,
    };
    Shares::claim(wanted, options.broker.cluster.is_some())
}

/// Connects to the other servers of the cluster, if clients come to this one.
async fn join_cluster(broker: &Broker, sockets: &mut Sockets) -> Result<()> {
    let Some(clients) = &sockets.clients else {
        return Ok(());
    };
    broker.expect_clients_on(clients.local_addr()?.port());
    broker.join_cluster(sockets.routes.take()).context("join the cluster")?;
    broker.cluster_formed(CLUSTER_PATIENCE).await;
    Ok(())
}

/// What carries messages: the broker in this process, or NATS servers of somebody else (§11).
async fn bus(options: &Options, broker: &Broker) -> Result<Bus> {
    let streaming = &options.streaming;
    let Some(external) = &streaming.external else {
        return Ok(Bus::of_account(broker, &streaming.account));
    };
    let external = External::connect(external, &format!("_NSS-{}-general", streaming.cluster_id)).await?;
    let (server, ours) = (external.snapshot(), options.broker.max_payload);
    tracing::info!(
        target: "stream",
        "Connected to NATS server {} at {}, version {}", server.server_name, server.url, server.version
    );
    if server.max_payload < ours {
        tracing::warn!(
            target: "stream",
            "The NATS server takes messages of {} bytes at most, less than max_payload here ({ours}): stored messages that are larger \
             cannot be delivered through it", server.max_payload
        );
    }
    let bus = Bus::external(external);
    // What no client gets an answer with is better known before there are clients.
    let attachment = bus.attach("trial", Arc::new(Nothing));
    let mut sender = attachment.sender();
    let _ = sender.send(format!("_INBOX.{}", token()).as_bytes(), None, &[]);
    sender.flush();
    bus.settled().await?;
    Ok(bus)
}

/// Hears nothing.
struct Nothing;

impl crate::bus::Listener for Nothing {
    fn deliver(&self, _batch: crate::bus::Batch) {}
}

/// Where clients come in, once somebody serves them. Without a port of its own it is the fact that they are served.
struct Door<'a> {
    broker: &'a Broker,
    clients: Option<TcpListener>,
    listening: Option<Listener>,
    is_open: bool,
    is_served: &'a Notify,
}

impl<'a> Door<'a> {
    fn new(broker: &'a Broker, clients: Option<TcpListener>, is_served: &'a Notify) -> Door<'a> {
        Door {
            broker,
            clients,
            listening: None,
            is_open: false,
            is_served,
        }
    }

    /// Lets clients in, the first time.
    fn open(&mut self) -> Result<()> {
        if let Some(clients) = self.clients.take() {
            self.listening = Some(self.broker.listen_on(clients).context("listen for clients")?);
            tracing::info!("Server is ready");
        }
        if !std::mem::replace(&mut self.is_open, true) {
            self.is_served.notify_one();
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.is_open
    }

    fn close(self) {
        if let Some(listening) = self.listening {
            listening.close();
        }
    }
}

/// Who grants this server the right to serve.
fn mode(options: &Options, broker: &Broker, surroundings: &Surroundings) -> Result<Mode> {
    let streaming = &options.streaming;
    let Some(group) = &streaming.fault_tolerance else {
        return Ok(Mode::Alone(Box::new(Alone::new(streaming))));
    };
    let name = broker.server_name();
    let itself = Itself {
        server_id: &surroundings.server_id,
        name,
        is_connected: options.broker.cluster.is_some() || streaming.external.is_some(),
    };
    let (bus, phase) = (&surroundings.bus, surroundings.phase.clone());
    let shared = SharedDirectory::new(streaming, group, &itself, bus, phase)?;
    Ok(Mode::SharedDirectory(Box::new(shared)))
}

/// What a failure of the engine's lives means for the process.
fn failed(failure: Failure) -> Result<Ended> {
    match failure {
        Failure::Start(error) => Err(error),
        Failure::Broken(words) => {
            tracing::error!(target: "stream", fatal = true, "{words}");
            Ok(Ended::Failed)
        }
    }
}

/// Waits for a signal that ends the server. Other signals wait until clients are served, and then have their effect.
async fn heed(
    signals: &mut Signals,
    is_served: &Notify,
    log: &LogHandle,
    (asked, reloading): (&mut mpsc::Receiver<reload::Asked>, &mut Reloading<'_>),
) -> Ended {
    tokio::select! {
        ended = signals.end() => return ended,
        () = is_served.notified() => {}
    }
    let Options {
        personality, broker, ..
    } = &reloading.options;
    // The original ignores the signal (§7.7).
    let lame_duck = (*personality == Personality::Seaway).then(|| {
        let (grace, duration) = (broker.lame_duck_grace_period, broker.lame_duck_duration);
        let broker = reloading.broker.clone();
        async move { broker.lame_duck(grace, duration).await }
    });
    let reload = |asked: Option<reload::Asked>| match asked {
        Some(asked) => asked.answer(reloading),
        // The log says how it went.
        None => _ = reloading.reload(),
    };
    signals.serve(log, (asked, reload), lame_duck).await
}

/// Ends the engine, then the broker, then the monitoring (§9.5); whether everything accepted is durable.
async fn stop(mut lives: Lives<Mode>, bus: Bus, broker: Broker, monitoring: Vec<MonitoringTask>) -> Result<bool> {
    let outcome = lives.stop().await?;
    bus.close().await;
    tracing::info!("Initiating Shutdown...");
    broker.shutdown().await;
    for monitoring in monitoring {
        monitoring.stop().await;
    }
    if let Err(reason) = &outcome {
        tracing::error!(target: "stream", "The store could not be closed: {reason}");
    }
    tracing::info!("Server Exiting..");
    Ok(outcome.is_ok())
}

/// The commit this was built from, when the build names it.
fn git_commit() -> &'static str {
    option_env!("SEAWAY_GIT_COMMIT").unwrap_or("not set")
}

fn greet(options: &Options, server_id: &str) {
    let version = seaway_config::STREAMING_VERSION;
    let cluster_id = &options.streaming.cluster_id;
    tracing::info!(target: "stream", "Starting nats-streaming-server[{cluster_id}] version {version}");
    tracing::info!(target: "stream", "ServerID: {server_id}");
    tracing::info!(target: "stream", "Seaway version: {}", seaway_config::SEAWAY_VERSION);
    tracing::info!(target: "stream", "Git commit: [{}]", git_commit());
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

async fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let bound = seaway_broker::bind_host(host, port).await;
    bound.map_err(|error| anyhow!("Error listening on port: {}, \"{error}\"", host_and_port(host, port)))
}

/// Everything that is listened on, bound and not served yet.
struct Sockets {
    /// For clients; none with NATS servers of somebody else.
    clients: Option<TcpListener>,
    monitoring: Option<TcpListener>,
    /// The same behind TLS.
    secure_monitoring: Option<TcpListener>,
    /// For other servers of the cluster.
    routes: Option<TcpListener>,
}

impl Sockets {
    async fn bind(options: &Options) -> Result<Sockets> {
        let clients = match options.streaming.external {
            None => Some(bind(&options.broker.host, options.broker.port).await?),
            Some(_) => None,
        };
        let monitoring = match options.broker.http_port {
            Some(port) => Some(bind(monitoring_host(options), port).await?),
            None => None,
        };
        let secure_monitoring = match options.broker.https_port {
            Some(_) if options.broker.tls.is_none() => {
                bail!("TLS cert and key required for HTTPS: give -tlscert and -tlskey, or a tls block");
            }
            Some(port) => Some(bind(monitoring_host(options), port).await?),
            None => None,
        };
        let cluster = options.broker.cluster.as_ref();
        let routes = match cluster.and_then(|cluster| Some((&cluster.host, cluster.port?))) {
            Some((host, port)) => Some(bind(host, port).await?),
            None => None,
        };
        Ok(Sockets {
            clients,
            routes,
            monitoring,
            secure_monitoring,
        })
    }
}

fn monitoring_host(options: &Options) -> &str {
    options.broker.http_host.as_deref().unwrap_or(&options.broker.host)
}

/// The broker's own banner; writes the pid file, starts monitoring and administration and writes the ports file (`nats-core.md` §5.6).
fn introduce(
    options: &Options,
    (broker, bus): (&Broker, &Bus),
    sockets: &mut Sockets,
    reloads: Reloads,
    monitoring: impl FnOnce(MonitoredPorts) -> Monitoring,
) -> Result<Introduced> {
    if sockets.clients.is_some() {
        introduce_broker(broker);
    }
    if let Some(file) = &options.config_file {
        tracing::info!("Using configuration file: {}", file.display());
    }
    if let Some(path) = &options.broker.pid_file {
        write_pid_file(path)?;
    }
    let mut ports = Ports::default();
    let clients = sockets.clients.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(clients) = clients {
        ports.add("nats", "nats", clients);
    }
    let (source, tasks) =
        start_monitoring(options, broker, sockets, monitoring, &mut ports).context("serve the monitoring")?;
    let administration = Administration::start(bus, &options.streaming.cluster_id, Arc::clone(&source), reloads)?;
    let system_services = match options.broker.no_system_account || clients.is_none() {
        true => None,
        false => Some(SystemServices::start(broker, source)?),
    };
    if let Some(clients) = clients {
        let host = options.broker.host.as_str();
        tracing::info!(
            "Listening for client connections on {}",
            host_and_port(host, clients.port())
        );
        introduce_security(broker);
    }
    if let (Some(cluster), Some(routes)) = (&options.broker.cluster, &sockets.routes) {
        let (name, address) = (
            broker.snapshot().cluster.map(|cluster| cluster.name),
            routes.local_addr()?,
        );
        tracing::info!("Cluster name is {}", name.unwrap_or_default());
        tracing::info!(
            "Listening for route connections on {}",
            host_and_port(&cluster.host, address.port())
        );
        ports.add("cluster", "nats-route", address);
    }
    let directory = options.broker.ports_file_dir.as_deref();
    let ports_file = directory
        .map(|directory| PortsFile::write(directory, &ports))
        .transpose()?;
    Ok(Introduced {
        monitoring: tasks,
        administration,
        system_services,
        ports,
        ports_file,
    })
}

fn introduce_broker(broker: &Broker) {
    tracing::info!("Starting nats-server");
    tracing::info!("  Version:  {}", seaway_config::BROKER_VERSION);
    tracing::info!("  Git:      [{}]", git_commit());
    tracing::info!("  Name:     {}", broker.server_name());
    tracing::info!("  ID:       {}", broker.server_id());
}

/// Starts one task per monitoring listener; all answer from one source, which is given back.
fn start_monitoring(
    options: &Options,
    broker: &Broker,
    sockets: &mut Sockets,
    monitoring: impl FnOnce(MonitoredPorts) -> Monitoring,
    ports: &mut Ports,
) -> Result<(Arc<Monitoring>, Vec<MonitoringTask>)> {
    let listeners = [
        ("http", sockets.monitoring.take()),
        ("https", sockets.secure_monitoring.take()),
    ];
    let mut monitored = MonitoredPorts {
        clients: match &sockets.clients {
            Some(clients) => clients.local_addr()?.port(),
            None => 0,
        },
        ..MonitoredPorts::default()
    };
    for (scheme, listener) in &listeners {
        let Some(listener) = listener else { continue };
        let address = listener.local_addr()?;
        let host = monitoring_host(options);
        tracing::info!("Starting {scheme} monitor on {}", host_and_port(host, address.port()));
        ports.add("monitoring", scheme, address);
        match *scheme {
            "http" => monitored.http = address.port(),
            _ => monitored.https = address.port(),
        }
    }
    let source = Arc::new(monitoring(monitored));
    let pages = console::with_monitoring(options, broker, Arc::clone(&source));
    let mut tasks = Vec::new();
    for (scheme, listener) in listeners {
        let Some(listener) = listener else { continue };
        let tls = if scheme == "https" {
            broker.tls().map(|first| tls_source(broker, first))
        } else {
            None
        };
        tasks.push(MonitoringTask::start(listener, pages.clone(), tls)?);
    }
    Ok((source, tasks))
}

/// The broker's certificate as it is when somebody connects; the first one when a reload has turned TLS off.
fn tls_source(broker: &Broker, first: Tls) -> seaway_monitor::TlsSource {
    let broker = broker.clone();
    Arc::new(move || broker.tls().as_ref().unwrap_or(&first).monitoring())
}

/// What protects the broker, and what does not.
fn introduce_security(broker: &Broker) {
    let snapshot = broker.snapshot();
    match snapshot.tls {
        None => {}
        Some(tls) if tls.required => tracing::info!("TLS required for client connections"),
        Some(_) => tracing::info!("TLS available for client connections"),
    }
    for warning in broker.options().access.warnings() {
        tracing::warn!("{warning}");
    }
    if !broker.options().access.is_configured() {
        tracing::info!("Authentication is off: everyone who reaches this address may publish and subscribe");
    }
}

/// The served monitoring.
struct MonitoringTask {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl MonitoringTask {
    fn start(listener: TcpListener, pages: Router, tls: Option<seaway_monitor::TlsSource>) -> Result<MonitoringTask> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let stopped = async move { stopped.notified().await };
        let seats = Shares::now(false).monitoring;
        let task = tokio::spawn(seaway_monitor::serve(listener, pages, tls, seats, stopped));
        Ok(MonitoringTask { stop, task })
    }

    async fn stop(self) {
        self.stop.notify_one();
        // Whatever was being answered ends with it.
        let _ = self.task.await;
    }
}

fn describe_store(streaming: &StreamingOptions, limits: &LimitsTable) {
    tracing::info!(target: "stream", "Message store is {}", streaming.store.name());
    if streaming.store == StoreKind::File {
        tracing::info!(target: "stream", "Store location: {}", streaming.dir.display());
    }
    for line in crate::banner::limits_table(limits) {
        tracing::info!(target: "stream", "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stand_behind_whole_addresses() {
        for (host, expected) in [
            ("127.0.0.1", "127.0.0.1:4222"),
            ("localhost", "localhost:4222"),
            ("", ":4222"),
            ("::1", "[::1]:4222"),
            ("[::]", "[::]:4222"),
            ("fe80::1%lo", "[fe80::1%lo]:4222"),
        ] {
            assert_eq!(host_and_port(host, 4222), expected);
        }
    }
}
