//! The registry: connects, duplicate checks, heartbeats (`streaming-protocol.md` §2.7, §2.10, §2.11, §2.13).

use std::rc::Rc;

use seaway_stan_protocol::messages::ConnectRequest;

use super::answers::Owed;
use super::requests::DUPLICATE_CHECK_NS;
use super::state::{Client, Due};
use super::{Current, Model, POISONED, text};

const ALREADY_REGISTERED: &str = "stan: clientID already registered";

impl Model {
    pub(crate) fn connected(&mut self, client: &[u8], inbox: &[u8]) {
        let id = text(client);
        let current = match &self.current {
            Current::Connect { request, expected } if text(&request.client_id) == id => {
                Some((request.clone(), *expected))
            }
            _ => None,
        };
        // Either its own request, or it waited for the end of its predecessor.
        let waiting = self
            .succession
            .take()
            .filter(|waiting| waiting.request.client_id == client);
        let waiting = waiting.map(|waiting| (waiting.request, waiting.expected));
        let Some((request, expected)) = waiting.or(current) else {
            return self.object(format!("{id} was registered without asking"));
        };
        if self.state.clients.contains_key(&id) {
            return self.object(format!("{id} was registered while it is registered"));
        }
        if request.heartbeat_inbox != inbox {
            return self.object(format!("{id} was registered with another heartbeat inbox"));
        }
        // Its own record is the newest; what else the input makes the server write does not concern it.
        let written = self.appended;
        if let Some(answer) = self.answer(expected) {
            answer.owed = Owed::At(written);
        }
        if matches!(self.current, Current::Connect { .. }) {
            self.current = Current::Nothing;
        }
        self.remember_without_newest();
        self.count("clients registered");
        let client = self.registered(request);
        self.state.clients.insert(id, Rc::new(client));
    }

    pub(crate) fn registered(&self, request: ConnectRequest) -> Client {
        Client {
            request,
            closing: false,
            contender: None,
            heartbeat: None,
            heartbeat_due: self.now.monotonic + self.options.heartbeat_interval_ns,
            failed: 0,
            failures: 0,
        }
    }

    /// The engine asks a client to show that it is alive.
    pub fn probed(&mut self, inbox: &[u8], probe: u64) {
        let inbox = text(inbox);
        let now = self.now.monotonic;
        if let Current::Connect { request, expected } = &self.current {
            let (id, expected) = (text(&request.client_id), *expected);
            if let Some(client) = self.state.client(&id)
                && let Some(contender) = &mut client.contender
                && contender.expected == expected
                && contender.probe == 0
                && client.request.heartbeat_inbox == inbox.as_bytes()
            {
                contender.probe = probe;
                self.current = Current::Nothing;
                return;
            }
            return self.object(format!("{inbox} was probed while another connects"));
        }
        let found = self
            .state
            .clients
            .iter()
            .find(|(_, client)| client.request.heartbeat_inbox == inbox.as_bytes() && !client.closing)
            .map(|(id, _)| id.clone());
        let asked = found.as_ref().and_then(|id| self.state.clients.get(id)?.heartbeat);
        let timeout = self.options.heartbeat_timeout_ns;
        // What was asked before the bus came back, and not answered in time, is asked anew.
        let is_void = asked.is_some_and(|(_, sent)| sent + timeout <= now && !self.has_carried_since(sent));
        let Some(client) = found.and_then(|id| self.state.client(&id)) else {
            return self.object(format!("{inbox} was probed, which belongs to no client"));
        };
        if client
            .contender
            .as_ref()
            .is_some_and(|contender| contender.probe == probe)
        {
            // Nobody could be judged by the silence: it is asked again.
            return;
        }
        match client.heartbeat {
            // A ping made it send the same one again.
            Some((known, _)) if known == probe => {}
            Some(_) if is_void => {
                client.heartbeat = Some((probe, now));
                self.count("heartbeats asked anew");
            }
            Some(_) => self.object(format!("{inbox} got a second heartbeat before the first was done with")),
            None if client.heartbeat_due > now => {
                let early = client.heartbeat_due - now;
                self.object(format!("{inbox} got a heartbeat {early} ns early"));
            }
            None => {
                client.heartbeat = Some((probe, now));
                self.count("heartbeats");
            }
        }
    }

