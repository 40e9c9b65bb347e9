use super::*;
use crate::asking::MemberAddress;

const CLUSTER: &str = "trial";

fn plan(name: &str, mode: Mode) -> Plan {
    Plan {
        cluster_id: CLUSTER.to_owned(),
        name: name.to_owned(),
        mode,
        founders: ["a", "b", "c"].map(str::to_owned).into(),
        is_forced: false,
    }
}

fn identity() -> Identity {
    Identity::founding(CLUSTER, &["a", "b", "c"])
}

fn founded() -> Situation {
    Situation::Founding {
        identity: identity(),
        is_forced: false,
    }
}

/// Somebody who answers with a state; founders and members belong to the cluster of a, b and c.
fn answers(name: &str, state: State) -> Heard {
    let belonging = match state {
        State::Empty => Belonging::NONE,
        _ => Belonging::founding(identity()),
    };
    let party = Party {
        id: 1,
        boot: u64::from(name.as_bytes()[0]),
        belonging,
        cluster_id: CLUSTER.to_owned(),
        name: name.to_owned(),
    };
    let standing = Standing {
        state,
        belonging,
        founders: ["a", "b", "c"].map(str::to_owned).into(),
        address: format!("{name}:1"),
        software: String::new(),
    };
    Heard::Answer(format!("{name}:1"), party, standing)
}

/// The same, changed.
fn but(heard: Heard, change: impl FnOnce(&mut Party, &mut Standing)) -> Heard {
    let Heard::Answer(address, mut party, mut standing) = heard else {
        panic!()
    };
    change(&mut party, &mut standing);
    Heard::Answer(address, party, standing)
}

fn silent(name: &str) -> Heard {
    Heard::Nothing(name.to_owned(), "connection refused".to_owned())
}

fn founding(is_forced: bool) -> State {
    State::Founding { is_forced }
}

fn member(term: u64, index: u64, leader: Option<NodeId>) -> State {
    State::Member {
        term,
        index,
        leader,
        members: Vec::<MemberAddress>::new(),
    }
}

fn waits(decision: Decision, for_what: &str) {
    match decision {
        Decision::Wait(words) => assert!(words.contains(for_what), "{words}"),
        other => panic!("{other:?}"),
    }
}

fn refuses(decision: Decision, for_what: &str) {
    match decision {
        Decision::Refuse(words) => assert!(words.contains(for_what), "{words}"),
        other => panic!("{other:?}"),
    }
}

/// Consensus design §3.7: only when everybody answered and is empty.
#[test]
fn a_cluster_is_founded_when_everybody_says_that_there_is_none() {
    let plan = plan("a", Mode::Founders);
    let decision = decide(
        &plan,
        Situation::Empty,
        &[
            Heard::Oneself,
            answers("b", State::Empty),
            answers("c", founding(false)),
        ],
    );
    let ids = ["a", "b", "c"].map(|name| (name.to_owned(), founding_id(CLUSTER, name)));
    assert_eq!(
        decision,
        Decision::Found {
            identity: identity(),
            founders: ids.into(),
            is_forced: false
        }
    );
    waits(
        decide(&plan, Situation::Empty, &[answers("b", State::Empty), silent("c")]),
        "\"c\" has not answered: connection refused",
    );
    waits(
        decide(&plan, Situation::Empty, &[answers("b", State::Empty)]),
        "\"c\" has not answered",
    );
    waits(
        decide(&plan, Situation::Empty, &[]),
        "\"b\" has not answered, \"c\" has not answered",
    );
}

