//! Questions between servers of which some may be no members yet (docs/cluster-protocol.md §5), as bytes. Pure.

use seaway_replica::{Identity, NodeId};

use crate::greeting::{Belonging, Party};
use crate::limits;
use crate::wire::{Malformed, Reader, write_text};

/// A member and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAddress {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its address between members, `host:port`.
    pub address: String,
}

/// What somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Who are you, and what have you?
    Standing,
    /// May I join?
    Join(JoinRequest),
}

/// A server with an empty directory asks to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The id that it has drawn and will have; not 0.
    pub id: NodeId,
    /// Its name; a member of the same name that has lost its disk is replaced.
    pub name: String,
    /// Where other members reach it, `host:port`.
    pub address: String,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What it has.
    pub state: State,
    /// The cluster to which it belongs; `Belonging::NONE` when it is empty.
    pub belonging: Belonging,
    /// The names with which it would found a cluster, or has.
    pub founders: Vec<String>,
    /// Where other members reach it.
    pub address: String,
    /// Version of the program.
    pub software: String,
}

/// What a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Empty,
    /// It has founded a cluster, and neither voted in it nor heard of a vote.
    Founding {
        /// An operator said that a majority is enough.
        is_forced: bool,
    },
    /// It takes part in a cluster.
    Member {
        /// Its term.
        term: u64,
        /// The last entry of its log.
        index: u64,
        /// Who leads, as far as it knows.
        leader: Option<NodeId>,
        /// Who belongs to the cluster.
        members: Vec<MemberAddress>,
    },
}

