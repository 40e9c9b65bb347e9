//! Reads an `strace -f -y` output and judges the order of file writes, syncs and socket writes.
//!
//! The trace is one sequence of events as the tracer saw them. A call that another thread's event interrupted stands there twice,
//! as `... <unfinished ...>` where it began and `<... name resumed>` where it ended; any other call began and ended on its line. A
//! data file's write counts once it ended, a sync covers the writes that ended before it began, and a socket write must begin
//! after the sync's end.

use std::collections::{HashMap, HashSet};
use std::fmt;

/// The calls to trace: everything that can write to a file or a socket, and everything that syncs.
pub(super) const SYSTEM_CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,fsync,fdatasync,sync_file_range";

/// The payload of message `number`: fixed width, so that no marker is the beginning of another.
pub(super) fn payload(number: usize) -> String {
    format!("seaway-payload-{number:06}")
}

/// The GUID of message `number`.
pub(super) fn guid(number: usize) -> String {
    format!("seaway-guid-{number:06}")
}

/// What a trace shows.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Publish acknowledgements written to a socket.
    pub(super) acks: usize,
    /// Deliveries written to a socket.
    pub(super) deliveries: usize,
    /// Completed syncs of data files.
    pub(super) syncs: usize,
    /// What left too early, in words.
    pub(super) violations: Vec<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acks,
            deliveries,
            syncs,
            violations,
        } = self;
        write!(
            formatter,
            "{acks} acks, {deliveries} deliveries, {syncs} syncs, {} sent before their sync",
            violations.len()
        )
    }
}

/// Judges a trace of a server whose files lie in `data_directory`.
pub(super) fn judge(trace: &str, data_directory: &str) -> Findings {
    let mut judge = Judge {
        data_directory,
        ..Judge::default()
    };
    for line in trace.lines() {
        judge.line(line);
    }
    judge.findings
}

/// A call under way: what it will have done once it ends.
enum Pending {
    FileWrite { path: String, messages: Vec<String> },
    Sync { path: String, covers: Vec<String> },
}

#[derive(Default)]
struct Judge<'a> {
    data_directory: &'a str,
    /// By thread.
    pending: HashMap<String, Pending>,
    /// Written, but not synced yet, by file.
    written: HashMap<String, Vec<String>>,
    /// Payloads whose sync has ended.
    durable: HashSet<String>,
    findings: Findings,
}

impl Judge<'_> {
    fn line(&mut self, line: &str) {
        let Some((thread, rest)) = line.split_once(' ') else {
            return;
        };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            self.ended(thread, result_of(rest));
            return;
        }
        let Some((name, arguments)) = rest.split_once('(') else {
            return;
        };
        self.began(thread, name, arguments);
        if !arguments.trim_end().ends_with("<unfinished ...>") {
            self.ended(thread, result_of(rest));
        }
    }

    fn began(&mut self, thread: &str, name: &str, arguments: &str) {
        let Some(target) = target_of(arguments) else { return };
        let is_data_file = target.starts_with(self.data_directory);
        if matches!(name, "fsync" | "fdatasync") {
            if is_data_file {
                let covers = self.written.get(target).cloned().unwrap_or_default();
                self.pending.insert(
                    thread.to_owned(),
                    Pending::Sync {
                        path: target.to_owned(),
                        covers,
                    },
                );
            }
        } else if is_data_file {
            let messages = markers(arguments, "seaway-payload-");
            self.pending.insert(
                thread.to_owned(),
                Pending::FileWrite {
                    path: target.to_owned(),
                    messages,
                },
            );
        } else if target.starts_with("socket:") || target.starts_with("TCP") {
            self.sent(name, arguments);
        }
    }

    /// A socket write began: each acknowledgement and each delivery in it must be durable by now.
    fn sent(&mut self, name: &str, arguments: &str) {
        for guid in markers(arguments, "seaway-guid-") {
            self.findings.acks += 1;
            let payload = guid.replace("guid", "payload");
            self.require_durable(&payload, || format!("{name} of the PubAck with {guid}"));
        }
        for payload in markers(arguments, "seaway-payload-") {
            self.findings.deliveries += 1;
            self.require_durable(&payload, || format!("{name} of the delivery of {payload}"));
        }
    }

    fn require_durable(&mut self, payload: &str, what: impl FnOnce() -> String) {
        if !self.durable.contains(payload) {
            self.findings.violations.push(what());
        }
    }

    fn ended(&mut self, thread: &str, result: Option<i64>) {
        match self.pending.remove(thread) {
            Some(Pending::FileWrite { path, messages }) if result.is_some_and(|count| count > 0) => {
                self.written.entry(path).or_default().extend(messages);
            }
            Some(Pending::Sync { path, covers }) if result == Some(0) => {
                self.findings.syncs += 1;
                self.durable.extend(covers);
                if let Some(written) = self.written.get_mut(&path) {
                    written.retain(|message| !self.durable.contains(message));
                }
            }
            _ => {}
        }
    }
}

