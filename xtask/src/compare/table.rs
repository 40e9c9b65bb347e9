//! The table at the end: for the terminal, as markdown, as JSON.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::trials::{Bound, Row};
use super::verdict::{Pair, Spread, Verdict, sides, spread, value};

/// A row with what came out.
pub(super) struct Line {
    pub(super) row: Row,
    /// The row's name, with the peer's when it is not the usual one.
    pub(super) name: String,
    pub(super) values: Vec<f64>,
    pub(super) first: Vec<f64>,
    pub(super) other: Vec<f64>,
    /// Runs that were disturbed, of how many.
    pub(super) noisy: (usize, usize),
    /// What each side was, in words.
    pub(super) servers: Vec<String>,
    /// Command lines of each side.
    pub(super) commands: Vec<String>,
}

impl Line {
    /// What the pairs of a trial say about a row.
    pub(super) fn new(row: Row, name: String, pairs: &[Pair], commands: &[String]) -> anyhow::Result<Line> {
        let values = pairs
            .iter()
            .map(|pair| value(&row, pair))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let runs = || {
            pairs
                .iter()
                .flat_map(|pair| std::iter::once(&pair.first).chain(&pair.other))
        };
        let mut servers: Vec<String> = runs().map(|run| run.server().to_owned()).collect();
        servers.sort();
        servers.dedup();
        Ok(Line {
            row,
            name,
            values,
            first: pairs.iter().filter_map(|pair| sides(&row, pair).0).collect(),
            other: pairs.iter().filter_map(|pair| sides(&row, pair).1).collect(),
            noisy: (runs().filter(|run| run.warning().is_some()).count(), runs().count()),
            servers,
            commands: commands.to_vec(),
        })
    }

    fn spread(&self) -> Spread {
        spread(&self.values).unwrap_or(Spread {
            median: f64::NAN,
            least: f64::NAN,
            most: f64::NAN,
        })
    }

    /// How the row did.
    pub(super) fn verdict(&self) -> Verdict {
        self.row.bound.judge(self.spread().median)
    }

    fn shown(&self, value: f64) -> String {
        let (factor, unit) = self.row.unit;
        let gap = if unit.is_empty() || unit == "x" { "" } else { " " };
        format!("{}{gap}{unit}", digits(value * factor))
    }

    /// What stands in the columns.
    fn cells(&self) -> [String; 8] {
        let spread = self.spread();
        let side = |values: &[f64]| super::verdict::spread(values).map_or_else(String::new, |s| digits(s.median));
        let (must, aim) = match self.row.bound {
            Bound::AtLeast { must, aim } => (format!(">= {}", self.shown(must)), format!(">= {}", self.shown(aim))),
            Bound::AtMost { must, aim } => (format!("<= {}", self.shown(must)), format!("<= {}", self.shown(aim))),
            Bound::Any => (String::new(), String::new()),
        };
        let range = match self.values.len() {
            1 => String::new(),
            _ => format!("{} to {}", self.shown(spread.least), self.shown(spread.most)),
        };
        let noise = match self.noisy {
            (0, _) => "",
            _ => ", noisy",
        };
        [
            self.name.clone(),
            side(&self.first),
            side(&self.other),
            self.shown(spread.median),
            range,
            must,
            aim,
            format!("{}{noise}", self.verdict().word()),
        ]
    }

    fn json(&self) -> Json {
        let spread = self.spread();
        let bound = match self.row.bound {
            Bound::AtLeast { must, aim } => json!({ "kind": "at least", "must": must, "aim": aim }),
            Bound::AtMost { must, aim } => json!({ "kind": "at most", "must": must, "aim": aim }),
            Bound::Any => Json::Null,
        };
        json!({
            "name": self.name,
            "what": self.row.what,
            "values": self.values,
            "median": spread.median,
            "least": spread.least,
            "most": spread.most,
            "first": self.first,
            "other": self.other,
            "bound": bound,
            "verdict": self.verdict().word(),
            "noisy_runs": self.noisy.0,
            "runs": self.noisy.1,
            "servers": self.servers,
            "commands": self.commands,
        })
    }
}

const HEADINGS: [&str; 8] = ["row", "first", "other", "median", "range", "must", "aim", "verdict"];

