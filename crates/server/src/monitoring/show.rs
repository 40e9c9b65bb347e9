//! From the snapshots of broker, engine and store to those of the monitoring.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seaway_broker::{AccountSnapshot, Broker, ClusterSnapshot, ConnectionSnapshot, RouteAddress, RouteSnapshot, Tls};
use seaway_config::Options;
use seaway_monitor as monitor;
use seaway_store::Statistics;
use seaway_streaming::{
    AuditedChange, ChannelLimits, ChannelSnapshot, ClientSnapshot, FactValue, Limits, LimitsTable, ServerSnapshot,
    SubscriptionSnapshot, Survey, SurveyedChannel, SurveyedSubscription, Timestamp, WhyReport, WhySubscription,
};

use super::MonitoredPorts;
use crate::archive::Reported;
use crate::bus::ExternalSnapshot;
use crate::engine::Glance;
use crate::phase::{Active, Membership};

pub(super) fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |after| i64::try_from(after.as_nanos()).unwrap_or(i64::MAX))
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn runtime() -> String {
    format!("rust (seaway {})", seaway_config::SEAWAY_VERSION)
}

pub(super) fn broker(broker: &Broker, configured: &Options, ports: MonitoredPorts) -> monitor::Broker {
    let snapshot = broker.snapshot();
    let options = broker.options();
    let started = since_epoch(snapshot.started_at);
    let cluster = snapshot.cluster.as_ref();
    monitor::Broker {
        server_id: snapshot.server_id,
        server_name: snapshot.server_name,
        version: options.version.clone(),
        protocol: 1,
        runtime: runtime(),
        host: configured.broker.host.clone(),
        port: ports.clients,
        connect_urls: cluster.map(|cluster| cluster.connect_urls.clone()).unwrap_or_default(),
        max_connections: snapshot.max_connections as u64,
        ping_interval: options.ping_interval,
        ping_max: options.ping_max,
        http_host: configured
            .broker
            .http_host
            .clone()
            .unwrap_or_else(|| configured.broker.host.clone()),
        http_port: ports.http,
        https_port: ports.https,
        http_base_path: configured.broker.http_base_path.clone(),
        auth_timeout: snapshot.auth_timeout,
        max_control_line: snapshot.max_control_line as u64,
        max_payload: snapshot.max_payload as u64,
        max_pending: options.max_pending as u64,
        max_subscriptions: options.max_subscriptions as u64,
        tls_timeout: snapshot.tls.map_or(TLS_TIMEOUT, |tls| tls.timeout),
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
            routes: snapshot.slow_routes,
            ..Default::default()
        },
        routes: cluster.map_or(0, |cluster| cluster.routes as u64),
        remotes: cluster.map_or(0, |cluster| cluster.routes as u64),
        cluster: cluster.map(|cluster| show_cluster(broker, cluster)),
        subscriptions: snapshot.subscriptions as u64,
        stale_connections: snapshot.stale_connections,
        stalled_clients: snapshot.stalled_clients,
        auth_required: snapshot.auth_required,
        tls_required: snapshot.tls.is_some_and(|tls| tls.required),
        tls_verify: snapshot.tls.is_some_and(|tls| tls.verify),
        tags: configured.broker.server_tags.clone(),
        routing_inserts: snapshot.routing_inserts,
        routing_removes: snapshot.routing_removes,
        route_lookups: snapshot.route_lookups,
        route_misses: snapshot.route_misses,
        active_accounts: snapshot.active_accounts,
        system_account: configured.broker.system_account.clone(),
    }
}

pub(crate) fn account(account: AccountSnapshot) -> monitor::Account {
    monitor::Account {
        name: account.name,
        is_system: account.is_system,
        connections: account.connections as u64,
        total_connections: account.total_connections,
        subscriptions: account.subscriptions as u64,
        in_msgs: account.in_messages,
        in_bytes: account.in_bytes,
        out_msgs: account.out_messages,
        out_bytes: account.out_bytes,
        slow_consumers: account.slow_consumers,
    }
}

