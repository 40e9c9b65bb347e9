//! Time, faults, and what is asked of a cluster. One seed decides everything.

use std::collections::BTreeMap;

use seaway_member::Member;
use seaway_replica::{Log as _, NodeId, Role};

use crate::engine::Engine;
use crate::judge::Judge;
use crate::machine::{Machine, founders};
use crate::network::Shared;

const STEP_MS: u64 = 2;
const TICK_MS: u64 = 50;

/// What came about, so that a run that proves nothing is noticed.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// What is wrong with a machine for a while.
#[derive(Default, Clone, Copy)]
struct Trouble {
    /// It is down until then.
    down_until: u64,
    /// Its disk does nothing until then.
    hangs_until: u64,
    /// The number of its checkpoint, as it was last seen.
    checkpoint: u64,
}

pub(crate) struct World {
    random: fastrand::Rng,
    pub(crate) now: u64,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    trouble: BTreeMap<NodeId, Trouble>,
    pub(crate) network: Shared,
    pub(crate) engines: BTreeMap<NodeId, Engine>,
    /// In which term each serves whose store is not open yet.
    serving: BTreeMap<NodeId, u64>,
    judge: Judge,
    numbers: u64,
    next_fault: u64,
    cut_until: u64,
    pub(crate) is_calm: bool,
    has_traffic: bool,
    /// Whoever serves gets an engine.
    has_engines: bool,
    trace: u64,
    pub(crate) counts: Counts,
}

fn mix(one: u64, other: u64) -> u64 {
    let mixed = (one ^ other.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 31)
}

impl World {
    pub(crate) fn new(seed: u64) -> Result<World, String> {
        let mut random = fastrand::Rng::with_seed(seed);
        let checkpoint_bytes = [12 << 10, 24 << 10, 96 << 10][random.usize(..3)];
        let mut machines = BTreeMap::new();
        for (place, id) in (0..).zip(founders().voters) {
            machines.insert(id, Machine::new(id, seed * 3 + place, checkpoint_bytes));
        }
        let trouble = machines.keys().map(|id| (*id, Trouble::default())).collect();
        Ok(World {
            random,
            now: 0,
            machines,
            trouble,
            network: Shared::default(),
            engines: BTreeMap::new(),
            serving: BTreeMap::new(),
            judge: Judge::default(),
            numbers: 0,
            next_fault: 3_000,
            cut_until: 0,
            is_calm: false,
            has_traffic: true,
            has_engines: true,
            trace: seed,
            counts: Counts::new(),
        })
    }

    /// Lives through faults, then through calm; then all machines lose their power.
    pub(crate) fn run(&mut self) -> Result<u64, String> {
        let storm = self.random.u64(8_000..20_000);
        while self.now < storm {
            self.step()?;
        }
        self.is_calm = true;
        self.until_rest()?;
        for id in self.ids() {
            self.crash(id, true);
        }
        self.until_rest()?;
        if self.judge.announced == 0 {
            return Err("nothing was ever announced".to_owned());
        }
        self.counts.insert("announced", self.judge.announced);
        if let Some(refused) = self.network.lock().refused.first() {
            return Err(refused.clone());
        }
        Ok(self.trace)
    }

    /// The same without faults and engines.
    pub(crate) fn quiet(mut self) -> World {
        self.is_calm = true;
        self.has_engines = false;
        self
    }

    fn ids(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn note(&mut self, what: u64) {
        self.trace = mix(mix(self.trace, self.now), what);
    }

    /// Until one leads, everything it was given is announced, and everything that is there was read.
    fn until_rest(&mut self) -> Result<(), String> {
        let end = self.now + 60_000;
        let (mut has_asked, mut calm_since) = (None, self.now);
        while self.now < end {
            self.has_traffic = self.now < calm_since + 3_000;
            self.step()?;
            let Some((id, engine)) = self.engines.iter_mut().next() else {
                calm_since = self.now;
                continue;
            };
            let ids = (*id, engine.store.term());
            if self.has_traffic || engine.is_over || !engine.is_at_rest(&mut self.judge)? {
                continue;
            }
            if has_asked == Some(ids) {
                self.has_traffic = true;
                return Ok(());
            }
            has_asked = Some(ids);
            engine.read_all();
        }
        let roles: Vec<Option<Role>> = self.machines.values().map(role).collect();
        Err(format!("it does not come to rest: {roles:?}"))
    }

    /// Two milliseconds.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.now += STEP_MS;
        self.network.lock().now = self.now;
        if self.now >= self.cut_until || self.is_calm {
            self.network.lock().cuts.clear();
        }
        if self.now >= self.next_fault && !self.is_calm {
            self.next_fault = self.now + self.random.u64(20..1_500);
            self.fault();
        }
        for id in self.ids() {
            self.start(id)?;
        }
        self.connect();
        self.deliver();
        for id in self.ids() {
            self.live(id)?;
        }
        Ok(())
    }

    fn start(&mut self, id: NodeId) -> Result<(), String> {
        let seed = self.random.u64(..);
        let machine = self.machines.get_mut(&id).ok_or("an unknown machine")?;
        if machine.member.is_none() && self.trouble[&id].down_until <= self.now {
            machine.start(&self.network, seed)?;
        }
        Ok(())
    }

