//! What becomes of clients, for whoever tells others of it (core specification §2.6).

use std::sync::OnceLock;

use tokio::sync::mpsc;

use crate::limits::CLIENT_EVENTS_WAITING;
use crate::snapshot::ConnectionSnapshot;

/// Something that became of a client.
#[derive(Debug, Clone)]
pub struct ClientEvent {
    /// What it was.
    pub kind: ClientEventKind,
    /// The client at that moment.
    pub connection: Box<ConnectionSnapshot>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEventKind {
    /// It said CONNECT and was let in: the first time, or into another account.
    Connected,
    /// It has gone after it was let in.
    Disconnected,
    /// It has gone because it did not say who it is, or not in time, or may not be what it says.
    Refused,
}

/// Where events go, if anybody wants them.
#[derive(Default)]
pub(crate) struct Events(OnceLock<mpsc::Sender<ClientEvent>>);

impl Events {
    /// From now on they go to who is first to ask; `None` for all others.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<ClientEvent>> {
        let (events, taken) = mpsc::channel(CLIENT_EVENTS_WAITING);
        self.0.set(events).is_ok().then_some(taken)
    }

    /// Tells of a client, unless nobody wants to know or too many events wait.
    pub(crate) fn tell(&self, kind: ClientEventKind, connection: impl FnOnce() -> ConnectionSnapshot) {
        if let Some(permit) = self.0.get().and_then(|events| events.try_reserve().ok()) {
            permit.send(ClientEvent {
                kind,
                connection: Box::new(connection()),
            });
        }
    }
}
