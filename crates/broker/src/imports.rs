//! What an account imports from others (core specification §2.7): streams, whose messages reach subscriptions in it, and services,
//! to which what is published in it goes, with a reply of its own.
//!
//! A subscription in an account with imports of streams has a *shadow* in the table of each exporter whose subjects it overlaps. A
//! service is one subscription in the importer's table, and one in the exporter's for the answers. So whoever delivers finds what
//! crosses like every other receiver, and what other servers are told is right by itself.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seaway_nats_protocol::SubjectMapping;

use crate::access::nkey;
use crate::account::Account;
use crate::limits::{SERVICE_HOPS_MAX, SERVICE_REPLIES_MAX};
use crate::lock::lock;
use crate::origin::{Audience, Origin};

/// Where answers that another account brings would be requests to services of this server, with what their bringer may do there.
const NO_ANSWERS: [&[u8]; 3] = [b"$SEAWAY.", b"_STAN.", b"$SYS."];

/// Reserved for answers to services; clients cannot ask for answers there (§2.1).
const REPLY_PREFIX: &str = "_R_.";

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
    /// What replies to what goes through here begin with; nobody can guess it.
    prefix: String,
    replies: Mutex<Replies>,
}

/// Where answers that are waited for go.
#[derive(Default)]
struct Replies {
    expected: HashMap<Box<[u8]>, Box<[u8]>>,
    /// The same in the order of their end.
    ends: VecDeque<(Instant, Box<[u8]>)>,
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
    ) -> Self {
        Self {
            id,
            importer: Arc::clone(importer),
            exporter: Arc::clone(exporter),
            mapping: mapping.clone(),
            is_single,
            threshold,
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
        if reply.is_some_and(|reply| NO_ANSWERS.iter().any(|services| reply.starts_with(services))) {
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
        let token: Box<[u8]> = nkey::nonce().into_bytes().into();
        let named = [self.prefix.as_bytes(), &token].concat();
        let now = Instant::now();
        let mut replies = lock(&self.replies);
        // All wait equally long, so the oldest ends first; where too many wait it ends early.
        while let Some((end, oldest)) = replies.ends.front() {
            let is_full =
                replies.expected.len() >= SERVICE_REPLIES_MAX || replies.ends.len() >= 4 * SERVICE_REPLIES_MAX;
            if *end > now && !is_full && replies.expected.contains_key(oldest) {
                break;
            }
            let oldest = oldest.clone();
            replies.expected.remove(&oldest);
            replies.ends.pop_front();
        }
        replies.ends.push_back((now + self.threshold, token.clone()));
        replies.expected.insert(token, reply.into());
        named
    }

    /// Where an answer goes, as long as one is waited for.
    fn take(&self, named: &[u8]) -> Option<Box<[u8]>> {
        let token = named.strip_prefix(self.prefix.as_bytes())?;
        let mut replies = lock(&self.replies);
        let now = Instant::now();
        while replies.ends.front().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, oldest)) = replies.ends.pop_front() {
                replies.expected.remove(&oldest);
            }
        }
        match self.is_single {
            true => replies.expected.remove(token),
            false => replies.expected.get(token).cloned(),
        }
    }
}
