//! `change.backup`: keeps an image of the store for a client that copies it piece by piece at its own pace, until that has all of it, is
//! not heard of any more, takes too long, or the disk needs the space. One at a time.

use std::sync::{Arc, Mutex, Weak};

use data_encoding::HEXLOWER;
use seaway_store::ImageFile;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::Service;
use super::answer::Failure;
use super::backups::Running;
use super::request::{Backup, Page, Request};
use crate::bus::{Origin, Requester};
use crate::limits::{BACKUP_IDLE_MAX, BACKUP_LOOK_INTERVAL, BACKUP_PIECE_BYTES_MAX, BACKUP_TIME_MAX};
use crate::token::secret;

/// Ends a backup when nobody asks for it any more, and when the store has given its files up: what of them is open takes space.
async fn watch(service: Weak<Service>, running: Weak<Running>) {
    loop {
        let Some(expires) = running.upgrade().map(|running| running.expires()) else {
            return;
        };
        sleep_until(expires.min(Instant::now() + BACKUP_LOOK_INTERVAL)).await;
        let (Some(service), Some(running)) = (service.upgrade(), running.upgrade()) else {
            return;
        };
        let reason = if let Err(error) = running.image.check_kept() {
            error.to_string()
        } else if running.expires() <= Instant::now() {
            let (idle, hours) = (BACKUP_IDLE_MAX.as_secs(), BACKUP_TIME_MAX.as_secs() / 3_600);
            format!("its client asked for nothing for {idle} s, or it took longer than {hours} h")
        } else {
            continue;
        };
        running.image.close_file();
        if service.backups.end(&running.id) {
            tracing::warn!(target: "stream", "A backup was given up: {reason}");
        }
        return;
    }
}

/// Runs what may wait for the disk, on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Failure::unavailable("the backup failed: this is a fault of Seaway's"))
}

impl Service {
    /// Answers a request of the class.
    pub(super) async fn backup(self: &Arc<Self>, request: &Request, requester: &Requester, backup: Backup) {
        let answer = match backup {
            Backup::Begin => {
                self.begin_backup(request.origin, &requester.words(request.origin))
                    .await
            }
            Backup::Files { id, page } => self.backup_files(&id, page),
            Backup::Read {
                id,
                file,
                offset,
                length,
            } => self.backup_piece(&id, file, offset, length).await,
            Backup::End { id } => self.end_backup(&id).await,
        };
        match answer {
            Ok(payload) => self.send(&request.reply, b"", &payload),
            Err(failure) => self.refuse(&request.reply, &failure),
        }
    }

    async fn begin_backup(self: &Arc<Self>, origin: Origin, by: &str) -> Result<Vec<u8>, Failure> {
        let another = || Failure::conflict("another backup is being made: wait until it has ended");
        if let Some((id, origin)) = self.backups.running() {
            // Whose client was killed is in nobody's way.
            if self.bus.requester(origin).is_some() {
                return Err(another());
            }
            self.backups.end(&id);
        }
        let open = self.source.image().await.map_err(|reason| Failure::conflict(&reason))?;
        let opened = blocking(open).await?;
        let image = opened.map_err(|error| Failure::unavailable(&format!("the store cannot be read: {error}")))?;
        let bytes: u64 = image.files().iter().map(|file| file.length).sum();
        let running = Arc::new(Running {
            id: HEXLOWER.encode(&secret()),
            origin,
            expires: Mutex::new(Instant::now() + BACKUP_IDLE_MAX),
            until: Instant::now() + BACKUP_TIME_MAX,
            image,
        });
        {
            let mut place = self.backups.lock();
            if place.is_some() {
                return Err(another());
            }
            *place = Some(Arc::clone(&running));
        }
        tracing::info!(target: "stream", "{by} begins a backup: {bytes} bytes in {} files", running.image.files().len());
        tokio::spawn(watch(Arc::downgrade(self), Arc::downgrade(&running)));
        let answer = json!({
            "backup": running.id,
            "identity": HEXLOWER.encode(&running.image.identity),
            "epoch": running.image.epoch,
            "position": running.image.position,
            "encrypted": running.image.is_encrypted,
            "life": running.image.life.map(|life| HEXLOWER.encode(&life)),
            "files": running.image.files().len(),
            "bytes": bytes,
            "piece_bytes_max": self.piece_bytes_max(),
            "idle_seconds_max": BACKUP_IDLE_MAX.as_secs(),
        });
        Ok(answer.to_string().into_bytes())
    }

    /// How much of a file one answer has at most.
    fn piece_bytes_max(&self) -> u64 {
        BACKUP_PIECE_BYTES_MAX.min(self.bus.max_answer() as u64)
    }

    fn backup_files(&self, id: &str, page: Page) -> Result<Vec<u8>, Failure> {
        let running = self.backups.find(id)?;
        let files = running.image.files();
        let wanted: Vec<&ImageFile> = files.iter().skip(page.offset).take(page.limit).collect();
        let mut count = wanted.len();
        // As many as fit: their names are about as long as each other.
        loop {
            let listed = wanted[..count]
                .iter()
                .map(|file| json!({ "name": file.name, "length": file.length }));
            let listed: Vec<serde_json::Value> = listed.collect();
            let answer = json!({
                "offset": page.offset,
                "count": count,
                "total": files.len(),
                "files": listed,
            });
            let text = answer.to_string().into_bytes();
            if text.len() <= self.bus.max_answer() || count <= 1 {
                return Ok(text);
            }
            count /= 2;
        }
    }

    async fn backup_piece(&self, id: &str, file: usize, offset: u64, length: u64) -> Result<Vec<u8>, Failure> {
        let running = self.backups.find(id)?;
        let known = running.image.files().get(file);
        let known = known.ok_or_else(|| Failure::invalid(&format!("the backup has no file {file}")))?;
        let end = offset.checked_add(length).filter(|end| *end <= known.length);
        if end.is_none() || length > self.piece_bytes_max() {
            let (name, most) = (&known.name, known.length);
            return Err(Failure::invalid(&format!(
                "{name} has {most} bytes, and at most {} are read at once",
                self.piece_bytes_max()
            )));
        }
        let reading = Arc::clone(&running);
        let read = blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            reading.image.read(file, offset, &mut bytes).map(|()| bytes)
        });
        read.await?.map_err(|error| {
            // What is not kept any more never is again.
            if running.image.check().is_err() {
                if self.backups.end(id) {
                    tracing::warn!(target: "stream", "A backup was given up: {error}");
                }
                return Failure::conflict(&format!("the backup was given up: {error}"));
            }
            let reason = format!(
                "{} cannot be read at offset {offset}: {error}",
                running.image.files()[file].name
            );
            match running.image.is_unreadable(&error) {
                true => Failure::gone(&reason),
                false => Failure::unavailable(&reason),
            }
        })
    }

    async fn end_backup(&self, id: &str) -> Result<Vec<u8>, Failure> {
        let running = self.backups.find(id)?;
        self.backups.end(id);
        let checked = blocking(move || running.image.check()).await?;
        checked.map_err(|error| Failure::conflict(&format!("the backup was given up: {error}")))?;
        tracing::info!(target: "stream", "A client has ended its backup");
        Ok(b"{\"kept\":true}".to_vec())
    }
}
