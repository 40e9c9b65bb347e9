//! The endpoints of the broker (core specification §6.1 to §6.3).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::json::{self, span, timestamp};
use crate::process::{self, ProcessUse};
use crate::query::{Query, effective_limit};
use crate::site::{Moment, Reply};
use crate::snapshot::{
    Broker, Connection, ConnectionState, ConnectionSubscription, Detail, Health, SlowConsumers, Source, Unavailable,
};

/// `/`
pub(crate) const INDEX: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n\
    <head><meta charset=\"utf-8\"><title>Seaway</title></head>\n<body>\n<h1>Seaway</h1>\n<ul>\n\
    <li><a href=\"/varz\">general</a></li>\n<li><a href=\"/connz\">connections</a></li>\n\
    <li><a href=\"/healthz\">health</a></li>\n<li><a href=\"/streaming\">streaming</a></li>\n\
    </ul>\n</body>\n</html>\n";

#[derive(Serialize)]
struct Healthz<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// `/healthz`; a source that does not answer is not healthy.
pub(crate) async fn healthz(health: Result<Health, Unavailable>) -> Reply {
    let reason = match &health {
        Ok(Health::Ok) => None,
        Ok(Health::Unavailable { reason }) | Err(Unavailable(reason)) => Some(reason.as_str()),
    };
    let status = if reason.is_none() { "ok" } else { "unavailable" };
    let reply = Reply::compact_json(&Healthz { status, error: reason });
    if reason.is_none() { reply } else { reply.status(503) }
}

#[derive(Serialize)]
struct Nothing {}

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
    max_connections: u64,
    ping_interval: u128,
    ping_max: u32,
    http_host: String,
    http_port: u16,
    http_base_path: &'a str,
    https_port: u16,
    #[serde(serialize_with = "plain_number")]
    auth_timeout: f64,
    max_control_line: u64,
    max_payload: u64,
    max_pending: u64,
    cluster: Nothing,
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
    slow_consumer_stats: SlowConsumers,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Whole numbers without a decimal point, as readers that expect integers need them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn plain_number<S: serde::Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
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
        max_connections: broker.max_connections,
        ping_interval: broker.ping_interval.as_nanos(),
        ping_max: broker.ping_max,
        http_host: broker.http_host,
        http_port: broker.http_port,
        http_base_path: "",
        https_port: broker.https_port,
        auth_timeout: broker.auth_timeout.as_secs_f64(),
        max_control_line: broker.max_control_line,
        max_payload: broker.max_payload,
        max_pending: broker.max_pending,
        cluster: Nothing {},
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
        slow_consumers: slow.clients + slow.routes + slow.gateways + slow.leafs,
        subscriptions: broker.subscriptions,
        http_req_stats: requests,
        config_load_time: utc(broker.config_load_ns),
        slow_consumer_stats: broker.slow_consumers,
    })
}

fn utc(ns: i64) -> String {
    json::time(timestamp(ns), &TimeZone::UTC)
}

/// Order of `/connz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Cid,
    Start,
    Subscriptions,
    Pending,
    MessagesTo,
    MessagesFrom,
    BytesTo,
    BytesFrom,
    Last,
    Idle,
    Uptime,
    Rtt,
    Stop,
    Reason,
}