    fn connect(&mut self) {
        let ids = self.ids();
        for (place, one) in ids.iter().enumerate() {
            for other in &ids[place + 1..] {
                let are_up = self.machines[one].member.is_some() && self.machines[other].member.is_some();
                let is_possible = {
                    let wires = self.network.lock();
                    !wires.is_connected(*one, *other) && !wires.is_cut(*one, *other)
                };
                if are_up && is_possible && self.random.u8(..10) == 0 {
                    let session = self.network.lock().connect(*one, *other);
                    self.with(*one, |member| member.connected(*other, session));
                    self.with(*other, |member| member.connected(*one, session));
                }
            }
        }
    }

    fn with(&self, id: NodeId, act: impl FnOnce(&mut Member)) {
        if let Some(member) = &self.machines[&id].member {
            member.with(act);
        }
    }

    fn deliver(&mut self) {
        for _ in 0..200 {
            let arriving = self.network.lock().arriving();
            let Some((from, to, parcel)) = arriving else { return };
            self.with(to, |member| member.frame(from, parcel.session, &parcel.bytes));
        }
    }

    fn live(&mut self, id: NodeId) -> Result<(), String> {
        let Some(member) = self.machines[&id].member.clone() else {
            return Ok(());
        };
        if (self.now + id % TICK_MS / STEP_MS * STEP_MS).is_multiple_of(TICK_MS) {
            member.with(Member::tick);
        }
        if self.now >= self.trouble[&id].hangs_until {
            for _ in 0..self.random.u8(..5) {
                member.with(Member::step);
            }
        }
        let news = member.with(Member::take_news);
        if let Some(role) = news.role {
            self.note(mix(id, role.term().unwrap_or_default()));
            self.serving.remove(&id);
            if let Role::Serving { term } = role {
                self.serving.insert(id, term);
            }
        }
        self.serve(id, &member)?;
        self.look_at_checkpoint(id, &member);
        if self.machines[&id].disk.has_crashed() {
            self.crash(id, true);
        } else if let Some(stop) = news.stopped {
            return Err(format!("{id:x} stops: {stop}"));
        }
        Ok(())
    }

    fn serve(&mut self, id: NodeId, member: &seaway_member::SharedMember) -> Result<(), String> {
        if let Some(term) = self.serving.get(&id).copied()
            && self.has_engines
            && !self.engines.contains_key(&id)
            && let Some(engine) = Engine::open(member, term, &mut self.judge)?
        {
            self.serving.remove(&id);
            self.count("terms");
            self.engines.insert(id, engine);
        }
        let Some(engine) = self.engines.get_mut(&id) else {
            return Ok(());
        };
        if self.has_traffic && self.random.u8(..3) == 0 {
            let before = self.judge.announced;
            let written = engine.pass(&mut self.random, &mut self.numbers, &mut self.judge)?;
            self.note(self.judge.announced - before);
            *self.counts.entry("checkpoints").or_default() += written;
        }
        if self.engines.get(&id).is_some_and(|engine| engine.is_over) {
            self.engines.remove(&id);
            self.count("deposed");
        }
        Ok(())
    }

    fn look_at_checkpoint(&mut self, id: NodeId, member: &seaway_member::SharedMember) {
        let number = member.with(|member| member.log().checkpoint().number);
        let trouble = self.trouble.get_mut(&id).expect("every machine has its trouble");
        if std::mem::replace(&mut trouble.checkpoint, number) != number && !self.engines.contains_key(&id) {
            self.count("folds");
        }
    }

    /// The process is gone; with its power, what was not synced.
    fn crash(&mut self, id: NodeId, loses_power: bool) {
        self.engines.remove(&id);
        self.serving.remove(&id);
        let downtime = self.random.u64(10..1_500);
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        machine.member = None;
        match loses_power {
            true => machine.disk.restart(),
            false => machine.disk.restart_process(),
        }
        if let Some(trouble) = self.trouble.get_mut(&id) {
            trouble.down_until = self.now + downtime;
        }
        self.count("crashes");
        self.note(id);
        for other in self.ids() {
            self.reset(id, other);
        }
    }

    fn reset(&mut self, one: NodeId, other: NodeId) {
        let Some(session) = self.network.lock().reset(one, other) else {
            return;
        };
        self.count("sessions lost");
        self.with(one, |member| member.lost(other, session));
        self.with(other, |member| member.lost(one, session));
    }

    fn fault(&mut self) {
        let ids = self.ids();
        let id = ids[self.random.usize(..ids.len())];
        let other = ids[self.random.usize(..ids.len())];
        match self.random.u8(..10) {
            0..=2 => {
                let disk = &self.machines[&id].disk;
                disk.crash_at(disk.operations() + self.random.u64(1..60));
            }
            3 if self.machines[&id].member.is_some() => {
                let loses_power = self.random.bool();
                self.crash(id, loses_power);
            }
            4 | 5 => {
                self.cut_until = self.now + self.random.u64(100..4_000);
                let both = self.random.bool();
                let mut wires = self.network.lock();
                for other in ids.into_iter().filter(|other| *other != id) {
                    wires.cuts.insert((id, other));
                    if both {
                        wires.cuts.insert((other, id));
                    }
                }
            }
            6 => self.reset(id, other),
            7 => {
                if let Some(leader) = self.engines.keys().next().copied() {
                    self.with(leader, |member| member.hand_over(None));
                    self.count("hand-overs");
                }
            }
            _ => {
                if let Some(trouble) = self.trouble.get_mut(&id) {
                    trouble.hangs_until = self.now + self.random.u64(50..2_500);
                }
            }
        }
    }
}

fn role(machine: &Machine) -> Option<Role> {
    machine
        .member
        .as_ref()
        .map(|member| member.with(|member| member.role()))
}
