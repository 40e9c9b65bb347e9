//! Every bound of this crate, in one place.

/// Bytes that are read, checked and written at once.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// Of a file of more bytes than two of these, its first and its last so many tell it from an earlier one of its name.
pub(crate) const SAMPLE_BYTES: u64 = 64 << 10;
/// Manifests that are looked at for files that need not be copied again.
pub(crate) const MANIFESTS_REMEMBERED: usize = 4;
/// Bytes of a manifest: about two million files.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 512 << 20;
