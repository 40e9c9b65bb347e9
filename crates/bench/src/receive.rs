//! One receiving connection of a streaming load: it acknowledges every message, and proves that nothing is missing, doubled or
//! out of order.

use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use seaway_stan_protocol::MessageView;
use seaway_stan_protocol::messages::SubscriptionRequest;

use crate::heartbeat::answer;
use crate::histogram::Latencies;
use crate::limits::{PATIENCE, READ_WAIT};
use crate::stamp::{Ledger, Order, Stamp};
use crate::stan::{Session, Subscribed};
use crate::watch::{Counter, Run, sum};

/// Subscriptions of one session.
pub(crate) struct Receiver {
    session: Session,
    /// By sid, from the first one of ours.
    subscriptions: Vec<Subscription>,
    first_sid: u64,
    /// Slept after each read: a member that is slower than the others.
    pub(crate) pause: Duration,
    /// Whether sequences may have gaps because others take messages of the channel too.
    shares: bool,
    /// Whether messages are acknowledged.
    pub(crate) acknowledges: bool,
    /// Whether every message carries a stamp of this run.
    pub(crate) trusts_stamps: bool,
}

struct Subscription {
    /// `PUB inbox `
    head: Vec<u8>,
    /// The ack's body in front of the sequence.
    body: Vec<u8>,
    /// 0 before the first.
    latest: u64,
    order: Order,
}

/// What a receiver saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) ledger: Ledger,
    /// From send, or due moment, to arrival.
    pub(crate) latencies: Latencies,
}

impl Received {
    /// Takes what another one saw.
    pub(crate) fn merge(&mut self, other: &Received) {
        self.ledger.merge(&other.ledger);
        self.latencies.merge(&other.latencies);
    }
}

impl Subscription {
    fn new(subscribed: &Subscribed) -> Subscription {
        let channel = subscribed.channel.as_bytes();
        let mut body = vec![0x0a];
        append_varint(&mut body, channel.len() as u64);
        body.extend_from_slice(channel);
        body.push(0x10);
        Subscription {
            head: format!("PUB {} ", subscribed.ack_inbox).into_bytes(),
            body,
            latest: 0,
            order: Order::default(),
        }
    }

    /// Appends the ack of a sequence.
    fn append_ack(&self, output: &mut Vec<u8>, sequence: u64) {
        let length = self.body.len() + varint_bytes(sequence);
        output.extend_from_slice(&self.head);
        // Writing to a vector does not fail.
        let _ = write!(output, "{length}\r\n");
        output.extend_from_slice(&self.body);
        append_varint(output, sequence);
        output.extend_from_slice(b"\r\n");
    }
}

fn append_varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

fn varint_bytes(value: u64) -> usize {
    (64 - value.max(1).leading_zeros() as usize).div_ceil(7)
}

impl Receiver {
    /// A receiver without subscriptions.
    pub(crate) fn new(session: Session, shares: bool) -> Receiver {
        Receiver {
            first_sid: session.connection.latest_sid() + 1,
            session,
            subscriptions: Vec::new(),
            pause: Duration::ZERO,
            shares,
            acknowledges: true,
            trusts_stamps: true,
        }
    }

    /// Subscribes.
    pub(crate) fn subscribe(&mut self, request: SubscriptionRequest) -> Result<()> {
        let channel = String::from_utf8_lossy(&request.subject).into_owned();
        let subscribed = self
            .session
            .subscribe(request)
            .with_context(|| format!("subscribe to {channel}"))?;
        self.subscriptions.push(Subscription::new(&subscribed));
        Ok(())
    }

    /// Receives until all receivers together have `copies` of everything that was sent; `own` is this one's counter among
    /// `all`.
    pub(crate) fn receive_all(mut self, run: &Run, copies: u64, all: &[Counter], own: &Counter) -> Result<Received> {
        let received = self.receive_until(run, own, |_| {
            run.sent().is_some_and(|sent| sum(all) >= sent.saturating_mul(copies))
        })?;
        self.close()?;
        Ok(received)
    }

    /// Ends the session.
    pub(crate) fn close(mut self) -> Result<()> {
        self.session.close().context("close the receiving session")
    }

