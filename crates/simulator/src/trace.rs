//! What a run did, a line a step; the same seed gives the same bytes.

use std::fmt::Write as _;

/// Lines of a run: the last ones, and a checksum over all.
#[derive(Debug)]
pub struct Trace {
    kept: usize,
    recent: std::collections::VecDeque<String>,
    checksum: u64,
    lines: u64,
    line: String,
}

impl Trace {
    /// A trace that keeps the last `kept` lines for a failure report.
    pub fn new(kept: usize) -> Trace {
        Trace {
            kept: kept.max(1),
            recent: Default::default(),
            checksum: 0,
            lines: 0,
            line: String::new(),
        }
    }

    /// Adds a line.
    pub fn add(&mut self, line: std::fmt::Arguments<'_>) {
        self.line.clear();
        self.line.write_fmt(line).expect("writing to a string does not fail");
        for byte in self.line.bytes().chain([b'\n']) {
            // FNV-1a: enough to tell two traces apart.
            self.checksum = (self.checksum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.recent.len() == self.kept {
            self.recent.pop_front();
        }
        self.recent.push_back(self.line.clone());
    }

    /// Number of lines, and a checksum over them.
    pub fn fingerprint(&self) -> (u64, u64) {
        (self.lines, self.checksum)
    }

    /// The last lines.
    pub fn recent(&self) -> impl Iterator<Item = &str> {
        self.recent.iter().map(String::as_str)
    }
}
