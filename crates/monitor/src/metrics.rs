//! `/metrics` for Prometheus: the names that the exporter of the original used (`nss_*`, `gnatsd_*`), and new ones (`seaway_*`).
//!
//! Everything is derived from snapshots when somebody asks, so that no series outlives what it tells of. Channels are
//! walked part by part. How many of them get series of their own is bounded; what is left out is counted.

mod former;
mod text;

use std::time::Duration;

use text::{Kind, Text};

pub(crate) use text::CONTENT_TYPE;

use crate::limits::{METRICS_CHANNELS_MAX, METRICS_SUBSCRIPTIONS_MAX};
use crate::moment::Moment;
use crate::process::ProcessUse;
use crate::query::Query;
use crate::reply::{Content, Reply};
use crate::snapshot::{
    ArchiveFigures, Broker, ChannelFilter, EngineFigures, Figures, Health, JournalFigures, Membership, Source,
    StreamingIdentity, StreamingServer, StreamingState, Survey, SurveyRequest, SurveyedChannel, SurveyedSubscription,
    Unavailable,
};

/// Nanoseconds to seconds.
const SECONDS: f64 = 1e-9;

/// `/metrics`; what the server cannot tell at present, because it starts or its engine is busy, is left out.
pub(crate) async fn metrics(
    source: &dyn Source,
    moment: &Moment,
    query: &Query,
    used: ProcessUse,
) -> Result<Reply, Unavailable> {
    let identity = source.streaming_identity();
    let mut text = Text::default();
    process(&mut text, used);
    let ready = matches!(source.readiness().await, Ok(Health::Ok | Health::Degraded { .. }));
    text.single(
        "seaway_ready",
        Kind::Gauge,
        "Whether the server can do its work.",
        u8::from(ready),
    );
    text.single(
        "seaway_tenure",
        Kind::Gauge,
        "Number of the tenure under which the server serves; 0 when it has none.",
        identity.tenure.unwrap_or(0),
    );
    if let Some(membership) = &identity.membership {
        self::membership(&mut text, &identity, membership);
    }
    text.single(
        "seaway_log_lines_lost_total",
        Kind::Counter,
        "Lines that could not be written to the log, or not in time.",
        source.log_lines_lost(),
    );
    let broker = source.broker().await?;
    self::broker(&mut text, &broker);
    former::broker(&mut text, source, moment, broker, used).await?;
    // An engine that does not answer is asked once: waiting for it again would leave no time for the rest.
    if identity.state == StreamingState::FtStandby {
        // There is none, and so nothing else to tell.
        former::server(&mut text, &identity, &source.streaming_server().await?);
    } else if let Ok(server) = source.streaming_server().await
        && let Ok(figures) = source.figures().await
        && let Ok(survey) = survey(source, query).await
    {
        former::server(&mut text, &identity, &server);
        streaming(&mut text, &server, &figures, &survey);
        former::channels(&mut text, &identity.server_id, &survey.channels);
        channels(&mut text, &survey.channels);
    }
    Ok(Reply {
        status: 200,
        content: Content::Metrics,
        body: text.finish(),
    })
}

/// The part in a fault-tolerance group.
fn membership(text: &mut Text, identity: &StreamingIdentity, membership: &Membership) {
    let gauge = Kind::Gauge;
    text.family(
        "seaway_fault_tolerance_info",
        gauge,
        "The fault-tolerance group of the server, and its part there.",
    );
    let labels = [("group", membership.group.as_str()), ("state", identity.state.name())];
    text.sample("seaway_fault_tolerance_info", &labels, 1);
    for (name, kind, help, value) in [
        (
            "seaway_active",
            gauge,
            "Whether it is the active one of its fault-tolerance group.",
            u64::from(identity.state == StreamingState::FtActive),
        ),
        (
            "seaway_role_changes_total",
            Kind::Counter,
            "How often it became active, or ceased to be.",
            membership.changes,
        ),
        (
            "seaway_role_seconds",
            gauge,
            "Seconds since that happened last, or since the start.",
            membership.seconds,
        ),
    ] {
        text.single(name, kind, help, value);
    }
}

