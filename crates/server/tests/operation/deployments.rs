//! The table "Your deployment" of `docs/migration.md`, row by row: command lines of the field start as they stand there, take a message and
//! give it back, or are refused in the words that the table promises.

use std::path::Path;
use std::process::Command;

use crate::nats::Nats;
use crate::support::shell::Shell;
use crate::support::{Binary, Server};

/// What the files of these deployments take from their environment.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("CLUSTER_ADVERTISE", "stan-0.stan"),
    ("POD_NAME", "eventbus-default-stan-0"),
];

/// A row of the table.
#[derive(Debug)]
struct Row {
    command: String,
    /// Empty where it runs, otherwise the words of the refusal.
    refused: Option<String>,
}

fn rows() -> Vec<Row> {
    let document = include_str!("../../../../docs/migration.md");
    let (_, section) = document.split_once("\n## Your deployment\n").expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, command, _, here] = cells[..] else {
            panic!("four cells: {line}")
        };
        let command = command.trim_matches('`').to_owned();
        match here.strip_prefix("refused: ") {
            Some(words) => Row {
                command,
                refused: Some(words.to_owned()),
            },
            None => {
                assert_eq!(here, "runs", "{line}");
                Row { command, refused: None }
            }
        }
    })
    .collect()
}

/// The command line as it stands, with `DIR` filled in, and ports of our own behind it: the last of two flags counts.
fn command(row: &Row, directory: &Path) -> Command {
    let mut words = row.command.split(' ');
    let program = words.next().unwrap().trim_start_matches('/');
    assert_eq!(program, "nats-streaming-server", "{row:?}");
    let mut command = Command::new(Binary::NatsStreamingServer.path());
    command.current_dir(directory).envs(ENVIRONMENT);
    command.args(words.map(|word| word.replace("DIR", directory.to_str().unwrap())));
    command.args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1"]);
    if row.command.contains("group") {
        command.args(["-cluster", "nats://127.0.0.1:-1"]);
    }
    command
}

/// The files that the command lines name.
fn lay_files(directory: &Path) {
    for (name, text) in [
        ("chart.conf", include_str!("deployments/chart.conf")),
        ("chart-group.conf", include_str!("deployments/chart-group.conf")),
        ("chart-external.conf", include_str!("deployments/chart-external.conf")),
        ("argo-events.conf", include_str!("deployments/argo-events.conf")),
        ("auth.conf", include_str!("deployments/auth.conf")),
    ] {
        let text = text.replace("DIR", directory.join("data").to_str().unwrap());
        std::fs::write(directory.join(name), text).unwrap();
    }
}

/// What stands behind a flag of the command line, or in the file that it names.
fn cluster_id(row: &Row) -> &str {
    let mut words = row.command.split(' ');
    if row.command.contains("chart") {
        return "stan";
    }
    match words.find(|word| matches!(word.trim_start_matches('-'), "cid" | "cluster_id")) {
        Some(_) => words.next().unwrap(),
        None => "test-cluster",
    }
}

/// A server whose log is in a file says nothing on its standard error: the file is read instead.
fn ready(command: &mut Command, log: Option<&Path>) -> Result<Server, Vec<String>> {
    let Some(log) = log else { return Server::spawn(command) };
    let mut server = Server::begin(command);
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    crate::support::group::wait_until("the log file says that it is ready", || {
        lines().iter().any(|line| line.contains("Streaming Server is ready"))
    });
    server.log = lines();
    server.find_addresses();
    Ok(server)
}

/// `deployments.md`: each row starts unchanged under the original's name, and serves.
#[test]
fn deployments_of_the_field_start_as_they_are() {
    let running: Vec<Row> = rows().into_iter().filter(|row| row.refused.is_none()).collect();
    assert!(running.len() >= 11, "{running:#?}");
    for row in running {
        let directory = tempfile::tempdir().unwrap();
        lay_files(directory.path());
        let log = row.command.contains("--log").then(|| directory.path().join("stan.log"));
        // Theirs is elsewhere: the last of two values counts, and a flag more than a file.
        let is_external = row.command.contains("external") || row.command.contains("-nats_server");
        let nats = is_external.then(Nats::plain);
        let mut command = command(&row, directory.path());
        let server = match &nats {
            Some(nats) => Ok(crate::nats::ready(command.args(["-ns", &nats.url()]), &nats.address())),
            None => ready(&mut command, log.as_deref()),
        };
        let server = server.unwrap_or_else(|log| panic!("{row:?} is not ready: {log:#?}"));
        let shell = Shell::at(&server.address);
        let token = shell.file("token", "t0ken");
        let mut more = vec!["--cluster", cluster_id(&row)];
        if row.command.contains("--auth") {
            shell.run(&["pub", "orders", "x", more[0], more[1]]).expect(5);
            more.extend(["--token-file", &token]);
        }
        let run = |words: &[&str]| shell.run(&[words, &more].concat()).expect(0);
        run(&["pub", "orders", "a cup of tea"]);
        let read = run(&["sub", "orders", "--all", "--count", "1"]);
        assert!(read.stdout.contains("a cup of tea"), "{row:?}: {read:?}");
        for path in [
            "/",
            "/healthz",
            "/streaming/serverz",
            "/streaming/channelsz?channel=orders&subs=1",
        ] {
            assert_eq!(server.get(path).0, 200, "{path} of {row:?}");
        }
    }
}

/// The others end with a fatal line that names what is missing, and leave nothing behind.
#[test]
fn what_is_not_there_yet_is_refused_in_words() {
    for row in rows() {
        let Some(words) = &row.refused else { continue };
        let directory = tempfile::tempdir().unwrap();
        lay_files(directory.path());
        let (status, log) = Server::begin(&mut command(&row, directory.path())).wait();
        assert_eq!(status.code(), Some(1), "{row:?}: {log:#?}");
        let is_said = |line: &String| line.contains("[FTL] STREAM: Failed to start: ") && line.contains(words.as_str());
        assert!(log.iter().any(is_said), "{row:?}: {log:#?}");
        assert!(!directory.path().join("data").exists(), "{row:?} left a store");
    }
}
