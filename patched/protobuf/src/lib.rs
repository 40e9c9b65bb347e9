//! Stands in for rust-protobuf 2 below the `raft` crate, which uses these two names of it and no others: what it sends and stores
//! never passes through protocol buffers here. The types that implement the trait are those of `patched/raft-proto`.

use std::fmt;

/// Why bytes were not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtobufError(pub &'static str);

impl fmt::Display for ProtobufError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for ProtobufError {}

/// What can be weighed, and turned into bytes and back.
pub trait Message {
    /// Bytes that count against limits.
    fn compute_size(&self) -> u32;

    /// The value as bytes.
    ///
    /// # Errors
    ///
    /// A value that is never written.
    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError>;

    /// Becomes what the bytes say; no bytes say the default value.
    ///
    /// # Errors
    ///
    /// Bytes that are too short, too long, or say what there is not; the value is then unspecified.
    fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), ProtobufError>;
}
