//! Whether a server founds a cluster, joins one, begins, or waits (consensus design §3.7). A function of what it has and what it has heard.
//!
//! Founding takes two steps, so that no two wiped servers and one that is away are taken for a new cluster:
//!
//! 1. Everybody on the list is empty or founding: the founding is written down, durably.
//! 2. Everybody on the list has written it down: the member begins to vote. From then on it says that it is a member.
//!
//! Whoever is empty and hears of a member was wiped, since that one has begun only when everybody had written the founding down: it joins
//! under a new id. An operator may say, on one server, that a majority is enough; the others hear it from that one.

use std::collections::BTreeSet;

use seaway_replica::{Identity, NodeId, founding_id};

use crate::asking::{Standing, State};
use crate::greeting::{Belonging, Party};

/// How a server with an empty directory comes to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It was given the names of all founders.
    Founders,
    /// It founds a cluster alone, which others join.
    Bootstrap,
    /// It joins whatever is there.
    Join,
}

/// What a server was configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The cluster's id.
    pub cluster_id: String,
    /// Its name.
    pub name: String,
    /// How it comes to a cluster.
    pub mode: Mode,
    /// With `Mode::Founders` the names of all founders, its own among them or not; otherwise not looked at.
    pub founders: Vec<String>,
    /// An operator says that a majority of the founders is enough.
    pub is_forced: bool,
}

/// What a server has in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// Nothing.
    Empty,
    /// It has written a founding down, and has neither voted nor heard of a vote.
    Founding {
        /// Of which cluster.
        identity: Identity,
        /// Whether a majority was enough.
        is_forced: bool,
    },
    /// A log with entries, or a vote.
    Member,
}

/// What was heard from somebody who was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are as many as members, for a moment")]
pub enum Heard {
    /// It is this server.
    Oneself,
    /// There is no answer: whom it would have been (a name, or an address), and why.
    Nothing(String, String),
    /// Who answered at which address, and what it has.
    Answer(String, Party, Standing),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Write this founding down durably, then ask again.
    Found {
        /// The cluster's identity for now.
        identity: Identity,
        /// Names and ids of the founders, this one among them, by name.
        founders: Vec<(String, NodeId)>,
        /// Whether a majority was enough.
        is_forced: bool,
    },
    /// Begin to take part with what is there.
    Start,
    /// Ask these addresses, the first one first, to be taken in under a new id.
    Join {
        /// Addresses of members.
        via: Vec<String>,
    },
    /// Ask again later; why, for the log.
    Wait(String),
    /// Give up; why.
    Refuse(String),
}

/// See the module.
pub fn decide(plan: &Plan, own: Situation, heard: &[Heard]) -> Decision {
    if own == Situation::Member {
        return Decision::Start;
    }
    let table = Table::new(plan, heard);
    if let Some(words) = table.name_twice() {
        return Decision::Wait(words);
    }
    match own {
        Situation::Founding { identity, is_forced } => table.begin(identity, is_forced),
        _ => table.of_nothing(),
    }
}

/// Somebody who has answered.
struct Answer<'a> {
    address: &'a str,
    party: &'a Party,
    standing: &'a Standing,
}

struct Table<'a> {
    plan: &'a Plan,
    /// Names of all founders, in order.
    founders: BTreeSet<&'a str>,
    identity: Identity,
    answers: Vec<Answer<'a>>,
    silent: Vec<(&'a str, &'a str)>,
}

impl<'a> Table<'a> {
    fn new(plan: &'a Plan, heard: &'a [Heard]) -> Self {
        let others: &[String] = match plan.mode {
            Mode::Founders => &plan.founders,
            Mode::Bootstrap | Mode::Join => &[],
        };
        let founders: BTreeSet<_> = others.iter().chain([&plan.name]).map(String::as_str).collect();
        let names: Vec<_> = founders.iter().copied().collect();
        let (mut answers, mut silent) = (Vec::<Answer<'_>>::new(), Vec::new());
        for one in heard {
            match one {
                Heard::Oneself => {}
                Heard::Nothing(who, why) => silent.push((who.as_str(), why.as_str())),
                // One server at two addresses is one server.
                Heard::Answer(_, party, _) if answers.iter().any(|known| known.party.boot == party.boot) => {}
                Heard::Answer(address, party, standing) => answers.push(Answer {
                    address,
                    party,
                    standing,
                }),
            }
        }
        Self {
            plan,
            identity: Identity::founding(&plan.cluster_id, &names),
            founders,
            answers,
            silent,
        }
    }

    /// Two servers of one name, as while one is being replaced by another.
    fn name_twice(&self) -> Option<String> {
        let mut names = BTreeSet::from([self.plan.name.as_str()]);
        let twice = self.answers.iter().find(|answer| !names.insert(&answer.party.name));
        twice.map(|answer| {
            let (name, address) = (&answer.party.name, answer.address);
            format!("there are two servers with the name {name:?}, one of them at {address}: names must differ")
        })
    }

    fn members(&self) -> impl Iterator<Item = &Answer<'a>> {
        self.answers
            .iter()
            .filter(|answer| matches!(answer.standing.state, State::Member { .. }))
    }

