//! Faults that tests plant, to see that they are found: each is one rule of docs/journal-format.md §13 left out. Only there with the
//! simulated disk; in every other program nothing is left of it.

/// A rule that is left out.
#[cfg_attr(
    not(feature = "simulated"),
    expect(unreachable_pub, reason = "nobody plants anything")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A claim's file gets its name by a renaming, which replaces another's.
    ClaimByRename,
    /// What a start followed is not known: every epoch file counts.
    NoPrevious,
    /// What does not count is removed before the epoch's file is there.
    EarlyRemoval,
    /// The claims of earlier holders are removed newest first.
    NewestClaimsFirst,
    /// The last batch is not written again.
    LastBatchNotAgain,
    /// A commit looks before it syncs.
    LookBeforeSync,
    /// A commit does not look.
    NoLook,
    /// Whatever takes something away does not look.
    NoLookBeforeRemoval,
}

#[cfg(feature = "simulated")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Leaves a rule out of everything that this thread does from now on.
#[cfg(feature = "simulated")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether a rule is left out.
#[cfg(feature = "simulated")]
pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

#[cfg(not(feature = "simulated"))]
pub(crate) const fn is_planted(_fault: Fault) -> bool {
    false
}
