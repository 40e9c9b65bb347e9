//! Single decisions of a replica, each at one member that is told what the others say. The numbers of traps are those of the consensus
//! design §5.

#![allow(dead_code, reason = "the disk serves whole clusters, too")]

#[path = "../cluster/disk.rs"]
mod disk;
mod member;

use seaway_replica::planted::{Fault, plant};
use seaway_replica::{
    Class, Configuration, EntryId, Frame, Identity, Input, Log as _, MemberChange, NotChanged, NotStarted, Options,
    Replica, Role, Stop, Vote, limits,
};

use disk::Disk;
use member::{Member, Said, append, heartbeat};

/// Mixes a number into another.
pub(crate) fn mix(one: u64, other: u64) -> u64 {
    let mixed = (one.rotate_left(5) ^ other).wrapping_mul(0x517c_c1b7_2722_0a95);
    mixed ^ (mixed >> 29)
}

/// Kinds of messages on the wire.
const APPEND_RESPONSE: u8 = 4;
const VOTE_REQUEST: u8 = 5;
const VOTE: u8 = 6;
const HEARTBEAT_RESPONSE: u8 = 9;
const TIMEOUT_NOW: u8 = 14;
const PRE_VOTE_REQUEST: u8 = 17;

/// A follower of member 2 in term 2, with two entries that are written and not synced.
fn follower_behind_its_disk() -> Member {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.connect(3, 1);
    member.hear(2, 1, &append(2, (1, 1), &[2, 2], 1));
    member.write_votes();
    assert!(
        member.sends().iter().all(|said| said.kind != APPEND_RESPONSE),
        "nothing is synced"
    );
    member
}

/// Trap 2: what is acknowledged is synced.
#[test]
fn entries_are_acknowledged_when_they_are_synced() {
    let mut member = follower_behind_its_disk();
    member.sync();
    let said = member.sends();
    assert!(
        said.contains(&Said {
            to: 2,
            kind: APPEND_RESPONSE,
            term: 2,
            index: 3
        }),
        "{said:?}"
    );
}

/// Another leader takes the entries away before they are synced: nobody may hear that they are here, least of all the deposed leader,
/// who would count it.
#[test]
fn what_was_promised_behind_a_cut_is_not_said() {
    let deposed_is_told = || {
        let mut member = follower_behind_its_disk();
        member.hear(3, 1, &append(3, (1, 1), &[3], 1));
        member.write_votes();
        member.sync();
        let said = member.sends();
        assert!(
            said.contains(&Said {
                to: 3,
                kind: APPEND_RESPONSE,
                term: 3,
                index: 2
            }),
            "{said:?}"
        );
        assert_eq!(member.disk.last(), EntryId { term: 3, index: 2 });
        said.iter().any(|said| said.to == 2 && said.index == 3)
    };
    assert!(!deposed_is_told());
    plant(Some(Fault::PromisesBehindCut));
    assert!(
        deposed_is_told(),
        "without the rule it is said, or this test proves nothing"
    );
    plant(None);
}

/// Answers to heartbeats promise nothing of entries and do not wait for them, but for the term in which they are given.
#[test]
fn a_slow_disk_holds_up_no_answer_to_a_heartbeat() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.hear(2, 1, &append(2, (1, 1), &[2, 2], 1));
    member.hear(2, 1, &heartbeat(2, 1));
    assert_eq!(member.sends(), [], "term 2 is not written");
    member.write_votes();
    member.hear(2, 1, &heartbeat(2, 1));
    let kinds: Vec<u8> = member.sends().iter().map(|said| said.kind).collect();
    assert_eq!(kinds, [HEARTBEAT_RESPONSE], "only entries are not synced");
    member.sync();
    let kinds: Vec<u8> = member.sends().iter().map(|said| said.kind).collect();
    assert_eq!(kinds, [APPEND_RESPONSE, HEARTBEAT_RESPONSE], "they waited for both");
}

/// Frames of a session that is over are not heard, and what waits to be said in it is not said in the next.
#[test]
fn an_answer_counts_in_the_session_of_its_question() {
    let mut member = follower_behind_its_disk();
    member.input(Input::Lost(2, 1));
    member.connect(2, 2);
    member.sync();
    assert!(member.sends().iter().all(|said| said.to != 2));
    let before = member.disk.last();
    member.hear(2, 1, &append(2, (2, 3), &[2], 3));
    assert_eq!(member.disk.last(), before);
    member.hear(2, 2, &append(2, (2, 3), &[2], 3));
    assert_eq!(member.disk.last().index, 4);
    // A session that is older than the present one does not come back.
    member.connect(2, 1);
    member.hear(2, 1, &append(2, (2, 4), &[2], 3));
    assert_eq!(member.disk.last().index, 4);
}

