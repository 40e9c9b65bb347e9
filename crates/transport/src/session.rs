//! One session with a member: three connections, the tasks that read and write them, and its end, which is the end of all three.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use seaway_replica::Class;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadHalf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::events::{Event, Untaken};
use crate::framing::{Decoder, FrameKind};
use crate::greeting::Purpose;
use crate::limits;
use crate::peer::{End, Links, Peer};
use crate::shared::Shared;
use crate::snapshot::{self, PieceName};
use crate::stream::{Set, Stream};
use crate::wire::{shown, write_text};

/// How long a side that closes waits for its last words to leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs a session until it ends, behind the end of the one before it.
pub(crate) async fn run(shared: Arc<Shared>, peer: Arc<Peer>, session: u64, set: Set) {
    let Some(mut turn) = peer.turn(session) else { return };
    if let Some(before) = turn.before.take() {
        before.stop(End::replaced());
        before.ended().await;
    }
    if turn.stop.borrow().is_some() {
        return;
    }
    let links = Arc::new(Links::new(session));
    peer.listed().refused = None;
    peer.set_links(Some(Arc::clone(&links)));
    shared.tell(Event::Connected { node: peer.id, session });
    let mut tasks = JoinSet::new();
    begin(&shared, &peer, &links, set, &mut tasks);
    let why = tokio::select! {
        end = stopped(&mut turn.stop) => {
            if end.is_said {
                say_goodbye(&links, &end.why, &mut tasks).await;
            }
            end.why
        }
        ended = tasks.join_next() => match ended {
            Some(Ok(why)) => why,
            _ => "a task of the connection has failed".to_owned(),
        },
    };
    peer.set_links(None);
    links.close();
    tasks.shutdown().await;
    peer.counters.lost.fetch_add(1, Ordering::Relaxed);
    let node = peer.id;
    shared.tell(Event::Lost { node, session, why });
    turn.ended.send_replace(true);
}

async fn stopped(stop: &mut watch::Receiver<Option<End>>) -> End {
    let end = stop.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
    match end {
        Some(end) => end,
        None => std::future::pending().await,
    }
}

/// Says why, and waits until the other side has closed its connections with that: of three that end at once it could see another first.
async fn say_goodbye(links: &Links, why: &str, tasks: &mut JoinSet<String>) {
    let mut words = Vec::new();
    write_text(why, limits::WORDS_BYTES_MAX, &mut words);
    let all = async {
        if links.control.put_in_time(FrameKind::Goodbye, vec![words.into()]).await {
            tasks.join_next().await;
        }
    };
    // Whoever does not take it sees the end of the connection.
    let _ = tokio::time::timeout(GOODBYE, all).await;
}

fn begin(shared: &Arc<Shared>, peer: &Arc<Peer>, links: &Arc<Links>, set: Set, tasks: &mut JoinSet<String>) {
    let (asked, asked_for) = mpsc::channel(limits::PIECES_AHEAD as usize + 1);
    let control = Arc::new(Semaphore::new(limits::CONTROL_UNTAKEN_BYTES_MAX));
    let bulk = Arc::new(Semaphore::new(limits::BULK_UNTAKEN_BYTES_MAX));
    for (purpose, stream) in Purpose::SET.into_iter().zip(set) {
        let stall = match purpose {
            Purpose::Control => shared.options.timing.control_stall,
            _ => shared.options.timing.bulk_stall,
        };
        stream.set_stall(stall);
        let (from, mut to) = tokio::io::split(stream);
        let (writer, written) = (Arc::clone(links), Arc::clone(peer));
        tasks.spawn(async move {
            let count = |bytes| {
                written.counters.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            };
            let why = writer.outbox(purpose).write_to(&mut to, stall, count).await;
            format!("writing to the {} connection: {why}", name(purpose))
        });
        let reading = Reading {
            shared: Arc::clone(shared),
            peer: Arc::clone(peer),
            links: Arc::clone(links),
            asked: asked.clone(),
            purpose,
            room: match purpose {
                Purpose::Control => (Arc::clone(&control), limits::CONTROL_UNTAKEN_BYTES_MAX),
                _ => (Arc::clone(&bulk), limits::BULK_UNTAKEN_BYTES_MAX),
            },
        };
        tasks.spawn(reading.run(from));
    }
    tasks.spawn(ping(Arc::clone(shared), Arc::clone(peer), Arc::clone(links)));
    tasks.spawn(serve_pieces(
        Arc::clone(shared),
        Arc::clone(peer),
        Arc::clone(links),
        asked_for,
    ));
}

const fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Control => "control",
        Purpose::Bulk => "bulk",
        Purpose::Snapshot => "snapshot",
        Purpose::Ask => "question's",
    }
}

