//! The people who run the cluster, and what befalls it: faults, wiped disks, members that come and go.

use seaway_replica::{Configuration, Input, MemberChange, NodeId};

use crate::disk::{Disk, ROOM};
use crate::world::{Breach, MS, SECOND, World};

/// A change of members that is under way.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// Somebody new takes the place of a member whose disk is gone, or comes beside the others.
    Bring { new: NodeId, instead_of: Option<NodeId> },
    /// A member goes.
    Remove(NodeId),
    /// Something is said anew.
    Describe,
}

#[derive(Debug, Default)]
pub(crate) struct Operator {
    plan: Option<Plan>,
}

impl Operator {
    pub(crate) fn is_busy(&self) -> bool {
        self.plan.is_some()
    }
}

impl World {
    /// The next step of the plan, at whoever serves.
    pub(crate) fn operate(&mut self) -> Result<(), String> {
        let Some(leader) = self.serving() else { return Ok(()) };
        let status = self.machines[&leader]
            .process
            .as_ref()
            .expect("it serves")
            .replica
            .status();
        let Some(plan) = self.operator.plan.filter(|_| !status.is_changing) else {
            return Ok(());
        };
        let members = status.configuration;
        match plan {
            Plan::Bring { new, instead_of } => self.bring(leader, &members, new, instead_of),
            Plan::Remove(id) => self.remove(leader, &members, id),
            Plan::Describe => {
                if self.change(leader, MemberChange::Describe)? {
                    self.operator.plan = None;
                    self.count("described");
                }
                Ok(())
            }
        }
    }

    fn bring(
        &mut self,
        leader: NodeId,
        members: &Configuration,
        new: NodeId,
        instead_of: Option<NodeId>,
    ) -> Result<(), String> {
        if members.voters.contains(&new) {
            self.operator.plan = None;
            self.count(if instead_of.is_some() { "replaced" } else { "added" });
            return Ok(());
        }
        let change = if !members.contains(new) {
            MemberChange::AddLearner(new)
        } else if let Some(old) = instead_of {
            MemberChange::Replace { old, new }
        } else {
            MemberChange::Promote(new)
        };
        self.change(leader, change).map(|_| ())
    }

