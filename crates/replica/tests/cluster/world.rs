//! The world: time, machines, the network between them, faults, and what is asked of a cluster. One seed decides everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use seaway_replica::{
    Class, Configuration, Confirmation, EntryId, Frame, Identity, Input, Log as _, NodeId, Refusal, Role, Room, Stop,
    Vote, founding_id,
};

use crate::disk::{Content, Disk, ROOM};
use crate::judge::Judge;
use crate::machine::{Deed, Machine};
use crate::mix;
use crate::network::{Network, Parcel};
use crate::operator::Operator;

pub(crate) const MS: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;

/// A rule of the world that is broken on purpose, to see that the judge notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// A sync does nothing and says that it did.
    SyncDoesNothing,
    /// A vote is said to be written before it is.
    VoteNotWritten,
    /// A member whose disk was wiped starts under its old id.
    WipedUnderOldId,
    /// What the leader alone has synced is announced.
    CommittedAlone,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) founders: usize,
    pub(crate) breach: Option<Breach>,
    pub(crate) prints: bool,
}

/// What can happen next.
#[derive(Debug)]
enum Event {
    Tick(NodeId, u64),
    Arrive(Parcel),
    Synced(NodeId, u64, u64),
    VoteWritten(NodeId, u64, u64),
    Notice(NodeId, NodeId, u64, bool),
    Connect(NodeId, NodeId),
    Staged(NodeId, u64, u64, Option<Content>),
    Publish,
    Checkpoint,
    Operate,
    Fault,
    Start(NodeId),
}

