//! Who may connect, and as whom (core specification §3.1, §3.2): decides about CONNECT, knows neither sockets nor time.
//!
//! An operator's [`Authorization`] becomes an [`Access`], which cannot be invalid. What it grants a connection is a
//! [`Grant`]; after a reload the connection's grant is asked for again from the new access.

pub(crate) mod nkey;
mod permissions;
mod responses;
mod secret;
mod verdicts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use seaway_nats_protocol::ConnectOptions;

use crate::limits::{GLOBAL_ACCOUNT, HASH_COST_MAX};
pub(crate) use permissions::Rules;
pub use permissions::{InvalidRule, Permissions, ResponseRules, SubjectRules};
pub(crate) use responses::Responses;
pub use secret::Secret;
pub(crate) use verdicts::Verdicts;

/// What is shown of a client that presented a token.
const TOKEN_SHOWN: &str = "[REDACTED]";

/// How clients prove who they are, as an operator wrote it. The default lets everyone in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorization {
    /// The single user's name and password.
    pub single: Option<(String, Secret)>,
    /// The single token.
    pub token: Option<Secret>,
    /// Users; not together with a single user or a token.
    pub users: Vec<User>,
    /// Permissions of users without their own.
    pub default_permissions: Option<Permissions>,
    /// Name or public key of the user that clients without credentials are.
    pub no_auth_user: Option<String>,
    /// The system account: where all users are in it, clients without credentials are let in all the same, to the global
    /// account (§3.1).
    pub system_account: Option<String>,
    /// Time in which a client must authenticate itself; `None` is 2 s, with TLS one second more than its handshake may
    /// take.
    pub timeout: Option<Duration>,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// How the user proves who it is.
    pub login: Login,
    /// The account that it belongs to; `None` is the global one.
    pub account: Option<String>,
    /// What it may do; `None` means the default permissions.
    pub permissions: Option<Permissions>,
    /// Whether it may come over an ordinary connection: false when it is restricted to kinds that are not served here.
    pub standard_connections: bool,
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// By a password.
    Password {
        /// Name of the user.
        name: String,
        /// Its password; an empty one is matched by an empty one.
        password: Secret,
    },
    /// By signing the server's nonce under this public user key.
    Nkey(String),
}

/// An authorization that cannot be applied. The texts are those of the core specification §3.2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthorization {
    /// Two kinds of credentials that exclude each other.
    #[error("Cannot have a user/pass and token")]
    UserAndToken,
    /// Two kinds of credentials that exclude each other.
    #[error("Can not have a single user/pass and a users array")]
    SingleAndUsers,
    /// Two kinds of credentials that exclude each other.
    #[error("Can not have a token and a users array")]
    TokenAndUsers,
    /// A name or key that occurs twice.
    #[error("Duplicate user {0:?} detected")]
    Duplicate(String),
    /// A key of another kind, or no key at all.
    #[error("Not a valid public nkey for a user: {0:?}")]
    InvalidNkey(String),
    /// `no_auth_user` names nobody.
    #[error("no_auth_user: {0:?} not present as user or nkey in authorization block or account configuration")]
    UnknownNoAuthUser(String),
    /// A hash that takes too long to compare with.
    #[error(
        "the bcrypt hash of {holder} has cost {cost}, which takes too long to compare with: at most {HASH_COST_MAX}"
    )]
    SlowHash {
        /// Whose hash.
        holder: String,
        /// Its cost.
        cost: u32,
    },
    /// A permission names an impossible subject.
    #[error("permissions of {user:?}: {rule}")]
    InvalidRule {
        /// Whose permissions.
        user: String,
        /// What is wrong.
        rule: InvalidRule,
    },
}

impl Authorization {
    /// Comparisons take threads that others wait for.
    fn check_costs(&self) -> Result<(), InvalidAuthorization> {
        let single = self.single.iter().map(|(name, password)| (Some(name), password));
        let token = self.token.iter().map(|token| (None, token));
        let users = self.users.iter().filter_map(|user| match &user.login {
            Login::Password { name, password } => Some((Some(name), password)),
            Login::Nkey(_) => None,
        });
        for (name, secret) in single.chain(token).chain(users) {
            if let Some(cost) = secret.hash_cost().filter(|cost| *cost > HASH_COST_MAX) {
                let holder = name.map_or_else(|| "the token".to_owned(), |name| format!("user {name:?}"));
                return Err(InvalidAuthorization::SlowHash { holder, cost });
            }
        }
        Ok(())
    }
}

