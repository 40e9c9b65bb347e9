//! Removing what lies before a moment. What is needed for every later one stays: from the newest base at or before it on.

use std::collections::HashSet;
use std::io;

use super::{History, Stretch, piece_file};
use crate::error::{Error, io_error};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Links.
    pub links: u64,
    /// Pieces that only those named.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl History {
    /// Removes what no moment from `before` on needs, nanoseconds since the Unix epoch. Of the newest stretch of each store the end always
    /// stays. Links go first, the oldest first; interrupted, it is called again, and while a link cannot be read nothing goes.
    ///
    /// # Errors
    /// A link is damaged, or something cannot be read or removed.
    pub fn prune(&self, before: i64) -> Result<Pruned, Error> {
        let reach = self.reach()?;
        if let Some((name, reason)) = reach.damaged.first() {
            return Err(Error::Damaged(format!(
                "{name} of the archive cannot be read ({reason}): while nobody knows what it needs nothing is removed"
            )));
        }
        let names = self.link_names()?;
        let kept: HashSet<&str> = reach
            .stretches
            .iter()
            .filter(|stretch| stretch.until >= before || is_newest(stretch, &reach.stretches))
            .flat_map(|stretch| kept_of(stretch, before))
            .collect();
        let paths = reach.stretches.iter().flat_map(|stretch| &stretch.path);
        let paths: HashSet<&str> = paths.map(|(name, _)| name.as_str()).collect();
        // What is in no stretch may be somebody's who writes just now, unless it is old.
        let is_old = |name: &str| self.head(name).is_ok_and(|head| head.until < before);
        let (going, staying): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| {
            let name = name.as_str();
            !kept.contains(name) && (paths.contains(name) || is_old(name))
        });
        if going.is_empty() {
            return Ok(Pruned::default());
        }
        let mut pieces = HashSet::new();
        for name in &going {
            let (_, files) = self.link(name)?;
            pieces.extend(files.into_iter().flat_map(|file| file.pieces).map(|piece| piece.sha256));
        }
        for name in staying {
            for file in self.link(name)?.1 {
                for piece in file.pieces {
                    pieces.remove(&piece.sha256);
                }
            }
        }
        let mut pruned = Pruned::default();
        for name in going {
            pruned.links += u64::from(self.remove(name)?.is_some());
        }
        self.disk
            .sync_directory()
            .map_err(io_error("sync the archive's directory"))?;
        for sha256 in pieces {
            if let Some(bytes) = self.remove(&piece_file(&sha256))? {
                pruned.pieces += 1;
                pruned.bytes += bytes;
            }
        }
        self.disk
            .sync_directory()
            .map_err(io_error("sync the archive's directory"))?;
        Ok(pruned)
    }

    /// Removes a file; how long it was, when it was there.
    fn remove(&self, name: &str) -> Result<Option<u64>, Error> {
        let length = self.disk.open_to_read(name).and_then(|file| file.length()).unwrap_or(0);
        match self.disk.remove(name) {
            Ok(()) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(format!("remove {name} of the archive"))(error)),
        }
    }
}

fn is_newest(stretch: &Stretch, all: &[Stretch]) -> bool {
    let made = |stretch: &Stretch| stretch.path.last().map(|(_, head)| head.made);
    let is_same = |other: &&Stretch| (&other.identity, &other.life) == (&stretch.identity, &stretch.life);
    let of_store = all.iter().filter(is_same);
    of_store.map(made).max() == Some(made(stretch))
}

/// The links of a stretch that are needed from a moment on.
fn kept_of(stretch: &Stretch, before: i64) -> impl Iterator<Item = &str> {
    let is_enough = |latest: i64| latest <= before;
    let base = stretch
        .path
        .iter()
        .rposition(|(_, head)| head.is_base && is_enough(head.latest()));
    let base = base.unwrap_or(0);
    stretch.path[base..].iter().map(|(name, _)| name.as_str())
}
