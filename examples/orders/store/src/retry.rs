//! How often a transaction is tried, and how long to wait in between.

use std::time::Duration;

use crate::Error;

/// Tries of one transaction, the first included. With the pauses below they take about four seconds.
const TRIES_MAX: u32 = 14;

/// Pauses double from the first to the longest; each is cut by up to one half, so that those who met do not meet again.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Runs a transaction until it succeeds, fails for good, or was tried often enough.
pub(crate) async fn retry<T, Attempt>(mut attempt: impl FnMut() -> Attempt) -> Result<T, Error>
where
    Attempt: Future<Output = Result<T, Error>>,
{
    let mut pause = PAUSE_MIN;
    for _ in 1..TRIES_MAX {
        match attempt().await {
            Err(error) if error.is_transient() => tracing::debug!("transaction is run again: {error}"),
            outcome => return outcome,
        }
        tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn conflict() -> Error {
        Error::Conflict("restart transaction".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_tried_again_and_others_are_not() {
        let tries = Cell::new(0);
        let outcome = retry(async || {
            tries.set(tries.get() + 1);
            if tries.get() < 5 {
                Err(conflict())
            } else {
                Ok(tries.get())
            }
        });
        assert_eq!(outcome.await, Ok(5));
        tries.set(0);
        let outcome = retry(async || {
            tries.set(tries.get() + 1);
            Err::<(), _>(Error::Failed("no such table".to_owned()))
        });
        assert!(outcome.await.is_err());
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_bounded() {
        let (tries, start) = (Cell::new(0), tokio::time::Instant::now());
        let outcome = retry(async || {
            tries.set(tries.get() + 1);
            Err::<(), _>(conflict())
        });
        assert_eq!(outcome.await, Err(conflict()));
        assert_eq!(tries.get(), TRIES_MAX);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
