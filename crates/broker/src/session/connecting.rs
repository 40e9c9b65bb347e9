//! CONNECT: who the client is, what it asked for, and what a reload changes about that (core specification §1.5, §1.6,
//! §3.1).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::quote::quote;
use seaway_nats_protocol::write::write_error;
use seaway_nats_protocol::{ConnectOptions, ErrorText};

use super::operations::{Client, Turn};
use super::party::Halt;
use super::verification::{Verification, Verified};
use crate::access::{Decision, Grant, Verdicts};
use crate::account::Membership;
use crate::connection::Connection;
use crate::events::ClientEventKind;
use crate::limits::{CLIENT_TEXT_BYTES, TURN_WORK};
use crate::lock::lock;
use crate::reason::CloseReason;
use crate::settings::Settings;

impl Client {
    /// The first bytes of a client that has to authenticate itself. Anything but CONNECT is answered with a refusal,
    /// unless clients without credentials are somebody.
    pub(super) fn enter_without_connect(&mut self, turn: &mut Turn<'_>) -> Result<(), CloseReason> {
        let settings = turn.shared.settings();
        match settings.access.anonymous() {
            Some(grant) => self.admit(turn, grant, &settings),
            None => {
                turn.error(&ErrorText::AuthorizationViolation);
                Err(CloseReason::AuthenticationFailure)
            }
        }
    }

    pub(super) fn connect(&mut self, turn: &mut Turn<'_>, json: &[u8]) -> Result<(), Halt> {
        turn.gatherer.settle(self.origin(turn.connection));
        let connect = ConnectOptions::parse(json).map_err(|error| {
            tracing::error!("{} - cid:{} - {error}", turn.connection.peer, turn.connection.id);
            CloseReason::ParseError
        })?;
        if !connect.account.is_empty() || connect.new_account {
            turn.error(&ErrorText::AuthorizationViolation);
            return Err(CloseReason::AuthenticationFailure.into());
        }
        let settings = turn.shared.settings();
        match settings.access.decide(&connect, &self.nonce, self.names.as_deref()) {
            Decision::Granted(grant) => Ok(self.enter(turn, connect, grant, &settings)?),
            Decision::Verify {
                grant,
                secret,
                password,
            } => Err(Halt::Verify(Box::new(Verification {
                secret,
                password,
                connect,
                grant,
                settings,
            }))),
            Decision::Refused => Err(refuse(turn, &connect).into()),
        }
    }

    /// Goes on with a CONNECT whose password has been compared.
    pub(super) fn verified(&mut self, turn: &mut Turn<'_>, verified: Verified) -> Result<(), CloseReason> {
        let Verification {
            connect,
            grant,
            settings,
            ..
        } = *verified.verification;
        if !verified.passed {
            return Err(refuse(turn, &connect));
        }
        self.enter(turn, connect, Some(grant), &settings)
    }

    /// The client is known: what it asks for takes effect.
    fn enter(
        &mut self,
        turn: &mut Turn<'_>,
        connect: ConnectOptions,
        grant: Option<Arc<Grant>>,
        settings: &Arc<Settings>,
    ) -> Result<(), CloseReason> {
        if connect.protocol != 0 && connect.protocol != 1 {
            turn.error(&ErrorText::InvalidClientProtocol);
            return Err(CloseReason::BadClientProtocolVersion);
        }
        let headers = connect.headers && !turn.shared.options.no_header_support;
        if connect.no_responders && !headers {
            turn.error(&ErrorText::NoRespondersRequiresHeaders);
            return Err(CloseReason::NoRespondersRequiresHeaders);
        }
        // Who did anything before the first CONNECT was somebody, too: nothing of that stays with another one.
        let is_another = self.membership.is_member() && turn.connection.admission.grant() != grant;
        if self.connected || is_another {
            self.chores.end_all(turn.connection);
            // That is done before anything behind it counts.
            turn.gatherer.charge(TURN_WORK);
        }
        if !self.connected {
            turn.timers.introduced(turn.connection);
        }
        self.verbose = connect.verbose;
        self.pedantic = connect.pedantic;
        self.echo = connect.echo;
        self.no_responders = connect.no_responders;
        self.limits.headers = headers;
        self.info_due = connect.protocol >= 1;
        self.connected = true;
        turn.connection.headers.store(headers, Ordering::Relaxed);
        turn.timers.connected(turn.shared);
        let mut details = lock(&turn.connection.details);
        details.name = shorten(connect.name);
        details.lang = shorten(connect.lang);
        details.version = shorten(connect.version);
        drop(details);
        let before = Arc::clone(self.membership.account());
        self.admit(turn, grant, settings)?;
        if !self.announced || !Arc::ptr_eq(&before, self.membership.account()) {
            self.announced = true;
            let picture = || turn.connection.snapshot(0);
            turn.shared.events.tell(ClientEventKind::Connected, picture);
        }
        self.acknowledge(turn);
        Ok(())
    }

