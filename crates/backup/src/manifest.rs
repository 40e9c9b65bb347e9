//! What a backup is made of, with a checksum for every file and one for the whole.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::source::{Origin, check_files, check_identity};

/// The version of the format that this program writes.
const FORMAT: u32 = 1;
/// What the first line begins with; the checksum of everything behind that line follows.
const HEAD: &str = "seaway-backup 1 sha256:";
const HEX_DIGITS: usize = 64;

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name in the store's directory.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of its content, hexadecimal; its object has this name.
    pub sha256: String,
    /// SHA-256 of its first and its last bytes, by which the next backup knows it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// What was wrong with it when it was copied: it is in the backup as it was in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    format: u32,
    /// When the backup was begun: everything durable by then is in it.
    pub made: Timestamp,
    /// The version of the program that made it.
    pub seaway_version: String,
    /// The random bytes that name the store, hexadecimal.
    pub identity: String,
    /// The store's newest epoch.
    pub epoch: u64,
    /// Position of the last record; none when the next start finds out.
    pub position: Option<u64>,
    /// Whether the store is encrypted.
    pub encrypted: bool,
    /// Which life of the store it is of, hexadecimal; none of one that was never restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<String>,
    /// Every file was checked when it was copied, as far as that can be done without a key.
    #[serde(default)]
    pub checked: bool,
    /// Why no server would start on it. It is tried when a backup is made to a directory, and needs no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Its files; those that open epochs come last.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    pub(crate) fn new(origin: Origin, files: Vec<ManifestFile>) -> Manifest {
        Manifest {
            format: FORMAT,
            made: origin.begun,
            seaway_version: env!("CARGO_PKG_VERSION").to_owned(),
            identity: origin.identity,
            epoch: origin.epoch,
            position: origin.position,
            encrypted: origin.is_encrypted,
            life: origin.life,
            checked: true,
            refusal: None,
            files,
        }
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |bytes, file| bytes.saturating_add(file.length))
    }

    /// Files that were damaged when they were copied, and how.
    pub fn damages(&self) -> impl Iterator<Item = (&str, &str)> {
        let damaged = |file: &ManifestFile| file.damaged.is_some();
        let files = self.files.iter().filter(move |file| damaged(file));
        files.map(|file| (file.name.as_str(), file.damaged.as_deref().unwrap_or_default()))
    }

    /// Whether nothing in it was damaged when it was made, as far as somebody looked. False as well when nobody did.
    pub fn is_known_whole(&self) -> bool {
        self.checked && !self.is_known_damaged()
    }

    /// Whether something in it was damaged when it was made.
    pub fn is_known_damaged(&self) -> bool {
        self.refusal.is_some() || self.damages().next().is_some()
    }

    /// What tells the store from others, and the lives of one from each other.
    pub(crate) fn lineage(&self) -> String {
        match &self.life {
            Some(life) => format!("{}/{life}", self.identity),
            None => self.identity.clone(),
        }
    }

    /// Whether a text is the beginning of the name of its store, or of its life.
    pub(crate) fn is_of(&self, prefix: &str) -> bool {
        let is_life = |life: &String| !prefix.is_empty() && life.starts_with(prefix);
        self.lineage().starts_with(prefix) || self.life.as_ref().is_some_and(is_life)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = serde_json::to_vec(self).expect("texts and numbers can be written as JSON");
        body.push(b'\n');
        let mut bytes = format!("{HEAD}{}\n", sha256(&body)).into_bytes();
        bytes.append(&mut body);
        bytes
    }

    /// What was written; every name in it is one that a store's file may have, and none comes twice.
    ///
    /// # Errors
    /// It is not what was written, or of a later version, in words.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        let line_end = bytes.iter().position(|byte| *byte == b'\n');
        let line_end = line_end.ok_or("it has no first line")?;
        let (head, body) = (&bytes[..line_end], &bytes[line_end + 1..]);
        let Some(checksum) = head.strip_prefix(HEAD.as_bytes()) else {
            let is_later = head.starts_with(b"seaway-backup ");
            return Err(match is_later {
                true => "it is of another version of the format than 1: use the program that wrote it".to_owned(),
                false => "it does not begin as a manifest does".to_owned(),
            });
        };
        if checksum != sha256(body).as_bytes() {
            return Err("its checksum does not match".to_owned());
        }
        let manifest: Manifest = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        check_identity(&self.identity)?;
        self.life.as_deref().map_or(Ok(()), check_identity)?;
        check_files(self.files.iter().map(|file| (file.name.as_str(), file.length)))?;
        match self.files.iter().find(|file| !is_checksum(&file.sha256)) {
            Some(file) => Err(format!("the checksum of {} is none", file.name)),
            None => Ok(()),
        }
    }

    /// Its files by their names.
    pub(crate) fn by_name(&self) -> HashMap<&str, &ManifestFile> {
        self.files.iter().map(|file| (file.name.as_str(), file)).collect()
    }
}

/// Whether a text is a SHA-256.
pub(crate) fn is_checksum(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == HEX_DIGITS && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let origin = Origin {
            identity: "00".repeat(16),
            epoch: 3,
            position: Some(7),
            is_encrypted: false,
            life: Some("0a".repeat(16)),
            begun: Timestamp::UNIX_EPOCH,
        };
        let file = ManifestFile {
            name: "epoch-00000003.epoch".to_owned(),
            length: 128,
            sha256: "0f".repeat(32),
            sample: None,
            damaged: None,
        };
        Manifest::new(origin, vec![file])
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let manifest = manifest();
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes).as_ref(), Ok(&manifest));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 4;
            assert!(Manifest::decode(&other).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let later = [b"seaway-backup 2 ".as_slice(), &bytes[16..]].concat();
        assert!(Manifest::decode(&later).unwrap_err().contains("another version"));
    }

    /// Whoever can write a manifest can write its checksum: no name leads out of the directory.
    #[test]
    fn names_are_those_of_a_stores_files() {
        for name in [
            "",
            "../x",
            "/etc/passwd",
            "a/b",
            ".restoring.x",
            "journal.lock",
            "epoch-00000001.claim",
            "server.dat",
        ] {
            let mut manifest = manifest();
            manifest.files[0].name = name.to_owned();
            assert!(Manifest::decode(&manifest.encode()).is_err(), "{name}");
        }
        let mut twice = manifest();
        twice.files.push(twice.files[0].clone());
        assert!(Manifest::decode(&twice.encode()).unwrap_err().contains("twice"));
        let mut long = manifest();
        long.files[0].name = format!("epoch-{:0>100}.epoch", 1);
        assert!(Manifest::decode(&long.encode()).unwrap_err().contains("no name"));
        let mut stranger = manifest();
        stranger.identity = "\u{1b}[2J".to_owned();
        assert!(Manifest::decode(&stranger.encode()).is_err());
        let mut endless = manifest();
        endless.files.push(ManifestFile {
            name: "epoch-00000004.epoch".to_owned(),
            length: u64::MAX,
            ..endless.files[0].clone()
        });
        assert!(Manifest::decode(&endless.encode()).unwrap_err().contains("bytes"));
        assert_eq!(endless.bytes(), u64::MAX);
        let mut other = manifest();
        other.files[0].sha256 = "../../x".to_owned();
        assert!(Manifest::decode(&other.encode()).is_err());
    }
}
