//! The enumerations: kinds of messages, entries and changes, each with the number that stands for it on a wire.

/// An enumeration with numbers, and the way back from a number.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $choice:ident = $number:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$what])* $choice = $number),*
        }

        impl $name {
            /// The choice with this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$choice),)*
                    _ => None,
                }
            }
        }
    };
}

choice!(
    /// What an entry of the log is.
    EntryType {
        /// Data, or nothing: a leader's first entry.
        #[default]
        EntryNormal = 0,
        /// A change of one member in the old form; never made here.
        EntryConfChange = 1,
        /// A change of members.
        EntryConfChangeV2 = 2,
    }
);

choice!(
    /// What a message is. Those marked "local" never travel.
    MessageType {
        /// Local: campaign.
        #[default]
        MsgHup = 0,
        /// Local: send heartbeats.
        MsgBeat = 1,
        /// Append these entries.
        MsgPropose = 2,
        /// Entries from the leader.
        MsgAppend = 3,
        /// How far a follower's log goes, or that it does not match.
        MsgAppendResponse = 4,
        /// Asks for a vote.
        MsgRequestVote = 5,
        /// A vote, or a refusal.
        MsgRequestVoteResponse = 6,
        /// A snapshot in place of entries that are gone.
        MsgSnapshot = 7,
        /// The leader is there.
        MsgHeartbeat = 8,
        /// So is the follower.
        MsgHeartbeatResponse = 9,
        /// Local: a message to a peer was lost.
        MsgUnreachable = 10,
        /// Local: how the transfer of a snapshot ended.
        MsgSnapStatus = 11,
        /// Local: is a quorum still heard of.
        MsgCheckQuorum = 12,
        /// Local here: hand leadership over.
        MsgTransferLeader = 13,
        /// Campaign at once, the leader gives way.
        MsgTimeoutNow = 14,
        /// Local here: confirm leadership.
        MsgReadIndex = 15,
        /// The answer.
        MsgReadIndexResp = 16,
        /// Asks whether a vote would be given.
        MsgRequestPreVote = 17,
        /// The answer.
        MsgRequestPreVoteResponse = 18,
    }
);

choice!(
    /// How a change of members goes through a joint configuration.
    ConfChangeTransition {
        /// Only when more than one member changes, and then as `Implicit`.
        #[default]
        Auto = 0,
        /// Always; the library leaves it by itself.
        Implicit = 1,
        /// Always; whoever proposed the change proposes to leave it.
        Explicit = 2,
    }
);

choice!(
    /// What happens to a member.
    ConfChangeType {
        /// It becomes a voter.
        #[default]
        AddNode = 0,
        /// It goes.
        RemoveNode = 1,
        /// It gets the log and has no vote.
        AddLearnerNode = 2,
    }
);
