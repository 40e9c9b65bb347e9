//! Core compatibility scenarios with async-nats; see `../README.md` for the environment and the output format.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, HeaderMap, Message, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Every wait ends by this deadline at the latest; a healthy run is far quicker.
const DEADLINE: Duration = Duration::from_secs(30);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;
type Scenario = (&'static str, fn() -> Pin<Box<dyn Future<Output = Outcome>>>);

macro_rules! scenarios {
    ($($name:literal => $function:ident),* $(,)?) => { &[$(($name, || Box::pin($function()))),*] };
}

const SCENARIOS: &[Scenario] = scenarios![
    "publish-subscribe" => publish_subscribe,
    "wildcards" => wildcards,
    "queue-groups" => queue_groups,
    "request-reply" => request_reply,
    "no-responders" => no_responders,
    "headers" => headers,
    "auto-unsubscribe" => auto_unsubscribe,
    "drain" => drain,
    "max-payload" => max_payload,
    "fan-10000" => fan,
];

fn check(condition: bool, reason: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(reason().into()) }
}

fn server_url() -> Result<String, String> {
    std::env::var("SEAWAY_URL").map_err(|_| "SEAWAY_URL is not set".to_owned())
}

async fn dial() -> Result<Client, Box<dyn Error + Send + Sync>> {
    Ok(ConnectOptions::new()
        .subscription_capacity(100_000)
        .connect(server_url()?)
        .await?)
}

/// A round trip: the server has handled all that this connection sent before, and this connection has read all that the server
/// had sent it. (This client's own flush only empties its buffers.)
async fn settle(connection: &Client) -> Outcome {
    match timeout(DEADLINE, connection.request("barrier.nobody", Bytes::new())).await? {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        other => Err(format!("a round trip ended with {other:?}").into()),
    }
}

async fn next(from: &mut Subscriber, what: impl Debug) -> Result<Message, String> {
    match timeout(DEADLINE, from.next()).await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(format!("the subscription ended before {what:?}")),
        Err(_) => Err(format!("waited {DEADLINE:?} for {what:?}")),
    }
}

async fn expect_text(from: &mut Subscriber, want: &str) -> Result<Message, String> {
    let message = next(from, want).await?;
    if message.payload == want {
        Ok(message)
    } else {
        Err(format!("received {:?}, not {want:?}", message.payload))
    }
}

