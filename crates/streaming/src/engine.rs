//! The engine: its state, and the one entry through which everything reaches it.
//!
//! The modules below this one are its organs; each holds the methods that decide one thing. What the engine holds are closed types
//! of other rooms: an organ sees their faces, and nothing below them.

mod acks;
mod audit;
mod change;
mod checkpoint;
mod clients;
mod damage;
mod delivery;
mod export;
mod groups;
mod inactivity;
mod interest;
mod join;
mod leave;
mod limiting;
mod monitoring;
mod moving;
mod partition;
mod pass;
mod pausing;
mod persist;
mod publish;
mod purge;
mod recovery;
mod redelivery;
mod removal;
mod retention;
mod settling;
mod subscribe;
mod why;

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use seaway_stan_protocol::Subjects;

pub use self::recovery::{StartError, StartSummary};
use crate::change::{ChangeId, Changed};
use crate::effects::Effects;
use crate::event::Event;
use crate::input::{Input, Service};
use crate::ledger::Ledger;
use crate::limits_table::LimitsTable;
use crate::options::Options;
use crate::records::Position;
use crate::registry::ack_inboxes::AckInboxes;
use crate::registry::channels::Channels;
use crate::registry::clients::Clients;
use crate::registry::groups::Groups;
use crate::registry::halts::Halts;
use crate::registry::inboxes::Inboxes;
use crate::registry::subscription::Leave;
use crate::registry::subscriptions::Subscriptions;
use crate::registry::trail::Trail;
use crate::replay::Recovered;
use crate::tally::Tally;
use crate::time::Now;
use crate::time::wall_clock::WallClock;
use crate::waiting::budget::Budget;
use crate::waiting::checkpoint::CheckpointProgress;
use crate::waiting::congestion::Congestion;
use crate::waiting::dirty::DirtyList;
use crate::waiting::questions::Questions;
use crate::waiting::replies::ReplyQueue;
use crate::waiting::retention::RetentionQueue;
use crate::waiting::timers::{Timer, Timers};
use crate::waiting::touched::Touched;
use crate::waiting::unregistered::Unregistered;
use crate::waiting::way::Way;
use crate::waiting::work::WorkQueue;

/// The streaming engine; see the crate's documentation.
///
/// Life: [`Engine::new`], then what the store recovered ([`Engine::recover_fact`] and its neighbours), then
/// [`Engine::start`], then [`Engine::handle`] for ever.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    subjects: Subjects,

    clients: Clients,
    channels: Channels,
    subscriptions: Subscriptions,
    inboxes: Inboxes,
    ack_inboxes: AckInboxes,
    groups: Groups,
    /// What operators have paused.
    halts: Halts,
    /// What operators have changed.
    trail: Trail,

    questions: Questions,
    congestion: Congestion,
    way: Way,

    /// In partitioning mode, requests that overtook their client's connect.
    unregistered: Unregistered,
    timers: Timers,
    replies: ReplyQueue,
    ledger: Ledger,
    /// Changes that operators asked for and that are not durable yet: what is told then.
    changes: BTreeMap<ChangeId, Changed>,

    work: WorkQueue,
    /// Subscriptions with something to write down.
    dirty: DirtyList,
    retention: RetentionQueue,
    touched: Touched,
    budget: Budget,
    clock: WallClock,

    tally: Tally,
    /// Messages that are known to be damaged, in all channels.
    damaged: u64,
    checkpoint: Option<CheckpointProgress>,
    recovered: Option<Box<Recovered>>,
    /// Where answers are encoded.
    scratch: Vec<u8>,
}

impl Engine {
    /// An engine without state; recovery or [`Engine::start`] follows.
    pub fn new(options: Options) -> Engine {
        let hasher = FixedState::with_seed(options.hash_seed);
        let subjects = Subjects::new(&options.cluster_id, &options.discover_prefix);
        Engine {
            subjects,
            clients: Clients::new(hasher.clone()),
            channels: Channels::new(hasher.clone()),
            subscriptions: Subscriptions::default(),
            inboxes: Inboxes::new(hasher.clone()),
            ack_inboxes: AckInboxes::new(options.ack_inbox_key, hasher),
            groups: Groups::default(),
            halts: Halts::default(),
            trail: Trail::default(),
            questions: Questions::default(),
            congestion: Congestion::default(),
            way: Way::default(),
            unregistered: Unregistered::default(),
            timers: Timers::default(),
            replies: ReplyQueue::default(),
            ledger: Ledger::default(),
            changes: BTreeMap::new(),
            work: WorkQueue::default(),
            dirty: DirtyList::default(),
            retention: RetentionQueue::default(),
            touched: Touched::default(),
            budget: Budget::default(),
            clock: WallClock::default(),
            tally: Tally::default(),
            damaged: 0,
            checkpoint: None,
            recovered: Some(Box::default()),
            scratch: Vec::new(),
            options,
        }
    }

    /// Which debug and trace lines there are from now on.
    pub fn set_verbosity(&mut self, debug: bool, trace: bool) {
        (self.options.debug, self.options.trace) = (debug, trace);
    }

