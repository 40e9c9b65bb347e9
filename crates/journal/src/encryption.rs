//! Encryption at rest (docs/journal-format.md §11): keys, nonces, and the one place that calls the cipher. Does not know what it
//! encrypts.

use crate::disk::DiskFile;
use crate::format::{Identity, SegmentHeader, SegmentId, u32_at};
use crate::limits::{CIPHERS_KEPT, KEY_DERIVATION_ITERATIONS, KEY_DERIVATION_ITERATIONS_MAX, SEGMENT_HEADER_BYTES};
use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, pbkdf2, rand};
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Bytes of an encryption header.
pub(crate) const ENCRYPTION_HEADER_BYTES: usize = 48;
pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const CHECK_BYTES: usize = 8;
const DERIVATION: u8 = 1;

/// What records are encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM: fast where the processor helps.
    Aes256Gcm,
    /// ChaCha20-Poly1305: fast everywhere.
    ChaCha20Poly1305,
}

impl Cipher {
    fn code(self) -> u8 {
        match self {
            Cipher::Aes256Gcm => 1,
            Cipher::ChaCha20Poly1305 => 2,
        }
    }
}

/// How a journal is encrypted. What it shows of itself contains no secret.
#[derive(Clone)]
pub struct Encryption {
    pub(crate) cipher: Cipher,
    key: Zeroizing<Vec<u8>>,
    /// Used when the journal is not encrypted yet.
    journal_salt: [u8; SALT_BYTES],
    start_salt: [u8; SALT_BYTES],
    iterations: u32,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Encryption")
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    /// For one start: takes fresh salts from the operating system. `key` is what the user chose, of any length above zero.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn new(cipher: Cipher, key: Vec<u8>) -> io::Result<Encryption> {
        let mut salts = [[0; SALT_BYTES]; 2];
        for salt in &mut salts {
            rand::fill(salt).map_err(|_| io::Error::other("no random bytes for the encryption"))?;
        }
        let [journal_salt, start_salt] = salts;
        Ok(Encryption {
            cipher,
            key: Zeroizing::new(key),
            journal_salt,
            start_salt,
            iterations: KEY_DERIVATION_ITERATIONS,
        })
    }

    /// With the same salts at every start and a key that is quick to guess: for simulations and golden files. Nonces do not
    /// rest on the salts.
    #[cfg(feature = "simulated")]
    pub fn deterministic(cipher: Cipher, key: &[u8]) -> Encryption {
        Encryption {
            cipher,
            key: Zeroizing::new(key.to_vec()),
            journal_salt: *b"a journal's salt",
            start_salt: *b"same every start",
            iterations: 1,
        }
    }

    /// What a start writes into its files: with the salt of the journal that is there, if it is encrypted.
    pub(crate) fn keys(&self, existing: Option<&EncryptionHeader>, identity: &Identity) -> Result<Keys, KeyError> {
        let (journal_salt, iterations) = match existing {
            Some(existing) => (existing.journal_salt, existing.iterations),
            None => (self.journal_salt, self.iterations),
        };
        let master = derive_master(&self.key, &journal_salt, iterations);
        let header = EncryptionHeader {
            cipher: self.cipher,
            iterations,
            journal_salt,
            check: key_check(&master, identity),
            start_salt: self.start_salt,
        };
        if existing.is_some_and(|existing| existing.check != header.check) {
            return Err(KeyError);
        }
        Ok(Keys {
            header,
            master,
            identity: *identity,
            known: Mutex::default(),
        })
    }
}

/// The key is not the one that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyError;

fn derive_master(key: &[u8], journal_salt: &[u8], iterations: u32) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut master = Zeroizing::new([0; KEY_BYTES]);
    let salt = [b"seaway journal".as_slice(), journal_salt].concat();
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, key, master.as_mut());
    master
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(master: &[u8; KEY_BYTES], info: &[&[u8]], out: &mut [u8]) {
    let key = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, master);
    let expanded = key.expand(info, Length(out.len()));
    expanded
        .and_then(|bytes| bytes.fill(out))
        .expect("HKDF gives 32 bytes of any key");
}

fn key_check(master: &[u8; KEY_BYTES], identity: &Identity) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    expand(master, &[b"check", identity], &mut check);
    check
}

