//! Members on loopback in one process, and a way between them that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use seaway_replica::{Class, Identity, NodeId};
use seaway_transport::limits::Timing;
use seaway_transport::{
    Answering, Belonging, Event, JoinAnswer, JoinRequest, MemberAddress, Options, Party, Piece, Ports, Security,
    SharedSecret, SnapshotSource, Standing, State, Transport,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn belonging() -> Belonging {
    Belonging::founding(Identity::founding("trial", &["a", "b", "c"]))
}

pub(crate) fn secret(text: &str) -> Security {
    Security {
        tls: None,
        secret: Some(SharedSecret::new(text)),
    }
}

pub(crate) fn options(name: &str, security: Security) -> Options {
    Options {
        listen: "127.0.0.1:0".to_owned(),
        cluster_id: "trial".to_owned(),
        name: name.to_owned(),
        security,
        snapshot_bytes_per_second: 0,
        timing: Timing {
            retry_min: Duration::from_millis(5),
            retry_max: Duration::from_millis(100),
            ..Timing::default()
        },
    }
}

/// Answers as an empty server would.
pub(crate) struct Empty;

impl Answering for Empty {
    fn standing(&self) -> Standing {
        Standing {
            state: State::Empty,
            belonging: Belonging::NONE,
            founders: vec!["a".to_owned()],
            address: "here:1".to_owned(),
            software: "trial".to_owned(),
        }
    }

    fn join(&self, asker: &Party, request: &JoinRequest) -> JoinAnswer {
        JoinAnswer::NotNow(format!("{} as {}", asker.name, request.name))
    }
}

/// Has one snapshot, with the number 7: so many pieces.
pub(crate) struct Pieces(pub(crate) u64);

impl Pieces {
    pub(crate) fn bytes(piece: u64) -> Bytes {
        vec![piece as u8; 200_000 + piece as usize].into()
    }
}

impl SnapshotSource for Pieces {
    fn piece(&self, _member: NodeId, snapshot: u64, piece: u64) -> Result<Piece, String> {
        if snapshot != 7 || piece >= self.0 {
            return Err(format!("there is no piece {piece} of snapshot {snapshot}"));
        }
        Ok(Piece {
            bytes: Self::bytes(piece),
            is_last: piece + 1 == self.0,
        })
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) transport: Transport,
    pub(crate) events: UnboundedReceiver<Event>,
}

impl Node {
    pub(crate) async fn start(options: Options) -> Self {
        let (sender, events) = unbounded_channel();
        let name = options.name.clone();
        let ports = Ports {
            events: Arc::new(move |event| drop(sender.send(event))),
            answering: Arc::new(Empty),
            snapshots: Arc::new(Pieces(40)),
        };
        let transport = Transport::start(options, ports).await.unwrap();
        Self {
            id: 0,
            name,
            transport,
            events,
        }
    }

    pub(crate) async fn member(name: &str, id: NodeId, security: Security) -> Self {
        Self::start(options(name, security)).await.enter(id, belonging())
    }

    pub(crate) fn enter(mut self, id: NodeId, belonging: Belonging) -> Self {
        self.id = id;
        self.transport.enter(id, belonging);
        self
    }

    pub(crate) fn address(&self) -> MemberAddress {
        self.at(self.transport.address())
    }

    pub(crate) fn at(&self, address: SocketAddr) -> MemberAddress {
        MemberAddress {
            id: self.id,
            name: self.name.clone(),
            address: address.to_string(),
        }
    }

    pub(crate) async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event
            .unwrap_or_else(|_| panic!("nothing happens at {}", self.name))
            .unwrap()
    }

    /// Waits for the event that `wanted` takes.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.event().await) {
                return found;
            }
        }
    }

    pub(crate) async fn connected(&mut self, to: NodeId) -> u64 {
        self.until(|event| match event {
            Event::Connected { node, session } if node == to => Some(session),
            _ => None,
        })
        .await
    }

    pub(crate) async fn lost(&mut self, to: NodeId) -> (u64, String) {
        self.until(|event| match event {
            Event::Lost { node, session, why } if node == to => Some((session, why)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn refused(&mut self) -> (String, String) {
        self.until(|event| match event {
            Event::Refused { who, words } => Some((who, words)),
            Event::Connected { node, .. } => panic!("{node} was let in"),
            _ => None,
        })
        .await
    }

    pub(crate) async fn frame(&mut self, sender: NodeId) -> (u64, Class, Bytes) {
        self.until(|event| match event {
            Event::Frame {
                from,
                session,
                class,
                bytes,
                untaken,
            } if from == sender => {
                drop(untaken);
                Some((session, class, bytes))
            }
            _ => None,
        })
        .await
    }
}

pub(crate) fn introduce(nodes: &[&Node]) {
    let members: Vec<_> = nodes.iter().map(|node| node.address()).collect();
    for node in nodes {
        node.transport.set_members(&members);
    }
}

/// Passes connections on to an address, and cuts one of them when it has passed so many bytes.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    armed: Arc<Armed>,
}

#[derive(Default)]
struct Armed {
    /// Number of the connection that is to be cut.
    which: AtomicUsize,
    /// Bytes that it may pass until then.
    left: AtomicI64,
    made: AtomicUsize,
}

impl Way {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let armed = Arc::new(Armed::default());
        armed.which.store(usize::MAX, Ordering::SeqCst);
        let shared = Arc::clone(&armed);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = shared.made.fetch_add(1, Ordering::SeqCst);
                let armed = Arc::clone(&shared);
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else {
                        return;
                    };
                    pass(near, far, number, &armed).await;
                });
            }
        });
        Self { address, armed }
    }

    /// Connections so far.
    pub(crate) fn made(&self) -> usize {
        self.armed.made.load(Ordering::SeqCst)
    }

    /// Cuts the connection with this number after so many more bytes.
    pub(crate) fn cut(&self, which: usize, after: i64) {
        self.armed.left.store(after, Ordering::SeqCst);
        self.armed.which.store(which, Ordering::SeqCst);
    }
}

async fn pass(mut near: TcpStream, mut far: TcpStream, number: usize, armed: &Armed) {
    let (mut here, mut there) = (vec![0; 4_096], vec![0; 4_096]);
    loop {
        let (count, is_near) = tokio::select! {
            read = near.read(&mut here) => (read.unwrap_or(0), true),
            read = far.read(&mut there) => (read.unwrap_or(0), false),
            () = tokio::time::sleep(Duration::from_millis(2)) => {
                let is_cut = armed.which.load(Ordering::SeqCst) == number && armed.left.load(Ordering::SeqCst) <= 0;
                if is_cut {
                    return;
                }
                continue;
            }
        };
        if count == 0 {
            return;
        }
        let mut allowed = count;
        if armed.which.load(Ordering::SeqCst) == number {
            let left = armed.left.fetch_sub(count as i64, Ordering::SeqCst);
            allowed = count.min(left.max(0) as usize);
        }
        let written = match is_near {
            true => far.write_all(&here[..allowed]).await,
            false => near.write_all(&there[..allowed]).await,
        };
        if written.is_err() {
            return;
        }
        if allowed < count {
            return;
        }
    }
}
