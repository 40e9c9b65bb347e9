//! The shell's limits: every queue it owns is bounded by one of these.

/// Bytes of batches waiting for the engine at which publishing connections are no longer read.
pub const INBOX_BYTES_HIGH: usize = 32 * 1024 * 1024;

/// Bytes at which they are read again.
pub const INBOX_BYTES_LOW: usize = INBOX_BYTES_HIGH / 2;

/// Bytes at which what else arrives is dropped: connections that are not held back, and the last reads of many that are, may not
/// bring more. A client that gets no answer asks again, an ack that is lost costs a redelivery.
pub const INBOX_BYTES_MAX: usize = 4 * INBOX_BYTES_HIGH;

/// Bytes appended and not yet durable at which publishes and state changes are held back; acks and pings go on.
pub const BACKLOG_BYTES_HIGH: usize = 32 * 1024 * 1024;

/// Messages that were held back and of which one pass looks at so many; the rest follows in the next, between others.
pub const DEFERRED_PER_PASS: usize = 4096;

/// Publishers that one pass lets go on after the gate has opened; the rest follows in the next.
pub const GATE_PASSES_PER_PASS: usize = 256;

/// Bytes of a commit up to which the thread that has the engine may run it itself.
pub const COMMIT_KEPT_BYTES: usize = 16 * 1024;

/// What a record costs the store beside the request it comes from, at most, when room for a batch is asked for.
pub const RECORD_BYTES: usize = 256;

/// How long after a checkpoint that was given up none is begun.
pub(crate) const CHECKPOINT_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// How often the operator is told of checkpoints that are given up, at most.
pub(crate) const CHECKPOINT_TOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// How long a lazy record may wait for a batch to ride.
pub const LAZY_WAIT: std::time::Duration = std::time::Duration::from_millis(50);

/// A deadline met this many nanoseconds late tells of a pause of the process (a stop signal, a frozen machine).
pub const DEADLINE_LATE_NS: u64 = 25_000_000;

/// How many nanoseconds deadlines wait after a pause, so that what arrived during it is read first.
pub const PAUSE_GRACE_NS: u64 = 50_000_000;

/// How many nanoseconds deadlines wait after a NATS server of somebody else stood still: what it had for clients goes to them first, and
/// their answers come back through it.
pub(crate) const STOOD_STILL_GRACE_NS: u64 = 250_000_000;

/// How many nanoseconds a deadline is put off at most because a NATS server stands still again and again, without being lost.
pub(crate) const STOOD_STILL_PUTS_OFF_NS_MAX: u64 = 5_000_000_000;

/// How often a pass looks at what the store has finished before it serves others again.
pub const COMPLETION_ROUNDS: usize = 4;

/// Answered reads that it hands to the engine at each look; as many as a store has under way. Further ones wait for their turn.
pub const READS_PER_LOOK: usize = 4;

/// How long after a start what is due to an inbox without a listener is kept back.
pub const ARRIVALS_AWAITED: std::time::Duration = std::time::Duration::from_secs(2);

/// The last part of that, in which what members of groups held that are not back goes to those that are.
pub const ARRIVALS_HANDED_OVER: std::time::Duration = std::time::Duration::from_millis(500);

/// How often it is offered again at most while clients come back.
pub const ARRIVALS_OFFERED_EVERY: std::time::Duration = std::time::Duration::from_millis(5);

/// Clients of which is asked after a start whether they are there, where the bus does not say who receives.
pub const ARRIVALS_ASKED: usize = 16;

/// How long a commit may take before the operator is told, and how long until the next time.
pub const STALL_TOLD_AFTER: std::time::Duration = std::time::Duration::from_secs(3);

/// See [`STALL_TOLD_AFTER`].
pub const STALL_TOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// Checkpoint slices written per pass while inputs wait too.
pub const CHECKPOINT_SLICES_PER_PASS: usize = 1;

/// Bytes of log lines that wait for the writer; beyond it lines are counted instead of kept.
pub const LOG_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a waiting log line counts for beside its text.
pub const LOG_LINE_OVERHEAD_BYTES: usize = 96;

/// Bytes of log lines that are written in one call.
pub const LOG_WRITE_BYTES: usize = 64 * 1024;

/// Longest text given to the system log; RFC 3164 promises less, today's daemons take this.
pub const SYSTEM_LOG_TEXT_BYTES_MAX: usize = 8 * 1024;

/// How long a fatal line, and the end of the process, wait for the log to be written.
pub const LOG_FLUSH_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How long another server may take to answer the question whether it is there (`streaming-protocol.md` §9.3).
pub const STANDALONE_PATIENCE: std::time::Duration = std::time::Duration::from_millis(250);

/// How often it is asked when the connection over which it is asked does not last.
pub(crate) const STANDALONE_QUESTIONS_MAX: u32 = 8;

