//! Who is logged in. A session is named by a random key that only the browser has, in a cookie that no script reads and no other page
//! sends along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use data_encoding::HEXLOWER;
use seaway_monitor::Caller;
use tokio::task::AbortHandle;

use crate::answer::Refused;
use crate::limits::{SESSIONS_MAX, SESSIONS_PER_USER_MAX};
use crate::session::Session;

const KEY_BYTES: usize = 16;

/// See the module.
pub(crate) struct Sessions {
    /// Cookies know no ports: each server's has a name of its own.
    cookie: String,
    by_key: Mutex<HashMap<String, Kept>>,
}

/// A session, and the task that ends it when nobody uses it.
struct Kept {
    session: Arc<Session>,
    ending: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.ending.abort();
    }
}

impl Sessions {
    /// Of the server with this ID.
    pub(crate) fn new(server_id: &str) -> Sessions {
        let word: String = server_id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Sessions {
            cookie: format!("seaway_console_{word}"),
            by_key: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a session, and says by which key. It ends by itself when nobody uses it.
    ///
    /// # Errors
    /// There are as many as there may be, or the system gives no random bytes.
    pub(crate) fn keep(self: &Arc<Self>, session: Session) -> Result<String, Refused> {
        let key = random_key()?;
        let now = Instant::now();
        let mut sessions = self.lock();
        sessions.retain(|_, kept| !kept.session.is_over(now));
        let own = sessions.iter().filter(|(_, kept)| kept.session.user == session.user);
        if own.clone().count() >= SESSIONS_PER_USER_MAX {
            let oldest = own
                .min_by_key(|(_, kept)| kept.session.begun())
                .map(|(key, _)| key.clone());
            oldest.and_then(|key| sessions.remove(&key));
        }
        if sessions.len() >= SESSIONS_MAX {
            let words = format!("{SESSIONS_MAX} people are logged in, and no more may be: one of them has to log out");
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, words));
        }
        let ending = tokio::spawn(end_in_time(Arc::clone(self), key.clone())).abort_handle();
        let session = Arc::new(session);
        sessions.insert(key.clone(), Kept { session, ending });
        Ok(key)
    }

    /// The session that a request belongs to, if it does to one.
    pub(crate) fn find(&self, caller: Caller, headers: &HeaderMap) -> Option<Arc<Session>> {
        let key = self.key(headers)?;
        let mut sessions = self.lock();
        let session = Arc::clone(&sessions.get(key)?.session);
        if !session.counts_on(caller.is_secure) {
            return None;
        }
        if session.is_over(Instant::now()) {
            sessions.remove(key);
            return None;
        }
        session.touch();
        Some(session)
    }

    /// The session that a request needs.
    ///
    /// # Errors
    /// There is none, or it has ended.
    pub(crate) fn require(&self, caller: Caller, headers: &HeaderMap) -> Result<Arc<Session>, Refused> {
        self.find(caller, headers).ok_or_else(|| {
            Refused::new(
                StatusCode::UNAUTHORIZED,
                "log in first: there is no session, or it has ended",
            )
        })
    }

    /// Ends the session that a request belongs to.
    pub(crate) fn end(&self, headers: &HeaderMap) {
        if let Some(key) = self.key(headers) {
            self.lock().remove(key);
        }
    }

    /// The key that a browser sends; the first, if it sends several.
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let cookies = headers.get_all(header::COOKIE).iter();
        let mut pairs = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'));
        pairs.find_map(|pair| pair.trim().strip_prefix(&self.cookie)?.strip_prefix('='))
    }

    /// The header that makes a browser keep a key, or forget it. Without a path of its own it is sent to what lies beside the login alone.
    pub(crate) fn cookie(&self, key: Option<&str>, is_secure: bool) -> Option<HeaderValue> {
        let (key, age) = match key {
            Some(key) => (key, ""),
            None => ("", "; Max-Age=0"),
        };
        let (name, secure) = (&self.cookie, if is_secure { "; Secure" } else { "" });
        HeaderValue::try_from(format!("{name}={key}; HttpOnly; SameSite=Strict{secure}{age}")).ok()
    }
}

/// What nobody can guess.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn random_key() -> Result<String, Refused> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key)
        .map_err(|_| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the system gives no random bytes"))?;
    Ok(HEXLOWER.encode(&key))
}

/// Ends a session that nobody uses any more: its connection goes with it.
async fn end_in_time(sessions: Arc<Sessions>, key: String) {
    loop {
        let remaining = match sessions.lock().get(&key) {
            Some(kept) => kept.session.remaining(Instant::now()),
            None => return,
        };
        if remaining.is_zero() {
            sessions.lock().remove(&key);
            return;
        }
        tokio::time::sleep(remaining).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_among_cookies() {
        let sessions = Sessions::new("AB/1");
        let mut headers = HeaderMap::new();
        assert_eq!(sessions.key(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; seaway_console_AB12=x"));
        assert_eq!(sessions.key(&headers), None);
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("c=d; seaway_console_AB1=0a1b; e=f"),
        );
        assert_eq!(sessions.key(&headers), Some("0a1b"));
    }

    #[test]
    fn cookies_are_for_nobody_else() {
        let sessions = Sessions::new("AB");
        let text = |key, is_secure| {
            let value = sessions.cookie(key, is_secure)?;
            value.to_str().ok().map(str::to_owned)
        };
        assert_eq!(
            text(Some("0a"), true).as_deref(),
            Some("seaway_console_AB=0a; HttpOnly; SameSite=Strict; Secure")
        );
        assert_eq!(
            text(None, false).as_deref(),
            Some("seaway_console_AB=; HttpOnly; SameSite=Strict; Max-Age=0")
        );
    }
}
