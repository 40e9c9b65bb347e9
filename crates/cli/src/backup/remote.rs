//! The image of a running server, through its administration: the server keeps the files, and this side asks for them piece by piece, at
//! its own pace.

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use jiff::Timestamp;
use seaway_backup::{Error, FILES_MAX, Origin, Source, SourceFile};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};

/// Requests that are under way at the same time: while one piece is read others are on their way.
const REQUESTS: usize = 4;
/// Files of a list that are asked for at once.
const PAGE: u64 = 4_096;

/// See the module.
pub(super) struct Remote<'a> {
    connection: &'a Connection,
    runtime: Handle,
    /// What the server calls it.
    id: String,
    origin: Origin,
    files: Vec<SourceFile>,
    piece_bytes: usize,
}

fn missing(what: &str) -> Failure {
    Failure::failed(format!("the server's answer has no {what}"))
}

fn number(answer: &Value, name: &str) -> Outcome<u64> {
    answer.get(name).and_then(Value::as_u64).ok_or_else(|| missing(name))
}

fn text(answer: &Value, name: &str) -> Outcome<String> {
    let text = answer.get(name).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| missing(name))
}

impl<'a> Remote<'a> {
    /// Has the server keep an image of what is durable now.
    pub(super) async fn begin(connection: &'a Connection, runtime: Handle) -> Outcome<Remote<'a>> {
        let begun = Timestamp::now();
        let answer = connection.ask("change.backup.begin", &json!({})).await?;
        let mut remote = Remote {
            connection,
            runtime,
            id: text(&answer, "backup")?,
            origin: Origin {
                identity: text(&answer, "identity")?,
                epoch: number(&answer, "epoch")?,
                position: answer.get("position").and_then(Value::as_u64),
                is_encrypted: answer.get("encrypted").and_then(Value::as_bool).unwrap_or(false),
                life: answer.get("life").and_then(Value::as_str).map(str::to_owned),
                begun,
            },
            files: Vec::new(),
            piece_bytes: usize::try_from(number(&answer, "piece_bytes_max")?)
                .unwrap_or(usize::MAX)
                .max(1),
        };
        match remote.list().await {
            Ok(()) => Ok(remote),
            Err(failure) => {
                remote.end().await;
                Err(failure)
            }
        }
    }

    async fn list(&mut self) -> Outcome {
        loop {
            let offset = self.files.len();
            let question = json!({ "backup": self.id, "offset": offset, "limit": PAGE });
            let answer = self.connection.ask("change.backup.files", &question).await?;
            let listed = answer
                .get("files")
                .and_then(Value::as_array)
                .ok_or_else(|| missing("files"))?;
            for file in listed {
                self.files.push(SourceFile {
                    name: text(file, "name")?,
                    length: number(file, "length")?,
                });
            }
            if self.files.len() > FILES_MAX {
                return Err(Failure::failed(format!("the server tells more than {FILES_MAX} files")));
            }
            if self.files.len() as u64 >= number(&answer, "total")? {
                return Ok(());
            }
            if self.files.len() == offset {
                return Err(Failure::failed("the server does not tell all files"));
            }
        }
    }

    /// The server need not keep the files any more. It would find out by itself.
    pub(super) async fn end(&self) {
        let _ = self
            .connection
            .ask("change.backup.end", &json!({ "backup": self.id }))
            .await;
    }

    fn failed(failure: Failure) -> Error {
        match failure {
            Failure::Told(_, words) => Error::Source(words),
            Failure::Unreadable(words) => Error::Unreadable(words),
            Failure::ReaderGone => Error::Source("the connection was closed".to_owned()),
        }
    }

    async fn piece(&self, file: usize, offset: u64, length: usize) -> Outcome<bytes::Bytes> {
        let question = json!({ "backup": self.id, "file": file, "offset": offset, "length": length });
        let piece = self.connection.ask_for_bytes("change.backup.read", &question).await?;
        match piece.len() {
            found if found == length => Ok(piece),
            found => Err(Failure::failed(format!(
                "the server sent {found} bytes instead of {length}"
            ))),
        }
    }
}

impl Source for Remote<'_> {
    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn files(&self) -> &[SourceFile] {
        &self.files
    }

    fn read(&mut self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let this = &*self;
        let asking = async {
            let places = buffer
                .chunks_mut(this.piece_bytes)
                .zip((offset..).step_by(this.piece_bytes));
            let pieces = places.map(|(place, offset)| async move {
                let piece = this.piece(file, offset, place.len()).await?;
                place.copy_from_slice(&piece);
                Ok(())
            });
            let mut pieces = iter(pieces).buffered(REQUESTS);
            while let Some(piece) = pieces.next().await {
                piece.map_err(Self::failed)?;
            }
            Ok(())
        };
        this.runtime.block_on(asking)
    }

    fn finish(&mut self) -> Result<(), Error> {
        let question = json!({ "backup": self.id });
        let asking = self.connection.ask("change.backup.end", &question);
        self.runtime.block_on(asking).map(drop).map_err(Self::failed)
    }
}
