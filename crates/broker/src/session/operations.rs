//! What each operation of a client means (core specification §1.5 - §1.12).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::connect::redact;
use seaway_nats_protocol::write::{OK, PONG, write_error, write_info};
use seaway_nats_protocol::{
    ConnectOptions, ErrorText, Operation, ParseError, ParseLimits, Parsed, Publish, parse_operation, subject,
};

use super::timers::Timers;
use crate::broker::Shared;
use crate::connection::Connection;
use crate::gather::{Aftermath, Gatherer, Message, Origin};
use crate::limits::CLIENT_TEXT_BYTES;
use crate::lock::lock;
use crate::reason::CloseReason;
use crate::subscription::{BySid, Owner, Subscription};

/// Queue name that is refused to clients (§2.1).
const RESERVED_QUEUE: &[u8] = b"_sys_";
/// Prefixes refused as reply of a publication (§1.7).
const RESERVED_REPLIES: [&[u8]; 3] = [b"_R_.", b"$JS.ACK.", b"_GR_."];
/// Prefix refused as subject of a publication (§1.7).
const RESERVED_SUBJECT: &[u8] = b"_GR_.";
/// Account of every client as long as there are no others.
const GLOBAL_ACCOUNT: &str = "$G";

/// What the client asked for, and what the parser enforces.
pub(super) struct Client {
    limits: ParseLimits,
    verbose: bool,
    pedantic: bool,
    echo: bool,
    no_responders: bool,
    /// CONNECT said `protocol` 1 and the first PING after it has not come yet.
    info_due: bool,
    connected: bool,
}

/// What became of the bytes of one read.
pub(super) struct Batch {
    pub(super) consumed: usize,
    /// Length of the operation that is not whole yet, if known.
    pub(super) needed: usize,
    pub(super) aftermath: Aftermath,
    pub(super) end: Option<CloseReason>,
}

/// One batch being handled.
struct Turn<'a> {
    connection: &'a Arc<Connection>,
    shared: &'a Shared,
    timers: &'a mut Timers,
    gatherer: &'a mut Gatherer,
    trace: bool,
    messages: u64,
    bytes: u64,
}

