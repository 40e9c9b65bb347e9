//! Every bound of the broker that is not an option, with the relations between them.

use std::time::Duration;

use seaway_nats_protocol::limits::{ROUTE_CLIENT_LINE_MAX, ROUTE_PAYLOAD_MAX};

/// Bytes taken from a socket in one read …
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// … and as long as reads find as much as they take and nobody holds the client back; also the size of the read buffers that
/// connections borrow. It has room in the processor's second cache beside what is gathered from it.
pub(crate) const READ_BUFFER_BYTES: usize = 4 * READ_BYTES;
/// Reads of one connection before others get the thread.
pub(crate) const READS_PER_TURN: usize = 8;
/// Work after which a client's turn ends and others get the thread: receivers, nodes of the table and so on, about a
/// millisecond of them. What the client sent and was not handled yet waits.
pub(crate) const TURN_WORK: u64 = 16 * 1024;
/// The same of a turn that was not waited for in the lane of those with much to do: many connections may begin at once, and whoever
/// comes then waits for all of these.
pub(crate) const FIRST_TURN_WORK: u64 = TURN_WORK / 4;
/// Work after which a turn ends in the middle of a message.
pub(crate) const MESSAGE_WORK: u64 = 4 * TURN_WORK;
/// Work of finding who gets a message, in one go; who is found with less is remembered.
pub(crate) const SEARCH_WORK: u64 = MESSAGE_WORK / 2;
/// Subscriptions of one subject that a search looks at in one go.
pub(crate) const SUBSCRIPTIONS_PER_PIECE: usize = 1024;
/// Work of a message from inside the process up to which it is delivered at once, whatever else there is to do …
pub(crate) const PUBLICATION_WORK: u64 = 4096;
/// … and receivers up to which it is, whatever its size. More are served in slices, between which the publisher goes on.
pub(crate) const PUBLICATION_RECEIVERS: usize = 64;
/// Messages of one publisher that wait for their next slice.
pub(crate) const PUBLICATIONS_WAITING_MAX: usize = 64;
/// Their bytes; one always has room.
pub(crate) const PUBLICATIONS_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Work of making or ending a subscription.
pub(crate) const WORK_PER_SUBSCRIPTION: u64 = 16;
/// Work of a CONNECT, which may check a signature.
pub(crate) const WORK_PER_CONNECT: u64 = 2048;
/// Work of opening and closing a destination in a batch.
pub(crate) const WORK_PER_OUTLET: u64 = 4;
/// Work of a system call that writes to a destination.
pub(crate) const WORK_PER_INLINE_WRITE: u64 = 64;
/// Bytes whose copying, into memory that is new as a rule, is work.
pub(crate) const BYTES_PER_WORK: usize = 256;
/// Destinations that one batch writes to itself; beyond it their own tasks write, which other processors may run.
pub(crate) const INLINE_WRITES: u32 = 64;
/// Events about clients that wait for whoever tells others of them; further ones are lost.
pub(crate) const CLIENT_EVENTS_WAITING: usize = 1024;
/// Connections that monitoring looks at before it lets go of the lock on all of them.
pub(crate) const CONNECTIONS_PER_LOOK: usize = 256;
/// Subscriptions ended, or looked at after a reload, before others get the thread.
pub(crate) const SUBSCRIPTIONS_PER_TURN: usize = 512;
/// First allocation for an operation that does not fit into a read buffer; it then doubles as bytes arrive, so that
/// a declared size alone costs nothing.
pub(crate) const LARGE_FRAME_INITIAL_BYTES: usize = 64 * 1024;
/// Buffers and scratch vectors that grew beyond this are given back to the allocator after use.
pub(crate) const KEPT_CAPACITY_BYTES: usize = 512 * 1024;
/// Bytes gathered for one destination before they are flushed in the middle of a batch.
pub(crate) const GATHER_BYTES: usize = 256 * 1024;
/// Bytes gathered for all destinations together before they are flushed in the middle of a batch.
pub(crate) const GATHER_BYTES_ALL: usize = 4 * 1024 * 1024;
/// Bytes of empty buffers that are kept for the next batch.
pub(crate) const SPARE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes gathered for one in-process sink before they are handed over in the middle of a batch.
pub(crate) const SINK_BATCH_BYTES: usize = 1024 * 1024;
/// Rounds in which one producer writes out what others queued meanwhile, before the connection's own task takes over.
pub(crate) const WRITE_ROUNDS: u32 = 4;
/// Bytes after which it does as well, and after which the connection's own task lets others have the thread, however willingly the
/// socket takes them: a millisecond or so.
pub(crate) const WRITE_TURN_BYTES: usize = 2 * 1024 * 1024;
/// Bytes offered to the socket in one system call …
pub(crate) const WRITE_BYTES: usize = 1024 * 1024;
/// … and pieces.
pub(crate) const PIECES_PER_WRITE: usize = 32;
/// Vectors of pieces that were written, kept for the next batches as long as something is pending.
pub(crate) const SPARE_PIECES: usize = 8;
/// Batches up to this many bytes are copied behind the one before …
pub(crate) const PIECE_COPIED_BYTES: usize = 16 * 1024;
/// … as long as both together have no more than this.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;
/// Bytes freed of what a closed connection had waiting, before others get the thread: half a millisecond or so.
pub(crate) const UNSENT_FREED_BYTES: usize = 2 * 1024 * 1024;
/// Work spaces (read buffer and route cache) that are kept for the next read.
pub(crate) const WORKSPACES_KEPT: usize = 16;
/// Batches whose vectors are kept for the next hand-over to a sink.
pub(crate) const BATCHES_KEPT: usize = 64;
/// Sets of the route cache; each holds two subjects. A power of two.
pub(crate) const ROUTE_CACHE_SETS: usize = 2048;
/// Receivers that all answers of one route cache may name together; beyond it the cache starts afresh.
pub(crate) const ROUTE_CACHE_TARGETS: usize = 512 * 1024;
/// Message prefixes are prepared for the first receivers of an answer, up to about this many bytes.
pub(crate) const PREPARED_PREFIX_BYTES: usize = 1024;
/// Shards of the table of literal subjects. A power of two.
pub(crate) const LITERAL_SHARDS: usize = 256;
/// Shards of the trie of patterns, by first token. A power of two.
pub(crate) const PATTERN_SHARDS: usize = 64;
/// Generation counters per kind of subject. A power of two.
pub(crate) const GENERATIONS: usize = 1024;
/// Bytes that a service in this process may leave in one queue: enough for the socket to be kept busy meanwhile.
pub(crate) const SERVICE_BYTES: usize = 4 * 1024 * 1024;
/// What a queue may hold however much all hold together: a batch or so.
pub(crate) const QUEUE_BYTES_LEAST: usize = 64 * 1024;
/// Bytes waiting for a destination above which its producers wait a little.
pub(crate) const FULL_BYTES: usize = 2 * 1024 * 1024;
/// Longest wait of a producer per read when a destination is just well filled (core specification §1.15) …
pub(crate) const STALL_FIRST: Duration = Duration::from_millis(2);
/// … and when it is about to be closed …
pub(crate) const STALL_LAST: Duration = Duration::from_millis(10);
/// … or, for another server, when its queue is about to be full …
pub(crate) const STALL_OF_PEER: Duration = Duration::from_secs(1);
/// … unless it has taken nothing for this long. A network that loses a packet takes some hundred milliseconds to send it again.
pub(crate) const STUCK: Duration = Duration::from_millis(500);
/// Destinations that one producer waits for at once.
pub(crate) const STALLED_MAX: usize = 8;
/// Latest first PING to a new client (core specification §1.10).
pub(crate) const FIRST_PING: Duration = Duration::from_secs(2);
/// The round-trip time is measured again after this long, activity or not.
pub(crate) const RTT_REFRESH: Duration = Duration::from_secs(3600);
/// How long a connection that was refused in words may take to read them.
pub(crate) const LINGER: Duration = Duration::from_millis(500);
/// How much a lingering connection may still send, in bytes; it is thrown away.
pub(crate) const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// Sessions beyond `max_connections`: of clients that are being refused in words, or read their last ones. Beyond them a client
/// that comes while nobody may is closed without a word, so that no flood of refusals takes descriptors.
pub const SESSIONS_ENDING_MAX: usize = 64;
/// Longest time between two clients that are closed in lame duck mode.
pub(crate) const LAME_DUCK_STEP: Duration = Duration::from_secs(1);
/// How long shutdown waits for connections to leave.
pub(crate) const SHUTDOWN_WAIT: Duration = Duration::from_secs(2);
/// Pending connections the kernel may hold for a listener.
pub(crate) const ACCEPT_BACKLOG: i32 = 4096;
/// Pause after the first failed accept (out of descriptors, for instance); it doubles up to the second value.
pub(crate) const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(10);
/// Longest pause between failed accepts.
pub(crate) const ACCEPT_PAUSE_LAST: Duration = Duration::from_secs(1);
/// Longest name, language or version remembered from CONNECT, in bytes.
pub(crate) const CLIENT_TEXT_BYTES: usize = 256;
/// A payload of one read batch is a fraction of this share of `max_pending`, so that a healthy client is never
/// closed by one batch.
pub(crate) const GATHER_SHARE_OF_PENDING: usize = 4;

