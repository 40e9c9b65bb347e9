//! The console over HTTP (docs/console.md): who sees what, who may do what, and whose requests are refused.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use crate::support::{PATIENCE, Server};
use seaway_trial::http::{self, Answer};
use seaway_trial::waiting;
use serde_json::{Value, json};

const USERS: &str = r#"
    authorization { users = [
        { user: ada, password: pw, permissions: {
            publish: { allow: [">", "$SEAWAY.api.*.read.>", "$SEAWAY.api.*.change.>"] } } }
        { user: watcher, password: pw, permissions: { publish: ["$SEAWAY.api.*.read.>"], subscribe: "_INBOX.>" } }
        { user: app, password: pw, permissions: { publish: { deny: "$SEAWAY.>" } } }
    ] }
"#;

const OWN: (&str, &str) = ("x-seaway-console", "1");

/// Somebody with a browser.
struct Visitor {
    port: u16,
    cookie: String,
}

impl Visitor {
    fn anonymous(server: &Server) -> Visitor {
        let address = server.monitoring.as_ref().unwrap();
        Visitor {
            port: address.rsplit_once(':').unwrap().1.parse().unwrap(),
            cookie: String::new(),
        }
    }

    fn user(server: &Server, user: &str) -> Visitor {
        let mut visitor = Visitor::anonymous(server);
        let answer = visitor.log_in(&json!({ "user": user, "password": "pw" }));
        assert_eq!(answer.status, 200, "{answer:?}");
        visitor
    }

    fn log_in(&mut self, credentials: &Value) -> Answer {
        let answer = self.send("POST", "session", &[OWN], Some(credentials));
        if let Some(cookie) = answer.header("set-cookie") {
            for wanted in ["HttpOnly", "SameSite=Strict"] {
                assert!(cookie.contains(wanted), "{cookie}");
            }
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        answer
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("Cookie", &self.cookie));
        http::request(self.port, method, &format!("/console/{path}"), &headers, body).unwrap()
    }

    fn look(&self, path: &str) -> Answer {
        self.send("GET", path, &[OWN], None)
    }

    fn ask(&self, operation: &str, question: &Value) -> Answer {
        self.send("POST", &format!("ask/{operation}"), &[OWN], Some(question))
    }
}

fn server(directory: &tempfile::TempDir, more: &str) -> Server {
    let configuration = format!("{USERS}{more}");
    Server::configured(directory.path(), &configuration, &[]).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
}

fn words(answer: &Answer) -> &str {
    answer.json["error"].as_str().unwrap_or_default()
}

#[test]
fn anonymous_visitors_see_what_the_monitoring_shows_and_no_payload() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let ada = Visitor::user(&server, "ada");
    let published = json!({ "channel": "orders", "text": "secret" });
    assert_eq!(
        ada.send("POST", "publish", &[OWN], Some(&published)).json,
        json!({ "published": true })
    );
    let visitor = Visitor::anonymous(&server);
    let page = visitor.look("");
    assert!(page.text.contains("<title>Seaway</title>"), "{page:?}");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(visitor.look("data/channels").json["channels"][0]["name"], "orders");
    assert_eq!(visitor.look("data/channel?channel=orders").json["last_seq"], 1);
    assert_eq!(visitor.look("data/server").json["cluster_id"], "test-cluster");
    assert!(
        visitor.look("data/figures").json["journal"].is_null(),
        "the memory store has none"
    );
    assert!(words(&visitor.look("data/channel?channel=order")).contains("no channel"));
    for answer in [
        visitor.look("messages?channel=orders"),
        visitor.look("payload?channel=orders&sequence=1"),
        visitor.ask("read.channels", &json!({})),
        visitor.ask("change.purge", &json!({ "channel": "orders" })),
        visitor.send("POST", "publish", &[OWN], Some(&published)),
    ] {
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(!answer.text.contains("secret"), "{answer:?}");
    }
}