/// Trap 19: a leader whose log does not have what is committed here.
#[test]
fn a_leader_without_what_is_committed_changes_nothing_here() {
    let mut member = follower_behind_its_disk();
    member.sync();
    member.hear(2, 1, &heartbeat(2, 3));
    assert_eq!(member.disk.committed_index(), 3);
    member.hear(3, 1, &append(4, (1, 1), &[4], 1));
    let ours = EntryId { term: 2, index: 2 };
    let theirs = EntryId { term: 4, index: 2 };
    assert_eq!(
        member.stopped(),
        Some(&Stop::Conflict {
            leader: 3,
            ours,
            theirs
        })
    );
    assert_eq!(member.disk.last(), EntryId { term: 2, index: 3 });
    assert!(
        member
            .stopped()
            .is_some_and(|stop| stop.to_string().contains("most members have lost their data"))
    );
    // It neither ticks nor votes.
    member.sends();
    member.ticks(200);
    assert_eq!(member.sends(), []);
}

/// Trap 18: a leader that knows of entries which are not here.
#[test]
fn a_disk_that_has_gone_back_is_noticed() {
    let believed = || {
        let mut member = Member::of(1, &[1, 2, 3]);
        member.connect(2, 1);
        member.hear(2, 1, &heartbeat(2, 9));
        member.stopped().cloned()
    };
    assert_eq!(
        believed(),
        Some(Stop::GoneBack {
            leader: 2,
            known: 9,
            last: 1
        })
    );
    plant(Some(Fault::NoLook));
    let outcome = std::panic::catch_unwind(believed);
    plant(None);
    assert!(outcome.is_err(), "the library ends the process when nobody looks");
}

/// Trap 16: what has no room is not taken, and all else goes on; the leader is told why.
#[test]
fn a_full_disk_takes_no_entries_and_stays_a_voter() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.connect(3, 1);
    member.disk.is_full = true;
    member.hear(2, 1, &append(2, (1, 1), &[2], 1));
    member.hear(2, 1, &heartbeat(2, 1));
    member.write_votes();
    assert_eq!(member.disk.last().index, 1);
    let frames = member.frames();
    let frame = Frame::read(&frames.last().expect("the heartbeat is answered").2).expect("it is a frame");
    assert!(frame.outgoing().health().is_some_and(|health| health.is_full));
    member.ticks(40);
    member.hear(3, 1, &member::vote_request(3, VOTE_REQUEST, (2, 9)));
    member.write_votes();
    assert!(member.sends().iter().any(|said| said.to == 3 && said.kind == VOTE));
    member.disk.is_full = false;
    member.hear(3, 1, &append(3, (1, 1), &[3], 1));
    assert_eq!(member.disk.last().index, 2);
}

/// Trap 21: a disk that hangs bounds what is begun, and the member does not campaign.
#[test]
fn what_waits_for_a_hanging_disk_is_bounded() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.hear(2, 1, &append(2, (1, 1), &[2], 1));
    member.write_votes();
    for index in 2..1_000 {
        member.hear(2, 1, &append(2, (2, index), &[2], 1));
        if member.disk.last().index < index {
            break;
        }
    }
    assert_eq!(member.replica.status().outstanding, limits::OUTSTANDING_MAX);
    assert!(member.disk.last().index < 100);
    member.sends();
    member.ticks(500);
    assert!(member.replica.status().disk_waits_ticks >= 500);
    assert_eq!(member.sends(), [], "it campaigns with a disk that takes nothing");
    member.sync();
    member.ticks(100);
    assert!(member.sends().iter().any(|said| said.kind == PRE_VOTE_REQUEST));
}

/// A word to campaign counts when it comes from the leader.
#[test]
fn nobody_but_the_leader_makes_a_candidate() {
    let mut member = follower_behind_its_disk();
    member.sync();
    member.sends();
    member.hear(3, 1, &member::bare(TIMEOUT_NOW, 2));
    member.write_votes();
    assert_eq!(member.sends(), []);
    member.hear(2, 1, &member::bare(TIMEOUT_NOW, 2));
    member.write_votes();
    assert!(
        member
            .sends()
            .iter()
            .all(|said| said.kind == VOTE_REQUEST && said.term == 3)
    );
}

