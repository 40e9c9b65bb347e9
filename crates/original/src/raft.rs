//! The Raft directory of a cluster's member (specification §6.9, §6.11, §6.13): the newest snapshot that is whole, and the log on top.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::bolt::{Bolt, Cursor, Stop};
use crate::crc::crc64_xz;
use crate::encryption::{Key, Opener, looks_encrypted};
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::member::{Member, MemberChannel};
use crate::msgpack::LogEntry;
use crate::records::{Message, ServerInfo};
use crate::report::Raft;

const LOG: &str = "raft.log";

/// Where a member's Raft directory is: in what was named, or where a server puts it that was not told (`<cluster ID>/<node ID>` in the
/// working directory).
pub(crate) fn locate(named: Option<&Path>, server: Option<&ServerInfo>) -> Option<PathBuf> {
    let name = |of: fn(&ServerInfo) -> &Vec<u8>| OsStr::from_bytes(server.map(of).map_or(b"", Vec::as_slice));
    let cluster = name(|server| &server.cluster_id);
    let usual = Path::new(cluster).join(name(|server| &server.node_id));
    let path = named.unwrap_or(&usual);
    let candidates = [path.join(cluster), path.to_owned()];
    candidates.into_iter().find(|path| path.join(LOG).is_file())
}

/// Reads snapshot and log.
pub(crate) fn read(path: &Path, key: Option<&Key>, findings: &mut Findings) -> Result<(Member, Raft), Error> {
    let mut position = Raft::default();
    let mut member = Member::default();
    for snapshot in snapshots(path)? {
        match read_snapshot(&snapshot.path)? {
            Some(found) => {
                position.snapshot_term = snapshot.term;
                position.snapshot_index = snapshot.index;
                member = found;
                break;
            }
            None => {
                let name = format!("snapshots/{}", snapshot.name);
                findings.push(Finding::new(Severity::Repair, Kind::SnapshotDamaged, name));
            }
        }
    }
    (position.last_term, position.last_index) = (position.snapshot_term, position.snapshot_index);
    let opener = key.map(Key::of_raft_log);
    let mut unreadable = 0;
    match apply_log(
        &path.join(LOG),
        &mut member,
        &mut position,
        opener.as_ref(),
        &mut unreadable,
    ) {
        Ok(()) => {}
        Err(Stop::Damaged(offset)) => {
            findings.push(Finding::new(Severity::Loss, Kind::RaftLogDamaged, LOG).offset(offset));
        }
        Err(Stop::Failed(error)) => return Err(error),
    }
    if unreadable > 0 {
        findings.push(Finding::new(Severity::Loss, Kind::RaftEntryUnreadable, LOG).count(unreadable));
    }
    if !member.is_bounded() {
        findings.push(Finding::new(Severity::Refusal, Kind::TooMany, LOG));
    }
    Ok((member, position))
}

fn apply_log(
    path: &Path,
    member: &mut Member,
    position: &mut Raft,
    opener: Option<&Opener>,
    unreadable: &mut u64,
) -> Result<(), Stop> {
    let mut unreadable_values = 0;
    each_entry(path, |entry| {
        let Some(entry) = entry else {
            unreadable_values += 1;
            return true;
        };
        position.entries += 1;
        (position.last_term, position.last_index) = (entry.term, entry.index);
        if entry.kind != 0 {
            return true;
        }
        member.index = entry.index;
        // What the snapshot holds already may be in the log for its messages only.
        let is_applied = opened(&entry, opener).is_some_and(|data| match entry.index <= position.snapshot_index {
            true => member.note_messages(&data).is_ok(),
            false => member.apply(&data).is_ok(),
        });
        *unreadable += u64::from(!is_applied);
        true
    })?;
    *unreadable += unreadable_values;
    Ok(())
}

