//! What is compared, and what it should come to: one trial runs two sides in turn, and one or more rows judge what came out.

/// Who serves a side of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The server of this work tree.
    Ours,
    /// A peer that speaks the core protocol, with JetStream on files.
    Peer,
    /// Nobody: the disk itself.
    Disk,
}

/// One side: who serves it, and what the load generator is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) by: By,
    /// Words for the load generator. `HALF` stands for half of what the server managed with the rest of the words.
    pub(super) words: &'static str,
}

/// Something the load generator reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// A figure by its name.
    Number(&'static str),
    /// A quantile of a kind of latency, such as `p99_us` of `ack`.
    Latency(&'static str, &'static str),
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The first side's figure over the other's.
    Ratio(Figure, Figure),
    /// The other side's figure over the first's: how many times smaller the first is.
    Inverse(Figure),
    /// The first side's figure as it is.
    First(Figure),
    /// The other side's figure as it is.
    Other(Figure),
}

/// What a row should come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    /// Not below.
    AtLeast { must: f64, aim: f64 },
    /// Not above.
    AtMost { must: f64, aim: f64 },
    /// For information.
    Any,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) value: Value,
    pub(super) bound: Bound,
    /// What the value is multiplied with for display, and its unit.
    pub(super) unit: (f64, &'static str),
}

/// How often a trial is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// As many pairs as asked for.
    Pairs,
    /// Once: it repeats inside, or counts what does not vary.
    Once,
}

/// A trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) first: Side,
    pub(super) other: Option<Side>,
    pub(super) times: Times,
    pub(super) rows: &'static [Row],
}

const RATE: Figure = Figure::Number("rate_per_second");
const CPU: Figure = Figure::Number("server_cpu_seconds_per_million");
const RATES: Value = Value::Ratio(RATE, RATE);
const TIMES: (f64, &str) = (1.0, "x");
const PERCENT: (f64, &str) = (100.0, "%");

const fn ours(words: &'static str) -> Side {
    Side { by: By::Ours, words }
}

const fn peer(words: &'static str) -> Side {
    Side { by: By::Peer, words }
}

const fn at_least(must: f64, aim: f64) -> Bound {
    Bound::AtLeast { must, aim }
}

const fn at_most(must: f64, aim: f64) -> Bound {
    Bound::AtMost { must, aim }
}

/// A trial with one row about the rates of both sides.
const fn rates(first: Side, other: Side, rows: &'static [Row]) -> Trial {
    Trial {
        first,
        other: Some(other),
        times: Times::Pairs,
        rows,
    }
}

/// A trial with one side.
const fn alone(first: Side, times: Times, rows: &'static [Row]) -> Trial {
    Trial {
        first,
        other: None,
        times,
        rows,
    }
}

