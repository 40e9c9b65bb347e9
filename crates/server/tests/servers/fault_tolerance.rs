//! Fault tolerance on a shared directory with the real binary (`stores-and-clustering.md` §7, §8.6): members that are killed, stopped,
//! cut off and asked to hand over, under load. Nothing acknowledged is lost, and no sequence is given twice.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::Server;
use crate::support::faults::Failing;
use crate::support::group::{
    CHANNEL, Load, begin, everything, is_active, member, routes, server, session, state, wait_until, wait_until_active,
};
use crate::support::shell::Shell;
use rustix::process::Signal;
use seaway_stan_protocol::heartbeat::Heartbeat;
use tempfile::TempDir;

/// A server that is in the cluster and in no group: clients that are connected there see no connection break.
fn home() -> (Server, String) {
    let home = server(Some(""), &["-cid", "elsewhere"]);
    let address = routes(&home);
    (home, address)
}

/// A group of two with a short lease, of whom the first serves clients of another server.
struct Pair {
    directory: TempDir,
    home: Server,
    first: Server,
    second: Server,
    load: Load,
}

fn pair_under_load() -> Pair {
    let directory = tempfile::tempdir().unwrap();
    let (home, address) = home();
    let lease = ["-ft_lease", "500ms"];
    let first = member(directory.path(), "first", Some(&address), &lease);
    wait_until_active(&first);
    let second = member(directory.path(), "second", Some(&address), &lease);
    let load = Load::begin(&home.address);
    Pair {
        directory,
        home,
        first,
        second,
        load,
    }
}

/// What was acknowledged before and after a take-over.
#[track_caller]
fn assert_both_are_there(server: &Server) {
    let stored: Vec<_> = everything(&server.address).into_values().collect();
    assert_eq!(
        stored,
        [b"before".to_vec(), b"after".to_vec(), b"the last one".to_vec()]
    );
}

fn counter(directory: &Path) -> u64 {
    seaway_store::standing(directory).unwrap().claim.unwrap().counter
}

/// §7.3, §7.4, streaming §8.3, §8.7, §13.9 MonitorIsFTActiveFTServer: what each of the two says of itself, and what clients of the one that stands by see.
#[test]
fn one_serves_and_the_other_stands_by_and_takes_over_when_it_dies() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = member(directory.path(), "first", Some(""), &[]);
    wait_until_active(&first);
    for line in [
        "Starting in standby mode",
        "Server is active",
        "Streaming Server is ready",
    ] {
        assert!(first.wait_for_line(line).is_some(), "{line}: {:#?}", first.log);
    }
    let mut second = member(directory.path(), "second", Some(&routes(&first)), &[]);
    assert!(second.wait_for_line("Starting in standby mode").is_some());
    let words = "standing by: first serves under tenure";
    wait_until("it knows who serves", || second.get("/healthz/ready").1.contains(words));
    assert_eq!(
        (state(&first).as_str(), state(&second).as_str()),
        ("FT_ACTIVE", "FT_STANDBY")
    );
    assert_eq!(first.get("/streaming/isFTActive"), (200, String::new()));
    assert_eq!(second.get("/streaming/isFTActive"), (204, String::new()));
    assert_eq!(
        (second.get("/healthz/ready").0, second.get("/healthz/live").0),
        (503, 200)
    );
    let metrics = |server: &Server, line: &str| server.get("/metrics").1.lines().any(|other| other == line);
    assert!(metrics(&first, "seaway_active 1") && metrics(&first, "seaway_role_changes_total 1"));
    assert!(metrics(&second, "seaway_active 0") && metrics(&second, "seaway_role_changes_total 0"));
    assert!(metrics(
        &second,
        "seaway_fault_tolerance_info{group=\"g\",state=\"FT_STANDBY\"} 1"
    ));
    for (server, role) in [
        (&first, "active, tenure "),
        (&second, "standing by, first serves under tenure "),
    ] {
        let said = Shell::at(&server.address).run(&["server", "info"]).expect(0);
        assert!(
            said.stdout.contains(role) && said.stdout.contains("group g"),
            "{said:#?}"
        );
    }

    let said = Shell::at(&second.address).run(&["peek", CHANNEL]);
    let words = "second stands by, and first serves under tenure";
    assert!(
        said.code != Some(0) && said.stderr.contains(words) && said.stderr.contains("ask that one"),
        "{said:#?}"
    );

    // A client of the server that stands by is served by the other one, and goes on when that one dies.
    let mut client = session(&second.address, "client");
    client.publish(CHANNEL, b"before").unwrap();
    first.kill();
    wait_until_active(&second);
    assert!(second.wait_for_line("Streaming Server is ready").is_some());
    client.publish(CHANNEL, b"after").unwrap();
    client.ping().unwrap();
    assert!(metrics(&second, "seaway_active 1") && metrics(&second, "seaway_role_changes_total 1"));
    assert_both_are_there(&second);
}

