//! Accounts: spaces of subjects that know nothing of one another (core specification §3.6).

use std::time::Duration;

use seaway_nats_protocol::SubjectMapping;

use super::{Authorization, Login, User};
use crate::limits::HASH_COST_MAX;

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
    /// What it takes from other accounts.
    pub imports: Vec<Import>,
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

/// Something that an account takes from another one, which exports it to that account or to all (checked).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The exporting account.
    pub account: String,
    /// The subjects there and here.
    pub mapping: SubjectMapping,
    /// What it is.
    pub kind: ImportKind,
}

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportKind {
    /// Messages.
    Stream,
    /// Somebody who answers, as the exporting account says.
    Service {
        /// Whether one answer is all there is.
        is_single: bool,
        /// Time for which answers are waited for.
        threshold: Duration,
    },
}

/// The users of accounts are users like those of the `authorization` block.
impl Authorization {
    /// Users who are asked for nothing but their name, those of accounts among them.
    pub(crate) fn without_password<'a>(&'a self, accounts: &'a [Account]) -> impl Iterator<Item = &'a str> {
        let of_users = self.with_users_of(accounts).filter_map(|user| match &user.login {
            Login::Password(credentials) => Some(credentials),
            Login::Nkey(_) => None,
        });
        let all = self.single.iter().chain(of_users);
        all.filter(|credentials| credentials.password.expose().is_empty())
            .map(|credentials| credentials.user.as_str())
    }

    fn with_users_of<'a>(&'a self, accounts: &'a [Account]) -> impl Iterator<Item = &'a User> {
        let of_accounts = accounts.iter().flat_map(|account| &account.users);
        self.users.iter().chain(of_accounts)
    }

    /// A hash of a high cost keeps a thread busy for minutes to days at each login.
    pub(crate) fn check_costs(&self, accounts: &[Account]) -> Result<(), String> {
        let single = self.single.iter();
        let listed = self.with_users_of(accounts).filter_map(|user| match &user.login {
            Login::Password(credentials) => Some(credentials),
            Login::Nkey(_) => None,
        });
        let of_users = single
            .chain(listed)
            .map(|one| (format!("user {:?}", one.user), &one.password));
        let of_token = self.token.iter().map(|token| ("the token".to_owned(), token));
        for (holder, secret) in of_users.chain(of_token) {
            if let Some(cost) = secret.hash_cost().filter(|cost| *cost > HASH_COST_MAX) {
                return Err(format!(
                    "the bcrypt hash of {holder} has cost {cost}, which takes too long to compare with: at most {HASH_COST_MAX}"
                ));
            }
        }
        Ok(())
    }

    /// Users of accounts are users too: what excludes those excludes these.
    pub(crate) fn check_beside(&self, accounts: &[Account]) -> Result<(), String> {
        let Some(of_accounts) = accounts.iter().find_map(|account| account.users.first()) else {
            return Ok(());
        };
        if self.token.is_some() {
            return Err(format!(
                "Can not have a token and accounts: authorization.token is everybody's who knows it, and of no account (which have users: \
                 {:?}). Leave it out",
                of_accounts.name()
            ));
        }
        if let Some(single) = &self.single {
            return Err(format!(
                "Can not have the single user {:?} and users of accounts ({:?}): give it to an account, or to authorization.users",
                single.user,
                of_accounts.name()
            ));
        }
        let twice = self.users.iter().find(|user| {
            let mut others = accounts.iter().flat_map(|account| &account.users);
            others.any(|other| other.name() == user.name())
        });
        twice.map_or(Ok(()), |user| {
            let name = user.name();
            Err(format!(
                "Duplicate user {name:?} detected, in the authorization block and in an account"
            ))
        })
    }

    /// The entry of `users` with this name or public key, here or in an account.
    pub fn find_user<'a>(&'a self, accounts: &'a [Account], name: &str) -> Option<&'a User> {
        self.with_users_of(accounts).find(|user| user.name() == name)
    }
}
