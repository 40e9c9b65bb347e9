//! The registry of clients: connect with duplicate check, heartbeats, pings, close (`streaming-protocol.md` §2.7, §2.10,
//! §2.11, §2.13).

use bytes::Bytes;
use prost::Message;
use seaway_stan_protocol::messages::{
    CloseRequest, CloseResponse, ConnectRequest, ConnectResponse, Ping, PingResponse, SubscriptionResponse,
};
use seaway_stan_protocol::{errors, validate};

use super::Engine;
use crate::effects::Effects;
use crate::event::Event;
use crate::facts::{CLIENT, CLIENT_REMOVED, ClientFact, ClientRemovedFact};
use crate::input::ProbeId;
use crate::ledger::POISONED;
use crate::limits::{DUPLICATE_CHECK_NS, HEARTBEAT_AFTER_PING_NS};
use crate::records::{Need, Urgency};
use crate::registry::keys::ClientKey;
use crate::state::{Client, Closing, Contender, Leave};
use crate::time::Now;
use crate::waiting::questions::Probe;
use crate::waiting::replies::{Confirmation, Outcome};
use crate::waiting::timers::{Timer, TimerSlot};
use crate::waiting::work::Work;

/// The protocol version of every ConnectResponse (§2.3).
const PROTOCOL: i32 = 1;

/// Encodes what a request gets whose change of state cannot become durable any more.
pub(super) fn encode_refusal(out: &mut Vec<u8>, confirmation: Confirmation) {
    let error = Bytes::from_static(POISONED.as_bytes());
    match confirmation {
        Confirmation::Connect => ConnectResponse {
            error,
            ..ConnectResponse::default()
        }
        .encode_raw(out),
        Confirmation::Subscribe { .. } | Confirmation::Unsubscribe => {
            SubscriptionResponse {
                error,
                ..SubscriptionResponse::default()
            }
            .encode_raw(out);
        }
        Confirmation::Close => CloseResponse { error }.encode_raw(out),
    }
}

impl Engine {
    pub(super) fn connect(&mut self, now: Now, reply: &[u8], payload: &[u8], effects: &mut Effects<'_>) {
        let request = match ConnectRequest::decode(payload) {
            Ok(request) if !request.heartbeat_inbox.is_empty() => request,
            _ => return self.refuse_connect(reply, errors::INVALID_CONNECTION_REQUEST, effects),
        };
        if !validate::is_client_id(&request.client_id) {
            return self.refuse_connect(reply, errors::INVALID_CLIENT_ID, effects);
        }
        let reply = Bytes::copy_from_slice(reply);
        let Some(&key) = self.client_names.get(&request.client_id) else {
            return self.register(now, request, &reply, effects);
        };
        if self.clients[key.0].contender.is_some() {
            self.debug(
                Event::AlreadyConnected {
                    client: &request.client_id,
                },
                effects,
            );
            return self.refuse_connect(&reply, errors::CLIENT_ID_REGISTERED, effects);
        }
        let client = &mut self.clients[key.0];
        // When it is leaving the new one waits for the end of that, not for a probe.
        let probe = match client.closing {
            Some(_) => None,
            None => Some(self.questions.probe(Probe::DuplicateCheck(key))),
        };
        client.contender = Some(Box::new(Contender { probe, request, reply }));
        let Some(probe) = probe else { return };
        let deadline = now.monotonic + DUPLICATE_CHECK_NS;
        self.timers
            .set(&mut client.check_timer, Timer::DuplicateCheck(key), Some(deadline));
        effects.probe(&client.heartbeat_inbox, probe);
    }

    fn refuse_connect(&self, reply: &[u8], text: &str, effects: &mut Effects<'_>) {
        let error = Bytes::copy_from_slice(text.as_bytes());
        self.answer(
            reply,
            &ConnectResponse {
                error,
                ..ConnectResponse::default()
            },
            effects,
        );
    }

