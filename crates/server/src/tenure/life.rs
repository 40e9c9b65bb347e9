//! One life of the engine, from the opened store to its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;

use crate::archive::Archiving;
use crate::engine::{EngineThreads, Health, LeftBehind};
use crate::partition::{Conflict, Partition};

/// The engine that serves under a tenure.
pub(super) struct Life {
    pub(super) threads: EngineThreads,
    /// How its store is, if the life ends with that.
    pub(super) store: Option<Health>,
    /// Answers other servers that have parts of the channels.
    pub(super) partition: Option<Answering>,
    /// Copies the store to its archive.
    pub(super) archiving: Option<Archiving>,
}

impl Life {
    /// Processes what waits, makes everything durable and ends the engine; the inner error says what could not be made durable.
    ///
    /// # Errors
    /// The ending itself broke.
    pub(super) async fn stop(mut self) -> Result<Result<(), String>> {
        if let Some(archiving) = &mut self.archiving {
            archiving.finish().await;
        }
        let stopped = tokio::task::spawn_blocking(move || self.threads.stop()).await;
        stopped.context("stop the engine")
    }

    /// Leaves the engine as it is, at once; see [`EngineThreads::abandon`].
    pub(super) fn abandon(self) -> LeftBehind {
        self.threads.abandon()
    }

    /// Waits until it cannot serve any more although nobody asked for that.
    pub(super) async fn end(&mut self) -> End {
        let store = self.store.clone();
        let failed = async {
            match store {
                Some(health) => health.failed().await,
                None => std::future::pending().await,
            }
        };
        let partition = self.partition.as_mut();
        let conflict = async {
            match partition {
                Some(answering) => answering.await.to_string(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.threads.ended() => End::Broken("An engine thread ended by itself".to_owned()),
            conflict = conflict => End::Broken(conflict),
            reason = failed => End::StoreFailed(reason),
        }
    }
}

/// Why a life cannot go on, in words.
pub(super) enum End {
    /// What cannot break is broken, or the server has no business here.
    Broken(String),
    /// The store takes nothing more.
    StoreFailed(String),
}

/// Answers other servers' lists in a task of its own, until it is dropped; ends with a conflict.
pub(super) struct Answering(JoinHandle<Conflict>);

impl Answering {
    pub(super) fn begin(partition: Partition) -> Answering {
        Answering(tokio::spawn(partition.serve()))
    }
}

impl Future for Answering {
    type Output = Conflict;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Conflict> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Ok(conflict)) => Poll::Ready(conflict),
            // It was not ended by anybody, and has nothing to tell.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}
