//! Single decisions of a replica, each at one member that is told what the others say. The numbers of traps are those of the consensus
//! design §5.

#![allow(dead_code, reason = "the disk serves whole clusters, too")]

#[path = "../cluster/disk.rs"]
mod disk;
mod member;

use seaway_replica::planted::{Fault, plant};
use seaway_replica::{
    Class, Configuration, EntryId, Frame, Identity, Input, Log as _, MemberChange, NotChanged, NotStarted, Options,
    Refusal, Replica, Role, Room, Stop, Vote, limits,
};

use disk::{Disk, ROOM};
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
const PRE_VOTE: u8 = 18;

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
    plant(Some(Fault::OldSessions));
    member.hear(2, 1, &append(2, (2, 4), &[2], 3));
    plant(None);
    assert_eq!(
        member.disk.last().index,
        5,
        "without the rule it is heard, or this test proves nothing"
    );
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
    member.disk.room = 0;
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
    member.disk.room = ROOM;
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

/// A leader of three members, whose first entry the others have.
fn leader() -> Member {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.connect(3, 1);
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    member.hear(2, 1, &member::bare(PRE_VOTE, 2));
    member.write_votes();
    member.hear(2, 1, &member::bare(VOTE, 2));
    member.sync();
    member.hear(2, 1, &member::accepted(2, 2));
    member.hear(3, 1, &member::accepted(2, 2));
    assert_eq!(member.role(), Role::Serving { term: 2 });
    member.sends();
    member
}

/// Trap 16: room is asked for before entries are taken, for all of them and for what each takes besides.
#[test]
fn room_is_asked_for_every_entry_of_a_message() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.hear(2, 1, &append(2, (1, 1), &[2, 2, 2], 1));
    let (entries, bytes) = (3, 24);
    assert_eq!(member.disk.asked, Some(Room::Received { entries, bytes }));
    assert_eq!(member.disk.last().index, 4);
}

/// A leader is told when there is room only for what takes something away, before there is none at all.
#[test]
fn a_disk_that_is_nearly_full_is_told_of() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.disk.room = 3_000;
    member.hear(2, 1, &append(2, (1, 1), &[2], 1));
    member.write_votes();
    member.frames();
    member.hear(2, 1, &heartbeat(2, 1));
    let frames = member.frames();
    let frame = Frame::read(&frames.last().expect("the heartbeat is answered").2).expect("it is a frame");
    let health = frame.outgoing().health().expect("an answer says how the disk is");
    assert!(health.is_low && !health.is_full, "{health:?}");
    assert_eq!(member.disk.last().index, 2);
}

/// Who has no room for the entry with which a leader begins does not campaign, whatever is said to it.
#[test]
fn nobody_campaigns_without_room_for_a_first_entry() {
    let mut member = follower_behind_its_disk();
    member.sync();
    member.disk.room = 10;
    member.hear(2, 1, &member::bare(TIMEOUT_NOW, 2));
    member.ticks(500);
    member.write_votes();
    assert!(member.sends().iter().all(|said| said.kind == APPEND_RESPONSE));
    member.disk.room = ROOM;
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    assert!(member.sends().iter().any(|said| said.kind == PRE_VOTE_REQUEST));
}

/// Room may go between a campaign and its end: the first entry waits for it, and meanwhile nobody leads here.
#[test]
fn a_leader_without_room_for_its_first_entry_leads_no_more() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.ticks(limits::ELECTION_TICKS_MAX + 1);
    member.hear(2, 1, &member::bare(PRE_VOTE, 2));
    member.write_votes();
    member.disk.room = 10;
    member.hear(2, 1, &member::bare(VOTE, 2));
    assert_eq!(
        (member.role(), member.stopped()),
        (Role::Follower { leader: None }, None)
    );
    member.ticks(100);
    member.hear(2, 1, &heartbeat(3, 1));
    assert_eq!((member.disk.last().index, member.stopped()), (1, None));
    member.disk.room = ROOM;
    member.ticks(1);
    assert_eq!(member.disk.last(), EntryId { term: 2, index: 2 });
    assert_eq!(member.role(), Role::Follower { leader: None });
    // From here on it is a follower like any other.
    member.write_votes();
    member.hear(2, 1, &append(3, (1, 1), &[3, 3], 2));
    member.write_votes();
    member.sync();
    assert_eq!(member.disk.last(), EntryId { term: 3, index: 3 });
    assert!(member.sends().contains(&Said {
        to: 2,
        kind: APPEND_RESPONSE,
        term: 3,
        index: 3
    }));
}

