//! Decoders that borrow from the message: what a server sees most is decoded without copying (specification §2.2, §2.3).
//!
//! They accept and refuse exactly what the generated types do.

use prost::Message as _;

use crate::control::CtrlMsg;
use crate::wire::{Fields, Invalid};

/// A publish (specification §2.3 `PubMsg`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PubMsgView<'a> {
    /// Client that publishes; to be looked up only when `conn_id` is empty.
    pub client_id: &'a [u8],
    /// Chosen by the publisher and echoed; mandatory.
    pub guid: &'a [u8],
    /// Channel name; it decides the channel, not the core subject.
    pub subject: &'a [u8],
    /// Stored and handed to subscribers.
    pub reply: &'a [u8],
    /// Payload.
    pub data: &'a [u8],
    /// Connection of the publisher, may be empty.
    pub conn_id: &'a [u8],
}

/// A publish that is no valid message; its PubAck carries the GUID seen before the error (specification §2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPublish<'a> {
    /// GUID decoded before the error, usually empty.
    pub guid: &'a [u8],
}

impl<'a> PubMsgView<'a> {
    /// Decodes a publish.
    ///
    /// # Errors
    /// Returns the GUID found so far when the bytes are no valid message (§2.2).
    pub fn decode(message: &'a [u8]) -> Result<Self, InvalidPublish<'a>> {
        let mut view = PubMsgView::default();
        match view.fill(message) {
            Ok(()) => Ok(view),
            Err(Invalid) => Err(InvalidPublish { guid: view.guid }),
        }
    }

    fn fill(&mut self, message: &'a [u8]) -> Result<(), Invalid> {
        let mut fields = Fields::new(message);
        // Nearly always these are all.
        while let Some((number, bytes)) = fields.next_bytes() {
            self.set(u32::from(number), bytes);
        }
        while let Some((number, value)) = fields.next()? {
            match number {
                1..=6 => self.set(number, value.bytes()?),
                // `sha256`: ignored, but it must be bytes.
                10 => drop(value.bytes()?),
                _ => {}
            }
        }
        Ok(())
    }

    #[inline]
    fn set(&mut self, number: u32, bytes: &'a [u8]) {
        match number {
            1 => self.client_id = bytes,
            2 => self.guid = bytes,
            3 => self.subject = bytes,
            4 => self.reply = bytes,
            5 => self.data = bytes,
            6 => self.conn_id = bytes,
            _ => {}
        }
    }
}

/// An acknowledgement (specification §2.3 `Ack`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AckView<'a> {
    /// Channel name.
    pub subject: &'a [u8],
    /// Sequence acknowledged.
    pub sequence: u64,
}

impl<'a> AckView<'a> {
    /// Decodes an acknowledgement.
    ///
    /// # Errors
    /// When the bytes are no valid message (§2.2).
    pub fn decode(message: &'a [u8]) -> Result<Self, Invalid> {
        let mut view = AckView::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => view.subject = value.bytes()?,
                2 => view.sequence = value.varint()?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// A message as subscribers receive it (specification §2.3 `MsgProto`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageView<'a> {
    /// Sequence in the channel, from 1.
    pub sequence: u64,
    /// Channel name.
    pub subject: &'a [u8],
    /// From the publish.
    pub reply: &'a [u8],
    /// Payload.
    pub data: &'a [u8],
    /// Nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// True only when sent again.
    pub redelivered: bool,
    /// 1 for the first time it is sent again, 0 before.
    pub redelivery_count: u32,
    /// Never set by the server.
    pub crc32: u32,
}

impl<'a> MessageView<'a> {
    /// Decodes a message.
    ///
    /// # Errors
    /// When the bytes are no valid message (§2.2).
    pub fn decode(message: &'a [u8]) -> Result<Self, Invalid> {
        let mut view = MessageView::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => view.sequence = value.varint()?,
                2 => view.subject = value.bytes()?,
                3 => view.reply = value.bytes()?,
                4 => view.data = value.bytes()?,
                5 => view.timestamp = value.varint()? as i64,
                6 => view.redelivered = value.varint()? != 0,
                // 32-bit fields keep the low bits of longer numbers, as protobuf says.
                7 => view.redelivery_count = value.varint()? as u32,
                10 => view.crc32 = value.varint()? as u32,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// Whether the bytes decode as a control message of an old server: such a payload on a publish subject or an ack inbox
/// that is no valid publish or ack is dropped without an answer (specification §2.4).
///
/// A zero-length payload decodes, but it is a valid publish and ack too and never gets here.
pub fn is_control_message(message: &[u8]) -> bool {
    CtrlMsg::decode(message).is_ok()
}
