//! What an account imports from others (core specification §2.7): streams, whose messages reach subscriptions in it, and services,
//! to which what is published in it goes, with a reply of its own.
//!
//! A subscription in an account with imports of streams has a *shadow* in the table of each exporter whose subjects it overlaps. A
//! service is one subscription in the importer's table, and one in the exporter's for the answers. So whoever delivers finds what
//! crosses like every other receiver, and what other servers are told is right by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seaway_nats_protocol::{SubjectMapping, subject};

use crate::access::nkey;
use crate::account::Account;
use crate::limits::{SERVICE_HOPS_MAX, SERVICE_REPLIES_BYTES_MAX, SERVICE_REPLIES_MAX};
use crate::lock::lock;
use crate::origin::{Audience, Origin};

/// Reserved for answers to services; clients cannot ask for answers there (§2.1).
const REPLY_PREFIX: &str = "_R_.";

/// Stands between what nobody can guess and the number of an answer.
const NUMBER_BEHIND: char = ':';

/// Messages of another account.
pub(crate) struct StreamImport {
    pub(crate) exporter: Arc<Account>,
    pub(crate) mapping: Arc<SubjectMapping>,
}

/// Somebody in another account who answers.
pub(crate) struct ServiceImport {
    pub(crate) id: u64,
    importer: Arc<Account>,
    exporter: Arc<Account>,
    mapping: SubjectMapping,
    is_single: bool,
    threshold: Duration,
    /// Where no answer goes; see [`crate::BrokerOptions::services`].
    services: Arc<[String]>,
    /// What replies to what goes through here begin with; nobody can guess it.
    prefix: String,
    replies: Mutex<Replies>,
}

/// Where answers that are waited for go, by their numbers. All wait equally long, so that the first of them ends first.
#[derive(Default)]
struct Replies {
    expected: BTreeMap<u64, Expected>,
    next: u64,
    /// Bytes of where they go.
    bytes: usize,
}

/// An answer that is waited for.
struct Expected {
    /// What its subject ends with beside the number.
    token: Box<[u8]>,
    reply: Box<[u8]>,
    end: Instant,
}

impl Replies {
    /// Waits for one more; the subjects of two are never the same. Where too many wait the oldest are given up.
    fn expect(&mut self, reply: &[u8], now: Instant, threshold: Duration) -> String {
        self.end(now);
        while self.expected.len() >= SERVICE_REPLIES_MAX
            || (self.bytes + reply.len() > SERVICE_REPLIES_BYTES_MAX && !self.expected.is_empty())
        {
            self.give_up_first();
        }
        let token = nkey::nonce();
        let name = format!("{token}{NUMBER_BEHIND}{}", self.next);
        let expected = Expected {
            token: token.into_bytes().into(),
            reply: reply.into(),
            end: now + threshold,
        };
        self.bytes += reply.len();
        self.expected.insert(self.next, expected);
        self.next += 1;
        name
    }

    /// Gives up those that have waited long enough.
    fn end(&mut self, now: Instant) {
        while self
            .expected
            .first_key_value()
            .is_some_and(|(_, first)| first.end <= now)
        {
            self.give_up_first();
        }
    }

    fn give_up_first(&mut self) {
        if let Some((_, first)) = self.expected.pop_first() {
            self.bytes -= first.reply.len();
        }
    }

    /// Where the answer of this name goes.
    fn find(&mut self, name: &[u8], now: Instant, is_single: bool) -> Option<Box<[u8]>> {
        self.end(now);
        let position = name.iter().rposition(|byte| *byte == NUMBER_BEHIND as u8)?;
        let number: u64 = std::str::from_utf8(&name[position + 1..]).ok()?.parse().ok()?;
        let expected = self.expected.get(&number)?;
        if *expected.token != name[..position] {
            return None;
        }
        if !is_single {
            return Some(expected.reply.clone());
        }
        let expected = self.expected.remove(&number)?;
        self.bytes -= expected.reply.len();
        Some(expected.reply)
    }
}

/// A message on its way to another account.
pub(crate) struct Moved {
    pub(crate) account: Arc<Account>,
    pub(crate) subject: Vec<u8>,
    pub(crate) reply: Option<Vec<u8>>,
    pub(crate) origin: Origin,
}

impl ServiceImport {
    pub(crate) fn new(
        id: u64,
        importer: &Arc<Account>,
        exporter: &Arc<Account>,
        mapping: &SubjectMapping,
        (is_single, threshold): (bool, Duration),
        services: &Arc<[String]>,
    ) -> Self {
        Self {
            id,
            importer: Arc::clone(importer),
            exporter: Arc::clone(exporter),
            mapping: mapping.clone(),
            is_single,
            threshold,
            services: Arc::clone(services),
            prefix: format!("{REPLY_PREFIX}{}.", nkey::nonce()),
            replies: Mutex::default(),
        }
    }

    pub(crate) fn importer(&self) -> &Arc<Account> {
        &self.importer
    }

    pub(crate) fn exporter(&self) -> &Arc<Account> {
        &self.exporter
    }

