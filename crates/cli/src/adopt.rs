//! `seaway adopt`: what a data directory of NATS Streaming holds, taking it over, and giving it back.

mod report;

use std::path::PathBuf;

use seaway_adoption::{Adopted, Cipher, Encryption, Error, Progress, undo};
use seaway_original::{Key, Report, Severity, Verdict, check};
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::Output;
use crate::progress::while_drawn;
use crate::readable::{counted, printable};

/// Channels named of those that would lose messages.
const CHANNELS_LISTED_MAX: usize = 20;

/// What to take over, and how its server was configured.
#[derive(clap::Args)]
pub(crate) struct AdoptArguments {
    /// Its data directory (the server's -dir)
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
    /// Read everything, say what there is, and change nothing
    #[arg(long, conflicts_with_all = ["undo", "to"])]
    check: bool,
    /// Put the original's files back, after saying what that loses
    #[arg(long, conflicts_with = "to")]
    undo: bool,
    /// Do what --undo says
    #[arg(long, requires = "undo")]
    yes: bool,
    /// Make the store in this directory, and leave the original's as it is
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    to: Option<PathBuf>,
    /// The cluster ID, when server.dat does not say it
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// Leave out what is damaged
    #[arg(long)]
    accept_losses: bool,
    /// Payloads that look encrypted are not
    #[arg(long)]
    payloads_are_plain: bool,
    /// Encrypt the new store, with the same key (the server's -encrypt; with --undo: it is encrypted)
    #[arg(long, value_name = "CIPHER", num_args = 0..=1, default_missing_value = "aes", value_parser = ["aes", "chacha"])]
    encrypt: Option<String>,
    /// File with the server's encryption key [default: the variable NATS_STREAMING_ENCRYPTION_KEY]
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
    /// The server's -file_crc_poly
    #[arg(long, value_name = "NUMBER", default_value_t = seaway_original::POLYNOMIAL_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    file_crc_poly: u32,
    /// A cluster member's Raft directory (its -cluster_log_path) [default: CLUSTER/NODE in the working directory]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    raft_dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &AdoptArguments, output: &mut Output) -> Outcome {
    if arguments.undo {
        return undo(arguments, output);
    }
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    let original = seaway_original::Options {
        polynomial: arguments.file_crc_poly,
        key: key.as_deref().map(Key::new),
        raft_directory: arguments.raft_dir.clone(),
        is_locked: false,
    };
    if !arguments.check {
        return adopt(arguments, original, key, output);
    }
    let report = check(&arguments.directory, &original, |_| {}).map_err(|error| Failure::failed(error.to_string()))?;
    tell(&report, output)?;
    match report.verdict {
        Verdict::Ready if output.is_json() => Ok(()),
        Verdict::Ready => output.line(&format!("\n{}", verdict(&report))),
        Verdict::Losses | Verdict::Refused => Err(Failure::failed(verdict(&report))),
    }
}

fn tell(report: &Report, output: &mut Output) -> Outcome {
    match output.is_json() {
        true => output.json(report),
        false => report::show(report, output),
    }
}

fn adopt(
    arguments: &AdoptArguments,
    original: seaway_original::Options,
    key: Option<Vec<u8>>,
    output: &mut Output,
) -> Outcome {
    let options = seaway_adoption::Options {
        original,
        to: arguments.to.clone(),
        cluster_id: arguments.cluster_id.clone(),
        accepts_losses: arguments.accept_losses,
        payloads_are_plain: arguments.payloads_are_plain,
        encryption: encryption(arguments, key)?,
    };
    let progress = Progress::default();
    let adopted = while_drawn(&progress, || {
        seaway_adoption::adopt(&arguments.directory, &options, &progress)
    })?;
    match adopted {
        Ok(seaway_adoption::Outcome::Adopted(adopted)) => finish(&adopted, output),
        Ok(seaway_adoption::Outcome::Finished) => output.done(
            "The last steps of an earlier adoption were taken. The directory is Seaway's now.",
            &json!({ "finished": true }),
        ),
        Err(Error::Findings(report)) => {
            tell(&report, output)?;
            Err(Failure::failed(verdict(&report)))
        }
        Err(Error::Losses(report)) => {
            tell(&report, output)?;
            let text = verdict(&report);
            Err(Failure::failed(format!(
                "{text}; to take over the rest, say so with --accept-losses"
            )))
        }
        Err(error) => Err(Failure::failed(error.to_string())),
    }
}

