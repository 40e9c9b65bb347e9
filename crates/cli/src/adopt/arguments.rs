//! The flags of `seaway adopt`.

use std::path::PathBuf;

use seaway_adoption::{Cipher, Encryption};

use crate::failure::{Failure, Outcome};
use crate::key;
use crate::sql_source::SqlArguments;

/// What to take over, and how its server was configured.
#[derive(clap::Args)]
pub(crate) struct AdoptArguments {
    /// Its data directory (the server's -dir), or --sql-source
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath, required_unless_present_any = ["sql_source", "config"], conflicts_with_all = ["sql_source", "config"])]
    pub(super) directory: Option<PathBuf>,
    #[command(flatten)]
    pub(super) sql: SqlArguments,
    /// The other sessions in the database are none of a server's
    #[arg(long, conflicts_with = "directory")]
    pub(super) sessions_are_harmless: bool,
    /// Read everything, say what there is, and change nothing
    #[arg(long, conflicts_with = "undo")]
    pub(super) check: bool,
    /// Put the original's files back, after saying what that loses
    #[arg(long, conflicts_with_all = ["to", "sql_source", "config"])]
    pub(super) undo: bool,
    /// Do what --undo says
    #[arg(long, requires = "undo")]
    pub(super) yes: bool,
    /// Make the store in this directory, and leave the original's as it is (always, of a database)
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) to: Option<PathBuf>,
    /// The cluster ID, when server.dat does not say it
    #[arg(long, value_name = "ID")]
    pub(super) cluster_id: Option<String>,
    /// Leave out what is damaged
    #[arg(long)]
    pub(super) accept_losses: bool,
    /// Payloads that look encrypted are not
    #[arg(long)]
    pub(super) payloads_are_plain: bool,
    /// Encrypt the new store, with the same key (the server's -encrypt; with --undo: it is encrypted)
    #[arg(long, value_name = "CIPHER", num_args = 0..=1, default_missing_value = "aes", value_parser = ["aes", "chacha"])]
    pub(super) encrypt: Option<String>,
    /// File with the server's encryption key [default: the variable NATS_STREAMING_ENCRYPTION_KEY]
    #[arg(long, value_name = "FILE")]
    pub(super) encryption_key_file: Option<PathBuf>,
    /// The server's -file_crc_poly
    #[arg(long, value_name = "NUMBER", default_value_t = seaway_original::POLYNOMIAL_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) file_crc_poly: u32,
    /// A cluster member's Raft directory (its -cluster_log_path) [default: CLUSTER/NODE in the working directory]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) raft_dir: Option<PathBuf>,
}

pub(super) fn options(
    arguments: &AdoptArguments,
    original: seaway_original::Options,
    key: Option<Vec<u8>>,
) -> Outcome<seaway_adoption::Options> {
    Ok(seaway_adoption::Options {
        original,
        to: arguments.to.clone(),
        cluster_id: arguments.cluster_id.clone(),
        accepts_losses: arguments.accept_losses,
        payloads_are_plain: arguments.payloads_are_plain,
        encryption: encryption(arguments, key)?,
    })
}

pub(super) fn encryption(arguments: &AdoptArguments, key: Option<Vec<u8>>) -> Outcome<Option<Encryption>> {
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
