//! What the threads of one run share, and the watch that measures them: it discards the warm-up, takes the rate as it goes, and
//! reads what the server used between the two ends of the measured stretch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;

use crate::context::Context;
use crate::limits::PATIENCE;
use crate::machine::{self, Noise, Quiet};
use crate::point::Length;
use crate::process::{self, Usage};
use crate::schedule::Schedule;

/// How often the counters are looked at.
const GLANCE: Duration = Duration::from_millis(1);

/// The distance of the samples in a series.
const SAMPLE: Duration = Duration::from_millis(100);

/// The distance of looks at the server's process.
const LOOK: Duration = Duration::from_secs(1);

/// How long an injected stop of the server lasts.
pub(crate) const INJECTED_STOP: Duration = Duration::from_secs(1);

/// A counter of one thread, on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Sets it; only its own thread does.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A counter for each of so many threads.
pub(crate) fn counters(count: u64) -> Vec<Counter> {
    (0..count).map(|_| Counter::default()).collect()
}

/// All counters together.
pub(crate) fn sum(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::get).sum()
}

/// The flags of one run.
pub(crate) struct Run {
    /// All times in messages count from here.
    pub(crate) epoch: Instant,
    stopping: AtomicBool,
    aborted: AtomicBool,
    /// Latencies of sends from here to there are recorded; nanoseconds since the epoch.
    record_from: AtomicU64,
    record_until: AtomicU64,
    /// Whether sends are scheduled: then the schedule says what is recorded, not the watch.
    is_open: bool,
    /// Whether scheduled sends go on until the run stops, instead of to the end of a count.
    pub(crate) is_endless: bool,
    /// What was sent in all, once it is known; `u64::MAX` before.
    sent: AtomicU64,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Run {
    /// A run that begins now. With a rate, latencies are recorded from the first send that is due after the warm-up.
    pub(crate) fn new(length: Length, rate: u64) -> Run {
        let from = match length {
            _ if rate == 0 => u64::MAX,
            Length::Time { warm_up, .. } => u64::try_from(warm_up.as_nanos()).unwrap_or(u64::MAX),
            Length::Count { warm_up, .. } => Schedule::new(Instant::now(), rate, 0, 1).due_ns(warm_up),
        };
        Run {
            epoch: Instant::now(),
            stopping: AtomicBool::new(false),
            record_from: AtomicU64::new(from),
            record_until: AtomicU64::new(u64::MAX),
            is_open: rate > 0,
            is_endless: false,
            aborted: AtomicBool::new(false),
            sent: AtomicU64::new(u64::MAX),
            failure: Mutex::new(None),
        }
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether publishers should come to their end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the latency of what was sent, or due, at this moment is recorded; nanoseconds since the epoch.
    pub(crate) fn records(&self, origin_ns: u64) -> bool {
        (self.record_from.load(Ordering::Relaxed)..self.record_until.load(Ordering::Relaxed)).contains(&origin_ns)
    }

    fn begin_recording(&self) {
        if !self.is_open {
            self.record_from.store(self.now_ns(), Ordering::Relaxed);
        }
    }

    fn end_recording(&self) {
        if !self.is_open {
            self.record_until.store(self.now_ns(), Ordering::Relaxed);
        }
    }

    /// Whether a thread has failed and the others should give up.
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Gives the run up; the first reason is kept.
    pub(crate) fn fail(&self, error: anyhow::Error) {
        let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.get_or_insert(error);
        self.aborted.store(true, Ordering::Relaxed);
        self.stop();
    }

    /// Tells receivers how many messages there were.
    pub(crate) fn set_sent(&self, sent: u64) {
        self.sent.store(sent, Ordering::Release);
    }

    /// How many messages were sent in all, once the publishers have ended.
    pub(crate) fn sent(&self) -> Option<u64> {
        Some(self.sent.load(Ordering::Acquire)).filter(|sent| *sent != u64::MAX)
    }

    /// What the run found, unless it was given up: then the first reason for that.
    pub(crate) fn outcome<T>(&self, found: Option<T>) -> Result<T> {
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        match failure {
            Some(failure) => Err(failure),
            None => found.context("a part of the run found nothing"),
        }
    }

    /// Runs a thread's work; an error, or a panic, gives the whole run up.
    pub(crate) fn guard<T>(&self, work: impl FnOnce() -> Result<T>) -> Option<T> {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                self.fail(error);
                None
            }
            Err(_) => {
                self.fail(anyhow!("a thread of the load generator panicked"));
                None
            }
        }
    }
}

