//! The hand-written codecs against the generated types, and the vectors of the specification.

#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::*;
use seaway_stan_protocol::control::{CtrlMsg, ctrl_msg};
use seaway_stan_protocol::messages::{
    Ack, CloseResponse, ConnectRequest, MsgProto, PingResponse, PubAck, PubMsg, StartPosition, SubscriptionRequest,
    SubscriptionResponse,
};
use seaway_stan_protocol::{
    AckView, Invalid, InvalidPublish, Message, MessageView, PubMsgView, REDELIVERY_LEN_MAX, encode_message,
    encode_pub_ack, errors, is_control_message, message_len, redelivery_fields,
};

fn hex(text: &str) -> Vec<u8> {
    text.split(' ')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[track_caller]
fn check_vector<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, expected: &str) {
    assert_eq!(message.encode_to_vec(), hex(expected));
    assert_eq!(&M::decode(&*hex(expected)).unwrap(), message);
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn vectors_of_requests_in_section_2_15() {
    check_vector(
        &ConnectRequest {
            client_id: bytes("me"),
            heartbeat_inbox: bytes("_INBOX.hb"),
            protocol: 1,
            conn_id: bytes("c1"),
            ping_interval: 5,
            ping_max_out: 88,
        },
        "0a 02 6d 65 12 09 5f 49 4e 42 4f 58 2e 68 62 18 01 22 02 63 31 28 05 30 58",
    );
    check_vector(
        &ConnectRequest {
            ping_interval: -50,
            ..ConnectRequest::default()
        },
        "28 ce ff ff ff ff ff ff ff ff 01",
    );
    check_vector(
        &SubscriptionRequest {
            client_id: bytes("me"),
            subject: bytes("foo"),
            inbox: bytes("_INBOX.s"),
            max_in_flight: 1024,
            ack_wait_in_secs: 30,
            durable_name: bytes("dur"),
            start_position: StartPosition::First.into(),
            ..SubscriptionRequest::default()
        },
        "0a 02 6d 65 12 03 66 6f 6f 22 08 5f 49 4e 42 4f 58 2e 73 28 80 08 30 1e 3a 03 64 75 72 50 04",
    );
    check_vector(
        &SubscriptionResponse {
            error: bytes(errors::UNKNOWN_CLIENT_ID),
            ..SubscriptionResponse::default()
        },
        "1a 16 73 74 61 6e 3a 20 75 6e 6b 6e 6f 77 6e 20 63 6c 69 65 6e 74 49 44",
    );
    let partitioning = "08 04 12 02 53 31 1a 05 03 00 66 6f 6f";
    check_vector(
        &CtrlMsg {
            msg_type: ctrl_msg::Type::Partitioning.into(),
            server_id: bytes("S1"),
            data: bytes("\x03\x00foo"),
            ..CtrlMsg::default()
        },
        partitioning,
    );
    assert!(is_control_message(&hex(partitioning)));
    assert!(!is_control_message(b"not a message"));
    assert!(PingResponse::default().encode_to_vec().is_empty());
    assert!(CloseResponse::default().encode_to_vec().is_empty());
    assert!(SubscriptionResponse::default().encode_to_vec().is_empty());
}

#[test]
fn vectors_of_frequent_messages_in_section_2_15() {
    let publish = hex("0a 02 6d 65 12 02 67 31 1a 03 66 6f 6f 2a 02 68 69 32 02 63 31");
    let view = PubMsgView {
        client_id: b"me",
        guid: b"g1",
        subject: b"foo",
        reply: b"",
        data: b"hi",
        conn_id: b"c1",
    };
    assert_eq!(PubMsgView::decode(&publish), Ok(view));

    let mut out = Vec::new();
    encode_pub_ack(&mut out, b"g1", None);
    assert_eq!(out, hex("0a 02 67 31"));

    let mut message = hex("08 01 12 03 66 6f 6f 22 02 68 69 28 80 80 a8 b1 e3 9f e7 cb 17");
    out.clear();
    encode_message(&mut out, 1, b"foo", b"", b"hi", 1_700_000_000_000_000_000);
    assert_eq!(out, message);
    out.extend_from_slice(redelivery_fields(1, &mut [0; REDELIVERY_LEN_MAX]));
    message.extend(hex("30 01 38 01"));
    assert_eq!(out, message);

    let ack = hex("0a 03 66 6f 6f 10 01");
    assert_eq!(
        AckView::decode(&ack),
        Ok(AckView {
            subject: b"foo",
            sequence: 1
        })
    );
}

/// A wrong wire type on a known field is invalid, whatever the field (§2.2).
#[test]
fn wrong_wire_types_are_invalid() {
    for number in [1u8, 2, 3, 4, 5, 6, 10] {
        assert_eq!(
            PubMsgView::decode(&[number << 3, 1]),
            Err(InvalidPublish { guid: b"" }),
            "{number}"
        );
    }
    assert_eq!(AckView::decode(&[0x08, 1]), Err(Invalid));
    assert_eq!(AckView::decode(&[0x12, 0]), Err(Invalid));
    for number in [1u8, 5, 6, 7, 10] {
        assert_eq!(MessageView::decode(&[number << 3 | 2, 0]), Err(Invalid), "{number}");
    }
}

/// The last occurrence of a field wins and unknown fields are skipped (§2.2).
#[test]
fn last_wins_and_unknown_fields_are_skipped() {
    let message = hex("12 01 61 78 05 8b 01 08 01 8c 01 12 01 62");
    assert_eq!(PubMsgView::decode(&message).unwrap().guid, b"b");
}

/// An invalid publish still tells the GUID that was decoded before the error (§2.8).
#[test]
fn invalid_publish_tells_the_guid_seen_so_far() {
    assert_eq!(
        PubMsgView::decode(&hex("12 02 67 31 1a 09 66")),
        Err(InvalidPublish { guid: b"g1" })
    );
    assert_eq!(
        PubMsgView::decode(&hex("1a 09 66 12 02 67 31")),
        Err(InvalidPublish { guid: b"" })
    );
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => prop::collection::vec(any::<u8>(), 0..20), 1 => prop::collection::vec(any::<u8>(), 120..300)]
}

