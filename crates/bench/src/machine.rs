//! The machine under the measurement: what it is, and what else kept it busy meanwhile.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process;

/// Other processes may use this share of the machine before a measurement is doubtful.
pub const OTHERS_MAX: f64 = 0.05;

/// The hypervisor may take this share.
pub const STEAL_MAX: f64 = 0.02;

/// What figures are worth nothing without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: usize,
    /// Processor.
    pub processor: String,
    /// Kernel release.
    pub kernel: String,
    /// Clock source of the kernel.
    pub clock_source: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Machine {
    /// Reads `/proc` and `/sys`; what cannot be read is `unknown`.
    pub fn read() -> Machine {
        let first_line = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines()
                .next()
                .map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
        };
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: after(&processors, "model name").unwrap_or("unknown").to_owned(),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            clock_source: first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            memory_bytes: after(&memory, "MemTotal")
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .map_or(0, |kilobytes| kilobytes * 1024),
        }
    }
}

/// What follows the colon of the line that begins with a name.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Bytes that everybody has written to the device on which a folder lies; `None` where that is no disk.
pub fn device_bytes(folder: &Path) -> Option<u64> {
    let device = rustix::fs::stat(folder).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    sectors_written(&fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?).map(|count| count * 512)
}

/// The seventh number.
fn sectors_written(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(6)?.parse().ok()
}

/// CPU time up to a moment, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    idle: u64,
    steal: u64,
}

impl Ticks {
    /// From the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str) -> Option<Ticks> {
        let words = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, waiting, interrupts, soft, steal, ..] = ticks[..] else {
            return None;
        };
        Some(Ticks {
            busy: user + nice + system + interrupts + soft,
            idle: idle + waiting,
            steal,
        })
    }
}

/// The start of a stretch of time whose noise is of interest.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    ticks: Option<Ticks>,
    /// CPU time of the processes that are no noise.
    ours: Duration,
    server: Option<u32>,
}

/// What disturbed a measurement, in shares of the whole machine from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Noise {
    /// Processes other than the server and this one.
    pub others: f64,
    /// Time taken by the hypervisor.
    pub steal: f64,
}

impl Quiet {
    /// Begins now; this process and the server are no noise.
    pub fn begin(server: Option<u32>) -> Quiet {
        Quiet {
            ticks: fs::read_to_string("/proc/stat").ok().as_deref().and_then(Ticks::parse),
            ours: cpu_of_ours(server),
            server,
        }
    }

    /// What went on since.
    pub fn noise(&self) -> Noise {
        let now = Quiet::begin(self.server);
        let (Some(before), Some(after)) = (self.ticks, now.ticks) else {
            return Noise::default();
        };
        noise_between(before, after, now.ours.saturating_sub(self.ours))
    }
}

fn cpu_of_ours(server: Option<u32>) -> Duration {
    let own = process::cpu_time(std::process::id()).unwrap_or_default();
    own + server.and_then(process::cpu_time).unwrap_or_default()
}

fn noise_between(before: Ticks, after: Ticks, ours: Duration) -> Noise {
    let busy = after.busy.saturating_sub(before.busy) as f64;
    let steal = after.steal.saturating_sub(before.steal) as f64;
    let all = busy + steal + after.idle.saturating_sub(before.idle) as f64;
    if all == 0.0 {
        return Noise::default();
    }
    let ours = ours.as_secs_f64() * rustix::param::clock_ticks_per_second() as f64;
    Noise {
        others: (busy - ours).max(0.0) / all,
        steal: steal / all,
    }
}

/// How long a stretch must have been quiet.
const QUIET_FOR: Duration = Duration::from_millis(1500);

/// Waits until nothing else keeps the machine busy; false when it still does after this time. No time asks for nothing.
pub fn wait_until_quiet(longest: Duration) -> bool {
    if longest.is_zero() {
        return true;
    }
    let deadline = Instant::now() + longest;
    loop {
        let quiet = Quiet::begin(None);
        std::thread::sleep(QUIET_FOR.min(longest));
        if quiet.noise().complaint().is_none() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
    }
}

impl Noise {
    /// Why the measurement is doubtful; `None` when it is not.
    pub fn complaint(&self) -> Option<String> {
        let mut complaints = Vec::new();
        if self.others > OTHERS_MAX {
            let (found, allowed) = (self.others * 100.0, OTHERS_MAX * 100.0);
            complaints.push(format!(
                "other processes used {found:.1} % of the machine (at most {allowed:.0} %)"
            ));
        }
        if self.steal > STEAL_MAX {
            let (found, allowed) = (self.steal * 100.0, STEAL_MAX * 100.0);
            complaints.push(format!("the hypervisor took {found:.1} % (at most {allowed:.0} %)"));
        }
        (!complaints.is_empty()).then(|| complaints.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 10 50 800 20 5 5 10 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";

    #[test]
    fn the_line_of_all_cores_is_read() {
        let expected = Ticks {
            busy: 170,
            idle: 820,
            steal: 10,
        };
        assert_eq!(Ticks::parse(STAT), Some(expected));
        assert_eq!(Ticks::parse("cpu  1 2 3"), None);
        assert_eq!(Ticks::parse("intr 5"), None);
    }

    #[test]
    fn noise_is_what_neither_we_nor_the_server_used() {
        let before = Ticks {
            busy: 0,
            idle: 0,
            steal: 0,
        };
        let after = Ticks {
            busy: 150,
            idle: 40,
            steal: 10,
        };
        let ticks = rustix::param::clock_ticks_per_second();
        let ours = Duration::from_nanos(100 * 1_000_000_000 / ticks);
        let noise = noise_between(before, after, ours);
        assert!(
            (noise.others - 0.25).abs() < 1e-9 && (noise.steal - 0.05).abs() < 1e-9,
            "{noise:?}"
        );
        let text = noise.complaint().expect("both are too much");
        assert!(
            text.contains("25.0 %") && text.contains("hypervisor took 5.0 %"),
            "{text}"
        );
        assert_eq!(noise_between(before, before, ours), Noise::default());
        assert_eq!(Noise::default().complaint(), None);
    }

    #[test]
    fn the_sectors_of_a_device_are_the_seventh_number() {
        assert_eq!(
            sectors_written("  444850 21586 24810802 892275 1087671 260973 237887208 691765"),
            Some(237_887_208)
        );
        assert_eq!(sectors_written("1 2 3"), None);
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_bytes > 0, "{machine:?}");
        assert_eq!(after("MemFree:  1 kB\nMemTotal: 2 kB", "MemTotal"), Some("2 kB"));
    }
}
