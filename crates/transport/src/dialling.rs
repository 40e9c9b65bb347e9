//! Makes the connections to other members: of two the one with the smaller id dials, so that there is one set.

use std::sync::Arc;
use std::time::Duration;

use seaway_replica::NodeId;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::greeting::{Hello, Purpose, Welcome, objection};
use crate::handshake::{self, Failure, GROUP};
use crate::peer::Peer;
use crate::session;
use crate::shared::Shared;
use crate::stream::{Set, Stream};

/// Whether the dialling of a pair is up to this side.
pub(crate) fn is_up_to(own: NodeId, other: NodeId) -> bool {
    own < other
}

/// Keeps a member connected for ever.
pub(crate) async fn keep(shared: Arc<Shared>, peer: Arc<Peer>) {
    let timing = shared.options.timing;
    let mut wait = Duration::ZERO;
    loop {
        // Members that lost the same one do not come back all at once.
        let jittered = wait.mul_f64(0.5 + fastrand::f64());
        tokio::select! {
            () = tokio::time::sleep(jittered) => {}
            () = peer.hurry.notified() => {}
        }
        let Some(address) = peer.listed().address.clone() else {
            peer.hurry.notified().await;
            continue;
        };
        match timeout(timing.gathering, set(&shared, &peer, &address)).await {
            Ok(Ok((session, set))) => {
                let run = session::run(Arc::clone(&shared), Arc::clone(&peer), session, set);
                let (running, ended) = oneshot::channel::<()>();
                // A task of its own: the session outlives this one by a moment when the member is taken out.
                shared.spawn(async move {
                    run.await;
                    drop(running);
                });
                let _ = ended.await;
                wait = timing.retry_min;
            }
            Ok(Err(failure)) => {
                if let Failure::Refused(words) | Failure::Unwanted(words) = &failure {
                    peer.listed().refused = Some(words.clone());
                    let who = format!("{} at {address}", peer.shown());
                    shared.refused(&who, words.clone());
                }
                wait = (wait * 2).clamp(timing.retry_min, timing.retry_max);
            }
            Err(_) => wait = timing.retry_max,
        }
    }
}

/// Makes a whole set of connections.
async fn set(shared: &Arc<Shared>, peer: &Peer, address: &str) -> Result<(u64, Set), Failure> {
    let wanted = shared.next_session(0);
    let (control, welcome) = connect(shared, address, Purpose::Control, peer.id, wanted).await?;
    let session = welcome.session;
    if session < wanted {
        return Err(Failure::Unwanted(format!("it takes session {wanted} for {session}")));
    }
    shared.saw_session(session);
    let (bulk, snapshot) = tokio::try_join!(
        connect(shared, address, Purpose::Bulk, peer.id, session),
        connect(shared, address, Purpose::Snapshot, peer.id, session),
    )?;
    Ok((session, [control, bulk.0, snapshot.0]))
}

/// Makes one connection.
pub(crate) async fn connect(
    shared: &Arc<Shared>,
    address: &str,
    purpose: Purpose,
    to: NodeId,
    session: u64,
) -> Result<(Stream, Welcome), Failure> {
    let dialled = timeout(shared.options.timing.handshake, async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let security = &shared.options.security;
        let mut stream = Stream::dialled(tcp, security.tls.as_ref(), address)
            .await
            .map_err(Failure::Unwanted)?;
        let binding = stream.binding().map_err(Failure::Broken)?;
        let own = shared.party();
        let hello = Hello {
            purpose,
            has_secret: security.secret.is_some(),
            group: GROUP,
            from: own.clone(),
            to,
            session,
            nonce: handshake::nonce(),
        };
        let welcome = handshake::dial(&mut stream, binding, security.secret.as_ref(), hello).await?;
        let other = &welcome.from;
        if let Some(words) = objection(&own, other, purpose) {
            return Err(Failure::Unwanted(words));
        }
        if to != 0 && other.id != to {
            let words = format!("there is member {:016x}, {:?}, and not {to:016x}", other.id, other.name);
            return Err(Failure::Unwanted(words));
        }
        Ok((stream, welcome))
    });
    match dialled.await {
        Ok(dialled) => dialled,
        Err(_) => Err(Failure::Broken("it does not answer".to_owned())),
    }
}
