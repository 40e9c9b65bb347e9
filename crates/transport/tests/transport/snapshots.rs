//! Snapshots arrive piece by piece, whatever happens to the connection.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::trial::{Node, PATIENCE, Pieces, Way, introduce, secret};
use bytes::Bytes;
use seaway_transport::SnapshotSink;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Gate = (UnboundedSender<u64>, Arc<Mutex<Receiver<()>>>);

/// Keeps what it takes, and refuses a piece when it is told to.
#[derive(Clone, Default)]
struct Kept {
    pieces: Arc<Mutex<Vec<Bytes>>>,
    first: u64,
    refuses: Option<u64>,
    /// Says that a piece is there, and waits for leave to go on.
    gate: Option<Gate>,
}

impl SnapshotSink for Kept {
    fn piece(&mut self, piece: u64, bytes: Bytes, is_last: bool) -> Result<(), String> {
        if let Some((reached, leave)) = &self.gate
            && piece % 10 == 5
        {
            reached.send(piece).unwrap();
            leave.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        if self.refuses == Some(piece) {
            return Err("the disk is full".to_owned());
        }
        let mut pieces = self.pieces.lock().unwrap();
        assert_eq!(piece, self.first + pieces.len() as u64);
        assert_eq!(bytes, Pieces::bytes(piece));
        assert_eq!(is_last, piece == 39);
        pieces.push(bytes);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_fetched_over_as_many_sessions_as_it_takes() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let b = Node::member("b", 2, secret("s")).await;
    let way = Way::to(b.transport.address()).await;
    a.transport.set_members(&[b.at(way.address)]);
    a.connected(2).await;
    let (reached, mut at) = unbounded_channel();
    let (leave, waits) = channel();
    let kept = Kept {
        gate: Some((reached, Arc::new(Mutex::new(waits)))),
        ..Kept::default()
    };
    let pieces = Arc::clone(&kept.pieces);
    let fetch = a.transport.fetch(2, 7, 0, Box::new(kept));
    let cuts = async {
        for times in 1..=4 {
            at.recv().await.unwrap();
            a.transport.disconnect(2, "in the middle");
            while a.transport.statistics()[0].lost_sessions < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            leave.send(()).unwrap();
        }
    };
    let (fetched, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(fetch, cuts) })
        .await
        .unwrap();
    fetched.unwrap();
    assert_eq!(pieces.lock().unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_where_it_is_told_and_ends_when_one_side_refuses() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let b = Node::member("b", 2, secret("s")).await;
    introduce(&[&a, &b]);
    a.connected(2).await;
    let kept = Kept {
        first: 30,
        ..Kept::default()
    };
    a.transport.fetch(2, 7, 30, Box::new(kept.clone())).await.unwrap();
    assert_eq!(kept.pieces.lock().unwrap().len(), 10);
    let unknown = a.transport.fetch(2, 8, 0, Box::new(Kept::default())).await.unwrap_err();
    assert!(unknown.contains("no piece 0 of snapshot 8"), "{unknown}");
    let full = Kept {
        refuses: Some(2),
        ..Kept::default()
    };
    let refused = a.transport.fetch(2, 7, 0, Box::new(full)).await.unwrap_err();
    assert_eq!(refused, "the disk is full");
    let nobody = a.transport.fetch(3, 7, 0, Box::new(Kept::default())).await.unwrap_err();
    assert!(nobody.contains("not known"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetch_of_a_member_at_a_time_and_a_dropped_one_makes_room() {
    let mut a = Node::member("a", 1, secret("s")).await;
    let b = Node::member("b", 2, secret("s")).await;
    introduce(&[&a, &b]);
    a.connected(2).await;
    let kept = Kept::default();
    let mut first = Box::pin(a.transport.fetch(2, 7, 0, Box::new(kept.clone())));
    tokio::select! {
        biased;
        ended = &mut first => ended.unwrap(),
        second = a.transport.fetch(2, 7, 0, Box::new(Kept::default())) => {
            assert!(second.unwrap_err().contains("has not ended"));
        }
    }
    drop(first);
    a.transport.fetch(2, 7, 0, Box::new(Kept::default())).await.unwrap();
}
