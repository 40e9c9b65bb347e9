//! Limits of the protocol itself. What a server may configure starts from the defaults named here.

/// Longest control-line argument in bytes unless configured otherwise (core specification §1.14).
pub const MAX_CONTROL_LINE_DEFAULT: usize = 4096;
/// Largest payload in bytes, headers included, unless configured otherwise (core specification §1.14).
pub const MAX_PAYLOAD_DEFAULT: usize = 1024 * 1024;
/// A size has at most this many digits (core specification §1.2).
pub const SIZE_DIGITS_MAX: usize = 9;
/// An UNSUB limit has at most this many digits; anything longer counts as absent.
pub const UNSUBSCRIBE_DIGITS_MAX: usize = 18;

/// The largest size that can be spelled.
pub const SIZE_MAX: usize = 999_999_999;

const _: () = assert!(MAX_PAYLOAD_DEFAULT <= SIZE_MAX);
const _: () = assert!(10usize.pow(SIZE_DIGITS_MAX as u32) - 1 == SIZE_MAX);

/// Largest payload in bytes, headers included, that is read from another server.
pub const ROUTE_PAYLOAD_MAX: usize = 64 * 1024 * 1024;
/// Longest control-line argument of a client in bytes that a line between servers has room for, beside names of queue groups.
pub const ROUTE_CLIENT_LINE_MAX: usize = 64 * 1024;

const _: () = assert!(MAX_PAYLOAD_DEFAULT <= ROUTE_PAYLOAD_MAX && ROUTE_PAYLOAD_MAX <= SIZE_MAX);
const _: () = assert!(MAX_CONTROL_LINE_DEFAULT <= ROUTE_CLIENT_LINE_MAX);

/// Members of a queue group behind one route count up to this many when one is chosen (core specification §4.5).
pub const ROUTE_WEIGHT_MAX: u32 = 1_000_000;

/// Longest control-line argument in bytes that a client takes from a server: INFO names every server of a cluster.
pub const SERVER_LINE_MAX: usize = 1024 * 1024;