#[test]
fn who_is_logged_in_may_do_what_the_user_may() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = server(&directory, "");
    {
        let ada = Visitor::user(&server, "ada");
        for number in 1..=5 {
            let published = json!({ "channel": "orders", "text": format!("order {number}") });
            assert_eq!(ada.send("POST", "publish", &[OWN], Some(&published)).status, 200);
        }
        let looked = ada.look("messages?channel=orders&from=2&count=2").json;
        assert_eq!(looked["messages"][0]["base64"], "b3JkZXIgMg==", "{looked}");
        assert_eq!(
            (&looked["first"], &looked["last"], &looked["next"]),
            (&json!(1), &json!(5), &json!(4))
        );
        let payload = ada.look("payload?channel=orders&sequence=5");
        assert_eq!(payload.text, "order 5");
        assert_eq!(
            payload.header("content-disposition"),
            Some("attachment; filename=\"message-5.bin\"")
        );
        assert_eq!(ada.look("payload?channel=orders&sequence=6").status, 404);
        let purge = json!({ "channel": "orders", "up_to": 3, "dry_run": true });
        assert_eq!(ada.ask("change.purge", &purge).json["msgs"], 3);
        assert_eq!(ada.look("data/channel?channel=orders").json["msgs"], 5);
        assert_eq!(
            ada.ask("change.purge", &json!({ "channel": "orders", "up_to": 3 }))
                .json["msgs"],
            3
        );
        assert_eq!(ada.look("data/channel?channel=orders").json["first_seq"], 4);
        assert_eq!(ada.ask("change.purge", &json!({ "channel": "no" })).status, 404);

        let watcher = Visitor::user(&server, "watcher");
        assert_eq!(watcher.look("messages?channel=orders").json["last"], 5);
        let refused = watcher.ask("change.purge", &json!({ "channel": "orders" }));
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(words(&refused).contains("change.purge"), "{refused:?}");
        let published = json!({ "channel": "orders", "text": "x" });
        assert_eq!(watcher.send("POST", "publish", &[OWN], Some(&published)).status, 403);
        let app = Visitor::user(&server, "app");
        assert_eq!(app.look("messages?channel=orders").status, 403);
        assert_eq!(app.ask("change.purge", &json!({ "channel": "orders" })).status, 403);
        for path in [
            "messages?channel=orders&from=abc",
            "messages?from=1",
            "data/channels?offset=abc",
            "data/audit?since=yesterday",
            "payload?channel=orders&sequence=-1",
        ] {
            let refused = ada.look(path);
            assert_eq!(refused.status, 400, "{path}: {refused:?}");
            assert!(
                words(&refused).len() > 10 && !words(&refused).contains("deserialize"),
                "{path}: {refused:?}"
            );
        }
        let published = json!({ "channel": "a..*", "text": "x" });
        let refused = ada.send("POST", "publish", &[OWN], Some(&published));
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(words(&refused).contains("not sent"), "{refused:?}");
        let changes = ada.look("data/audit?who=ada").json;
        assert_eq!(changes["total"], 1, "{changes}");
        assert!(
            changes["changes"][0]["change"]
                .as_str()
                .unwrap()
                .starts_with("purged 3 messages"),
            "{changes}"
        );
        for operation in ["read.messages", "change.backup.begin", "change.*", "x"] {
            assert_eq!(ada.ask(operation, &json!({})).status, 404, "{operation}");
        }
    }
    let line = server.wait_for_line("User \"ada\"").unwrap();
    assert!(line.contains("purged 3 messages of channel \"orders\""), "{line}");
}

#[test]
fn a_login_needs_the_right_password_and_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut visitor = Visitor::anonymous(&server);
    for (credentials, status) in [
        (json!({ "user": "ada", "password": "wrong" }), 403),
        (json!({ "user": "nobody", "password": "pw" }), 403),
        (json!({ "token": "wrong" }), 403),
        (json!({}), 400),
        (json!({ "user": "ada", "token": "x" }), 400),
        (json!({ "user": "ada", "password": "x".repeat(5000) }), 400),
        (json!({ "user": "ada", "pass": "pw" }), 400),
    ] {
        let answer = visitor.log_in(&credentials);
        assert_eq!(answer.status, status, "{credentials} {answer:?}");
        assert!(answer.header("set-cookie").is_none());
    }
    assert_eq!(
        visitor.log_in(&json!({ "user": "ada", "password": "pw" })).json,
        json!({ "user": "ada" })
    );
    assert_eq!(visitor.look("session").json["user"], "ada");
    let stolen = visitor.cookie.clone();
    assert_eq!(visitor.send("DELETE", "session", &[OWN], None).status, 200);
    visitor.cookie = stolen;
    assert_eq!(visitor.look("session").json["user"], Value::Null);
    // Its connection to the broker goes with it.
    let has_gone = || !server.get("/connz").1.contains("console of ada");
    assert!(waiting::until(PATIENCE, has_gone), "{}", server.get("/connz").1);
}

#[test]
fn too_many_failed_logins_have_to_wait() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let mut visitor = Visitor::anonymous(&server);
    let statuses: Vec<u16> = (0..8)
        .map(|_| visitor.log_in(&json!({ "user": "ada", "password": "wrong" })).status)
        .collect();
    assert_eq!(statuses, [403, 403, 403, 403, 403, 429, 429, 429]);
    assert_eq!(visitor.log_in(&json!({ "user": "ada", "password": "pw" })).status, 429);
}