/// §7.5: a member that dies is replaced by one of the others, again and again, and comes back.
#[test]
fn whoever_is_killed_under_load_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (home, address) = home();
    let mut members: Vec<Server> = ["a", "b", "c"]
        .iter()
        .map(|name| member(directory.path(), name, Some(&address), &[]))
        .collect();
    let load = Load::begin(&home.address);
    for number in 0..4 {
        load.goes_on(50);
        let active = active_of(&members);
        let killed = Instant::now();
        members.swap_remove(active).kill();
        let gap = load.gap_since(killed);
        eprintln!("killed: {} ms", gap.as_millis());
        members.push(member(
            directory.path(),
            &format!("again-{number}"),
            Some(&address),
            &[],
        ));
    }
    load.check(&home.address);
}

/// The member that serves, once there is exactly one.
fn active_of(members: &[Server]) -> usize {
    let actives = || -> Vec<usize> { (0..members.len()).filter(|index| is_active(&members[*index])).collect() };
    wait_until("one serves", || actives().len() == 1);
    actives()[0]
}

/// A stopped process is deposed after the lease; when it goes on it acknowledges nothing, stands by in the same process, and serves
/// again when the other one dies. The original never recovers from that (§7.5).
#[test]
fn who_was_stopped_stands_by_and_serves_again() {
    let Pair {
        directory: _directory,
        home,
        mut first,
        second,
        load,
    } = pair_under_load();
    for _ in 0..2 {
        load.goes_on(50);
        let stopped = Instant::now();
        first.signal(Signal::STOP);
        wait_until_active(&second);
        let gap = load.gap_since(stopped);
        eprintln!("stopped: {} ms", gap.as_millis());
        assert!(gap >= Duration::from_millis(400), "the lease had not run out: {gap:?}");
        first.signal(Signal::CONT);
        wait_until("it stands by", || state(&first) == "FT_STANDBY");
        assert!(is_active(&second));
        load.goes_on(50);
        // And back.
        let stopped = Instant::now();
        second.signal(Signal::STOP);
        wait_until_active(&first);
        let _ = load.gap_since(stopped);
        second.signal(Signal::CONT);
        wait_until("it stands by", || state(&second) == "FT_STANDBY");
    }
    assert!(
        first.wait_for_line("was taken over by tenure").is_some(),
        "{:#?}",
        first.log
    );
    second.kill();
    load.goes_on(50);
    load.check(&home.address);
}

/// §7.5, §8.6: members that do not hear each other see each other in the directory: nobody is deposed, and a member that dies is
/// replaced all the same.
#[test]
fn without_a_route_nobody_is_deposed() {
    let directory = tempfile::tempdir().unwrap();
    let lease = ["-ft_lease", "250ms"];
    let first = member(directory.path(), "first", None, &lease);
    wait_until_active(&first);
    let second = member(directory.path(), "second", None, &lease);
    // Fifty signs of life are ten leases.
    let begin = counter(directory.path());
    wait_until("signs of life", || counter(directory.path()) >= begin + 50);
    assert!(is_active(&first) && state(&second) == "FT_STANDBY");
    assert!(first.get("/metrics").1.contains("seaway_role_changes_total 1\n"));
    first.kill();
    wait_until_active(&second);
}