impl Sort {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "cid" => Sort::Cid,
            "start" => Sort::Start,
            "subs" => Sort::Subscriptions,
            "pending" => Sort::Pending,
            "msgs_to" => Sort::MessagesTo,
            "msgs_from" => Sort::MessagesFrom,
            "bytes_to" => Sort::BytesTo,
            "bytes_from" => Sort::BytesFrom,
            "last" => Sort::Last,
            "idle" => Sort::Idle,
            "uptime" => Sort::Uptime,
            "rtt" => Sort::Rtt,
            "stop" => Sort::Stop,
            "reason" => Sort::Reason,
            _ => return None,
        })
    }

    /// Sorts: ascending by number and start, descending by everything that counts.
    fn apply(self, connections: &mut [Connection], now_ns: i64) {
        connections.sort_by_key(|connection| connection.cid);
        match self {
            Sort::Cid => {}
            Sort::Start => connections.sort_by_key(|c| c.start_ns),
            Sort::Subscriptions => connections.sort_by_key(|c| Reverse(c.subscription_count)),
            Sort::Pending => connections.sort_by_key(|c| Reverse(c.pending_bytes)),
            // Messages to a client are those that the server has sent.
            Sort::MessagesTo => connections.sort_by_key(|c| Reverse(c.out_msgs)),
            Sort::MessagesFrom => connections.sort_by_key(|c| Reverse(c.in_msgs)),
            Sort::BytesTo => connections.sort_by_key(|c| Reverse(c.out_bytes)),
            Sort::BytesFrom => connections.sort_by_key(|c| Reverse(c.in_bytes)),
            Sort::Last => connections.sort_by_key(|c| Reverse(c.last_activity_ns)),
            Sort::Idle => connections.sort_by_key(|c| c.last_activity_ns),
            Sort::Uptime => {
                connections.sort_by_key(|c| Reverse(c.stop_ns.unwrap_or(now_ns).saturating_sub(c.start_ns)));
            }
            Sort::Rtt => connections.sort_by_key(|c| Reverse(c.rtt)),
            Sort::Stop => connections.sort_by_key(|c| c.stop_ns),
            Sort::Reason => connections.sort_by(|a, b| a.reason.cmp(&b.reason)),
        }
    }
}

/// How subscriptions are listed in `/connz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubscriptionList {
    None,
    Subjects,
    Details,
}

/// Parameters of `/connz` (core specification §6.3).
#[derive(Debug)]
struct ConnzQuery {
    sort: Sort,
    state: ConnectionState,
    subscriptions: SubscriptionList,
    show_user: bool,
    offset: usize,
    limit: usize,
    cid: Option<u64>,
    user: Option<String>,
    account: Option<String>,
}

impl ConnzQuery {
    fn parse(query: &Query) -> Result<Self, String> {
        let auth = query.broker_bool("auth")?;
        let subscriptions = match query.get("subs") {
            Some(b"detail") => SubscriptionList::Details,
            _ if query.broker_bool("subs")? => SubscriptionList::Subjects,
            _ => SubscriptionList::None,
        };
        let offset = query.broker_integer("offset")?;
        let limit = query.broker_integer("limit")?;
        let cid = query.broker_integer("cid")?;
        let state = match query.text("state").map(|state| state.to_lowercase()).as_deref() {
            None | Some("open") => ConnectionState::Open,
            Some("closed") => ConnectionState::Closed,
            Some("all" | "any") => ConnectionState::All,
            Some(_) => {
                return Err(format!(
                    "Error decoding state for {}",
                    query.text("state").unwrap_or_default()
                ));
            }
        };
        let sort = match query.text("sort") {
            None => Sort::Cid,
            Some(text) => Sort::parse(&text).ok_or_else(|| format!("invalid sorting option: {text}"))?,
        };
        if state != ConnectionState::Closed {
            match sort {
                Sort::Stop => return Err("sort by stop only valid on closed connections".to_owned()),
                Sort::Reason => return Err("sort by reason only valid on closed connections".to_owned()),
                _ => {}
            }
        }
        let (user, account) = (query.text("user"), query.text("acc"));
        Ok(ConnzQuery {
            sort,
            // A single connection is found whether it is open or closed.
            state: if cid > 0 { ConnectionState::All } else { state },
            subscriptions,
            show_user: auth || user.is_some() || account.is_some(),
            offset: usize::try_from(offset).unwrap_or(0),
            limit: effective_limit(limit),
            cid: u64::try_from(cid).ok().filter(|cid| *cid > 0),
            user,
            account,
        })
    }

    fn matches(&self, connection: &Connection) -> bool {
        self.cid.is_none_or(|cid| cid == connection.cid)
            && (self.user.is_none() || self.user == connection.authorized_user)
            && (self.account.is_none() || self.account == connection.account)
    }
}

#[derive(Serialize)]
struct Connz {
    server_id: String,
    now: String,
    num_connections: usize,
    total: usize,
    offset: usize,
    limit: usize,
    connections: Vec<ConnzEntry>,
}

