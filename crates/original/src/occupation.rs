//! Whether a server still uses a directory. One of a fault-tolerance group holds a lock; others lock nothing, but have files open.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Whether another process holds the original's lock (specification §3.16), or has one of the files open. Processes of other users
/// may be out of sight.
pub(crate) fn is_in_use(directory: &Path) -> bool {
    is_locked(&directory.join(".rootdir.lck")) || has_open_files(directory)
}

fn is_locked(lock: &Path) -> bool {
    let Ok(file) = File::open(lock) else {
        return false;
    };
    matches!(fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)), Ok(Some(_)))
}

/// Whether another process has one of the files of a directory open; those of other users may be out of sight.
#[must_use]
pub fn has_open_files(directory: &Path) -> bool {
    let Ok(directory) = fs::canonicalize(directory) else {
        return false;
    };
    let own = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .filter(|process| {
            let name = process.file_name();
            let name = name.as_encoded_bytes();
            name.iter().all(u8::is_ascii_digit) && name != own.as_bytes()
        })
        .filter_map(|process| fs::read_dir(process.path().join("fd")).ok())
        .flat_map(|files| files.flatten())
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.starts_with(&directory) && target.extension().is_some_and(|it| it == "dat" || it == "idx"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_of_another_process_are_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("msgs.1.dat");
        fs::write(&data, b"").expect("write");
        assert!(!is_in_use(directory.path()));
        let file = File::open(&data).expect("open");
        let mut other = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(file)
            .spawn()
            .expect("cat is there");
        let seen = is_in_use(directory.path());
        other.kill().expect("it ends");
        other.wait().expect("it ends");
        assert!(seen);
        assert!(!is_in_use(directory.path()));
    }
}
