//! Options of a replicated cluster (`stores-and-clustering.md` §6.1), the original's and those of the port between members.

use std::path::PathBuf;

use super::entry::Effect::{Nothing, Sets};
use super::entry::Group::Clustering;
use super::entry::{Entry, Section};
use super::streaming::is_literal_subject;
use crate::draft::Draft;
use crate::options::{ClusterPeer, MemberAddress, Secret};
use crate::url::Url;
use crate::value::Kind::{Bool, Duration, Int, List, Text};
use crate::value::Value;

/// Whether the server can be a member. Until it can, all of this is read and checked, and then the start is refused.
pub(crate) const IS_BUILT: bool = false;

/// Where other members are when only their host is given.
const PORT_DEFAULT: u16 = 6322;
/// Bytes of a member's name: it stands in handshakes, subjects and the cluster's configuration.
const NAME_BYTES_MAX: usize = 128;

const IN_STORE: &str = "the replicated log is the file store's journal, in -dir, and looks after itself";
const PACE: &str =
    "the pace of the replication is fixed: a heartbeat each 500ms, an election after 1.5s to 3s without one";
const NO_DATABASE: &str = "the replicated log is in no database of that kind";

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Clustering,
        &["clustered"],
        Bool,
        "false",
        "Be a member of a replicated cluster; the block streaming.cluster says the same by being there",
        Sets(clustered),
    ),
    Entry::new(
        Clustering,
        &["cluster_node_id"],
        Text,
        "",
        "Name of this member, which no other has; a member that has data keeps the name that it had",
        Sets(node_id),
    )
    .keys(Section::Cluster, &["node_id"]),
    Entry::new(
        Clustering,
        &["cluster_bootstrap"],
        Bool,
        "false",
        "Found the cluster alone; others join it. -cluster_peers wins over it",
        Sets(bootstrap),
    )
    .keys(Section::Cluster, &["bootstrap"]),
    Entry::new(
        Clustering,
        &["cluster_peers"],
        List,
        "",
        "Members that found the cluster together, each name or name@host:port; the port is 6322 unless given, the own name may be among them",
        Sets(peers),
    )
    .keys(Section::Cluster, &["peers"]),
    Entry::new(
        Clustering,
        &["cluster_members_listen"],
        Text,
        "0.0.0.0:6322",
        "Host and port on which other members are accepted; a port of -1 lets the system choose",
        Sets(listen),
    )
    .keys(Section::Cluster, &["listen"]),
    Entry::new(
        Clustering,
        &["cluster_members_advertise"],
        Text,
        "",
        "Host and port told to other members instead of the own ones",
        Sets(advertise),
    )
    .keys(Section::Cluster, &["advertise"]),
    Entry::new(
        Clustering,
        &["cluster_members_secret"],
        Text,
        "",
        "What all members prove to each other to know, without sending it; the password of the routes when neither it nor TLS is given",
        Sets(secret),
    )
    .keys(Section::Cluster, &["secret"])
    .secret(),
    Entry::new(
        Clustering,
        &["cluster_members_tls_cert"],
        Text,
        "",
        "Certificate shown to other members; it, its key and the authorities go together",
        Sets(tls_cert),
    )
    .keys(Section::Cluster, &["tls_cert"])
    .secret(),
    Entry::new(
        Clustering,
        &["cluster_members_tls_key"],
        Text,
        "",
        "Key of that certificate",
        Sets(tls_key),
    )
    .keys(Section::Cluster, &["tls_key"])
    .secret(),
    Entry::new(
        Clustering,
        &["cluster_members_tls_ca"],
        Text,
        "",
        "Authorities from which other members' certificates must come",
        Sets(tls_ca),
    )
    .keys(Section::Cluster, &["tls_ca"])
    .secret(),
    Entry::new(
        Clustering,
        &["cluster_raft_logging"],
        Bool,
        "false",
        "Log what the replication does",
        Sets(raft_logging),
    )
    .keys(Section::Cluster, &["raft_logging"]),
    Entry::new(
        Clustering,
        &["cluster_allow_add_remove_node"],
        Bool,
        "false",
        "Let members be added and removed by requests on the bus",
        Sets(allow_add_remove_node),
    )
    .keys(Section::Cluster, &["allow_add_remove_node"]),
    Entry::new(
        Clustering,
        &["cluster_log_path"],
        Text,
        "",
        "Directory of the replicated log",
        Nothing(IN_STORE),
    )
    .keys(Section::Cluster, &["log_path"]),
    Entry::new(
        Clustering,
        &["cluster_log_cache_size"],
        Int,
        "512",
        "Log entries cached",
        Nothing(IN_STORE),
    )
    .keys(Section::Cluster, &["log_cache_size"]),
    Entry::new(
        Clustering,
        &["cluster_log_snapshots"],
        Int,
        "2",
        "Snapshots kept",
        Nothing(IN_STORE),
    )
    .keys(Section::Cluster, &["log_snapshots"]),
    Entry::new(
        Clustering,
        &["cluster_trailing_logs"],
        Int,
        "10240",
        "Log entries kept after a snapshot",
        Nothing(IN_STORE),
    )
    .keys(Section::Cluster, &["trailing_logs"]),
    Entry::new(
        Clustering,
        &["cluster_sync"],
        Bool,
        "false",
        "Sync the replicated log",
        Nothing("what is acknowledged has always been synced by most members"),
    )
    .keys(Section::Cluster, &["sync"]),
    Entry::new(
        Clustering,
        &["cluster_proceed_on_restore_failure"],
        Bool,
        "false",
        "Start in spite of a failed restore",
        Nothing("a member serves when it has the whole state, and fetches from others what it lacks"),
    )
    .keys(Section::Cluster, &["proceed_on_restore_failure"]),
    in_file_only(Duration, "2s", "Heartbeat timeout of the replication", PACE)
        .keys(Section::Cluster, &["raft_heartbeat_timeout"]),
    in_file_only(Duration, "2s", "Election timeout of the replication", PACE)
        .keys(Section::Cluster, &["raft_election_timeout"]),
    in_file_only(Duration, "1s", "Lease of the leader", PACE).keys(Section::Cluster, &["raft_lease_timeout"]),
    in_file_only(Duration, "100ms", "Commit timeout of the replication", PACE)
        .keys(Section::Cluster, &["raft_commit_timeout"]),
    in_file_only(Bool, "false", "Sync the list of free pages of the replicated log", NO_DATABASE)
        .keys(Section::Cluster, &["bolt_free_list_sync"]),
    in_file_only(Bool, "false", "Keep that list in a map", NO_DATABASE)
        .keys(Section::Cluster, &["bolt_free_list_map"]),
    in_file_only(
        Bool,
        "false",
        "Connect members separately",
        "members always have connections of their own",
    )
    .keys(Section::Cluster, &["nodes_connections"]),
];

