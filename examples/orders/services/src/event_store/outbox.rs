//! Publishes what the outbox holds, in order: first what was stored first.
//!
//! One event at a time: its two messages, on two channels, are on their way together, and the next event waits for both
//! acknowledgements. With more on their way, a message whose acknowledgement fails would be published again behind
//! messages that were stored after it. Rows are deleted when their events are acknowledged, a batch at a time, so a crash in
//! between publishes some events twice. Nothing is left out and nothing overtakes: when an event is published for the first
//! time, everything before it has been.
//!
//! That holds however many processes drain the same outbox, since each begins at the oldest row. A lease keeps it to one of
//! them, so that events are not published once per process.

use std::time::{Duration, Instant};

use bytes::Bytes;
use seaway_client::Client;
use seaway_orders_pb::{Message as _, channel, event_type_channel};
use seaway_orders_store::{EventLog, Unpublished};
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::program::Stop;

/// Events that are read, and deleted, at once.
const BATCH_EVENTS: u32 = 64;
/// How long a lease lasts, and how much of it is left when it is lengthened.
const LEASE: Duration = Duration::from_secs(15);
const LEASE_LEFT_MIN: Duration = Duration::from_secs(10);
/// How often somebody looks who was not told: for events that other processes have stored, and for a lease that has run out.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Where messages go.
pub(super) trait Publish {
    /// Returns when the message is stored.
    fn publish(&self, channel: &str, payload: Bytes) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Publish for Client {
    async fn publish(&self, channel: &str, payload: Bytes) -> anyhow::Result<()> {
        Ok(Self::publish(self, channel, payload).await?)
    }
}

/// Publishes until the process shall end. `appended` wakes it.
pub(super) async fn drain(log: &EventLog, target: &impl Publish, holder: &str, appended: &Notify, stop: &Stop) {
    let mut lease = Lease {
        holder,
        ends: Instant::now(),
    };
    let mut backoff = Backoff::new();
    while !stop.is_requested() {
        match publish_batch(log, target, &mut lease, stop).await {
            Ok(Batch::Full) => backoff.reset(),
            Ok(Batch::Last) => {
                backoff.reset();
                let waiting = tokio::time::timeout(LOOK_INTERVAL, appended.notified());
                stop.unless(waiting).await;
            }
            Err(error) => {
                stop.unless(backoff.wait(format!("outbox: {error:#}"))).await;
            }
        }
    }
}

/// What a batch says about the next.
enum Batch {
    /// There may be more.
    Full,
    /// There was no more, somebody else has the lease, or the process shall end.
    Last,
}

struct Lease<'a> {
    holder: &'a str,
    /// Not later than by the clock of the database.
    ends: Instant,
}

impl Lease<'_> {
    /// Whether this process may drain; asks the database when the lease is about to run out.
    async fn is_held(&mut self, log: &EventLog) -> anyhow::Result<bool> {
        let asked = Instant::now();
        if self.ends.saturating_duration_since(asked) >= LEASE_LEFT_MIN {
            return Ok(true);
        }
        let is_held = log.take_lease(self.holder, LEASE).await?;
        self.ends = if is_held { asked + LEASE } else { asked };
        Ok(is_held)
    }
}

async fn publish_batch(
    log: &EventLog,
    target: &impl Publish,
    lease: &mut Lease<'_>,
    stop: &Stop,
) -> anyhow::Result<Batch> {
    let batch = log.unpublished(BATCH_EVENTS).await?;
    let is_full = batch.len() == BATCH_EVENTS as usize;
    let mut published = None;
    let mut outcome = Ok(());
    for unpublished in &batch {
        if stop.is_requested() || !lease.is_held(log).await? {
            break;
        }
        outcome = publish(target, unpublished).await;
        if outcome.is_err() {
            break;
        }
        published = Some(unpublished.position);
    }
    if let Some(position) = published {
        log.published(position).await?;
    }
    outcome?;
    let goes_on = is_full && published == batch.last().map(|last| last.position);
    Ok(if goes_on { Batch::Full } else { Batch::Last })
}

/// Publishes one event on its two channels; returns when both have acknowledged it.
async fn publish(target: &impl Publish, unpublished: &Unpublished) -> anyhow::Result<()> {
    let event = &unpublished.event;
    let payload = Bytes::from(event.encode_to_vec());
    let all = channel(&event.aggregate_type);
    let of_type = event_type_channel(&event.aggregate_type, &event.event_type);
    tokio::try_join!(
        target.publish(&all, payload.clone()),
        target.publish(&of_type, payload.clone())
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
