//! The endpoints of the streaming server (streaming specification §8.2 to §8.7).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::{span, timestamp};
use crate::process::ProcessUse;
use crate::query::Query;
use crate::site::{Moment, Reply};
use crate::snapshot::{
    Channel, ChannelLimits, Client, Detail, Page, PageRequest, Role, Source, StreamingIdentity, StreamingState,
    Unavailable,
};

/// `/streaming`
pub(crate) const INDEX: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n\
    <head><meta charset=\"utf-8\"><title>Streaming</title></head>\n<body>\n<h1>Streaming</h1>\n<ul>\n\
    <li><a href=\"/streaming/serverz\">server</a></li>\n<li><a href=\"/streaming/storez\">store</a></li>\n\
    <li><a href=\"/streaming/clientsz\">clients</a></li>\n<li><a href=\"/streaming/channelsz\">channels</a></li>\n\
    <li><a href=\"/streaming/why?channel=\">why a channel's subscriptions receive nothing</a></li>\n\
    <li><a href=\"/metrics\">metrics</a></li>\n<li><a href=\"/healthz/ready\">ready</a></li>\n\
    <li><a href=\"/healthz/live\">live</a></li>\n\
    <li><a href=\"https://docs.nats.io/legacy/stan/intro/monitoring/endpoints\">help</a></li>\n\
    </ul>\n</body>\n</html>\n";

#[derive(Serialize)]
struct Serverz {
    cluster_id: String,
    server_id: String,
    version: String,
    go: String,
    state: StreamingState,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
    now: String,
    start_time: String,
    uptime: String,
    clients: u64,
    subscriptions: u64,
    channels: u64,
    total_msgs: u64,
    total_bytes: u64,
    in_msgs: u64,
    in_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    open_fds: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max_fds: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// `/streaming/serverz`
pub(crate) async fn serverz(source: &dyn Source, moment: &Moment, used: ProcessUse) -> Result<Reply, Unavailable> {
    let identity = source.streaming_identity();
    let server = source.streaming_server().await?;
    Ok(Reply::json(&Serverz {
        cluster_id: identity.cluster_id,
        server_id: identity.server_id,
        version: server.version,
        go: server.runtime,
        state: identity.state,
        role: server.role,
        node_id: server.node_id,
        now: moment.local_now(),
        start_time: moment.local(timestamp(server.start_ns)),
        uptime: span(server.start_ns, moment.now_ns()),
        clients: server.clients,
        subscriptions: server.subscriptions,
        channels: server.channels,
        total_msgs: server.total_msgs,
        total_bytes: server.total_bytes,
        in_msgs: server.in_msgs,
        in_bytes: server.in_bytes,
        out_msgs: server.out_msgs,
        out_bytes: server.out_bytes,
        open_fds: used.open_fds,
        max_fds: used.max_fds,
    }))
}

#[derive(Serialize)]
struct Storez {
    cluster_id: String,
    server_id: String,
    now: String,
    #[serde(rename = "type")]
    kind: String,
    limits: StorezLimits,
    total_msgs: u64,
    total_bytes: u64,
}

#[derive(Serialize)]
struct StorezLimits {
    max_channels: u64,
    #[serde(flatten)]
    global: ChannelLimits,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    channels: BTreeMap<String, ChannelLimits>,
}

/// `/streaming/storez`
pub(crate) async fn storez(source: &dyn Source, moment: &Moment) -> Result<Reply, Unavailable> {
    let identity = source.streaming_identity();
    let store = source.streaming_store().await?;
    Ok(Reply::json(&Storez {
        cluster_id: identity.cluster_id,
        server_id: identity.server_id,
        now: moment.local_now(),
        kind: store.kind,
        limits: StorezLimits {
            max_channels: store.limits.max_channels,
            global: store.limits.global,
            channels: store.limits.channels,
        },
        total_msgs: store.total_msgs,
        total_bytes: store.total_bytes,
    }))
}

/// What all lists begin with; the list itself follows.
#[derive(Serialize)]
struct List<T: Serialize> {
    cluster_id: String,
    server_id: String,
    now: String,
    offset: usize,
    limit: usize,
    count: usize,
    total: usize,
    #[serde(flatten)]
    entries: T,
}

impl<T: Serialize> List<T> {
    fn new<E>(
        identity: StreamingIdentity,
        moment: &Moment,
        request: PageRequest,
        page: Page<E>,
        entries: impl FnOnce(Vec<E>) -> T,
    ) -> Self {
        List {
            cluster_id: identity.cluster_id,
            server_id: identity.server_id,
            now: moment.local_now(),
            offset: request.offset,
            limit: request.limit,
            count: page.entries.len(),
            total: page.total,
            entries: entries(page.entries),
        }
    }
}

#[derive(Serialize)]
struct Clients {
    clients: Vec<Client>,
}

#[derive(Serialize)]
struct Names {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

#[derive(Serialize)]
struct Channels {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<Channel>,
}

/// `/streaming/clientsz`
pub(crate) async fn clientsz(source: &dyn Source, moment: &Moment, query: &Query) -> Result<Reply, Unavailable> {
    if let Some(id) = query.get("client") {
        return Ok(match source.client(id.to_vec(), query.detail()).await? {
            Some(client) => Reply::json(&client),
            None => Reply::not_found(format!("Client {} not found\n", String::from_utf8_lossy(id))),
        });
    }
    let request = query.page();
    let page = source.clients(request).await?;
    let list = List::new(source.streaming_identity(), moment, request, page, |clients| Clients {
        clients,
    });
    Ok(Reply::json(&list))
}

/// `/streaming/channelsz`
pub(crate) async fn channelsz(source: &dyn Source, moment: &Moment, query: &Query) -> Result<Reply, Unavailable> {
    if let Some(name) = query.get("channel") {
        return Ok(match source.channel(name.to_vec(), query.detail()).await? {
            Some(channel) => Reply::json(&channel),
            None => Reply::not_found(format!("Channel {} not found\n", String::from_utf8_lossy(name))),
        });
    }
    let request = query.page();
    let identity = source.streaming_identity();
    Ok(match request.detail {
        Detail::Counts => {
            let page = source.channel_names(request).await?;
            Reply::json(&List::new(identity, moment, request, page, |names| Names { names }))
        }
        Detail::Subscriptions => {
            let page = source.channels(request).await?;
            Reply::json(&List::new(identity, moment, request, page, |channels| Channels {
                channels,
            }))
        }
    })
}
