//! After the faults: everything must come right, and nothing promised may be missing.

use seaway_streaming::Input;

use crate::client::{ToServer, Wish};
use crate::oracle::Reader;
use crate::run::{CLIENTS, MILLISECOND, Simulation};

/// Steps that healing may take before it counts as stuck.
const HEALING_STEPS: u32 = 60_000;

impl Simulation {
    /// Faults end; everything must come right.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.trace.add(format_args!("healing"));
        self.faults = false;
        self.crash()?;
        self.start()?;
        for number in 0..CLIENTS {
            self.clients[number].restart();
            let close = self.clients[number].close();
            self.outgoing[number].push_back(close);
        }
        self.until_quiet("closing all clients")?;
        for number in 0..CLIENTS {
            let connect = self.clients[number].connect();
            self.outgoing[number].push_back(connect);
        }
        self.until_quiet("connecting")?;
        if let Some(client) = self.clients.iter().find(|client| client.connection.is_none()) {
            return Err(format!("{} cannot connect after healing", client.id));
        }
        self.resume_readers()?;
        self.check()
    }

    fn resume_readers(&mut self) -> Result<(), String> {
        for reader in self.readers.clone() {
            let (number, wish) = match &reader {
                Reader::Durable(client, channel, durable) => {
                    let number = self
                        .clients
                        .iter()
                        .position(|known| known.id == *client)
                        .expect("a known client");
                    (number, self.resume_wish(channel, durable, ""))
                }
                Reader::Group(channel, group, durable) => (0, self.resume_wish(channel, durable, group)),
            };
            let subscribe = self.clients[number].subscribe(&wish);
            self.outgoing[number].push_back(subscribe);
            self.until_quiet("resuming a durable")?;
        }
        Ok(())
    }

    fn resume_wish(&self, channel: &str, durable: &str, group: &str) -> Wish {
        Wish {
            channel: channel.to_owned(),
            durable: durable.to_owned(),
            group: group.to_owned(),
            start_position: 0,
            start_sequence: 0,
            max_in_flight: 1_000,
            ack_wait: 1,
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let channels = self
            .node
            .as_ref()
            .expect("the server runs")
            .engine()
            .channels_page(0, 100, false)
            .items;
        for channel in &channels {
            let name = channel.name.clone();
            let mut wish = self.resume_wish(&name, "", "");
            wish.start_position = 4;
            wish.max_in_flight = 1_000_000;
            let log = self.read_log(&wish)?;
            self.oracle.check_log(&name, &log, self.trims)?;
            let expected = channel.messages;
            if log.len() as u64 != expected {
                return Err(format!(
                    "{name} says it holds {expected} messages and gave {}",
                    log.len()
                ));
            }
            self.oracle
                .check_readers(&name, channel.first_sequence, channel.last_sequence, &self.readers)?;
        }
        for client in &self.clients {
            if let Some(subscription) = client
                .subscriptions
                .values()
                .find(|known| !known.unacknowledged.is_empty())
            {
                return Err(format!("{} still holds messages", subscription.inbox));
            }
        }
        Ok(())
    }

    /// Reads a channel from its beginning: sequences and payloads.
    fn read_log(&mut self, wish: &Wish) -> Result<Vec<(u64, u64)>, String> {
        let subscribe = self.clients[0].subscribe(wish);
        self.clients[0].record();
        self.outgoing[0].push_back(subscribe);
        self.until_quiet("reading a log")?;
        Ok(self.clients[0].recorded())
    }

    /// Runs everything until nothing is left to do.
    fn until_quiet(&mut self, what: &str) -> Result<(), String> {
        let mut idle = 0;
        for _ in 0..HEALING_STEPS {
            for number in 0..CLIENTS {
                self.hear(number);
                self.look(number)?;
                self.acknowledge_all(number);
            }
            let now = self.now;
            let node = self.node.as_mut().expect("the server runs");
            node.input(now, Input::Settle);
            node.submit();
            let worked = node.job();
            node.complete(now);
            node.checkpoint_step(now);
            let busy = worked || node.has_backlog() || node.wants_settle();
            self.carry()?;
            // Heartbeats come and go for ever.
            let waiting = self
                .clients
                .iter()
                .any(|client| client.has_news() || client.is_waiting())
                || self
                    .outgoing
                    .iter()
                    .flatten()
                    .any(|message| !matches!(message, ToServer::Probe(_)));
            idle = if busy || waiting { 0 } else { idle + 1 };
            // Deadlines may still owe something: a redelivery, a duplicate check.
            if idle > 60 {
                return Ok(());
            }
            self.advance(if busy { MILLISECOND } else { 100 * MILLISECOND });
        }
        Err(format!("{what} does not come to an end"))
    }

    fn acknowledge_all(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let held: Vec<(String, u64)> = client
            .subscriptions
            .values()
            .flat_map(|known| {
                known
                    .unacknowledged
                    .iter()
                    .map(|sequence| (known.inbox.clone(), *sequence))
            })
            .collect();
        for (inbox, sequence) in held {
            if let Some(ack) = client.acknowledge(&inbox, sequence) {
                self.outgoing[number].push_back(ack);
            }
        }
    }
}
