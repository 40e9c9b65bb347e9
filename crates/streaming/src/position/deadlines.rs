//! When the pending messages of a subscription are due to be sent again, and how often they were.
//!
//! AckWait is constant per subscription, so first deliveries come as runs with one deadline each; a run that is sent again
//! moves as a run. A run covers the *pending* sequences of its range: an acknowledged one leaves no trace here, and a run of
//! which nothing is pending goes when it is met or swept. Ranges are disjoint.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::DEADLINE_WINDOW_NS;
use crate::position::pending::Pending;

/// The deadline of a message that was delivered before a restart and not since: due at once, and counted from now.
pub(crate) const UNKNOWN: u64 = 0;

/// Runs kept beyond twice the number of pending messages before the empty ones are swept.
const EMPTY_RUNS_MAX: usize = 64;

/// Pending sequences with one deadline; the first sequence is the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Monotonic nanoseconds, or [`UNKNOWN`].
    pub(crate) deadline: u64,
    /// How often they were sent again.
    pub(crate) count: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    /// The run of the latest first deliveries, kept out of the maps: the hot path only moves its end.
    tail: Option<Run>,
    /// The other runs. Few subscriptions have any.
    others: Option<Box<Runs>>,
}

/// Runs by first sequence and in the order of their deadlines.
#[derive(Clone, Debug, Default)]
struct Runs {
    by_first: BTreeMap<u64, Run>,
    order: BTreeSet<(u64, u64)>,
}

impl Runs {
    fn add(&mut self, run: Run) {
        self.by_first.insert(run.first, run);
        self.order.insert((run.deadline, run.first));
    }

    fn cut(&mut self, first: u64) -> Option<Run> {
        let run = self.by_first.remove(&first)?;
        self.order.remove(&(run.deadline, run.first));
        Some(run)
    }

    /// Drops runs of which nothing is pending: those in front of everything pending, and all of them when there are many.
    fn sweep(&mut self, pending: &Pending) {
        let first = pending.first().unwrap_or(u64::MAX);
        while let Some((&key, run)) = self.by_first.first_key_value() {
            if run.last >= first {
                break;
            }
            self.cut(key);
        }
        if self.by_first.len() > 2 * pending.len() + EMPTY_RUNS_MAX {
            let order = &mut self.order;
            self.by_first.retain(|_, run| {
                let keep = pending.next_from(run.first).is_some_and(|next| next <= run.last);
                if !keep {
                    order.remove(&(run.deadline, run.first));
                }
                keep
            });
        }
    }
}

impl Deadlines {
    /// A first delivery of the highest sequence so far.
    pub(crate) fn push(&mut self, sequence: u64, deadline: u64, pending: &Pending) {
        if let Some(tail) = &mut self.tail {
            if sequence > tail.last && deadline.saturating_sub(tail.deadline) < DEADLINE_WINDOW_NS {
                tail.last = sequence;
                return;
            }
            if sequence <= tail.last {
                self.insert(sequence, deadline, 0);
                return;
            }
            self.fold_tail();
            if let Some(others) = &mut self.others {
                others.sweep(pending);
            }
        }
        let last = self.others.as_ref().and_then(|others| others.by_first.last_key_value());
        if last.is_some_and(|(_, run)| run.last >= sequence) {
            self.insert(sequence, deadline, 0);
            return;
        }
        self.tail = Some(Run {
            first: sequence,
            last: sequence,
            deadline,
            count: 0,
        });
    }

