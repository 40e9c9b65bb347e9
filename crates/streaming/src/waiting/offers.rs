//! How far a channel is with offering its new messages to its subscriptions.
//!
//! One round visits all of them. What becomes durable meanwhile makes for another round, and does not begin this one anew: with
//! many subscriptions the last would never have a turn.

/// Who is visited next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The plain subscription with this number, or the next one.
    Plain(u64),
    /// The same for queue groups, which come behind all plain subscriptions.
    Group(u64),
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    turn: Option<Turn>,
    /// Something new came during the round.
    again: bool,
    queued: bool,
}

impl Offers {
    /// There is something new.
    pub(crate) fn begin(&mut self) {
        match self.turn {
            None => self.turn = Some(Turn::Plain(0)),
            Some(turn) => self.again = turn != Turn::Plain(0),
        }
    }

    /// Whose turn it is; none when everyone had one.
    pub(crate) fn next(&self) -> Option<Turn> {
        self.turn
    }

    /// The next turn of the round.
    pub(crate) fn go_on(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// Everyone had a turn.
    pub(crate) fn end_round(&mut self) {
        self.turn = std::mem::take(&mut self.again).then_some(Turn::Plain(0));
    }

    /// Marks it as queued; false when it was.
    pub(crate) fn enqueue(&mut self) -> bool {
        !std::mem::replace(&mut self.queued, true)
    }

    /// It has left the queue.
    pub(crate) fn dequeue(&mut self) {
        self.queued = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_during_a_round_makes_for_another() {
        let mut offers = Offers::default();
        assert_eq!(offers.next(), None);
        offers.begin();
        offers.begin();
        offers.go_on(Turn::Group(0));
        offers.begin();
        assert_eq!(offers.next(), Some(Turn::Group(0)));
        offers.end_round();
        assert_eq!(offers.next(), Some(Turn::Plain(0)));
        offers.end_round();
        assert_eq!(offers.next(), None);
        assert!(offers.enqueue() && !offers.enqueue());
        offers.dequeue();
        assert!(offers.enqueue());
    }
}
