//! What a run is like, and what is left out in it.

use std::time::Duration;

use seaway_journal::disk::simulated::members::Chances;
use seaway_journal::planted::Fault;

/// A rule that is left out, to see that this is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// One of the journal's.
    Journal(Fault),
    /// Who was replaced refuses clients without looking.
    RefusalUnconfirmed,
    /// A holder gives signs of life although what it is to make durable hangs.
    SignsWhileCommitsHang,
    /// Who loses the tenure to a slow disk takes it back as soon as anybody else.
    NobodyWaitsLonger,
}

/// Leaves a rule of the journal out of what this thread does.
pub(super) fn plant(planted: Option<Planted>) {
    seaway_journal::planted::plant(match planted {
        Some(Planted::Journal(fault)) => Some(fault),
        _ => None,
    });
}

/// What goes wrong beside what happens at single operations.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Everything, with so many ticks between two things at most.
    Random(u64),
    /// From a tick on each write and each sync takes up to so many ticks, for all.
    SlowForAll(u64, u64),
    /// From a tick on nothing is written to segments any more by who serves then; everything else is.
    HangsInSegments(u64),
}

/// What a run is like. A tick is a millisecond on a clock that is right.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Members, two to four.
    pub members: usize,
    /// The group's lease.
    pub lease: Duration,
    /// What happens at operations on the disk.
    pub chances: Chances,
    /// What else goes wrong.
    pub fate: Fate,
    /// Until which tick things go wrong.
    pub faults_until: u64,
    /// Ticks within which everything must be right then.
    pub heals_within: u64,
    /// A holder hands over at one pass in so many; 0 for never.
    pub hand_over_one_in: u64,
}

impl Shape {
    /// What a seed chooses.
    pub fn of(seed: u64) -> Shape {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5ea);
        let mut sometimes = |range: std::ops::Range<u64>| if random.bool() { random.u64(range) } else { 0 };
        let chances = Chances {
            operations: u64::MAX,
            pause_one_in: 1 + sometimes(20..400),
            pause_max: 3_000,
            kill_one_in: sometimes(800..6_000),
            power_loss_one_in: sometimes(2_000..10_000),
            failed_sync_one_in: sometimes(500..4_000),
            private_caches: sometimes(1..2) == 1,
            locks_work: sometimes(1..3) < 2,
            absent_names_kept: 0,
        };
        let hand_over_one_in = sometimes(100..1_000);
        Shape {
            members: random.usize(2..5),
            lease: Duration::from_millis([250, 500, 1_250][random.usize(..3)]),
            chances: Chances {
                // One pause at every operation would be no run.
                pause_one_in: if chances.pause_one_in == 1 {
                    0
                } else {
                    chances.pause_one_in
                },
                ..chances
            },
            fate: Fate::Random(random.u64(200..2_000)),
            faults_until: random.u64(4_000..16_000),
            heals_within: 250_000,
            hand_over_one_in,
        }
    }
}