/// A number with as many digits as a reader compares.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The lines in columns, for a terminal.
pub(super) fn text(lines: &[Line]) -> String {
    let mut rows: Vec<[String; 8]> = vec![HEADINGS.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 | 7 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// The lines as a markdown table, with what was run.
pub(super) fn markdown(lines: &[Line], machine: &str, pairs: usize) -> String {
    let mut text = format!(
        "Machine: {machine}. {pairs} pairs, first and other side in turn; medians, and the range of the pairs. `first` and \
         `other` are the medians of what each side did.\n\n| what | {} |\n|{}\n",
        HEADINGS.join(" | "),
        " --- |".repeat(HEADINGS.len() + 1)
    );
    for line in lines {
        let mut cells = line.cells();
        cells[0] = format!("`{}`", cells[0]);
        let _ = writeln!(text, "| {} | {} |", line.row.what, cells.join(" | "));
    }
    text.push_str("\nThe command lines, with the server's own in the report of each:\n\n```\n");
    let mut said: Vec<&String> = Vec::new();
    for command in lines.iter().flat_map(|line| &line.commands) {
        if !said.contains(&command) {
            said.push(command);
            let _ = writeln!(text, "seaway bench {command}");
        }
    }
    text.push_str("```\n\nThe servers:\n\n```\n");
    let mut servers: Vec<&String> = lines.iter().flat_map(|line| &line.servers).collect();
    servers.sort();
    servers.dedup();
    for server in servers {
        let _ = writeln!(text, "{server}");
    }
    text.push_str("```\n");
    text
}

/// The lines as JSON.
pub(super) fn json(lines: &[Line], machine: &str, pairs: usize) -> Json {
    let rows: Vec<Json> = lines.iter().map(Line::json).collect();
    json!({ "machine": machine, "pairs": pairs, "rows": rows })
}

#[cfg(test)]
mod tests {
    use super::super::measure::Run;
    use super::super::trials::{Figure, Value};
    use super::*;

    fn lines() -> Vec<Line> {
        let run = |rate: f64, warning: &[&str]| Run {
            report: json!({ "outcomes": [{
                "figures": { "rate": rate }, "server": "seaway serve", "warnings": warning,
            }] }),
        };
        let figure = Figure::Number("rate");
        let row = Row {
            name: "channels-100",
            what: "publish at 100 channels",
            value: Value::Ratio(figure, figure),
            bound: Bound::AtLeast { must: 0.8, aim: 1.0 },
            unit: (100.0, "%"),
        };
        let pairs = [(9.0, 10.0), (7.0, 10.0), (8.5, 10.0)].map(|(first, other)| Pair {
            first: run(first, &[]),
            other: Some(run(other, &["noise"])),
        });
        let line = Line::new(
            row,
            "channels-100".to_owned(),
            &pairs,
            &["S3 --channels 100".to_owned()],
        );
        vec![line.expect("both sides have rates")]
    }

    #[test]
    fn a_line_says_median_range_bounds_and_verdict() {
        let lines = lines();
        let cells = lines[0].cells();
        let expected = [
            "channels-100",
            "8.50",
            "10.0",
            "85.0 %",
            "70.0 % to 90.0 %",
            ">= 80.0 %",
            ">= 100 %",
            "pass, noisy",
        ];
        assert_eq!(cells, expected);
        assert_eq!(lines[0].noisy, (3, 6));
        let text = text(&lines);
        assert!(text.starts_with("row ") && text.lines().count() == 2, "{text}");
    }

    #[test]
    fn markdown_and_json_hold_the_same() {
        let lines = lines();
        let markdown = markdown(&lines, "2 cores", 3);
        for part in [
            "| publish at 100 channels | `channels-100` |",
            "seaway bench S3 --channels 100",
            "Machine: 2 cores",
        ] {
            assert!(markdown.contains(part), "{part:?} is missing in\n{markdown}");
        }
        let json = json(&lines, "2 cores", 3);
        assert_eq!(json["rows"][0]["median"], 0.85);
        assert_eq!(json["rows"][0]["verdict"], "pass");
        assert_eq!(json["rows"][0]["values"].as_array().map(Vec::len), Some(3));
    }
}
