//! The endpoints of the streaming server (streaming specification §8.2 to §8.7).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::{span, timestamp};
use crate::moment::Moment;
use crate::process::ProcessUse;
use crate::query::Query;
use crate::reply::Reply;
use crate::snapshot::{
    Channel, ChannelLimits, Client, Detail, ExternalNats, PageRequest, Role, Source, StoreLimits, StreamingIdentity,
    StreamingState, Unavailable,
};

#[derive(Serialize)]
pub(crate) struct Serverz {
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
    /// Not in the original: where messages come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    nats: Option<ShownExternal>,
}

/// The connection to NATS servers of somebody else, as serverz shows it.
#[derive(Serialize)]
struct ShownExternal {
    url: String,
    server_name: String,
    server_id: String,
    version: String,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    reconnects: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    connect_urls: Vec<String>,
    max_payload: u64,
    in_msgs: u64,
    in_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    pending_bytes: u64,
    refused_msgs: u64,
    dropped_msgs: u64,
}

impl ShownExternal {
    fn new(external: ExternalNats, moment: &Moment) -> ShownExternal {
        ShownExternal {
            url: external.url,
            server_name: external.server_name,
            server_id: external.server_id,
            version: external.version,
            connected: external.is_connected,
            since: external.since_ns.map(|since| moment.local(timestamp(since))),
            reconnects: external.reconnects,
            last_error: external.last_error,
            connect_urls: external.connect_urls,
            max_payload: external.max_payload,
            in_msgs: external.in_msgs,
            in_bytes: external.in_bytes,
            out_msgs: external.out_msgs,
            out_bytes: external.out_bytes,
            pending_bytes: external.pending_bytes,
            refused_msgs: external.refused_msgs,
            dropped_msgs: external.dropped_msgs,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Serverz {
    pub(crate) async fn look(source: &dyn Source, moment: &Moment, used: ProcessUse) -> Result<Serverz, Unavailable> {
        let identity = source.streaming_identity();
        let server = source.streaming_server().await?;
        Ok(Serverz {
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
            nats: server.external.map(|external| ShownExternal::new(external, moment)),
        })
    }
}

/// `/streaming/serverz`
pub(crate) async fn serverz(source: &dyn Source, moment: &Moment, used: ProcessUse) -> Result<Reply, Unavailable> {
    Ok(Reply::json(&Serverz::look(source, moment, used).await?))
}

#[derive(Serialize)]
struct Storez {
    cluster_id: String,
    server_id: String,
    now: String,
    #[serde(rename = "type")]
    kind: String,
    limits: ShownLimits,
    total_msgs: u64,
    total_bytes: u64,
}

/// Limits as storez shows them.
#[derive(Serialize)]
pub(crate) struct ShownLimits {
    max_channels: u64,
    #[serde(flatten)]
    global: ChannelLimits,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    channels: BTreeMap<String, ChannelLimits>,
}

impl From<StoreLimits> for ShownLimits {
    fn from(limits: StoreLimits) -> ShownLimits {
        ShownLimits {
            max_channels: limits.max_channels,
            global: limits.global,
            channels: limits.channels,
        }
    }
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
        limits: store.limits.into(),
        total_msgs: store.total_msgs,
        total_bytes: store.total_bytes,
    }))
}

/// What all lists begin with; the list itself follows.
#[derive(Serialize)]
pub(crate) struct List<T: Serialize> {
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
    /// The list of `count` entries out of `total`.
    pub(crate) fn new(
        identity: StreamingIdentity,
        moment: &Moment,
        request: PageRequest,
        count: usize,
        total: usize,
        entries: T,
    ) -> Self {
        List {
            cluster_id: identity.cluster_id,
            server_id: identity.server_id,
            now: moment.local_now(),
            offset: request.offset,
            limit: request.limit,
            count,
            total,
            entries,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Clients<'a> {
    pub(crate) clients: &'a [Client],
}

#[derive(Serialize)]
struct Names<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    names: &'a [String],
}

#[derive(Serialize)]
struct Channels<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    channels: &'a [Channel],
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
    let (identity, clients) = (source.streaming_identity(), &page.entries);
    let list = List::new(
        identity,
        moment,
        request,
        clients.len(),
        page.total,
        Clients { clients },
    );
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
            let names = &page.entries;
            Reply::json(&List::new(
                identity,
                moment,
                request,
                names.len(),
                page.total,
                Names { names },
            ))
        }
        Detail::Subscriptions => {
            let page = source.channels(request).await?;
            let (count, channels) = (page.entries.len(), &page.entries);
            Reply::json(&List::new(
                identity,
                moment,
                request,
                count,
                page.total,
                Channels { channels },
            ))
        }
    })
}