/// Walks all channels; sums, and as many details as an answer may have.
async fn survey(source: &dyn Source, query: &Query) -> Result<Survey, Unavailable> {
    let filter = ChannelFilter {
        patterns: query.texts("channel"),
    };
    let mut total = Survey::default();
    let mut told = 0;
    let mut after = None;
    loop {
        let request = SurveyRequest {
            after,
            filter: filter.clone(),
            channels_max: METRICS_CHANNELS_MAX - total.channels.len(),
            subscriptions_max: METRICS_SUBSCRIPTIONS_MAX - told,
        };
        let part = source.survey(request).await?;
        told += part
            .channels
            .iter()
            .map(|channel| channel.subscriptions.len())
            .sum::<usize>();
        total.offline += part.offline;
        total.stalled += part.stalled;
        total.paused += part.paused;
        total.pending += part.pending;
        total.oldest_unacknowledged = total.oldest_unacknowledged.max(part.oldest_unacknowledged);
        total.times_ahead = total.times_ahead.max(part.times_ahead);
        total.channels.extend(part.channels);
        total.channels_omitted += part.channels_omitted;
        total.subscriptions_omitted += part.subscriptions_omitted;
        after = part.next;
        if after.is_none() {
            return Ok(total);
        }
    }
}

fn process(text: &mut Text, used: ProcessUse) {
    for (name, kind, help, value) in [
        (
            "process_cpu_seconds_total",
            Kind::Counter,
            "Processor time used.",
            used.cpu_seconds,
        ),
        (
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory.",
            used.memory as f64,
        ),
        (
            "process_open_fds",
            Kind::Gauge,
            "Open file descriptors.",
            used.open_fds as f64,
        ),
        (
            "process_max_fds",
            Kind::Gauge,
            "File descriptors allowed.",
            used.max_fds as f64,
        ),
    ] {
        text.single(name, kind, help, value);
    }
}

fn broker(text: &mut Text, broker: &Broker) {
    let start = broker.start_ns as f64 * SECONDS;
    text.single(
        "process_start_time_seconds",
        Kind::Gauge,
        "Start of the server since the Unix epoch.",
        start,
    );
    text.family("seaway_build_info", Kind::Gauge, "What runs.");
    let labels = [("runtime", broker.runtime.as_str()), ("nats_version", &broker.version)];
    text.sample("seaway_build_info", &labels, 1);
    for (name, kind, help, value) in [
        (
            "seaway_connections",
            Kind::Gauge,
            "Client connections.",
            broker.connections,
        ),
        (
            "seaway_accepted_connections_total",
            Kind::Counter,
            "Client connections accepted.",
            broker.total_connections,
        ),
        (
            "seaway_subscriptions",
            Kind::Gauge,
            "Core subscriptions, the server's own included.",
            broker.subscriptions,
        ),
        (
            "seaway_received_messages_total",
            Kind::Counter,
            "Core messages received from clients.",
            broker.in_msgs,
        ),
        (
            "seaway_received_bytes_total",
            Kind::Counter,
            "Their payload and headers.",
            broker.in_bytes,
        ),
        (
            "seaway_sent_messages_total",
            Kind::Counter,
            "Core messages sent to clients.",
            broker.out_msgs,
        ),
        (
            "seaway_sent_bytes_total",
            Kind::Counter,
            "Their payload and headers.",
            broker.out_bytes,
        ),
        (
            "seaway_slow_consumers_total",
            Kind::Counter,
            "Connections closed because they read too slowly.",
            broker.slow_consumers.total(),
        ),
        (
            "seaway_stale_connections_total",
            Kind::Counter,
            "Connections closed because they did not answer pings.",
            broker.stale_connections,
        ),
        (
            "seaway_stalled_producers_total",
            Kind::Counter,
            "Times a producer waited for a slow consumer.",
            broker.stalled_clients,
        ),
    ] {
        text.single(name, kind, help, value);
    }
}

