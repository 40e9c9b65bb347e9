//! Ten thousand connections that send nothing, against the built binary: memory stays bounded and a real publisher is served.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::raw_client::RawClient;
use crate::server_process::ServerProcess;
use crate::shell;

const CONNECTIONS: usize = 10_000;

/// What one connection that never said a word may cost the server.
const BYTES_PER_CONNECTION_MAX: u64 = 16 * 1024;

/// Publishes by a real client between the silent ones.
const PUBLISHES: usize = 100;

/// Runs the check; an error says what it cost or who was not served.
pub(crate) fn run(server: Option<PathBuf>) -> anyhow::Result<()> {
    let binary = shell::server_binary(server.as_deref(), shell::Profile::Release)?;
    let data = tempfile::tempdir()?;
    let server = ServerProcess::start(&binary, data.path(), 0, &[])?;
    let before = server.anonymous_memory()?;
    let start = Instant::now();
    let mut silent = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let mut socket =
            TcpStream::connect(("127.0.0.1", server.port())).with_context(|| format!("connection {number}"))?;
        // The greeting shows that the server has taken the connection on.
        let mut greeting = [0; 5];
        socket
            .read_exact(&mut greeting)
            .with_context(|| format!("the greeting of connection {number}"))?;
        ensure!(
            &greeting == b"INFO ",
            "connection {number} was greeted with {greeting:?}"
        );
        silent.push(socket);
    }
    let each = server.anonymous_memory()?.saturating_sub(before) / CONNECTIONS as u64;
    let mut client = RawClient::connect(server.port(), "talker")?;
    for number in 0..PUBLISHES {
        client.publish("idle", &[(format!("guid-{number}"), "payload".to_owned())])?;
        client
            .receive()
            .with_context(|| format!("the acknowledgement of publish {number}"))?;
    }
    println!(
        "idle: {CONNECTIONS} silent connections in {:.1?}, {each} bytes of memory each, {PUBLISHES} publishes served between them",
        start.elapsed()
    );
    ensure!(
        each <= BYTES_PER_CONNECTION_MAX,
        "a silent connection costs {each} bytes; {BYTES_PER_CONNECTION_MAX} are allowed"
    );
    Ok(())
}
