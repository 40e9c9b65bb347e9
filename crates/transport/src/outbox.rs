//! What waits to be written to one connection: bounded, taken whole by the task that writes.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::framing::{self, FrameKind};
use crate::limits::{FRAME_HEAD_BYTES, SLICES_MAX};

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// A frame that waits: its head, and its parts as they were handed over.
#[derive(Debug)]
struct Waiting {
    head: [u8; FRAME_HEAD_BYTES],
    parts: Vec<Bytes>,
    /// Without the head.
    bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Of what waits and of what is being written.
    frames: usize,
    bytes: usize,
    is_closed: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    bound: Bound,
    state: Mutex<State>,
    /// Something waits.
    filled: Notify,
    /// There is room again.
    drained: Notify,
}

impl Outbox {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            bound,
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Puts a frame behind what waits, and wakes nobody; `false` when there is no room. A frame that is larger than all room waits alone.
    pub(crate) fn put(&self, kind: FrameKind, parts: Vec<Bytes>) -> bool {
        let bytes = parts.iter().map(Bytes::len).sum();
        let mut state = self.state();
        let has_room = state.frames < self.bound.frames
            && (state.bytes == 0 || state.bytes.saturating_add(bytes) <= self.bound.bytes);
        if state.is_closed || !has_room {
            return false;
        }
        state.frames += 1;
        state.bytes += bytes;
        let head = framing::head(kind, bytes);
        state.waiting.push_back(Waiting { head, parts, bytes });
        true
    }

    /// Lets the writing task see what was put.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Puts a frame and waits for room as long as that takes; `false` when the connection is closed.
    pub(crate) async fn put_in_time(&self, kind: FrameKind, parts: Vec<Bytes>) -> bool {
        loop {
            let mut drained = std::pin::pin!(self.drained.notified());
            drained.as_mut().enable();
            if self.put(kind, parts.clone()) {
                self.wake();
                return true;
            }
            if self.state().is_closed {
                return false;
            }
            drained.await;
        }
    }

