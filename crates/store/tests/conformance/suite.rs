//! What every store must do, asked of one that somebody else opened: the adapters of this crate, and those of others that include this file.
#![allow(dead_code, reason = "every adapter asks a part of it")]

use std::time::{Duration, Instant};

use seaway_store::{Completion, ReadMessages, Recovery, Store};
use seaway_streaming::{ChannelId, Head, Lookup, Position, ReadRequest, Seek, Ticket, Urgency};

const PATIENCE: Duration = Duration::from_secs(20);
const CHANNEL: ChannelId = ChannelId(7);

/// A store, and how to let something happen that it waits for.
pub(crate) struct Subject {
    pub(crate) store: Box<dyn Store>,
    pub(crate) wait: Box<dyn FnMut()>,
    kept: Vec<Completion>,
}

/// Opens a store that lasts, again when it was closed.
pub(crate) type Open<'a> = &'a mut dyn FnMut(&mut Recovered) -> Subject;

/// A question to a fresh store, by name.
type Check = (&'static str, fn(&mut Subject));

/// What is asked of a fresh store.
pub(crate) const CHECKS: [Check; 5] = [
    ("positions", positions_count_records_and_become_durable_in_order),
    ("messages", a_message_is_seen_at_once_and_read_later),
    ("trims", trimmed_messages_are_gone_and_the_head_moves),
    ("seeks", seeks_find_the_first_at_or_after_a_time),
    ("deletions", deleted_channels_are_gone),
];

#[derive(Default)]
pub(crate) struct Recovered {
    pub(crate) facts: Vec<(u8, Vec<u8>)>,
    pub(crate) deleted: Vec<ChannelId>,
    pub(crate) channels: Vec<(ChannelId, u64, u64, u64, i64)>,
}

impl Recovery for Recovered {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        self.facts.push((kind, body.to_vec()));
    }

    fn channel_deleted(&mut self, channel: ChannelId) {
        self.deleted.push(channel);
    }

    fn channel(&mut self, channel: ChannelId, first: u64, last: u64, bytes: u64, last_timestamp: i64) {
        self.channels.push((channel, first, last, bytes, last_timestamp));
    }
}

impl Subject {
    pub(crate) fn new(store: Box<dyn Store>, wait: Box<dyn FnMut()>) -> Subject {
        let kept = Vec::new();
        Subject { store, wait, kept }
    }

    /// Waits for the first completion that `wanted` takes; others are kept for later.
    fn wait<T>(&mut self, wanted: impl Fn(&Completion) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pressure = self.store.pressure(0);
            if pressure.urgent || pressure.lazy {
                self.store.submit();
            }
            self.store.poll(&mut self.kept);
            if let Some(index) = self.kept.iter().position(|completion| wanted(completion).is_some()) {
                return wanted(&self.kept.remove(index)).expect("it was wanted a moment ago");
            }
            assert!(Instant::now() < deadline, "nothing came; kept {:?}", self.kept);
            if let Some(commit) = self.store.take_commit() {
                commit();
                continue;
            }
            (self.wait)();
        }
    }

    fn until_durable(&mut self, position: Position) {
        if self.store.durable() < position {
            self.wait(|completion| match completion {
                Completion::Durable(up_to) if *up_to >= position => Some(()),
                _ => None,
            });
        }
        assert!(self.store.durable() >= position);
    }

    /// Appends `count` messages with timestamps 10, 20, ..; bodies are the sequence in decimal.
    fn fill(&mut self, channel: ChannelId, from: u64, count: u64) -> Position {
        let mut position = Position::default();
        for sequence in from..from + count {
            let body = sequence.to_string();
            let timestamp = i64::try_from(sequence * 10).expect("a small number");
            position = self
                .store
                .append_message(channel, sequence, timestamp, &[b"<", body.as_bytes(), b">"]);
        }
        position
    }

    fn read(&mut self, from: u64, messages_max: u32, bytes_max: u32) -> Vec<(u64, i64, String)> {
        let ticket = Ticket(from + 1000);
        self.store.read(ReadRequest {
            ticket,
            channel: CHANNEL,
            from,
            messages_max,
            bytes_max,
        });
        let messages: ReadMessages = self.wait(|completion| match completion {
            Completion::Read {
                ticket: answered,
                messages,
            } if *answered == ticket => Some(messages.clone().expect("the read succeeds")),
            _ => None,
        });
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        messages
            .iter()
            .map(|message| (message.sequence, message.timestamp, text(message.body)))
            .collect()
    }

    fn head(&mut self) -> Head {
        loop {
            match self.store.head(CHANNEL) {
                Head::Reading => {
                    self.wait(|completion| matches!(completion, Completion::HeadKnown(CHANNEL)).then_some(()));
                }
                known => return known,
            }
        }
    }

    fn seek(&mut self, timestamp: i64) -> u64 {
        let ticket = Ticket(5);
        match self.store.seek(ticket, CHANNEL, timestamp) {
            Seek::Found(sequence) => sequence,
            Seek::Reading => self.wait(|completion| match completion {
                Completion::Sought {
                    ticket: answered,
                    sequence,
                } if *answered == ticket => Some(sequence.clone().expect("the seek succeeds")),
                _ => None,
            }),
        }
    }
}

