//! Payloads that were encrypted at rest (specification §5): keys, the envelope, both ciphers.

use std::borrow::Cow;

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

const CODE_AES: u8 = 1;
const CODE_CHACHA: u8 = 2;
const NONCE_BYTES: usize = 12;

/// What an operator gave the server as its encryption key; only its hash is kept.
#[derive(Clone)]
pub struct Key {
    hash: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

/// A payload looks encrypted, and is not with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecryptable;

impl Key {
    /// Of the bytes that the server was given.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { hash: sha256(key) }
    }

    /// What opens the payloads of a channel.
    #[must_use]
    pub fn of_channel(&self, channel: &[u8]) -> Opener {
        // The run of zeros is an accident of the original, and part of its format (§5.3).
        let mut input = Zeroizing::new(vec![0; 32 + 1 + channel.len()]);
        input.extend_from_slice(&*self.hash);
        input.push(b'.');
        input.extend_from_slice(channel);
        Opener { key: sha256(&input) }
    }

    /// What closes the payloads of a channel. `nonce` is random, and `sequence` that of the first of them (§5.4).
    #[must_use]
    pub fn sealer_of_channel(&self, channel: &[u8], cipher: SealCipher, nonce: [u8; 4], sequence: u64) -> Sealer {
        let mut next = [0; 16];
        next[4..8].copy_from_slice(&nonce);
        next[8..].copy_from_slice(&sequence.to_be_bytes());
        Sealer {
            key: self.of_channel(channel).key,
            cipher,
            next: u128::from_be_bytes(next),
            sealed: Vec::new(),
        }
    }

    /// What opens the entries of the Raft log.
    #[must_use]
    pub fn of_raft_log(&self) -> Opener {
        Opener { key: self.hash.clone() }
    }
}

fn sha256(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut hash = Zeroizing::new([0; 32]);
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Whether a payload begins as encrypted ones do.
#[must_use]
pub fn looks_encrypted(stored: &[u8]) -> bool {
    matches!(stored.first(), Some(&(CODE_AES | CODE_CHACHA)))
}

/// Opens what one key has closed.
pub struct Opener {
    key: Zeroizing<[u8; 32]>,
}

impl Opener {
    /// The payload in clear; what does not look encrypted is returned as it is (§5.5).
    ///
    /// # Errors
    /// It looks encrypted and cannot be opened.
    pub fn open<'a>(&self, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, Undecryptable> {
        let algorithm = match stored.first() {
            Some(&CODE_AES) => &AES_256_GCM,
            Some(&CODE_CHACHA) => &CHACHA20_POLY1305,
            _ => return Ok(Cow::Borrowed(stored)),
        };
        let (nonce, sealed) = stored[1..].split_first_chunk::<NONCE_BYTES>().ok_or(Undecryptable)?;
        let key = UnboundKey::new(algorithm, &*self.key).map_err(|_| Undecryptable)?;
        let mut plain = sealed.to_vec();
        let length = LessSafeKey::new(key)
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut plain)
            .map_err(|_| Undecryptable)?
            .len();
        plain.truncate(length);
        Ok(Cow::Owned(plain))
    }
}

/// With what payloads are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum SealCipher {
    Aes256Gcm,
    ChaCha20Poly1305,
}

/// Closes payloads of one channel, each with a nonce of its own.
pub struct Sealer {
    key: Zeroizing<[u8; 32]>,
    cipher: SealCipher,
    /// The next nonce: the lower 96 bits.
    next: u128,
    sealed: Vec<u8>,
}

