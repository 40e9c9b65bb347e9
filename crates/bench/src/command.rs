//! The command line: which workloads, against what, for how long, and where the report goes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::context::Context;
use crate::guest::Host;
use crate::machine::{self, Machine};
use crate::monitoring;
use crate::outcome::Outcome;
use crate::point::{Length, Point, UNLIMITED};
use crate::progress::Progress;
use crate::report::{Report, outcome_text};
use crate::server::{Launch, Limits, Program, Route, Server, free_port};
use crate::stan::token;
use crate::workload::{Needs, WORKLOADS, Workload, named};

/// Workloads whose receivers may be at another server than the rest.
const OVER_A_ROUTE: [&str; 5] = ["C1", "C2", "C3", "C4", "S2"];

/// Loads a server and says what it made of it. Lists of numbers, such as `--size 16,128,1024`, make a run of each
/// combination; numbers may end with k or m.
#[derive(Clone, Debug, Parser)]
#[command(name = "seaway-bench", version)]
pub struct Arguments {
    /// Workloads by name; `list` shows them.
    #[arg(required = true, value_name = "WORKLOAD")]
    pub workloads: Vec<String>,

    /// Server to load.
    #[arg(long, default_value = "127.0.0.1:4222", conflicts_with = "server_binary")]
    pub address: String,
    /// Cluster ID of a streaming server.
    #[arg(long, default_value = "test-cluster")]
    pub cluster_id: String,
    /// Process of the server, to say what it used.
    #[arg(long, conflicts_with = "server_binary")]
    pub pid: Option<u32>,
    /// Start this server for each run, on free ports and with a folder of its own.
    #[arg(long, value_name = "PATH")]
    pub server_binary: Option<PathBuf>,
    /// What that server is, if its name does not say so.
    #[arg(long, requires = "server_binary")]
    pub program: Option<Program>,
    /// Limits of that server's channels.
    #[arg(long, default_value = "unlimited")]
    pub limits: Limits,
    /// One more argument for that server.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub server_argument: Vec<String>,
    /// Start a second server beside it with a route to it: receivers (of C1 to C4 and S2) are there, publishers and the streaming engine
    /// at the first one.
    #[arg(long, requires = "server_binary")]
    pub over_a_route: bool,
    /// Folder for data; of a server with --pid, a folder on the disk that it writes to.
    #[arg(long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,

    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds before that.
    #[arg(long, default_value_t = 3.0)]
    pub warm_up: f64,
    /// Messages that are measured, instead of seconds; a tenth more goes before.
    #[arg(long, value_parser = count)]
    pub messages: Option<u64>,

    #[command(flatten)]
    /// What varies.
    pub parameters: Parameters,

    /// Choose channels with Zipf's distribution.
    #[arg(long)]
    pub zipf: bool,
    /// Stop the server's process for a second in the middle, to see that latencies show it.
    #[arg(long)]
    pub inject_stop: bool,
    /// Ask the server's monitoring every second.
    #[arg(long)]
    pub poll_monitoring: bool,
    /// Where that monitoring is, for a server that was not started here.
    #[arg(long, value_name = "HOST:PORT")]
    pub monitoring: Option<String>,
    /// Seconds to wait for a quiet machine before each run.
    #[arg(long, default_value_t = 0.0)]
    pub wait_for_quiet: f64,
    /// Fail when something else disturbed a run.
    #[arg(long)]
    pub strict: bool,

    /// Write the report as JSON; `-` is the standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as a page with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Lists of values; each workload has its own defaults.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Parameters {
    /// Payload bytes.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub size: Vec<u64>,
    /// Publishes in flight of each publisher; `unlimited` holds nothing back, for core workloads.
    #[arg(long, value_delimiter = ',', value_parser = window)]
    pub window: Vec<u64>,
    /// Channels.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub channels: Vec<u64>,
    /// Publishing connections.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub publishers: Vec<u64>,
    /// Receiving connections.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub subscribers: Vec<u64>,
    /// Subscriptions in all.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub subscriptions: Vec<u64>,
    /// Idle connections, or slow members of a queue group.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub connections: Vec<u64>,
    /// Messages delivered and not yet acknowledged, per subscription.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub max_in_flight: Vec<u64>,
    /// Messages in the store beforehand.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub backlog: Vec<u64>,
    /// Sends per second: an open loop.
    #[arg(long, value_delimiter = ',', value_parser = count)]
    pub rate: Vec<u64>,
}

impl Parameters {
    fn lists(&self) -> [(&'static str, Vec<u64>); 10] {
        [
            ("size", self.size.clone()),
            ("window", self.window.clone()),
            ("channels", self.channels.clone()),
            ("publishers", self.publishers.clone()),
            ("subscribers", self.subscribers.clone()),
            ("subscriptions", self.subscriptions.clone()),
            ("connections", self.connections.clone()),
            ("max_in_flight", self.max_in_flight.clone()),
            ("backlog", self.backlog.clone()),
            ("rate", self.rate.clone()),
        ]
    }
}

/// A count such as `500`, `100k` or `10m`.
fn count(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|error| format!("{error}; say a number such as 500, 100k or 10m"))?;
    number.checked_mul(factor).ok_or_else(|| "that is too large".to_owned())
}

