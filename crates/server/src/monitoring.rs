//! What the monitoring shows, taken from the broker and the engine.
//!
//! The engine is asked through its inbox and answers between two inputs; long lists are asked for part by part. The broker
//! is read where it stands. How much waits for an answer is bounded.

mod show;

pub(crate) use show::{account as show_account, channel_limits, connection as show_connection, limits_set};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use seaway_broker::{Broker, ConnectionFilter, ConnectionId, SubscriptionDetail};
use seaway_config::Options;
use seaway_monitor as monitor;
use seaway_monitor::{Answer, Detail, PageRequest, Source, StreamingIdentity, Unavailable};
use seaway_store::OpenImage;
use seaway_streaming::{AuditQuestion, Changed, LimitsTable, SurveySlice, Timestamp, Unchanged};
use tokio::sync::oneshot;

use crate::bus::Bus;
use crate::engine::{ChangeRequest, Glance, Look, LookError, LookStart, Looked, Wanted};
use crate::limits::{MONITORING_QUESTIONS_MAX, MONITORING_SLICE, SURVEY_VISITS};
use crate::phase::{Phase, Stage};

/// How long the engine may take to answer: a disk that stalls must not hang the monitoring. An engine that takes longer is
/// not alive.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// Ports that are really listened on; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonitoredPorts {
    /// For clients.
    pub clients: u16,
    /// For monitoring.
    pub http: u16,
    /// For monitoring with TLS.
    pub https: u16,
}

/// The monitoring's source.
pub struct Monitoring {
    options: Options,
    server_id: String,
    limits: LimitsTable,
    ports: MonitoredPorts,
    start_ns: i64,
    broker: Broker,
    bus: Bus,
    phase: Phase,
    /// Questions that the engine has not answered yet.
    questions: Arc<AtomicUsize>,
}