    fn fold_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.add(tail);
        }
    }

    fn add(&mut self, run: Run) {
        self.others.get_or_insert_default().add(run);
    }

    fn cut(&mut self, first: u64) -> Option<Run> {
        self.others.as_mut()?.cut(first)
    }

    /// The run that covers a sequence.
    fn covering(&self, sequence: u64) -> Option<Run> {
        if let Some(tail) = self.tail.filter(|tail| tail.first <= sequence && sequence <= tail.last) {
            return Some(tail);
        }
        self.others
            .as_ref()?
            .by_first
            .range(..=sequence)
            .next_back()
            .map(|(_, run)| *run)
            .filter(|run| run.last >= sequence)
    }

    /// Deadline and count of a pending sequence.
    pub(crate) fn get(&self, sequence: u64) -> (u64, u32) {
        self.covering(sequence)
            .map_or((UNKNOWN, 0), |run| (run.deadline, run.count))
    }

    /// How far deadline and count are the same from a sequence on: the last such sequence, deadline and count.
    pub(crate) fn shared_from(&self, sequence: u64) -> (u64, u64, u32) {
        if let Some(run) = self.covering(sequence) {
            return (run.last, run.deadline, run.count);
        }
        let tail = self.tail.map(|tail| tail.first);
        let others = self.others.as_ref();
        let next = others.and_then(|others| others.by_first.range(sequence..).next());
        let next = next.map(|(first, _)| *first);
        let next = tail.into_iter().chain(next).filter(|first| *first > sequence).min();
        (next.map_or(u64::MAX, |first| first - 1), UNKNOWN, 0)
    }

    /// Sets deadline and count of one pending sequence, whatever they were.
    pub(crate) fn insert(&mut self, sequence: u64, deadline: u64, count: u32) {
        self.fold_tail();
        if let Some(run) = self.covering(sequence) {
            self.cut(run.first);
            if run.first < sequence {
                self.add(Run {
                    last: sequence - 1,
                    ..run
                });
            }
            if sequence < run.last {
                self.add(Run {
                    first: sequence + 1,
                    ..run
                });
            }
        }
        let others = self.others.get_or_insert_default();
        if let Some((_, before)) = others.by_first.range_mut(..sequence).next_back()
            && before.count == count
            && same_deadline(before.deadline, deadline)
        {
            before.last = sequence;
            return;
        }
        others.add(Run {
            first: sequence,
            last: sequence,
            deadline,
            count,
        });
    }

    /// Removes the run with the earliest deadline if that is not after `limit`. Ties go by sequence.
    pub(crate) fn take_due(&mut self, limit: u64) -> Option<Run> {
        self.fold_tail();
        let others = self.others.as_mut()?;
        let &(deadline, first) = others.order.first()?;
        if deadline <= limit { others.cut(first) } else { None }
    }

    /// Gives back what is left of a run that was taken.
    pub(crate) fn put_back(&mut self, run: Run) {
        if run.first <= run.last {
            self.add(run);
        }
    }

    /// The earliest deadline of something pending; runs of which nothing is pending go on the way.
    pub(crate) fn earliest(&mut self, pending: &Pending) -> Option<u64> {
        self.fold_tail();
        let others = self.others.as_mut()?;
        while let Some(&(deadline, first)) = others.order.first() {
            let last = others.by_first[&first].last;
            if pending.next_from(first).is_some_and(|next| next <= last) {
                return Some(deadline);
            }
            others.cut(first);
        }
        None
    }

    /// Makes everything due at `deadline`, keeping the counts.
    pub(crate) fn expire_all(&mut self, deadline: u64) {
        self.fold_tail();
        let Some(others) = &mut self.others else { return };
        others.order.clear();
        for run in others.by_first.values_mut() {
            run.deadline = deadline;
            others.order.insert((deadline, run.first));
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Deadlines::default();
    }

    /// How many runs there are.
    #[cfg(test)]
    fn runs(&self) -> usize {
        self.others.as_ref().map_or(0, |others| others.by_first.len()) + usize::from(self.tail.is_some())
    }
}

/// Whether a deadline may join a run: the run's is the same or slightly earlier.
fn same_deadline(run: u64, deadline: u64) -> bool {
    run <= deadline && deadline - run < DEADLINE_WINDOW_NS && (run == UNKNOWN) == (deadline == UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u64 = DEADLINE_WINDOW_NS;

    fn deliver(deadlines: &mut Deadlines, pending: &mut Pending, sequence: u64, deadline: u64) {
        pending.insert(sequence);
        deadlines.push(sequence, deadline, pending);
    }

    #[test]
    fn one_moment_is_one_run() {
        let (mut deadlines, mut pending) = (Deadlines::default(), Pending::default());
        for sequence in 1..=1000 {
            deliver(&mut deadlines, &mut pending, sequence, 10 * STEP);
        }
        assert_eq!(deadlines.runs(), 1);
        assert_eq!(deadlines.get(500), (10 * STEP, 0));
        assert_eq!(deadlines.earliest(&pending), Some(10 * STEP));
    }

    #[test]
    fn a_moved_entry_splits_the_run_it_falls_into() {
        let (mut deadlines, mut pending) = (Deadlines::default(), Pending::default());
        deliver(&mut deadlines, &mut pending, 1, 10 * STEP);
        deliver(&mut deadlines, &mut pending, 3, 10 * STEP);
        pending.insert(2);
        deadlines.insert(2, 20 * STEP, 4);
        assert_eq!(deadlines.get(1), (10 * STEP, 0));
        assert_eq!(deadlines.get(2), (20 * STEP, 4));
        assert_eq!(deadlines.get(3), (10 * STEP, 0));
    }

    #[test]
    fn due_runs_come_by_deadline_then_sequence() {
        let mut deadlines = Deadlines::default();
        deadlines.insert(9, STEP, 1);
        deadlines.insert(4, 3 * STEP, 1);
        deadlines.insert(2, STEP, 2);
        let taken: Vec<u64> = std::iter::from_fn(|| deadlines.take_due(STEP))
            .map(|run| run.first)
            .collect();
        assert_eq!(taken, [2, 9]);
        let mut pending = Pending::default();
        assert_eq!(deadlines.clone().earliest(&pending), None);
        pending.insert(4);
        assert_eq!(deadlines.earliest(&pending), Some(3 * STEP));
    }

    #[test]
    fn acknowledged_runs_do_not_pile_up_behind_a_slow_message() {
        let (mut deadlines, mut pending) = (Deadlines::default(), Pending::default());
        for sequence in 1..=100_000 {
            deliver(&mut deadlines, &mut pending, sequence, sequence * STEP);
            if sequence > 1 {
                pending.remove(sequence);
            }
        }
        assert!(deadlines.runs() < 2 * EMPTY_RUNS_MAX, "{} runs", deadlines.runs());
        assert_eq!(deadlines.get(1), (STEP, 0));
    }
}
