//! A source for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::snapshot::*;

pub(crate) const START_NS: i64 = 1_700_000_000_000_000_000;

/// A source with two clients and three channels.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) state: Option<StreamingState>,
    pub(crate) broken: Option<&'static str>,
    pub(crate) endless: bool,
    pub(crate) empty: bool,
    /// Everything behind the engine fails, and the broker answers.
    pub(crate) engine_broken: bool,
    /// The engine's part of `/metrics` fails only after as long as an engine is waited for.
    pub(crate) engine_slow: bool,
    /// Limits of the broker say "none".
    pub(crate) unlimited: bool,
    pub(crate) base_path: &'static str,
    /// There is one other server.
    pub(crate) clustered: bool,
    /// How often the broker was asked for its numbers.
    pub(crate) broker_asked: Arc<AtomicUsize>,
}

impl Fake {
    fn answer<T: Send + 'static>(&self, value: T) -> Answer<'_, T> {
        Box::pin(async move {
            if self.endless {
                std::future::pending::<()>().await;
            }
            match self.broken {
                Some(reason) => Err(Unavailable(reason.to_owned())),
                None => Ok(value),
            }
        })
    }

    /// An answer of the engine.
    fn engine_answer<T: Send + 'static>(&self, value: T) -> Answer<'_, T> {
        if self.engine_slow {
            return Box::pin(async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Err(Unavailable("the streaming engine does not answer".to_owned()))
            });
        }
        if self.engine_broken {
            return Box::pin(async { Err(Unavailable("recovering".to_owned())) });
        }
        self.answer(value)
    }

    fn subscription() -> Subscription {
        Subscription {
            client_id: "billing".into(),
            inbox: "_INBOX.aaa".into(),
            ack_inbox: "_INBOX.bbb".into(),
            queue_name: "dur:workers".into(),
            is_durable: true,
            max_inflight: 1024,
            ack_wait: 30,
            last_sent: 12,
            pending_count: 3,
            ..Subscription::default()
        }
    }

    fn all_clients(&self, detail: Detail) -> Vec<Client> {
        let client = |id: &str, count| Client {
            id: id.into(),
            hb_inbox: "_INBOX.hb".into(),
            subs_count: count,
            subscriptions: if detail == Detail::Subscriptions && count > 0 {
                BTreeMap::from([("orders".to_owned(), vec![Self::subscription()])])
            } else {
                BTreeMap::new()
            },
        };
        if self.empty {
            Vec::new()
        } else {
            vec![client("billing", 1), client("shop", 0)]
        }
    }

    fn all_channels(&self, detail: Detail) -> Vec<Channel> {
        let channel = |name: &str, count: u64| Channel {
            name: name.into(),
            msgs: 12,
            bytes: 1632,
            first_seq: 1,
            last_seq: 12,
            subs_count: count,
            limits: ChannelLimits {
                max_msgs: if name == "orders" { 10 } else { 1_000_000 },
                ..ChannelLimits::default()
            },
            limits_set: ChannelLimitsSet::default(),
            subscriptions: if detail == Detail::Subscriptions && count > 0 {
                vec![Self::subscription()]
            } else {
                vec![]
            },
        };
        if self.empty {
            Vec::new()
        } else {
            vec![channel("a<b", 0), channel("bar", 0), channel("orders", 1)]
        }
    }
}

impl Source for Fake {
    fn base_path(&self) -> String {
        self.base_path.to_owned()
    }