fn finish(adopted: &Adopted, output: &mut Output) -> Outcome {
    if output.is_json() {
        return output.json(adopted);
    }
    report::show(&adopted.report, output)?;
    output.line("")?;
    if adopted.filled > 0 {
        let filled = counted(adopted.filled, "missing message");
        output.line(&format!("Empty messages are in the place of {filled}."))?;
    }
    if adopted.left_out > 0 {
        let left_out = counted(adopted.left_out, "durable");
        output.line(&format!(
            "Left out because another has the same client and name: {left_out}."
        ))?;
    }
    let directory = adopted.directory.display();
    output.line(&format!(
        "{directory} is Seaway's now: {} in {}.",
        counted(adopted.report.totals.messages + adopted.filled, "message"),
        counted(adopted.report.totals.channels, "channel"),
    ))?;
    let originals = match &adopted.originals {
        Some(folder) => format!("The original's files are in {}.", folder.display()),
        None => format!("{} is as it was.", adopted.report.directory),
    };
    output.line(&originals)?;
    output.line(&format!(
        "Start it with: seaway -cid {} -dir {directory}",
        printable(&adopted.cluster_id)
    ))
}

fn undo(arguments: &AdoptArguments, output: &mut Output) -> Outcome {
    let encryption = encryption(arguments, key::read(arguments.encryption_key_file.as_deref())?)?;
    let failed = |error: Error| Failure::failed(error.to_string());
    let loss = undo::loss(&arguments.directory, encryption).map_err(failed)?;
    if !arguments.yes {
        if output.is_json() {
            output.json(&loss)?;
        } else {
            for (channel, messages) in loss.channels.iter().take(CHANNELS_LISTED_MAX) {
                output.line(&format!(
                    "{}: {}",
                    printable(channel),
                    counted(*messages, "new message")
                ))?;
            }
            if loss.channels.len() > CHANNELS_LISTED_MAX {
                let more = (loss.channels.len() - CHANNELS_LISTED_MAX) as u64;
                output.line(&format!("and {}", counted(more, "more channel")))?;
            }
        }
        return Err(Failure::failed(format!(
            "NATS Streaming would go on where it was at {}: {} published since would be lost to it, and so would be what was \
             acknowledged, subscribed and deleted; nothing was changed. To do it, say --yes",
            loss.adopted_at,
            counted(loss.messages, "message"),
        )));
    }
    undo::undo(&arguments.directory).map_err(failed)?;
    let sentence = format!(
        "{} is NATS Streaming's again. What Seaway had written is in its files that begin with {}: remove them when it is not needed.",
        arguments.directory.display(),
        seaway_adoption::UNDONE_PREFIX
    );
    output.done(&sentence, &json!({ "undone": true, "loss": loss }))
}

fn encryption(arguments: &AdoptArguments, key: Option<Vec<u8>>) -> Outcome<Option<Encryption>> {
    let Some(cipher) = &arguments.encrypt else {
        return Ok(None);
    };
    let cipher = match cipher.as_str() {
        "chacha" => Cipher::ChaCha20Poly1305,
        _ => Cipher::Aes256Gcm,
    };
    let Some(key) = key else {
        return Err(Failure::usage(format!(
            "--encrypt needs a key: name its file with --encryption-key-file, or set {}",
            key::VARIABLE
        )));
    };
    let encryption = Encryption::new(cipher, key);
    encryption.map(Some).map_err(|error| Failure::failed(error.to_string()))
}

fn verdict(report: &Report) -> String {
    let of = |severity| {
        report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count() as u64
    };
    match report.verdict {
        Verdict::Ready => "All of it can be taken over. Nothing was changed.".to_owned(),
        Verdict::Losses => format!(
            "{} could be taken over, but for what {} above say is lost; nothing was changed",
            report.directory,
            counted(of(Severity::Loss), "line"),
        ),
        Verdict::Refused => format!(
            "{} cannot be taken over before what {} above say is settled; nothing was changed",
            report.directory,
            counted(of(Severity::Refusal), "line"),
        ),
    }
}
