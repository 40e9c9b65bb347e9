//! The bus that NATS servers of somebody else are: one connection for everything, so that order is kept, made again for ever once it
//! was there (`streaming-protocol.md` §11).
//!
//! The servers cut off whoever does not read, so what comes is always read; a party that is behind has publishes refused in words.
//! What goes out is bounded: above one bound whoever delivers is told to wait, above another everything is dropped.

mod allowance;
mod attachment;
mod connection;
mod keeping;
mod link;
mod login;
mod outbound;
mod party;
mod reading;
mod registry;
mod sender;
mod servers;
mod tls;

use std::sync::Arc;

use anyhow::Result;
use seaway_config::ExternalNats;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) use self::attachment::{Attachment, Gate};
use self::connection::Dialler;
pub use self::link::ExternalSnapshot;
use self::link::Link;
pub(super) use self::sender::Sender;
use self::servers::Servers;
use super::words::{Listener, Unsettled};
pub(super) use crate::limits::EXTERNAL_OUTBOUND_BYTES_MAX as OUTBOUND_BYTES_MAX;
use crate::limits::{EXTERNAL_CLOSE_PATIENCE, EXTERNAL_SETTLE_PATIENCE};

/// A way to attach to the servers; clones lead to the same connection.
#[derive(Clone)]
pub struct External(Arc<Kept>);

/// The connection, kept as long as somebody may need it.
struct Kept {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl External {
    /// Connects to the first of the servers that takes this one; `name` is for people. Each is tried once.
    ///
    /// # Errors
    /// A file of credentials or of TLS cannot be used, or no server takes this one; the words say why of each.
    pub async fn connect(options: &ExternalNats, name: &str) -> Result<External> {
        let dialler = Dialler::new(options, name)?;
        let mut servers = Servers::new(options);
        let link = Arc::new(Link::new(name));
        let connected = keeping::connect_first(&mut servers, &dialler).await?;
        let stages = link.stages();
        let task = tokio::spawn(keeping::keep(Arc::clone(&link), servers, dialler, connected));
        let kept = Kept { link, task };
        kept.link.wait_for_up(stages).await?;
        Ok(External(Arc::new(kept)))
    }

    /// Attaches a party.
    pub(super) fn attach<L: Listener>(&self, listener: Arc<L>) -> Attachment {
        Attachment::new(Arc::clone(&self.0.link), listener)
    }

    /// Counts what changes the ways on which messages go: connections, and servers behind them.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.0.link.changes()
    }

    /// Bytes of one message that the server takes at most.
    pub fn max_payload(&self) -> usize {
        self.0.link.max_payload()
    }

    /// How the connection is.
    pub fn snapshot(&self) -> ExternalSnapshot {
        self.0.link.snapshot()
    }

    /// Waits until the server has looked at everything that was said until now.
    ///
    /// # Errors
    /// What it refused since the last call, in its words, or that it does not answer.
    pub(super) async fn settled(&self) -> Result<(), Unsettled> {
        self.0.link.settled(EXTERNAL_SETTLE_PATIENCE).await
    }

    /// Lets what was said leave.
    pub(super) async fn close(&self) {
        // What does not leave in time is lost with the process.
        let _ = self.0.link.settled(EXTERNAL_CLOSE_PATIENCE).await;
    }
}

#[cfg(test)]
mod tests;
