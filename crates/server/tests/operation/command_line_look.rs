//! The commands of the `seaway` binary that look inside a running server (`docs/command-line.md`).

use crate::support::Server;
use crate::support::shell::Shell;
use serde_json::json;

/// A server with two channels and two durables of `orders`.
fn with_orders() -> (Server, Shell) {
    let server = Server::in_memory(&["-max_msgs", "5000"]);
    let shell = Shell::at(&server.address);
    shell.run(&["pub", "orders", "{{Count}}", "-n", "2500"]).expect(0);
    shell.run(&["pub", "orders.eu", "x"]).expect(0);
    let durable = ["sub", "orders", "--all", "-n", "2", "--durable"];
    shell.run(&[durable.as_slice(), &["billing"]].concat()).expect(0);
    shell
        .run(&[durable.as_slice(), &["mail", "--queue", "workers"]].concat())
        .expect(0);
    (server, shell)
}

#[test]
fn channels_are_listed() {
    let (server, shell) = with_orders();
    let said = shell.run(&["channels"]).expect(0);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = said.stdout.lines().map(words).collect();
    assert_eq!(
        lines[0],
        ["CHANNEL", "MESSAGES", "SIZE", "FIRST", "LAST", "SUBSCRIPTIONS"]
    );
    assert_eq!(lines[1][..2], ["orders", "2,500"]);
    assert_eq!((lines[1].last().unwrap().as_str(), lines.len()), ("2", 3));
    let listed = shell.run(&["channels", "orders.", "--json"]).expect(0).json();
    assert_eq!(
        (listed.len(), &listed[0]["name"], &listed[0]["msgs"]),
        (1, &json!("orders.eu"), &json!(1))
    );
    assert!(
        shell
            .run(&["channels", "none"])
            .expect(0)
            .stdout
            .contains("No channel begins")
    );
    assert_eq!(shell.run(&["channels", "none", "--json"]).expect(0).stdout, "");
    drop(server);
    shell.run(&["channels"]).expect(4);
}

