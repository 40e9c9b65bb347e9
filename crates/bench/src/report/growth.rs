//! How costs grow with a parameter: runs of a workload that differ in that parameter alone, as lines of a plot.

use super::plot::{Line, Plot, Scale};
use crate::outcome::Outcome;

/// What is plotted against each parameter: the figure, what the axis says, and what it is divided by.
const FIGURES: [(&str, &str, f64); 5] = [
    ("rate_per_second", "messages per second", 1.0),
    ("server_cpu_seconds_per_million", "server CPU seconds per million", 1.0),
    ("server_resident_bytes", "server memory, MB", 1e6),
    ("device_bytes_per_message", "device bytes per message", 1.0),
    ("restart_seconds", "restart, seconds", 1.0),
];

/// Runs that differ in one parameter.
struct Series<'a> {
    workload: &'a str,
    parameter: &'a str,
    /// The other parameters, in words.
    others: String,
    runs: Vec<(f64, &'a Outcome)>,
}

/// The plots of everything that was run with several values.
pub(super) fn plots(outcomes: &[Outcome]) -> Vec<Plot> {
    let mut plots: Vec<Plot> = Vec::new();
    for series in all_series(outcomes) {
        for (figure, label, divisor) in FIGURES {
            let points = series
                .runs
                .iter()
                .filter_map(|(at, outcome)| Some((*at, outcome.figures.get(figure)? / divisor)));
            add(&mut plots, &series, label, points.collect());
        }
        let latencies = series.runs.first().map_or(&[][..], |(_, outcome)| &outcome.latencies);
        for name in latencies.iter().map(|latencies| latencies.name.as_str()) {
            let points = series.runs.iter().filter_map(|(at, outcome)| {
                let latencies = outcome.latencies.iter().find(|latencies| latencies.name == name)?;
                Some((*at, latencies.summary.p99_us / 1e3))
            });
            add(
                &mut plots,
                &series,
                &format!("{name} p99, milliseconds"),
                points.collect(),
            );
        }
    }
    plots
}

/// Adds a line to the plot of its kind, which is made if there is none.
fn add(plots: &mut Vec<Plot>, series: &Series<'_>, label: &str, points: Vec<(f64, f64)>) {
    if points.len() < 2 {
        return;
    }
    let title = format!("{}: {label} against {}", series.workload, series.parameter);
    let line = Line {
        name: series.others.clone(),
        points,
    };
    if let Some(plot) = plots.iter_mut().find(|plot| plot.title == title) {
        plot.lines.push(line);
        return;
    }
    plots.push(Plot {
        title,
        x_label: series.parameter.to_owned(),
        y_label: label.to_owned(),
        x_scale: Scale::Logarithmic,
        y_scale: Scale::Linear,
        x_marks: Vec::new(),
        lines: vec![line],
    });
}

fn all_series(outcomes: &[Outcome]) -> Vec<Series<'_>> {
    let mut all: Vec<Series<'_>> = Vec::new();
    for outcome in outcomes {
        for (parameter, value) in outcome.parameters.iter() {
            let others: Vec<String> = outcome
                .parameters
                .iter()
                .filter(|(name, _)| *name != parameter)
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let others = others.join(" ");
            let same = |series: &&mut Series<'_>| {
                series.workload == outcome.workload && series.parameter == parameter && series.others == others
            };
            match all.iter_mut().find(same) {
                Some(series) => series.runs.push((value, outcome)),
                None => all.push(Series {
                    workload: &outcome.workload,
                    parameter,
                    others,
                    runs: vec![(value, outcome)],
                }),
            }
        }
    }
    for series in &mut all {
        series.runs.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    all.retain(|series| series.runs.len() > 1);
    shorten(&mut all);
    all
}

/// Leaves out of the names what is the same in all lines of a plot.
fn shorten(all: &mut [Series<'_>]) {
    let names: Vec<(String, String, Vec<String>)> = all
        .iter()
        .map(|series| {
            let words = series.others.split(' ').map(str::to_owned).collect();
            (series.workload.to_owned(), series.parameter.to_owned(), words)
        })
        .collect();
    for (series, (workload, parameter, words)) in all.iter_mut().zip(&names) {
        let beside = || {
            names
                .iter()
                .filter(|(other, by, _)| other == workload && by == parameter)
        };
        let differs = |word: &&String| beside().any(|(_, _, others)| !others.contains(*word));
        series.others = words.iter().filter(differs).cloned().collect::<Vec<_>>().join(" ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Point;

    fn outcome(channels: u64, size: usize, rate: f64) -> Outcome {
        let point = Point {
            channels,
            size,
            ..Point::default()
        };
        let mut outcome = Outcome::default().identified("S3", &point, &["size", "window", "channels"]);
        outcome.figures.set("rate_per_second", rate);
        outcome
    }

    #[test]
    fn runs_that_differ_in_one_parameter_make_a_line() {
        let outcomes = [
            outcome(100, 16, 5.0),
            outcome(1, 16, 9.0),
            outcome(1, 128, 7.0),
            outcome(100, 128, 4.0),
        ];
        let plots = plots(&outcomes);
        let titles: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
        let expected = [
            "S3: messages per second against size",
            "S3: messages per second against channels",
        ];
        assert_eq!(titles, expected);
        let names: Vec<&str> = plots[1].lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["size=16", "size=128"]);
        assert_eq!(plots[1].lines[0].points, [(1.0, 9.0), (100.0, 5.0)]);
    }

    #[test]
    fn single_runs_make_no_plot() {
        assert!(plots(&[outcome(1, 16, 1.0)]).is_empty());
    }
}
