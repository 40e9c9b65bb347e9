//! The flags of `seaway export`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::failure::{Failure, Outcome};
use crate::readable::{parse_duration, parse_time};
use crate::sql_source::SqlArguments;

/// What to export, and as what.
#[derive(clap::Args)]
pub(crate) struct ExportArguments {
    /// What to make of it
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(super) format: ExportFormat,
    /// Channels, also as patterns (orders.*, '>'); for nats-streaming the directory that is made (none with --sql-source)
    #[arg(value_name = "CHANNEL|NEW-DIR")]
    pub(super) what: Vec<String>,
    /// The store of a stopped server (its -dir) [default: ask the server]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) dir: Option<PathBuf>,
    /// Write to this file, which is not there yet; compressed when it ends with .gz or .zst [default: the standard output]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) output: Option<PathBuf>,
    /// Begin with this sequence, or the first one after it that is there
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) from: Option<u64>,
    /// Begin with the first message that is not older
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "from")]
    pub(super) since: Option<Duration>,
    /// Begin with the first message since then
    #[arg(long, value_name = "MOMENT", value_parser = parse_time, conflicts_with_all = ["from", "since"])]
    pub(super) at: Option<SystemTime>,
    /// End with this sequence
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) to: Option<u64>,
    /// End before the first message that is later
    #[arg(long, value_name = "MOMENT", value_parser = parse_time)]
    pub(super) until: Option<SystemTime>,
    /// nats-streaming: say what would be made, and what would be lost, and change nothing
    #[arg(long)]
    pub(super) check: bool,
    #[command(flatten)]
    pub(super) sql: SqlArguments,
    /// nats-streaming: the server that is to start on the database has -sql_no_caching
    #[arg(long)]
    pub(super) sql_no_caching: bool,
    /// nats-streaming: the other sessions in the database are none of a server's
    #[arg(long)]
    pub(super) sessions_are_harmless: bool,
    /// nats-streaming: leave out what is lost, damaged, or cannot be stored there
    #[arg(long)]
    pub(super) accept_losses: bool,
    /// nats-streaming: encrypt payloads as NATS Streaming does, with the same key
    #[arg(long, value_name = "CIPHER", num_args = 0..=1, default_missing_value = "aes", value_parser = ["aes", "chacha"])]
    pub(super) encrypt: Option<String>,
    /// File with the server's encryption key [default: the variable NATS_STREAMING_ENCRYPTION_KEY]
    #[arg(long, value_name = "FILE", requires = "dir")]
    pub(super) encryption_key_file: Option<PathBuf>,
}

/// What an export is made for.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ExportFormat {
    /// A line of JSON for each message
    Jsonl,
    /// A data directory, or tables in a database, that NATS Streaming 0.25 starts on
    NatsStreaming,
}

impl ExportArguments {
    /// Whether a server is to be asked.
    pub(crate) fn asks_server(&self) -> bool {
        self.format == ExportFormat::Jsonl && self.dir.is_none()
    }

    /// Flags that say nothing here are misunderstandings.
    pub(crate) fn check_flags(&self) -> Outcome {
        let of_lines = [
            ("--output", self.output.is_some()),
            ("--from", self.from.is_some()),
            ("--since", self.since.is_some()),
            ("--at", self.at.is_some()),
            ("--to", self.to.is_some()),
            ("--until", self.until.is_some()),
        ];
        let of_original = [
            ("--check", self.check),
            ("--accept-losses", self.accept_losses),
            ("--encrypt", self.encrypt.is_some()),
            ("--sql-source or --config", self.sql.is_given()),
            ("--sql-no-caching", self.sql_no_caching),
            ("--sessions-are-harmless", self.sessions_are_harmless),
        ];
        let (others, format) = match self.format {
            ExportFormat::Jsonl => (&of_original[..], "nats-streaming"),
            ExportFormat::NatsStreaming => (&of_lines[..], "jsonl"),
        };
        match others.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(Failure::usage(format!("{flag} belongs to --format {format}"))),
            None => Ok(()),
        }
    }
}
