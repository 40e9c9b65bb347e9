//! The engine's bounds: every queue and every slice of work is bounded by one of these.

/// Sends (and skipped messages, trims, moved entries) done in one call of `handle` before the rest waits for the next
/// `EndOfPass`: about a millisecond of work. Each of the three kinds of work there has as much of its own.
pub(crate) const HANDLE_WORK_MAX: usize = 4096;

/// Bytes of a delivery that count for one more of those: about 4 MB are on their way before the rest waits.
pub(crate) const DELIVERY_BYTES_PER_WORK: u32 = 1024;

/// Messages asked for in one read.
pub(crate) const READ_MESSAGES_MAX: u32 = 1024;

/// About how many bytes are asked for in one read.
pub(crate) const READ_BYTES_MAX: u32 = 1024 * 1024;

/// A failed read is tried again after this many nanoseconds.
pub(crate) const READ_RETRY_NS: u64 = 1_000_000_000;

/// Nanoseconds before the first look whether what is damaged can be read again; twice as long before each further one.
pub(crate) const DAMAGE_LOOK_FIRST_NS: u64 = 1_000_000_000;
/// Damaged messages are looked at again after this many nanoseconds, one read for each channel that has any.
pub(crate) const DAMAGE_LOOK_NS: u64 = 60_000_000_000;

/// Ranges of damaged messages that a channel remembers.
pub(crate) const DAMAGED_RANGES_MAX: usize = 1024;

/// What was passed over and can be read again waits so long while its receiver has no room.
pub(crate) const HELD_BACK_WAIT_NS: u64 = 1_000_000_000;

/// How much of what it took over from others a subscription that still has something to be sent again looks past at each ack.
pub(crate) const TAKEN_OVER_PER_ACK_MAX: usize = 64;

/// An ack deadline this close is treated as passed (`streaming-protocol.md` §5.5).
pub(crate) const REDELIVERY_SLACK_NS: u64 = 15_000_000;

/// First deliveries within this time share one deadline, the earliest. Below [`REDELIVERY_SLACK_NS`], so that sharing is
/// not visible beyond the slack that redelivery has anyway.
pub(crate) const DEADLINE_WINDOW_NS: u64 = 5_000_000;

/// How long after the bus is back, or goes other ways, nobody is judged by what is missing: clients wait for two seconds before they
/// connect again.
pub(crate) const BUS_SETTLE_NS: u64 = 2_000_000_000;

/// How long a client's old connection may take to prove that it is alive (`streaming-protocol.md` §2.7).
pub(crate) const DUPLICATE_CHECK_NS: u64 = 500_000_000;

/// A ping from a client whose heartbeats fail brings the next heartbeat forward to this (`streaming-protocol.md` §2.11).
pub(crate) const HEARTBEAT_AFTER_PING_NS: u64 = 1_000_000;

/// A step of the wall clock against the monotonic one by more than this makes the ages of messages be looked at again.
pub(crate) const CLOCK_STEP_NS: i64 = 1_000_000_000;

/// A wall clock that is ahead of monotonic progress by more than this counts only when it stays so.
pub(crate) const CLOCK_JUMP_NS: i64 = 3_600_000_000_000;
/// How long after it was set back by more than that a clock may return to where it was.
pub(crate) const CLOCK_RETURN_NS: u64 = 3_600_000_000_000;

/// How long it has to stay so before it counts.
pub(crate) const CLOCK_AGREEMENT_NS: u64 = 60_000_000_000;

/// A channel whose times are ahead of the clock by more than this is told of.
pub(crate) const CHANNEL_AHEAD_NS: u64 = 1_000_000_000;

/// A channel whose deletion could not be recorded is tried again after its own limit, but not before this.
pub(crate) const DELETE_RETRY_NS: u64 = 100_000_000;

/// How long a request waits for its client's connect in partitioning mode (`streaming-protocol.md` §10).
pub(crate) const REGISTRATION_WAIT_NS: u64 = 1_000_000_000;

/// Requests that wait for their client's connect; more are refused at once.
pub(crate) const UNREGISTERED_REQUESTS_MAX: usize = 1024;

/// Bytes of all requests that wait for their client's connect; more are refused at once.
pub(crate) const UNREGISTERED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Clients remembered because their connect never came (`streaming-protocol.md` §10).
pub(crate) const INVALID_CLIENTS_MAX: usize = 256;

/// How many of those are forgotten at once to make room.
pub(crate) const INVALID_CLIENTS_PRUNED: usize = 32;

/// Bytes of a client's names beyond which it is not remembered.
pub(crate) const INVALID_CLIENT_BYTES_MAX: usize = 1024;

/// Subscription requests that wait for a seek by time.
pub(crate) const SEEKS_MAX: usize = 16 * 1024;

/// Facts per checkpoint slice.
pub(crate) const CHECKPOINT_FACTS_MAX: usize = 256;

/// Runs of pending sequences in one fact.
pub(crate) const RUNS_PER_FACT_MAX: usize = 4096;

/// Runs of sent or acknowledged sequences kept before they are written although the pass is not over.
pub(crate) const DIRTY_RUNS_MAX: usize = 4096;

/// Entries of subscriptions with nothing more to write down that are kept to be used again.
pub(crate) const DIRTY_SPARE_MAX: usize = 4096;

/// Bytes of refused publishes' answers that may queue behind earlier answers; beyond, they overtake.
pub(crate) const REFUSALS_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(INVALID_CLIENTS_PRUNED <= INVALID_CLIENTS_MAX);
const _: () = assert!(DEADLINE_WINDOW_NS < REDELIVERY_SLACK_NS);
const _: () = assert!(CHECKPOINT_FACTS_MAX > 0 && HANDLE_WORK_MAX > CHECKPOINT_FACTS_MAX);

/// Runs of unacknowledged sequences that monitoring lists of one subscription.
pub(crate) const WHY_RANGES_MAX: usize = 16;

/// Names that monitoring lists when what was asked for does not exist.
pub(crate) const WHY_NAMES_MAX: usize = 20;

/// Names on each side of an unknown one, in their order, that are compared with it.
pub(crate) const WHY_NAMES_COMPARED: usize = 500;

/// Losses of one kind that a start names one by one.
pub(crate) const LOSSES_TOLD_MAX: usize = 100;

/// Members of a queue group that a change may touch, which it does at once: some milliseconds of work.
pub(crate) const CHANGED_MEMBERS_MAX: usize = 10_000;

/// Changes by operators that are remembered; older ones are forgotten.
pub(crate) const AUDIT_ENTRIES_MAX: usize = 1_000;

/// Bytes of one of them: of who made it, and of what it was.
pub(crate) const AUDIT_BY_BYTES_MAX: usize = 256;
pub(crate) const AUDIT_WORDS_BYTES_MAX: usize = 1_024;

/// How many of them one fact of a checkpoint holds.
pub(crate) const AUDIT_PER_FACT: usize = 16;
