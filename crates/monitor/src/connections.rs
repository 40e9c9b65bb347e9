//! `/connz` and `/subsz`: connections and their subscriptions (core specification §6.3, §6.4).

use std::cmp::Reverse;
use std::time::Duration;

use serde::Serialize;

use crate::json::{is_false, plain_number, span, utc};
use crate::limits::{CONNECTION_SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_LISTED_MAX, SUBSCRIPTIONS_PER_TURN};
use crate::moment::Moment;
use crate::query::{Query, effective_limit};
use crate::reply::Reply;
use crate::snapshot::{
    Broker, Connection, ConnectionState, ConnectionSubscription, ConnectionsWanted, Source, Unavailable,
};

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
pub(crate) enum SubscriptionList {
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
    mqtt_client: Option<String>,
    subject: Option<String>,
}

impl SubscriptionList {
    /// What `subs` asks for.
    pub(crate) fn parse(query: &Query) -> Result<Self, String> {
        Ok(match query.get("subs") {
            Some(b"detail") => SubscriptionList::Details,
            _ if query.broker_bool("subs")? => SubscriptionList::Subjects,
            _ => SubscriptionList::None,
        })
    }
}

impl ConnzQuery {
    fn parse(query: &Query) -> Result<Self, String> {
        let auth = query.broker_bool("auth")?;
        let subscriptions = SubscriptionList::parse(query)?;
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
        let (user, account, subject) = (query.text("user"), query.text("acc"), query.text("filter_subject"));
        if subject.is_some() && account.is_none() {
            return Err("filter by subject only valid with account filtering".to_owned());
        }
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
            mqtt_client: query.text("mqtt_client"),
            subject,
        })
    }

    fn wanted(&self) -> ConnectionsWanted {
        ConnectionsWanted {
            state: self.state,
            account: self.account.clone(),
            cid: self.cid,
        }
    }

    fn matches(&self, connection: &Connection) -> bool {
        // Nobody speaks MQTT here.
        self.mqtt_client.is_none() && (self.user.is_none() || self.user == connection.authorized_user)
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
    #[serde(skip_serializing_if = "Option::is_none")]
    stalls: Option<u64>,
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
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
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
        ConnzEntry {
            cid: connection.cid,
            kind: "Client",
            transport: "nats",
            ip: connection.ip,
            port: connection.port,
            start: utc(connection.start_ns),
            last_activity: utc(connection.last_activity_ns),
            stop: connection.stop_ns.map(utc),
            reason: connection.reason,
            rtt: connection.rtt.map(round_trip),
            uptime: span(connection.start_ns, until_ns),
            idle: span(connection.last_activity_ns, until_ns),
            pending_bytes: connection.pending_bytes,
            in_msgs: connection.in_msgs,
            out_msgs: connection.out_msgs,
            in_bytes: connection.in_bytes,
            out_bytes: connection.out_bytes,
            stalls: Some(connection.stalls).filter(|stalls| *stalls > 0),
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
        }
    }

    /// Adds what it is subscribed to.
    fn list(&mut self, form: SubscriptionList, subscriptions: Vec<ConnectionSubscription>) {
        let subscriptions = subscriptions.into_iter();
        match form {
            SubscriptionList::None => {}
            SubscriptionList::Subjects => self.subscriptions_list = subscriptions.map(|s| s.subject).collect(),
            SubscriptionList::Details => {
                self.subscriptions_list_detail = subscriptions.map(|s| SubscriptionEntry::new(s, self.cid)).collect();
            }
        }
    }
}

/// As the notation of durations has it where the core specification shows it; below a minute both are the same.
pub(crate) fn round_trip(rtt: Duration) -> String {
    format!("{rtt:?}")
}

