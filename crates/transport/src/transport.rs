//! The transport as whoever drives a replica has it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use seaway_replica::{Class, NodeId, Unsent};
use tokio::net::TcpListener;

use crate::asking::{Answer, MemberAddress, Question};
use crate::dialling;
use crate::fetching::Fetch;
use crate::greeting::{Belonging, Party};
use crate::limits;
use crate::listening;
use crate::options::{Options, Ports};
use crate::peer::{Links, PeerStatistics, purpose_of};
use crate::questions::{self, Unanswered};
use crate::shared::{Own, Shared};
use crate::snapshot::SnapshotSink;

/// Why a transport cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The address cannot be listened on.
    #[error("the members' port cannot be opened on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A name is longer than what is sent.
    #[error("{0} is longer than {max} bytes", max = limits::NAME_BYTES_MAX)]
    Name(&'static str),
}

/// Connections to the other members of a cluster.
///
/// It listens from the start and answers questions; members are dialled and let in from `enter` on.
pub struct Transport {
    shared: Arc<Shared>,
    address: SocketAddr,
    number: std::sync::atomic::AtomicU64,
}

impl Transport {
    /// Opens the members' port, on the runtime that this is called in.
    ///
    /// # Errors
    ///
    /// See `NotStarted`.
    pub async fn start(options: Options, ports: Ports) -> Result<Self, NotStarted> {
        for (what, name) in [
            ("the cluster's id", &options.cluster_id),
            ("the member's name", &options.name),
        ] {
            if name.len() > limits::NAME_BYTES_MAX {
                return Err(NotStarted::Name(what));
            }
        }
        let refused = |error| NotStarted::Listen {
            address: options.listen.clone(),
            error,
        };
        let listener = TcpListener::bind(&options.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let [a, b, c, d, e, f, g, h, ..] = crate::handshake::nonce();
        let boot = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let shared = Arc::new(Shared::new(options, ports, boot));
        shared.spawn(listening::listen(Arc::clone(&shared), listener));
        Ok(Self {
            shared,
            address,
            number: 0.into(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this server is a member with this id, of this cluster. Called again when the identity of the cluster changes; sessions go
    /// on then.
    pub fn enter(&self, id: NodeId, belonging: Belonging) {
        let before = self.shared.set_own(Own { id, belonging });
        if before.is_some_and(|before| before.id != id) {
            self.shared.gathering.clear();
            for peer in self.shared.peers().known.values() {
                peer.stop("this member begins anew");
            }
        }
        self.dial_who_is_ours();
    }

    /// These are the members, this one among them or not. Who is new is dialled, or dials. Who is not on the list any more stays connected
    /// for `Timing::linger`, then it is told that it was taken out; ids do not come back.
    pub fn set_members(&self, members: &[MemberAddress]) {
        let own = self.shared.own().map(|own| own.id);
        let mut peers = self.shared.peers();
        for member in members.iter().filter(|member| Some(member.id) != own && member.id != 0) {
            peers.returns(member.id);
            let Some(peer) = peers.get_or_add(member.id) else {
                continue;
            };
            let mut listed = peer.listed();
            listed.name.clone_from(&member.name);
            listed.is_member = true;
            if listed.address.as_ref() != Some(&member.address) {
                listed.address = Some(member.address.clone());
                peer.hurry.notify_one();
            }
        }
        let gone: Vec<_> = peers.known.values().cloned().collect();
        for peer in gone {
            if members.iter().any(|member| member.id == peer.id) || !peer.listed().is_member {
                continue;
            }
            peers.departs(peer.id);
            let mut listed = peer.listed();
            listed.is_member = false;
            if let Some(dialler) = listed.dialler.take() {
                dialler.abort();
            }
            drop(listed);
            let shared = Arc::clone(&self.shared);
            self.shared.spawn(async move {
                tokio::time::sleep(shared.options.timing.linger).await;
                if shared.peers().has_departed(peer.id) {
                    peer.stop("the member was taken out of the cluster");
                }
            });
        }
        drop(peers);
        self.dial_who_is_ours();
    }

    fn dial_who_is_ours(&self) {
        let Some(own) = self.shared.own() else { return };
        let peers: Vec<_> = self.shared.peers().known.values().cloned().collect();
        for peer in peers {
            let mut listed = peer.listed();
            let is_ours = listed.is_member && dialling::is_up_to(own.id, peer.id);
            if is_ours && listed.dialler.is_none() {
                let keep = dialling::keep(Arc::clone(&self.shared), Arc::clone(&peer));
                listed.dialler = Some(self.shared.spawn(keep));
            } else if !is_ours && let Some(dialler) = listed.dialler.take() {
                dialler.abort();
            }
        }
    }

    /// Sends one frame, in whatever session; see `Batch::send`.
    ///
    /// # Errors
    ///
    /// There is no connection, or no room: nothing was queued.
    pub fn send(&self, to: NodeId, class: Class, frame: Vec<Bytes>) -> Result<(), Unsent> {
        self.batch().send(to, None, class, frame)
    }

    /// Sends what one pass has to send, with one wake-up for each connection at its end. Can be called from any thread.
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            shared: &self.shared,
            touched: Vec::new(),
        }
    }

    /// Closes the session with a member, which is told why; it connects anew after a while.
    pub fn disconnect(&self, node: NodeId, why: &str) {
        if let Some(peer) = self.shared.peer(node) {
            peer.stop(why);
        }
    }

    /// Asks whoever is at an address, `host:port`.
    ///
    /// # Errors
    ///
    /// Nobody there answers, or it is oneself.
    pub async fn ask(&self, address: &str, question: &Question) -> Result<(Party, Answer), Unanswered> {
        questions::ask(&self.shared, address, question).await
    }

    /// Fetches the pieces of a snapshot from a member, from the piece `first` on, over as many sessions as it takes. Dropping the future
    /// ends it.
    ///
    /// # Errors
    ///
    /// Why there is no more to be had: the source or the sink has refused, or nothing has come for `limits::FETCH_SILENCE`.
    pub async fn fetch(
        &self,
        from: NodeId,
        snapshot: u64,
        first: u64,
        sink: Box<dyn SnapshotSink>,
    ) -> Result<(), String> {
        let peer = self.shared.peer(from);
        let fetch = Fetch {
            peer: peer.ok_or_else(|| format!("member {from:016x} is not known"))?,
            snapshot,
            next: first,
            sink,
            silence: limits::FETCH_SILENCE,
        };
        let number = self.number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        fetch.run(&self.shared.fetches, number).await
    }

    /// What is known of each member.
    pub fn statistics(&self) -> Vec<PeerStatistics> {
        let peers: Vec<_> = self.shared.peers().known.values().cloned().collect();
        peers.iter().map(|peer| peer.statistics()).collect()
    }

    /// Closes everything. No event comes after it has returned.
    pub async fn close(self) {
        self.shared.fall_silent();
        let mut tasks = std::mem::take(&mut *self.shared.tasks());
        tasks.shutdown().await;
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.fall_silent();
        self.shared.tasks().abort_all();
        self.shared.gathering.clear();
    }
}

/// What one pass sends. When it is dropped the connections that it touched are woken, each once.
pub struct Batch<'a> {
    shared: &'a Shared,
    touched: Vec<(Arc<Links>, Class)>,
}

impl Batch<'_> {
    /// Puts a frame into the queue of a connection: its parts one after the other, which are not copied. With a session it is sent in this
    /// one or not at all: a frame that was meant for the one before must not be answered in the next.
    ///
    /// # Errors
    ///
    /// There is no such session, or no room, or the frame is longer than frames of its class may be: nothing was queued.
    pub fn send(&mut self, to: NodeId, session: Option<u64>, class: Class, frame: Vec<Bytes>) -> Result<(), Unsent> {
        let links = self.shared.peer(to).ok_or(Unsent)?.put(session, class, frame)?;
        let outbox = links.outbox(purpose_of(class));
        if outbox.queued().1 >= limits::BATCH_WAKES_BYTES {
            outbox.wake();
        }
        let is_touched = |touched: &(Arc<Links>, Class)| Arc::ptr_eq(&touched.0, &links) && touched.1 == class;
        if !self.touched.iter().any(is_touched) {
            self.touched.push((links, class));
        }
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for (links, class) in &self.touched {
            links.outbox(purpose_of(*class)).wake();
        }
    }
}