/// SIGTERM hands the tenure over: faster than any lease, and everything accepted is durable.
#[test]
fn who_is_asked_to_end_hands_over() {
    let directory = tempfile::tempdir().unwrap();
    let (home, address) = home();
    let mut members: Vec<Server> = ["a", "b"]
        .iter()
        .map(|name| member(directory.path(), name, Some(&address), &["-ft_lease", "20s"]))
        .collect();
    let load = Load::begin(&home.address);
    for number in 0..3 {
        load.goes_on(50);
        let active = active_of(&members);
        let asked = Instant::now();
        let (status, log) = members.swap_remove(active).signal_and_wait(Signal::TERM);
        assert_eq!(status.code(), Some(143), "{log:#?}");
        let gap = load.gap_since(asked);
        eprintln!("handed over: {} ms", gap.as_millis());
        // It is some tens of milliseconds on a machine that has nothing else to do.
        assert!(gap < Duration::from_secs(5), "{gap:?}");
        members.push(member(
            directory.path(),
            &format!("again-{number}"),
            Some(&address),
            &["-ft_lease", "20s"],
        ));
    }
    load.check(&home.address);
}

/// Asked for by a client that may: the server stays, and another one serves. Alone it serves again after a while.
#[test]
fn who_is_asked_by_a_client_hands_over_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (home, address) = home();
    let users = directory.path().join("users.conf");
    let text = "no_auth_user: all, authorization { users = [ { user: all, password: p }, { user: operator, password: p, \
                permissions: { publish: { allow: [\">\", \"$SEAWAY.api.*.change.>\"] } } } ] }";
    std::fs::write(&users, text).unwrap();
    let store = directory.path().join("store");
    let members = ["a", "b"].map(|name| member(&store, name, Some(&address), &["-c", users.to_str().unwrap()]));
    let load = Load::begin(&home.address);
    load.goes_on(50);
    let active = active_of(&members);
    let (first, second) = (&members[active], &members[1 - active]);
    wait_until("it stands by", || {
        second.get("/healthz/ready").1.contains("serves under tenure")
    });
    let said = Shell::at(&first.address).run(&["server", "failover"]);
    assert!(
        said.code != Some(0) && said.stderr.contains("not permitted"),
        "{said:#?}"
    );
    let failover = |server: &Server| {
        let shell = Shell::at(&server.address);
        let password = shell.file("password", "p");
        shell.run(&["server", "failover", "--user", "operator", "--password-file", &password])
    };
    let said = failover(second);
    assert!(
        said.code != Some(0) && said.stderr.contains("ask that one"),
        "{said:#?}"
    );
    let asked = Instant::now();
    let said = failover(first).expect(0);
    assert!(
        said.stdout.contains("was handed over: ") && said.stdout.contains(" serves under tenure "),
        "{said:#?}"
    );
    eprintln!("asked to hand over: {} ms", load.gap_since(asked).as_millis());
    assert!(is_active(second) && state(first) == "FT_STANDBY");
    // Who asked for it is known to whoever serves now.
    let audit = second.get("/streaming/auditz?who=operator").1;
    assert!(
        audit.contains("\"change\": \"asks this server to hand over\""),
        "{audit}"
    );
    assert!(first.get("/metrics").1.contains("seaway_role_changes_total 2\n"));
    load.check(&home.address);

    let [a, b] = members;
    let (gone, alone) = if active == 0 { (a, b) } else { (b, a) };
    gone.kill();
    let said = failover(&alone).expect(0);
    assert!(said.stdout.contains("no other took over"), "{said:#?}");
    wait_until_active(&alone);
}

/// §8.6: a server that stands by ends cleanly, and nobody notices.
#[test]
fn who_stands_by_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let first = member(directory.path(), "first", Some(""), &[]);
    wait_until_active(&first);
    let second = member(directory.path(), "second", Some(&routes(&first)), &[]);
    wait_until("it stands by", || state(&second) == "FT_STANDBY");
    let (status, log) = second.signal_and_wait(Signal::INT);
    assert_eq!(status.code(), Some(0), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("Server Exiting..")), "{log:#?}");
    assert!(
        !log.iter().any(|line| line.contains("[ERR]") || line.contains("[FTL]")),
        "{log:#?}"
    );
    assert!(is_active(&first));
}

