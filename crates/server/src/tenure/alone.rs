//! Alone: whoever has the lock of the store serves, until the process ends.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use seaway_config::{StoreKind, StreamingOptions};
use seaway_store::{
    Cipher, Encryption, FileOptions, FileStore, FileStoreError, MemoryStore, OpenError, Progress, Recovering, Store,
};
use seaway_streaming::Engine;

use super::adoption;
use super::port::{Granted, Tenures, Waker};

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
            let preparing = move || adoption::prepare(&streaming, encryption(&streaming)?.as_ref());
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
            store: Box::new(move |engine, waker, progress| open_store(&streaming, number, engine, waker, progress)),
            lost: Box::pin(std::future::pending()),
        })
    }
}

/// Opens the store of the tenure with this number.
fn open_store(
    streaming: &StreamingOptions,
    number: u64,
    engine: &mut Engine,
    waker: Waker,
    progress: Arc<Progress>,
) -> Result<Box<dyn Store>> {
    if streaming.store == StoreKind::Memory {
        if streaming.encryption.is_some() {
            tracing::info!(target: "stream", "Encryption has no effect: nothing is written to disk");
        }
        return Ok(Box::new(MemoryStore::new()));
    }
    let encryption = encryption(streaming)?;
    if let Some(options) = &streaming.encryption {
        tracing::info!(target: "stream", "Store is encrypted with {}", options.cipher.name());
    }
    let mut recovering = Recovering::new(engine);
    let file = FileOptions {
        synced: streaming.file_sync,
        give_up_damage: streaming.give_up_damage,
        encryption,
        progress,
        claim: None,
    };
    let store = FileStore::open(&streaming.dir, file, waker, &mut recovering)
        .map_err(|error| explain(&streaming.dir, &error, streaming.give_up_damage))?;
    recovering.finish().map_err(|failure| {
        let directory = streaming.dir.display();
        anyhow!("the journal in {directory} holds what this version does not understand: {failure}")
    })?;
    if store.epoch() != number {
        let directory = streaming.dir.display();
        bail!("another server opened the store in {directory} at the same moment");
    }
    for warning in store.opening_warnings() {
        tracing::warn!(target: "stream", "{warning}");
    }
    Ok(Box::new(store))
}

/// How the store is encrypted (`stores-and-clustering.md` §5.1).
fn encryption(streaming: &StreamingOptions) -> Result<Option<Encryption>> {
    let Some(options) = &streaming.encryption else {
        return Ok(None);
    };
    let cipher = match options.cipher {
        seaway_config::Cipher::Aes => Cipher::Aes256Gcm,
        seaway_config::Cipher::Chacha => Cipher::ChaCha20Poly1305,
    };
    let encryption = Encryption::new(cipher, options.key.expose().as_bytes().to_vec());
    encryption.map(Some).context("encrypt the store")
}

/// Which store does not open, why, and what to do about it. The text of the error names its source.
fn explain(directory: &Path, error: &FileStoreError, gives_up: bool) -> anyhow::Error {
    let advice = match error {
        FileStoreError::Journal(OpenError::Indispensable { remedy, .. }) => {
            let directory = directory.display();
            return anyhow!(
                "the store in {directory}: {error}; nothing was changed. {remedy} (-file_truncate_bad_eof is no way out of this)"
            );
        }
        FileStoreError::Journal(OpenError::Damaged { .. }) if gives_up => {
            "; this cannot be given up with -file_truncate_bad_eof: restore the directory from a copy"
        }
        // One names the directory by itself, the other has the words of §3.
        FileStoreError::Directory { .. } | FileStoreError::Journal(OpenError::Refused(_)) => return anyhow!("{error}"),
        FileStoreError::Journal(OpenError::ForeignStore { .. }) => {
            ": start with -adopt to take it over, or look at it first with seaway adopt --check"
        }
        FileStoreError::Journal(OpenError::KeyRequired) => {
            ": give the key of this store with -encryption_key, \
             or with -encrypt and in the environment variable NATS_STREAMING_ENCRYPTION_KEY"
        }
        FileStoreError::Journal(OpenError::WrongKey) => {
            ": give the key that this store was created with; \
             the environment variable NATS_STREAMING_ENCRYPTION_KEY goes before -encryption_key"
        }
        FileStoreError::Journal(OpenError::Damaged { .. }) => {
            "; nothing was changed. To give up what is damaged, and be told what that is, \
             start once with -file_truncate_bad_eof: copies of what is cut stay in the directory"
        }
        FileStoreError::Journal(OpenError::GaveUpBefore { .. }) => {
            ": file store should not be opened consecutively with the TruncateUnexpectedEOF option set to true \
             (-file_truncate_bad_eof)"
        }
        _ => "",
    };
    anyhow!("the store in {}: {error}{advice}", directory.display())
}