/// What the first descriptor of a call stands for: `7</data/journal>, ...` gives `/data/journal`.
fn target_of(arguments: &str) -> Option<&str> {
    let (descriptor, rest) = arguments.split_once('<')?;
    if descriptor.is_empty() || !descriptor.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    rest.split_once('>').map(|(target, _)| target)
}

/// The number behind the last ` = `.
fn result_of(line: &str) -> Option<i64> {
    line.rsplit_once(" = ")?.1.split_whitespace().next()?.parse().ok()
}

/// Every `<prefix>NNNNNN` in the text, in order.
fn markers(text: &str, prefix: &str) -> Vec<String> {
    const DIGITS: usize = 6;
    text.match_indices(prefix)
        .filter_map(|(start, _)| text.get(start..start + prefix.len() + DIGITS))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str]) -> Findings {
        judge(&lines.join("\n"), "/data")
    }

    const WRITE: &str = r#"11 pwrite64(5</data/1.log>, "\1\2seaway-payload-000007\3", 40, 4096) = 40"#;
    const SYNC: &str = "11 fdatasync(5</data/1.log>)         = 0";
    const ACK: &str = r#"12 sendto(9<socket:[77]>, "MSG _STAN.acks.x 1 9\r\n\n\7seaway-guid-000007\r\n", 60, MSG_NOSIGNAL, NULL, 0) = 60"#;
    const DELIVERY: &str = r#"12 writev(9<socket:[78]>, [{iov_base="MSG a", iov_len=5}, {iov_base="seaway-payload-000007", iov_len=21}], 2) = 26"#;

    #[test]
    fn write_sync_send_is_the_right_order() {
        let findings = judged(&[WRITE, SYNC, ACK, DELIVERY]);
        assert_eq!((findings.acks, findings.deliveries, findings.syncs), (1, 1, 1));
        assert!(findings.violations.is_empty(), "{findings:?}");
    }

    #[test]
    fn whatever_leaves_before_its_sync_is_a_violation() {
        for early in [
            [ACK, WRITE, SYNC],
            [WRITE, ACK, SYNC],
            [SYNC, WRITE, ACK],
            [WRITE, DELIVERY, SYNC],
        ] {
            assert_eq!(judged(&early).violations.len(), 1, "{early:?}");
        }
    }

    #[test]
    fn a_sync_of_another_file_or_a_failed_one_covers_nothing() {
        let other = SYNC.replace("1.log", "2.log");
        let failed = SYNC.replace("= 0", "= -1 EIO (Input/output error)");
        assert_eq!(judged(&[WRITE, &other, ACK]).violations.len(), 1);
        assert_eq!(judged(&[WRITE, &failed, ACK]).violations.len(), 1);
        assert_eq!(judged(&[WRITE, &failed, ACK]).syncs, 0);
    }

    #[test]
    fn a_sync_covers_only_writes_that_ended_before_it_began() {
        let begin = "13 fdatasync(5</data/1.log> <unfinished ...>";
        let end = "13 <... fdatasync resumed>)              = 0";
        assert_eq!(judged(&[begin, WRITE, end, ACK]).violations.len(), 1);
        assert_eq!(judged(&[WRITE, begin, ACK, end]).violations.len(), 1);
        assert!(judged(&[WRITE, begin, end, ACK]).violations.is_empty());
        let write_begin = r#"14 pwrite64(5</data/1.log>, "seaway-payload-000007", 21, 0 <unfinished ...>"#;
        let write_end = "14 <... pwrite64 resumed>)               = 21";
        assert!(judged(&[write_begin, write_end, SYNC, ACK]).violations.is_empty());
        assert_eq!(judged(&[write_begin, SYNC, write_end, ACK]).violations.len(), 1);
    }

    #[test]
    fn other_files_and_terminals_do_not_count() {
        let log = r#"12 write(2</dev/pts/0>, "seaway-guid-000007 seaway-payload-000007", 40) = 40"#;
        let findings = judged(&[log]);
        assert_eq!(
            (findings.acks, findings.deliveries, findings.violations.len()),
            (0, 0, 0)
        );
    }
}
