//! Takes the connections that other members make.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::asking::{Answer, Question};
use crate::framing::FrameKind;
use crate::greeting::{MAGIC, Party, Purpose, objection};
use crate::handshake::{self, Failure, Introduced};
use crate::peer::Peer;
use crate::questions;
use crate::session;
use crate::shared::Shared;
use crate::strangers::{Place, Strangers};
use crate::stream::{Set, Stream};
use crate::wire::Malformed;

/// Takes connections for ever.
pub(crate) async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    let strangers = Strangers::default();
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // No descriptor is free, or the connection has gone again. The one passes, and the other must not become a loop.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let place = strangers.enter(address.ip());
        let number = place.number();
        let task = shared.spawn(meet(Arc::clone(&shared), tcp, address, place));
        strangers.served_by(number, task);
    }
}

/// One connection until it is known whose it is.
async fn meet(shared: Arc<Shared>, tcp: TcpStream, address: SocketAddr, place: Place) {
    let met = timeout(shared.options.timing.handshake, introduce(&shared, tcp, &place)).await;
    let words = match met {
        Ok(Ok(None)) => return,
        Ok(Ok(Some((peer, session, set)))) => {
            drop(place);
            // A task of its own: this one may be pushed out as a stranger's.
            shared.spawn(session::run(Arc::clone(&shared), peer, session, set));
            return;
        }
        Ok(Err(Failure::Unwanted(words))) if words == crate::greeting::ONESELF => return,
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => "the handshake took too long".to_owned(),
    };
    shared.refused(&address.ip().to_string(), words);
}

/// A set that is complete: whose, which session, the connections.
type Complete = Option<(Arc<Peer>, u64, Set)>;

async fn introduce(shared: &Arc<Shared>, tcp: TcpStream, place: &Place) -> Result<Complete, Failure> {
    tcp.set_nodelay(true)?;
    let security = &shared.options.security;
    let tls = security.tls.as_ref();
    let mut first = [0];
    tcp.peek(&mut first).await?;
    if tls.is_some() && first[0] == MAGIC[0] {
        let words = "this member speaks TLS, and the other side does not".to_owned();
        return Err(handshake::refuse(&mut Stream::Plain(tcp), words).await);
    }
    if tls.is_none() && first[0] != MAGIC[0] {
        return Err(Malformed::Magic.into());
    }
    let mut stream = Stream::accepted(tcp, tls).await.map_err(Failure::Broken)?;
    let binding = stream.binding().map_err(Failure::Broken)?;
    let secret = security.secret.as_ref();
    let introduced = handshake::accept(&mut stream, binding, secret, || place.is_known()).await?;
    let own = shared.party();
    if let Some(words) = objection(&own, &introduced.hello.from, introduced.purpose()) {
        return Err(handshake::refuse(&mut stream, words).await);
    }
    let to = introduced.hello.to;
    if to != 0 && to != own.id {
        let words = format!("this is member {:016x}, {:?}, and not {to:016x}", own.id, own.name);
        return Err(handshake::refuse(&mut stream, words).await);
    }
    if introduced.purpose() == Purpose::Ask {
        answer(shared, introduced, &mut stream, own).await?;
        return Ok(None);
    }
    join_set(shared, introduced, stream, own).await
}

/// Adds a connection to its set.
async fn join_set(
    shared: &Arc<Shared>,
    introduced: Introduced,
    mut stream: Stream,
    own: Party,
) -> Result<Complete, Failure> {
    let (from, purpose) = (introduced.hello.from.clone(), introduced.purpose());
    let peer = {
        let mut peers = shared.peers();
        if peers.has_departed(from.id) {
            Err(format!(
                "member {:016x}, {:?}, was taken out of the cluster",
                from.id, from.name
            ))
        } else {
            peers
                .get_or_add(from.id)
                .ok_or_else(|| "there are too many members".to_owned())
        }
    };
    let peer = match peer {
        Ok(peer) => peer,
        Err(words) => return Err(handshake::refuse(&mut stream, words).await),
    };
    let mut session = introduced.hello.session;
    if purpose == Purpose::Control {
        session = shared.next_session(session);
        shared.gathering.begin(&from, session, shared.options.timing.gathering);
        peer.listed().name.clone_from(&from.name);
    } else if !shared.gathering.has_begun(&from, session) {
        let words = format!("there is no session {session} that is being set up");
        return Err(handshake::refuse(&mut stream, words).await);
    }
    let secret = shared.options.security.secret.as_ref();
    introduced.welcome(&mut stream, secret, own, session).await?;
    let set = shared.gathering.add(from.id, session, purpose, stream);
    Ok(set.map(|set| (peer, session, set)))
}

/// Answers one question.
async fn answer(shared: &Arc<Shared>, introduced: Introduced, stream: &mut Stream, own: Party) -> Result<(), Failure> {
    let asker = introduced.hello.from.clone();
    let secret = shared.options.security.secret.as_ref();
    introduced.welcome(stream, secret, own, 0).await?;
    let (kind, question) = questions::read(stream).await?;
    if kind != FrameKind::Question {
        return Err(Malformed::Value("a question").into());
    }
    let answer = match Question::read(&question)? {
        Question::Standing => Answer::Standing(shared.answering.standing()),
        Question::Join(request) => Answer::Join(shared.answering.join(&asker, &request)),
    };
    questions::write(stream, FrameKind::Answer, &answer.written()).await
}
