//! Alone: whoever has the lock of the store serves, until the process ends.

use anyhow::{Context, Result};
use seaway_config::{StoreKind, StreamingOptions};
use seaway_store::FileStore;

use super::port::{Granted, Tenures};
use super::{adoption, store};

/// Grants every tenure at once, and none is lost. Its number is the epoch of the store; a store in memory has as many as there
/// were tenures.
pub(crate) struct Alone {
    streaming: StreamingOptions,
    granted: u64,
}

impl Alone {
    pub(crate) fn new(streaming: &StreamingOptions) -> Alone {
        Alone {
            streaming: streaming.clone(),
            granted: 0,
        }
    }
}

impl Tenures for Alone {
    async fn next(&mut self) -> Result<Granted> {
        self.granted += 1;
        let streaming = self.streaming.clone();
        if streaming.store == StoreKind::File {
            // Before the epochs are looked at: a store that is made has some.
            let streaming = streaming.clone();
            let preparing = move || adoption::prepare(&streaming, store::encryption(&streaming)?.as_ref());
            tokio::task::spawn_blocking(preparing)
                .await
                .context("prepare the store")??;
        }
        let number = match streaming.store {
            StoreKind::Memory => self.granted,
            StoreKind::File => FileStore::next_epoch(&streaming.dir),
        };
        Ok(Granted {
            number,
            store: Box::new(move |engine, waker, progress| {
                store::open(&streaming, number, None, engine, waker, progress)
            }),
            lost: Box::pin(std::future::pending()),
            confirm: None,
        })
    }
}