/// The answer to a request to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinAnswer {
    /// The leader takes it in: it is to start with an empty log and wait for the leader. It asks again when nobody comes.
    Accepted {
        /// The cluster.
        belonging: Belonging,
        /// Who belongs to it.
        members: Vec<MemberAddress>,
    },
    /// Somebody else leads.
    Elsewhere(MemberAddress),
    /// Not now, in words; ask again.
    NotNow(String),
    /// No, in words.
    Refused(String),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Question::Standing`.
    Standing(Standing),
    /// To `Question::Join`.
    Join(JoinAnswer),
}

/// Answers questions of other servers. Called by the tasks that serve connections: it must not block for long.
pub trait Answering: Send + Sync + 'static {
    /// What this server is and has.
    fn standing(&self) -> Standing;
    /// Whether a server may join; when this one leads, it begins to take it in. The same request comes again and again.
    fn join(&self, asker: &Party, request: &JoinRequest) -> JoinAnswer;
}

/// Writes a list of members, as it is kept in entries and checkpoints, too.
pub fn write_members(members: &[MemberAddress], out: &mut Vec<u8>) {
    let members = &members[..members.len().min(limits::PEERS_MAX)];
    out.push(members.len() as u8);
    for member in members {
        out.extend(member.id.to_le_bytes());
        write_text(&member.name, limits::NAME_BYTES_MAX, out);
        write_text(&member.address, limits::ADDRESS_BYTES_MAX, out);
    }
}

/// Reads what `write_members` has written, and nothing but that.
///
/// # Errors
///
/// What is wrong with it.
pub fn read_members(bytes: &[u8]) -> Result<Vec<MemberAddress>, Malformed> {
    let mut reader = Reader(bytes);
    let members = members(&mut reader)?;
    reader.end()?;
    Ok(members)
}

fn members(reader: &mut Reader<'_>) -> Result<Vec<MemberAddress>, Malformed> {
    let count = usize::from(reader.u8("a list of members")?);
    if count > limits::PEERS_MAX {
        return Err(Malformed::Value("a list of members"));
    }
    (0..count).map(|_| member(reader)).collect()
}

fn member(reader: &mut Reader<'_>) -> Result<MemberAddress, Malformed> {
    Ok(MemberAddress {
        id: reader.u64("a member's id")?,
        name: reader.text(limits::NAME_BYTES_MAX, "a member's name")?,
        address: reader.text(limits::ADDRESS_BYTES_MAX, "a member's address")?,
    })
}

impl Question {
    /// As bytes.
    pub fn written(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Standing => out.push(1),
            Self::Join(request) => {
                out.push(2);
                out.extend(request.id.to_le_bytes());
                write_text(&request.name, limits::NAME_BYTES_MAX, &mut out);
                write_text(&request.address, limits::ADDRESS_BYTES_MAX, &mut out);
            }
        }
        out
    }

    /// Reads exactly one.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let question = match reader.u8("a question")? {
            1 => Self::Standing,
            2 => {
                let MemberAddress { id, name, address } = member(&mut reader)?;
                if id == 0 {
                    return Err(Malformed::Value("a member's id"));
                }
                Self::Join(JoinRequest { id, name, address })
            }
            _ => return Err(Malformed::Value("a question")),
        };
        reader.end()?;
        Ok(question)
    }
}

impl Answer {
    /// As bytes.
    pub fn written(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Standing(standing) => {
                out.push(1);
                standing.write(&mut out);
            }
            Self::Join(answer) => {
                out.push(2);
                write_join(answer, &mut out);
            }
        }
        out
    }

    /// Reads exactly one.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let answer = match reader.u8("an answer")? {
            1 => Self::Standing(Standing::read(&mut reader)?),
            2 => Self::Join(read_join(&mut reader)?),
            _ => return Err(Malformed::Value("an answer")),
        };
        reader.end()?;
        Ok(answer)
    }
}

impl Standing {
    fn write(&self, out: &mut Vec<u8>) {
        write_belonging(&self.belonging, out);
        write_text(&self.software, limits::NAME_BYTES_MAX, out);
        write_text(&self.address, limits::ADDRESS_BYTES_MAX, out);
        let founders = &self.founders[..self.founders.len().min(limits::PEERS_MAX)];
        out.push(founders.len() as u8);
        for founder in founders {
            write_text(founder, limits::NAME_BYTES_MAX, out);
        }
        match &self.state {
            State::Empty => out.push(1),
            State::Founding { is_forced } => out.extend([2, u8::from(*is_forced)]),
            State::Member {
                term,
                index,
                leader,
                members,
            } => {
                out.push(3);
                for number in [*term, *index, leader.unwrap_or(0)] {
                    out.extend(number.to_le_bytes());
                }
                write_members(members, out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let belonging = read_belonging(reader)?;
        let software = reader.text(limits::NAME_BYTES_MAX, "a version")?;
        let address = reader.text(limits::ADDRESS_BYTES_MAX, "an address")?;
        let count = usize::from(reader.u8("a list of names")?);
        if count > limits::PEERS_MAX {
            return Err(Malformed::Value("a list of names"));
        }
        let founders: Result<_, _> = (0..count)
            .map(|_| reader.text(limits::NAME_BYTES_MAX, "a name"))
            .collect();
        let founders = founders?;
        let state = match reader.u8("a state")? {
            1 => State::Empty,
            2 => State::Founding {
                is_forced: reader.is_true("a founding")?,
            },
            3 => State::Member {
                term: reader.u64("a term")?,
                index: reader.u64("an index")?,
                leader: Some(reader.u64("a leader")?).filter(|leader| *leader != 0),
                members: members(reader)?,
            },
            _ => return Err(Malformed::Value("a state")),
        };
        Ok(Self {
            state,
            belonging,
            founders,
            address,
            software,
        })
    }
}

fn write_belonging(belonging: &Belonging, out: &mut Vec<u8>) {
    out.extend(belonging.founding.0);
    out.extend(belonging.current.0);
}

fn read_belonging(reader: &mut Reader<'_>) -> Result<Belonging, Malformed> {
    Ok(Belonging {
        founding: Identity(reader.array("an identity")?),
        current: Identity(reader.array("an identity")?),
    })
}

fn write_join(answer: &JoinAnswer, out: &mut Vec<u8>) {
    match answer {
        JoinAnswer::Accepted { belonging, members } => {
            out.push(1);
            write_belonging(belonging, out);
            write_members(members, out);
        }
        JoinAnswer::Elsewhere(leader) => {
            out.push(2);
            out.extend(leader.id.to_le_bytes());
            write_text(&leader.name, limits::NAME_BYTES_MAX, out);
            write_text(&leader.address, limits::ADDRESS_BYTES_MAX, out);
        }
        JoinAnswer::NotNow(words) => {
            out.push(3);
            write_text(words, limits::WORDS_BYTES_MAX, out);
        }
        JoinAnswer::Refused(words) => {
            out.push(4);
            write_text(words, limits::WORDS_BYTES_MAX, out);
        }
    }
}

fn read_join(reader: &mut Reader<'_>) -> Result<JoinAnswer, Malformed> {
    Ok(match reader.u8("an answer")? {
        1 => JoinAnswer::Accepted {
            belonging: read_belonging(reader)?,
            members: members(reader)?,
        },
        2 => JoinAnswer::Elsewhere(member(reader)?),
        3 => JoinAnswer::NotNow(reader.text(limits::WORDS_BYTES_MAX, "words")?),
        4 => JoinAnswer::Refused(reader.text(limits::WORDS_BYTES_MAX, "words")?),
        _ => return Err(Malformed::Value("an answer")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member() -> impl Strategy<Value = MemberAddress> {
        (any::<u64>(), ".{0,20}", ".{0,20}").prop_map(|(id, name, address)| MemberAddress { id, name, address })
    }

    fn members() -> impl Strategy<Value = Vec<MemberAddress>> {
        prop::collection::vec(member(), 0..6)
    }

    fn answer() -> impl Strategy<Value = Answer> {
        let state = prop_oneof![
            Just(State::Empty),
            any::<bool>().prop_map(|is_forced| State::Founding { is_forced }),
            (any::<(u64, u64)>(), prop::option::of(1..u64::MAX), members()).prop_map(
                |((term, index), leader, members)| State::Member {
                    term,
                    index,
                    leader,
                    members
                }
            ),
        ];
        let founders = prop::collection::vec(".{0,10}", 0..5);
        let standing =
            (state, founders, ".{0,20}", any::<[u8; 16]>()).prop_map(|(state, founders, address, identity)| {
                Answer::Standing(Standing {
                    state,
                    belonging: Belonging::founding(Identity(identity)),
                    founders,
                    software: address.clone(),
                    address,
                })
            });
        prop_oneof![
            standing,
            (any::<[u8; 16]>(), any::<[u8; 16]>(), members()).prop_map(|(founding, current, members)| {
                let belonging = Belonging {
                    founding: Identity(founding),
                    current: Identity(current),
                };
                Answer::Join(JoinAnswer::Accepted { belonging, members })
            }),
            member().prop_map(|leader| Answer::Join(JoinAnswer::Elsewhere(leader))),
            ".{0,30}".prop_map(|words| Answer::Join(JoinAnswer::NotNow(words))),
            ".{0,30}".prop_map(|words| Answer::Join(JoinAnswer::Refused(words))),
        ]
    }

    proptest! {
        #[test]
        fn answers_are_read_as_they_were_written(answer in answer()) {
            prop_assert_eq!(Answer::read(&answer.written()), Ok(answer));
        }

        #[test]
        fn questions_are_read_as_they_were_written(id in 1..u64::MAX, name in ".{0,20}", address in ".{0,20}") {
            let question = Question::Join(JoinRequest { id, name, address });
            prop_assert_eq!(Question::read(&question.written()), Ok(question));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in any::<Vec<u8>>()) {
            if let Ok(answer) = Answer::read(&bytes) {
                prop_assert_eq!(answer.written(), bytes);
            } else if let Ok(question) = Question::read(&bytes) {
                prop_assert_eq!(question.written(), bytes);
            }
        }

        #[test]
        fn lists_of_members_are_kept(members in members()) {
            let mut bytes = Vec::new();
            write_members(&members, &mut bytes);
            prop_assert_eq!(read_members(&bytes), Ok(members));
            bytes.push(0);
            prop_assert!(read_members(&bytes).is_err());
        }
    }

    #[test]
    fn the_longest_answer_fits_into_its_frame() {
        let member = MemberAddress {
            id: 1,
            name: "n".repeat(limits::NAME_BYTES_MAX),
            address: "a".repeat(limits::ADDRESS_BYTES_MAX),
        };
        let answer = Answer::Standing(Standing {
            state: State::Member {
                term: 1,
                index: 1,
                leader: None,
                members: vec![member; limits::PEERS_MAX],
            },
            belonging: Belonging::NONE,
            founders: vec!["n".repeat(limits::NAME_BYTES_MAX); limits::PEERS_MAX],
            address: "a".repeat(limits::ADDRESS_BYTES_MAX),
            software: "s".repeat(1_000),
        });
        assert!(answer.written().len() <= limits::ASKED_BYTES_MAX);
    }
}
