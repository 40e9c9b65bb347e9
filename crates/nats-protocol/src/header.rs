//! Header blocks that the server itself produces (core specification §2.4, §2.5).

/// First line of every header block, without status.
pub const VERSION_LINE: &[u8] = b"NATS/1.0";

/// Appends the block that tells a requester that nobody listens on `subject` and returns its length, which is
/// 32 bytes plus the subject (core specification §2.5).
pub fn write_no_responders(out: &mut Vec<u8>, subject: &[u8]) -> usize {
    let start = out.len();
    out.extend_from_slice(VERSION_LINE);
    out.extend_from_slice(b" 503\r\nNats-Subject: ");
    out.extend_from_slice(subject);
    out.extend_from_slice(b"\r\n\r\n");
    out.len() - start
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_responders_block_of_section_2_5() {
        let mut out = Vec::new();
        let length = super::write_no_responders(&mut out, b"help");
        assert_eq!(out, b"NATS/1.0 503\r\nNats-Subject: help\r\n\r\n");
        assert_eq!(length, 32 + 4);
        assert_eq!(length, out.len());
    }
}
