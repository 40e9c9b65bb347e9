//! An engine and its store under one tenure, at the simulated network.

use std::sync::{Arc, Weak};

use seaway_journal::{Claim, OpenError};
use seaway_store::{Completion, FileStore, FileStoreError, Holding, Recovering, Sizes, Standpoint, Store};
use seaway_streaming::{Bus, Carried, Delivery, Effects, Engine, Event, Input, Options, ProbeId};

use super::scene::Scene;
use super::shape::Planted;
use crate::client::{ToClient, ToServer};

/// Messages that are taken in a pass at most.
const TAKEN_PER_PASS: u64 = 6;

/// Jobs after which a store that is to come to its end counts as stuck.
const ENDING_JOBS: u32 = 20_000;

/// Sends what leaves once a pass, as the server does.
struct MemberBus<'s> {
    scene: &'s Scene,
    member: usize,
    tenure: u64,
    holding: Weak<Holding>,
    /// What a look in this pass found.
    found: Option<bool>,
    outgoing: Vec<ToClient>,
}

impl MemberBus<'_> {
    /// As the server's confirmation: looked for once in a pass at most, and only when somebody is to be refused.
    fn stands(&mut self) -> bool {
        if self.scene.is_planted(Planted::RefusalUnconfirmed) {
            return true;
        }
        *self.found.get_or_insert_with(|| {
            let found = self.holding.upgrade().map(|holding| holding.look());
            matches!(found, Some(Ok(Standpoint::Holds)))
        })
    }

    fn send(&mut self, subject: &[u8], reply: String, payload: Vec<u8>) {
        self.outgoing.push(ToClient {
            subject: String::from_utf8_lossy(subject).into_owned(),
            reply,
            payload,
        });
    }

    fn flush(&mut self) {
        if self.outgoing.is_empty() || !self.scene.directory.wait(1) || self.scene.is_dead(self.member) {
            return self.outgoing.clear();
        }
        let mut network = self.scene.network();
        for message in self.outgoing.drain(..) {
            network.carry(self.member, self.tenure, message);
        }
    }
}

impl Bus for MemberBus<'_> {
    fn reply(&mut self, subject: &[u8], payload: &[u8]) {
        self.send(subject, String::new(), payload.to_vec());
    }

    fn answer(&mut self, subject: &[u8], payload: &[u8]) {
        if payload.is_empty() || self.stands() {
            self.reply(subject, payload);
        }
    }

    fn deliver(&mut self, delivery: Delivery<'_>, parts: [&[u8]; 2]) -> Carried {
        let subject = String::from_utf8_lossy(delivery.inbox).into_owned();
        if !self.scene.network().has_listener(&subject) {
            return Carried::Unheard;
        }
        self.send(delivery.inbox, String::new(), parts.concat());
        Carried::Sent
    }

    fn foresee(&mut self, delivery: Delivery<'_>) -> Option<Carried> {
        let subject = String::from_utf8_lossy(delivery.inbox);
        // It would be read and lost.
        (!self.scene.network().has_listener(&subject)).then_some(Carried::Unheard)
    }

    fn probe(&mut self, inbox: &[u8], probe: ProbeId) {
        self.send(inbox, format!("probe.{}", probe.0), Vec::new());
    }

    fn listen(&mut self, subject: &[u8], subscription: u64) {
        let subject = String::from_utf8_lossy(subject).into_owned();
        self.scene
            .network()
            .listen(self.member, self.tenure, subject, subscription);
    }

    fn unlisten(&mut self, subscription: u64) {
        self.scene.network().unlisten(self.member, subscription);
    }
}

/// See the module.
pub(super) struct Serving<'s> {
    scene: &'s Scene,
    member: usize,
    tenure: u64,
    engine: Engine,
    store: FileStore,
    bus: MemberBus<'s>,
    completions: Vec<Completion>,
    checkpoint_running: bool,
    /// The store takes nothing more.
    pub(super) is_poisoned: bool,
}

