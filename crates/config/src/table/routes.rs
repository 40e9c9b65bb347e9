//! Options of routes to other servers (core specification §4.2).

use super::entry::Effect::{Overrides, Sets};
use super::entry::{Entry, Group, Section};
use crate::blocks::cluster;
use crate::value::Kind::{Block, Bool, Int, Text};

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Group::Routes,
        &["routes"],
        Text,
        "",
        "URLs of other servers of the cluster, with commas between them",
        Overrides(cluster::set_routes),
    ),
    Entry::new(
        Group::Routes,
        &["cluster", "cluster_listen"],
        Text,
        "",
        "URL on which other servers are accepted, such as nats://0.0.0.0:6222",
        Overrides(cluster::set_listen),
    ),
    Entry::new(
        Group::Routes,
        &["cluster_name"],
        Text,
        "",
        "Name of the cluster of servers",
        Overrides(cluster::set_name),
    ),
    Entry::new(
        Group::Routes,
        &["cluster_advertise"],
        Text,
        "",
        "Address told to other servers instead of the own one",
        Overrides(cluster::set_advertise),
    ),
    Entry::new(
        Group::Routes,
        &["no_advertise"],
        Bool,
        "false",
        "Tell nobody where else clients can connect",
        Overrides(cluster::set_no_advertise),
    ),
    Entry::new(
        Group::Routes,
        &["connect_retries"],
        Int,
        "0",
        "Further attempts to connect to servers found through others",
        Overrides(cluster::set_connect_retries),
    ),
    Entry::new(
        Group::Routes,
        &[],
        Block,
        "",
        "Routes to other servers, see below",
        Sets(cluster::set),
    )
    .keys(Section::Broker, &["cluster"])
    .without_variable(),
];
