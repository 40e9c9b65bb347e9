//! The order system below `examples/orders` on trial: the program `orders-trial` does it, this builds what it needs and says which
//! trials there are.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::shell;

/// What `orders-trial` ends with when a program that it needs is not installed.
const SKIPPED: i32 = 77;

/// Orders of the fault run: on SQLite, on PostgreSQL, and of the long form on either.
const ORDERS_ON_SQLITE: u32 = 1000;
const ORDERS_ON_POSTGRES: u32 = 200;
const LONG_ORDERS: u32 = 5000;

/// How often each process is killed at least.
const ROUNDS: u32 = 2;
const LONG_ROUNDS: u32 = 20;

/// What to run.
#[derive(Default)]
pub(crate) struct Options {
    /// More orders and more kills.
    pub(crate) long: bool,
    /// The fault run alone, on this database.
    pub(crate) database: Option<String>,
    pub(crate) orders: Option<u32>,
    pub(crate) rounds: Option<u32>,
    /// Chosen at random, and printed, when absent.
    pub(crate) seed: Option<u64>,
    /// Built when absent.
    pub(crate) server: Option<PathBuf>,
}

/// Runs the trials and returns what was skipped because something is not installed.
pub(crate) fn run(options: &Options) -> anyhow::Result<Vec<String>> {
    let server = shell::server_binary(options.server.as_deref(), shell::Profile::Release)?;
    // Not the speed of the services is on trial.
    let services = shell::test_build()?;
    let binaries = [
        "--server".to_owned(),
        server.display().to_string(),
        "--services".to_owned(),
        services.display().to_string(),
    ];
    let mut skipped = Vec::new();
    for trial in trials(options) {
        let mut command = Command::new(services.join("orders-trial"));
        command.args(&trial).args(&binaries).current_dir(shell::root());
        let status = command.status().context("start orders-trial")?;
        match status.code() {
            Some(0) => {}
            Some(SKIPPED) => {
                let what = format!("orders-trial {}", trial.join(" "));
                shell::loudly(&format!("SKIPPED: {what}: what it needs is not installed"));
                skipped.push(what);
            }
            _ => bail!("orders-trial {} failed with {status}", trial.join(" ")),
        }
    }
    Ok(skipped)
}

/// The command lines of the trials.
fn trials(options: &Options) -> Vec<Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let faults = |database: &str, orders: u32| {
        let orders = options
            .orders
            .unwrap_or(if options.long { LONG_ORDERS } else { orders });
        let rounds = options
            .rounds
            .unwrap_or(if options.long { LONG_ROUNDS } else { ROUNDS });
        let mut trial = words(&format!(
            "faults --database {database} --orders {orders} --rounds {rounds}"
        ));
        if let Some(seed) = options.seed {
            trial.extend(["--seed".to_owned(), seed.to_string()]);
        }
        trial
    };
    if let Some(database) = &options.database {
        return vec![faults(database, ORDERS_ON_SQLITE)];
    }
    let pictures = shell::target_directory().join("orders");
    let mut page = words("page --pictures");
    page.push(pictures.display().to_string());
    vec![
        words("runner --database sqlite"),
        words("runner --database postgres"),
        faults("sqlite", ORDERS_ON_SQLITE),
        faults("postgres", ORDERS_ON_POSTGRES),
        page,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_one_fault_run() {
        let options = Options {
            database: Some("postgres".into()),
            orders: Some(300),
            seed: Some(7),
            ..Options::default()
        };
        let lines: Vec<String> = trials(&options).iter().map(|trial| trial.join(" ")).collect();
        assert_eq!(lines, ["faults --database postgres --orders 300 --rounds 2 --seed 7"]);
    }

    #[test]
    fn both_databases_and_the_page_are_on_trial() {
        let lines: Vec<String> = trials(&Options::default())
            .iter()
            .map(|trial| trial.join(" "))
            .collect();
        for part in [
            "runner --database sqlite",
            "runner --database postgres",
            "faults --database sqlite --orders 1000",
            "faults --database postgres --orders 200",
            "page --pictures",
        ] {
            assert!(
                lines.iter().any(|line| line.starts_with(part)),
                "{part} is missing in {lines:?}"
            );
        }
        let long = Options {
            long: true,
            ..Options::default()
        };
        assert!(
            trials(&long)
                .iter()
                .any(|trial| trial.join(" ").contains("--orders 5000 --rounds 20"))
        );
    }
}
