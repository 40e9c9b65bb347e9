//! What each operation of a client means (core specification §1.7 - §1.12).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::connect::redact;
use seaway_nats_protocol::quote::quote;
use seaway_nats_protocol::write::{OK, PONG, write_error, write_info};
use seaway_nats_protocol::{ErrorText, Operation, ParseError, ParseLimits, Parsed, Publish, parse_operation, subject};

use super::chores::Chores;
use super::party::{Batch, Halt, Party, end_turn};
use super::timers::Timers;
use super::verification::Verified;
use crate::access::Verdicts;
use crate::account::Membership;
use crate::connection::Connection;
use crate::events::ClientEventKind;
use crate::frame::Message;
use crate::gather::{Delivered, Gatherer, Unfinished};
use crate::limits::{RECEIVED_SHOWN_BYTES, WORK_PER_CONNECT, WORK_PER_SUBSCRIPTION};
use crate::lock::lock;
use crate::origin::{Audience, Origin};
use crate::owner::{Owner, Subscription};
use crate::reason::CloseReason;
use crate::routing::BySid;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::snapshot::ConnectionSnapshot;

/// Queue name that is refused to clients (§2.1).
const RESERVED_QUEUE: &[u8] = b"_sys_";
/// Prefixes refused as reply of a publication (§1.7).
const RESERVED_REPLIES: [&[u8]; 3] = [b"_R_.", b"$JS.ACK.", b"_GR_."];
/// Prefix refused as subject of a publication (§1.7).
const RESERVED_SUBJECT: &[u8] = b"_GR_.";
/// What the client asked for, and what the parser enforces.
pub(super) struct Client {
    pub(super) limits: ParseLimits,
    pub(super) verbose: bool,
    pub(super) pedantic: bool,
    pub(super) echo: bool,
    pub(super) no_responders: bool,
    /// CONNECT said `protocol` 1 and the first PING after it has not come yet.
    pub(super) info_due: bool,
    pub(super) connected: bool,
    /// Others were told that it came.
    pub(super) announced: bool,
    /// It has to authenticate itself before anything else.
    pub(super) gated: bool,
    /// What INFO asked it to sign; empty if nothing.
    pub(super) nonce: String,
    /// Names of its certificate if they say who it is.
    pub(super) names: Option<Vec<String>>,
    /// The account that it is in.
    pub(super) membership: Membership,
    /// What it may publish, if that is not everything.
    pub(super) verdicts: Option<Box<Verdicts>>,
    /// The first operation of what is still to be handled is a publication that some have had.
    unfinished: Option<Box<Unfinished>>,
    /// What has to be done with its subscriptions before anything else.
    pub(super) chores: Chores,
    /// It is one of those that are counted, and not one too many.
    admitted: bool,
    /// The last picture of it, once it is about to end.
    ended: Option<ConnectionSnapshot>,
}

/// One batch being handled.
pub(super) struct Turn<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) shared: &'a Shared,
    pub(super) timers: &'a mut Timers,
    pub(super) gatherer: &'a mut Gatherer,
    trace: bool,
    messages: u64,
    bytes: u64,
    /// Refusals for want of permission; only the first is logged.
    violations: u64,
}