    /// Frames and bytes that wait or are being written.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let state = self.state();
        (state.frames, state.bytes)
    }

    /// Drops what waits and takes nothing more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.drained.notify_waiters();
    }

    /// Writes what is put, one batch after the other, until it fails or takes longer than `stall` for a step. Tells `written` of bytes.
    pub(crate) async fn write_to(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        stall: Duration,
        written: impl Fn(usize),
    ) -> String {
        let mut batch = Batch::default();
        loop {
            while batch.frames.is_empty() {
                std::mem::swap(&mut batch.frames, &mut self.state().waiting);
                if batch.frames.is_empty() {
                    self.filled.notified().await;
                }
            }
            while !batch.frames.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = batch.gather(&mut slices);
                match tokio::time::timeout(stall, stream.write_vectored(&slices[..count])).await {
                    Err(_) => return format!("it took nothing for {} ms", stall.as_millis()),
                    Ok(Err(error)) => return error.to_string(),
                    Ok(Ok(0)) => return "it takes nothing more".to_owned(),
                    Ok(Ok(count)) => {
                        written(count);
                        self.release(batch.advance(count));
                    }
                }
            }
            match tokio::time::timeout(stall, stream.flush()).await {
                Err(_) => return format!("it took nothing for {} ms", stall.as_millis()),
                Ok(Err(error)) => return error.to_string(),
                Ok(Ok(())) => {}
            }
        }
    }

    fn release(&self, (frames, bytes): (usize, usize)) {
        if frames == 0 {
            return;
        }
        let mut state = self.state();
        state.frames -= frames;
        state.bytes -= bytes;
        drop(state);
        self.drained.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is being written.
#[derive(Debug, Default)]
struct Batch {
    frames: VecDeque<Waiting>,
    /// Bytes of the first frame that are written, its head included.
    done: usize,
}

impl Batch {
    /// Fills slices with what comes next; how many.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let (mut count, mut skip) = (0, self.done);
        for frame in &self.frames {
            let parts = std::iter::once(&frame.head[..]).chain(frame.parts.iter().map(|part| &part[..]));
            for part in parts {
                if skip >= part.len() {
                    skip -= part.len();
                    continue;
                }
                if count == SLICES_MAX {
                    return count;
                }
                slices[count] = IoSlice::new(&part[skip..]);
                (count, skip) = (count + 1, 0);
            }
        }
        count
    }

    /// So many bytes are written; the frames and bytes that are done with that.
    fn advance(&mut self, count: usize) -> (usize, usize) {
        self.done += count;
        let mut finished = (0, 0);
        while let Some(first) = self.frames.front() {
            let whole = FRAME_HEAD_BYTES + first.bytes;
            if self.done < whole {
                break;
            }
            self.done -= whole;
            finished = (finished.0 + 1, finished.1 + first.bytes);
            self.frames.pop_front();
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const BOUND: Bound = Bound { frames: 3, bytes: 100 };

    fn bytes(count: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![7; count])]
    }

    #[test]
    fn what_has_no_room_is_refused_at_once() {
        let outbox = Outbox::new(BOUND);
        assert!(outbox.put(FrameKind::Member, bytes(60)));
        assert!(!outbox.put(FrameKind::Member, bytes(41)));
        assert!(outbox.put(FrameKind::Member, bytes(40)));
        assert_eq!(outbox.queued(), (2, 100));
        assert!(outbox.put(FrameKind::Member, bytes(0)));
        assert!(!outbox.put(FrameKind::Member, bytes(0)));
        outbox.close();
        assert!(!outbox.put(FrameKind::Member, bytes(1)));
    }

    #[test]
    fn what_is_larger_than_all_room_waits_alone() {
        let outbox = Outbox::new(BOUND);
        assert!(outbox.put(FrameKind::Member, bytes(1_000)));
        assert!(!outbox.put(FrameKind::Member, bytes(1)));
    }

    #[tokio::test]
    async fn everything_is_written_in_order_whatever_a_write_takes() {
        for room in [1, 3, 9, 64, 10_000] {
            let outbox = Outbox::new(Bound {
                frames: 200,
                bytes: 1 << 20,
            });
            let mut expected = Vec::new();
            for number in 0..100_u8 {
                let parts: Vec<_> = (0..number % 5)
                    .map(|part| Bytes::from(vec![number; usize::from(part) * 3]))
                    .collect();
                let body = parts.concat();
                expected.extend(framing::head(FrameKind::Member, body.len()));
                expected.extend(body);
                assert!(outbox.put(FrameKind::Member, parts));
            }
            outbox.wake();
            let (mut near, mut far) = tokio::io::duplex(room);
            let mut got = vec![0; expected.len()];
            tokio::select! {
                why = outbox.write_to(&mut near, Duration::from_secs(60), |_| ()) => panic!("{why}"),
                read = far.read_exact(&mut got) => drop(read.unwrap()),
            }
            assert_eq!(got, expected, "{room}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_takes_nothing_ends_the_writing() {
        let outbox = Outbox::new(BOUND);
        assert!(outbox.put(FrameKind::Member, bytes(1_000)));
        let (mut near, _far) = tokio::io::duplex(10);
        let why = outbox.write_to(&mut near, Duration::from_millis(1), |_| ()).await;
        assert!(why.contains("took nothing"), "{why}");
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_or_hears_of_the_end() {
        let outbox = Outbox::new(BOUND);
        assert!(outbox.put(FrameKind::Member, bytes(100)));
        let (mut near, mut far) = tokio::io::duplex(1_000);
        let mut sink = vec![0; 300];
        tokio::select! {
            _ = outbox.write_to(&mut near, Duration::from_secs(60), |_| ()) => unreachable!(),
            put = async { outbox.put_in_time(FrameKind::Member, bytes(100)).await } => assert!(put),
        }
        drop(far.read(&mut sink).await);
        let waits = outbox.put_in_time(FrameKind::Member, bytes(100));
        let (put, ()) = tokio::join!(waits, async { outbox.close() });
        assert!(!put);
    }
}
