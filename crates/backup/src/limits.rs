//! Every bound of this crate, in one place.

/// Bytes that are read, checked and written at once.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// Bytes that are asked for, written and synced at once by whoever makes a backup: a server that writes to the same disk waits for no more.
pub(crate) const COPIED_BYTES: usize = 512 << 10;
/// Bytes that are tried on their own where a piece cannot be read.
pub(crate) const UNIT_BYTES: usize = 4_096;
/// Backups that are looked into for what a store lacks.
pub(crate) const DONORS_MAX: usize = 16;
/// Of a file of more bytes than two of these, its first and its last so many tell it from an earlier one of its name.
pub(crate) const SAMPLE_BYTES: u64 = 64 << 10;
/// Manifests that are looked at for files that need not be copied again.
pub(crate) const MANIFESTS_REMEMBERED: usize = 4;
/// Files of a backup: two million, in a manifest of some 200 bytes each.
pub const FILES_MAX: usize = 2_000_000;
/// Bytes of a file's name: what an archive has room for.
pub(crate) const NAME_BYTES_MAX: usize = 99;
/// Digits of a store's identity, and of its life, by which people know it.
pub(crate) const NAME_DIGITS_SHOWN: usize = 8;

/// Stores that are named when it is not clear which one is meant.
pub(crate) const STORES_NAMED_MAX: usize = 8;
/// Pieces of files that one link of an archive names.
pub(crate) const PIECES_MAX: usize = 4_000_000;
/// Bytes of such a link.
pub(crate) const LINK_BYTES_MAX: u64 = 512 << 20;
/// What a link says of itself lies in its first bytes.
pub(crate) const LINK_HEAD_BYTES: u64 = 4 << 10;
/// Chains of an archive that are tried, the newest first, for one that a store continues.
pub(crate) const CHAINS_TRIED_MAX: usize = 16;
/// Bytes of a manifest: about two million files.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 512 << 20;
