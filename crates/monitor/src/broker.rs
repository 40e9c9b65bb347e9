//! The endpoints of the broker (core specification §6.1 to §6.3).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::{Nothing, is_false, plain_number, span, utc};
use crate::moment::Moment;
use crate::process::{self, ProcessUse};
use crate::query::Query;
use crate::reply::Reply;
use crate::snapshot::{Broker, Cluster, Health, SlowConsumers, Unavailable};

#[derive(Serialize)]
struct Healthz<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Checks the parameters of `/healthz`. They concern JetStream, which is off, so that none of them changes the answer.
///
/// # Errors
/// The text of core specification §6.1 for one that is no truth value.
pub(crate) fn healthz_parameters(query: &Query) -> Result<(), String> {
    for name in [
        "js-enabled",
        "js-enabled-only",
        "js-server-only",
        "js-meta-only",
        "details",
    ] {
        query.broker_bool(name)?;
    }
    Ok(())
}

/// `/healthz`: 200 while the server does its work, whatever else is to be said; a source that does not answer is not healthy.
pub(crate) fn healthz(health: Result<Health, Unavailable>) -> Reply {
    let (status, reason, error) = match &health {
        Ok(Health::Ok) => ("ok", None, None),
        // A 503 would take the pod away, and with it what can be served.
        Ok(Health::Degraded { reason }) => ("degraded", Some(reason.as_str()), None),
        Ok(Health::Unavailable { reason }) | Err(Unavailable(reason)) => ("unavailable", None, Some(reason.as_str())),
    };
    let reply = Reply::compact_json(&Healthz { status, reason, error });
    if error.is_none() { reply } else { reply.status(503) }
}

#[derive(Serialize)]
struct Varz<'a> {
    server_id: String,
    server_name: String,
    version: String,
    proto: u32,
    go: String,
    host: String,
    port: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connect_urls: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    auth_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_verify: bool,
    max_connections: i64,
    #[serde(skip_serializing_if = "is_zero")]
    max_subscriptions: i64,
    ping_interval: u128,
    ping_max: u32,
    http_host: String,
    http_port: u16,
    http_base_path: String,
    https_port: u16,
    #[serde(serialize_with = "plain_number")]
    auth_timeout: f64,
    max_control_line: u64,
    max_payload: u64,
    max_pending: u64,
    cluster: ClusterVarz,
    gateway: Nothing,
    leaf: Nothing,
    mqtt: Nothing,
    websocket: Nothing,
    jetstream: Nothing,
    #[serde(serialize_with = "plain_number")]
    tls_timeout: f64,
    write_deadline: u128,
    start: String,
    now: String,
    uptime: String,
    mem: u64,
    cores: usize,
    gomaxprocs: usize,
    #[serde(serialize_with = "plain_number")]
    cpu: f64,
    connections: u64,
    total_connections: u64,
    routes: u64,
    remotes: u64,
    leafnodes: u64,
    in_msgs: u64,
    in_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    slow_consumers: u64,
    subscriptions: u64,
    http_req_stats: BTreeMap<&'a str, u64>,
    config_load_time: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    system_account: String,
    slow_consumer_stats: SlowConsumers,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ClusterVarz {
    Alone(Nothing),
    Clustered(ClusterEntry),
}

#[derive(Serialize)]
struct ClusterEntry {
    name: String,
    addr: String,
    cluster_port: u16,
    #[serde(serialize_with = "plain_number")]
    auth_timeout: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
    #[serde(serialize_with = "plain_number")]
    tls_timeout: f64,
    #[serde(skip_serializing_if = "is_false")]
    tls_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_verify: bool,
}

impl ClusterVarz {
    fn new(cluster: Option<Cluster>) -> Self {
        match cluster {
            None => ClusterVarz::Alone(Nothing {}),
            Some(cluster) => ClusterVarz::Clustered(ClusterEntry {
                name: cluster.name,
                addr: cluster.host,
                cluster_port: cluster.port,
                auth_timeout: cluster.auth_timeout.as_secs_f64(),
                urls: cluster.urls,
                tls_timeout: cluster.tls_timeout.as_secs_f64(),
                tls_required: cluster.tls,
                tls_verify: cluster.tls,
            }),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// `/varz`
pub(crate) fn varz(broker: Broker, moment: &Moment, used: ProcessUse, requests: BTreeMap<&str, u64>) -> Reply {
    let slow = &broker.slow_consumers;
    Reply::json(&Varz {
        server_id: broker.server_id,
        server_name: broker.server_name,
        version: broker.version,
        proto: broker.protocol,
        go: broker.runtime,
        host: broker.host,
        port: broker.port,
        connect_urls: broker.connect_urls,
        auth_required: broker.auth_required,
        tls_required: broker.tls_required,
        tls_verify: broker.tls_verify,
        max_connections: limit(broker.max_connections),
        max_subscriptions: limit(broker.max_subscriptions),
        ping_interval: broker.ping_interval.as_nanos(),
        ping_max: broker.ping_max,
        http_host: broker.http_host,
        http_port: broker.http_port,
        http_base_path: broker.http_base_path,
        https_port: broker.https_port,
        auth_timeout: broker.auth_timeout.as_secs_f64(),
        max_control_line: broker.max_control_line,
        max_payload: broker.max_payload,
        max_pending: broker.max_pending,
        cluster: ClusterVarz::new(broker.cluster),
        gateway: Nothing {},
        leaf: Nothing {},
        mqtt: Nothing {},
        websocket: Nothing {},
        jetstream: Nothing {},
        tls_timeout: broker.tls_timeout.as_secs_f64(),
        write_deadline: broker.write_deadline.as_nanos(),
        start: utc(broker.start_ns),
        now: utc(moment.now_ns()),
        uptime: span(broker.start_ns, moment.now_ns()),
        mem: used.memory,
        cores: process::cores(),
        gomaxprocs: process::cores(),
        cpu: used.cpu_percent,
        connections: broker.connections,
        total_connections: broker.total_connections,
        routes: broker.routes,
        remotes: broker.remotes,
        leafnodes: 0,
        in_msgs: broker.in_msgs,
        in_bytes: broker.in_bytes,
        out_msgs: broker.out_msgs,
        out_bytes: broker.out_bytes,
        slow_consumers: slow.total(),
        subscriptions: broker.subscriptions,
        http_req_stats: requests,
        config_load_time: utc(broker.config_load_ns),
        tags: broker.tags,
        system_account: broker.system_account,
        slow_consumer_stats: broker.slow_consumers,
    })
}

/// A limit as it was configured: one that says "none" is -1, and not a number that readers' integers cannot hold.
fn limit(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(-1)
}
