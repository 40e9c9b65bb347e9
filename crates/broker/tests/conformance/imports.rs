//! Streams and services that accounts import from one another (core specification §2.7), and a randomized comparison with a model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seaway_broker::{
    AccountOptions, Batch, BrokerOptions, Destination, ImportKind, ImportOptions, Permissions, Sink, SubjectRules,
};
use seaway_nats_protocol::{SubjectMapping, subject};

use crate::meshes::{to, wait_for_mesh};
use crate::routes::Member;
use crate::support::{Client, Server, access, user_of};

fn import(account: &str, exported: &str, imported: &str, kind: ImportKind) -> ImportOptions {
    ImportOptions {
        account: account.into(),
        mapping: SubjectMapping::new(exported, imported).unwrap(),
        kind,
    }
}

fn stream(account: &str, exported: &str, imported: &str) -> ImportOptions {
    import(account, exported, imported, ImportKind::Stream)
}

fn service(account: &str, exported: &str, imported: &str) -> ImportOptions {
    let kind = ImportKind::Service {
        is_single: true,
        threshold: Duration::from_secs(120),
    };
    import(account, exported, imported, kind)
}

/// Accounts A, B and C, of users `a`, `b` and `c`; A imports this.
fn importing(imports: Vec<ImportOptions>) -> impl FnOnce(&mut BrokerOptions) {
    let account = |name: &str, imports| AccountOptions {
        name: name.into(),
        imports,
        ..AccountOptions::default()
    };
    move |options| {
        options.accounts = vec![
            account("A", imports),
            account("B", Vec::new()),
            account("C", Vec::new()),
        ];
        options.services = ["$SEAWAY.>", "_STAN.>", "$SYS.>"].map(str::to_owned).into();
        options.access = access(|it| {
            it.users = vec![
                user_of("A", "a"),
                user_of("A", "a2"),
                user_of("B", "b"),
                user_of("B", "b2"),
                user_of("C", "c"),
            ];
        });
    }
}

#[test]
fn line_102_messages_come_under_the_importers_subject() {
    let server = Server::with(importing(vec![
        stream("B", "foo.>", "p.foo.>"),
        stream("C", "x.*.y.*", "$2.$1"),
    ]));
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| server.user(name));
    a.flush("SUB p.> 1\r\nSUB p.foo.*.x q 2\r\nSUB *.1 3\r\nSUB foo.> 4\r\n");
    b.flush("PUB foo.bar 1\r\n1\r\nPUB other 1\r\nn\r\n");
    a.expect("MSG p.foo.bar 1 1\r\n1\r\n");
    b.flush("PUB foo.bar.x re 1\r\n2\r\nHPUB foo.z 12 13\r\nNATS/1.0\r\n\r\n3\r\n");
    let mut got = [a.message(), a.message()].map(|(subject, sid, reply, _)| (subject, sid, reply));
    got.sort();
    let got: Vec<(&str, &str, Option<&str>)> = got.iter().map(|(s, i, r)| (&s[..], &i[..], r.as_deref())).collect();
    assert_eq!(
        got,
        [("p.foo.bar.x", "1", Some("re")), ("p.foo.bar.x", "2", Some("re"))]
    );
    a.expect("HMSG p.foo.z 1 12 13\r\nNATS/1.0\r\n\r\n3\r\n");
    c.flush("PUB x.1.y.2 1\r\n4\r\nPUB x.2.y.1 1\r\nn\r\nPUB x.1.z.2 1\r\nn\r\n");
    a.expect("MSG 2.1 3 1\r\n4\r\n");
    // Nothing goes the other way, and nothing that is published here is taken for an import.
    b.flush("SUB > 1\r\n");
    server.user("a2").flush("PUB p.q 1\r\n5\r\nPUB foo.bar 1\r\n6\r\n");
    a.expect("MSG p.q 1 1\r\n5\r\nMSG foo.bar 4 1\r\n6\r\n");
    a.expect_nothing_more();
    b.expect_nothing_more();
}

