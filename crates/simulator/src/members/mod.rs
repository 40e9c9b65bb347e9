//! Several members on one simulated directory: each with the engine, the store, and the rules of standing by and of giving signs of life
//! that the server has (`seaway-tenure`); clients at a network that is cut, disks that hang, processes that stop and end; judged by what
//! clients are told (docs/simulator.md).
//!
//! Each member has two threads, one that serves and one that gives signs of life. A baton is passed at every operation on the disk and
//! at every message, so that one seed decides all of it.

mod clients;
mod fate;
mod judge;
mod member;
mod network;
mod pulse;
mod scene;
mod serving;
mod shape;
mod slot;

use std::sync::{Mutex, PoisonError};

use seaway_journal::disk::simulated::members::SharedDirectory;

use self::scene::Scene;
use self::shape::plant;
pub use self::shape::{Fate, Planted, Shape};
use crate::run::{Failure, Outcome};

/// Threads of a member.
const HANDS: usize = 2;
/// Clients, and fate.
const OTHERS: usize = 2;

/// Runs one seed with members to its end.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64, shape: Shape, planted: Option<Planted>, trace_lines: usize) -> Result<Outcome, Failure> {
    let directory = SharedDirectory::with_hands(seed, (shape.members, HANDS, OTHERS), shape.chances);
    let scene = Scene::new(directory, shape, planted, trace_lines);
    let panicked = Mutex::new(None);
    std::thread::scope(|threads| {
        for hand in 0..shape.members * HANDS + OTHERS {
            let (scene, panicked) = (&scene, &panicked);
            threads.spawn(move || {
                scene.directory.take_part(hand);
                let _leaving = Leaving(scene, hand);
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(scene, hand)));
                if let Err(panic) = caught {
                    let words = panic.downcast_ref::<String>().cloned();
                    let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    *panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.unwrap_or_default());
                    scene.directory.end();
                }
            });
        }
    });
    plant(None);
    let panicked = panicked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let objection = scene.judge().objection().map(str::to_owned);
    let reason = objection.or(panicked.map(|words| format!("a thread panicked: {words}")));
    let (ticks, kills, power_losses) = scene.directory.counts();
    if let Some(reason) = reason {
        return Err(Failure {
            seed,
            step: u32::try_from(ticks).unwrap_or(u32::MAX),
            reason,
            engine: String::new(),
            recent: scene.trace().recent().map(str::to_owned).collect(),
        });
    }
    let mut seen = scene.judge().seen.clone();
    let from = match shape.fate {
        Fate::Random(_) => 0,
        Fate::SlowForAll(from, _) | Fate::HangsInSegments(from) => from,
    };
    let gap = scene.judge().longest_gap(from, shape.faults_until);
    seen.insert("ticks of the longest gap", gap);
    seen.insert("ticks", ticks);
    seen.insert("kills", kills);
    seen.insert("losses of power", power_losses);
    Ok(Outcome {
        seen,
        fingerprint: scene.trace().fingerprint(),
    })
}

/// What the thread with this number does.
fn act(scene: &Scene, hand: usize) {
    // Nothing before that may depend on who comes first.
    if !scene.directory.wait(1) {
        return;
    }
    let (member, part) = (hand / HANDS, hand % HANDS);
    if member < scene.shape.members {
        match part {
            0 => member::run(scene, member),
            _ => pulse::run(scene, member),
        }
    } else if hand == scene.shape.members * HANDS {
        clients::run(scene);
    } else {
        fate::run(scene);
    }
}

/// Leaves also when the thread panics, or the others would wait for it.
struct Leaving<'a>(&'a Scene, usize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.directory.leave(self.1);
    }
}
