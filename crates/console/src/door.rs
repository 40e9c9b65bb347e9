//! How the console gets into the server: as a client does.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};

/// A way in that is open for one connection.
pub struct Opened {
    /// Where to connect to, on this machine.
    pub address: SocketAddr,
    /// From where: others who come are turned away.
    pub from: IpAddr,
    /// As long as this is there nobody else listens at the address.
    pub kept: Box<dyn Any + Send + Sync>,
}

/// What the console needs of the server it is part of.
pub trait Door: Send + Sync + 'static {
    /// Opens a way in for one connection, which is served as that of a client from `peer`, without TLS.
    ///
    /// # Errors
    /// There is none; why, for people.
    fn open(&self, peer: SocketAddr) -> Result<Opened, String>;

    /// Why nobody can log in here, for people.
    fn obstacle(&self) -> Option<String>;

    /// Whether the server is known by this host name: nobody else's page may log in through a name that leads here.
    fn is_host(&self, name: &str) -> bool;

    /// The cluster ID, which the subjects of the administration have in them.
    fn cluster_id(&self) -> &str;

    /// What the subjects of connect requests begin with.
    fn discover_prefix(&self) -> &str;
}