#[test]
fn a_subscription_with_imports_ends_as_a_whole() {
    let server = Server::with(importing(vec![stream("B", "foo", "foo")]));
    let [mut a, mut b, mut a2] = ["a", "b", "a2"].map(|name| server.user(name));
    // The limit counts what comes on both ways.
    a.flush("SUB foo 1\r\nUNSUB 1 2\r\n");
    a2.flush("PUB foo 1\r\n1\r\n");
    a.expect("MSG foo 1 1\r\n1\r\n");
    b.flush("PUB foo 1\r\n2\r\nPUB foo 1\r\nn\r\n");
    a.expect("MSG foo 1 1\r\n2\r\n");
    a2.flush("PUB foo 1\r\nn\r\n");
    a.expect_nothing_more();
    a.flush("SUB foo 2\r\nUNSUB 2\r\nSUB foo 3\r\n");
    b.flush("PUB foo 1\r\n3\r\n");
    a.expect("MSG foo 3 1\r\n3\r\n");
    a.expect_nothing_more();
    let before = server.broker.snapshot().subscriptions;
    a.stop_sending();
    a.expect_gone();
    server.wait_until("both are gone", |broker| broker.snapshot().subscriptions == before - 2);
}

/// What a user may not see it does not see by an import either: rules are about the subjects of its own account.
#[test]
fn permissions_hold_for_what_is_imported() {
    let server = Server::with(|options| {
        importing(vec![stream("B", "foo.>", "p.>")])(options);
        options.access = access(|it| {
            let mut restricted = user_of("A", "a");
            restricted.permissions = Some(Permissions {
                subscribe: SubjectRules {
                    allow: vec!["p.>".into()],
                    deny: vec!["p.secret".into()],
                },
                ..Permissions::default()
            });
            it.users = vec![restricted, user_of("B", "b")];
        });
    });
    let [mut a, mut b] = ["a", "b"].map(|name| server.user(name));
    a.send("SUB foo.> 1\r\n");
    a.expect("-ERR 'Permissions Violation for Subscription to \"foo.>\"'\r\n");
    a.flush("SUB p.* 1\r\n");
    b.flush("PUB foo.secret 1\r\nn\r\nPUB foo.open 1\r\ny\r\n");
    a.expect("MSG p.open 1 1\r\ny\r\n");
    a.expect_nothing_more();
}

#[test]
fn line_103_a_request_goes_there_and_its_answer_comes_back() {
    let server = Server::with(importing(vec![service("B", "svc.*", "ask.$1")]));
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| server.user(name));
    b.flush("SUB svc.* q 1\r\n");
    c.flush("SUB > 1\r\n");
    a.flush("SUB in 7\r\n");
    a.flush("PUB ask.x in 2\r\nhi\r\n");
    let (subject, _, reply, payload) = b.message();
    let reply = reply.unwrap();
    assert_eq!((&subject[..], &payload[..]), ("svc.x", &b"hi"[..]));
    assert!(reply.starts_with("_R_."), "{reply}");
    b.flush(format!("PUB {reply} 2\r\nho\r\n"));
    a.expect("MSG in 7 2\r\nho\r\n");
    // One answer is all there is.
    b.flush(format!("PUB {reply} 2\r\nho\r\n"));
    a.expect_nothing_more();
    // A message nobody waits for an answer to goes there as well.
    a.flush("PUB ask.y 1\r\n1\r\n");
    b.expect("MSG svc.y 1 1\r\n1\r\n");
    c.expect_nothing_more();
    b.expect_nothing_more();
}

#[test]
fn nobody_answers_where_nobody_is_there() {
    let server = Server::with(importing(vec![service("B", "svc", "ask")]));
    let [mut a, mut c] = ["a", "c"].map(|name| server.user(name));
    c.flush("SUB svc 1\r\nSUB ask 1\r\n");
    a.send("SUB in 7\r\nPUB ask in 0\r\n\r\n");
    a.expect("HMSG in 7 35 35\r\nNATS/1.0 503\r\nNats-Subject: ask\r\n\r\n\r\n");
}

