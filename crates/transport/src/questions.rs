//! Asks one question over a connection of its own.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::asking::{Answer, Question};
use crate::dialling;
use crate::framing::{self, Decoder, FrameKind};
use crate::greeting::{ONESELF, Party, Purpose};
use crate::handshake::Failure;
use crate::shared::Shared;
use crate::wire::Malformed;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It is this very server that was asked.
    #[error("it is this server itself")]
    Oneself,
    /// In words.
    #[error("{0}")]
    Failed(String),
}

/// Asks whoever is at an address.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    address: &str,
    question: &Question,
) -> Result<(Party, Answer), Unanswered> {
    let asked = async {
        let (mut stream, welcome) = dialling::connect(shared, address, Purpose::Ask, 0, 0).await?;
        write(&mut stream, FrameKind::Question, &question.written()).await?;
        let (kind, bytes) = read(&mut stream).await?;
        if kind != FrameKind::Answer {
            return Err(Malformed::Value("an answer").into());
        }
        Ok((welcome.from, Answer::read(&bytes)?))
    };
    match timeout(shared.options.timing.handshake, asked).await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(Failure::Refused(words) | Failure::Unwanted(words))) if words == ONESELF => Err(Unanswered::Oneself),
        Ok(Err(failure)) => Err(Unanswered::Failed(failure.to_string())),
        Err(_) => Err(Unanswered::Failed("it does not answer".to_owned())),
    }
}

/// Reads the one frame that comes.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<(FrameKind, Bytes), Failure> {
    let mut decoder = Decoder::new(Purpose::Ask);
    loop {
        if let Some(frame) = decoder.next_frame()? {
            return Ok(frame);
        }
        if stream.read_buf(decoder.buffer()).await? == 0 {
            return Err(Failure::Broken("the other side has closed it".to_owned()));
        }
    }
}

/// Writes one frame.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: FrameKind,
    bytes: &[u8],
) -> Result<(), Failure> {
    stream.write_all(&framing::head(kind, bytes.len())).await?;
    stream.write_all(bytes).await?;
    stream.flush().await?;
    Ok(())
}