impl Turn<'_> {
    pub(super) fn own(&mut self) -> &mut Vec<u8> {
        self.gatherer.own(self.connection)
    }

    pub(super) fn error(&mut self, error: &ErrorText<'_>) {
        let text = error.text();
        if error.closes() {
            tracing::error!("{} - cid:{} - {text}", self.connection.peer, self.connection.id);
        } else {
            tracing::debug!("{} - cid:{} - {text}", self.connection.peer, self.connection.id);
        }
        self.trace_out(&format!("-ERR '{text}'"));
        write_error(self.own(), error);
    }

    /// Refuses what ends the connection; the log has the details.
    fn failure(&mut self, error: &ErrorText<'_>, detail: &str) {
        let text = error.text();
        self.log_failure(&text, detail);
        self.trace_out(&format!("-ERR '{text}'"));
        write_error(self.own(), error);
    }

    fn log_failure(&self, text: &str, detail: &str) {
        tracing::error!(
            "{} - cid:{} - {text} - {detail}",
            self.connection.peer,
            self.connection.id
        );
    }

    /// Refuses for want of permission. A client that goes on trying fills its own connection, not the log.
    fn violation(&mut self, error: &ErrorText<'_>, describe: impl FnOnce() -> String) {
        self.violations += 1;
        if self.violations == 1 {
            let grant = self.connection.admission.grant();
            let user = grant.map(|grant| format!(", User {}", quote(grant.shown().as_bytes())));
            tracing::error!(
                "{} - cid:{} - {}{}",
                self.connection.peer,
                self.connection.id,
                describe(),
                user.unwrap_or_default()
            );
        }
        if self.trace {
            self.trace_out(&format!("-ERR '{}'", error.text()));
        }
        write_error(self.own(), error);
    }

    fn trace_in(&self, operation: &Operation<'_>) {
        let Connection { peer, id, .. } = &**self.connection;
        tracing::trace!("{peer} - cid:{id} - <<- [{}]", describe(operation));
        if let Operation::Publish(publish) = operation {
            tracing::trace!(
                "{peer} - cid:{id} - <<- MSG_PAYLOAD: [{:?}]",
                String::from_utf8_lossy(publish.body)
            );
        }
    }

    fn trace_out(&self, text: &str) {
        if self.trace {
            tracing::trace!("{} - cid:{} - ->> [{text}]", self.connection.peer, self.connection.id);
        }
    }
}

impl Client {
    /// The state before CONNECT: everything strict, no headers (§1.5).
    pub(super) fn new(
        settings: &Settings,
        membership: Membership,
        nonce: String,
        names: Option<Vec<String>>,
        admitted: bool,
    ) -> Self {
        Self {
            limits: ParseLimits {
                max_control_line: settings.max_control_line,
                max_payload: settings.max_payload,
                headers: false,
            },
            verbose: true,
            pedantic: true,
            echo: true,
            no_responders: false,
            info_due: false,
            connected: false,
            announced: false,
            gated: settings.access.is_configured(),
            nonce,
            names,
            membership,
            verdicts: None,
            unfinished: None,
            chores: Chores::default(),
            admitted,
            ended: None,
        }
    }

    pub(super) fn origin(&self, connection: &Connection) -> Origin {
        Origin {
            id: connection.id,
            skip_self: !self.echo,
            audience: Audience::All,
            is_answer: false,
            hops: 0,
        }
    }

    fn handle(&mut self, turn: &mut Turn<'_>, operation: &Operation<'_>) -> Result<(), Halt> {
        if turn.trace && self.unfinished.is_none() {
            turn.trace_in(operation);
        }
        match operation {
            Operation::Publish(publish) => {
                turn.timers.was_active();
                match self.unfinished.take() {
                    None => self.publish(turn, publish),
                    Some(unfinished) => self.go_on(turn, publish, unfinished),
                }
            }
            Operation::Subscribe { subject, queue, sid } => {
                turn.timers.was_active();
                turn.gatherer.charge(WORK_PER_SUBSCRIPTION);
                self.subscribe(turn, subject, *queue, sid);
            }
            Operation::Unsubscribe { sid, max } => {
                turn.timers.was_active();
                turn.gatherer.charge(WORK_PER_SUBSCRIPTION);
                self.unsubscribe(turn, sid, *max);
            }
            Operation::Ping => {
                turn.timers.was_active();
                turn.gatherer.charge(1);
                self.ping(turn);
            }
            Operation::Pong => turn.timers.answered(turn.connection),
            Operation::Connect(json) => {
                turn.gatherer.charge(WORK_PER_CONNECT);
                return self.connect(turn, json);
            }
            Operation::Ok | Operation::Info(_) => {}
            Operation::Error(text) => {
                tracing::error!(
                    "{} - cid:{} - Client error {}",
                    turn.connection.peer,
                    turn.connection.id,
                    String::from_utf8_lossy(text)
                );
                return Err(CloseReason::ClientClosed.into());
            }
        }
        Ok(())
    }