impl SubscriptionEntry {
    fn new(subscription: ConnectionSubscription, cid: u64) -> Self {
        SubscriptionEntry {
            account: subscription.account,
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
    let server_id = source.broker().await?.server_id;
    let mut connections = source.connections(query.wanted()).await?;
    connections.retain(|connection| query.matches(connection));
    if let Some(subject) = &query.subject {
        connections = subscribed(source, connections, subject).await?;
    }
    query.sort.apply(&mut connections, moment.now_ns());
    let total = connections.len();
    let page = connections.into_iter().skip(query.offset).take(query.limit);
    let mut entries: Vec<ConnzEntry> = page
        .map(|connection| ConnzEntry::new(connection, &query, moment.now_ns()))
        .collect();
    if query.subscriptions != SubscriptionList::None
        && !list_subscriptions(source, &mut entries, query.subscriptions, SUBSCRIPTIONS_LISTED_MAX).await?
    {
        return Ok(Reply::bad_request(format!(
            "more than {SUBSCRIPTIONS_LISTED_MAX} subscriptions to list: ask for fewer connections at a time, with limit and offset"
        )));
    }
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

/// Adds to all connections what they are subscribed to; false where that is more than `max` together.
async fn list_subscriptions(
    source: &dyn Source,
    entries: &mut [ConnzEntry],
    form: SubscriptionList,
    max: usize,
) -> Result<bool, Unavailable> {
    let mut left = max;
    for entry in entries {
        let bound = CONNECTION_SUBSCRIPTIONS_MAX.min(left + 1);
        let subscriptions = source.connection_subscriptions(entry.cid, bound).await?;
        if subscriptions.len() > left {
            return Ok(false);
        }
        left -= subscriptions.len();
        entry.list(form, subscriptions);
    }
    Ok(true)
}

/// The connections with a subscription whose subject overlaps with another one.
async fn subscribed(
    source: &dyn Source,
    connections: Vec<Connection>,
    subject: &str,
) -> Result<Vec<Connection>, Unavailable> {
    let mut kept = Vec::new();
    for connection in connections {
        let subscriptions = source
            .connection_subscriptions(connection.cid, CONNECTION_SUBSCRIPTIONS_MAX)
            .await?;
        if subscriptions.iter().any(|one| overlap(&one.subject, subject)) {
            kept.push(connection);
        }
    }
    Ok(kept)
}

/// Whether a subject exists that both match.
fn overlap(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[derive(Serialize)]
struct Subsz {
    server_id: String,
    now: String,
    num_subscriptions: u64,
    num_cache: u64,
    num_inserts: u64,
    num_removes: u64,
    num_matches: u64,
    #[serde(serialize_with = "plain_number")]
    cache_hit_rate: f64,
    max_fanout: u64,
    #[serde(serialize_with = "plain_number")]
    avg_fanout: f64,
    total: usize,
    offset: usize,
    limit: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<SubscriptionEntry>,
}

/// `/subsz`. Each connection has a cache of its own, and fan-out is not counted.
pub(crate) async fn subsz(
    source: &dyn Source,
    broker: Broker,
    moment: &Moment,
    query: &Query,
) -> Result<Reply, Unavailable> {
    let parameters = || {
        let listed = query.broker_bool("subs")?;
        let (offset, limit) = (query.broker_integer("offset")?, query.broker_integer("limit")?);
        let test = query.text("test");
        match &test {
            Some(subject) if !is_literal(subject) => Err(format!(
                "invalid test subject, must be valid publish subject: {subject}"
            )),
            _ => Ok((
                listed,
                usize::try_from(offset).unwrap_or(0),
                effective_limit(limit),
                test,
            )),
        }
    };
    let (listed, offset, limit, test) = match parameters() {
        Ok(parameters) => parameters,
        Err(text) => return Ok(Reply::bad_request(text)),
    };
    let mut list = SubscriptionPage {
        test,
        account: query.text("acc"),
        offset,
        limit,
        ..SubscriptionPage::default()
    };
    if listed {
        let wanted = ConnectionsWanted {
            state: ConnectionState::Open,
            account: list.account.clone(),
            cid: None,
        };
        let clients = source.connections(wanted).await?;
        let mut ids: Vec<u64> = clients.into_iter().map(|connection| connection.cid).collect();
        ids.sort_unstable();
        // What other servers want is found the same way.
        ids.extend(source.routes().await?.into_iter().map(|route| route.connection.cid));
        for cid in ids {
            let known = source.connection_subscriptions(cid, CONNECTION_SUBSCRIPTIONS_MAX);
            list.add(cid, known.await?).await;
        }
    }
    let hits = broker.route_lookups.saturating_sub(broker.route_misses);
    Ok(Reply::json(&Subsz {
        server_id: broker.server_id,
        now: utc(moment.now_ns()),
        num_subscriptions: broker.subscriptions,
        num_cache: 0,
        num_inserts: broker.routing_inserts,
        num_removes: broker.routing_removes,
        num_matches: broker.route_lookups,
        cache_hit_rate: match broker.route_lookups {
            0 => 0.0,
            lookups => hits as f64 / lookups as f64,
        },
        max_fanout: 0,
        avg_fanout: 0.0,
        total: list.total,
        offset,
        limit,
        subscriptions_list: list.entries,
    }))
}

/// A part of all subscriptions.
#[derive(Default)]
struct SubscriptionPage {
    /// Only those that match this subject.
    test: Option<String>,
    /// Only those of this account.
    account: Option<String>,
    offset: usize,
    limit: usize,
    total: usize,
    looked_at: usize,
    entries: Vec<SubscriptionEntry>,
}

impl SubscriptionPage {
    /// Others are served while a long list is made.
    async fn add(&mut self, cid: u64, subscriptions: Vec<ConnectionSubscription>) {
        for one in subscriptions {
            let is_of_account = self.account.as_ref().is_none_or(|account| one.account == *account);
            if is_of_account && self.test.as_ref().is_none_or(|subject| overlap(&one.subject, subject)) {
                if self.total >= self.offset && self.entries.len() < self.limit {
                    self.entries.push(SubscriptionEntry::new(one, cid));
                }
                self.total += 1;
            }
            self.looked_at += 1;
            if self.looked_at.is_multiple_of(SUBSCRIPTIONS_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Whether a message can be published to it.
fn is_literal(subject: &str) -> bool {
    let token = |token: &str| !token.is_empty() && token != "*" && token != ">" && !token.contains(char::is_whitespace);
    subject.split('.').all(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_that_overlap() {
        for (left, right, expected) in [
            ("foo", "foo", true),
            ("foo", "bar", false),
            ("foo.*", "foo.bar", true),
            ("foo.*", "*.bar", true),
            ("foo.*", "foo", false),
            ("foo.>", "foo.bar.baz", true),
            ("foo.>", "foo", false),
            (">", "foo", true),
            ("foo.bar", "foo.bar.baz", false),
        ] {
            assert_eq!(overlap(left, right), expected, "{left} {right}");
            assert_eq!(overlap(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn lists_of_subscriptions_are_bounded_together() {
        let source = crate::site::fake::Fake::default();
        let query = ConnzQuery::parse(&Query::parse("subs=1")).unwrap();
        let listed = |max: usize| {
            let entry = |cid: u64| {
                let connection = Connection {
                    cid,
                    ..Connection::default()
                };
                ConnzEntry::new(connection, &query, 0)
            };
            // One of the first, two of the second.
            let mut entries = [entry(2), entry(3)];
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let listed = list_subscriptions(&source, &mut entries, SubscriptionList::Subjects, max);
            runtime.block_on(listed).unwrap()
        };
        assert!(listed(3));
        assert!(!listed(2) && !listed(1) && !listed(0));
    }

    #[test]
    fn literal_subjects() {
        for (subject, expected) in [
            ("foo", true),
            ("foo.*", false),
            (">", false),
            ("a..b", false),
            ("a b", false),
        ] {
            assert_eq!(is_literal(subject), expected, "{subject}");
        }
    }
}