fn show_cluster(broker: &Broker, cluster: &ClusterSnapshot) -> monitor::Cluster {
    let options = broker.options().cluster.clone().unwrap_or_default();
    monitor::Cluster {
        name: cluster.name.clone(),
        host: options.host,
        port: cluster.port,
        auth_timeout: cluster.auth_timeout,
        urls: options.routes.iter().map(RouteAddress::shown).collect(),
        tls_timeout: options.tls.as_ref().map_or(TLS_TIMEOUT, Tls::timeout),
        tls: options.tls.is_some(),
    }
}

pub(super) fn route(route: RouteSnapshot) -> monitor::Route {
    monitor::Route {
        remote_id: route.server_id,
        remote_name: route.server_name,
        did_solicit: route.is_dialled,
        is_configured: route.is_configured,
        connection: connection(route.connection),
    }
}

/// Time for a TLS handshake when nothing is configured (core specification §3.8).
const TLS_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn connection(connection: ConnectionSnapshot) -> monitor::Connection {
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
        stalls: connection.stalls,
        subscription_count: connection.subscriptions as u64,
        name: text(&connection.name),
        lang: text(&connection.lang),
        version: text(&connection.version),
        tls_version: connection.tls.as_ref().map(|tls| tls.version.to_owned()),
        tls_first: connection.tls.as_ref().is_some_and(|tls| tls.first),
        tls_cipher_suite: connection.tls.map(|tls| tls.cipher_suite),
        authorized_user: connection.authorized_user,
        account: connection.account,
    }
}

pub(super) fn connection_subscription(known: seaway_broker::SubscriptionSnapshot) -> monitor::ConnectionSubscription {
    monitor::ConnectionSubscription {
        account: known.account,
        subject: known.subject,
        queue: known.queue,
        sid: known.sid,
        msgs: known.messages,
        max: known.max,
    }
}

pub(super) fn streaming_server(snapshot: &ServerSnapshot, start_ns: i64) -> monitor::StreamingServer {
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
}

/// The NATS servers of somebody else.
pub(super) fn external(snapshot: ExternalSnapshot) -> monitor::ExternalNats {
    monitor::ExternalNats {
        url: snapshot.url,
        server_name: snapshot.server_name,
        server_id: snapshot.server_id,
        version: snapshot.version,
        is_connected: snapshot.is_up,
        since_ns: snapshot.since.map(since_epoch),
        reconnects: snapshot.reconnects,
        last_error: snapshot.reason,
        connect_urls: snapshot.connect_urls,
        max_payload: snapshot.max_payload as u64,
        in_msgs: snapshot.in_messages,
        in_bytes: snapshot.in_bytes,
        out_msgs: snapshot.out_messages,
        out_bytes: snapshot.out_bytes,
        pending_bytes: snapshot.pending_bytes as u64,
        refused_msgs: snapshot.refused,
        dropped_msgs: snapshot.dropped,
    }
}

/// Of a server that stands by.
pub(super) fn no_streaming_server(start_ns: i64) -> monitor::StreamingServer {
    monitor::StreamingServer {
        version: seaway_config::STREAMING_VERSION.to_owned(),
        runtime: runtime(),
        start_ns,
        ..monitor::StreamingServer::default()
    }
}

pub(super) fn membership(membership: Membership) -> monitor::Membership {
    let (active, active_tenure) = match membership.active {
        Some(Active { member, tenure }) => (Some(member), Some(tenure)),
        None => (None, None),
    };
    monitor::Membership {
        group: membership.group,
        active,
        active_tenure,
        changes: membership.changes,
        seconds: membership.since.as_secs(),
        reason: membership.reason,
    }
}

/// The global limits, and those of the channels and patterns that have their own with what they inherit (§6.2).
pub(super) fn limits(table: &LimitsTable) -> monitor::StoreLimits {
    let entries = table.entries().iter();
    monitor::StoreLimits {
        max_channels: table.global().max_channels as u64,
        global: channel_limits(table.global()),
        channels: entries
            .map(|entry| (entry.name.clone(), channel_limits(&entry.limits)))
            .collect(),
    }
}