impl Turn<'_> {
    fn own(&mut self) -> &mut Vec<u8> {
        self.gatherer.own(self.connection)
    }

    fn error(&mut self, error: &ErrorText<'_>) {
        let text = error.text();
        if error.closes() {
            tracing::error!("{} - cid:{} - {text}", self.connection.peer, self.connection.id);
        } else {
            tracing::debug!("{} - cid:{} - {text}", self.connection.peer, self.connection.id);
        }
        self.trace_out(&format!("-ERR '{text}'"));
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
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            limits: ParseLimits {
                max_control_line: shared.options.max_control_line,
                max_payload: shared.options.max_payload,
                headers: false,
            },
            verbose: true,
            pedantic: true,
            echo: true,
            no_responders: false,
            info_due: false,
            connected: false,
        }
    }

    fn origin(&self, connection: &Connection) -> Origin {
        Origin {
            id: connection.id,
            skip_self: !self.echo,
        }
    }

    /// Handles all whole operations at the front of `data`.
    pub(super) fn handle_batch(
        &mut self,
        connection: &Arc<Connection>,
        timers: &mut Timers,
        gatherer: &mut Gatherer,
        data: &[u8],
    ) -> Batch {
        let shared = &*connection.broker;
        let trace = tracing::enabled!(tracing::Level::TRACE);
        let mut turn = Turn {
            connection,
            shared,
            timers,
            gatherer,
            trace,
            messages: 0,
            bytes: 0,
        };
        // Opened first, flushed last: a PONG leaves after what the PUBs before it caused elsewhere.
        turn.own();
        let mut consumed_all = 0;
        let mut needed = 0;
        let end = loop {
            match parse_operation(&data[consumed_all..], &self.limits) {
                Ok(Parsed::Operation { operation, consumed }) => {
                    consumed_all += consumed;
                    if let Err(reason) = self.handle(&mut turn, &operation) {
                        break Some(reason);
                    }
                }
                Ok(Parsed::Incomplete { needed: length }) => {
                    needed = length;
                    break None;
                }
                Err(error) => break Some(refuse(&mut turn, error)),
            }
        };
        if turn.messages > 0 {
            connection.in_messages.fetch_add(turn.messages, Ordering::Relaxed);
            connection.in_bytes.fetch_add(turn.bytes, Ordering::Relaxed);
            shared.counters.in_messages.fetch_add(turn.messages, Ordering::Relaxed);
            shared.counters.in_bytes.fetch_add(turn.bytes, Ordering::Relaxed);
        }
        let aftermath = gatherer.finish(shared, self.origin(connection));
        Batch {
            consumed: consumed_all,
            needed,
            aftermath,
            end,
        }
    }

    fn handle(&mut self, turn: &mut Turn<'_>, operation: &Operation<'_>) -> Result<(), CloseReason> {
        if turn.trace {
            turn.trace_in(operation);
        }
        match operation {
            Operation::Publish(publish) => {
                turn.timers.was_active();
                self.publish(turn, publish);
            }
            Operation::Subscribe { subject, queue, sid } => {
                turn.timers.was_active();
                self.subscribe(turn, subject, *queue, sid);
            }
            Operation::Unsubscribe { sid, max } => {
                turn.timers.was_active();
                self.unsubscribe(turn, sid, *max);
            }
            Operation::Ping => {
                turn.timers.was_active();
                self.ping(turn);
            }
            Operation::Pong => turn.timers.answered(turn.connection),
            Operation::Connect(json) => return self.connect(turn, json),
            Operation::Ok | Operation::Info(_) => {}
            Operation::Error(text) => {
                tracing::error!(
                    "{} - cid:{} - Client error {}",
                    turn.connection.peer,
                    turn.connection.id,
                    String::from_utf8_lossy(text)
                );
                return Err(CloseReason::ClientClosed);
            }
        }
        Ok(())
    }

    fn acknowledge(&self, turn: &mut Turn<'_>) {
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
            let mut info = turn
                .shared
                .info(turn.connection.id, turn.connection.peer.ip().to_string());
            info.connect_info = true;
            info.remote_account = GLOBAL_ACCOUNT.into();
            write_info(turn.own(), &info);
        }
    }

    fn connect(&mut self, turn: &mut Turn<'_>, json: &[u8]) -> Result<(), CloseReason> {
        turn.gatherer.settle(turn.shared, self.origin(turn.connection));
        let options = ConnectOptions::parse(json).map_err(|error| {
            tracing::error!("{} - cid:{} - {error}", turn.connection.peer, turn.connection.id);
            CloseReason::ParseError
        })?;
        if options.protocol != 0 && options.protocol != 1 {
            turn.error(&ErrorText::InvalidClientProtocol);
            return Err(CloseReason::BadClientProtocolVersion);
        }
        if !options.account.is_empty() || options.new_account {
            turn.error(&ErrorText::AuthorizationViolation);
            return Err(CloseReason::AuthenticationFailure);
        }
        let headers = options.headers && !turn.shared.options.no_header_support;
        if options.no_responders && !headers {
            turn.error(&ErrorText::NoRespondersRequiresHeaders);
            return Err(CloseReason::NoRespondersRequiresHeaders);
        }
        if self.connected {
            let old: Vec<BySid> = lock(&turn.connection.subscriptions).drain().collect();
            for subscription in old {
                turn.shared.end_subscription(&subscription.0);
            }
        }
        self.verbose = options.verbose;
        self.pedantic = options.pedantic;
        self.echo = options.echo;
        self.no_responders = options.no_responders;
        self.limits.headers = headers;
        self.info_due = options.protocol >= 1;
        self.connected = true;
        turn.connection.headers.store(headers, Ordering::Relaxed);
        turn.timers.connected(turn.shared);
        let mut details = lock(&turn.connection.details);
        details.name = shorten(options.name);
        details.lang = shorten(options.lang);
        details.version = shorten(options.version);
        drop(details);
        self.acknowledge(turn);
        Ok(())
    }

    fn publish(&mut self, turn: &mut Turn<'_>, publish: &Publish<'_>) {
        turn.messages += 1;
        turn.bytes += publish.body.len() as u64;
        if self.pedantic && !subject::is_literal(publish.subject) {
            turn.error(&ErrorText::InvalidPublishSubject);
        }
        if publish.subject.starts_with(RESERVED_SUBJECT) {
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
        let message = Message {
            subject: publish.subject,
            reply: publish.reply,
            header_size: publish.header_size,
            parts: &[publish.body],
            size: publish.body.len(),
            size_text: Some(publish.size_text),
            tail: publish.tail,
        };
        let origin = self.origin(turn.connection);
        let receivers = turn.gatherer.deliver(turn.shared, publish.subject, &message, origin);
        if receivers == 0
            && self.no_responders
            && let Some(reply) = publish.reply
        {
            turn.gatherer
                .no_responders(turn.shared, turn.connection, reply, publish.subject, origin);
        }
    }

    fn subscribe(&mut self, turn: &mut Turn<'_>, text: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        let options = &turn.shared.options;
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
        if options.max_subscriptions > 0 && subscriptions.len() >= options.max_subscriptions {
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
            let owner = Owner::Connection(Arc::clone(turn.connection));
            let subscription = Subscription::new(text, queue, sid, owner);
            subscriptions.insert(BySid(Arc::clone(&subscription)));
            drop(subscriptions);
            turn.shared.routing.insert(&subscription);
        } else {
            drop(subscriptions);
        }
        self.acknowledge(turn);
    }

    fn unsubscribe(&mut self, turn: &mut Turn<'_>, sid: &[u8], max: Option<u64>) {
        // What this batch delivered so far counts.
        turn.gatherer.settle(turn.shared, self.origin(turn.connection));
        let known = lock(&turn.connection.subscriptions)
            .get(sid)
            .map(|known| Arc::clone(&known.0));
        if let Some(subscription) = known {
            match max {
                Some(max) if max > subscription.delivered.load(Ordering::Acquire) => {
                    subscription.limit.store(max, Ordering::Release);
                    // From now on each delivery has to be counted at once.
                    turn.shared.routing.raise(subscription.subject());
                }
                Some(_) | None => turn.shared.end_subscription(&subscription),
            }
        }
        self.acknowledge(turn);
    }
}

