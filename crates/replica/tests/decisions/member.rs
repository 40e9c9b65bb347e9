//! A member whose disk syncs when it is told, and to whom frames are said as bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use seaway_replica::{
    BodyAt, Checkpoint, Class, Configuration, Confirmation, EntryId, EntryKind, FRAME_VERSION, Frame, FrameError,
    Identity, Input, Log as _, MemberChange, NodeId, NotChanged, NotStarted, Options, Outgoing, Outside, Replica, Role,
    Stop, Unsent, Vote, checksum,
};

use crate::disk::{Content, Disk};

const IDENTITY: Identity = Identity([3; 16]);

/// What a frame says, as far as these tests look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) to: NodeId,
    pub(crate) kind: u8,
    pub(crate) term: u64,
    pub(crate) index: u64,
}

#[derive(Default)]
struct Hands {
    sent: Vec<(NodeId, Class, Outgoing)>,
    votes: Vec<(u64, Vote)>,
    told: Vec<(u64, Configuration, Vec<u8>)>,
    forgotten: Vec<u64>,
}

impl Outside for Hands {
    fn send(&mut self, to: NodeId, class: Class, message: Outgoing) -> Result<(), Unsent> {
        self.sent.push((to, class, message));
        Ok(())
    }

    fn write_vote(&mut self, ticket: u64, vote: Vote) {
        self.votes.push((ticket, vote));
    }

    fn role(&mut self, _role: Role) {}

    fn members(&mut self, index: u64, configuration: &Configuration, about: &[u8]) {
        self.told.push((index, configuration.clone(), about.to_vec()));
    }

    fn fetch(&mut self, _from: NodeId, _snapshot: &Checkpoint) {}

    fn forget(&mut self, snapshot: u64) {
        self.forgotten.push(snapshot);
    }

    fn checkpoint_needed(&mut self, _member: NodeId) {}

    fn confirmed(&mut self, _ticket: u64, _confirmation: Confirmation) {}

    fn refuse(&mut self, member: NodeId, error: FrameError) {
        panic!("{member} is refused: {error}");
    }

    fn stopped(&mut self, _stop: &Stop) {}
}

pub(crate) struct Member {
    pub(crate) disk: Disk,
    pub(crate) replica: Replica,
    hands: Hands,
    frames: Vec<(NodeId, Class, Vec<u8>)>,
    /// The entries whose bodies were read from the journal to be sent.
    pub(crate) from_journal: Vec<EntryId>,
    /// What it said of its members.
    pub(crate) told: Vec<(u64, Configuration, Vec<u8>)>,
}