    /// From now on the client is this one.
    fn admit(
        &mut self,
        turn: &mut Turn<'_>,
        grant: Option<Arc<Grant>>,
        settings: &Arc<Settings>,
    ) -> Result<(), CloseReason> {
        let (shared, connection) = (turn.shared, turn.connection);
        let account = shared.accounts.of(grant.as_deref());
        if !self.membership.is_member() || !Arc::ptr_eq(self.membership.account(), &account) {
            self.membership = Membership::enter(&account, connection).ok_or_else(|| {
                turn.error(&ErrorText::MaximumAccountConnectionsExceeded);
                CloseReason::MaximumAccountConnectionsExceeded
            })?;
        }
        self.limits.max_payload = account.max_payload(settings.max_payload);
        connection.max_payload.store(self.limits.max_payload, Ordering::Release);
        self.verdicts = Verdicts::new(grant.as_ref());
        connection.admission.admit(grant);
        self.gated = false;
        turn.timers.authenticated();
        // A reload in between did not find the client among those it had to ask about.
        let current = shared.settings();
        if !current.access.is_same(&settings.access) {
            connection.renew(&current.access);
        }
        Ok(())
    }

    /// Takes over what a reload decided: other rules for publications, and an end to subscriptions they do not allow.
    pub(super) fn adopt(&mut self, connection: &Connection) {
        let Some(grant) = connection.admission.take_change() else {
            return;
        };
        self.verdicts = Verdicts::new(grant.as_ref());
        self.chores.review_all(connection);
        // The first of them at once: with few that is all.
        self.chores.go_on(connection);
    }
}

/// Answers bad credentials; the log says whose.
fn refuse(turn: &mut Turn<'_>, connect: &ConnectOptions) -> CloseReason {
    let who = |kind: &str, name: &str| format!(" - {kind} {}", quote(shorten(name.to_owned()).as_bytes()));
    let who = match (connect.nkey.as_str(), connect.user.as_str()) {
        ("", "") => String::new(),
        ("", user) => who("User", user),
        (nkey, _) => who("Nkey", nkey),
    };
    tracing::error!(
        "{} - cid:{} - authentication error{who}",
        turn.connection.peer,
        turn.connection.id
    );
    write_error(turn.own(), &ErrorText::AuthorizationViolation);
    CloseReason::AuthenticationFailure
}

/// Cuts what clients say about themselves to a bound, at a character.
fn shorten(mut text: String) -> String {
    if text.len() > CLIENT_TEXT_BYTES {
        let end = (0..=CLIENT_TEXT_BYTES)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_texts_are_cut_at_a_character() {
        assert_eq!(shorten("short".into()), "short");
        let long = shorten("ä".repeat(CLIENT_TEXT_BYTES));
        assert_eq!(long.len(), CLIENT_TEXT_BYTES / 2 * 2);
        assert_eq!(
            shorten(format!("x{}", "ä".repeat(CLIENT_TEXT_BYTES))).len(),
            CLIENT_TEXT_BYTES - 1
        );
    }
}
