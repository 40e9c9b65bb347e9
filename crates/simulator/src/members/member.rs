//! A member: lives one after the other, in each of which it stands by, serves, loses the tenure and stands by again, as the server's
//! shared-directory mode does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seaway_journal::disk::Disk;
use seaway_journal::{Claim, ClaimError, standing_after_on, standing_on};
use seaway_store::{Sizes, Standing};
use seaway_tenure::limits::STANDBY_LOOKS_EVERY;
use seaway_tenure::{Ending, Look, Member, Patience, Reason, Signs, Waiting, Watch};

use super::scene::Scene;
use super::serving::Serving;
use super::shape::{Planted, plant};
use super::slot::{Pulse, Slot};

/// One life: a process.
struct Life<'s> {
    scene: &'s Scene,
    member: usize,
    server_id: String,
    disk: Arc<dyn Disk>,
    newest_seen: u64,
    trusts_locks: bool,
    waiting: Waiting,
    patience: Patience,
    given_up: Option<(u64, Instant)>,
}

/// Lives until the run is over.
pub(super) fn run(scene: &Scene, member: usize) {
    plant(scene.planted);
    let mut lives = 0;
    while scene.directory.wait(1 + scene.directory.random(200)) {
        lives += 1;
        let server_id = format!("M{member}L{lives}");
        scene.line(format_args!("member {member} begins its life {lives}"));
        // The pulse may still hang in what belongs to the last one.
        while matches!(*scene.slot(member), Slot::UnderWay) {
            if !scene.directory.wait(10) {
                return;
            }
        }
        *scene.slot(member) = Slot::Idle;
        let mut life = Life {
            scene,
            member,
            server_id,
            disk: scene.directory.member(member),
            newest_seen: 0,
            trusts_locks: true,
            waiting: Waiting::new(scene.shape.lease),
            patience: Patience::default(),
            given_up: None,
        };
        while !scene.is_dead(member) {
            life.next();
        }
        scene.network().hang_up(member);
        scene.line(format_args!("member {member} ended"));
        scene.judge().count("lives ended");
    }
}

