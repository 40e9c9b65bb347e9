//! A sync that failed leaves pages that count as clean: they can be read until the machine stops, and no later sync writes them
//! (docs/journal-format.md §9, §10). A start must not put its cut behind such a batch without writing it again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::simulated::{Operation, SimulatedDisk};
use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use support::{Machine, options};

/// A journal whose last commit failed to sync, after `before` good ones; the process died, the machine did not.
fn failed(seed: u64, before: u64) -> Machine {
    let disk = SimulatedDisk::new(seed);
    let mut machine = Machine::open(&disk, options(), seed).unwrap();
    for _ in 0..before {
        machine.append(1, 300);
        machine.settle();
    }
    disk.fail(Operation::SyncData, 0, ErrorKind::Other);
    machine.append(1, 300);
    machine.append(2, 4_000);
    machine.journal.submit();
    while !machine.poisoned() {
        assert!(machine.step(), "the commit fails");
    }
    disk.restart_process();
    machine
}

/// What a start shows after such a failure is acknowledged further on, and the power fails.
fn lives_on(machine: &Machine, port: Arc<dyn Disk>, seed: u64) -> Result<(), String> {
    let mut second = machine.reopen_on(port, options(), seed)?;
    assert!(
        second.opened.position > machine.durable,
        "the batch was readable, and believed"
    );
    // The old segment stays.
    second.checkpoints = false;
    for _ in 0..20 {
        second.append(1, 300);
        second.settle();
    }
    machine.disk.restart();
    second.disk.restart();
    second.reopen(options(), seed + 1).map(|_| ())
}

#[test]
fn a_batch_whose_sync_failed_is_written_again_before_the_next_epoch_rests_on_it() {
    for seed in 0..20 {
        for before in [0, 1, 250] {
            let machine = failed(seed, before);
            lives_on(&machine, machine.port.clone(), seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

/// The same with a start that does not write it again: the test above would notice.
#[test]
fn without_that_the_store_could_not_be_opened_any_more() {
    let machine = failed(1, 5);
    let error = lives_on(&machine, Arc::new(ForgetfulDisk(machine.disk.clone())), 1).unwrap_err();
    assert!(error.contains("missing"), "{error}");
}

/// The power fails at any operation of the start that writes it again: nothing that was durable before is hurt.
#[test]
fn a_crash_while_it_is_written_again_hurts_nothing() {
    for seed in 0..30 {
        let machine = failed(seed, 3);
        let disk = &machine.disk;
        disk.crash_at(disk.operations() + 1 + seed % 10);
        let _ = Machine::open(disk, options(), seed);
        disk.restart();
        let again = machine.reopen(options(), seed).unwrap();
        assert!(again.opened.position >= machine.durable);
    }
}

/// Drops what is written into files that were there already.
struct ForgetfulDisk(SimulatedDisk);

struct ForgetfulFile(Arc<dyn DiskFile>);

impl DiskFile for ForgetfulFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }
}

impl Disk for ForgetfulDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.0.list(folder)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ForgetfulFile(self.0.open(name)?)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }
    fn space_available(&self) -> io::Result<u64> {
        self.0.space_available()
    }
    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.0.lock(name, holder)
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.0.lock_existing(name)
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.0.is_locked(name)
    }
}
