//! Images of a journal that goes on and of one at rest (docs/backup.md): whatever happens while one is copied, a start on the copy finds
//! the state at the position of the image, to the record; or the copy is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::{Cipher, Image, OpenError, Options, Position};
use std::sync::Arc;
use support::{Machine, Random, encrypted, options};

/// Copies a piece of an image at a time.
struct Copying {
    image: Image,
    copied: Vec<Vec<u8>>,
}

impl Copying {
    fn begin(image: Image) -> Copying {
        Copying {
            image,
            copied: vec![Vec::new()],
        }
    }

    /// Copies one more piece; whether that was the last.
    fn step(&mut self, bytes: u64) -> std::io::Result<bool> {
        let file = self.copied.len() - 1;
        let (length, copied) = (self.image.files()[file].length, self.copied[file].len() as u64);
        let mut piece = vec![0; bytes.min(length - copied) as usize];
        self.image.read(file, copied, &mut piece)?;
        self.copied[file].extend_from_slice(&piece);
        if self.copied[file].len() as u64 == length {
            if file + 1 == self.image.files().len() {
                self.image.check()?;
                return Ok(true);
            }
            self.copied.push(Vec::new());
        }
        Ok(false)
    }

    /// The copy on a disk of its own.
    fn planted(&self, seed: u64) -> SimulatedDisk {
        let disk = SimulatedDisk::new(seed);
        for (file, content) in self.image.files().iter().zip(&self.copied) {
            disk.plant(&file.name, content);
        }
        disk
    }
}

/// Starts on a copy, checks that it is the state at a position, and that life goes on there.
fn check(
    copy: &SimulatedDisk,
    machine: &Machine,
    position: Position,
    options: &Options,
    seed: u64,
) -> Result<(), String> {
    let mut restored = Machine::open(copy, options.clone(), seed).map_err(|error| error.to_string())?;
    if restored.opened.position != position {
        return Err(format!("position {} instead of {position}", restored.opened.position));
    }
    if let Some(cut) = &restored.opened.cut {
        return Err(format!("something was cut: {cut:?}"));
    }
    restored.history = machine
        .history
        .iter()
        .filter(|(at, _)| *at <= position)
        .cloned()
        .collect();
    restored.state = machine.state_at(position);
    restored.next_log = machine.next_log + 1;
    restored.clock = machine.clock;
    restored.check()?;
    for _ in 0..60 {
        restored.random_action();
    }
    restored.settle();
    copy.restart();
    restored.reopen(options.clone(), seed + 1).map(drop)
}

fn act(machine: &mut Machine, workload: u64) {
    match workload % 3 {
        0 => machine.random_action(),
        1 => machine.sparse_action(),
        _ => machine.churn_action(),
    }
}

/// What became of the images of one run.
#[derive(Default)]
struct Seen {
    images: u64,
    checkpoints: u64,
    several_segments: u64,
    /// Files that are gone from the directory by the time that the image is copied.
    outlived: u64,
}

fn run(seed: u64, options: &Options, seen: &mut Seen) -> Result<(), String> {
    let mut random = Random(seed ^ 0x1234);
    let disk = SimulatedDisk::new(seed);
    let mut machine = Machine::open(&disk, options.clone(), seed).map_err(|error| error.to_string())?;
    for round in 0..4 {
        for _ in 0..random.below(3_000) {
            act(&mut machine, seed);
        }
        if random.below(3) == 0 {
            // An image taken right after a start, too.
            machine.settle();
            disk.restart_process();
            machine = machine.reopen(options.clone(), seed + round)?;
        }
        let plan = machine.journal.image()?;
        let position = machine.journal.durable();
        if random.below(2) == 0 {
            act(&mut machine, seed);
        }
        let image = Image::open(plan, Arc::new(disk.clone())).map_err(|error| error.to_string())?;
        assert_eq!(image.position, Some(position));
        assert!(machine.journal.image().is_err(), "one at a time");
        let mut copying = Copying::begin(image);
        while !copying
            .step(1 + random.below(60_000))
            .map_err(|error| error.to_string())?
        {
            for _ in 0..random.below(400) {
                act(&mut machine, seed);
            }
        }
        let names: Vec<&str> = copying.image.files().iter().map(|file| &file.name[..]).collect();
        seen.images += 1;
        seen.checkpoints += u64::from(names.iter().any(|name| name.ends_with(".checkpoint")));
        seen.several_segments += u64::from(names.iter().filter(|name| name.ends_with(".log")).count() > 3);
        check(&copying.planted(seed), &machine, position, options, seed)?;
        drop(copying);
        // What was kept goes.
        let kept = |machine: &Machine| machine.disk.names().len();
        let before = kept(&machine);
        machine.checkpoint();
        machine.settle();
        seen.outlived += u64::from(kept(&machine) < before);
        assert!(!machine.journal.keeps_image());
    }
    Ok(())
}

