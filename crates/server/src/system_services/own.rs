//! What every client may ask about itself and its own account (core specification §2.6). Whoever asks is answered by a task of its own, so
//! that it delays nobody but others who ask such things, and what it costs is in proportion to its own account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seaway_broker::{Attachment, Broker, ConnectionId, Publisher, Requester};
use seaway_monitor::{SystemAnswers, Unavailable};
use tokio::time::Instant;

use super::mail::{Bounds, Mail, Request};
use super::user_info;
use crate::limits::{
    OWN_REQUEST_BYTES_MAX, OWN_REQUESTS_MAX, OWN_REQUESTS_PER_ACCOUNT_MAX, OWN_REQUESTS_PER_CONNECTION_MAX,
    SYSTEM_REQUESTS_PER_PASS,
};

/// What everybody may ask, about himself and his account.
pub(super) const USER_INFO: &str = "$SYS.REQ.USER.INFO";
const OWN: [&str; 4] = [
    USER_INFO,
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
    "$SYS.REQ.SERVER.PING.CONNZ",
];
/// Time after which accounts are looked for that a reload has brought.
const ATTEND_INTERVAL: Duration = Duration::from_secs(1);

const BOUNDS: Bounds = Bounds {
    all: OWN_REQUESTS_MAX,
    of_account: OWN_REQUESTS_PER_ACCOUNT_MAX,
    of_connection: OWN_REQUESTS_PER_CONNECTION_MAX,
    bytes: OWN_REQUEST_BYTES_MAX,
};

/// Where clients of one account ask.
struct Place {
    account: String,
    attachment: Attachment,
}

pub(super) struct OwnAffairs {
    broker: Broker,
    answers: Arc<SystemAnswers>,
    /// By the tag of what comes from there.
    places: BTreeMap<u64, Place>,
    /// In the account that was answered last; what it knows of receivers takes a megabyte.
    publisher: Option<(u64, Publisher)>,
    mail: Arc<Mail>,
}

impl OwnAffairs {
    pub(super) fn new(broker: &Broker, answers: &Arc<SystemAnswers>) -> Self {
        let mut own = Self {
            broker: broker.clone(),
            answers: Arc::clone(answers),
            places: BTreeMap::new(),
            publisher: None,
            mail: Arc::new(Mail::new(BOUNDS)),
        };
        own.attend_accounts();
        own
    }

    pub(super) async fn run(mut self) {
        let mut next = Instant::now() + ATTEND_INTERVAL;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + ATTEND_INTERVAL;
                    self.attend_accounts();
                }
                () = self.mail.arrived() => self.answer_some().await,
            }
        }
    }

    /// Listens in accounts that are new; the system account has services of its own.
    fn attend_accounts(&mut self) {
        let system = &self.broker.options().system_account;
        for account in self.broker.account_names() {
            if account == *system || self.places.values().any(|place| place.account == account) {
                continue;
            }
            let tag = self.places.len() as u64 + 1;
            let attachment = self
                .broker
                .attach_to(&account, "system services", Arc::clone(&self.mail) as _);
            for subject in OWN {
                if attachment.subscribe_here(subject, tag, false).is_err() {
                    tracing::error!("{subject} is no subject");
                }
            }
            self.places.insert(tag, Place { account, attachment });
        }
    }

    /// Answers as many as there are, and no more than a pass has room for.
    async fn answer_some(&mut self) {
        for _ in 0..SYSTEM_REQUESTS_PER_PASS {
            let Some(request) = self.mail.take() else { return };
            // One that is not answered at present is like one to a server that is not there.
            let _ = self.answer(&request).await;
            tokio::task::yield_now().await;
        }
        self.mail.look_again();
    }

    async fn answer(&mut self, request: &Request) -> Result<(), Unavailable> {
        let Some(place) = self.places.get(&request.tag) else {
            return Ok(());
        };
        // Whoever has gone, is somebody else by now, or may not receive the answer gets none.
        let Some(requester) = asker(&self.broker, request, &place.account) else {
            return Ok(());
        };
        let account = Some(place.account.as_str());
        let answer = match request.subject.as_str() {
            USER_INFO => self.answers.enveloped(&user_info::describe(&requester)).await.map(Some),
            "$SYS.REQ.ACCOUNT.PING.STATZ" => self.answers.about_account(account, "STATZ", &request.payload).await,
            _ => self.answers.about_account(account, "CONNZ", &request.payload).await,
        };
        let Some(mut answer) = answer? else { return Ok(()) };
        if answer.len() > self.broker.options().max_payload {
            answer = self.answers.too_long(answer.len()).await?;
        }
        if self.publisher.as_ref().is_none_or(|(tag, _)| *tag != request.tag) {
            self.publisher = Some((request.tag, place.attachment.publisher()));
        }
        if let Some((_, publisher)) = &mut self.publisher {
            let _ = publisher.answer(&request.reply, b"", answer.as_bytes());
            publisher.flush_all().await;
        }
        Ok(())
    }
}

/// Who asks in an account, where he may have the answer.
pub(super) fn asker(broker: &Broker, request: &Request, account: &str) -> Option<Requester> {
    let requester = broker.requester(ConnectionId(request.origin))?;
    (requester.account() == account && requester.may_receive(&request.reply)).then_some(requester)
}
