//! The registry of clients: connect with duplicate check, heartbeats, pings, close (`streaming-protocol.md` §2.7, §2.10,
//! §2.11, §2.13).

use bytes::Bytes;
use prost::Message;
use seaway_stan_protocol::messages::{
    CloseRequest, CloseResponse, ConnectRequest, ConnectResponse, Ping, PingResponse, SubscriptionResponse,
};
use seaway_stan_protocol::{errors, validate};

use super::Engine;
use super::change::{Made, quoted};
use crate::change::{Asked, Changed, Unchanged};
use crate::effects::Effects;
use crate::event::Event;
use crate::facts::{CLIENT, CLIENT_REMOVED, ClientFact, ClientRemovedFact};
use crate::input::ProbeId;
use crate::ledger::POISONED;
use crate::limits::{DUPLICATE_CHECK_NS, HEARTBEAT_AFTER_PING_NS};
use crate::records::{Need, Urgency};
use crate::registry::client::{Closing, Contender};
use crate::registry::keys::ClientKey;
use crate::registry::subscription::Leave;
use crate::time::Now;
use crate::waiting::questions::Probe;
use crate::waiting::replies::{Confirmation, Outcome};
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
        let Some(key) = self.clients.find(&request.client_id) else {
            return self.register(now, request, &reply, effects);
        };
        if self.clients[key].challenge.contender().is_some() {
            self.debug(
                Event::AlreadyConnected {
                    client: &request.client_id,
                },
                effects,
            );
            return self.refuse_connect(&reply, errors::CLIENT_ID_REGISTERED, effects);
        }
        let client = &mut self.clients[key];
        // When it is leaving the new one waits for the end of that, not for a probe.
        let probe = (!client.is_closing()).then(|| self.questions.probe(Probe::DuplicateCheck(key)));
        client.challenge.begin(Contender { probe, request, reply });
        if let Some(probe) = probe {
            let deadline = now.monotonic + DUPLICATE_CHECK_NS;
            client.challenge.arm(key, deadline, &mut self.timers);
            effects.probe(&client.fact().heartbeat_inbox, probe);
        }
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
        if let Err(text) = self.ledger.admit(Need::Consumer, request.encoded_len() + 64, effects) {
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
        let key = self.clients.insert(fact);
        self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_interval_ns));
        key
    }

    fn arm_heartbeat(&mut self, key: ClientKey, deadline: u64) {
        self.clients[key].heartbeat.arm(key, deadline, &mut self.timers);
    }

    /// Either the next heartbeat is due, or the last one was not answered in time.
    pub(super) fn heartbeat_due(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        if let Some((unanswered, asked)) = self.clients[key].heartbeat.fired() {
            self.questions.end_probe(unanswered);
            if self.way.has_carried_since(asked, now.monotonic) {
                return self.heartbeat_failed(now, key, effects);
            }
            // Question or answer may be lost: asked again, once it can be heard.
            if let Some(settled) = self.way.settles_later(now.monotonic) {
                return self.arm_heartbeat(key, settled);
            }
        }
        if !self.way.is_up() {
            let deadline = now.monotonic.saturating_add(self.options.heartbeat_interval_ns);
            return self.arm_heartbeat(key, deadline);
        }
        let probe = self.questions.probe(Probe::Heartbeat(key));
        let client = &mut self.clients[key];
        client.heartbeat.ask(probe, now.monotonic);
        effects.probe(&client.fact().heartbeat_inbox, probe);
        self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_timeout_ns));
    }

    fn heartbeat_failed(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        if self.clients[key].heartbeat.missed(now.monotonic) {
            self.update_health(key, 0);
        }
        self.tally.heartbeat_failed();
        let client = &self.clients[key];
        if client.heartbeat.failed() > self.options.heartbeat_fail_count && !self.ledger.is_poisoned() {
            self.tally.client_lost();
            effects.event(Event::TimedOut {
                client: &client.fact().name,
            });
            self.begin_close(now, key, Closing::ByServer, effects);
        } else {
            self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_interval_ns));
        }
    }

    /// Heartbeats began to fail, or are answered again: groups hear it of the client's members, from this number on.
    pub(super) fn update_health(&mut self, key: ClientKey, mut from: u64) {
        while let Some((number, member)) = self.clients[key].subscription_from(from) {
            if !self.budget.spend() {
                let client = self.clients[key].number();
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
                if self.clients[key].heartbeat.answered() {
                    self.update_health(key, 0);
                }
                self.arm_heartbeat(key, now.monotonic.saturating_add(self.options.heartbeat_interval_ns));
            }
            Some(Probe::DuplicateCheck(key)) => {
                let challenge = &mut self.clients[key].challenge;
                challenge.disarm(key, &mut self.timers);
                if let Some(contender) = challenge.end() {
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

    /// Nobody listens on the inbox, or nobody does yet.
    pub(super) fn probe_failed(&mut self, now: Now, probe: ProbeId, effects: &mut Effects<'_>) {
        if !self.way.is_settled(now.monotonic) {
            return;
        }
        match self.questions.end_probe(probe) {
            Some(Probe::Heartbeat(key)) => self.heartbeat_failed(now, key, effects),
            Some(Probe::DuplicateCheck(key)) => self.replace(now, key, effects),
            None => {}
        }
    }

    pub(super) fn duplicate_check_over(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        let challenge = &mut self.clients[key].challenge;
        challenge.fired();
        let Some(contender) = challenge.contender() else { return };
        if self.way.is_settled(now.monotonic) {
            contender.probe.and_then(|probe| self.questions.end_probe(probe));
            return self.replace(now, key, effects);
        }
        // Asked again: the question may be lost, or the client not be back.
        if let Some(probe) = contender.probe.filter(|_| self.way.is_up()) {
            effects.probe(&self.clients[key].fact().heartbeat_inbox, probe);
        }
        let settled = self.way.settles_later(now.monotonic).unwrap_or(now.monotonic);
        let challenge = &mut self.clients[key].challenge;
        challenge.arm(key, settled.saturating_add(DUPLICATE_CHECK_NS), &mut self.timers);
    }

    /// The old connection did not answer: it is closed, then the contender is registered.
    fn replace(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        let client = &mut self.clients[key];
        client.challenge.disarm(key, &mut self.timers);
        if client.is_closing() {
            return;
        }
        if let Err(text) = self.ledger.admit(Need::Essential, 256, effects) {
            if let Some(contender) = self.clients[key].challenge.end() {
                self.refuse_connect(&contender.reply, &text, effects);
            }
            return;
        }
        let client = self.clients[key].fact();
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
        let Some(key) = self.clients.find_connection(&ping.conn_id) else {
            let error = Bytes::from_static(errors::CLIENT_REPLACED.as_bytes());
            return self.answer(reply, &PingResponse { error }, effects);
        };
        self.answer(reply, &PingResponse::default(), effects);
        let client = &self.clients[key];
        if client.heartbeat.failed() == 0 {
            return;
        }
        match client.heartbeat.asked() {
            // Brought forward, and not put off by the next ping.
            None => {
                let deadline = now.monotonic + HEARTBEAT_AFTER_PING_NS;
                let heartbeat = &mut self.clients[key].heartbeat;
                heartbeat.bring_forward(key, deadline, &mut self.timers);
            }
            // It may have been lost with an earlier connection. Either answer counts, and the wait for one goes on: a
            // client that pings without ever answering is still found out.
            Some(probe) => effects.probe(&client.fact().heartbeat_inbox, probe),
        }
    }

    pub(super) fn close(&mut self, now: Now, reply: &[u8], payload: &[u8], effects: &mut Effects<'_>) {
        let refused = match CloseRequest::decode(payload) {
            Err(_) => errors::INVALID_CLOSE_REQUEST.to_owned(),
            Ok(request) => match self.clients.find_open(&request.client_id) {
                Some(key) => match self.ledger.admit(Need::Essential, 256, effects) {
                    Ok(()) => {
                        let closing = Closing::Requested(Bytes::copy_from_slice(reply));
                        return self.begin_close(now, key, closing, effects);
                    }
                    Err(text) => text,
                },
                None => errors::UNKNOWN_CLIENT_ID.to_owned(),
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

    /// An operator closes a client.
    pub(super) fn disconnect(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        client: &[u8],
        effects: &mut Effects<'_>,
    ) -> Result<Made, Unchanged> {
        let Some(key) = self.clients.find_open(client) else {
            return Err(Unchanged::NotFound(format!("there is no client {}", quoted(client))));
        };
        let subscriptions = self.clients[key].subscriptions().len();
        let changed = Changed::Disconnected { subscriptions };
        if asked.is_rehearsal {
            return Ok(Made::Nothing(changed));
        }
        self.admit_change(effects)?;
        self.log_change(now, asked, changed, effects);
        self.begin_close(now, key, Closing::ByOperator(asked.id, changed), effects);
        Ok(Made::Later)
    }

    /// From here on nothing is accepted from the client; its subscriptions are closed in slices.
    fn begin_close(&mut self, now: Now, key: ClientKey, closing: Closing, effects: &mut Effects<'_>) {
        self.clients.begin_close(key, closing);
        let client = &mut self.clients[key];
        let heartbeat = client.heartbeat.stop(key, &mut self.timers);
        client.challenge.disarm(key, &mut self.timers);
        let check = client.challenge.contender().and_then(|contender| contender.probe);
        for probe in heartbeat.into_iter().chain(check) {
            self.questions.end_probe(probe);
        }
        self.continue_close(now, key, effects);
    }

    pub(super) fn continue_close(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        while let Some((_, subscription)) = self.clients[key].subscription_from(0) {
            if !self.budget.spend() {
                let number = self.clients[key].number();
                self.work.push(Work::Close(key, number));
                return;
            }
            self.leave(now, subscription, Leave::Keep, effects);
        }
        let client = self.clients.remove(key);
        let inbox = &client.fact.heartbeat_inbox;
        let fact = ClientRemovedFact { name: client.fact.name };
        self.debug(
            Event::Closed {
                client: &fact.name,
                inbox,
            },
            effects,
        );
        if self.ledger.is_poisoned() {
            match client.closing {
                Some(Closing::Requested(reply)) => {
                    let error = Bytes::from_static(POISONED.as_bytes());
                    self.answer(&reply, &CloseResponse { error }, effects);
                }
                Some(Closing::ByOperator(change, _)) => self.change_failed(change, effects),
                Some(Closing::ByServer) | None => {}
            }
        } else {
            let position = self.ledger.fact(CLIENT_REMOVED, &fact, Urgency::Sync, effects);
            match client.closing {
                Some(Closing::Requested(reply)) => {
                    let outcome = Outcome::Confirmed(Confirmation::Close);
                    self.replies.push(position, outcome, &reply, b"");
                }
                Some(Closing::ByOperator(change, changed)) => self.tell_when_durable(change, changed),
                Some(Closing::ByServer) | None => {}
            }
        }
        if let Some(contender) = client.contender {
            let Contender { request, reply, .. } = contender;
            self.register(now, request, &reply, effects);
        }
    }
}