    fn remove(&mut self, leader: NodeId, members: &Configuration, id: NodeId) -> Result<(), String> {
        if members.contains(id) {
            if leader == id {
                return self.input(leader, Input::HandOver(None));
            }
            return self.change(leader, MemberChange::Remove(id)).map(|_| ());
        }
        self.operator.plan = None;
        self.count("taken out");
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.is_retired = true;
        }
        self.remove_machine(id);
        Ok(())
    }

    fn anybody(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.machines.keys().copied().collect();
        ids[self.random.usize(..ids.len())]
    }

    /// Something goes wrong.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        let (one, other) = (self.anybody(), self.anybody());
        let long = if self.random.bool() { SECOND } else { 6 * SECOND };
        let span = self.random.u64(10 * MS..long);
        match self.random.u8(..27) {
            0..=3 => {
                self.crash(one);
                self.start_later(one, span);
            }
            4 => {
                let ids: Vec<NodeId> = self.machines.keys().copied().collect();
                for id in ids {
                    self.crash(id);
                    let delay = span + self.random.u64(..SECOND);
                    self.start_later(id, delay);
                }
                self.count("power failures");
            }
            5..=6 => self.network.cut(one, other, self.now + span),
            7..=8 => self.isolate(one, span),
            9..=10 => self.reset(one, other),
            11..=12 => {
                let until = self.now + span;
                let which = self.random.u8(1..4);
                self.with(one, |machine| {
                    if which & 1 > 0 {
                        machine.log_hangs_until = until;
                    }
                    if which & 2 > 0 {
                        machine.votes_hang_until = until;
                    }
                });
                self.count("disks hang");
            }
            13 => {
                let room = self.random.u64(..8_192);
                self.with(one, |machine| {
                    machine.disk.room = if machine.disk.room < ROOM / 2 { ROOM } else { room }
                });
            }
            14..=15 => {
                let until = self.now + span;
                self.with(one, |machine| {
                    if let Some(process) = &mut machine.process {
                        process.stands_until = until;
                    }
                });
            }
            16 => return self.hand_over(),
            17 => return self.input(one, Input::Leave),
            18..=20 => self.wipe(one),
            21 => self.add(),
            22 => self.take_out(one),
            25 if self.settled_members().is_some() => self.operator.plan = Some(Plan::Describe),
            23 => {
                let refusals = self.random.u64(1..6);
                self.with(one, |machine| machine.disk.refusals = refusals);
                self.count("refusals");
            }
            24 => {
                self.with(one, |machine| machine.disk.is_poisoned = machine.process.is_some());
                self.count("disks fail");
                return self.input(one, Input::Leave);
            }
            _ => {
                let rate = self.random.u64(25..100);
                self.with(one, |machine| machine.tick_us = rate * MS);
            }
        }
        Ok(())
    }

    fn with(&mut self, id: NodeId, act: impl FnOnce(&mut crate::machine::Machine)) {
        if let Some(machine) = self.machines.get_mut(&id) {
            act(machine);
        }
    }

    fn hand_over(&mut self) -> Result<(), String> {
        let Some(leader) = self.serving() else { return Ok(()) };
        self.count("hand-overs");
        self.input(leader, Input::HandOver(None))
    }

    /// Nobody hears it, or it hears nobody, or both.
    fn isolate(&mut self, id: NodeId, span: u64) {
        let until = self.now + span;
        let ways = self.random.u8(1..4);
        let others: Vec<NodeId> = self.machines.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            if ways & 1 > 0 {
                self.network.cut(id, other, until);
            }
            if ways & 2 > 0 {
                self.network.cut(other, id, until);
            }
        }
        self.count("isolated");
    }

    /// The members, when nothing is under way: what the newest leader knows.
    fn settled_members(&self) -> Option<Configuration> {
        let leader = self.serving()?;
        let process = self.machines[&leader].process.as_ref()?;
        let members = process.replica.configuration();
        (!self.operator.is_busy() && !process.replica.status().is_changing).then(|| members.clone())
    }

    /// A disk is lost. What comes back is somebody new, or, when that rule is broken, an empty member under the old id.
    fn wipe(&mut self, id: NodeId) {
        if self.settings.breach == Some(Breach::WipedUnderOldId) {
            let names: Vec<String> = (0..self.settings.founders).map(|place| format!("n{place}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let founders = Configuration::founding("test-cluster", &names);
            self.remove_machine(id);
            self.add_machine(id, Disk::of_founder(id, founders));
            self.start_later(id, MS);
            return;
        }
        let Some(members) = self.settled_members() else { return };
        if !members.voters.contains(&id) || members.voters.len() < 3 {
            return;
        }
        self.remove_machine(id);
        let new = self.newcomer();
        self.operator.plan = Some(Plan::Bring {
            new,
            instead_of: Some(id),
        });
        self.say(|| format!("{id:x} loses its disk and becomes {new:x}"));
        self.count("wiped");
    }

    fn newcomer(&mut self) -> NodeId {
        let new = self.random.u64(1..);
        self.add_machine(new, Disk::empty(new));
        self.start_later(new, MS);
        new
    }

    fn add(&mut self) {
        if self.settled_members().is_some_and(|members| members.voters.len() < 6) && self.settings.breach.is_none() {
            let new = self.newcomer();
            self.operator.plan = Some(Plan::Bring { new, instead_of: None });
        }
    }

    fn take_out(&mut self, id: NodeId) {
        if self
            .settled_members()
            .is_some_and(|members| members.voters.contains(&id) && members.voters.len() > 1)
            && self.settings.breach.is_none()
        {
            self.operator.plan = Some(Plan::Remove(id));
        }
    }
}