/// §7.1, §8.6: who cannot belong to the group says so at the start, in words, and leaves the others alone.
#[test]
fn who_does_not_belong_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let first = member(directory.path(), "first", Some(""), &[]);
    wait_until_active(&first);
    let known = routes(&first);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = elsewhere.path().to_str().unwrap();
    for (arguments, expected) in [
        (
            &["-dir", path, "-ft_group", "g", "-cid", "other"][..],
            "under cluster ID \"test-cluster\"",
        ),
        (&["-dir", path, "-ft_group", "h"], "under the group \"g\""),
        (
            &["-dir", path, "-ft_group", "g", "-encrypt", "-encryption_key", "k"],
            "key",
        ),
        (
            &["-dir", other, "-ft_group", "g"],
            "it is not the same directory for both",
        ),
        (&["-dir", path, "-cid", "alone"], "in use"),
    ] {
        let arguments: Vec<&str> = ["-store", "file"].iter().chain(arguments).copied().collect();
        let refused = begin(Some(&known), &arguments);
        let (status, log) = refused.wait();
        assert_eq!(status.code(), Some(1), "{arguments:?}: {log:#?}");
        assert!(
            log.iter().any(|line| line.contains(expected)),
            "{arguments:?}: {log:#?}"
        );
        assert!(is_active(&first));
    }
    assert!(first.get("/metrics").1.contains("seaway_role_changes_total 1\n"));
}

/// The key is the store's: whoever has another one is told so when it joins, and not when it would have to serve.
#[test]
fn a_member_with_another_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let first = member(directory.path(), "first", None, &["-encryption_key", "right"]);
    wait_until_active(&first);
    for (more, expected) in [
        (
            &["-encryption_key", "wrong"][..],
            "give the key that this store was created with",
        ),
        (&[], "has no key"),
    ] {
        let arguments: Vec<&str> = ["-store", "file", "-dir", path, "-ft_group", "g"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let (status, log) = begin(None, &arguments).wait();
        assert_eq!(status.code(), Some(1), "{log:#?}");
        assert!(log.iter().any(|line| line.contains(expected)), "{log:#?}");
    }
    assert!(is_active(&first));
}

/// A disk that takes nothing more from the server that serves may take it from another one: the tenure goes there, and the process
/// stays. The original's ends when it loses its database (§7.5).
#[test]
fn who_cannot_write_any_more_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (home, address) = home();
    let mut first = member(directory.path(), "first", Some(&address), &[]);
    wait_until_active(&first);
    let second = member(directory.path(), "second", Some(&address), &[]);
    let mut client = session(&home.address, "client");
    client.publish(CHANNEL, b"before").unwrap();
    let Some(failing) = Failing::begin(&first, "fdatasync:error=EIO") else {
        return;
    };
    // Refused, or not answered, until the other one serves.
    wait_until("somebody takes it", || client.publish(CHANNEL, b"after").is_ok());
    wait_until_active(&second);
    assert_eq!(state(&first), "FT_STANDBY");
    assert!(
        first.wait_for_line("if no other server takes over").is_some(),
        "{:#?}",
        first.log
    );
    drop(failing);
    let stored: Vec<_> = everything(&home.address).into_values().collect();
    assert!(
        stored.contains(&b"before".to_vec()) && stored.contains(&b"after".to_vec()),
        "{stored:?}"
    );
    second.kill();
    wait_until_active(&first);
}

