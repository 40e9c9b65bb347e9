//! The original's records as bytes (specification §1.3): fields in the order of their numbers, and none that is empty, as it writes them
//! itself.

use crate::records::{ClientInfo, ServerInfo, SubState};

impl ServerInfo {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let texts = [
            &self.cluster_id,
            &self.discovery,
            &self.publish,
            &self.subscribe,
            &self.unsubscribe,
            &self.close,
            &self.sub_close,
            &self.acks,
            &self.node_id,
        ];
        for (number, text) in (1..).zip(texts) {
            put_bytes(out, number, text);
        }
    }
}

impl ClientInfo {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.id);
        put_bytes(out, 2, &self.heartbeat_inbox);
        put_bytes(out, 3, &self.connection_id);
        put_int32(out, 4, self.protocol);
        put_int32(out, 5, self.ping_interval);
        put_int32(out, 6, self.ping_max_out);
    }
}

impl SubState {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, 1, self.id);
        put_bytes(out, 2, &self.client_id);
        put_bytes(out, 3, &self.queue_group);
        put_bytes(out, 4, &self.inbox);
        put_bytes(out, 5, &self.ack_inbox);
        put_int32(out, 6, self.max_in_flight);
        put_int32(out, 7, self.ack_wait_seconds);
        put_bytes(out, 8, &self.durable_name);
        put_number(out, 9, self.last_sent);
        put_number(out, 10, u64::from(self.is_durable));
        put_number(out, 11, u64::from(self.is_closed));
    }
}

/// `SubStateUpdate`: a subscription, and a message of it.
pub(crate) fn sub_update(out: &mut Vec<u8>, subscription: u64, sequence: u64) {
    put_number(out, 1, subscription);
    put_number(out, 2, sequence);
}

/// What comes before a message's payload, the payload's own head included.
pub(crate) fn message_front(out: &mut Vec<u8>, sequence: u64, subject: &[u8], reply: &[u8], data_bytes: usize) {
    put_number(out, 1, sequence);
    put_bytes(out, 2, subject);
    put_bytes(out, 3, reply);
    if data_bytes > 0 {
        varint(out, 4 << 3 | 2);
        varint(out, data_bytes as u64);
    }
}

/// What comes behind a message's payload.
pub(crate) fn message_end(out: &mut Vec<u8>, timestamp_ns: i64) {
    put_number(out, 5, timestamp_ns.cast_unsigned());
}

fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    if number != 0 {
        varint(out, field << 3);
        varint(out, number);
    }
}

/// Negative ones are sign-extended.
fn put_int32(out: &mut Vec<u8>, field: u64, number: i32) {
    put_number(out, field, i64::from(number).cast_unsigned());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        varint(out, field << 3 | 2);
        varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Message;

    #[test]
    fn what_is_written_is_read() {
        let (mut out, text) = (Vec::new(), |text: &str| text.as_bytes().to_vec());
        let server = ServerInfo {
            cluster_id: text("c1"),
            publish: text("_STAN.pub.c1"),
            acks: text("_STAN.ack.c1"),
            node_id: text("n"),
            ..ServerInfo::default()
        };
        server.encode(&mut out);
        assert_eq!(ServerInfo::decode(&out), Ok(server));
        out.clear();
        let client = ClientInfo {
            id: text("me"),
            heartbeat_inbox: text("_INBOX.h"),
            connection_id: vec![0xFF, 0],
            protocol: 1,
            ping_interval: -500,
            ping_max_out: i32::MAX,
        };
        client.encode(&mut out);
        assert_eq!(ClientInfo::decode(&out), Ok(client));
        out.clear();
        let sub = SubState {
            id: 300,
            client_id: text("me"),
            queue_group: text("dur:group"),
            inbox: text("_INBOX.s"),
            ack_inbox: text("_INBOX.a"),
            max_in_flight: 1024,
            ack_wait_seconds: 30,
            durable_name: text("été"),
            last_sent: u64::MAX,
            is_durable: true,
            is_closed: true,
        };
        sub.encode(&mut out);
        assert_eq!(SubState::decode(&out), Ok(sub));
        for (reply, data, time) in [("", "", 0), ("r", "hello", i64::MIN), ("", "x", i64::MAX)] {
            out.clear();
            message_front(&mut out, 1 << 40, b"foo", reply.as_bytes(), data.len());
            out.extend_from_slice(data.as_bytes());
            message_end(&mut out, time);
            let message = Message::decode(&out).expect("a message");
            let expected = Message {
                sequence: 1 << 40,
                subject: b"foo",
                reply: reply.as_bytes(),
                data: data.as_bytes(),
                timestamp_ns: time,
                encoded_bytes: out.len() as u64,
            };
            assert_eq!(message, expected);
        }
    }
}
