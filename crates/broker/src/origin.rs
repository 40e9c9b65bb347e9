//! Who publishes, and whom that may reach.

/// Who publishes, as far as delivery cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) id: u64,
    /// Does not get its own messages.
    pub(crate) skip_self: bool,
    /// Who may get them.
    pub(crate) audience: Audience,
    /// It answers a service of another account, so that it is no request to one.
    pub(crate) is_answer: bool,
    /// Accounts that it went through before this one.
    pub(crate) hops: u8,
}

/// Whom a message may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody.
    All,
    /// Clients of this server, not in-process parties.
    Clients,
    /// Everybody on this server: it came from another one, which gives it to all others itself (core specification §4.5).
    Here,
}

impl Origin {
    pub(crate) fn skipped(self) -> Option<u64> {
        self.skip_self.then_some(self.id)
    }
}
