//! Receives, prints and acknowledges the messages of a subscription, until one of its ends.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use seaway_client::{Client, Message, Status, Subscription};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::failure::{Failure, Kind, Outcome};
use crate::interrupt::Interrupt;
use crate::lines::Lines;
use crate::message::{self, Style};
use crate::output::{Output, note};
use crate::readable::{count, span};

/// Messages that are printed together before they are acknowledged.
const BATCH_MAX: usize = 256;
/// Bytes of a line that acknowledges.
const ACK_LINE_MAX: usize = 64;

/// Who acknowledges.
pub(crate) enum Acks {
    /// This process, as soon as a message is printed.
    WhenPrinted,
    /// Lines on the standard input, while there are any.
    ByLines(Option<Lines>),
}

impl Acks {
    pub(crate) fn when_printed() -> Self {
        Self::WhenPrinted
    }

    pub(crate) fn by_lines() -> Self {
        Self::ByLines(Some(Lines::of_stdin(ACK_LINE_MAX)))
    }

    /// The next line; never ready without lines.
    async fn next_line(&mut self) -> Outcome<Option<Vec<u8>>> {
        match self {
            Self::ByLines(Some(lines)) => lines.next().await,
            Self::ByLines(None) | Self::WhenPrinted => std::future::pending().await,
        }
    }
}

/// What was received, and what ends it.
pub(crate) struct Reception {
    acks: Acks,
    /// Printed and not acknowledged, with manual acks; the server sends no more than MaxInflight.
    unacknowledged: BTreeMap<u64, Message>,
    received: u64,
    acknowledged: u64,
    wanted: Option<u64>,
    idle: Option<Duration>,
    style: Style,
    interrupt: Interrupt,
}

/// Why there was no more to do.
enum End {
    Complete,
    Interrupted,
    Idle(Duration),
}

impl Reception {
    pub(crate) fn new(acks: Acks, wanted: Option<u64>, idle: Option<Duration>, style: Style) -> Outcome<Self> {
        Ok(Self {
            acks,
            unacknowledged: BTreeMap::new(),
            received: 0,
            acknowledged: 0,
            wanted,
            idle,
            style,
            interrupt: Interrupt::listen()?,
        })
    }

    /// Receives until enough has come, nothing comes any more, a signal, or the end of the connection.
    pub(crate) async fn run(
        mut self,
        client: &Client,
        subscription: &mut Subscription,
        output: &mut Output,
    ) -> Outcome {
        let end = self.receive(client.status(), subscription, output).await;
        let (done, wanted) = (self.done(), self.wanted.unwrap_or(0));
        self.interrupt.end_at_the_next();
        match end? {
            _ if done >= wanted => Ok(()),
            End::Complete => Ok(()),
            End::Interrupted => Err(Failure::failed(format!(
                "ended after {} of {} messages",
                count(done),
                count(wanted)
            ))),
            End::Idle(idle) => Err(Failure::new(
                Kind::NoServer,
                format!(
                    "only {} of {} messages have come, and none for {}",
                    count(done),
                    count(wanted),
                    span(idle)
                ),
            )),
        }
    }

    async fn receive(
        &mut self,
        mut status: watch::Receiver<Status>,
        subscription: &mut Subscription,
        output: &mut Output,
    ) -> Outcome<End> {
        let mut last = Instant::now();
        while self.wanted.is_none_or(|wanted| self.done() < wanted) {
            let idle = self.idle;
            let silence = async {
                match idle {
                    Some(idle) => {
                        tokio::time::sleep_until(last + idle).await;
                        idle
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.interrupt.requested() => return Ok(End::Interrupted),
                line = self.acks.next_line() => self.acknowledge_line(line?),
                message = subscription.next() => {
                    let Some(message) = message else {
                        return Err(lost(&status));
                    };
                    self.print_with_what_is_ready(message, subscription, output)?;
                    last = Instant::now();
                }
                Ok(()) = status.changed() => tell(&status.borrow_and_update()),
                idle = silence => return Ok(End::Idle(idle)),
            }
        }
        Ok(End::Complete)
    }

    /// How many of the wanted messages are done with.
    fn done(&self) -> u64 {
        match self.acks {
            Acks::ByLines(Some(_)) => self.acknowledged,
            Acks::ByLines(None) | Acks::WhenPrinted => self.received,
        }
    }

    /// Prints a message and those that have come already, and acknowledges them once they are out.
    fn print_with_what_is_ready(
        &mut self,
        first: Message,
        subscription: &mut Subscription,
        output: &mut Output,
    ) -> Outcome {
        let room = self
            .wanted
            .map_or(u64::MAX, |wanted| wanted.saturating_sub(self.received));
        let limit = usize::try_from(room).unwrap_or(usize::MAX).clamp(1, BATCH_MAX);
        let mut printed = vec![first];
        while printed.len() < limit
            && let Some(Some(message)) = subscription.next().now_or_never()
        {
            printed.push(message);
        }
        for message in &printed {
            let shown = message::Message {
                channel: message.channel(),
                sequence: message.sequence(),
                time: message.timestamp(),
                redeliveries: message.redelivery_count(),
                payload: message.payload(),
            };
            shown.print(output, self.style)?;
        }
        output.flush()?;
        for message in printed {
            self.received += 1;
            match self.acks {
                // If the subscription has ended, the message comes again.
                Acks::WhenPrinted => drop(message.ack()),
                Acks::ByLines(_) => drop(self.unacknowledged.insert(message.sequence(), message)),
            }
        }
        Ok(())
    }

    fn acknowledge_line(&mut self, line: Option<Vec<u8>>) {
        let Some(line) = line else {
            self.acks = Acks::ByLines(None);
            return;
        };
        let text = String::from_utf8_lossy(&line);
        let wanted = match text.trim() {
            "" => self.unacknowledged.keys().next().copied(),
            text => text.parse().ok(),
        };
        match wanted.and_then(|sequence| self.unacknowledged.remove(&sequence)) {
            Some(message) => {
                // If the subscription has ended, the message comes again.
                let _ = message.ack();
                self.acknowledged += 1;
            }
            None if text.trim().is_empty() => note("Nothing waits for an acknowledgement."),
            None => note(&format!("No message {:?} waits for an acknowledgement.", text.trim())),
        }
    }
}

fn tell(status: &Status) {
    match status {
        Status::Connected => note("Connected again."),
        Status::Interrupted(loss) => note(&format!("The connection is lost: {loss}. Trying to get it back.")),
        _ => {}
    }
}

fn lost(status: &watch::Receiver<Status>) -> Failure {
    let words = match &*status.borrow() {
        Status::Ended(loss) | Status::Interrupted(loss) => format!("the connection has ended: {loss}"),
        _ => "the server has ended the subscription".to_owned(),
    };
    Failure::new(Kind::NoServer, words)
}
