//! A subscription (`streaming-protocol.md` §5.2): what was asked for, who owns it, how far it is.

use bytes::Bytes;

use super::ack_inboxes::AckInbox;
use super::keys::{ChannelKey, ClientKey, GroupKey};
use super::members::{MemberPlace, Standing};
use crate::position::cursor::Cursor;
use crate::position::deadlines::UNKNOWN;
use crate::position::pending::Pending;
use crate::position::window::Window;
use crate::time::Now;
use crate::waiting::congestion::Pause;
use crate::waiting::dirty::DirtySlot;

/// Where a subscription is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its response has not left yet.
    Unconfirmed,
    /// It takes messages.
    Active,
    /// A durable without owner.
    Offline,
    /// A queue member that left: its pending messages go to the others, then it goes.
    Departing,
}

/// What is to be sent again before anything new (`streaming-protocol.md` §5.7, §5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Nothing to do.
    Nothing,
    /// After a resume: all pending messages, from this sequence on.
    AfterResume(u64),
    /// After a restart: those past their deadline, from this sequence on.
    AfterRestart(u64),
    /// After a restart of which a queue member did not come back: those past their deadline, from this sequence on, to others.
    HandOver(u64),
}

/// What happens to the state of a durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Unsubscribe: it is forgotten.
    Forget,
    /// Close: it waits for its next owner.
    Keep,
}

/// What a durable or a queue member is called.
#[derive(Debug)]
struct Names {
    durable: Bytes,
    /// Queue group as requested.
    queue: Bytes,
}

/// The name of what has none.
static NO_NAME: Bytes = Bytes::new();

/// What whoever subscribes asks for, and a resumed durable gets anew.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Client ID.
    pub(crate) client_name: Bytes,
    /// Delivery inbox.
    pub(crate) inbox: Box<[u8]>,
    pub(crate) max_in_flight: i32,
    /// AckWait in the unit of the request.
    pub(crate) ack_wait_units: i32,
    /// AckWait in nanoseconds.
    pub(crate) ack_wait: u64,
}

impl Terms {
    /// MaxInflight as a number of messages; a record may hold anything.
    fn window_size(&self) -> usize {
        usize::try_from(self.max_in_flight).unwrap_or(1).max(1)
    }
}

/// What a subscription let go of when it lost its owner.
#[derive(Debug)]
pub(crate) struct LetGo {
    pub(crate) client: Option<ClientKey>,
    pub(crate) member: Option<MemberPlace>,
    pub(crate) pause: Option<Pause>,
}

/// A subscription. There may be very many that do nothing: what few of them need at a time lies elsewhere.
#[derive(Debug)]
pub(crate) struct Subscription {
    number: u64,
    channel: ChannelKey,
    /// Its owner; none when it is offline or departing.
    client: Option<ClientKey>,
    /// As of its (last) owner.
    client_name: Bytes,
    inbox: Box<[u8]>,
    ack_wait_units: i32,
    ack_inbox: AckInbox,
    /// None for one that is neither durable nor a queue member.
    names: Option<Box<Names>>,
    group: Option<GroupKey>,
    /// Its place among the members of the group, while it is one.
    member: Option<MemberPlace>,
    phase: Phase,
    resend: Resend,
    /// While it is sent again what it held when it was resumed: what it took over from others since, who had just sent it.
    taken_since: Option<Box<Pending>>,
    due: bool,
    /// An operator has paused it. Of a member of a group the group knows.
    halted: bool,
    paused: Option<Box<Pause>>,
    /// Monotonic, none for what was so before this process. Counts while it has no owner.
    offline_since: Option<u64>,
    redeliveries: u64,
    healthy_since: u64,
    /// Its position in the channel; for a queue member the highest sequence sent to it.
    pub(crate) cursor: Cursor,
    pub(crate) window: Window,
    /// What is to be written down about it, if anything.
    pub(crate) dirty: DirtySlot,
}

impl Subscription {
    /// One without owner, behind the sequence that the record says was sent.
    pub(crate) fn new(
        number: u64,
        channel: ChannelKey,
        terms: Terms,
        ack_inbox: AckInbox,
        last_sent: u64,
    ) -> Subscription {
        Subscription {
            number,
            channel,
            client: None,
            ack_wait_units: terms.ack_wait_units,
            window: Window::new(terms.window_size(), terms.ack_wait),
            client_name: terms.client_name,
            inbox: terms.inbox,
            ack_inbox,
            names: None,
            group: None,
            member: None,
            phase: Phase::Unconfirmed,
            resend: Resend::Nothing,
            taken_since: None,
            due: false,
            halted: false,
            paused: None,
            offline_since: None,
            redeliveries: 0,
            healthy_since: 0,
            cursor: Cursor::behind(last_sent),
            dirty: DirtySlot::default(),
        }
    }

