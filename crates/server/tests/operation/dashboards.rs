//! Dashboards and alert rules of `deploy/` against a live server: every metric that an expression names is there, with the labels by which
//! the expression picks and groups. That the expressions are PromQL is told by `cargo xtask test --only packages`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::group::{CHANNEL, member, session, wait_until_active};
use seaway_bench::stan::subscription;
use serde_json::Value;

/// How the names of our metrics begin; what else stands in an expression is PromQL's.
const BEGINNINGS: [&str; 3] = ["seaway_", "nss_", "process_"];

/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["job", "instance"];

const RULES: &str = include_str!("../../../../deploy/prometheus/seaway.rules.yaml");

fn dashboards() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let parsed = files.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap());
        (name.clone(), value.unwrap_or_else(|error| panic!("{name}: {error}")))
    });
    parsed.collect()
}

/// Every expression of a dashboard with what is shown beside it; those of variables too.
fn expressions(value: &Value, found: &mut Vec<(String, String)>) {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    if let Some(expression) = text("expr").or_else(|| text("definition")) {
        found.push((expression, text("legendFormat").unwrap_or_default()));
    }
    let below = value.as_array().into_iter().flatten();
    let below = below.chain(value.as_object().into_iter().flat_map(|object| object.values()));
    below.for_each(|value| expressions(value, found));
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metrics of an expression, each with the labels in the braces behind it.
fn metrics(expression: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(is_name) {
        let end = rest[at..]
            .find(|c| !is_name(c))
            .map_or(rest.len(), |length| at + length);
        let name = &rest[at..end];
        rest = &rest[end..];
        if BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
            let braces = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let picks = braces.into_iter().flat_map(|braces| braces.split(','));
            let labels = picks.map(|pick| pick.split(['=', '!']).next().unwrap().trim());
            found.push((name, labels.filter(|label| !label.is_empty()).collect()));
        }
    }
    found
}

/// The labels in parentheses behind `by`, `on` and `group_left`, and in the double braces of a legend.
fn grouping<'a>(expression: &'a str, legend: &'a str) -> Vec<&'a str> {
    let behind = |word: &str| -> Vec<&'a str> {
        let parts = expression.split(&format!("{word} (")).skip(1).collect::<Vec<_>>();
        let lists = parts.into_iter().filter_map(|part| part.split(')').next());
        lists.flat_map(|list| list.split(',')).map(str::trim).collect()
    };
    let mut labels: Vec<&str> = ["by", "on", "group_left"].into_iter().flat_map(behind).collect();
    labels.extend(legend.split("{{").skip(1).filter_map(|part| part.split("}}").next()));
    labels
}

/// The series of `/metrics`: each name with the labels that it has.
fn series(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut series: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = &line[..line.find(|c| !is_name(c)).unwrap()];
        let labels = series.entry(name).or_default();
        if let Some((braces, _)) = line[name.len()..]
            .strip_prefix('{')
            .and_then(|rest| rest.rsplit_once('}'))
        {
            labels.extend(braces.split("\",").filter_map(|pair| pair.split('=').next()));
        }
    }
    series
}

#[test]
fn every_metric_of_dashboards_and_rules_is_served_with_the_labels_that_they_use() {
    let mut all: Vec<(String, String, String)> = Vec::new();
    for (name, dashboard) in dashboards() {
        let mut found = Vec::new();
        expressions(&dashboard, &mut found);
        assert!(found.len() > 8, "{name} has {} expressions", found.len());
        all.extend(
            found
                .into_iter()
                .map(|(expression, legend)| (name.clone(), expression, legend)),
        );
    }
    let rules = RULES.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    all.extend(rules.map(|expression| ("seaway.rules.yaml".into(), expression.into(), String::new())));
    assert!(all.len() > 90, "{}", all.len());

    let directory = tempfile::tempdir().unwrap();
    let archive = tempfile::tempdir().unwrap();
    let archive = archive.path().display().to_string();
    let server = member(directory.path(), "one", None, &["-archive", &archive]);
    wait_until_active(&server);
    let mut client = session(&server.address, "client");
    client.publish(CHANNEL, b"one").unwrap();
    let mut request = subscription(CHANNEL);
    request.durable_name = "durable".into();
    client.subscribe(request).unwrap();
    let (_, text) = server.get("/metrics");
    let series = series(&text);

    let mut wrong = Vec::new();
    for (place, expression, legend) in &all {
        let mut labels: BTreeSet<&str> = ADDED.into();
        let used = metrics(expression);
        for (name, picks) in &used {
            let Some(served) = series.get(name) else {
                wrong.push(format!("{place}: {name} is not served, in {expression}"));
                continue;
            };
            labels.extend(served);
            let missing = picks
                .iter()
                .filter(|label| !served.contains(*label) && !ADDED.contains(label));
            wrong.extend(missing.map(|label| format!("{place}: {name} has no label {label}, in {expression}")));
        }
        if used.is_empty() && !expression.starts_with("up{") {
            wrong.push(format!("{place}: no metric in {expression}"));
        }
        let missing = grouping(expression, legend)
            .into_iter()
            .filter(|label| !labels.contains(label));
        wrong.extend(missing.map(|label| format!("{place}: nothing has the label {label}, in {expression} {legend}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Somebody who is woken at night has to know what it means and what to do.
#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let alerts: Vec<&str> = RULES.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let has = |key: &str| {
            alert
                .lines()
                .any(|line| line.trim().starts_with(key) && line.trim().len() > key.len() + 20)
        };
        for key in ["summary: ", "description: ", "runbook: "] {
            assert!(has(key), "{name} has no {key}");
        }
        let severities = ["critical", "warning", "info"];
        let is_said = |severity: &&str| alert.contains(&format!("severity: {severity} "));
        assert!(severities.iter().any(is_said), "{name} has no severity");
    }
}

#[test]
fn what_an_expression_names_is_understood() {
    let expression = r#"sum by (job, le) (rate(seaway_a_bucket{job=~"$job",channel!="x"}[5m])) > 2 * nss_b unless on (job) up{job="z"}"#;
    assert_eq!(
        metrics(expression),
        [("seaway_a_bucket", vec!["job", "channel"]), ("nss_b", vec![])]
    );
    assert_eq!(
        grouping(expression, "{{channel}} of {{job}}"),
        ["job", "le", "job", "channel", "job"]
    );
    let text = "# HELP a b\nseaway_a 1\nnss_b{c=\"1, {d=}\",e=\"\"} 2\n";
    let expected: BTreeMap<&str, BTreeSet<&str>> = [("seaway_a", [].into()), ("nss_b", ["c", "e"].into())].into();
    assert_eq!(series(text), expected);
}