pub(crate) fn channel_limits(limits: &Limits) -> monitor::ChannelLimits {
    monitor::ChannelLimits {
        max_msgs: limits.max_messages,
        max_bytes: limits.max_bytes,
        max_age: limits.max_age_ns,
        max_subscriptions: limits.max_subscriptions as u64,
        max_inactivity: limits.max_inactivity_ns,
    }
}

pub(crate) fn limits_set(set: &ChannelLimits) -> monitor::ChannelLimitsSet {
    monitor::ChannelLimitsSet {
        max_msgs: set.max_messages,
        max_bytes: set.max_bytes,
        max_age: set.max_age_ns,
        max_subscriptions: set.max_subscriptions.map(|limit| limit as u64),
        max_inactivity: set.max_inactivity_ns,
    }
}

pub(super) fn client(client: ClientSnapshot) -> monitor::Client {
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

pub(super) fn channel(channel: ChannelSnapshot) -> monitor::Channel {
    monitor::Channel {
        name: channel.name,
        msgs: channel.messages,
        bytes: channel.bytes,
        first_seq: channel.first_sequence,
        last_seq: channel.last_sequence,
        subs_count: channel.subscriptions_count as u64,
        limits: channel_limits(&channel.limits),
        limits_set: limits_set(&channel.limits_set),
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
        paused_since: subscription.paused.as_ref().map(|paused| rfc3339(paused.since)),
        paused_by: subscription.paused.map(|paused| paused.by),
    }
}

/// A time in UTC.
fn rfc3339(time: seaway_streaming::Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.0))
        .unwrap_or_default()
        .to_string()
}

pub(super) fn audit_entry(change: AuditedChange) -> monitor::AuditEntry {
    monitor::AuditEntry {
        number: change.number,
        time: rfc3339(change.time),
        by: change.by,
        change: change.words,
    }
}

pub(super) fn why(report: WhyReport) -> monitor::Why {
    monitor::Why {
        channel: report.channel,
        found: !report.verdict.is_unknown(),
        verdict: report.verdict.code(),
        words: report.words,
        advice: report.advice,
        facts: facts(report.facts),
        total: report.total,
        subscriptions: report.subscriptions.into_iter().map(why_subscription).collect(),
    }
}

fn why_subscription(subscription: WhySubscription) -> monitor::WhySubscription {
    monitor::WhySubscription {
        client_id: subscription.client_id,
        inbox: subscription.inbox,
        durable_name: subscription.durable_name,
        queue_name: subscription.queue_name,
        verdict: subscription.verdict.code(),
        also: subscription
            .also
            .into_iter()
            .map(seaway_streaming::Verdict::code)
            .collect(),
        words: subscription.words,
        advice: subscription.advice,
        facts: facts(subscription.facts),
    }
}

fn facts(facts: Vec<seaway_streaming::Fact>) -> Vec<(&'static str, monitor::Fact)> {
    let value = |value| match value {
        FactValue::Number(number) => monitor::Fact::Number(number),
        FactValue::Text(text) => monitor::Fact::Text(text),
        FactValue::Flag(flag) => monitor::Fact::Flag(flag),
        FactValue::Time(Timestamp(ns)) => monitor::Fact::Time(ns),
        FactValue::Span(ns) => monitor::Fact::Span(Duration::from_nanos(ns)),
        FactValue::Names(names) => monitor::Fact::Names(names),
        FactValue::Sequences(ranges) => monitor::Fact::Sequences(
            ranges
                .into_iter()
                .map(|range| monitor::SequenceRange {
                    first: range.first,
                    last: range.last,
                    redeliveries: range.redeliveries,
                    due_ns: range.due.map(|Timestamp(ns)| ns),
                })
                .collect(),
        ),
    };
    facts.into_iter().map(|fact| (fact.name, value(fact.value))).collect()
}

/// How a server is that serves.
pub(super) fn health(glance: &Glance<'_>, archive: Option<&Reported>) -> monitor::Health {
    if let Some(reason) = &glance.refusing {
        let reason = format!("publishes are refused, or the larger ones of them: {reason}");
        return monitor::Health::Degraded { reason };
    }
    let unarchived = || glance.store.statistics().unarchived_bytes;
    if let Some(reason) = archive.and_then(|archive| archive.alarm(unarchived())) {
        return monitor::Health::Degraded { reason };
    }
    match glance.engine.counters().damaged_messages {
        0 => monitor::Health::Ok,
        damaged => monitor::Health::Degraded {
            reason: format!(
                "{damaged} stored messages cannot be read and are passed over; the log names channels and files, and \
                 /streaming/why whom it concerns"
            ),
        },
    }
}

