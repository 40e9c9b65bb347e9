//! A machine: a disk, and while it runs a process with a replica in it. What the replica does is gathered here and done by the world.

use std::collections::{BTreeMap, BTreeSet};

use seaway_replica::{
    BodyAt, Checkpoint, Class, Configuration, Confirmation, FrameError, Identity, Input, MemberChange, NodeId,
    NotChanged, Options, Outgoing, Outside, Replica, Role, Stop, Unsent, Vote,
};

use crate::disk::Disk;

/// Something that a replica did.
#[derive(Debug)]
pub(crate) enum Deed {
    Send(NodeId, Class, Vec<u8>),
    WriteVote(u64, Vote),
    Role(Role),
    Members(u64, Configuration),
    Fetch(NodeId, u64),
    Forget(u64),
    CheckpointNeeded,
    Confirmed(u64, Confirmation),
    Refuse(NodeId, FrameError),
    Stopped(Stop),
}

/// A process.
pub(crate) struct Process {
    pub(crate) replica: Replica,
    /// Until when it stands still.
    pub(crate) stands_until: u64,
    /// Which confirmations it waits for: the term in which it asked, and the largest in which somebody served then.
    pub(crate) confirmations: BTreeMap<u64, (u64, u64)>,
}

pub(crate) struct Machine {
    pub(crate) disk: Disk,
    pub(crate) process: Option<Process>,
    /// Counts its starts: what was meant for an earlier one does not reach a later one.
    pub(crate) life: u64,
    /// Microseconds between two ticks: clocks go at different rates.
    pub(crate) tick_us: u64,
    /// Until when writes to the log are not done, and until when those of votes.
    pub(crate) log_hangs_until: u64,
    pub(crate) votes_hang_until: u64,
    pub(crate) syncs: bool,
    /// It is no member any more and does not start again.
    pub(crate) is_retired: bool,
    /// How far it has announced the log, over all its lives.
    pub(crate) shown: u64,
}

struct Hands<'a> {
    deeds: &'a mut Vec<Deed>,
    /// What went out while the disk lent itself to the replica: the bodies are put in afterwards.
    sent: &'a mut Vec<(NodeId, Class, Outgoing)>,
    full: &'a BTreeSet<NodeId>,
}

impl Outside for Hands<'_> {
    fn send(&mut self, to: NodeId, class: Class, message: Outgoing) -> Result<(), Unsent> {
        if self.full.contains(&to) {
            return Err(Unsent);
        }
        assert_eq!(message.class(), class);
        self.sent.push((to, class, message));
        Ok(())
    }

    fn write_vote(&mut self, ticket: u64, vote: Vote) {
        self.deeds.push(Deed::WriteVote(ticket, vote));
    }

    fn role(&mut self, role: Role) {
        self.deeds.push(Deed::Role(role));
    }

    fn members(&mut self, index: u64, configuration: &Configuration, _about: &[u8]) {
        self.deeds.push(Deed::Members(index, configuration.clone()));
    }

    fn fetch(&mut self, from: NodeId, snapshot: &Checkpoint) {
        self.deeds.push(Deed::Fetch(from, snapshot.number));
    }

    fn forget(&mut self, snapshot: u64) {
        self.deeds.push(Deed::Forget(snapshot));
    }

    fn checkpoint_needed(&mut self, _member: NodeId) {
        self.deeds.push(Deed::CheckpointNeeded);
    }

    fn confirmed(&mut self, ticket: u64, confirmation: Confirmation) {
        self.deeds.push(Deed::Confirmed(ticket, confirmation));
    }

    fn refuse(&mut self, member: NodeId, error: FrameError) {
        self.deeds.push(Deed::Refuse(member, error));
    }

    fn stopped(&mut self, stop: &Stop) {
        self.deeds.push(Deed::Stopped(stop.clone()));
    }
}

impl Machine {
    pub(crate) fn new(disk: Disk, tick_us: u64) -> Self {
        Self {
            disk,
            process: None,
            life: 0,
            tick_us,
            log_hangs_until: 0,
            votes_hang_until: 0,
            syncs: false,
            is_retired: false,
            shown: 1,
        }
    }

    /// Starts a process over the disk as it is.
    pub(crate) fn start(&mut self, id: NodeId, identity: Identity, seed: u64) -> Result<(), String> {
        let options = Options {
            id,
            identity,
            vote: self.disk.vote(),
            changes: self.disk.changes(),
            seed,
            snapshot_silence_ticks: 100,
        };
        let replica = Replica::new(&options, &self.disk).map_err(|error| format!("{id:x} does not start: {error}"))?;
        self.life += 1;
        self.syncs = false;
        self.process = Some(Process {
            replica,
            stands_until: 0,
            confirmations: BTreeMap::new(),
        });
        Ok(())
    }

    /// Lets the replica do something and gathers what it did.
    pub(crate) fn act(
        &mut self,
        identity: &Identity,
        full: &BTreeSet<NodeId>,
        act: impl FnOnce(&mut Replica, &mut Disk, &mut dyn Outside),
    ) -> Vec<Deed> {
        let Some(process) = &mut self.process else {
            return Vec::new();
        };
        let (mut deeds, mut sent) = (Vec::new(), Vec::new());
        let mut hands = Hands {
            deeds: &mut deeds,
            sent: &mut sent,
            full,
        };
        act(&mut process.replica, &mut self.disk, &mut hands);
        for (to, class, message) in sent {
            if let Some(bytes) = self.frame(identity, &message) {
                deeds.push(Deed::Send(to, class, bytes));
            }
        }
        deeds
    }

    pub(crate) fn handle(&mut self, identity: &Identity, full: &BTreeSet<NodeId>, input: Input<'_>) -> Vec<Deed> {
        self.act(identity, full, |replica, disk, outside| {
            replica.handle(input, disk, outside)
        })
    }

    pub(crate) fn change(
        &mut self,
        identity: &Identity,
        full: &BTreeSet<NodeId>,
        change: MemberChange,
    ) -> (Vec<Deed>, Result<(), NotChanged>) {
        let mut outcome = Err(NotChanged::NotServing);
        let deeds = self.act(identity, full, |replica, disk, outside| {
            outcome = replica.change(change, b"about", disk, outside);
        });
        (deeds, outcome)
    }

    /// The bytes of a frame, unless an entry in it is gone by now.
    fn frame(&self, identity: &Identity, message: &Outgoing) -> Option<Vec<u8>> {
        let mut bodies = Vec::new();
        for body in message.bodies() {
            bodies.push(match body {
                BodyAt::Here(bytes) => bytes,
                BodyAt::Journal(id, _) => {
                    let stored = self.disk.stored(id.index).filter(|stored| stored.id == id)?;
                    stored.body.as_slice()
                }
            });
        }
        let mut bytes = Vec::new();
        message
            .write_head(identity, &bodies, &mut bytes)
            .expect("the bodies are those of the entries");
        for body in bodies {
            bytes.extend_from_slice(body);
        }
        Some(bytes)
    }
}
