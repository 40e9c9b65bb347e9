//! Everything odd that a directory has, what it means, and what an adoption makes of it.

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use crate::limits::FINDINGS_MAX;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing is lost, nothing needs mending.
    Note,
    /// An adoption mends it; nothing is lost that the original would still have shown.
    Repair,
    /// Something that the directory once held cannot be taken.
    Loss,
    /// Nothing can be adopted before this is settled.
    Refusal,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "`Kind::words` is their documentation, and what users read")]
pub enum Kind {
    InUse,
    UnsupportedVersion,
    ServerInfoMissing,
    ServerInfoDamaged,
    NoHeader,
    ZeroTail,
    TornTail,
    UnreadableBytes,
    UnknownRecord,
    TooMany,
    IndexMissing,
    IndexDamaged,
    IndexBehind,
    IndexAhead,
    UnindexedBytes,
    SupersededRecords,
    DuplicateSequences,
    MessageDamaged,
    Gap,
    DecreasingTimes,
    LooksEncrypted,
    Undecryptable,
    GhostMember,
    OrphanSubscription,
    PositionBeyondEnd,
    SliceName,
    IndexWithoutData,
    ArchivedSlice,
    UnknownFile,
    SymbolicLink,
    NoChannel,
    ChannelName,
    CompactionLeftover,
    TruncateWitness,
    RaftDirectory,
    SnapshotDamaged,
    RaftLogDamaged,
    RaftEntryUnreadable,
    MessagesOnlyInRaftLog,
    MessagesMissing,
    MessagesEndBefore,
    ChannelTwice,
    StoreLocked,
    SessionsOpen,
}

impl Kind {
    /// What it means, and what an adoption does with it.
    #[must_use]
    // Long: one table.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Kind::InUse => ("a running process has it open", "stop the server first"),
            Kind::UnsupportedVersion => (
                "the file is of another version of the format than 1",
                "refused: this release of Seaway cannot read it",
            ),
            Kind::ServerInfoMissing => (
                "there is no server information: no cluster ID, no subjects",
                "the cluster ID of the command line counts, and the usual subjects",
            ),
            Kind::ServerInfoDamaged => (
                "the server information is damaged: cluster ID and subjects are unknown (or the server had another -file_crc_poly)",
                "the cluster ID of the command line counts, and the usual subjects: clients that stayed connected may have others",
            ),
            Kind::NoHeader => (
                "the file ends within its header: a crash while it was made",
                "taken as empty",
            ),
            Kind::ZeroTail => ("the file ends in zeros: room that was never used", "ignored"),
            Kind::TornTail => (
                "the last record is incomplete: it was being written when the server ended",
                "the incomplete record is left out",
            ),
            Kind::UnreadableBytes => (
                "no valid record is here",
                "left out; reading goes on at the next valid record",
            ),
            Kind::UnknownRecord => ("a record of an unknown kind or with unknown content", "left out"),
            Kind::TooMany => ("there are more entries than can be real", "refused"),
            Kind::IndexMissing => (
                "the index file is missing",
                "the data file is read from start to end instead",
            ),
            Kind::IndexDamaged => (
                "the index cannot be trusted",
                "the data file is read from start to end instead",
            ),
            Kind::IndexBehind => (
                "records follow that the index does not know: the server ended between its two writes",
                "taken, unless their sequences were given out again",
            ),
            Kind::IndexAhead => (
                "the index knows messages that the data file no longer holds",
                "these messages are lost",
            ),
            Kind::UnindexedBytes => (
                "bytes between messages that the index does not know: left behind by a crash",
                "ignored",
            ),
            Kind::SupersededRecords => (
                "records whose sequences were given out again after a crash",
                "the later ones are taken",
            ),
            Kind::DuplicateSequences => (
                "messages with sequences that earlier files have already",
                "the earlier ones are taken",
            ),
            Kind::MessageDamaged => (
                "a message is damaged: its bytes do not match its checksum",
                "left out: an empty message takes its sequence",
            ),
            Kind::Gap => ("sequences are missing", "empty messages take their place"),
            Kind::DecreasingTimes => (
                "messages are older than the one before: the clock was set back",
                "times are kept; a start by time uses the latest time so far",
            ),
            Kind::LooksEncrypted => (
                "payloads look encrypted, and no key was given",
                "taken as they are; with the key they can be checked and read",
            ),
            Kind::Undecryptable => (
                "payloads look encrypted and cannot be decrypted with this key",
                "taken as they are: they are plain, or of another key",
            ),
            Kind::GhostMember => (
                "members of durable queue groups whose client is gone",
                "removed, as the original does at its start; the group stays when it has other members",
            ),
            Kind::OrphanSubscription => ("subscriptions without a durable name whose client is gone", "removed"),
            Kind::PositionBeyondEnd => (
                "subscriptions were sent messages with higher sequences than there are",
                "the position is that of the last message: new messages arrive",
            ),
            Kind::SliceName => ("a message file without a number in its name", "left out"),
            Kind::IndexWithoutData => ("an index without its message file", "ignored"),
            Kind::ArchivedSlice => ("a message file that was given to the archive script", "ignored"),
            Kind::UnknownFile => ("not a file of NATS Streaming", "left where it is"),
            Kind::SymbolicLink => (
                "a symbolic link is where a file of the store has to be",
                "refused: put the file that it leads to in its place",
            ),
            Kind::NoChannel => ("a directory without channel files", "no channel is made of it"),
            Kind::ChannelName => ("a directory with messages, whose name is no channel's", "left out"),
            Kind::CompactionLeftover => ("left behind by an interrupted compaction", "ignored"),
            Kind::TruncateWitness => ("the last start was one with -file_truncate_bad_eof", "ignored"),
            Kind::RaftDirectory => (
                "a member of a cluster, whose clients and subscriptions are in its Raft directory, which was not found",
                "name it with --raft-dir (the server's -cluster_log_path)",
            ),
            Kind::SnapshotDamaged => ("a Raft snapshot is incomplete or damaged", "the one before it is used"),
            Kind::RaftLogDamaged => (
                "the Raft log is damaged here",
                "what is behind is left out: rather adopt another member's directory",
            ),
            Kind::RaftEntryUnreadable => (
                "Raft log entries cannot be read: encrypted with another key, or damaged",
                "left out: with the server's encryption key they can be read",
            ),
            Kind::MessagesOnlyInRaftLog => (
                "messages that only the Raft log has: the member had not stored them yet",
                "taken from the log",
            ),
            Kind::MessagesMissing => (
                "the cluster had messages that this member has neither stored nor in its log",
                "lost here: rather adopt another member's directory",
            ),
            Kind::MessagesEndBefore => (
                "the channel gave out sequences beyond its last message, whose messages are gone",
                "empty messages take their place: sequences go on behind them",
            ),
            Kind::ChannelTwice => (
                "two channels that are not deleted have this name",
                "refused: one of the two rows of Channels must go",
            ),
            Kind::SessionsOpen => (
                "somebody else is connected to the database: a server that still runs, perhaps",
                "stop the server; when all of them are something else, say --sessions-are-harmless",
            ),
            Kind::StoreLocked => (
                "a running server of a fault-tolerance group holds the StoreLock",
                "stop the servers of the group first",
            ),
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub kind: Kind,
    /// The file or channel, relative to the directory.
    pub file: String,
    /// Where in the file, in bytes from its start.
    pub offset: Option<u64>,
    /// How many bytes, records, messages or subscriptions.
    pub count: Option<u64>,
    /// The first message that it concerns.
    pub sequence: Option<u64>,
}