/// Answers a parse error as §1.2 and §1.12 say.
fn refuse(turn: &mut Turn<'_>, error: ParseError) -> CloseReason {
    match error {
        ParseError::UnknownOperation => {
            turn.error(&ErrorText::UnknownProtocolOperation);
            CloseReason::ProtocolViolation
        }
        ParseError::ControlLineExceeded => {
            turn.error(&ErrorText::MaximumControlLineExceeded);
            CloseReason::MaximumControlLineExceeded
        }
        ParseError::PayloadExceeded => {
            turn.error(&ErrorText::MaximumPayloadViolation);
            CloseReason::MaximumPayloadExceeded
        }
        ParseError::Arguments => {
            tracing::error!(
                "{} - cid:{} - malformed arguments",
                turn.connection.peer,
                turn.connection.id
            );
            CloseReason::ParseError
        }
        ParseError::HeadersNotSupported => {
            tracing::error!(
                "{} - cid:{} - message headers not supported",
                turn.connection.peer,
                turn.connection.id
            );
            CloseReason::MessageHeaderViolation
        }
    }
}

/// Cuts what clients say about themselves to a bound, at a character.
fn shorten(mut text: String) -> String {
    if text.len() > CLIENT_TEXT_BYTES {
        let end = (0..=CLIENT_TEXT_BYTES)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
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
    fn client_texts_are_cut_at_a_character() {
        assert_eq!(shorten("short".into()), "short");
        let long = shorten("ä".repeat(CLIENT_TEXT_BYTES));
        assert_eq!(long.len(), CLIENT_TEXT_BYTES / 2 * 2);
        assert_eq!(
            shorten(format!("x{}", "ä".repeat(CLIENT_TEXT_BYTES))).len(),
            CLIENT_TEXT_BYTES - 1
        );
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