const _: () = assert!(ROUTE_CACHE_SETS.is_power_of_two());
const _: () = assert!(LITERAL_SHARDS.is_power_of_two());
const _: () = assert!(PATTERN_SHARDS.is_power_of_two());
const _: () = assert!(GENERATIONS.is_power_of_two() && GENERATIONS <= 1 << 16);
const _: () = assert!(GATHER_BYTES <= KEPT_CAPACITY_BYTES);
/// Bytes of what could not be parsed that the log shows.
pub(crate) const RECEIVED_SHOWN_BYTES: usize = 32;
/// Subscriptions listed for a connection that has ended.
pub(crate) const CLOSED_SUBSCRIPTIONS_KEPT: usize = 32;
/// Subjects whose publish permission a connection remembers. A power of two.
pub(crate) const VERDICT_SLOTS: usize = 128;
/// Longest subject among them, in bytes; longer ones are judged anew each time.
pub(crate) const VERDICT_SUBJECT_BYTES: usize = 256;
/// Rights to answer that a connection may hold; beyond it the older half goes.
pub(crate) const RESPONSE_RIGHTS_MAX: usize = 16 * 1024;
/// Deliveries after which rights are looked through for expired ones.
pub(crate) const RESPONSE_SWEEP_ADDITIONS: usize = 4096;
/// Time after which they are looked through.
pub(crate) const RESPONSE_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Passwords being compared with hashes at once, at most: each keeps a processor busy.
pub(crate) const VERIFICATIONS_MAX: usize = 4;
/// Highest cost of a bcrypt hash: a comparison takes some seconds. Each step doubles it; 31, the highest there is, takes a day.
pub const HASH_COST_MAX: u32 = 16;
/// Time for CONNECT when nothing else is configured (core specification §3.8).
pub(crate) const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(VERDICT_SLOTS.is_power_of_two());
const _: () = assert!(RESPONSE_RIGHTS_MAX >= 2 * RESPONSE_SWEEP_ADDITIONS);
/// Bytes of a file of certificates or keys; the authorities of a whole system have less than a megabyte.
pub(crate) const TLS_FILE_BYTES_MAX: usize = 16 << 20;
/// Time for a TLS handshake when nothing else is configured (core specification §3.8).
pub(crate) const TLS_TIMEOUT: Duration = Duration::from_secs(2);
/// What the time for authentication exceeds that for the TLS handshake by, when nothing else is configured.
pub(crate) const AUTHENTICATION_AFTER_TLS: Duration = Duration::from_secs(1);
/// Bytes taken from a socket at once for TLS.
pub(crate) const TLS_READ_BYTES: usize = 16 * 1024;
/// Decrypted bytes that TLS may hold before they are read; it refuses to take more behind 16 KiB.
pub(crate) const TLS_PLAINTEXT_BYTES: usize = 12 * 1024;
/// Account of every client that belongs to no other (core specification §2.6).
pub const GLOBAL_ACCOUNT: &str = "$G";
/// Account of the services and events about servers, unless another one is chosen (core specification §2.6).
pub const SYSTEM_ACCOUNT: &str = "$SYS";
/// Accounts that are there only because another server speaks of them. Each takes some tens of kilobytes. What is wanted in others is
/// not kept, and asked for again when one of them is configured.
pub(crate) const ACCOUNTS_HEARD_OF_MAX: usize = 128;
/// Bytes of the name of such an account.
pub(crate) const ACCOUNT_NAME_HEARD_OF_BYTES: usize = 256;
/// Answers of one imported service that are waited for at a time; with more the oldest is given up …
pub(crate) const SERVICE_REPLIES_MAX: usize = 16 * 1024;
/// … as it is when where they go takes more bytes together.
pub(crate) const SERVICE_REPLIES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Accounts that one message goes through, by imports of services.
pub(crate) const SERVICE_HOPS_MAX: u8 = 8;
/// Other servers in one cluster. The table of what is wanted here has a bit for each.
pub(crate) const PEERS_MAX: usize = 64;
/// Shards of the table of what this server's own subscribers want. A power of two.
pub(crate) const INTEREST_SHARDS: usize = 64;
/// Subjects told to another server in one go.
pub(crate) const INTEREST_PER_SLICE: usize = 1024;
/// Bytes of queue-group names that one message takes to another server; groups beyond are served here, or not at all.
pub(crate) const CROSSING_QUEUE_BYTES: usize = 256 * 1024;

