//! The report of one run for a terminal.

use std::fmt::Write as _;

use super::quantity::{number, quantity, time};
use crate::outcome::Outcome;

/// The lines of a run.
pub fn outcome(outcome: &Outcome) -> String {
    let mut text = format!("{}\n", outcome.title());
    if !outcome.server.is_empty() {
        let _ = writeln!(text, "  against {}", outcome.server);
    }
    for (name, value) in outcome.figures.iter() {
        let _ = writeln!(text, "  {:<42}{:>16}", name.replace('_', " "), quantity(name, value));
    }
    for latencies in &outcome.latencies {
        let summary = &latencies.summary;
        let _ = writeln!(
            text,
            "  {} of {}: p50 {}, p90 {}, p99 {}, p99.9 {}, p99.99 {}, max {}",
            label(&latencies.name),
            number(summary.count as f64),
            time(summary.p50_us),
            time(summary.p90_us),
            time(summary.p99_us),
            time(summary.p999_us),
            time(summary.p9999_us),
            time(summary.max_us)
        );
    }
    let _ = writeln!(text, "  verified: {}", outcome.verified);
    for warning in &outcome.warnings {
        let _ = writeln!(text, "  WARNING: {warning}");
    }
    text
}

/// What a kind of latency is called.
fn label(name: &str) -> String {
    match name {
        "lateness" => "lateness of sends, out".to_owned(),
        name if name.ends_with("interval") => name.to_owned(),
        name => format!("{name} latency"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::histogram::Latencies;
    use crate::point::Point;

    #[test]
    fn everything_is_said() {
        let mut found = Outcome::default().identified("S1", &Point::default(), &["size"]);
        found.server = "seaway serve".to_owned();
        found.figures.set("rate_per_second", 1_234_567.0);
        found.verified = "all of it".to_owned();
        found.warnings.push("noisy".to_owned());
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_millis(2));
        found.add_latencies("ack", &latencies);
        let text = outcome(&found);
        for part in [
            "S1 size=128\n  against seaway serve\n",
            "rate per second",
            "1,234,567",
            "ack latency of 1: p50 2,00",
            "verified: all of it",
            "WARNING: noisy",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }
}