/// An authorization that can be applied; cloning is cheap. The default lets everyone in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    single: Option<Arc<Grant>>,
    token: Option<Arc<Grant>>,
    users: HashMap<String, Entry>,
    nkeys: HashMap<[u8; nkey::KEY_BYTES], Entry>,
    no_auth: Option<Arc<Grant>>,
    /// Whoever presents nothing is let in as nobody.
    is_open_beside: bool,
    timeout: Option<Duration>,
    warnings: Vec<&'static str>,
}

#[derive(Debug, Clone)]
struct Entry {
    grant: Arc<Grant>,
    standard_connections: bool,
}

/// Who a connection is, and what it may do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    holder: Holder,
    account: Box<str>,
    /// What the rules were made of.
    permissions: Option<Permissions>,
    pub(crate) rules: Option<Rules>,
}

#[derive(Debug, PartialEq, Eq)]
enum Holder {
    User { name: String, password: Secret },
    Token(Secret),
    Nkey { text: String, key: [u8; nkey::KEY_BYTES] },
}

/// What becomes of a CONNECT.
pub(crate) enum Decision {
    /// It is this client; `None` where nobody is asked.
    Granted(Option<Arc<Grant>>),
    /// It is this client if the secret accepts the password, which takes long to find out.
    Verify {
        grant: Arc<Grant>,
        secret: Secret,
        password: String,
    },
    /// It is nobody.
    Refused,
}

impl Grant {
    fn unrestricted(holder: Holder) -> Self {
        Self {
            holder,
            account: GLOBAL_ACCOUNT.into(),
            permissions: None,
            rules: None,
        }
    }

    /// What it may do, as an operator wrote it; `None` is everything.
    pub(crate) fn permissions(&self) -> Option<&Permissions> {
        self.permissions.as_ref()
    }

    /// The account that it lets in to.
    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    /// The name that monitoring shows.
    pub(crate) fn shown(&self) -> &str {
        match &self.holder {
            Holder::User { name, .. } => name,
            Holder::Token(_) => TOKEN_SHOWN,
            Holder::Nkey { text, .. } => text,
        }
    }
}