/// What a log refuses for now is done later, in the order in which it was to be done; nothing else happens before.
#[test]
fn what_had_no_room_is_appended_later() {
    let mut member = follower_behind_its_disk();
    member.sync();
    member.sends();
    // The cut, and the second of three entries.
    member.disk.refusals = 1;
    member.hear(3, 1, &append(3, (2, 2), &[3, 3, 3], 2));
    assert_eq!(
        (member.disk.last(), member.stopped()),
        (EntryId { term: 2, index: 3 }, None)
    );
    member.hear(3, 1, &heartbeat(3, 2));
    assert_eq!(member.sends(), [], "it listens to nobody");
    member.ticks(1);
    assert_eq!(member.disk.last(), EntryId { term: 3, index: 5 });
    member.write_votes();
    member.sync();
    assert!(member.sends().contains(&Said {
        to: 3,
        kind: APPEND_RESPONSE,
        term: 3,
        index: 5
    }));
    member.hear(3, 1, &heartbeat(3, 2));
    assert_eq!(member.sends().len(), 1);
}

/// A journal that takes nothing more ends a member; it says why.
#[test]
fn a_poisoned_log_ends_the_member() {
    let mut member = follower_behind_its_disk();
    member.sync();
    // Entries are not even taken when it says that it has no room; a cut has to be made all the same.
    member.disk.is_poisoned = true;
    member.disk.says_room = true;
    member.hear(3, 1, &append(3, (1, 1), &[3], 1));
    let stop = member.stopped();
    assert!(matches!(stop, Some(Stop::Log(Refusal::Poisoned(_)))), "{stop:?}");
}

/// A leader whose disk is full to the last gives its leadership to somebody who has room.
#[test]
fn a_leader_without_any_room_hands_over() {
    let mut member = leader();
    member.disk.room = 10;
    assert_eq!(member.change(MemberChange::AddLearner(5)), Err(NotChanged::NoRoom));
    for _ in 0..limits::HANGING_DISK_TICKS + 2 {
        member.hear(2, 1, &member::bare(HEARTBEAT_RESPONSE, 2));
        member.ticks(1);
    }
    assert!(
        member
            .sends()
            .iter()
            .any(|said| said.kind == TIMEOUT_NOW && said.to == 2)
    );
    assert_eq!(member.stopped(), None);
}

/// The own disk hangs in the tick in which a quorum is lost: what the hand-over proposed could not be written any more as a leader's.
#[test]
fn a_hanging_disk_and_a_lost_quorum_in_one_tick() {
    // The quorum is looked at every so many ticks since the election; which of them it is depends on when the others answered.
    for delay in 0..limits::ELECTION_TICKS_MIN {
        let mut member = leader();
        member.ticks(delay);
        member.disk.write(b"records");
        member.disk.close();
        member.input(Input::Closed);
        for _ in 0..2 * limits::ELECTION_TICKS_MIN {
            member.ticks(1);
            if member.role().leads() {
                member.disk.write(b"more");
            }
        }
        assert_eq!(member.role(), Role::Follower { leader: None }, "{delay}");
        assert_eq!(member.stopped(), None);
    }
}

/// A change of members and the entry behind it come in one message, with the news that the change is committed: a crash must not take
/// the news away, since from then on members may be switched off.
#[test]
fn an_entry_carries_that_the_one_before_it_is_committed() {
    let marked = || {
        let mut member = Member::of(1, &[1, 2, 3]);
        member.connect(2, 1);
        member.hear(2, 1, &append(2, (1, 1), &[2, 2], 2));
        member.write_votes();
        member.sync();
        member.disk.crash(&mut fastrand::Rng::with_seed(1));
        member.disk.committed()
    };
    assert_eq!(marked(), 2);
    plant(Some(Fault::MarkOncePerMessage));
    let without = marked();
    plant(None);
    assert_eq!(
        without, 1,
        "without the rule it is forgotten, or this test proves nothing"
    );
}

/// What comes with a change is bounded before anybody has it: every member would have to write it down.
#[test]
fn what_comes_with_a_change_is_bounded() {
    let mut member = leader();
    let most = vec![7; limits::ABOUT_BYTES_MAX + 1];
    let long = Err(NotChanged::TooLong(most.len()));
    assert_eq!(member.change_about(MemberChange::AddLearner(5), &most), long);
    assert_eq!(member.change_about(MemberChange::AddLearner(5), &most[1..]), Ok(()));
    member.connect(5, 1);
    member.sync();
    let frames = member.frames();
    let largest = frames
        .iter()
        .max_by_key(|(_, _, bytes)| bytes.len())
        .expect("it is sent");
    assert!(largest.2.len() > limits::ABOUT_BYTES_MAX);
    Frame::read(&largest.2).expect("others can read it");
}