    pub(super) fn acknowledge(&self, turn: &mut Turn<'_>) {
        if self.verbose {
            turn.trace_out("+OK");
            turn.own().extend_from_slice(OK);
        }
    }

    fn ping(&mut self, turn: &mut Turn<'_>) {
        turn.trace_out("PONG");
        turn.own().extend_from_slice(PONG);
        if self.connected && self.info_due {
            self.info_due = false;
            // What changes from now on is told without being asked for.
            turn.connection.takes_info.store(true, Ordering::Release);
            let mut info = turn
                .shared
                .info(turn.connection.id, turn.connection.peer.ip().to_string());
            info.connect_info = true;
            info.max_payload = self.limits.max_payload;
            info.remote_account = self.membership.account().name().to_owned();
            write_info(turn.own(), &info);
        }
    }

    fn publish(&mut self, turn: &mut Turn<'_>, publish: &Publish<'_>) {
        turn.messages += 1;
        turn.bytes += publish.body.len() as u64;
        if self.pedantic && !subject::is_literal(publish.subject) {
            turn.error(&ErrorText::InvalidPublishSubject);
        }
        if let Some(verdicts) = &mut self.verdicts
            && !verdicts.may_publish(publish.subject)
            && !turn.connection.admission.redeem(publish.subject)
        {
            turn.violation(&ErrorText::PublishViolation(publish.subject), || {
                format!("Publish Violation - Subject {}", quote(publish.subject))
            });
            return;
        }
        if publish.subject.first() == RESERVED_SUBJECT.first() && publish.subject.starts_with(RESERVED_SUBJECT) {
            turn.error(&ErrorText::PublishViolation(publish.subject));
            return;
        }
        if let Some(reply) = publish.reply
            && RESERVED_REPLIES.iter().any(|prefix| reply.starts_with(prefix))
        {
            turn.error(&ErrorText::ReplyViolation(reply));
            return;
        }
        self.acknowledge(turn);
        let origin = self.origin(turn.connection);
        let routing = &self.membership.account().routing;
        let delivered = turn
            .gatherer
            .deliver(routing, publish.subject, &message(publish), origin);
        self.delivered(turn, publish, delivered);
    }

    /// Goes on with a publication that was let through, and that some have had.
    fn go_on(&mut self, turn: &mut Turn<'_>, publish: &Publish<'_>, unfinished: Box<Unfinished>) {
        let origin = self.origin(turn.connection);
        let routing = &self.membership.account().routing;
        let delivered = turn.gatherer.go_on(routing, unfinished, &message(publish), origin);
        self.delivered(turn, publish, delivered);
    }

    #[inline]
    fn delivered(&mut self, turn: &mut Turn<'_>, publish: &Publish<'_>, delivered: Delivered) {
        match delivered {
            Delivered::InPart(unfinished) => self.unfinished = Some(unfinished),
            Delivered::To(0) if self.no_responders => {
                if let Some(reply) = publish.reply {
                    let origin = self.origin(turn.connection);
                    let routing = &self.membership.account().routing;
                    turn.gatherer
                        .no_responders(routing, turn.connection, reply, publish.subject, origin);
                }
            }
            Delivered::To(_) => {}
        }
    }

