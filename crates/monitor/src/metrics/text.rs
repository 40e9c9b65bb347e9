//! The text format of Prometheus, version 0.0.4: families of samples with labels.

use std::collections::HashSet;
use std::fmt::{Display, Write as _};

use seaway_nats_protocol::harmless::is_harmful;

use crate::limits::METRICS_LABEL_LEN_MAX;
use crate::snapshot::Histogram;

/// Content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// Names and values of a sample's labels.
pub(super) type Labels<'a> = [(&'static str, &'a str)];

/// Text that grows family by family.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    /// Labels of the samples of the current family: none may come twice.
    seen: HashSet<String>,
    labels: String,
}

impl Text {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.seen.clear();
    }

    /// A sample of the current family, which is called `name`. One whose labels another has is left out.
    pub(super) fn sample(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        self.labels.clear();
        for (key, value) in labels {
            self.labels.push(if self.labels.is_empty() { '{' } else { ',' });
            let _ = write!(self.labels, "{key}=\"");
            push_escaped(&mut self.labels, cut(value));
            self.labels.push('"');
        }
        if !self.labels.is_empty() {
            self.labels.push('}');
        }
        if self.seen.insert(self.labels.clone()) {
            let _ = writeln!(self.out, "{name}{} {value}", self.labels);
        }
    }

    /// A family with one sample without labels.
    pub(super) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A histogram; bounds and sum are multiplied by `unit`.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str, histogram: &Histogram, unit: f64) {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (bound, count) in &histogram.buckets {
            let _ = writeln!(self.out, "{name}_bucket{{le=\"{}\"}} {count}", *bound as f64 * unit);
        }
        let _ = write!(
            self.out,
            "{name}_bucket{{le=\"+Inf\"}} {}\n{name}_sum {}\n{name}_count {}\n",
            histogram.count,
            histogram.sum as f64 * unit,
            histogram.count
        );
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

fn cut(value: &str) -> &str {
    let mut end = METRICS_LABEL_LEN_MAX.min(value.len());
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

fn push_escaped(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            // The format has no way to write these, and a terminal obeys some of them.
            _ if is_harmful(character) => {
                let _ = write!(out, "\\\\u{{{:x}}}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What names of clients hold steers no terminal.
    #[test]
    fn labels_are_harmless() {
        let mut text = Text::default();
        text.family("a", Kind::Gauge, "Things.");
        text.sample("a", &[("name", "\u{1b}[2J\u{9b}\u{202e}\\u{1b}")], 1u64);
        let text = text.finish();
        let sample = text.split_once("gauge\n").map_or("", |(_, sample)| sample);
        assert_eq!(sample, "a{name=\"\\\\u{1b}[2J\\\\u{9b}\\\\u{202e}\\\\u{1b}\"} 1\n");
    }

    #[test]
    fn samples_of_the_text_format() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "Things.");
        text.sample("a_total", &[("name", "x\"\\\ny"), ("other", "")], 3u64);
        text.sample("a_total", &[("name", "x\"\\\ny"), ("other", "")], 4u64);
        text.sample("a_total", &[("name", &"é".repeat(METRICS_LABEL_LEN_MAX))], 1u64);
        text.single("b", Kind::Gauge, "Other things.", 0.5);
        let histogram = Histogram {
            buckets: vec![(1_000, 1), (2_000, 3)],
            count: 4,
            sum: 9_000,
        };
        text.histogram("c_seconds", "Times.", &histogram, 1e-3);
        let long = "é".repeat(METRICS_LABEL_LEN_MAX / 2);
        let expected = format!(
            "# HELP a_total Things.\n# TYPE a_total counter\n\
             a_total{{name=\"x\\\"\\\\\\ny\",other=\"\"}} 3\na_total{{name=\"{long}\"}} 1\n\
             # HELP b Other things.\n# TYPE b gauge\nb 0.5\n\
             # HELP c_seconds Times.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{{le=\"1\"}} 1\nc_seconds_bucket{{le=\"2\"}} 3\nc_seconds_bucket{{le=\"+Inf\"}} 4\n\
             c_seconds_sum 9\nc_seconds_count 4\n"
        );
        assert_eq!(text.finish(), expected);
    }
}
