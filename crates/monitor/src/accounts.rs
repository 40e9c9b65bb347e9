//! Accounts that every server has.

/// Account of clients that belong to no other.
pub const GLOBAL_ACCOUNT: &str = "$G";
