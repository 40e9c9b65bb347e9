//! Accounts: spaces of subjects that know nothing of one another (core specification §3.6).

use super::User;

/// Account of clients that belong to no other.
pub const GLOBAL_ACCOUNT: &str = "$G";
/// Account of the services and events about servers, unless `system_account` names another one.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// One account of the `accounts` block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Its name: unique, without blanks, and not [`GLOBAL_ACCOUNT`].
    pub name: String,
    /// Its users; names and keys are unique among the users of all accounts.
    pub users: Vec<User>,
    /// What its clients may take up.
    pub limits: AccountLimits,
}

/// Bounds of one account; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountLimits {
    /// Client connections at once, on this server.
    pub max_connections: Option<usize>,
    /// Subscriptions of its clients on this server together.
    pub max_subscriptions: Option<usize>,
    /// Largest publication of its clients in bytes, headers included.
    pub max_payload: Option<usize>,
}
