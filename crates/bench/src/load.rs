//! Small streaming loads for tests of servers: so many messages to a channel or several, and all of a channel back.

use std::io;
use std::time::{Duration, Instant};

use crate::frames;
use crate::point::Length;
use crate::publish::Publisher;
use crate::receive::Receiver;
use crate::stan::{Session, subscription, token};
use crate::watch::{Counter, Run};

/// What to publish.
#[derive(Clone, Debug)]
pub struct Load {
    /// `host:port` of the server.
    pub address: String,
    /// Cluster ID.
    pub cluster_id: String,
    /// Channel names are this, followed by a number when there is more than one channel.
    pub channel_prefix: String,
    /// Publishes go round these channels.
    pub channels: usize,
    /// Messages to publish.
    pub messages: u64,
    /// Payload bytes of each.
    pub size: usize,
    /// Publishes not yet acknowledged, at most.
    pub in_flight: u64,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Messages acknowledged, or received.
    pub messages: u64,
    /// From the first byte sent to the last answer.
    pub elapsed: Duration,
}

impl Outcome {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// The name of one of the channels.
    pub fn channel(&self, number: usize) -> String {
        if self.channels == 1 {
            self.channel_prefix.clone()
        } else {
            format!("{}.{number}", self.channel_prefix)
        }
    }

    fn run(&self) -> Run {
        let length = Length::Count {
            warm_up: 0,
            measured: self.messages,
        };
        Run::new(length, 0)
    }

    /// Publishes everything and waits for every ack.
    ///
    /// # Errors
    /// An ack with an error, thirty seconds without an ack, or anything the socket says.
    pub fn publish(&self) -> io::Result<Outcome> {
        let mut session = Session::open(&self.address, &self.cluster_id, &format!("bench-pub-{}", token()))?;
        let channels: Vec<String> = (0..self.channels).map(|number| self.channel(number)).collect();
        let (frames, acks) =
            frames::of_session(&session, &channels, self.size, false).map_err(|error| other(&error))?;
        let start = Instant::now();
        let publisher = Publisher {
            run: &self.run(),
            connection: &mut session.connection,
            frames,
            acks,
            number: 0,
            acked: &Counter::default(),
        };
        publisher
            .closed(self.in_flight, Some(self.messages))
            .map_err(|error| other(&error))?;
        let elapsed = start.elapsed();
        session.close()?;
        Ok(Outcome {
            messages: self.messages,
            elapsed,
        })
    }

    /// Receives and acknowledges `messages` messages of the first channel from its beginning.
    ///
    /// # Errors
    /// Thirty seconds without a message, a gap in the sequences, or anything the socket says.
    pub fn receive(&self, ready: impl FnOnce()) -> io::Result<Outcome> {
        let session = Session::open(&self.address, &self.cluster_id, &format!("bench-sub-{}", token()))?;
        let mut request = subscription(&self.channel(0));
        request.start_position = START_FIRST;
        request.max_in_flight = 16_384;
        let mut receiver = Receiver::new(session, false);
        // Any message of the channel is right here, whoever published it and how often.
        receiver.trusts_stamps = false;
        receiver.subscribe(request).map_err(|error| other(&error))?;
        ready();
        let start = Instant::now();
        let received = receiver.receive_until(&self.run(), &Counter::default(), |count| count >= self.messages);
        let outcome = Outcome {
            messages: received.map_err(|error| other(&error))?.ledger.count,
            elapsed: start.elapsed(),
        };
        receiver.close().map_err(|error| other(&error))?;
        Ok(outcome)
    }
}

/// `StartPosition` of the protocol: everything the channel holds.
pub(crate) const START_FIRST: i32 = 4;

fn other(error: &anyhow::Error) -> io::Error {
    io::Error::other(format!("{error:#}"))
}
