//! What a process cost, read from `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What a process has used up to a moment, and holds at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode and in the kernel, of all threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// The part of it that is no file's, in bytes.
    pub anonymous_bytes: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Times that a thread gave up its core, by waiting.
    pub voluntary_switches: u64,
    /// Times that a core was taken from a thread.
    pub involuntary_switches: u64,
    /// Bytes it caused to be read from block devices.
    pub read_bytes: u64,
    /// Bytes it caused to be written to block devices.
    pub written_bytes: u64,
}

impl Usage {
    /// Reads all of it.
    ///
    /// # Errors
    /// When the process is gone, or belongs to somebody else.
    pub fn of(pid: u32) -> Result<Usage> {
        let folder = format!("/proc/{pid}");
        let read = |name: &str| {
            let path = format!("{folder}/{name}");
            fs::read_to_string(&path).with_context(|| format!("read {path}: is process {pid} there, and yours?"))
        };
        let (status, io) = (read("status")?, read("io")?);
        let descriptors = fs::read_dir(format!("{folder}/fd"))
            .with_context(|| format!("list {folder}/fd"))?
            .count();
        let (voluntary_switches, involuntary_switches) = switches(Path::new(&folder).join("task").as_path());
        Ok(Usage {
            cpu: cpu_of_stat(&read("stat")?).with_context(|| format!("understand {folder}/stat"))?,
            resident_bytes: kilobytes(&status, "VmRSS:").unwrap_or(0),
            anonymous_bytes: kilobytes(&status, "RssAnon:").unwrap_or(0),
            descriptors: descriptors as u64,
            voluntary_switches,
            involuntary_switches,
            read_bytes: field(&io, "read_bytes:").unwrap_or(0),
            written_bytes: field(&io, "write_bytes:").unwrap_or(0),
        })
    }
}

/// CPU time a process has used, in user mode and in the kernel.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    cpu_of_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Memory a process has resident, in bytes.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

fn cpu_of_stat(stat: &str) -> Option<Duration> {
    // The command name, in parentheses, may contain anything; fields are counted after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_nanos(ticks * 1_000_000_000 / per_second))
}

/// The switches of all threads that live; a thread that has ended took its own along.
fn switches(tasks: &Path) -> (u64, u64) {
    let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
    threads.fold((0, 0), |(voluntary, involuntary), thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        (
            voluntary + field(&status, "voluntary_ctxt_switches:").unwrap_or(0),
            involuntary + field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0),
        )
    })
}

/// The first number of the line that begins with a name.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name).map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_command_does_not_confuse() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 1 2 3";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(
            cpu_of_stat(stat),
            Some(Duration::from_nanos(200 * 1_000_000_000 / ticks))
        );
        assert_eq!(cpu_of_stat("7 (a) S 1"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "VmRSS:\t   12 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), Some(9));
        assert_eq!(field(status, "RssAnon:"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let usage = Usage::of(std::process::id()).expect("own process");
        assert!(usage.resident_bytes > 0 && usage.descriptors >= 3);
        assert!(usage.voluntary_switches + usage.involuntary_switches > 0);
        let error = Usage::of(u32::MAX).expect_err("no such process").to_string();
        assert!(error.contains("4294967295"), "{error}");
    }
}