    /// Gives it the names of a durable or a queue member; empty for none.
    pub(crate) fn set_names(&mut self, durable: Bytes, queue: Bytes) {
        if !durable.is_empty() || !queue.is_empty() {
            self.names = Some(Box::new(Names { durable, queue }));
        }
    }

    /// It belongs to a group for as long as it exists.
    pub(crate) fn set_group(&mut self, group: GroupKey) {
        self.group = Some(group);
    }

    /// Unique for the life of the store.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    #[inline]
    pub(crate) fn channel(&self) -> ChannelKey {
        self.channel
    }

    #[inline]
    pub(crate) fn group(&self) -> Option<GroupKey> {
        self.group
    }

    /// Its place among the members of the group, while it is one.
    #[inline]
    pub(crate) fn member(&self) -> Option<MemberPlace> {
        self.member
    }

    /// Its owner; none when it is offline or departing.
    #[inline]
    pub(crate) fn client(&self) -> Option<ClientKey> {
        self.client
    }

    /// ID of its (last) owner.
    pub(crate) fn client_name(&self) -> &Bytes {
        &self.client_name
    }

    /// Where messages for it go.
    #[inline]
    pub(crate) fn inbox(&self) -> &[u8] {
        &self.inbox
    }

    /// Where its (last) owner acknowledges.
    pub(crate) fn ack_inbox(&self) -> &AckInbox {
        &self.ack_inbox
    }

    /// AckWait in the unit of the request.
    pub(crate) fn ack_wait_units(&self) -> i32 {
        self.ack_wait_units
    }

    /// Its durable name, empty for none.
    pub(crate) fn durable(&self) -> &Bytes {
        self.names.as_ref().map_or(&NO_NAME, |names| &names.durable)
    }

    /// Queue group as requested, empty for none.
    pub(crate) fn queue(&self) -> &Bytes {
        self.names.as_ref().map_or(&NO_NAME, |names| &names.queue)
    }

    /// Whether it keeps its state when its owner goes.
    pub(crate) fn is_durable(&self) -> bool {
        !self.durable().is_empty()
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// What is to be sent again before anything new.
    #[inline]
    pub(crate) fn resend(&self) -> Resend {
        self.resend
    }

    /// Whether messages past their deadline are being sent again.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    /// Whether an operator has paused it; of a member of a group its group is asked.
    #[inline]
    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// An operator pauses it, or lets it go on.
    pub(crate) fn set_halted(&mut self, halted: bool) {
        self.halted = halted;
    }

    /// Set while its receiver does not keep up.
    #[inline]
    pub(crate) fn paused(&self) -> Option<Pause> {
        self.paused.as_deref().copied()
    }

    /// Since when it has no owner, if that was in this process; monotonic.
    pub(crate) fn offline_since(&self) -> Option<u64> {
        self.offline_since
    }

    /// Messages sent to it again since the start of the process.
    pub(crate) fn redeliveries(&self) -> u64 {
        self.redeliveries
    }

    /// Its owner's count of failures when it was created or resumed: only later ones mark it (§2.10).
    #[inline]
    pub(crate) fn healthy_since(&self) -> u64 {
        self.healthy_since
    }

    /// Whether it can take nothing new until something is acknowledged.
    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        self.window.is_full()
    }

    /// What it can take as a member of a group.
    #[inline]
    pub(crate) fn standing(&self, is_healthy: bool) -> Standing {
        let is_there = !matches!(self.resend, Resend::HandOver(_));
        let takes_again = self.phase == Phase::Active && self.paused.is_none() && is_there;
        Standing {
            pending: self.window.pending().in_flight(),
            room: self.window.room(),
            is_healthy,
            // What it holds goes out again before anything new.
            takes_new: takes_again && self.resend == Resend::Nothing,
            takes_again,
        }
    }

    /// It has an owner from now on, whose heartbeats failed so often before.
    pub(crate) fn begin_active(&mut self, client: ClientKey, failures: u64, member: Option<MemberPlace>) {
        self.client = Some(client);
        self.healthy_since = failures;
        self.member = member;
    }