/// What an encrypted file says of its encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EncryptionHeader {
    pub(crate) cipher: Cipher,
    iterations: u32,
    journal_salt: [u8; SALT_BYTES],
    check: [u8; CHECK_BYTES],
    start_salt: [u8; SALT_BYTES],
}

impl EncryptionHeader {
    pub(crate) fn encode(&self, into: &mut [u8]) {
        into[0..4].copy_from_slice(&[DERIVATION, self.cipher.code(), 0, 0]);
        into[4..8].copy_from_slice(&self.iterations.to_le_bytes());
        into[8..24].copy_from_slice(&self.journal_salt);
        into[24..32].copy_from_slice(&self.check);
        into[32..48].copy_from_slice(&self.start_salt);
    }

    /// Reads one; its checksum was checked with its file's header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<EncryptionHeader, String> {
        let newer = |what: &str| format!("the file is encrypted with {what} that this program does not know");
        if bytes[0] != DERIVATION {
            return Err(newer("a derivation of keys"));
        }
        let cipher = match bytes[1] {
            1 => Cipher::Aes256Gcm,
            2 => Cipher::ChaCha20Poly1305,
            _ => return Err(newer("a cipher")),
        };
        if bytes[2..4] != [0, 0] {
            return Err(newer("another key, in a way"));
        }
        let iterations = u32_at(bytes, 4);
        if iterations == 0 || iterations > KEY_DERIVATION_ITERATIONS_MAX {
            return Err(format!(
                "the file's key is derived in {iterations} iterations, which is impossible"
            ));
        }
        let salt = |at: usize| bytes[at..at + SALT_BYTES].try_into().expect("a slice of sixteen bytes");
        Ok(EncryptionHeader {
            cipher,
            iterations,
            journal_salt: salt(8),
            check: bytes[24..32].try_into().expect("a slice of eight bytes"),
            start_salt: salt(32),
        })
    }
}

/// The keys of an open journal. Shared with jobs.
pub(crate) struct Keys {
    /// What this start writes into its files.
    pub(crate) header: EncryptionHeader,
    master: Zeroizing<[u8; KEY_BYTES]>,
    identity: Identity,
    /// Of the segments read last; `None` for those that are not encrypted.
    known: Mutex<VecDeque<(SegmentId, Option<Arc<FileCipher>>)>>,
}

impl Keys {
    /// The cipher of a segment that this start writes.
    pub(crate) fn own_segment(&self, id: SegmentId) -> FileCipher {
        self.file_cipher(&self.header, b"segment", id.epoch, id.number)
    }

    /// The cipher of a checkpoint that this start writes.
    pub(crate) fn own_checkpoint(&self, epoch: u64, begin: u64) -> FileCipher {
        self.file_cipher(&self.header, b"checkpoint", epoch, begin)
    }

    /// The cipher of a file with this header, if its key is known.
    pub(crate) fn of_segment(&self, header: &EncryptionHeader, id: SegmentId) -> Result<FileCipher, String> {
        self.check(header)?;
        Ok(self.file_cipher(header, b"segment", id.epoch, id.number))
    }

    pub(crate) fn of_checkpoint(
        &self,
        header: &EncryptionHeader,
        epoch: u64,
        begin: u64,
    ) -> Result<FileCipher, String> {
        self.check(header)?;
        Ok(self.file_cipher(header, b"checkpoint", epoch, begin))
    }

    fn check(&self, header: &EncryptionHeader) -> Result<(), String> {
        let ours = &self.header;
        let same =
            (header.journal_salt, header.iterations, header.check) == (ours.journal_salt, ours.iterations, ours.check);
        if same {
            Ok(())
        } else {
            Err("the file is encrypted with another key than its journal".to_owned())
        }
    }

    fn file_cipher(&self, header: &EncryptionHeader, label: &[u8], epoch: u64, number: u64) -> FileCipher {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let (epoch_bytes, number_bytes) = (epoch.to_le_bytes(), number.to_le_bytes());
        let info: [&[u8]; 6] = [
            label,
            &[header.cipher.code()],
            &self.identity,
            &header.start_salt,
            &epoch_bytes,
            &number_bytes,
        ];
        expand(&self.master, &info, key.as_mut());
        let algorithm = match header.cipher {
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).expect("both ciphers have keys of 32 bytes");
        FileCipher {
            key: LessSafeKey::new(key),
            epoch: epoch as u32,
        }
    }

