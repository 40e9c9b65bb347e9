//! An open-loop streaming load: publishes leave at a fixed rate whatever the server does, and the time of each runs from the
//! moment it was due. A server that stalls shows it in the upper quantiles instead of being waited for.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{Frames, GUID_DIGITS, Load, answer, refusal};
use crate::stan::{Session, token};
use crate::wire::Connection;

/// Publishes are due in bursts, this often.
const TICK: Duration = Duration::from_micros(500);

/// How long the acks of everything may take after the last publish.
const PATIENCE: Duration = Duration::from_secs(30);

/// Times from the moment a publish was due to its ack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// Ascending, microseconds.
    sorted: Vec<u32>,
}

impl Latencies {
    fn new(mut unsorted: Vec<u32>) -> Latencies {
        unsorted.sort_unstable();
        Latencies { sorted: unsorted }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The time that a share of them, from 0 to 1, does not exceed; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let index = ((self.sorted.len() as f64 * share) as usize).min(last);
        Duration::from_micros(self.sorted.get(index).copied().unwrap_or(0).into())
    }
}

impl Load {
    /// Publishes `messages` messages, `rate` per second, and waits for every ack. `in_flight` is not looked at.
    ///
    /// # Errors
    /// An ack with an error, thirty seconds without an ack, or anything the sockets say.
    pub fn publish_paced(&self, rate: u64) -> io::Result<Latencies> {
        let mut session = Session::open(&self.address, &self.cluster_id, &format!("bench-paced-{}", token()))?;
        let frames = Frames::new(self, &session);
        // Acks come on the session's connection; publishes leave on another, so that neither waits for the other.
        let mut sender = Connection::open(&self.address)?;
        let (messages, start) = (self.messages, Instant::now());
        let due = move |number: u64| start + Duration::from_nanos(number.saturating_mul(1_000_000_000) / rate.max(1));
        let sending = thread::spawn(move || -> io::Result<()> {
            let mut sent = 0;
            while sent < messages {
                let now = Instant::now();
                while sent < messages && due(sent) <= now {
                    frames.append(sender.output(), sent);
                    sent += 1;
                }
                sender.flush()?;
                thread::sleep(TICK.saturating_sub(now.elapsed()));
            }
            Ok(())
        });
        let mut latencies = Vec::with_capacity(usize::try_from(messages).unwrap_or(0));
        let mut refused = None;
        let ack_subject = session.ack_subject.clone();
        while (latencies.len() as u64) < messages {
            session.connection.pump(PATIENCE, |message, output| {
                if message.subject != ack_subject.as_bytes() {
                    answer(&message, output);
                    return;
                }
                match message.payload.get(2..2 + GUID_DIGITS).and_then(number_of) {
                    // A PubAck without error holds the GUID alone.
                    Some(number) if message.payload.len() == GUID_DIGITS + 2 => {
                        let elapsed = Instant::now().saturating_duration_since(due(number));
                        latencies.push(u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX));
                    }
                    _ => refused = Some(refusal(message.payload)),
                }
            })?;
            if let Some(reason) = refused {
                let text = format!("a publish was refused: {reason}");
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
        }
        sending.join().map_err(|_| io::Error::other("the sender panicked"))??;
        session.close()?;
        Ok(Latencies::new(latencies))
    }
}

fn number_of(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_sorted_times() {
        let latencies = Latencies::new((0..1_000).rev().collect());
        let micros = |share| latencies.quantile(share).as_micros();
        assert_eq!(
            (micros(0.5), micros(0.99), micros(0.999), micros(1.0)),
            (500, 990, 999, 999)
        );
        assert_eq!(Latencies::new(Vec::new()).quantile(0.5), Duration::ZERO);
    }
}