    /// A durable gets an owner, on other terms.
    pub(crate) fn resume(&mut self, terms: Terms, ack_inbox: AckInbox) {
        self.window.resize(terms.window_size(), terms.ack_wait);
        self.client_name = terms.client_name;
        self.inbox = terms.inbox;
        self.ack_wait_units = terms.ack_wait_units;
        self.ack_inbox = ack_inbox;
        self.phase = Phase::Unconfirmed;
    }

    /// Its response has left: it takes messages, what it holds first.
    pub(crate) fn confirm(&mut self, now: Now) {
        self.phase = Phase::Active;
        self.window.open(now);
        // Whether what was passed over can be read now is seen by trying.
        self.window.try_all();
        if !self.window.pending().is_empty() {
            self.resend = Resend::AfterResume(0);
        }
    }

    /// It was active before a restart: what it holds is looked at first.
    pub(crate) fn restart(&mut self) {
        self.phase = Phase::Active;
        if !self.window.pending().is_empty() {
            self.resend = Resend::AfterRestart(0);
        }
    }

    /// It has no owner; since when, if that is known.
    pub(crate) fn suspend(&mut self, since: Option<Now>) {
        self.phase = Phase::Offline;
        self.offline_since = since.map(|now| now.monotonic);
    }

    /// It has no owner and had none before, whoever that was.
    pub(crate) fn forget_owner(&mut self) {
        self.client_name = Bytes::new();
    }

    /// What it holds is due at once, and goes to others.
    pub(crate) fn depart(&mut self, now: Now) {
        self.phase = Phase::Departing;
        self.due = true;
        self.window.expire_all(now);
    }

    /// It loses its owner, and whatever is under way ends; what it let go of is told.
    pub(crate) fn detach(&mut self) -> LetGo {
        self.end_resend();
        self.due = false;
        LetGo {
            client: self.client.take(),
            member: self.member.take(),
            pause: self.paused.take().map(|pause| *pause),
        }
    }

    /// What was held up to a sequence was sent again, or need not be.
    #[inline]
    pub(crate) fn resent(&mut self, sequence: u64) {
        self.resend = match self.resend {
            Resend::Nothing => Resend::Nothing,
            Resend::AfterResume(_) => Resend::AfterResume(sequence + 1),
            Resend::AfterRestart(_) => Resend::AfterRestart(sequence + 1),
            Resend::HandOver(_) => Resend::HandOver(sequence + 1),
        };
    }

    /// It has been sent what another member of its group held.
    pub(crate) fn note_taken(&mut self, sequence: u64) {
        if matches!(self.resend, Resend::AfterResume(_)) {
            self.taken_since.get_or_insert_default().insert(sequence);
        }
    }

    /// Whether a message that it holds was sent to it since the start, or since it was resumed, though other things are still to be sent
    /// again: it was taken over from another member.
    pub(crate) fn is_sent_since(&self, sequence: u64) -> bool {
        match self.resend {
            Resend::Nothing => true,
            Resend::AfterResume(_) => self.taken_since.as_ref().is_some_and(|taken| taken.contains(sequence)),
            Resend::AfterRestart(_) | Resend::HandOver(_) => self.window.deadlines().get(sequence).0 != UNKNOWN,
        }
    }

    /// It did not come back after a restart: what it was to be sent again goes to others of its group.
    pub(crate) fn hand_over(&mut self) {
        if let Resend::AfterRestart(from) = self.resend {
            self.resend = Resend::HandOver(from);
        }
    }

    /// There are no others.
    pub(crate) fn keep_what_it_holds(&mut self) {
        if let Resend::HandOver(from) = self.resend {
            self.resend = Resend::AfterRestart(from);
        }
    }

    /// Nothing is left of what had to be sent again.
    pub(crate) fn end_resend(&mut self) {
        self.resend = Resend::Nothing;
        self.taken_since = None;
    }

    /// Messages are past their deadline, and sent again from now on.
    pub(crate) fn begin_due(&mut self) {
        self.due = true;
    }

    /// All of them were.
    pub(crate) fn end_due(&mut self) {
        self.due = false;
    }

    /// A message went to it, `count` times before.
    #[inline]
    pub(crate) fn went_out(&mut self, count: u32) {
        self.redeliveries += u64::from(count > 0);
    }

    /// Its receiver does not keep up.
    pub(crate) fn pause(&mut self, pause: Pause) {
        self.paused = Some(Box::new(pause));
    }

    /// Its receiver keeps up again.
    pub(crate) fn unpause(&mut self) {
        self.paused = None;
    }
}
