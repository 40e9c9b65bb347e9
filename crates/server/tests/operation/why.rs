//! `/streaming/why` on the real binary: the verdicts that operators meet most.

use crate::support::requests::{durable, in_flight, publish, queue, take, wait_for};
use crate::support::{PATIENCE, Server};
use seaway_bench::stan::subscription;

/// Asks, and gives back the status and the body; the verdict must be the one expected.
#[track_caller]
fn ask(server: &Server, query: &str, status: u16, verdict: &str) -> String {
    let (answered, body) = server.get(&format!("/streaming/why?{query}"));
    assert_eq!(answered, status, "{query}: {body}");
    assert!(
        body.contains(&format!("\n  \"verdict\": \"{verdict}\",")),
        "{query} is not {verdict}: {body}"
    );
    body
}

#[track_caller]
fn contains(body: &str, texts: &[&str]) {
    for text in texts {
        assert!(body.contains(text), "{text} is missing in {body}");
    }
}

#[test]
fn what_does_not_exist_and_what_has_everything() {
    let server = Server::in_memory(&[]);
    assert_eq!(server.get("/streaming/why").0, 400);
    contains(
        &ask(&server, "channel=orders", 404, "channel_unknown"),
        &["There is no channel 'orders'", "\"subscriptions\": []"],
    );
    let mut session = server.session("me");
    publish(&mut session, "orders", 2);
    contains(&ask(&server, "channel=order", 404, "channel_unknown"), &["'orders'"]);
    ask(&server, "channel=orders", 200, "no_subscriptions");
    session.subscribe(durable(subscription("orders"))).unwrap();
    contains(
        &ask(&server, "channel=orders&durable=other", 404, "durable_unknown"),
        &["Its durables: 'dur'"],
    );
    ask(&server, "channel=orders&queue=q", 404, "queue_unknown");
    contains(
        &ask(&server, "channel=orders&client=nobody", 404, "client_unknown"),
        &["it is not connected", "\"client_registered\": false"],
    );
    contains(
        &ask(&server, "channel=orders&durable=dur", 200, "nothing_new"),
        &["it stands at sequence 2", "\"total\": 1,", "\"messages_waiting\": 0"],
    );
    let (status, text) = server.get("/streaming/why?channel=orders&format=text");
    assert_eq!(status, 200);
    assert!(
        text.starts_with("nothing_new: Durable 'dur' of client 'me' has everything"),
        "{text}"
    );
}

#[test]
fn stalled_then_offline_then_back() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let subscribed = session
        .subscribe(durable(in_flight(subscription("orders"), 2)))
        .unwrap();
    publish(&mut session, "orders", 5);
    take(&mut session, 2);
    contains(
        &ask(&server, "channel=orders", 200, "stalled"),
        &[
            "Durable 'dur' of client 'me' has been stalled",
            "sequences 1-2",
            "3 new messages wait",
            "\"stalled_since\": \"",
            "\"next_redelivery\": \"",
            "\"pending_count\": 2",
            "\"first\": 1,",
            "\"ack_wait_seconds\": 30.0",
        ],
    );
    let mut other = server.session("other");
    other.subscribe(subscription("orders")).unwrap();
    contains(
        &ask(&server, "channel=orders", 200, "stalled"),
        &["Of 2 subscriptions of channel 'orders', 1 need attention: 1 stalled, 1 nothing_new."],
    );
    let page = ask(&server, "channel=orders&limit=1&offset=1", 200, "stalled");
    contains(&page, &["\"offset\": 1,", "\"count\": 1,", "\"total\": 2,"]);
    session.close_subscription(&subscribed).unwrap();
    contains(
        &ask(&server, "channel=orders&durable=dur", 200, "offline"),
        &[
            "has had no owner for",
            "2 messages are unacknowledged",
            "\"offline_since\": \"",
        ],
    );
    let resumed = session.subscribe(durable(subscription("orders"))).unwrap();
    for (sequence, _) in take(&mut session, 5) {
        session.ack(&resumed, sequence);
    }
    session.connection.ping(PATIENCE).unwrap();
    wait_for(
        &server,
        "/streaming/why?channel=orders&durable=dur",
        "\"verdict\": \"nothing_new\"",
    );
}

#[test]
fn a_group_without_members() {
    let server = Server::in_memory(&[]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(durable(queue(subscription("jobs")))).unwrap();
    session.close_subscription(&subscribed).unwrap();
    publish(&mut session, "jobs", 3);
    for query in [
        "channel=jobs&queue=q",
        "channel=jobs&queue=dur:q",
        "channel=jobs&durable=dur",
    ] {
        contains(
            &ask(&server, query, 200, "no_members"),
            &[
                "Queue group 'dur:q' has had no member",
                "3 new messages wait",
                "\"group_members\": 0",
            ],
        );
    }
}

#[test]
fn a_client_that_does_not_answer_heartbeats() {
    let server = Server::in_memory(&["-hbi", "50ms", "-hbt", "50ms", "-hbf", "100000"]);
    let mut session = server.session("me");
    session.subscribe(subscription("orders")).unwrap();
    session.go_deaf().unwrap();
    wait_for(
        &server,
        "/streaming/why?channel=orders",
        "\"verdict\": \"client_failing\"",
    );
    contains(
        &ask(&server, "channel=orders&client=me", 200, "client_failing"),
        &["\"failed_heartbeats\": ", "\"failing_since\": \"", "in a row"],
    );
}

/// Answers are as good for a file store that was started again.
#[test]
fn offline_since_before_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::with_files(directory.path(), &[]);
    let mut session = server.session("me");
    let subscribed = session.subscribe(durable(subscription("orders"))).unwrap();
    session.close_subscription(&subscribed).unwrap();
    publish(&mut session, "orders", 1);
    server.kill();
    let server = Server::with_files(directory.path(), &[]);
    contains(
        &ask(&server, "channel=orders", 200, "offline"),
        &[
            "since before the server's start",
            "the last was client 'me'",
            "1 new message waits",
        ],
    );
}
