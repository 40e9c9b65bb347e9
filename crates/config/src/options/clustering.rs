//! A replicated cluster, and the server as one of its members (`stores-and-clustering.md` §6.1).

use std::path::PathBuf;

use super::Secret;

/// What makes a server a member of a replicated cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusteringOptions {
    /// Name of the member; `None` leaves it to what the directory says, or makes one up for a member that joins.
    pub name: Option<String>,
    /// How a member with an empty directory comes to its cluster; one that has been a member does not look at it.
    pub membership: Membership,
    /// Where other members are accepted; port 0 lets the system choose.
    pub listen: MemberAddress,
    /// Address told to other members instead of the own one; its port is not 0.
    pub advertise: Option<MemberAddress>,
    /// What all members prove to know; never blank. Without it and without TLS everybody who reaches the port is let in.
    pub secret: Option<Secret>,
    /// TLS between members, in which both sides show a certificate; `None` is off.
    pub tls: Option<MemberTls>,
    /// Whether the log says what the replication does.
    pub is_replication_logged: bool,
    /// Whether members may be added and removed over the bus (`stores-and-clustering.md` §6.10).
    pub are_members_changed: bool,
}

/// How a member with an empty directory comes to its cluster (`stores-and-clustering.md` §6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// It founds the cluster together with these others, or joins when they have one already; never empty, each name once, and without
    /// its own.
    With(Vec<ClusterPeer>),
    /// It founds the cluster alone, unless there is one already.
    Alone,
    /// It joins the cluster that there is.
    Joins,
}

/// Another member, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPeer {
    /// Its name; no blanks, wildcards or empty parts between dots, because the original puts it into subjects.
    pub name: String,
    /// Where it is; `None` has to be learned over the bus.
    pub address: Option<MemberAddress>,
}

/// Host and port of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAddress {
    /// Name or address; that of an IPv6 address without brackets; never empty.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Files of TLS between members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberTls {
    /// Certificate that is shown to other members, whichever side dialled.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Authorities that other members' certificates must come from.
    pub ca_file: PathBuf,
}