fn streaming(text: &mut Text, server: &StreamingServer, figures: &Figures, survey: &Survey) {
    // Long: a flat table of names, kinds, helps and values.
    let EngineFigures {
        redelivered_messages,
        failed_heartbeats,
        lost_clients,
        damaged_messages,
        passed_over,
        bus_up,
        inbox_bytes,
        held_batches,
        backlog_bytes,
        refusing,
    } = figures.engine;
    let (counter, gauge) = (Kind::Counter, Kind::Gauge);
    for (name, kind, help, value) in [
        (
            "seaway_published_messages_total",
            counter,
            "Publishes received, refused ones included.",
            server.in_msgs,
        ),
        (
            "seaway_published_bytes_total",
            counter,
            "Their encoded bytes.",
            server.in_bytes,
        ),
        (
            "seaway_delivered_messages_total",
            counter,
            "Messages sent to subscriptions.",
            server.out_msgs,
        ),
        (
            "seaway_delivered_bytes_total",
            counter,
            "Their encoded bytes.",
            server.out_bytes,
        ),
        (
            "seaway_redelivered_messages_total",
            counter,
            "Messages sent again.",
            redelivered_messages,
        ),
        (
            "seaway_failed_heartbeats_total",
            counter,
            "Heartbeats not answered by clients.",
            failed_heartbeats,
        ),
        (
            "seaway_lost_clients_total",
            counter,
            "Clients closed for failed heartbeats.",
            lost_clients,
        ),
        (
            "seaway_damaged_messages",
            gauge,
            "Stored messages that cannot be read and are passed over.",
            damaged_messages,
        ),
        (
            "seaway_passed_over_messages_total",
            counter,
            "Damaged messages passed over, once for each subscription.",
            passed_over,
        ),
        (
            "seaway_stalled_subscriptions",
            gauge,
            "Subscriptions at MaxInflight.",
            survey.stalled,
        ),
        (
            "seaway_paused_subscriptions",
            gauge,
            "Subscriptions that an operator has paused.",
            survey.paused,
        ),
        (
            "seaway_offline_subscriptions",
            gauge,
            "Durables without owner.",
            survey.offline,
        ),
        (
            "seaway_unacknowledged_messages",
            gauge,
            "Messages sent and not acknowledged.",
            survey.pending,
        ),
        (
            "seaway_bus_up",
            gauge,
            "Whether messages can be carried to clients.",
            u64::from(bus_up),
        ),
        (
            "seaway_inbox_bytes",
            gauge,
            "Bytes that wait for the engine.",
            inbox_bytes,
        ),
        (
            "seaway_held_batches",
            gauge,
            "Batches of requests held while the store is behind.",
            held_batches,
        ),
        (
            "seaway_backlog_bytes",
            gauge,
            "Bytes stored and not durable yet.",
            backlog_bytes,
        ),
        (
            "seaway_store_refusing",
            gauge,
            "Whether the store refuses new messages.",
            u64::from(refusing),
        ),
        (
            "seaway_metrics_omitted_channels",
            gauge,
            "Channels without series in this answer.",
            survey.channels_omitted,
        ),
        (
            "seaway_metrics_omitted_subscriptions",
            gauge,
            "Subscriptions without series in this answer.",
            survey.subscriptions_omitted,
        ),
    ] {
        text.single(name, kind, help, value);
    }
    text.single(
        "seaway_oldest_unacknowledged_seconds",
        gauge,
        "Time since the oldest unacknowledged message was first sent.",
        seconds(survey.oldest_unacknowledged),
    );
    text.single(
        "seaway_message_times_ahead_seconds",
        gauge,
        "How far the times of a channel's messages are ahead of the clock, the most of all channels.",
        survey.times_ahead.as_secs_f64(),
    );
    if let Some(figures) = &figures.journal {
        journal(text, figures);
    }
    if let Some(figures) = &figures.archive {
        archive(text, figures);
    }
}

fn archive(text: &mut Text, figures: &ArchiveFigures) {
    let (counter, gauge) = (Kind::Counter, Kind::Gauge);
    for (name, kind, help, value) in [
        (
            "seaway_archive_up",
            gauge,
            "Whether the last attempt to archive something succeeded.",
            u64::from(figures.is_up),
        ),
        (
            "seaway_archive_held_bytes",
            gauge,
            "Bytes of files that could go and are kept until they are archived.",
            figures.unarchived_bytes,
        ),
        (
            "seaway_archive_held_bytes_max",
            gauge,
            "As many are kept at most (archive_max_backlog).",
            figures.unarchived_bytes_max,
        ),
        (
            "seaway_archive_copied_bytes_total",
            counter,
            "Bytes copied to the archive.",
            figures.copied_bytes,
        ),
        (
            "seaway_archive_failures_total",
            counter,
            "Attempts to archive something that failed.",
            figures.failures,
        ),
        (
            "seaway_archive_gaps_total",
            counter,
            "Holes in the archive.",
            figures.gaps,
        ),
    ] {
        text.single(name, kind, help, value);
    }
    if let Some(until) = figures.until_ns {
        text.single(
            "seaway_archive_until_timestamp_seconds",
            gauge,
            "The last moment to which the store could be restored, since the Unix epoch.",
            until as f64 * SECONDS,
        );
    }
}

