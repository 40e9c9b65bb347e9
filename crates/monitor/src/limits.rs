//! Bounds of what a request may cost.

use std::time::Duration;

/// Connections of one listener that are served at a time; for a further one another one ends.
pub const CONNECTIONS_MAX: usize = 256;
/// Bytes of a request's query; longer ones are refused.
pub const QUERY_LEN_MAX: usize = 16 * 1024;
/// Parameters of a query that are looked at.
pub const PARAMETERS_MAX: usize = 64;
/// Entries of a list when the request does not say (streaming specification §8.1, core specification §6.3).
pub const LIST_LIMIT_DEFAULT: usize = 1024;
/// Entries of a list at most; the answer says which limit it has used.
pub const LIST_LIMIT_MAX: usize = 65_536;
/// Lists that are put together at a time; each takes memory and a moment of the engine. Others wait for their turn.
pub const LISTS_AT_A_TIME: usize = 2;

/// Bytes of an answer that is sent whatever else waits to be read.
pub const SMALL_ANSWER_LEN: usize = 64 * 1024;

/// Bytes of all other answers that wait to be read; an answer that finds no room is given up.
pub const UNREAD_ANSWERS_LEN_MAX: usize = 128 * 1024 * 1024;

/// Bytes of the name of a JSONP callback.
pub const CALLBACK_LEN_MAX: usize = 64;
/// Bytes of a request's head that are buffered.
pub const HEAD_LEN_MAX: usize = 32 * 1024;
/// Time for a request's head to arrive, from the end of the previous request on. No period at which anybody asks, so that who
/// asks regularly does not meet the end of the connection.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(13);
/// Time in which a peer takes nothing of its answer, after which its connection ends.
pub const UNREAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Time a source may take for a snapshot.
pub const SNAPSHOT_TIME_MAX: Duration = Duration::from_secs(10);
/// Time that the start page waits for what to say of the engine.
pub const PAGE_STATUS_TIME_MAX: Duration = Duration::from_millis(250);
/// Time after which a connection is asked to end; the request in progress is finished.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);
/// Time that a connection which was asked to end has for it.
pub const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(LIST_LIMIT_DEFAULT <= LIST_LIMIT_MAX);
const _: () = assert!(
    QUERY_LEN_MAX < HEAD_LEN_MAX,
    "a query that is too long gets an answer that says so"
);
/// Subscriptions that one answer to "why?" explains when the request does not say.
pub const WHY_LIMIT_DEFAULT: usize = 100;
/// Subscriptions that one answer to "why?" explains at most.
pub const WHY_LIMIT_MAX: usize = 1000;
/// Channels with series of their own in one answer of `/metrics`; further ones are counted as omitted.
pub const METRICS_CHANNELS_MAX: usize = 1000;
/// Subscriptions with series of their own in one answer of `/metrics`; further ones are counted as omitted.
pub const METRICS_SUBSCRIPTIONS_MAX: usize = 2000;
/// Bytes of the value of a label; longer ones are cut.
pub const METRICS_LABEL_LEN_MAX: usize = 256;
/// Subscriptions that `/connz` lists of one connection …
pub const CONNECTION_SUBSCRIPTIONS_MAX: usize = 65_536;
/// … and of all connections in one answer; more are refused.
pub const SUBSCRIPTIONS_LISTED_MAX: usize = 4 * CONNECTION_SUBSCRIPTIONS_MAX;

const _: () = assert!(WHY_LIMIT_DEFAULT <= WHY_LIMIT_MAX);
/// Subscriptions looked at before others are served.
pub(crate) const SUBSCRIPTIONS_PER_TURN: usize = 1024;
