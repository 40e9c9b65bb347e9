//! Encoders that append to a buffer: what a server sends most is written without an intermediate message
//! (specification §2.2, §2.3). Their bytes are those of the generated types.

use crate::wire::{ShortFields, bytes_len, number_len, put_bytes, put_number};

/// Appends a message for subscribers without its redelivery fields (specification §2.3 `MsgProto`).
///
/// `timestamp` is in nanoseconds since the Unix epoch. The result is what is stored and sent; [`redelivery_fields`]
/// complete a copy that is sent again.
pub fn encode_message(out: &mut Vec<u8>, sequence: u64, subject: &[u8], reply: &[u8], data: &[u8], timestamp: i64) {
    encode_message_front(out, sequence, subject, reply, data.len());
    out.extend_from_slice(data);
    encode_message_end(out, timestamp);
}

/// Appends what [`encode_message`] does before `data`, of which only the length is known.
pub fn encode_message_front(out: &mut Vec<u8>, sequence: u64, subject: &[u8], reply: &[u8], data_len: usize) {
    let mut fields = ShortFields::default();
    fields.put_number(0x08, sequence);
    fields.put_number(0x12, subject.len() as u64);
    out.extend_from_slice(fields.bytes());
    out.extend_from_slice(subject);
    put_bytes(out, 0x1a, reply);
    put_number(out, 0x22, data_len as u64);
}

/// Appends what [`encode_message`] does after `data`.
pub fn encode_message_end(out: &mut Vec<u8>, timestamp: i64) {
    put_number(out, 0x28, timestamp as u64);
}

/// Length in bytes of what [`encode_message`] appends; `subject`, `reply` and `data` are lengths.
pub fn message_len(sequence: u64, subject: usize, reply: usize, data: usize, timestamp: i64) -> usize {
    number_len(sequence) + bytes_len(subject) + bytes_len(reply) + bytes_len(data) + number_len(timestamp as u64)
}

/// Bytes of the redelivery fields at most.
pub const REDELIVERY_LEN_MAX: usize = 8;

/// The redelivery fields, to follow an encoded message that is sent again (specification §2.3, vectors §2.15).
///
/// `count` is 1 for the first time that the message is sent again; with 0 there are none.
pub fn redelivery_fields(count: u32, buffer: &mut [u8; REDELIVERY_LEN_MAX]) -> &[u8] {
    if count == 0 {
        return &[];
    }
    buffer[..3].copy_from_slice(&[0x30, 0x01, 0x38]);
    let (mut len, mut rest) = (3, count);
    while rest >= 0x80 {
        buffer[len] = rest as u8 | 0x80;
        rest >>= 7;
        len += 1;
    }
    buffer[len] = rest as u8;
    &buffer[..=len]
}

/// Appends the outcome of a publish (specification §2.3 `PubAck`); no error means success.
pub fn encode_pub_ack(out: &mut Vec<u8>, guid: &[u8], error: Option<&str>) {
    put_bytes(out, 0x0a, guid);
    put_bytes(out, 0x12, error.unwrap_or_default().as_bytes());
}
