//! Rules that tests leave out, to see that they are needed; without the feature `simulated` nobody can.

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What is synced here counts as durable, whatever a quorum has.
    DurableOnSyncedOnly,
    /// A store goes on in terms that are not its own.
    StoreOfAnyTerm,
}

#[cfg(feature = "simulated")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Leaves a rule out on this thread, or none.
#[cfg(feature = "simulated")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.with(|planted| planted.set(fault));
}

#[cfg(feature = "simulated")]
pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.with(|planted| planted.get() == Some(fault))
}

#[cfg(not(feature = "simulated"))]
pub(crate) const fn is_planted(_fault: Fault) -> bool {
    false
}
