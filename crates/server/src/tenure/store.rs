//! How the store of a tenure is opened, and what the operator is told when it does not open.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use seaway_config::{StoreKind, StreamingOptions};
use seaway_store::{
    Cipher, Claim, Encryption, FileOptions, FileStore, FileStoreError, MemoryStore, OpenError, Progress, Recovering,
    Store,
};
use seaway_streaming::Engine;

use super::port::Waker;

/// What is in the directory and the options of this server do not fit: trying again changes nothing.
#[derive(Debug)]
pub(super) struct Unfit(pub(super) String);

impl Display for Unfit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// Opens the store of the tenure with this number; without a claim the store makes its own.
pub(super) fn open(
    streaming: &StreamingOptions,
    number: u64,
    claim: Option<Claim>,
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
    if encryption.is_some()
        && let Some(options) = &streaming.encryption
    {
        tracing::info!(target: "stream", "Store is encrypted with {}", options.cipher.name());
    }
    let mut recovering = Recovering::new(engine);
    let file = FileOptions {
        synced: streaming.file_sync,
        give_up_damage: streaming.give_up_damage,
        stop_at_damage: streaming.stop_at_damage,
        encryption,
        progress,
        unarchived_bytes_max: streaming.archive.as_ref().map(|archive| archive.max_backlog),
        claim,
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

/// Whether what is in the directory can be opened with these options, as far as that shows without opening it.
///
/// # Errors
/// [`Unfit`] for what no other attempt puts right, or why it cannot be seen.
pub(super) fn check_fit(streaming: &StreamingOptions) -> Result<()> {
    let encryption = encryption(streaming)?;
    let Err(error) = FileStore::check_fit(&streaming.dir, encryption.as_ref()) else {
        return Ok(());
    };
    Err(explain(&streaming.dir, &error, false))
}

/// How the store is encrypted (`stores-and-clustering.md` §5.1).
pub(super) fn encryption(streaming: &StreamingOptions) -> Result<Option<Encryption>> {
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
        // It names the directory by itself.
        FileStoreError::Directory { .. } => return anyhow!("{error}"),
        // It has the words of §3.
        FileStoreError::Journal(OpenError::Refused(_)) => return Unfit(error.to_string()).into(),
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
    let text = format!("the store in {}: {error}{advice}", directory.display());
    match error {
        FileStoreError::Journal(
            OpenError::ForeignStore { .. } | OpenError::Backups { .. } | OpenError::KeyRequired | OpenError::WrongKey,
        ) => Unfit(text).into(),
        _ => anyhow!(text),
    }
}
