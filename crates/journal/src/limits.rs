//! Every bound of the journal, in one place.

/// Bytes at the start of a segment before the first batch (docs/journal-format.md §4).
pub const SEGMENT_HEADER_BYTES: u32 = 4_096;
/// Capacity of the first segment of an epoch; later ones double up to the configured maximum.
pub const SEGMENT_BYTES_FIRST: u64 = 1 << 20;
/// Default of the largest ordinary segment.
pub const SEGMENT_BYTES_MAX_DEFAULT: u64 = 64 << 20;
/// Smallest capacity a segment may have.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Smallest capacity of the first segment of an epoch that begins on a full disk.
pub const SEGMENT_BYTES_FULL_DISK: u64 = 16 << 10;
/// A file of this size for which nothing is to stay free is tried to be made, whatever the file system says of its space.
pub const SEGMENT_BYTES_TRIED: u64 = 256 << 10;
/// Largest capacity of any segment, also of one made for a single huge record.
pub const SEGMENT_BYTES_CEILING: u64 = 1 << 31;
/// Largest body of one record.
pub const RECORD_BODY_BYTES_MAX: usize = 1 << 30;
/// A batch is closed when it has grown to this size; a single larger record makes a larger batch.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Default bound of the memory that serves the newest messages.
pub const TAIL_CACHE_BYTES_DEFAULT: usize = 64 << 20;
/// Default bound of what is appended but not durable before publishes are held back.
pub const BACKLOG_BYTES_MAX_DEFAULT: u64 = 64 << 20;
/// Room in prepared segments that publishes may not take: acks, trims and rewriting live from it, and in half of it clients come to
/// consume.
pub const RESERVE_BYTES_MAX: u64 = 256 << 10;
/// The same that records of a member of a cluster may not take, in a segment of 256 KiB and more: room for dozens of entries that those who
/// replicate write themselves.
pub const ENTRY_RESERVE_BYTES: u64 = 16 << 10;
/// A segment of at most this size is prepared as soon as the one before it is in use.
pub const PREPARED_AT_ONCE_BYTES: u64 = 4 << 20;
/// A larger one when no more than so many batches, or a quarter of the one in use, fit before it.
pub const PREPARED_BEFORE_BATCHES: u64 = 4_096;
/// A new segment is allocated, and what nobody wrote costs a sync some of the file system's own blocks. A batch shorter than this
/// that comes to the end of what was written writes zeros for those after it as well; with longer ones every byte is written once.
pub const ZEROS_BEHIND_BATCH_BYTES: u64 = 24 << 10;
/// How many: for one publish in flight some 1,200 batches.
pub const ZEROS_AHEAD_BYTES: u64 = 256 << 10;
/// Bytes of tail after which a checkpoint is asked for.
pub const CHECKPOINT_BYTES_DEFAULT: u64 = 64 << 20;
/// Size at which a block of checkpoint entries is handed to the disk.
pub const CHECKPOINT_BLOCK_BYTES: usize = 256 << 10;
/// Largest block a reader of checkpoints accepts.
pub const CHECKPOINT_BLOCK_BYTES_MAX: u32 = 1 << 31;
/// Logs captured for a checkpoint, or runs of a directory absorbed, in one step.
pub const STEP_LOGS_MAX: usize = 2_048;
/// Dead segments removed by one job.
pub const REMOVALS_MAX: usize = 64;
/// Dead segments looked at for one job: those that are being read, or whose death is not durable yet, stay.
pub const REMOVALS_LOOKED_AT_MAX: usize = 1_024;
/// Reads handed out at the same time.
pub const READS_MAX: usize = 4;
/// Bytes of answered reads that their owner has not let go of at which none is begun.
pub const READ_MEMORY_BYTES: usize = 16 << 20;
/// What an answered read counts for in that at least.
pub const READ_MEMORY_LEAST: usize = 16 << 10;
/// Messages of one cold read.
pub const READ_MESSAGES_MAX: usize = 8_192;
/// Bytes of one cold read (one message may be larger).
pub const READ_BYTES_MAX: usize = 4 << 20;
/// Records nearer to each other than this are fetched with one disk read.
pub const READ_GAP_BYTES: u32 = 16 << 10;
/// Damaged pages of a directory that one step of a search for a time goes past.
pub const SEEK_JUMPS_MAX: usize = 64;
/// Pauses before a read that the medium refused is tried again, milliseconds; then it counts as damage.
pub const READ_PAUSES_MS: [u64; 3] = [10, 100, 400];
/// Entries of a head window at first and at most.
pub const WINDOW_ENTRIES_MIN: u32 = 16;
/// See [`WINDOW_ENTRIES_MIN`].
pub const WINDOW_ENTRIES_MAX: u32 = 1_024;
/// Head windows fetched by one job.
pub const WINDOWS_PER_JOB: usize = 256;
/// Bytes, entries and runs that one step of rewriting moves.
pub const REWRITE_BYTES: u64 = 512 << 10;
/// See [`REWRITE_BYTES`].
pub const REWRITE_ENTRIES: u64 = 4_096;
/// What a segment and its directory take besides messages: headers and rounding to pages.
pub const SEGMENT_OVERHEAD_BYTES: u64 = 16 << 10;
/// More sealed segments than this of at most [`SEGMENT_SMALL_BYTES`] are merged.
pub const SEGMENTS_SMALL_MAX: usize = 3;
/// See [`SEGMENTS_SMALL_MAX`].
pub const SEGMENT_SMALL_BYTES: u64 = 32 << 10;
/// Iterations from a key to a journal's master key: some tens of milliseconds for a start, and for each guess.
pub const KEY_DERIVATION_ITERATIONS: u32 = 100_000;
/// The most a reader accepts.
pub const KEY_DERIVATION_ITERATIONS_MAX: u32 = 100_000_000;
/// Ciphers of segments kept for reads.
pub const CIPHERS_KEPT: usize = 64;
/// New segments and directories are written and synced in pieces of this size.
pub const PIECE_BYTES: usize = 512 << 10;

/// Entries of which a member of a cluster knows where they are, when it could do without: 32 bytes each.
pub const ENTRIES_MAX: usize = 1 << 20;
/// Default bound of the segments that a member keeps for entries alone, which others may still need.
pub const ENTRY_BYTES_KEPT_DEFAULT: u64 = 256 << 20;
/// Largest body with which a checkpoint, or an entry with a change, says who the members are.
pub const MEMBERS_BYTES_MAX: usize = 64 << 10;
/// Who may read a journal beside it at the same time.
pub const HOLDS_MAX: usize = 4;
/// Entries that wait to be read from the disk.
pub const ENTRY_READS_WAITING_MAX: usize = 1_024;

const _: () = assert!(SEGMENT_BYTES_MIN > 4 * SEGMENT_HEADER_BYTES as u64);
const _: () = assert!(SEGMENT_BYTES_FULL_DISK > 2 * SEGMENT_HEADER_BYTES as u64);
const _: () = assert!((RECORD_BODY_BYTES_MAX as u64) * 2 <= SEGMENT_BYTES_CEILING);
const _: () = assert!(RESERVE_BYTES_MAX * 2 <= SEGMENT_BYTES_FIRST);
const _: () = assert!(SEGMENT_BYTES_FIRST <= SEGMENT_BYTES_MAX_DEFAULT);

/// Nanoseconds after which the time is written again into a journal that is archived, when something is appended.
pub const TIME_NOTED_EVERY_NS: u64 = 1_000_000_000;