/// How often a recovery says how far it is.
pub const RECOVERY_TOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// How long the threads of an abandoned tenure may take to end before the operator is told that they hang.
pub const LEFT_BEHIND_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Bytes of other servers' channel lists that wait to be read; beyond it whoever sends them is held back.
pub const PARTITION_MAIL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long no server must have answered a channel list before there is none (`streaming-protocol.md` §10).
pub const PARTITION_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// How long after a broker came into reach the channel list is sent there (`streaming-protocol.md` §10).
pub const PARTITION_SETTLING: std::time::Duration = std::time::Duration::from_millis(500);

const _: () = assert!(INBOX_BYTES_LOW < INBOX_BYTES_HIGH);

/// Questions of the monitoring that may wait for the engine; further ones are refused.
pub const MONITORING_QUESTIONS_MAX: usize = 512;

/// Entries of a list that one question asks the engine for; longer lists are asked for piece by piece.
pub const MONITORING_SLICE: usize = 256;

/// Channels and subscriptions that one question of a survey looks at.
pub const SURVEY_VISITS: usize = 2048;

/// Requests in the system account that wait for an answer; further ones are dropped.
pub const SYSTEM_REQUESTS_MAX: usize = 256;

/// Those of them that came over one connection, be it another server's.
pub const SYSTEM_REQUESTS_PER_CONNECTION_MAX: usize = 32;

/// Bytes of such a request, with its subjects.
pub const SYSTEM_REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Requests that are answered before timers are looked at.
pub const SYSTEM_REQUESTS_PER_PASS: usize = 16;

/// Requests of all other accounts about themselves that wait for an answer …
pub const OWN_REQUESTS_MAX: usize = 1024;

/// … of one account …
pub const OWN_REQUESTS_PER_ACCOUNT_MAX: usize = 32;

/// … and over one connection.
pub const OWN_REQUESTS_PER_CONNECTION_MAX: usize = 8;

/// Bytes of such a request, with its subjects.
pub const OWN_REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Bytes of administration requests that wait to be read; beyond it whoever sends them is held back.
pub const ADMINISTRATION_MAIL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of an administration request.
pub const ADMINISTRATION_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Administration requests that are answered at a time; others wait.
pub const ADMINISTRATION_REQUESTS_MAX: usize = 16;

/// Entries of a list that an administration request may ask for.
pub const ADMINISTRATION_LIST_MAX: usize = 4096;

/// Administration requests among them that read messages; further ones are refused.
pub const LOOKS_MAX: usize = 8;

/// The same for requests of one connection.
pub const LOOKS_PER_CONNECTION_MAX: usize = 2;

/// Messages that one request may ask for.
pub const LOOK_MESSAGES_MAX: u64 = 1000;

/// Bytes of messages that one request gets when it does not say.
pub const LOOK_BYTES_DEFAULT: u64 = 1024 * 1024;

/// Bytes of messages that one request may ask for.
pub const LOOK_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Messages that are read from the store at once.
pub const LOOK_SLICE_MESSAGES: u64 = 128;

/// About how many bytes of them.
pub const LOOK_SLICE_BYTES: u64 = 256 * 1024;

/// Ranges of damaged messages that one look goes past.
pub(crate) const LOOK_DAMAGED_RANGES: usize = 32;

/// What a message costs its receiver's connection beside its bytes and the names in it.
pub const LOOK_OVERHEAD_BYTES: usize = 192;

/// How long a read of messages waits for a connection that does not read what was sent.
pub const LOOK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// How long it takes at most; the rest is asked for anew.
pub const LOOK_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(30);

const _: () = assert!(
    LOOKS_MAX < ADMINISTRATION_REQUESTS_MAX,
    "slow readers leave room for other requests"
);
const _: () = assert!(
    LOOK_SLICE_BYTES < 1 << 32 && LOOK_SLICE_MESSAGES < 1 << 32,
    "the store counts in 32 bits"
);
/// Bytes of a file that one answer of a backup has at most.
pub const BACKUP_PIECE_BYTES_MAX: u64 = 256 * 1024;

/// How often it is looked whether the store still keeps the files of a backup.
pub const BACKUP_LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// How long files are kept for a backup whose client asks for nothing.
pub const BACKUP_IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// How long a backup may take in all.
pub const BACKUP_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Turns of tasks on one thread before it looks at its sockets again: a turn of a busy client takes a millisecond or two.
pub(crate) const TURNS_PER_LOOK_AT_SOCKETS: u32 = 16;

/// How long a start waits for the other servers of the cluster to say what their clients want: behind one that answers nothing there
/// may still be another engine.
pub const CLUSTER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// How long the first member of a group listens before it makes a store in an empty directory: an active server that is heard until then has
/// another one, which is not mounted here.
pub(crate) const FOUNDING_QUIET: std::time::Duration = std::time::Duration::from_secs(2);

/// How long a server that is to hand over waits for a checkpoint that shortens the start of the next one, and serves meanwhile; and how
/// long it leaves the tenure to others before it takes it again.
pub(crate) const HAND_OVER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Bytes behind the last checkpoint from which that is worth waiting for: what is less is read in some milliseconds.
pub(crate) const HAND_OVER_TAIL_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes on their way to a NATS server of somebody else at which deliveries wait.
pub const EXTERNAL_OUTBOUND_BYTES_HIGH: usize = 8 * 1024 * 1024;

