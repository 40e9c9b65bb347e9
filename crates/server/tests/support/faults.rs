//! System calls of a running server that fail for a while.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::Server;

/// A tracer that makes a system call of the server fail until it is dropped. The server stays the test's own child: it
/// ends with the test however that ends.
pub struct Failing {
    tracer: Child,
    _lines: BufReader<ChildStderr>,
}

impl Failing {
    /// `fault` is a call and its fate, such as `openat:error=ENOSPC`. `None` where nothing can be traced.
    pub fn begin(server: &Server, fault: &str) -> Option<Failing> {
        Failing::begin_in(server, fault, &[])
    }

    /// The same for calls on some files only, when there are any.
    pub fn begin_in(server: &Server, fault: &str, files: &[PathBuf]) -> Option<Failing> {
        let call = fault.split(':').next().unwrap();
        let tracer = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(files.iter().flat_map(|file| [OsStr::new("-P"), file.as_os_str()]))
            .args(["-e", &format!("inject={fault}"), "-p", &server.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut tracer) = tracer else {
            eprintln!("SKIPPED: there is no strace to make {fault} happen with");
            return None;
        };
        let mut lines = BufReader::new(tracer.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        while line.starts_with("strace: Requested path") {
            line.clear();
            lines.read_line(&mut line).unwrap();
        }
        if !line.contains("attached") {
            eprintln!("SKIPPED: strace may not attach: {line}");
            let _ = tracer.wait();
            return None;
        }
        Some(Failing { tracer, _lines: lines })
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.tracer), Signal::INT);
        let _ = self.tracer.wait();
    }
}
