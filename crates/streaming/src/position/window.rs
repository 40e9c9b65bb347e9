//! What a subscription was sent and has not acknowledged: which messages, when each is due again, and how many there may be.

use super::deadlines::{Deadlines, Run, UNKNOWN};
use super::pending::Pending;
use crate::registry::keys::SubscriptionKey;
use crate::time::Now;
use crate::waiting::timers::{Timer, TimerSlot, Timers};

/// See the module. Every pending message has a deadline; the timer is for the earliest of them, or earlier.
#[derive(Debug)]
pub(crate) struct Window {
    /// MaxInflight: it stalls at so many, and a resumed one may hold more.
    max: usize,
    /// AckWait in nanoseconds.
    ack_wait: u64,
    pending: Pending,
    deadlines: Deadlines,
    timer: TimerSlot,
    /// Monotonic; none for what was so before this process. Counts while it is stalled.
    stalled_since: Option<u64>,
}

impl Window {
    /// An empty one.
    pub(crate) fn new(max: usize, ack_wait: u64) -> Window {
        Window {
            max,
            ack_wait,
            pending: Pending::default(),
            deadlines: Deadlines::default(),
            timer: TimerSlot::default(),
            stalled_since: None,
        }
    }

    /// Other terms from now on, with which a durable was resumed.
    pub(crate) fn resize(&mut self, max: usize, ack_wait: u64) {
        (self.max, self.ack_wait) = (max, ack_wait);
    }

    /// What was pending before a restart; when it is due is not known.
    pub(crate) fn recover(&mut self, pending: Pending, last: u64) {
        if let Some(first) = pending.first() {
            self.deadlines.put_back(Run {
                first,
                last,
                deadline: UNKNOWN,
                count: 0,
            });
            self.pending = pending;
        }
    }

    /// MaxInflight.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// AckWait in nanoseconds.
    #[inline]
    pub(crate) fn ack_wait(&self) -> u64 {
        self.ack_wait
    }

