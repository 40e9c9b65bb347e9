//! What a core message costs the broker: parsed, routed, gathered and handed to a socket, everything on one thread.
//!
//! `core_paths PATH MESSAGES` sends that many messages along one path and prints how often it allocated. Run it under an
//! instruction counter with two numbers of messages: the difference is what the messages cost. The client's share is small:
//! one write and few reads per pass. `cargo xtask hot-paths` does both and knows the bounds.
#![allow(clippy::print_stdout, reason = "a program for people to read")]

#[path = "../../streaming/tests/counting/mod.rs"]
mod counting;

use std::net::SocketAddr;

use seaway_broker::{Broker, BrokerOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Publishes of one pass: what a read of a busy connection brings.
const BATCH: u64 = 256;
const PAYLOAD_BYTES: usize = 128;

/// Passes before anything counts: buffers find their sizes.
const WARM_UP: u64 = 16;

/// Paths and how many subscribers they have.
const PATHS: [(&str, u64); 3] = [("core-publish", 0), ("core-deliver", 1), ("core-fan-out", 4)];

struct Run {
    publisher: TcpStream,
    subscribers: Vec<TcpStream>,
    /// The frames of one pass.
    block: Vec<u8>,
    /// What each subscriber gets of it.
    delivered: Vec<u8>,
}

impl Run {
    async fn new(address: SocketAddr, subscribers: u64) -> Result<Run, Failure> {
        let mut run = Run {
            publisher: connect(address).await?,
            subscribers: Vec::new(),
            block: publication().repeat(BATCH as usize),
            delivered: vec![0; delivery().len() * BATCH as usize],
        };
        for _ in 0..subscribers {
            let mut subscriber = connect(address).await?;
            subscriber.write_all(b"SUB orders.created 1\r\n").await?;
            barrier(&mut subscriber).await?;
            run.subscribers.push(subscriber);
        }
        run.block.extend_from_slice(b"PING\r\n");
        Ok(run)
    }

    /// Publishes a batch, and reads all that comes of it.
    async fn pass(&mut self) -> Result<(), Failure> {
        self.publisher.write_all(&self.block).await?;
        for subscriber in &mut self.subscribers {
            subscriber.read_exact(&mut self.delivered).await?;
        }
        pong(&mut self.publisher).await
    }
}

fn publication() -> Vec<u8> {
    format!(
        "PUB orders.created {PAYLOAD_BYTES}\r\n{}\r\n",
        "x".repeat(PAYLOAD_BYTES)
    )
    .into_bytes()
}

fn delivery() -> Vec<u8> {
    format!(
        "MSG orders.created 1 {PAYLOAD_BYTES}\r\n{}\r\n",
        "x".repeat(PAYLOAD_BYTES)
    )
    .into_bytes()
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    while stream.read_u8().await? != b'\n' {}
    stream
        .write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")
        .await?;
    barrier(&mut stream).await?;
    Ok(stream)
}

async fn barrier(stream: &mut TcpStream) -> Result<(), Failure> {
    stream.write_all(b"PING\r\n").await?;
    pong(stream).await
}

async fn pong(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut answer = [0; 6];
    // The broker pings too, once, when it likes.
    while answer != *b"PONG\r\n" {
        stream.read_exact(&mut answer).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let usage = "core_paths core-publish|core-deliver|core-fan-out MESSAGES";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, messages] = &arguments[..] else {
        panic!("usage: {usage}")
    };
    let (_, subscribers) = *PATHS.iter().find(|(path, _)| path == name).ok_or(usage)?;
    let passes = messages.parse::<u64>()? / BATCH;
    let broker = Broker::new(BrokerOptions::default());
    let listener = broker.listen("127.0.0.1", 0).await?;
    let mut run = Run::new(listener.address(), subscribers).await?;
    for _ in 0..WARM_UP {
        run.pass().await?;
    }
    let before = counting::allocations();
    for _ in 0..passes {
        run.pass().await?;
    }
    let allocations = counting::allocations() - before;
    let snapshot = broker.snapshot();
    let published = (WARM_UP + passes) * BATCH;
    assert_eq!(snapshot.in_messages, published, "every message arrives");
    assert_eq!(
        snapshot.out_messages,
        published * subscribers,
        "every message is delivered"
    );
    println!("{} messages, {allocations} allocations", passes * BATCH);
    Ok(())
}