    /// The second step.
    fn begin(&self, identity: Identity, is_forced: bool) -> Decision {
        let ours = Belonging::founding(identity);
        let mut members = self.members().peekable();
        if members.peek().is_some() {
            return match members.find(|member| !member.standing.belonging.is_one_with(&ours)) {
                None => Decision::Start,
                Some(other) => Decision::Refuse(format!(
                    "this server has begun to found a cluster, and {:?} at {} belongs to another; empty this one's directory to let it join",
                    other.party.name, other.address
                )),
            };
        }
        if identity != self.identity {
            return Decision::Refuse(format!(
                "this server has begun to found a cluster of other names than it is given now, {}; give it the names of before, or empty its \
                 directory",
                self.list()
            ));
        }
        let mut lacking = Vec::new();
        for name in self.founders.iter().filter(|name| **name != self.plan.name) {
            match self.answer_of(name) {
                Some(answer) if matches!(answer.standing.state, State::Founding { .. }) => {
                    if answer.standing.belonging.current != identity {
                        return Decision::Wait(format!("{name:?} founds a cluster of other names: {}", listed(answer)));
                    }
                }
                Some(_) => lacking.push(format!("{name:?} has not founded it yet")),
                None => lacking.push(self.silence_of(name)),
            }
        }
        if lacking.is_empty() || ((is_forced || self.is_forced()) && self.is_majority_without(lacking.len())) {
            return Decision::Start;
        }
        Decision::Wait(format!(
            "the cluster is founded; waiting for everybody: {}",
            lacking.join(", ")
        ))
    }

    /// Of a server with an empty directory.
    fn of_nothing(&self) -> Decision {
        let members: Vec<_> = self.members().collect();
        if let Some(first) = members.first() {
            return self.join(first, &members);
        }
        match self.plan.mode {
            Mode::Founders => self.found(),
            Mode::Bootstrap => self.bootstrap(),
            Mode::Join => Decision::Wait(match self.silent.first() {
                Some((who, why)) => format!("no member of the cluster has answered: {who}: {why}"),
                None => {
                    "no member of the cluster is known to join; name one in -cluster_peers as name@host:port".to_owned()
                }
            }),
        }
    }

    /// Leaders first, then whoever has the longest log.
    fn join(&self, first: &Answer<'_>, members: &[&Answer<'_>]) -> Decision {
        let ours = first.standing.belonging;
        if let Some(other) = members
            .iter()
            .find(|other| !other.standing.belonging.is_one_with(&ours))
        {
            return Decision::Refuse(format!(
                "{:?} at {} and {:?} at {} belong to different clusters",
                first.party.name, first.address, other.party.name, other.address
            ));
        }
        let mut order: Vec<_> = members
            .iter()
            .map(|member| {
                let State::Member {
                    term, index, leader, ..
                } = &member.standing.state
                else {
                    return (false, 0, 0, member.address);
                };
                (*leader == Some(member.party.id), *term, *index, member.address)
            })
            .collect();
        order.sort_unstable_by(|one, other| other.cmp(one));
        Decision::Join {
            via: order.into_iter().map(|(.., address)| address.to_owned()).collect(),
        }
    }

    fn bootstrap(&self) -> Decision {
        if let Some((who, why)) = self.silent.first() {
            return Decision::Wait(format!(
                "before it founds a cluster alone, everybody has to say that there is none: {who}: {why}"
            ));
        }
        for answer in &self.answers {
            let name = &answer.party.name;
            if answer.standing.founders == [name.as_str()] {
                return Decision::Refuse(format!("Server {name} was also started with -cluster_bootstrap"));
            }
            if answer.standing.state != State::Empty {
                return Decision::Wait(format!("{name:?} founds a cluster, which this server will join"));
            }
        }
        self.founding(false)
    }

    /// The first step.
    fn found(&self) -> Decision {
        let mut lacking = Vec::new();
        for name in self.founders.iter().filter(|name| **name != self.plan.name) {
            let Some(answer) = self.answer_of(name) else {
                lacking.push(self.silence_of(name));
                continue;
            };
            let names: BTreeSet<_> = answer.standing.founders.iter().map(String::as_str).collect();
            let is_other = matches!(answer.standing.state, State::Founding { .. })
                && answer.standing.belonging.current != self.identity;
            if names != self.founders || is_other {
                return Decision::Wait(format!(
                    "{name:?} was given the names {}, and this server {}: the lists must be the same",
                    listed(answer),
                    self.list()
                ));
            }
        }
        let is_forced = self.plan.is_forced || self.is_forced();
        if lacking.is_empty() {
            return self.founding(is_forced);
        }
        if is_forced && self.is_majority_without(lacking.len()) {
            return self.founding(true);
        }
        Decision::Wait(format!(
            "a cluster is founded when everybody says that there is none: {}; when the others have never been members, `seaway cluster found \
             --force` founds it with a majority",
            lacking.join(", ")
        ))
    }

    fn founding(&self, is_forced: bool) -> Decision {
        let id = |name: &&str| ((*name).to_owned(), founding_id(&self.plan.cluster_id, name));
        Decision::Found {
            identity: self.identity,
            founders: self.founders.iter().map(id).collect(),
            is_forced,
        }
    }

    fn answer_of(&self, name: &str) -> Option<&Answer<'a>> {
        self.answers.iter().find(|answer| answer.party.name == name)
    }

    fn silence_of(&self, name: &str) -> String {
        match self.silent.iter().find(|(who, _)| *who == name) {
            Some((_, why)) => format!("{name:?} has not answered: {why}"),
            None => format!("{name:?} has not answered"),
        }
    }

    /// Somebody founds this very cluster as an operator said.
    fn is_forced(&self) -> bool {
        self.answers.iter().any(|answer| {
            matches!(answer.standing.state, State::Founding { is_forced: true })
                && answer.standing.belonging.current == self.identity
        })
    }

    fn is_majority_without(&self, lacking: usize) -> bool {
        2 * (self.founders.len() - lacking) > self.founders.len()
    }

    fn list(&self) -> String {
        self.founders.iter().copied().collect::<Vec<_>>().join(", ")
    }
}

/// The names that somebody was given.
fn listed(answer: &Answer<'_>) -> String {
    if answer.standing.founders.is_empty() {
        return "(none)".to_owned();
    }
    answer.standing.founders.join(", ")
}

#[cfg(test)]
mod tests;
