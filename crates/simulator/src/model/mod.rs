//! The model: a simple, slow server that watches the real one.
//!
//! It stands at the engine's port. It sees every input before the engine does and every effect as it happens, knows from
//! the specification what must and what may follow, and says what contradicts that. Where the specification leaves a choice
//! (which member, when exactly) it follows what it sees and checks that it was a legal choice. It shares no code with the
//! engine but the generated message types.
//!
//! Crashes: the store's positions say exactly which records a crash took back. The model keeps what it knew at each
//! position, goes back to that, and compares what the restarted server shows with it. What is written lazily (sent and
//! acknowledged messages) is marked until it is known to be on record: a crash may take that back and nothing else.

mod answers;
mod changes;
mod check;
mod clients;
mod damage;
mod deliveries;
mod halts;
mod limits;
mod names;
mod overlay;
mod requests;
mod restart;
mod state;
mod subscriptions;

pub use halts::Halted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use seaway_stan_protocol::messages::{ConnectRequest, SubscriptionRequest};
use seaway_streaming::{Event, Input, Now, Options, Timestamp};

use crate::settings::ChosenLimits;

/// How long after the bus is back silence says nothing.
const BUS_SETTLE_NS: u64 = 2_000_000_000;

use answers::Expected;
use changes::Changes;
use state::State;

/// What a refusal says after the store has failed for good.
pub(crate) const POISONED: &str =
    "the store failed and takes nothing more; the outcome of what waited for it is unknown";

/// What the input at hand is about.
#[derive(Debug, Default)]
enum Current {
    #[default]
    Nothing,
    Tick,
    Connect {
        request: ConnectRequest,
        expected: u64,
    },
    Publish {
        expected: u64,
        channel: String,
        reply: Vec<u8>,
        data: Vec<u8>,
    },
    Subscribe {
        request: SubscriptionRequest,
        expected: u64,
        /// What was known when a start time began to be looked up: that time, and the lowest cursor.
        sought: Option<(i64, u64)>,
    },
    /// A subscription leaves; whether it keeps the state of a durable.
    Leave {
        number: u64,
        keeps: bool,
        expected: u64,
    },
    Close {
        expected: u64,
    },
}

/// A subscription request whose start is being looked up.
#[derive(Debug)]
struct Seeking {
    request: SubscriptionRequest,
    expected: u64,
    lowest_start: u64,
    time: i64,
}

/// What left through the port and waits to be attributed to a subscription.
#[derive(Debug)]
struct Sent {
    inbox: String,
    channel: u64,
    sequence: u64,
    count: u32,
}

/// Numbers of the process, for monitoring.
#[derive(Debug, Default)]
struct Totals {
    in_messages: u64,
    in_bytes: u64,
    out_messages: u64,
    out_bytes: u64,
    redelivered: u64,
    lost_clients: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    options: Options,
    limits: ChosenLimits,
    state: State,
    /// What was known at each position, oldest first; from the last durable one on.
    history: VecDeque<(u64, State)>,
    appended: u64,
    durable: u64,
    /// What the engine was told to be durable.
    told: u64,
    now: Now,
    /// Greatest distance of the wall clock from the monotonic one in this life.
    wall_lead: i64,
    /// Distance of the wall clock from the monotonic one that counts, and one that does not count yet, since when it is claimed.
    believed_lead: i64,
    claimed_lead: Option<(i64, u64)>,
    /// The one that counted before the clock was set far back, and when that was.
    lead_before: Option<(i64, u64)>,
    life_began: u64,
    /// When the server first came to rest in this life.
    rested_at: Option<u64>,
    poisoned: bool,
    bus_up: bool,
    /// When it came back last, and from when on silence says something.
    bus_up_since: u64,
    bus_settles_at: u64,
    current: Current,
    expected: Vec<Expected>,
    next_expected: u64,
    seeking: BTreeMap<u64, Seeking>,
    /// Subscriptions that wait for a destination to drain.
    paused: BTreeMap<u64, u64>,
    /// Members may go on again, or their clients answer again or no more, and groups hear of it a slice at a time.
    members_change: bool,
    sent: Option<Sent>,
    /// Clients whose expected close waits for its end, and the answer.
    closes: BTreeMap<String, u64>,
    changes: Changes,
    /// Channels whose deletion failed with the store, which has no message of them any more.
    gone_logs: BTreeSet<String>,
    /// A connect request whose predecessor has just been closed.
    succession: Option<state::Contender>,
    /// What the store refused while the input at hand is handled.
    refusal: Option<String>,
    /// Which channel a read is of, by ticket.
    reading: BTreeMap<u64, u64>,
    /// Messages, by the id of their channel, of which the store said that they are damaged, and not yet that they are not.
    damaged: BTreeSet<(u64, u64)>,
    /// A message was passed over in this life.
    passes_over: bool,
    /// When a read last failed: what waits for it may be late.
    read_failed_at: Option<u64>,
    totals: Totals,
    violation: Option<String>,
    /// What was seen, for the proof that a run is not vacuous.
    pub seen: BTreeMap<&'static str, u64>,
}

