//! Options of the archive of a store (docs/backup.md).

use std::path::PathBuf;
use std::time::Duration as Span;

use super::entry::Effect::Sets;
use super::entry::{Entry, Group, Section};
use crate::draft::Draft;
use crate::value::Kind::{Duration, Size, Text};
use crate::value::Value;

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Group::Archive,
        &["archive"],
        Text,
        "",
        "Directory to which the file store is copied while it serves, so that it can be restored to any moment; not the store's own",
        Sets(archive),
    )
    .keys(Section::Streaming, &["archive"]),
    Entry::new(
        Group::Archive,
        &["archive_keep"],
        Duration,
        "0s",
        "How far back the archive reaches: what only older moments need is removed; 0 keeps everything",
        Sets(archive_keep),
    )
    .keys(Section::Streaming, &["archive_keep"]),
    Entry::new(
        Group::Archive,
        &["archive_max_backlog"],
        Size,
        "1GB",
        "Bytes of files that are not needed any more and are kept for an archive that does not take them; beyond that they go, and the archive \
         has a gap",
        Sets(archive_max_backlog),
    )
    .keys(Section::Streaming, &["archive_max_backlog"]),
];

fn archive(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.archive.directory = value.present().map(PathBuf::from);
    Ok(())
}

fn archive_keep(options: &mut Draft, value: &Value) -> Result<(), String> {
    let nanoseconds = u64::try_from(value.number()).map_err(|_| "archive_keep must not be negative".to_owned())?;
    options.archive.keep = Some(Span::from_nanos(nanoseconds)).filter(|keep| !keep.is_zero());
    Ok(())
}

fn archive_max_backlog(options: &mut Draft, value: &Value) -> Result<(), String> {
    let bytes = u64::try_from(value.number()).ok().filter(|bytes| *bytes > 0);
    options.archive.max_backlog = bytes.ok_or_else(|| "archive_max_backlog must be at least 1 byte".to_owned())?;
    Ok(())
}
