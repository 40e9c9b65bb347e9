//! What the files of an archive are called, by which others know its directory.

use std::path::Path;

use seaway_journal::disk::{Disk, real::RealDisk};

/// Names of links begin so.
pub(crate) const LINK_PREFIX: &str = "archive-";
/// Names of links end so.
pub(crate) const LINK_SUFFIX: &str = ".link";

/// Whether a file is a link of an archive.
pub(crate) fn is_link(name: &str) -> bool {
    name.starts_with(LINK_PREFIX) && name.ends_with(LINK_SUFFIX)
}

/// Whether a directory holds an archive.
///
/// # Errors
/// It cannot be listed.
pub fn is_history(directory: &Path) -> std::io::Result<bool> {
    let names = RealDisk::existing(directory)?.file_names()?;
    Ok(names.iter().any(|name| is_link(name)))
}