/// What came about, so that a run that proves nothing is noticed.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) random: fastrand::Rng,
    pub(crate) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    /// Disks that were wiped: what had been synced on them counted when it was announced.
    graves: BTreeMap<NodeId, Disk>,
    pub(crate) network: Network,
    judge: Judge,
    identity: Identity,
    pub(crate) operator: Operator,
    pub(crate) is_calm: bool,
    /// Time between two faults, at most.
    fault_gap: u64,
    tickets: u64,
    published: u64,
    trace: u64,
    pub(crate) counts: Counts,
    nothing_full: BTreeSet<NodeId>,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Result<Self, String> {
        let names: Vec<String> = (0..settings.founders).map(|place| format!("n{place}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let founders = Configuration::founding("test-cluster", &names);
        let mut world = Self {
            settings,
            random: fastrand::Rng::with_seed(settings.seed),
            now: 0,
            events: BTreeMap::new(),
            number: 0,
            machines: BTreeMap::new(),
            graves: BTreeMap::new(),
            network: Network::default(),
            judge: Judge::new(founders.clone()),
            identity: Identity::founding("test-cluster", &names),
            operator: Operator::default(),
            is_calm: false,
            fault_gap: 0,
            tickets: 0,
            published: 0,
            trace: 0,
            counts: Counts::new(),
            nothing_full: BTreeSet::new(),
        };
        world.fault_gap = [300 * MS, SECOND, 3 * SECOND][world.random.usize(..3)];
        for name in names {
            let id = founding_id("test-cluster", name);
            world.add_machine(id, Disk::of_founder(id, founders.clone()));
            world.start(id)?;
        }
        for event in [Event::Publish, Event::Checkpoint, Event::Operate, Event::Fault] {
            world.after(SECOND, event);
        }
        Ok(world)
    }

    /// Lives through the faults, then through calm, and sees that everything comes to rest.
    pub(crate) fn run(&mut self) -> Result<u64, String> {
        let storm = self.random.u64(20..60) * SECOND;
        self.until(storm)?;
        self.calm_down()?;
        self.until(storm + 60 * SECOND)?;
        self.check_rest()?;
        Ok(self.trace)
    }

    fn until(&mut self, end: u64) -> Result<(), String> {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        self.trace = what
            .bytes()
            .fold(mix(self.trace, self.now), |trace, byte| mix(trace, u64::from(byte)));
        if self.settings.prints {
            println!("{:>10} {what}", self.now);
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(crate) fn add_machine(&mut self, id: NodeId, mut disk: Disk) {
        disk.lies = self.settings.breach == Some(Breach::SyncDoesNothing);
        let rate = if self.random.u8(..3) == 0 {
            self.random.u64(25..100)
        } else {
            50
        };
        self.machines.insert(id, Machine::new(disk, rate * MS));
        let others: Vec<NodeId> = self.machines.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.after(MS, Event::Connect(id, other));
        }
    }

    /// Takes a machine away; its disk is gone.
    pub(crate) fn remove_machine(&mut self, id: NodeId) {
        self.crash(id);
        if let Some(machine) = self.machines.remove(&id) {
            self.graves.insert(id, machine.disk);
        }
    }

    pub(crate) fn start_later(&mut self, id: NodeId, delay: u64) {
        self.after(delay, Event::Start(id));
    }

    fn start(&mut self, id: NodeId) -> Result<(), String> {
        let seed = self.random.u64(..);
        let identity = self.identity;
        let Some(machine) = self.machines.get_mut(&id) else {
            return Ok(());
        };
        if machine.is_retired || machine.process.is_some() {
            return Ok(());
        }
        machine.start(id, identity, seed)?;
        let (life, delay) = (machine.life, machine.tick_us);
        let last = machine.disk.last();
        self.after(delay, Event::Tick(id, life));
        self.say(|| format!("{id:x} starts, log to {last:?}"));
        Ok(())
    }

    /// The process is gone, with what it had not synced.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        if machine.process.take().is_none() {
            return;
        }
        machine.disk.crash(&mut self.random);
        let last = machine.disk.last();
        self.say(|| format!("{id:x} crashes, keeps {last:?}"));
        self.count("crashes");
        let others: Vec<NodeId> = self.machines.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.reset(id, other);
            self.network.set_known(id, other, None);
        }
    }

    /// The session between two members ends; whoever knew of it notices, sooner or later.
    pub(crate) fn reset(&mut self, one: NodeId, other: NodeId) {
        let Some(session) = self.network.reset(one, other) else {
            return;
        };
        self.count("sessions lost");
        for (of, with) in [(one, other), (other, one)] {
            let delay = if self.random.u8(..4) == 0 {
                self.random.u64(..5 * SECOND)
            } else {
                self.random.u64(..2 * MS)
            };
            self.after(delay, Event::Notice(of, with, session, false));
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tick(id, life) => self.tick(id, life),
            Event::Arrive(parcel) => self.arrive(parcel),
            Event::Synced(id, generation, upto) => self.synced(id, generation, upto),
            Event::VoteWritten(id, life, ticket) => self.vote_written(id, life, ticket),
            Event::Notice(of, with, session, is_there) => self.notice(of, with, session, is_there),
            Event::Connect(one, other) => {
                self.connect(one, other);
                Ok(())
            }
            Event::Staged(id, life, number, content) => self.staged(id, life, number, content),
            Event::Publish => self.publish(),
            Event::Checkpoint => self.checkpoint(),
            Event::Operate => {
                let delay = self.random.u64(50 * MS..SECOND);
                self.after(delay, Event::Operate);
                self.operate()
            }
            Event::Fault => {
                if !self.is_calm {
                    self.fault()?;
                    let delay = self.random.u64(20 * MS..self.fault_gap);
                    self.after(delay, Event::Fault);
                }
                Ok(())
            }
            Event::Start(id) => self.start(id),
        }
    }

    /// Whether a process stands still; until when.
    fn stands(&self, id: NodeId) -> Option<u64> {
        let process = self.machines.get(&id)?.process.as_ref()?;
        (process.stands_until > self.now).then_some(process.stands_until)
    }

    fn lives(&self, id: NodeId, life: u64) -> bool {
        self.machines
            .get(&id)
            .is_some_and(|machine| machine.life == life && machine.process.is_some())
    }

    fn tick(&mut self, id: NodeId, life: u64) -> Result<(), String> {
        if !self.lives(id, life) {
            return Ok(());
        }
        // What came while it stood still comes first.
        let delay = self
            .stands(id)
            .map_or(self.machines[&id].tick_us, |until| until + MS - self.now);
        let stands = self.stands(id).is_some();
        self.after(delay, Event::Tick(id, life));
        if stands { Ok(()) } else { self.input(id, Input::Tick) }
    }

    fn arrive(&mut self, parcel: Parcel) -> Result<(), String> {
        let Parcel { from, to, session, .. } = parcel;
        if let Some(until) = self.stands(to) {
            self.at(until, Event::Arrive(parcel));
            return Ok(());
        }
        let is_present = self.network.lasts(from, to, session) && !self.network.is_cut(from, to, self.now);
        let known = self.network.known(to, from);
        if is_present && known != Some(session) {
            // It reads a connection only when it knows of it.
            self.after(MS, Event::Arrive(parcel));
            return Ok(());
        }
        // Frames of a session that is over are lost, but for some, to see that they are not heard.
        if !is_present && self.random.u8(..8) > 0 {
            return Ok(());
        }
        let bytes = parcel.bytes;
        let frame = Frame::read(&bytes).map_err(|error| format!("{from:x} sent no frame: {error}"))?;
        self.input(to, Input::Peer { from, session, frame })
    }

    fn synced(&mut self, id: NodeId, generation: u64, upto: u64) -> Result<(), String> {
        let Some(machine) = self.machines.get_mut(&id) else {
            return Ok(());
        };
        if machine.disk.generation != generation {
            return Ok(());
        }
        if machine.log_hangs_until > self.now {
            let until = machine.log_hangs_until;
            self.at(until, Event::Synced(id, generation, upto));
            return Ok(());
        }
        machine.syncs = false;
        if machine.disk.is_poisoned {
            return Ok(());
        }
        if self.settings.breach != Some(Breach::SyncDoesNothing) {
            machine.disk.sync(upto);
        }
        if self.settings.breach == Some(Breach::CommittedAlone)
            && machine
                .process
                .as_ref()
                .is_some_and(|process| process.replica.role().leads())
        {
            let upto = machine.disk.synced_index();
            machine.disk.commit_to(upto);
        }
        self.input(id, Input::Synced)
    }

    fn vote_written(&mut self, id: NodeId, life: u64, ticket: u64) -> Result<(), String> {
        if !self.lives(id, life) {
            return Ok(());
        }
        let machine = self.machines.get_mut(&id).expect("it lives");
        if machine.votes_hang_until > self.now {
            let until = machine.votes_hang_until;
            self.at(until, Event::VoteWritten(id, life, ticket));
            return Ok(());
        }
        if machine.disk.is_poisoned {
            return Ok(());
        }
        if self.settings.breach != Some(Breach::VoteNotWritten) {
            machine.disk.sync_votes(ticket);
        }
        self.input(id, Input::VoteWritten(ticket))
    }

    fn notice(&mut self, of: NodeId, with: NodeId, session: u64, is_there: bool) -> Result<(), String> {
        if is_there {
            if !self.network.lasts(of, with, session) {
                return Ok(());
            }
            self.network.set_known(of, with, Some(session));
            return self.input(of, Input::Connected(with, session));
        }
        if self.network.known(of, with) == Some(session) {
            self.network.set_known(of, with, None);
            self.input(of, Input::Lost(with, session))?;
        }
        Ok(())
    }

    fn connect(&mut self, one: NodeId, other: NodeId) {
        let both = [one, other].map(|id| self.machines.get(&id));
        if both.iter().any(Option::is_none) {
            return;
        }
        let run = both.iter().flatten().all(|machine| machine.process.is_some());
        if run && self.network.may_connect(one, other, self.now) {
            let session = self.network.connect(one, other);
            for (of, with) in [(one, other), (other, one)] {
                let delay = self.random.u64(..3 * MS);
                self.after(delay, Event::Notice(of, with, session, true));
            }
        }
        let delay = self.random.u64(50 * MS..300 * MS);
        self.after(delay, Event::Connect(one, other));
    }

    fn staged(&mut self, id: NodeId, life: u64, number: u64, content: Option<Content>) -> Result<(), String> {
        if !self.lives(id, life) {
            return Ok(());
        }
        match content {
            Some(content) => {
                self.judge.check_digest(content.checkpoint.id.index, content.digest)?;
                self.machines.get_mut(&id).expect("it lives").disk.stage(content);
                self.input(id, Input::Staged(number))
            }
            None => self.input(id, Input::NotStaged(number)),
        }
    }

    /// Who serves, the one in the largest term first.
    pub(crate) fn serving(&self) -> Option<NodeId> {
        let serving = self.machines.iter().filter_map(|(id, machine)| {
            let role = machine.process.as_ref()?.replica.role();
            matches!(role, Role::Serving { .. }).then_some((role.term(), *id))
        });
        serving.max().map(|(_, id)| id)
    }

    /// Somebody publishes, and asks for a confirmation now and then.
    fn publish(&mut self) -> Result<(), String> {
        let delay = if self.random.u8(..10) == 0 {
            self.random.u64(..2 * SECOND)
        } else {
            self.random.u64(MS..80 * MS)
        };
        self.after(delay, Event::Publish);
        let serving: Vec<NodeId> = self
            .machines
            .iter()
            .filter(|(id, machine)| {
                let role = machine.process.as_ref().map(|process| process.replica.role());
                matches!(role, Some(Role::Serving { .. })) && self.stands(**id).is_none()
            })
            .map(|(id, _)| *id)
            .collect();
        for id in serving {
            self.published += 1;
            let length = if self.random.u8(..20) == 0 {
                self.random.usize(..20_000)
            } else {
                self.random.usize(1..40)
            };
            let mut records = self.published.to_le_bytes().to_vec();
            records.resize(8 + length, self.published as u8);
            let machine = self.machines.get_mut(&id).expect("it serves");
            if !machine.disk.has_room(Room::Ordinary) {
                continue;
            }
            machine.disk.write(&records);
            let process = machine.process.as_ref().expect("it serves");
            // A journal may close a batch whatever it is told, and leave one open as long as it likes.
            let is_ripe = self.random.u8(..4) > 0;
            if process.replica.can_propose() == is_ripe {
                machine.disk.close();
            }
            self.input(id, Input::Closed)?;
            if self.random.u8(..4) == 0 {
                self.confirm(id)?;
            }
        }
        Ok(())
    }

    fn confirm(&mut self, id: NodeId) -> Result<(), String> {
        self.tickets += 1;
        let (ticket, serving) = (self.tickets, self.judge.largest_serving());
        let identity = self.identity;
        let Some(machine) = self.machines.get_mut(&id) else {
            return Ok(());
        };
        let Some(process) = &mut machine.process else {
            return Ok(());
        };
        let own = process.replica.role().term().unwrap_or_default();
        process.confirmations.insert(ticket, (own, serving));
        let mut outcome = Ok(());
        let deeds = machine.act(&identity, &self.nothing_full, |replica, disk, outside| {
            outcome = replica.confirm(ticket, disk, outside);
        });
        if outcome.is_err()
            && let Some(process) = &mut machine.process
        {
            process.confirmations.remove(&ticket);
        }
        self.done(id, deeds)
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        let delay = self.random.u64(100 * MS..2 * SECOND);
        self.after(delay, Event::Checkpoint);
        let ids: Vec<NodeId> = self.machines.keys().copied().collect();
        let id = ids[self.random.usize(..ids.len())];
        let back = self.random.u64(..30);
        self.make_checkpoint(id, back)
    }

    fn make_checkpoint(&mut self, id: NodeId, back: u64) -> Result<(), String> {
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.process.is_some()) else {
            return Ok(());
        };
        let index = machine.disk.committed_index().saturating_sub(back);
        if let Some((index, digest)) = machine.disk.make_checkpoint(index) {
            self.judge.check_digest(index, digest)?;
            self.say(|| format!("{id:x} has a checkpoint at {index}"));
            self.count("checkpoints");
        }
        Ok(())
    }

    /// An input to a replica, and everything that it does then.
    pub(crate) fn input(&mut self, id: NodeId, input: Input<'_>) -> Result<(), String> {
        let identity = self.identity;
        let mut full = BTreeSet::new();
        if !self.is_calm && self.random.u8(..100) == 0 {
            let ids: Vec<NodeId> = self.machines.keys().copied().collect();
            full.insert(ids[self.random.usize(..ids.len())]);
        }
        let Some(machine) = self.machines.get_mut(&id) else {
            return Ok(());
        };
        let deeds = machine.handle(&identity, &full, input);
        self.done(id, deeds)
    }

    pub(crate) fn change(&mut self, id: NodeId, change: seaway_replica::MemberChange) -> Result<bool, String> {
        let identity = self.identity;
        let Some(machine) = self.machines.get_mut(&id) else {
            return Ok(false);
        };
        let (deeds, outcome) = machine.change(&identity, &self.nothing_full, change);
        self.say(|| format!("{id:x} is asked for {change:x?}: {outcome:x?}"));
        self.done(id, deeds)?;
        Ok(outcome.is_ok())
    }

    /// Everything that a replica did takes effect, and the judge looks at it.
    fn done(&mut self, id: NodeId, deeds: Vec<Deed>) -> Result<(), String> {
        let mut deeds: VecDeque<Deed> = deeds.into();
        // Changes of members are known before the entries behind them are announced.
        for deed in &deeds {
            if let Deed::Members(index, configuration) = deed {
                self.judge.on_members(*index, configuration)?;
            }
        }
        self.look(id)?;
        while let Some(deed) = deeds.pop_front() {
            self.do_deed(id, deed)?;
        }
        self.sync_later(id);
        Ok(())
    }

    fn do_deed(&mut self, id: NodeId, deed: Deed) -> Result<(), String> {
        match deed {
            Deed::Send(to, class, bytes) => self.send(id, to, class, bytes)?,
            Deed::WriteVote(ticket, vote) => self.write_vote(id, ticket, vote),
            Deed::Role(role) => {
                self.say(|| format!("{id:x} is {role:x?}"));
                if matches!(role, Role::Serving { .. }) {
                    self.count("serving");
                }
                self.judge.on_role(id, role)?;
            }
            Deed::Members(index, configuration) => {
                self.say(|| format!("{id:x} has at {index} {configuration:x?}"));
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.disk.set_members(index, configuration);
                }
            }
            Deed::Fetch(from, number) => self.fetch(id, from, number),
            Deed::Forget(number) => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.disk.forget(number);
                }
            }
            Deed::CheckpointNeeded => self.make_checkpoint(id, 0)?,
            Deed::Confirmed(ticket, confirmation) => self.confirmed(id, ticket, confirmation)?,
            Deed::Refuse(member, error) => return Err(format!("{id:x} refuses {member:x}: {error}")),
            Deed::Stopped(stop) => self.stopped(id, &stop)?,
        }
        Ok(())
    }

    fn confirmed(&mut self, id: NodeId, ticket: u64, confirmation: Confirmation) -> Result<(), String> {
        let Some(process) = self.machines.get_mut(&id).and_then(|machine| machine.process.as_mut()) else {
            return Ok(());
        };
        let Some((own, serving)) = process.confirmations.remove(&ticket) else {
            return Err(format!(
                "{id:x} was told of ticket {ticket}, which it does not wait for"
            ));
        };
        if confirmation == Confirmation::Led {
            if own < serving {
                return Err(format!(
                    "{id:x} was confirmed in term {own}, although {serving} served when it asked"
                ));
            }
            self.count("confirmations");
        } else {
            self.count("confirmations not given");
        }
        Ok(())
    }

    fn stopped(&mut self, id: NodeId, stop: &Stop) -> Result<(), String> {
        self.say(|| format!("{id:x} stops: {stop}"));
        match stop {
            Stop::Removed => self.count("removed"),
            Stop::Left => self.count("left"),
            Stop::Log(Refusal::Poisoned(_)) => self.count("poisoned"),
            // It notices, if it lives long enough; what matters is what happens meanwhile.
            _ if self.settings.breach == Some(Breach::WipedUnderOldId) => self.count("noticed"),
            _ => return Err(format!("{id:x} stops: {stop}")),
        }
        self.crash(id);
        let delay = self.random.u64(10 * MS..3 * SECOND);
        self.after(delay, Event::Start(id));
        Ok(())
    }

    fn write_vote(&mut self, id: NodeId, ticket: u64, vote: Vote) {
        let delay = self.random.u64(100..8 * MS);
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        machine.disk.take_vote_to_write(ticket, vote);
        let life = machine.life;
        let delay = if self.settings.breach == Some(Breach::VoteNotWritten) {
            1
        } else {
            delay
        };
        self.say(|| format!("{id:x} writes {vote:x?}"));
        self.after(delay, Event::VoteWritten(id, life, ticket));
    }

    /// A sync begins when none is under way and there is something to sync.
    fn sync_later(&mut self, id: NodeId) {
        let slow = self.random.u8(..30) == 0;
        let delay = if slow {
            self.random.u64(..200 * MS)
        } else {
            self.random.u64(200..6 * MS)
        };
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        let (last, generation) = (machine.disk.last().index, machine.disk.generation);
        if machine.process.is_none() || machine.disk.synced_index() >= last {
            return;
        }
        // What was under way before a cut is over.
        if !machine.syncs || machine.disk.generation != machine.disk.sync_generation {
            machine.syncs = true;
            machine.disk.sync_generation = generation;
            self.after(delay, Event::Synced(id, generation, last));
        }
    }

    fn fetch(&mut self, id: NodeId, from: NodeId, number: u64) {
        let content = self
            .machines
            .get(&from)
            .filter(|machine| machine.process.is_some())
            .and_then(|machine| machine.disk.content(number))
            .filter(|_| self.random.u8(..5) > 0);
        self.say(|| format!("{id:x} fetches {number:x} from {from:x}: {}", content.is_some()));
        let delay = self.random.u64(10 * MS..2 * SECOND);
        let life = self.machines[&id].life;
        self.after(delay, Event::Staged(id, life, number, content));
    }

    fn send(&mut self, from: NodeId, to: NodeId, class: Class, bytes: Vec<u8>) -> Result<(), String> {
        self.judge.on_said(from, to, &bytes)?;
        let Some(session) = self.network.known(from, to) else {
            return Ok(());
        };
        self.count("frames");
        let is_lost = self.network.is_cut(from, to, self.now) || (!self.is_calm && self.random.u8(..50) == 0);
        if is_lost {
            return Ok(());
        }
        let late = !self.is_calm && self.random.u8(..40) == 0;
        let delay = if late {
            self.random.u64(..400 * MS)
        } else {
            self.random.u64(100..4 * MS)
        };
        let overtakes = !self.is_calm && self.random.u8(..30) == 0;
        let at = if overtakes {
            self.now + delay
        } else {
            self.network.in_order(from, to, class, self.now + delay)
        };
        let parcel = Parcel {
            from,
            to,
            session,
            bytes,
        };
        if !self.is_calm && self.random.u8(..40) == 0 {
            let again = at + self.random.u64(..SECOND);
            self.at(again, Event::Arrive(parcel.clone()));
        }
        self.at(at, Event::Arrive(parcel));
        Ok(())
    }

    /// What a machine has announced, and what it shows.
    fn look(&mut self, id: NodeId) -> Result<(), String> {
        let Some(machine) = self.machines.get_mut(&id) else {
            return Ok(());
        };
        if let Some(violation) = machine.disk.violation.take() {
            return Err(format!("{id:x}: {violation}"));
        }
        let committed = machine.disk.committed_index();
        let shown = machine.shown;
        machine.shown = shown.max(committed);
        let news: Vec<(EntryId, u64)> = (shown + 1..=committed)
            .filter_map(|index| machine.disk.stored(index))
            .map(|stored| (stored.id, stored.digest()))
            .collect();
        let disk = |id: NodeId| {
            self.machines
                .get(&id)
                .map(|machine| &machine.disk)
                .or_else(|| self.graves.get(&id))
        };
        for (entry, says) in &news {
            self.judge.on_committed(*entry, *says, disk)?;
        }
        if let Some((last, _)) = news.last() {
            let last = last.index;
            self.say(|| format!("{id:x} announces up to {last}"));
            *self.counts.entry("announced").or_default() += news.len() as u64;
        }
        Ok(())
    }

    /// Faults end, everybody who may starts again.
    fn calm_down(&mut self) -> Result<(), String> {
        self.is_calm = true;
        self.network.heal();
        self.say(|| "calm".to_owned());
        let ids: Vec<NodeId> = self.machines.keys().copied().collect();
        for id in ids {
            let machine = self.machines.get_mut(&id).expect("it is listed");
            machine.disk.room = ROOM;
            machine.disk.refusals = 0;
            machine.log_hangs_until = 0;
            machine.votes_hang_until = 0;
            machine.tick_us = 50 * MS;
            if let Some(process) = &mut machine.process {
                process.stands_until = 0;
            }
            self.start(id)?;
        }
        Ok(())
    }

    /// Everybody has the same, and the cluster goes on.
    fn check_rest(&mut self) -> Result<(), String> {
        let Some(leader) = self.serving() else {
            return Err("nobody serves a minute after the last fault".to_owned());
        };
        let machine = &self.machines[&leader];
        let members = machine
            .process
            .as_ref()
            .expect("it serves")
            .replica
            .configuration()
            .clone();
        let announced = machine.disk.committed_index();
        self.say(|| format!("{leader:x} serves {members:x?} up to {announced}"));
        if members.is_joint() || self.operator.is_busy() {
            return Err(format!(
                "a change of members is not finished: {members:x?}, {:x?}",
                self.operator
            ));
        }
        let upto = announced.saturating_sub(60);
        for id in members.voters.iter().chain(&members.learners) {
            let disk = &self.machines[id].disk;
            if disk.committed_index() < upto {
                let has = disk.committed_index();
                return Err(format!(
                    "a minute after the last fault {id:x} has {has} entries of {announced}"
                ));
            }
            let index = disk.committed_index();
            self.judge.check_digest(index, disk.digest(index))?;
        }
        let last = self.judge.last();
        *self.counts.entry("entries").or_default() += last;
        for machine in self.machines.values() {
            *self.counts.entry("truncations").or_default() += machine.disk.truncations;
            *self.counts.entry("snapshots").or_default() += machine.disk.installs;
        }
        Ok(())
    }
}