#[test]
fn pages_of_others_cannot_use_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "console_hosts: [\"seaway.example\"]");
    let ada = Visitor::user(&server, "ada");
    let question = json!({ "channel": "orders" });
    let refused = |headers: &[(&str, &str)]| ada.send("POST", "ask/change.purge", headers, Some(&question)).status;
    assert_eq!(refused(&[]), 403, "a form of another page");
    assert_eq!(refused(&[OWN, ("Origin", "http://evil.example")]), 403, "another page");
    assert_eq!(refused(&[OWN]), 404, "no such channel: the request was heard");
    // A name that was made to lead here.
    let answer = raw(
        &server,
        "POST /console/session HTTP/1.1\r\nHost: evil.example\r\nx-seaway-console: 1\r\nContent-Length: 32\r\nConnection: close\r\n\r\n{\"user\":\"ada\",\"password\":\"pw\"}  ",
    );
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("console_hosts"),
        "{answer}"
    );
    let known = raw(
        &server,
        "POST /console/session HTTP/1.1\r\nHost: seaway.example\r\nx-seaway-console: 1\r\nContent-Length: 32\r\nConnection: close\r\n\r\n{\"user\":\"ada\",\"password\":\"pw\"}  ",
    );
    assert!(known.starts_with("HTTP/1.1 200"), "{known}");
}

fn raw(server: &Server, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(server.monitoring.as_ref().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_user_who_goes_with_a_reload_is_logged_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = server(&directory, "");
    let cookie = {
        let ada = Visitor::user(&server, "ada");
        assert_eq!(ada.look("session").json["user"], "ada");
        ada.cookie.clone()
    };
    let file = directory.path().join("server.conf");
    std::fs::write(&file, USERS.replace("user: ada", "user: eve")).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_line("Reloaded server configuration").unwrap();
    let ada = Visitor {
        cookie,
        ..Visitor::anonymous(&server)
    };
    assert!(waiting::until(PATIENCE, || ada.look("session").json["user"].is_null()));
    assert_eq!(ada.ask("change.purge", &json!({ "channel": "x" })).status, 401);
}

#[test]
fn without_users_the_console_looks_and_does_nothing() {
    let server = Server::in_memory(&[]);
    let mut visitor = Visitor::anonymous(&server);
    let session = visitor.look("session").json;
    assert!(session["obstacle"].as_str().unwrap().contains("no users"), "{session}");
    assert_eq!(visitor.log_in(&json!({ "user": "ada", "password": "pw" })).status, 403);
    assert_eq!(visitor.look("data/server").status, 200);
}

#[test]
fn it_is_found_behind_a_base_path_and_can_be_turned_off() {
    let directory = tempfile::tempdir().unwrap();
    let based = server(&directory, "http_base_path: \"nats/\"");
    let (status, page) = based.get("/nats/console/");
    assert!(status == 200 && page.contains("console.css"), "{page}");
    assert_eq!(based.get("/nats/console").0, 307);
    assert_eq!(based.get("/nats/varz").0, 200);
    drop(based);
    let off = server(&directory, "no_console: true");
    assert_eq!(off.get("/console/").0, 404);
    assert_eq!(off.get("/varz").0, 200);
}

/// Of one session's requests few are worked on at a time; the others are refused, and nobody else waits for them.
#[test]
fn a_session_that_asks_too_much_is_refused_and_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let (ada, watcher) = (Visitor::user(&server, "ada"), Visitor::user(&server, "watcher"));
    // Requests whose bodies do not come are under way until they have had their time. One at a time: many at once may meet another one of
    // the same session, and be refused.
    let mut silent = Vec::new();
    let is_refused = waiting::until(PATIENCE, || {
        let mut stream = std::net::TcpStream::connect(server.monitoring.as_ref().unwrap()).unwrap();
        let head = "POST /console/ask/read.server HTTP/1.1\r\nHost: 127.0.0.1\r\nx-seaway-console: 1\r\n";
        write!(stream, "{head}Cookie: {}\r\nContent-Length: 10\r\n\r\n", ada.cookie).unwrap();
        silent.push(stream);
        ada.ask("read.server", &json!({})).status == 429
    });
    assert!(is_refused);
    assert_eq!(watcher.ask("read.server", &json!({})).status, 200);
    assert!(waiting::until(PATIENCE, || ada.ask("read.server", &json!({})).status == 200));
}

