//! Mends what [`verify`](crate::verify) finds, as far as that is possible without guessing: directory files are made again from their
//! segments, and what is damaged or missing is taken from copies of the same journal. Segments never change once they are written, so a
//! copy is one when everything that is whole is the same in both. Nothing that is whole is written to.

mod files;
mod plan;
mod segment;

use crate::directory::read_summary;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::Identity;
use crate::image::lock;
use crate::recovery::files::Files;
use crate::verification::{Damage, Lack, Order, check_checkpoint, no_epoch, unlocked_files};
pub use plan::{Donor, Remedy, Repair, Repairing, Runs};
use segment::Mending;

/// Goes through everything that [`verify`](crate::verify) reads, and mends what is damaged; `told` hears of each damage and of what is
/// done about it. The journal is locked meanwhile.
///
/// # Errors
/// There is no journal, somebody uses it, its key is missing or wrong, what opens its epochs is damaged and in no copy, or the directory
/// cannot be read or written.
pub fn repair(disk: &dyn Disk, repair: &Repair<'_>, told: &mut dyn FnMut(Damage, Remedy)) -> Result<(), OpenError> {
    let _lock = lock(disk, "seaway repair")?;
    repair.epochs(disk, told)?;
    let files = unlocked_files(disk, repair.encryption)?;
    let identity = files.newest_epoch().ok_or_else(no_epoch)?.identity;
    if let Some(damage) = check_checkpoint(disk, &files, identity)? {
        let remedy = repair.whole_file(disk, &damage.file, identity)?;
        told(damage, remedy);
    }
    let lacks = repair.segments(disk, &files, identity, told)?;
    for lack in lacks {
        repair.lack(disk, &files, identity, lack, told)?;
    }
    repair.lost_messages(disk, &files, identity, told)
}

impl Repair<'_> {
    /// Mends the segments that are there, and finds those that are not.
    fn segments(
        &self,
        disk: &dyn Disk,
        files: &Files,
        identity: Identity,
        told: &mut dyn FnMut(Damage, Remedy),
    ) -> Result<Vec<Lack>, OpenError> {
        let (mut order, mut lacks) = (Order::begin(disk, files, identity), Vec::new());
        for id in files.segments_and_orphans() {
            if !files.segments.contains_key(&id) {
                order.missing(id, read_summary(disk, &identity, id), &mut |lack| lacks.push(lack));
                continue;
            }
            let mending = Mending {
                disk,
                repair: self,
                known: files.known(id, identity),
            };
            let read = mending.segment(files.directories.contains_key(&id), told)?;
            order.next(id, read.as_ref(), &mut |lack| lacks.push(lack));
        }
        order.end(&mut |lack| lacks.push(lack));
        lacks.retain(|lack| lack.damage.messages.is_empty() || (self.is_live)(&lack.damage.messages));
        Ok(lacks)
    }
}
