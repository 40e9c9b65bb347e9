//! The server's public identity: 56 characters of base32 that start with `N` (core specification §1.4).

/// Prefix of a server's public key in the key encoding: it makes the first character an `N`.
const SERVER_PREFIX: u8 = 13 << 3;
const KEY_BYTES: usize = 32;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A fresh identity. It names the process; nothing is ever signed with it.
pub(crate) fn server_id() -> String {
    let mut key = [0; KEY_BYTES];
    for byte in &mut key {
        *byte = fastrand::u8(..);
    }
    encode(&key)
}

fn encode(key: &[u8; KEY_BYTES]) -> String {
    let mut raw = Vec::with_capacity(1 + KEY_BYTES + 2);
    raw.push(SERVER_PREFIX);
    raw.extend_from_slice(key);
    let checksum = checksum(&raw);
    raw.extend_from_slice(&checksum.to_le_bytes());
    base32(&raw)
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
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let mut bits = 0u32;
    let mut held = 0u32;
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(char::from(ALPHABET[(bits << (5 - held)) as usize & 31]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_has_the_shape_of_section_1_4() {
        for _ in 0..100 {
            let id = server_id();
            assert_eq!(id.len(), 56);
            assert!(id.starts_with('N'), "{id}");
            assert!(id.bytes().all(|byte| ALPHABET.contains(&byte)));
        }
        assert_ne!(server_id(), server_id());
    }

    #[test]
    fn known_check_values() {
        assert_eq!(checksum(b"123456789"), 0x31c3);
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
    }
}
