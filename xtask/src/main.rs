//! Development chores: the test command, the scenarios with real clients, crash and sync proofs, layout checks, code generation.
//!
//! Run as `cargo xtask COMMAND`. This crate drives processes and reads files; it links nothing of the server, so that what it
//! proves, it proves about the built binary.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool that reports to the terminal"
)]

mod ahead;
mod callgrind;
mod clients;
mod codegen;
mod compare;
mod compat;
mod control;
mod crash;
mod fuzz;
mod growth;
mod hot_paths;
mod idle;
mod orders;
mod package;
mod raw_client;
mod readme;
mod recovery;
mod secured;
mod server_process;
mod setup;
mod shell;
mod simulate;
mod sync_trace;
mod take_overs;
mod test_command;
mod test_programs;
mod tidy;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

const USAGE: &str = "\
cargo xtask COMMAND

  test [--long] [--only STAGE]... [--no-setup]
                                    everything that must pass, with the time of each stage; --long adds the long forms.
                                    Installs what the stages need of Debian's packages, as root or with a sudo that asks
                                    nothing; otherwise says what is missing and what is skipped without it
  ahead WORK...                     builds and installs what later stages need; the test command runs it beside the tests
  compat [--only LANGUAGE]... [--suite core|streaming] [--scenario NAME]... [--external] [--server PATH]
                                    the scenarios of compat/ with real clients: go, python, node, rust; with --external those
                                    of streaming, with the clients at a NATS server that the streaming server is attached to
  crash [--kills N] [--seed N] [--server PATH]
                                    real clients publish while the server is killed; nothing acknowledged may be lost
  take-overs [--count N] [--seed N] [--server PATH]
                                    clients in five languages publish while whoever of a fault-tolerance group serves is killed,
                                    stopped, cut off, and loses its disk; nothing acknowledged may be lost, nothing stored twice
  sync-trace [--server PATH]        a system call trace proves that nothing leaves before it is synced
  idle [--server PATH]              ten thousand connections that send nothing
  recovery [--channels N] [--messages N] [--server PATH]
                                    how long a restart takes with many channels of so many messages each
  compare [--only ROW]... [--pairs N] [--seconds N] [--warm-up N] [--nats-server VERSION] [--peer NAME=PATH]...
          [--server PATH] [--directory DIR] [--wait-for-quiet N] [--strict] [--long] [--json FILE] [--markdown FILE]
                                    the targets of docs/performance.md, against peers on the same machine
  fuzz [--seconds N] [--target NAME]...
                                    coverage-guided fuzzing of everything that reads foreign bytes
  simulate [--seconds N]            seeded faults on a simulated disk: repeated seeds, fresh ones for N seconds, and a
                                    control without syncing
  hot-paths                         instructions and allocations per message, against bounds
  readme                            runs every command of README.md as it stands, in a network of its own
  orders [--long] [--database sqlite|postgres] [--orders N] [--rounds N] [--seed N] [--server PATH]
                                    the order system: end to end, every process killed at random, the page in Chromium;
                                    with --database only the fault run
  package [--check] [--try] [--server PATH] [--version VERSION] [--output DIR]
                                    Debian packages of the server, into target/packages; --check looks at them, at units,
                                    alert rules, dashboards and chart; --try installs, starts, upgrades and removes them in a
                                    Debian system of their own, and starts what lies in the image, as root
  tidy [--circles]                  layout checks: file budgets, dependence rules, import circles, leftovers; --circles
                                    shows who uses whom in the circles that there are
  codegen [--check]                 regenerate committed files, or check that they are up to date

