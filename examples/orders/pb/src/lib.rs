//! What the processes of the order system say to each other: messages in protobuf, the event store's service, and names.
//!
//! The code is generated from `proto/` by `cargo xtask codegen` and committed; building needs no `protoc` and no build
//! script. Knows no sockets: a transport is chosen by whoever makes a client or a server.

pub use prost::{DecodeError, Message};

/// The messages, one type each, and the event store's client and server.
pub mod messages {
    #![allow(unreachable_pub, missing_docs, clippy::all, reason = "generated")]
    include!("generated/orders.rs");
}

/// What may happen to an order.
pub mod event_types {
    /// It was placed.
    pub const ORDER_CREATED: &str = "OrderCreated";
    /// The restaurant cooks it.
    pub const ORDER_APPROVED: &str = "OrderApproved";
    /// The restaurant does not.
    pub const ORDER_REJECTED: &str = "OrderRejected";
    /// It is paid.
    pub const ORDER_PAYMENT_DEBITED: &str = "OrderPaymentDebited";
}

/// The aggregate type of orders.
pub const ORDER: &str = "order";

/// The channel of everything that happens to aggregates of a type: `order-notification`.
#[must_use]
pub fn channel(aggregate_type: &str) -> String {
    format!("{aggregate_type}-notification")
}

/// The channel of one event type: `order-notification.OrderCreated`.
#[must_use]
pub fn event_type_channel(aggregate_type: &str, event_type: &str) -> String {
    format!("{aggregate_type}-notification.{event_type}")
}

impl messages::OrderStatus {
    /// The status in one word, as people and tables have it; empty when nobody has said.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Created => "created",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Paid => "paid",
        }
    }

    /// The status with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let statuses = [Self::Created, Self::Approved, Self::Rejected, Self::Paid];
        statuses.into_iter().find(|status| status.word() == word)
    }
}
