//! An environment and files that are only names and texts.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use seaway_config::{Action, Options, Personality, Surroundings, parse_within};

#[derive(Default)]
pub struct Fake {
    pub variables: BTreeMap<&'static str, &'static str>,
    pub files: BTreeMap<&'static str, String>,
}

impl Fake {
    pub fn with_variables(variables: &[(&'static str, &'static str)]) -> Fake {
        Fake {
            variables: variables.iter().copied().collect(),
            ..Fake::default()
        }
    }

    pub fn with_files(files: &[(&'static str, &str)]) -> Fake {
        Fake {
            files: files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect(),
            ..Fake::default()
        }
    }

    pub fn parse(&self, personality: Personality, line: &str) -> Action {
        parse_within(personality, line.split_whitespace(), self)
    }

    /// The options of `nats-streaming-server` with this command line.
    #[track_caller]
    pub fn options(&self, line: &str) -> Options {
        match self.parse(Personality::NatsStreamingServer, line) {
            Action::Run(options) => *options,
            action => panic!("{line}: {action:?}"),
        }
    }

    /// The complaint of `nats-streaming-server` about this command line.
    #[track_caller]
    pub fn complaint(&self, line: &str) -> String {
        match self.parse(Personality::NatsStreamingServer, line) {
            Action::Refuse { problems, .. } => problems.join("\n") + "\n",
            Action::Exit {
                stderr,
                code: 1,
                stdout,
            } if stdout.is_empty() => stderr,
            action => panic!("{line}: {action:?}"),
        }
    }
}

impl Surroundings for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn variable_names(&self) -> Vec<String> {
        self.variables.keys().map(|name| (*name).to_owned()).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = path.to_str().and_then(|path| self.files.get(path));
        let text = content.cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(text.into_bytes())
    }
}

/// The options that the text of a file gives `nats-streaming-server`.
#[track_caller]
pub fn options_of(text: &str) -> Options {
    Fake::with_files(&[("f", text)]).options("-c f")
}

/// The complaint about the text of a file.
#[track_caller]
pub fn complaint_about(text: &str) -> String {
    Fake::with_files(&[("f", text)]).complaint("-c f")
}
