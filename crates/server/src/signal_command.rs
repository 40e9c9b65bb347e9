//! `-signal <command>[=<pid or pid file>]`: sends a signal to another server (`streaming-protocol.md` §7.7).
//!
//! Processes are found in `/proc` by the name of their program, so that nothing but the system itself is needed.

use std::io::Read as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Bytes of a pid file that are read; a number and a line end are less.
const PID_FILE_BYTES_MAX: u64 = 64;

/// Where processes are listed.
const PROCESSES: &str = "/proc";

/// Does what the flag asks. `program` names the processes that are meant when no pid is given.
///
/// # Errors
/// The sentence for the operator.
pub fn send(program: &str, argument: &str) -> Result<(), String> {
    let (command, target) = match argument.split_once('=') {
        Some((command, target)) => (command, Some(target)),
        None => (argument, None),
    };
    let signal = signal(command).ok_or_else(|| format!("unknown signal \"{command}\""))?;
    let process = match target.filter(|target| !target.is_empty()) {
        Some(target) => pid(target)?,
        None => only_process(program)?,
    };
    let pid = Pid::from_raw(process).ok_or_else(|| format!("invalid pid: {process}"))?;
    kill_process(pid, signal).map_err(|error| {
        let reason = match error {
            rustix::io::Errno::SRCH => "no such process".to_owned(),
            rustix::io::Errno::PERM => "operation not permitted".to_owned(),
            other => other.to_string(),
        };
        format!("signal \"{command}\" {process}: {reason}")
    })
}

/// The signal of a command; `stop` is the hard one (§14 quirk 17).
fn signal(command: &str) -> Option<Signal> {
    Some(match command {
        "stop" => Signal::KILL,
        "quit" => Signal::INT,
        "term" => Signal::TERM,
        "reopen" => Signal::USR1,
        "reload" => Signal::HUP,
        "ldm" => Signal::USR2,
        _ => return None,
    })
}

/// A pid, or what a file of one holds. Zero and below would mean whole groups of processes.
fn pid(target: &str) -> Result<i32, String> {
    let positive = |text: &str| text.trim().parse::<i32>().ok().filter(|pid| *pid > 0);
    if let Some(pid) = positive(target) {
        return Ok(pid);
    }
    let mut text = String::new();
    std::fs::File::open(target)
        .and_then(|file| file.take(PID_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|_| format!("invalid pid: {target}"))?;
    positive(&text).ok_or_else(|| format!("invalid pid: {}", text.trim()))
}

/// The one process of a program beside this one.
fn only_process(program: &str) -> Result<i32, String> {
    let own = std::process::id().cast_signed();
    let mut found =
        processes(Path::new(PROCESSES), program).map_err(|_| "unable to resolve pid, try providing one".to_owned())?;
    found.retain(|process| *process != own);
    match found[..] {
        [] => Err(format!("no {program} processes running")),
        [one] => Ok(one),
        _ => {
            let list: Vec<String> = found.iter().map(|process| format!("\n{process}")).collect();
            Err(format!("multiple {program} processes running:{}", list.concat()))
        }
    }
}

/// Ids of the processes that run a program, in ascending order. A process that ends while it is looked at is left out.
fn processes(directory: &Path, program: &str) -> std::io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)?.flatten() {
        let process = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(process) = process
            && runs(&entry.path(), program)
        {
            found.push(process);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a process was started as `program`. A process that has ended and waits for its parent has no arguments.
fn runs(process: &Path, program: &str) -> bool {
    let Ok(arguments) = std::fs::read(process.join("cmdline")) else {
        return false;
    };
    let first = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
    first.rsplit(|byte| *byte == b'/').next() == Some(program.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_originals() {
        let table = [
            ("stop", Some(Signal::KILL)),
            ("quit", Some(Signal::INT)),
            ("term", Some(Signal::TERM)),
            ("reopen", Some(Signal::USR1)),
            ("reload", Some(Signal::HUP)),
            ("ldm", Some(Signal::USR2)),
            ("STOP", None),
            ("", None),
        ];
        for (command, expected) in table {
            assert_eq!(signal(command), expected, "{command}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said_in_the_originals_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        std::fs::write(&file, "many").unwrap();
        let file = file.to_str().unwrap();
        let table = [
            ("hop".to_owned(), "unknown signal \"hop\""),
            ("hop=1".to_owned(), "unknown signal \"hop\""),
            ("quit=0".to_owned(), "invalid pid: 0"),
            ("quit=-1".to_owned(), "invalid pid: -1"),
            ("quit=/nowhere/pid".to_owned(), "invalid pid: /nowhere/pid"),
            (format!("quit={file}"), "invalid pid: many"),
            // No process gets the highest number there is.
            (
                format!("quit={}", i32::MAX),
                "signal \"quit\" 2147483647: no such process",
            ),
            ("quit".to_owned(), "no a-program-nobody-has processes running"),
        ];
        for (argument, expected) in table {
            assert_eq!(
                send("a-program-nobody-has", &argument),
                Err(expected.to_owned()),
                "{argument}"
            );
        }
    }

    #[test]
    fn processes_are_known_by_the_last_part_of_their_path() {
        let folder = tempfile::tempdir().unwrap();
        let process = |id: &str, arguments: &[u8]| {
            std::fs::create_dir(folder.path().join(id)).unwrap();
            std::fs::write(folder.path().join(id).join("cmdline"), arguments).unwrap();
        };
        process("30", b"/usr/bin/nats-streaming-server\0-v\0");
        process("4", b"nats-streaming-server\0");
        process("5", b"vi\0nats-streaming-server\0");
        process("6", b"nats-streaming-server-exporter\0");
        process("7", b"");
        process("self", b"nats-streaming-server\0");
        assert_eq!(processes(folder.path(), "nats-streaming-server").unwrap(), [4, 30]);
        assert!(processes(&folder.path().join("nothing"), "x").is_err());
    }
}