    /// The limits, as at the start.
    pub fn limits(&self) -> &LimitsTable {
        &self.options.limits
    }

    /// The service subjects; settled once [`Engine::start`] has returned.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The subjects of publishes: one for all channels, or one per listed entry in partitioning mode (§10). Several may match
    /// one channel.
    pub fn publish_subjects(&self) -> Vec<String> {
        if !self.options.partitioning {
            return vec![self.subjects.publish_wildcard()];
        }
        let entries = self.options.limits.entries().iter();
        entries
            .map(|entry| format!("{}.{}", self.subjects.publish_prefix, entry.name))
            .collect()
    }

    /// When [`Input::Tick`] is wanted next, in monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    /// Whether work was left over, or something waits to be written down: [`Input::EndOfPass`] is wanted soon.
    pub fn wants_end_of_pass(&self) -> bool {
        !self.work.is_empty()
            || self.congestion.has_drained()
            || !self.dirty.is_empty()
            || !self.retention.is_empty()
            || !self.has_interest()
    }

    /// Takes one input; everything that follows from it leaves through `effects`, in order.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects<'_>) {
        self.budget.begin(self.options.slices.work.max(1));
        let now = self.clock.believe(now, &mut self.timers);
        if self.clock.was_set_forward(now) {
            self.retention.begin_ages();
        }
        match input {
            Input::Request {
                service,
                reply,
                payload,
            } => self.request(now, service, reply, payload, effects),
            Input::Ack { subscription, payload } => self.ack(now, subscription, payload, effects),
            Input::ProbeAnswered(probe) => self.probe_answered(now, probe, effects),
            Input::ProbeUnheard(probe) => self.probe_failed(now, probe, effects),
            Input::Durable(position) => self.became_durable(now, position, effects),
            Input::Poisoned => self.poison(effects),
            Input::Read { ticket, messages } => self.read_answered(now, ticket, messages, effects),
            Input::Sought { ticket, sequence } => self.sought(now, ticket, sequence, effects),
            Input::HeadKnown(channel) => self.head_known(now, channel, effects),
            Input::Drained(destination) => self.drained(now, destination, effects),
            Input::Gone(destination) => self.gone(now, destination, effects),
            Input::BusUp => self.bus_is_up(now, effects),
            Input::BusDown => self.way.fall(),
            Input::Change(asked) => self.change(now, asked, effects),
            Input::Tick => self.tick(now, effects),
            Input::EndOfPass => self.end_pass(now, effects),
            Input::CheckpointStep => self.checkpoint_step(effects),
        }
    }

    fn request(&mut self, now: Now, service: Service, reply: &[u8], payload: &[u8], effects: &mut Effects<'_>) {
        match service {
            Service::Connect => self.connect(now, reply, payload, effects),
            Service::Ping => self.ping(now, reply, payload, effects),
            Service::Publish => self.publish(now, reply, payload, effects),
            Service::Subscribe => self.subscribe(now, reply, payload, effects),
            Service::Unsubscribe => self.unsubscribe(now, Leave::Forget, reply, payload, effects),
            Service::SubscriptionClose => self.unsubscribe(now, Leave::Keep, reply, payload, effects),
            Service::Close => self.close(now, reply, payload, effects),
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Effects<'_>) {
        while !self.budget.is_spent()
            && let Some(timer) = self.timers.take_due(now.monotonic)
        {
            self.budget.charge(1);
            match timer {
                Timer::Heartbeat(key) => self.heartbeat_due(now, key, effects),
                Timer::DuplicateCheck(key) => self.duplicate_check_over(now, key, effects),
                Timer::Redelivery(key) => self.redelivery_due(now, key, effects),
                Timer::Retry(key) => self.retry_due(now, key, effects),
                Timer::Age(key) => {
                    self.channels[key].age_timer.fired();
                    self.queue_retention(key);
                }
                Timer::Damage(key) => self.damage_due(now, key, effects),
                Timer::Inactivity(key) => self.inactivity_due(now, key, effects),
                // The clock was read when the tick came, and that reading was judged already.
                Timer::WallClock => self.clock.timer_fired(),
                Timer::Unregistered => {
                    self.unregistered.timer_fired();
                    self.unregistered_due(now, effects);
                }
            }
        }
    }

    /// How many answers wait for the store.
    pub fn waiting_answers(&self) -> usize {
        self.replies.len()
    }

    /// The last position appended.
    pub fn appended(&self) -> Position {
        self.ledger.appended()
    }

    /// Answers at once: nothing was changed that could be lost.
    fn answer(&self, reply: &[u8], response: &impl prost::Message, effects: &mut Effects<'_>) {
        if !reply.is_empty() {
            effects.answer(Position(0), reply, &response.encode_to_vec());
        }
    }

    /// A debug line.
    fn debug(&self, event: Event<'_>, effects: &mut Effects<'_>) {
        if self.options.debug {
            effects.event(event);
        }
    }

    /// A trace line.
    fn trace(&self, event: Event<'_>, effects: &mut Effects<'_>) {
        if self.options.trace {
            effects.event(event);
        }
    }
}

#[cfg(test)]
mod steps;