fn positions_count_records_and_become_durable_in_order(subject: &mut Subject) {
    let first = subject.store.append_fact(1, b"a", Urgency::Lazy);
    let second = subject.fill(CHANNEL, 1, 1);
    let third = subject.store.append_fact(2, b"b", Urgency::Sync);
    assert_eq!((second.0, third.0), (first.0 + 1, first.0 + 2));
    subject.until_durable(third);
}

fn a_message_is_seen_at_once_and_read_later(subject: &mut Subject) {
    let position = subject.fill(CHANNEL, 1, 10);
    assert_eq!(subject.store.message(CHANNEL, 3), Lookup::Hot(b"<3>"));
    assert_eq!(subject.store.message(CHANNEL, 11), Lookup::Missing);
    assert_eq!(subject.store.message(ChannelId(8), 1), Lookup::Missing);
    subject.until_durable(position);
    assert_eq!(
        subject.read(9, 10, 1000),
        [(9, 90, "<9>".to_owned()), (10, 100, "<10>".to_owned())]
    );
    assert_eq!(subject.read(2, 1, 1000).len(), 1);
    assert_eq!(
        subject.read(2, 10, 1).len(),
        1,
        "at least one, however few bytes are asked for"
    );
    assert_eq!(subject.read(11, 10, 1000), []);
}

fn trimmed_messages_are_gone_and_the_head_moves(subject: &mut Subject) {
    assert_eq!(subject.head(), Head::Empty);
    let position = subject.fill(CHANNEL, 1, 10);
    subject.until_durable(position);
    assert_eq!(
        subject.head(),
        Head::Known {
            sequence: 1,
            size: 3,
            timestamp: 10
        }
    );
    let tenth = Head::Known {
        sequence: 10,
        size: 4,
        timestamp: 100,
    };
    assert_eq!(subject.store.head_from(CHANNEL, 10), tenth);
    assert_eq!(subject.store.head_from(CHANNEL, 11), Head::Empty);
    subject.store.trim(CHANNEL, 10);
    assert_eq!(
        subject.head(),
        Head::Known {
            sequence: 10,
            size: 4,
            timestamp: 100
        }
    );
    assert_eq!(subject.store.message(CHANNEL, 9), Lookup::Missing);
    assert_eq!(subject.read(1, 10, 1000), [(10, 100, "<10>".to_owned())]);
    let position = subject.store.trim(CHANNEL, 11);
    assert_eq!(subject.head(), Head::Empty);
    assert_eq!(subject.read(1, 10, 1000), []);
    let position = subject.fill(CHANNEL, 11, 1).max(position);
    subject.until_durable(position);
    assert_eq!(
        subject.head(),
        Head::Known {
            sequence: 11,
            size: 4,
            timestamp: 110
        }
    );
}

