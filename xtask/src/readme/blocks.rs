//! The fenced blocks of a Markdown file, and what their lines mean.

use std::net::{Ipv4Addr, TcpStream};

/// What stands behind a command that goes on until it is interrupted.
const UNTIL_INTERRUPTED: &str = "# until Ctrl-C";

/// Beginnings of commands that start a server.
const SERVERS: [&str; 3] = ["cargo run --release", "seaway -c", "nats-streaming-server"];

/// The port on which a server of the README listens.
const SERVER_PORT: u16 = 4222;

/// A block that is run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Commands, and what the README shows of their output.
    Shell { lines: Vec<Line>, shown: Vec<String> },
    /// A piece of a program.
    Program {
        language: String,
        /// Line of the file, from 1.
        line: usize,
        text: String,
    },
}

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) command: String,
    /// Line of the file, from 1.
    pub(super) number: usize,
    pub(super) until_interrupted: bool,
}

impl Line {
    fn new(text: &str, number: usize) -> Self {
        let (command, until_interrupted) = match text.split_once(UNTIL_INTERRUPTED) {
            Some((command, _)) => (command, true),
            None => (text.split_once(" # ").map_or(text, |(command, _)| command), false),
        };
        Self {
            command: command.trim().to_owned(),
            number,
            until_interrupted,
        }
    }

    pub(super) fn starts_server(&self) -> bool {
        SERVERS.iter().any(|beginning| self.command.starts_with(beginning))
    }

    pub(super) fn exports_path(&self) -> bool {
        self.command.starts_with("export PATH=")
    }

    /// Whether a command that goes on does by now what it is for, after it has said `output`.
    pub(super) fn is_up(&self, output: &str) -> bool {
        if self.starts_server() {
            output.contains("Streaming Server is ready")
                && TcpStream::connect((Ipv4Addr::LOCALHOST, SERVER_PORT)).is_ok()
        } else {
            !output.is_empty()
        }
    }
}

/// The blocks of a file that are run, in order.
pub(super) fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let body: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        match kind {
            "sh" => blocks.push(Block::Shell {
                lines: commands(&body),
                shown: Vec::new(),
            }),
            "text" => {
                if let Some(Block::Shell { shown, .. }) = blocks.last_mut() {
                    shown.extend(body.iter().map(|(_, line)| (*line).to_owned()));
                }
            }
            "go" | "rust" => blocks.push(Block::Program {
                language: kind.to_owned(),
                line: index + 1,
                text: body.iter().map(|(_, line)| format!("{line}\n")).collect(),
            }),
            _ => {}
        }
    }
    blocks
}

/// The commands of a block; a backslash at the end of a line joins it with the next, a line that begins with `#` is for the reader.
fn commands(body: &[(usize, &str)]) -> Vec<Line> {
    let mut found = Vec::new();
    let mut joined = String::new();
    for (index, line) in body {
        match line.strip_suffix('\\') {
            Some(beginning) => joined.push_str(beginning),
            None => {
                joined.push_str(line);
                if !joined.trim().is_empty() && !joined.starts_with('#') {
                    found.push(Line::new(&joined, index + 1));
                }
                joined.clear();
            }
        }
    }
    found
}

/// The program that `cargo run -p PACKAGE [--bin NAME] [-- ARGUMENTS]` starts, with its arguments.
pub(super) fn without_cargo(command: &str) -> Option<String> {
    let rest = command.strip_prefix("cargo run -p ")?;
    let (options, arguments) = rest.split_once(" -- ").unwrap_or((rest, ""));
    let name = match options.split_once(" --bin ") {
        Some((_, name)) => name,
        None => options,
    };
    Some(format!("{} {arguments}", name.trim()).trim().to_owned())
}

/// The first line of what the README shows that the output does not contain behind the ones before it; `...` stands for anything.
pub(super) fn first_missing<'a>(shown: &'a [String], output: &str) -> Option<&'a str> {
    let mut rest = output;
    for line in shown.iter().map(String::as_str) {
        for part in line.split("...").map(str::trim).filter(|part| !part.is_empty()) {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return Some(line),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_their_lines() {
        let text = "# X\n```sh\ncargo run --release   # until Ctrl-C\ncurl a \\\n  b # the rest\n# for the reader\n```\nsays\n```text\none\n```\n```json\n{}\n```\n```go\nx()\n```\n";
        let line = |command: &str, number, until_interrupted| Line {
            command: command.to_owned(),
            number,
            until_interrupted,
        };
        assert_eq!(
            parse(text),
            [
                Block::Shell {
                    lines: vec![line("cargo run --release", 3, true), line("curl a   b", 5, false)],
                    shown: vec!["one".to_owned()],
                },
                Block::Program {
                    language: "go".to_owned(),
                    line: 15,
                    text: "x()\n".to_owned(),
                },
            ]
        );
    }

    #[test]
    fn programs_are_run_without_cargo() {
        let bin = without_cargo("cargo run -p seaway-orders --bin orders -- --exit");
        assert_eq!(bin.as_deref(), Some("orders --exit"));
        assert_eq!(without_cargo("cargo run -p x").as_deref(), Some("x"));
        assert_eq!(without_cargo("cargo run --release"), None);
    }

    #[test]
    fn shown_output_is_found_in_order() {
        let shown = ["a 1 ... z".to_owned(), "b".to_owned()];
        assert_eq!(first_missing(&shown, "x a 1 2 z\nb"), None);
        assert_eq!(first_missing(&shown, "b a 1 z"), Some("b"));
        assert_eq!(first_missing(&shown, "a 2"), Some("a 1 ... z"));
    }
}