/// Entries are kept for a member that is silent for a while, and not for one that is silent for long.
#[test]
fn entries_are_kept_for_whoever_was_heard_in_the_last_minute() {
    let mut member = leader();
    member.publish(5);
    member.hear(2, 1, &member::accepted(2, 7));
    assert_eq!(member.disk.committed(), 7);
    let hear_one = |member: &mut Member, ticks: u64| {
        for _ in 0..ticks {
            member.hear(2, 1, &member::bare(HEARTBEAT_RESPONSE, 2));
            member.ticks(1);
        }
    };
    hear_one(&mut member, limits::RETAIN_SILENCE_TICKS - 60);
    assert_eq!(member.disk.retain, 3, "member 3 lacks what comes behind entry 2");
    hear_one(&mut member, 70);
    assert_eq!(member.disk.retain, 8);
    assert_eq!(member.role(), Role::Serving { term: 2 });
}

/// A log may let go of entries that are committed and not applied here, since they are not synced.
#[test]
fn a_log_that_is_ahead_of_what_is_applied_is_no_contradiction() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.hear(2, 1, &append(2, (1, 1), &[2, 2, 2], 1));
    member.write_votes();
    member.hear(2, 1, &heartbeat(2, 4));
    member.lose_before(EntryId { term: 2, index: 3 });
    member.ticks(1);
    assert_eq!(member.replica.status().applied, 1);
    member.sync();
    assert_eq!(member.replica.status().applied, 4);
    member.ticks(1);
    member.hear(2, 1, &append(2, (2, 4), &[2], 4));
    assert_eq!(member.disk.last().index, 5);
}

/// A snapshot that is here waits while too much waits for the disk.
#[test]
fn a_staged_snapshot_waits_for_room_for_its_work() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.hear(2, 1, &append(2, (1, 1), &[2], 1));
    member.write_votes();
    let content = member.told_of_snapshot(2, 500);
    for index in 2..100 {
        member.hear(2, 1, &append(2, (2, index), &[2], 1));
    }
    assert_eq!(member.replica.status().outstanding, limits::OUTSTANDING_MAX);
    let number = content.checkpoint.number;
    member.disk.stage(content);
    member.input(Input::Staged(number));
    assert_eq!(member.disk.base().index, 1);
    member.sync();
    assert_eq!(member.disk.base().index, 500, "it is installed when there is room");
}

/// What is said about members reaches everybody as an entry, and changes nobody.
#[test]
fn a_description_changes_no_members() {
    let mut member = leader();
    let before = member.replica.configuration().clone();
    assert_eq!(member.change_about(MemberChange::Describe, b"an address"), Ok(()));
    member.sync();
    member.hear(2, 1, &member::accepted(2, 3));
    member.sync();
    member.hear(2, 1, &member::accepted(2, 4));
    assert_eq!(member.told, [(3, before.clone(), b"an address".to_vec())]);
    assert_eq!(*member.replica.configuration(), before);
    let mut follower = Member::of(1, &[1, 2, 3]);
    assert_eq!(follower.change(MemberChange::Describe), Err(NotChanged::NotServing));
}

/// A snapshot that has no room yet stays staged, although it is fetched once more.
#[test]
fn a_snapshot_without_room_is_installed_later() {
    let mut member = Member::of(1, &[1, 2, 3]);
    member.connect(2, 1);
    member.hear(2, 1, &heartbeat(2, 1));
    member.write_votes();
    let content = member.told_of_snapshot(2, 500);
    let number = content.checkpoint.number;
    member.disk.refusals = 1;
    member.disk.stage(content.clone());
    member.input(Input::Staged(number));
    assert_eq!((member.disk.base().index, member.stopped()), (1, None));
    member.disk.refusals = 1;
    member.input(Input::Staged(number));
    member.ticks(100);
    assert_eq!(member.disk.base().index, 500);
    member.sends();
    member.hear(2, 1, &heartbeat(2, 500));
    assert_eq!(member.sends().len(), 1, "it listens again");
    // One that is not waited for is given up.
    member.disk.stage(content);
    member.input(Input::Staged(number));
    assert!(!member.disk.staged.contains_key(&number));
}