/// Says "I am here", and ends the session when the other side does not.
async fn ping(shared: Arc<Shared>, peer: Arc<Peer>, links: Arc<Links>) -> String {
    let timing = shared.options.timing;
    let mut every = tokio::time::interval(timing.ping);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let began = Instant::now();
    let (mut heard, mut since) = (peer.statistics().received_bytes, began);
    loop {
        every.tick().await;
        let now = Instant::now();
        let received = peer.counters.received_bytes.load(Ordering::Relaxed);
        if received != heard {
            (heard, since) = (received, now);
        } else if now - since >= timing.silence {
            return format!("nothing was heard for {} ms", (now - since).as_millis());
        }
        let at = shared.began.elapsed().as_nanos() as u64;
        // Without room for it there is a write that does not end, which is watched as well.
        if links
            .control
            .put(FrameKind::Ping, vec![Bytes::copy_from_slice(&at.to_le_bytes())])
        {
            links.control.wake();
        }
    }
}

/// Reads one connection.
struct Reading {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    links: Arc<Links>,
    asked: mpsc::Sender<PieceName>,
    purpose: Purpose,
    /// Room for frames that are not taken, and how much there is of it.
    room: (Arc<Semaphore>, usize),
}

impl Reading {
    async fn run(self, mut from: ReadHalf<Stream>) -> String {
        let why = self.read(&mut from).await;
        format!("reading from the {} connection: {why}", name(self.purpose))
    }

    async fn read(&self, from: &mut (impl AsyncRead + Unpin)) -> String {
        let mut decoder = Decoder::new(self.purpose);
        loop {
            loop {
                match decoder.next_frame() {
                    Ok(None) => break,
                    Ok(Some((kind, frame))) => {
                        if let Err(why) = self.take(kind, frame).await {
                            return why;
                        }
                    }
                    Err(error) => return error.to_string(),
                }
            }
            match from.read_buf(decoder.buffer()).await {
                Ok(0) => return "the other side has closed it".to_owned(),
                Ok(count) => self.peer.heard(count),
                Err(error) => return error.to_string(),
            }
        }
    }

    async fn take(&self, kind: FrameKind, frame: Bytes) -> Result<(), String> {
        match kind {
            FrameKind::Member => self.member(frame).await,
            FrameKind::Ping => {
                // Of somebody who sends more of them than are answered some are not.
                if frame.len() == 8 && self.links.control.put(FrameKind::Pong, vec![frame]) {
                    self.links.control.wake();
                }
                Ok(())
            }
            FrameKind::Pong => {
                let sent = frame.first_chunk().map(|at| u64::from_le_bytes(*at));
                let now = self.shared.began.elapsed().as_nanos() as u64;
                if let Some(took) = sent.and_then(|sent| now.checked_sub(sent)) {
                    self.peer.measured(Duration::from_nanos(took));
                }
                Ok(())
            }
            FrameKind::Goodbye => {
                let words = frame.get(2..).map(String::from_utf8_lossy).unwrap_or_default();
                Err(format!("the other side closes it: {}", shown(&words)))
            }
            FrameKind::PieceRequest => {
                let name = PieceName::read(&frame).map_err(|error| error.to_string())?;
                let asked = self.asked.try_send(name);
                asked.map_err(|_| "it asks for more pieces than it may at once".to_owned())
            }
            FrameKind::Piece => {
                let (name, piece) = snapshot::read_piece(&frame).map_err(|error| error.to_string())?;
                self.shared.fetches.arrived(self.peer.id, name, Ok(piece));
                Ok(())
            }
            FrameKind::PieceRefusal => {
                let (name, words) = snapshot::read_refusal(&frame).map_err(|error| error.to_string())?;
                self.shared.fetches.arrived(self.peer.id, name, Err(shown(&words)));
                Ok(())
            }
            FrameKind::Question | FrameKind::Answer => Err("it asks where nothing is asked".to_owned()),
        }
    }

    async fn member(&self, frame: Bytes) -> Result<(), String> {
        let wanted = frame.len().clamp(1, self.room.1) as u32;
        let permit = Arc::clone(&self.room.0).acquire_many_owned(wanted).await;
        let untaken = Untaken(permit.map_err(|error| error.to_string())?);
        let class = match self.purpose {
            Purpose::Bulk => Class::Bulk,
            _ => Class::Control,
        };
        self.shared.tell(Event::Frame {
            from: self.peer.id,
            session: self.links.session,
            class,
            bytes: frame,
            untaken,
        });
        Ok(())
    }
}

/// Sends the pieces that the other side asks for.
async fn serve_pieces(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    links: Arc<Links>,
    mut asked: mpsc::Receiver<PieceName>,
) -> String {
    while let Some(name) = asked.recv().await {
        let read = shared.read_piece(peer.id, name).await;
        let is_sent = match read {
            Ok(piece) => {
                shared.pace.wait_for(piece.bytes.len()).await;
                let parts = snapshot::write_piece(name, piece);
                links.snapshot.put_in_time(FrameKind::Piece, parts).await
            }
            Err(words) => {
                let parts = snapshot::write_refusal(name, &words);
                links.snapshot.put_in_time(FrameKind::PieceRefusal, parts).await
            }
        };
        if !is_sent {
            break;
        }
    }
    "it asks for no more pieces".to_owned()
}
