//! What an operator may change while the broker runs (core specification §5.8).

use std::time::Duration;

use crate::access::Access;
use crate::limits::{AUTHENTICATION_AFTER_TLS, AUTHENTICATION_TIMEOUT};
use crate::options::BrokerOptions;
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
        authentication_time(self.access.timeout(), self.tls.as_ref())
    }
}

/// Time in which somebody has to say who it is: what is configured, else a while, from the end of a TLS handshake on.
pub(crate) fn authentication_time(configured: Option<Duration>, tls: Option<&Tls>) -> Duration {
    let usual = || match tls {
        None => AUTHENTICATION_TIMEOUT,
        Some(tls) => tls.timeout() + AUTHENTICATION_AFTER_TLS,
    };
    configured.unwrap_or_else(usual)
}