impl Finding {
    pub(crate) fn new(severity: Severity, kind: Kind, file: impl Into<String>) -> Self {
        Self {
            severity,
            kind,
            file: file.into(),
            offset: None,
            count: None,
            sequence: None,
        }
    }

    pub(crate) fn offset(self, offset: u64) -> Self {
        Self {
            offset: Some(offset),
            ..self
        }
    }

    pub(crate) fn count(self, count: u64) -> Self {
        Self {
            count: Some(count),
            ..self
        }
    }

    pub(crate) fn sequence(self, sequence: u64) -> Self {
        Self {
            sequence: Some(sequence),
            ..self
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (meaning, action) = self.kind.words();
        let mut object = serializer.serialize_struct("Finding", 8)?;
        object.serialize_field("severity", &self.severity)?;
        object.serialize_field("kind", &self.kind)?;
        object.serialize_field("file", &self.file)?;
        object.serialize_field("offset", &self.offset)?;
        object.serialize_field("count", &self.count)?;
        object.serialize_field("sequence", &self.sequence)?;
        object.serialize_field("meaning", meaning)?;
        object.serialize_field("action", action)?;
        object.end()
    }
}

/// What was found so far; bounded, and never silent about what it could not keep.
#[derive(Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    not_kept: u64,
    worst: Option<Severity>,
    /// Of which there was one at least: no more than there are severities and kinds.
    met: Vec<(Severity, Kind)>,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        self.worst = self.worst.max(Some(finding.severity));
        let sort = (finding.severity, finding.kind);
        let is_first = !self.met.contains(&sort);
        if is_first {
            self.met.push(sort);
        }
        // Whoever decides by what is kept misses nothing that he can decide by.
        if is_first || self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.not_kept += 1;
        }
    }

    /// The findings, in the order in which they were met; the first of each kind and severity is always among them.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many more there were than could be kept.
    #[must_use]
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    /// The worst of all, kept or not.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_and_severity_is_kept_and_the_rest_counted() {
        let mut findings = Findings::default();
        for _ in 0..FINDINGS_MAX + 5 {
            findings.push(Finding::new(Severity::Note, Kind::UnknownFile, "a"));
        }
        for _ in 0..2 {
            findings.push(Finding::new(Severity::Note, Kind::LooksEncrypted, "b"));
            findings.push(Finding::new(Severity::Refusal, Kind::UnknownFile, "c"));
        }
        let last: Vec<&str> = findings.kept()[FINDINGS_MAX..]
            .iter()
            .map(|one| &one.file[..])
            .collect();
        assert_eq!((last, findings.not_kept()), (vec!["b", "c"], 7));
        assert_eq!(findings.worst(), Some(Severity::Refusal));
    }
}