impl Life<'_> {
    fn now(&self) -> Instant {
        self.scene.instant(self.member)
    }

    /// From standing by to the end of a tenure.
    fn next(&mut self) {
        let Some(claim) = self.stand_by() else { return };
        let tenure = claim.number();
        self.newest_seen = tenure;
        *self.scene.slot(self.member) = Slot::Given(Pulse {
            holding: Arc::downgrade(&claim.holding()),
            signs: Signs::new(self.scene.shape.lease, self.now()),
            server_id: self.server_id.clone(),
            tenure,
        });
        match Serving::begin(self.scene, self.member, claim, self.sizes(), &self.disk) {
            Some(serving) => self.serve(serving, tenure),
            None => self.fails(),
        }
        self.scene.network().detach(self.member, tenure);
        self.learn();
    }

    fn serve(&mut self, mut serving: Serving<'_>, tenure: u64) {
        self.scene.judge().count("tenures");
        self.scene
            .line(format_args!("member {} serves under {tenure}", self.member));
        loop {
            if !self.scene.directory.wait(1 + self.scene.directory.random(4)) || self.scene.is_dead(self.member) {
                return;
            }
            if matches!(*self.scene.slot(self.member), Slot::Ended(_)) {
                self.scene.judge().count("tenures lost");
                return;
            }
            serving.pass();
            if serving.is_poisoned {
                self.scene.judge().count("stores that failed");
                drop(serving);
                return self.fails();
            }
            let one_in = self.scene.shape.hand_over_one_in;
            if one_in > 0 && !self.scene.is_healed() && self.scene.directory.random(one_in) == 0 {
                self.scene.judge().count("tenures handed over");
                serving.stop();
                self.given_up = Some((tenure, self.now() + Duration::from_secs(1)));
                return;
            }
        }
    }

    /// Waits before another tenure.
    fn fails(&mut self) {
        if matches!(*self.scene.slot(self.member), Slot::Ended(_)) {
            return;
        }
        let wait = self.patience.failed(self.now());
        let _ = self.scene.directory.wait(Scene::ticks(wait));
    }

    /// Waits until the signs of the last tenure have ended, and learns from how.
    fn learn(&mut self) {
        loop {
            let taken = std::mem::take(&mut *self.scene.slot(self.member));
            match taken {
                Slot::Idle => return,
                Slot::Ended(ending) => {
                    match ending {
                        Ending::Robbed => self.trusts_locks = false,
                        Ending::Slow if !self.scene.is_planted(Planted::NobodyWaitsLonger) => {
                            self.scene.judge().count("tenures lost to slowness");
                            self.waiting.lost_to_slowness(self.scene.instant(self.member));
                        }
                        Ending::Slow | Ending::Lawful => {}
                    }
                    return;
                }
                // The store has gone; what is given now finds that.
                other => *self.scene.slot(self.member) = other,
            }
            if !self.scene.directory.wait(5) || self.scene.is_dead(self.member) {
                return;
            }
        }
    }

    /// Looks at the directory until there is a reason to claim it, and no other is faster; `None` when the life ends.
    fn stand_by(&mut self) -> Option<Claim> {
        let mut watch = Watch::new(self.scene.shape.lease, self.trusts_locks);
        let mut before: Option<Standing> = None;
        loop {
            if !self.scene.directory.wait(Scene::ticks(STANDBY_LOOKS_EVERY)) || self.scene.is_dead(self.member) {
                return None;
            }
            let began = self.now();
            let standing = match before.take() {
                Some(before) => standing_after_on(self.disk.as_ref(), &before),
                None => standing_on(self.disk.as_ref()),
            };
            let Ok(standing) = standing else { continue };
            let ended = self.now();
            before = Some(standing.clone());
            if standing.number < self.newest_seen {
                // Another directory, or one that went back: nothing is claimed there.
                self.scene.judge().count("looks at less than was there");
                continue;
            }
            self.newest_seen = standing.number;
            watch.wait_for(self.waiting.time(ended));
            let heard = self.heard_from(&standing);
            let reason = watch.look(Look { began, ended }, &standing, heard);
            self.given_up = self
                .given_up
                .filter(|(number, until)| standing.number <= *number && began < *until);
            if let Some(reason) = reason.filter(|_| self.given_up.is_none())
                && let Some(claim) = self.claim(standing.number, &reason)
            {
                return Some(claim);
            }
        }
    }

    fn claim(&mut self, seen: u64, reason: &Reason) -> Option<Claim> {
        let line = Member {
            cluster_id: "test-cluster".to_owned(),
            group: "group".to_owned(),
            server_id: self.server_id.clone(),
            encrypts: false,
            name: format!("member {}", self.member),
        };
        let made = Claim::make_on(Arc::clone(&self.disk), &line.line(), seen);
        if self.scene.is_dead(self.member) {
            return None;
        }
        match made {
            Ok(claim) => {
                self.scene.line(format_args!(
                    "member {} claims {}: {reason}",
                    self.member,
                    claim.number()
                ));
                self.scene.judge().count(match reason {
                    Reason::Nobody => "claims of an empty directory",
                    Reason::LockFree(_) => "claims of a free lock",
                    Reason::LeaseRunOut(..) => "claims after the lease",
                });
                Some(claim)
            }
            Err(ClaimError::Overtaken { .. } | ClaimError::Held { .. }) => None,
            Err(_) => {
                let wait = self.patience.failed(self.now());
                let _ = self.scene.directory.wait(Scene::ticks(wait));
                None
            }
        }
    }

    /// When the holder of the newest claim was heard last.
    fn heard_from(&self, standing: &Standing) -> Option<Instant> {
        let claim = standing.claim.as_ref()?;
        let holder = Member::read(&claim.member)?;
        let heard = self.scene.network().heard(self.member)?;
        (heard.tenure == claim.number && heard.server_id == holder.server_id).then_some(heard.at)
    }

    fn sizes(&self) -> Sizes {
        let random = |bound| self.scene.directory.random(bound);
        Sizes {
            segment_bytes: [64, 128, 512][random(3) as usize] * 1024,
            cache_bytes: [4, 64, 4096][random(3) as usize] * 1024,
            checkpoint_bytes: (8 + random(100)) * 1024,
            unarchived_bytes_max: None,
        }
    }
}
