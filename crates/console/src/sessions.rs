//! Who is logged in. A session is named by a random key that only the browser has, in a cookie that no script reads and no other page
//! sends along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use data_encoding::HEXLOWER;

use crate::answer::Refused;
use crate::limits::SESSIONS_MAX;
use crate::session::Session;

const COOKIE: &str = "seaway_console";
const KEY_BYTES: usize = 16;

/// See the module.
#[derive(Default)]
pub(crate) struct Sessions {
    by_key: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more may begin; sessions that are over make room.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(crate) fn check_room(&self) -> Result<(), Refused> {
        let mut sessions = self.lock();
        let now = Instant::now();
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() < SESSIONS_MAX {
            return Ok(());
        }
        let words = format!("{SESSIONS_MAX} people are logged in, and no more may be: one of them has to log out");
        Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, words))
    }

    /// Keeps a session, and says by which key. It ends by itself when nobody uses it.
    ///
    /// # Errors
    /// There are as many as there may be, or the system gives no random bytes.
    pub(crate) fn keep(self: &Arc<Self>, session: Session) -> Result<String, Refused> {
        let key = random_key()?;
        self.check_room()?;
        self.lock().insert(key.clone(), Arc::new(session));
        tokio::spawn(end_in_time(Arc::clone(self), key.clone()));
        Ok(key)
    }

    /// The session that a request belongs to, if it does to one.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Arc<Session>> {
        let key = key(headers)?;
        let mut sessions = self.lock();
        let session = Arc::clone(sessions.get(key)?);
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
    pub(crate) fn require(&self, headers: &HeaderMap) -> Result<Arc<Session>, Refused> {
        self.find(headers).ok_or_else(|| {
            Refused::new(
                StatusCode::UNAUTHORIZED,
                "log in first: there is no session, or it has ended",
            )
        })
    }

    /// Ends the session that a request belongs to.
    pub(crate) fn end(&self, headers: &HeaderMap) {
        if let Some(key) = key(headers) {
            self.lock().remove(key);
        }
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
            Some(session) => session.remaining(Instant::now()),
            None => return,
        };
        if remaining.is_zero() {
            sessions.lock().remove(&key);
            return;
        }
        tokio::time::sleep(remaining).await;
    }
}

/// The key that a browser sends; the first, if it sends several.
fn key(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The header that makes a browser keep a key, or forget it.
pub(crate) fn cookie(key: Option<&str>, is_secure: bool) -> Option<HeaderValue> {
    let (key, age) = match key {
        Some(key) => (key, ""),
        None => ("", "; Max-Age=0"),
    };
    let secure = if is_secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!(
        "{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict{secure}{age}"
    ))
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_among_cookies() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; seaway_console2=x"));
        assert_eq!(key(&headers), None);
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("c=d; seaway_console=0a1b; e=f"),
        );
        assert_eq!(key(&headers), Some("0a1b"));
    }

    #[test]
    fn cookies_are_for_nobody_else() {
        let text = |key, is_secure| cookie(key, is_secure).and_then(|value| value.to_str().ok().map(str::to_owned));
        assert_eq!(
            text(Some("0a"), true).as_deref(),
            Some("seaway_console=0a; Path=/; HttpOnly; SameSite=Strict; Secure")
        );
        assert_eq!(
            text(None, false).as_deref(),
            Some("seaway_console=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
        );
    }
}