/// One question less when it has been answered, or was dropped with the engine.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Monitoring {
    /// A source for the server that runs with `options`.
    pub fn new(
        options: &Options,
        server_id: &str,
        ports: MonitoredPorts,
        (broker, bus): (Broker, Bus),
        phase: Phase,
    ) -> Monitoring {
        Monitoring {
            options: options.clone(),
            server_id: server_id.to_owned(),
            // Limits that contradict each other have ended the start before anybody can ask.
            limits: crate::engine_options::limits_table(&options.streaming).unwrap_or_default(),
            ports,
            start_ns: show::since_epoch(SystemTime::now()),
            broker,
            bus,
            phase,
            questions: Arc::default(),
        }
    }

    /// Asks the engine; `Unavailable` when there is none yet, when it does not answer in time, and when too many wait for
    /// answers already.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Glance<'_>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let unavailable = |reason: &str| Err(Unavailable(reason.to_owned()));
        let inbox = self.phase.engine().map_err(Unavailable)?;
        let counted = Counted(Arc::clone(&self.questions));
        if self.questions.fetch_add(1, Ordering::AcqRel) >= MONITORING_QUESTIONS_MAX {
            return unavailable("too many questions wait for the streaming engine");
        }
        let (answer, answered) = oneshot::channel();
        inbox.ask(Box::new(move |glance| {
            // Whoever asked may have gone.
            let _ = answer.send(question(glance));
            drop(counted);
        }));
        match tokio::time::timeout(ENGINE_PATIENCE, answered).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => unavailable("the streaming engine has stopped"),
            Err(_) => unavailable("the streaming engine does not answer"),
        }
    }

    /// Looks at stored messages, at most so many and about so many bytes.
    ///
    /// # Errors
    /// See [`LookError`].
    pub(crate) async fn look(
        &self,
        channel: &[u8],
        start: LookStart,
        messages_max: u32,
        bytes_max: u32,
    ) -> Result<Looked, LookError> {
        let unavailable = |reason: &str| Err(LookError::Unavailable(reason.to_owned()));
        let inbox = self.phase.engine().map_err(LookError::Unavailable)?;
        let (answer, answered) = oneshot::channel();
        inbox.look(Look {
            channel: channel.to_vec(),
            start,
            messages_max,
            bytes_max,
            answer,
        });
        match tokio::time::timeout(ENGINE_PATIENCE, answered).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(_)) => unavailable("the streaming engine has stopped"),
            Err(_) => unavailable("the store does not answer"),
        }
    }

    /// Plans an image of the store; what comes back completes it, on a thread that may wait for the disk.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) async fn image(&self) -> Result<OpenImage, String> {
        let planned = self.phase.engine()?.image();
        match tokio::time::timeout(ENGINE_PATIENCE, planned).await {
            Ok(Ok(image)) => image,
            Ok(Err(_)) => Err("the streaming engine has stopped".to_owned()),
            Err(_) => Err("the streaming engine does not answer".to_owned()),
        }
    }

    /// Has something changed, or only said what would be; `by` says who asks, in words.
    ///
    /// # Errors
    /// See [`Unchanged`].
    pub(crate) async fn change(&self, by: String, is_rehearsal: bool, wanted: Wanted) -> Result<Changed, Unchanged> {
        let unavailable = |reason: &str| Err(Unchanged::Unavailable(reason.to_owned()));
        let inbox = self.phase.engine().map_err(Unchanged::Unavailable)?;
        let (answer, answered) = oneshot::channel();
        inbox.change(ChangeRequest {
            by,
            is_rehearsal,
            wanted,
            answer,
        });
        match tokio::time::timeout(ENGINE_PATIENCE, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => unavailable("the streaming engine has stopped: whether the change was made is not known."),
            Err(_) => unavailable("the change is not durable yet, and may still become so: look whether it was made."),
        }
    }

    /// Ends a connection of a client of NATS; false when there is none with this id.
    pub(crate) fn end_connection(&self, id: u64, is_rehearsal: bool) -> bool {
        match is_rehearsal {
            true => self.broker.requester(ConnectionId(id)).is_some(),
            false => self.broker.kick(id),
        }
    }

    /// Asks this server to hand over; see [`Phase::hand_over`].
    pub(crate) fn hand_over(&self) -> Result<u64, String> {
        self.phase.hand_over()
    }

    /// Whether it could; see [`Phase::hand_over`].
    pub(crate) fn may_hand_over(&self) -> Result<u64, String> {
        self.phase.may_hand_over()
    }

    /// Whether it is a member of a group and does not serve.
    pub(crate) fn stands_by(&self) -> bool {
        self.phase.membership().is_some_and(|membership| !membership.is_active)
    }

    /// A part of a list, asked for piece by piece: first by its offset, then from the last entry on.
    async fn page<T: Send + 'static>(
        &self,
        request: PageRequest,
        first: impl FnOnce(&Glance<'_>, usize, usize) -> seaway_streaming::Page<T> + Send + 'static,
        more: impl Fn(&Glance<'_>, &[u8], usize) -> seaway_streaming::Page<T> + Clone + Send + 'static,
    ) -> Result<seaway_streaming::Page<T>, Unavailable> {
        let offset = request.offset;
        let size = request.limit.min(MONITORING_SLICE);
        let mut page = self.ask(move |glance| first(glance, offset, size)).await?;
        while page.items.len() < request.limit
            && let Some(last) = page.next.take()
        {
            let (more, size) = (more.clone(), MONITORING_SLICE.min(request.limit - page.items.len()));
            let part = self.ask(move |glance| more(glance, &last, size)).await?;
            page.items.extend(part.items);
            page.next = part.next;
        }
        Ok(page)
    }
}

impl Source for Monitoring {
    fn base_path(&self) -> String {
        self.options.broker.http_base_path.clone()
    }

    fn has_console(&self) -> bool {
        !self.options.broker.no_console
    }