pub(super) fn figures(glance: &Glance<'_>, archive: Option<Reported>) -> monitor::Figures {
    let counters = glance.engine.counters();
    let statistics = glance.store.statistics();
    monitor::Figures {
        engine: monitor::EngineFigures {
            redelivered_messages: counters.redelivered_messages,
            failed_heartbeats: counters.failed_heartbeats,
            lost_clients: counters.lost_clients,
            damaged_messages: counters.damaged_messages,
            passed_over: counters.passed_over,
            bus_up: counters.bus_up,
            inbox_bytes: glance.inbox_bytes as u64,
            held_batches: glance.held_batches as u64,
            backlog_bytes: statistics.backlog_bytes,
            refusing: glance.refusing.is_some(),
        },
        // A store without files has no journal.
        journal: (statistics.segments > 0).then(|| journal(&statistics)),
        archive: archive.map(|archive| monitor::ArchiveFigures {
            is_up: archive.is_up(),
            until_ns: archive.until,
            unarchived_bytes: statistics.unarchived_bytes,
            unarchived_bytes_max: archive.backlog_bytes_max,
            copied_bytes: archive.copied_bytes,
            failures: archive.failures,
            gaps: archive.gaps.max(statistics.archive_given_up),
        }),
    }
}

fn journal(statistics: &Statistics) -> monitor::JournalFigures {
    monitor::JournalFigures {
        disk_bytes: statistics.disk_bytes,
        live_bytes: statistics.live_bytes,
        cache_bytes: statistics.cache_bytes,
        segments: statistics.segments,
        batches: statistics.batches,
        records: statistics.records,
        batch_bytes: histogram(&statistics.batch_bytes),
        batch_records: histogram(&statistics.batch_records),
        commit_nanoseconds: histogram(&statistics.sync_nanoseconds),
        checkpoints: statistics.checkpoints,
        checkpoint_age: statistics.checkpoint_age_nanoseconds.map(Duration::from_nanos),
        checkpoint_bytes: statistics.checkpoint_bytes,
        tail_bytes: statistics.tail_bytes,
        rewritten_bytes: statistics.rewritten_bytes,
        recycled_segments: statistics.recycled_segments,
    }
}

fn histogram(histogram: &seaway_store::Histogram) -> monitor::Histogram {
    monitor::Histogram {
        buckets: histogram.cumulative.clone(),
        count: histogram.count,
        sum: histogram.sum,
    }
}

pub(super) fn survey(survey: Survey) -> monitor::Survey {
    monitor::Survey {
        offline: survey.offline as u64,
        stalled: survey.stalled as u64,
        paused: survey.paused as u64,
        pending: survey.pending,
        oldest_unacknowledged: survey.oldest_unacknowledged.map(Duration::from_nanos),
        times_ahead: Duration::from_nanos(survey.times_ahead_ns),
        channels: survey.details.into_iter().map(surveyed_channel).collect(),
        channels_omitted: survey.channels_omitted as u64,
        subscriptions_omitted: survey.subscriptions_omitted as u64,
        next: survey.next,
    }
}

fn surveyed_channel(surveyed: SurveyedChannel) -> monitor::SurveyedChannel {
    monitor::SurveyedChannel {
        channel: channel(surveyed.shown),
        subscriptions: surveyed.subscriptions.into_iter().map(surveyed_subscription).collect(),
    }
}

fn surveyed_subscription(surveyed: SurveyedSubscription) -> monitor::SurveyedSubscription {
    monitor::SurveyedSubscription {
        subscription: subscription(surveyed.shown),
        waiting: surveyed.messages_waiting,
        redeliveries: surveyed.redeliveries,
        oldest_unacknowledged: surveyed.oldest_unacknowledged.map(Duration::from_nanos),
    }
}
