//! Bounds of what the console keeps and lets others ask for.

use std::time::Duration;

/// People who are logged in at a time.
pub const SESSIONS_MAX: usize = 64;
/// Sessions of one user at a time; the oldest ends for a further one.
pub(crate) const SESSIONS_PER_USER_MAX: usize = 8;
/// A session without a request ends after this.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// A session ends after this in any case.
pub(crate) const SESSION_AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Requests of one session that are worked on at a time; others are refused.
pub(crate) const SESSION_REQUESTS_MAX: usize = 4;

/// Failed logins from one address until it has to wait.
pub(crate) const FAILURES_MAX: u32 = 5;
/// What one of these failures is forgotten after.
pub(crate) const FAILURE_MEMORY: Duration = Duration::from_secs(30);
/// Addresses whose failures are remembered; the one that failed longest ago goes first.
pub(crate) const ADDRESSES_MAX: usize = 1024;
/// Logins that are tried at a time, whoever they are of; others are refused.
pub(crate) const LOGINS_AT_A_TIME: usize = 4;
/// Time for a login. A password that is kept as a costly hash takes a while.
pub(crate) const LOGIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a user name, a password or a token.
pub(crate) const CREDENTIAL_LEN_MAX: usize = 4096;

/// Time for a body to arrive.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// Bodies of sessions that are on their way at a time, and of logins; others are refused. Of one session as many as it may have requests.
pub(crate) const BODIES_AT_A_TIME: usize = 64;
/// See [`BODIES_AT_A_TIME`].
pub(crate) const LOGIN_BODIES_AT_A_TIME: usize = 16;
/// Bytes of the body of a login.
pub(crate) const LOGIN_BODY_LEN_MAX: usize = 16 * 1024;
/// Bytes of a request's body, a message to publish included.
pub(crate) const BODY_LEN_MAX: usize = 1024 * 1024;
/// Time that the server may take for what is asked of it.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(35);
/// Time that a publish may wait for its acknowledgement.
pub(crate) const PUBLISH_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of an answer about the server.
pub(crate) const ANSWER_LEN_MAX: usize = 1024 * 1024;
/// Entries of a list that one request gets.
pub(crate) const LIST_LIMIT_MAX: usize = 1000;
/// Lists that are put together at a time.
pub(crate) const LISTS_AT_A_TIME: usize = 2;

/// Bytes of an answer that is sent whatever else waits to be read.
pub(crate) const SMALL_ANSWER_LEN: u64 = 64 * 1024;
/// Bytes of all other answers that wait to be read; an answer that finds no room is given up.
pub(crate) const UNREAD_ANSWERS_LEN_MAX: usize = 128 * 1024 * 1024;

/// Messages that one look at a channel shows.
pub(crate) const MESSAGES_MAX: u32 = 100;
/// Bytes of messages that one look reads, but for the first.
pub(crate) const MESSAGES_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of each message that a look shows; the whole of one is downloaded.
pub(crate) const PAYLOAD_SHOWN_MAX: usize = 64 * 1024;
/// Looks at messages, and downloads, that are under way at a time; others wait.
pub(crate) const LOOKS_AT_A_TIME: usize = 4;
