//! Options of the file store (specification §7.2, §7.6): most of them tuned the original's files and do nothing here.

use super::entry::Effect::{NotBuilt, Nothing, Sets, Tuning};
use super::entry::{Entry, Group, Section};
use crate::draft::Draft;
use crate::value::Kind::{Bool, Duration as Time, Int, Size, Text};
use crate::value::Value;

const COMPACTION: &str = "the journal gives space back by itself";
const SLICES: &str = "the journal sizes its segments by itself";
const SLICES_TEXT: &str = "slice max values must be positive numbers";
const BUFFERS: &str = "the journal sizes its buffers by itself";
const CHECKSUMS: &str = "the journal always verifies its checksums";

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Group::FileStore,
        &["file_sync"],
        Bool,
        "true",
        "Sync what is acknowledged to disk first",
        Sets(file_sync),
    )
    .keys(Section::File, &["sync", "do_sync", "sync_on_flush"]),
    Entry::new(
        Group::FileStore,
        &["file_auto_sync"],
        Time,
        "1m0s",
        "Period of background syncs",
        Nothing("every commit is synced, unless -file_sync=false leaves syncing to the system"),
    )
    .keys(Section::File, &["auto_sync", "file_auto_sync"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_enabled"],
        Bool,
        "true",
        "Compaction of files",
        Nothing(COMPACTION),
    )
    .keys(Section::File, &["compact", "compact_enabled"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_frag"],
        Int,
        "50",
        "Fragmentation that starts a compaction, percent",
        Tuning(COMPACTION, |value| {
            at_least(1, value, "compact fragmentation value must at least be 1")
        }),
    )
    .keys(Section::File, &["compact_frag", "compact_fragmentation"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_interval"],
        Int,
        "300",
        "Seconds between compactions",
        Tuning(COMPACTION, |value| {
            at_least(1, value, "compact interval value must at least be 1 seconds")
        }),
    )
    .keys(Section::File, &["compact_interval"]),
    Entry::new(
        Group::FileStore,
        &["file_compact_min_size"],
        Size,
        "1048576",
        "Smallest file to compact",
        Tuning(COMPACTION, |value| {
            at_least(0, value, "compact minimum file size value must be a positive number")
        }),
    )
    .keys(Section::File, &["compact_min_size"]),
    Entry::new(
        Group::FileStore,
        &["file_buffer_size"],
        Size,
        "2097152",
        "Write buffer",
        Tuning(BUFFERS, |value| {
            at_least(0, value, "buffer size value must be a positive number")
        }),
    )
    .keys(Section::File, &["buffer_size"]),
    Entry::new(
        Group::FileStore,
        &["file_read_buffer_size"],
        Size,
        "2097152",
        "Read-ahead buffer",
        Tuning(BUFFERS, |value| {
            at_least(0, value, "read buffer size value must be a positive number")
        }),
    )
    .keys(Section::File, &["read_buffer_size", "file_read_buffer_size"]),
    Entry::new(
        Group::FileStore,
        &["file_crc"],
        Bool,
        "true",
        "Verify checksums on read",
        Nothing(CHECKSUMS),
    )
    .keys(Section::File, &["crc", "do_crc"]),
    Entry::new(
        Group::FileStore,
        &["file_crc_poly"],
        Int,
        "3988292384",
        "Polynomial of the checksums",
        Tuning(CHECKSUMS, crc_polynomial),
    )
    .keys(Section::File, &["crc_poly"]),
    Entry::new(
        Group::FileStore,
        &["file_slice_max_msgs"],
        Int,
        "0",
        "Messages per file slice",
        Tuning(SLICES, |value| at_least(0, value, SLICES_TEXT)),
    )
    .keys(
        Section::File,
        &["slice_max_msgs", "slice_max_count", "slice_msgs", "slice_count"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_slice_max_bytes"],
        Size,
        "67108864",
        "Bytes per file slice",
        Tuning(SLICES, |value| at_least(0, value, SLICES_TEXT)),
    )
    .keys(
        Section::File,
        &["slice_max_bytes", "slice_max_size", "slice_bytes", "slice_size"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_slice_max_age"],
        Time,
        "0s",
        "Time span of a file slice",
        Tuning(SLICES, |value| at_least(0, value, SLICES_TEXT)),
    )
    .keys(
        Section::File,
        &["slice_max_age", "slice_age", "slice_max_time", "slice_time_limit"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_slice_archive_script"],
        Text,
        "",
        "Script that archives removed file slices",
        NotBuilt("archiving of removed messages"),
    )
    .keys(
        Section::File,
        &["slice_archive_script", "slice_archive", "slice_script"],
    ),
    Entry::new(
        Group::FileStore,
        &["file_fds_limit"],
        Int,
        "0",
        "Soft limit of open files",
        Tuning("the number of open files does not grow with channels", |value| {
            at_least(0, value, "file descriptor limit must be a positive number")
        }),
    )
    .keys(Section::File, &["fds_limit", "file_descriptors_limit"]),
    Entry::new(
        Group::FileStore,
        &["file_parallel_recovery"],
        Int,
        "1",
        "Channels recovered in parallel",
        Tuning("all channels are recovered together", |value| {
            at_least(1, value, "parallel recovery value must be at least 1")
        }),
    )
    .keys(Section::File, &["parallel_recovery"]),
    Entry::new(
        Group::FileStore,
        &["file_truncate_bad_eof"],
        Bool,
        "false",
        "Give up what is damaged at a start, keep copies and say what is lost; not twice in a row",
        Sets(file_truncate_bad_eof),
    ),
    Entry::new(
        Group::FileStore,
        &["file_stop_at_damage"],
        Bool,
        "false",
        "Take the store out of service when a stored message turns out to be damaged, instead of passing over it",
        Sets(file_stop_at_damage),
    ),
    Entry::new(
        Group::FileStore,
        &["adopt"],
        Bool,
        "false",
        "Take over the files of NATS Streaming that are in the store's directory; has no effect on any other directory",
        Sets(adopt),
    ),
];

/// A number that is not below a bound.
fn at_least(bound: i64, value: &Value, text: &str) -> Result<(), String> {
    if value.number() < bound {
        return Err(text.to_owned());
    }
    Ok(())
}

fn crc_polynomial(value: &Value) -> Result<(), String> {
    if !(1..=i64::from(u32::MAX)).contains(&value.number()) {
        return Err("crc polynomial should be between 1 and 4294967295".to_owned());
    }
    Ok(())
}

fn file_sync(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.file_sync = value.is_true();
    Ok(())
}

fn file_truncate_bad_eof(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.give_up_damage = value.is_true();
    Ok(())
}

fn file_stop_at_damage(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.stop_at_damage = value.is_true();
    Ok(())
}

fn adopt(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.streaming.adopt = value.is_true();
    Ok(())
}
