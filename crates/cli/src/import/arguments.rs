//! The flags of `seaway import`.

use std::path::PathBuf;
use std::time::Duration;

use crate::readable::parse_duration;

/// Where messages come from, and where they go.
#[derive(clap::Args)]
pub(crate) struct ImportArguments {
    /// A file of `seaway export`, also one that ends with .gz or .zst; - is the standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) file: PathBuf,
    /// Publish all of them to this channel [default: each to its own]
    #[arg(long, value_name = "NAME", conflicts_with = "dir")]
    pub(super) channel: Option<String>,
    /// Begin with this line: what an import that stopped has named
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "dir", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) from_line: u64,
    /// Messages that may await their acknowledgement at once
    #[arg(long, value_name = "N", default_value_t = 4096, conflicts_with = "dir", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) max_in_flight: u32,
    /// How long an acknowledgement may take
    #[arg(long, value_name = "TIME", default_value = "30s", conflicts_with = "dir", value_parser = parse_duration)]
    pub(super) ack_timeout: Duration,
    /// Make a store in this directory, which is not there yet or empty; sequences and times are kept
    #[arg(long, value_name = "DIR", requires = "cluster_id", value_hint = clap::ValueHint::DirPath)]
    pub(super) dir: Option<PathBuf>,
    /// The cluster ID of that store
    #[arg(long, value_name = "ID", requires = "dir")]
    pub(super) cluster_id: Option<String>,
    /// Encrypt that store (the server's -encrypt)
    #[arg(long, value_name = "CIPHER", requires = "dir", num_args = 0..=1, default_missing_value = "aes", value_parser = ["aes", "chacha"])]
    pub(super) encrypt: Option<String>,
    /// File with the encryption key [default: the variable NATS_STREAMING_ENCRYPTION_KEY]
    #[arg(long, value_name = "FILE", requires = "encrypt")]
    pub(super) encryption_key_file: Option<PathBuf>,
}

impl ImportArguments {
    /// Whether a server is to be asked.
    pub(crate) fn asks_server(&self) -> bool {
        self.dir.is_none()
    }
}
