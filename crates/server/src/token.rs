//! Names that nobody else has, and secrets that nobody else knows.

use std::hash::{BuildHasher, RandomState};

/// 22 random base-62 characters.
pub(crate) fn token() -> String {
    (0..22).map(|_| fastrand::alphanumeric()).collect()
}

/// 128 bits that nobody can guess, whatever else of this process they have seen: hashes under a key of the operating system's.
pub(crate) fn secret() -> [u8; 16] {
    let key = RandomState::new();
    let halves = [key.hash_one(0_u8), key.hash_one(1_u8)];
    let mut secret = [0; 16];
    for (part, half) in secret.chunks_mut(8).zip(halves) {
        part.copy_from_slice(&half.to_ne_bytes());
    }
    secret
}
