//! What the monitoring shows, taken from the broker and the engine.
//!
//! The engine is asked through its inbox and answers between two inputs; the broker is read where it stands.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seaway_broker::{Broker, ConnectionFilter, ConnectionSnapshot, SubscriptionDetail};
use seaway_config::Options;
use seaway_monitor as monitor;
use seaway_monitor::{Answer, Detail, PageRequest, Source, StreamingIdentity, Unavailable};
use seaway_streaming::{ChannelSnapshot, ClientSnapshot, Engine, SubscriptionSnapshot};
use tokio::sync::oneshot;

use crate::engine::{Health, Inbox};
use crate::phase::Phase;

/// How long the engine may take to answer: a disk that stalls must not hang the monitoring.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// Ports that are really listened on; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonitoredPorts {
    /// For clients.
    pub clients: u16,
    /// For monitoring.
    pub http: u16,
    /// For monitoring with TLS.
    pub https: u16,
}

/// The monitoring's source.
pub struct Monitoring {
    options: Options,
    server_id: String,
    ports: MonitoredPorts,
    start_ns: i64,
    broker: Broker,
    inbox: Arc<Inbox>,
    health: Health,
    phase: Phase,
}

fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |after| i64::try_from(after.as_nanos()).unwrap_or(i64::MAX))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

impl Monitoring {
    /// A source for the server that runs with `options`.
    pub fn new(
        options: &Options,
        server_id: &str,
        ports: MonitoredPorts,
        broker: Broker,
        inbox: Arc<Inbox>,
        health: Health,
        phase: Phase,
    ) -> Monitoring {
        Monitoring {
            options: options.clone(),
            server_id: server_id.to_owned(),
            ports,
            start_ns: since_epoch(SystemTime::now()),
            broker,
            inbox,
            health,
            phase,
        }
    }

    /// Asks the engine; `Unavailable` when it does not answer in time.
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Engine) -> T + Send + 'static) -> Answer<'_, T> {
        if !self.phase.has_engine() {
            let reason = self.phase.not_ready().unwrap_or_default();
            return Box::pin(async move { Err(Unavailable(reason)) });
        }
        let (answer, answered) = oneshot::channel();
        self.inbox.ask(Box::new(move |engine| {
            // Whoever asked may have gone.
            let _ = answer.send(question(engine));
        }));
        Box::pin(async move {
            match tokio::time::timeout(ENGINE_PATIENCE, answered).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(_)) => Err(Unavailable("the streaming engine has stopped".to_owned())),
                Err(_) => Err(Unavailable("the streaming engine does not answer".to_owned())),
            }
        })
    }

    fn limits(&self) -> monitor::StoreLimits {
        let limits = &self.options.streaming.limits;
        monitor::StoreLimits {
            max_channels: limits.max_channels,
            global: monitor::ChannelLimits {
                max_msgs: limits.max_msgs,
                max_bytes: limits.max_bytes,
                max_age: nanoseconds(limits.max_age),
                max_subscriptions: limits.max_subs,
                max_inactivity: nanoseconds(limits.max_inactivity),
            },
            channels: Default::default(),
        }
    }
}

