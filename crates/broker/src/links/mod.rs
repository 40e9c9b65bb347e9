//! Connections to the other servers of the cluster: how they come about, what is said over them, and how they end (core specification
//! §4.3 - §4.6).
//!
//! A server that dials reads INFO and decides at once whether it wants the connection; the one that accepts does so when it has read
//! CONNECT and INFO. From then on both do the same (`party`): they tell what is wanted here, and what comes from the other side goes to
//! this server's own subscribers and nowhere else.

mod accepting;
mod attempts;
mod dialling;
mod gossip;
mod greeting;
mod joining;
mod party;
mod serving;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub(crate) use gossip::tell_of_oneself;

use crate::broker::Broker;
use crate::limits::SETTLED;

impl Broker {
    /// Joins the cluster that the options name: accepts other servers from `socket`, if there is one, and dials those that are
    /// configured. Returns the address that was really bound. To be called once, within a tokio runtime; without a cluster in the
    /// options nothing happens.
    ///
    /// # Errors
    /// When the socket cannot be used without blocking or tells no address.
    pub fn join_cluster(&self, socket: Option<std::net::TcpListener>) -> std::io::Result<Option<SocketAddr>> {
        let Some(mesh) = &self.shared.mesh else {
            return Ok(None);
        };
        let address = socket
            .map(|socket| accepting::listen(&self.shared, mesh, socket))
            .transpose()?;
        for route in &mesh.options.routes {
            tokio::spawn(dialling::keep(
                Arc::clone(&self.shared),
                Arc::clone(mesh),
                route.clone(),
            ));
        }
        if let Some(heard_of) = mesh.take_heard_of() {
            tokio::spawn(dialling::meet_all(Arc::clone(&self.shared), Arc::clone(mesh), heard_of));
        }
        tokio::spawn(gossip::inform_clients(Arc::clone(&self.shared), Arc::clone(mesh)));
        Ok(address)
    }

    /// Says when a server of the cluster came, went, or has told everything that is wanted there; `None` without a cluster.
    #[must_use]
    pub fn cluster_changes(&self) -> Option<watch::Receiver<u64>> {
        self.shared.mesh.as_ref().map(|mesh| mesh.changes.subscribe())
    }

    /// Waits until every configured server was tried, those that were reached have told what their clients want, and nobody else has
    /// come for a quarter of a second; no longer than `patience`. Without configured servers there is nothing to wait for.
    pub async fn cluster_formed(&self, patience: Duration) {
        let Some(mesh) = self.shared.mesh.as_ref().filter(|mesh| !mesh.options.routes.is_empty()) else {
            return;
        };
        let mut changes = mesh.changes.subscribe();
        let deadline = Instant::now() + patience;
        loop {
            changes.mark_unchanged();
            let until = if mesh.is_formed() {
                deadline.min(Instant::now() + SETTLED)
            } else {
                deadline
            };
            let is_changed = timeout_at(until, changes.changed()).await;
            if is_changed.is_err() && (mesh.is_formed() || Instant::now() >= deadline) {
                return;
            }
        }
    }
}
