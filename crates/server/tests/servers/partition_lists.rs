//! Servers that tell each other their channels (`streaming-protocol.md` §10, §13.10): two of them on one broker, and a
//! raw party in place of the second.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seaway_broker::{Attachment, Batch, Broker, BrokerOptions, Destination, Publisher, Sink};
use seaway_server::bus::Bus;
use seaway_server::partition::Partition;
use seaway_stan_protocol::partition::{
    decode_channel_list, decode_partitioning, encode_channel_lists, encode_partitioning,
};
use seaway_streaming::{ChannelLimits, Limits, LimitsTable};

const LISTS: &str = "_STAN.part.here";
const PATIENCE: Duration = Duration::from_secs(10);

fn table(names: &[&str]) -> LimitsTable {
    let entries: Vec<(String, ChannelLimits)> = names
        .iter()
        .map(|name| ((*name).to_owned(), ChannelLimits::default()))
        .collect();
    LimitsTable::new(Limits::default(), &entries).unwrap()
}

fn join(broker: &Broker, server_id: &str, names: &[&str]) -> Partition {
    Partition::join(&Bus::new(broker), "here", server_id, table(names), 1 << 20).unwrap()
}

/// Subject, reply and payload.
type Seen = (String, Option<Vec<u8>>, Vec<u8>);

struct Forward(Mutex<Sender<Seen>>);

impl Sink for Forward {
    fn deliver(&self, batch: Batch) {
        for message in batch.iter() {
            let subject = String::from_utf8_lossy(message.subject).into_owned();
            let seen = (subject, message.reply.map(<[u8]>::to_vec), message.payload.to_vec());
            // The test may be over.
            let _ = self.0.lock().unwrap().send(seen);
        }
    }

    fn drained(&self, _destination: Destination) {}
}

/// What a server without our code would be: a party that sees and says what it likes.
struct Party {
    _attachment: Attachment,
    publisher: Publisher,
    seen: Receiver<Seen>,
}

impl Party {
    fn new(broker: &Broker, subjects: &[&str]) -> Party {
        let (sender, seen) = channel();
        let attachment = broker.attach("party", Arc::new(Forward(Mutex::new(sender))) as Arc<dyn Sink>);
        for subject in subjects {
            attachment.subscribe(subject, 1, false).unwrap();
        }
        let publisher = attachment.publisher();
        Party {
            _attachment: attachment,
            publisher,
            seen,
        }
    }

