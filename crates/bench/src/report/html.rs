//! The report as one page that needs nothing else: no script, no font, no picture from anywhere.

use std::fmt::Write as _;

use super::contents::Report;
use super::growth;
use super::plot::{Line, Plot, Scale, escape};
use super::quantity::{TimeUnit, bytes, number, quantity};
use crate::outcome::Outcome;
use crate::watch::Look;

const STYLE: &str = "\
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 2200px; padding: 0 2em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-top: 1px solid #ccc; padding-top: 1em; }
table { border-collapse: collapse; margin: .7em 0; font-variant-numeric: tabular-nums; }
td, th { padding: .15em 1em .15em 0; text-align: left; font-weight: normal; }
td.n, th.n { text-align: right; white-space: nowrap; } th { color: #666; }
.run { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 2em; align-items: start; }
@media (max-width: 1100px) { .run { display: block; } table { display: block; overflow-x: auto; } }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 1em; }
svg { width: 100%; background: #fafafa; border: 1px solid #ddd; font: 12px system-ui, sans-serif; }
svg polyline { fill: none; stroke-width: 2; } svg text { fill: #444; } svg text.title { font-size: 14px; fill: #222; }
svg .grid { stroke: #e2e2e2; } svg .axis { stroke: #888; }
.warning { color: #a00; } .verified { color: #175c1e; } code { background: #f2f2f2; padding: .1em .3em; }
";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let machine = &report.machine;
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>seaway bench</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>seaway bench</h1>\n\
         <p><code>seaway bench {}</code></p>\n\
         <p>{} cores, {}, {} of memory, kernel {}, clock {}; version {}</p>\n",
        escape(&report.command_line),
        machine.cores,
        escape(&machine.processor),
        bytes(machine.memory_bytes as f64),
        escape(&machine.kernel),
        escape(&machine.clock_source),
        escape(&report.version),
    );
    overview(&mut page, &report.outcomes);
    let growth = growth::plots(&report.outcomes);
    if !growth.is_empty() {
        page.push_str("<h2>Growth</h2>\n");
        draw(&mut page, &growth);
    }
    for outcome in &report.outcomes {
        run(&mut page, outcome);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn draw(page: &mut String, plots: &[Plot]) {
    page.push_str("<div class=\"plots\">\n");
    plots.iter().for_each(|plot| page.push_str(&plot.svg()));
    page.push_str("</div>\n");
}

/// One line per run. Columns in which no run has anything are left out; the times of all runs have one unit.
fn overview(page: &mut String, outcomes: &[Outcome]) {
    let figure = |name: &'static str| {
        move |outcome: &Outcome| {
            outcome
                .figures
                .get(name)
                .map(|value| quantity(name, value))
                .unwrap_or_default()
        }
    };
    let latencies = outcomes.iter().filter_map(|outcome| outcome.latencies.first());
    let unit = TimeUnit::for_values(latencies.map(|latencies| latencies.summary.p999_us));
    let latency = |pick: fn(&crate::histogram::Summary) -> f64| {
        move |outcome: &Outcome| {
            let first = outcome.latencies.first();
            first
                .map(|latencies| unit.show(pick(&latencies.summary)))
                .unwrap_or_default()
        }
    };
    let noise = |outcome: &Outcome| if outcome.warnings.is_empty() { "" } else { "noisy" }.to_owned();
    type Column<'a> = (&'a str, &'a str, Box<dyn Fn(&Outcome) -> String + 'a>);
    let columns: [Column<'_>; 7] = [
        ("run", "", Box::new(|outcome| outcome.title())),
        ("per second", "n", Box::new(figure("rate_per_second"))),
        (
            "server CPU per million",
            "n",
            Box::new(figure("server_cpu_seconds_per_million")),
        ),
        ("p50", "n", Box::new(latency(|summary| summary.p50_us))),
        ("p99", "n", Box::new(latency(|summary| summary.p99_us))),
        ("p99.9", "n", Box::new(latency(|summary| summary.p999_us))),
        ("", "warning", Box::new(noise)),
    ];
    let used = |(_, _, cell): &&Column<'_>| outcomes.iter().any(|outcome| !cell(outcome).is_empty());
    let columns: Vec<_> = columns.iter().filter(used).collect();
    page.push_str("<table>\n<tr>");
    for (head, class, _) in &columns {
        let _ = write!(page, "<th class=\"{class}\">{head}</th>");
    }
    page.push_str("</tr>\n");
    for outcome in outcomes {
        page.push_str("<tr>");
        for (_, class, cell) in &columns {
            let _ = write!(page, "<td class=\"{class}\">{}</td>", escape(&cell(outcome)));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn run(page: &mut String, outcome: &Outcome) {
    let _ = writeln!(page, "<h2>{}</h2>", escape(&outcome.title()));
    if !outcome.server.is_empty() {
        let _ = writeln!(page, "<p>against <code>{}</code></p>", escape(&outcome.server));
    }
    let _ = writeln!(
        page,
        "<p class=\"verified\">verified: {}</p>",
        escape(&outcome.verified)
    );
    for warning in &outcome.warnings {
        let _ = writeln!(page, "<p class=\"warning\">{}</p>", escape(warning));
    }
    page.push_str("<div class=\"run\">\n<div>\n<table>\n");
    for (name, value) in outcome.figures.iter() {
        let (label, value) = (escape(&name.replace('_', " ")), quantity(name, value));
        let _ = writeln!(page, "<tr><td>{label}</td><td class=\"n\">{value}</td></tr>");
    }
    page.push_str("</table>\n");
    latency_table(page, outcome);
    page.push_str("</div>\n");
    let mut plots = Vec::new();
    if outcome.series.len() > 1 {
        plots.push(rate_plot(outcome));
    }
    if !outcome.latencies.is_empty() {
        plots.push(latency_plot(outcome));
    }
    if outcome.server_series.len() > 1 {
        plots.extend(server_plots(outcome));
    }
    draw(page, &plots);
    page.push_str("</div>\n");
}

fn latency_table(page: &mut String, outcome: &Outcome) {
    if outcome.latencies.is_empty() {
        return;
    }
    let all = outcome.latencies.iter();
    let unit = TimeUnit::for_values(all.map(|latencies| latencies.summary.max_us));
    page.push_str("<table>\n<tr><th>latency</th><th class=\"n\">count</th>");
    for name in ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"] {
        let _ = write!(page, "<th class=\"n\">{name}</th>");
    }
    page.push_str("</tr>\n");
    for latencies in &outcome.latencies {
        let summary = &latencies.summary;
        let (name, count) = (escape(&latencies.name), number(summary.count as f64));
        let _ = write!(page, "<tr><td>{name}</td><td class=\"n\">{count}</td>");
        let values = [
            summary.mean_us,
            summary.p50_us,
            summary.p90_us,
            summary.p99_us,
            summary.p999_us,
            summary.p9999_us,
            summary.max_us,
        ];
        for value in values {
            let _ = write!(page, "<td class=\"n\">{}</td>", unit.show(value));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn rate_plot(outcome: &Outcome) -> Plot {
    Plot {
        title: "rate".to_owned(),
        x_label: "seconds".to_owned(),
        y_label: "messages per second".to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        x_marks: Vec::new(),
        lines: vec![Line {
            name: String::new(),
            points: outcome.series.clone(),
        }],
    }
}

/// The server over time.
fn server_plots(outcome: &Outcome) -> [Plot; 3] {
    let plot = |title: &str, y_label: &str, pick: fn(&Look) -> f64| Plot {
        title: title.to_owned(),
        x_label: "seconds".to_owned(),
        y_label: y_label.to_owned(),
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        x_marks: Vec::new(),
        lines: vec![Line {
            name: String::new(),
            points: outcome
                .server_series
                .iter()
                .map(|look| (look.seconds, pick(look)))
                .collect(),
        }],
    };
    [
        plot("server CPU", "% of a core", |look| look.cpu_percent_of_a_core),
        plot("server memory", "MB", |look| look.resident_bytes as f64 / 1e6),
        plot("written by the server", "MB per second", |look| {
            look.written_bytes_per_second / 1e6
        }),
    ]
}

/// Latency against the share that is above, so that the end of the distribution has as much room as its middle.
fn latency_plot(outcome: &Outcome) -> Plot {
    let all = outcome.latencies.iter();
    let unit = TimeUnit::for_values(all.map(|latencies| latencies.summary.max_us));
    let lines = outcome.latencies.iter().map(|latencies| {
        let points = latencies.summary.distribution.iter().filter(|(share, _)| *share < 1.0);
        Line {
            name: latencies.name.clone(),
            points: points
                .map(|(share, microseconds)| (1.0 / (1.0 - share), *microseconds / unit.microseconds))
                .collect(),
        }
    });
    let lines: Vec<Line> = lines.collect();
    let last = lines
        .iter()
        .flat_map(|line| line.points.last())
        .map(|(at, _)| *at)
        .fold(1.0, f64::max);
    let marks = [
        (1.0, "0 %"),
        (10.0, "90 %"),
        (100.0, "99 %"),
        (1e3, "99.9 %"),
        (1e4, "99.99 %"),
        (1e5, "99.999 %"),
    ];
    Plot {
        title: "latency by quantile".to_owned(),
        x_label: "quantile".to_owned(),
        y_label: unit.name.to_owned(),
        x_scale: Scale::Logarithmic,
        y_scale: Scale::Logarithmic,
        x_marks: marks
            .into_iter()
            .filter(|(at, _)| *at <= last)
            .map(|(at, text)| (at, text.to_owned()))
            .collect(),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::histogram::Latencies;
    use crate::machine::Machine;
    use crate::point::Point;

    fn report() -> Report {
        let outcomes = [1, 100].map(|channels| {
            let point = Point {
                channels,
                ..Point::default()
            };
            let mut outcome = Outcome::default().identified("S3", &point, &["size", "channels"]);
            outcome.figures.set("rate_per_second", 1e6 / channels as f64);
            outcome.series = vec![(0.1, 5.0), (0.2, 7.0)];
            outcome.verified = "<script>".to_owned();
            let mut latencies = Latencies::default();
            (1..=10_000).for_each(|micros| latencies.record(Duration::from_micros(micros)));
            outcome.add_latencies("ack", &latencies);
            outcome
        });
        Report {
            version: "1".to_owned(),
            command_line: "S3".to_owned(),
            machine: Machine::read(),
            outcomes: outcomes.to_vec(),
        }
    }

    #[test]
    fn the_page_stands_alone() {
        let page = page(&report());
        for part in [
            "against channels",
            "latency by quantile",
            "99.9 %",
            "&lt;script&gt;",
            "1,000,000",
        ] {
            assert!(page.contains(part), "{part:?} is missing");
        }
        for outside in ["http:", "https:", "src=", "href=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside:?} refers to something else");
        }
        let closed = |tag: &str| page.matches(&format!("<{tag}")).count() == page.matches(&format!("</{tag}>")).count();
        assert!(["svg", "table", "tr", "div", "text", "h2"].into_iter().all(closed));
    }

    #[test]
    fn json_holds_numbers_under_their_names() {
        let json = serde_json::to_value(report()).expect("a report");
        let outcome = json.pointer("/outcomes/1").expect("the second run");
        assert_eq!(
            outcome
                .pointer("/parameters/channels")
                .and_then(serde_json::Value::as_f64),
            Some(100.0)
        );
        assert_eq!(
            outcome
                .pointer("/figures/rate_per_second")
                .and_then(serde_json::Value::as_f64),
            Some(10_000.0)
        );
        let p50 = outcome
            .pointer("/latencies/0/p50_us")
            .and_then(serde_json::Value::as_f64)
            .expect("a median");
        assert!((p50 / 5_000.0 - 1.0).abs() < 0.002, "{p50}");
    }
}
