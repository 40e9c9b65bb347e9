//! What is found to be damaged.

use crate::names::LogId;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Name of the file.
    pub file: String,
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// How many bytes cannot be believed; 0 when nobody knows.
    pub length: u64,
    /// What is wrong.
    pub reason: String,
    /// Messages that lie there, in runs from a first to a last sequence, as far as the segment's directory tells.
    pub messages: Vec<(LogId, u64, u64)>,
    /// A start makes it again from what is whole: nothing is lost by it.
    pub is_remade: bool,
    /// The file is not there. When all its messages were removed since, nobody needs it.
    pub is_missing: bool,
}

impl Damage {
    /// Of a file as a whole.
    pub(crate) fn of_file(file: String, reason: impl Into<String>) -> Damage {
        Damage {
            file,
            offset: 0,
            length: 0,
            reason: reason.into(),
            messages: Vec::new(),
            is_remade: false,
            is_missing: false,
        }
    }
}
