//! A cluster whose network is cut: three servers, each in a network namespace of its own, and two of them that cannot reach each other
//! for a while (core specification §4.5, §4.6). Afterwards everybody wants at every server what is wanted at the others.
//!
//! The test runs itself again within a namespace, so that nothing of the machine's own network changes. Set `SEAWAY_CUT_SECONDS` for a
//! longer cut.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Binary, PATIENCE, Server};

/// Set where the test runs within its own namespace.
const INSIDE: &str = "SEAWAY_INSIDE_NAMESPACE";
const MEMBERS: usize = 3;
/// Longer than a server that seems to have gone is waited for, see `ping_interval` below.
const CUT: Duration = Duration::from_secs(10);

/// A network of the test's own; nothing outside sees it.
fn run_inside(test: &str) {
    let program = std::env::current_exe().unwrap();
    let script = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip netns add probe && ip link add probe type veth \
                  && exec \"$0\" --exact \"$1\" --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", script]);
    let output = command.arg(program).arg(test).env(INSIDE, "1").output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return eprintln!("\n*** SKIPPED: a cut network, unshare is not there: {error} ***\n"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("running 0 tests"), "there is no test {test}");
    if !said.contains("running 1 test") {
        let why = String::from_utf8_lossy(&output.stderr);
        return eprintln!("\n*** SKIPPED: a cut network, this system gives no namespaces: {why} ***\n");
    }
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{why}");
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

fn address(member: usize) -> String {
    format!("10.77.0.{}", member + 1)
}

/// One switch, to which the test and each member have a cable.
fn lay_cables() {
    ip("link set lo up");
    ip("link add switch type bridge");
    ip("address add 10.77.0.254/24 dev switch");
    ip("link set switch up");
    for member in 0..MEMBERS {
        ip(&format!("netns add member{member}"));
        ip(&format!(
            "link add port{member} type veth peer name cable netns member{member}"
        ));
        ip(&format!("link set port{member} master switch up"));
        let inside = format!("-n member{member}");
        ip(&format!("{inside} address add {}/24 dev cable", address(member)));
        ip(&format!("{inside} link set cable up"));
        ip(&format!("{inside} link set lo up"));
    }
}

/// What two members send to each other goes to an address that nobody has: it is lost, and nobody is told.
fn cut(one: usize, other: usize) {
    for (from, to) in [(one, other), (other, one)] {
        let to = address(to);
        ip(&format!(
            "-n member{from} neigh replace {to} lladdr 02:00:00:00:00:99 dev cable nud permanent"
        ));
    }
}

fn heal(one: usize, other: usize) {
    for (from, to) in [(one, other), (other, one)] {
        ip(&format!("-n member{from} neigh del {} dev cable", address(to)));
    }
}

fn member(index: usize, file: &str) -> Server {
    let own = address(index);
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        &format!("member{index}"),
        Binary::NatsStreamingServer.path(),
    ]);
    command.args([
        "-a",
        &own,
        "-p",
        "4222",
        "-m",
        "8222",
        "-cid",
        &format!("c{index}"),
        "-c",
        file,
    ]);
    command.args(["-cluster", &format!("nats://{own}:6222"), "-cluster_name", "mesh"]);
    let first = format!("nats://{}:6222", address(0));
    if index > 0 {
        // The third one is found through the first.
        command.args(["-routes", &first]);
    }
    Server::spawn(&mut command).unwrap_or_else(|log| panic!("not ready: {log:#?}"))
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &Server) -> Client {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client(BufReader::new(stream));
        client.flush("CONNECT {\"verbose\":false}\r\n");
        client
    }

    fn flush(&mut self, text: &str) {
        self.0
            .get_mut()
            .write_all(format!("{text}PING\r\n").as_bytes())
            .unwrap();
        while self.line() != "PONG" {}
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "closed");
        if line == "PING\r\n" {
            self.0.get_mut().write_all(b"PONG\r\n").unwrap();
        }
        line.trim_end().to_owned()
    }

    /// The payload of the next message, which is one line.
    fn message(&mut self) -> String {
        while !self.line().starts_with("MSG ") {}
        self.line()
    }
}

/// Shows the servers that everybody is still there; nobody is sent anything meanwhile.
fn stay(clients: &mut [Client]) {
    clients.iter_mut().for_each(|client| client.flush(""));
}

fn json(server: &Server, path: &str) -> serde_json::Value {
    serde_json::from_str(&server.get(path).1).unwrap()
}