/// Bytes at which they go on.
pub const EXTERNAL_OUTBOUND_BYTES_LOW: usize = EXTERNAL_OUTBOUND_BYTES_HIGH / 2;

/// Bytes at which what cannot wait, replies most of all, is dropped: whoever asked asks again.
pub const EXTERNAL_OUTBOUND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that one sender gathers before it hands them over by itself.
pub(crate) const EXTERNAL_GATHERED_BYTES_MAX: usize = 256 * 1024;

/// Bytes that are written to a NATS server at once.
pub(crate) const EXTERNAL_WRITE_BYTES: usize = 128 * 1024;

/// Bytes of room for what a NATS server sends next.
pub(crate) const EXTERNAL_READ_BYTES: usize = 128 * 1024;

/// Bytes of room that are kept when nothing is in it.
pub(crate) const EXTERNAL_KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a file with credentials for a NATS server.
pub(crate) const EXTERNAL_CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;

/// Servers that a NATS server may tell of.
pub(crate) const EXTERNAL_SERVERS_LEARNT_MAX: usize = 64;

/// How long a connection to a NATS server may take, and how long the server's introduction.
pub(crate) const EXTERNAL_CONNECT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How long a NATS server may take none of what it is sent.
pub(crate) const EXTERNAL_WRITE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// How often a NATS server is asked whether it is there.
pub(crate) const EXTERNAL_ASKED_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// How long it may take to answer.
pub(crate) const EXTERNAL_ANSWER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A NATS server that takes so much longer for an answer than for its quickest one stood still.
pub(crate) const EXTERNAL_STANDS_STILL: std::time::Duration = std::time::Duration::from_millis(250);

/// The wait before the first round over all NATS servers after a connection was lost; it doubles with each round.
pub(crate) const EXTERNAL_BACK_OFF_MIN: std::time::Duration = std::time::Duration::from_millis(50);

/// The longest of these waits.
pub(crate) const EXTERNAL_BACK_OFF_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// A connection that lasted so long makes the next pause the shortest again.
pub(crate) const EXTERNAL_LASTING: std::time::Duration = std::time::Duration::from_secs(5);

/// How long clients of a NATS server that is alone and was away get to come back before anything is delivered: most wait for two
/// seconds before they try.
pub(crate) const EXTERNAL_RETURN_PATIENCE: std::time::Duration = std::time::Duration::from_millis(2200);

/// How long a NATS server may take at the start to look at what it was told.
pub(crate) const EXTERNAL_SETTLE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// How long it may take at the end.
pub(crate) const EXTERNAL_CLOSE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Changes of the servers of a cluster in a row after which nobody is judged for a moment.
pub(crate) const EXTERNAL_CHANGES_MAX: u32 = 8;

/// How long it takes until one more of them counts.
pub(crate) const EXTERNAL_CHANGE_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

/// How long reading a file of credentials may take while the server runs; less than the NATS server waits for what is in it.
pub(crate) const EXTERNAL_CREDENTIALS_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// How often the operator is told of what happens very often on the connection to a NATS server.
pub(crate) const EXTERNAL_TOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

const _: () = assert!(EXTERNAL_OUTBOUND_BYTES_HIGH + EXTERNAL_GATHERED_BYTES_MAX < EXTERNAL_OUTBOUND_BYTES_MAX);

/// How often what is new in the store is archived.
pub(crate) const ARCHIVE_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// How often it is looked whether that has to be earlier, while something is written.
pub(crate) const ARCHIVE_LOOKED_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// The part of what a store may keep for its archive from which it has to be.
pub(crate) const ARCHIVE_EARLY_FRACTION: u64 = 8;

/// Bytes that were new at once after which is looked again without a pause: the archive is behind.
pub(crate) const ARCHIVE_AGAIN_AT_ONCE_BYTES: u64 = 64 * 1024 * 1024;

/// The pause after a first attempt to archive that failed; it doubles with each more.
pub(crate) const ARCHIVE_BACK_OFF_MIN: std::time::Duration = std::time::Duration::from_secs(1);

/// The longest of these pauses.
pub(crate) const ARCHIVE_BACK_OFF_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// How often the operator is told of an archive that goes on to fail.
pub(crate) const ARCHIVE_TOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(10 * 60);

/// How long a server that stops waits for its archive. What is not there then is archived by the next start.
pub(crate) const ARCHIVE_LAST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A copy to the archive of which nothing moves for so long hangs.
pub(crate) const ARCHIVE_HANGS_AFTER: std::time::Duration = std::time::Duration::from_secs(2 * 60);

/// How often what need not be kept in the archive is removed.
pub(crate) const ARCHIVE_PRUNED_EVERY: std::time::Duration = std::time::Duration::from_secs(60 * 60);
