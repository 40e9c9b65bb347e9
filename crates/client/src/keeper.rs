//! Watches over a connection: pings the server, and makes a lost connection anew.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use seaway_stan_protocol::{Message as _, messages};
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Inner, Status};
use crate::error::{Loss, SubscribeError};
use crate::session::Session;
use crate::wire::text;

/// The first and the longest pause between two attempts to make a connection anew.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Keeps a connection until it ends or nobody holds it.
pub(crate) async fn keep(client: Weak<Inner>, ping_inbox: String, mut pongs: async_nats::Subscriber) {
    loop {
        let loss = watch(&client, &ping_inbox, &mut pongs).await;
        let Some(inner) = client.upgrade() else { return };
        if matches!(&*inner.status.borrow(), Status::Ended(_)) {
            return;
        }
        if !inner.options.reconnect {
            return inner.end(loss).await;
        }
        inner.status.send_replace(Status::Interrupted(loss));
        inner.outbox.fail_all();
        drop(inner);
        if !revive(&client).await {
            return;
        }
    }
}

/// Pings until the connection is lost.
async fn watch(client: &Weak<Inner>, ping_inbox: &str, pongs: &mut async_nats::Subscriber) -> Loss {
    let Some(inner) = client.upgrade() else {
        return Loss::Closed;
    };
    let unanswered_max = inner.options.pings_unanswered_max;
    let mut ticks = interval(inner.options.ping_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is immediate.
    ticks.tick().await;
    let mut status = inner.status.subscribe();
    drop(inner);
    let mut unanswered = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let Some(inner) = client.upgrade() else { return Loss::Closed };
                if unanswered >= unanswered_max {
                    return Loss::Silent(unanswered);
                }
                if ping(&inner, ping_inbox).await {
                    unanswered += 1;
                }
            }
            pong = pongs.next() => match pong {
                // A status of the NATS server ("no responders") is no answer of the streaming server.
                Some(pong) if pong.status.is_some() => {}
                Some(pong) => match refusal(pong.payload) {
                    Some(words) => return Loss::Unknown(words),
                    None => unanswered = 0,
                },
                None => return Loss::Closed,
            },
            changed = status.changed() => {
                if changed.is_err() || matches!(&*status.borrow(), Status::Ended(_)) {
                    return Loss::Closed;
                }
            }
        }
    }
}

/// Sends a ping, if the server takes any.
async fn ping(inner: &Inner, ping_inbox: &str) -> bool {
    let session = inner.session();
    let Some(subject) = &session.pings else { return false };
    let ask = messages::Ping {
        conn_id: session.connection_id.clone(),
    };
    let sending = inner
        .nats
        .publish_with_reply(subject.clone(), ping_inbox.to_owned(), ask.encode_to_vec().into());
    // A NATS connection that takes nothing leaves the ping unanswered.
    let _ = tokio::time::timeout(inner.options.ping_interval, sending).await;
    true
}

/// What the answer to a ping says against the connection.
fn refusal(payload: Bytes) -> Option<String> {
    let answer = messages::PingResponse::decode(payload).ok()?;
    (!answer.error.is_empty()).then(|| text(&answer.error))
}

/// Registers again and makes the subscriptions anew; tries until it succeeds. False when the connection has ended.
async fn revive(client: &Weak<Inner>) -> bool {
    let mut pause = PAUSE_MIN;
    loop {
        {
            let Some(inner) = client.upgrade() else { return false };
            if matches!(&*inner.status.borrow(), Status::Ended(_)) {
                return false;
            }
            if register(&inner).await && subscribe_again(&inner).await {
                let is_back = inner.status.send_if_modified(|status| {
                    let is_back = !matches!(status, Status::Ended(_));
                    if is_back {
                        *status = Status::Connected;
                    }
                    is_back
                });
                return is_back;
            }
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn register(inner: &Inner) -> bool {
    let mut heartbeats = inner.heartbeats.lock().await;
    if let Some(old) = heartbeats.take() {
        // The server asks the old heartbeat inbox whether the client is alive before it gives the ID to a new one.
        old.stop().await;
        if inner.nats.flush().await.is_err() {
            return false;
        }
    }
    match Session::open(&inner.nats, &inner.options).await {
        Ok((session, answering)) => {
            inner.set_session(session);
            *heartbeats = Some(answering);
            true
        }
        Err(_) => false,
    }
}

async fn subscribe_again(inner: &Inner) -> bool {
    let session = inner.session();
    for shared in inner.live_subscriptions() {
        shared.hold();
        match inner.ask_for_subscription(&session, &shared, true).await {
            Ok(()) => {}
            Err(SubscribeError::Timeout(_) | SubscribeError::Nats(_)) => return false,
            // The server will refuse it however often it is asked: its stream ends.
            Err(_) => inner.drop_subscription(&shared),
        }
    }
    true
}
