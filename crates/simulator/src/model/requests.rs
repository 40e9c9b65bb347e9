//! Requests: what each must lead to, decided before the engine sees it (`streaming-protocol.md` §2.7 to §2.13, §3, §4).

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{
    CloseRequest, ConnectRequest, Ping, PubMsg, SubscriptionRequest, UnsubscribeRequest,
};
use seaway_streaming::Service;

use super::answers::{Kind, Owed};
use super::state::{Contender, Phase};
use super::{Current, Model, POISONED, Seeking, names, text};

pub(super) const DUPLICATE_CHECK_NS: u64 = 500_000_000;
const TOO_MANY: &str = "too many subscriptions per channel";
const UNKNOWN_CLIENT: &str = "stan: unknown clientID";

/// What a subscription request leads to when nothing is short.
pub(crate) enum Plan {
    New,
    Join,
    Resume(u64),
    /// An active durable is closed first, then resumed.
    Replace(u64),
}

impl Model {
    pub(crate) fn request(&mut self, service: Service, reply: &[u8], payload: &[u8]) {
        match service {
            Service::Connect => self.connect(reply, payload),
            Service::Ping => self.ping(reply, payload),
            Service::Publish => self.publish(reply, payload),
            Service::Subscribe => self.subscribe(reply, payload),
            Service::Unsubscribe => self.leave(false, reply, payload),
            Service::SubscriptionClose => self.leave(true, reply, payload),
            Service::Close => self.close(reply, payload),
        }
    }

    fn connect(&mut self, reply: &[u8], payload: &[u8]) {
        let refused = Kind::Connect {
            protocol: 0,
            ping_interval: 0,
            ping_max_out: 0,
        };
        let request = match ConnectRequest::decode(payload) {
            Ok(request) if !request.heartbeat_inbox.is_empty() => request,
            _ => {
                self.expect(reply, refused, "stan: invalid connection request", Owed::Now);
                return;
            }
        };
        let id = text(&request.client_id);
        if !names::is_client_id(&id) {
            let error = "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed";
            self.expect(reply, refused, error, Owed::Now);
            return;
        }
        let kind = Kind::Connect {
            protocol: request.protocol,
            ping_interval: request.ping_interval,
            ping_max_out: request.ping_max_out,
        };
        let Some(client) = self.state.clients.get(&id) else {
            let expected = if self.poisoned {
                self.expect(reply, kind, POISONED, Owed::Now)
            } else {
                self.expect(reply, kind, "", Owed::WhenWritten)
            };
            self.current = Current::Connect { request, expected };
            return;
        };
        if client.contender.is_some() {
            self.expect(reply, kind, "stan: clientID already registered", Owed::Now);
            return;
        }
        self.count("duplicate checks");
        let expected = self.expect(reply, kind, "", Owed::Later);
        let deadline = self.now.monotonic + DUPLICATE_CHECK_NS;
        let contender = Contender {
            request: request.clone(),
            expected,
            probe: 0,
            deadline,
        };
        if let Some(client) = self.state.client(&id) {
            client.contender = Some(contender);
        }
        self.current = Current::Connect { request, expected };
    }

    fn ping(&mut self, reply: &[u8], payload: &[u8]) {
        let Ok(ping) = Ping::decode(payload) else { return };
        if payload.is_empty() {
            return;
        }
        let found = self
            .state
            .clients
            .iter()
            .find(|(_, client)| !client.closing && !ping.conn_id.is_empty() && client.request.conn_id == ping.conn_id)
            .map(|(id, _)| id.clone());
        let Some(id) = found else {
            let error = "client has been replaced or is no longer registered";
            self.expect(reply, Kind::Ping, error, Owed::Now);
            return;
        };
        self.expect(reply, Kind::Ping, "", Owed::Now);
        let soon = self.now.monotonic + 1_000_000;
        let client = self.state.client(&id).expect("it was just found");
        if client.failed > 0 && client.heartbeat.is_none() {
            client.heartbeat_due = soon;
        }
    }

    fn publish(&mut self, reply: &[u8], payload: &[u8]) {
        let publish = match PubMsg::decode(payload) {
            Ok(publish) => publish,
            Err(_) => {
                let kind = Kind::Publish {
                    guid: String::new(),
                    stored: None,
                };
                self.expect(reply, kind, "stan: invalid publish request", Owed::InTurn);
                return;
            }
        };
        self.totals.in_messages += 1;
        self.totals.in_bytes += payload.len() as u64;
        let channel = text(&publish.subject);
        let known = self.state.clients.values().any(|client| {
            !client.closing
                && if publish.conn_id.is_empty() {
                    client.request.client_id == publish.client_id
                } else {
                    client.request.conn_id == publish.conn_id
                }
        });
        let kind = Kind::Publish {
            guid: text(&publish.guid),
            stored: None,
        };
        if publish.guid.is_empty() || !names::is_channel(&channel) || !known {
            self.expect(reply, kind, "stan: invalid publish request", Owed::InTurn);
            return;
        }
        let expected = self.expect(reply, kind, "", Owed::WhenWritten);
        if self.poisoned {
            return self.refuse(expected, POISONED);
        }
        if let Some(text) = self.channel_refusal(&channel) {
            self.refuse(expected, &text);
        }
        self.current = Current::Publish {
            expected,
            channel,
            reply: publish.reply.to_vec(),
            data: publish.data.to_vec(),
        };
    }