    fn send(&mut self, subject: &str, reply: Option<&str>, payload: &[u8]) {
        let _ = self
            .publisher
            .publish(subject.as_bytes(), reply.map(str::as_bytes), &[payload]);
        self.publisher.flush();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_server_that_is_alone_does_not_wait() {
    // §10, and the answer of the bus that nobody is there.
    let broker = Broker::new(BrokerOptions::default());
    let started = Instant::now();
    runtime().block_on(join(&broker, "A", &["foo"]).announce()).unwrap();
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn disjoint_lists_are_accepted_after_a_second_of_silence() {
    // §13.10 PartitionsWithClusterOfServers.
    let broker = Broker::new(BrokerOptions::default());
    let runtime = runtime();
    let (first, mut second) = (
        join(&broker, "A", &["foo.*", "bar"]),
        join(&broker, "B", &["baz", "bar.*"]),
    );
    runtime.spawn(first.serve());
    let started = Instant::now();
    runtime.block_on(second.announce()).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn equal_and_overlapping_lists_are_refused() {
    // §13.10 PartitionsDuplicatedOnTwoServers, PartitionsConflictDueToWildcards; the text of §3.
    let broker = Broker::new(BrokerOptions::default());
    let runtime = runtime();
    runtime.spawn(join(&broker, "A", &["foo.*", "bar"]).serve());
    for (names, channel) in [
        (&["foo.*", "bar"][..], "bar"),
        (&["other", "foo.bar"], "foo.bar"),
        (&[">"], ">"),
    ] {
        let conflict = runtime.block_on(join(&broker, "B", names).announce()).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            format!("channel \"{channel}\" causes conflict with channels on server \"A\"")
        );
    }
}

#[test]
fn what_is_no_list_gets_no_answer() {
    // §13.10 PartitionsInvalidRequest, and a server's own list.
    let broker = Broker::new(BrokerOptions::default());
    let runtime = runtime();
    runtime.spawn(join(&broker, "A", &["foo"]).serve());
    let mut party = Party::new(&broker, &["answers.*"]);
    let list = |server: &str, names: &[&[u8]]| {
        encode_channel_lists(server.as_bytes(), names, 1 << 20)
            .unwrap()
            .remove(0)
    };
    party.send(LISTS, None, &list("B", &[b"foo"]));
    party.send(LISTS, Some("answers.empty"), b"");
    party.send(LISTS, Some("answers.garbage"), b"garbage");
    party.send(
        LISTS,
        Some("answers.truncated"),
        &encode_partitioning(b"B", b"\x03\x00fo"),
    );
    party.send(LISTS, Some("answers.own"), &list("A", &[b"foo"]));
    party.send(LISTS, Some("answers.good"), &list("B", &[b"bar"]));
    party.send(LISTS, Some("answers.conflict"), &list("B", &[b"bar", b"foo"]));
    for (subject, data) in [("answers.good", &b""[..]), ("answers.conflict", b"foo")] {
        let (seen, _, payload) = party.seen.recv_timeout(PATIENCE).unwrap();
        let answer = decode_partitioning(&payload).unwrap();
        assert_eq!(
            (seen.as_str(), &answer.server_id[..], &answer.data[..]),
            (subject, &b"A"[..], data)
        );
    }
}

#[test]
fn a_list_is_split_by_the_payload_and_sent_again_to_a_new_broker() {
    // §13.10 PartitionsMaxPayload, PartitionsSendListAfterRouteEstablished.
    let broker = Broker::new(BrokerOptions::default());
    let runtime = runtime();
    let names: Vec<String> = (0..100).map(|number| format!("channel.{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let partition = Partition::join(&Bus::new(&broker), "here", "A", table(&names), 100).unwrap();
    let learnt = partition.broker_learnt();
    let serving = runtime.spawn(partition.serve());
    let mut party = Party::new(&broker, &[LISTS]);
    learnt.tell();
    let mut told: Vec<String> = Vec::new();
    let mut inbox = None;
    while told.len() < 100 {
        let (_, reply, payload) = party.seen.recv_timeout(PATIENCE).unwrap();
        assert!(payload.len() <= 100);
        let message = decode_partitioning(&payload).unwrap();
        let list = decode_channel_list(&message.data).unwrap();
        told.extend(list.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
        inbox = reply;
    }
    assert_eq!(told, names);
    // Somebody serves one of them already: the server ends.
    let inbox = String::from_utf8(inbox.unwrap()).unwrap();
    party.send(&inbox, None, b"garbage");
    party.send(&inbox, None, &encode_partitioning(b"B", b""));
    party.send(&inbox, None, &encode_partitioning(b"B", b"channel.007"));
    let conflict = runtime.block_on(serving).unwrap();
    assert_eq!(
        conflict.to_string(),
        "channel \"channel.007\" causes conflict with channels on server \"B\""
    );
    assert!(party.seen.try_recv().is_err(), "the list was sent once");
}

#[test]
fn a_server_without_channels_or_room_for_a_name_does_not_start() {
    // §13.10 PartitionsNoChannelConfiguredError, PartitionsMaxPayload.
    let broker = Broker::new(BrokerOptions::default());
    let error = |names: &[&str], max_payload| {
        let joined = Partition::join(&Bus::new(&broker), "here", "A", table(names), max_payload);
        joined.err().map(|error| error.to_string())
    };
    assert_eq!(error(&[], 1 << 20).unwrap(), "stan: no configured channel");
    let name = "x".repeat(54);
    assert_eq!(
        error(&[&name], 50).unwrap(),
        "message payload too small to send channels list"
    );
}
