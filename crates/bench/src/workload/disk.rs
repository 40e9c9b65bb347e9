//! `disk`: what the disk itself does: a write and `fdatasync`, one after the other, into a file that was written with zeros
//! before. Latencies of a server are related to it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Needs, Workload};
use crate::context::Context;
use crate::histogram::Latencies;
use crate::outcome::Outcome;
use crate::point::Point;
use crate::schedule::{Schedule, sleep_precisely, sleep_until};
use crate::watch::{Counter, Run, measure};

/// The raw disk.
pub(super) const DISK: Workload = Workload {
    name: "disk",
    about: "write and fdatasync of --size bytes into a file written before, in --directory; --rate for an open loop",
    needs: Needs::Disk,
    parameters: &["size", "rate"],
    defaults: Point::default,
    channels: |_| 0,
    run,
};

/// Bytes of the file; writes begin at its start again when they have reached its end.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

fn run(context: &mut Context, point: &Point) -> Result<Outcome> {
    ensure!(
        point.size > 0 && point.size as u64 <= FILE_BYTES,
        "--size must be between 1 and {FILE_BYTES}"
    );
    let file = tempfile::tempfile_in(&context.directory)
        .with_context(|| format!("make a file in {}", context.directory.display()))?;
    prepare(&file).context("write the file with zeros")?;
    let run = Run::new(context.length, point.rate);
    let written = Counter::default();
    let mut latencies = Latencies::default();
    let measured = std::thread::scope(|scope| {
        let (run, written) = (&run, &written);
        let quota = context.length.quota(1, 0);
        let thread = scope.spawn(move || run.guard(|| write(run, &file, point, quota, written)));
        let measured = measure(context, run, 1, &|| written.get());
        latencies = thread.join().ok().flatten().unwrap_or_default();
        measured
    });
    let measured = run.outcome(measured)?;
    let mut outcome = Outcome::of(&measured, "synced");
    outcome.add_latencies("sync", &latencies);
    outcome.verified = format!("{} writes, each synced", written.get());
    Ok(outcome)
}

fn prepare(file: &File) -> std::io::Result<()> {
    let zeros = vec![0; 1 << 20];
    for position in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, position)?;
    }
    file.sync_all()
}

fn write(run: &Run, file: &File, point: &Point, quota: Option<u64>, written: &Counter) -> Result<Latencies> {
    sleep_precisely();
    let block = vec![b'x'; point.size];
    let places = FILE_BYTES / point.size as u64;
    let schedule = (point.rate > 0).then(|| Schedule::new(run.epoch, point.rate, 0, 1));
    let mut latencies = Latencies::default();
    let mut number = 0;
    while quota.is_none_or(|quota| number < quota) && !run.is_stopping() {
        let origin_ns = match &schedule {
            Some(schedule) => {
                sleep_until(schedule.due(number));
                schedule.due_ns(number)
            }
            None => run.now_ns(),
        };
        file.write_all_at(&block, number % places * point.size as u64)
            .context("write")?;
        file.sync_data().context("sync")?;
        if run.records(origin_ns) {
            latencies.record(Duration::from_nanos(run.now_ns().saturating_sub(origin_ns)));
        }
        number += 1;
        written.set(number);
    }
    Ok(latencies)
}