    /// Why a channel cannot be created; `None` when it exists or can be.
    fn channel_refusal(&self, name: &str) -> Option<String> {
        if let Some(channel) = self.state.channels.get(name) {
            let deleted = channel.deleted_at.is_some();
            return deleted.then(|| "stan: channel is being deleted".to_owned());
        }
        let fold = names::fold(name);
        if let Some(existing) = self.state.channels.keys().find(|known| names::fold(known) == fold) {
            return Some(format!(
                "rejecting channel \"{name}\" because channel \"{existing}\" alreay exists (different cases not allowed)"
            ));
        }
        let limit = self.limits.global.max_channels;
        (limit > 0 && self.state.channels.len() >= limit).then(|| "too many channels".to_owned())
    }

    fn subscribe(&mut self, reply: &[u8], payload: &[u8]) {
        let kind = Kind::Subscribe { number: None };
        let Ok(request) = SubscriptionRequest::decode(payload) else {
            self.expect(reply, kind, "stan: invalid subscription request", Owed::Now);
            return;
        };
        let channel = text(&request.subject);
        let refusal = invalid_fields(&request, &channel)
            .map(str::to_owned)
            .or_else(|| self.client_refusal(&request).map(str::to_owned))
            .or_else(|| self.channel_refusal(&channel))
            .or_else(|| (self.poisoned && !self.state.channels.contains_key(&channel)).then(|| POISONED.to_owned()));
        if let Some(text) = refusal {
            self.expect(reply, kind, &text, Owed::Now);
            return;
        }
        let expected = self.expect(reply, kind, "", Owed::WhenWritten);
        if let Err(text) = self.plan(&request, true) {
            self.refuse(expected, &text);
        } else if self.poisoned && (!self.looks_up(&request) || self.resumes(&request)) {
            self.refuse(expected, POISONED);
        }
        // A failed request counts as use of the channel too (§6.4).
        let now = self.now.monotonic;
        if let Some(channel) = self.state.channel(&channel) {
            channel.idle_since = now;
        }
        self.current = Current::Subscribe {
            request,
            expected,
            sought: None,
        };
    }

    fn resumes(&self, request: &SubscriptionRequest) -> bool {
        matches!(
            self.plan(request, false),
            Ok(Plan::Join | Plan::Resume(_) | Plan::Replace(_))
        )
    }

    /// Whether the start is a time that has to be found in the log.
    fn looks_up(&self, request: &SubscriptionRequest) -> bool {
        let channel = self.state.channels.get(&text(&request.subject));
        request.start_position == 2 && channel.is_some_and(|channel| !channel.messages.is_empty())
    }

