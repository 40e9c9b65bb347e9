//! `/routez`: connections to other servers of the cluster (core specification §6.4).

use serde::Serialize;

use crate::connections::{SubscriptionList, round_trip};
use crate::json::{span, utc};
use crate::limits::CONNECTION_SUBSCRIPTIONS_MAX;
use crate::moment::Moment;
use crate::query::Query;
use crate::reply::Reply;
use crate::snapshot::{Broker, ConnectionSubscription, Route, Source, Unavailable};

#[derive(Serialize)]
struct Routez {
    server_id: String,
    server_name: String,
    now: String,
    num_routes: usize,
    routes: Vec<RouteEntry>,
}

#[derive(Serialize)]
struct RouteEntry {
    rid: u64,
    remote_id: String,
    remote_name: String,
    did_solicit: bool,
    is_configured: bool,
    ip: String,
    port: u16,
    start: String,
    last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<String>,
    uptime: String,
    idle: String,
    pending_size: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    subscriptions: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list_detail: Vec<Detail>,
}

#[derive(Serialize)]
struct Detail {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    qgroup: Option<String>,
    sid: String,
    msgs: u64,
    cid: u64,
}

impl RouteEntry {
    fn new(route: Route, list: SubscriptionList, subscriptions: Vec<ConnectionSubscription>, now_ns: i64) -> Self {
        let Route {
            remote_id,
            remote_name,
            did_solicit,
            is_configured,
            connection,
        } = route;
        let detail = |one: ConnectionSubscription| Detail {
            subject: one.subject,
            qgroup: one.queue,
            sid: one.sid,
            msgs: one.msgs,
            cid: connection.cid,
        };
        let (subscriptions_list, subscriptions_list_detail) = match list {
            SubscriptionList::None => (Vec::new(), Vec::new()),
            SubscriptionList::Subjects => (subscriptions.into_iter().map(|one| one.subject).collect(), Vec::new()),
            SubscriptionList::Details => (Vec::new(), subscriptions.into_iter().map(detail).collect()),
        };
        RouteEntry {
            rid: connection.cid,
            remote_id,
            remote_name,
            did_solicit,
            is_configured,
            start: utc(connection.start_ns),
            last_activity: utc(connection.last_activity_ns),
            rtt: connection.rtt.map(round_trip),
            uptime: span(connection.start_ns, now_ns),
            idle: span(connection.last_activity_ns, now_ns),
            pending_size: connection.pending_bytes,
            in_msgs: connection.in_msgs,
            out_msgs: connection.out_msgs,
            in_bytes: connection.in_bytes,
            out_bytes: connection.out_bytes,
            subscriptions: connection.subscription_count,
            subscriptions_list,
            subscriptions_list_detail,
            ip: connection.ip,
            port: connection.port,
        }
    }
}

/// `/routez`
pub(crate) async fn routez(
    source: &dyn Source,
    broker: Broker,
    moment: &Moment,
    query: &Query,
) -> Result<Reply, Unavailable> {
    let list = match SubscriptionList::parse(query) {
        Ok(list) => list,
        Err(text) => return Ok(Reply::bad_request(text)),
    };
    let mut entries = Vec::new();
    for route in source.routes().await? {
        let subscriptions = match list {
            SubscriptionList::None => Vec::new(),
            // What the other server's clients want, each subject and group once.
            SubscriptionList::Subjects | SubscriptionList::Details => {
                let wanted = source.connection_subscriptions(route.connection.cid, CONNECTION_SUBSCRIPTIONS_MAX);
                wanted.await?
            }
        };
        entries.push(RouteEntry::new(route, list, subscriptions, moment.now_ns()));
    }
    Ok(Reply::json(&Routez {
        server_id: broker.server_id,
        server_name: broker.server_name,
        now: utc(moment.now_ns()),
        num_routes: entries.len(),
        routes: entries,
    }))
}