fn journal(text: &mut Text, figures: &JournalFigures) {
    // Long: a flat table of names, kinds, helps and values.
    for (name, kind, help, value) in [
        (
            "seaway_journal_disk_bytes",
            Kind::Gauge,
            "Bytes of all files.",
            figures.disk_bytes,
        ),
        (
            "seaway_journal_live_bytes",
            Kind::Gauge,
            "Bytes of live messages in them.",
            figures.live_bytes,
        ),
        (
            "seaway_journal_cache_bytes",
            Kind::Gauge,
            "Memory that serves the newest messages.",
            figures.cache_bytes,
        ),
        (
            "seaway_journal_segments",
            Kind::Gauge,
            "Segment files.",
            figures.segments,
        ),
        (
            "seaway_journal_records_total",
            Kind::Counter,
            "Records written.",
            figures.records,
        ),
        (
            "seaway_journal_batches_total",
            Kind::Counter,
            "Batches made durable.",
            figures.batches,
        ),
        (
            "seaway_journal_checkpoints_total",
            Kind::Counter,
            "Checkpoints written.",
            figures.checkpoints,
        ),
        (
            "seaway_journal_checkpoint_bytes",
            Kind::Gauge,
            "Bytes of the newest checkpoint.",
            figures.checkpoint_bytes,
        ),
        (
            "seaway_journal_tail_bytes",
            Kind::Gauge,
            "Bytes a restart reads besides it.",
            figures.tail_bytes,
        ),
        (
            "seaway_journal_rewritten_bytes_total",
            Kind::Counter,
            "Bytes copied to win space back.",
            figures.rewritten_bytes,
        ),
        (
            "seaway_journal_recycled_segments_total",
            Kind::Counter,
            "Segment files used again.",
            figures.recycled_segments,
        ),
    ] {
        text.single(name, kind, help, value);
    }
    if let Some(age) = figures.checkpoint_age {
        let help = "Age of the newest checkpoint of this process.";
        text.single(
            "seaway_journal_checkpoint_age_seconds",
            Kind::Gauge,
            help,
            age.as_secs_f64(),
        );
    }
    let help = "Time to write and sync a batch.";
    text.histogram(
        "seaway_journal_commit_seconds",
        help,
        &figures.commit_nanoseconds,
        SECONDS,
    );
    text.histogram(
        "seaway_journal_batch_bytes",
        "Bytes per batch.",
        &figures.batch_bytes,
        1.0,
    );
    text.histogram(
        "seaway_journal_batch_records",
        "Records per batch.",
        &figures.batch_records,
        1.0,
    );
}

fn channels(text: &mut Text, channels: &[SurveyedChannel]) {
    let name = "seaway_channel_first_sequence";
    text.family(name, Kind::Gauge, "First sequence of the channel.");
    for channel in channels {
        text.sample(
            name,
            &[("channel", channel.channel.name.as_str())],
            channel.channel.first_seq,
        );
    }
    type Value = fn(&SurveyedSubscription) -> f64;
    let of_subscriptions: [(&str, Kind, &str, Value); 4] = [
        (
            "seaway_subscription_waiting_messages",
            Kind::Gauge,
            "Messages of the channel not sent to it yet.",
            |all| all.waiting as f64,
        ),
        (
            "seaway_subscription_stalled",
            Kind::Gauge,
            "Whether it is at MaxInflight.",
            |all| f64::from(u8::from(all.subscription.is_stalled)),
        ),
        (
            "seaway_subscription_redelivered_messages_total",
            Kind::Counter,
            "Messages sent to it again.",
            |all| all.redeliveries as f64,
        ),
        (
            "seaway_subscription_oldest_unacknowledged_seconds",
            Kind::Gauge,
            "Time since its oldest unacknowledged message was first sent.",
            |all| seconds(all.oldest_unacknowledged),
        ),
    ];
    for (name, kind, help, value) in of_subscriptions {
        text.family(name, kind, help);
        for (channel, all) in former::subscriptions(channels) {
            let subscription = &all.subscription;
            let labels = [
                ("channel", channel),
                ("client_id", &subscription.client_id),
                ("inbox", &subscription.inbox),
                ("queue_name", &subscription.queue_name),
                ("durable_name", &subscription.durable_name),
            ];
            text.sample(name, &labels, value(all));
        }
    }
}

fn seconds(span: Option<Duration>) -> f64 {
    span.map_or(0.0, |span| span.as_secs_f64())
}
