//! What every store must do, asked of each adapter in turn.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use seaway_store::{FileOptions, FileStore, MemoryStore};

#[path = "conformance/suite.rs"]
mod suite;

use suite::{CHECKS, Recovered, Subject};

fn open(directory: &Path, recovered: &mut Recovered) -> Subject {
    let (wake, woken) = mpsc::channel();
    let waker = move || {
        let _ = wake.send(());
    };
    let store = FileStore::open(directory, FileOptions::default(), waker, recovered).expect("the store opens");
    let wait = move || {
        let _ = woken.recv_timeout(Duration::from_millis(100));
    };
    Subject::new(Box::new(store), Box::new(wait))
}

#[test]
fn a_store_in_memory_does_what_stores_do() {
    for (name, check) in CHECKS {
        println!("{name}");
        check(&mut Subject::new(Box::new(MemoryStore::new()), Box::new(|| {})));
    }
}

#[test]
fn a_store_of_files_does_what_stores_do() {
    for (name, check) in CHECKS {
        println!("{name}");
        let directory = tempfile::tempdir().expect("a temporary directory");
        check(&mut open(directory.path(), &mut Recovered::default()));
    }
}

#[test]
fn files_give_back_what_was_durable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    suite::gives_back_what_was_durable(&mut |recovered| open(directory.path(), recovered));
}

#[test]
fn readers_of_the_same_message_share_its_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    suite::readers_of_the_same_message_share_its_memory(&mut |recovered| open(directory.path(), recovered));
}

#[test]
fn a_checkpoint_stands_for_what_came_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    suite::a_checkpoint_stands_for_what_came_before(&mut |recovered| open(directory.path(), recovered));
}
