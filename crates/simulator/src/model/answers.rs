//! Answers that are owed: each request gets one, with the content the model predicts, not before what it confirms is durable.

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{CloseResponse, ConnectResponse, PingResponse, PubAck, SubscriptionResponse};

use super::{Model, POISONED, text};

/// Which answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect {
        protocol: i32,
        ping_interval: i32,
        ping_max_out: i32,
    },
    Publish {
        guid: String,
        stored: Option<(u64, u64)>,
    },
    Subscribe {
        number: Option<u64>,
    },
    Unsubscribe,
    Close,
    Ping,
}

/// When it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// Before the input at hand is done with.
    Now,
    /// In its place behind what was answered before.
    InTurn,
    /// Once everything appended while the input at hand is handled is durable.
    WhenWritten,
    /// Once this is durable.
    At(u64),
    /// After something else.
    Later,
}

/// An answer that is owed.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) id: u64,
    pub(crate) subject: String,
    pub(crate) kind: Kind,
    /// Empty for success.
    pub(crate) error: String,
    pub(crate) owed: Owed,
}

impl Model {
    /// Notes an answer that is owed; gives its id.
    pub(crate) fn expect(&mut self, subject: &[u8], kind: Kind, error: &str, owed: Owed) -> u64 {
        let id = self.next_expected;
        self.next_expected += 1;
        if subject.is_empty() && !matches!(kind, Kind::Subscribe { .. }) {
            // Nobody waits for it.
            return id;
        }
        self.expected.push(Expected {
            id,
            subject: text(subject),
            kind,
            error: error.to_owned(),
            owed,
        });
        id
    }

    pub(crate) fn answer(&mut self, id: u64) -> Option<&mut Expected> {
        self.expected.iter_mut().find(|expected| expected.id == id)
    }

    /// The answer will be this refusal.
    pub(crate) fn refuse(&mut self, id: u64, error: &str) {
        if let Some(expected) = self.answer(id) {
            error.clone_into(&mut expected.error);
            expected.owed = match expected.kind {
                Kind::Publish { .. } => Owed::InTurn,
                _ => Owed::Now,
            };
        }
    }

    /// The input was handled: what was owed at once must have come.
    pub(crate) fn answers_due(&mut self) {
        let appended = self.appended;
        let mut late = None;
        self.expected.retain_mut(|expected| {
            if expected.owed == Owed::WhenWritten {
                expected.owed = Owed::At(appended);
            }
            if expected.owed == Owed::Now && !expected.subject.is_empty() {
                late.get_or_insert_with(|| format!("no answer came: {expected:?}"));
            }
            // Nobody hears what has no reply subject; a subscription becomes active all the same.
            expected.owed != Owed::Now
        });
        if let Some(late) = late {
            self.object(late);
        }
    }

    /// What waits for durability becomes a refusal.
    pub(crate) fn poison(&mut self) {
        self.count("stores poisoned");
        self.poisoned = true;
        // What is not deleted yet stays.
        for (name, channel) in &mut self.state.channels {
            let channel = std::rc::Rc::make_mut(channel);
            if channel.deleted_at.take_if(|position| *position > self.told).is_some() {
                self.gone_logs.insert(name.clone());
            }
        }
        // Whoever waits for a start time will not get a subscription.
        let now = self.now.monotonic;
        for (_, seeking) in std::mem::take(&mut self.seeking) {
            if let Some(answer) = self.answer(seeking.expected) {
                POISONED.clone_into(&mut answer.error);
                answer.owed = Owed::Now;
            }
            if let Some(channel) = self.state.channel(&text(&seeking.request.subject)) {
                channel.idle_since = now;
            }
        }
        for expected in &mut self.expected {
            if matches!(expected.owed, Owed::At(_)) {
                if expected.error.is_empty() {
                    POISONED.clone_into(&mut expected.error);
                }
                expected.owed = Owed::Now;
            }
            if expected.owed == Owed::InTurn {
                expected.owed = Owed::Now;
            }
        }
    }

    fn refusal(&self) -> Option<String> {
        if self.poisoned {
            return Some(POISONED.to_owned());
        }
        self.refusal.clone()
    }

    /// There is no room to let this new connection take over.
    fn refuses_contender(&self, expected: &Expected) -> bool {
        matches!(expected.kind, Kind::Connect { .. }) && self.refusal().is_some()
    }

