//! What an operator may choose about the cluster (core specification §4.2).

use std::time::Duration;

use crate::access::Secret;
use crate::tls::Tls;

/// A cluster of servers and this server's place in it.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Name of the cluster; `None` is one that is made up, and yields to the other servers' names.
    pub name: Option<String>,
    /// Host on which other servers are accepted, as INFO says it.
    pub host: String,
    /// `host` or `host:port` under which other servers reach this one, when that is not where it listens.
    pub advertise: Option<String>,
    /// Whether neither clients nor other servers are told where clients may connect.
    pub no_advertise: bool,
    /// User and password that other servers must present, and that are presented to servers found through others. The password is
    /// no hash.
    pub credentials: Option<(String, Secret)>,
    /// Time in which another server must have introduced itself; `None` is 2 s, or a second more than the TLS handshake may take.
    pub authentication_timeout: Option<Duration>,
    /// Servers to connect to, for ever.
    pub routes: Vec<RouteAddress>,
    /// Attempts after the first one to connect to a server that was found through another.
    pub connect_retries: u32,
    /// TLS between servers, both of which show a certificate.
    pub tls: Option<Tls>,
    /// Addresses of this machine, for clients of a server that listens on all of them.
    pub local_hosts: Vec<String>,
    /// Time between PINGs to another server, at most; `None` is 30 s.
    pub ping_interval: Option<Duration>,
    /// Time between two rounds in which all servers are told of all others, at most; `None` is 30 s.
    pub gossip_interval: Option<Duration>,
    /// Connections to and from other servers at once, whatever becomes of them; `None` is [`crate::ROUTES_MAX`], which is the most.
    pub connections_max: Option<usize>,
}

/// Another server, as it is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteAddress {
    /// Name or address; that of an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What to present there.
    pub credentials: Option<(String, Secret)>,
}

impl RouteAddress {
    /// `host:port`, without what is secret.
    #[must_use]
    pub fn shown(&self) -> String {
        super::host_and_port(&self.host, self.port)
    }
}
