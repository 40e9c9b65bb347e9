//! The handle that the server holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::events::ClientEvent;
use crate::kind::Kind;
use crate::limits::SHUTDOWN_WAIT;
use crate::lock::lock;
use crate::options::BrokerOptions;
use crate::reason::CloseReason;
use crate::requester::Requester;
use crate::shared::Shared;
use crate::sink::ConnectionId;

/// A running broker; cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

impl Broker {
    /// A broker without listeners. Nothing runs until [`Broker::listen`].
    #[must_use]
    pub fn new(options: BrokerOptions) -> Self {
        Self {
            shared: Arc::new(Shared::new(options)),
        }
    }

    /// The server's public identity: 56 characters starting with `N`, new for each broker.
    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.shared.server_id
    }

    /// The configured name, else the identity.
    #[must_use]
    pub fn server_name(&self) -> &str {
        self.shared.server_name()
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &BrokerOptions {
        &self.shared.options
    }

    /// Whether there are users, or a token, that clients can log in with.
    #[must_use]
    pub fn has_users(&self) -> bool {
        self.shared.settings().access.is_configured()
    }

    /// Clients will be accepted on this port: what is told of this server before that is right already. [`Broker::listen_on`] says so too.
    pub fn expect_clients_on(&self, port: u16) {
        self.shared.set_bound_port(port);
    }

    /// Who sent a request that reached an attachment; `None` when the connection has gone, or is none of a client.
    #[must_use]
    pub fn requester(&self, origin: ConnectionId) -> Option<Requester> {
        let connection = lock(&self.shared.registry).find(origin.0).cloned()?;
        let is_open = matches!(self.shared.settings().access.anonymous(), Some(None));
        Some(Requester::new(is_open, connection.admission.grant(), connection.peer))
    }

    /// Closes one connection (reason `Kicked`); false when there is none with this id.
    #[must_use]
    pub fn kick(&self, connection_id: u64) -> bool {
        let found = lock(&self.shared.registry).find(connection_id).cloned();
        if let Some(connection) = &found {
            connection.outbound.close(CloseReason::Kicked);
        }
        found.is_some()
    }

    /// Tells one client that this server is about to end, so that it goes to another one (§1.13); false when there is none with this id
    /// that takes such news.
    #[must_use]
    pub fn send_away(&self, connection_id: u64) -> bool {
        let found = lock(&self.shared.registry).find(connection_id).cloned();
        let Some(connection) = found.filter(|connection| connection.takes_info.load(Ordering::Acquire)) else {
            return false;
        };
        let mut info = self.shared.info(0, String::new());
        info.ldm = true;
        connection.inform(&mut info);
        true
    }

    /// What becomes of clients from now on; `None` for all but the first who asks. Events that find a thousand waiting are lost, so that
    /// nobody waits for who takes them.
    #[must_use]
    pub fn client_events(&self) -> Option<mpsc::Receiver<ClientEvent>> {
        self.shared.events.take()
    }

    /// Stops listening, closes all connections (reason `Server Shutdown`) and waits up to two seconds for what is
    /// queued to leave.
    pub async fn shutdown(&self) {
        self.shared.stopping.send_replace(true);
        let live: Vec<Arc<Connection>> = lock(&self.shared.registry).everybody().cloned().collect();
        for connection in live {
            connection.outbound.close(CloseReason::ServerShutdown);
        }
        let all_ended = self
            .shared
            .sessions
            .until(|sessions| sessions.of(Kind::Client) + sessions.of(Kind::Peer) == 0);
        if tokio::time::timeout(SHUTDOWN_WAIT, all_ended).await.is_err() {
            tracing::debug!("shutdown does not wait for the remaining connections");
        }
    }
}
