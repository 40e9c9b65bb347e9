//! Acknowledgements of deliveries on their way out: a queue, so that acknowledging never waits.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

enum Command {
    Publish { inbox: String, ack: Bytes },
    Flush(oneshot::Sender<()>),
}

/// The queue's entry. It holds at most one acknowledgement per delivery, and deliveries are bounded by MaxInflight.
#[derive(Clone)]
pub(crate) struct AckQueue(mpsc::UnboundedSender<Command>);

/// The queue's exit.
pub(crate) struct AckSender(mpsc::UnboundedReceiver<Command>);

pub(crate) fn queue() -> (AckQueue, AckSender) {
    let (entry, exit) = mpsc::unbounded_channel();
    (AckQueue(entry), AckSender(exit))
}

impl AckQueue {
    pub(crate) fn publish(&self, inbox: String, ack: Bytes) {
        // Without an exit the connection is closed, and the message will be delivered again.
        let _ = self.0.send(Command::Publish { inbox, ack });
    }

    /// Waits until everything queued so far is handed to the connection, in front of whatever is sent next.
    pub(crate) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.0.send(Command::Flush(done)).is_ok() {
            let _ = is_done.await;
        }
    }
}

impl AckSender {
    pub(crate) async fn run(mut self, nats: async_nats::Client) {
        while let Some(command) = self.0.recv().await {
            match command {
                // An acknowledgement that is lost costs a redelivery.
                Command::Publish { inbox, ack } => drop(nats.publish(inbox, ack).await),
                Command::Flush(done) => drop(done.send(())),
            }
        }
    }
}
