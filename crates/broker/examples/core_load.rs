//! Core throughput of a server, by raw sockets: publish only, 1:1, 1:4, 4:4, and request/reply.
//!
//! Without arguments it loads a broker in its own process; with `host:port` it loads whatever listens there, so that
//! two servers can be compared in one run. `--messages N` sets messages per publisher.

#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Instant;

use seaway_broker::{Broker, BrokerOptions};

/// Large messages are fewer.
const BYTES_PER_RUN: usize = 2 << 30;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut messages = 4_000_000usize;
    let mut addresses: Vec<(String, SocketAddr)> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--messages" {
            messages = arguments.next().ok_or("--messages needs a number")?.parse()?;
        } else {
            let address = argument.to_socket_addrs()?.next().ok_or("no address")?;
            addresses.push((argument, address));
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let broker = Broker::new(BrokerOptions {
        port: 0,
        ..BrokerOptions::default()
    });
    let listener = runtime.block_on(broker.listen("127.0.0.1", 0))?;
    addresses.insert(0, ("in-process".into(), listener.address()));

    for (name, publishers, subscribers, size) in [
        ("publish only", 1, 0, 16),
        ("1:1", 1, 1, 16),
        ("1:1", 1, 1, 128),
        ("1:1", 1, 1, 1024),
        ("1:1", 1, 1, 4096),
        ("1:1", 1, 1, 16_384),
        ("1:4", 1, 4, 128),
        ("4:4", 4, 4, 128),
    ] {
        for (label, address) in &addresses {
            let per_publisher = (messages / publishers / subscribers.max(1) * if size > 512 { 1 } else { 2 } / 2)
                .min(BYTES_PER_RUN / size);
            let rate = throughput(*address, publishers, subscribers, size, per_publisher)?;
            println!("{name:>12} {size:>5} B  {label:>20}  {rate:>12.0} messages/s");
        }
    }
    for (label, address) in &addresses {
        let (median, tail) = request_reply(*address, 20_000)?;
        println!("request/reply         {label:>20}  p50 {median:.1} us  p99 {tail:.1} us");
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    read_line(&mut stream)?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
    barrier(&mut stream)?;
    Ok(stream)
}

fn read_line(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
    }
    Ok(())
}

fn barrier(stream: &mut TcpStream) -> Result<(), Failure> {
    stream.write_all(b"PING\r\n")?;
    read_line(stream)
}

/// Messages per second: received by subscribers, or published when there are none.
fn throughput(
    address: SocketAddr,
    publishers: usize,
    subscribers: usize,
    size: usize,
    per_publisher: usize,
) -> Result<f64, Failure> {
    const FRAMES_PER_WRITE: usize = 512;
    let rounds = per_publisher.div_ceil(FRAMES_PER_WRITE);
    let frame = format!("PUB foo {size}\r\n{}\r\n", "x".repeat(size));
    let block = frame.repeat(FRAMES_PER_WRITE).into_bytes();
    let published = rounds * FRAMES_PER_WRITE * publishers;
    let bytes_per_subscriber = published * format!("MSG foo 1 {size}\r\n{}\r\n", "x".repeat(size)).len();
    let mut readers = Vec::new();
    for _ in 0..subscribers {
        let mut stream = connect(address)?;
        stream.write_all(b"SUB foo 1\r\n")?;
        barrier(&mut stream)?;
        readers.push(stream);
    }
    let writers = (0..publishers)
        .map(|_| connect(address))
        .collect::<Result<Vec<_>, _>>()?;
    let started = Instant::now();
    std::thread::scope(|scope| -> Result<(), Failure> {
        let mut threads = Vec::new();
        for mut stream in readers {
            threads.push(scope.spawn(move || -> Result<(), Failure> {
                let mut buffer = vec![0; 256 * 1024];
                let mut left = bytes_per_subscriber;
                while left > 0 {
                    let count = stream.read(&mut buffer)?;
                    if count == 0 {
                        return Err("closed by the server".into());
                    }
                    left = left.saturating_sub(count);
                }
                Ok(())
            }));
        }
        for mut stream in writers {
            let block = &block;
            threads.push(scope.spawn(move || -> Result<(), Failure> {
                for _ in 0..rounds {
                    stream.write_all(block)?;
                }
                barrier(&mut stream)
            }));
        }
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })?;
    Ok((published * subscribers.max(1)) as f64 / started.elapsed().as_secs_f64())
}

/// Median and 99th percentile in microseconds of single requests.
fn request_reply(address: SocketAddr, count: usize) -> Result<(f64, f64), Failure> {
    let mut responder = connect(address)?;
    responder.write_all(b"SUB help 1\r\n")?;
    barrier(&mut responder)?;
    let mut requester = connect(address)?;
    requester.write_all(b"SUB inbox 1\r\n")?;
    barrier(&mut requester)?;
    let request = b"PUB help inbox 2\r\nhi\r\n";
    let received = b"MSG help 1 inbox 2\r\nhi\r\n".len();
    let answer = b"PUB inbox 2\r\nok\r\n";
    let answered = b"MSG inbox 1 2\r\nok\r\n".len();
    let responding = std::thread::spawn(move || -> Result<(), Failure> {
        let mut buffer = vec![0; received];
        for _ in 0..count {
            responder.read_exact(&mut buffer)?;
            responder.write_all(answer)?;
        }
        Ok(())
    });
    let mut times = Vec::with_capacity(count);
    let mut buffer = vec![0; answered];
    for _ in 0..count {
        let started = Instant::now();
        requester.write_all(request)?;
        requester.read_exact(&mut buffer)?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    responding.join().map_err(|_| "the responder panicked")??;
    times.sort_by(f64::total_cmp);
    Ok((times[count / 2], times[count * 99 / 100]))
}
