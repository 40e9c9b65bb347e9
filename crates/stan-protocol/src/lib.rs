//! Messages, subjects and exact texts of the streaming protocol.
//!
//! This crate decides how streaming messages look on the wire (specification §2.2 to §2.5), which texts clients get
//! back (§3) and which names are valid (§4). It knows neither sockets nor storage nor the state of a server.
//!
//! - [`messages`] holds one type per client-facing message, generated from `proto/client.proto`;
//! - [`PubMsgView`], [`AckView`] and [`MessageView`] decode the frequent messages without copying;
//! - [`encode_message`], [`redelivery_fields`] and [`encode_pub_ack`] write the frequent answers without an intermediate message;
//! - [`Subjects`] are the subjects a server listens on;
//! - [`errors`] is the table of the texts returned to clients;
//! - [`heartbeat`] is what the active server of a fault-tolerance group sends to the others;
//! - [`partition`] holds the channel lists that servers exchange;
//! - [`validate`] checks names.
//!
//! Strings of the protocol are bytes here: the protocol accepts strings that are not UTF-8.

pub mod errors;
pub mod heartbeat;
pub mod partition;
pub mod validate;

mod encode;
mod quote;
mod subjects;
mod view;
mod wire;

pub use encode::{
    REDELIVERY_LEN_MAX, encode_message, encode_message_end, encode_message_front, encode_pub_ack, message_len,
    redelivery_fields,
};
pub use prost::Message;
pub use quote::quote;
pub use subjects::Subjects;
pub use view::{AckView, InvalidPublish, MessageView, PubMsgView, is_control_message};
pub use wire::Invalid;

/// Every client-facing message (specification §2.3).
///
/// Encoding follows §2.2: fields in ascending order, defaults left out, so that a success is often zero bytes long.
pub mod messages {
    #![allow(unreachable_pub, reason = "generated")]
    include!("generated/stan.client.rs");
}

/// Messages between servers that cross the wire of the clients (specification §2.4).
pub mod control {
    #![allow(unreachable_pub, reason = "generated")]
    include!("generated/stan.server.rs");
}
