//! Rules that tests leave out, to see that they are needed. Only there with the feature `simulated`; in every other program nothing is
//! left of it.

/// A rule that is left out.
#[cfg_attr(
    not(feature = "simulated"),
    expect(unreachable_pub, reason = "nobody plants anything")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers leave before the writes they speak of are synced.
    AnswerEarly,
    /// A snapshot is installed some inputs after the log knows of it.
    LateSnapshot,
    /// Election time-outs are those that the library draws.
    TheirRandom,
    /// What a leader's log says of committed entries is not looked at before it is believed.
    NoLook,
    /// After a truncation what was promised of entries behind the cut is still said.
    PromisesBehindCut,
    /// Of the entries of one message all carry what the first may know to be committed.
    MarkOncePerMessage,
    /// The library ends a configuration of two halves by itself.
    LibraryLeaves,
    /// What was said in a session that is over is heard.
    OldSessions,
    /// A leader appends nothing behind a change of members, and counts the change as finished when it is made.
    NoCarrier,
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