const fn row(name: &'static str, what: &'static str, value: Value, bound: Bound, unit: (f64, &'static str)) -> Row {
    Row {
        name,
        what,
        value,
        bound,
        unit,
    }
}

/// Every trial, in the order of the targets.
pub(super) const TRIALS: &[Trial] = &[
    rates(
        ours("C1 --size 16"),
        peer("C1 --size 16"),
        &[row("core-16", "core 1:1, 16 B", RATES, at_least(2.5, 5.0), TIMES)],
    ),
    rates(
        ours("C1 --size 128"),
        peer("C1 --size 128"),
        &[row("core-128", "core 1:1, 128 B", RATES, at_least(2.0, 3.5), TIMES)],
    ),
    rates(
        ours("C1 --size 1024"),
        peer("C1 --size 1024"),
        &[row("core-1024", "core 1:1, 1 KB", RATES, at_least(1.3, 1.8), TIMES)],
    ),
    rates(
        ours("C1 --size 1024 --window unlimited"),
        peer("C1 --size 1024 --window unlimited"),
        &[row(
            "core-unlimited-1024",
            "core 1:1, 1 KB, the publisher never held back",
            RATES,
            at_least(1.3, 1.8),
            TIMES,
        )],
    ),
    rates(
        ours("C1 --size 4096 --window unlimited"),
        peer("C1 --size 4096 --window unlimited"),
        &[row(
            "core-unlimited-4096",
            "core 1:1, 4 KB, the publisher never held back",
            RATES,
            at_least(1.3, 1.8),
            TIMES,
        )],
    ),
    rates(
        ours("C1 --size 16384 --window unlimited"),
        peer("C1 --size 16384 --window unlimited"),
        &[row(
            "core-unlimited-16384",
            "core 1:1, 16 KB, the publisher never held back",
            RATES,
            at_least(1.3, 1.8),
            TIMES,
        )],
    ),
    rates(
        ours("C2 --subscribers 4"),
        peer("C2 --subscribers 4"),
        &[row(
            "fan-out-4",
            "core fan-out 1:4, 128 B, delivered",
            RATES,
            at_least(2.5, 4.0),
            TIMES,
        )],
    ),
    rates(
        ours("C1 --size 16 --over-a-route"),
        peer("C1 --size 16 --over-a-route"),
        &[row(
            "route-16",
            "core 1:1, 16 B, publisher and subscriber at different servers",
            RATES,
            at_least(1.5, 2.5),
            TIMES,
        )],
    ),
    rates(
        ours("C1 --size 1024 --over-a-route"),
        peer("C1 --size 1024 --over-a-route"),
        &[row(
            "route-1024",
            "core 1:1, 1 KB, publisher and subscriber at different servers",
            RATES,
            at_least(1.5, 1.8),
            TIMES,
        )],
    ),
    rates(
        ours("S2 --window 1024 --max-in-flight 1024 --over-a-route"),
        ours("S2 --window 1024 --max-in-flight 1024"),
        &[row(
            "route-deliver",
            "streaming publish, deliver and ack 128 B, the subscriber at another server, of the same at one server",
            RATES,
            Bound::Any,
            PERCENT,
        )],
    ),
    rates(
        ours("C4"),
        peer("C4"),
        &[
            row(
                "request-p50",
                "core request and reply, 128 B, p50: how many times faster",
                Value::Inverse(Figure::Latency("answer", "p50_us")),
                at_least(1.4, 2.0),
                TIMES,
            ),
            row(
                "request-p999",
                "the same, p99.9",
                Value::Inverse(Figure::Latency("answer", "p999_us")),
                at_least(1.0, 1.0),
                TIMES,
            ),
        ],
    ),
    rates(
        ours("C4 --publishers 50"),
        peer("C4 --publishers 50"),
        &[
            row(
                "request-50-p50",
                "core request and reply of 50 clients, 128 B, p50: how many times faster",
                Value::Inverse(Figure::Latency("answer", "p50_us")),
                at_least(1.4, 2.0),
                TIMES,
            ),
            row(
                "request-50-p999",
                "the same, p99.9",
                Value::Inverse(Figure::Latency("answer", "p999_us")),
                at_least(1.0, 1.0),
                TIMES,
            ),
        ],
    ),
    rates(
        ours("S1 --window 1024"),
        peer("J1 --window 1024"),
        &[
            row(
                "publish-128",
                "streaming publish 128 B, 1,024 in flight, with fsync, against JetStream without",
                RATES,
                at_least(3.0, 6.0),
                TIMES,
            ),
            row(
                "cpu-publish",
                "server CPU per million: publish 128 B",
                Value::First(CPU),
                at_most(1.0, 0.5),
                (1.0, "s"),
            ),
        ],
    ),
    rates(
        ours("S2 --window 1024 --max-in-flight 1024"),
        peer("J2 --window 1024 --max-in-flight 1024"),
        &[
            row(
                "deliver-128",
                "streaming publish, deliver and ack 128 B with fsync, against JetStream without",
                RATES,
                at_least(5.0, 10.0),
                TIMES,
            ),
            row(
                "cpu-deliver",
                "server CPU per million: publish, deliver and ack",
                Value::First(CPU),
                at_most(1.4, 0.75),
                (1.0, "s"),
            ),
        ],
    ),
    rates(
        ours("S3 --channels 100"),
        ours("S3 --channels 1"),
        &[row(
            "channels-100",
            "publish at 100 channels, of one channel",
            RATES,
            at_least(0.8, 1.0),
            PERCENT,
        )],
    ),
    rates(
        ours("S3 --channels 1000"),
        ours("S3 --channels 1"),
        &[row(
            "channels-1000",
            "publish at 1,000 channels, of one channel",
            RATES,
            at_least(0.75, 0.95),
            PERCENT,
        )],
    ),
    rates(
        ours("S3 --channels 100k"),
        ours("S3 --channels 1"),
        &[row(
            "channels-100000",
            "publish at 100,000 channels, of one channel",
            RATES,
            at_least(0.6, 0.85),
            PERCENT,
        )],
    ),
    rates(
        ours("S1 --window 1"),
        Side {
            by: By::Disk,
            words: "disk --size 128",
        },
        &[row(
            "blocking-publish",
            "publish 128 B, one in flight: p50 over that of a raw write and fdatasync",
            Value::Ratio(Figure::Latency("ack", "p50_us"), Figure::Latency("sync", "p50_us")),
            at_most(2.2, 1.5),
            TIMES,
        )],
    ),
    rates(
        ours("S1 --rate HALF"),
        Side {
            by: By::Disk,
            words: "disk --size 128",
        },
        &[
            row(
                "open-loop-p99",
                "open loop at 50 % of the ceiling: publish to ack, p99 over that of a raw fdatasync",
                Value::Ratio(Figure::Latency("ack", "p99_us"), Figure::Latency("sync", "p99_us")),
                at_most(10.0, 4.0),
                TIMES,
            ),
            row(
                "open-loop-p999",
                "the same: p99.9 over the p99 of a raw fdatasync",
                Value::Ratio(Figure::Latency("ack", "p999_us"), Figure::Latency("sync", "p99_us")),
                at_most(30.0, 10.0),
                TIMES,
            ),
        ],
    ),
    alone(
        ours("S6 --size 1024 --backlog 1m --rate 10k"),
        Times::Pairs,
        &[row(
            "catch-up",
            "catch-up from a cold backlog, 1 KB, while publishing goes on",
            Value::First(Figure::Number("megabytes_per_second")),
            at_least(300.0, 1000.0),
            (1.0, "MB/s"),
        )],
    ),
    alone(
        ours("S9 --channels 100k --backlog 1m"),
        Times::Once,
        &[row(
            "restart-channels",
            "restart: 100,000 channels of 10 messages",
            Value::First(Figure::Number("restart_worst_seconds")),
            at_most(1.0, 0.3),
            (1.0, "s"),
        )],
    ),
    alone(
        ours("S9 --channels 1000 --size 1024 --backlog LARGE"),
        Times::Once,
        &[row(
            "restart-large",
            "restart: 1,000 channels, 10 GB with --long, else 1 GB",
            Value::First(Figure::Number("restart_worst_seconds")),
            at_most(2.0, 0.5),
            (1.0, "s"),
        )],
    ),
    alone(
        ours("S7 --backlog 100k --rate 10k"),
        Times::Pairs,
        &[
            row(
                "redelivery-p99",
                "100,000 unacknowledged, AckWait 1 s: publishers' p99 over its idle value",
                Value::First(Figure::Number("storm_p99_ratio")),
                at_most(3.0, 1.1),
                TIMES,
            ),
            row(
                "redelivery-interval",
                "the same: time between two deliveries of a message, p99, in AckWaits",
                Value::First(Figure::Number("redelivery_interval_in_ack_waits")),
                at_most(1.5, 1.1),
                TIMES,
            ),
        ],
    ),
    alone(
        ours("S8 --channels 100k --subscriptions 100k --connections 10k --seconds 30"),
        Times::Once,
        &[
            row(
                "idle-channel",
                "memory of an idle channel",
                Value::First(Figure::Number("channel_bytes")),
                at_most(1_300.0, 450.0),
                (1.0, "B"),
            ),
            row(
                "idle-subscription",
                "memory of an idle subscription",
                Value::First(Figure::Number("subscription_bytes")),
                at_most(1_500.0, 500.0),
                (1.0, "B"),
            ),
            row(
                "idle-connection",
                "memory of an idle connection",
                Value::First(Figure::Number("connection_bytes")),
                at_most(12_000.0, 5_000.0),
                (1.0, "B"),
            ),
            row(
                "idle-descriptors",
                "file descriptors that 100,000 channels take",
                Value::First(Figure::Number("channel_descriptors")),
                at_most(16.0, 4.0),
                (1.0, ""),
            ),
            row(
                "idle-cpu",
                "CPU at rest with all of that, of a core",
                Value::First(Figure::Number("server_cpu_percent_of_a_core")),
                at_most(0.2, 0.02),
                (1.0, "%"),
            ),
        ],
    ),
    rates(
        ours("S10 --size 128 --channels 1000 --backlog 5m --server-argument -mm --server-argument 1000"),
        ours("S1 --channels 1000"),
        &[
            row(
                "device-bytes",
                "bytes on the device per message of 128 B, 1,000 channels, recycled segments",
                Value::First(Figure::Number("device_bytes_per_message")),
                at_most(350.0, 170.0),
                (1.0, "B"),
            ),
            row(
                "device-bytes-first-fill",
                "the same, first fill",
                Value::Other(Figure::Number("device_bytes_per_message")),
                Bound::Any,
                (1.0, "B"),
            ),
        ],
    ),
    rates(
        ours("S10 --size 128 --backlog 1m --limits default --poll-monitoring --seconds 60"),
        ours("S10 --size 128 --backlog 1m --seconds 60"),
        &[row(
            "full-publish",
            "publish at default limits, channel full, monitoring polled, of unlimited",
            RATES,
            at_least(0.8, 0.95),
            PERCENT,
        )],
    ),
    rates(
        ours("S10 --size 128 --subscribers 1 --backlog 1m --limits default --poll-monitoring --seconds 60"),
        ours("S10 --size 128 --subscribers 1 --backlog 1m --seconds 60"),
        &[row(
            "full-deliver",
            "publish, deliver and ack at default limits, channel full, monitoring polled, of unlimited",
            RATES,
            at_least(0.8, 0.95),
            PERCENT,
        )],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<&str> = TRIALS.iter().flat_map(|trial| trial.rows).map(|row| row.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_aim_is_never_easier_than_a_must() {
        for row in TRIALS.iter().flat_map(|trial| trial.rows) {
            match row.bound {
                Bound::AtLeast { must, aim } => assert!(aim >= must, "{}", row.name),
                Bound::AtMost { must, aim } => assert!(aim <= must, "{}", row.name),
                Bound::Any => {}
            }
        }
    }

    #[test]
    fn rows_about_two_sides_have_two() {
        for trial in TRIALS {
            let needs_other = |row: &Row| !matches!(row.value, Value::First(_));
            assert!(
                trial.other.is_some() || !trial.rows.iter().any(needs_other),
                "{}",
                trial.rows[0].name
            );
        }
    }
}