    fn subscribe(&mut self, turn: &mut Turn<'_>, text: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        let options = &turn.shared.options;
        if !self.may_subscribe(turn, text, queue) {
            refuse_subscription(turn, text, queue, sid);
            return;
        }
        if let Some(queue) = queue
            && queue == RESERVED_QUEUE
        {
            turn.error(&ErrorText::QueueSubscriptionViolation(text, queue));
            return;
        }
        if options.max_subscription_tokens > 0 && subject::token_count(text) > options.max_subscription_tokens {
            turn.error(&ErrorText::TooManyTokens(text));
            return;
        }
        let mut subscriptions = lock(&turn.connection.subscriptions);
        let has_all = options.max_subscriptions > 0 && subscriptions.len() >= options.max_subscriptions;
        if has_all || self.membership.account().is_full_of_subscriptions() {
            drop(subscriptions);
            turn.error(&ErrorText::MaximumSubscriptionsExceeded);
            return;
        }
        if !subject::is_pattern(text) {
            drop(subscriptions);
            turn.error(&ErrorText::InvalidSubject);
            return;
        }
        if !subscriptions.contains(sid) {
            let owner = Owner::Connection {
                connection: Arc::clone(turn.connection),
                account: Arc::clone(self.membership.account()),
            };
            let subscription = Subscription::new(text, queue, sid, owner);
            subscriptions.insert(BySid(Arc::clone(&subscription)));
            drop(subscriptions);
            self.membership.account().subscribe(&subscription);
        } else {
            drop(subscriptions);
        }
        self.acknowledge(turn);
    }

    fn may_subscribe(&self, turn: &Turn<'_>, text: &[u8], queue: Option<&[u8]>) -> bool {
        let grant = turn.connection.admission.grant();
        let rules = grant.as_ref().and_then(|grant| grant.rules.as_ref());
        rules.is_none_or(|rules| rules.may_subscribe(text, queue))
    }

    fn unsubscribe(&mut self, turn: &mut Turn<'_>, sid: &[u8], max: Option<u64>) {
        // What this batch delivered so far counts.
        turn.gatherer.settle(self.origin(turn.connection));
        let known = lock(&turn.connection.subscriptions)
            .get(sid)
            .map(|known| Arc::clone(&known.0));
        if let Some(subscription) = known {
            match max {
                Some(max) if max > subscription.delivered.load(Ordering::Acquire) => {
                    subscription.limit.store(max, Ordering::Release);
                    // From now on each delivery has to be counted at once.
                    subscription.raise();
                }
                Some(_) | None => subscription.end(),
            }
        }
        self.acknowledge(turn);
    }
}

