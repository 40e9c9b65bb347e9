//! The records of the original's files (specification §1.3), decoded. Names are bytes: the original does not ask for UTF-8.

use crate::protobuf::{Malformed, fields};

/// Who a server was: the one record of `server.dat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names are the documentation: subjects but for the first and the last"
)]
pub struct ServerInfo {
    pub cluster_id: Vec<u8>,
    pub discovery: Vec<u8>,
    pub publish: Vec<u8>,
    pub subscribe: Vec<u8>,
    pub unsubscribe: Vec<u8>,
    pub close: Vec<u8>,
    pub sub_close: Vec<u8>,
    pub acks: Vec<u8>,
    /// Set when the server was a member of a cluster.
    pub node_id: Vec<u8>,
}

impl ServerInfo {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut info = Self::default();
        for field in fields(bytes) {
            let (number, value) = field?;
            let target = match number {
                1 => &mut info.cluster_id,
                2 => &mut info.discovery,
                3 => &mut info.publish,
                4 => &mut info.subscribe,
                5 => &mut info.unsubscribe,
                6 => &mut info.close,
                7 => &mut info.sub_close,
                8 => &mut info.acks,
                9 => &mut info.node_id,
                _ => continue,
            };
            *target = value.bytes()?.to_vec();
        }
        Ok(info)
    }
}

/// A connected client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its name.
    pub id: Vec<u8>,
    /// Where it hears heartbeats.
    pub heartbeat_inbox: Vec<u8>,
    /// Which connection of the client it is; empty for old clients.
    pub connection_id: Vec<u8>,
    /// 0 or 1.
    pub protocol: i32,
    /// Seconds; negative: milliseconds.
    pub ping_interval: i32,
    /// Pings without answer after which the client gives up.
    pub ping_max_out: i32,
}

impl ClientInfo {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut client = Self::default();
        for field in fields(bytes) {
            match field? {
                (1, value) => client.id = value.bytes()?.to_vec(),
                (2, value) => client.heartbeat_inbox = value.bytes()?.to_vec(),
                (3, value) => client.connection_id = value.bytes()?.to_vec(),
                (4, value) => client.protocol = value.int32()?,
                (5, value) => client.ping_interval = value.int32()?,
                (6, value) => client.ping_max_out = value.int32()?,
                _ => {}
            }
        }
        Ok(client)
    }
}

/// A subscription as it was last written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubState {
    /// Unique in its channel.
    pub id: u64,
    /// Its owner; empty for the place of a durable queue group that nobody serves.
    pub client_id: Vec<u8>,
    /// Of a durable group: durable name, colon, group.
    pub queue_group: Vec<u8>,
    /// Where it hears messages.
    pub inbox: Vec<u8>,
    /// Where its acks go.
    pub ack_inbox: Vec<u8>,
    /// Messages that may await their acks.
    pub max_in_flight: i32,
    /// Seconds before a message is sent again.
    pub ack_wait_seconds: i32,
    /// Of a durable that is no queue group.
    pub durable_name: Vec<u8>,
    /// The highest sequence sent.
    pub last_sent: u64,
    /// Old stores leave it out for durables that are no queue groups.
    pub is_durable: bool,
    /// A durable that its client closed.
    pub is_closed: bool,
}

impl SubState {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut sub = Self::default();
        for field in fields(bytes) {
            match field? {
                (1, value) => sub.id = value.number()?,
                (2, value) => sub.client_id = value.bytes()?.to_vec(),
                (3, value) => sub.queue_group = value.bytes()?.to_vec(),
                (4, value) => sub.inbox = value.bytes()?.to_vec(),
                (5, value) => sub.ack_inbox = value.bytes()?.to_vec(),
                (6, value) => sub.max_in_flight = value.int32()?,
                (7, value) => sub.ack_wait_seconds = value.int32()?,
                (8, value) => sub.durable_name = value.bytes()?.to_vec(),
                (9, value) => sub.last_sent = value.number()?,
                (10, value) => sub.is_durable = value.number()? != 0,
                (11, value) => sub.is_closed = value.number()? != 0,
                _ => {}
            }
        }
        Ok(sub)
    }
}

/// The first two numbers of a record: a subscription, and a message of it (`SubStateDelete`, `SubStateUpdate`).
pub(crate) fn decode_numbers(bytes: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut numbers = (0, 0);
    for field in fields(bytes) {
        match field? {
            (1, value) => numbers.0 = value.number()?,
            (2, value) => numbers.1 = value.number()?,
            _ => {}
        }
    }
    Ok(numbers)
}

/// The first text of a record (`ClientDelete`, `CloseRequest`).
pub(crate) fn decode_name(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut name: &[u8] = b"";
    for field in fields(bytes) {
        if let (1, value) = field? {
            name = value.bytes()?;
        }
    }
    Ok(name)
}

/// A stored message, as its bytes lie in a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// From 1.
    pub sequence: u64,
    /// The channel.
    pub subject: &'a [u8],
    /// As published.
    pub reply: &'a [u8],
    /// The payload as it is stored: encrypted, perhaps.
    pub data: &'a [u8],
    /// When the server took it, in nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// Bytes of the encoded message: what the original counts, less 40.
    pub encoded_bytes: u64,
}

impl<'a> Message<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut message = Self {
            encoded_bytes: bytes.len() as u64,
            ..Self::default()
        };
        for field in fields(bytes) {
            match field? {
                (1, value) => message.sequence = value.number()?,
                (2, value) => message.subject = value.bytes()?,
                (3, value) => message.reply = value.bytes()?,
                (4, value) => message.data = value.bytes()?,
                (5, value) => message.timestamp_ns = value.number()?.cast_signed(),
                _ => {}
            }
        }
        // Sequences begin at 1.
        if message.sequence == 0 {
            Err(Malformed)
        } else {
            Ok(message)
        }
    }
}