    pub(crate) fn probe_answered(&mut self, probe: u64) {
        let now = self.now.monotonic;
        let due = now + self.options.heartbeat_interval_ns;
        let ids: Vec<String> = self.state.clients.keys().cloned().collect();
        for id in ids {
            let client = self.state.client(&id).expect("it was just seen");
            if client.heartbeat.is_some_and(|(known, _)| known == probe) {
                let was_failing = client.failed > 0;
                client.heartbeat = None;
                client.heartbeat_due = due;
                client.failed = 0;
                if was_failing {
                    self.count("clients that came back");
                    self.redeliveries_begin_again(&id);
                }
                return;
            }
            if !client.closing
                && client
                    .contender
                    .as_ref()
                    .is_some_and(|contender| contender.probe == probe)
            {
                let contender = client.contender.take().expect("it was just seen");
                return self.refuse(contender.expected, ALREADY_REGISTERED);
            }
        }
    }

    /// While a client's heartbeats fail its redeliveries are put off by AckWait each time.
    fn redeliveries_begin_again(&mut self, id: &str) {
        let now = self.now.monotonic;
        let numbers: Vec<u64> = self
            .state
            .subscriptions
            .iter()
            .filter(|(_, known)| known.client == id)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            let known = self.state.subscription(number).expect("it was just seen");
            for pending in known.pending.values_mut() {
                let (Due::Between(_, latest) | Due::ByTimestamp(latest)) = &mut pending.due;
                *latest = (*latest).max(now + known.ack_wait);
            }
        }
    }

    /// Whether silence says something: the bus has been there for a while.
    fn is_settled(&self) -> bool {
        self.bus_up && self.bus_settles_at <= self.now.monotonic
    }

    /// Whether a question put then can have been heard, and its answer come back.
    fn has_carried_since(&self, asked: u64) -> bool {
        self.is_settled() && self.bus_up_since <= asked
    }

    pub(crate) fn probe_unheard(&mut self, probe: u64) {
        if !self.is_settled() {
            return self.count("probes unheard on a bus that just came back");
        }
        let due = self.now.monotonic + self.options.heartbeat_interval_ns;
        let ids: Vec<String> = self.state.clients.keys().cloned().collect();
        for id in ids {
            let client = self.state.client(&id).expect("it was just seen");
            if client.heartbeat.is_some_and(|(known, _)| known == probe) {
                client.heartbeat = None;
                fail(client, due);
                return self.count("heartbeats unheard");
            }
        }
    }

    pub(crate) fn timed_out(&mut self, client: &[u8]) {
        let id = text(client);
        self.count("clients timed out");
        self.totals.lost_clients += 1;
        let (now, timeout) = (self.now.monotonic, self.options.heartbeat_timeout_ns);
        let limit = self.options.heartbeat_fail_count;
        let asked = self.state.clients.get(&id).and_then(|client| client.heartbeat);
        let can_fail = asked.is_some_and(|(_, sent)| self.has_carried_since(sent));
        let Some(client) = self.state.client(&id) else {
            return self.object(format!("{id} timed out, which is not registered"));
        };
        let failing_now = match client.heartbeat {
            Some((_, sent)) => sent + timeout <= now && can_fail,
            None => false,
        };
        let failed = client.failed + u32::from(failing_now);
        client.closing = true;
        client.heartbeat = None;
        if failed <= limit {
            self.object(format!("{id} timed out after {failed} failures of {limit} allowed"));
        }
    }

    pub(crate) fn replaced(&mut self, client: &[u8]) {
        let id = text(client);
        self.count("clients replaced");
        let Some(client) = self.state.client(&id) else {
            return self.object(format!("{id} was replaced, which is not registered"));
        };
        client.closing = true;
        client.heartbeat = None;
        if client.contender.is_none() {
            self.object(format!("{id} was replaced by nobody"));
        }
    }

    pub(crate) fn closed(&mut self, client: &[u8]) {
        let id = text(client);
        self.count("clients closed");
        self.remember();
        let Some(client) = self.state.clients.remove(&id) else {
            return self.object(format!("{id} was closed, which is not registered"));
        };
        if !client.closing {
            self.object(format!("{id} was closed for no reason"));
        }
        if let Some((number, _)) = self
            .state
            .subscriptions
            .iter()
            .find(|(_, known)| known.client == id && known.phase != super::state::Phase::Offline)
        {
            let text = format!("{id} was closed and its subscription {number} was not");
            self.object(text);
        }
        self.disconnected(&id);
        let poisoned = self.poisoned;
        if let Some(expected) = self.closes.remove(&id) {
            if poisoned {
                self.refuse(expected, POISONED);
            } else {
                // Its record is the next one; what else the input makes the server write does not concern it.
                let written = self.appended + 1;
                if let Some(answer) = self.answer(expected) {
                    answer.owed = Owed::At(written);
                }
            }
        }
        if let Some(contender) = &client.contender {
            if poisoned {
                self.refuse(contender.expected, POISONED);
            } else {
                self.succession = Some(contender.clone());
            }
        }
    }

    /// Every deadline up to now has been handled.
    pub fn deadlines_handled(&mut self) {
        let now = self.now.monotonic;
        let (interval, timeout) = (self.options.heartbeat_interval_ns, self.options.heartbeat_timeout_ns);
        let (limit, bus_up, poisoned) = (self.options.heartbeat_fail_count, self.bus_up, self.poisoned);
        let (settles_at, is_settled) = (self.bus_settles_at, self.is_settled());
        let mut excused = 0;
        let ids: Vec<String> = self.state.clients.keys().cloned().collect();
        let mut objection = None;
        for id in ids {
            let asked = self.state.clients.get(&id).and_then(|client| client.heartbeat);
            let can_fail = asked.is_some_and(|(_, sent)| self.has_carried_since(sent));
            let client = self.state.client(&id).expect("it was just seen");
            if client.closing {
                continue;
            }
            match client.heartbeat {
                Some((_, sent)) if sent + timeout <= now && can_fail => {
                    client.heartbeat = None;
                    fail(client, now + interval);
                }
                Some((_, sent)) if sent + timeout <= now => {
                    excused += 1;
                    client.heartbeat = None;
                    client.heartbeat_due = if bus_up { settles_at.max(now) } else { now + interval };
                }
                None if client.heartbeat_due <= now && bus_up => {
                    objection = Some(format!("a heartbeat to {id} is overdue"));
                }
                None if client.heartbeat_due <= now => client.heartbeat_due = now + interval,
                _ => {}
            }
            if let Some(contender) = client
                .contender
                .as_mut()
                .filter(|one| one.deadline <= now && !is_settled)
            {
                excused += 1;
                contender.deadline = if bus_up { settles_at.max(now) } else { now } + DUPLICATE_CHECK_NS;
            }
            if client.failed > limit && !poisoned {
                objection = Some(format!("{id} is still registered after {} failures", client.failed));
            }
            if client
                .contender
                .as_ref()
                .is_some_and(|contender| contender.deadline <= now)
            {
                objection = Some(format!("the duplicate check of {id} does not end"));
            }
        }
        for _ in 0..excused {
            self.count("silences that say nothing");
        }
        if let Some(objection) = objection {
            self.object(objection);
        }
        self.inactivity_handled();
    }
}

fn fail(client: &mut Client, due: u64) {
    if client.failed == 0 {
        client.failures += 1;
    }
    client.failed += 1;
    client.heartbeat_due = due;
}
