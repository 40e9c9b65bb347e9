//! Watches over a connection: pings the server, and makes a lost connection anew.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use seaway_stan_protocol::{Message as _, errors, messages};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connection::Inner;
use crate::error::{ConnectError, Loss, SubscribeError};
use crate::session::{Listening, Session};
use crate::status::Status;
use crate::wire::text;

/// The first and the longest pause between two attempts to make a connection anew.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Keeps a connection until it ends or nobody holds it.
pub(crate) async fn keep(client: Weak<Inner>, mut pongs: async_nats::Subscriber) {
    loop {
        let loss = watch(&client, &mut pongs).await;
        let Some(inner) = client.upgrade() else { return };
        if inner.is_ended() {
            return;
        }
        // A NATS connection that was closed is never made anew.
        if !inner.options.reconnect || loss == Loss::NatsClosed {
            return inner.end(loss).await;
        }
        interrupt(&inner, loss);
        inner.outbox.fail_all();
        drop(inner);
        match revive(&client).await {
            Some(answers) => pongs = answers,
            None => return,
        }
    }
}

/// Tells that the connection is interrupted, unless it has ended.
fn interrupt(inner: &Inner, loss: Loss) {
    inner.status.send_if_modified(|status| {
        let interrupted = Status::Interrupted(loss);
        let changes = !matches!(status, Status::Ended(_)) && *status != interrupted;
        if changes {
            *status = interrupted;
        }
        changes
    });
}

/// Tells whether the server is reached, as long as nothing worse is known.
fn tell_reach(inner: &Inner, is_reached: bool) {
    let reach = match is_reached {
        true => Status::Connected,
        false => Status::Unreachable,
    };
    inner.status.send_if_modified(|status| {
        let changes = status.has_session() && *status != reach;
        if changes {
            *status = reach;
        }
        changes
    });
}

/// Pings until the connection is lost.
async fn watch(client: &Weak<Inner>, pongs: &mut async_nats::Subscriber) -> Loss {
    let Some(inner) = client.upgrade() else {
        return Loss::Closed;
    };
    let unanswered_max = inner.options.pings_unanswered_max;
    let mut ticks = interval(inner.options.ping_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is immediate.
    ticks.tick().await;
    let mut status = inner.status.subscribe();
    let attention = Arc::clone(&inner.attention);
    drop(inner);
    let mut unanswered = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let Some(inner) = client.upgrade() else { return Loss::Closed };
                if unanswered >= unanswered_max {
                    return Loss::Silent(unanswered);
                }
                if unanswered > 0 || inner.is_disconnected() {
                    tell_reach(&inner, false);
                }
                if ping(&inner).await {
                    unanswered += 1;
                }
            }
            pong = pongs.next() => match pong {
                // A status of the NATS server ("no responders") is no answer of the streaming server.
                Some(pong) if pong.status.is_some() => {
                    let Some(inner) = client.upgrade() else { return Loss::Closed };
                    tell_reach(&inner, false);
                }
                Some(pong) => match refusal(pong.payload) {
                    Some(words) => return Loss::Unknown(words),
                    None => {
                        unanswered = 0;
                        let Some(inner) = client.upgrade() else { return Loss::Closed };
                        tell_reach(&inner, !inner.is_disconnected());
                    }
                },
                None => return Loss::NatsClosed,
            },
            () = attention.called() => {
                let Some(inner) = client.upgrade() else { return Loss::Closed };
                if let Some(loss) = attend(&inner).await {
                    return loss;
                }
            }
            changed = status.changed() => {
                if changed.is_err() || matches!(&*status.borrow(), Status::Ended(_)) {
                    return Loss::Closed;
                }
            }
        }
    }
}