/// Says nothing.
fn unheard(_event: Event<'_>) {}

impl<'s> Serving<'s> {
    /// Opens the store under a claim and starts an engine. `None` when this tenure comes to nothing, for a reason there may be.
    pub(super) fn begin(
        scene: &'s Scene,
        member: usize,
        claim: Claim,
        sizes: Sizes,
        disk: &Arc<dyn seaway_journal::disk::Disk>,
    ) -> Option<Serving<'s>> {
        let (tenure, holding) = (claim.number(), Arc::downgrade(&claim.holding()));
        let mut engine = Engine::new(options(scene));
        let mut recovering = Recovering::new(&mut engine);
        let opened = FileStore::open_stepped(Arc::clone(disk), sizes, Some(claim), &mut recovering);
        let replayed = recovering.finish();
        if scene.is_dead(member) {
            return None;
        }
        let store = match opened {
            Ok(store) => store,
            Err(FileStoreError::Journal(OpenError::Overtaken { .. })) => {
                scene.judge().count("starts overtaken");
                return None;
            }
            // A sync that fails.
            Err(FileStoreError::Journal(OpenError::Io { source, .. }))
                if source.kind() != std::io::ErrorKind::NotFound =>
            {
                scene.judge().count("starts that failed");
                return None;
            }
            Err(error) => {
                scene
                    .judge()
                    .object(format!("member {member}, tenure {tenure}: {error}"));
                return None;
            }
        };
        if let Err(failure) = replayed {
            scene
                .judge()
                .object(format!("member {member}, tenure {tenure}: {failure}"));
            return None;
        }
        let mut serving = Serving {
            scene,
            member,
            tenure,
            engine,
            store,
            bus: MemberBus {
                scene,
                member,
                tenure,
                holding,
                found: None,
                outgoing: Vec::new(),
            },
            completions: Vec::new(),
            checkpoint_running: false,
            is_poisoned: false,
        };
        scene.network().attach(member, tenure);
        let Serving { engine, store, bus, .. } = &mut serving;
        let mut silent = unheard;
        let started = engine.start(scene.clocks(member), &mut Effects::new(store, bus, &mut silent));
        if let Err(error) = started {
            scene
                .judge()
                .object(format!("member {member}, tenure {tenure}: {error}"));
            return None;
        }
        Some(serving)
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.scene.clocks(self.member);
        let mut silent = unheard;
        let mut effects = Effects::new(&mut self.store, &mut self.bus, &mut silent);
        self.engine.handle(now, input, &mut effects);
    }

    /// One pass over some of what waits.
    pub(super) fn pass(&mut self) {
        // As in the server: what is handled in a pass came before any look that is made in it.
        let mut taken = Vec::new();
        if self.engine.has_interest() {
            for _ in 0..self.scene.directory.random(TAKEN_PER_PASS) {
                taken.extend(self.scene.network().receive(self.member, self.tenure));
            }
        }
        self.bus.found = None;
        self.complete();
        taken.into_iter().for_each(|received| self.take(received));
        let now = self.scene.clocks(self.member).monotonic;
        if self.engine.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.input(Input::Tick);
        }
        self.input(Input::EndOfPass);
        if self.store.pressure(0).urgent || self.scene.directory.random(10) == 0 {
            self.store.submit();
        }
        // The server's lanes run beside each other; here they share what there is.
        let jobs = if self.scene.is_healed() { 24 } else { 3 };
        for _ in 0..=self.scene.directory.random(jobs) {
            if self.scene.is_dead(self.member) || !self.store.step() {
                break;
            }
        }
        self.complete();
        if self.scene.directory.random(120) == 0 {
            self.begin_checkpoint();
        }
        if self.checkpoint_running {
            self.input(Input::CheckpointStep);
            self.checkpoint_running = self.engine.is_checkpointing();
        }
        self.bus.flush();
    }

    fn take(&mut self, received: (ToServer, Option<u64>)) {
        match received {
            (ToServer::Request(service, reply, payload), _) => {
                if self.store.pressure(2 * payload.len() + 128).is_behind {
                    // Lost, as with a connection; its sender gives up waiting.
                    return;
                }
                self.input(Input::Request {
                    service,
                    reply: &reply,
                    payload: &payload,
                });
            }
            (ToServer::Ack(_, payload), Some(subscription)) => self.input(Input::Ack {
                subscription,
                payload: &payload,
            }),
            // Nobody listens for it any more.
            (ToServer::Ack(..), None) => {}
            (ToServer::Probe(probe), _) => self.input(Input::ProbeAnswered(ProbeId(probe))),
        }
    }

    fn begin_checkpoint(&mut self) {
        if !self.checkpoint_running && !self.is_poisoned {
            self.checkpoint_running = self.store.begin_checkpoint();
        }
    }

    fn complete(&mut self) {
        if self.scene.is_dead(self.member) {
            return;
        }
        let mut completions = std::mem::take(&mut self.completions);
        self.store.poll(&mut completions);
        for completion in completions.drain(..) {
            match &completion {
                Completion::CheckpointNeeded => self.begin_checkpoint(),
                Completion::CheckpointAbandoned(_) => {
                    self.checkpoint_running = false;
                    self.engine.abandon_checkpoint();
                }
                Completion::Poisoned(_) => self.is_poisoned = true,
                _ => {}
            }
            completion.feed(|input| self.input(input));
        }
        self.completions = completions;
    }

    /// Makes everything durable that was accepted, and gives the directory up.
    pub(super) fn stop(mut self) {
        for _ in 0..ENDING_JOBS {
            self.store.submit();
            if self.scene.is_dead(self.member) || !self.store.step() {
                break;
            }
            self.complete();
        }
        self.complete();
        self.bus.flush();
        self.scene.network().detach(self.member, self.tenure);
        if !self.scene.is_dead(self.member) {
            let _ = self.store.close();
        }
    }
}

fn options(scene: &Scene) -> Options {
    let mut key = [0; 16];
    for byte in &mut key {
        *byte = u8::try_from(scene.directory.random(256)).unwrap_or(0);
    }
    Options {
        ack_inbox_key: key,
        hash_seed: scene.directory.random(u64::MAX),
        message_overhead: 40,
        // Nobody falls silent here.
        heartbeat_interval_ns: 3_600_000_000_000,
        ..Options::default()
    }
}