#[test]
fn several_answers_come_where_that_is_allowed() {
    let kind = ImportKind::Service {
        is_single: false,
        threshold: Duration::from_secs(120),
    };
    let server = Server::with(importing(vec![import("B", "svc", "ask", kind)]));
    let [mut a, mut b] = ["a", "b"].map(|name| server.user(name));
    b.flush("SUB svc 1\r\n");
    a.flush("SUB in 7\r\nPUB ask in 0\r\n\r\n");
    let reply = b.message().2.unwrap();
    b.flush(format!("PUB {reply} 1\r\n1\r\nPUB {reply} 1\r\n2\r\n"));
    a.expect("MSG in 7 1\r\n1\r\nMSG in 7 1\r\n2\r\n");
}

#[test]
fn an_answer_that_comes_too_late_reaches_nobody() {
    let kind = ImportKind::Service {
        is_single: true,
        threshold: Duration::ZERO,
    };
    let server = Server::with(importing(vec![import("B", "svc", "ask", kind)]));
    let [mut a, mut b] = ["a", "b"].map(|name| server.user(name));
    b.flush("SUB svc 1\r\n");
    a.flush("SUB in 7\r\nPUB ask in 0\r\n\r\n");
    let reply = b.message().2.unwrap();
    b.flush(format!("PUB {reply} 1\r\n1\r\n"));
    a.expect_nothing_more();
}

/// A service may itself be a service of a third account; the answer finds the way back.
#[test]
fn services_may_be_imported_further() {
    let server = Server::with(|options| {
        importing(vec![service("B", "svc", "ask")])(options);
        options.accounts[1].imports = vec![service("C", "deep", "svc")];
    });
    let [mut a, mut c] = ["a", "c"].map(|name| server.user(name));
    c.flush("SUB deep 1\r\n");
    a.flush("SUB in 7\r\nPUB ask in 1\r\n?\r\n");
    let (subject, _, reply, _) = c.message();
    assert_eq!(subject, "deep");
    c.flush(format!("PUB {} 1\r\n!\r\n", reply.unwrap()));
    a.expect("MSG in 7 1\r\n!\r\n");
}

/// Accounts that ask one another in a circle, which a configuration may not say, go round so often and no more.
#[test]
fn a_circle_of_services_ends() {
    let server = Server::with(|options| {
        importing(vec![service("B", "x", "x")])(options);
        options.accounts[1].imports = vec![service("A", "x", "x")];
    });
    let mut a = server.user("a");
    a.flush("SUB in 7\r\nSUB x 8\r\n");
    a.send("PUB x in 1\r\n1\r\nPING\r\n");
    let mut count = 0;
    while a.line() != "PONG" {
        count += 1;
    }
    // A line of the frame and one of the payload for each time that it comes by.
    assert!((2..=20).contains(&count), "{count}");
}