/// Looks after what cannot wait for the next ping.
async fn attend(inner: &Inner) -> Option<Loss> {
    if inner.is_disconnected() {
        // The connection made anew calls again.
        tell_reach(inner, false);
        return None;
    }
    for shared in inner.live_subscriptions() {
        let Some(outdated) = shared.take_outdated() else {
            continue;
        };
        match inner.rewind(outdated, &shared).await {
            Ok(()) => {}
            // Made anew with everything else, it begins at the beginning, too.
            Err(failure @ (SubscribeError::Timeout(_) | SubscribeError::Nats(_) | SubscribeError::Unregistered)) => {
                return Some(Loss::Unknown(failure.to_string()));
            }
            Err(failure) => inner.drop_subscription(&shared, Some(failure)),
        }
    }
    let is_disowned = inner.outbox.take_disowned();
    if ping(inner).await {
        return None;
    }
    // Without pings this is all there is to know.
    tell_reach(inner, true);
    is_disowned.then(|| Loss::Unknown(errors::INVALID_PUBLISH_REQUEST.to_owned()))
}

/// Sends a ping, if the server takes any.
async fn ping(inner: &Inner) -> bool {
    let session = inner.session();
    let Some(pings) = &session.pings else { return false };
    let ask = messages::Ping {
        conn_id: session.connection_id.clone(),
    };
    let sending = inner
        .nats
        .publish_with_reply(pings.subject.clone(), pings.inbox.clone(), ask.encode_to_vec().into());
    // A NATS connection that takes nothing leaves the ping unanswered.
    let _ = timeout(inner.options.ping_interval, sending).await;
    true
}

/// What the answer to a ping says against the connection.
fn refusal(payload: Bytes) -> Option<String> {
    let answer = messages::PingResponse::decode(payload).ok()?;
    (!answer.error.is_empty()).then(|| text(&answer.error))
}

/// Registers again and makes the subscriptions anew; tries until it succeeds, and returns the answers to pings. `None` when the
/// connection has ended.
async fn revive(client: &Weak<Inner>) -> Option<async_nats::Subscriber> {
    let mut pause = PAUSE_MIN;
    loop {
        {
            let inner = client.upgrade().filter(|inner| !inner.is_ended())?;
            if let Some(pongs) = register(&inner).await
                && subscribe_again(&inner).await
            {
                let is_back = inner.status.send_if_modified(|status| {
                    let is_back = !matches!(status, Status::Ended(_));
                    if is_back {
                        *status = Status::Connected;
                    }
                    is_back
                });
                return is_back.then_some(pongs);
            }
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn register(inner: &Inner) -> Option<async_nats::Subscriber> {
    let mut heartbeats = inner.heartbeats.lock().await;
    if let Some(old) = heartbeats.take() {
        old.stop().await;
    }
    // The server asks the old heartbeat inbox whether the client is alive before it gives the ID to a new one: the NATS server
    // has to know that nobody listens there any more.
    match timeout(inner.options.connect_timeout, inner.nats.flush()).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => return None,
    }
    match Session::open(&inner.nats, &inner.options).await {
        Ok((session, listening)) => {
            inner.set_session(session);
            inner.outbox.take_disowned();
            if inner.is_ended() {
                // It was closed meanwhile, and nobody would answer the server's heartbeats.
                inner.unregister().await;
                return None;
            }
            let Listening {
                heartbeats: answering,
                pongs,
            } = listening;
            *heartbeats = Some(answering);
            Some(pongs)
        }
        Err(ConnectError::ClientIdInUse { .. }) => {
            interrupt(inner, Loss::ClientIdInUse);
            None
        }
        Err(_) => None,
    }
}

async fn subscribe_again(inner: &Inner) -> bool {
    let session = inner.session();
    for shared in inner.live_subscriptions() {
        match inner.serve(&session, &shared).await {
            Ok(()) => {}
            Err(SubscribeError::Timeout(_) | SubscribeError::Nats(_) | SubscribeError::Unregistered) => return false,
            // The server will refuse it however often it is asked.
            Err(failure) => inner.drop_subscription(&shared, Some(failure)),
        }
    }
    true
}
