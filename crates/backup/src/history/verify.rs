//! Reading an archive from end to end: whether every piece is what was written, and which moments that concerns which is not.

use std::collections::{HashMap, HashSet};

use seaway_store::verify::{Verification, verify_on};
use seaway_store::{Encryption, FileStoreError};

use super::{History, PIECE, Stretch, piece_file};
use crate::digest::Hasher;
use crate::error::Error;
use crate::limits::PIECE_BYTES;
use crate::pace::Pace;
use crate::progress::Progress;

/// What was found of a stretch.
#[derive(Debug)]
pub struct StretchVerified {
    /// Which.
    pub stretch: Stretch,
    /// Pieces and links that are not what was written, and what is wrong.
    pub damaged: Vec<(String, String)>,
    /// The moment from which on nothing damaged is needed, when there is one; nanoseconds since the Unix epoch.
    pub whole_from: Option<i64>,
    /// What the store holds at the last moment of the stretch. Not of one whose key is not there.
    pub store: Option<Result<Verification, FileStoreError>>,
}

/// What was found in an archive.
#[derive(Debug)]
pub struct HistoryVerified {
    /// In the order of their first moments.
    pub stretches: Vec<StretchVerified>,
    /// Links that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl History {
    /// Reads everything once.
    ///
    /// # Errors
    /// The archive cannot be listed.
    pub fn verify(
        &self,
        encryption: Option<&Encryption>,
        pace: &mut Pace,
        progress: &Progress,
    ) -> Result<HistoryVerified, Error> {
        let reach = self.reach()?;
        let mut checked: HashMap<String, Option<String>> = HashMap::new();
        progress.begin(self.piece_bytes());
        let mut found = Vec::new();
        for stretch in reach.stretches {
            let mut damaged = Vec::new();
            let mut told = HashSet::new();
            // The last link that needs something that is damaged.
            let mut damaged_link = None;
            for (index, (name, _)) in stretch.path.iter().enumerate() {
                let files = match self.link(name) {
                    Ok((_, files)) => files,
                    Err(error) => {
                        damaged.push((name.clone(), error.to_string()));
                        damaged_link = Some(index);
                        continue;
                    }
                };
                for piece in files.into_iter().flat_map(|file| file.pieces) {
                    let reason = checked
                        .entry(piece.sha256.clone())
                        .or_insert_with(|| self.check(&piece.sha256, piece.length, pace, progress));
                    if let Some(reason) = reason {
                        damaged_link = Some(index);
                        if told.insert(piece.sha256.clone()) {
                            damaged.push((piece_file(&piece.sha256), reason.clone()));
                        }
                    }
                }
            }
            let behind = damaged_link.map_or(0, |index| index + 1);
            let whole = stretch.path[behind..].iter().find(|(_, head)| head.is_base);
            let whole_from = whole.map(|(_, head)| head.latest());
            let is_readable = !stretch.encrypted || encryption.is_some();
            let moment = (is_readable && whole_from.is_some()).then(|| self.moment(&stretch, stretch.end()));
            let store = match moment {
                Some(Ok(moment)) => Some(verify_on(moment.disk(), encryption.cloned())),
                Some(Err(error)) => {
                    let last = stretch.path.last().map(|(name, _)| name.clone());
                    damaged.push((
                        last.unwrap_or_default(),
                        format!("no store can be made up to here: {error}"),
                    ));
                    None
                }
                None => None,
            };
            found.push(StretchVerified {
                stretch,
                damaged,
                whole_from,
                store,
            });
        }
        Ok(HistoryVerified {
            stretches: found,
            unreadable: reach.damaged,
        })
    }

    /// Bytes of all pieces.
    pub fn piece_bytes(&self) -> u64 {
        let entries = self.disk.list("").unwrap_or_default();
        let pieces = entries.iter().filter(|entry| entry.name.starts_with(PIECE));
        pieces.map(|entry| entry.length).sum()
    }

    /// What is wrong with a piece.
    fn check(&self, sha256: &str, length: u64, pace: &mut Pace, progress: &Progress) -> Option<String> {
        let file = match self.disk.open_to_read(&piece_file(sha256)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some("it is missing".to_owned()),
            Err(error) => return Some(format!("it cannot be read: {error}")),
        };
        match file.length() {
            Ok(found) if found == length => {}
            Ok(found) => return Some(format!("it has {found} bytes instead of {length}")),
            Err(error) => return Some(format!("it cannot be read: {error}")),
        }
        let mut hasher = Hasher::new();
        let mut bytes = vec![0; pace.piece(PIECE_BYTES)];
        let mut offset = 0;
        while offset < length {
            let piece = (length - offset).min(bytes.len() as u64) as usize;
            let piece = &mut bytes[..piece];
            pace.wait(piece.len());
            if let Err(error) = file.read_at(piece, offset) {
                return Some(format!("it cannot be read at offset {offset}: {error}"));
            }
            hasher.update(piece);
            offset += piece.len() as u64;
            progress.add(piece.len() as u64);
        }
        (hasher.finish() != sha256).then(|| "its checksum does not match".to_owned())
    }
}
