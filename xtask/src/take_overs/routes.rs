//! Ways between servers that can be cut: each server's routes come in through one, whose address it tells the others.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;

/// Bytes that are carried at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A way to one server.
pub(crate) struct Way {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Way {
    /// One to whoever listens on this port now and later.
    pub(crate) fn to(port: u16) -> anyhow::Result<Way> {
        let listener = TcpListener::bind("127.0.0.1:0").context("open a way between servers")?;
        let way = Way {
            address: listener.local_addr()?,
            shared: Arc::default(),
        };
        let shared = Arc::clone(&way.shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Whoever comes while it is cut, or in vain, is let go.
                let _ = carry_both(client, port, &shared);
            }
        });
        Ok(way)
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends what goes over it, and lets nobody in until it is mended.
    pub(crate) fn cut(&self) {
        let mut open = self.shared.open.lock().expect("no holder panics");
        self.shared.is_cut.store(true, Ordering::Release);
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets everybody in again.
    pub(crate) fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::Release);
    }
}

fn carry_both(client: TcpStream, port: u16, shared: &Shared) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port))?;
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let mut open = shared.open.lock().expect("no holder panics");
    if shared.is_cut.load(Ordering::Acquire) {
        return Ok(());
    }
    open.push(client.try_clone()?);
    open.push(server.try_clone()?);
    drop(open);
    std::thread::spawn(move || carry(client, server));
    std::thread::spawn(move || carry(from_server, to_client));
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(count) = from.read(&mut piece) {
        if count == 0 || to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
