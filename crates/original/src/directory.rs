//! A data directory (specification §3.2): who wrote it, its clients, its channels, and what else lies there.

use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::channel::{Channel, ChannelFiles};
use crate::crc::Crc32;
use crate::encryption::Key;
use crate::entities::{Clients, read_clients, read_server};
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::occupation;
use crate::records::ServerInfo;

/// The polynomial of a server that was not told another one.
pub const POLYNOMIAL_DEFAULT: u32 = 0xEDB8_8320;

/// How a directory is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's `-file_crc_poly`, in reversed form; above zero.
    pub polynomial: u32,
    /// The server's encryption key.
    pub key: Option<Key>,
    /// A cluster member's `-cluster_log_path`. By default it is looked for where a server puts it that was not told.
    pub raft_directory: Option<PathBuf>,
    /// The caller holds the directory's lock, which is therefore not looked at: to open and close its file would give it up.
    pub is_locked: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            polynomial: POLYNOMIAL_DEFAULT,
            key: None,
            raft_directory: None,
            is_locked: false,
        }
    }
}

/// A directory that was opened; reading it changes nothing.
pub struct Directory {
    path: PathBuf,
    crc: Crc32,
    key: Option<Key>,
    server: Option<ServerInfo>,
    clients: Clients,
    channels: Vec<(Vec<u8>, ChannelFiles)>,
}

impl Directory {
    /// Reads everything but the channels.
    ///
    /// # Errors
    /// It cannot be read, or holds nothing of NATS Streaming.
    pub fn open(path: &Path, options: &Options, findings: &mut Findings) -> Result<Self, Error> {
        let mut directory = Self {
            path: path.to_owned(),
            crc: Crc32::new(options.polynomial),
            key: options.key.clone(),
            server: None,
            clients: Clients::new(),
            channels: Vec::new(),
        };
        let is_in_use = match options.is_locked {
            true => occupation::has_open_files(path),
            false => occupation::is_in_use(path),
        };
        if is_in_use {
            findings.push(Finding::new(Severity::Refusal, Kind::InUse, ""));
        }
        directory.list(findings)?;
        let (server, clients) = (path.join("server.dat"), path.join("clients.dat"));
        if directory.channels.is_empty() && !server.is_file() && !clients.is_file() {
            return Err(Error::new(
                path,
                "holds no file of NATS Streaming",
                "name the directory that it was given with -dir",
            ));
        }
        directory.server = read_server(&server, "server.dat", &directory.crc, findings)?;
        directory.clients = read_clients(&clients, "clients.dat", &directory.crc, findings)?;
        Ok(directory)
    }

    fn list(&mut self, findings: &mut Findings) -> Result<(), Error> {
        for (name, path, kind) in listing(&self.path)? {
            let shown = String::from_utf8_lossy(&name).into_owned();
            let found = if kind.is_dir() {
                self.add_channel(name, path, &shown)?
            } else if kind.is_file() {
                stray_file(&name)
            } else if kind.is_symlink() && matches!(&name[..], b"server.dat" | b"clients.dat") {
                // The original opens these by their names, and adoption moves no links.
                Some((Severity::Refusal, Kind::SymbolicLink))
            } else {
                // The original takes no symbolic link for a channel.
                Some((Severity::Note, Kind::UnknownFile))
            };
            if let Some((severity, kind)) = found {
                findings.push(Finding::new(severity, kind, shown));
            }
        }
        Ok(())
    }

    fn add_channel(&mut self, name: Vec<u8>, path: PathBuf, shown: &str) -> Result<Option<(Severity, Kind)>, Error> {
        let Some(files) = channel_files(&name, path, shown)? else {
            return Ok(Some((Severity::Note, Kind::NoChannel)));
        };
        if !is_channel_name(&name) {
            let severity = if files.has_slices() {
                Severity::Loss
            } else {
                Severity::Note
            };
            return Ok(Some((severity, Kind::ChannelName)));
        }
        self.channels.push((name, files));
        Ok(None)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the server said of itself.
    #[must_use]
    pub fn server(&self) -> Option<&ServerInfo> {
        self.server.as_ref()
    }

    /// Its clients.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The names of its channels, in order.
    pub fn channel_names(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(|(name, _)| name.as_slice())
    }

    /// Opens the channel at this position among the names.
    ///
    /// # Errors
    /// A file cannot be read.
    ///
    /// # Panics
    /// When there are not so many channels.
    pub fn channel(&self, position: usize, findings: &mut Findings) -> Result<Channel<'_>, Error> {
        let (name, files) = &self.channels[position];
        Channel::open(files, name, &self.crc, findings)
    }

    /// The key that it was opened with.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

/// Names of everything in a directory that is the original's, but for `server.dat` and its lock: files, and folders with files of
/// channels, whether channels are made of them or not. In order.
///
/// # Errors
/// It cannot be listed.
pub fn entries(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let mut names = Vec::new();
    for (name, path, kind) in listing(path)? {
        let is_own = if kind.is_dir() {
            channel_files(&name, path, "")?.is_some()
        } else {
            let stray = stray_file(&name).is_some_and(|(_, kind)| kind != Kind::UnknownFile);
            kind.is_file() && (stray || name == b"clients.dat")
        };
        if is_own {
            names.push(name);
        }
    }
    Ok(names)
}

/// What a directory holds: names, paths and types. In order of the names.
fn listing(path: &Path) -> Result<Vec<(Vec<u8>, PathBuf, FileType)>, Error> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| Error::open(path, &error))? {
        let entry = entry.map_err(|error| Error::open(path, &error))?;
        let kind = entry.file_type().map_err(|error| Error::open(&entry.path(), &error))?;
        entries.push((entry.file_name().as_bytes().to_vec(), entry.path(), kind));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// The files of a channel in the folder of this name; none when it holds none.
fn channel_files(name: &[u8], path: PathBuf, shown: &str) -> Result<Option<ChannelFiles>, Error> {
    match ChannelFiles::list(path, shown.to_owned()) {
        // Made by the file system, and closed to everybody but root.
        Err(_) if name == b"lost+found" => Ok(None),
        files => Ok(Some(files?).filter(ChannelFiles::is_channel)),
    }
}

/// What a file beside the channels is; none when it belongs there.
fn stray_file(name: &[u8]) -> Option<(Severity, Kind)> {
    let kind = match name {
        b"server.dat" | b"clients.dat" | b".rootdir.lck" => return None,
        b".truncate.lck" => Kind::TruncateWitness,
        _ if name.starts_with(b"clients.dat") || name.starts_with(b"subs") => Kind::CompactionLeftover,
        _ => Kind::UnknownFile,
    };
    Some((Severity::Note, kind))
}

/// Whether a channel may have this name (specification §2.2).
pub(crate) fn is_channel_name(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'.')
        .all(|token| !token.is_empty() && token != b"*" && token != b">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_channels() {
        for name in ["a", "a.b", "a*b", "été", "before-seaway", ".."] {
            assert_eq!(is_channel_name(name.as_bytes()), name != "..", "{name}");
        }
        for name in ["", ".a", "a.", "a..b", "*", "a.*", "a.>"] {
            assert!(!is_channel_name(name.as_bytes()), "{name}");
        }
    }
}