impl Source for Monitoring {
    fn health(&self) -> Answer<'_, monitor::Health> {
        let health = match self.health.reason().or_else(|| self.phase.not_ready()) {
            None => monitor::Health::Ok,
            Some(reason) => monitor::Health::Unavailable { reason },
        };
        Box::pin(async move { Ok(health) })
    }

    fn broker(&self) -> Answer<'_, monitor::Broker> {
        let snapshot = self.broker.snapshot();
        let options = self.broker.options();
        let started = since_epoch(snapshot.started_at);
        let broker = monitor::Broker {
            server_id: snapshot.server_id,
            server_name: snapshot.server_name,
            version: options.version.clone(),
            protocol: 1,
            runtime: runtime(),
            host: self.options.broker.host.clone(),
            port: self.ports.clients,
            connect_urls: Vec::new(),
            auth_required: snapshot.auth_required,
            tls_required: snapshot.tls.is_some_and(|tls| tls.required),
            tls_verify: snapshot.tls.is_some_and(|tls| tls.verify),
            auth_timeout: snapshot.auth_timeout,
            tls_timeout: snapshot.tls.map(|tls| tls.timeout).unwrap_or_default(),
            max_connections: snapshot.max_connections as u64,
            ping_interval: options.ping_interval,
            ping_max: options.ping_max,
            http_host: self.options.broker.host.clone(),
            http_port: self.ports.http,
            https_port: self.ports.https,
            max_control_line: snapshot.max_control_line as u64,
            max_payload: snapshot.max_payload as u64,
            max_pending: options.max_pending as u64,
            write_deadline: options.write_deadline,
            start_ns: started,
            config_load_ns: started,
            connections: snapshot.connections as u64,
            total_connections: snapshot.total_connections,
            in_msgs: snapshot.in_messages,
            in_bytes: snapshot.in_bytes,
            out_msgs: snapshot.out_messages,
            out_bytes: snapshot.out_bytes,
            slow_consumers: monitor::SlowConsumers {
                clients: snapshot.slow_consumers,
                ..Default::default()
            },
            subscriptions: snapshot.subscriptions as u64,
            ..monitor::Broker::default()
        };
        Box::pin(async move { Ok(broker) })
    }

    fn connections(&self, state: monitor::ConnectionState, detail: Detail) -> Answer<'_, Vec<monitor::Connection>> {
        let filter = ConnectionFilter {
            state: match state {
                monitor::ConnectionState::Open => seaway_broker::ConnectionState::Open,
                monitor::ConnectionState::Closed => seaway_broker::ConnectionState::Closed,
                monitor::ConnectionState::All => seaway_broker::ConnectionState::All,
            },
            connection_id: None,
            subscriptions: match detail {
                Detail::Counts => SubscriptionDetail::Count,
                Detail::Subscriptions => SubscriptionDetail::List,
            },
        };
        let connections = self.broker.connections(&filter).into_iter().map(connection).collect();
        Box::pin(async move { Ok(connections) })
    }

    fn streaming_identity(&self) -> StreamingIdentity {
        StreamingIdentity {
            cluster_id: self.options.streaming.cluster_id.clone(),
            server_id: self.server_id.clone(),
            state: monitor::StreamingState::Standalone,
        }
    }

    fn streaming_server(&self) -> Answer<'_, monitor::StreamingServer> {
        let start_ns = self.start_ns;
        self.ask(move |engine| {
            let snapshot = engine.server_snapshot();
            monitor::StreamingServer {
                version: seaway_config::STREAMING_VERSION.to_owned(),
                runtime: runtime(),
                start_ns,
                clients: snapshot.clients as u64,
                subscriptions: snapshot.subscriptions as u64,
                channels: snapshot.channels as u64,
                total_msgs: snapshot.total_messages,
                total_bytes: snapshot.total_bytes,
                in_msgs: snapshot.in_messages,
                in_bytes: snapshot.in_bytes,
                out_msgs: snapshot.out_messages,
                out_bytes: snapshot.out_bytes,
                ..monitor::StreamingServer::default()
            }
        })
    }

    fn streaming_store(&self) -> Answer<'_, monitor::StreamingStore> {
        let (kind, limits) = (self.options.streaming.store.name().to_owned(), self.limits());
        self.ask(move |engine| {
            let snapshot = engine.server_snapshot();
            monitor::StreamingStore {
                kind,
                limits,
                total_msgs: snapshot.total_messages,
                total_bytes: snapshot.total_bytes,
            }
        })
    }

    fn clients(&self, request: PageRequest) -> Answer<'_, monitor::Page<monitor::Client>> {
        self.ask(move |engine| {
            page(
                engine.clients_page(request.offset, request.limit, wants_subscriptions(request.detail)),
                client,
            )
        })
    }

    fn client(&self, id: Vec<u8>, detail: Detail) -> Answer<'_, Option<monitor::Client>> {
        self.ask(move |engine| engine.client(&id, wants_subscriptions(detail)).map(client))
    }

    fn channel_names(&self, request: PageRequest) -> Answer<'_, monitor::Page<String>> {
        self.ask(move |engine| {
            page(engine.channels_page(request.offset, request.limit, false), |channel| {
                channel.name
            })
        })
    }

    fn channels(&self, request: PageRequest) -> Answer<'_, monitor::Page<monitor::Channel>> {
        self.ask(move |engine| {
            page(
                engine.channels_page(request.offset, request.limit, wants_subscriptions(request.detail)),
                channel,
            )
        })
    }

    fn channel(&self, name: Vec<u8>, detail: Detail) -> Answer<'_, Option<monitor::Channel>> {
        self.ask(move |engine| engine.channel(&name, wants_subscriptions(detail)).map(channel))
    }
}

