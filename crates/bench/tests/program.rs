//! The load generator as a program: what it prints, writes and refuses.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::{Command, Output};

fn bench(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seaway-bench"))
        .args(words)
        .output()
        .unwrap()
}

#[test]
fn workloads_are_listed() {
    let output = bench(&["list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for name in ["C1", "C5", "S1", "S10", "J1", "J2", "disk"] {
        assert!(
            text.lines().any(|line| line.split_whitespace().next() == Some(name)),
            "{name} is missing in\n{text}"
        );
    }
}

#[test]
fn the_disk_is_measured_and_reported_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (json, html) = (path("report.json"), path("report.html"));
    let output = bench(&[
        "disk",
        // On a quick disk few are over before they count.
        "--messages",
        "2000",
        "--size",
        "128,4096",
        "--directory",
        &folder.path().display().to_string(),
        "--json",
        &json,
        "--html",
        &html,
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("disk size=4096") && text.contains("verified: 2200 writes, each synced"),
        "{text}"
    );
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let outcomes = report["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 2);
    let p50 = outcomes[1]["latencies"][0]["p50_us"].as_f64();
    assert!(p50.is_some_and(|p50| p50 > 0.0), "{report:#}");
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && page.contains("against size"));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing but the reports stays"
    );
}

#[test]
fn what_cannot_be_done_is_said_in_words() {
    for (words, expected) in [
        (&["S99"][..], "no workload is called \"S99\""),
        (
            &["S1", "--address", "127.0.0.1:1"],
            "open a streaming session with cluster test-cluster at 127.0.0.1:1",
        ),
        (&["C1", "--address", "127.0.0.1:1"], "connect to 127.0.0.1:1"),
        (&["S9", "--address", "127.0.0.1:1"], "give it with --server-binary"),
        (&["disk", "--size", "0"], "--size must be between 1"),
        (&["disk", "--seconds=-1"], "--seconds -1: say seconds"),
        (&["disk", "--poll-monitoring"], "--monitoring HOST:PORT"),
        (&["C1", "--server-binary", "no/such/file"], "no/such/file"),
        (&["C1", "--size", "many"], "say a number such as 500, 100k or 10m"),
    ] {
        let output = bench(words);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(expected), "{words:?}: {text}");
    }
}
