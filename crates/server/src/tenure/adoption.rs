//! A directory of NATS Streaming under a server: taken over when that is asked for, refused with words otherwise.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use seaway_adoption::in_place::{self, State};
use seaway_adoption::{Adopted, Encryption, Error, Outcome, Progress, adopt};
use seaway_config::StreamingOptions;

/// Time between two lines about how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Findings that are told one by one.
const FINDINGS_TOLD_MAX: usize = 20;

/// Makes the directory one that can be opened: takes it over, or the last steps of an adoption that was interrupted.
pub(super) fn prepare(streaming: &StreamingOptions, encryption: Option<&Encryption>) -> Result<()> {
    let directory = streaming.dir.as_path();
    let shown = directory.display();
    match in_place::state(directory)? {
        State::Neither | State::Store | State::TakenOver => Ok(()),
        State::Unfinished => {
            in_place::finish(directory).with_context(|| format!("finish the taking over of {shown}"))?;
            tracing::info!(target: "stream", "The taking over of {shown} was interrupted, and is complete now");
            Ok(())
        }
        State::Begun => Err(in_place::begun(directory).into()),
        State::Undoing => bail!("{} {shown}", in_place::undoing(directory)),
        State::Original if streaming.adopt => take_over(streaming, encryption),
        State::Original => bail!(
            "{shown} holds the data of NATS Streaming, and nothing was changed: to take it over start with -adopt (SEAWAY_ADOPT=true), \
             or look at it first with seaway adopt --check {shown}"
        ),
    }
}

fn take_over(streaming: &StreamingOptions, encryption: Option<&Encryption>) -> Result<()> {
    let directory = streaming.dir.as_path();
    let key = streaming.encryption.as_ref();
    let key = key.map(|options| seaway_original::Key::new(options.key.expose().as_bytes()));
    let options = seaway_adoption::Options {
        original: seaway_original::Options {
            key,
            ..seaway_original::Options::default()
        },
        cluster_id: Some(streaming.cluster_id.clone()),
        encryption: encryption.cloned(),
        ..seaway_adoption::Options::default()
    };
    tracing::info!(target: "stream", "Taking over the data of NATS Streaming in {}", directory.display());
    let progress = Arc::new(Progress::default());
    let told = tell(Arc::clone(&progress))?;
    let outcome = adopt(directory, &options, &progress);
    drop(told);
    match outcome {
        Ok(Outcome::Adopted(adopted)) => {
            tell_adopted(&adopted);
            Ok(())
        }
        Ok(Outcome::Finished) => Ok(()),
        Err(error @ Error::Findings(_)) => Err(anyhow!(
            "{error}; nothing was changed. See what with seaway adopt --check {0}",
            directory.display()
        )),
        Err(error @ Error::Losses(_)) => Err(anyhow!(
            "{error}; nothing was changed. See what with seaway adopt --check {0}; to take over the rest, seaway adopt --accept-losses {0}",
            directory.display()
        )),
        Err(error) => Err(anyhow!("{error}")),
    }
}

/// Says how far it is every few seconds, until what it gives back is dropped.
fn tell(progress: Arc<Progress>) -> Result<std::sync::mpsc::Sender<()>> {
    let (until, ended) = std::sync::mpsc::channel::<()>();
    let body = move || {
        while ended.recv_timeout(TOLD_EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let (done, total) = (progress.bytes_done() >> 20, progress.bytes_total() >> 20);
            let (messages, channels) = (progress.messages(), progress.channels());
            tracing::info!(
                target: "stream",
                "Taken over so far: {messages} messages of {channels} complete channels, {done} of {total} MB"
            );
        }
    };
    let thread = std::thread::Builder::new().name("adopt-progress".to_owned());
    thread.spawn(body).context("start a thread")?;
    Ok(until)
}

fn tell_adopted(adopted: &Adopted) {
    let totals = &adopted.report.totals;
    for finding in adopted.report.findings.iter().take(FINDINGS_TOLD_MAX) {
        let (meaning, action) = finding.kind.words();
        tracing::warn!(target: "stream", "{}: {meaning}: {action}", finding.file);
    }
    let more =
        adopted.report.findings.len().saturating_sub(FINDINGS_TOLD_MAX) as u64 + adopted.report.findings_not_listed;
    if more > 0 {
        tracing::warn!(target: "stream", "and {more} findings more");
    }
    tracing::info!(
        target: "stream",
        "Taken over: {} messages in {} channels, {} clients, {} subscriptions, {} unacknowledged messages",
        totals.messages, totals.channels, totals.clients, totals.subscriptions, totals.pending
    );
    if adopted.filled > 0 {
        tracing::warn!(target: "stream", "{} missing messages have empty ones in their place", adopted.filled);
    }
    if let Some(folder) = &adopted.originals {
        tracing::info!(target: "stream", "The files of NATS Streaming are in {}", folder.display());
    }
}
