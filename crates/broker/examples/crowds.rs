//! How much work the broker does in one go when a client has very many subscriptions.
//!
//! `crowds OPERATION SUBSCRIPTIONS` prints the most that others waited for, in the broker's own units or in subscriptions: counts,
//! no times. `cargo xtask hot-paths` runs it for two sizes and knows the bounds.
#![allow(clippy::print_stdout, reason = "a program for people to read")]

use std::net::SocketAddr;

use seaway_broker::{Broker, BrokerOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As the server has it.
const TURNS_PER_LOOK_AT_SOCKETS: u32 = 16;

/// Publishes that reach every subscription.
const PUBLISHES: usize = 64;

async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    while stream.read_u8().await? != b'\n' {}
    stream
        .write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")
        .await?;
    ping(&mut stream).await?;
    Ok(stream)
}

/// Asks, and waits for the answer; nothing else may be on its way.
async fn ping(stream: &mut TcpStream) -> Result<(), Failure> {
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 6];
    // The broker pings too, once, when it likes.
    while answer != *b"PONG\r\n" {
        stream.read_exact(&mut answer).await?;
    }
    Ok(())
}

/// A client with so many subscriptions, whose subjects are made from their numbers.
async fn subscribe(address: SocketAddr, count: usize, subject: impl Fn(usize) -> String) -> Result<TcpStream, Failure> {
    const BLOCK: usize = 4_096;
    let mut client = connect(address).await?;
    for first in (0..count).step_by(BLOCK) {
        let numbers = first..count.min(first + BLOCK);
        let lines: String = numbers
            .map(|number| format!("SUB {} {number}\r\n", subject(number)))
            .collect();
        client.write_all(lines.as_bytes()).await?;
        ping(&mut client).await?;
    }
    Ok(client)
}

/// All patterns of a literal and a wildcard in as many tokens as give that count: each matches what is published. The work of the
/// longest turn.
async fn overlapping_wildcards(broker: &Broker, address: SocketAddr, count: usize) -> Result<u64, Failure> {
    let tokens = count.ilog2();
    assert!(count.is_power_of_two(), "as many patterns as there are combinations");
    let pattern = |number: usize| {
        let tokens = (0..tokens).map(|bit| if number >> bit & 1 == 0 { "a" } else { "*" });
        tokens.collect::<Vec<_>>().join(".")
    };
    let mut subscriber = subscribe(address, count, pattern).await?;
    let reading = tokio::spawn(async move {
        let mut scratch = vec![0; 1 << 20];
        while matches!(subscriber.read(&mut scratch).await, Ok(read) if read > 0) {}
    });
    let mut publisher = connect(address).await?;
    let publishes = format!("PUB {} 0\r\n\r\n", vec!["a"; tokens as usize].join(".")).repeat(PUBLISHES);
    publisher.write_all(publishes.as_bytes()).await?;
    ping(&mut publisher).await?;
    let snapshot = broker.snapshot();
    assert!(
        snapshot.work > (PUBLISHES * count) as u64,
        "each publish reaches everybody"
    );
    reading.abort();
    Ok(snapshot.longest_turn)
}

/// A client with so many subscriptions goes. The most of them that ended between two answers to somebody else.
async fn teardown(broker: &Broker, address: SocketAddr, count: usize) -> Result<u64, Failure> {
    let mut other = connect(address).await?;
    let client = subscribe(address, count, |number| format!("inbox.{number}")).await?;
    let left = || broker.snapshot().subscriptions;
    assert_eq!(left(), count, "all are there");
    drop(client);
    let (mut before, mut most) = (count, 0);
    while before > 0 {
        ping(&mut other).await?;
        let now = left();
        most = most.max(before - now);
        before = now;
    }
    Ok(most as u64)
}

fn main() -> Result<(), Failure> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().event_interval(TURNS_PER_LOOK_AT_SOCKETS);
    builder.build()?.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let usage = "crowds overlapping-wildcards|teardown SUBSCRIPTIONS";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, count] = &arguments[..] else {
        panic!("usage: {usage}")
    };
    let count = count.parse().map_err(|_| usage)?;
    let broker = Broker::new(BrokerOptions::default());
    let listener = broker.listen("127.0.0.1", 0).await?;
    let address = listener.address();
    let most = match operation.as_str() {
        "overlapping-wildcards" => overlapping_wildcards(&broker, address, count).await?,
        "teardown" => teardown(&broker, address, count).await?,
        _ => panic!("usage: {usage}"),
    };
    println!("{most} at once");
    Ok(())
}
