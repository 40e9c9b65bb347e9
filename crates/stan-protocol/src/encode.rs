//! Encoders that append to a buffer: what a server sends most is written without an intermediate message
//! (specification §2.2, §2.3). Their bytes are those of the generated types.

use crate::wire::{bytes_len, number_len, put_bytes, put_number, put_varint};

/// Appends a message for subscribers without its redelivery fields (specification §2.3 `MsgProto`).
///
/// `timestamp` is in nanoseconds since the Unix epoch. The result is what is stored and sent; [`append_redelivery`]
/// completes a copy that is sent again.
pub fn encode_message(out: &mut Vec<u8>, sequence: u64, subject: &[u8], reply: &[u8], data: &[u8], timestamp: i64) {
    put_number(out, 0x08, sequence);
    put_bytes(out, 0x12, subject);
    put_bytes(out, 0x1a, reply);
    put_bytes(out, 0x22, data);
    put_number(out, 0x28, timestamp as u64);
}

/// Length in bytes of what [`encode_message`] appends; `subject`, `reply` and `data` are lengths.
pub fn message_len(sequence: u64, subject: usize, reply: usize, data: usize, timestamp: i64) -> usize {
    number_len(sequence) + bytes_len(subject) + bytes_len(reply) + bytes_len(data) + number_len(timestamp as u64)
}

/// Appends the redelivery fields to an encoded message (specification §2.3, vectors §2.15).
///
/// `count` is 1 for the first time that the message is sent again.
pub fn append_redelivery(out: &mut Vec<u8>, count: u32) {
    out.extend_from_slice(&[0x30, 0x01]);
    if count != 0 {
        out.push(0x38);
        put_varint(out, u64::from(count));
    }
}

/// Appends the outcome of a publish (specification §2.3 `PubAck`); no error means success.
pub fn encode_pub_ack(out: &mut Vec<u8>, guid: &[u8], error: Option<&str>) {
    put_bytes(out, 0x0a, guid);
    put_bytes(out, 0x12, error.unwrap_or_default().as_bytes());
}
