//! The loop, with tenures as a script grants and takes them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use seaway_broker::{Broker, BrokerOptions};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::{ConnectRequest, ConnectResponse, Ping, PingResponse};
use seaway_store::{MemoryStore, Store};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::bus::{Batch, Bus, Listener};
use crate::phase::{Phase, Stage};

const PATIENCE: Duration = Duration::from_secs(20);

/// Grants what it is given, in order.
struct Script {
    grants: mpsc::UnboundedReceiver<Granted>,
    /// How often a tenure was asked for.
    asked: Arc<AtomicUsize>,
}

impl Tenures for Script {
    async fn next(&mut self) -> Result<Granted> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        let granted = self.grants.recv().await;
        granted.ok_or_else(|| anyhow!("there will be none"))
    }
}

/// What tests see of lives over a broker of their own, and do to them.
struct Scene {
    broker: Broker,
    phase: Phase,
    asked: Arc<AtomicUsize>,
    grants: mpsc::UnboundedSender<Granted>,
    /// What goes with each tenure.
    confirm: Option<Confirm>,
}

fn scene() -> (Lives<Script>, Scene) {
    let (grants, granted) = mpsc::unbounded_channel();
    let (broker, phase, asked) = (
        Broker::new(BrokerOptions::default()),
        Phase::default(),
        Arc::<AtomicUsize>::default(),
    );
    let script = Script {
        grants: granted,
        asked: Arc::clone(&asked),
    };
    let surroundings = Surroundings {
        bus: Bus::new(&broker),
        engine: seaway_streaming::Options::default(),
        server_id: "server".to_owned(),
        phase: phase.clone(),
        archive: None,
    };
    let scene = Scene {
        broker,
        phase,
        asked,
        grants,
        confirm: None,
    };
    (Lives::new(script, surroundings), scene)
}

impl Scene {
    /// Grants a tenure with a store in memory; it is lost when a reason is sent.
    fn grant(&self, number: u64) -> oneshot::Sender<String> {
        self.grant_with(
            number,
            Box::new(|_, _, _| Ok(Box::new(MemoryStore::new()) as Box<dyn Store>)),
        )
    }

    fn grant_with(&self, number: u64, store: OpenStore) -> oneshot::Sender<String> {
        let (lose, lost) = oneshot::channel();
        let lost = async {
            match lost.await {
                Ok(reason) => reason,
                Err(_) => std::future::pending().await,
            }
        };
        let granted = Granted {
            number,
            store,
            lost: Box::pin(lost),
            confirm: self.confirm.clone(),
        };
        assert!(self.grants.send(granted).is_ok());
        lose
    }