/// Subjects and groups of this test that are listed at `server` for a connection that `wanted` names.
fn listed(server: &Server, wanted: impl Fn(u64) -> bool) -> BTreeSet<String> {
    let subsz = json(server, "/subsz?subs=1&limit=10000");
    let list = subsz["subscriptions_list"].as_array().cloned().unwrap_or_default();
    let of_test = list.iter().filter(|one| {
        let is_of_test = one["subject"].as_str().unwrap().starts_with("cut.");
        is_of_test && wanted(one["cid"].as_u64().unwrap())
    });
    of_test
        .map(|one| {
            format!(
                "{} {}",
                one["subject"].as_str().unwrap(),
                one["qgroup"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

/// Numbers of a server's routes with the other servers' names.
fn routes(server: &Server) -> Vec<(u64, String)> {
    let routez = json(server, "/routez");
    let routes = routez["routes"].as_array().unwrap();
    let of = |route: &serde_json::Value| {
        (
            route["rid"].as_u64().unwrap(),
            route["remote_id"].as_str().unwrap().to_owned(),
        )
    };
    routes.iter().map(of).collect()
}

/// Whether every server lists of every other what that one lists of its own clients.
fn agree(servers: &[Server]) -> bool {
    servers.iter().all(|server| {
        let id = json(server, "/varz")["server_id"].as_str().unwrap().to_owned();
        let own_routes = routes(server);
        let own = listed(server, |cid| own_routes.iter().all(|(rid, _)| *rid != cid));
        servers.iter().all(|other| {
            let remote: Vec<u64> = { routes(other).into_iter() }
                .filter(|(_, remote)| *remote == id)
                .map(|(rid, _)| rid)
                .collect();
            std::ptr::eq(server, other) || (remote.len() == 1 && listed(other, |cid| remote[0] == cid) == own)
        })
    })
}

#[track_caller]
fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cut_heals_and_everybody_agrees_again() {
    if std::env::var_os(INSIDE).is_none() {
        return run_inside("network_cuts::a_cut_heals_and_everybody_agrees_again");
    }
    let seconds = std::env::var("SEAWAY_CUT_SECONDS").ok();
    let lasts = seconds.map_or(CUT, |seconds| Duration::from_secs(seconds.parse().unwrap()));
    lay_cables();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.conf");
    std::fs::write(&file, "streaming {}\nping_interval: \"2s\"\nping_max: 1\n").unwrap();
    let servers: Vec<Server> = (0..MEMBERS)
        .map(|index| member(index, file.to_str().unwrap()))
        .collect();
    let mut clients: Vec<Client> = servers.iter().map(Client::connect).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.flush(&format!(
            "SUB cut.all 1\r\nSUB cut.own.{index} 2\r\nSUB cut.goes.{index} 3\r\nSUB cut.group workers 4\r\n"
        ));
    }
    wait_until("they agree", PATIENCE, || agree(&servers));

    // The second and the third one lose each other, and each keeps the first.
    cut(1, 2);
    let began = Instant::now();
    for (index, client) in clients.iter_mut().enumerate() {
        client.flush(&format!(
            "UNSUB 3\r\nSUB cut.comes.{index} 5\r\nSUB cut.new.group.{index} workers 6\r\n"
        ));
    }
    assert!(!agree(&servers));
    wait_until("both have noticed", lasts.max(PATIENCE), || {
        stay(&mut clients);
        [1, 2].into_iter().all(|index| routes(&servers[index]).len() == 1)
    });
    assert_eq!(routes(&servers[0]).len(), 2);
    // Whoever has a way gets everything, in order.
    let mut sent = 0;
    while began.elapsed() < lasts {
        clients[1].flush(&format!("PUB cut.own.0 {}\r\n{sent}\r\n", sent.to_string().len()));
        assert_eq!(clients[0].message(), sent.to_string());
        sent += 1;
        stay(&mut clients);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(sent > 0, "the cut was shorter than it took to notice");
    heal(1, 2);
    wait_until("they agree again", Duration::from_secs(60), || {
        stay(&mut clients);
        agree(&servers)
    });
    eprintln!(
        "{sent} messages during a cut of {lasts:?}; agreed again {:?} after it",
        began.elapsed().saturating_sub(lasts)
    );
    for index in 0..MEMBERS {
        let text = format!("from {index}");
        clients[index].flush(&format!(
            "PUB cut.comes.{} {}\r\n{text}\r\n",
            (index + 1) % MEMBERS,
            text.len()
        ));
        assert_eq!(clients[(index + 1) % MEMBERS].message(), text);
    }
}