/// The attack list: nothing that a client in one account says reaches another one but by what is imported.
#[test]
fn attacks_on_the_border() {
    let server = Server::with(importing(vec![
        service("B", "svc", "ask"),
        stream("B", "news.>", "news.>"),
    ]));
    let [mut a, mut a2, mut b, mut b2, mut c] = ["a", "a2", "b", "b2", "c"].map(|name| server.user(name));
    b.flush("SUB svc 1\r\nSUB secret 2\r\nSUB _INBOX.b 3\r\n");
    // Subjects of the other account, by name, by its account's name, and as a queue group.
    a.flush("PUB svc 1\r\nn\r\nPUB secret 1\r\nn\r\nPUB B.secret 1\r\nn\r\nPUB $B.secret 1\r\nn\r\n");
    a.flush("SUB secret svc 1\r\nSUB svc 2\r\nSUB > 3\r\nSUB *.* 4\r\nSUB B 5\r\n");
    b2.flush("PUB secret 1\r\ny\r\nPUB _INBOX.b 1\r\ny\r\n");
    b.expect("MSG secret 2 1\r\ny\r\nMSG _INBOX.b 3 1\r\ny\r\n");
    a.expect_nothing_more();
    // A reply does not lead into the other account: the answer comes back to the asker's own.
    c.flush("SUB > 1\r\n");
    a.flush("UNSUB 3\r\nUNSUB 4\r\nSUB secret 9\r\n");
    a2.flush("PUB ask secret 1\r\n?\r\n");
    let reply = b.message().2.unwrap();
    b.flush(format!("PUB {reply} 1\r\n!\r\n"));
    let mut got = [a.message().1, a.message().1];
    got.sort();
    assert_eq!(got, ["1", "9"], "it is published in the account of who asked");
    b.expect_nothing_more();
    // Nobody's answer is a request to the services of this server, which would ask what its bringer may do.
    for services in ["$SEAWAY.api.x.read.messages", "_STAN.discover.x", "$SYS.REQ.USER.INFO"] {
        a2.flush(format!("PUB ask {services} 1\r\n?\r\n"));
    }
    b.expect_nothing_more();
    // Replies are nobody's to choose, and not to be guessed.
    a.send("PUB ask _R_.x 1\r\n?\r\n");
    a.expect("-ERR 'Permissions Violation for Publish with Reply of \"_R_.x\"'\r\n");
    a2.flush("PUB ask in 1\r\n?\r\n");
    let reply = b.message().2.unwrap();
    a.flush(format!("PUB {reply} 6\r\nforged\r\n"));
    c.send(format!("PUB {reply} 6\r\nforged\r\n"));
    c.expect(format!("MSG {reply} 1 6\r\nforged\r\n"));
    // Whoever sees everything in its own account sees that nothing came of it.
    c.expect_nothing_more();
    b.flush(format!("PUB {reply}x 6\r\nforged\r\nPUB _R_.* 6\r\nforged\r\n"));
    a2.flush("SUB in 1\r\n");
    b.flush(format!("PUB {reply} 1\r\n!\r\n"));
    a2.expect("MSG in 1 1\r\n!\r\n");
    a2.expect_nothing_more();
    // A client that speaks as another server does is not understood.
    a2.send("RMSG B secret 1\r\nx\r\n");
    a2.expect("-ERR 'Unknown Protocol Operation'\r\n");
    a2.expect_closed();
    b.expect_nothing_more();
}

/// Whatever accounts import: a party of this process takes what its own account's clients ask, and from others requests only where it is
/// there for them.
#[test]
fn parties_of_the_process_take_nothing_from_other_accounts_unasked() {
    let server = Server::with(importing(vec![service("B", "svc.*", "ask.$1")]));
    let (closed, open) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
    let closed_party = server.broker.attach_to("B", "closed", Arc::clone(&closed) as _);
    closed_party.subscribe("svc.*", 1, false).unwrap();
    let open_party = server.broker.attach_to("B", "open", Arc::clone(&open) as _);
    open_party.serve_importers();
    open_party.subscribe("svc.*", 1, false).unwrap();
    // In the importer's account, where answers come back.
    let waiting = Arc::new(Counting::default());
    let waiting_party = server.broker.attach_to("A", "waiting", Arc::clone(&waiting) as _);
    waiting_party.serve_importers();
    waiting_party.subscribe("in", 1, false).unwrap();
    let [mut a, mut b] = ["a", "b"].map(|name| server.user(name));
    a.flush("SUB in 1\r\n");
    b.flush("SUB svc.x 1\r\n");
    a.flush("PUB ask.x in 1\r\n?\r\n");
    let reply = b.message().2.unwrap();
    b.flush(format!("PUB {reply} 1\r\n!\r\n"));
    a.expect("MSG in 1 1\r\n!\r\n");
    let counts = || [&closed, &open, &waiting].map(|sink| sink.0.load(Ordering::Acquire));
    assert_eq!(counts(), [0, 1, 0]);
    b.flush("PUB svc.y 0\r\n\r\n");
    server.user("a2").flush("PUB in 0\r\n\r\n");
    assert_eq!(counts(), [1, 2, 1]);
}

/// Counts what it is brought.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Sink for Counting {
    fn deliver(&self, batch: Batch) {
        self.0.fetch_add(batch.len(), Ordering::AcqRel);
    }

    fn drained(&self, _destination: Destination) {}
}

