//! What is deferred while the journal is behind: publishes and changes of state, in the order in which they came.
//!
//! Acks, pings and answers to probes pass by, because a slow disk must not make clients look dead. A request that is
//! deferred defers everything of its kind behind it, so the order between a client's publishes and its close stays.

use std::collections::VecDeque;
use std::ops::Range;

use seaway_streaming::{Input, Service};

use super::tokens::ProbeTokens;
use crate::bus::{Batch, is_no_responders};

/// What an internal subscription stands for; travels as the bus's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// A service subject.
    Service(Service),
    /// The ack inbox of the subscription with this number.
    Ack(u64),
    /// Answers to probes.
    Probe,
}

const SERVICES: [Service; 7] = [
    Service::Connect,
    Service::Ping,
    Service::Publish,
    Service::Subscribe,
    Service::Unsubscribe,
    Service::SubscriptionClose,
    Service::Close,
];
const PROBE: u64 = u64::MAX;

impl Tag {
    /// The number the bus carries: a subscription's own, which is far below those at the end of all numbers.
    pub(crate) fn number(self) -> u64 {
        match self {
            Tag::Ack(subscription) => subscription,
            Tag::Probe => PROBE,
            Tag::Service(service) => {
                let place = SERVICES.iter().position(|known| *known == service);
                PROBE - 1 - place.expect("every service is in the table") as u64
            }
        }
    }

    fn from_number(number: u64) -> Tag {
        if number == PROBE {
            return Tag::Probe;
        }
        let place = usize::try_from(PROBE - 1 - number).ok();
        let service = place.and_then(|place| SERVICES.get(place));
        service.map_or(Tag::Ack(number), |service| Tag::Service(*service))
    }

    /// Whether a slow journal does not hold it back.
    fn passes(self) -> bool {
        matches!(self, Tag::Ack(_) | Tag::Probe | Tag::Service(Service::Ping))
    }
}

/// Which entries of a batch are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of them.
    All,
    /// Those that pass while the journal is behind.
    Passing,
    /// Those that were deferred.
    Deferred,
}

impl Part {
    /// Whether an entry that passes, or one that does not, belongs to it.
    pub(super) fn includes(self, passes: bool) -> bool {
        match self {
            Part::All => true,
            Part::Passing => passes,
            Part::Deferred => !passes,
        }
    }
}

/// What a batch counts for in the inbox's bound: its bytes, and what is kept beside each message.
pub(super) fn batch_bytes(batch: &Batch) -> usize {
    const ENTRY_BYTES: usize = 64;
    batch.data_len() + batch.len() * ENTRY_BYTES
}

/// One message of a batch as an input.
pub(super) struct Entry<'a> {
    pub(super) input: Input<'a>,
    /// Whether a slow journal does not hold it back.
    pub(super) passes: bool,
    /// Bytes of its payload.
    pub(super) bytes: usize,
}

/// The message at `index` of a batch; `None` for one that is nobody's.
pub(super) fn entry<'a>(batch: &'a Batch, index: usize, probes: &ProbeTokens) -> Option<Entry<'a>> {
    let message = batch.get(index)?;
    let tag = Tag::from_number(message.tag);
    let input = match tag {
        Tag::Service(service) => Input::Request {
            service,
            reply: message.reply.unwrap_or_default(),
            payload: message.payload,
        },
        Tag::Ack(subscription) => Input::Ack {
            subscription,
            payload: message.payload,
        },
        Tag::Probe if is_no_responders(&message) => Input::ProbeUnheard(probes.probe(message.subject)?),
        Tag::Probe => Input::ProbeAnswered(probes.probe(message.subject)?),
    };
    Some(Entry {
        input,
        passes: tag.passes(),
        bytes: message.payload.len(),
    })
}

fn is_deferrable(batch: &Batch, index: usize) -> bool {
    let message = batch.get(index);
    message.is_some_and(|message| !Tag::from_number(message.tag).passes())
}

/// What of a batch is to be deferred from `from` on, if there is anything, and where it begins. A batch of which most has passed is
/// copied, so that only what is deferred takes memory.
pub(super) fn deferred_from(batch: Batch, from: usize, overlapping: bool) -> Option<(Batch, usize)> {
    let is_deferred = |index: &usize| is_deferrable(&batch, *index);
    let first = (from..batch.len()).find(is_deferred)?;
    let deferred = (first..batch.len())
        .filter(is_deferred)
        .filter_map(|index| batch.get(index));
    let bytes: usize = deferred
        .map(|message| message.payload.len() + message.subject.len())
        .sum();
    if 2 * bytes >= batch.data_len() {
        return Some((batch, first));
    }
    let mut copy = Batch::from_origin(batch.origin());
    for index in (first..batch.len()).filter(is_deferred) {
        if let Some(message) = batch
            .get(index)
            .filter(|_| !(overlapping && is_repeated(&batch, index)))
        {
            copy = copy.with_message(message.tag, message.subject, message.reply, message.payload);
        }
    }
    Some((copy, 0))
}