#[test]
fn a_list_longer_than_a_page_is_complete() {
    let server = Server::in_memory(&["-max_channels", "0"]);
    let shell = Shell::at(&server.address);
    let mut session = server.session("many");
    for number in 0..1500 {
        session.publish(&format!("channel.{number:04}"), b"x").unwrap();
    }
    let listed = shell.run(&["channels", "--json"]).expect(0).json();
    let names: Vec<&str> = listed.iter().map(|one| one["name"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..1500).map(|number| format!("channel.{number:04}")).collect();
    assert_eq!(names, expected);
    assert_eq!(
        shell.run(&["channels"]).expect(0).stdout.matches("\nchannel.").count(),
        1500
    );
}

#[test]
fn a_channel_is_shown_with_its_subscriptions() {
    let (_server, shell) = with_orders();
    let said = shell.run(&["channel", "info", "orders"]).expect(0);
    for text in [
        "2,500, from 1 to 2,500",
        "5,000 messages",
        "billing",
        "mail:workers",
        "offline",
    ] {
        assert!(said.stdout.contains(text), "{text:?} in {}", said.stdout);
    }
    let document = &shell.run(&["channel", "info", "orders", "--json"]).expect(0).json()[0];
    assert_eq!(
        (&document["last_seq"], &document["limits"]["max_msgs"]),
        (&json!(2500), &json!(5000))
    );
    assert_eq!(document["subscriptions"].as_array().unwrap().len(), 2);
    let said = shell.run(&["channel", "info", "ordrs"]).expect(3);
    assert!(said.stderr.contains("'orders'"), "{said:#?}");
}

#[test]
fn durables_are_listed_and_forgotten() {
    let (_server, shell) = with_orders();
    let listed = shell.run(&["durables", "orders", "--json"]).expect(0).json();
    let row = |index: usize| {
        (
            &listed[index]["name"],
            &listed[index]["queue"],
            &listed[index]["is_online"],
        )
    };
    assert_eq!(row(0), (&json!("billing"), &json!(""), &json!(false)));
    assert_eq!(row(1), (&json!("mail"), &json!("workers"), &json!(false)));
    assert!(
        shell
            .run(&["durables"])
            .expect(0)
            .stdout
            .contains("seaway-orders-billing")
    );
    shell.run(&["durables", "none"]).expect(3);
    let forget =
        |more: &[&str]| shell.run(&[["sub", "orders", "--unsubscribe", "--durable"].as_slice(), more].concat());
    let said = forget(&["billing", "--client-id", "me"]).expect(3);
    assert!(said.stderr.contains("--client-id seaway-orders-billing"), "{said:#?}");
    forget(&["none"]).expect(3);
    forget(&["billing"]).expect(0);
    forget(&["mail", "--queue", "workers"]).expect(0);
    assert!(shell.run(&["durables"]).expect(0).stdout.contains("No durables"));
}

#[test]
fn clients_and_the_server_are_shown() {
    let (server, shell) = with_orders();
    assert!(shell.run(&["clients"]).expect(0).stdout.contains("No clients"));
    let mut session = server.session("reader");
    session.publish("orders", b"x").unwrap();
    assert_eq!(shell.run(&["clients", "--json"]).expect(0).json()[0]["id"], "reader");
    assert!(
        shell
            .run(&["clients", "reader"])
            .expect(0)
            .stdout
            .contains("Subscriptions  0")
    );
    shell.run(&["clients", "nobody"]).expect(3);
    let said = shell.run(&["server", "info"]).expect(0);
    for text in ["test-cluster", "MEMORY", "5,000 messages", "Channels       2", "ready"] {
        assert!(said.stdout.contains(text), "{text:?} in {}", said.stdout);
    }
    assert_eq!(
        shell.run(&["server", "info", "--json"]).expect(0).json()[0]["channels"],
        2
    );
}

#[test]
fn why_says_it_in_words() {
    let (_server, shell) = with_orders();
    let said = shell.run(&["why", "orders", "--durable", "billing"]).expect(0);
    assert!(
        said.stdout.starts_with("offline: ") && said.stdout.lines().count() == 2,
        "{said:#?}"
    );
    let said = shell.run(&["why", "orders"]).expect(0);
    assert!(said.stdout.contains("\nno_members: "), "{said:#?}");
    let document = &shell.run(&["why", "orders", "--json"]).expect(0).json()[0];
    assert_eq!(document["total"], 2);
    shell.run(&["why", "orders", "--durable", "none"]).expect(3);
    shell.run(&["why", "none"]).expect(3);
}

#[test]
fn peek_looks_and_changes_nothing() {
    let (_server, shell) = with_orders();
    let durables = shell.run(&["durables", "--json"]).expect(0).stdout;
    let numbers = |arguments: &[&str]| -> Vec<u64> {
        let said = shell
            .run(&[["peek", "orders", "--raw"].as_slice(), arguments].concat())
            .expect(0);
        said.stdout.lines().map(|line| line.parse().unwrap()).collect()
    };
    assert_eq!(numbers(&[]), (2491..=2500).collect::<Vec<_>>());
    assert_eq!(numbers(&["-n", "1"]), [2500]);
    assert_eq!(numbers(&["--from", "7", "-n", "2"]), [7, 8]);
    shell.run(&["peek", "orders", "--from", "0"]).expect(2);
    assert_eq!(numbers(&["-n", "2200"]), (301..=2500).collect::<Vec<_>>());
    assert_eq!(numbers(&["-n", "9999"]), (1..=2500).collect::<Vec<_>>());
    let message = &shell
        .run(&["peek", "orders", "--from", "3", "-n", "1", "--json"])
        .expect(0)
        .json()[0];
    assert_eq!((&message["sequence"], &message["payload"]), (&json!(3), &json!("3")));
    let age = message["timestamp"]
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap();
    assert!(jiff::Timestamp::now().duration_since(age).as_secs() < 600);
    let said = shell.run(&["peek", "orders", "--from", "2501"]).expect(0);
    assert!(
        said.stdout.is_empty() && said.stderr.contains("from 1 to 2,500"),
        "{said:#?}"
    );
    shell.run(&["peek", "none"]).expect(3);
    assert_eq!(
        shell.run(&["channels", "--json"]).expect(0).json().len(),
        2,
        "looking creates no channel"
    );
    assert_eq!(shell.run(&["durables", "--json"]).expect(0).stdout, durables);
}
