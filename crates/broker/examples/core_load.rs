//! Core throughput of a server, by raw sockets: publish only, 1:1, 1:4, 4:4, and request/reply.
//!
//! Without arguments it loads a broker in its own process, and two with a route between them; with `host:port` it loads whatever
//! listens there, so that two servers can be compared in one run. With `host:port/host:port` publishers and requesters are at the
//! first one, subscribers and responders at the second one. `--messages N` sets messages per publisher, `--size N` shows rows with
//! this size of payload alone.

#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use seaway_broker::{Broker, BrokerOptions, ClusterOptions, RouteAddress};

/// Large messages are fewer.
const BYTES_PER_RUN: usize = 2 << 30;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where publishers are, and where subscribers.
#[derive(Clone, Copy)]
struct Place {
    publishers: SocketAddr,
    subscribers: SocketAddr,
}

impl Place {
    fn parse(text: &str) -> Result<Self, Failure> {
        let address =
            |text: &str| -> Result<SocketAddr, Failure> { Ok(text.to_socket_addrs()?.next().ok_or("no address")?) };
        let (publishers, subscribers) = text.split_once('/').unwrap_or((text, text));
        Ok(Self {
            publishers: address(publishers)?,
            subscribers: address(subscribers)?,
        })
    }
}

/// A broker in this process; in a cluster with the one at `route`, when there is one.
async fn broker(route: Option<SocketAddr>) -> std::io::Result<(SocketAddr, Option<SocketAddr>)> {
    let routes = route.iter().map(|route| RouteAddress {
        host: route.ip().to_string(),
        port: route.port(),
        credentials: None,
    });
    let broker = Broker::new(BrokerOptions {
        port: 0,
        cluster: Some(ClusterOptions {
            name: Some("load".into()),
            routes: routes.collect(),
            ..ClusterOptions::default()
        }),
        ..BrokerOptions::default()
    });
    let clients = broker.listen("127.0.0.1", 0).await?.address();
    let routes = broker.join_cluster(Some(std::net::TcpListener::bind("127.0.0.1:0")?))?;
    broker.cluster_formed(Duration::from_secs(5)).await;
    Ok((clients, routes))
}

fn main() -> Result<(), Failure> {
    let mut messages = 4_000_000usize;
    let mut only_size: Option<usize> = None;
    let mut others = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--messages" => messages = arguments.next().ok_or("--messages needs a number")?.parse()?,
            "--size" => only_size = Some(arguments.next().ok_or("--size needs a number")?.parse()?),
            _ => others.push((argument.clone(), Place::parse(&argument)?)),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (clients, routes) = runtime.block_on(broker(None))?;
    let (other_clients, _) = runtime.block_on(broker(routes))?;
    let place = |publishers, subscribers| Place {
        publishers,
        subscribers,
    };
    let mut places = vec![
        ("in-process".to_owned(), place(clients, clients)),
        ("over a route".to_owned(), place(clients, other_clients)),
    ];
    places.extend(others);

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
        if only_size.is_some_and(|only| only != size) {
            continue;
        }
        for (label, place) in &places {
            let per_publisher = (messages / publishers / subscribers.max(1) * if size > 512 { 1 } else { 2 } / 2)
                .min(BYTES_PER_RUN / size);
            let rate = throughput(*place, publishers, subscribers, size, per_publisher)?;
            println!("{name:>12} {size:>5} B  {label:>20}  {rate:>12.0} messages/s");
        }
    }
    for (label, place) in &places {
        let (median, tail) = request_reply(*place, 20_000)?;
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

/// Waits until what `subscriber` wants is known where `publisher` is.
fn known(publisher: &mut TcpStream, subscriber: &mut TcpStream) -> Result<(), Failure> {
    subscriber.write_all(b"SUB ready 9\r\n")?;
    barrier(subscriber)?;
    subscriber.set_read_timeout(Some(Duration::from_millis(10)))?;
    let mut byte = [0];
    loop {
        publisher.write_all(b"PUB ready 1\r\nx\r\n")?;
        barrier(publisher)?;
        if subscriber.peek(&mut byte).is_ok() {
            break;
        }
    }
    subscriber.set_read_timeout(None)?;
    publisher.write_all(b"PUB ready 1\r\n!\r\n")?;
    while byte != *b"!" {
        subscriber.read_exact(&mut byte)?;
    }
    read_line(subscriber)?;
    subscriber.write_all(b"UNSUB 9\r\n")?;
    barrier(subscriber)
}

/// Messages per second: received by subscribers, or published when there are none.
fn throughput(
    place: Place,
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
        let mut stream = connect(place.subscribers)?;
        stream.write_all(b"SUB foo 1\r\n")?;
        known(&mut connect(place.publishers)?, &mut stream)?;
        readers.push(stream);
    }
    let writers = (0..publishers)
        .map(|_| connect(place.publishers))
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
fn request_reply(place: Place, count: usize) -> Result<(f64, f64), Failure> {
    let mut responder = connect(place.subscribers)?;
    let mut requester = connect(place.publishers)?;
    responder.write_all(b"SUB help 1\r\n")?;
    known(&mut requester, &mut responder)?;
    requester.write_all(b"SUB inbox 1\r\n")?;
    known(&mut responder, &mut requester)?;
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