    /// The messages.
    #[inline]
    pub(crate) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// When they are due, and how often they were sent again.
    #[inline]
    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Whether as many are in flight as may be.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.pending.in_flight() >= self.max
    }

    /// How many more may be sent.
    #[inline]
    pub(crate) fn room(&self) -> u64 {
        self.max.saturating_sub(self.pending.in_flight()) as u64
    }

    /// Since when it is full, if it is and that is known.
    pub(crate) fn stalled_since(&self) -> Option<u64> {
        self.stalled_since.filter(|_| self.is_full())
    }

    /// It begins to take messages; if it is full it counts as so from now on.
    pub(crate) fn open(&mut self, now: Now) {
        self.stalled_since = Some(now.monotonic);
    }

    /// When the next message is due, in monotonic time.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.timer.deadline()
    }

    /// It got a message more: remembers when that made it full.
    #[inline]
    pub(crate) fn note_stall(&mut self, now: Now) {
        if self.pending.in_flight() == self.max {
            self.stalled_since = Some(now.monotonic);
        }
    }

    /// A message was sent for the first time, in the order of the log.
    #[inline]
    pub(crate) fn sent_first(&mut self, now: Now, key: SubscriptionKey, sequence: u64, timers: &mut Timers) {
        let deadline = now.monotonic.saturating_add(self.ack_wait);
        self.pending.insert(sequence);
        self.note_stall(now);
        self.deadlines.push(sequence, deadline, &self.pending);
        // What a resumed durable was sent again keeps its cadence, and may be due later than this.
        timers.bring_forward(&mut self.timer, Timer::Redelivery(key), deadline);
    }

    /// A message that is held was sent again, `count` times by now.
    pub(crate) fn sent_again(&mut self, sequence: u64, deadline: u64, count: u32) {
        self.pending.release(sequence);
        self.deadlines.insert(sequence, deadline, count);
    }

    /// A message, which is held from now on or already, cannot be read: it is not in flight, and looked at again at `deadline`. False
    /// when that was so before.
    pub(crate) fn hold_back(&mut self, sequence: u64, deadline: u64, count: u32) -> bool {
        self.pending.insert(sequence);
        self.deadlines.insert(sequence, deadline, count);
        self.pending.hold_back(sequence)
    }

    /// What was held back is to be tried again as any other.
    pub(crate) fn try_all(&mut self) {
        self.pending.release_all();
    }

    /// A message that is held is known to be due at `deadline`, after it was sent again `count` times.
    pub(crate) fn set_deadline(&mut self, sequence: u64, deadline: u64, count: u32) {
        self.deadlines.insert(sequence, deadline, count);
    }

    /// A message that another held is held here from now on.
    pub(crate) fn take_over(&mut self, sequence: u64, deadline: u64, count: u32) {
        self.pending.insert(sequence);
        self.deadlines.insert(sequence, deadline, count);
    }

    /// A message is due at `deadline`: the timer fires then at the latest.
    pub(crate) fn bring_forward(&mut self, key: SubscriptionKey, deadline: u64, timers: &mut Timers) {
        timers.bring_forward(&mut self.timer, Timer::Redelivery(key), deadline);
    }

    /// A message is held no longer: it was acknowledged, went to another, or does not exist any more. False when it was not.
    #[inline]
    pub(crate) fn remove(&mut self, sequence: u64) -> bool {
        self.pending.remove(sequence)
    }

    /// Messages below a sequence are held no longer; how many that were.
    pub(crate) fn remove_below(&mut self, sequence: u64) -> usize {
        let before = self.pending.len();
        if let Some(last) = sequence.checked_sub(1) {
            self.pending.remove_run(0, last);
        }
        before - self.pending.len()
    }

    /// Nothing is held any more.
    pub(crate) fn remove_all(&mut self, key: SubscriptionKey, timers: &mut Timers) {
        self.stop(key, timers);
        self.pending = Pending::default();
        self.deadlines.clear();
        self.stalled_since = None;
    }

    /// Everything is due at once.
    pub(crate) fn expire_all(&mut self, now: Now) {
        self.deadlines.expire_all(now.monotonic);
    }

    /// Takes the messages that are due first, if they are by `limit`.
    pub(crate) fn take_due(&mut self, limit: u64) -> Option<Run> {
        self.deadlines.take_due(limit)
    }

    /// Gives back what is left of them.
    pub(crate) fn put_back(&mut self, run: Run) {
        self.deadlines.put_back(run);
    }

    /// Sets the timer for the earliest deadline.
    pub(crate) fn arm(&mut self, key: SubscriptionKey, timers: &mut Timers) {
        self.drop_if_empty();
        let deadline = self.deadlines.earliest(&self.pending);
        timers.set(&mut self.timer, Timer::Redelivery(key), deadline);
    }

    /// Sets the timer for another AckWait from now on.
    pub(crate) fn postpone(&mut self, now: Now, key: SubscriptionKey, timers: &mut Timers) {
        let deadline = now.monotonic.saturating_add(self.ack_wait);
        timers.set(&mut self.timer, Timer::Redelivery(key), Some(deadline));
    }

    /// Sets the timer for a moment after the deadlines.
    pub(crate) fn wait_until(&mut self, moment: u64, key: SubscriptionKey, timers: &mut Timers) {
        timers.set(&mut self.timer, Timer::Redelivery(key), Some(moment));
    }

    /// Stops the timer.
    pub(crate) fn stop(&mut self, key: SubscriptionKey, timers: &mut Timers) {
        timers.set(&mut self.timer, Timer::Redelivery(key), None);
    }

    /// The timer has fired; false when nothing is pending.
    pub(crate) fn fired(&mut self) -> bool {
        self.timer.fired();
        self.drop_if_empty();
        !self.pending.is_empty()
    }

    fn drop_if_empty(&mut self) {
        if self.pending.is_empty() {
            self.deadlines.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn at(monotonic: u64) -> Now {
        Now {
            monotonic,
            wall: Timestamp(0),
        }
    }

    #[test]
    fn it_is_full_at_its_most_and_says_since_when() {
        let (mut window, mut timers, key) = (Window::new(2, 1_000), Timers::default(), SubscriptionKey::at(0));
        window.sent_first(at(10), key, 1, &mut timers);
        assert_eq!((window.room(), window.stalled_since()), (1, None));
        window.sent_first(at(20), key, 2, &mut timers);
        assert_eq!((window.room(), window.stalled_since()), (0, Some(20)));
        assert!(window.remove(1) && !window.remove(1));
        assert_eq!((window.room(), window.stalled_since()), (1, None));
        window.take_over(9, 40, 1);
        window.note_stall(at(30));
        assert_eq!(window.stalled_since(), Some(30));
        window.resize(3, 1_000);
        assert!(!window.is_full());
    }

    #[test]
    fn what_is_gone_takes_no_room() {
        let (mut window, mut timers, key) = (Window::new(3, 1_000), Timers::default(), SubscriptionKey::at(0));
        for sequence in 4..=6 {
            window.sent_first(at(10), key, sequence, &mut timers);
        }
        assert_eq!(
            (window.remove_below(0), window.remove_below(4), window.remove_below(6)),
            (0, 0, 2)
        );
        assert_eq!(
            (window.room(), window.pending().first(), timers.next()),
            (2, Some(6), Some(1_010))
        );
        window.remove_all(key, &mut timers);
        assert_eq!((window.room(), timers.next(), window.stalled_since()), (3, None, None));
        assert_eq!(window.take_due(u64::MAX), None);
    }

    #[test]
    fn what_is_held_back_takes_no_room() {
        let mut window = Window::new(1, 1_000);
        assert!(window.hold_back(4, 60_000, 0) && !window.hold_back(4, 120_000, 0));
        assert_eq!((window.is_full(), window.room(), window.pending().len()), (false, 1, 1));
        assert_eq!(window.deadlines().get(4), (120_000, 0));
        window.sent_again(4, 121_000, 1);
        assert!(window.is_full() && window.pending().held_back() == 0);
    }

    #[test]
    fn the_timer_is_for_what_is_due_first() {
        let (mut window, mut timers, key) = (Window::new(9, 1_000), Timers::default(), SubscriptionKey::at(0));
        window.sent_first(at(10), key, 1, &mut timers);
        assert_eq!(timers.next(), Some(1_010));
        window.take_over(7, 500, 1);
        window.bring_forward(key, 500, &mut timers);
        window.bring_forward(key, 900, &mut timers);
        assert_eq!((timers.next(), window.next_due()), (Some(500), Some(500)));
        window.remove(7);
        window.arm(key, &mut timers);
        assert_eq!(timers.next(), Some(1_010));
        window.remove(1);
        window.arm(key, &mut timers);
        assert_eq!((timers.next(), window.next_due()), (None, None));
        assert!(!window.fired());
    }

    #[test]
    fn what_was_pending_before_a_restart_is_due_at_an_unknown_time() {
        let mut pending = Pending::default();
        pending.insert_run(3, 5);
        let mut window = Window::new(9, 1_000);
        window.recover(pending, 8);
        assert_eq!(window.deadlines().get(4), (UNKNOWN, 0));
        window.expire_all(at(70));
        let run = window.take_due(70).expect("it is due");
        assert_eq!((run.first, run.deadline), (3, 70));
    }
}