    fn client_refusal(&self, request: &SubscriptionRequest) -> Option<&'static str> {
        let known = self.state.clients.get(&text(&request.client_id));
        known.is_none_or(|client| client.closing).then_some(UNKNOWN_CLIENT)
    }

    /// What the request means for the channel as it is; `counted` when the limit on subscriptions matters now.
    pub(crate) fn plan(&self, request: &SubscriptionRequest, counted: bool) -> Result<Plan, String> {
        let channel = text(&request.subject);
        let (queue, durable) = (text(&request.q_group), text(&request.durable_name));
        let plan = if queue.is_empty() {
            let existing = self.state.durable(&text(&request.client_id), &channel, &durable);
            match existing.filter(|_| !durable.is_empty()) {
                None => Plan::New,
                Some(number) if self.state.subscriptions[&number].phase == Phase::Offline => Plan::Resume(number),
                Some(number) if self.options.replace_durable => Plan::Replace(number),
                Some(_) => return Err("stan: duplicate durable registration".to_owned()),
            }
        } else {
            if durable.contains(':') {
                let text = "stan: durable name of a durable queue subscriber can't contain the character ':'";
                return Err(text.to_owned());
            }
            match self
                .state
                .groups
                .get(&(channel.clone(), names::group(&durable, &queue)))
            {
                None => Plan::New,
                Some(group) => group.shadow.map_or(Plan::Join, Plan::Resume),
            }
        };
        let limit = self.limits_of(&channel).max_subscriptions;
        if counted && matches!(plan, Plan::New | Plan::Join) && limit > 0 && self.state.records(&channel) >= limit {
            // A start time is looked up before the room is, and may be awaited.
            if !(matches!(plan, Plan::New) && self.looks_up(request)) {
                return Err(TOO_MANY.to_owned());
            }
        }
        Ok(plan)
    }

    /// The start of the subscription asked for has to be looked up.
    pub fn seek(&mut self, ticket: u64, channel: u64, timestamp: i64, awaited: bool) {
        if self.change_seeks(ticket, channel, timestamp, awaited) {
            return;
        }
        let (name, wall) = (self.state.channel_of_id(channel).map(str::to_owned), self.now.wall.0);
        let Current::Subscribe { request, expected, .. } = &self.current else {
            return self.object("a start time is looked up for nobody");
        };
        if name.as_deref() != Some(&text(&request.subject)) {
            return self.object("a start time is looked up in another channel");
        }
        if timestamp != wall.saturating_sub(request.start_time_delta) {
            return self.object(format!("another start time is looked up: {timestamp}"));
        }
        let (request, expected) = (request.clone(), *expected);
        let lowest_start = self.start(&request, timestamp);
        if awaited {
            self.count("starts looked up");
            if let Some(answer) = self.answer(expected) {
                answer.owed = Owed::Later;
            }
            self.seeking.insert(
                ticket,
                Seeking {
                    request,
                    expected,
                    lowest_start,
                    time: timestamp,
                },
            );
            self.current = Current::Nothing;
        } else {
            let limit = self.limits_of(&text(&request.subject)).max_subscriptions;
            if limit > 0 && self.state.records(&text(&request.subject)) >= limit {
                self.refuse(expected, TOO_MANY);
            }
        }
    }

    pub(crate) fn sought(&mut self, ticket: u64, failed: Option<&str>) {
        let Some(seeking) = self.seeking.remove(&ticket) else {
            return;
        };
        let Seeking {
            request,
            expected,
            lowest_start,
            time,
        } = seeking;
        if let Some(answer) = self.answer(expected) {
            answer.owed = Owed::WhenWritten;
        }
        let now = self.now.monotonic;
        if let Some(channel) = self.state.channel(&text(&request.subject)) {
            channel.idle_since = now;
        }
        let refusal = failed
            .map(str::to_owned)
            .or_else(|| self.client_refusal(&request).map(str::to_owned))
            .or_else(|| {
                let full = self.state.records(&text(&request.subject));
                let limit = self.limits_of(&text(&request.subject)).max_subscriptions;
                match self.plan(&request, true) {
                    Err(text) => Some(text),
                    Ok(Plan::New) if limit > 0 && full >= limit => Some(TOO_MANY.to_owned()),
                    Ok(_) => self.poisoned.then(|| POISONED.to_owned()),
                }
            });
        if let Some(refusal) = refusal {
            self.refuse(expected, &refusal);
        }
        self.current = Current::Subscribe {
            request,
            expected,
            sought: Some((time, lowest_start)),
        };
    }

    /// The cursor of a new subscription (§5.1).
    pub(crate) fn start(&self, request: &SubscriptionRequest, time: i64) -> u64 {
        let Some(channel) = self.state.channels.get(&text(&request.subject)) else {
            return 0;
        };
        let (last, below) = (channel.last, channel.first.saturating_sub(1));
        match request.start_position {
            0 => last,
            1 => last.saturating_sub(1).max(below),
            2 => channel
                .messages
                .iter()
                .find(|(_, message)| message.timestamp >= time)
                .map_or(last, |(sequence, _)| sequence - 1),
            3 => request.start_sequence.saturating_sub(1).clamp(below, last),
            _ => below,
        }
    }

    fn leave(&mut self, keeps: bool, reply: &[u8], payload: &[u8]) {
        let found = self.find_to_leave(payload);
        match found {
            Ok(_) if self.poisoned => drop(self.expect(reply, Kind::Unsubscribe, POISONED, Owed::Now)),
            Ok(number) => {
                let expected = self.expect(reply, Kind::Unsubscribe, "", Owed::WhenWritten);
                self.current = Current::Leave {
                    number,
                    keeps,
                    expected,
                };
            }
            Err(text) => drop(self.expect(reply, Kind::Unsubscribe, text, Owed::Now)),
        }
    }

    fn find_to_leave(&self, payload: &[u8]) -> Result<u64, &'static str> {
        let request = UnsubscribeRequest::decode(payload).map_err(|_| "stan: invalid unsubscribe request")?;
        let channel = text(&request.subject);
        if !self.state.channels.contains_key(&channel) {
            return Err("stan: unknown channel");
        }
        let inbox = text(&request.inbox);
        let here = |number: &u64| self.state.subscriptions[number].channel == channel;
        let by_ack_inbox = self.state.by_ack_inbox(&inbox).filter(here);
        let number = by_ack_inbox
            .or_else(|| self.by_inbox(&channel, &inbox))
            .ok_or("stan: invalid subscription")?;
        let client = text(&request.client_id);
        let known = self.state.clients.get(&client).is_some_and(|client| !client.closing);
        if known && self.state.subscriptions[&number].client == client {
            Ok(number)
        } else {
            Err(UNKNOWN_CLIENT)
        }
    }

    /// Several may listen on one inbox: a plain one goes before a queue member, an older one before a younger.
    fn by_inbox(&self, channel: &str, inbox: &str) -> Option<u64> {
        let listens = |grouped: bool| {
            self.state
                .subscriptions
                .iter()
                .find(|(_, known)| {
                    known.channel == channel
                        && known.inbox == inbox
                        && known.phase != Phase::Offline
                        && known.group.is_some() == grouped
                })
                .map(|(number, _)| *number)
        };
        listens(false).or_else(|| listens(true))
    }

    fn close(&mut self, reply: &[u8], payload: &[u8]) {
        let Ok(request) = CloseRequest::decode(payload) else {
            self.expect(reply, Kind::Close, "stan: invalid close request", Owed::Now);
            return;
        };
        let id = text(&request.client_id);
        if self.state.clients.get(&id).is_none_or(|client| client.closing) {
            self.expect(reply, Kind::Close, UNKNOWN_CLIENT, Owed::Now);
            return;
        }
        if self.poisoned {
            self.expect(reply, Kind::Close, POISONED, Owed::Now);
            return;
        }
        let expected = self.expect(reply, Kind::Close, "", Owed::Later);
        self.current = Current::Close { expected };
        self.closes.insert(id.clone(), expected);
        if let Some(client) = self.state.client(&id) {
            client.closing = true;
        }
    }

    /// The store was asked for room.
    pub fn admission(&mut self, refusal: Option<&str>) {
        let Some(refusal) = refusal else { return };
        self.count("admissions refused");
        self.refusal = Some(refusal.to_owned());
        if let Some(waiting) = self.succession.take() {
            return self.refuse(waiting.expected, refusal);
        }
        match self.current {
            Current::Connect { expected, .. }
            | Current::Publish { expected, .. }
            | Current::Subscribe { expected, .. }
            | Current::Leave { expected, .. } => {
                self.refuse(expected, refusal);
                self.withdraw();
            }
            Current::Close { expected } => {
                self.refuse(expected, refusal);
                let asked = self
                    .closes
                    .iter()
                    .find(|(_, close)| **close == expected)
                    .map(|(id, _)| id.clone());
                if let Some(id) = asked {
                    self.closes.remove(&id);
                    if let Some(client) = self.state.client(&id) {
                        client.closing = false;
                    }
                }
                self.withdraw();
            }
            Current::Nothing => {}
            Current::Tick => self.deletions_put_off(),
        }
    }

    fn withdraw(&mut self) {
        if !matches!(self.current, Current::Subscribe { .. }) {
            self.current = Current::Nothing;
        }
    }

    /// The input was handled: whatever was to come of it must have come.
    pub(crate) fn finish_request(&mut self) {
        let current = std::mem::take(&mut self.current);
        let (expected, what) = match current {
            Current::Publish { expected, .. } => (expected, "stored"),
            Current::Leave { expected, .. } => (expected, "ended"),
            Current::Subscribe { expected, .. } => (expected, "subscribed"),
            Current::Connect { expected, .. } => (expected, "connected"),
            _ => return,
        };
        let open = |answer: &super::Expected| answer.error.is_empty() && answer.owed == Owed::WhenWritten;
        let left = self
            .answer(expected)
            .is_some_and(|answer| open(answer) && !answer_done(answer));
        if left {
            self.object(format!("a request was taken and nothing was {what}"));
        }
    }
}

fn answer_done(answer: &super::Expected) -> bool {
    match answer.kind {
        Kind::Publish { stored, .. } => stored.is_some(),
        Kind::Subscribe { number } => number.is_some(),
        // Their events take them off the current input.
        _ => false,
    }
}

/// The checks that need only the request, in the order of §4.
fn invalid_fields(request: &SubscriptionRequest, channel: &str) -> Option<&'static str> {
    if request.client_id.is_empty() {
        Some("stan: clientID missing")
    } else if request.ack_wait_in_secs <= 0 {
        Some("stan: invalid ack wait time, should be >= 1s")
    } else if request.max_in_flight <= 0 {
        Some("stan: invalid MaxInflight, should be >= 1")
    } else if !(0..=4).contains(&request.start_position) {
        Some("stan: invalid start position")
    } else if !names::is_channel(channel) {
        Some("stan: invalid subject")
    } else {
        None
    }
}
