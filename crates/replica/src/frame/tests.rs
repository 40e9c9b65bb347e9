//! Frames come back as they were, whatever is in them; and no bytes are taken for a frame that no member writes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const IDENTITY: Identity = Identity([7; 16]);

fn kinds() -> impl Strategy<Value = MessageType> {
    let all = (0..=18)
        .filter_map(MessageType::from_number)
        .filter(|kind| travels(*kind));
    proptest::sample::select(all.collect::<Vec<_>>())
}

/// A body of each kind of entry.
fn bodies() -> impl Strategy<Value = Vec<(EntryKind, Vec<u8>, u64)>> {
    let body = prop_oneof![
        vec(any::<u8>(), 1..40).prop_map(|bytes| (EntryKind::Records, bytes)),
        Just((EntryKind::Empty, Vec::new())),
        vec(any::<u8>(), 0..40).prop_map(|bytes| (EntryKind::Change, bytes)),
    ];
    vec(
        (body, 0..3_u64).prop_map(|((kind, bytes), step)| (kind, bytes, step)),
        0..5,
    )
}

fn members() -> impl Strategy<Value = Configuration> {
    (vec(any::<bool>(), 9), any::<u64>()).prop_map(|(draws, id)| {
        let ids = |from: usize| -> Vec<u64> {
            let chosen = draws[from..from + 3].iter().zip(1_u64..).filter(|(drawn, _)| **drawn);
            chosen
                .map(|(_, place)| (from as u64 + place) << 32 | (id >> 40))
                .collect()
        };
        let mut voters = ids(0);
        voters.push(u64::MAX);
        Configuration {
            voters,
            learners: ids(3),
            outgoing: ids(6),
        }
    })
}

prop_compose! {
    fn messages()(
        kind in kinds(),
        numbers in [1..1_u64 << 40, 1..1 << 40, 1..1 << 40, 0..1 << 40, 0..1 << 40, 0..1 << 40],
        reject in any::<bool>(),
        context in vec(any::<u8>(), 0..limits::CONTEXT_BYTES_MAX),
        health in proptest::option::of((any::<[bool; 3]>(), 0..1_u64 << 40)),
        bodies in bodies(),
        members in members(),
    ) -> (Outgoing, Vec<Vec<u8>>) {
        let [term, log_term, index, commit, commit_term, reject_hint] = numbers;
        let mut message = Message {
            msg_type: kind, term: term + log_term + 100, log_term, index, commit, commit_term, reject_hint, reject,
            context: context.into(),
            ..Message::default()
        };
        let mut sent = Vec::new();
        if kind == MessageType::MsgAppend {
            let mut term = log_term;
            for ((kind, body, step), index) in bodies.into_iter().zip(index + 1..) {
                term += step;
                let id = EntryId { term, index };
                let (entry_type, data) = match kind {
                    EntryKind::Records => (EntryType::EntryNormal, handle(id, body.len() as u32)),
                    EntryKind::Empty => (EntryType::EntryNormal, Bytes::new()),
                    EntryKind::Change => (EntryType::EntryConfChangeV2, Bytes::copy_from_slice(&body)),
                };
                message.entries.push(Entry { entry_type, term, index, data, ..Entry::default() });
                sent.push(body);
            }
        }
        if kind == MessageType::MsgSnapshot {
            let checkpoint = Checkpoint { id: EntryId { term: log_term, index }, configuration: members, number: commit };
            message.snapshot = snapshot_of(&checkpoint);
        }
        let health = health.map(|([is_full, is_low, is_hanging], synced)| Health { is_full, is_low, is_hanging, synced });
        (Outgoing { message, health }, sent)
    }
}

