//! The server's public identity: 56 characters of base32 that start with `N` (core specification §1.4).

use crate::access::nkey::{KEY_BYTES, encode_server};

/// A fresh identity. It names the process; nothing is ever signed with it.
pub(crate) fn server_id() -> String {
    let mut key = [0; KEY_BYTES];
    for byte in &mut key {
        *byte = fastrand::u8(..);
    }
    encode_server(&key)
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
            let is_base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
            assert!(id.bytes().all(is_base32));
        }
        assert_ne!(server_id(), server_id());
    }
}
