//! What a commit brings to the medium: a page for a small batch, every byte once for large ones (docs/journal-format.md §1, §5).

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use seaway_journal::Options;
use seaway_journal::disk::simulated::SimulatedDisk;
use support::{Machine, options};

const PAGE: usize = 4_096;

/// Begin and end of each batch of a segment.
fn batches(content: &[u8]) -> Vec<(usize, usize)> {
    let (mut offset, mut found) = (PAGE, Vec::new());
    while content.get(offset..offset + 4) == Some(b"SWBT") {
        let length = u32::from_le_bytes(content[offset + 4..offset + 8].try_into().unwrap()) as usize;
        found.push((offset, offset + length));
        offset += length;
    }
    found
}

#[test]
fn small_batches_lie_in_one_page_each() {
    for length in [10, 128, 500, 1_000, 1_200] {
        let disk = SimulatedDisk::new(1);
        let mut machine = Machine::open(&disk, options(), 1).unwrap();
        let start = machine.journal.statistics().committed_bytes;
        for _ in 0..40 {
            machine.append(1, length);
            machine.settle();
        }
        let content = disk.content("segment-0000000000000001-00000001.log").unwrap();
        let batches = batches(&content);
        assert!(batches.len() > 30, "{length}: {}", batches.len());
        for (begin, end) in &batches {
            assert_eq!(begin / PAGE, (end - 1) / PAGE, "{length}: {begin}..{end}");
        }
        // What is left over of the pages is little.
        let least: usize = batches.len() * (64 + 36 + length).next_multiple_of(8);
        let written: usize = batches.iter().map(|(begin, end)| end - begin).sum();
        assert!(written <= least * 4 / 3 + PAGE, "{length}: {written} for {least}");
        // Nothing is written behind a batch: the file is fresh.
        assert!(machine.journal.statistics().committed_bytes - start <= written as u64 + PAGE as u64);
    }
}

#[test]
fn large_and_small_batches_survive_every_crash_in_segments_that_are_only_allocated() {
    let options = || Options {
        segment_bytes_max: 512 << 10,
        ..options()
    };
    let mut crashes = 0;
    for seed in 0..120 {
        let disk = SimulatedDisk::new(seed);
        let mut machine = Machine::open(&disk, options(), seed).unwrap();
        disk.crash_at(20 + machine.random.below(400));
        for round in 0..60 {
            // Long ones first, so that the next segments are allocated; then a few short ones.
            let (count, length) = if round % 20 < 14 { (6, 20_000) } else { (1, 150) };
            for _ in 0..count {
                machine.append(1 + round % 2, length);
            }
            machine.settle();
            if disk.has_crashed() {
                crashes += 1;
                break;
            }
        }
        disk.restart();
        machine
            .reopen(options(), seed + 1)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(crashes > 60, "{crashes}");
}
