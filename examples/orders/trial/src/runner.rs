//! The one command that runs it all, as a newcomer types it: it places orders, shows their way and ends well.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::system::{Backend, Programs};
use seaway_trial::process::Process;

/// Orders that the command places.
const ORDERS: usize = 20;

/// How long it may take from nothing to the end of the last order.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the command to its end; an error shows what it said.
pub(crate) fn run(programs: &Programs, backend: &Backend<'_>, directory: &Path) -> anyhow::Result<()> {
    let mut arguments = vec![
        "--server".to_owned(),
        programs.server.display().to_string(),
        "--orders".to_owned(),
        ORDERS.to_string(),
        "--data".to_owned(),
        directory.join("data").display().to_string(),
        "--exit".to_owned(),
    ];
    if let Backend::Postgres(server) = backend {
        arguments.extend(["--database".to_owned(), server.create("orders")?]);
    }
    let mut command = Process::new("orders", programs.services.join("orders"), arguments, "", directory);
    command.start()?;
    let status = command.wait_end(DEADLINE)?;
    let output = command.output()?;
    ensure!(status.success(), "the command ended with {status}:\n{output}");
    // Its own lines; the server's name channels after the events.
    let shown = |word: &str| {
        let lines = output.lines().filter(|line| line.starts_with("orders "));
        lines.filter(|line| line.contains(word)).count()
    };
    let (paid, rejected) = (shown(" OrderPaymentDebited "), shown(" OrderRejected "));
    let summary = format!("{ORDERS} orders: {paid} paid, {rejected} rejected");
    ensure!(
        paid > 0 && rejected > 0 && paid + rejected == ORDERS && output.contains(&summary),
        "{summary}, of which the command says nothing:\n{output}"
    );
    ensure!(
        output.contains("the page: http://127.0.0.1:"),
        "the command does not say where the page is:\n{output}"
    );
    println!("orders: one command, {ORDERS} orders, {paid} paid, {rejected} rejected");
    Ok(())
}
