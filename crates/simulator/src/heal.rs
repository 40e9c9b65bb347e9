//! After the faults: everything must come right, and nothing promised may be missing.

use seaway_streaming::Input;

use crate::client::{ToServer, Wish};
use crate::run::{CLIENTS, Simulation};
use crate::settings::MILLISECOND;

/// Steps that healing may take before it counts as stuck.
const HEALING_STEPS: u32 = 60_000;

impl Simulation {
    /// Faults end; everything must come right.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.trace.add(format_args!("healing"));
        self.faults = false;
        // Reading everything must not run into them.
        self.limits.global.max_subscriptions = 0;
        self.limits.global.max_inactivity_ns = 0;
        self.limits.global.max_age_ns = 0;
        for (_, own) in &mut self.limits.entries {
            own.max_subscriptions = None;
            own.max_inactivity_ns = None;
            own.max_age_ns = None;
        }
        self.options.limits = self.limits.table();
        self.crash();
        self.disk_is_mended();
        self.start()?;
        for number in 0..CLIENTS {
            self.clients[number].restart();
            let close = self.clients[number].close();
            self.outgoing[number].push_back(close);
        }
        self.until_quiet("closing all clients")?;
        for number in 0..CLIENTS {
            self.clients[number].give_up();
            let connect = self.clients[number].connect();
            self.outgoing[number].push_back(connect);
        }
        self.until_quiet("connecting")?;
        if let Some(client) = self.clients.iter().find(|client| client.connection.is_none()) {
            return Err(format!("{} cannot connect after healing", client.id));
        }
        self.resume_what_is_paused();
        self.until_quiet("resuming what is paused")?;
        self.resume_readers()?;
        self.read_everything()?;
        self.model.borrow_mut().all_is_well();
        self.judge()
    }

    fn resume_readers(&mut self) -> Result<(), String> {
        let readers = self.model.borrow().readers();
        for (client, channel, durable, group) in readers {
            let number = self.clients.iter().position(|known| known.id == client).unwrap_or(0);
            let mut wish = wish(&channel);
            wish.durable = durable;
            wish.group = group;
            let subscribe = self.clients[number].subscribe(&wish);
            self.outgoing[number].push_back(subscribe);
            self.until_quiet("resuming a durable")?;
        }
        Ok(())
    }

    /// Reads every channel from its beginning; the model compares what comes with what was published.
    fn read_everything(&mut self) -> Result<(), String> {
        let channels = self.model.borrow().channels();
        for channel in channels {
            let mut wish = wish(&channel);
            wish.start_position = 4;
            let subscribe = self.clients[1].subscribe(&wish);
            self.outgoing[1].push_back(subscribe);
            self.until_quiet("reading a log")?;
        }
        Ok(())
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
            node.input(now, Input::EndOfPass);
            node.submit();
            let worked = node.job();
            node.complete(now);
            node.checkpoint_step(now);
            let busy = worked || node.has_backlog() || node.wants_end_of_pass();
            self.carry()?;
            self.judge()?;
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
            if idle > 50 {
                self.rest()?;
                return self.judge();
            }
            self.advance(if busy { MILLISECOND } else { 100 * MILLISECOND });
        }
        Err(format!("{what} does not come to an end"))
    }

    fn acknowledge_all(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let held: Vec<(String, u64)> = client
            .subscriptions
            .iter()
            .flat_map(|(inbox, known)| {
                let sequences = known.unacknowledged.iter();
                sequences.map(|sequence| (inbox.clone(), *sequence))
            })
            .collect();
        for (inbox, sequence) in held {
            if let Some(ack) = client.acknowledge(&inbox, sequence) {
                self.outgoing[number].push_back(ack);
            }
        }
    }
}

fn wish(channel: &str) -> Wish {
    Wish {
        channel: channel.to_owned(),
        durable: String::new(),
        group: String::new(),
        start_position: 0,
        start_sequence: 0,
        start_time_delta: 0,
        max_in_flight: 1_000,
        ack_wait: 1,
    }
}