#[test]
fn what_is_imported_comes_from_other_servers_too() {
    let imports = || vec![service("B", "svc", "ask"), stream("B", "news.>", "p.news.>")];
    let first = Member::with(|_| {}, importing(imports()));
    let route = to(&first);
    let second = Member::with(|cluster| cluster.routes = vec![route], importing(imports()));
    wait_for_mesh(&[&first, &second]);
    let mut a = first.server.user("a");
    let mut b = second.server.user("b");
    a.flush("SUB p.> 1\r\nSUB in 2\r\n");
    b.flush("SUB svc 1\r\n");
    // Asked again until both servers know what is wanted on the other one.
    let mut heard = false;
    while !heard {
        a.send("PUB ask in 1\r\n?\r\nPING\r\n");
        heard = a.line() == "PONG";
        while !heard && a.line() != "PONG" {}
    }
    let (subject, _, reply, _) = b.message();
    assert_eq!(subject, "svc");
    b.flush(format!("PUB {} 1\r\n!\r\n", reply.unwrap()));
    a.expect("MSG in 2 1\r\n!\r\n");
    b.flush("PUB news.x 1\r\n1\r\n");
    a.expect("MSG p.news.x 1 1\r\n1\r\n");
    // Once, though both servers import it.
    let mut there = second.server.user("a2");
    there.flush("SUB p.> 1\r\n");
    b.flush("PUB news.y 1\r\n2\r\n");
    there.expect("MSG p.news.y 1 1\r\n2\r\n");
    a.expect("MSG p.news.y 1 1\r\n2\r\n");
    a.expect_nothing_more();
    there.expect_nothing_more();
}

/// A service that very many listen to is asked in slices: others are served meanwhile.
#[test]
fn a_service_with_very_many_listeners_holds_up_nobody() {
    let server = Server::with(importing(vec![service("B", "svc", "ask")]));
    let [mut a, mut b] = ["a", "b"].map(|name| server.user(name));
    let subscriptions: String = (0..30_000).map(|sid| format!("SUB svc {sid}\r\n")).collect();
    b.flush(subscriptions);
    a.flush("PUB ask in 1\r\n?\r\n");
    let mut sids: Vec<u64> = (0..30_000).map(|_| b.message().1.parse().unwrap()).collect();
    sids.sort_unstable();
    assert!(sids.into_iter().eq(0..30_000), "each has it once");
    b.expect_nothing_more();
}

/// One random arrangement of accounts, subscriptions and publications against a model that knows only the rules.
fn trial(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let names = ["A", "B", "C"];
    let pattern = |random: &mut fastrand::Rng, literal: bool| {
        let mut tokens: Vec<&str> = (0..random.usize(1..4))
            .map(|_| match random.u8(..6) {
                0 | 1 if !literal => "*",
                2 | 3 => "x",
                4 => "y",
                _ => "z",
            })
            .collect();
        if !literal && random.u8(..4) == 0 {
            tokens.push(">");
        }
        tokens.join(".")
    };
    let mut imports: Vec<(usize, usize, String, String)> = Vec::new();
    for _ in 0..random.usize(1..6) {
        let importer = random.usize(..names.len());
        let exporter = (importer + random.usize(1..names.len())) % names.len();
        let exported = pattern(&mut random, false);
        let imported = match random.u8(..3) {
            0 => exported.clone(),
            1 => format!("p.{exported}"),
            _ => format!("x.{exported}"),
        };
        imports.push((importer, exporter, exported, imported));
    }
    let server = Server::with(|options| {
        options.accounts = { names.iter().enumerate() }
            .map(|(index, name)| AccountOptions {
                name: (*name).into(),
                imports: { imports.iter() }
                    .filter(|(importer, ..)| *importer == index)
                    .map(|(_, exporter, exported, imported)| stream(names[*exporter], exported, imported))
                    .collect(),
                ..AccountOptions::default()
            })
            .collect();
        options.access = access(|it| it.users = names.iter().map(|name| user_of(name, name)).collect());
    });
    let mut clients: Vec<Client> = names.iter().map(|name| server.user(name)).collect();
    // By account: sid, subject, group.
    let mut wanted: Vec<BTreeMap<u64, (String, Option<String>)>> = vec![BTreeMap::new(); names.len()];
    let mut next_sid = 0;
    for step in 0..60 {
        let account = random.usize(..names.len());
        match random.u8(..10) {
            0..=3 => {
                next_sid += 1;
                let text = pattern(&mut random, false);
                // Groups are named after their accounts: those of two accounts are one where their members meet.
                let group = (random.u8(..3) == 0).then(|| format!("q{}{}", account, random.u8(..2)));
                clients[account].flush(format!(
                    "SUB {text} {} {next_sid}\r\n",
                    group.clone().unwrap_or_default()
                ));
                wanted[account].insert(next_sid, (text, group));
            }
            4 => {
                if let Some(sid) = random.choice(wanted[account].keys().copied().collect::<Vec<_>>()) {
                    clients[account].flush(format!("UNSUB {sid}\r\n"));
                    wanted[account].remove(&sid);
                }
            }
            _ => {
                let text = pattern(&mut random, true);
                clients[account].send(format!("PUB {text} 1\r\nm\r\nPING\r\n"));
                let ways: Vec<(usize, String)> = { imports.iter() }
                    .filter(|(_, exporter, ..)| *exporter == account)
                    .filter_map(|(importer, _, exported, imported)| {
                        let shown = SubjectMapping::new(exported, imported)
                            .unwrap()
                            .import(text.as_bytes())?;
                        Some((*importer, String::from_utf8(shown).unwrap()))
                    })
                    .chain([(account, text.clone())])
                    .collect();
                check(seed, step, &mut clients, account, &wanted, &ways);
            }
        }
    }
}

