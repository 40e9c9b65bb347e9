//! Keys as text and their signatures (core specification §3.4).
//!
//! A key is base32 of a prefix byte, 32 bytes and a CRC-16. Users sign the nonce of INFO with ed25519; only public keys
//! are known here.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

/// Prefix of a server's public key: it makes the first character an `N`.
const SERVER_PREFIX: u8 = 13 << 3;
/// Prefix of a user's public key: `U`.
const USER_PREFIX: u8 = 20 << 3;
/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a key with prefix and checksum.
const ENCODED_BYTES: usize = 1 + KEY_BYTES + 2;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Random bytes in a nonce.
const NONCE_BYTES: usize = 11;
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The text form of a server's public key.
pub(crate) fn encode_server(key: &[u8; KEY_BYTES]) -> String {
    encode(SERVER_PREFIX, key)
}

fn encode(prefix: u8, key: &[u8; KEY_BYTES]) -> String {
    let mut raw = Vec::with_capacity(ENCODED_BYTES);
    raw.push(prefix);
    raw.extend_from_slice(key);
    let checksum = checksum(&raw);
    raw.extend_from_slice(&checksum.to_le_bytes());
    base32(&raw)
}

/// The key of a user's public key text; `None` when it is anything else, a seed or another kind of key included.
pub(crate) fn decode_user(text: &str) -> Option<[u8; KEY_BYTES]> {
    let raw = from_base32(text)?;
    let (body, found) = raw.split_at_checked(1 + KEY_BYTES)?;
    if found != checksum(body).to_le_bytes() || body[0] != USER_PREFIX {
        return None;
    }
    body[1..].try_into().ok()
}

/// A fresh challenge: 15 characters.
pub(crate) fn nonce() -> String {
    let mut bytes = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    base64_url(&bytes)
}

/// Whether `signature`, in base64, is the key's signature of `nonce`.
pub(crate) fn verifies(key: &[u8; KEY_BYTES], nonce: &str, signature: &str) -> bool {
    let Some(signature) = from_base64(signature) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, key)
        .verify(nonce.as_bytes(), &signature)
        .is_ok()
}

/// CRC-16 with polynomial 0x1021 and initial value 0, as the key encoding asks for.
fn checksum(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    for byte in bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
        }
    }
    crc
}

fn base32(bytes: &[u8]) -> String {
    spell(bytes, ALPHABET, 5)
}

fn base64_url(bytes: &[u8]) -> String {
    spell(bytes, BASE64_URL, 6)
}

/// Writes `bytes` in digits of `width` bits, without padding.
fn spell(bytes: &[u8], alphabet: &[u8], width: u32) -> String {
    let mask = (1 << width) - 1;
    let mut out = String::with_capacity((bytes.len() * 8).div_ceil(width as usize));
    let mut bits = 0u32;
    let mut held = 0u32;
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= width {
            held -= width;
            out.push(char::from(alphabet[((bits >> held) & mask) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(char::from(alphabet[((bits << (width - held)) & mask) as usize]));
    }
    out
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    read_digits(text.bytes(), 5, |byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'2'..=b'7' => Some(byte - b'2' + 26),
        _ => None,
    })
}

/// Reads base64 in either alphabet, padded or not.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    read_digits(text.trim_end_matches('=').bytes(), 6, |byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' | b'+' => Some(62),
        b'_' | b'/' => Some(63),
        _ => None,
    })
}

/// The whole bytes that the digits spell; `None` at a byte that is no digit.
fn read_digits(text: impl Iterator<Item = u8>, width: u32, digit: impl Fn(u8) -> Option<u8>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bits = 0u32;
    let mut held = 0u32;
    for byte in text {
        bits = (bits << width) | u32::from(digit(byte)?);
        held += width;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_check_values() {
        assert_eq!(checksum(b"123456789"), 0x31c3);
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(base64_url(&[0xfb, 0xff, 0xfe]), "-__-");
        assert_eq!(from_base64("-__-"), Some(vec![0xfb, 0xff, 0xfe]));
        assert_eq!(from_base64("+//+"), Some(vec![0xfb, 0xff, 0xfe]));
        assert_eq!(from_base64("Zg=="), Some(b"f".to_vec()));
        assert_eq!(from_base64("Zg ="), None);
    }

    #[test]
    fn nonces_have_the_length_of_section_1_4_and_differ() {
        let (first, second) = (nonce(), nonce());
        assert_eq!((first.len(), second.len()), (15, 15));
        assert_ne!(first, second);
    }

    #[test]
    fn only_public_user_keys_are_user_keys() {
        let text = encode(USER_PREFIX, &[7; KEY_BYTES]);
        assert!(text.len() == 56 && text.starts_with('U'), "{text}");
        assert_eq!(decode_user(&text), Some([7; KEY_BYTES]));
        let mut other = text.clone().into_bytes();
        other[20] = if other[20] == b'A' { b'B' } else { b'A' };
        let broken = String::from_utf8(other).unwrap();
        let account = encode(0, &[7; KEY_BYTES]);
        let lower = text.to_lowercase();
        for bad in [
            "",
            "U",
            &text[..55],
            &broken,
            &account,
            &lower,
            &encode_server(&[7; KEY_BYTES]),
        ] {
            assert_eq!(decode_user(bad), None, "{bad}");
        }
    }

    #[test]
    fn signatures_verify_under_their_own_key_and_nonce_only() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key: [u8; KEY_BYTES] = pair.public_key().as_ref().try_into().unwrap();
        let nonce = nonce();
        let signature = base64_url(pair.sign(nonce.as_bytes()).as_ref());
        assert!(verifies(&key, &nonce, &signature));
        assert!(!verifies(&key, "another nonce 1", &signature));
        assert!(!verifies(&[9; KEY_BYTES], &nonce, &signature));
        assert!(!verifies(&key, &nonce, "") && !verifies(&key, &nonce, "?"));
    }

    proptest! {
        #[test]
        fn both_spellings_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(from_base32(&base32(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(from_base64(&base64_url(&bytes)), Some(bytes));
        }

        #[test]
        fn arbitrary_text_does_no_harm(text in "\\PC*") {
            let _ = decode_user(&text);
            prop_assert!(!verifies(&[1; KEY_BYTES], "nonce", &text));
        }
    }
}