    fn readiness(&self) -> Answer<'_, monitor::Health> {
        let external = self.bus.external_snapshot();
        let cut_off = external.filter(|external| !external.is_up).map(|external| {
            let (url, reason) = (external.url, external.reason.unwrap_or_default());
            format!("no connection to a NATS server; the last one, to {url}, was lost: {reason}")
        });
        let reason = self.phase.not_ready().or(cut_off);
        Box::pin(async move {
            match reason {
                Some(reason) => Ok(monitor::Health::Unavailable { reason }),
                None => {
                    let archive = self.phase.archive();
                    self.ask(move |glance| show::health(glance, archive.as_ref())).await
                }
            }
        })
    }

    fn liveness(&self) -> Answer<'_, monitor::Health> {
        Box::pin(async move {
            match self.phase.stage() {
                Stage::Ready => self.ask(|_| monitor::Health::Ok).await,
                Stage::Waiting | Stage::StandingBy | Stage::Recovering | Stage::Opening | Stage::Stopping => {
                    Ok(monitor::Health::Ok)
                }
            }
        })
    }

    fn log_lines_lost(&self) -> u64 {
        crate::logging::lines_lost()
    }

    fn broker(&self) -> Answer<'_, monitor::Broker> {
        let broker = show::broker(&self.broker, &self.options, self.ports);
        Box::pin(async move { Ok(broker) })
    }

    fn accounts(&self) -> Answer<'_, Vec<monitor::Account>> {
        let accounts = self.broker.accounts().into_iter().map(show::account).collect();
        Box::pin(async move { Ok(accounts) })
    }

    fn account(&self, name: &str) -> Answer<'_, Option<monitor::Account>> {
        let account = self.broker.account(name).map(show::account);
        Box::pin(async move { Ok(account) })
    }

    fn connections(&self, wanted: monitor::ConnectionsWanted) -> Answer<'_, Vec<monitor::Connection>> {
        let filter = ConnectionFilter {
            state: match wanted.state {
                monitor::ConnectionState::Open => seaway_broker::ConnectionState::Open,
                monitor::ConnectionState::Closed => seaway_broker::ConnectionState::Closed,
                monitor::ConnectionState::All => seaway_broker::ConnectionState::All,
            },
            account: wanted.account,
            connection_id: wanted.cid,
            subscriptions: SubscriptionDetail::Count,
        };
        Box::pin(async move { Ok(self.broker.connections_as(&filter, show::connection).await) })
    }

    fn routes(&self) -> Answer<'_, Vec<monitor::Route>> {
        let routes = self.broker.routes().into_iter().map(show::route).collect();
        Box::pin(async move { Ok(routes) })
    }

    fn connection_subscriptions(&self, cid: u64, max: usize) -> Answer<'_, Vec<monitor::ConnectionSubscription>> {
        Box::pin(async move {
            let found = self.broker.subscriptions_of(cid, max, show::connection_subscription);
            Ok(found.await)
        })
    }

    fn streaming_identity(&self) -> StreamingIdentity {
        let membership = self.phase.membership();
        StreamingIdentity {
            cluster_id: self.options.streaming.cluster_id.clone(),
            server_id: self.server_id.clone(),
            state: match (self.phase.stage(), &membership) {
                (Stage::Stopping, _) => monitor::StreamingState::Shutdown,
                (_, None) => monitor::StreamingState::Standalone,
                (_, Some(membership)) if membership.is_active => monitor::StreamingState::FtActive,
                (_, Some(_)) => monitor::StreamingState::FtStandby,
            },
            tenure: self.phase.tenure(),
            membership: membership.map(show::membership),
        }
    }

    fn streaming_server(&self) -> Answer<'_, monitor::StreamingServer> {
        let start_ns = self.start_ns;
        // One that stands by has nothing, and is asked who it is all the same.
        if self.stands_by() {
            let external = self.bus.external_snapshot().map(show::external);
            return Box::pin(async move {
                Ok(monitor::StreamingServer {
                    external,
                    ..show::no_streaming_server(start_ns)
                })
            });
        }
        let external = self.bus.external_snapshot().map(show::external);
        Box::pin(self.ask(move |glance| monitor::StreamingServer {
            external,
            ..show::streaming_server(&glance.engine.server_snapshot(), start_ns)
        }))
    }

    fn streaming_store(&self) -> Answer<'_, monitor::StreamingStore> {
        let (kind, limits) = (
            self.options.streaming.store.name().to_owned(),
            show::limits(&self.limits),
        );
        let store = move |(total_msgs, total_bytes)| monitor::StreamingStore {
            kind,
            limits,
            total_msgs,
            total_bytes,
        };
        if self.stands_by() {
            return Box::pin(async move { Ok(store((0, 0))) });
        }
        Box::pin(self.ask(move |glance| {
            let snapshot = glance.engine.server_snapshot();
            store((snapshot.total_messages, snapshot.total_bytes))
        }))
    }

    fn clients(&self, request: PageRequest) -> Answer<'_, monitor::Page<monitor::Client>> {
        let detail = wants_subscriptions(request.detail);
        Box::pin(async move {
            let first = move |glance: &Glance<'_>, offset, limit| glance.engine.clients_page(offset, limit, detail);
            let more =
                move |glance: &Glance<'_>, after: &[u8], limit| glance.engine.clients_after(after, limit, detail);
            Ok(page(self.page(request, first, more).await?, show::client))
        })
    }

    fn client(&self, id: Vec<u8>, detail: Detail) -> Answer<'_, Option<monitor::Client>> {
        Box::pin(self.ask(move |glance| glance.engine.client(&id, wants_subscriptions(detail)).map(show::client)))
    }

    fn channel_names(&self, request: PageRequest) -> Answer<'_, monitor::Page<String>> {
        Box::pin(async move {
            let first = |glance: &Glance<'_>, offset, limit| glance.engine.channels_page(offset, limit, false);
            let more = |glance: &Glance<'_>, after: &[u8], limit| glance.engine.channels_after(after, limit, false);
            Ok(page(self.page(request, first, more).await?, |channel| channel.name))
        })
    }

    fn channels(&self, request: PageRequest) -> Answer<'_, monitor::Page<monitor::Channel>> {
        let detail = wants_subscriptions(request.detail);
        Box::pin(async move {
            let first = move |glance: &Glance<'_>, offset, limit| glance.engine.channels_page(offset, limit, detail);
            let more =
                move |glance: &Glance<'_>, after: &[u8], limit| glance.engine.channels_after(after, limit, detail);
            Ok(page(self.page(request, first, more).await?, show::channel))
        })
    }

    fn channels_with_prefix(
        &self,
        prefix: Vec<u8>,
        offset: usize,
        limit: usize,
    ) -> Answer<'_, monitor::Page<monitor::Channel>> {
        Box::pin(async move {
            let mut found = seaway_streaming::Page {
                total: 0,
                items: Vec::new(),
                next: None,
            };
            loop {
                let (prefix, after, total) = (prefix.clone(), found.next.take(), found.total);
                let wanted = offset.saturating_sub(total)..offset.saturating_add(limit).saturating_sub(total);
                let look = move |glance: &Glance<'_>| {
                    let engine = glance.engine;
                    engine.channels_beginning(&prefix, after.as_deref(), SURVEY_VISITS, wanted)
                };
                let part = self.ask(look).await?;
                found.total += part.total;
                found.items.extend(part.items);
                found.next = part.next;
                if found.next.is_none() {
                    return Ok(page(found, show::channel));
                }
            }
        })
    }

    fn channel(&self, name: Vec<u8>, detail: Detail) -> Answer<'_, Option<monitor::Channel>> {
        Box::pin(self.ask(move |glance| {
            glance
                .engine
                .channel(&name, wants_subscriptions(detail))
                .map(show::channel)
        }))
    }

    fn why(&self, question: monitor::WhyQuestion) -> Answer<'_, monitor::Why> {
        Box::pin(self.ask(move |glance| {
            let question = seaway_streaming::WhyQuestion {
                channel: question.channel,
                durable: question.durable,
                queue: question.queue,
                client: question.client,
                offset: question.offset,
                limit: question.limit,
                store_full: glance.refusing.clone(),
            };
            show::why(glance.engine.why(glance.now, &question))
        }))
    }

    fn audit(&self, question: monitor::AuditQuestion) -> Answer<'_, monitor::Page<monitor::AuditEntry>> {
        Box::pin(async move {
            let question = AuditQuestion {
                since: question.since_ns.map(Timestamp),
                who: question.who,
                offset: question.offset,
                limit: question.limit,
            };
            let found = self.ask(move |glance| glance.engine.audit(&question)).await?;
            Ok(page(found, show::audit_entry))
        })
    }

    fn figures(&self) -> Answer<'_, monitor::Figures> {
        let archive = self.phase.archive();
        Box::pin(self.ask(move |glance| show::figures(glance, archive)))
    }

    fn survey(&self, request: monitor::SurveyRequest) -> Answer<'_, monitor::Survey> {
        Box::pin(self.ask(move |glance| {
            let slice = SurveySlice {
                visits: SURVEY_VISITS,
                channels: request.channels_max,
                subscriptions: request.subscriptions_max,
            };
            let wanted = |name: &[u8]| request.filter.matches(&String::from_utf8_lossy(name));
            show::survey(
                glance
                    .engine
                    .survey(glance.now, request.after.as_deref(), slice, wanted),
            )
        }))
    }
}

fn wants_subscriptions(detail: Detail) -> bool {
    detail == Detail::Subscriptions
}

fn page<T, U>(page: seaway_streaming::Page<T>, show: impl FnMut(T) -> U) -> monitor::Page<U> {
    monitor::Page {
        total: page.total,
        entries: page.items.into_iter().map(show).collect(),
    }
}
