//! What a reload means for the connections that exist (core specification §5.8).

use std::sync::Arc;

use seaway_nats_protocol::ErrorText;

use crate::admission::Renewal;
use crate::broker::Broker;
use crate::connection::Connection;
use crate::lock::{lock, write};
use crate::options::BrokerOptions;
use crate::reason::CloseReason;
use crate::settings::Settings;
use crate::tls::Tls;

/// What a reload did to the connections that existed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Closed because their credentials are not good any more.
    pub refused: usize,
    /// Permissions replaced; subscriptions that are not permitted any more end.
    pub changed: usize,
    /// Closed because there are more than `max_connections`.
    pub surplus: usize,
}

impl Broker {
    /// Applies new options: `accounts`, `access` and `max_connections` to all connections, `tls`, `max_payload` and `max_control_line`
    /// to new ones. Everything else stays as it was when the broker was made. Clients whose credentials are not good any more, or
    /// belong to another account, are closed with `Authorization Violation`, surplus ones with `maximum connections exceeded`.
    pub fn reload(&self, options: &BrokerOptions) -> Reloaded {
        if self.shared.accounts.configure(options) {
            self.hear_again();
        }
        let settings = Arc::new(Settings::new(options));
        *write(&self.shared.settings) = Arc::clone(&settings);
        let mut live: Vec<Arc<Connection>> = lock(&self.shared.registry).live().cloned().collect();
        let mut reloaded = Reloaded::default();
        live.retain(|connection| match connection.renew(&settings.access) {
            Renewal::Same => true,
            Renewal::Changed => {
                reloaded.changed += 1;
                true
            }
            Renewal::Refused => {
                reloaded.refused += 1;
                false
            }
        });
        fastrand::shuffle(&mut live);
        for connection in live.drain(settings.max_connections.min(live.len())..) {
            connection.refuse(
                &ErrorText::MaximumConnectionsExceeded,
                CloseReason::MaximumConnectionsExceeded,
            );
            reloaded.surplus += 1;
        }
        reloaded
    }
}

impl Broker {
    /// Has other servers connect anew that want something in accounts that were not here, where it was not kept.
    fn hear_again(&self) {
        let Some(mesh) = &self.shared.mesh else { return };
        for peer in mesh.peers() {
            if peer.was_overheard() {
                tracing::info!(
                    "rid:{} - connects anew, to tell what it wants in new accounts",
                    peer.connection.id
                );
                peer.connection.outbound.close(CloseReason::RouteRemoved);
            }
        }
    }

    /// TLS as it is now, with certificates that a reload may have replaced.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.shared.settings().tls.clone()
    }
}
