//! Events in the system account (core specification §2.6): clients that come, go or are refused, how many an account has, how the server
//! is, and that it lets its clients go. What nobody listens for is not put together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use seaway_broker::{Broker, ClientEvent, ClientEventKind, GLOBAL_ACCOUNT, Publisher};
use seaway_monitor::{ClientChange, SystemAnswers, Unavailable};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::limits::SYSTEM_REQUESTS_PER_PASS;
use crate::monitoring::{show_account, show_connection};
use crate::token::token;

/// Time between two events that say how this server is, and from the first to the second one.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(10);
const STATISTICS_SOON: Duration = Duration::from_millis(250);
/// Time in which changes of one account are told together.
const ACCOUNTS_TOGETHER: Duration = Duration::from_secs(1);
/// Time after which an account with clients is told of anyhow.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(30);

pub(super) struct Events {
    broker: Broker,
    answers: Arc<SystemAnswers>,
    /// In the system account.
    publisher: Publisher,
    clients: mpsc::Receiver<ClientEvent>,
    leaving: watch::Receiver<bool>,
    /// Accounts whose clients have changed.
    changed: BTreeSet<String>,
}

impl Events {
    /// `None` where somebody else has them already.
    pub(super) fn new(broker: &Broker, answers: &Arc<SystemAnswers>, publisher: Publisher) -> Option<Self> {
        Some(Self {
            clients: broker.client_events()?,
            leaving: broker.leaving(),
            broker: broker.clone(),
            answers: Arc::clone(answers),
            publisher,
            changed: BTreeSet::new(),
        })
    }

    pub(super) async fn run(mut self) {
        let mut interval = STATISTICS_SOON;
        let mut statistics_due = Instant::now() + interval;
        let mut changed_due = Instant::now() + ACCOUNTS_TOGETHER;
        let mut accounts_due = Instant::now() + ACCOUNTS_INTERVAL;
        let mut is_leaving = false;
        loop {
            // An event that cannot be put together at present is lost.
            let _ = tokio::select! {
                biased;
                () = tokio::time::sleep_until(statistics_due) => {
                    interval = (interval * 2).min(STATISTICS_INTERVAL);
                    statistics_due = Instant::now() + interval;
                    self.tell_statistics().await
                }
                () = tokio::time::sleep_until(changed_due) => {
                    changed_due = Instant::now() + ACCOUNTS_TOGETHER;
                    if Instant::now() >= accounts_due {
                        accounts_due = Instant::now() + ACCOUNTS_INTERVAL;
                        self.changed.extend(self.active_accounts());
                    }
                    self.tell_accounts().await
                }
                () = left(&mut self.leaving), if !is_leaving => {
                    is_leaving = true;
                    self.tell_of_itself("LAMEDUCK").await
                }
                Some(event) = self.clients.recv() => self.tell_of_some(event).await,
            };
        }
    }

    /// Says something of this server alone, if anybody listens.
    async fn tell_of_itself(&mut self, what: &str) -> Result<(), Unavailable> {
        let subject = format!("$SYS.SERVER.{}.{what}", self.broker.server_id());
        if self.is_wanted(&subject) {
            let text = self.answers.itself().await?;
            self.publish(&subject, &text).await;
        }
        Ok(())
    }

    async fn tell_statistics(&mut self) -> Result<(), Unavailable> {
        let subject = format!("$SYS.SERVER.{}.STATSZ", self.broker.server_id());
        if self.is_wanted(&subject) {
            let text = self.answers.statistics().await?;
            self.publish(&subject, &text).await;
        }
        Ok(())
    }

    /// Tells of clients, as many as a pass has room for.
    async fn tell_of_some(&mut self, first: ClientEvent) -> Result<(), Unavailable> {
        self.tell_of_client(first).await?;
        for _ in 1..SYSTEM_REQUESTS_PER_PASS {
            let Ok(event) = self.clients.try_recv() else { break };
            self.tell_of_client(event).await?;
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn tell_of_client(&mut self, event: ClientEvent) -> Result<(), Unavailable> {
        let account = event.connection.account.clone();
        let (subject, change) = match (event.kind, &account) {
            (ClientEventKind::Refused, _) => (
                format!("$SYS.SERVER.{}.CLIENT.AUTH.ERR", self.broker.server_id()),
                ClientChange::Disconnect,
            ),
            (_, None) => return Ok(()),
            (ClientEventKind::Connected, Some(account)) => {
                (format!("$SYS.ACCOUNT.{account}.CONNECT"), ClientChange::Connect)
            }
            (ClientEventKind::Disconnected, Some(account)) => {
                (format!("$SYS.ACCOUNT.{account}.DISCONNECT"), ClientChange::Disconnect)
            }
        };
        if event.kind != ClientEventKind::Refused {
            self.changed.extend(account);
        }
        if self.is_wanted(&subject) {
            let connection = show_connection(*event.connection);
            let text = self.answers.client_event(change, &connection, &token()).await?;
            self.publish(&subject, &text).await;
        }
        Ok(())
    }

    fn active_accounts(&self) -> Vec<String> {
        let accounts = self.broker.accounts().into_iter();
        let active = accounts.filter(|account| account.connections > 0);
        active.map(|account| account.name).collect()
    }

    /// Says how many clients accounts have that have changed, but for the global account (§2.6).
    async fn tell_accounts(&mut self) -> Result<(), Unavailable> {
        for name in std::mem::take(&mut self.changed) {
            let subjects = [
                format!("$SYS.ACCOUNT.{name}.SERVER.CONNS"),
                format!("$SYS.SERVER.ACCOUNT.{name}.CONNS"),
            ];
            if name == GLOBAL_ACCOUNT || !subjects.iter().any(|subject| self.is_wanted(subject)) {
                continue;
            }
            let Some(account) = self.broker.account(&name).map(show_account) else {
                continue;
            };
            let text = self.answers.account_event(&account, &token()).await?;
            for subject in subjects {
                self.publish(&subject, &text).await;
            }
        }
        Ok(())
    }

    /// Whether anybody listens, and has room.
    fn is_wanted(&mut self, subject: &str) -> bool {
        self.publisher.has_receiver_with_room(subject.as_bytes()) == Ok(true)
    }

    async fn publish(&mut self, subject: &str, text: &str) {
        let _ = self.publisher.publish(subject.as_bytes(), None, &[text.as_bytes()]);
        self.publisher.flush_all().await;
    }
}

/// Waits until the broker lets its clients go.
async fn left(leaving: &mut watch::Receiver<bool>) {
    if leaving.wait_for(|is_leaving| *is_leaving).await.is_err() {
        // There is no broker any more that could.
        std::future::pending::<()>().await;
    }
}