fn runtime() -> String {
    format!("rust (seaway {})", seaway_config::SEAWAY_VERSION)
}

fn wants_subscriptions(detail: Detail) -> bool {
    detail == Detail::Subscriptions
}

fn page<T, U>(page: seaway_streaming::Page<T>, show: impl FnMut(T) -> U) -> monitor::Page<U> {
    monitor::Page {
        total: page.total,
        entries: page.items.into_iter().map(show).collect(),
    }
}

fn client(client: ClientSnapshot) -> monitor::Client {
    monitor::Client {
        id: client.id,
        hb_inbox: client.heartbeat_inbox,
        subs_count: client.subscriptions_count as u64,
        subscriptions: client
            .subscriptions
            .into_iter()
            .map(|(channel, all)| (channel, all.into_iter().map(subscription).collect()))
            .collect(),
    }
}

fn channel(channel: ChannelSnapshot) -> monitor::Channel {
    monitor::Channel {
        name: channel.name,
        msgs: channel.messages,
        bytes: channel.bytes,
        first_seq: channel.first_sequence,
        last_seq: channel.last_sequence,
        subs_count: channel.subscriptions_count as u64,
        subscriptions: channel.subscriptions.into_iter().map(subscription).collect(),
    }
}

fn subscription(subscription: SubscriptionSnapshot) -> monitor::Subscription {
    monitor::Subscription {
        client_id: subscription.client_id,
        inbox: subscription.inbox,
        ack_inbox: subscription.ack_inbox,
        durable_name: subscription.durable_name,
        queue_name: subscription.queue_name,
        is_durable: subscription.is_durable,
        is_offline: subscription.is_offline,
        max_inflight: i32::try_from(subscription.max_in_flight).unwrap_or(i32::MAX),
        ack_wait: subscription.ack_wait,
        last_sent: subscription.last_sent,
        pending_count: subscription.pending_count as u64,
        is_stalled: subscription.is_stalled,
    }
}

fn connection(connection: ConnectionSnapshot) -> monitor::Connection {
    monitor::Connection {
        cid: connection.id,
        ip: connection.peer.ip().to_string(),
        port: connection.peer.port(),
        start_ns: since_epoch(connection.started_at),
        last_activity_ns: since_epoch(connection.last_activity),
        stop_ns: connection.ended.as_ref().map(|(when, _)| since_epoch(*when)),
        reason: connection.ended.as_ref().map(|(_, reason)| reason.to_string()),
        rtt: connection.round_trip,
        pending_bytes: connection.pending_bytes as u64,
        in_msgs: connection.in_messages,
        out_msgs: connection.out_messages,
        in_bytes: connection.in_bytes,
        out_bytes: connection.out_bytes,
        subscription_count: connection.subscriptions as u64,
        name: text(&connection.name),
        lang: text(&connection.lang),
        version: text(&connection.version),
        tls_version: connection.tls.as_ref().map(|tls| tls.version.to_owned()),
        tls_cipher_suite: connection.tls.as_ref().map(|tls| tls.cipher_suite.clone()),
        tls_first: connection.tls.as_ref().is_some_and(|tls| tls.first),
        authorized_user: connection.authorized_user,
        account: Some("$G".to_owned()),
        subscriptions: connection
            .subscription_list
            .into_iter()
            .map(|known| monitor::ConnectionSubscription {
                subject: known.subject,
                queue: known.queue,
                sid: known.sid,
                msgs: known.messages,
                max: known.max,
            })
            .collect(),
    }
}