/// An option of the original's that nothing but a file sets, and that has no effect here.
const fn in_file_only(
    kind: crate::value::Kind,
    default: &'static str,
    help: &'static str,
    reason: &'static str,
) -> Entry {
    Entry::new(Clustering, &[], kind, default, help, Nothing(reason)).without_variable()
}

fn clustered(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.is_on = value.is_true();
    if value.is_true() && !IS_BUILT {
        return Err("clustered: this build does not have clustering yet".to_owned());
    }
    Ok(())
}

fn node_id(options: &mut Draft, value: &Value) -> Result<(), String> {
    let name = value.present();
    options.clustering.name = name.map(|name| checked_name(&name)).transpose()?;
    Ok(())
}

fn bootstrap(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.is_bootstrap = value.is_true();
    Ok(())
}

fn peers(options: &mut Draft, value: &Value) -> Result<(), String> {
    let Value::List(items) = value else { return Ok(()) };
    if let Some(item) = items.iter().find(|item| item.contains(',')) {
        let notice = format!("cluster_peers: {item:?} holds commas: it is taken for several members and not for one");
        options.notices.push(notice);
    }
    let names = items.iter().flat_map(|item| item.split(','));
    let peers = names.map(str::trim).filter(|name| !name.is_empty()).map(peer);
    options.clustering.peers = peers
        .collect::<Result<_, _>>()
        .map_err(|text| format!("cluster_peers: {text}"))?;
    Ok(())
}

/// `name` or `name@host:port`.
fn peer(text: &str) -> Result<ClusterPeer, String> {
    let (name, address) = match text.split_once('@') {
        None => (text, None),
        Some((name, address)) => (name, Some(address)),
    };
    let address = address.map(address_of).transpose()?;
    if address.as_ref().is_some_and(|address| address.port == 0) {
        return Err(format!("{text:?} needs a port"));
    }
    Ok(ClusterPeer {
        name: checked_name(name)?,
        address,
    })
}

fn checked_name(name: &str) -> Result<String, String> {
    if !is_literal_subject(name) || name.contains([',', '@']) || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "{name:?} is no name of a member: no blanks, commas, @, wildcards or empty parts, and at most {NAME_BYTES_MAX} bytes"
        ));
    }
    Ok(name.to_owned())
}

/// `host:port`, or a host alone; a port of -1 is 0, which lets the system choose.
fn address_of(text: &str) -> Result<MemberAddress, String> {
    let url = Url::parse(text, &["tcp", "nats"])?;
    if url.host.is_empty() || url.userinfo.is_some() || url.scheme.is_some() {
        return Err(format!("{text:?} is no host with a port"));
    }
    let port = match url.port {
        Some("-1") => 0,
        _ => url.port(PORT_DEFAULT)?,
    };
    let host = url.host.to_owned();
    Ok(MemberAddress { host, port })
}

fn listen(options: &mut Draft, value: &Value) -> Result<(), String> {
    let address = address_of(value.text()).map_err(|text| format!("cluster_members_listen: {text}"))?;
    options.clustering.listen = Some(address);
    Ok(())
}

fn advertise(options: &mut Draft, value: &Value) -> Result<(), String> {
    let address = value.present().map(|text| address_of(&text)).transpose();
    let address = address.map_err(|text| format!("cluster_members_advertise: {text}"))?;
    if address.as_ref().is_some_and(|address| address.port == 0) {
        return Err("cluster_members_advertise needs a port".to_owned());
    }
    options.clustering.advertise = address;
    Ok(())
}

fn secret(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.secret = value.present().map(Secret::new);
    Ok(())
}

fn tls_cert(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.cert_file = value.present().map(PathBuf::from);
    Ok(())
}

fn tls_key(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.key_file = value.present().map(PathBuf::from);
    Ok(())
}

fn tls_ca(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.ca_file = value.present().map(PathBuf::from);
    Ok(())
}

fn raft_logging(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.is_replication_logged = value.is_true();
    Ok(())
}

fn allow_add_remove_node(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.clustering.are_members_changed = value.is_true();
    Ok(())
}
