//! `/metrics` on the real binary: the format, the former names, the new ones, and its bounds.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Server;
use crate::support::requests::{durable, in_flight, publish, take};
use seaway_bench::stan::subscription;

/// Samples by name and labels, and the kind of each family.
struct Exposition {
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Exposition {
    fn value(&self, sample: &str) -> f64 {
        *self
            .samples
            .get(sample)
            .unwrap_or_else(|| panic!("{sample} is missing: {:#?}", self.samples))
    }

    /// The only sample whose name and labels contain all of these.
    fn find(&self, parts: &[&str]) -> f64 {
        let found: Vec<_> = self
            .samples
            .iter()
            .filter(|(key, _)| parts.iter().all(|part| key.contains(part)))
            .collect();
        assert_eq!(found.len(), 1, "{parts:?} in {:#?}", self.samples);
        *found[0].1
    }
}

/// Reads the text format 0.0.4 as strictly as it is defined: HELP and TYPE once and before the samples of a family, samples
/// of a family together, no sample twice, label values escaped, buckets ascending and ending with the count.
fn parse(text: &str) -> Exposition {
    let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let (mut helped, mut finished) = (BTreeSet::new(), BTreeSet::new());
    let mut family = String::new();
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(helped.insert(name.to_owned()) && !help.is_empty(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert!(helped.contains(name), "help comes first: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                "twice: {line}"
            );
            // The former exporter's counters are called as they were.
            if kind == "counter" && !name.starts_with("nss_") {
                assert!(name.ends_with("_total"), "{line}");
            }
            finished.insert(std::mem::replace(&mut family, name.to_owned()));
            assert!(!finished.contains(name), "families are not torn: {line}");
        } else {
            let (key, value) = sample(line);
            let name = key.split('{').next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end) == Some(&family));
            assert!(
                name == family || (kinds[&family] == "histogram" && of_histogram),
                "{line} in {family}"
            );
            assert!(samples.insert(key, value).is_none(), "twice: {line}");
        }
    }
    for (name, _) in kinds.iter().filter(|(_, kind)| *kind == "histogram") {
        let buckets: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|(key, count)| {
                let bound = key
                    .strip_prefix(&format!("{name}_bucket{{le=\""))?
                    .strip_suffix("\"}")?;
                Some((bound.replace("+Inf", "inf").parse().unwrap(), *count))
            })
            .collect();
        let mut ascending = buckets.clone();
        ascending.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            ascending.is_sorted_by(|a, b| a.1 <= b.1),
            "{name} is cumulative: {ascending:?}"
        );
        assert_eq!(
            ascending.last(),
            Some(&(f64::INFINITY, samples[&format!("{name}_count")])),
            "{name}"
        );
    }
    Exposition { samples, kinds }
}