impl Sealer {
    /// The payload as it is stored; an empty one stays empty (§5.2).
    ///
    /// # Errors
    /// It is too long for the cipher: no message is.
    pub fn seal(&mut self, plain: &[u8]) -> Result<&[u8], Undecryptable> {
        self.sealed.clear();
        if plain.is_empty() {
            return Ok(&self.sealed);
        }
        let (code, algorithm) = match self.cipher {
            SealCipher::Aes256Gcm => (CODE_AES, &AES_256_GCM),
            SealCipher::ChaCha20Poly1305 => (CODE_CHACHA, &CHACHA20_POLY1305),
        };
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&self.next.to_be_bytes()[16 - NONCE_BYTES..]);
        self.next += 1;
        self.sealed.push(code);
        self.sealed.extend_from_slice(&nonce);
        let begin = self.sealed.len();
        self.sealed.extend_from_slice(plain);
        let key = UnboundKey::new(algorithm, &*self.key).map_err(|_| Undecryptable)?;
        let tag = LessSafeKey::new(key)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut self.sealed[begin..],
            )
            .map_err(|_| Undecryptable)?;
        self.sealed.extend_from_slice(tag.as_ref());
        Ok(&self.sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// Specification §5.6.
    #[test]
    fn test_vectors_of_the_specification() {
        let key = Key::new(b"mykey");
        assert_eq!(
            key.hash.to_vec(),
            bytes("5e50f405ace6cbdf17379f4b9f2b0c9f4144c5e380ea0b9298cb02ebd8ffe511")
        );
        let channel = key.of_channel(b"foo");
        assert_eq!(
            channel.key.to_vec(),
            bytes("5e9e7bb8c8fd4571cef7ea6683b1b6fdf883488b242ab5f28433711b775cd6e3")
        );
        let aes = bytes("01a1b2c3d4000000000000000128f241671f3e04ad4cf043595d0ae27764ee4743d2");
        let chacha = bytes("02a1b2c3d40000000000000001cfe9daf961fa5b549f45b23724439458c4f57909e0");
        let raft = bytes("01a1b2c3d400000000000000010becc881e53ff32b86524533a9884f7e5e0bd9ad74");
        for stored in [&aes, &chacha] {
            assert_eq!(channel.open(stored).as_deref(), Ok(&b"hello"[..]));
            assert_eq!(key.of_channel(b"bar").open(stored), Err(Undecryptable));
            assert_eq!(Key::new(b"other").of_channel(b"foo").open(stored), Err(Undecryptable));
            for length in 1..stored.len() {
                assert_eq!(channel.open(&stored[..length]), Err(Undecryptable), "{length}");
            }
        }
        assert_eq!(key.of_raft_log().open(&raft).as_deref(), Ok(&b"hello"[..]));
        assert_eq!(channel.open(&raft), Err(Undecryptable));
    }

    /// Specification §5.6, and §5.4 for the next nonce.
    #[test]
    fn test_vectors_are_made() {
        for (cipher, expected) in [
            (
                SealCipher::Aes256Gcm,
                "01a1b2c3d4000000000000000128f241671f3e04ad4cf043595d0ae27764ee4743d2",
            ),
            (
                SealCipher::ChaCha20Poly1305,
                "02a1b2c3d40000000000000001cfe9daf961fa5b549f45b23724439458c4f57909e0",
            ),
        ] {
            let mut sealer = Key::new(b"mykey").sealer_of_channel(b"foo", cipher, [0xA1, 0xB2, 0xC3, 0xD4], 1);
            assert_eq!(sealer.seal(b""), Ok(&b""[..]));
            assert_eq!(sealer.seal(b"hello"), Ok(&bytes(expected)[..]));
            let next = sealer.seal(b"hello").expect("sealed").to_vec();
            assert_eq!(next[1..13], bytes("a1b2c3d40000000000000002"));
            let opener = Key::new(b"mykey").of_channel(b"foo");
            assert_eq!(opener.open(&next).as_deref(), Ok(&b"hello"[..]));
        }
    }

    /// Specification §5.5.
    #[test]
    fn what_does_not_look_encrypted_is_plain() {
        let channel = Key::new(b"mykey").of_channel(b"foo");
        for plain in [&b""[..], b"hello", b"\x00\x01", b"\x03"] {
            assert!(!looks_encrypted(plain));
            assert_eq!(channel.open(plain).as_deref(), Ok(plain));
        }
        assert!(looks_encrypted(b"\x01") && looks_encrypted(b"\x02abc"));
    }
}