impl Access {
    /// Prepares an authorization.
    ///
    /// # Errors
    /// When it contradicts itself, or names a key or subject that cannot be.
    pub fn new(authorization: &Authorization) -> Result<Self, InvalidAuthorization> {
        let Authorization {
            single, token, users, ..
        } = authorization;
        match (single, token, users.is_empty()) {
            (Some(_), Some(_), _) => return Err(InvalidAuthorization::UserAndToken),
            (Some(_), None, false) => return Err(InvalidAuthorization::SingleAndUsers),
            (None, Some(_), false) => return Err(InvalidAuthorization::TokenAndUsers),
            (Some(_), None, true) | (None, Some(_), true) | (None, None, _) => {}
        }
        authorization.check_costs()?;
        let mut inner = Inner {
            timeout: authorization.timeout,
            ..Inner::default()
        };
        inner.single = single.as_ref().map(|(name, password)| {
            let holder = Holder::User {
                name: name.clone(),
                password: password.clone(),
            };
            Arc::new(Grant::unrestricted(holder))
        });
        inner.token = token.as_ref().map(|token| {
            let holder = Holder::Token(token.clone());
            Arc::new(Grant::unrestricted(holder))
        });
        for user in users {
            inner.add(user, authorization.default_permissions.as_ref())?;
        }
        if let Some(name) = &authorization.no_auth_user {
            let known = inner
                .users
                .get(name)
                .or_else(|| inner.nkeys.get(&nkey::decode_user(name)?));
            let entry = known.ok_or_else(|| InvalidAuthorization::UnknownNoAuthUser(name.clone()))?;
            inner.no_auth = entry.standard_connections.then(|| Arc::clone(&entry.grant));
        }
        let system = authorization.system_account.as_deref();
        inner.is_open_beside = system.is_some()
            && !users.is_empty()
            && inner.no_auth.is_none()
            && users.iter().all(|user| user.account.as_deref() == system);
        inner.warnings = inner.find_warnings(authorization);
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What an operator should be told at the start.
    #[must_use]
    pub fn warnings(&self) -> &[&'static str] {
        &self.inner.warnings
    }

    /// Whether anything is configured that clients have to prove.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        let Inner {
            single,
            token,
            users,
            nkeys,
            ..
        } = &*self.inner;
        single.is_some() || token.is_some() || !users.is_empty() || !nkeys.is_empty()
    }

    /// Whether clients without credentials are refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.anonymous().is_none()
    }

    /// Whether INFO has to carry a nonce.
    pub(crate) fn wants_nonce(&self) -> bool {
        !self.inner.nkeys.is_empty()
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.inner.timeout
    }

    /// Whether both are the same object, not merely equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// What a client without any credentials is; `None` when it is refused.
    pub(crate) fn anonymous(&self) -> Option<Option<Arc<Grant>>> {
        if self.is_configured() && !self.inner.is_open_beside {
            self.inner.no_auth.clone().map(Some)
        } else {
            Some(None)
        }
    }

    /// Decides about a CONNECT in the order of §3.1. `nonce` is what INFO carried, `names` those of the client's
    /// certificate if they say which user it is.
    pub(crate) fn decide(&self, connect: &ConnectOptions, nonce: &str, names: Option<&[String]>) -> Decision {
        let Inner {
            single,
            token,
            users,
            nkeys,
            ..
        } = &*self.inner;
        let ConnectOptions {
            user,
            pass,
            auth_token,
            nkey,
            sig,
            ..
        } = connect;
        if let Some(names) = names
            && nkey.is_empty()
            && !users.is_empty()
        {
            let entry = names.iter().find_map(|name| users.get(name));
            return match entry {
                Some(entry) if entry.standard_connections => Decision::Granted(Some(Arc::clone(&entry.grant))),
                Some(_) | None => Decision::Refused,
            };
        }
        if user.is_empty()
            && pass.is_empty()
            && auth_token.is_empty()
            && nkey.is_empty()
            && let Some(grant) = self.anonymous()
        {
            return Decision::Granted(grant);
        }
        if !self.is_configured() {
            return Decision::Granted(None);
        }
        if !nkey.is_empty() && !nkeys.is_empty() {
            return decide_nkey(nkeys, nkey, nonce, sig);
        }
        if !users.is_empty() {
            return match users.get(user) {
                Some(entry) if entry.standard_connections => decide_password(&entry.grant, pass),
                Some(_) | None => Decision::Refused,
            };
        }
        if let Some(grant) = token {
            return decide_password(grant, auth_token);
        }
        match single {
            Some(grant) if grant.is_user(user) => decide_password(grant, pass),
            Some(_) | None => Decision::Refused,
        }
    }

    /// Whether a client with these credentials would be let in; empty ones are not presented. Takes as long as bcrypt does.
    #[must_use]
    pub fn accepts(&self, user: &str, password: &str, token: &str) -> bool {
        let connect = ConnectOptions {
            user: user.to_owned(),
            pass: password.to_owned(),
            auth_token: token.to_owned(),
            ..ConnectOptions::default()
        };
        match self.decide(&connect, "", None) {
            Decision::Granted(_) => true,
            Decision::Verify { secret, password, .. } => secret.verify_slowly(&password),
            Decision::Refused => false,
        }
    }

    /// What a connection with `grant` is under this access; `None` when it has to go, be it to another account.
    pub(crate) fn renew(&self, grant: Option<&Arc<Grant>>) -> Option<Option<Arc<Grant>>> {
        let account = |grant: Option<&Arc<Grant>>| grant.map_or(GLOBAL_ACCOUNT, |grant| grant.account()).to_owned();
        let renewed = self.renew_anywhere(grant)?;
        (account(grant) == account(renewed.as_ref())).then_some(renewed)
    }

    fn renew_anywhere(&self, grant: Option<&Arc<Grant>>) -> Option<Option<Arc<Grant>>> {
        let Some(grant) = grant else { return self.anonymous() };
        if !self.is_configured() {
            return Some(None);
        }
        let Inner {
            single,
            token,
            users,
            nkeys,
            no_auth,
            ..
        } = &*self.inner;
        let entry = match &grant.holder {
            Holder::User { name, .. } => users
                .get(name)
                .filter(|entry| entry.standard_connections)
                .map(|entry| &entry.grant)
                .or(single.as_ref()),
            Holder::Token(_) => token.as_ref(),
            Holder::Nkey { key, .. } => nkeys
                .get(key)
                .filter(|entry| entry.standard_connections)
                .map(|entry| &entry.grant),
        };
        let candidate = entry.filter(|candidate| candidate.holder == grant.holder);
        // A client without credentials holds the grant of `no_auth_user`, which may name somebody else now.
        candidate
            .or(no_auth.as_ref().filter(|known| known.holder == grant.holder))
            .cloned()
            .map(Some)
    }
}