/// A disk that does not come back stops the signs of life; who hangs in it hears that another one serves, and stands by once it comes back.
#[test]
fn who_hangs_in_its_disk_is_replaced_and_stands_by_afterwards() {
    let Pair {
        directory: _directory,
        home,
        first,
        second,
        load,
    } = pair_under_load();
    load.goes_on(50);
    let hung = Instant::now();
    let Some(hanging) = Failing::begin(&first, "fdatasync:delay_enter=30000000") else {
        return;
    };
    wait_until_active(&second);
    eprintln!("hung: {} ms", load.gap_since(hung).as_millis());
    wait_until("it knows", || state(&first) == "FT_STANDBY");
    wait_until("it says why it does not even stand by", || {
        first.get("/healthz/ready").1.contains("hang in the disk")
    });
    load.goes_on(50);
    drop(hanging);
    wait_until("it stands by", || {
        first.get("/healthz/ready").1.contains("standing by: second serves")
    });
    second.kill();
    wait_until_active(&first);
    load.check(&home.address);
}

/// A disk that answers in the claim's file and not where messages are written: signs of life would go on for ever, and nobody be served.
#[test]
fn whose_commits_hang_is_replaced_although_its_claim_is_written() {
    let Pair {
        directory,
        home,
        first,
        second,
        load,
    } = pair_under_load();
    load.goes_on(50);
    let segments: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    let hung = Instant::now();
    let Some(hanging) = Failing::begin_in(&first, "fdatasync:delay_enter=30000000", &segments) else {
        return;
    };
    wait_until_active(&second);
    eprintln!("commits hung: {} ms", load.gap_since(hung).as_millis());
    wait_until("it knows", || state(&first) == "FT_STANDBY");
    load.goes_on(50);
    drop(hanging);
    wait_until("it stands by", || {
        first.get("/healthz/ready").1.contains("standing by: second serves")
    });
    load.check(&home.address);
}

/// §8.6: an error at the lock is told, and changes nothing else.
#[test]
fn who_cannot_look_at_the_directory_says_so_and_stands_by() {
    let directory = tempfile::tempdir().unwrap();
    let first = member(directory.path(), "first", None, &[]);
    wait_until_active(&first);
    let mut second = member(directory.path(), "second", None, &[]);
    wait_until("it stands by", || state(&second) == "FT_STANDBY");
    let Some(failing) = Failing::begin(&second, "openat:error=EIO") else {
        return;
    };
    assert!(
        second.wait_for_line("error attempting to get the store lock").is_some(),
        "{:#?}",
        second.log
    );
    assert!(is_active(&first) && state(&second) == "FT_STANDBY");
    drop(failing);
    first.kill();
    wait_until_active(&second);
}

/// The store itself knows its cluster ID (§7.5): found when nobody serves.
#[test]
fn a_directory_of_another_cluster_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = member(directory.path(), "first", None, &[]);
    wait_until_active(&first);
    let (status, _) = first.signal_and_wait(Signal::TERM);
    assert_eq!(status.code(), Some(143));
    let path = directory.path().to_str().unwrap();
    let wrong = begin(
        None,
        &["-store", "file", "-dir", path, "-ft_group", "g", "-cid", "other"],
    );
    let (status, log) = wrong.wait();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("does not match")), "{log:#?}");
    let again = member(directory.path(), "again", None, &[]);
    wait_until_active(&again);
}