fn seeks_find_the_first_at_or_after_a_time(subject: &mut Subject) {
    // streaming-protocol §13.2 CSGetSeqFromStartTime.
    let position = subject.fill(CHANNEL, 1, 100);
    subject.until_durable(position);
    for (timestamp, sequence) in [
        (0, 1),
        (10, 1),
        (11, 2),
        (500, 50),
        (999, 100),
        (1000, 100),
        (1001, 101),
    ] {
        assert_eq!(subject.seek(timestamp), sequence, "at {timestamp}");
    }
    subject.store.trim(CHANNEL, 20);
    assert_eq!(subject.seek(10), 20);
}

fn deleted_channels_are_gone(subject: &mut Subject) {
    subject.fill(CHANNEL, 1, 10);
    let position = subject.store.delete_channel(CHANNEL);
    assert_eq!(subject.store.message(CHANNEL, 1), Lookup::Missing);
    assert_eq!(subject.head(), Head::Empty);
    subject.until_durable(position);
    assert_eq!(subject.read(1, 10, 1000), []);
}

pub(crate) fn gives_back_what_was_durable(open: Open<'_>) {
    let mut subject = open(&mut Recovered::default());
    subject.store.append_fact(3, b"fact", Urgency::Sync);
    subject.fill(CHANNEL, 1, 10);
    subject.fill(ChannelId(8), 1, 3);
    subject.store.trim(CHANNEL, 4);
    let position = subject.store.delete_channel(ChannelId(8));
    subject.until_durable(position);
    subject.store.close().expect("it closes");
    drop(subject);

    let mut recovered = Recovered::default();
    let mut subject = open(&mut recovered);
    assert_eq!(recovered.facts, [(3, b"fact".to_vec())]);
    assert_eq!(recovered.deleted, [ChannelId(8)]);
    assert_eq!(recovered.channels, [(CHANNEL, 4, 10, 6 * 3 + 4, 100)]);
    assert_eq!(subject.read(4, 1, 1000), [(4, 40, "<4>".to_owned())]);
}

/// What many subscriptions of a channel read from the disk at the same time is in memory once, not once for each.
pub(crate) fn readers_of_the_same_message_share_its_memory(open: Open<'_>) {
    const READERS: u64 = 200;
    let mut subject = open(&mut Recovered::default());
    let position = subject.fill(CHANNEL, 1, 10);
    subject.until_durable(position);
    subject.store.close().expect("it closes");
    drop(subject);

    let mut subject = open(&mut Recovered::default());
    for reader in 0..READERS {
        subject.store.read(ReadRequest {
            ticket: Ticket(reader),
            channel: CHANNEL,
            from: 4,
            messages_max: 1,
            bytes_max: 1000,
        });
    }
    let answers: Vec<ReadMessages> = (0..READERS)
        .map(|reader| {
            subject.wait(|completion| match completion {
                Completion::Read { ticket, messages } if *ticket == Ticket(reader) => messages.clone().ok(),
                _ => None,
            })
        })
        .collect();
    let mut places = std::collections::BTreeSet::new();
    for answer in &answers {
        let message = answer.iter().next().expect("the message is there");
        assert_eq!((answer.len(), message.sequence, message.body), (1, 4, &b"<4>"[..]));
        places.insert(message.body.as_ptr());
    }
    assert!(
        places.len() < answers.len() / 2,
        "{} copies for {READERS} readers",
        places.len()
    );
}

pub(crate) fn a_checkpoint_stands_for_what_came_before(open: Open<'_>) {
    let mut subject = open(&mut Recovered::default());
    let position = subject.store.append_fact(1, b"old", Urgency::Sync);
    subject.until_durable(position);
    assert!(subject.store.begin_checkpoint());
    subject.store.checkpoint_fact(1, b"state");
    subject.store.finish_checkpoint();
    let position = subject.store.append_fact(1, b"new", Urgency::Sync);
    subject.until_durable(position);
    subject.store.close().expect("it closes");
    drop(subject);
    let mut recovered = Recovered::default();
    drop(open(&mut recovered));
    let facts: Vec<&[u8]> = recovered.facts.iter().map(|(_, body)| body.as_slice()).collect();
    // Whether the checkpoint was published before the end is the store's business; both give the same state.
    assert!(
        facts == [b"state".as_slice(), b"new"] || facts == [b"old".as_slice(), b"new"],
        "{facts:?}"
    );
}
