//! The cluster of servers that this one belongs to (core specification §4.2).

use std::time::Duration;

use super::{Credentials, TlsOptions};

/// Routes to other servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterOptions {
    /// Name of the cluster; `None` is one that is made up.
    pub name: Option<String>,
    /// Host on which other servers are accepted.
    pub host: String,
    /// Port on which other servers are accepted; 0 lets the system choose, `None` accepts none.
    pub port: Option<u16>,
    /// User and password that other servers must present; the password is no hash.
    pub credentials: Option<Credentials>,
    /// Time in which another server must introduce itself; `None` is the default, which depends on TLS.
    pub auth_timeout: Option<Duration>,
    /// Servers to connect to.
    pub routes: Vec<RouteUrl>,
    /// Address told to other servers instead of the own one.
    pub advertise: Option<String>,
    /// Whether nobody is told where else clients can connect.
    pub no_advertise: bool,
    /// Further attempts to connect to servers found through others.
    pub connect_retries: u32,
    /// TLS; `None` is off. Both sides must show a certificate.
    pub tls: Option<TlsOptions>,
}

/// Another server, as it is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteUrl {
    /// Name or address; that of an IPv6 address without brackets.
    pub host: String,
    /// Port; 6222 unless the URL says another.
    pub port: u16,
    /// What to present there.
    pub credentials: Option<Credentials>,
}
