//! What servers hear of each other through others, and what clients hear of it (core specification §1.13, §4.6).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seaway_nats_protocol::RouteInfo;
use tokio::time::{Instant, sleep_until};

use super::greeting;
use crate::connection::Connection;
use crate::limits::{GOSSIP_INTERVAL, GOSSIP_TOGETHER, INFORMED_PER_TURN};
use crate::lock::lock;
use crate::mesh::{Mesh, Peer};
use crate::shared::Shared;

/// Tells all others of a server that has come, so that they dial it. Neither it nor they are any that may still refuse this one.
pub(super) fn introduce(mesh: &Mesh, newcomer: &Peer) {
    let line = introduction(newcomer);
    for peer in mesh.confirmed() {
        if peer.server_id != newcomer.server_id {
            peer.connection.outbound.send(&mut line.clone(), 0, 0);
        }
    }
}

/// Tells all others what has changed about this server.
pub(crate) fn tell_of_oneself(shared: &Shared, mesh: &Mesh) {
    let mut line = Vec::new();
    greeting::info(shared, mesh).write(&mut line);
    for peer in mesh.peers() {
        peer.connection.outbound.send(&mut line.clone(), 0, 0);
    }
}

fn introduction(peer: &Peer) -> Vec<u8> {
    let mut line = Vec::new();
    let info = RouteInfo {
        ip: peer.address.clone(),
        nonce: String::new(),
        connect_urls: Vec::new(),
        ..peer.info()
    };
    info.write(&mut line);
    line
}

/// Tells clients where else they can connect whenever that changes, and other servers when the cluster's name does. From time to time
/// everybody is told of everybody again: two servers that lost each other find each other through a third.
pub(super) async fn inform_clients(shared: Arc<Shared>, mesh: Arc<Mesh>) {
    let mut changes = mesh.changes.subscribe();
    let mut stopping = shared.stopping.subscribe();
    let (mut urls, mut name) = (shared.connect_urls(), mesh.name());
    let mut gossip_due = Instant::now() + gossip_interval(&mesh);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = changes.changed() => {}
            () = sleep_until(gossip_due) => {
                gossip_due = Instant::now() + gossip_interval(&mesh);
                mesh.confirmed().iter().for_each(|peer| introduce(&mesh, peer));
                continue;
            }
        }
        // A cluster that comes together is told of once.
        tokio::time::sleep(GOSSIP_TOGETHER).await;
        changes.mark_unchanged();
        let now = (shared.connect_urls(), mesh.name());
        if now.1 != name {
            tell_of_oneself(&shared, &mesh);
        }
        if now != (std::mem::take(&mut urls), std::mem::take(&mut name)) {
            inform_all(&shared).await;
        }
        (urls, name) = now;
    }
}

fn gossip_interval(mesh: &Mesh) -> Duration {
    let most = mesh.options.gossip_interval.unwrap_or(GOSSIP_INTERVAL);
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}

async fn inform_all(shared: &Shared) {
    let live: Vec<Arc<Connection>> = lock(&shared.registry).live().cloned().collect();
    // Only who it is for differs.
    let mut info = shared.info(0, String::new());
    for (index, connection) in live.iter().enumerate() {
        if connection.takes_info.load(Ordering::Acquire) {
            connection.inform(&mut info);
        }
        if index % INFORMED_PER_TURN == INFORMED_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
}