/// A count, or no bound.
fn window(text: &str) -> Result<u64, String> {
    match text {
        "unlimited" => Ok(UNLIMITED),
        text => count(text),
    }
}

/// Runs the workloads and reports.
///
/// # Errors
/// What went wrong with a run: a server that is not there, a message lost, noise with `--strict`.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the report, and what is left")]
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let arguments = &arguments;
    if arguments.workloads.iter().any(|name| name == "list") {
        print!("{}", list());
        return Ok(ExitCode::SUCCESS);
    }
    let workloads: Vec<&Workload> = arguments
        .workloads
        .iter()
        .map(|name| named(name).with_context(|| format!("no workload is called {name:?}; `list` shows them")))
        .collect::<Result<_>>()?;
    raise_descriptor_limit();
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command_line: command_line(std::env::args()),
        machine: Machine::read(),
        outcomes: Vec::new(),
    };
    let mut host = match arguments.server_binary {
        Some(_) => None,
        None => Some(Host::new(&arguments.address, &arguments.cluster_id)),
    };
    let ran = run_all(arguments, &workloads, host.as_mut(), &mut report);
    // Also of a run that failed in the middle.
    if let Some(text) = host.and_then(|host| host.farewell()) {
        eprintln!("{text}");
    }
    ran?;
    if let Some(path) = &arguments.json {
        report.write_json(path)?;
    }
    if let Some(path) = &arguments.html {
        report.write_html(path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs every workload at all its points.
#[allow(clippy::print_stdout, reason = "the report")]
fn run_all(
    arguments: &Arguments,
    workloads: &[&Workload],
    mut host: Option<&mut Host>,
    report: &mut Report,
) -> Result<()> {
    for workload in workloads {
        for point in (workload.defaults)().combinations(&arguments.parameters.lists()) {
            if !machine::wait_until_quiet(seconds("--wait-for-quiet", arguments.wait_for_quiet)?) && arguments.strict {
                bail!(
                    "the machine did not become quiet within {} seconds",
                    arguments.wait_for_quiet
                );
            }
            let outcome = run_point(arguments, workload, &point, host.as_deref_mut())?;
            if arguments.json.as_deref() != Some(std::path::Path::new("-")) {
                println!("{}", outcome_text(&outcome));
            }
            if let (true, Some(warning)) = (arguments.strict, outcome.warnings.first()) {
                bail!("{} was disturbed: {warning}", outcome.title());
            }
            report.outcomes.push(outcome);
        }
    }
    Ok(())
}

/// The words after the program's name, or names.
fn command_line(words: impl Iterator<Item = String>) -> String {
    let words = words
        .skip(1)
        .enumerate()
        .filter(|(place, word)| *place > 0 || word != "bench");
    words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

/// The table of workloads.
fn list() -> String {
    let line = |workload: &Workload| format!("{:<5} {}\n", workload.name, workload.about);
    WORKLOADS.iter().map(line).collect()
}

/// Runs one workload at one point, with a server of its own if one is to be started.
fn run_point(arguments: &Arguments, workload: &Workload, point: &Point, host: Option<&mut Host>) -> Result<Outcome> {
    let title = Outcome::default()
        .identified(workload.name, point, workload.parameters)
        .title();
    let mut context = context(arguments, workload).with_context(|| title.clone())?;
    let channels = (workload.channels)(point);
    if let Some(host) = host.filter(|_| channels > 0) {
        host.admit(&context.token, channels).with_context(|| title.clone())?;
    }
    context.progress.begin(&title);
    let server = describe(&context, workload);
    let monitoring = match (&context.server, &arguments.monitoring) {
        _ if !arguments.poll_monitoring => None,
        (_, Some(address)) => Some(address.clone()),
        (Some(server), None) => Some(server.monitoring()),
        (None, None) => bail!("--poll-monitoring needs --monitoring HOST:PORT for a server that was not started here"),
    };
    let is_over = AtomicBool::new(false);
    let (outcome, polled) = std::thread::scope(|scope| {
        let polling = monitoring.map(|address| {
            let is_over = &is_over;
            scope.spawn(move || monitoring::poll(&address, is_over))
        });
        let outcome = (workload.run)(&mut context, point);
        is_over.store(true, Ordering::Relaxed);
        (outcome, polling.map(std::thread::ScopedJoinHandle::join))
    });
    context.progress.clear();
    let mut outcome = outcome
        .with_context(|| title.clone())?
        .identified(workload.name, point, workload.parameters);
    outcome.server = server;
    if let Some(polled) = polled {
        let polled = polled
            .map_err(|_| anyhow::anyhow!("polling panicked"))?
            .with_context(|| title)?;
        outcome.figures.set("monitoring_polls", polled.rounds as f64);
        outcome
            .figures
            .set("monitoring_longest_poll_seconds", polled.longest.as_secs_f64());
    }
    Ok(outcome)
}

fn context(arguments: &Arguments, workload: &Workload) -> Result<Context> {
    let directory = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    if arguments.over_a_route && !OVER_A_ROUTE.contains(&workload.name) {
        bail!("--over-a-route is for {}", OVER_A_ROUTE.join(", "));
    }
    let (mut server, mut far) = (None, None);
    if let Some(binary) = arguments
        .server_binary
        .as_ref()
        .filter(|_| workload.needs != Needs::Disk)
    {
        let ports = match arguments.over_a_route {
            true => Some((free_port()?, free_port()?)),
            false => None,
        };
        let launch = Launch {
            program: arguments.program.unwrap_or_else(|| Program::of(binary)),
            binary: binary.clone(),
            limits: arguments.limits,
            arguments: arguments.server_argument.clone(),
            directory: directory.clone(),
            cluster_id: arguments.cluster_id.clone(),
            route: ports.map(|(own, _)| Route { own, other: None }),
        };
        server = Some(Server::start(launch.clone())?);
        if let Some((other, own)) = ports {
            far = Some(Server::start(Launch {
                cluster_id: format!("{}-far", arguments.cluster_id),
                route: Some(Route {
                    own,
                    other: Some(other),
                }),
                ..launch
            })?);
        }
    }
    Ok(Context {
        address: server
            .as_ref()
            .map_or_else(|| arguments.address.clone(), Server::address),
        cluster_id: arguments.cluster_id.clone(),
        server,
        far,
        pid: arguments.pid.filter(|_| workload.needs != Needs::Disk),
        length: length(arguments)?,
        inject_stop: arguments.inject_stop,
        zipf: arguments.zipf,
        directory,
        token: token().chars().take(8).collect(),
        progress: Progress::on_terminal(),
    })
}

fn length(arguments: &Arguments) -> Result<Length> {
    if let Some(measured) = arguments.messages {
        return Ok(Length::Count {
            warm_up: measured / 10,
            measured,
        });
    }
    Ok(Length::Time {
        warm_up: seconds("--warm-up", arguments.warm_up)?,
        measured: seconds("--seconds", arguments.seconds)?,
    })
}

fn seconds(name: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("{name} {value}: say seconds, such as 10"))
}

/// What the server calls itself.
fn describe(context: &Context, workload: &Workload) -> String {
    if workload.needs == Needs::Disk {
        return format!("files in {}", context.directory.display());
    }
    let info = context.connect().ok().and_then(|connection| {
        let info: serde_json::Value = serde_json::from_slice(&connection.info).ok()?;
        Some(info.get("version")?.as_str()?.to_owned())
    });
    let version = info.map_or_else(String::new, |version| format!(" (broker version {version})"));
    let far = match context.far {
        Some(_) => ", receivers at a second one",
        None => "",
    };
    match &context.server {
        Some(server) => format!("{}{version}{far}", server.description()),
        None => format!("{}{version}", context.address),
    }
}

/// Thousands of connections need as many descriptors, here and in servers that are started.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where this is refused, a workload that needs more says so itself.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn counts_may_be_short() {
        assert_eq!(
            (count("500"), count("100k"), count("10M")),
            (Ok(500), Ok(100_000), Ok(10_000_000))
        );
        for wrong in ["", "k", "1.5k", "-1", "99999999999999999999", "9999999999999999999m"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed_and_knows_every_parameter() {
        Arguments::command().debug_assert();
        let words = "bench s1 --size 16,128 --channels 1,10,100k --rate 5k --messages 1k --server-argument -D";
        let arguments = Arguments::try_parse_from(words.split(' ')).expect("understood");
        let points = Point::default().combinations(&arguments.parameters.lists());
        assert_eq!(points.len(), 6);
        assert!(points.iter().all(|point| point.rate == 5_000));
        assert_eq!(arguments.server_argument, ["-D"]);
        let names: Vec<&str> = crate::point::PARAMETERS
            .iter()
            .map(|parameter| parameter.name)
            .collect();
        assert_eq!(arguments.parameters.lists().map(|(name, _)| name).to_vec(), names);
        assert!(matches!(
            length(&arguments),
            Ok(Length::Count {
                warm_up: 100,
                measured: 1_000
            })
        ));
    }

    #[test]
    fn the_report_shows_the_command_line_without_the_names_of_programs() {
        let of = |line: &str| command_line(line.split(' ').map(str::to_owned));
        assert_eq!(of("seaway bench S1 --size 16"), "S1 --size 16");
        assert_eq!(of("seaway-bench S1 bench"), "S1 bench");
    }

    #[test]
    fn unknown_workloads_are_refused_by_name() {
        let arguments = Arguments::try_parse_from(["bench", "S99"]).expect("understood");
        let error = run(arguments).expect_err("there is none");
        assert!(error.to_string().contains("\"S99\""), "{error}");
        assert!(list().contains("S10"));
    }
}