#[test]
fn members_begin_when_everybody_has_written_the_founding_down() {
    let plan = plan("a", Mode::Founders);
    let both = [answers("b", founding(false)), answers("c", founding(false))];
    assert_eq!(decide(&plan, founded(), &both), Decision::Start);
    waits(
        decide(
            &plan,
            founded(),
            &[answers("b", founding(false)), answers("c", State::Empty)],
        ),
        "\"c\" has not founded it yet",
    );
    waits(
        decide(&plan, founded(), &[answers("b", founding(false)), silent("c")]),
        "\"c\" has not answered",
    );
    // Whoever has begun knows that everybody had.
    assert_eq!(
        decide(&plan, founded(), &[answers("b", member(1, 2, None)), silent("c")]),
        Decision::Start
    );
    assert_eq!(decide(&plan, Situation::Member, &[]), Decision::Start);
}

/// A wiped voter under its old id loses committed entries (consensus design §5.1).
#[test]
fn an_empty_server_joins_whoever_has_something() {
    for mode in [Mode::Founders, Mode::Bootstrap, Mode::Join] {
        let heard = [
            answers("b", member(3, 9, Some(7))),
            answers("c", member(3, 12, Some(7))),
            silent("d"),
        ];
        let via = ["c:1", "b:1"].map(str::to_owned).into();
        assert_eq!(
            decide(&plan("a", mode), Situation::Empty, &heard),
            Decision::Join { via }
        );
        let leader = but(answers("b", member(3, 9, Some(7))), |party, _| party.id = 7);
        let via = ["b:1", "c:1"].map(str::to_owned).into();
        let heard = [answers("c", member(3, 12, Some(7))), leader];
        assert_eq!(
            decide(&plan("a", mode), Situation::Empty, &heard),
            Decision::Join { via }
        );
    }
}

/// Two of three wiped and one away looks like a new cluster: only an operator can know.
#[test]
fn a_majority_founds_only_when_an_operator_says_so() {
    let forced = Plan {
        is_forced: true,
        ..plan("a", Mode::Founders)
    };
    let is_founded_by_force =
        |decision| matches!(decision, Decision::Found { is_forced: true, founders, .. } if founders.len() == 3);
    assert!(is_founded_by_force(decide(
        &forced,
        Situation::Empty,
        &[answers("b", State::Empty), silent("c")]
    )));
    waits(
        decide(&forced, Situation::Empty, &[silent("b"), silent("c")]),
        "\"b\" has not answered",
    );
    // The others hear of it.
    let heard = [answers("a", founding(true)), silent("c")];
    assert!(is_founded_by_force(decide(
        &plan("b", Mode::Founders),
        Situation::Empty,
        &heard
    )));
    assert_eq!(decide(&plan("b", Mode::Founders), founded(), &heard), Decision::Start);
    waits(
        decide(
            &plan("b", Mode::Founders),
            founded(),
            &[answers("a", founding(false)), silent("c")],
        ),
        "\"c\" has not answered",
    );
    let own = Situation::Founding {
        identity: identity(),
        is_forced: true,
    };
    waits(
        decide(&forced, own, &[answers("b", State::Empty), silent("c")]),
        "\"b\" has not founded it yet",
    );
}

#[test]
fn lists_that_differ_found_nothing() {
    let fewer = but(answers("b", State::Empty), |_, standing| drop(standing.founders.pop()));
    waits(
        decide(
            &plan("a", Mode::Founders),
            Situation::Empty,
            &[fewer, answers("c", State::Empty)],
        ),
        "\"b\" was given the names a, b, and this server a, b, c",
    );
    let other = |heard| {
        but(heard, |_, standing| {
            standing.belonging = Belonging::founding(Identity([3; 16]));
        })
    };
    let heard = [other(answers("b", founding(false))), answers("c", State::Empty)];
    waits(
        decide(&plan("a", Mode::Founders), Situation::Empty, &heard),
        "the lists must be the same",
    );
    waits(decide(&plan("a", Mode::Founders), founded(), &heard), "other names");
    refuses(
        decide(
            &plan("a", Mode::Founders),
            founded(),
            &[other(answers("b", member(1, 2, None)))],
        ),
        "belongs to another",
    );
    let changed = Plan {
        founders: vec!["b".to_owned()],
        ..plan("a", Mode::Founders)
    };
    refuses(decide(&changed, founded(), &[]), "other names than it is given now");
    let heard = [
        other(answers("b", member(1, 2, None))),
        answers("c", member(1, 2, None)),
    ];
    refuses(
        decide(&plan("a", Mode::Join), Situation::Empty, &heard),
        "different clusters",
    );
}