    fn register(&mut self, now: Now, request: ConnectRequest, reply: &[u8], effects: &mut Effects<'_>) {
        if let Err(text) = self.ledger.admit(Need::Ordinary, request.encoded_len() + 64, effects) {
            effects.event(Event::Refused {
                request: "connect",
                reason: &text,
            });
            return self.refuse_connect(reply, &text, effects);
        }
        let fact = ClientFact {
            name: request.client_id,
            heartbeat_inbox: request.heartbeat_inbox,
            conn_id: request.conn_id,
            protocol: request.protocol,
            ping_interval: request.ping_interval,
            ping_max_out: request.ping_max_out,
        };
        let position = self.ledger.fact(CLIENT, &fact, Urgency::Sync, effects);
        self.debug(
            Event::Connected {
                client: &fact.name,
                inbox: &fact.heartbeat_inbox,
            },
            effects,
        );
        let response = self.connect_response(&fact).encode_to_vec();
        self.replies
            .push(position, Outcome::Confirmed(Confirmation::Connect), reply, &response);
        let key = self.insert_client(now, fact);
        self.serve_early(now, key, effects);
    }

    fn connect_response(&self, client: &ClientFact) -> ConnectResponse {
        let text = |subject: &str| Bytes::copy_from_slice(subject.as_bytes());
        let mut response = ConnectResponse {
            pub_prefix: text(&self.subjects.publish_prefix),
            sub_requests: text(&self.subjects.subscribe),
            unsub_requests: text(&self.subjects.unsubscribe),
            close_requests: text(&self.subjects.close),
            sub_close_requests: text(&self.subjects.subscription_close),
            protocol: PROTOCOL,
            ..ConnectResponse::default()
        };
        if client.protocol >= PROTOCOL {
            response.ping_requests = text(&self.subjects.pings);
            response.ping_interval = client.ping_interval;
            response.ping_max_out = client.ping_max_out;
        }
        response
    }