    /// What is published here and goes there.
    pub(crate) fn requests(&self) -> Vec<u8> {
        self.mapping.imported_pattern()
    }

    /// What is published there and comes back.
    pub(crate) fn answers(&self) -> Vec<u8> {
        format!("{}*", self.prefix).into_bytes()
    }

    /// A request that was published in the importing account. What came from another server went through there already, and an
    /// answer asks for nothing.
    pub(crate) fn request(&self, (subject, reply): (&[u8], Option<&[u8]>), origin: Origin) -> Option<Moved> {
        if origin.audience == Audience::Here || origin.is_answer || origin.hops >= SERVICE_HOPS_MAX {
            return None;
        }
        // A server of the cluster to which the answer crossed could not tell it from a request of its bringer's.
        let is_service = |reply| { self.services.iter() }.any(|services| subject::matches(services.as_bytes(), reply));
        if reply.is_some_and(is_service) {
            return None;
        }
        Some(Moved {
            account: Arc::clone(&self.exporter),
            subject: self.mapping.export(subject)?,
            reply: reply.map(|reply| self.expect(reply)),
            origin: Origin {
                hops: origin.hops + 1,
                ..origin
            },
        })
    }

    /// An answer that was published in the exporting account, whoever brings it.
    pub(crate) fn answer(&self, (subject, reply): (&[u8], Option<&[u8]>), origin: Origin) -> Option<Moved> {
        if origin.hops >= SERVICE_HOPS_MAX {
            return None;
        }
        Some(Moved {
            account: Arc::clone(&self.importer),
            subject: self.take(subject)?.into(),
            reply: reply.map(<[u8]>::to_vec),
            origin: Origin {
                audience: match origin.audience {
                    // Whoever asked is known here alone, and may listen anywhere.
                    Audience::Here => Audience::All,
                    audience => audience,
                },
                is_answer: true,
                hops: origin.hops + 1,
                ..origin
            },
        })
    }

    /// The reply that stands for `reply` in the exporting account.
    fn expect(&self, reply: &[u8]) -> Vec<u8> {
        let name = lock(&self.replies).expect(reply, Instant::now(), self.threshold);
        [self.prefix.as_bytes(), name.as_bytes()].concat()
    }

    /// Where an answer goes, as long as one is waited for.
    fn take(&self, named: &[u8]) -> Option<Box<[u8]>> {
        let name = named.strip_prefix(self.prefix.as_bytes())?;
        lock(&self.replies).find(name, Instant::now(), self.is_single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(120);

    /// §2.7: what is answered takes no room from what is not, however much of it there is.
    #[test]
    fn an_answer_is_waited_for_while_very_many_others_come() {
        let (mut replies, now) = (Replies::default(), Instant::now());
        let slow = replies.expect(b"slow", now, LONG);
        for _ in 0..8 * SERVICE_REPLIES_MAX {
            let name = replies.expect(b"quick", now, LONG);
            assert_eq!(replies.find(name.as_bytes(), now, true).as_deref(), Some(&b"quick"[..]));
        }
        assert_eq!(replies.find(slow.as_bytes(), now, true).as_deref(), Some(&b"slow"[..]));
        assert!(replies.find(slow.as_bytes(), now, true).is_none(), "once");
        assert_eq!((replies.expected.len(), replies.bytes), (0, 0));
    }

    #[test]
    fn the_oldest_are_given_up_for_number_for_bytes_and_in_time() {
        let (mut replies, now) = (Replies::default(), Instant::now());
        let first = replies.expect(b"r", now, LONG);
        for _ in 0..SERVICE_REPLIES_MAX {
            replies.expect(b"r", now, LONG);
        }
        assert!(replies.find(first.as_bytes(), now, false).is_none());
        assert_eq!(replies.expected.len(), SERVICE_REPLIES_MAX);
        let long = vec![b'r'; 4096];
        for _ in 0..SERVICE_REPLIES_MAX {
            replies.expect(&long, now, LONG);
            assert!(replies.bytes <= SERVICE_REPLIES_BYTES_MAX);
        }
        assert_eq!(replies.expected.len(), SERVICE_REPLIES_BYTES_MAX / 4096);
        let last = replies.expect(b"r", now + LONG, LONG);
        assert_eq!((replies.expected.len(), replies.bytes), (1, 1));
        assert!(replies.find(last.as_bytes(), now + LONG, false).is_some());
        assert!(replies.find(last.as_bytes(), now + 2 * LONG, false).is_none());
    }

    #[test]
    fn a_number_alone_is_no_answer() {
        let (mut replies, now) = (Replies::default(), Instant::now());
        let name = replies.expect(b"r", now, LONG);
        let guessed = format!("{}{NUMBER_BEHIND}0", "x".repeat(name.len() - 2));
        for name in [guessed.as_bytes(), b"0", b"", b":0", &[0xff, b':', 0xff]] {
            assert!(replies.find(name, now, true).is_none(), "{name:?}");
        }
        assert!(replies.find(name.as_bytes(), now, true).is_some());
    }
}