/// Polls a condition that no stream announces.
async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) -> Outcome {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        check(Instant::now() < end, || format!("waited {DEADLINE:?} for {what}"))?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

async fn publish_subscribe() -> Outcome {
    let (publisher, subscriber) = (dial().await?, dial().await?);
    let mut subscription = subscriber.subscribe("core.plain").await?;
    settle(&subscriber).await?;
    let payload = Bytes::from([0, 1, 13, 10, 255].repeat(1000));
    publisher.publish("core.plain", payload.clone()).await?;
    publisher.publish("core.plain", Bytes::new()).await?;
    publisher.publish("core.other", "not for us".into()).await?;
    publisher
        .publish_with_reply("core.plain", "answers.here", "last".into())
        .await?;
    let first = next(&mut subscription, "the first message").await?;
    check(first.payload == payload, || {
        format!("{} bytes came back differently", payload.len())
    })?;
    expect_text(&mut subscription, "").await?;
    let last = expect_text(&mut subscription, "last").await?;
    check(
        last.subject.as_str() == "core.plain" && last.reply.as_deref() == Some("answers.here"),
        || format!("{last:?}"),
    )?;
    // No echo: a connection that asked for it does not hear itself.
    let quiet = ConnectOptions::new().no_echo().connect(server_url()?).await?;
    let mut own = quiet.subscribe("core.echo").await?;
    quiet.publish("core.echo", "own".into()).await?;
    settle(&quiet).await?;
    publisher.publish("core.echo", "foreign".into()).await?;
    expect_text(&mut own, "foreign").await?;
    Ok(())
}

async fn wildcards() -> Outcome {
    let connection = dial().await?;
    let mut star = connection.subscribe("wild.*.end").await?;
    let mut tail = connection.subscribe("wild.>").await?;
    let mut literal = connection.subscribe("wild.a.end").await?;
    for subject in ["wild", "wild.a.end", "wild.a.b.end", "wild.b.end", "wild.done"] {
        connection.publish(subject, subject.into()).await?;
    }
    for want in ["wild.a.end", "wild.b.end"] {
        expect_text(&mut star, want).await?;
    }
    for want in ["wild.a.end", "wild.a.b.end", "wild.b.end", "wild.done"] {
        let got = expect_text(&mut tail, want).await?;
        check(got.subject.as_str() == want, || {
            format!("subject {}, not {want}", got.subject)
        })?;
    }
    expect_text(&mut literal, "wild.a.end").await?;
    // Draining ends each stream after what the server had sent: nothing may be left.
    for mut subscription in [star, tail, literal] {
        subscription.drain().await?;
        let left = timeout(DEADLINE, subscription.next()).await?;
        check(left.is_none(), || format!("a message too many: {left:?}"))?;
    }
    Ok(())
}

async fn queue_groups() -> Outcome {
    const COUNT: usize = 300;
    let publisher = dial().await?;
    let seen: Arc<Mutex<Vec<(usize, Bytes)>>> = Arc::default();
    for member in 0..3 {
        let connection = dial().await?;
        let mut subscription = connection.queue_subscribe("queue.work", "workers".into()).await?;
        settle(&connection).await?;
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let _keep = connection;
            while let Some(message) = subscription.next().await {
                seen.lock().expect("no holder panics").push((member, message.payload));
            }
        });
    }
    let mut other = publisher.queue_subscribe("queue.*", "auditors".into()).await?;
    for number in 0..COUNT {
        publisher.publish("queue.work", number.to_string().into()).await?;
    }
    for number in 0..COUNT {
        expect_text(&mut other, &number.to_string()).await?;
    }
    wait_for("every message to reach one worker", || {
        seen.lock().expect("no holder panics").len() >= COUNT
    })
    .await?;
    let seen = seen.lock().expect("no holder panics");
    let different: HashSet<_> = seen.iter().map(|(_, payload)| payload).collect();
    let members: HashSet<_> = seen.iter().map(|(member, _)| member).collect();
    check(seen.len() == COUNT && different.len() == COUNT, || {
        format!("{} deliveries of {}", seen.len(), different.len())
    })?;
    check(members.len() == 3, || {
        format!("only {} of three members received anything", members.len())
    })
}

async fn request_reply() -> Outcome {
    let (server, client) = (dial().await?, dial().await?);
    let mut requests = server.subscribe("service.upper").await?;
    settle(&server).await?;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let answer = request.payload.to_ascii_uppercase();
            if let Some(reply) = request.reply {
                let _ = server.publish(reply, answer.into()).await;
            }
        }
    });
    for number in 0..100 {
        let answer = timeout(
            DEADLINE,
            client.request("service.upper", format!("call {number}").into()),
        )
        .await??;
        check(answer.payload == format!("CALL {number}"), || {
            format!("answered {:?}", answer.payload)
        })?;
    }
    Ok(())
}

async fn no_responders() -> Outcome {
    let connection = dial().await?;
    match timeout(DEADLINE, connection.request("service.nobody", Bytes::new())).await? {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        other => Err(format!("a request nobody serves ended with {other:?}").into()),
    }
}

async fn headers() -> Outcome {
    let (publisher, subscriber) = (dial().await?, dial().await?);
    let mut subscription = subscriber.subscribe("core.headers").await?;
    settle(&subscriber).await?;
    let mut map = HeaderMap::new();
    map.append("Trace", "one");
    map.append("Trace", "two");
    publisher
        .publish_with_headers("core.headers", map, "body".into())
        .await?;
    let got = expect_text(&mut subscription, "body").await?;
    let values: Vec<String> = got
        .headers
        .iter()
        .flat_map(|headers| headers.get_all("Trace"))
        .map(ToString::to_string)
        .collect();
    check(values == ["one", "two"], || format!("header values {values:?}"))
}

