//! Clients and subscriptions as they go from one server to another: what [`export`](crate::export) tells and [`import`](crate::import)
//! takes.

/// A client, as it registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortableClient<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Where it hears heartbeats.
    pub heartbeat_inbox: &'a [u8],
    /// Which connection of the client it is; empty for old clients.
    pub connection_id: &'a [u8],
    /// 0 or 1.
    pub protocol: i32,
    /// Seconds; negative: milliseconds.
    pub ping_interval: i32,
    /// Pings without answer after which the client gives up.
    pub ping_max_out: i32,
}

/// A subscription, or the place of a durable queue group that nobody serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortableSubscription<'a> {
    /// Its (last) owner; empty for the place of a group.
    pub client: &'a [u8],
    /// Where it hears messages.
    pub inbox: &'a [u8],
    /// Where it acknowledges. One that is no literal subject is replaced by the import.
    pub ack_inbox: &'a [u8],
    /// Its durable name, or that of its queue group; empty for none.
    pub durable: &'a [u8],
    /// Its queue group; empty for none.
    pub queue: &'a [u8],
    /// Messages that may await their acks.
    pub max_in_flight: i32,
    /// Seconds before a message is sent again; negative: milliseconds.
    pub ack_wait: i32,
    /// The highest sequence sent. At least one member of an exported group is as far as the group; to the import more than the channel
    /// has counts as its last.
    pub last_sent: u64,
    /// Whether its client is connected and has it.
    pub is_online: bool,
}