fn bytes_of(outgoing: &Outgoing, bodies: &[Vec<u8>]) -> Vec<u8> {
    let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let mut bytes = Vec::new();
    outgoing
        .write_head(&IDENTITY, &slices, &mut bytes)
        .expect("the bodies are the entries'");
    bytes.extend(slices.concat());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_frame_comes_back_as_it_was((outgoing, bodies) in messages()) {
        let bytes = bytes_of(&outgoing, &bodies);
        let frame = Frame::read(&bytes).expect("a member wrote it");
        frame.verify(&IDENTITY).expect("it is whole");
        prop_assert_eq!(frame.class(), outgoing.class());
        prop_assert_eq!(frame.outgoing(), outgoing);
        prop_assert_eq!(frame.bodies(), bodies);
    }

    #[test]
    fn a_frame_that_ends_early_or_late_is_none((outgoing, bodies) in messages(), cut in any::<proptest::sample::Index>()) {
        let mut bytes = bytes_of(&outgoing, &bodies);
        prop_assert!(Frame::read(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(Frame::read(&bytes).is_err());
    }

    /// What differs from a frame in one byte is no frame, or is known to be damaged; nor is it one in another cluster.
    #[test]
    fn a_changed_byte_is_noticed(
        (outgoing, bodies) in messages(),
        place in any::<proptest::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let mut bytes = bytes_of(&outgoing, &bodies);
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let whole = |bytes: &[u8], identity| Frame::read(bytes).and_then(|frame| frame.verify(&identity));
        prop_assert!(whole(&bytes, IDENTITY).is_err());
        bytes[place] ^= change;
        prop_assert_eq!(whole(&bytes, IDENTITY), Ok(()));
        prop_assert_eq!(whole(&bytes, Identity([8; 16])), Err(FrameError::Head));
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..400), kind in kinds()) {
        let _either = Frame::read(&bytes);
        if bytes.len() > 16 {
            // Further in, past what almost no random bytes get past.
            let (flags, context, count) = (bytes[2] & FLAGS, bytes[3] % 32, bytes[8] % 4);
            bytes[..16].copy_from_slice(&[FRAME_VERSION, kind as u8, flags, context, 0, 0, 0, 0, count, 0, 0, 0, 0, 0, 0, 0]);
            let _either = Frame::read(&bytes);
        }
    }
}

/// Another cluster's entry, or one at another place, has another checksum (consensus design §3.2).
#[test]
fn a_checksum_belongs_to_a_cluster_and_a_place() {
    let id = EntryId { term: 3, index: 9 };
    let sum = checksum(&IDENTITY, id, EntryKind::Records, b"records");
    assert_ne!(sum, checksum(&Identity([8; 16]), id, EntryKind::Records, b"records"));
    assert_ne!(
        sum,
        checksum(&IDENTITY, EntryId { term: 4, ..id }, EntryKind::Records, b"records")
    );
    assert_ne!(
        sum,
        checksum(&IDENTITY, EntryId { index: 8, ..id }, EntryKind::Records, b"records")
    );
    assert_ne!(sum, checksum(&IDENTITY, id, EntryKind::Change, b"records"));
    assert_ne!(sum, checksum(&IDENTITY, id, EntryKind::Records, b"recordS"));
    assert_eq!(sum, 3_111_658_684);
}

#[test]
fn what_no_member_writes_is_refused_in_words() {
    let append = |log_term, index, terms: &[u64], term| {
        let mut message = Message {
            msg_type: MessageType::MsgAppend,
            term,
            log_term,
            index,
            ..Message::default()
        };
        for (term, index) in terms.iter().zip(index + 1..) {
            message.entries.push(Entry {
                term: *term,
                index,
                ..Entry::default()
            });
        }
        let bodies = vec![Vec::new(); terms.len()];
        let bytes = bytes_of(&Outgoing { message, health: None }, &bodies);
        Frame::read(&bytes).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(append(2, 7, &[2, 3, 3], 3), Ok(()));
    assert_eq!(append(2, 7, &[2, 1], 3), Err("entries whose terms fall".to_owned()));
    assert_eq!(
        append(2, 7, &[4], 3),
        Err("entries of a later term than their sender's".to_owned())
    );
    assert_eq!(append(0, 0, &[0], 3), Err("entries whose terms fall".to_owned()));
    assert!(append(0, 7, &[3], 3).is_err() && append(2, 0, &[3], 3).is_err());
    assert_eq!(append(0, 0, &[], 0), Err("term 0".to_owned()));
    assert!(append(2, u64::MAX >> 1, &[], 3).is_err());
    let proposal = Message {
        msg_type: MessageType::MsgPropose,
        term: 1,
        ..Message::default()
    };
    assert_eq!(Outgoing::new(proposal), None);
    let mut bytes = vec![0; FRAME_HEAD_BYTES];
    bytes[..2].copy_from_slice(&[FRAME_VERSION, MessageType::MsgPropose as u8]);
    assert_eq!(
        Frame::read(&bytes).map(|_| ()),
        Err(FrameError::Kind(MessageType::MsgPropose as u8))
    );
    bytes[0] = 2;
    assert_eq!(Frame::read(&bytes).map(|_| ()), Err(FrameError::Version(2)));
}