impl Party for Client {
    fn handle_batch(
        &mut self,
        shared: &Arc<Shared>,
        connection: &Arc<Connection>,
        timers: &mut Timers,
        gatherer: &mut Gatherer,
        data: &[u8],
        verified: Option<Verified>,
    ) -> Batch {
        self.adopt(connection);
        let trace = tracing::enabled!(tracing::Level::TRACE);
        let mut turn = Turn {
            connection,
            shared,
            timers,
            gatherer,
            trace,
            messages: 0,
            bytes: 0,
            violations: 0,
        };
        // Opened first, flushed last: a PONG leaves after what the PUBs before it caused elsewhere.
        turn.own();
        let mut consumed_all = 0;
        let mut needed = 0;
        let mut yielded = false;
        let entered = match verified {
            Some(verified) => self.verified(&mut turn, verified),
            None if self.gated && !matches!(data.first(), Some(b'C' | b'c')) => self.enter_without_connect(&mut turn),
            None => Ok(()),
        };
        let end = 'turn: {
            if let Err(reason) = entered {
                break 'turn Some(reason.into());
            }
            // What is left of somebody else goes before anything new comes.
            if turn.gatherer.is_turn_over() {
                yielded = true;
                break 'turn None;
            }
            loop {
                match parse_operation(&data[consumed_all..], &self.limits) {
                    Ok(Parsed::Operation { operation, consumed }) => {
                        let handled = self.handle(&mut turn, &operation);
                        // What is unfinished is parsed again in the next turn.
                        if self.unfinished.is_none() {
                            consumed_all += consumed;
                        }
                        if let Err(halt) = handled {
                            break 'turn Some(halt);
                        }
                        if turn.gatherer.is_turn_over() {
                            yielded = true;
                            break 'turn None;
                        }
                    }
                    Ok(Parsed::Incomplete { needed: length }) => {
                        needed = length;
                        break 'turn None;
                    }
                    Err(error) => {
                        break 'turn Some(refuse(&mut turn, error, &data[consumed_all..], &self.limits).into());
                    }
                }
            }
        };
        let came = (turn.messages, turn.bytes);
        let aftermath = end_turn(shared, connection, gatherer, self.origin(connection), came);
        Batch {
            consumed: consumed_all,
            needed,
            yielded,
            aftermath,
            end,
        }
    }

    /// Takes over what a reload decided.
    fn woken(&mut self, _shared: &Shared, connection: &Connection, _timers: &mut Timers) {
        self.adopt(connection);
    }

    fn has_work(&mut self, _connection: &Connection) -> bool {
        !self.chores.are_done()
    }

    fn work(&mut self, _shared: &Shared, connection: &Connection) {
        self.chores.go_on(connection);
    }

    fn leave(&mut self, _shared: &Shared, connection: &Connection, reason: CloseReason) {
        self.ended = Some(connection.snapshot_at_end(reason));
        self.chores.end_all(connection);
    }

    fn left(&mut self, shared: &Shared, connection: &Arc<Connection>, reason: CloseReason) {
        self.membership.end(connection, reason);
        let ended = self.ended.take();
        if let Some(ended) = &ended {
            let picture = || ended.clone();
            if reason.is_refusal() {
                shared.events.tell(ClientEventKind::Refused, picture);
            }
            if self.announced {
                shared.events.tell(ClientEventKind::Disconnected, picture);
            }
        }
        shared.unregister(connection, ended);
        if self.admitted {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
        }
        let Connection { peer, id, .. } = &**connection;
        tracing::debug!("{peer} - cid:{id} - Client connection closed: {reason}");
    }
}

fn message<'a>(publish: &'a Publish<'_>) -> Message<'a> {
    Message {
        subject: publish.subject,
        reply: publish.reply,
        header_size: publish.header_size,
        parts: std::slice::from_ref(&publish.body),
        size: publish.body.len(),
        size_text: Some(publish.size_text),
        tail: publish.tail,
        queues: None,
    }
}

/// Answers a SUB that is not permitted (§3.3).
fn refuse_subscription(turn: &mut Turn<'_>, text: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
    let error = match queue {
        None => ErrorText::SubscriptionViolation(text),
        Some(queue) => ErrorText::QueueSubscriptionViolation(text, queue),
    };
    turn.violation(&error, || {
        let queue = queue
            .map(|queue| format!(", Queue: {}", quote(queue)))
            .unwrap_or_default();
        let sid = String::from_utf8_lossy(sid);
        format!("Subscription Violation - Subject {}{queue}, SID {sid}", quote(text))
    });
}

/// Answers a parse error as §1.2 and §1.12 say; the log shows what it was about.
fn refuse(turn: &mut Turn<'_>, error: ParseError, received: &[u8], limits: &ParseLimits) -> CloseReason {
    match error {
        ParseError::UnknownOperation => {
            turn.failure(&ErrorText::UnknownProtocolOperation, &shown(received));
            CloseReason::ProtocolViolation
        }
        ParseError::ControlLineExceeded => {
            let detail = format!("more than {} bytes, {}", limits.max_control_line, shown(received));
            turn.failure(&ErrorText::MaximumControlLineExceeded, &detail);
            CloseReason::MaximumControlLineExceeded
        }
        ParseError::PayloadExceeded => {
            let size = announced_size(received).map_or_else(|| "more".to_owned(), |size| size.to_string());
            let detail = format!("{size} bytes, at most {} are taken", limits.max_payload);
            turn.failure(&ErrorText::MaximumPayloadViolation, &detail);
            CloseReason::MaximumPayloadExceeded
        }
        ParseError::Arguments => {
            turn.log_failure("malformed arguments", &shown(received));
            CloseReason::ParseError
        }
        ParseError::HeadersNotSupported => {
            turn.log_failure("message headers not supported", &shown(received));
            CloseReason::MessageHeaderViolation
        }
    }
}

