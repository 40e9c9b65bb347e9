//! Fetches a snapshot from a member, piece by piece, over as many sessions as it takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use seaway_replica::NodeId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::framing::FrameKind;
use crate::limits::{self, FETCHES_MAX, PIECE_ATTEMPTS_MAX, PIECES_AHEAD};
use crate::peer::Peer;
use crate::snapshot::{Piece, PieceName, SnapshotSink};

/// A piece, `None` when it was damaged on its way, or why there is none.
type Arrived = (PieceName, Result<Option<Piece>, String>);

/// Who waits for pieces: of each member one fetch at a time.
#[derive(Debug, Default)]
pub(crate) struct Fetches(Mutex<BTreeMap<NodeId, (u64, mpsc::Sender<Arrived>)>>);

impl Fetches {
    /// Hands over what came; what nobody waits for is dropped.
    pub(crate) fn arrived(&self, from: NodeId, name: PieceName, piece: Result<Option<Piece>, String>) {
        if let Some((_, waiting)) = self.waiting().get(&from) {
            // There is room for everything that was asked for; more than that nobody has asked for.
            let _ = waiting.try_send((name, piece));
        }
    }

    fn begin(&self, from: NodeId, number: u64) -> Result<mpsc::Receiver<Arrived>, String> {
        let mut waiting = self.waiting();
        if waiting.contains_key(&from) {
            return Err("another fetch from this member has not ended".to_owned());
        }
        if waiting.len() >= FETCHES_MAX {
            return Err("too many snapshots are being fetched".to_owned());
        }
        let (sender, receiver) = mpsc::channel(4 * PIECES_AHEAD as usize);
        waiting.insert(from, (number, sender));
        Ok(receiver)
    }

    fn end(&self, from: NodeId, number: u64) {
        let mut waiting = self.waiting();
        if waiting.get(&from).is_some_and(|(of, _)| *of == number) {
            waiting.remove(&from);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<NodeId, (u64, mpsc::Sender<Arrived>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch under way.
pub(crate) struct Fetch {
    pub(crate) peer: Arc<Peer>,
    pub(crate) snapshot: u64,
    /// The next piece that is wanted.
    pub(crate) next: u64,
    pub(crate) sink: Box<dyn SnapshotSink>,
    pub(crate) silence: Duration,
}

impl Fetch {
    /// Fetches everything from `next` on; why not, in words.
    pub(crate) async fn run(mut self, fetches: &Fetches, number: u64) -> Result<(), String> {
        let mut arrivals = fetches.begin(self.peer.id, number)?;
        // Ends it when this is dropped in the middle, too.
        let _end = End(fetches, self.peer.id, number);
        let mut sessions = self.peer.session.subscribe();
        let mut deadline = Instant::now() + self.silence;
        loop {
            let session = timeout_at(deadline, sessions.wait_for(Option::is_some)).await;
            let Ok(Ok(session)) = session.map(|session| session.map(|session| *session)) else {
                return Err(format!("there was no connection for {} s", self.silence.as_secs()));
            };
            if self.over(session, &mut arrivals, &mut sessions, &mut deadline).await? {
                return Ok(());
            }
        }
    }

    /// Fetches over one session; whether that was all.
    async fn over(
        &mut self,
        session: Option<u64>,
        arrivals: &mut mpsc::Receiver<Arrived>,
        sessions: &mut watch::Receiver<Option<u64>>,
        deadline: &mut Instant,
    ) -> Result<bool, String> {
        // What was asked for in a session before will not come; what has come of it is asked for again.
        while arrivals.try_recv().is_ok() {}
        let (mut asked, mut attempts) = (self.next, 0);
        let mut early = BTreeMap::new();
        loop {
            while asked < self.next + PIECES_AHEAD {
                if !self.ask(session, asked).await {
                    break;
                }
                asked += 1;
            }
            let arrived = tokio::select! {
                arrived = timeout_at(*deadline, arrivals.recv()) => arrived,
                _ = sessions.wait_for(|now| *now != session) => return Ok(false),
            };
            let Ok(Some((name, piece))) = arrived else {
                return Err(format!("no piece came for {} s", self.silence.as_secs()));
            };
            if name.snapshot != self.snapshot || !(self.next..asked).contains(&name.piece) {
                continue;
            }
            match piece? {
                Some(piece) => drop(early.insert(name.piece, piece)),
                None if attempts < PIECE_ATTEMPTS_MAX => {
                    attempts += 1;
                    self.ask(session, name.piece).await;
                }
                None => return Err("its pieces are damaged on their way".to_owned()),
            }
            while let Some(piece) = early.remove(&self.next) {
                *deadline = Instant::now() + self.silence;
                attempts = 0;
                if self.hand_on(piece).await? {
                    return Ok(true);
                }
            }
        }
    }

    /// Asks for a piece; `false` when the session has ended. A connection that takes nothing ends by itself.
    async fn ask(&self, session: Option<u64>, piece: u64) -> bool {
        let name = PieceName {
            snapshot: self.snapshot,
            piece,
        };
        let parts = vec![Bytes::copy_from_slice(&name.written())];
        match self.peer.links().filter(|links| Some(links.session) == session) {
            Some(links) => links.snapshot.put_in_time(FrameKind::PieceRequest, parts).await,
            None => false,
        }
    }

    /// Gives the sink its next piece; whether it was the last.
    async fn hand_on(&mut self, piece: Piece) -> Result<bool, String> {
        let (number, is_last) = (self.next, piece.is_last);
        let mut sink = std::mem::replace(&mut self.sink, Box::new(Nobody));
        let taken = tokio::task::spawn_blocking(move || {
            let taken = sink.piece(number, piece.bytes, is_last);
            (sink, taken)
        });
        let (sink, taken) = taken.await.map_err(|error| error.to_string())?;
        self.sink = sink;
        taken?;
        self.next += 1;
        Ok(is_last)
    }
}

/// Stands in while the sink works.
struct Nobody;

impl SnapshotSink for Nobody {
    fn piece(&mut self, _piece: u64, _bytes: Bytes, _is_last: bool) -> Result<(), String> {
        Err("nobody takes pieces".to_owned())
    }
}

struct End<'a>(&'a Fetches, NodeId, u64);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end(self.1, self.2);
    }
}

/// Keeps what is sent of snapshots below a rate.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    free_at: tokio::sync::Mutex<Instant>,
}

impl Pace {
    /// 0 is without limit.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            free_at: tokio::sync::Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many bytes may be sent.
    pub(crate) async fn wait_for(&self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        let mut free_at = self.free_at.lock().await;
        tokio::time::sleep_until(*free_at).await;
        let takes = bytes.min(limits::PIECE_BYTES_MAX) as u64 * 1_000_000 / self.bytes_per_second;
        *free_at = (*free_at).max(Instant::now()) + Duration::from_micros(takes);
    }
}
