//! How the console gets into the server: as a client does.

use std::net::SocketAddr;

/// What the console needs of the server it is part of.
pub trait Door: Send + Sync + 'static {
    /// An address on this machine at which one connection is taken, soon, and served as that of a client from `peer`, without TLS.
    ///
    /// # Errors
    /// Nobody can log in here; why, for people.
    fn open(&self, peer: SocketAddr) -> Result<SocketAddr, String>;

    /// Whether there are users to log in as.
    fn has_users(&self) -> bool;

    /// Whether the server is known by this host name: nobody else's page may log in through a name that leads here.
    fn is_host(&self, name: &str) -> bool;

    /// The cluster ID, which the subjects of the administration have in them.
    fn cluster_id(&self) -> &str;

    /// What the subjects of connect requests begin with.
    fn discover_prefix(&self) -> &str;
}
