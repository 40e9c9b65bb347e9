//! The accounts that a server without accounts has.

/// The only account there is.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// Name of the account that servers talk in; nobody is in it here.
pub(crate) const SYSTEM_ACCOUNT: &str = "$SYS";