/// What is no sequence must not mean all of them.
#[test]
fn null_purges_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let ada = Visitor::user(&server, "ada");
    let published = json!({ "channel": "orders", "text": "x" });
    assert_eq!(ada.send("POST", "publish", &[OWN], Some(&published)).status, 200);
    for question in [
        json!({ "channel": "orders", "up_to": null }),
        json!({ "channel": "orders", "before": null }),
    ] {
        let answer = ada.ask("change.purge", &question);
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert_eq!(ada.look("data/channel?channel=orders").json["msgs"], 1);
}

/// A permission that is given later counts, and what was refused before is not what is said then.
#[test]
fn a_permission_that_a_reload_gives_counts_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = server(&directory, "");
    let purge = json!({ "channel": "orders" });
    let cookie = {
        let ada = Visitor::user(&server, "ada");
        let published = json!({ "channel": "orders", "text": "x" });
        assert_eq!(ada.send("POST", "publish", &[OWN], Some(&published)).status, 200);
        let watcher = Visitor::user(&server, "watcher");
        assert_eq!(watcher.ask("change.purge", &purge).status, 403);
        watcher.cookie.clone()
    };
    let file = directory.path().join("server.conf");
    let more = USERS.replace(
        "publish: [\"$SEAWAY.api.*.read.>\"]",
        "publish: [\"$SEAWAY.api.*.read.>\", \"$SEAWAY.api.*.change.purge\"]",
    );
    std::fs::write(&file, &more).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_line("Reloaded server configuration").unwrap();
    let mut watcher = Visitor {
        cookie,
        ..Visitor::anonymous(&server)
    };
    if watcher.look("session").json["user"].is_null() {
        watcher = Visitor::user(&server, "watcher");
    }
    let answer = watcher.ask("change.purge", &purge);
    assert_eq!((answer.status, &answer.json["msgs"]), (200, &json!(1)), "{answer:?}");
    // Options of the console are not changed by a reload, which says so.
    std::fs::write(&file, format!("{more} no_console: true")).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let line = server.wait_for_line("[ERR] Reload: ").unwrap();
    assert!(line.contains("no_console"), "{line}");
}

/// Who may not ask is not listened to for long, and a proxy on this machine is no private way.
#[test]
fn bodies_and_proxies_of_strangers_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let body = " ".repeat(200_000);
    let head = |more: &str| {
        format!(
            "POST /console/ask/read.server HTTP/1.1\r\nHost: 127.0.0.1\r\nx-seaway-console: 1\r\n{more}Connection: close\r\n"
        )
    };
    let refused = raw(&server, &format!("{}Content-Length: 200000\r\n\r\n{body}", head("")));
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let proxied = json!({ "user": "ada", "password": "pw" });
    let visitor = Visitor::anonymous(&server);
    let answer = visitor.send(
        "POST",
        "session",
        &[OWN, ("X-Forwarded-For", "10.0.0.1")],
        Some(&proxied),
    );
    assert_eq!(answer.status, 403, "{answer:?}");
    let ada = Visitor::user(&server, "ada");
    let through = ada.send(
        "POST",
        "ask/read.server",
        &[OWN, ("Forwarded", "for=10.0.0.1")],
        Some(&json!({})),
    );
    assert_eq!(through.status, 403, "{through:?}");
    let long = json!({ "user": "ada", "password": "x".repeat(20_000) });
    assert_eq!(visitor.send("POST", "session", &[OWN], Some(&long)).status, 413);
    // The body that never comes.
    let begun = Instant::now();
    let cookie = &ada.cookie;
    let silent = raw(
        &server,
        &format!("{}Content-Length: 10\r\n\r\n", head(&format!("Cookie: {cookie}\r\n"))),
    );
    assert!(
        silent.starts_with("HTTP/1.1 408") && begun.elapsed() < PATIENCE,
        "{silent}"
    );
}

/// Nobody keeps others out by logging in again and again: the oldest session of the same user ends.
#[test]
fn a_user_has_few_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory, "");
    let sessions: Vec<Visitor> = (0..9).map(|_| Visitor::user(&server, "watcher")).collect();
    let is_in: Vec<bool> = sessions
        .iter()
        .map(|one| one.look("session").json["user"] == "watcher")
        .collect();
    assert_eq!(is_in.iter().filter(|is_in| **is_in).count(), 8, "{is_in:?}");
    assert!(!is_in[0], "the oldest has gone");
    assert_eq!(Visitor::user(&server, "ada").look("session").json["user"], "ada");
}