/// What the watch saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Length of the measured stretch.
    pub(crate) elapsed: Duration,
    /// What was counted in it.
    pub(crate) count: u64,
    /// Seconds since the start of the measured stretch, and the rate per second up to there.
    pub(crate) series: Vec<(f64, f64)>,
    /// The server before and after, when its process is known.
    pub(crate) server: Option<(Usage, Usage)>,
    /// The server over time.
    pub(crate) looks: Vec<Look>,
    /// Bytes that everybody wrote to the device of the server's data, when that is known.
    pub(crate) device_bytes: Option<u64>,
    /// CPU time of the load generator itself.
    pub(crate) own_cpu: Duration,
    pub(crate) noise: Noise,
}

/// The server at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Look {
    /// Since the start of the measured stretch.
    pub seconds: f64,
    /// CPU since the look before, in percent of a core.
    pub cpu_percent_of_a_core: f64,
    /// Memory.
    pub resident_bytes: u64,
    /// Written to block devices per second since the look before.
    pub written_bytes_per_second: f64,
}

impl Look {
    fn between(before: &Usage, after: &Usage, apart: Duration, seconds: f64) -> Look {
        let apart = apart.as_secs_f64();
        Look {
            seconds,
            cpu_percent_of_a_core: after.cpu.saturating_sub(before.cpu).as_secs_f64() / apart * 100.0,
            resident_bytes: after.resident_bytes,
            written_bytes_per_second: after.written_bytes.saturating_sub(before.written_bytes) as f64 / apart,
        }
    }
}

/// The start of a stretch.
struct Mark {
    at: Instant,
    count: u64,
    server: Option<Usage>,
    device_bytes: Option<u64>,
    own_cpu: Duration,
    quiet: Quiet,
}

impl Mark {
    fn set(context: &Context, count: u64) -> Result<Mark> {
        Ok(Mark {
            server: context.server_pid().map(Usage::of).transpose()?,
            device_bytes: context.data().as_deref().and_then(machine::device_bytes),
            own_cpu: own_cpu(),
            quiet: Quiet::begin(context.server_pid()),
            at: Instant::now(),
            count,
        })
    }
}

fn own_cpu() -> Duration {
    process::cpu_time(std::process::id()).unwrap_or_default()
}

/// Watches a run until its measured stretch is over, and ends it. `count` is what the rate is about; in a run by count it
/// reaches `copies` times the messages sent. What goes wrong gives the run up.
pub(crate) fn measure(context: &Context, run: &Run, copies: u64, count: &dyn Fn() -> u64) -> Option<Measured> {
    let measured = run.guard(|| watch(context, run, copies, count));
    run.stop();
    measured
}

fn watch(context: &Context, run: &Run, copies: u64, count: &dyn Fn() -> u64) -> Result<Measured> {
    let mut watch = Watch::new(context, run);
    let (warm_up, measured) = match context.length {
        Length::Time { warm_up, measured } => (Until::Time(warm_up), Until::Time(measured)),
        Length::Count { warm_up, measured } => (
            Until::Count(warm_up * copies),
            Until::Count((warm_up + measured) * copies),
        ),
    };
    let begin = Mark::set(context, 0)?;
    watch.wait("warm-up", &warm_up, &begin, count)?;
    let mut mark = Mark::set(context, count())?;
    run.begin_recording();
    watch.series.clear();
    watch.looks.clear();
    watch.stop_server_at = context.inject_stop.then(|| mark.at + watch.middle(&measured));
    watch.wait("measuring", &measured, &mark, count)?;
    if count() == mark.count {
        // Everything was over before the warm-up was: better all of it than nothing.
        mark = begin;
    }
    let end = Mark::set(context, count())?;
    run.end_recording();
    context.progress.clear();
    Ok(Measured {
        elapsed: end.at - mark.at,
        count: end.count - mark.count,
        series: watch.series,
        looks: watch.looks,
        device_bytes: end
            .device_bytes
            .zip(mark.device_bytes)
            .map(|(after, before)| after.saturating_sub(before)),
        server: mark.server.zip(end.server),
        own_cpu: end.own_cpu.saturating_sub(mark.own_cpu),
        noise: mark.quiet.noise(),
    })
}