    fn readiness(&self) -> Answer<'_, Health> {
        self.answer(if self.engine_broken {
            Health::Unavailable {
                reason: "recovering".into(),
            }
        } else {
            Health::Ok
        })
    }

    fn log_lines_lost(&self) -> u64 {
        5
    }

    fn liveness(&self) -> Answer<'_, Health> {
        self.answer(Health::Ok)
    }

    fn routes(&self) -> Answer<'_, Vec<Route>> {
        let route = || Route {
            remote_id: "NR".into(),
            remote_name: "other".into(),
            did_solicit: true,
            is_configured: true,
            connection: Connection {
                cid: 9,
                ip: "10.0.0.2".into(),
                port: 6222,
                start_ns: START_NS,
                last_activity_ns: START_NS,
                rtt: Some(Duration::from_micros(412)),
                in_msgs: 5,
                out_msgs: 6,
                in_bytes: 70,
                out_bytes: 80,
                subscription_count: 2,
                ..Connection::default()
            },
        };
        self.answer(if self.clustered { vec![route()] } else { Vec::new() })
    }

    fn broker(&self) -> Answer<'_, Broker> {
        self.broker_asked.fetch_add(1, Ordering::Relaxed);
        self.answer(Broker {
            cluster: self.clustered.then(|| Cluster {
                name: "mesh".into(),
                host: "0.0.0.0".into(),
                port: 6222,
                auth_timeout: Duration::from_secs(2),
                urls: vec!["10.0.0.2:6222".into()],
                tls_timeout: Duration::from_secs(2),
                tls: true,
            }),
            routes: u64::from(self.clustered),
            remotes: u64::from(self.clustered),
            server_id: "NB".into(),
            server_name: "me".into(),
            version: "2.9.24".into(),
            protocol: 1,
            runtime: "rust".into(),
            host: "127.0.0.1".into(),
            port: 4222,
            max_connections: if self.unlimited { u64::MAX } else { 65536 },
            max_subscriptions: if self.unlimited { u64::MAX } else { 0 },
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            http_host: "127.0.0.1".into(),
            http_port: 8222,
            auth_timeout: Duration::from_secs(2),
            max_control_line: 4096,
            max_payload: 1_048_576,
            max_pending: 67_108_864,
            tls_timeout: Duration::from_secs(2),
            write_deadline: Duration::from_secs(10),
            start_ns: START_NS,
            config_load_ns: START_NS,
            connections: 1,
            total_connections: 2,
            in_msgs: 3,
            in_bytes: 4,
            out_msgs: 5,
            out_bytes: 6,
            subscriptions: 7,
            slow_consumers: SlowConsumers {
                clients: 1,
                ..SlowConsumers::default()
            },
            system_account: "$SYS".into(),
            ..Broker::default()
        })
    }

    fn accounts(&self) -> Answer<'_, Vec<Account>> {
        self.answer(vec![
            Account {
                name: "$G".into(),
                connections: 1,
                total_connections: 2,
                subscriptions: 7,
                in_msgs: 3,
                in_bytes: 4,
                out_msgs: 5,
                out_bytes: 6,
                ..Account::default()
            },
            Account {
                name: "$SYS".into(),
                is_system: true,
                ..Account::default()
            },
        ])
    }

    fn account(&self, name: &str) -> Answer<'_, Option<Account>> {
        let name = name.to_owned();
        Box::pin(async move { Ok(self.accounts().await?.into_iter().find(|known| known.name == name)) })
    }

    fn connections(&self, wanted: ConnectionsWanted) -> Answer<'_, Vec<Connection>> {
        let connection = |cid: u64, stop_ns: Option<i64>| Connection {
            cid,
            ip: "127.0.0.1".into(),
            port: 1000 + cid as u16,
            start_ns: START_NS + cid as i64,
            last_activity_ns: START_NS + 1_000_000_000,
            stop_ns,
            reason: stop_ns.map(|_| "Client Closed".into()),
            rtt: (cid == 1).then_some(Duration::from_micros(412)),
            out_msgs: 10 - cid,
            in_msgs: cid,
            subscription_count: 1,
            name: Some(format!("client {cid}")),
            account: Some("$G".into()),
            ..Connection::default()
        };
        let closed = connection(1, Some(START_NS + 5_000_000_000));
        let mut all = match wanted.state {
            ConnectionState::Open => vec![connection(3, None), connection(2, None)],
            ConnectionState::Closed => vec![closed],
            ConnectionState::All => vec![connection(3, None), connection(2, None), closed],
        };
        all.retain(|one| wanted.cid.is_none_or(|cid| cid == one.cid));
        all.retain(|one| wanted.account.is_none() || wanted.account == one.account);
        self.answer(all)
    }

    fn connection_subscriptions(&self, cid: u64, max: usize) -> Answer<'_, Vec<ConnectionSubscription>> {
        let subscription = |subject: &str, queue: Option<&str>, sid: &str| ConnectionSubscription {
            subject: subject.into(),
            queue: queue.map(Into::into),
            sid: sid.into(),
            ..Default::default()
        };
        let mut all = vec![subscription("foo.>", None, "1")];
        match cid {
            3 => all.push(subscription("bar", None, "2")),
            9 => {
                all = vec![
                    subscription("foo", None, "foo"),
                    subscription("bar.*", Some("q"), "bar.* q"),
                ]
            }
            _ => {}
        }
        all.truncate(max);
        self.answer(all)
    }

    fn streaming_identity(&self) -> StreamingIdentity {
        StreamingIdentity {
            cluster_id: "test-cluster".into(),
            server_id: "SERVER".into(),
            state: self.state.unwrap_or(StreamingState::Standalone),
            tenure: Some(7),
            membership: self.state.map(|_| Membership {
                group: "orders".into(),
                active: Some("b".into()),
                active_tenure: Some(8),
                changes: 3,
                seconds: 61,
                reason: "its lock is free".into(),
            }),
        }
    }

    fn streaming_server(&self) -> Answer<'_, StreamingServer> {
        self.engine_answer(StreamingServer {
            version: "0.25.6".into(),
            runtime: "rust".into(),
            start_ns: START_NS,
            clients: 2,
            subscriptions: 3,
            channels: 1,
            total_msgs: 12,
            total_bytes: 1632,
            in_msgs: 12,
            in_bytes: 1900,
            out_msgs: 13,
            out_bytes: 1300,
            ..StreamingServer::default()
        })
    }

    fn streaming_store(&self) -> Answer<'_, StreamingStore> {
        let global = ChannelLimits {
            max_msgs: 1_000_000,
            max_bytes: 5,
            max_age: 0,
            max_subscriptions: 1000,
            max_inactivity: 0,
        };
        let own = ChannelLimits {
            max_msgs: 10,
            max_age: 3_600_000_000_000,
            ..global.clone()
        };
        let channels = if self.empty {
            BTreeMap::new()
        } else {
            BTreeMap::from([("orders".to_owned(), own)])
        };
        self.answer(StreamingStore {
            kind: "FILE".into(),
            limits: StoreLimits {
                max_channels: 100,
                global,
                channels,
            },
            total_msgs: 12,
            total_bytes: 1632,
        })
    }

    fn clients(&self, request: PageRequest) -> Answer<'_, Page<Client>> {
        self.answer(request.of(self.all_clients(request.detail).into_iter()))
    }

    fn client(&self, id: Vec<u8>, detail: Detail) -> Answer<'_, Option<Client>> {
        self.answer(
            self.all_clients(detail)
                .into_iter()
                .find(|client| client.id.as_bytes() == id),
        )
    }

    fn channel_names(&self, request: PageRequest) -> Answer<'_, Page<String>> {
        self.answer(
            request.of(self
                .all_channels(Detail::Counts)
                .into_iter()
                .map(|channel| channel.name)),
        )
    }

    fn channels(&self, request: PageRequest) -> Answer<'_, Page<Channel>> {
        self.answer(request.of(self.all_channels(request.detail).into_iter()))
    }

    fn channels_with_prefix(&self, prefix: Vec<u8>, offset: usize, limit: usize) -> Answer<'_, Page<Channel>> {
        let mut found = self.all_channels(Detail::Counts);
        found.retain(|channel| channel.name.as_bytes().starts_with(&prefix));
        let detail = Detail::Counts;
        let request = PageRequest { offset, limit, detail };
        self.answer(request.of(found.into_iter()))
    }

    fn channel(&self, name: Vec<u8>, detail: Detail) -> Answer<'_, Option<Channel>> {
        self.answer(
            self.all_channels(detail)
                .into_iter()
                .find(|channel| channel.name.as_bytes() == name),
        )
    }

    fn audit(&self, question: AuditQuestion) -> Answer<'_, Page<AuditEntry>> {
        let all = (1..=3u64).rev().map(|number| AuditEntry {
            number,
            time: format!("2026-01-31T09:15:0{number}Z"),
            by: if number == 2 { "User \"bob\"" } else { "User \"ada\"" }.to_owned(),
            change: format!("purged {number} messages of channel \"orders\""),
        });
        let who = question.who.unwrap_or_default();
        let all: Vec<AuditEntry> = all.filter(|entry| entry.by.contains(&who)).collect();
        self.engine_answer(Page {
            total: all.len(),
            entries: all.into_iter().skip(question.offset).take(question.limit).collect(),
        })
    }

    fn why(&self, question: WhyQuestion) -> Answer<'_, Why> {
        let found = question.channel == b"orders";
        let one = WhySubscription {
            client_id: "billing".into(),
            inbox: "_INBOX.aaa".into(),
            queue_name: "dur:workers".into(),
            verdict: "stalled",
            also: vec!["messages_expired"],
            words: "It is stalled.".into(),
            advice: "Acknowledge.".into(),
            facts: vec![
                ("pending_count", Fact::Number(3)),
                ("ack_wait_seconds", Fact::Span(Duration::from_millis(1500))),
                ("stalled_since", Fact::Time(START_NS)),
                (
                    "unacknowledged",
                    Fact::Sequences(vec![SequenceRange {
                        first: 1,
                        last: 3,
                        redeliveries: 2,
                        due_ns: None,
                    }]),
                ),
            ],
            ..WhySubscription::default()
        };
        self.answer(Why {
            channel: String::from_utf8_lossy(&question.channel).into_owned(),
            found,
            verdict: if found { "stalled" } else { "channel_unknown" },
            words: "Two are stalled.".into(),
            advice: "See below.".into(),
            facts: vec![("known", Fact::Names(vec!["orders".into()]))],
            total: if found { 2 } else { 0 },
            subscriptions: if found && question.limit > 0 { vec![one] } else { vec![] },
        })
    }

    fn figures(&self) -> Answer<'_, Figures> {
        let histogram = Histogram {
            buckets: vec![(1_000_000, 1), (5_000_000, 2)],
            count: 3,
            sum: 12_000_000,
        };
        self.engine_answer(Figures {
            engine: EngineFigures {
                redelivered_messages: 4,
                bus_up: true,
                ..EngineFigures::default()
            },
            archive: Some(ArchiveFigures {
                is_up: true,
                until_ns: Some(1_500_000_000_250_000_000),
                unarchived_bytes: 3,
                unarchived_bytes_max: 4,
                copied_bytes: 5,
                failures: 6,
                gaps: 7,
            }),
            journal: Some(JournalFigures {
                commit_nanoseconds: histogram,
                checkpoint_age: Some(Duration::from_secs(3)),
                ..JournalFigures::default()
            }),
        })
    }

    /// One channel per part.
    fn survey(&self, request: SurveyRequest) -> Answer<'_, Survey> {
        let channels = self.all_channels(Detail::Counts);
        let behind = |name: &str| {
            request
                .after
                .as_ref()
                .is_none_or(|after| name.as_bytes() > after.as_slice())
        };
        let mut rest = channels.into_iter().filter(|channel| behind(&channel.name));
        let Some(channel) = rest.next() else {
            return self.engine_answer(Survey::default());
        };
        let next = rest.next().map(|_| channel.name.clone().into_bytes());
        let wanted = request.filter.matches(&channel.name);
        let subscriptions = (0..channel.subs_count).map(|_| SurveyedSubscription {
            subscription: Self::subscription(),
            waiting: 7,
            redeliveries: 2,
            oldest_unacknowledged: Some(Duration::from_millis(2500)),
        });
        let surveyed = SurveyedChannel {
            subscriptions: subscriptions.collect(),
            channel,
        };
        self.engine_answer(Survey {
            stalled: 1,
            paused: 2,
            pending: 3,
            channels: if wanted { vec![surveyed] } else { vec![] },
            next,
            ..Survey::default()
        })
    }
}