Without --server the server is built and used, with the profile release; compare, recovery and package take the profile dist.";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_command_line();
    match dispatch(&mut arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &mut Arguments) -> anyhow::Result<()> {
    let command = arguments.0.first().cloned().unwrap_or_default();
    if !arguments.0.is_empty() {
        arguments.0.remove(0);
    }
    match command.as_str() {
        "ahead" => {
            ahead::run(&arguments.0);
            Ok(())
        }
        "test" => {
            let options = test_command::Options {
                long: arguments.flag("--long"),
                only: arguments.all("--only")?,
                sets_up: !arguments.flag("--no-setup"),
            };
            arguments.finish()?;
            test_command::run(&options)
        }
        "compat" => {
            let options = compat::Options {
                languages: arguments.all("--only")?,
                suites: arguments.all("--suite")?,
                scenarios: arguments.all("--scenario")?,
                external: arguments.flag("--external"),
                server: arguments.value("--server")?.map(Into::into),
            };
            arguments.finish()?;
            compat::run(&options).map(drop)
        }
        "crash" => {
            let options = crash::Options {
                kills: arguments.number("--kills")?.unwrap_or(crash::DEFAULT_KILLS),
                seed: arguments.number("--seed")?,
                server: arguments.value("--server")?.map(Into::into),
            };
            arguments.finish()?;
            crash::run(&options)
        }
        "take-overs" => {
            let options = take_overs::Options {
                count: arguments.number("--count")?.unwrap_or(take_overs::DEFAULT_COUNT),
                seed: arguments.number("--seed")?,
                server: arguments.value("--server")?.map(Into::into),
            };
            arguments.finish()?;
            let skipped = take_overs::run(&options)?;
            skipped
                .iter()
                .for_each(|what| shell::loudly(&format!("SKIPPED: {what}")));
            Ok(())
        }
        "sync-trace" => {
            let server = arguments.value("--server")?.map(Into::into);
            arguments.finish()?;
            sync_trace::run(server).map(drop)
        }
        "compare" => compare(arguments),
        "recovery" => {
            let options = recovery::Options {
                channels: arguments.number("--channels")?.unwrap_or(recovery::DEFAULT_CHANNELS),
                messages: arguments.number("--messages")?.unwrap_or(recovery::DEFAULT_MESSAGES),
                server: arguments.value("--server")?.map(Into::into),
            };
            arguments.finish()?;
            recovery::run(&options)
        }
        "fuzz" => {
            let seconds = arguments.number("--seconds")?.unwrap_or(fuzz::DEFAULT_SECONDS);
            let options = fuzz::Options {
                seconds,
                targets: arguments.all("--target")?,
            };
            arguments.finish()?;
            fuzz::run(&options)
        }
        "idle" => {
            let server = arguments.value("--server")?.map(Into::into);
            arguments.finish()?;
            idle::run(server)
        }
        "simulate" => {
            let seconds = arguments.number("--seconds")?.unwrap_or(simulate::DEFAULT_SECONDS);
            arguments.finish()?;
            simulate::run(seconds)
        }
        "hot-paths" => arguments.finish().and_then(|()| hot_paths::run().map(drop)),
        "readme" => arguments.finish().and_then(|()| readme::run().map(drop)),
        "orders" => {
            let options = orders::Options {
                long: arguments.flag("--long"),
                database: arguments.value("--database")?,
                orders: arguments.number("--orders")?,
                rounds: arguments.number("--rounds")?,
                seed: arguments.number("--seed")?,
                server: arguments.value("--server")?.map(Into::into),
            };
            arguments.finish()?;
            orders::run(&options).map(drop)
        }
        "package" => {
            let options = package::Options {
                server: arguments.value("--server")?.map(Into::into),
                version: arguments.value("--version")?,
                output: arguments.value("--output")?.map(Into::into),
            };
            let trial = package::Trial {
                checks: arguments.flag("--check"),
                installs: arguments.flag("--try"),
            };
            arguments.finish()?;
            let skipped = package::run(&options, trial)?;
            skipped
                .iter()
                .for_each(|what| shell::loudly(&format!("SKIPPED: {what}")));
            Ok(())
        }
        "tidy" => {
            let circles = arguments.flag("--circles");
            arguments.finish()?;
            if circles { tidy::show_circles() } else { tidy::run() }
        }
        "codegen" => {
            let check = arguments.flag("--check");
            arguments.finish()?;
            codegen::run(check)
        }
        "" | "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command {other:?}\n\n{USAGE}"),
    }
}

fn compare(arguments: &mut Arguments) -> anyhow::Result<()> {
    let options = compare::Options {
        only: arguments.all("--only")?,
        pairs: arguments.number("--pairs")?.unwrap_or(compare::DEFAULT_PAIRS),
        seconds: arguments.value("--seconds")?,
        warm_up: arguments.value("--warm-up")?,
        nats_server: arguments.value("--nats-server")?,
        peers: arguments.all("--peer")?,
        server: arguments.value("--server")?.map(Into::into),
        directory: arguments.value("--directory")?.map(Into::into),
        wait_for_quiet: arguments.value("--wait-for-quiet")?,
        strict: arguments.flag("--strict"),
        long: arguments.flag("--long"),
        json: arguments.value("--json")?.map(Into::into),
        markdown: arguments.value("--markdown")?.map(Into::into),
    };
    arguments.finish()?;
    compare::run(&options)
}

/// What stands behind the command; each method takes what it understands away.
struct Arguments(Vec<String>);

impl Arguments {
    fn from_command_line() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() != before
    }

    fn value(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        Ok(self.all(name)?.pop())
    }

    fn all(&mut self, name: &str) -> anyhow::Result<Vec<String>> {
        let mut values = Vec::new();
        while let Some(position) = self.0.iter().position(|argument| argument == name) {
            self.0.remove(position);
            if position == self.0.len() {
                bail!("{name} needs a value");
            }
            values.push(self.0.remove(position));
        }
        Ok(values)
    }

    fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &mut self,
        name: &str,
    ) -> anyhow::Result<Option<T>> {
        self.value(name)?
            .map(|text| text.parse().with_context(|| format!("{name} {text}")))
            .transpose()
    }

    fn finish(&self) -> anyhow::Result<()> {
        match self.0.first() {
            Some(left) => bail!("unexpected argument {left:?}\n\n{USAGE}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &str) -> Arguments {
        Arguments(words.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_are_taken_wherever_they_stand() {
        let mut given = arguments("--only go --long --only node --kills 7");
        assert!(given.flag("--long"));
        assert!(!given.flag("--long"));
        assert_eq!(given.all("--only").expect("both have values"), ["go", "node"]);
        assert_eq!(given.number::<u32>("--kills").expect("a number"), Some(7));
        given.finish().expect("nothing is left");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(arguments("--kils 3").finish().is_err());
        assert!(arguments("--only").all("--only").is_err());
        assert!(arguments("--kills many").number::<u32>("--kills").is_err());
    }
}
