//! The control channel: scenarios in other languages ask it, one line per connection, to kill and start their server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;

use crate::server_process::ServerProcess;

/// How long a scenario may take to say what it wants once it has connected.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Listens for `kill`, `start` and `restart` for the life of the process and answers `ok` or the reason why not.
pub(crate) fn listen(server: Arc<Mutex<ServerProcess>>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("open the control channel")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let _ = answer(connection, &server);
        }
    });
    Ok(address)
}

fn answer(connection: TcpStream, server: &Mutex<ServerProcess>) -> anyhow::Result<()> {
    connection.set_read_timeout(Some(REQUEST_DEADLINE))?;
    let mut command = String::new();
    BufReader::new(&connection).read_line(&mut command)?;
    let outcome = perform(command.trim(), &mut server.lock().expect("no holder panics"));
    let line = match outcome {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{error:#}").replace('\n', " "),
    };
    writeln!(&connection, "{line}")?;
    Ok(())
}

fn perform(command: &str, server: &mut ServerProcess) -> anyhow::Result<()> {
    match command {
        "kill" => server.kill(),
        "start" | "restart" => server.start_again().map(drop),
        other => anyhow::bail!("unknown command {other:?}"),
    }
}