#[test]
fn one_name_is_one_server() {
    let plan = plan("a", Mode::Founders);
    waits(
        decide(&plan, Situation::Empty, &[answers("a", State::Empty)]),
        "two servers with the name \"a\"",
    );
    let other = but(answers("b", State::Empty), |party, _| party.boot = 999);
    waits(
        decide(&plan, Situation::Empty, &[answers("b", State::Empty), other]),
        "two servers with the name \"b\"",
    );
    // One server at two addresses is no second one.
    let heard = [
        answers("b", State::Empty),
        answers("b", State::Empty),
        answers("c", State::Empty),
    ];
    assert!(matches!(
        decide(&plan, Situation::Empty, &heard),
        Decision::Found { .. }
    ));
}

#[test]
fn bootstrap_asks_first() {
    let plan = plan("a", Mode::Bootstrap);
    let alone = Identity::founding(CLUSTER, &["a"]);
    assert!(matches!(
        decide(&plan, Situation::Empty, &[Heard::Oneself]),
        Decision::Found { identity, founders, .. } if identity == alone && founders.len() == 1
    ));
    waits(
        decide(&plan, Situation::Empty, &[silent("b")]),
        "everybody has to say that there is none",
    );
    assert!(matches!(
        decide(&plan, Situation::Empty, &[answers("b", State::Empty)]),
        Decision::Found { .. }
    ));
    let also = but(answers("b", State::Empty), |_, standing| {
        standing.founders = vec!["b".to_owned()]
    });
    refuses(
        decide(&plan, Situation::Empty, &[also]),
        "Server b was also started with -cluster_bootstrap",
    );
    waits(
        decide(&plan, Situation::Empty, &[answers("b", founding(false))]),
        "will join",
    );
    let own = Situation::Founding {
        identity: alone,
        is_forced: false,
    };
    assert_eq!(decide(&plan, own, &[silent("b")]), Decision::Start);
}

#[test]
fn who_joins_waits_for_somebody() {
    let plan = plan("a", Mode::Join);
    waits(decide(&plan, Situation::Empty, &[]), "-cluster_peers as name@host:port");
    waits(
        decide(&plan, Situation::Empty, &[silent("b:1")]),
        "b:1: connection refused",
    );
    waits(
        decide(&plan, Situation::Empty, &[answers("b", State::Empty)]),
        "no member of the cluster",
    );
}

/// Whatever three founders hear of each other in whatever order, nobody begins before everybody has written the founding down.
#[test]
fn no_order_of_asking_lets_a_founder_begin_early() {
    for seed in 0..2_000_u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let names = ["a", "b", "c"];
        let mut own = [Situation::Empty; 3];
        let mut begun = [false; 3];
        for _ in 0..60 {
            let who = random.usize(..3);
            let heard: Vec<_> = (0..3)
                .filter(|other| *other != who)
                .map(|other| {
                    let state = match own[other] {
                        _ if random.u8(..4) == 0 => return silent(names[other]),
                        _ if begun[other] => member(1, 2, None),
                        Situation::Empty => State::Empty,
                        _ => founding(false),
                    };
                    answers(names[other], state)
                })
                .collect();
            match decide(&plan(names[who], Mode::Founders), own[who], &heard) {
                Decision::Found {
                    identity, is_forced, ..
                } => own[who] = Situation::Founding { identity, is_forced },
                Decision::Start => {
                    assert!(own.iter().all(|own| *own != Situation::Empty), "seed {seed}");
                    begun[who] = true;
                }
                Decision::Wait(_) => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
    }
}
