//! What a run shows while it goes on: one line that is written over, on a terminal only.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The line is renewed this often.
const INTERVAL: Duration = Duration::from_millis(250);

/// The progress line.
#[derive(Default)]
pub(crate) struct Progress {
    /// `None` without a terminal.
    line: Option<Mutex<Line>>,
}

struct Line {
    title: String,
    shown: Option<Instant>,
}

impl Progress {
    /// A line on the standard error when that is a terminal.
    pub(crate) fn on_terminal() -> Progress {
        let line = Line {
            title: String::new(),
            shown: None,
        };
        Progress {
            line: std::io::stderr().is_terminal().then(|| Mutex::new(line)),
        }
    }

    /// Says what is run from here on.
    pub(crate) fn begin(&self, title: &str) {
        if let Some(mut line) = self.locked() {
            line.title = title.to_owned();
            line.shown = None;
        }
    }

    /// Shows a stage, how long it has lasted, and what was counted.
    pub(crate) fn show(&self, stage: &str, elapsed: Duration, count: u64, rate: f64) {
        let Some(mut line) = self.locked() else { return };
        if line.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        line.shown = Some(Instant::now());
        // A line that wraps could not be written over.
        let width = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col));
        let text: String = text(&line.title, stage, elapsed, count, rate)
            .chars()
            .take(width.max(2) - 1)
            .collect();
        let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.locked().is_some_and(|line| line.shown.is_some()) {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }

    fn locked(&self) -> Option<std::sync::MutexGuard<'_, Line>> {
        let line = self.line.as_ref()?;
        Some(line.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn text(title: &str, stage: &str, elapsed: Duration, count: u64, rate: f64) -> String {
    format!(
        "{stage} {:.1} s, {count} counted, {rate:.0} per second: {title}",
        elapsed.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_where_the_run_is() {
        let line = text("S1 size=128", "warm-up", Duration::from_millis(1_250), 42, 1_234.5);
        assert_eq!(line, "warm-up 1.2 s, 42 counted, 1234 per second: S1 size=128");
    }

    #[test]
    fn nothing_is_shown_without_a_terminal() {
        let progress = Progress::default();
        progress.begin("S1");
        progress.show("warm-up", Duration::ZERO, 0, 0.0);
        progress.clear();
        assert!(progress.locked().is_none());
    }
}
