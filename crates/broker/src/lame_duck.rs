//! Lame duck mode (core specification §1.13): a server that is about to end lets its clients go to others, one after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::broker::Broker;
use crate::connection::Connection;
use crate::kind::Kind;
use crate::limits::{INFORMED_PER_TURN, LAME_DUCK_STEP};
use crate::links;
use crate::lock::lock;
use crate::reason::CloseReason;

impl Broker {
    /// Takes no more clients, tells those that are there and the other servers of the cluster that this one is about to end, and closes
    /// its clients: from `grace` on, in random order, spread over what is left of `duration`, one a second at the slowest. Returns when
    /// no client is left; connections to other servers, and everything within the process, go on.
    pub async fn lame_duck(&self, grace: Duration, duration: Duration) {
        let shared = &self.shared;
        tracing::info!("Entering lame duck mode, stop accepting new clients");
        shared.leaving.send_replace(true);
        let begun = Instant::now();
        self.tell_of_the_end().await;
        let all_gone = shared.sessions.until(|sessions| sessions.of(Kind::Client) == 0);
        if timeout_at(begun + grace, all_gone).await.is_ok() {
            return;
        }
        tracing::info!("Closing existing clients");
        let mut clients = self.clients();
        fastrand::shuffle(&mut clients);
        let count = u32::try_from(clients.len()).unwrap_or(u32::MAX).max(1);
        let step = (duration.saturating_sub(grace) / count).min(LAME_DUCK_STEP);
        let mut due = Instant::now();
        for client in clients {
            // Who has gone by itself leaves its time to the others.
            if client.outbound.is_closed() {
                continue;
            }
            client.outbound.close(CloseReason::ServerShutdown);
            due += step.mul_f64(0.5 + fastrand::f64() / 2.0);
            sleep_until(due).await;
        }
        // Some had been accepted before the end was known, and were no clients yet.
        for client in self.clients() {
            client.outbound.close(CloseReason::ServerShutdown);
        }
        let all_gone = shared.sessions.until(|sessions| sessions.of(Kind::Client) == 0);
        let _ = timeout_at(begun + grace.max(duration) + LAME_DUCK_STEP, all_gone).await;
    }

    /// Whether the broker lets its clients go.
    #[must_use]
    pub fn leaving(&self) -> watch::Receiver<bool> {
        self.shared.leaving.subscribe()
    }

    fn clients(&self) -> Vec<Arc<Connection>> {
        lock(&self.shared.registry).live().cloned().collect()
    }

    /// Says it once: to clients that take such news, and to all other servers, whose clients hear of one address less.
    async fn tell_of_the_end(&self) {
        if let Some(mesh) = &self.shared.mesh {
            links::tell_of_oneself(&self.shared, mesh);
        }
        let mut info = self.shared.info(0, String::new());
        for (index, client) in self.clients().iter().enumerate() {
            if client.takes_info.load(Ordering::Acquire) {
                client.inform(&mut info);
            }
            if index % INFORMED_PER_TURN == INFORMED_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}