impl Model {
    /// A model of a server that does not exist yet.
    pub fn new(options: Options, limits: ChosenLimits) -> Model {
        Model {
            options,
            limits,
            state: State::default(),
            history: VecDeque::from([(0, State::default())]),
            appended: 0,
            durable: 0,
            told: 0,
            now: Now::default(),
            wall_lead: i64::MIN,
            believed_lead: 0,
            claimed_lead: None,
            lead_before: None,
            life_began: 0,
            rested_at: None,
            poisoned: false,
            bus_up: true,
            bus_up_since: 0,
            bus_settles_at: 0,
            current: Current::Nothing,
            expected: Vec::new(),
            next_expected: 1,
            seeking: BTreeMap::new(),
            paused: BTreeMap::new(),
            members_change: false,
            sent: None,
            closes: BTreeMap::new(),
            changes: Changes::default(),
            gone_logs: BTreeSet::new(),
            succession: None,
            refusal: None,
            reading: BTreeMap::new(),
            damaged: BTreeSet::new(),
            passes_over: false,
            read_failed_at: None,
            totals: Totals::default(),
            violation: None,
            seen: BTreeMap::new(),
        }
    }

    /// What was broken first, if anything was.
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn object(&mut self, text: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(text.into());
        }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Whether the store has failed in this life.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Before the engine takes an input; `durable` is what the store says.
    pub fn begin(&mut self, now: Now, input: &Input<'_>, durable: u64) {
        self.see_time(now);
        self.durable = durable;
        self.current = Current::Nothing;
        match *input {
            Input::Request {
                service,
                reply,
                payload,
            } => self.request(service, reply, payload),
            Input::Ack { subscription, payload } => self.ack(subscription, payload),
            Input::ProbeAnswered(probe) => {
                self.members_change = true;
                self.probe_answered(probe.0);
            }
            Input::ProbeUnheard(probe) => {
                self.members_change = true;
                self.probe_unheard(probe.0);
            }
            Input::Durable(position) => {
                self.told = position.0;
                if position.0 > durable {
                    self.object("the store announced more than is durable");
                }
            }
            Input::Poisoned => self.poison(),
            Input::Read { ticket, messages } => self.read_answered(ticket.0, messages),
            Input::Sought { ticket, sequence } => {
                if !self.change_sought(ticket.0, sequence) {
                    self.sought(ticket.0, sequence.err());
                }
            }
            Input::Change(asked) => self.change_asked(asked),
            Input::Drained(destination) | Input::Gone(destination) => {
                self.members_change = true;
                self.paused.retain(|_, paused| *paused != destination.0);
            }
            Input::BusUp => {
                self.bus_up = true;
                self.bus_up_since = self.now.monotonic;
                self.bus_settles_at = self.now.monotonic + BUS_SETTLE_NS;
            }
            Input::BusDown => self.bus_up = false,
            Input::Tick => {
                self.members_change = true;
                self.current = Current::Tick;
            }
            Input::HeadKnown(_) | Input::EndOfPass | Input::CheckpointStep => {}
        }
    }

    /// After the engine took the input; `unrecorded` says that it has something left to write down.
    pub fn end(&mut self, unrecorded: bool) {
        if let Some(sent) = self.sent.take() {
            self.object(format!(
                "{}:{} was sent and not accounted for",
                sent.inbox, sent.sequence
            ));
        }
        self.succession = None;
        self.finish_change();
        self.refusal = None;
        self.finish_request();
        self.answers_due();
        self.members_change &= unrecorded;
        if self.poisoned {
            return;
        }
        if !unrecorded {
            self.everything_recorded();
        }
        self.remember();
    }

    fn see_time(&mut self, now: Now) {
        let now = self.believe(now);
        let lead = now.wall.0 - i64::try_from(now.monotonic).unwrap_or(i64::MAX);
        let before = self.now.wall.0 - i64::try_from(self.now.monotonic).unwrap_or(i64::MAX);
        if lead < before {
            self.clock_set_back();
        }
        self.wall_lead = self.wall_lead.max(lead);
        self.now = now;
    }

