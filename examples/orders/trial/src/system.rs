//! The order system by hand: the streaming server and the six services, each its own process with fixed ports, so that each
//! can be killed and comes back where its neighbours look for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::Signal;

use crate::postgres::Postgres;
use seaway_trial::process::Process;
use seaway_trial::waiting;

/// Where the built programs lie.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The `seaway` binary.
    pub(crate) server: PathBuf,
    /// The folder of the services' binaries.
    pub(crate) services: PathBuf,
}

/// Where a trial keeps its data.
pub(crate) enum Backend<'a> {
    /// Files in the directory of the trial.
    Sqlite(&'a Path),
    /// Databases of a running server.
    Postgres(&'a Postgres),
}

impl Backend<'_> {
    /// The address of a new database.
    pub(crate) fn create(&self, name: &str) -> anyhow::Result<String> {
        match self {
            Self::Sqlite(directory) => Ok(format!("sqlite:{}", directory.join(format!("{name}.db")).display())),
            Self::Postgres(server) => server.create(name),
        }
    }
}

/// Each owner has a database of its own; the two query stores and the order service share the read model.
pub(crate) struct Databases {
    pub(crate) events: String,
    pub(crate) read_model: String,
    pub(crate) restaurant: String,
}

/// The running system. Dropping it kills every process.
pub(crate) struct System {
    pub(crate) programs: Programs,
    pub(crate) databases: Databases,
    pub(crate) processes: Vec<Process>,
    pub(crate) logs: PathBuf,
    pub(crate) nats_port: u16,
    pub(crate) monitoring_port: u16,
    pub(crate) http_port: u16,
    pub(crate) event_store_port: u16,
}

impl System {
    /// Starts everything, with logs and the streaming server's store below this directory, and returns when all serve.
    pub(crate) fn start(programs: &Programs, backend: &Backend<'_>, directory: &Path) -> anyhow::Result<Self> {
        let logs = directory.join("logs");
        std::fs::create_dir_all(&logs).context("make the directory of the logs")?;
        let databases = Databases {
            events: backend.create("events")?,
            read_model: backend.create("read_model")?,
            restaurant: backend.create("restaurant")?,
        };
        let mut system = Self {
            programs: programs.clone(),
            databases,
            processes: Vec::new(),
            logs,
            nats_port: waiting::free_port()?,
            monitoring_port: waiting::free_port()?,
            http_port: waiting::free_port()?,
            event_store_port: waiting::free_port()?,
        };
        system.describe(directory);
        for process in &mut system.processes {
            process.start()?;
        }
        for process in &mut system.processes {
            process.wait_ready()?;
        }
        Ok(system)
    }

    /// The address of the streaming server.
    pub(crate) fn nats(&self) -> String {
        format!("nats://127.0.0.1:{}", self.nats_port)
    }

    /// The address of the page.
    pub(crate) fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http_port)
    }

    /// The process of this name.
    pub(crate) fn process(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        let found = self.processes.iter_mut().find(|process| process.name() == name);
        found.with_context(|| format!("no process is called {name}"))
    }

    /// A service that runs once and ends: it is not one of the processes that get killed.
    pub(crate) fn once(&self, name: &str, binary: &str, words: &[&str]) -> Process {
        let mut arguments = vec![
            "--nats".to_owned(),
            self.nats(),
            "--client-id".to_owned(),
            name.to_owned(),
        ];
        arguments.extend(words.iter().map(ToString::to_string));
        Process::new(name, self.programs.services.join(binary), arguments, "", &self.logs)
    }

    /// Asks every process to end, and expects that each does so cleanly: the services first, their server last. (It ends with
    /// code 0 on SIGINT; on SIGTERM it keeps to its predecessor's 143.)
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        while let Some(mut process) = self.processes.pop() {
            let is_server = self.processes.is_empty();
            process.stop(if is_server { Signal::INT } else { Signal::TERM })?;
        }
        Ok(())
    }

    /// The end of every log, for a failure report.
    pub(crate) fn tails(&self) -> String {
        self.processes.iter().map(Process::tail).collect()
    }

    fn describe(&mut self, directory: &Path) {
        let serve = [
            "serve",
            "-a",
            "127.0.0.1",
            "-p",
            &self.nats_port.to_string(),
            "-m",
            &self.monitoring_port.to_string(),
            "--store",
            "file",
            "--dir",
            &directory.join("seaway").display().to_string(),
        ];
        let server = Process::new(
            "seaway",
            self.programs.server.clone(),
            serve.map(str::to_owned).to_vec(),
            "Streaming Server is ready",
            &self.logs,
        );
        let event_store_address = format!("127.0.0.1:{}", self.event_store_port);
        let http_address = format!("127.0.0.1:{}", self.http_port);
        let event_store = format!("http://{event_store_address}");
        let Databases {
            events,
            read_model,
            restaurant,
        } = &self.databases;
        let services: [(&str, &str, &[&str]); 6] = [
            (
                "event-store",
                "event-store",
                &["--database", events, "--listen", &event_store_address],
            ),
            (
                "order-service",
                "order-service",
                &[
                    "--database",
                    read_model,
                    "--listen",
                    &http_address,
                    "--event-store",
                    &event_store,
                ],
            ),
            (
                "restaurant",
                "restaurant-service",
                &["--database", restaurant, "--event-store", &event_store],
            ),
            ("payment", "payment-service", &["--event-store", &event_store]),
            ("query-store-1", "order-query-store", &["--database", read_model]),
            ("query-store-2", "order-query-store", &["--database", read_model]),
        ];
        let nats = self.nats();
        let services = services.map(|(name, binary, words)| {
            let common = ["--nats", &nats, "--client-id", name];
            let arguments = common.iter().chain(words).map(ToString::to_string).collect();
            Process::new(
                name,
                self.programs.services.join(binary),
                arguments,
                "ready: ",
                &self.logs,
            )
        });
        self.processes = std::iter::once(server).chain(services).collect();
    }
}