/// Whether the message at `index` is the one before it again: a publish that more than one listed pattern matches.
pub(super) fn is_repeated(batch: &Batch, index: usize) -> bool {
    index > 0 && batch.payload_range(index) == batch.payload_range(index - 1)
}

/// Batches whose deferred part waits from some message on, oldest first.
#[derive(Default)]
pub(super) struct Deferred {
    batches: VecDeque<(Batch, usize)>,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Payload bytes of the first message that is deferred.
    pub(super) fn first_bytes(&self) -> Option<usize> {
        let (batch, from) = self.batches.front()?;
        Some(batch.get(*from)?.payload.len())
    }

    pub(super) fn push(&mut self, batch: Batch, from: usize) {
        self.batches.push_back((batch, from));
    }

    pub(super) fn put_back(&mut self, batch: Batch, from: usize) {
        self.batches.push_front((batch, from));
    }

    /// The oldest batch, and the messages of it to be looked at now: so many at most. None when that is no message.
    pub(super) fn pop(&mut self, looks: usize) -> Option<(Batch, Range<usize>)> {
        if looks == 0 {
            return None;
        }
        let (batch, from) = self.batches.pop_front()?;
        let end = batch.len().min(from.saturating_add(looks));
        Some((batch, from..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_the_journey_through_the_bus() {
        let others = [Tag::Probe, Tag::Ack(0), Tag::Ack(1), Tag::Ack(7), Tag::Ack(1 << 62)];
        for tag in SERVICES.map(Tag::Service).into_iter().chain(others) {
            assert_eq!(Tag::from_number(tag.number()), tag);
        }
    }

    fn batch_of(services: &[Service]) -> Batch {
        let empty = Batch::from_origin(crate::bus::Origin(1));
        services.iter().fold(empty, |batch, service| {
            batch.with_message(Tag::Service(*service).number(), b"s", Some(b"r"), &[7; 50])
        })
    }

    #[test]
    fn what_has_passed_is_not_kept() {
        let pings = batch_of(&[Service::Ping; 20]);
        assert!(deferred_from(pings, 0, false).is_none());
        let mut services = [Service::Ping; 20];
        services[3] = Service::Publish;
        services[7] = Service::Close;
        let (copy, from) = deferred_from(batch_of(&services), 0, false).expect("two are held");
        let kept: Vec<_> = copy.iter().map(|message| message.tag).collect();
        let expected = [services[3], services[7]].map(|service| Tag::Service(service).number());
        assert_eq!((kept, from), (expected.to_vec(), 0));
        // A batch of which most is deferred is not copied.
        services = [Service::Publish; 20];
        services[5] = Service::Ping;
        let (whole, from) = deferred_from(batch_of(&services), 5, false).expect("most is held");
        assert_eq!((whole.len(), from), (20, 6));
    }

    #[test]
    fn so_many_are_looked_at_at_a_time_in_their_order() {
        let mut deferred = Deferred::default();
        deferred.push(batch_of(&[Service::Publish; 10]), 3);
        deferred.push(batch_of(&[Service::Close; 2]), 0);
        let mut looked = Vec::new();
        while let Some((batch, range)) = deferred.pop(4) {
            looked.push((batch.len(), range.clone()));
            if range.end < batch.len() {
                deferred.put_back(batch, range.end);
            }
        }
        assert_eq!(looked, [(10, 3..7), (10, 7..10), (2, 0..2)]);
        deferred.push(batch_of(&[Service::Publish]), 0);
        assert!(deferred.pop(0).is_none() && !deferred.is_empty());
    }

    /// `nats-core.md` §1.9: status 503.
    #[test]
    fn nobody_who_could_answer_is_no_answer() {
        let probes = ProbeTokens::new();
        let probe = seaway_streaming::ProbeId(7);
        let subject = [b"_INBOX.x.".as_slice(), &probes.token(probe)].concat();
        let status = b"NATS/1.0 503\r\n\r\n";
        let batch = Batch::from_origin(crate::bus::Origin(1))
            .with_headers(PROBE, &subject, None, status.len(), status)
            .with_message(PROBE, &subject, None, b"");
        let input = |index| entry(&batch, index, &probes).unwrap().input;
        assert!(matches!(input(0), Input::ProbeUnheard(found) if found == probe));
        assert!(matches!(input(1), Input::ProbeAnswered(found) if found == probe));
    }

    #[test]
    fn equal_messages_are_not_repeated_ones() {
        let batch = Batch::from_origin(crate::bus::Origin(1))
            .with_message(1, b"a", None, b"")
            .with_message(1, b"a", None, b"");
        assert!(!is_repeated(&batch, 0) && !is_repeated(&batch, 1));
    }
}
