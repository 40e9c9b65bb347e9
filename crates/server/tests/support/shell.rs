//! Commands of the `seaway` binary, as somebody at a terminal gives them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Binary;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    #[track_caller]
    pub fn expect(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The lines of the standard output, which are JSON each.
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Somebody at a terminal, with a configuration directory of their own.
pub struct Shell {
    directory: tempfile::TempDir,
    /// Address of the server, for the variable; may be empty.
    pub server: String,
}

impl Shell {
    pub fn at(address: &str) -> Shell {
        Shell {
            directory: tempfile::tempdir().unwrap(),
            server: address.to_owned(),
        }
    }

    pub fn contexts(&self) -> PathBuf {
        self.directory.path().join("seaway")
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Binary::Seaway.path());
        command
            .args(arguments)
            .env_clear()
            .env("XDG_CONFIG_HOME", self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !self.server.is_empty() {
            command.env("SEAWAY_CLI_SERVER", &self.server);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        finish(self.command(arguments).spawn().unwrap())
    }

    pub fn run_with_input(&self, arguments: &[&str], input: Vec<u8>) -> Said {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let said = finish(child);
        let _ = writer.join();
        said
    }
}

/// Waits for the end of a command.
pub fn finish(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
