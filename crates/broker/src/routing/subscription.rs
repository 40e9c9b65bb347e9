//! One subscription: who wants which subject, and how often it was served.

use std::borrow::{Borrow, Cow};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use seaway_nats_protocol::SubjectMapping;

/// What the table has to know of whoever subscribes.
pub(crate) trait Handle {
    /// The connection or attachment; unique within the process.
    fn id(&self) -> u64;

    /// Whether messages on `subject` are kept from its subscriptions in `queue`.
    fn withholds(&self, subject: &[u8], queue: Option<&[u8]>) -> bool;

    /// Whether a delivery gives it the right to answer.
    fn answers(&self) -> bool;

    /// How many subscribers behind another server it stands for; `None` for one of this server's own.
    fn remote(&self) -> Option<u32>;

    /// Whether other servers are told what it subscribes to.
    fn is_announced(&self) -> bool;
}

/// A subscription in the routing table.
pub(crate) struct Subscription<H> {
    /// Subject, queue and sid, one after the other.
    text: Box<[u8]>,
    subject_end: u32,
    queue_end: u32,
    grouped: bool,
    pub(crate) owner: H,
    /// It stands in another account for one of this owner's.
    imported: Option<Box<Imported<H>>>,
    /// Messages delivered since SUB. Plain deliveries are added once per batch, limited ones at once.
    pub(crate) delivered: AtomicU64,
    /// Ends after this many messages since SUB; 0 means never. Only the owner's UNSUB sets it.
    pub(crate) limit: AtomicU64,
    /// No longer in the routing table. Set once, by whoever removes it.
    pub(crate) removed: AtomicBool,
    /// Index in the list of its leaf; guarded by the lock of its shard.
    pub(crate) position: AtomicU32,
}

/// What a shadow stands for.
struct Imported<H> {
    /// The owner's subscription, which counts what both are delivered.
    base: Arc<Subscription<H>>,
    /// From the subjects of the table that the shadow is in to those that the owner sees.
    mapping: Arc<SubjectMapping>,
}

impl<H: Handle> Subscription<H> {
    pub(crate) fn new(subject: &[u8], queue: Option<&[u8]>, sid: &[u8], owner: H) -> Arc<Self> {
        Self::build(subject, queue, sid, owner, None)
    }

    /// A shadow of `base` in another account, whose `subject` is one of that account's.
    pub(crate) fn shadow(base: &Arc<Self>, mapping: &Arc<SubjectMapping>, subject: &[u8], owner: H) -> Arc<Self> {
        let imported = Imported {
            base: Arc::clone(base),
            mapping: Arc::clone(mapping),
        };
        Self::build(subject, base.queue(), base.sid(), owner, Some(Box::new(imported)))
    }

    /// What counts the deliveries: another subscription where this is a shadow.
    pub(crate) fn counted(self: &Arc<Self>) -> &Arc<Self> {
        match &self.imported {
            None => self,
            Some(imported) => &imported.base,
        }
    }

    /// Whether it is a shadow.
    pub(crate) fn is_shadow(&self) -> bool {
        self.imported.is_some()
    }

    /// The subject under which the owner sees a message on `subject`.
    pub(crate) fn shown<'s>(&self, subject: &'s [u8]) -> Cow<'s, [u8]> {
        match &self.imported {
            None => Cow::Borrowed(subject),
            Some(imported) => imported
                .mapping
                .import(subject)
                .map_or(Cow::Borrowed(subject), Cow::Owned),
        }
    }

    fn build(
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        owner: H,
        imported: Option<Box<Imported<H>>>,
    ) -> Arc<Self> {
        let queue_text = queue.unwrap_or_default();
        let text = [subject, queue_text, sid].concat().into_boxed_slice();
        let end = |length: usize| u32::try_from(length).expect("control lines are far below 4 GiB");
        Arc::new(Self {
            text,
            subject_end: end(subject.len()),
            queue_end: end(subject.len() + queue_text.len()),
            grouped: queue.is_some(),
            owner,
            imported,
            delivered: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            removed: AtomicBool::new(false),
            position: AtomicU32::new(0),
        })
    }

    pub(crate) fn subject(&self) -> &[u8] {
        &self.text[..self.subject_end as usize]
    }

    pub(crate) fn queue(&self) -> Option<&[u8]> {
        self.grouped
            .then(|| &self.text[self.subject_end as usize..self.queue_end as usize])
    }

    pub(crate) fn sid(&self) -> &[u8] {
        &self.text[self.queue_end as usize..]
    }

    pub(crate) fn owner_id(&self) -> u64 {
        self.owner.id()
    }

    /// Takes one delivery out of the limit. Returns whether the message may be delivered, and whether it is the last.
    pub(crate) fn take_limited(&self) -> (bool, bool) {
        let limit = self.limit.load(Ordering::Acquire);
        let count = self.delivered.fetch_add(1, Ordering::AcqRel) + 1;
        if limit != 0 && count > limit {
            self.delivered.fetch_sub(1, Ordering::AcqRel);
            return (false, false);
        }
        (true, limit != 0 && count == limit)
    }
}

/// A subscription in the set of its connection, found by sid.
pub(crate) struct BySid<H>(pub(crate) Arc<Subscription<H>>);

impl<H: Handle> Borrow<[u8]> for BySid<H> {
    fn borrow(&self) -> &[u8] {
        self.0.sid()
    }
}

impl<H: Handle> Hash for BySid<H> {
    fn hash<S: Hasher>(&self, state: &mut S) {
        self.0.sid().hash(state);
    }
}

impl<H: Handle> PartialEq for BySid<H> {
    fn eq(&self, other: &Self) -> bool {
        self.0.sid() == other.0.sid()
    }
}

impl<H: Handle> Eq for BySid<H> {}

/// A subscription that stands for its subject in the table of literal subjects, which so needs no text of its own.
pub(crate) struct BySubject<H>(pub(crate) Arc<Subscription<H>>);

impl<H: Handle> Borrow<[u8]> for BySubject<H> {
    fn borrow(&self) -> &[u8] {
        self.0.subject()
    }
}

impl<H: Handle> Hash for BySubject<H> {
    fn hash<S: Hasher>(&self, state: &mut S) {
        self.0.subject().hash(state);
    }
}

impl<H: Handle> PartialEq for BySubject<H> {
    fn eq(&self, other: &Self) -> bool {
        self.0.subject() == other.0.subject()
    }
}

impl<H: Handle> Eq for BySubject<H> {}
