//! The suite that every store has to pass, over the store of a leader with two followers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use seaway_replica::Role;

use crate::world::World;

#[path = "../../../store/tests/conformance/suite.rs"]
mod suite;

use suite::{CHECKS, Recovered, Subject};

fn world(seed: u64) -> Rc<RefCell<World>> {
    Rc::new(RefCell::new(World::new(seed).unwrap().quiet()))
}

/// A store over whoever leads, once somebody does; not the term's of before.
fn open(world: &Rc<RefCell<World>>, term_before: u64, recovered: &mut Recovered) -> (Subject, u64) {
    for _ in 0..20_000 {
        world.borrow_mut().step().unwrap();
        let mut members = world
            .borrow()
            .machines
            .values()
            .filter_map(|machine| machine.member.clone())
            .collect::<Vec<_>>();
        members.retain(|member| {
            member.with(|member| matches!(member.role(), Role::Serving { term } if term > term_before))
        });
        let Some(member) = members.first() else { continue };
        let Role::Serving { term } = member.with(|member| member.role()) else {
            continue;
        };
        let Ok(store) = member.open_store(term, recovered, Arc::default(), || {}) else {
            continue;
        };
        let waits = Rc::clone(world);
        let wait = move || waits.borrow_mut().step().unwrap();
        return (Subject::new(Box::new(store), Box::new(wait)), term);
    }
    panic!("nobody leads");
}

#[test]
fn a_replicated_store_does_what_stores_do() {
    for (seed, (name, check)) in (0..).zip(CHECKS) {
        println!("{name}");
        let world = world(seed);
        let (mut subject, _) = open(&world, 0, &mut Recovered::default());
        check(&mut subject);
    }
}

/// What one leader made durable its successor has, which is another member most often: the one before hands over.
#[test]
fn the_next_leader_gives_back_what_was_durable() {
    for seed in 0..4 {
        let world = world(seed);
        let mut term = 0;
        suite::gives_back_what_was_durable(&mut |recovered| {
            let (subject, opened) = open(&world, term, recovered);
            term = opened;
            subject
        });
    }
}

#[test]
fn a_checkpoint_stands_for_what_came_before() {
    for seed in 0..4 {
        let world = world(seed);
        let mut term = 0;
        suite::a_checkpoint_stands_for_what_came_before(&mut |recovered| {
            let (subject, opened) = open(&world, term, recovered);
            term = opened;
            subject
        });
    }
}