#[derive(Serialize)]
struct ConnzEntry {
    cid: u64,
    kind: &'static str,
    #[serde(rename = "type")]
    transport: &'static str,
    ip: String,
    port: u16,
    start: String,
    last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<String>,
    uptime: String,
    idle: String,
    pending_bytes: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    subscriptions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lang: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cipher_suite: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    tls_first: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorized_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list_detail: Vec<SubscriptionEntry>,
}

#[derive(Serialize)]
struct SubscriptionEntry {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    qgroup: Option<String>,
    sid: String,
    msgs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    cid: u64,
}

impl ConnzEntry {
    fn new(connection: Connection, query: &ConnzQuery, now_ns: i64) -> Self {
        let until_ns = connection.stop_ns.unwrap_or(now_ns);
        let mut entry = ConnzEntry {
            cid: connection.cid,
            kind: "Client",
            transport: "nats",
            ip: connection.ip,
            port: connection.port,
            start: utc(connection.start_ns),
            last_activity: utc(connection.last_activity_ns),
            stop: connection.stop_ns.map(utc),
            reason: connection.reason,
            // Below a minute both notations are the same.
            rtt: connection.rtt.map(|rtt| format!("{rtt:?}")),
            uptime: span(connection.start_ns, until_ns),
            idle: span(connection.last_activity_ns, until_ns),
            pending_bytes: connection.pending_bytes,
            in_msgs: connection.in_msgs,
            out_msgs: connection.out_msgs,
            in_bytes: connection.in_bytes,
            out_bytes: connection.out_bytes,
            subscriptions: connection.subscription_count,
            name: connection.name,
            lang: connection.lang,
            version: connection.version,
            tls_version: connection.tls_version,
            tls_cipher_suite: connection.tls_cipher_suite,
            tls_first: connection.tls_first,
            authorized_user: connection.authorized_user.filter(|_| query.show_user),
            account: connection.account.filter(|_| query.show_user),
            subscriptions_list: Vec::new(),
            subscriptions_list_detail: Vec::new(),
        };
        let subscriptions = connection.subscriptions.into_iter();
        match query.subscriptions {
            SubscriptionList::None => {}
            SubscriptionList::Subjects => entry.subscriptions_list = subscriptions.map(|s| s.subject).collect(),
            SubscriptionList::Details => {
                entry.subscriptions_list_detail = subscriptions.map(|s| SubscriptionEntry::new(s, entry.cid)).collect();
            }
        }
        entry
    }
}

impl SubscriptionEntry {
    fn new(subscription: ConnectionSubscription, cid: u64) -> Self {
        SubscriptionEntry {
            subject: subscription.subject,
            qgroup: subscription.queue,
            sid: subscription.sid,
            msgs: subscription.msgs,
            max: Some(subscription.max).filter(|max| *max > 0),
            cid,
        }
    }
}

/// `/connz`
pub(crate) async fn connz(source: &dyn Source, moment: &Moment, query: &Query) -> Result<Reply, Unavailable> {
    let query = match ConnzQuery::parse(query) {
        Ok(query) => query,
        Err(text) => return Ok(Reply::bad_request(text)),
    };
    let detail = match query.subscriptions {
        SubscriptionList::None => Detail::Counts,
        SubscriptionList::Subjects | SubscriptionList::Details => Detail::Subscriptions,
    };
    let server_id = source.broker().await?.server_id;
    let mut connections = source.connections(query.state, detail).await?;
    connections.retain(|connection| query.matches(connection));
    query.sort.apply(&mut connections, moment.now_ns());
    let total = connections.len();
    let page = connections.into_iter().skip(query.offset).take(query.limit);
    let entries: Vec<_> = page
        .map(|connection| ConnzEntry::new(connection, &query, moment.now_ns()))
        .collect();
    Ok(Reply::json(&Connz {
        server_id,
        now: utc(moment.now_ns()),
        num_connections: entries.len(),
        total,
        offset: query.offset,
        limit: query.limit,
        connections: entries,
    }))
}