impl Grant {
    fn is_user(&self, given: &str) -> bool {
        matches!(&self.holder, Holder::User { name, .. } if name == given)
    }
}

impl Inner {
    fn add(&mut self, user: &User, default: Option<&Permissions>) -> Result<(), InvalidAuthorization> {
        let name = match &user.login {
            Login::Password { name, .. } => name,
            Login::Nkey(text) => text,
        };
        let permissions = user.permissions.as_ref().or(default);
        let rules = permissions.map(Rules::new).transpose();
        let rules = rules.map_err(|rule| InvalidAuthorization::InvalidRule {
            user: name.clone(),
            rule,
        })?;
        let entry = |holder| Entry {
            grant: Arc::new(Grant {
                holder,
                account: user.account.as_deref().unwrap_or(GLOBAL_ACCOUNT).into(),
                permissions: permissions.cloned(),
                rules,
            }),
            standard_connections: user.standard_connections,
        };
        let known = match &user.login {
            Login::Password { name, password } => {
                let holder = Holder::User {
                    name: name.clone(),
                    password: password.clone(),
                };
                self.users.insert(name.clone(), entry(holder)).is_some()
            }
            Login::Nkey(text) => {
                let key = nkey::decode_user(text).ok_or_else(|| InvalidAuthorization::InvalidNkey(text.clone()))?;
                let holder = Holder::Nkey {
                    text: text.clone(),
                    key,
                };
                self.nkeys.insert(key, entry(holder)).is_some()
            }
        };
        if known {
            return Err(InvalidAuthorization::Duplicate(name.clone()));
        }
        Ok(())
    }

    fn find_warnings(&self, authorization: &Authorization) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        let grants = self.users.values().map(|entry| &entry.grant);
        let plain = |grant: &Arc<Grant>| match &grant.holder {
            Holder::User { password, .. } | Holder::Token(password) => !password.is_hashed() && !password.is_empty(),
            Holder::Nkey { .. } => false,
        };
        if grants.chain(&self.single).chain(&self.token).any(plain) {
            warnings.push("Plaintext passwords detected, use nkeys or bcrypt");
        }
        if authorization.default_permissions.is_some() && authorization.users.is_empty() {
            warnings.push("Permissions apply to entries of users only, and there are none: they have no effect");
        }
        warnings
    }
}

fn decide_nkey(nkeys: &HashMap<[u8; nkey::KEY_BYTES], Entry>, text: &str, nonce: &str, signature: &str) -> Decision {
    // A connection that was given no nonce proves nothing by signing.
    let key = nkey::decode_user(text).filter(|_| !nonce.is_empty());
    let known = key.and_then(|key| Some((key, nkeys.get(&key)?)));
    match known {
        Some((key, entry)) if entry.standard_connections && nkey::verifies(&key, nonce, signature) => {
            Decision::Granted(Some(Arc::clone(&entry.grant)))
        }
        Some(_) | None => Decision::Refused,
    }
}

fn decide_password(grant: &Arc<Grant>, given: &str) -> Decision {
    let (Holder::User { password, .. } | Holder::Token(password)) = &grant.holder else {
        return Decision::Refused;
    };
    match password.check(given) {
        Some(true) => Decision::Granted(Some(Arc::clone(grant))),
        Some(false) => Decision::Refused,
        None => Decision::Verify {
            grant: Arc::clone(grant),
            secret: password.clone(),
            password: given.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