#[test]
fn an_image_of_a_running_journal_is_its_state_at_one_position() {
    let mut seen = Seen::default();
    for seed in 0..48 {
        run(seed, &options(), &mut seen).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(
        seen.checkpoints > 20 && seen.several_segments > 20 && seen.outlived > 20,
        "{} {} {}",
        seen.checkpoints,
        seen.several_segments,
        seen.outlived
    );
    for seed in 100..106 {
        let options = encrypted(Cipher::Aes256Gcm, b"key");
        run(seed, &options, &mut seen).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// Nobody can start on an encrypted image without its key (docs/journal-format.md §11).
#[test]
fn an_image_of_an_encrypted_journal_needs_no_key_and_its_store_does() {
    let disk = SimulatedDisk::new(1);
    let mut machine = Machine::open(&disk, encrypted(Cipher::ChaCha20Poly1305, b"key"), 1).unwrap();
    machine.append(1, 300);
    machine.settle();
    drop(machine);
    let image = Image::at_rest(Arc::new(disk.clone()), "test").unwrap();
    assert!(image.is_encrypted);
    let mut copying = Copying::begin(image);
    while !copying.step(1_000).unwrap() {}
    let copy = copying.planted(2);
    assert!(matches!(
        Machine::open(&copy, options(), 3),
        Err(OpenError::KeyRequired)
    ));
}

/// When the disk has no room for a segment, the image goes first: nobody is refused for a backup's sake.
#[test]
fn an_image_is_given_up_before_the_disk_is_full() {
    let disk = SimulatedDisk::new(3);
    let mut machine = Machine::open(&disk, options(), 3).unwrap();
    machine.checkpoints = true;
    for _ in 0..4_000 {
        machine.churn_action();
    }
    machine.settle();
    let plan = machine.journal.image().unwrap();
    let image = Image::open(plan, Arc::new(disk.clone())).unwrap();
    disk.set_capacity(disk.used() + (400 << 10));
    let mut given_up = false;
    for _ in 0..40_000 {
        machine.churn_action();
        given_up |= image.check().is_err();
    }
    machine.settle();
    let error = image.check().unwrap_err().to_string();
    assert!(given_up && error.contains("its disk is full"), "{error}");
    assert!(image.read(0, 0, &mut [0]).is_err() || image.files()[0].length == 128);
    assert!(machine.journal.refusal().is_none(), "{:?}", machine.journal.refusal());
    assert!(!machine.journal.keeps_image() && machine.journal.image().is_ok());
}

/// As a server that was killed, or stopped, leaves it.
#[test]
fn an_image_of_a_journal_at_rest_is_what_a_start_finds() {
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        for _ in 0..200 + 37 * seed {
            act(&mut machine, seed);
        }
        let stopped = seed % 2 == 0;
        if stopped {
            machine.settle();
            assert!(machine.journal.mark_end(&disk));
        }
        let locked = Image::at_rest(Arc::new(disk.clone()), "test");
        assert!(matches!(locked, Err(OpenError::Locked { .. })), "a server uses it");
        disk.restart_process();
        let image = Image::at_rest(Arc::new(disk.clone()), "test").unwrap();
        assert_eq!(image.position.is_some(), stopped);
        let mut copying = Copying::begin(image);
        while !copying.step(10_000).unwrap() {}
        let copy = copying.planted(seed);
        drop(copying);
        let position = Machine::open(&disk, options(), seed).unwrap().opened.position;
        assert!(position >= machine.durable);
        check(&copy, &machine, position, &options(), seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// Whoever takes over looks for claims alone: a copy of what it changed meanwhile is not handed out.
#[test]
fn an_image_of_a_journal_at_rest_that_somebody_opens_is_refused() {
    let disk = SimulatedDisk::new(5);
    let mut machine = Machine::open(&disk, options(), 5).unwrap();
    machine.append(1, 300);
    machine.settle();
    disk.restart_process();
    let image = Image::at_rest(Arc::new(disk.clone()), "test").unwrap();
    image.check().unwrap();
    disk.plant("epoch-00000002.claim", b"");
    let error = image.check().unwrap_err().to_string();
    assert!(error.contains("has begun to use the store"), "{error}");
}