    /// Receives until `is_over` says so, which is asked after each read with the count received.
    pub(crate) fn receive_until(
        &mut self,
        run: &Run,
        own: &Counter,
        is_over: impl Fn(u64) -> bool,
    ) -> Result<Received> {
        let mut received = Received::default();
        let mut moved = Instant::now();
        while !is_over(received.ledger.count) {
            if run.is_aborted() {
                bail!("another thread gave up");
            }
            let mut complaint = None;
            let mut now = None;
            let Receiver {
                session,
                subscriptions,
                first_sid,
                acknowledges,
                ..
            } = self;
            let (shares, trusts_stamps) = (self.shares, self.trusts_stamps);
            let pumped = session.connection.pump(READ_WAIT, |message, output| {
                let index = message
                    .sid
                    .checked_sub(*first_sid)
                    .and_then(|index| usize::try_from(index).ok());
                let Some(subscription) = index.and_then(|index| subscriptions.get_mut(index)) else {
                    answer(&message, output);
                    return;
                };
                let Ok(message) = MessageView::decode(message.payload) else {
                    complaint = Some("a delivery is no message".to_owned());
                    return;
                };
                let now = *now.get_or_insert_with(|| run.now_ns());
                let stamp = if trusts_stamps { Stamp::read(message.data) } else { None };
                let taken = received.take(subscription, &message, stamp, shares);
                complaint = complaint.take().or(taken);
                if let Some(stamp) = stamp.filter(|stamp| run.records(stamp.origin_ns) && !message.redelivered) {
                    received.latencies.record_ns(now.saturating_sub(stamp.origin_ns));
                }
                if *acknowledges {
                    subscription.append_ack(output, message.sequence);
                }
            });
            match pumped {
                Ok(()) => moved = Instant::now(),
                Err(error) if error.kind() == ErrorKind::TimedOut && moved.elapsed() < PATIENCE => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("after {} messages received", received.ledger.count));
                }
            }
            if let Some(complaint) = complaint {
                bail!(complaint);
            }
            own.set(received.ledger.count);
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
        self.session.connection.flush()?;
        Ok(received)
    }
}

impl Received {
    /// Takes one message; what is wrong with it, if anything.
    fn take(
        &mut self,
        subscription: &mut Subscription,
        message: &MessageView<'_>,
        stamp: Option<Stamp>,
        shares: bool,
    ) -> Option<String> {
        if message.redelivered {
            self.ledger.redelivered += 1;
            return None;
        }
        let latest = std::mem::replace(&mut subscription.latest, message.sequence);
        let (found, channel) = (message.sequence, String::from_utf8_lossy(message.subject));
        if found <= latest {
            return Some(format!("sequence {found} of {channel} arrived after {latest}"));
        }
        if !shares && latest > 0 && found != latest + 1 {
            return Some(format!(
                "sequences between {latest} and {found} of {channel} are missing"
            ));
        }
        self.ledger.add(stamp);
        subscription.order.check(stamp?)
    }
}

#[cfg(test)]
mod tests {
    use seaway_stan_protocol::AckView;

    use super::*;

    fn subscription() -> Subscription {
        Subscription::new(&Subscribed {
            inbox: "in".to_owned(),
            ack_inbox: "_INBOX.ack".to_owned(),
            channel: "orders".to_owned(),
        })
    }

    #[test]
    fn acks_are_what_the_protocol_says() {
        for sequence in [1, 127, 128, 16_383, 16_384, u64::MAX] {
            let mut output = Vec::new();
            subscription().append_ack(&mut output, sequence);
            let text = output.strip_suffix(b"\r\n").expect("a line end");
            let end = text.iter().position(|byte| *byte == b'\n').expect("a line");
            let body = &text[end + 1..];
            assert_eq!(&text[..=end], format!("PUB _INBOX.ack {}\r\n", body.len()).as_bytes());
            let ack = AckView::decode(body).expect("an ack");
            assert_eq!((ack.subject, ack.sequence), (&b"orders"[..], sequence));
        }
    }

    #[test]
    fn gaps_and_disorder_are_noticed() {
        let (mut received, mut subscription) = (Received::default(), subscription());
        let mut take = |sequence, redelivered, shares| {
            let message = MessageView {
                sequence,
                redelivered,
                subject: b"orders",
                ..MessageView::default()
            };
            received.take(&mut subscription, &message, None, shares)
        };
        assert_eq!(take(5, false, false), None, "the first may have any sequence");
        assert_eq!(take(6, false, false), None);
        assert_eq!(take(5, true, false), None, "sent again");
        assert!(take(8, false, false).expect("7 is missing").contains("between 6 and 8"));
        assert_eq!(take(10, false, true), None, "another member has 9");
        assert!(take(9, false, true).expect("too late").contains("after 10"));
        assert_eq!(received.ledger.redelivered, 1);
    }
}