impl Member {
    pub(crate) fn of(id: NodeId, voters: &[NodeId]) -> Self {
        let configuration = Configuration {
            voters: voters.to_vec(),
            ..Configuration::default()
        };
        let disk = Disk::of_founder(id, configuration);
        let options = Options {
            id,
            identity: IDENTITY,
            vote: Vote::default(),
            changes: disk.changes(),
            seed: 1,
            snapshot_silence_ticks: 100,
        };
        let replica = Replica::new(&options, &disk).expect("a founder starts");
        Self {
            disk,
            replica,
            hands: Hands::default(),
            frames: Vec::new(),
            from_journal: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.replica.handle(input, &mut self.disk, &mut self.hands);
        self.told.append(&mut self.hands.told);
        for snapshot in std::mem::take(&mut self.hands.forgotten) {
            self.disk.forget(snapshot);
        }
        for (to, class, message) in std::mem::take(&mut self.hands.sent) {
            let bodies: Vec<&[u8]> = message
                .bodies()
                .map(|body| match body {
                    BodyAt::Here(bytes) => bytes,
                    BodyAt::Journal(id, _) => {
                        self.from_journal.push(id);
                        &self.disk.stored(id.index).expect("it is kept").body
                    }
                })
                .collect();
            let mut bytes = Vec::new();
            message
                .write_head(&IDENTITY, &bodies, &mut bytes)
                .expect("the bodies are the entries'");
            bytes.extend(bodies.concat());
            self.frames.push((to, class, bytes));
        }
    }

    /// The process ends in order, and another begins over the same disk.
    pub(crate) fn restart(&mut self, changes: BTreeMap<u64, Bytes>) -> Result<(), NotStarted> {
        let options = Options {
            id: self.replica.status().id,
            identity: IDENTITY,
            vote: self.disk.vote(),
            changes,
            seed: 1,
            snapshot_silence_ticks: 100,
        };
        self.replica = Replica::new(&options, &self.disk)?;
        self.hands = Hands::default();
        self.frames.clear();
        Ok(())
    }

    pub(crate) fn connect(&mut self, peer: NodeId, session: u64) {
        self.input(Input::Connected(peer, session));
    }

    pub(crate) fn hear(&mut self, from: NodeId, session: u64, bytes: &[u8]) {
        let frame = Frame::read(bytes).expect("the test writes frames");
        self.input(Input::Peer { from, session, frame });
    }

    pub(crate) fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.input(Input::Tick);
        }
    }

    /// Everything that was written is synced, and what is written because of that.
    pub(crate) fn sync(&mut self) {
        while self.disk.synced_index() < self.disk.last().index {
            let last = self.disk.last().index;
            self.disk.sync(last);
            self.input(Input::Synced);
        }
    }

    pub(crate) fn write_votes(&mut self) {
        for (ticket, vote) in std::mem::take(&mut self.hands.votes) {
            self.disk.take_vote_to_write(ticket, vote);
            self.disk.sync_votes(ticket);
            self.input(Input::VoteWritten(ticket));
        }
    }

    pub(crate) fn frames(&mut self) -> Vec<(NodeId, Class, Vec<u8>)> {
        std::mem::take(&mut self.frames)
    }

    /// What was sent since the last question.
    pub(crate) fn sends(&mut self) -> Vec<Said> {
        let number = |bytes: &[u8], at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("a whole head"));
        let said = |(to, _, bytes): (NodeId, Class, Vec<u8>)| Said {
            to,
            kind: bytes[1],
            term: number(&bytes, 16),
            index: number(&bytes, 32),
        };
        self.frames().into_iter().map(said).collect()
    }

    /// The log lets go of everything up to an entry, whether a checkpoint covers it or not.
    pub(crate) fn lose_before(&mut self, base: EntryId) {
        self.disk.entries.retain(|stored| stored.id.index > base.index);
        self.disk.base = base;
    }

    /// Appends batches and proposes them; all are synced here.
    pub(crate) fn publish(&mut self, count: usize) {
        for _ in 0..count {
            self.disk.write(b"records");
            self.disk.close();
        }
        self.input(Input::Closed);
        self.sync();
    }

    /// A leader says that this member has to fetch a checkpoint at an entry of term 2.
    pub(crate) fn told_of_snapshot(&mut self, leader: NodeId, index: u64) -> Content {
        let checkpoint = Checkpoint {
            id: EntryId { term: 2, index },
            configuration: self.replica.configuration().clone(),
            number: 77,
        };
        let mut bytes = head(7, 0, [2, 0, 0, 0, 0, 0]);
        for field in [checkpoint.number, index, 2] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend([checkpoint.configuration.voters.len() as u8, 0, 0]);
        for id in &checkpoint.configuration.voters {
            bytes.extend(id.to_le_bytes());
        }
        self.hear(leader, 1, &sealed(bytes));
        Content { checkpoint, digest: 0 }
    }

    pub(crate) fn change(&mut self, change: MemberChange) -> Result<(), NotChanged> {
        self.change_about(change, b"")
    }

    pub(crate) fn change_about(&mut self, change: MemberChange, about: &[u8]) -> Result<(), NotChanged> {
        let outcome = self.replica.change(change, about, &mut self.disk, &mut self.hands);
        self.input(Input::Closed);
        outcome
    }

    pub(crate) fn role(&self) -> Role {
        self.replica.role()
    }

    pub(crate) fn stopped(&self) -> Option<&Stop> {
        self.replica.stopped()
    }
}

/// A frame without bodies, with its checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&IDENTITY.0), &bytes[..12]);
    let sum = crc32c::crc32c_append(sum, &bytes[16..]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn head(kind: u8, count: u32, numbers: [u64; 6]) -> Vec<u8> {
    let mut bytes = vec![FRAME_VERSION, kind, 0, 0];
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    bytes
}

/// Entries of these terms behind the entry (term, index), from a leader in a term.
pub(crate) fn append(term: u64, (log_term, index): (u64, u64), terms: &[u64], commit: u64) -> Vec<u8> {
    let mut bytes = head(3, terms.len() as u32, [term, log_term, index, commit, 0, 0]);
    for (term, index) in terms.iter().zip(index + 1..) {
        let body = term.to_le_bytes();
        let id = EntryId { term: *term, index };
        bytes.extend(term.to_le_bytes());
        bytes.extend(8_u32.to_le_bytes());
        bytes.extend(checksum(&IDENTITY, id, EntryKind::Records, &body).to_le_bytes());
    }
    let mut bytes = sealed(bytes);
    for term in terms {
        bytes.extend(term.to_le_bytes());
    }
    bytes
}

pub(crate) fn heartbeat(term: u64, commit: u64) -> Vec<u8> {
    sealed(head(8, 0, [term, 0, 0, commit, 0, 0]))
}

/// Asks for a vote in a term, with a log that ends at (term, index).
pub(crate) fn vote_request(term: u64, kind: u8, (log_term, index): (u64, u64)) -> Vec<u8> {
    sealed(head(kind, 0, [term, log_term, index, 0, 0, 0]))
}

/// Everything up to an index is synced there.
pub(crate) fn accepted(term: u64, index: u64) -> Vec<u8> {
    sealed(head(4, 0, [term, 0, index, 0, 0, 0]))
}

pub(crate) fn bare(kind: u8, term: u64) -> Vec<u8> {
    sealed(head(kind, 0, [term, 0, 0, 0, 0, 0]))
}
