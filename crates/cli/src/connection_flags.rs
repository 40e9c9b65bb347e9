//! The flags about the connection, which every command takes.

use std::path::PathBuf;
use std::time::Duration;

use crate::readable::parse_duration;

/// Which server, and as whom.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Use this context instead of the selected one
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Address of the server, or several separated by commas [default: nats://127.0.0.1:4222]
    #[arg(short, long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Cluster ID of the streaming server [default: test-cluster]
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) cluster: Option<String>,
    /// User name; needs --password-file
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// File with the user's password
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["token_file", "nkey", "creds"])]
    pub(crate) password_file: Option<PathBuf>,
    /// File with a token
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["nkey", "creds"])]
    pub(crate) token_file: Option<PathBuf>,
    /// File with the seed of an nkey
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "creds")]
    pub(crate) nkey: Option<PathBuf>,
    /// Credentials file (JWT and seed)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) creds: Option<PathBuf>,
    /// Authorities that may have signed the server's certificate, PEM, beside the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// The client's own certificate, PEM; needs --tls-key
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Key of the client's certificate, PEM; needs --tls-cert
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Refuse a server without TLS
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// Prefix of the subject under which the streaming server is found [default: _STAN.discover]
    #[arg(long, global = true, value_name = "SUBJECT")]
    pub(crate) discover_prefix: Option<String>,
    /// How long the server may take to answer
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub(crate) timeout: Duration,
}
