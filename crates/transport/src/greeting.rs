//! The handshake as bytes (docs/cluster-protocol.md §2). Pure.
//!
//! ```text
//!   dialler                                   acceptor
//!   Hello: who, whom, which session  ------>
//!                                    <------  Challenge: a number to prove oneself with
//!   Proof                            ------>
//!                                    <------  Welcome: its own proof, who it is, which session
//! ```
//!
//! In place of any of them a side may say `Refusal`, in words. The dialler proves itself first: whoever connects without the secret hears
//! nothing that was made with it.

use seaway_replica::{Identity, NodeId};

use crate::limits;
use crate::wire::{Malformed, Reader, write_text};

/// What every message of the handshake begins with.
pub const MAGIC: [u8; 8] = *b"SEAWAYMB";
/// Length of the head of a message; the same in every version, so that versions can refuse each other in words.
pub const HEAD_BYTES: usize = 14;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Heartbeats, votes, answers.
    Control,
    /// Entries.
    Bulk,
    /// Pieces of snapshots.
    Snapshot,
    /// One question, asked by somebody who may be no member yet.
    Ask,
}

impl Purpose {
    /// The three connections of a set.
    pub const SET: [Purpose; 3] = [Purpose::Control, Purpose::Bulk, Purpose::Snapshot];

    const fn number(self) -> u8 {
        match self {
            Purpose::Control => 1,
            Purpose::Bulk => 2,
            Purpose::Snapshot => 3,
            Purpose::Ask => 4,
        }
    }

    fn from_number(number: u8) -> Result<Self, Malformed> {
        Ok(match number {
            1 => Purpose::Control,
            2 => Purpose::Bulk,
            3 => Purpose::Snapshot,
            4 => Purpose::Ask,
            _ => return Err(Malformed::Value("a purpose")),
        })
    }
}

/// To which cluster a server belongs: the identity that it was founded with, and the one that was drawn when the founding was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Belonging {
    /// `Identity::founding` of the cluster.
    pub founding: Identity,
    /// The present one; the same until the first leader's entry has changed it.
    pub current: Identity,
}

impl Belonging {
    /// Of a server that belongs to none.
    pub const NONE: Self = Self {
        founding: Identity([0; 16]),
        current: Identity([0; 16]),
    };

    /// Of a cluster that is being founded.
    pub fn founding(identity: Identity) -> Self {
        Self {
            founding: identity,
            current: identity,
        }
    }

    /// Whether both belong to one cluster: they have the same identity, or one of them has not heard yet of the one that was drawn.
    pub fn is_one_with(&self, other: &Self) -> bool {
        let is_waiting = |side: &Self| side.current == side.founding;
        *self != Self::NONE
            && *other != Self::NONE
            && (self.current == other.current
                || (self.founding == other.founding && (is_waiting(self) || is_waiting(other))))
    }
}

/// Who speaks, and to whom it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The member; 0 of a server that is none.
    pub id: NodeId,
    /// Drawn at the start of the process: tells two servers with one id apart, and oneself from others.
    pub boot: u64,
    /// Its cluster.
    pub belonging: Belonging,
    /// The cluster's id, as configured.
    pub cluster_id: String,
    /// The member's name, as configured.
    pub name: String,
}

/// The first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What the connection is for.
    pub purpose: Purpose,
    /// Whether the dialler has a secret.
    pub has_secret: bool,
    /// Which group of the cluster; there is group 0.
    pub group: u32,
    /// Who dials.
    pub from: Party,
    /// Whom it means to reach; 0 is whoever is there.
    pub to: NodeId,
    /// On the control connection the number that it wants for the session, on the others that of their session.
    pub session: u64,
    /// Drawn for this connection.
    pub nonce: [u8; 32],
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whether the acceptor has a secret.
    pub has_secret: bool,
    /// Drawn for this connection.
    pub nonce: [u8; 32],
}

/// The last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Shows that the acceptor has the secret; zero without one.
    pub proof: [u8; 32],
    /// Who accepts.
    pub from: Party,
    /// The number of the session.
    pub session: u64,
}

/// A message of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// See there.
    Hello(Hello),
    /// See there.
    Challenge(Challenge),
    /// Shows that the dialler has the secret; zero without one.
    Proof([u8; 32]),
    /// See there.
    Welcome(Welcome),
    /// Why there will be no connection.
    Refusal(String),
}

/// The head of a message: what can be read of any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Version of whoever wrote it.
    pub version: u16,
    /// Which message.
    pub kind: u8,
    /// Bytes that follow, at most `limits::GREETING_BYTES_MAX`.
    pub length: usize,
}

const HELLO: u8 = 1;
const CHALLENGE: u8 = 2;
const PROOF: u8 = 3;
const WELCOME: u8 = 4;
const REFUSAL: u8 = 9;

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    ///
    /// It is none, or more would follow than any message has.
    pub fn read(bytes: &[u8; HEAD_BYTES]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        if reader.array("the magic")? != MAGIC {
            return Err(Malformed::Magic);
        }
        let (version, kind) = (reader.u16("a version")?, reader.u8("a kind")?);
        reader.u8("a reserved field")?;
        let length = usize::from(reader.u16("a length")?);
        if length > limits::GREETING_BYTES_MAX {
            return Err(Malformed::Value("a length"));
        }
        Ok(Self { version, kind, length })
    }

    /// Whether the rest can be read: it is of this version, or the words of a refusal, which are the same in every version.
    pub fn is_readable(&self) -> bool {
        self.version == limits::PROTOCOL_VERSION || self.kind == REFUSAL
    }
}