enum Until {
    Time(Duration),
    Count(u64),
}

struct Watch<'a> {
    context: &'a Context,
    run: &'a Run,
    series: Vec<(f64, f64)>,
    looks: Vec<Look>,
    stop_server_at: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(context: &'a Context, run: &'a Run) -> Watch<'a> {
        Watch {
            context,
            run,
            series: Vec::new(),
            looks: Vec::new(),
            stop_server_at: None,
        }
    }

    fn middle(&self, until: &Until) -> Duration {
        match until {
            Until::Time(time) => *time / 2,
            Until::Count(_) => Duration::ZERO,
        }
    }

    fn wait(&mut self, what: &str, until: &Until, mark: &Mark, count: &dyn Fn() -> u64) -> Result<()> {
        let mut sampled = (mark.at, mark.count);
        let mut moved = (mark.at, mark.count);
        let mut looked = (mark.at, mark.server);
        loop {
            let (now, counted) = (Instant::now(), count());
            if self.run.is_aborted() {
                bail!("another thread gave up");
            }
            let over = match until {
                Until::Time(time) => now - mark.at >= *time,
                Until::Count(end) => counted >= *end,
            };
            let since = now - sampled.0;
            if since >= SAMPLE || (over && !since.is_zero()) {
                let rate = counted.saturating_sub(sampled.1) as f64 / since.as_secs_f64();
                self.series.push(((now - mark.at).as_secs_f64(), rate));
                self.context.progress.show(what, now - mark.at, counted, rate);
                sampled = (now, counted);
            }
            if now - looked.0 >= LOOK {
                let found = self.context.server_pid().map(Usage::of).transpose()?;
                let seconds = (now - mark.at).as_secs_f64();
                let pair = looked.1.zip(found);
                self.looks
                    .extend(pair.map(|(before, after)| Look::between(&before, &after, now - looked.0, seconds)));
                looked = (now, found);
            }
            if over {
                return Ok(());
            }
            if counted != moved.1 {
                moved = (now, counted);
            } else if now - moved.0 > PATIENCE {
                bail!("nothing arrived for {} seconds, after {counted}", PATIENCE.as_secs());
            }
            if self.stop_server_at.is_some_and(|at| now >= at) {
                self.stop_server_at = None;
                self.context.stop_server(INJECTED_STOP)?;
            }
            std::thread::sleep(GLANCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Length = Length::Time {
        warm_up: Duration::from_millis(2),
        measured: Duration::from_secs(1),
    };

    #[test]
    fn the_warm_up_is_not_recorded() {
        let closed = Run::new(LENGTH, 0);
        assert!(!closed.records(0) && !closed.records(closed.now_ns()));
        closed.begin_recording();
        let inside = closed.now_ns();
        closed.end_recording();
        assert!(!closed.records(0) && closed.records(inside));
        assert!(!closed.records(closed.now_ns()));
        let open = Run::new(LENGTH, 1_000);
        open.end_recording();
        assert!(!open.records(1_999_999) && open.records(2_000_000) && open.records(u64::MAX - 1));
        let counted = Run::new(
            Length::Count {
                warm_up: 5,
                measured: 5,
            },
            1_000,
        );
        assert!(!counted.records(4_999_999) && counted.records(5_000_000));
    }

    #[test]
    fn a_thread_that_fails_or_panics_ends_the_run() {
        let run = Run::new(LENGTH, 0);
        assert_eq!(run.guard(|| Ok(5)), Some(5));
        assert!(!run.is_aborted() && !run.is_stopping());
        assert_eq!(run.guard::<()>(|| bail!("first")), None);
        assert_eq!(run.guard::<()>(|| panic!("second")), None);
        assert!(run.is_aborted() && run.is_stopping());
        assert_eq!(run.outcome(Some(5)).expect_err("kept").to_string(), "first");
    }

    #[test]
    fn what_was_sent_is_unknown_until_it_is_said() {
        let run = Run::new(LENGTH, 0);
        assert_eq!(run.sent(), None);
        run.set_sent(0);
        assert_eq!(run.sent(), Some(0));
    }
}
