//! Lines of the standard input, read beside everything else.

use std::io::{self, BufRead, Read as _};

use tokio::sync::mpsc;

use crate::failure::{Failure, Outcome};

/// Lines that wait for whoever reads them.
const WAITING_MAX: usize = 256;

/// Lines without their line end, each at most `length_max` bytes long. What waits is bounded, so a fast writer is held up.
pub(crate) struct Lines(mpsc::Receiver<Outcome<Vec<u8>>>);

impl Lines {
    pub(crate) fn of_stdin(length_max: usize) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        // A thread of its own: nothing ends a read from a terminal, and the process must not wait for it.
        std::thread::spawn(move || {
            read(&mut io::stdin().lock(), length_max, |line| {
                sender.blocking_send(line).is_ok()
            })
        });
        Self(receiver)
    }

    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        self.0.recv().await.transpose()
    }
}

/// Hands over line after line until the input ends, fails, or nobody wants more.
fn read(input: &mut impl BufRead, length_max: usize, mut hand_over: impl FnMut(Outcome<Vec<u8>>) -> bool) {
    for number in 1_u64.. {
        let mut line = Vec::new();
        // One byte more for the line end, and one to see that it is too long.
        let limit = (length_max as u64).saturating_add(1);
        let item = match input.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                match line.len() > length_max {
                    true => Err(Failure::failed(format!(
                        "line {number} of the standard input is longer than {length_max} bytes, the most a message may have"
                    ))),
                    false => Ok(line),
                }
            }
            Err(error) => Err(Failure::failed(format!("cannot read the standard input: {error}"))),
        };
        let is_last = item.is_err();
        if !hand_over(item) || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], length_max: usize) -> Vec<Result<Vec<u8>, String>> {
        let mut found = Vec::new();
        read(&mut io::Cursor::new(input), length_max, |line| {
            found.push(line.map_err(|failure| format!("{failure:?}")));
            true
        });
        found
    }

    #[test]
    fn every_line_is_an_item() {
        assert_eq!(lines(b"", 9), []);
        assert_eq!(
            lines(b"a\n\nb", 9),
            [Ok(b"a".to_vec()), Ok(b"".to_vec()), Ok(b"b".to_vec())]
        );
        assert_eq!(lines(b"\xff\0\r\n", 9), [Ok(b"\xff\0\r".to_vec())]);
        assert_eq!(lines(b"1234\n12\n", 4), [Ok(b"1234".to_vec()), Ok(b"12".to_vec())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_ends_it() {
        let found = lines(b"1234\n12345\n1\n", 4);
        assert_eq!(found.len(), 2);
        assert!(found[1].as_ref().unwrap_err().contains("line 2"), "{found:?}");
    }
}