    /// Adds a client to the maps and arms its first heartbeat, one full interval from now.
    pub(super) fn insert_client(&mut self, now: Now, fact: ClientFact) -> ClientKey {
        let number = self.number();
        let key = ClientKey(self.clients.insert(Client {
            number,
            name: fact.name.clone(),
            heartbeat_inbox: fact.heartbeat_inbox,
            conn_id: fact.conn_id.clone(),
            protocol: fact.protocol,
            ping_interval: fact.ping_interval,
            ping_max_out: fact.ping_max_out,
            subscriptions: Default::default(),
            failed: 0,
            failures: 0,
            failing_since: 0,
            heartbeat: None,
            heartbeat_timer: TimerSlot::default(),
            contender: None,
            check_timer: TimerSlot::default(),
            closing: None,
        }));
        self.client_names.insert(fact.name, key);
        if !fact.conn_id.is_empty() {
            self.conn_ids.insert(fact.conn_id, key);
        }
        self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_interval_ns));
        key
    }

    fn arm_heartbeat(&mut self, key: ClientKey, deadline: u64) {
        let slot = &mut self.clients[key.0].heartbeat_timer;
        self.timers.set(slot, Timer::Heartbeat(key), Some(deadline));
    }

    /// Either the next heartbeat is due, or the last one was not answered in time.
    pub(super) fn heartbeat_due(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        let client = &mut self.clients[key.0];
        client.heartbeat_timer.fired();
        if client.closing.is_some() {
            return;
        }
        if let Some(probe) = client.heartbeat.take() {
            self.questions.end_probe(probe);
            return self.heartbeat_failed(now, key, effects);
        }
        if !self.bus_up {
            return self.heartbeat_failed(now, key, effects);
        }
        let probe = self.questions.probe(Probe::Heartbeat(key));
        let client = &mut self.clients[key.0];
        client.heartbeat = Some(probe);
        effects.probe(&client.heartbeat_inbox, probe);
        self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_timeout_ns));
    }

    fn heartbeat_failed(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        let client = &mut self.clients[key.0];
        client.failed = client.failed.saturating_add(1);
        if client.failed == 1 {
            client.failures += 1;
            client.failing_since = now.monotonic;
            self.update_health(key, 0);
        }
        self.tally.heartbeat_failed();
        let client = &self.clients[key.0];
        if client.failed > self.options.heartbeat_fail_count && !self.ledger.is_poisoned() {
            self.tally.client_lost();
            effects.event(Event::TimedOut { client: &client.name });
            self.begin_close(now, key, Closing::ByServer, effects);
        } else {
            self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_interval_ns));
        }
    }

    /// Heartbeats began to fail, or are answered again: groups hear it of the client's members, from this number on.
    pub(super) fn update_health(&mut self, key: ClientKey, mut from: u64) {
        while let Some((&number, &member)) = self.clients[key.0].subscriptions.range(from..).next() {
            if !self.budget.spend() {
                let client = self.clients[key.0].number;
                self.work.push(Work::Health(key, client, from));
                return;
            }
            self.update_standing(member);
            from = number + 1;
        }
    }

    /// Any answer counts, whatever it holds.
    pub(super) fn probe_answered(&mut self, now: Now, probe: ProbeId, effects: &mut Effects<'_>) {
        match self.questions.end_probe(probe) {
            Some(Probe::Heartbeat(key)) => {
                let client = &mut self.clients[key.0];
                client.heartbeat = None;
                if std::mem::take(&mut client.failed) > 0 {
                    self.update_health(key, 0);
                }
                self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_interval_ns));
            }
            Some(Probe::DuplicateCheck(key)) => {
                let client = &mut self.clients[key.0];
                self.timers
                    .set(&mut client.check_timer, Timer::DuplicateCheck(key), None);
                if let Some(contender) = client.contender.take() {
                    self.debug(
                        Event::AlreadyConnected {
                            client: &contender.request.client_id,
                        },
                        effects,
                    );
                    self.refuse_connect(&contender.reply, errors::CLIENT_ID_REGISTERED, effects);
                }
            }
            None => {}
        }
    }

    /// Nobody listens on the inbox.
    pub(super) fn probe_failed(&mut self, now: Now, probe: ProbeId, effects: &mut Effects<'_>) {
        match self.questions.end_probe(probe) {
            Some(Probe::Heartbeat(key)) => {
                self.clients[key.0].heartbeat = None;
                self.heartbeat_failed(now, key, effects);
            }
            Some(Probe::DuplicateCheck(key)) => self.replace(now, key, effects),
            None => {}
        }
    }

    pub(super) fn duplicate_check_over(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        self.clients[key.0].check_timer.fired();
        if let Some(contender) = &self.clients[key.0].contender {
            contender.probe.and_then(|probe| self.questions.end_probe(probe));
            self.replace(now, key, effects);
        }
    }

    /// The old connection did not answer: it is closed, then the contender is registered.
    fn replace(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        let client = &mut self.clients[key.0];
        self.timers
            .set(&mut client.check_timer, Timer::DuplicateCheck(key), None);
        if client.closing.is_some() {
            return;
        }
        if let Err(text) = self.ledger.admit(Need::Essential, 256, effects) {
            if let Some(contender) = self.clients[key.0].contender.take() {
                self.refuse_connect(&contender.reply, &text, effects);
            }
            return;
        }
        let client = &self.clients[key.0];
        self.debug(
            Event::Replaced {
                client: &client.name,
                inbox: &client.heartbeat_inbox,
            },
            effects,
        );
        self.begin_close(now, key, Closing::ByServer, effects);
    }

    pub(super) fn ping(&mut self, now: Now, reply: &[u8], payload: &[u8], effects: &mut Effects<'_>) {
        if payload.is_empty() {
            return;
        }
        let Ok(ping) = Ping::decode(payload) else { return };
        let client = self
            .conn_ids
            .get(&ping.conn_id)
            .copied()
            .filter(|key| self.clients[key.0].closing.is_none());
        let Some(key) = client else {
            let error = Bytes::from_static(errors::CLIENT_REPLACED.as_bytes());
            return self.answer(reply, &PingResponse { error }, effects);
        };
        self.answer(reply, &PingResponse::default(), effects);
        let client = &self.clients[key.0];
        if client.failed == 0 {
            return;
        }
        match client.heartbeat {
            None => self.arm_heartbeat(key, now.monotonic + HEARTBEAT_AFTER_PING_NS),
            // It may have been lost with an earlier connection. Either answer counts, and the wait for one goes on: a
            // client that pings without ever answering is still found out.
            Some(probe) => effects.probe(&client.heartbeat_inbox, probe),
        }
    }

    pub(super) fn close(&mut self, now: Now, reply: &[u8], payload: &[u8], effects: &mut Effects<'_>) {
        let refused = match CloseRequest::decode(payload) {
            Err(_) => errors::INVALID_CLOSE_REQUEST.to_owned(),
            Ok(request) => match self.client_names.get(&request.client_id) {
                Some(&key) if self.clients[key.0].closing.is_none() => {
                    match self.ledger.admit(Need::Essential, 256, effects) {
                        Ok(()) => {
                            let closing = Closing::Requested(Bytes::copy_from_slice(reply));
                            return self.begin_close(now, key, closing, effects);
                        }
                        Err(text) => text,
                    }
                }
                _ => errors::UNKNOWN_CLIENT_ID.to_owned(),
            },
        };
        self.answer(
            reply,
            &CloseResponse {
                error: Bytes::from(refused),
            },
            effects,
        );
    }

    /// From here on nothing is accepted from the client; its subscriptions are closed in slices.
    fn begin_close(&mut self, now: Now, key: ClientKey, closing: Closing, effects: &mut Effects<'_>) {
        let client = &mut self.clients[key.0];
        client.closing = Some(closing);
        self.timers
            .set(&mut client.heartbeat_timer, Timer::Heartbeat(key), None);
        self.timers
            .set(&mut client.check_timer, Timer::DuplicateCheck(key), None);
        if let Some(probe) = client.heartbeat.take() {
            self.questions.end_probe(probe);
        }
        if let Some(probe) = client.contender.as_ref().and_then(|contender| contender.probe) {
            self.questions.end_probe(probe);
        }
        if !client.conn_id.is_empty() && self.conn_ids.get(&client.conn_id) == Some(&key) {
            self.conn_ids.remove(&client.conn_id);
        }
        self.continue_close(now, key, effects);
    }

    pub(super) fn continue_close(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        while let Some((_, &subscription)) = self.clients[key.0].subscriptions.first_key_value() {
            if !self.budget.spend() {
                let number = self.clients[key.0].number;
                self.work.push(Work::Close(key, number));
                return;
            }
            self.leave(now, subscription, Leave::Keep, effects);
        }
        let client = self.clients.remove(key.0);
        self.client_names.remove(&client.name);
        let fact = ClientRemovedFact { name: client.name };
        self.debug(
            Event::Closed {
                client: &fact.name,
                inbox: &client.heartbeat_inbox,
            },
            effects,
        );
        if self.ledger.is_poisoned() {
            if let Some(Closing::Requested(reply)) = client.closing {
                self.answer(
                    &reply,
                    &CloseResponse {
                        error: Bytes::from_static(POISONED.as_bytes()),
                    },
                    effects,
                );
            }
        } else {
            let position = self.ledger.fact(CLIENT_REMOVED, &fact, Urgency::Sync, effects);
            if let Some(Closing::Requested(reply)) = client.closing {
                self.replies
                    .push(position, Outcome::Confirmed(Confirmation::Close), &reply, b"");
            }
        }
        if let Some(contender) = client.contender {
            let Contender { request, reply, .. } = *contender;
            self.register(now, request, &reply, effects);
        }
    }
}