/// Every plain subscription has had the message once for each way that leads to it, and one member of each group once.
fn check(
    seed: u64,
    step: usize,
    clients: &mut [Client],
    publisher: usize,
    wanted: &[BTreeMap<u64, (String, Option<String>)>],
    ways: &[(usize, String)],
) {
    // The publisher's PONG says that everybody else's messages are on their way.
    let others = (0..clients.len()).filter(|account| *account != publisher);
    for account in [publisher].into_iter().chain(others) {
        let client = &mut clients[account];
        if account != publisher {
            client.send("PING\r\n");
        }
        let mut got: Vec<(String, u64)> = Vec::new();
        loop {
            let line = client.line();
            if line == "PONG" {
                break;
            }
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[0], "MSG", "seed {seed}, step {step}: {line}");
            got.push((words[1].to_owned(), words[2].parse().unwrap()));
            client.expect("m\r\n");
        }
        let is_wanted = |wanted: &str, shown: &str| subject::matches(wanted.as_bytes(), shown.as_bytes());
        let mut plain: Vec<(String, u64)> = Vec::new();
        let mut groups: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
        for (_, shown) in ways.iter().filter(|(importer, _)| *importer == account) {
            for (sid, (text, group)) in &wanted[account] {
                if is_wanted(text, shown) {
                    match group {
                        None => plain.push((shown.clone(), *sid)),
                        Some(group) => groups.entry(group).or_default().push((shown.clone(), *sid)),
                    }
                }
            }
        }
        for (group, members) in groups {
            let taken: Vec<&(String, u64)> = got.iter().filter(|one| members.contains(one)).collect();
            let grouped = |sid: u64| wanted[account][&sid].1.as_deref() == Some(group);
            let of_group = taken.iter().filter(|(_, sid)| grouped(*sid)).count();
            assert_eq!(
                of_group, 1,
                "seed {seed}, step {step}: group {group} got {taken:?} of {members:?}"
            );
            got.retain(|(_, sid)| !grouped(*sid));
        }
        got.sort();
        plain.sort();
        assert_eq!(
            got, plain,
            "seed {seed}, step {step}, account {account}: replay with SEAWAY_ACCOUNTS_SEED={seed}"
        );
    }
}

#[test]
fn random_accounts_agree_with_a_model() {
    match std::env::var("SEAWAY_ACCOUNTS_SEED") {
        Ok(seed) => trial(seed.parse().expect("a number")),
        Err(_) => (0..40).chain([fastrand::u64(1 << 20..)]).for_each(trial),
    }
}