/// Take-overs of each kind in turn, and their gaps: `SEAWAY_TAKE_OVERS` says how many; `cargo xtask test --long` makes a hundred.
#[test]
fn many_take_overs() {
    let count: usize = std::env::var("SEAWAY_TAKE_OVERS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(6);
    let directory = tempfile::tempdir().unwrap();
    let (home, address) = home();
    let mut members: Vec<Server> = ["a", "b", "c"]
        .iter()
        .map(|name| member(directory.path(), name, Some(&address), &[]))
        .collect();
    let load = Load::begin(&home.address);
    let mut gaps: [Vec<u128>; 3] = Default::default();
    for number in 0..count {
        load.goes_on(50);
        let active = members.swap_remove(active_of(&members));
        let event = Instant::now();
        let (kind, stopped) = match number % 3 {
            0 => {
                active.kill();
                (0, None)
            }
            1 => {
                active.signal(Signal::TERM);
                active.wait();
                (1, None)
            }
            _ => {
                active.signal(Signal::STOP);
                (2, Some(active))
            }
        };
        gaps[kind].push(load.gap_since(event).as_millis());
        members.push(match stopped {
            Some(stopped) => {
                stopped.signal(Signal::CONT);
                wait_until("it stands by", || state(&stopped) == "FT_STANDBY");
                stopped
            }
            None => member(directory.path(), &format!("m{number}"), Some(&address), &[]),
        });
    }
    load.check(&home.address);
    for (kind, mut gaps) in ["killed", "handed over", "stopped"].into_iter().zip(gaps) {
        gaps.sort_unstable();
        let at = |part: usize| gaps.get(gaps.len() * part / 100).or(gaps.last()).copied().unwrap_or(0);
        let max = gaps.last().copied().unwrap_or(0);
        eprintln!(
            "{kind}: {} times, p50 {} ms, p90 {} ms, most {max} ms",
            gaps.len(),
            at(50),
            at(90)
        );
    }
}

/// A directory that is moved away, or whose file system is unmounted, is not a new one: nobody serves an empty store in its place, and
/// when it is back it is served again.
#[test]
fn a_directory_that_is_gone_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, away) = (folder.path().join("data"), folder.path().join("away"));
    let first = member(&directory, "first", Some(""), &[]);
    wait_until_active(&first);
    let second = member(&directory, "second", Some(&routes(&first)), &[]);
    wait_until("it stands by", || state(&second) == "FT_STANDBY");
    let mut client = session(&first.address, "client");
    client.publish(CHANNEL, b"before").unwrap();
    std::fs::rename(&directory, &away).unwrap();
    wait_until("nobody serves", || !is_active(&first) && !is_active(&second));
    // An empty one, as a mount point is.
    std::fs::create_dir(&directory).unwrap();
    let mut servers = [first, second];
    for server in &mut servers {
        assert!(
            server.wait_for_line("does not hold what it held").is_some(),
            "{:#?}",
            server.log
        );
    }
    assert!(!servers.iter().any(is_active));
    assert_eq!(
        std::fs::read_dir(&directory).unwrap().count(),
        0,
        "something was made there"
    );
    std::fs::remove_dir(&directory).unwrap();
    std::fs::rename(&away, &directory).unwrap();
    wait_until("somebody serves", || servers.iter().any(is_active));
    client.publish(CHANNEL, b"after").unwrap();
    assert_both_are_there(&servers[0]);
}

/// Anybody who may publish can say that he serves: that deposes nobody, and keeps nobody from taking over.
#[test]
fn who_merely_claims_to_serve_deposes_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let lease = ["-ft_lease", "250ms"];
    let mut first = member(directory.path(), "first", Some(""), &lease);
    wait_until_active(&first);
    let second = member(directory.path(), "second", Some(&routes(&first)), &lease);
    wait_until("it stands by", || state(&second) == "FT_STANDBY");
    let mut client = session(&second.address, "client");
    let payload = Heartbeat {
        server_id: b"FORGED".to_vec(),
        active_since: None,
        tenure: u64::MAX,
    }
    .encode();
    let mut line = format!("CONNECT {{}}\r\nPUB _STAN.ft.test-cluster.g {}\r\n", payload.len()).into_bytes();
    line.extend([&payload[..], b"\r\n"].concat());
    let mut forge = {
        let mut socket = std::net::TcpStream::connect(&second.address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut unread = vec![0; 1 << 16];
        move || {
            // Whatever the socket takes: there is always another one.
            let _ = socket.read(&mut unread);
            let _ = socket.write(&line);
        }
    };
    // Some leases: the counter goes on five times in one.
    let begun = counter(directory.path());
    wait_until("leases pass", || {
        forge();
        assert!(is_active(&first));
        counter(directory.path()) > begun + 20
    });
    client.publish(CHANNEL, b"before").unwrap();
    assert!(
        first.wait_for_line("claims to be active").is_some(),
        "it was not heard: {:#?}",
        first.log
    );
    assert_eq!(seaway_store::standing(directory.path()).unwrap().number, 1);
    first.kill();
    wait_until("it takes over", || {
        forge();
        is_active(&second)
    });
    client.publish(CHANNEL, b"after").unwrap();
}
