//! A channel's directory (specification §3.2): its slices in order, its subscriptions, and what else lies there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::crc::Crc32;
use crate::entities::Subscriptions;
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::messages::Messages;
use crate::slice::{Slice, SliceFiles, examine};

/// A channel that was opened: its slices were looked at, its subscriptions are known, its messages can be read.
pub struct Channel<'a> {
    name: &'a [u8],
    crc: &'a Crc32,
    slices: Vec<Slice>,
    subscriptions: Subscriptions,
}

/// The files of a channel.
pub(crate) struct ChannelFiles {
    pub(crate) path: PathBuf,
    /// The name as text, for findings.
    pub(crate) shown: String,
    names: Vec<Vec<u8>>,
}

/// What a file name means.
enum Role {
    Data(u64),
    Index,
    Subscriptions,
    Archived,
    BadSlice,
    Unknown,
}

fn role(name: &[u8]) -> Role {
    if name == b"subs.dat" {
        return Role::Subscriptions;
    }
    let Some(rest) = name.strip_prefix(b"msgs.") else {
        return Role::Unknown;
    };
    if rest.ends_with(b".dat.bak") || rest.ends_with(b".idx.bak") {
        return Role::Archived;
    }
    let number = |middle: &[u8]| -> Option<u64> {
        let text = std::str::from_utf8(middle).ok()?;
        let number = text.parse::<i64>().ok()?;
        // Signs parse too, and are no part of a name.
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(number.unsigned_abs())
    };
    if let Some(middle) = rest.strip_suffix(b".dat") {
        return number(middle).map_or(Role::BadSlice, Role::Data);
    }
    if let Some(middle) = rest.strip_suffix(b".idx") {
        return number(middle).map_or(Role::Unknown, |_| Role::Index);
    }
    Role::Unknown
}

impl ChannelFiles {
    pub(crate) fn list(path: PathBuf, shown: String) -> Result<Self, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(|error| Error::open(&path, &error))? {
            let entry = entry.map_err(|error| Error::open(&path, &error))?;
            names.push(entry.file_name().as_bytes().to_vec());
        }
        names.sort();
        Ok(Self { path, shown, names })
    }

    /// Whether it holds message files.
    pub(crate) fn has_slices(&self) -> bool {
        self.names.iter().any(|name| matches!(role(name), Role::Data(_)))
    }

    /// Whether NATS Streaming has written anything here.
    pub(crate) fn is_channel(&self) -> bool {
        self.names
            .iter()
            .any(|name| matches!(role(name), Role::Data(_) | Role::Subscriptions))
    }

    fn file(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    fn shown(&self, name: &[u8]) -> String {
        format!("{}/{}", self.shown, String::from_utf8_lossy(name))
    }

    /// The slices in order; tells what is none.
    fn slices(&self, findings: &mut Findings) -> Vec<SliceFiles> {
        let mut slices: Vec<SliceFiles> = Vec::new();
        let mut indexes = Vec::new();
        for name in &self.names {
            let mut note = |severity, kind| findings.push(Finding::new(severity, kind, self.shown(name)));
            let path = self.file(name);
            let role = role(name);
            let is_of_store = !matches!(role, Role::Archived | Role::Unknown);
            if is_of_store && path.is_symlink() {
                note(Severity::Refusal, Kind::SymbolicLink);
                continue;
            }
            if !is_file(&path) {
                note(Severity::Note, Kind::UnknownFile);
                continue;
            }
            match role {
                Role::Data(number) if slices.iter().any(|slice| slice.number == number) => {
                    note(Severity::Loss, Kind::SliceName);
                }
                Role::Data(number) => {
                    let index = [&name[..name.len() - 3], b"idx"].concat();
                    let index_path = self.file(&index);
                    slices.push(SliceFiles {
                        number,
                        has_index: is_file(&index_path),
                        data: path,
                        index: index_path,
                        data_name: self.shown(name),
                        index_name: self.shown(&index),
                    });
                }
                Role::Index => indexes.push(name),
                Role::Subscriptions => {}
                Role::Archived => note(Severity::Note, Kind::ArchivedSlice),
                Role::BadSlice => note(Severity::Loss, Kind::SliceName),
                Role::Unknown => note(Severity::Note, Kind::UnknownFile),
            }
        }
        for index in indexes {
            let path = self.file(index);
            if !slices.iter().any(|slice| slice.index == path) {
                findings.push(Finding::new(Severity::Note, Kind::IndexWithoutData, self.shown(index)));
            }
        }
        slices.sort_by_key(|slice| slice.number);
        slices
    }
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

impl<'a> Channel<'a> {
    pub(crate) fn open(
        files: &ChannelFiles,
        name: &'a [u8],
        crc: &'a Crc32,
        findings: &mut Findings,
    ) -> Result<Self, Error> {
        let mut slices = Vec::new();
        for slice in files.slices(findings) {
            slices.push(examine(slice, name, crc, findings)?);
        }
        let subscriptions =
            Subscriptions::read(&files.path.join("subs.dat"), &files.shown(b"subs.dat"), crc, findings)?;
        Ok(Self {
            name,
            crc,
            slices,
            subscriptions,
        })
    }

    /// How many slices there are.
    #[must_use]
    pub fn slice_count(&self) -> usize {
        self.slices.len()
    }

    /// Its subscriptions, folded.
    #[must_use]
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// The same, when it is needed no more.
    pub(crate) fn into_subscriptions(self) -> Subscriptions {
        self.subscriptions
    }

    /// Its messages, from the first; what is odd about them goes to `findings`.
    #[must_use]
    pub fn messages<'m>(&'m self, findings: &'m mut Findings) -> Messages<'m> {
        Messages::new(self.name, self.crc, &self.slices, findings)
    }
}