    /// A clock that is suddenly more than an hour ahead counts when it says the same for a minute; for an hour after it was set back by
    /// more, where it was before is what it may not be ahead of.
    fn believe(&mut self, now: Now) -> Now {
        let lead = now.wall.0 - i64::try_from(now.monotonic).unwrap_or(i64::MAX);
        const HOUR: i64 = 3600 * 1_000_000_000;
        let is_recent = |since: u64| now.monotonic - since <= HOUR.unsigned_abs();
        self.lead_before = self.lead_before.filter(|(_, since)| is_recent(*since));
        let known = self
            .lead_before
            .map_or(self.believed_lead, |(before, _)| before.max(self.believed_lead));
        if lead < known - HOUR {
            self.lead_before = self.lead_before.or(Some((known, now.monotonic)));
        }
        if lead - known <= HOUR {
            (self.believed_lead, self.claimed_lead) = (lead, None);
            return now;
        }
        let since = match self.claimed_lead {
            Some((claimed, since)) if (claimed - lead).abs() <= 1_000_000_000 => since,
            _ => now.monotonic,
        };
        self.claimed_lead = Some((lead, since));
        if now.monotonic - since >= 60 * 1_000_000_000 {
            (self.believed_lead, self.claimed_lead) = (lead, None);
            return now;
        }
        self.count("clocks not believed");
        Now {
            monotonic: now.monotonic,
            wall: Timestamp(self.believed_lead + i64::try_from(now.monotonic).unwrap_or(i64::MAX)),
        }
    }

    /// What was past its deadline when the server started may not be any more.
    fn clock_set_back(&mut self) {
        let numbers: Vec<u64> = self.state.subscriptions.keys().copied().collect();
        for number in numbers {
            let known = self.state.subscription(number).expect("it was just seen");
            let pending = &known.pending;
            let stays = |held: &u64| {
                pending
                    .get(held)
                    .is_none_or(|pending| !matches!(pending.due, state::Due::ByTimestamp(_)))
            };
            known.hold.retain(stays);
        }
    }

    /// Keeps what is known as of the newest record; called at the end of each input, and before each event whose record
    /// follows it.
    pub(crate) fn remember(&mut self) {
        self.remember_at(self.appended);
    }

    /// The newest record says what just happened: what is known up to now belongs to the one before it.
    pub(crate) fn remember_without_newest(&mut self) {
        self.remember_at(self.appended.saturating_sub(1));
    }

    fn remember_at(&mut self, at: u64) {
        if self.poisoned {
            return;
        }
        match self.history.back_mut() {
            Some((position, _)) if *position > at => {}
            Some((position, state)) if *position == at => *state = self.state.clone(),
            _ => self.history.push_back((at, self.state.clone())),
        }
        while self
            .history
            .get(1)
            .is_some_and(|(position, _)| *position <= self.durable)
        {
            self.history.pop_front();
        }
    }

    fn everything_recorded(&mut self) {
        let numbers: Vec<u64> = self.state.subscriptions.keys().copied().collect();
        for number in numbers {
            self.subscription_recorded(number);
        }
        let names: Vec<(String, String)> = self.state.groups.keys().cloned().collect();
        for (channel, name) in names {
            let key = (channel.clone(), name.clone());
            let known = &self.state.groups[&key];
            if known.recorded_cursor != known.cursor || !known.moved_unrecorded.is_empty() {
                let group = self.state.group(&channel, &name).expect("it was just seen");
                group.recorded_cursor = group.cursor;
                group.moved_unrecorded.clear();
            }
        }
    }

    pub(crate) fn subscription_recorded(&mut self, number: u64) {
        let Some(known) = self.state.subscriptions.get(&number) else {
            return;
        };
        if known.recorded_cursor != known.cursor || !known.acked_unrecorded.is_empty() {
            let known = self.state.subscription(number).expect("it was just seen");
            known.recorded_cursor = known.cursor;
            known.acked_unrecorded.clear();
        }
    }

    /// A record was appended; what was known before it stays known as of then.
    pub(crate) fn appended(&mut self, position: u64) {
        if position <= self.appended && !self.poisoned {
            self.object(format!("position {position} was given after {}", self.appended));
        }
        self.appended = position;
    }

    /// A line of the log: the engine tells what it has just done.
    pub fn event(&mut self, event: Event<'_>) {
        match event {
            Event::ChannelCreated { channel } => self.channel_created(channel),
            Event::ChannelDeleted { channel } => self.channel_deleted(channel),
            Event::TimedOut { client } => self.timed_out(client),
            Event::Changed { changed, .. } => self.change_made(changed),
            Event::Connected { client, inbox } => self.connected(client, inbox),
            Event::Replaced { client, .. } => self.replaced(client),
            Event::Closed { client, .. } => self.closed(client),
            Event::Subscription {
                verb,
                client,
                channel,
                inbox,
                number,
                start,
                ..
            } => self.subscription_event(verb, client, channel, inbox, number, start),
            Event::Delivering {
                number,
                sequence,
                redelivery_count,
                ..
            } => self.delivering(number, sequence, redelivery_count),
            Event::PassingOver { number, sequence, .. } => self.passing_over(number, sequence),
            Event::Unheard { number, sequence, .. } => self.unheard(number, sequence),
            Event::GhostMember { .. } | Event::SeveralShadows { .. } => {
                self.object(format!("records contradict each other: {event}"));
            }
            Event::LimitsReached { .. } => self.count("limits reached"),
            _ => {}
        }
    }
}

/// A name as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
