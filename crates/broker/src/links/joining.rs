//! Another server is let into the cluster, or is not (core specification §4.4).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::RouteInfo;
use seaway_nats_protocol::write::PING;

use super::greeting::address_of;
use crate::announcer::Announcer;
use crate::connection::Connection;
use crate::mesh::{Mesh, Peer, Refusal};
use crate::shared::Shared;

/// Lets a server in that has introduced itself; `configured` when it was dialled, and says whether the configuration names it.
pub(super) fn join(
    shared: &Shared,
    mesh: &Arc<Mesh>,
    connection: &Arc<Connection>,
    info: RouteInfo,
    configured: Option<bool>,
) -> Result<Arc<Peer>, Refusal> {
    let address = address_of(&info, connection.peer);
    let takes_headers = info.headers && !shared.options.no_header_support;
    let (is_dialled, is_configured) = (configured.is_some(), configured == Some(true));
    let peer = Arc::new(Peer::new(connection, info, is_dialled, is_configured, address));
    let entered = mesh.enter(&peer, &shared.server_id).and_then(|()| {
        let announcer = Announcer::new(&mesh.interest).ok_or(Refusal::TooMany);
        announcer.inspect_err(|_| mesh.leave(&peer))
    });
    let Connection { peer: seen, id, .. } = &**connection;
    match entered {
        Err(refusal) => {
            match &refusal {
                Refusal::Oneself | Refusal::Duplicate => {
                    tracing::debug!(
                        "{seen} - rid:{id} - not another connection to server {}",
                        peer.server_id
                    );
                }
                // Whoever dials says it itself.
                _ if is_dialled => {}
                Refusal::NameTaken | Refusal::OtherCluster(..) | Refusal::TooMany => tracing::error!(
                    "{seen} - rid:{id} - {}: server {} ({}) is not let in",
                    refusal.reason(),
                    peer.server_name.escape_debug(),
                    peer.server_id
                ),
            }
            Err(refusal)
        }
        Ok(announcer) => {
            connection.headers.store(takes_headers, Ordering::Relaxed);
            // Nobody else sets it.
            let _ = connection.announcer.set(announcer);
            // Its answer says that it has told everything.
            connection.outbound.send(&mut PING.to_vec(), 0, 0);
            Ok(peer)
        }
    }
}
