//! What members of a group say to each other on the bus: the one that serves, that it does (`stores-and-clustering.md` §7.2).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use seaway_stan_protocol::heartbeat::{self, Heartbeat};
use seaway_tenure::Patience;
use tokio::sync::Notify;

use crate::bus::{Attachment, Batch, Bus, InvalidSubject, Listener, Sender};

/// Bytes of a server ID that are kept: more than any server has.
const SERVER_ID_BYTES_MAX: usize = 128;

/// The group's subject: listened to as long as the process lives.
pub(super) struct Heartbeats {
    attachment: Attachment,
    ears: Arc<Ears>,
    subject: String,
}

/// The last heartbeat that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) server_id: String,
    pub(super) tenure: u64,
    pub(super) at: Instant,
}

#[derive(Default)]
pub(super) struct Ears {
    heard: Mutex<Heard>,
    news: Notify,
}

impl Default for Heard {
    fn default() -> Heard {
        Heard {
            server_id: String::new(),
            tenure: 0,
            at: Instant::now(),
        }
    }
}

impl Ears {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last heartbeat, if there was one.
    pub(super) fn last(&self) -> Option<Heard> {
        Some(self.lock().clone()).filter(|heard| !heard.server_id.is_empty())
    }

    /// Waits until somebody says that it serves under a number above this one.
    pub(super) async fn above(&self, number: u64) -> Heard {
        loop {
            let news = self.news.notified();
            if let Some(heard) = self.last().filter(|heard| heard.tenure > number) {
                return heard;
            }
            news.await;
        }
    }

    /// Forgets what was heard: it was not so.
    pub(super) fn forget(&self) {
        *self.lock() = Heard::default();
    }
}

impl Listener for Ears {
    fn deliver(&self, batch: Batch) {
        for message in batch.iter() {
            let Some(heartbeat) = Heartbeat::decode(message.payload) else {
                continue;
            };
            let id = &heartbeat.server_id;
            let id = String::from_utf8_lossy(id.get(..SERVER_ID_BYTES_MAX).unwrap_or(id)).into_owned();
            *self.lock() = Heard {
                server_id: id,
                tenure: heartbeat.tenure,
                at: Instant::now(),
            };
        }
        self.news.notify_waiters();
    }
}

impl Heartbeats {
    /// Listens from now on.
    ///
    /// # Errors
    /// Cluster ID and group give no subject.
    pub(super) fn new(bus: &Bus, cluster_id: &str, group: &str) -> Result<Heartbeats, InvalidSubject> {
        let ears = Arc::<Ears>::default();
        let attachment = bus.attach("fault tolerance", Arc::clone(&ears));
        let subject = heartbeat::subject(cluster_id, group);
        attachment.subscribe(&subject, 0, false)?;
        Ok(Heartbeats {
            attachment,
            ears,
            subject,
        })
    }

    pub(super) fn ears(&self) -> &Arc<Ears> {
        &self.ears
    }

    /// A voice for the tenure with this number, which begins now.
    pub(super) fn voice(&self, server_id: &str, tenure: u64) -> Voice {
        let heartbeat = Heartbeat {
            server_id: server_id.as_bytes().to_vec(),
            active_since: Some(SystemTime::now()),
            tenure,
        };
        Voice {
            sender: self.attachment.sender(),
            subject: self.subject.clone(),
            heartbeat: heartbeat.encode(),
        }
    }
}

/// Says that a server serves.
pub(super) struct Voice {
    sender: Sender,
    subject: String,
    heartbeat: Vec<u8>,
}

impl Voice {
    pub(super) fn beat(&mut self) {
        let _ = self.sender.send(self.subject.as_bytes(), None, &[&self.heartbeat]);
        self.sender.flush();
    }
}

/// Tells the operator of others that say they serve while this server does (§7.3), less and less often.
#[derive(Default)]
pub(super) struct Claims(Patience);

impl Claims {
    pub(super) fn tell(&mut self, heard: &Heard) {
        if self.0.is_due(Instant::now()) {
            let (id, tenure) = (&heard.server_id, heard.tenure);
            tracing::error!(
                target: "stream",
                "ft: serverID {id:?} claims to be active under tenure {tenure}; the directory says otherwise, and this server goes on. \
                 If it is one of the group it has another directory: stop it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use seaway_broker::{Broker, BrokerOptions};

    use super::*;

    #[test]
    fn others_are_heard_oneself_is_not_and_garbage_is_ignored() {
        let bus = Bus::new(&Broker::new(BrokerOptions::default()));
        let [one, other] = [0, 1].map(|_| Heartbeats::new(&bus, "cluster", "group").unwrap());
        one.voice("ONE", 7).beat();
        assert_eq!(one.ears().last(), None);
        let heard = other.ears().last().unwrap();
        assert_eq!((heard.server_id.as_str(), heard.tenure), ("ONE", 7));
        let somebody = bus.attach("somebody", Arc::new(Ears::default()));
        let mut sender = somebody.sender();
        for garbage in [&b""[..], b"garbage", &[0xff; 100]] {
            let _ = sender.send(b"_STAN.ft.cluster.group", None, &[garbage]);
        }
        sender.flush();
        assert_eq!(other.ears().last(), Some(heard));
    }
}