    fn forget_contender(&mut self, expected: u64) {
        let ids: Vec<String> = self.state.clients.keys().cloned().collect();
        for id in ids {
            if let Some(client) = self.state.client(&id) {
                client.contender.take_if(|contender| contender.expected == expected);
            }
        }
    }

    /// A reply leaves.
    pub fn replied(&mut self, subject: &[u8], payload: &[u8]) {
        let subject = text(subject);
        let guid = PubAck::decode(payload).map(|ack| text(&ack.guid)).unwrap_or_default();
        let candidates: Vec<usize> = (0..self.expected.len())
            .filter(|index| {
                let expected = &self.expected[*index];
                expected.subject == subject
                    && match &expected.kind {
                        Kind::Publish { guid: asked, .. } => *asked == guid,
                        _ => true,
                    }
            })
            .collect();
        // A request that came twice is answered twice on one subject: each answer goes to the first it fits.
        let fits = |index: &&usize| {
            let expected = &self.expected[**index];
            let Ok(error) = said(&expected.kind, payload) else {
                return false;
            };
            match expected.owed {
                Owed::At(position) if position > self.durable => false,
                Owed::Later => self.refuses_contender(expected) && Some(error) == self.refusal(),
                _ => error == expected.error,
            }
        };
        let found = candidates.iter().find(fits).or(candidates.first()).copied();
        let Some(found) = found else {
            return self.object(format!("an answer that nobody asked for, on {subject}"));
        };
        let mut expected = self.expected.remove(found);
        match expected.owed {
            Owed::At(position) if position > self.durable => {
                return self.object(format!(
                    "answered at {} before it is durable: {expected:?}",
                    self.durable
                ));
            }
            Owed::Later if self.refuses_contender(&expected) => {
                self.forget_contender(expected.id);
                expected.error = self.refusal().unwrap_or_default();
            }
            Owed::Later => return self.object(format!("answered too early: {expected:?}")),
            _ => {}
        }
        match said(&expected.kind, payload) {
            Err(reason) => return self.object(format!("{subject}: {reason}")),
            Ok(error) if error != expected.error => {
                return self.object(format!("answered {error:?}, and expected was {expected:?}"));
            }
            Ok(_) => {}
        }
        if !expected.error.is_empty() {
            return self.count("refusals");
        }
        match expected.kind {
            Kind::Publish {
                stored: Some((channel, sequence)),
                ..
            } => {
                self.count("publishes acknowledged");
                let overtaken = self.expected.iter().any(|other| {
                    other.error.is_empty()
                        && matches!(other.kind, Kind::Publish { stored: Some(stored), .. }
                            if stored.0 == channel && stored.1 < sequence)
                });
                if overtaken {
                    self.object(format!("the PubAck of {sequence} overtook an earlier one"));
                }
            }
            Kind::Subscribe { number: Some(number) } => self.confirmed(number, expected.id, payload),
            _ => {}
        }
    }
}

/// The error of an answer, empty for success; what else an answer carries is checked on the way.
fn said(kind: &Kind, payload: &[u8]) -> Result<String, String> {
    let undecodable = |error| format!("an answer cannot be decoded: {error}");
    Ok(match kind {
        Kind::Connect {
            protocol,
            ping_interval,
            ping_max_out,
        } => {
            let response = ConnectResponse::decode(payload).map_err(undecodable)?;
            if response.error.is_empty() {
                let pings = if *protocol >= 1 {
                    (*ping_interval, *ping_max_out)
                } else {
                    (0, 0)
                };
                if (response.ping_interval, response.ping_max_out) != pings
                    || response.ping_requests.is_empty() == (*protocol >= 1)
                    || response.protocol != 1
                    || response.sub_close_requests.is_empty()
                {
                    return Err(format!("a ConnectResponse that does not fit: {response:?}"));
                }
            }
            text(&response.error)
        }
        Kind::Publish { .. } => text(&PubAck::decode(payload).map_err(undecodable)?.error),
        Kind::Subscribe { .. } | Kind::Unsubscribe => {
            let response = SubscriptionResponse::decode(payload).map_err(undecodable)?;
            if *kind == Kind::Unsubscribe && response.error.is_empty() && !payload.is_empty() {
                return Err("the end of a subscription is not confirmed by an empty payload".to_owned());
            }
            text(&response.error)
        }
        Kind::Close => text(&CloseResponse::decode(payload).map_err(undecodable)?.error),
        Kind::Ping => text(&PingResponse::decode(payload).map_err(undecodable)?.error),
    })
}
