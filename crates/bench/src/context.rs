//! What every workload needs to know besides its point: where the server is, how long to run, what to do meanwhile.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::guest::PREFIX;
use crate::limits::{PATIENCE, READ_WAIT};
use crate::point::Length;
use crate::progress::Progress;
use crate::server::Server;
use crate::stan::{Session, token};
use crate::wire::Connection;

/// The surroundings of a run.
pub(crate) struct Context {
    /// `host:port` for clients.
    pub(crate) address: String,
    /// Cluster ID of a streaming server.
    pub(crate) cluster_id: String,
    /// The server, when it was started for this run.
    pub(crate) server: Option<Server>,
    /// Another one beside it with a route between them, where receivers are.
    pub(crate) far: Option<Server>,
    /// Its process, when it was started by somebody else.
    pub(crate) pid: Option<u32>,
    /// How long to run.
    pub(crate) length: Length,
    /// Whether the server is stopped for a second in the middle.
    pub(crate) inject_stop: bool,
    /// Whether channels are chosen with Zipf's distribution instead of in turn.
    pub(crate) zipf: bool,
    /// Where files of the load generator itself go.
    pub(crate) directory: PathBuf,
    /// Makes the names of this run its own.
    pub(crate) token: String,
    /// The line that shows how far things are.
    pub(crate) progress: Progress,
}

impl Context {
    /// The process that is measured.
    pub(crate) fn server_pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid).or(self.pid)
    }

    /// Where the server's data lies; of a server that was started elsewhere, the folder that was given.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        let elsewhere = self.pid.map(|_| self.directory.clone());
        self.server.as_ref().map(Server::data).or(elsewhere)
    }

    /// `host:port` for receivers.
    pub(crate) fn receivers_address(&self) -> String {
        self.far.as_ref().map_or_else(|| self.address.clone(), Server::address)
    }

    /// A core connection.
    pub(crate) fn connect(&self) -> Result<Connection> {
        connect(&self.address)
    }

    /// A core connection of a receiver.
    pub(crate) fn connect_receiver(&self) -> Result<Connection> {
        connect(&self.receivers_address())
    }

    /// Waits until what receivers have subscribed to is known where publishers are.
    pub(crate) fn receivers_are_known(&self) -> Result<()> {
        if self.far.is_none() {
            return Ok(());
        }
        // What was subscribed to before this is known when this is.
        let subject = format!("{PREFIX}{}.known", self.token);
        let (mut receiver, mut publisher) = (self.connect_receiver()?, self.connect()?);
        receiver.subscribe(&subject);
        receiver.ping(PATIENCE)?;
        let begun = Instant::now();
        let mut is_known = false;
        while !is_known {
            if begun.elapsed() > PATIENCE {
                bail!("what is subscribed to at the second server does not become known at the first");
            }
            publisher.publish(&subject, "", b"");
            publisher.ping(PATIENCE)?;
            match receiver.pump(READ_WAIT, |_, _| is_known = true) {
                Err(error) if error.kind() != std::io::ErrorKind::TimedOut => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// A streaming session with a client ID of its own.
    pub(crate) fn session(&self, role: &str) -> Result<Session> {
        self.session_at(&self.address, role)
    }

    /// The same for a receiver; the engine becomes known over the route.
    pub(crate) fn receivers_session(&self, role: &str) -> Result<Session> {
        let begun = Instant::now();
        loop {
            let opened = self.session_at(&self.receivers_address(), role);
            if opened.is_ok() || self.far.is_none() || begun.elapsed() > PATIENCE {
                return opened;
            }
        }
    }

    fn session_at(&self, address: &str, role: &str) -> Result<Session> {
        let client_id = format!("bench-{role}-{}", token());
        Session::open(address, &self.cluster_id, &client_id)
            .with_context(|| format!("open a streaming session with cluster {} at {address}", self.cluster_id))
    }

    /// A channel name of this run; `number` is left out when there is one channel only.
    pub(crate) fn channel(&self, number: u64, channels: u64) -> String {
        if channels == 1 {
            format!("{PREFIX}{}", self.token)
        } else {
            format!("{PREFIX}{}.{number}", self.token)
        }
    }

    /// The server started for this run; workloads that kill and start it need one.
    pub(crate) fn own_server(&mut self) -> Result<&mut Server> {
        self.server
            .as_mut()
            .context("this workload starts the server itself: give it with --server-binary")
    }

    /// Stops the server's process for a while and lets it go on.
    pub(crate) fn stop_server(&self, time: Duration) -> Result<()> {
        let Some(pid) = self
            .server_pid()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        else {
            bail!("--inject-stop needs the server's process: give --pid or --server-binary");
        };
        kill_process(pid, Signal::STOP).context("stop the server")?;
        std::thread::sleep(time);
        kill_process(pid, Signal::CONT).context("let the server go on")
    }
}

fn connect(address: &str) -> Result<Connection> {
    Connection::open(address).with_context(|| format!("connect to {address}"))
}