/// The only voter needs nobody's vote, but its own must be on the disk before a learner hears of its term.
#[test]
fn the_only_voter_leads_when_its_vote_is_written() {
    let mut member = Member::of(1, &[1]);
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    assert_eq!(member.role(), Role::Leading { term: 2 });
    member.write_votes();
    member.sync();
    assert_eq!(member.role(), Role::Serving { term: 2 });
    let vote = member.disk.vote();
    assert_eq!((vote.term, vote.vote, vote.node, vote.cluster), (2, 1, 1, [3; 16]));
    assert_eq!(member.change(MemberChange::Remove(1)), Err(NotChanged::LastVoter(1)));
    assert_eq!(member.change(MemberChange::Promote(5)), Err(NotChanged::Unknown(5)));
    assert_eq!(member.change(MemberChange::AddLearner(1)), Err(NotChanged::Known(1)));
    member.connect(5, 1);
    assert_eq!(member.change(MemberChange::AddLearner(5)), Ok(()));
    member.sync();
    let promoted = member.change(MemberChange::Promote(5));
    assert!(
        matches!(promoted, Err(NotChanged::Behind { id: 5, .. } | NotChanged::UnderWay)),
        "{promoted:?}"
    );
}

/// Trap 15: heartbeats would keep the leadership of a member whose disk takes nothing.
#[test]
fn a_leader_with_a_hanging_disk_stops_leading() {
    let mut member = Member::of(1, &[1]);
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    member.write_votes();
    member.sync();
    member.disk.write(b"records");
    member.disk.close();
    member.input(Input::Closed);
    member.ticks(limits::STEP_DOWN_TICKS as usize - 1);
    assert_eq!(member.role(), Role::Serving { term: 2 });
    member.ticks(2);
    assert_eq!(member.role(), Role::Follower { leader: None });
    // With entries of which it does not know whether they stay it would elect itself.
    member.ticks(200);
    assert_eq!(member.role(), Role::Follower { leader: None });
    member.sync();
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    assert_eq!(member.role(), Role::Leading { term: 3 });
    assert_eq!(member.disk.last(), EntryId { term: 3, index: 4 });
}

/// Trap 13: what is large does not hold up what is small.
#[test]
fn control_and_bulk_take_different_ways() {
    let mut member = Member::of(1, &[1]);
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    member.write_votes();
    member.sync();
    member.connect(5, 1);
    member.change(MemberChange::AddLearner(5)).expect("there is room");
    member.sync();
    member.ticks(limits::HEARTBEAT_TICKS);
    let frames = member.frames();
    let classes: std::collections::BTreeSet<Class> = frames.iter().map(|(_, class, _)| *class).collect();
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), [Class::Control, Class::Bulk]);
    for (_, class, bytes) in &frames {
        assert_eq!(Frame::read(bytes).expect("it is a frame").class(), *class);
    }
}

/// A vote that was given under another id, or in another cluster, is not this member's to keep or to repeat.
#[test]
fn a_vote_of_another_member_is_not_taken_over() {
    let disk = Disk::of_founder(1, Configuration::founding("test-cluster", &["a"]));
    let start = |node, cluster| {
        let vote = Vote {
            term: 5,
            vote: 9,
            node,
            cluster,
        };
        let options = Options {
            id: 1,
            identity: Identity([3; 16]),
            vote,
            changes: disk.changes(),
            seed: 1,
            snapshot_silence_ticks: 100,
        };
        Replica::new(&options, &disk).map(|replica| replica.status().term)
    };
    assert_eq!(start(1, [3; 16]), Ok(5));
    let (node, cluster) = (2, Identity([3; 16]));
    assert_eq!(start(2, [3; 16]), Err(NotStarted::Vote { node, cluster }));
    let (node, cluster) = (1, Identity([4; 16]));
    assert_eq!(start(1, [4; 16]), Err(NotStarted::Vote { node, cluster }));
}

/// What a change of members says is in memory until it is made; later it comes from the journal like any batch.
#[test]
fn the_body_of_a_change_is_kept_until_it_is_made() {
    let mut member = Member::of(1, &[1]);
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    member.write_votes();
    member.sync();
    member.connect(5, 1);
    member.change(MemberChange::AddLearner(5)).expect("there is room");
    member.sync();
    assert_eq!(member.replica.configuration().learners, [5]);
    // It was sent to the learner before it was made, and is sent again after.
    member.from_journal.clear();
    member.hear(5, 1, &member::bare(HEARTBEAT_RESPONSE, 2));
    assert!(member.from_journal.contains(&EntryId { term: 2, index: 3 }));
    // A start has to know it again, since the change is made again.
    let mut changes = member.disk.changes();
    assert_eq!(changes.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(member.restart(changes.clone()), Ok(()));
    assert_eq!(member.replica.configuration().learners, [] as [u64; 0]);
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    member.write_votes();
    member.sync();
    assert_eq!(member.replica.configuration().learners, [5]);
    changes.clear();
    assert_eq!(member.restart(changes), Err(NotStarted::Change(3)));
}
