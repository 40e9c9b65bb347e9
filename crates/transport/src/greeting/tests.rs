use proptest::prelude::*;

use super::*;

fn party() -> impl Strategy<Value = Party> {
    (any::<(u64, u64, [u8; 16], [u8; 16])>(), ".{0,30}", ".{0,30}").prop_map(
        |((id, boot, founding, current), cluster_id, name)| Party {
            id,
            boot,
            belonging: Belonging {
                founding: Identity(founding),
                current: Identity(current),
            },
            cluster_id,
            name,
        },
    )
}

fn purpose() -> impl Strategy<Value = Purpose> {
    (1..=4_u8).prop_map(|number| Purpose::from_number(number).unwrap())
}

fn message() -> impl Strategy<Value = Message> {
    let hello = (
        purpose(),
        any::<(bool, u32, u64)>(),
        party(),
        0..=limits::SESSION_MAX,
        any::<[u8; 32]>(),
    )
        .prop_map(|(purpose, (has_secret, group, to), from, session, nonce)| {
            Message::Hello(Hello {
                purpose,
                has_secret,
                group,
                from,
                to,
                session,
                nonce,
            })
        });
    let welcome = (any::<[u8; 32]>(), party(), 0..=limits::SESSION_MAX)
        .prop_map(|(proof, from, session)| Message::Welcome(Welcome { proof, from, session }));
    prop_oneof![
        hello,
        any::<(bool, [u8; 32])>().prop_map(|(has_secret, nonce)| Message::Challenge(Challenge { has_secret, nonce })),
        any::<[u8; 32]>().prop_map(Message::Proof),
        welcome,
        ".{0,90}".prop_map(Message::Refusal),
    ]
}

fn read(bytes: &[u8]) -> Result<Message, Malformed> {
    let head = Head::read(bytes.first_chunk().ok_or(Malformed::Short("a head"))?)?;
    let body = bytes[HEAD_BYTES..]
        .get(..head.length)
        .ok_or(Malformed::Short("a body"))?;
    assert_eq!(bytes.len(), HEAD_BYTES + head.length);
    Message::read(&head, body)
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in message()) {
        let written = message.written();
        prop_assert!(written.len() <= HEAD_BYTES + limits::GREETING_BYTES_MAX);
        prop_assert_eq!(read(&written), Ok(message));
    }

    #[test]
    fn whatever_else_comes_is_told_apart_or_written_the_same_way(message in message(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut bytes = message.written();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let Ok(head) = Head::read(bytes.first_chunk().unwrap()) else { return Ok(()) };
        let Some(body) = bytes[HEAD_BYTES..].get(..head.length) else { return Ok(()) };
        if head.is_readable() && let Ok(read) = Message::read(&head, body) {
            // The reserved byte and the version of a refusal are not read.
            let written = read.written();
            prop_assert_eq!(&written[HEAD_BYTES..], body);
        }
    }
}

#[test]
fn the_longest_names_fit() {
    let long = "n".repeat(limits::NAME_BYTES_MAX);
    let from = Party {
        id: 1,
        boot: 2,
        belonging: Belonging::NONE,
        cluster_id: long.clone(),
        name: long,
    };
    let welcome = Message::Welcome(Welcome {
        proof: [1; 32],
        from: from.clone(),
        session: 1,
    });
    let hello = Message::Hello(Hello {
        purpose: Purpose::Control,
        has_secret: true,
        group: 0,
        from,
        to: 1,
        session: limits::SESSION_MAX,
        nonce: [1; 32],
    });
    let refusal = Message::Refusal("w".repeat(10_000));
    for message in [welcome, hello] {
        assert_eq!(read(&message.written()), Ok(message));
    }
    assert!(matches!(read(&refusal.written()), Ok(Message::Refusal(words)) if words.len() == limits::WORDS_BYTES_MAX));
}

/// Consensus design §3.7: founders that heard of the drawn identity and those that have not yet are one cluster; two clusters that were
/// founded with the same names are not.
#[test]
fn clusters_are_told_apart_by_the_drawn_identity() {
    let identity = |number| Identity([number; 16]);
    let founder = Belonging::founding(identity(1));
    let drawn = |current| Belonging {
        founding: identity(1),
        current: identity(current),
    };
    assert!(founder.is_one_with(&founder));
    assert!(founder.is_one_with(&drawn(5)) && drawn(5).is_one_with(&founder));
    assert!(drawn(5).is_one_with(&drawn(5)));
    assert!(!drawn(5).is_one_with(&drawn(6)));
    assert!(!founder.is_one_with(&Belonging::founding(identity(2))));
    assert!(!Belonging::NONE.is_one_with(&Belonging::NONE));
    assert!(!Belonging::NONE.is_one_with(&founder) && !founder.is_one_with(&Belonging::NONE));
}

#[test]
fn objections_are_in_words() {
    let own = Party {
        id: 1,
        boot: 10,
        belonging: Belonging::founding(Identity([1; 16])),
        cluster_id: "c".to_owned(),
        name: "a".to_owned(),
    };
    let other = |change: &dyn Fn(&mut Party)| {
        let mut other = Party {
            id: 2,
            boot: 20,
            name: "b".to_owned(),
            ..own.clone()
        };
        change(&mut other);
        objection(&own, &other, Purpose::Control)
    };
    assert_eq!(other(&|_| ()), None);
    assert_eq!(other(&|party| party.boot = 10).as_deref(), Some(ONESELF));
    assert!(
        other(&|party| party.cluster_id = "d".into())
            .unwrap()
            .contains("of the cluster \"c\"")
    );
    assert!(other(&|party| party.id = 1).unwrap().contains("was copied"));
    assert!(other(&|party| party.id = 0).unwrap().contains("may only ask"));
    assert!(
        other(&|party| party.belonging = Belonging::founding(Identity([2; 16])))
            .unwrap()
            .contains("0202")
    );
    let nobody = Party {
        id: 0,
        belonging: Belonging::NONE,
        boot: 30,
        ..own.clone()
    };
    assert_eq!(objection(&own, &nobody, Purpose::Ask), None);
    assert!(
        objection(&nobody, &own, Purpose::Bulk)
            .unwrap()
            .contains("no member of a cluster yet")
    );
}
