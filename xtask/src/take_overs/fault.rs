//! What happens to whoever serves.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::shell;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP, and SIGCONT after this time.
    Stop(Duration),
    /// Its writes find no room on the disk.
    DiskIsFull,
    /// Its syncs do not come back.
    DiskHangs,
    /// No server reaches another one any more; then SIGKILL.
    RoutesAreCut,
}

/// Shorter than this a stop must not end a tenure, longer than that it must: the lease is 1.25 s.
const STOP_WITHOUT_TAKE_OVER: Duration = Duration::from_millis(900);
const STOP_WITH_TAKE_OVER: Duration = Duration::from_millis(2500);

/// One stop in so many is a long one.
const LONG_STOP_EVERY: u32 = 12;
const LONGEST_STOP: Duration = Duration::from_secs(60);

impl Fault {
    /// The names of the kinds, in the order of [`Fault::kind`].
    pub(crate) const KINDS: [&str; 8] = [
        "killed",
        "told to end",
        "stopped 0.1 to 0.9 s",
        "stopped 0.9 to 2.5 s",
        "stopped 2.5 to 60 s",
        "disk full",
        "disk hangs",
        "routes cut, then killed",
    ];

    /// Which kind it is of.
    pub(crate) fn kind(self) -> usize {
        match self {
            Fault::Kill => 0,
            Fault::Terminate => 1,
            Fault::Stop(time) if time < STOP_WITHOUT_TAKE_OVER => 2,
            Fault::Stop(time) if time < STOP_WITH_TAKE_OVER => 3,
            Fault::Stop(_) => 4,
            Fault::DiskIsFull => 5,
            Fault::DiskHangs => 6,
            Fault::RoutesAreCut => 7,
        }
    }

    /// The kinds in turn; times of stops are random, from 0.1 s to a few seconds, and now and then a minute.
    pub(crate) fn choose(number: u32, random: &mut fastrand::Rng) -> Fault {
        match number % 6 {
            0 => Fault::Kill,
            1 => {
                let stops = number / 6;
                let time = match stops % LONG_STOP_EVERY {
                    0 => Duration::from_secs(3),
                    last if last == LONG_STOP_EVERY - 1 => LONGEST_STOP,
                    // As many between 0.1 s and 1 s as between 1 s and 10 s.
                    _ => Duration::from_millis(100).mul_f64(100_f64.powf(random.f64())),
                };
                Fault::Stop(time)
            }
            2 if is_traceable() => Fault::DiskIsFull,
            3 if is_traceable() => Fault::DiskHangs,
            4 => Fault::RoutesAreCut,
            _ => Fault::Terminate,
        }
    }

    /// Whether another one must serve afterwards.
    pub(crate) fn must_end_a_tenure(self) -> bool {
        match self {
            Fault::Stop(time) => time >= STOP_WITH_TAKE_OVER,
            _ => true,
        }
    }
}

/// Whether system calls of other processes can be made to fail here.
pub(crate) fn is_traceable() -> bool {
    shell::is_installed("strace")
}

/// A tracer that makes system calls of a process fail until it is dropped.
pub(crate) struct Failing {
    tracer: Child,
    _lines: BufReader<ChildStderr>,
}

impl Failing {
    /// `fault` is a call and its fate, such as `pwrite64:error=ENOSPC`.
    pub(crate) fn begin(process: u32, fault: &str) -> anyhow::Result<Failing> {
        let call = fault.split(':').next().unwrap_or_default();
        let mut tracer = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={fault}"), "-p", &process.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start strace")?;
        let mut lines = BufReader::new(tracer.stderr.take().context("its output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let failing = Failing { tracer, _lines: lines };
        ensure!(line.contains("attached"), "strace may not attach: {line}");
        Ok(failing)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // Killed, it would leave the process stopped.
        let process = self.tracer.id().to_string();
        let _ = Command::new("kill").args(["-s", "INT", &process]).status();
        let _ = self.tracer.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_turn() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = [0; Fault::KINDS.len()];
        let mut longest = Duration::ZERO;
        for number in 0..600 {
            let fault = Fault::choose(number, &mut random);
            counts[fault.kind()] += 1;
            if let Fault::Stop(time) = fault {
                assert!((Duration::from_millis(100)..=LONGEST_STOP).contains(&time), "{time:?}");
                longest = longest.max(time);
            }
        }
        assert_eq!(longest, LONGEST_STOP);
        if is_traceable() {
            assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        }
    }
}