/// The first bytes of what the parser could not make sense of; what may be a CONNECT's credentials is left out.
fn shown(received: &[u8]) -> String {
    let bytes = &received[..received.len().min(RECEIVED_SHOWN_BYTES)];
    let public = bytes.split(|byte| *byte == b'{').next().unwrap_or_default();
    format!("received {}", quote(public))
}

/// The size that ends the control line in front.
fn announced_size(received: &[u8]) -> Option<u64> {
    let line = received.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let last = line.split(u8::is_ascii_whitespace).rfind(|word| !word.is_empty())?;
    std::str::from_utf8(last).ok()?.parse().ok()
}

fn describe(operation: &Operation<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match operation {
        Operation::Connect(json) => format!("CONNECT {}", redact(json)),
        Operation::Publish(publish) => {
            let verb = if publish.header_size > 0 { "HPUB" } else { "PUB" };
            let reply = publish
                .reply
                .map(|reply| format!("{} ", text(reply)))
                .unwrap_or_default();
            let headers = if publish.header_size > 0 {
                format!("{} ", publish.header_size)
            } else {
                String::new()
            };
            format!(
                "{verb} {} {reply}{headers}{}",
                text(publish.subject),
                text(publish.size_text)
            )
        }
        Operation::Subscribe { subject, queue, sid } => {
            let queue = queue.map(|queue| format!("{} ", text(queue))).unwrap_or_default();
            format!("SUB {} {queue}{}", text(subject), text(sid))
        }
        Operation::Unsubscribe { sid, max } => {
            let max = max.map(|max| format!(" {max}")).unwrap_or_default();
            format!("UNSUB {}{max}", text(sid))
        }
        Operation::Ping => "PING".into(),
        Operation::Pong => "PONG".into(),
        Operation::Ok => "OK".into(),
        Operation::Info(json) => format!("INFO {}", text(json)),
        Operation::Error(error) => format!("-ERR {}", text(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_show_sizes_and_no_credentials() {
        assert_eq!(announced_size(b"PUB foo reply 99999999\r\nabc"), Some(99_999_999));
        assert_eq!(announced_size(b"HPUB foo 12 1048577 "), Some(1_048_577));
        assert_eq!(announced_size(b"PUB foo many\r\n"), None);
        assert_eq!(announced_size(b""), None);
        assert_eq!(shown(b"ZZZ\r\n"), r#"received "ZZZ\r\n""#);
        assert_eq!(shown(br#"CONECT {"pass":"secret"}"#), r#"received "CONECT ""#);
        assert_eq!(shown(&[b'x'; 1000]).len(), "received \"\"".len() + RECEIVED_SHOWN_BYTES);
    }

    #[test]
    fn trace_lines_show_the_operation() {
        let line = |bytes: &[u8]| match parse_operation(bytes, &ParseLimits::default()) {
            Ok(Parsed::Operation { operation, .. }) => describe(&operation),
            other => panic!("{other:?}"),
        };
        assert_eq!(line(b"PUB foo 2\r\nok\r\n"), "PUB foo 2");
        assert_eq!(line(b"PUB foo re 2\r\nok\r\n"), "PUB foo re 2");
        assert_eq!(line(b"HPUB foo re 1 2\r\nok\r\n"), "HPUB foo re 1 2");
        assert_eq!(line(b"SUB foo q 1\r\n"), "SUB foo q 1");
        assert_eq!(line(b"UNSUB 1 5\r\n"), "UNSUB 1 5");
        assert_eq!(line(b"ping\r\n"), "PING");
    }
}
