//! Format and switches of the log (`streaming-protocol.md` §9.1, `nats-core.md` §5.7).

use std::fs;
use std::path::Path;

use super::*;
use crate::logging::queue::Entry;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn options(file: &Path) -> LoggingOptions {
    LoggingOptions {
        target: LogTarget::File {
            path: file.to_owned(),
            size_limit: None,
            max_files: None,
        },
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
    let (logger, handle) = Logger::new(&options(&file)).unwrap();
    tracing::subscriber::with_default(logger, || act(&handle));
    handle.flush(PATIENCE);
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
    let formatted = |style: LineStyle, label, prefix| {
        let mut buffer = String::new();
        let line = Line {
            at: now,
            label,
            prefix,
            text: "text".to_owned(),
        };
        style.append(&mut buffer, &line);
        buffer
    };
    let style = LineStyle::new(Some(jiff::tz::TimeZone::UTC), false);
    assert_eq!(
        formatted(style, Label::Information, "STREAM: "),
        format!("[{process}] 2023/11/14 22:13:20.001234 [INF] STREAM: text\n")
    );
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
    let style = LineStyle::new(Some(zone), true);
    assert_eq!(
        formatted(style, Label::Error, ""),
        format!("[{process}] 2023/11/15 00:13:20.001234 [\x1b[31mERR\x1b[0m] text\n")
    );
}

fn rotating(file: &Path, max_files: Option<u32>) -> LoggingOptions {
    LoggingOptions {
        target: LogTarget::File {
            path: file.to_owned(),
            size_limit: Some(300),
            max_files,
        },
        ..options(file)
    }
}

#[test]
fn the_file_is_rotated_by_size_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let (logger, handle) = Logger::new(&rotating(&file, None)).unwrap();
    tracing::subscriber::with_default(logger, || {
        for number in 0..50 {
            tracing::info!("line {number:03}");
        }
    });
    handle.flush(PATIENCE);
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

/// A limit below the length of the line that tells of a rotation: that line does not rotate the file again.
#[test]
fn a_limit_below_a_line_rotates_once_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let mut options = rotating(&file, None);
    if let LogTarget::File { size_limit, .. } = &mut options.target {
        *size_limit = Some(1);
    }
    let (logger, handle) = Logger::new(&options).unwrap();
    tracing::subscriber::with_default(logger, || {
        for number in 0..5 {
            tracing::info!("line {number}");
        }
    });
    handle.flush(PATIENCE);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5 + 1);
}

#[test]
fn a_moved_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let moved = folder.path().join("moved");
    let (logger, handle) = Logger::new(&options(&file)).unwrap();
    tracing::subscriber::with_default(logger, || {
        tracing::info!("one");
        fs::rename(&file, &moved).unwrap();
        tracing::info!("two");
        // What was logged before belongs into the moved file.
        handle.reopen();
        tracing::info!("three");
    });
    handle.flush(PATIENCE);
    assert!(fs::read_to_string(&moved).unwrap().ends_with("[INF] two\n"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("[INF] File log re-opened\n"), "{text}");
    assert!(text.ends_with("[INF] three\n"), "{text}");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_with_its_name() {
    let error = Logger::new(&options(Path::new("/nonexistent/log"))).err().unwrap();
    assert!(format!("{error:#}").contains("/nonexistent/log"));
}

/// `nats-core.md` §5.7, and the number of files an operator wants to keep.
#[test]
fn only_so_many_rotated_files_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    fs::write(folder.path().join("log.old"), "another's").unwrap();
    let (logger, handle) = Logger::new(&rotating(&file, Some(2))).unwrap();
    tracing::subscriber::with_default(logger, || {
        for number in 0..100 {
            tracing::info!("line {number:03}");
        }
    });
    handle.flush(PATIENCE);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + 2 + 1);
    assert!(folder.path().join("log.old").exists());
}

/// §7.7, §13.8 NATSServerConfigReloadFollowedByReopen: what a reload changed stays after the file was opened again, the
/// limit on its size included.
#[test]
fn a_replaced_target_is_reopened_and_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (logger, handle) = Logger::new(&options(&first)).unwrap();
    tracing::subscriber::with_default(logger, || {
        tracing::info!("one");
        let mut replacement = rotating(&second, None);
        replacement.broker.debug = true;
        handle.replace(&replacement).unwrap();
        handle.reopen();
        tracing::debug!(target: "seaway_broker", "two");
        let unusable = LoggingOptions {
            utc: false,
            ..options(Path::new("/nonexistent/log"))
        };
        assert!(handle.replace(&unusable).is_err());
        for _ in 0..20 {
            tracing::info!("a line of some length to fill the file");
        }
    });
    handle.flush(PATIENCE);
    assert!(fs::read_to_string(&first).unwrap().ends_with("[INF] one\n"));
    let rotated = fs::read_dir(folder.path()).unwrap().count() - 2;
    assert!(rotated > 1, "{rotated}");
    let oldest = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("second."))
        .min()
        .unwrap();
    let text = fs::read_to_string(oldest).unwrap();
    assert!(text.contains("File log re-opened"), "{text}");
    assert!(text.contains("[DBG] two"), "{text}");
}

/// The number of missing lines is said in their place.
#[test]
fn lines_that_found_no_room_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let (output, style) = options(&file).open().unwrap();
    let queue = Arc::new(Queue::default());
    let push = |text: String| {
        queue.push(Line {
            at: jiff::Timestamp::now(),
            label: Label::Information,
            prefix: "",
            text,
        });
    };
    push("x".repeat(crate::limits::LOG_QUEUE_BYTES_MAX));
    push("dropped".to_owned());
    push("dropped".to_owned());
    queue.close();
    let mut none: Vec<Entry> = Vec::new();
    Writer::new(Arc::clone(&queue), output, style).run();
    assert_eq!(queue.take(&mut none), None);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("dropped"));
    assert!(text.ends_with("[WRN] 2 lines are missing here: they could not be written, or not in time\n"));
}
