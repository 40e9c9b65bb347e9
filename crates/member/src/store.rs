//! The store of one term: durable means that a quorum has it.

use std::time::Duration;

use seaway_journal::{Image, Journal, LogId};
use seaway_store::{Commit, Completion, OpenImage, Pressure, Statistics, Store, journaled};
use seaway_streaming::{
    Admission, ChannelId, Head, Lookup, Need, Position, ReadRequest, Records, Refusal, Seek, Ticket, Urgency,
};

use crate::cache::Cache;
use crate::limits::{CACHE_BYTES, CLOSING_PATIENCE_S, UNCOMMITTED_BYTES_MAX};
use crate::member::Member;
use crate::planted::{Fault, is_planted};
use crate::shared::SharedMember;
use crate::term::Term;

/// What an engine sees of a member that serves, for one term. When the term is over nothing that is appended goes anywhere, nothing more
/// becomes durable, and [`Store::poll`] says once that the store is out of service. [`Store::take_commit`] has nothing: the member's own
/// thread runs commits, since a follower has nobody else who would.
pub struct ReplicatedStore {
    member: SharedMember,
    term: u64,
    /// Of the newest record.
    position: Position,
    durable: Position,
    cache: Cache,
    /// The owner was told that it is over.
    is_told: bool,
    is_closed: bool,
}

impl ReplicatedStore {
    pub(crate) fn new(member: SharedMember, term: u64, position: Position, durable: Position) -> ReplicatedStore {
        ReplicatedStore {
            member,
            term,
            position,
            durable,
            cache: Cache::new(CACHE_BYTES),
            is_told: false,
            is_closed: false,
        }
    }

    /// The term in which it is.
    pub fn term(&self) -> u64 {
        self.term
    }

    fn over(&self) -> String {
        format!("this server leads the cluster no more: term {} is over", self.term)
    }

    /// Has something done with the journal while the term lasts.
    fn with<T>(&self, act: impl FnOnce(&mut Term, &mut Journal) -> T) -> Option<T> {
        self.member
            .look(|member| member.term(self.term).map(|(term, journal)| act(term, journal)))
    }

    fn append(&mut self, append: impl FnOnce(&mut Journal) -> u64) -> Position {
        self.position = match self.with(|_, journal| append(journal)) {
            Some(position) => Position(position),
            // It goes nowhere, and never becomes durable.
            None => Position(self.position.0 + 1),
        };
        self.position
    }

    /// Asks for something by a ticket of the journal's.
    fn ask(&mut self, ticket: Ticket, ask: impl FnOnce(&mut Journal, u64)) {
        self.member.with(|member| {
            if let Some(journals) = member.ask(self.term, ticket)
                && let Some((_, journal)) = member.term(self.term)
            {
                ask(journal, journals);
                member.drive();
            }
        });
    }

    fn look_at_durable(&mut self, member: &mut Member) {
        if let Some((_, journal)) = member.term(self.term) {
            let durable = match is_planted(Fault::DurableOnSyncedOnly) {
                true => journal.synced(),
                false => journal.durable(),
            };
            self.durable = self.durable.max(Position(durable));
        }
    }

    /// Has something done with the member, and sees what became durable.
    fn act<T>(&mut self, act: impl FnOnce(&mut Member) -> T) -> T {
        let shared = self.member.clone();
        shared.with(|member| {
            let outcome = act(member);
            self.look_at_durable(member);
            outcome
        })
    }
}

impl Records for ReplicatedStore {
    fn append_message(&mut self, channel: ChannelId, sequence: u64, timestamp: i64, body: &[&[u8]]) -> Position {
        let position = self.append(|journal| journal.append_message(LogId(channel.0), sequence, timestamp, body));
        self.cache.push(channel, sequence, body);
        position
    }

    fn append_fact(&mut self, kind: u8, body: &[u8], urgency: Urgency) -> Position {
        self.append(|journal| journal.append_fact(kind, body, urgency == Urgency::Sync))
    }

    fn trim(&mut self, channel: ChannelId, first: u64) -> Position {
        self.cache.trim(channel, first);
        self.append(|journal| journal.trim(LogId(channel.0), first, &[]))
    }

