//! The other servers of the cluster: who they are, what they are told, and what all parts of the broker have to know of them (core
//! specification §4.2 - §4.6). How connections to them come about and what is said there is in `links`.

mod options;
mod peer;
mod roster;
mod strangers;

pub use options::{ClusterOptions, RouteAddress};
pub(crate) use peer::Peer;
pub(crate) use roster::{Mesh, Refusal, Told};
pub(crate) use strangers::Stranger;

/// `host:port`, as people write it: an IPv6 address stands in brackets.
#[must_use]
pub fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
