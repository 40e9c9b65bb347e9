//! Channel lists of servers in partitioning mode (specification §10): how they are written, split and read.

use prost::Message;

use crate::control::{CtrlMsg, ctrl_msg};
use crate::quote::quote;

/// Partitioning was asked for and no channel is listed (§3).
pub const NO_CONFIGURED_CHANNEL: &str = "stan: no configured channel";

/// Not even one name fits into a message (§10).
pub const PAYLOAD_TOO_SMALL: &str = "message payload too small to send channels list";

/// What a server says when another one serves a channel of its list (§3).
pub fn partition_conflict(channel: &[u8], server_id: &[u8]) -> String {
    format!(
        "channel {} causes conflict with channels on server {}",
        quote(channel),
        quote(server_id)
    )
}

/// Bytes before each entry of a list.
const LENGTH_BYTES: usize = 2;

/// The messages that tell `entries`, as few as fit into `max_payload` bytes each; none without entries.
///
/// # Errors
/// [`PAYLOAD_TOO_SMALL`] when an entry does not fit into a message of its own, or is longer than its length can say.
pub fn encode_channel_lists(server_id: &[u8], entries: &[&[u8]], max_payload: usize) -> Result<Vec<Vec<u8>>, String> {
    let mut messages = Vec::new();
    let mut list: Vec<u8> = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| PAYLOAD_TOO_SMALL.to_owned())?;
        if !list.is_empty() && message_len(server_id, list.len() + LENGTH_BYTES + entry.len()) > max_payload {
            messages.push(encode_partitioning(server_id, &list));
            list.clear();
        }
        if message_len(server_id, LENGTH_BYTES + entry.len()) > max_payload {
            return Err(PAYLOAD_TOO_SMALL.to_owned());
        }
        list.extend_from_slice(&length.to_le_bytes());
        list.extend_from_slice(entry);
    }
    if !list.is_empty() {
        messages.push(encode_partitioning(server_id, &list));
    }
    Ok(messages)
}

/// A message about partitions: a list, or the answer to one.
pub fn encode_partitioning(server_id: &[u8], data: &[u8]) -> Vec<u8> {
    CtrlMsg {
        msg_type: ctrl_msg::Type::Partitioning.into(),
        server_id: server_id.to_vec().into(),
        data: data.to_vec().into(),
        ..CtrlMsg::default()
    }
    .encode_to_vec()
}

/// Length of [`encode_partitioning`] for `data` bytes of data.
fn message_len(server_id: &[u8], data: usize) -> usize {
    let field = |length: usize| 1 + prost::length_delimiter_len(length) + length;
    // The type is one byte behind its tag.
    2 + field(server_id.len()) + field(data)
}

/// A message about partitions; `None` for anything else.
pub fn decode_partitioning(message: &[u8]) -> Option<CtrlMsg> {
    CtrlMsg::decode(message)
        .ok()
        .filter(|message| message.msg_type() == ctrl_msg::Type::Partitioning)
}

/// The entries of a list; `None` when it is empty or cut off.
pub fn decode_channel_list(mut data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<LENGTH_BYTES>() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        entries.push(entry);
        data = rest;
    }
    (data.is_empty() && !entries.is_empty()).then_some(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// §2.15.
    #[test]
    fn the_vector_of_section_2_15() {
        let messages = encode_channel_lists(b"S1", &[b"foo"], 1 << 20).expect("it fits");
        assert_eq!(messages, [b"\x08\x04\x12\x02S1\x1a\x05\x03\x00foo"]);
        let message = decode_partitioning(&messages[0]).expect("it is one");
        assert_eq!(&message.server_id[..], b"S1");
        assert_eq!(decode_channel_list(&message.data), Some(vec![&b"foo"[..]]));
    }

    /// §13.10 PartitionsInvalidRequest.
    #[test]
    fn what_is_no_list_is_not_read() {
        assert_eq!(decode_partitioning(b"garbage"), None);
        assert_eq!(decode_partitioning(b"\x08\x03\x12\x02S1"), None, "another type");
        for data in [&b""[..], b"\x03", b"\x03\x00fo", b"\x03\x00foo\x01"] {
            assert_eq!(decode_channel_list(data), None, "{data:?}");
        }
    }

    /// §13.10 PartitionsMaxPayload: 54 bytes do not fit into 50.
    #[test]
    fn a_name_that_fits_nowhere_is_told() {
        let name = [b'x'; 54];
        let error = encode_channel_lists(&[b's'; 22], &[&name], 50).expect_err("too long");
        assert_eq!(error, "message payload too small to send channels list");
        assert!(encode_channel_lists(b"s", &[&[b'x'; 70_000]], 1 << 20).is_err());
    }

    #[test]
    fn a_conflict_names_channel_and_server() {
        assert_eq!(
            partition_conflict(b"foo.*", b"S1"),
            "channel \"foo.*\" causes conflict with channels on server \"S1\""
        );
    }

    proptest! {
        /// §13.10 PartitionsMaxPayload: a list that is split arrives complete, and no message is too long.
        #[test]
        fn lists_are_split_and_complete(
            entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 0..150),
            max_payload in 95usize..400,
        ) {
            let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            let messages = encode_channel_lists(&[b's'; 22], &slices, max_payload).expect("every entry fits");
            let mut read: Vec<Vec<u8>> = Vec::new();
            for message in &messages {
                prop_assert!(message.len() <= max_payload);
                let message = decode_partitioning(message).expect("it is one");
                read.extend(decode_channel_list(&message.data).expect("a list").iter().map(|entry| entry.to_vec()));
            }
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn no_input_panics(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_channel_list(&data);
            let _ = decode_partitioning(&data);
        }
    }
}