    fn subscriptions(&self) -> usize {
        self.broker.snapshot().subscriptions
    }
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

fn run_to_end(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
    // A test that fails may have left a thread that hangs.
    runtime.shutdown_background();
}

/// Runs the lives while `script` acts; they must not end by themselves.
async fn beside(lives: &mut Lives<Script>, begun: mpsc::UnboundedSender<u64>, script: impl Future<Output = ()>) {
    tokio::select! {
        failure = lives.run(|number| Ok(begun.send(number)?)) => panic!("{failure:?}"),
        () = script => {}
    }
}

#[test]
fn a_tenure_that_is_lost_is_followed_by_the_next() {
    run_to_end(async {
        let (mut lives, scene) = scene();
        let (begun, mut begins) = mpsc::unbounded_channel();
        let (before, phase) = (scene.subscriptions(), &scene.phase);
        let lose = scene.grant(3);
        beside(&mut lives, begun, async {
            assert_eq!(begins.recv().await, Some(3));
            assert_eq!((phase.stage(), phase.tenure()), (Stage::Ready, Some(3)));
            assert!(scene.subscriptions() > before, "the services are there");
            let engine = phase.engine().unwrap();
            lose.send("somebody else has it".to_owned()).unwrap();
            until("the loss", || phase.stage() == Stage::Waiting).await;
            assert_eq!(
                phase.not_ready().unwrap(),
                "not serving: tenure 3 was lost: somebody else has it"
            );
            until("nobody is subscribed", || scene.subscriptions() == before).await;
            let (answer, answered) = channel();
            engine.ask(Box::new(move |_| {
                let _ = answer.send(());
            }));
            assert_eq!(answered.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
            let _keep = scene.grant(8);
            assert_eq!(begins.recv().await, Some(8));
            assert_eq!((phase.stage(), phase.tenure()), (Stage::Ready, Some(8)));
        })
        .await;
        assert!(lives.has_engine());
        assert_eq!(lives.stop().await.unwrap(), Ok(()));
        assert_eq!((phase.stage(), scene.subscriptions()), (Stage::Stopping, before));
        assert_eq!(scene.asked.load(Ordering::Acquire), 2);
    });
}

#[test]
fn waiting_for_a_tenure_can_be_ended() {
    run_to_end(async {
        let (mut lives, scene) = scene();
        let (begun, mut begins) = mpsc::unbounded_channel();
        let asked = Arc::clone(&scene.asked);
        beside(&mut lives, begun.clone(), async {
            until("asked for one", || asked.load(Ordering::Acquire) == 1).await;
        })
        .await;
        assert!(!lives.has_engine());
        assert_eq!(lives.stop().await.unwrap(), Ok(()));
        // What is granted later is for whoever asks then.
        let _keep = scene.grant(2);
        let phase = scene.phase.clone();
        beside(&mut lives, begun, async {
            assert_eq!(begins.recv().await, Some(2));
            assert_eq!(phase.stage(), Stage::Ready);
        })
        .await;
        assert_eq!(lives.stop().await.unwrap(), Ok(()));
    });
}

#[test]
fn what_cannot_be_opened_or_is_never_granted_ends_the_lives() {
    run_to_end(async {
        let (mut lives, scene) = scene();
        let before = scene.subscriptions();
        let _lose = scene.grant_with(1, Box::new(|_, _, _| Err(anyhow!("the key does not fit"))));
        let begun = |number| panic!("{number} began");
        match lives.run(begun).await {
            Failure::Start(error) => assert_eq!(error.to_string(), "the key does not fit"),
            other => panic!("{other:?}"),
        }
        assert!(!lives.has_engine());
        assert_eq!(scene.subscriptions(), before);
        drop(scene);
        match lives.run(begun).await {
            Failure::Start(error) => assert_eq!(error.to_string(), "there will be none"),
            other => panic!("{other:?}"),
        }
    });
}

/// The opening hangs: the loss is told at once, and no other tenure is asked for before the thread has gone.
#[test]
fn a_tenure_may_be_lost_while_its_store_is_opened() {
    run_to_end(async {
        let (mut lives, scene) = scene();
        let (begun, mut begins) = mpsc::unbounded_channel();
        let (let_go, hang) = channel::<()>();
        let lose = scene.grant_with(
            1,
            Box::new(move |_, _, _| {
                let _ = hang.recv();
                Ok(Box::new(MemoryStore::new()) as Box<dyn Store>)
            }),
        );
        let _keep = scene.grant(2);
        let (phase, asked) = (scene.phase.clone(), Arc::clone(&scene.asked));
        beside(&mut lives, begun, async {
            until("it opens", || phase.stage() == Stage::Recovering).await;
            lose.send("it took too long".to_owned()).unwrap();
            until("the loss", || phase.stage() == Stage::Waiting).await;
            let words = "not serving: 1 thread(s) of tenure 1 hang in the disk; no other is asked for before they end";
            until("the thread is missed", || phase.not_ready().as_deref() == Some(words)).await;
            assert_eq!(asked.load(Ordering::Acquire), 1);
            drop(let_go);
            assert_eq!(begins.recv().await, Some(2));
            assert_eq!((phase.stage(), phase.tenure()), (Stage::Ready, Some(2)));
        })
        .await;
        assert_eq!(lives.stop().await.unwrap(), Ok(()));
    });
}

/// An engine thread that ends by itself is nobody's loss of a tenure: the process has to know.
#[test]
fn an_engine_that_breaks_ends_the_lives() {
    run_to_end(async {
        let (mut lives, scene) = scene();
        let _lose = scene.grant(1);
        let phase = scene.phase.clone();
        let begun = move |_| {
            phase
                .engine()
                .unwrap()
                .ask(Box::new(|_| panic!("a question that breaks the engine")));
            Ok(())
        };
        match lives.run(begun).await {
            Failure::Broken(words) => assert_eq!(words, "An engine thread ended by itself"),
            other => panic!("{other:?}"),
        }
        assert!(lives.has_engine());
        assert_eq!(lives.stop().await.unwrap(), Err("an engine thread panicked".to_owned()));
    });
}

/// Sends on what it is delivered: subject and payload.
struct Answers(Mutex<std::sync::mpsc::Sender<(Vec<u8>, Vec<u8>)>>);

impl Listener for Answers {
    fn deliver(&self, batch: Batch) {
        for message in batch.iter() {
            let answer = (message.subject.to_vec(), message.payload.to_vec());
            self.0.lock().unwrap().send(answer).unwrap();
        }
    }
}

/// A server that was replaced and does not know it yet must refuse nobody: the one in its place may know the client. Successes, which
/// rest on a record or say nothing, pass.
#[test]
fn who_may_be_replaced_refuses_only_what_it_has_made_sure_of() {
    run_to_end(async {
        let (mut lives, mut scene) = scene();
        let (stands, confirmations) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicUsize>::default());
        let (found, counted) = (Arc::clone(&stands), Arc::clone(&confirmations));
        scene.confirm = Some(Arc::new(move || {
            counted.fetch_add(1, Ordering::AcqRel);
            found.load(Ordering::Acquire)
        }));
        let _keep = scene.grant(1);
        let (begun, mut begins) = mpsc::unbounded_channel();
        let (answer, answers) = channel();
        let client = Bus::new(&scene.broker).attach("client", Arc::new(Answers(Mutex::new(answer))));
        client.subscribe("answer.*", 1, false).unwrap();
        let mut sender = client.sender();
        let next = || answers.recv_timeout(PATIENCE).unwrap();
        beside(&mut lives, begun, async {
            assert_eq!(begins.recv().await, Some(1));
            let connect = ConnectRequest {
                client_id: "me".into(),
                conn_id: "me".into(),
                protocol: 1,
                heartbeat_inbox: "answer.heartbeat".into(),
                ..ConnectRequest::default()
            };
            let _ = sender.send(
                b"_STAN.discover.test-cluster",
                Some(b"answer.connect"),
                &[&connect.encode_to_vec()],
            );
            sender.flush();
            let (_, response) = next();
            let response = ConnectResponse::decode(response.as_slice()).unwrap();
            assert_eq!(&response.error[..], b"");
            let mut ping = |reply: &[u8], connection: &str, flush: bool| {
                let ping = Ping {
                    conn_id: connection.to_owned().into(),
                };
                let _ = sender.send(&response.ping_requests, Some(reply), &[&ping.encode_to_vec()]);
                if flush {
                    sender.flush();
                }
            };
            // All of them come to the engine in one batch, and so in one pass.
            ping(b"answer.refused", "somebody", false);
            ping(b"answer.refused", "else", false);
            ping(b"answer.known", "me", true);
            assert_eq!(next(), (b"answer.known".to_vec(), Vec::new()));
            assert_eq!(confirmations.load(Ordering::Acquire), 1);
            stands.store(true, Ordering::Release);
            ping(b"answer.refused", "somebody", false);
            ping(b"answer.refused", "else", true);
            for _ in 0..2 {
                let (subject, payload) = next();
                assert_eq!(subject, b"answer.refused");
                assert!(!PingResponse::decode(payload.as_slice()).unwrap().error.is_empty());
            }
            assert_eq!(confirmations.load(Ordering::Acquire), 2);
        })
        .await;
        assert_eq!(lives.stop().await.unwrap(), Ok(()));
    });
}

/// A tenure that others may take ends with its store, and whether another one is asked for is said by who grants them.
#[test]
fn a_store_that_fails_ends_a_tenure_that_others_may_take() {
    run_to_end(async {
        let (mut lives, mut scene) = scene();
        scene.confirm = Some(Arc::new(|| true));
        let _lose = scene.grant_with(1, Box::new(|_, _, _| Err(anyhow!("the disk is gone"))));
        match lives.run(|number| panic!("{number} began")).await {
            Failure::Start(error) => assert_eq!(error.to_string(), "the disk is gone"),
            other => panic!("{other:?}"),
        }
        let _lose = scene.grant(2);
        let phase = scene.phase.clone();
        let failure = lives.run(|_| {
            phase.fail("a sync failed");
            Ok(())
        });
        match failure.await {
            Failure::Start(error) => assert_eq!(error.to_string(), "a sync failed"),
            other => panic!("{other:?}"),
        }
        assert_eq!(lives.stop().await.unwrap(), Ok(()));
    });
}
