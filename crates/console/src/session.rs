//! A person who is logged in: a connection to the broker as that user, on which everything is asked for that needs a right. So the rights
//! of the console are those of the user, and its changes stand in the log under his name.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Auth, AuthError, ConnectErrorKind, Event};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast};
use tokio::time::timeout;

use crate::answer::Refused;
use crate::door::Opened;
use crate::limits::{CREDENTIAL_LEN_MAX, LOGIN_TIME_MAX, SESSION_AGE_MAX, SESSION_IDLE_MAX, SESSION_REQUESTS_MAX};

/// Complaints that somebody who waits for one may have missed.
const COMPLAINTS_KEPT: usize = 16;

/// What somebody logs in with: a user and a password, or a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
}

impl Credentials {
    /// Whether somebody can be logged in so at all.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let all = [&self.user, &self.password, &self.token];
        if all.iter().any(|text| text.len() > CREDENTIAL_LEN_MAX) {
            let words = format!("user, password and token have at most {CREDENTIAL_LEN_MAX} bytes");
            return Err(Refused::new(StatusCode::BAD_REQUEST, words));
        }
        match (self.user.is_empty(), self.token.is_empty()) {
            (true, true) => Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "a user name or a token is needed",
            )),
            (false, false) => Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "either a user or a token, not both",
            )),
            _ => Ok(()),
        }
    }

    /// How the person is called in the console.
    fn name(&self) -> String {
        match self.user.as_str() {
            "" => "token".to_owned(),
            user => user.to_owned(),
        }
    }

    fn present(self) -> Auth {
        let mut auth = Auth::new();
        match self.user.is_empty() {
            true => auth.token = Some(self.token),
            false => (auth.username, auth.password) = (Some(self.user), Some(self.password)),
        }
        auth
    }
}

/// See the module.
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) nats: async_nats::Client,
    /// What the server says of something that the user may not do.
    complaints: broadcast::Sender<String>,
    requests: Semaphore,
    /// It began behind TLS, and counts nowhere else.
    is_secure: bool,
    begun: Instant,
    used: Mutex<Instant>,
}

impl Session {
    /// Logs in on a way in that is open, with credentials that were checked; `is_secure` says that they came behind TLS.
    ///
    /// # Errors
    /// The credentials are refused, or the server does not answer in time.
    pub(crate) async fn begin(opened: &Opened, credentials: Credentials, is_secure: bool) -> Result<Session, Refused> {
        let user = credentials.name();
        let (complaints, _) = broadcast::channel(COMPLAINTS_KEPT);
        let complain = complaints.clone();
        let auth = Arc::new(Mutex::new(Some(credentials.present())));
        // Said once: whoever might listen at that address later is told nothing.
        let options = async_nats::ConnectOptions::with_auth_callback(move |_| {
            let auth = auth.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move { auth.ok_or_else(|| AuthError::new("the connection was lost")) }
        });
        let options = options
            .name(format!("console of {user}"))
            .local_address(SocketAddr::new(opened.from, 0))
            .ignore_discovered_servers()
            .max_reconnects(1)
            .event_callback(move |event| {
                let complain = complain.clone();
                async move {
                    if let Event::ServerError(error) = event {
                        // Nobody may be waiting for one.
                        let _ = complain.send(error.to_string());
                    }
                }
            });
        let refused = |words: String| Refused::new(StatusCode::SERVICE_UNAVAILABLE, words);
        match timeout(LOGIN_TIME_MAX, options.connect(format!("nats://{}", opened.address))).await {
            Err(_) => Err(refused("the server does not answer the login".to_owned())),
            Ok(Err(error)) if error.kind() == ConnectErrorKind::AuthorizationViolation => Err(Refused::new(
                StatusCode::FORBIDDEN,
                "the server does not know this user with this password, or this token",
            )),
            Ok(Err(error)) => Err(refused(format!("the server does not let the console in: {error}"))),
            Ok(Ok(nats)) => Ok(Session {
                user,
                nats,
                complaints,
                requests: Semaphore::new(SESSION_REQUESTS_MAX),
                is_secure,
                begun: Instant::now(),
                used: Mutex::new(Instant::now()),
            }),
        }
    }

    /// What the server complains of from now on.
    pub(crate) fn complaints(&self) -> broadcast::Receiver<String> {
        self.complaints.subscribe()
    }

    /// When it began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether it may be used on a way that is behind TLS, or is not: a key that was given behind TLS and is sent without has been seen by
    /// others.
    pub(crate) fn counts_on(&self, is_secure: bool) -> bool {
        is_secure || !self.is_secure
    }

    /// Whether it may still be used.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.remaining(now).is_zero() || self.nats.connection_state() != State::Connected
    }

    /// How long it lasts if nobody asks anything more.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let end = (used + SESSION_IDLE_MAX).min(self.begun + SESSION_AGE_MAX);
        end.saturating_duration_since(now)
    }

    /// Somebody uses it.
    pub(crate) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// A place for a request.
    ///
    /// # Errors
    /// Too many are under way.
    pub(crate) fn place(&self) -> Result<SemaphorePermit<'_>, Refused> {
        self.requests.try_acquire().map_err(|_| {
            let words = format!("{SESSION_REQUESTS_MAX} requests of this session are under way: wait for one");
            Refused::new(StatusCode::TOO_MANY_REQUESTS, words)
        })
    }
}
