//! What an operator may change while the broker runs (core specification §5.8), and what that means for connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seaway_nats_protocol::ErrorText;
use seaway_nats_protocol::write::write_error;

use crate::access::Access;
use crate::admission::Renewal;
use crate::broker::{Broker, Shared};
use crate::connection::Connection;
use crate::limits::{AUTHENTICATION_AFTER_TLS, AUTHENTICATION_TIMEOUT};
use crate::lock::{lock, read, write};
use crate::options::BrokerOptions;
use crate::reason::CloseReason;
use crate::tls::Tls;

/// The part of the options that new connections, and CONNECT on old ones, look up each time.
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(crate) tls: Option<Tls>,
    pub(crate) max_connections: usize,
    pub(crate) max_payload: usize,
    pub(crate) max_control_line: usize,
}

impl Settings {
    pub(crate) fn new(options: &BrokerOptions) -> Self {
        Self {
            access: options.access.clone(),
            tls: options.tls.clone(),
            max_connections: options.max_connections,
            max_payload: options.max_payload,
            max_control_line: options.max_control_line,
        }
    }

    /// Time in which a client has to authenticate itself, if it has to (§3.8).
    pub(crate) fn authentication_time(&self) -> Duration {
        let default = || match &self.tls {
            None => AUTHENTICATION_TIMEOUT,
            Some(tls) => tls.timeout() + AUTHENTICATION_AFTER_TLS,
        };
        self.access.timeout().unwrap_or_else(default)
    }
}

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
    /// Applies new options: `access` and `max_connections` to all connections, `tls`, `max_payload` and `max_control_line`
    /// to new ones. Everything else stays as it was when the broker was made. Clients whose credentials are not good any more
    /// are closed with `Authorization Violation`, surplus ones with `maximum connections exceeded`.
    pub fn reload(&self, options: &BrokerOptions) -> Reloaded {
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
    /// TLS as it is now, with certificates that a reload may have replaced.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.shared.settings().tls.clone()
    }
}

impl Shared {
    /// What counts at this moment.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&read(&self.settings))
    }
}

impl Connection {
    /// Asks whether the client is still who it was, and acts on it.
    pub(crate) fn renew(&self, access: &Access) -> Renewal {
        let renewal = self.admission.renew(access);
        match renewal {
            Renewal::Same => {}
            Renewal::Changed => self.wake.notify_one(),
            Renewal::Refused => self.refuse(&ErrorText::AuthorizationViolation, CloseReason::AuthenticationFailure),
        }
        renewal
    }

    /// Closes with words.
    pub(crate) fn refuse(&self, error: &ErrorText<'_>, reason: CloseReason) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        tracing::error!("{} - cid:{} - {}", self.peer, self.id, error.text());
        let mut refusal = Vec::new();
        write_error(&mut refusal, error);
        self.send(&mut refusal, 0, 0);
        self.close(reason);
    }
}
