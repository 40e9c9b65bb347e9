//! Who is at the other end of a connection.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Client,
    /// Another server of the cluster.
    Peer,
}

impl Kind {
    /// What the connection's number is called in the log (core specification §4.2).
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Client => "cid",
            Kind::Peer => "rid",
        }
    }
}
