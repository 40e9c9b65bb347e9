//! Keeps a connection: serves it to its end, then makes another one, for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::connection::{Connected, Dialler};
use super::link::{Link, Matter};
use super::outbound::Stage;
use super::reading::Reading;
use super::servers::{Servers, back_off};
use crate::limits::{
    EXTERNAL_ANSWER_PATIENCE, EXTERNAL_ASKED_EVERY, EXTERNAL_KEPT_BYTES_MAX, EXTERNAL_LASTING,
    EXTERNAL_RETURN_PATIENCE, EXTERNAL_WRITE_BYTES, EXTERNAL_WRITE_PATIENCE,
};

/// Tries each server once.
///
/// # Errors
/// Why none of them is to be had.
pub(super) async fn connect_first(servers: &mut Servers, dialler: &Dialler) -> Result<Connected> {
    let mut reasons = Vec::new();
    for _ in 0..servers.len() {
        let target = servers.present();
        match dialler.dial(&target).await {
            Ok(connected) => return Ok(connected),
            Err(error) => reasons.push(format!("{}: {error:#}", target.url.shown())),
        }
        servers.next();
    }
    bail!("nats: no servers available for connection: {}", reasons.join("; "))
}

/// See the module. Does not end.
pub(super) async fn keep(link: Arc<Link>, mut servers: Servers, dialler: Dialler, first: Connected) {
    let mut connected = first;
    let mut is_again = false;
    let mut rounds = 0;
    loop {
        let since = Instant::now();
        let reason = serve(&link, &mut servers, connected, is_again).await;
        link.fall(&reason);
        let name = link.name();
        tracing::error!(target: "stream", "connection \"{name}\" has been disconnected: {reason}");
        // A server that takes this client and lets it go again at once is not asked the more often for that.
        if since.elapsed() >= EXTERNAL_LASTING {
            rounds = 0;
        }
        connected = connect_again(&link, &mut servers, &dialler, &mut rounds).await;
        let url = &connected.url;
        tracing::info!(target: "stream", "connection \"{name}\" reconnected to NATS Server at \"{url}\"");
        is_again = true;
    }
}

/// Tries all servers, beginning behind the one that was lost, until one takes this client.
async fn connect_again(link: &Link, servers: &mut Servers, dialler: &Dialler, rounds: &mut u32) -> Connected {
    loop {
        sleep(back_off(*rounds, fastrand::f64())).await;
        *rounds = rounds.saturating_add(1);
        for _ in 0..servers.len() {
            servers.next();
            let target = servers.present();
            match dialler.dial(&target).await {
                Ok(connected) => return connected,
                Err(error) => {
                    if link.may_tell(Matter::Unreached) {
                        let url = target.url.shown();
                        tracing::warn!(target: "stream", "No connection to the NATS server {url}, and others are tried: {error:#}");
                    }
                }
            }
        }
    }
}

/// Serves a connection to its end; why it ended.
async fn serve(link: &Arc<Link>, servers: &mut Servers, connected: Connected, is_again: bool) -> String {
    let Connected {
        stream,
        info,
        url,
        rest,
    } = connected;
    servers.learn(&info.connect_urls);
    let joined = link.join(&url, &info);
    let (reader, writer) = tokio::io::split(stream);
    // A server alone took everybody's connection with it. Its clients come back when their own pause is over, and what is
    // delivered to them before is lost until it is sent again, a whole AckWait later.
    let is_alone = servers.len() <= 1;
    let hold = if is_alone {
        EXTERNAL_RETURN_PATIENCE
    } else {
        Duration::ZERO
    };
    let mut reading = Reading::new(link, servers, (joined, is_again), rest);
    tokio::select! {
        reason = reading.run(reader) => reason,
        reason = write(link, writer) => reason,
        reason = watch_over(link) => reason,
        reason = announce(link, is_again.then_some(hold)) => reason,
    }
}

/// Tells parties that messages are carried again, after a while. Does not end.
async fn announce(link: &Link, hold: Option<Duration>) -> String {
    let mut stages = link.stages();
    let is_up = stages.wait_for(|stage| *stage == Stage::Up).await.is_ok();
    if let (Some(hold), true) = (hold, is_up) {
        sleep(hold).await;
        link.tell(true);
    }
    std::future::pending().await
}

/// Asks the server whether it is there; ends when it does not answer.
async fn watch_over(link: &Link) -> String {
    loop {
        sleep(EXTERNAL_ASKED_EVERY).await;
        match link.unanswered_for() {
            Some(waited) if waited >= EXTERNAL_ANSWER_PATIENCE => {
                return format!("stale connection: no answer for {} s", waited.as_secs());
            }
            Some(_) => {}
            None => drop(link.ask()),
        }
    }
}

/// Writes what is to go out; ends when that cannot be.
async fn write(link: &Link, mut writer: impl AsyncWrite + Unpin) -> String {
    let mut buffer = Vec::new();
    loop {
        if !link.take(&mut buffer) {
            link.to_write.notified().await;
            continue;
        }
        for piece in buffer.chunks(EXTERNAL_WRITE_BYTES) {
            let written = async {
                writer.write_all(piece).await?;
                writer.flush().await
            };
            match timeout(EXTERNAL_WRITE_PATIENCE, written).await {
                Ok(Ok(())) => link.wrote(piece.len()),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "it takes nothing of what it is sent".to_owned(),
            }
        }
        buffer.clear();
        if buffer.capacity() > EXTERNAL_KEPT_BYTES_MAX {
            buffer = Vec::new();
        }
    }
}