/// Messages that are almost valid: a few fields of any number and wire type, cut somewhere.
fn almost_message() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(0u32), 1..12u32, Just(100), Just(1 << 28), Just((1 << 29) - 1)];
    let field = (
        number,
        0u8..8,
        any::<u64>(),
        0u8..64,
        prop::collection::vec(any::<u8>(), 0..6),
    )
        .prop_map(|(number, wire_type, value, shift, payload)| {
            let mut out = Vec::new();
            put_varint(&mut out, u64::from(number) << 3 | u64::from(wire_type));
            match wire_type {
                0 => put_varint(&mut out, value >> shift),
                1 => out.extend(value.to_le_bytes()),
                2 => {
                    put_varint(&mut out, payload.len() as u64);
                    out.extend(payload);
                }
                5 => out.extend((value as u32).to_le_bytes()),
                _ => {}
            }
            out
        });
    (prop::collection::vec(field, 0..6), 0usize..3).prop_map(|(fields, cut)| {
        let mut message = fields.concat();
        message.truncate(message.len().saturating_sub(cut));
        message
    })
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn check_same_as_generated(message: &[u8]) {
    let generated = PubMsg::decode(message);
    match PubMsgView::decode(message) {
        Ok(view) => {
            let expected = generated.unwrap();
            assert_eq!(view.client_id, &expected.client_id[..]);
            assert_eq!(view.guid, &expected.guid[..]);
            assert_eq!(view.subject, &expected.subject[..]);
            assert_eq!(view.reply, &expected.reply[..]);
            assert_eq!(view.data, &expected.data[..]);
            assert_eq!(view.conn_id, &expected.conn_id[..]);
        }
        Err(_) => assert!(generated.is_err()),
    }
    let generated = Ack::decode(message);
    match AckView::decode(message) {
        Ok(view) => {
            let expected = generated.unwrap();
            assert_eq!(view.subject, &expected.subject[..]);
            assert_eq!(view.sequence, expected.sequence);
        }
        Err(Invalid) => assert!(generated.is_err()),
    }
    let generated = MsgProto::decode(message);
    match MessageView::decode(message) {
        Ok(view) => assert_eq!(to_generated(&view), generated.unwrap()),
        Err(Invalid) => assert!(generated.is_err()),
    }
}

fn to_generated(view: &MessageView<'_>) -> MsgProto {
    MsgProto {
        sequence: view.sequence,
        subject: Bytes::copy_from_slice(view.subject),
        reply: Bytes::copy_from_slice(view.reply),
        data: Bytes::copy_from_slice(view.data),
        timestamp: view.timestamp,
        redelivered: view.redelivered,
        redelivery_count: view.redelivery_count,
        crc32: view.crc32,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn decoders_agree_with_the_generated_ones(message in almost_message()) {
        check_same_as_generated(&message);
    }

    #[test]
    fn decoders_agree_on_arbitrary_bytes(message in prop::collection::vec(any::<u8>(), 0..40)) {
        check_same_as_generated(&message);
        let _ = is_control_message(&message);
    }

    #[test]
    fn encoders_agree_with_the_generated_ones(
        sequence in any::<u64>(), shift in 0u32..65, subject in any_bytes(), reply in any_bytes(), data in any_bytes(),
        timestamp in any::<i64>(), count in any::<u32>(),
    ) {
        let sequence = sequence.checked_shr(shift).unwrap_or(0);
        let mut out = Vec::new();
        encode_message(&mut out, sequence, &subject, &reply, &data, timestamp);
        prop_assert_eq!(out.len(), message_len(sequence, subject.len(), reply.len(), data.len(), timestamp));
        let mut expected = MsgProto {
            sequence, subject: subject.clone().into(), reply: reply.into(), data: data.into(), timestamp,
            ..MsgProto::default()
        };
        prop_assert_eq!(&out, &expected.encode_to_vec());
        out.extend_from_slice(redelivery_fields(count, &mut [0; REDELIVERY_LEN_MAX]));
        expected.redelivered = count > 0;
        expected.redelivery_count = count;
        prop_assert_eq!(&out, &expected.encode_to_vec());
        prop_assert_eq!(to_generated(&MessageView::decode(&out).unwrap()), expected);

        out.clear();
        encode_pub_ack(&mut out, &subject, Some(errors::TOO_MANY_CHANNELS));
        let ack = PubAck { guid: subject.into(), error: bytes(errors::TOO_MANY_CHANNELS) };
        prop_assert_eq!(out, ack.encode_to_vec());
    }
}
