//! The handshake over a connection. Whoever calls bounds its time.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::greeting::{Challenge, HEAD_BYTES, Head, Hello, Message, Party, Purpose, Welcome};
use crate::limits;
use crate::proof::{SharedSecret, Side, Transcript};
use crate::wire::{Malformed, shown};

/// The group whose members these are.
pub(crate) const GROUP: u32 = 0;

/// Why a handshake did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The other side says why.
    #[error("it refuses: {0}")]
    Refused(String),
    /// This side does not want it, and has said so.
    #[error("{0}")]
    Unwanted(String),
    /// The other side is no member, as far as can be told.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Broken(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Draws a number that nobody can guess.
pub(crate) fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    // The system's source of randomness does not fail once it has begun; nothing here is safe without it.
    aws_lc_rs::rand::fill(&mut nonce).expect("the system has no randomness");
    nonce
}

/// Introduces oneself and hears who is there.
pub(crate) async fn dial(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    binding: [u8; 32],
    secret: Option<&SharedSecret>,
    hello: Hello,
) -> Result<Welcome, Failure> {
    let mut transcript = Transcript::new(binding);
    say(stream, &Message::Hello(hello), &mut transcript).await?;
    let (message, bytes) = hear(stream).await?;
    let Message::Challenge(challenge) = message else {
        return Err(Malformed::Value("an answer to a hello").into());
    };
    if challenge.has_secret != secret.is_some() {
        return Err(refuse(stream, different_ways(secret.is_some())).await);
    }
    transcript.add(&bytes);
    let proof = transcript.prove(Side::Dialler, secret);
    say(stream, &Message::Proof(proof), &mut transcript).await?;
    let Message::Welcome(welcome) = hear(stream).await?.0 else {
        return Err(Malformed::Value("an answer to a proof").into());
    };
    add_unproven(&mut transcript, &welcome);
    if !transcript.is_proof(Side::Acceptor, secret, &welcome.proof) {
        return Err(refuse(stream, WRONG_SECRET.to_owned()).await);
    }
    Ok(welcome)
}

/// A dialler that has introduced and proven itself, and waits for a welcome.
#[derive(Debug)]
pub(crate) struct Introduced {
    pub(crate) hello: Hello,
    transcript: Transcript,
}

/// Hears who dials, and lets them prove themselves. `is_known` is called when they have said something that members say.
pub(crate) async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    binding: [u8; 32],
    secret: Option<&SharedSecret>,
    is_known: impl Fn(),
) -> Result<Introduced, Failure> {
    let mut transcript = Transcript::new(binding);
    let (message, bytes) = match hear(stream).await {
        Err(Failure::Unwanted(words)) => return Err(refuse(stream, words).await),
        heard => heard?,
    };
    let Message::Hello(hello) = message else {
        return Err(Malformed::Value("a first message").into());
    };
    is_known();
    if hello.has_secret != secret.is_some() {
        return Err(refuse(stream, different_ways(secret.is_some())).await);
    }
    if hello.group != GROUP {
        return Err(refuse(stream, format!("there is no group {} here", hello.group)).await);
    }
    transcript.add(&bytes);
    let challenge = Challenge {
        has_secret: secret.is_some(),
        nonce: nonce(),
    };
    say(stream, &Message::Challenge(challenge), &mut transcript).await?;
    let (Message::Proof(proof), bytes) = hear(stream).await? else {
        return Err(Malformed::Value("an answer to a challenge").into());
    };
    if !transcript.is_proof(Side::Dialler, secret, &proof) {
        return Err(refuse(stream, WRONG_SECRET.to_owned()).await);
    }
    transcript.add(&bytes);
    Ok(Introduced { hello, transcript })
}

impl Introduced {
    /// Welcomes whoever dialled.
    pub(crate) async fn welcome(
        mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        secret: Option<&SharedSecret>,
        from: Party,
        session: u64,
    ) -> Result<(), Failure> {
        let proof = [0; 32];
        let mut welcome = Welcome { proof, from, session };
        add_unproven(&mut self.transcript, &welcome);
        welcome.proof = self.transcript.prove(Side::Acceptor, secret);
        say(stream, &Message::Welcome(welcome), &mut Transcript::default()).await
    }

    /// What the connection is for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.hello.purpose
    }
}

/// A welcome proves itself: what it says, with zero in place of the proof.
fn add_unproven(transcript: &mut Transcript, welcome: &Welcome) {
    let proof = [0; 32];
    let unproven = Welcome {
        proof,
        ..welcome.clone()
    };
    transcript.add(&Message::Welcome(unproven).written());
}

const WRONG_SECRET: &str = "the shared secrets of both sides differ";

fn different_ways(has_secret: bool) -> String {
    match has_secret {
        true => "this side has a shared secret, and the other has none".to_owned(),
        false => "this side has no shared secret, and the other has one".to_owned(),
    }
}

/// Says in words why there will be no connection.
pub(crate) async fn refuse(stream: &mut (impl AsyncWrite + Unpin), words: String) -> Failure {
    // They are a courtesy: whoever does not take them is refused all the same.
    let _ = say(stream, &Message::Refusal(words.clone()), &mut Transcript::default()).await;
    let _ = stream.shutdown().await;
    Failure::Unwanted(words)
}

async fn say(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &Message,
    transcript: &mut Transcript,
) -> Result<(), Failure> {
    let bytes = message.written();
    transcript.add(&bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}

/// The next message, and its bytes with its head. Refusals are failures.
async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Result<(Message, Vec<u8>), Failure> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let read = Head::read(&head)?;
    let mut bytes = vec![0; HEAD_BYTES + read.length];
    bytes[..HEAD_BYTES].copy_from_slice(&head);
    stream.read_exact(&mut bytes[HEAD_BYTES..]).await?;
    if !read.is_readable() {
        return Err(Failure::Unwanted(format!(
            "this side speaks version {} of the members' protocol, and the other version {}",
            limits::PROTOCOL_VERSION,
            read.version
        )));
    }
    match Message::read(&read, &bytes[HEAD_BYTES..])? {
        Message::Refusal(words) => Err(Failure::Refused(shown(&words))),
        message => Ok((message, bytes)),
    }
}
