//! What waits for the own disk: pieces of work in the order in which they were begun, each with what must be on the disk before its
//! messages may leave. At most `limits::OUTSTANDING_MAX`.

use std::collections::VecDeque;

use raft_proto::eraftpb::{Message, MessageType};

use crate::identity::NodeId;
use crate::limits;
use crate::outside::Vote;
use crate::planted::{Fault, is_planted};

/// What must be on the disk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    /// The log up to this position.
    pub(super) position: u64,
    /// The votes up to this ticket.
    pub(super) vote: u64,
}

/// A piece of work that is done but not synced.
#[derive(Debug)]
pub(super) struct Piece {
    /// The library's number of it.
    pub(super) number: u64,
    needs: Needs,
    /// Tick at which it was begun.
    since: u64,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pieces: VecDeque<Piece>,
    /// Ticket of the newest vote that was written, and of the newest that is on the disk.
    vote_asked: u64,
    vote_written: u64,
    vote: Vote,
}

impl Outstanding {
    /// Nothing waits; this vote is on the disk.
    pub(super) fn new(vote: Vote) -> Self {
        Self {
            pieces: VecDeque::new(),
            vote_asked: 0,
            vote_written: 0,
            vote,
        }
    }

    /// Whether nothing new may be begun.
    pub(super) fn is_at_bound(&self) -> bool {
        self.pieces.len() >= limits::OUTSTANDING_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The ticket under which a vote is to be written, when it is not the one that was written last.
    pub(super) fn ask(&mut self, vote: Vote) -> Option<u64> {
        (vote != self.vote).then(|| {
            self.vote = vote;
            self.vote_asked += 1;
            self.vote_asked
        })
    }

    /// Whether this vote is on the disk.
    pub(super) fn is_written(&self, vote: Vote) -> bool {
        self.vote == vote && self.vote_written == self.vote_asked
    }

    pub(super) fn on_vote_written(&mut self, ticket: u64) {
        self.vote_written = self.vote_written.max(ticket.min(self.vote_asked));
    }

    /// A piece of work was begun at a tick. When it needs nothing that the one before does not need, it is no piece of its own.
    pub(super) fn push(&mut self, number: u64, needs: Needs, messages: Vec<Message>, since: u64) {
        let needs = Needs {
            position: needs.position,
            vote: if needs.vote > 0 { needs.vote } else { self.vote_asked },
        };
        if let Some(last) = self.pieces.back_mut()
            && needs.position <= last.needs.position
            && needs.vote <= last.needs.vote
            && last.messages.len() + messages.len() <= limits::MESSAGES_HELD_MAX
        {
            last.number = number;
            last.messages.extend(messages);
            return;
        }
        self.pieces.push_back(Piece {
            number,
            needs,
            since,
            messages,
        });
    }

    /// The oldest piece, when all it needs is on the disk.
    pub(super) fn pop(&mut self, synced: u64) -> Option<Piece> {
        let needs = self.pieces.front()?.needs;
        let is_done = needs.position <= synced && needs.vote <= self.vote_written;
        if is_done || is_planted(Fault::AnswerEarly) {
            self.pieces.pop_front()
        } else {
            None
        }
    }

    /// Tick at which the oldest piece was begun.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.pieces.front().map(|piece| piece.since)
    }

    /// The log was cut behind an entry: everything up to it is synced, and what was behind it will never be. Nobody may be told that it
    /// is here. The numbers of all pieces, in order.
    pub(super) fn cut(&mut self, after: u64) -> impl Iterator<Item = u64> {
        for piece in &mut self.pieces {
            piece.needs.position = 0;
            if !is_planted(Fault::PromisesBehindCut) {
                piece.messages.retain(|message| {
                    message.msg_type != MessageType::MsgAppendResponse || message.reject || message.index <= after
                });
            }
        }
        self.pieces.iter().map(|piece| piece.number)
    }

    /// A snapshot takes the place of the log: what was promised of entries that were never synced is not said.
    pub(super) fn replaced(&mut self) {
        for piece in &mut self.pieces {
            piece.needs.position = 0;
            piece
                .messages
                .retain(|message| message.msg_type != MessageType::MsgAppendResponse || message.reject);
        }
    }

    /// The session in which these were to be said is over.
    pub(super) fn forget_messages_to(&mut self, peer: NodeId) {
        for piece in &mut self.pieces {
            piece.messages.retain(|message| message.to != peer);
        }
    }
}