    /// The cipher of the segment in `file`; `None` when it is not encrypted. Reads its header unless it was read lately.
    pub(crate) fn read_segment(&self, file: &dyn DiskFile, id: SegmentId) -> io::Result<Option<Arc<FileCipher>>> {
        if let Some((_, cipher)) = self.known().iter().find(|(known, _)| *known == id) {
            return Ok(cipher.clone());
        }
        let mut bytes = [0; crate::format::FILE_HEADER_BYTES];
        file.read_at(&mut bytes, 0)?;
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let header = SegmentHeader::decode(&bytes).map_err(invalid)?;
        if header.id != id || header.identity != self.identity {
            return Err(invalid(
                "the segment's header does not fit its name or this journal".to_owned(),
            ));
        }
        let cipher = match &header.encryption {
            Some(encryption) => Some(Arc::new(self.of_segment(encryption, id).map_err(invalid)?)),
            None => None,
        };
        let mut known = self.known();
        known.push_back((id, cipher.clone()));
        if known.len() > CIPHERS_KEPT {
            known.pop_front();
        }
        Ok(cipher)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, VecDeque<(SegmentId, Option<Arc<FileCipher>>)>> {
        // A thread that panicked while it held the lock cannot have left the list half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const _: () = assert!(crate::format::FILE_HEADER_BYTES < SEGMENT_HEADER_BYTES as usize);

/// Encrypts and decrypts what is in one file.
pub(crate) struct FileCipher {
    key: LessSafeKey,
    /// Low bits of the file's epoch, with which its nonces begin.
    epoch: u32,
}

/// Under a tag that does not match: altered, or encrypted with something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

impl FileCipher {
    /// The nonce of this file for a value that is used once.
    pub(crate) fn nonce(&self, once: u64) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[0..4].copy_from_slice(&self.epoch.to_le_bytes());
        nonce[4..12].copy_from_slice(&once.to_le_bytes());
        nonce
    }

    /// Encrypts in place; returns the tag.
    pub(crate) fn encrypt(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(associated), bytes)
            .expect("records are far below the ciphers' bound of 64 GB");
        tag.as_ref()
            .try_into()
            .expect("both ciphers have tags of sixteen bytes")
    }

    /// Appends the plaintext of `ciphertext` to `out`.
    pub(crate) fn decrypt(
        &self,
        nonce: [u8; NONCE_BYTES],
        tag: &[u8; TAG_BYTES],
        associated: &[u8],
        ciphertext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NotAuthentic> {
        if nonce[0..4] != self.epoch.to_le_bytes() {
            return Err(NotAuthentic);
        }
        let start = out.len();
        out.resize(start + ciphertext.len(), 0);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self
            .key
            .open_separate_gather(nonce, Aad::from(associated), ciphertext, tag, &mut out[start..]);
        opened.map_err(|_| {
            out.truncate(start);
            NotAuthentic
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = [3; 16];

    fn keys(cipher: Cipher, key: &[u8]) -> Keys {
        Encryption::deterministic(cipher, key)
            .keys(None, &IDENTITY)
            .expect("a journal without a key takes any")
    }

    #[test]
    fn only_the_same_key_fits() {
        let encryption = |key: &[u8]| Encryption::new(Cipher::Aes256Gcm, key.to_vec()).expect("random bytes");
        let first = encryption(b"one").keys(None, &IDENTITY).expect("a new journal").header;
        let again = encryption(b"one").keys(Some(&first), &IDENTITY).expect("the same key");
        assert_eq!(
            (again.header.journal_salt, again.header.check),
            (first.journal_salt, first.check)
        );
        assert_ne!(again.header.start_salt, first.start_salt);
        assert!(encryption(b"two").keys(Some(&first), &IDENTITY).is_err());
        assert!(encryption(b"").keys(Some(&first), &IDENTITY).is_err());
        // The same key in two journals looks different.
        let other = encryption(b"one").keys(None, &IDENTITY).expect("a new journal").header;
        assert_ne!((other.journal_salt, other.check), (first.journal_salt, first.check));
    }

    #[test]
    fn headers_round_trip_and_unknown_ones_are_refused() {
        let header = keys(Cipher::ChaCha20Poly1305, b"k").header;
        let mut bytes = [0; ENCRYPTION_HEADER_BYTES];
        header.encode(&mut bytes);
        assert_eq!(EncryptionHeader::decode(&bytes), Ok(header));
        for (at, value) in [(0, 2), (1, 3), (1, 0), (2, 1), (3, 1), (7, 0xff), (4, 0)] {
            let mut other = bytes;
            other[at] = value;
            assert!(EncryptionHeader::decode(&other).is_err(), "byte {at} = {value}");
        }
    }

    /// Each input of a file's key makes it another one: what one file's cipher wrote, no other reads.
    #[test]
    fn every_file_has_its_own_key() {
        let ours = keys(Cipher::Aes256Gcm, b"k");
        let id = SegmentId { number: 5, epoch: 9 };
        let writer = ours.own_segment(id);
        let mut bytes = *b"secret";
        let tag = writer.encrypt(writer.nonce(7), b"about", &mut bytes);
        assert_ne!(&bytes, b"secret");
        let read = |cipher: &FileCipher, associated: &[u8], bytes: &[u8]| {
            let mut out = b"kept".to_vec();
            let mut nonce = writer.nonce(7);
            nonce[0..4].copy_from_slice(&cipher.epoch.to_le_bytes());
            let read = cipher.decrypt(nonce, &tag, associated, bytes, &mut out);
            (read.is_ok(), out)
        };
        assert_eq!(read(&writer, b"about", &bytes), (true, b"keptsecret".to_vec()));
        assert_eq!(read(&writer, b"abouT", &bytes), (false, b"kept".to_vec()));
        let mut header = ours.header;
        header.start_salt[3] ^= 1;
        let mut chacha = ours.header;
        chacha.cipher = Cipher::ChaCha20Poly1305;
        let others = [
            ours.own_segment(SegmentId { number: 6, ..id }),
            ours.own_segment(SegmentId { epoch: 10, ..id }),
            ours.own_checkpoint(9, 5),
            keys(Cipher::Aes256Gcm, b"K").own_segment(id),
            ours.of_segment(&header, id).expect("the same journal"),
            ours.of_segment(&chacha, id).expect("the same journal"),
        ];
        for (index, other) in others.iter().enumerate() {
            assert!(!read(other, b"about", &bytes).0, "{index}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!read(&writer, b"about", &flipped).0, "bit {bit}");
        }
    }

    /// The derivation is as documented: computed here step by step with plain HMAC.
    #[test]
    fn keys_are_derived_as_documented() {
        use aws_lc_rs::hmac;
        let mac = |key: &[u8], text: &[u8]| -> Vec<u8> {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&key, text).as_ref().to_vec()
        };
        let ours = keys(Cipher::Aes256Gcm, b"mykey");
        // One iteration of PBKDF2 is one HMAC over salt and block number.
        let master = mac(b"mykey", b"seaway journala journal's salt\x00\x00\x00\x01");
        assert_eq!(ours.master.as_slice(), master);
        let check = mac(&master, &[b"check".as_slice(), &IDENTITY, &[1]].concat());
        assert_eq!(ours.header.check, check[..8]);
        let mut info = b"segment\x01".to_vec();
        info.extend_from_slice(&IDENTITY);
        info.extend_from_slice(b"same every start");
        info.extend_from_slice(&9u64.to_le_bytes());
        info.extend_from_slice(&5u64.to_le_bytes());
        info.push(1);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &mac(&master, &info)).expect("32 bytes"));
        let writer = ours.own_segment(SegmentId { number: 5, epoch: 9 });
        let (mut bytes, mut expected) = (*b"body", b"body".to_vec());
        let tag = writer.encrypt(writer.nonce(1), b"aad", &mut bytes);
        let nonce = Nonce::assume_unique_for_key([9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let expected_tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(b"aad"), &mut expected)
            .expect("it encrypts");
        assert_eq!((&bytes[..], &tag[..]), (&expected[..], expected_tag.as_ref()));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let encryption = Encryption::deterministic(Cipher::Aes256Gcm, b"hunter2");
        let shown = format!("{encryption:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
}
