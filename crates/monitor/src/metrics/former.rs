//! The series that the Prometheus exporter of the original made of its monitoring: `nss_*` of the streaming server, with the
//! kinds and labels they had, and `gnatsd_*` of the broker, named after the path of the number in the JSON of an endpoint.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::text::{Kind, Text};
use crate::limits::LIST_LIMIT_DEFAULT;
use crate::moment::Moment;
use crate::process::ProcessUse;
use crate::query::Query;
use crate::snapshot::{
    Broker, Source, StreamingIdentity, StreamingServer, StreamingState, SurveyedChannel, SurveyedSubscription,
    Unavailable,
};
use crate::{broker, connections, json, routes};

/// What it took from serverz and isFTActive.
pub(super) fn server(text: &mut Text, identity: &StreamingIdentity, server: &StreamingServer) {
    let id = identity.server_id.as_str();
    let labels = [
        ("server_id", id),
        ("cluster_id", &identity.cluster_id),
        ("version", &server.version),
        ("go_version", &server.runtime),
        ("state", identity.state.name()),
        ("server_role", server.role.map_or("", |role| role.name())),
        ("start_time", &json::utc(server.start_ns)),
    ];
    text.family("nss_server_info", Kind::Gauge, "The streaming server.");
    text.sample("nss_server_info", &labels, 1);
    let (counter, gauge) = (Kind::Counter, Kind::Gauge);
    // 1 is what isFTActive answers with 200: a server that stands alone is no active one of several.
    let active = u64::from(identity.state == StreamingState::FtActive);
    for (name, kind, help, value) in [
        (
            "nss_server_bytes_total",
            counter,
            "Bytes in all channels.",
            server.total_bytes,
        ),
        (
            "nss_server_msgs_total",
            counter,
            "Messages in all channels.",
            server.total_msgs,
        ),
        (
            "nss_server_bytes_in",
            counter,
            "Encoded bytes of publishes.",
            server.in_bytes,
        ),
        (
            "nss_server_bytes_out",
            counter,
            "Encoded bytes of deliveries.",
            server.out_bytes,
        ),
        ("nss_server_msgs_in", counter, "Publishes received.", server.in_msgs),
        (
            "nss_server_msgs_out",
            counter,
            "Messages sent to subscriptions.",
            server.out_msgs,
        ),
        ("nss_server_channels", gauge, "Channels.", server.channels),
        (
            "nss_server_subscriptions",
            gauge,
            "Subscriptions, offline ones included.",
            server.subscriptions,
        ),
        ("nss_server_clients", gauge, "Registered clients.", server.clients),
        (
            "nss_server_active",
            gauge,
            "Whether it is the active one of a fault-tolerance group.",
            active,
        ),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[("server_id", id)], value);
    }
}

/// What it took from varz, connz, subsz and routez.
pub(super) async fn broker(
    text: &mut Text,
    source: &dyn Source,
    moment: &Moment,
    broker: Broker,
    used: ProcessUse,
) -> Result<(), Unavailable> {
    let id = broker.server_id.clone();
    let connz = json!({
        "num_connections": broker.connections.min(LIST_LIMIT_DEFAULT as u64),
        "total": broker.connections,
        "offset": 0,
        "limit": LIST_LIMIT_DEFAULT,
    });
    let subsz = connections::subsz(source, broker.clone(), moment, &Query::parse("")).await?;
    let routez = routes::routez(source, broker.clone(), moment, &Query::parse("")).await?;
    let varz = broker::varz(broker, moment, used, BTreeMap::new());
    for (endpoint, body) in [
        ("varz", varz.body),
        ("connz", connz.to_string()),
        ("subsz", subsz.body),
        ("routez", routez.body),
    ] {
        if let Ok(Value::Object(members)) = serde_json::from_str(&body) {
            numbers(text, &id, &format!("gnatsd_{endpoint}"), &members);
        }
    }
    Ok(())
}

/// A series for every number and truth below `prefix`. Texts and lists had none.
fn numbers(text: &mut Text, id: &str, prefix: &str, members: &Map<String, Value>) {
    for (key, value) in members {
        let name = format!("{prefix}_{key}");
        let number = match value {
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => u8::from(*flag).to_string(),
            Value::Object(members) => {
                numbers(text, id, &name, members);
                continue;
            }
            Value::Null | Value::String(_) | Value::Array(_) => continue,
        };
        text.family(&name, Kind::Gauge, &format!("{key}, as the monitoring shows it."));
        text.sample(&name, &[("server_id", id)], number);
    }
}

/// What it took from channelsz: everything is a gauge there, whatever the name says.
pub(super) fn channels(text: &mut Text, id: &str, channels: &[SurveyedChannel]) {
    type OfChannel = fn(&SurveyedChannel) -> u64;
    type OfSubscription = fn(&SurveyedSubscription) -> u64;
    let of_channels: [(&str, &str, OfChannel); 3] = [
        ("nss_chan_bytes_total", "Bytes in the channel.", |all| all.channel.bytes),
        ("nss_chan_msgs_total", "Messages in the channel.", |all| {
            all.channel.msgs
        }),
        ("nss_chan_last_seq", "Last sequence of the channel.", |all| {
            all.channel.last_seq
        }),
    ];
    for (name, help, value) in of_channels {
        text.family(name, Kind::Gauge, help);
        for channel in channels {
            let labels = [("server_id", id), ("channel", channel.channel.name.as_str())];
            text.sample(name, &labels, value(channel));
        }
    }
    let max_inflight: OfSubscription = |all| u64::try_from(all.subscription.max_inflight).unwrap_or(0);
    let of_subscriptions: [(&str, &str, OfSubscription); 4] = [
        ("nss_chan_subs_last_sent", "Last sequence sent.", |all| {
            all.subscription.last_sent
        }),
        (
            "nss_chan_subs_pending_count",
            "Messages sent and not acknowledged.",
            |all| all.subscription.pending_count,
        ),
        (
            "nss_chan_subs_max_inflight",
            "Messages it may leave unacknowledged.",
            max_inflight,
        ),
        (
            "nss_chan_subs_max_in_flight",
            "The same, in another spelling.",
            max_inflight,
        ),
    ];
    for (name, help, value) in of_subscriptions {
        text.family(name, Kind::Gauge, help);
        for (channel, all) in subscriptions(channels) {
            let subscription = &all.subscription;
            let labels = [
                ("server_id", id),
                ("channel", channel),
                ("client_id", &subscription.client_id),
                ("inbox", &subscription.inbox),
                ("queue_name", &subscription.queue_name),
                ("is_durable", flag(subscription.is_durable)),
                ("is_offline", flag(subscription.is_offline)),
                ("durable_name", &subscription.durable_name),
            ];
            text.sample(name, &labels, value(all));
        }
    }
}

fn flag(set: bool) -> &'static str {
    if set { "true" } else { "false" }
}

/// Each subscription with the name of its channel.
pub(super) fn subscriptions(channels: &[SurveyedChannel]) -> impl Iterator<Item = (&str, &SurveyedSubscription)> {
    channels.iter().flat_map(|channel| {
        channel
            .subscriptions
            .iter()
            .map(|all| (channel.channel.name.as_str(), all))
    })
}
