//! How far something is that takes its time, drawn on a terminal.

use std::io::IsTerminal as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seaway_adoption::Progress;

use crate::failure::{Failure, Outcome};
use crate::readable::count;

/// Time between two looks at how far it is.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

/// Works on a thread of its own, while this one draws how far it is.
pub(crate) fn while_drawn<T: Send>(progress: &Progress, work: impl FnOnce() -> T + Send) -> Outcome<T> {
    drawing(|bar| draw(bar, progress), work)
}

/// The same of something that is measured in bytes: all, and those that are done.
pub(crate) fn while_drawn_of<T: Send>(bytes: impl Fn() -> (u64, u64), work: impl FnOnce() -> T + Send) -> Outcome<T> {
    let draw = |bar: &ProgressBar| {
        let (total, done) = bytes();
        bar.set_length(total);
        bar.set_position(done);
    };
    drawing(draw, work)
}

fn drawing<T: Send>(draw: impl Fn(&ProgressBar), work: impl FnOnce() -> T + Send) -> Outcome<T> {
    let bar = bar();
    let worked = std::thread::scope(|scope| {
        let (done, ended) = channel::<()>();
        let working = scope.spawn(|| {
            let _done = done;
            work()
        });
        while ended.recv_timeout(DRAWN_EVERY) == Err(RecvTimeoutError::Timeout) {
            draw(&bar);
        }
        working.join()
    });
    bar.finish_and_clear();
    worked.map_err(|_| Failure::failed("it ended without a word: this is a fault of Seaway's"))
}

/// Of bytes; drawn on a terminal only.
pub(crate) fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// Of messages, whose number is not known; drawn on a terminal only.
pub(crate) fn counting_bar() -> ProgressBar {
    let bar = bar();
    bar.unset_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} messages {per_sec}") {
        bar.set_style(style);
    }
    bar
}

fn draw(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.bytes_total());
    bar.set_position(progress.bytes_done());
    bar.set_message(format!("{} messages", count(progress.messages())));
}
