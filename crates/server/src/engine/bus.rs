//! The engine's port to the bus: what it sends goes through a sender of the shell's bus.

use std::sync::Arc;
use std::time::Instant;

use seaway_streaming::{Bus, Carried, ChangeId, Changed, Delivery, Destination, ProbeId, Unchanged};

use super::changes::Changes;
use super::deferred::Tag;
use super::tokens::{ProbeTokens, TOKEN_LEN};
use crate::bus::{Attachment, Hindrance, Message, Sender, is_no_responders};
use crate::tenure::Confirm;

/// Behind the prefix of probes: answers to questions whether a client is there. No token of a probe is so short.
const PRESENCE: &[u8] = b"back";
const _: () = assert!(PRESENCE.len() < TOKEN_LEN);

/// Sends and listens through the engine's attachment.
pub(crate) struct EngineBus {
    sender: Sender,
    attachment: Arc<Attachment>,
    /// `_INBOX.<22 random characters>.`: where clients answer probes; nobody knows it who was not asked.
    probe_prefix: String,
    probe_tokens: ProbeTokens,
    /// Messages that nobody listens for are kept back, not lost: their receivers are just coming back.
    awaiting: bool,
    /// Something was kept back.
    kept_back: bool,
    /// Probes that nobody listens for; told to the engine after the call that sent them.
    unheard: Vec<ProbeId>,
    /// Who waits for changes.
    pub(super) changes: Changes,
    confirmation: Confirmation,
}

/// Whether this engine is the one that serves, looked for once in a pass at most, and only when somebody is to be refused.
struct Confirmation {
    /// How to look; nothing where nobody else can serve.
    confirm: Option<Confirm>,
    /// What was found since the pass began.
    found: Option<bool>,
}

impl Confirmation {
    fn stands(&mut self) -> bool {
        let Some(confirm) = &self.confirm else { return true };
        *self.found.get_or_insert_with(|| confirm())
    }
}

/// Keeps the engine's place at the bus: interest lasts as long as this, whoever hangs with the attachment in his hands.
pub(crate) struct Seat(Arc<Attachment>);

impl Seat {
    pub(crate) fn new(attachment: Attachment) -> Seat {
        Seat(Arc::new(attachment))
    }

    pub(crate) fn attachment(&self) -> &Arc<Attachment> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.detach();
    }
}

impl EngineBus {
    /// Sends and listens through an attachment until its [`Seat`] is given up. With `confirm` refusals wait for what that says.
    pub(crate) fn new(attachment: Arc<Attachment>, confirm: Option<Confirm>) -> EngineBus {
        EngineBus {
            sender: attachment.sender(),
            attachment,
            probe_prefix: format!("_INBOX.{}.", crate::token::token()),
            probe_tokens: ProbeTokens::new(),
            awaiting: false,
            kept_back: false,
            unheard: Vec::new(),
            changes: Changes::default(),
            confirmation: Confirmation { confirm, found: None },
        }
    }

    /// Whether another server may serve in this one's place.
    pub(super) fn can_be_replaced(&self) -> bool {
        self.confirmation.confirm.is_some()
    }

    /// What the engine is told from now on came before any confirmation that is made from now on.
    pub(super) fn begin_pass(&mut self) {
        self.confirmation.found = None;
    }

    /// Everything under which clients answer probes.
    pub(crate) fn probe_answers(&self) -> String {
        format!("{}*", self.probe_prefix)
    }

    pub(super) fn probe_tokens(&self) -> &ProbeTokens {
        &self.probe_tokens
    }

    /// Until [`EngineBus::stop_awaiting`] what nobody listens for is kept back.
    pub(crate) fn await_receivers(&mut self) {
        self.awaiting = true;
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.awaiting
    }

    /// Whether it is known who receives what is sent.
    pub(super) fn knows_receivers(&self) -> bool {
        self.attachment.knows_receivers()
    }

