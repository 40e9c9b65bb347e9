//! How much memory this process may have, and what of it the queues of slow clients may take.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// However little there is: a machine that small serves few clients.
const OUTBOUND_LEAST: u64 = 64 << 20;

/// Of what there is.
const OUTBOUND_SHARE: u64 = 4;

/// Bytes that may wait for all clients together: a quarter of the least of what the machine, its control group and the limits of
/// the process allow, but not less than 64 MiB.
pub(crate) fn outbound_bytes_max() -> usize {
    share(allowed())
}

fn share(allowed: u64) -> usize {
    usize::try_from((allowed / OUTBOUND_SHARE).max(OUTBOUND_LEAST)).unwrap_or(usize::MAX)
}

fn allowed() -> u64 {
    let limits = [Resource::As, Resource::Data].map(|resource| getrlimit(resource).current);
    let limits = limits.into_iter().chain([machine(), control_group()]);
    limits.flatten().min().unwrap_or(u64::MAX)
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The least that the group of this process, or one above it, allows; of both kinds of groups.
fn control_group() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().filter_map(limit_of_line).min()
}

/// A line is `number:controllers:path`; without controllers it is of the unified kind.
fn limit_of_line(line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, file) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    // In a container the path is often that of the host, and the container's own group is the root.
    let path = path.trim_start_matches('/');
    let ends = path.match_indices('/').map(|(at, _)| at).chain([0, path.len()]);
    let limits = ends.filter_map(|end| {
        let text = fs::read_to_string(format!("{root}/{}/{file}", &path[..end])).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_get_a_quarter_and_never_nothing() {
        assert_eq!(share(8 << 30), 2 << 30);
        assert_eq!(share(100 << 20), 64 << 20);
        assert_eq!(share(0), 64 << 20);
    }

    #[test]
    fn lines_about_other_things_limit_nothing() {
        for line in [
            "",
            "0",
            "3:cpu:/a",
            "3:cpu,cpuacct:/",
            "x::/no/such/group/anywhere",
            "9:memory:/no/such",
        ] {
            let root = limit_of_line("0::/")
                .into_iter()
                .chain(limit_of_line("9:memory:/"))
                .min();
            assert!(limit_of_line(line).is_none_or(|limit| Some(limit) >= root), "{line}");
        }
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(machine().is_some_and(|bytes| bytes > 1 << 20));
        assert!(allowed() <= machine().unwrap_or(u64::MAX));
    }
}
