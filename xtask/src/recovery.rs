//! How long a restart takes: a server with many channels is killed and started again, with the newest checkpoint far behind and
//! near. What a start reads is bounded by tests of the journal; this shows what that is worth on a real disk.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::server_process::ServerProcess;
use crate::shell::{self, Profile};

pub(crate) const DEFAULT_CHANNELS: u32 = 100_000;
pub(crate) const DEFAULT_MESSAGES: u32 = 10;

/// Restarts of the same data.
const RESTARTS: usize = 3;

/// About a second is the aim; a machine that is busy with other things may take this long.
const RESTART_MAX: Duration = Duration::from_secs(5);

/// What to run.
pub(crate) struct Options {
    pub(crate) channels: u32,
    /// In each channel.
    pub(crate) messages: u32,
    pub(crate) server: Option<PathBuf>,
}

/// Runs the check; an error says which restart took too long, or did not find its channels.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let binary = shell::server_binary(options.server.as_deref(), Profile::Dist)?;
    let bench = shell::build("seaway-bench", Profile::Dist)?.join("seaway-bench");
    let data = tempfile::tempdir()?;
    let unlimited = ["-max_channels", "0", "-max_msgs", "0", "-max_bytes", "0"];
    let mut server = ServerProcess::start(&binary, data.path(), 0, &unlimited)?;
    let messages = u64::from(options.channels) * u64::from(options.messages);
    shell::run(
        Command::new(bench)
            .args(["S1", "--address", &format!("127.0.0.1:{}", server.port())])
            .args(["--channels", &options.channels.to_string()])
            .args(["--backlog", &messages.to_string()])
            .args(["--messages", "1"]),
    )?;
    for restart in 1..=RESTARTS {
        let elapsed = server
            .start_again()
            .with_context(|| format!("restart {restart}; the server said\n{}", server.log_tail()))?;
        println!(
            "recovery: restart {restart} after a kill: {} channels and {messages} messages in {elapsed:.2?}",
            options.channels
        );
        ensure!(
            server.has_logged(&format!("Recovered {} channel(s)", options.channels)),
            "not all channels came back:\n{}",
            server.log_tail()
        );
        ensure!(
            elapsed <= RESTART_MAX,
            "a restart took {elapsed:.2?}, {RESTART_MAX:.0?} are allowed"
        );
    }
    Ok(())
}