/// Name with labels, and value.
fn sample(line: &str) -> (String, f64) {
    let is_name = |text: &str| {
        let mut letters = text.chars();
        letters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let end = line.find(['{', ' ']).expect("a name ends");
    assert!(is_name(&line[..end]), "{line}");
    let mut rest = &line[end..];
    if let Some(mut labels) = rest.strip_prefix('{') {
        loop {
            let (name, more) = labels.split_once("=\"").expect("a label");
            assert!(is_name(name), "{name} in {line}");
            let mut escaped = false;
            let quote = more.find(|letter| {
                let ends = letter == '"' && !escaped;
                assert!(!escaped || ['\\', '"', 'n'].contains(&letter), "{line}");
                escaped = letter == '\\' && !escaped;
                ends
            });
            let after = &more[quote.expect("a closing quote") + 1..];
            match after.strip_prefix(',') {
                Some(next) => labels = next,
                None => {
                    rest = after.strip_prefix('}').expect("labels end");
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("a value");
    (
        line[..line.len() - rest.len()].to_owned(),
        value.parse().expect("a number"),
    )
}

fn scrape(server: &Server, path: &str) -> Exposition {
    let (status, text) = server.get(path);
    assert_eq!(status, 200, "{text}");
    parse(&text)
}

#[test]
fn former_and_new_names() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    session
        .subscribe(durable(in_flight(subscription("orders"), 2)))
        .unwrap();
    publish(&mut session, "orders", 5);
    take(&mut session, 2);
    publish(&mut session, "bills", 3);
    let exposition = scrape(&server, "/metrics");
    for (parts, expected) in [
        (&["nss_server_msgs_total{"][..], 8.0),
        (&["nss_server_channels{"], 2.0),
        (&["nss_server_clients{"], 1.0),
        (&["nss_server_subscriptions{"], 1.0),
        (&["nss_server_active{"], 0.0),
        (&["nss_server_msgs_in{"], 8.0),
        (&["nss_server_msgs_out{"], 2.0),
        (&["gnatsd_varz_connections{"], 1.0),
        (&["gnatsd_connz_total{"], 1.0),
        (
            &[
                "nss_server_info{",
                "cluster_id=\"test-cluster\"",
                "state=\"STANDALONE\"",
            ],
            1.0,
        ),
        (&["nss_chan_msgs_total{", "channel=\"orders\""], 5.0),
        (&["nss_chan_last_seq{", "channel=\"bills\""], 3.0),
        (
            &["nss_chan_subs_last_sent{", "client_id=\"me\"", "durable_name=\"dur\""],
            2.0,
        ),
        (
            &[
                "nss_chan_subs_pending_count{",
                "is_durable=\"true\"",
                "is_offline=\"false\"",
            ],
            2.0,
        ),
        (&["nss_chan_subs_max_inflight{", "queue_name=\"\""], 2.0),
        (&["seaway_subscription_waiting_messages{"], 3.0),
        (&["seaway_subscription_stalled{"], 1.0),
    ] {
        assert_eq!(exposition.find(parts), expected, "{parts:?}");
    }
    assert!(
        exposition.find(&["nss_chan_bytes_total{", "channel=\"orders\""]) > 5.0 * 40.0,
        "§6.1: 40 bytes each"
    );
    for (name, expected) in [
        ("seaway_ready", 1.0),
        ("seaway_published_messages_total", 8.0),
        ("seaway_delivered_messages_total", 2.0),
        ("seaway_stalled_subscriptions", 1.0),
        ("seaway_unacknowledged_messages", 2.0),
        ("seaway_store_refusing", 0.0),
        ("seaway_metrics_omitted_channels", 0.0),
    ] {
        assert_eq!(exposition.value(name), expected, "{name}");
    }
    assert!(exposition.value("seaway_journal_commit_seconds_count") >= 2.0);
    assert!(exposition.value("seaway_journal_commit_seconds_sum") > 0.0);
    assert!(exposition.value("seaway_journal_disk_bytes") > 0.0);
    assert!(exposition.value("process_open_fds") > 5.0);
    assert_eq!(exposition.kinds["nss_chan_msgs_total"], "gauge");
    assert_eq!(exposition.kinds["seaway_journal_batch_bytes"], "histogram");
    // Sums stay, series are chosen.
    let chosen = scrape(&server, "/metrics?channel=b*&channel=bills");
    assert_eq!(chosen.find(&["nss_chan_msgs_total{"]), 3.0);
    assert_eq!(chosen.value("seaway_stalled_subscriptions"), 1.0);
}

#[test]
fn a_memory_store_has_no_journal() {
    let server = Server::in_memory(&[]);
    let exposition = scrape(&server, "/metrics");
    assert!(!exposition.kinds.contains_key("seaway_journal_segments"));
    assert_eq!(exposition.find(&["nss_server_msgs_total{"]), 0.0);
}

/// However many channels there are, an answer stays small and says what it leaves out.
#[test]
fn thousands_of_channels_are_bounded() {
    const CHANNELS: usize = 3000;
    let server = Server::in_memory(&["-mc", "0"]);
    let mut session = server.session("me");
    for number in 0..CHANNELS {
        session.publish_async(&format!("channel.{number:05}"), b"x");
    }
    for _ in 0..CHANNELS {
        session.next_pub_ack(crate::support::PATIENCE).unwrap();
    }
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
    let exposition = parse(&text);
    let told = exposition
        .samples
        .keys()
        .filter(|key| key.starts_with("nss_chan_last_seq"))
        .count();
    assert_eq!(told, 1000);
    assert_eq!(
        exposition.value("seaway_metrics_omitted_channels"),
        (CHANNELS - told) as f64
    );
    assert_eq!(exposition.find(&["nss_server_channels{"]), CHANNELS as f64);
    let one = scrape(&server, "/metrics?channel=channel.02999");
    assert_eq!(one.find(&["nss_chan_last_seq{"]), 1.0);
    assert_eq!(one.value("seaway_metrics_omitted_channels"), 0.0);
    // Long lists are put together from pieces.
    let (_, names) = server.get("/streaming/channelsz?limit=2000&offset=900");
    assert!(
        names.contains("\"count\": 2000,\n  \"total\": 3000,"),
        "{}",
        &names[..300]
    );
    let listed: Vec<&str> = names
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"channel."))
        .collect();
    assert_eq!(listed.len(), 2000);
    assert!(listed[0].starts_with("00900") && listed[1999].starts_with("02899") && listed.is_sorted());
}