/// Gives the messages of a channel that the log has above a sequence, in their order and each once; false ends it. What of the log cannot be
/// read was told when it was applied.
pub(crate) fn messages_above(
    path: &Path,
    key: Option<&Key>,
    (name, channel): (&[u8], &MemberChannel),
    after: u64,
    mut give: impl FnMut(&Message<'_>) -> bool,
) -> Result<(), Error> {
    let opener = key.map(Key::of_raft_log);
    let mut last = after;
    let read = each_entry(&path.join(LOG), |entry| {
        let Some(entry) = entry.filter(|entry| entry.kind == 0 && entry.index >= channel.since) else {
            return true;
        };
        let Some(data) = opened(&entry, opener.as_ref()) else {
            return true;
        };
        for message in channel.messages(name, &data) {
            // One that comes again is the same, or was never stored (§1.4).
            if message.sequence > last {
                last = message.sequence;
                if !give(&message) {
                    return false;
                }
            }
        }
        true
    });
    match read {
        Err(Stop::Failed(error)) => Err(error),
        Ok(()) | Err(Stop::Damaged(_)) => Ok(()),
    }
}

/// The operation of a log entry in clear; none when it cannot be decrypted.
fn opened<'a>(entry: &LogEntry<'a>, opener: Option<&Opener>) -> Option<Cow<'a, [u8]>> {
    match opener {
        Some(opener) => opener.open(entry.data).ok(),
        None if looks_encrypted(entry.data) => None,
        None => Some(entry.data.into()),
    }
}

/// Steps through the log until `take` says false; it is given none for what is no entry.
fn each_entry(path: &Path, mut take: impl FnMut(Option<LogEntry<'_>>) -> bool) -> Result<(), Stop> {
    let mut bolt = Bolt::open(path)?;
    let Some(bucket) = bolt.bucket(b"logs")? else {
        return Ok(());
    };
    let mut cursor = Cursor::new(bucket);
    while let Some(item) = cursor.next(&mut bolt)? {
        if !take(LogEntry::decode(bolt.bytes(item.value)?).ok()) {
            return Ok(());
        }
    }
    Ok(())
}

/// A snapshot's directory: `<term>-<index>-<milliseconds>`.
struct Snapshot {
    term: u64,
    index: u64,
    name: String,
    path: PathBuf,
}

/// The newest first.
fn snapshots(path: &Path) -> Result<Vec<Snapshot>, Error> {
    let folder = path.join("snapshots");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| Error::open(&folder, &error))? {
        let entry = entry.map_err(|error| Error::open(&folder, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let parts: Vec<Option<u64>> = name.split('-').map(|part| part.parse().ok()).collect();
        // One that is still being written ends in ".tmp", and so has no number there.
        if let [Some(term), Some(index), Some(_)] = parts[..] {
            let path = entry.path();
            found.push(Snapshot {
                term,
                index,
                name,
                path,
            });
        }
    }
    found.sort_by(|a, b| (b.term, b.index, &b.name).cmp(&(a.term, a.index, &a.name)));
    Ok(found)
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "CRC")]
    crc: String,
}

/// The state in a snapshot; none when it is not whole.
fn read_snapshot(path: &Path) -> Result<Option<Member>, Error> {
    let read = |name: &str| -> Result<Option<Vec<u8>>, Error> {
        let path = path.join(name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() <= SNAPSHOT_BYTES_MAX => {
                fs::read(&path).map(Some).map_err(|error| Error::open(&path, &error))
            }
            _ => Ok(None),
        }
    };
    let (Some(meta), Some(state)) = (read("meta.json")?, read("state.bin")?) else {
        return Ok(None);
    };
    let crc = serde_json::from_slice(&meta).ok();
    let crc = crc.and_then(|meta: Meta| BASE64_STANDARD.decode(meta.crc).ok());
    if crc.as_deref() != Some(&crc64_xz(&state).to_be_bytes()) {
        return Ok(None);
    }
    let Some((length, body)) = state.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let body = body.get(..u32::from_le_bytes(*length) as usize);
    Ok(body.and_then(|body| Member::of_snapshot(body).ok()))
}
