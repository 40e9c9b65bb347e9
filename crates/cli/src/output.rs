//! What a command prints: tables and facts for people, JSON for programs.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use seaway_nats_protocol::harmless::escaped_json;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::payload::Colour;

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// For whom the output is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    People,
    Json,
}

/// The standard output, and notes on the standard error.
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    format: Format,
    colour: Colour,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let says_no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = match stdout.is_terminal() && !says_no && !is_dumb {
            true => Colour::On,
            false => Colour::Off,
        };
        Self {
            stdout: BufWriter::with_capacity(64 * 1024, stdout),
            format,
            colour,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn colour(&self) -> Colour {
        self.colour
    }

    /// One line.
    pub(crate) fn line(&mut self, text: &str) -> Outcome {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.stdout.write_all(bytes)?)
    }

    /// One JSON document on one line.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Outcome {
        let text = serde_json::to_string(document).map_err(|error| Failure::failed(error.to_string()))?;
        self.line(&escaped_json(&text))
    }

    /// What was done, as a sentence or as a document.
    pub(crate) fn done(&mut self, sentence: &str, document: &serde_json::Value) -> Outcome {
        match self.format {
            Format::People => self.line(sentence),
            Format::Json => self.json(document),
        }
    }

    /// Rows under a head, columns aligned.
    pub(crate) fn table(&mut self, columns: &[(&str, Align)], rows: &[Vec<String>]) -> Outcome {
        let text = table(columns, rows);
        self.bytes(text.as_bytes())
    }

    /// Names and values, one a line.
    pub(crate) fn facts(&mut self, facts: &[(&str, String)]) -> Outcome {
        let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in facts {
            self.line(&format!("{name:width$}  {value}"))?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Outcome {
        Ok(self.stdout.flush()?)
    }
}

/// Says something beside the output, on the standard error.
pub(crate) fn note(text: &str) {
    // If nobody can be told, nobody can be told.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Characters of a cell that a table shows. Anybody may publish to a channel whose name has a million.
const CELL_CHARS_MAX: usize = 100;

/// A cell as a table shows it; `--json` has all of it.
fn shortened(cell: &str) -> Cow<'_, str> {
    match cell.char_indices().nth(CELL_CHARS_MAX) {
        None => Cow::Borrowed(cell),
        Some(_) => {
            let kept: String = cell.chars().take(CELL_CHARS_MAX - 1).collect();
            Cow::Owned(kept + "…")
        }
    }
}

fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| shortened(cell)).collect())
        .collect();
    let mut widths: Vec<usize> = columns.iter().map(|(name, _)| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<Cow<'_, str>> = columns.iter().map(|(name, _)| Cow::Borrowed(*name)).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for ((cell, &width), (_, align)) in row.iter().zip(&widths).zip(columns) {
            if width == 0 {
                continue; // A column without a name and without content.
            }
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let columns = [("", Align::Left), ("NAME", Align::Left), ("MESSAGES", Align::Right)];
        let row = |star: &str, name: &str, count: &str| vec![star.to_owned(), name.to_owned(), count.to_owned()];
        let text = table(&columns, &[row("*", "grüße", "1"), row("", "b", "1,000,000")]);
        assert_eq!(text, "   NAME    MESSAGES\n*  grüße          1\n   b      1,000,000\n");
        let text = table(&columns, &[row("", "b", "1")]);
        assert_eq!(text, "NAME  MESSAGES\nb            1\n");
    }

    #[test]
    fn a_name_of_any_length_takes_no_more_than_its_column() {
        let columns = [("NAME", Align::Left), ("MESSAGES", Align::Right)];
        for length in [100, 101, 65_535, 65_536, 1_000_000] {
            let name = "ü".repeat(length);
            let text = table(&columns, &[vec![name.clone(), "1".to_owned()]]);
            let line = text.lines().nth(1).unwrap();
            assert_eq!(line.chars().count(), 100 + 2 + "MESSAGES".len(), "{length}");
            assert_eq!(line.contains('…'), length > 100, "{length}");
        }
    }
}