async fn auto_unsubscribe() -> Outcome {
    let connection = dial().await?;
    let mut limited = connection.subscribe("core.limited").await?;
    limited.unsubscribe_after(3).await?;
    let mut all = connection.subscribe("core.limited").await?;
    for number in 0..10 {
        connection.publish("core.limited", number.to_string().into()).await?;
    }
    for number in 0..10 {
        expect_text(&mut all, &number.to_string()).await?;
    }
    for number in 0..3 {
        expect_text(&mut limited, &number.to_string()).await?;
    }
    let more = timeout(DEADLINE, limited.next()).await?;
    check(more.is_none(), || format!("a message after the third: {more:?}"))
}

async fn drain() -> Outcome {
    const COUNT: usize = 1000;
    let (publisher, subscriber) = (dial().await?, dial().await?);
    let mut subscription = subscriber.subscribe("core.drain").await?;
    settle(&subscriber).await?;
    for _ in 0..COUNT {
        publisher.publish("core.drain", "work".into()).await?;
    }
    // This client drops what it has not read yet when it drains. After a round trip on either side it has read everything.
    settle(&publisher).await?;
    settle(&subscriber).await?;
    subscriber.drain().await?;
    let mut received = 0;
    while timeout(DEADLINE, subscription.next()).await?.is_some() {
        received += 1;
    }
    check(received == COUNT, || {
        format!("{received} of {COUNT} messages before the drained subscription ended")
    })
}

async fn max_payload() -> Outcome {
    let connection = dial().await?;
    let limit = connection.server_info().max_payload;
    check(limit == 1024 * 1024, || format!("max_payload is {limit}"))?;
    let mut subscription = connection.subscribe("core.large").await?;
    connection.publish("core.large", vec![0; limit].into()).await?;
    let got = next(&mut subscription, "the largest message allowed").await?;
    check(got.payload.len() == limit, || {
        format!("{} bytes came back of {limit}", got.payload.len())
    })?;
    let refused = connection.publish("core.large", vec![0; limit + 1].into()).await;
    check(refused.is_err(), || "one byte too many was accepted".to_owned())?;
    server_side_max_payload(limit).await
}

/// Past the client library's own check: the server must answer in words and hang up.
async fn server_side_max_payload(limit: usize) -> Outcome {
    let url = server_url()?;
    let mut socket = tokio::net::TcpStream::connect(url.trim_start_matches("nats://")).await?;
    let lines = format!("CONNECT {{\"verbose\":false}}\r\nPUB core.large {}\r\n", limit + 1);
    socket.write_all(lines.as_bytes()).await?;
    let mut answer = String::new();
    timeout(DEADLINE, socket.read_to_string(&mut answer)).await??;
    check(answer.ends_with("-ERR 'Maximum Payload Violation'\r\n"), || {
        format!("the server said {answer:?}")
    })
}

async fn fan() -> Outcome {
    const COUNT: usize = 10_000;
    const SUBSCRIBERS: usize = 10;
    let mut subscriptions = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let connection = dial().await?;
        let subscription = connection.subscribe("core.fan").await?;
        settle(&connection).await?;
        subscriptions.push((connection, subscription));
    }
    let publisher = dial().await?;
    for number in 0..COUNT {
        publisher.publish("core.fan", number.to_string().into()).await?;
    }
    for (_, subscription) in &mut subscriptions {
        for number in 0..COUNT {
            expect_text(subscription, &number.to_string()).await?;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let only = std::env::var("SEAWAY_SCENARIOS").unwrap_or_default();
    let only: HashSet<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
    let mut failures = 0;
    for (name, run) in SCENARIOS {
        if !only.is_empty() && !only.contains(name) {
            continue;
        }
        match run().await {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                failures += 1;
                println!("FAIL {name}: {}", error.to_string().replace('\n', " "));
            }
        }
    }
    if failures > 0 {
        std::process::exit(1);
    }
}
