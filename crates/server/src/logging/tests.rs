//! Format and switches of the log (`streaming-protocol.md` §9.1, `nats-core.md` §5.7).

use std::fs;
use std::path::Path;

use super::*;

fn options(file: &Path) -> LoggingOptions {
    LoggingOptions {
        file: Some(file.to_owned()),
        size_limit: None,
        time: false,
        utc: true,
        broker: Verbosity::default(),
        streaming: Verbosity::default(),
    }
}

/// Runs `act` under a logger and returns the lines of its file without the process id.
fn lines(options: impl FnOnce(&Path) -> LoggingOptions, act: impl FnOnce(&LogHandle)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let (logger, handle) = Logger::new(options(&file)).unwrap();
    tracing::subscriber::with_default(logger, || act(&handle));
    let process = format!("[{}] ", std::process::id());
    let text = fs::read_to_string(file).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| line.strip_prefix(&process).unwrap().to_owned())
        .collect()
}

fn every_level() {
    tracing::error!(target: "stream", "e");
    tracing::warn!(target: "stream", "w");
    tracing::info!(target: "stream", "i");
    tracing::debug!(target: "stream", "d");
    tracing::trace!(target: "stream", "t");
    tracing::error!(target: "seaway_broker", "e");
    tracing::warn!(target: "seaway_broker", "w");
    tracing::info!(target: "seaway_broker", "i");
    tracing::debug!(target: "seaway_broker", "d");
    tracing::trace!(target: "seaway_broker", "t");
}

#[test]
fn levels_and_prefix() {
    let all = Verbosity {
        debug: true,
        trace: true,
    };
    let found = lines(
        |file| LoggingOptions {
            broker: all,
            streaming: all,
            ..options(file)
        },
        |_| every_level(),
    );
    let expected = [
        "[ERR] STREAM: e",
        "[WRN] STREAM: w",
        "[INF] STREAM: i",
        "[DBG] STREAM: d",
        "[TRC] STREAM: t",
        "[ERR] e",
        "[WRN] w",
        "[INF] i",
        "[DBG] d",
        "[TRC] t",
    ];
    assert_eq!(found, expected);
}

#[test]
fn switches_of_broker_and_streaming_are_independent() {
    let debug = Verbosity {
        debug: true,
        trace: false,
    };
    let trace = Verbosity {
        debug: false,
        trace: true,
    };
    let found = lines(
        |file| LoggingOptions {
            broker: debug,
            streaming: trace,
            ..options(file)
        },
        |handle| {
            every_level();
            handle.set_verbosity(Verbosity::default(), debug);
            every_level();
        },
    );
    let shown: Vec<_> = found
        .iter()
        .filter(|line| line.starts_with("[DBG]") || line.starts_with("[TRC]"))
        .collect();
    assert_eq!(shown, ["[TRC] STREAM: t", "[DBG] d", "[DBG] STREAM: d"]);
    assert_eq!(found.len(), 6 + 2 + 6 + 1);
}

#[test]
fn fatal_errors_fields_and_foreign_crates() {
    let found = lines(options, |_| {
        tracing::error!(target: "stream", fatal = true, "Failed to start: {}", "no room");
        tracing::error!(fatal = false, "plain");
        tracing::warn!(port = 4222, host = "h", "busy");
        tracing::info!(target: "hyper::client", "not ours");
        tracing::warn!(target: "hyper::client", "theirs");
    });
    assert_eq!(
        found,
        [
            "[FTL] STREAM: Failed to start: no room",
            "[ERR] plain",
            "[WRN] busy port=4222 host=h",
            "[WRN] theirs"
        ]
    );
}

#[test]
fn names_of_clients_cannot_forge_lines() {
    let found = lines(options, |_| tracing::info!("a\n[1] [INF] b\x1b[31m\u{85}é"));
    assert_eq!(found, ["[INF] a\\n[1] [INF] b\\u{1b}[31m\\u{85}é"]);
}

#[test]
fn times_have_microseconds_and_colours_are_for_terminals() {
    let now = jiff::Timestamp::new(1_700_000_000, 1_234_999).unwrap();
    let process = std::process::id();
    let style = LineStyle::new(Some(jiff::tz::TimeZone::UTC), false);
    assert_eq!(
        style.line(now, Label::Information, "STREAM: ", "text"),
        format!("[{process}] 2023/11/14 22:13:20.001234 [INF] STREAM: text\n")
    );
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
    let style = LineStyle::new(Some(zone), true);
    assert_eq!(
        style.line(now, Label::Error, "", "text"),
        format!("[{process}] 2023/11/15 00:13:20.001234 [\x1b[31mERR\x1b[0m] text\n")
    );
}

#[test]
fn the_file_is_rotated_by_size_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let (logger, _) = Logger::new(LoggingOptions {
        size_limit: Some(300),
        ..options(&file)
    })
    .unwrap();
    tracing::subscriber::with_default(logger, || {
        for number in 0..50 {
            tracing::info!("line {number:03}");
        }
    });
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 3, "{files:?}");
    // The file itself sorts first but is the newest.
    files.rotate_left(1);
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let numbers: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("line ").map(|(_, number)| number))
        .collect();
    let expected: Vec<_> = (0..50).map(|number| format!("{number:03}")).collect();
    assert_eq!(numbers, expected);
    assert!(
        files[..files.len() - 1]
            .iter()
            .all(|file| fs::metadata(file).unwrap().len() < 400)
    );
    assert!(text.contains("[INF] Rotated log, backup saved as \""));
}

#[test]
fn a_moved_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let moved = folder.path().join("moved");
    let (logger, handle) = Logger::new(options(&file)).unwrap();
    tracing::subscriber::with_default(logger, || {
        tracing::info!("one");
        fs::rename(&file, &moved).unwrap();
        tracing::info!("two");
        assert_eq!(handle.reopen().unwrap(), Reopened::File);
        tracing::info!("three");
    });
    assert!(fs::read_to_string(&moved).unwrap().ends_with("[INF] two\n"));
    assert!(fs::read_to_string(&file).unwrap().ends_with("[INF] three\n"));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_with_its_name() {
    let error = Logger::new(options(Path::new("/nonexistent/log"))).err().unwrap();
    assert!(format!("{error:#}").contains("/nonexistent/log"));
}
