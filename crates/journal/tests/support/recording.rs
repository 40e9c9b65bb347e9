//! A disk that writes down what every encrypted piece on its way to the medium was encrypted with, reading the bytes by
//! docs/journal-format.md alone: it shares no code with the journal.
#![allow(unreachable_pub, reason = "a part of a test")]

use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex};

/// Which key: kind of file, cipher, start salt, epoch, number. All of these go into a file's key.
type Key = (u8, u8, Vec<u8>, u64, u64);

#[derive(Default)]
pub struct NonceLog {
    /// What was encrypted with a key and a nonce: a hash of everything that was written for it.
    pub used: HashMap<(Key, Vec<u8>), u64>,
    /// Epochs and contents per position.
    pub positions: HashMap<u64, Vec<(u64, u64)>>,
    pub records: u64,
    pub blocks: u64,
    pub reused: Vec<String>,
    headers: HashMap<String, (Key, Vec<u8>)>,
}

impl NonceLog {
    fn note(&mut self, key: &Key, nonce: &[u8], content: &[u8]) {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let hash = hasher.finish();
        let before = self.used.insert((key.clone(), nonce.to_vec()), hash);
        if before.is_some_and(|before| before != hash) {
            self.reused.push(format!("{key:?} {nonce:?}"));
        }
    }

    fn header(&mut self, name: &str, bytes: &[u8]) {
        let kind = if bytes.starts_with(b"SEAWAYSG") { 1 } else { 2 };
        assert!(
            u32_at(bytes, 8) == 2 && u32_at(bytes, 12) & 2 != 0,
            "{name} is not encrypted"
        );
        let key = (
            kind,
            bytes[77],
            bytes[108..124].to_vec(),
            u64_at(bytes, 32),
            u64_at(bytes, 40),
        );
        self.headers.insert(name.to_owned(), (key, bytes[..128].to_vec()));
    }

    fn written(&mut self, name: &str, bytes: &[u8], offset: u64) {
        let plain_name = name.trim_end_matches(".preparing").trim_end_matches(".writing");
        if offset == 0 && (bytes.starts_with(b"SEAWAYSG") || bytes.starts_with(b"SEAWAYCP")) {
            self.header(plain_name, bytes);
        } else if plain_name.ends_with(".log") && bytes.starts_with(b"SWBT") {
            let (key, _) = self.headers[plain_name].clone();
            let (length, padding) = (u32_at(bytes, 4) as usize, u32_at(bytes, 52) as usize);
            let mut position = u64_at(bytes, 16);
            let mut records = &bytes[64..length - padding];
            while !records.is_empty() {
                let (record, rest) = records.split_at(u32_at(records, 0) as usize);
                assert_eq!(
                    (record[9], record[10], record[11]),
                    (1, 28, 0),
                    "{name}: a plain record"
                );
                let at = 12 + [0, 24, 1, 16, 8, 24][record[8] as usize];
                self.note(&key, &record[at..at + 12], record);
                let mut hasher = DefaultHasher::new();
                record.hash(&mut hasher);
                self.positions
                    .entry(position)
                    .or_default()
                    .push((key.3, hasher.finish()));
                self.records += 1;
                position += 1;
                records = rest;
            }
        } else if plain_name.ends_with(".checkpoint") {
            let (key, header) = self.headers[plain_name].clone();
            self.note(&key, &bytes[12..24], &[header.as_slice(), bytes].concat());
            self.blocks += 1;
        }
    }

    /// Positions that several epochs wrote with different content: what a crash took back and its successor wrote anew.
    pub fn rewritten_positions(&self) -> usize {
        let differs = |writes: &&Vec<(u64, u64)>| {
            writes
                .iter()
                .any(|(epoch, hash)| writes.iter().any(|other| other.0 != *epoch && other.1 != *hash))
        };
        self.positions.values().filter(differs).count()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub struct Recording {
    pub disk: Arc<dyn Disk>,
    pub log: Arc<Mutex<NonceLog>>,
}

struct RecordingFile {
    name: Mutex<String>,
    file: Arc<dyn DiskFile>,
    log: Arc<Mutex<NonceLog>>,
}

impl DiskFile for RecordingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Before it is known whether the write succeeds: what was tried may be on the medium.
        let name = self.name.lock().unwrap();
        self.log.lock().unwrap().written(&name, bytes, offset);
        self.file.write_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
}

impl Recording {
    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(RecordingFile {
            name: Mutex::new(name.to_owned()),
            file,
            log: Arc::clone(&self.log),
        })
    }
}

impl Disk for Recording {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list(folder)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.create(name)?))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(name)?;
        // One that was written before anybody watched: its last batch may be written again.
        let mut header = [0; 128];
        if name.ends_with(".log") && file.read_at(&mut header, 0).is_ok() && u32_at(&header, 12) & 2 != 0 {
            self.log.lock().unwrap().header(name, &header);
        }
        Ok(self.file(name, file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
    fn space_available(&self) -> io::Result<u64> {
        self.disk.space_available()
    }
    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock(name, holder)
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock_existing(name)
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(name)
    }
}
