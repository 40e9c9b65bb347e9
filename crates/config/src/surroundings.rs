//! What configuration takes from outside: environment variables and files.

use std::io::{self, Read as _};
use std::path::Path;

use crate::limits::FILE_BYTES_MAX;

/// The environment and the files that a configuration refers to.
pub trait Surroundings {
    /// Value of an environment variable; `None` when it is not set or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;

    /// Names of all environment variables.
    fn variable_names(&self) -> Vec<String>;

    /// Content of a file. An implementation may refuse a file larger than [`FILE_BYTES_MAX`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The environment and the files of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Surroundings for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn variable_names(&self) -> Vec<String> {
        std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        // One byte more than allowed, so that a larger file is noticed and not cut.
        let file = std::fs::File::open(path)?;
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
        Ok(content)
    }
}
