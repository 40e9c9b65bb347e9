//! The load generator against the built server and, where it is installed, `nats-server`: every workload runs, what it verifies is
//! true, and a server that stalls or loses is found out.

use std::process::ExitCode;

use crate::support::Server;
use clap::Parser as _;
use seaway_bench::Arguments;
use serde_json::Value;

/// Runs workloads with a server of their own, and gives the outcomes.
fn run_with(binary: &str, words: &str) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let fixed = ["bench", "--server-binary", binary, "--directory"].map(str::to_owned);
    let mut all = fixed.to_vec();
    all.extend([
        folder.path().display().to_string(),
        "--json".to_owned(),
        json.display().to_string(),
    ]);
    all.extend(words.split_whitespace().map(str::to_owned));
    let arguments = Arguments::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
    let code = seaway_bench::run(arguments).map_err(|error| format!("{error:#}"))?;
    assert_eq!(code, ExitCode::SUCCESS);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    Ok(report["outcomes"].as_array().unwrap().clone())
}

fn run(words: &str) -> Vec<Value> {
    run_with(env!("CARGO_BIN_EXE_seaway"), words).unwrap_or_else(|error| panic!("{words}: {error}"))
}

fn figure(outcome: &Value, name: &str) -> f64 {
    outcome["figures"][name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {outcome:#}"))
}

fn verified(outcome: &Value) -> &str {
    outcome["verified"].as_str().unwrap()
}

#[test]
fn core_workloads_run_and_are_verified() {
    let outcomes = run("C1 --messages 2000 --size 8,16,1024 --publishers 2 --subscribers 2");
    assert_eq!(outcomes.len(), 3);
    assert!(
        verified(&outcomes[0]).starts_with("4400 deliveries: none lost"),
        "{}",
        verified(&outcomes[0])
    );
    assert!(
        verified(&outcomes[1]).contains("none doubled, in order"),
        "{}",
        verified(&outcomes[1])
    );
    assert!(verified(&run("C1 --messages 2000 --subscribers 0")[0]).starts_with("2200 published"));
    assert!(verified(&run("C1 --messages 2000 --rate 20k")[0]).starts_with("2200 deliveries"));
    assert!(verified(&run("C2 --messages 1000 --subscribers 3")[0]).starts_with("3300 deliveries"));
    assert!(verified(&run("C3 --messages 1000 --subscribers 3")[0]).starts_with("1100 deliveries"));
    let requests = run("C4 --messages 200 --publishers 3 --subscribers 2");
    assert!(verified(&requests[0]).starts_with("220 requests"));
    assert_eq!(requests[0]["latencies"][0]["name"], "answer");
    assert!(verified(&run("C5 --messages 3000 --subscriptions 500 --channels 1000")[0]).contains("over 500 subjects"));
}

#[test]
fn streaming_publish_costs_what_is_reported() {
    let outcomes = run("S1 --messages 2000 --window 1,64 --publishers 2 --channels 5 --backlog 50");
    assert_eq!(outcomes.len(), 2);
    for outcome in &outcomes {
        assert_eq!(
            verified(outcome),
            "2200 publishes: each acknowledged once, none refused"
        );
        assert!(figure(outcome, "server_written_bytes_per_message") > 0.0);
        assert!(figure(outcome, "server_resident_bytes") > 1e6 && figure(outcome, "server_descriptors") > 5.0);
        assert!(figure(outcome, "server_voluntary_switches_per_message") > 0.0);
        assert!(
            outcome["server"]
                .as_str()
                .unwrap()
                .starts_with("seaway serve -a 127.0.0.1 -p PORT")
        );
    }
    let blocking = &outcomes[0]["latencies"][0];
    assert!(
        blocking["p50_us"].as_f64().unwrap() > 1.0 && blocking["count"].as_u64().unwrap() > 1_500,
        "{blocking}"
    );
    assert!(verified(&run("S3 --messages 2000 --channels 100 --zipf")[0]).starts_with("2200 publishes"));
}

#[test]
fn streaming_deliveries_are_verified() {
    // At a fixed rate it is the schedule that says what is measured, however soon all has arrived.
    let outcomes = run("S2 --messages 2000 --rate 10k --channels 4 --subscribers 2 --publishers 2");
    assert!(verified(&outcomes[0]).contains("2200 deliveries: none lost, none doubled, in order"));
    assert_eq!(outcomes[0]["latencies"][1]["name"], "delivery");
    assert!(verified(&run("S4 --messages 500 --subscriptions 6 --channels 2")[0]).contains("1650 deliveries"));
    assert!(verified(&run("S5 --messages 2000 --subscribers 4 --connections 1")[0]).contains("2200 deliveries"));
    assert!(
        verified(&run("S6 --backlog 3000 --subscribers 2 --rate 1000")[0]).contains("deliveries from the beginning")
    );
}

#[test]
fn a_storm_of_redeliveries_is_measured() {
    let outcome = &run("S7 --backlog 500 --rate 500 --seconds 1.5 --warm-up 0.2")[0];
    assert!(verified(outcome).starts_with("all 500 pending messages were delivered, delivered again"));
    // AckWait is a second; nothing may come sooner.
    assert!(figure(outcome, "redelivery_interval_in_ack_waits") > 0.9, "{outcome:#}");
    assert!(figure(outcome, "storm_p99_ratio") > 0.0 && figure(outcome, "resume_seconds") < 20.0);
}

#[test]
fn idle_recovery_and_retention_are_measured() {
    let outcome = &run("S8 --channels 300 --subscriptions 300 --connections 50 --seconds 1 --warm-up 0.1")[0];
    for name in ["channel_bytes", "subscription_bytes", "connection_bytes"] {
        assert!(figure(outcome, name) > 50.0, "{name} in {outcome:#}");
    }
    assert!(figure(outcome, "channel_descriptors") < 10.0);
    let outcome = &run("S9 --channels 20 --backlog 400")[0];
    assert!(
        figure(outcome, "restart_seconds") > 0.0 && figure(outcome, "disk_bytes") > 1e5,
        "{outcome:#}"
    );
    let words = "S10 --backlog 1500 --messages 2000 --poll-monitoring --server-argument -mm --server-argument 1000";
    let outcome = &run(words)[0];
    assert!(figure(outcome, "monitoring_polls") >= 1.0 && figure(outcome, "disk_bytes") > 1e5);
    assert!(verified(&run(&format!("{words} --subscribers 1"))[0]).contains("2200 deliveries"));
}

/// Half of a second's sends fall into the second half of the stop or before it: their latencies must be there, although a
/// closed loop would have sent nothing meanwhile.
#[test]
fn an_open_loop_shows_a_stop_of_the_server() {
    let rate = 1_000.0;
    let outcome = &run("S1 --rate 1000 --seconds 3 --warm-up 0.5 --inject-stop")[0];
    let ack = &outcome["latencies"][0];
    assert_eq!(ack["name"], "ack");
    assert!(ack["max_us"].as_f64().unwrap() >= 950_000.0, "{ack:#}");
    // 3,000 sends; the thousand in the stop waited between 0 and 1 second, so a sixth waited half a second or longer.
    assert_eq!(ack["count"].as_f64().unwrap(), 3.0 * rate);
    let distribution = ack["distribution"].as_array().unwrap();
    let share_below = distribution
        .iter()
        .filter(|point| point[1].as_f64().unwrap() < 500_000.0)
        .filter_map(|point| point[0].as_f64())
        .fold(0.0, f64::max);
    assert!(
        (0.5..0.9).contains(&share_below),
        "{share_below} of the sends waited less than half a second: {ack:#}"
    );
    assert_eq!(
        verified(outcome),
        "3500 publishes: each acknowledged once, none refused"
    );
}

/// A channel that keeps ten messages while its subscriber takes one at a time loses most of what is published.
#[test]
fn a_loss_is_found_out() {
    let words = "S2 --messages 5000 --max-in-flight 1 --server-argument -mm --server-argument 10";
    let error = run_with(env!("CARGO_BIN_EXE_seaway"), words).expect_err("most messages are gone");
    assert!(error.contains("are missing"), "{error}");
}

#[test]
fn a_server_that_is_not_what_is_asked_for_is_refused() {
    let error = run_with(env!("CARGO_BIN_EXE_seaway"), "J1 --messages 10").expect_err("there is no JetStream here");
    assert!(error.contains("JetStream is not enabled"), "{error}");
    let error = run_with(env!("CARGO_BIN_EXE_seaway"), "S1 --server-argument -no_such_flag").expect_err("no such flag");
    assert!(
        error.contains("no_such_flag") && error.contains("ended with"),
        "{error}"
    );
}

#[test]
fn peers_are_measured_with_the_same_loads() {
    let path = std::env::var_os("PATH").unwrap();
    let Some(peer) = std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .find(|file| file.is_file())
    else {
        println!("SKIPPED: the load generator against nats-server, which is not installed");
        return;
    };
    let peer = peer.display().to_string();
    let run = |words: &str| run_with(&peer, words).unwrap_or_else(|error| panic!("{words}: {error}"))[0].clone();
    let outcome = run("C1 --messages 2000");
    assert!(verified(&outcome).starts_with("2200 deliveries"));
    assert!(outcome["server"].as_str().unwrap().starts_with("nats-server "));
    assert!(verified(&run("C4 --messages 100")).starts_with("110 requests"));
    assert!(verified(&run("J1 --messages 2000 --window 64 --channels 3")).starts_with("2200 publishes"));
    assert!(verified(&run("J1 --messages 1000 --rate 2000")).starts_with("1100 publishes"));
    let outcome = run("J2 --messages 2000 --window 64 --max-in-flight 100");
    assert!(verified(&outcome).starts_with("2200 publishes acknowledged and delivered"));
    let error = run_with(&peer, "S1 --messages 10").expect_err("it is no streaming server");
    assert!(error.contains("open a streaming session"), "{error}");
}

#[test]
fn a_load_of_somebody_elses_server_says_what_it_leaves_and_makes_no_more_than_there_is_room_for() {
    let bench = |server: &Server, words: &str| {
        let address = server.address.as_str();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_seaway"));
        command.args(["bench", "--address", address, "--messages", "100"]);
        let output = command.args(words.split_whitespace()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), stderr)
    };
    let channels = |server: &Server| server.get("/streaming/serverz").1;
    let server = Server::in_memory(&["-mc", "5"]);
    let (_, said) = bench(&server, "C1");
    assert_eq!(said, "", "core subjects leave nothing");
    let (succeeded, said) = bench(&server, "S1 --channels 1,2");
    assert!(succeeded && said.contains("3 channels of this load, with 2"), "{said}");
    assert!(
        said.contains("The server has 3 channels of at most 5; 3 of them are the loads' own"),
        "{said}"
    );
    assert!(said.contains("max_inactivity for \"bench.>\""), "{said}");
    let (succeeded, said) = bench(&server, "S1 --channels 3");
    assert!(
        !succeeded && said.contains("has room for 2: 3 of its 5 (max_channels) are there"),
        "{said}"
    );
    assert!(
        channels(&server).contains("\"channels\": 3"),
        "nothing was made: {}",
        channels(&server)
    );
    let (succeeded, said) = bench(&server, "S2 --channels 1");
    assert!(succeeded && said.contains("1 channel of this load"), "{said}");
    assert!(said.contains("3 channels of earlier loads"), "{said}");
    let server = Server::in_memory(&["-max_inactivity", "1h"]);
    let (_, said) = bench(&server, "S1");
    assert!(said.contains("removes channels that are idle for 3600s"), "{said}");
}
