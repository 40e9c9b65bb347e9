//! What came out of one run, in numbers that carry their unit in their name.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::histogram::{Latencies, Summary};
use crate::machine::Noise;
use crate::point::{PARAMETERS, Point, UNLIMITED};
use crate::watch::{Look, Measured};

/// Named numbers, in the order in which they were said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(Vec<(String, f64)>);

impl Figures {
    /// Adds one; a number that is none is left out.
    pub fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.retain(|(known, _)| known != name);
            self.0.push((name.to_owned(), value));
        }
    }

    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Latencies of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedLatencies {
    /// What they are about, such as `ack`.
    pub name: String,
    /// How they are distributed.
    #[serde(flatten)]
    pub summary: Summary,
}

/// What came out of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Name of the workload.
    pub workload: String,
    /// What it ran against, in words.
    pub server: String,
    /// Its parameters.
    pub parameters: Figures,
    /// What was measured.
    pub figures: Figures,
    /// Latencies of each kind.
    pub latencies: Vec<NamedLatencies>,
    /// Seconds into the measured stretch, and the rate per second there.
    pub series: Vec<(f64, f64)>,
    /// The server over time.
    pub server_series: Vec<Look>,
    /// What disturbed it.
    pub noise: Noise,
    /// What was checked while it ran, in words.
    pub verified: String,
    /// What makes it doubtful.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// What the watch saw while nothing was counted.
    pub(crate) fn at_rest(measured: &Measured) -> Outcome {
        let mut outcome = Outcome {
            noise: measured.noise,
            warnings: measured.noise.complaint().into_iter().collect(),
            server_series: measured.looks.clone(),
            ..Outcome::default()
        };
        let seconds = measured.elapsed.as_secs_f64();
        let figures = &mut outcome.figures;
        figures.set("seconds", seconds);
        if let Some((before, after)) = &measured.server {
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            figures.set("server_cpu_percent_of_a_core", cpu / seconds * 100.0);
            figures.set("server_resident_bytes", after.resident_bytes as f64);
            figures.set("server_descriptors", after.descriptors as f64);
        }
        outcome
    }

    /// What the watch saw; `what` names what was counted, such as `delivered`.
    pub(crate) fn of(measured: &Measured, what: &str) -> Outcome {
        let mut outcome = Outcome::at_rest(measured);
        outcome.series.clone_from(&measured.series);
        let (count, seconds) = (measured.count as f64, measured.elapsed.as_secs_f64());
        let millions = count / 1e6;
        let figures = &mut outcome.figures;
        figures.set("messages", count);
        figures.set("rate_per_second", count / seconds);
        figures.set(&format!("{what}_per_second"), count / seconds);
        figures.set("second_half_over_first", steadiness(&measured.series));
        if let Some((before, after)) = &measured.server {
            let per_message = |after: u64, before: u64| after.saturating_sub(before) as f64 / count;
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            figures.set("server_cpu_seconds_per_million", cpu / millions);
            figures.set(
                "server_voluntary_switches_per_message",
                per_message(after.voluntary_switches, before.voluntary_switches),
            );
            figures.set(
                "server_involuntary_switches_per_message",
                per_message(after.involuntary_switches, before.involuntary_switches),
            );
            figures.set(
                "server_written_bytes_per_message",
                per_message(after.written_bytes, before.written_bytes),
            );
        }
        if let Some(bytes) = measured.device_bytes {
            figures.set("device_bytes_per_message", bytes as f64 / count);
        }
        figures.set(
            "generator_cpu_seconds_per_million",
            measured.own_cpu.as_secs_f64() / millions,
        );
        outcome
    }

    /// Says which workload and point it belongs to.
    pub(crate) fn identified(mut self, workload: &str, point: &Point, shown: &[&str]) -> Outcome {
        workload.clone_into(&mut self.workload);
        for parameter in PARAMETERS.iter().filter(|parameter| shown.contains(&parameter.name)) {
            self.parameters.set(parameter.name, (parameter.get)(point) as f64);
        }
        self
    }

    /// Adds latencies, unless there are none.
    pub(crate) fn add_latencies(&mut self, name: &str, latencies: &Latencies) {
        if let Some(summary) = latencies.summary() {
            self.latencies.push(NamedLatencies {
                name: name.to_owned(),
                summary,
            });
        }
    }

    /// `S1 size=128 window=1024`
    pub fn title(&self) -> String {
        let shown = |value: f64| match value >= UNLIMITED as f64 {
            true => "unlimited".to_owned(),
            false => value.to_string(),
        };
        let parameters = self.parameters.iter();
        let parameters = parameters.map(|(name, value)| format!(" {name}={}", shown(value)));
        std::iter::once(self.workload.clone()).chain(parameters).collect()
    }
}

/// The rate in the second half of a series over that in the first: 1 when nothing fades.
fn steadiness(series: &[(f64, f64)]) -> f64 {
    let (first, second) = series.split_at(series.len() / 2);
    let mean = |half: &[(f64, f64)]| half.iter().map(|(_, rate)| rate).sum::<f64>() / half.len() as f64;
    mean(second) / mean(first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::Usage;

    #[test]
    fn costs_are_differences_per_message() {
        let after = Usage {
            cpu: Duration::from_secs(3),
            resident_bytes: 1_000,
            written_bytes: 340_000_000,
            voluntary_switches: 500_000,
            ..Usage::default()
        };
        let before = Usage {
            cpu: Duration::from_secs(1),
            ..Usage::default()
        };
        let measured = Measured {
            elapsed: Duration::from_secs(4),
            count: 2_000_000,
            server: Some((before, after)),
            ..Measured::default()
        };
        let outcome = Outcome::of(&measured, "acknowledged");
        for (name, expected) in [
            ("rate_per_second", 500_000.0),
            ("acknowledged_per_second", 500_000.0),
            ("server_cpu_seconds_per_million", 1.0),
            ("server_cpu_percent_of_a_core", 50.0),
            ("server_written_bytes_per_message", 170.0),
            ("server_voluntary_switches_per_message", 0.25),
        ] {
            assert_eq!(outcome.figures.get(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_rate_that_fades_shows() {
        let series = [(0.1, 10.0), (0.2, 10.0), (0.3, 5.0), (0.4, 7.0)];
        assert!((steadiness(&series) - 0.6).abs() < 1e-9);
        assert!(!steadiness(&[]).is_finite() && !steadiness(&[(0.1, 5.0)]).is_finite());
    }

    #[test]
    fn figures_keep_their_order_and_leave_out_what_is_no_number() {
        let mut figures = Figures::default();
        figures.set("z", 1.0);
        figures.set("a", 2.0);
        figures.set("z", 3.0);
        figures.set("nothing", f64::NAN);
        assert_eq!(
            serde_json::to_string(&figures).expect("numbers"),
            r#"{"a":2.0,"z":3.0}"#
        );
        let outcome = Outcome::default().identified("S1", &Point::default(), &["size", "window"]);
        assert_eq!(outcome.title(), "S1 size=128 window=1024");
    }
}
