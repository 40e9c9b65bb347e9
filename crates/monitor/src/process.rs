//! What the operating system says of this process. What cannot be found out is 0, which the endpoints show or leave out.

use std::fs;

/// Use of resources by this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ProcessUse {
    /// Bytes of memory that are resident.
    pub(crate) memory: u64,
    /// Processor time since the start of the process, in percent of one core.
    pub(crate) cpu_percent: f64,
    /// Processor time since the start of the process, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Open file descriptors.
    pub(crate) open_fds: u64,
    /// Open file descriptors allowed.
    pub(crate) max_fds: u64,
}

impl ProcessUse {
    /// Takes a look.
    pub(crate) fn now() -> Self {
        let (cpu_percent, cpu_seconds) = cpu().unwrap_or((0.0, 0.0));
        ProcessUse {
            memory: resident_bytes().unwrap_or(0),
            cpu_percent,
            cpu_seconds,
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(0),
        }
    }
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn resident_bytes() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm")
        .ok()?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Percent of one core since the start, and seconds.
fn cpu() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process may contain anything; what follows its parenthesis is numbers.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<f64> = fields
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let (user, system, start) = (fields.get(10)?, fields.get(11)?, fields.get(18)?);
    let since_boot: f64 = fs::read_to_string("/proc/uptime")
        .ok()?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let (age, used) = (since_boot - start / ticks, (user + system) / ticks);
    // One decimal, as process listings show it.
    let percent = if age > 0.0 {
        (used / age * 1000.0).round() / 10.0
    } else {
        0.0
    };
    Some((percent, used))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let used = ProcessUse::now();
        assert!(
            used.memory > 100_000 && used.open_fds >= 3 && used.max_fds >= used.open_fds,
            "{used:?}"
        );
        assert!((0.0..=100_000.0).contains(&used.cpu_percent), "{used:?}");
    }
}