    fn delete_channel(&mut self, channel: ChannelId) -> Position {
        self.cache.delete(channel);
        self.append(|journal| journal.delete_log(LogId(channel.0), &[], true))
    }

    fn admission(&mut self, need: Need, bytes: usize) -> Admission {
        self.member.look(|member| {
            if need == Need::Ordinary && !member.quorum_has_room() {
                let reason = "too few of the cluster's servers have room on their disks";
                return Err(Refusal::NoSpace(reason.to_owned()));
            }
            match member.term(self.term) {
                Some((_, journal)) => journaled::admission(journal, need, bytes),
                None => Err(Refusal::Poisoned(self.over())),
            }
        })
    }

    fn durable(&self) -> Position {
        self.durable
    }

    fn head(&mut self, channel: ChannelId) -> Head {
        self.head_from(channel, 0)
    }

    fn head_from(&mut self, channel: ChannelId, from: u64) -> Head {
        let head = self.with(|_, journal| journaled::head_from(journal, channel, from));
        let head = head.unwrap_or(Head::Reading);
        if head == Head::Reading {
            self.member.with(Member::drive);
        }
        head
    }

    fn live_bytes(&self, channel: ChannelId, messages: u64) -> u64 {
        self.with(|_, journal| journaled::live_bytes(journal, channel, messages))
            .unwrap_or_default()
    }

    fn seek(&mut self, ticket: Ticket, channel: ChannelId, timestamp: i64) -> Seek {
        self.ask(ticket, |journal, ticket| {
            journal.seek(ticket, LogId(channel.0), timestamp)
        });
        Seek::Reading
    }

    fn read(&mut self, request: ReadRequest) {
        let (messages_max, bytes_max) = (request.messages_max as usize, request.bytes_max as usize);
        self.ask(request.ticket, |journal, ticket| {
            journal.read(ticket, LogId(request.channel.0), request.from, messages_max, bytes_max);
        });
    }

    fn message(&self, channel: ChannelId, sequence: u64) -> Lookup<'_> {
        if let Some(body) = self.cache.get(channel, sequence) {
            return Lookup::Hot(body);
        }
        let is_missing = self.with(|_, journal| {
            let found = journal.message(LogId(channel.0), sequence);
            matches!(found, std::task::Poll::Ready(None))
        });
        match is_missing {
            Some(true) => Lookup::Missing,
            // What the journal has in memory lies behind the lock: it is read, at once.
            Some(false) | None => Lookup::Cold,
        }
    }

    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) {
        self.with(|term, journal| {
            if term.writes_checkpoint {
                // One that was given up meanwhile takes no facts; the journal has said so and asks again.
                let _ = journal.checkpoint_fact(kind, body);
            }
        });
    }

    fn finish_checkpoint(&mut self) {
        self.member.with(|member| {
            if member.term(self.term).is_some_and(|(term, _)| term.writes_checkpoint) {
                member.log.finish_checkpoint();
                member.drive();
            }
        });
    }
}

impl Store for ReplicatedStore {
    fn pressure(&mut self, wanted: usize) -> Pressure {
        let pressure = self.member.with(|member| {
            let can_propose = member.can_propose();
            let (_, journal) = member.term(self.term)?;
            if journal.poison_reason().is_some() {
                return None;
            }
            let backlog = journal.backlog_bytes();
            let need = seaway_journal::Need::Ordinary;
            let is_busy = wanted > 0 && journal.admission(wanted as u64, need) == Err(seaway_journal::Refusal::Busy);
            let pressure = Pressure {
                urgent: journal.has_urgent(),
                lazy: journal.has_unsubmitted(),
                backlog_bytes: usize::try_from(backlog).unwrap_or(usize::MAX),
                is_behind: wanted > 0 && (is_busy || !can_propose || backlog > UNCOMMITTED_BYTES_MAX),
            };
            if is_busy {
                // Who asks for room that there is not has the journal try to make some.
                member.drive();
            }
            Some(pressure)
        });
        pressure.unwrap_or_default()
    }