    /// Asks clients whether they are there. Of one that is not, the bus says so on a subject that [`EngineBus::is_absence`] knows.
    pub(super) fn ask_whether_present<'a>(&mut self, inboxes: impl Iterator<Item = &'a [u8]>) {
        let reply = [self.probe_prefix.as_bytes(), PRESENCE].concat();
        for inbox in inboxes {
            let _ = self.sender.send(inbox, Some(&reply), &[]);
        }
        self.flush();
    }

    /// Whether a message says that a client who was asked is not there.
    pub(super) fn is_absence(&self, message: &Message<'_>) -> bool {
        let token = message.subject.strip_prefix(self.probe_prefix.as_bytes());
        token == Some(PRESENCE) && is_no_responders(message)
    }

    /// Whether nothing can be delivered yet, as it is not known whether its receiver is back.
    fn keeps_back(&mut self) -> bool {
        let keeps = self.awaiting && !self.knows_receivers();
        self.kept_back |= keeps;
        keeps
    }

    /// Whether anything was kept back since the last call.
    pub(super) fn take_kept_back(&mut self) -> bool {
        std::mem::take(&mut self.kept_back)
    }

    /// From now on what nobody listens for is lost, as on any bus.
    pub(super) fn stop_awaiting(&mut self) {
        self.awaiting = false;
    }

    /// The next probe that nobody listens for.
    pub(super) fn take_unheard(&mut self) -> Option<ProbeId> {
        self.unheard.pop()
    }

    /// Hands what was sent to the receivers; when they are very many, to some of them.
    pub(super) fn flush(&mut self) {
        self.sender.flush();
    }

    /// Whether everything that was sent to the engine until `moment` has come; if not, the inbox wakes when it has.
    pub(super) fn has_heard_until(&self, moment: Instant) -> bool {
        self.attachment.has_heard_until(moment)
    }

    /// Until when what carries messages last stood still.
    pub(super) fn stood_still_until(&self) -> Option<Instant> {
        self.attachment.stood_still_until()
    }

    /// Whether there is more to hand to receivers.
    pub(super) fn has_waiting(&self) -> bool {
        self.sender.has_waiting()
    }
}

fn hindered(hindrance: Hindrance) -> Carried {
    match hindrance {
        Hindrance::Full(destination) => Carried::Congested(Destination(destination.0)),
        Hindrance::Down => Carried::Unreachable,
    }
}

impl Bus for EngineBus {
    fn reply(&mut self, subject: &[u8], payload: &[u8]) {
        let _ = self.sender.send(subject, None, &[payload]);
    }

    /// A server that was replaced and does not know it yet would refuse clients that the other one knows: they would give up for
    /// good. A success says nothing (§2.2: it is empty) that the other one would not say.
    fn answer(&mut self, subject: &[u8], payload: &[u8]) {
        if payload.is_empty() || self.confirmation.stands() {
            self.reply(subject, payload);
        }
    }

    fn deliver(&mut self, delivery: Delivery<'_>, parts: [&[u8]; 2]) -> Carried {
        if self.keeps_back() {
            return Carried::Congested(Destination::AWAITED);
        }
        let receivers = match self.sender.send_if_room(delivery.inbox, &parts) {
            Ok(receivers) => receivers,
            Err(hindrance) => return hindered(hindrance),
        };
        match receivers {
            0 if self.awaiting => {
                self.kept_back = true;
                Carried::Congested(Destination::AWAITED)
            }
            0 => Carried::Unheard,
            _ => Carried::Sent,
        }
    }

    fn foresee(&mut self, delivery: Delivery<'_>) -> Option<Carried> {
        if self.keeps_back() {
            return Some(Carried::Congested(Destination::AWAITED));
        }
        match self.sender.has_receiver_with_room(delivery.inbox) {
            Ok(true) => None,
            Ok(false) if self.awaiting => {
                self.kept_back = true;
                Some(Carried::Congested(Destination::AWAITED))
            }
            // It would be read, built and lost.
            Ok(false) => Some(Carried::Unheard),
            Err(hindrance) => Some(hindered(hindrance)),
        }
    }

    fn probe(&mut self, inbox: &[u8], probe: ProbeId) {
        let mut reply = self.probe_prefix.clone().into_bytes();
        reply.extend_from_slice(&self.probe_tokens.token(probe));
        // Who does not answer is judged by it, unless nobody could.
        self.attachment.watch();
        if self.sender.send(inbox, Some(&reply), &[]).receivers == 0 {
            self.unheard.push(probe);
        }
    }

    fn listen(&mut self, subject: &[u8], subscription: u64) {
        let listened = self
            .attachment
            .subscribe(subject, Tag::Ack(subscription).number(), false);
        debug_assert!(listened.is_ok(), "the engine listens on literal subjects");
    }

    fn unlisten(&mut self, subscription: u64) {
        self.attachment.unsubscribe(Tag::Ack(subscription).number());
    }

    fn changed(&mut self, change: ChangeId, outcome: Result<Changed, Unchanged>, is_recorded: bool) {
        // A server that was replaced knows nothing of what there is.
        let outcome = if is_recorded || self.confirmation.stands() {
            outcome
        } else {
            Err(Unchanged::Unavailable("another server of the group serves".to_owned()))
        };
        self.changes.end(change, outcome);
    }
}