impl Message {
    /// Reads what follows a readable head.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(head: &Head, body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(body);
        let message = match head.kind {
            HELLO => Self::Hello(read_hello(&mut reader)?),
            CHALLENGE => Self::Challenge(Challenge {
                has_secret: reader.is_true("a way to prove oneself")?,
                nonce: reader.array("a nonce")?,
            }),
            PROOF => Self::Proof(reader.array("a proof")?),
            WELCOME => Self::Welcome(Welcome {
                proof: reader.array("a proof")?,
                from: read_party(&mut reader)?,
                session: read_session(&mut reader)?,
            }),
            REFUSAL => Self::Refusal(reader.text(limits::WORDS_BYTES_MAX, "words")?),
            _ => return Err(Malformed::Value("a kind of message")),
        };
        reader.end()?;
        Ok(message)
    }

    /// The message with its head.
    pub fn written(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend(MAGIC);
        out.extend(limits::PROTOCOL_VERSION.to_le_bytes());
        out.extend([self.kind(), 0, 0, 0]);
        match self {
            Self::Hello(hello) => write_hello(hello, &mut out),
            Self::Challenge(challenge) => {
                out.push(u8::from(challenge.has_secret));
                out.extend(challenge.nonce);
            }
            Self::Proof(proof) => out.extend(proof),
            Self::Welcome(welcome) => {
                out.extend(welcome.proof);
                write_party(&welcome.from, &mut out);
                out.extend(welcome.session.to_le_bytes());
            }
            Self::Refusal(words) => write_text(words, limits::WORDS_BYTES_MAX, &mut out),
        }
        let length = (out.len() - HEAD_BYTES) as u16;
        out[HEAD_BYTES - 2..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        out
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Challenge(_) => CHALLENGE,
            Self::Proof(_) => PROOF,
            Self::Welcome(_) => WELCOME,
            Self::Refusal(_) => REFUSAL,
        }
    }
}

fn read_hello(reader: &mut Reader<'_>) -> Result<Hello, Malformed> {
    Ok(Hello {
        purpose: Purpose::from_number(reader.u8("a purpose")?)?,
        has_secret: reader.is_true("a way to prove oneself")?,
        group: reader.u32("a group")?,
        to: reader.u64("an id")?,
        session: read_session(reader)?,
        nonce: reader.array("a nonce")?,
        from: read_party(reader)?,
    })
}

fn write_hello(hello: &Hello, out: &mut Vec<u8>) {
    out.extend([hello.purpose.number(), u8::from(hello.has_secret)]);
    out.extend(hello.group.to_le_bytes());
    out.extend(hello.to.to_le_bytes());
    out.extend(hello.session.to_le_bytes());
    out.extend(hello.nonce);
    write_party(&hello.from, out);
}

fn read_session(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let session = reader.u64("a session")?;
    if session > limits::SESSION_MAX {
        return Err(Malformed::Value("a session"));
    }
    Ok(session)
}

fn read_party(reader: &mut Reader<'_>) -> Result<Party, Malformed> {
    Ok(Party {
        id: reader.u64("an id")?,
        boot: reader.u64("a boot")?,
        belonging: Belonging {
            founding: Identity(reader.array("an identity")?),
            current: Identity(reader.array("an identity")?),
        },
        cluster_id: reader.text(limits::NAME_BYTES_MAX, "a cluster's id")?,
        name: reader.text(limits::NAME_BYTES_MAX, "a name")?,
    })
}

fn write_party(party: &Party, out: &mut Vec<u8>) {
    out.extend(party.id.to_le_bytes());
    out.extend(party.boot.to_le_bytes());
    out.extend(party.belonging.founding.0);
    out.extend(party.belonging.current.0);
    write_text(&party.cluster_id, limits::NAME_BYTES_MAX, out);
    write_text(&party.name, limits::NAME_BYTES_MAX, out);
}

/// Why a server does not speak with another, as that other is told; `None` when nothing is against it.
pub(crate) fn objection(own: &Party, other: &Party, purpose: Purpose) -> Option<String> {
    if other.boot == own.boot {
        return Some(ONESELF.to_owned());
    }
    if other.cluster_id != own.cluster_id {
        return Some(format!(
            "member {:?} is of the cluster {:?}, and the other side of {:?}",
            own.name, own.cluster_id, other.cluster_id
        ));
    }
    if purpose == Purpose::Ask {
        return None;
    }
    if own.id == 0 {
        return Some(format!("{:?} is no member of a cluster yet", own.name));
    }
    if other.id == 0 {
        return Some("a server that is no member may only ask".to_owned());
    }
    if !own.belonging.is_one_with(&other.belonging) {
        return Some(format!(
            "member {:?} belongs to the cluster with the identity {:?}, and the other side to {:?}",
            own.name, own.belonging.current, other.belonging.current
        ));
    }
    (other.id == own.id).then(|| {
        format!(
            "{:?} and {:?} both have the id {:016x}: the directory of one was copied to the other",
            own.name, other.name, own.id
        )
    })
}

/// What is said to a connection from oneself.
pub(crate) const ONESELF: &str = "both sides are the same server";

#[cfg(test)]
mod tests;
