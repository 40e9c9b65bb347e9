//! What passed since the start of the process, counted for monitoring.

/// See the module. Counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    in_messages: u64,
    in_bytes: u64,
    out_messages: u64,
    out_bytes: u64,
    redelivered: u64,
    passed_over: u64,
    heartbeats_failed: u64,
    clients_lost: u64,
}

impl Tally {
    /// A publish came in.
    #[inline]
    pub(crate) fn came_in(&mut self, bytes: usize) {
        self.in_messages += 1;
        self.in_bytes += bytes as u64;
    }

    /// A message went out, so many times already before.
    #[inline]
    pub(crate) fn went_out(&mut self, bytes: u32, redelivery_count: u32) {
        self.out_messages += 1;
        self.out_bytes += u64::from(bytes);
        self.redelivered += u64::from(redelivery_count > 0);
    }

    /// A damaged message was passed over for a subscription.
    pub(crate) fn passed_over_one(&mut self) {
        self.passed_over += 1;
    }

    /// How often that was so.
    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    pub(crate) fn heartbeat_failed(&mut self) {
        self.heartbeats_failed += 1;
    }

    pub(crate) fn client_lost(&mut self) {
        self.clients_lost += 1;
    }

    /// Publishes, and their bytes.
    pub(crate) fn in_total(&self) -> (u64, u64) {
        (self.in_messages, self.in_bytes)
    }

    /// Messages sent, those sent again included, and their bytes.
    pub(crate) fn out_total(&self) -> (u64, u64) {
        (self.out_messages, self.out_bytes)
    }

    pub(crate) fn redelivered(&self) -> u64 {
        self.redelivered
    }

    pub(crate) fn heartbeats_failed(&self) -> u64 {
        self.heartbeats_failed
    }

    pub(crate) fn clients_lost(&self) -> u64 {
        self.clients_lost
    }
}