const _: () = assert!(INTEREST_SHARDS.is_power_of_two());
/// Letters of a cluster's name that is made up.
pub(crate) const MADE_UP_NAME_LETTERS: usize = 22;
/// Addresses for clients that other servers may bring together, and one of them alone.
pub(crate) const GOSSIPED_URLS_MAX: usize = 1024;
/// Longest line with which another server introduces itself, in bytes: it names all addresses for clients.
pub(crate) const GREETING_BYTES: usize = 64 * 1024;
/// Longest control line between servers, in bytes: it names queue groups.
pub(crate) const PEER_LINE_BYTES: usize = 1024 * 1024;
/// Largest message that is read from another server, in bytes; one that is larger than this server's own limit is not delivered.
pub(crate) const PEER_PAYLOAD_BYTES: usize = ROUTE_PAYLOAD_MAX;
/// Connections from other servers that have not introduced themselves yet; when more come, some of them are closed.
pub(crate) const STRANGERS_MAX: usize = 32;
/// Connections that are being made to configured servers at once, and as many to those that others tell of …
pub(crate) const DIALS_MAX: usize = 16;
/// … of which one server's words are good for so many.
pub(crate) const DIALS_PER_TELLER: usize = DIALS_MAX / 2;
/// Connections that are being closed for others while no more are accepted.
pub(crate) const DISPLACED_MAX: usize = 16;
/// Connections to and from other servers at once, whatever becomes of them.
pub const ROUTES_MAX: usize = PEERS_MAX + STRANGERS_MAX + 2 * DIALS_MAX + DISPLACED_MAX;
/// Time for a connection to another server to come about.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before another server is dialled again; it doubles …
pub(crate) const REDIAL_FIRST: Duration = Duration::from_millis(100);
/// … up to this one …
pub(crate) const REDIAL_LAST: Duration = Duration::from_secs(1);
/// … and up to this one when one of the two servers does not want the other.
pub(crate) const REDIAL_REFUSED_LAST: Duration = Duration::from_secs(30);
/// Time after which the log says again why a server is not reached, when the reason is the same …
pub(crate) const REDIAL_SAID_AGAIN: Duration = Duration::from_secs(600);
/// … and when it is another one.
pub(crate) const REDIAL_SAID_OTHERWISE: Duration = Duration::from_secs(10);
/// What is added by chance at least, so that two servers that dial each other do not meet for ever; a quarter of longer pauses.
pub(crate) const REDIAL_JITTER: Duration = Duration::from_millis(100);
/// Time in which a server must show that it is there when it seems to have come again.
pub(crate) const PROOF_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time between PINGs to another server (core specification §4.5).
pub(crate) const PEER_PING_INTERVAL: Duration = Duration::from_secs(30);
/// Subjects told to another server in one go when it has come and is told everything.
pub(crate) const SYNC_PER_SLICE: usize = 256;
/// Bytes that may wait for another server while it is being told what is wanted here.
pub(crate) const SYNC_ROOM_BYTES: usize = 1024 * 1024;
/// Clients that are sent an INFO before others get the thread.
pub(crate) const INFORMED_PER_TURN: usize = 256;
/// How long nothing may change for the cluster to count as formed.
pub(crate) const SETTLED: Duration = Duration::from_millis(250);

// With the account, the sizes and what stands between them.
const _: () = assert!(CROSSING_QUEUE_BYTES + ROUTE_CLIENT_LINE_MAX + 1024 <= PEER_LINE_BYTES);
/// Level of the route protocol from which on accounts are spoken of (core specification §4.3); a port for clients says 1.
pub(crate) const ROUTE_PROTO_MIN: i64 = 2;
/// Time between two rounds in which everybody is told of everybody, at most.
pub(crate) const GOSSIP_INTERVAL: Duration = Duration::from_secs(30);
/// What changes within this time is told to clients together.
pub(crate) const GOSSIP_TOGETHER: Duration = Duration::from_millis(20);
/// Subjects and groups that one other server may want.
pub(crate) const PEER_INTEREST_MAX: usize = 16 * 1024 * 1024;
/// Servers that others told of and that are not looked at yet, or not reached.
pub(crate) const HEARD_OF_MAX: usize = 4 * PEERS_MAX;