    fn refusing(&self) -> Option<String> {
        self.member.look(|member| {
            let has_room = member.quorum_has_room();
            let Some((_, journal)) = member.term(self.term) else {
                return Some(self.over());
            };
            let own = journal.refusal().map(|refusal| refusal.to_string());
            let quorum = "too few of the cluster's servers have room on their disks";
            own.or_else(|| (!has_room).then(|| quorum.to_owned()))
        })
    }

    fn submit(&mut self) {
        let term = self.term;
        self.act(|member| {
            if member.term(term).is_some() {
                member.submit();
            }
        });
    }

    fn take_commit(&mut self) -> Option<Commit> {
        None
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) {
        let term = self.term;
        let lasts = self.act(|member| member.poll(term, completions));
        if !lasts && !self.is_closed && !std::mem::replace(&mut self.is_told, true) {
            completions.push(Completion::Poisoned(self.over()));
        }
    }

    fn begin_checkpoint(&mut self) -> bool {
        self.member.with(|member| {
            if member.term(self.term).is_none()
                || member.checkpoints.is_writing()
                || member.log.begin_checkpoint(None).is_err()
            {
                return false;
            }
            if let Some((term, _)) = member.term(self.term) {
                term.writes_checkpoint = true;
            }
            true
        })
    }

    fn image(&mut self) -> Result<OpenImage, String> {
        self.member.look(|member| {
            let disk = member.log.disk().ok_or_else(|| "the store is closed".to_owned())?;
            let (_, journal) = member.term(self.term).ok_or_else(|| self.over())?;
            let plan = journal.image()?;
            let open: OpenImage = Box::new(move || Image::open(plan, disk));
            Ok(open)
        })
    }

    fn is_archived(&self) -> bool {
        self.with(|_, journal| journal.is_archived()).unwrap_or_default()
    }

    fn tell_time(&mut self, timestamp: i64) {
        self.with(|_, journal| journal.tell_time(timestamp));
    }

    fn archive_image(&mut self) -> Result<OpenImage, String> {
        self.member.look(|member| {
            let disk = member.log.disk().ok_or_else(|| "the store is closed".to_owned())?;
            let (_, journal) = member.term(self.term).ok_or_else(|| self.over())?;
            let plan = journal.archive_image()?;
            let open: OpenImage = Box::new(move || Image::open(plan, disk));
            Ok(open)
        })
    }

    fn statistics(&self) -> Statistics {
        self.member.look(|member| {
            let checkpoint_at = member.term.as_ref().and_then(|term| term.checkpoint_at);
            let of_journal = journaled::statistics(member.log.journal(), checkpoint_at);
            Statistics {
                cache_bytes: of_journal.cache_bytes + self.cache.bytes() as u64,
                ..of_journal
            }
        })
    }

    /// Waits until everything that was appended is committed, at most 10 s, and gives the leadership away. The journal stays the member's:
    /// [`Member::close`] lets go of it.
    fn close(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        self.submit();
        let (term, position) = (self.term, self.position.0);
        let patience = Duration::from_secs(CLOSING_PATIENCE_S);
        let shared = self.member.clone();
        let lasts = shared.wait(patience, |member| {
            member.drive();
            match member.term(term) {
                None => Some(false),
                Some((_, journal)) if journal.poison_reason().is_some() => Some(false),
                Some((_, journal)) => (journal.durable() >= position).then_some(true),
            }
        });
        self.act(|member| {
            if member.term(term).is_some() {
                member.hand_over(None);
            }
        });
        match lasts {
            Some(true) => Ok(()),
            Some(false) if self.durable >= self.position => Ok(()),
            Some(false) => Err(self.over()),
            None => Err("no quorum of the cluster has what was appended last".to_owned()),
        }
    }
}

impl Drop for ReplicatedStore {
    /// A term without its store serves nobody: somebody else may lead.
    fn drop(&mut self) {
        if !self.is_closed {
            let term = self.term;
            self.member.with_unharmed(|member| {
                if member.term(term).is_some() {
                    member.hand_over(None);
                }
            });
        }
    }
}
