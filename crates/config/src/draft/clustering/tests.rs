//! Through the whole way of an option: from the command line and files to what the server is given.

use std::io;
use std::path::Path;

use crate::lex;
use crate::options::{ClusterPeer, ClusteringOptions, MemberAddress, Membership, Options, Personality};
use crate::resolve::drafted;
use crate::surroundings::Surroundings;

/// A file with this text, whatever its name, and no variables.
struct File<'a>(&'a str);

impl Surroundings for File<'_> {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn variable_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }
}

/// What this file and this command line make of a server that is a member, and what is wrong with them; that nothing of it is built
/// is not said, so that the rest can be looked at.
fn read(text: &str, line: &str) -> (Options, Vec<String>) {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let line = lex::split(&arguments).map_err(|error| error.text).expect("flags");
    let file = File(text);
    let (mut draft, mut problems) = drafted(Personality::NatsStreamingServer, &line, &file);
    problems.retain(|problem| !problem.contains("this build does not have clustering yet"));
    draft.clustering.is_on = true;
    let options = draft.finish(&file, &mut problems);
    (options, problems)
}

fn member_of(text: &str, line: &str) -> (ClusteringOptions, Vec<String>) {
    let (options, problems) = read(text, line);
    assert_eq!(problems, Vec::<String>::new(), "{text} {line}");
    (options.streaming.clustering.expect("a member"), options.notices)
}

const MEMBER: &str = "-store file -dir d -cluster_members_secret s3cret";

fn member(line: &str) -> (ClusteringOptions, Vec<String>) {
    member_of("", &format!("{MEMBER} {line}"))
}

fn refusal(line: &str) -> String {
    let (options, problems) = read("", line);
    assert_eq!(options.streaming.clustering, None, "{line}");
    problems.join("\n")
}

fn address(host: &str, port: u16) -> MemberAddress {
    MemberAddress {
        host: host.to_owned(),
        port,
    }
}

fn peer(name: &str, address: Option<MemberAddress>) -> ClusterPeer {
    ClusterPeer {
        name: name.to_owned(),
        address,
    }
}

#[test]
fn flags_say_everything() {
    let (member, notices) = member(
        "-cluster_node_id a -cluster_peers a,b@h:1,c@[::1] -cluster_members_listen 127.0.0.1:-1 -cluster_members_advertise x:2 \
         -cluster_members_tls_cert C -cluster_members_tls_key K -cluster_members_tls_ca A -cluster_raft_logging \
         -cluster_allow_add_remove_node",
    );
    let others = vec![peer("b", Some(address("h", 1))), peer("c", Some(address("::1", 6322)))];
    assert_eq!(member.name.as_deref(), Some("a"));
    assert_eq!(member.membership, Membership::With(others));
    assert_eq!(member.listen, address("127.0.0.1", 0));
    assert_eq!(member.advertise, Some(address("x", 2)));
    assert_eq!(member.secret.expect("a secret").expose(), "s3cret");
    let tls = member.tls.expect("TLS");
    let files = [tls.cert_file, tls.key_file, tls.ca_file].map(|path| path.display().to_string());
    assert_eq!(files, ["C", "K", "A"]);
    assert!(member.is_replication_logged && member.are_members_changed);
    assert_eq!(notices, Vec::<String>::new());
}

#[test]
fn the_block_says_everything_and_turns_it_on() {
    let text = "streaming { store: file, dir: d\n cluster { node_id: a, peers: [\"b@h:1\", \"c@i:1\"], listen: \"l:3\", advertise: \"x:2\"\n \
                secret: s, tls_cert: C, tls_key: K, tls_ca: A, raft_logging: true, allow_add_remove_node: true } }";
    let (member, _) = member_of(text, "-sc f");
    let others = vec![peer("b", Some(address("h", 1))), peer("c", Some(address("i", 1)))];
    assert_eq!(member.membership, Membership::With(others));
    assert_eq!(
        (member.listen, member.advertise),
        (address("l", 3), Some(address("x", 2)))
    );
    assert!(member.secret.is_some() && member.tls.is_some());
    assert!(member.is_replication_logged && member.are_members_changed);
    let arguments = ["-sc".to_owned(), "f".to_owned()];
    let line = lex::split(&arguments).map_err(|error| error.text).expect("flags");
    let (draft, _) = drafted(
        Personality::NatsStreamingServer,
        &line,
        &File("streaming { cluster {} }"),
    );
    assert!(draft.clustering.is_on);
    let arguments = ["-sc".to_owned(), "f".to_owned(), "-clustered=false".to_owned()];
    let line = lex::split(&arguments).map_err(|error| error.text).expect("flags");
    let (draft, _) = drafted(
        Personality::NatsStreamingServer,
        &line,
        &File("streaming { cluster {} }"),
    );
    assert!(!draft.clustering.is_on, "flags win");
}

#[test]
fn a_member_comes_to_its_cluster_in_one_of_three_ways() {
    let of = |line: &str| member(line).0.membership;
    assert_eq!(of("-cluster_bootstrap -cluster_node_id a"), Membership::Alone);
    assert_eq!(of("-cluster_node_id a -cluster_peers a"), Membership::Alone);
    assert_eq!(of("-cluster nats://h:1 -cluster_name n"), Membership::Joins);
    let bus = "-cluster nats://h:1 -cluster_name n -cluster_node_id a -cluster_peers";
    assert_eq!(of(&format!("{bus} b")), Membership::With(vec![peer("b", None)]));
    // Peers win over the seed, a name counts once, and the address that one of them has counts.
    let (member, notices) = member(&format!("{bus} b,b@h:1,b -cluster_bootstrap"));
    assert_eq!(
        member.membership,
        Membership::With(vec![peer("b", Some(address("h", 1)))])
    );
    assert!(
        notices
            .iter()
            .any(|notice| notice.contains("-cluster_bootstrap has no effect beside")),
        "{notices:?}"
    );
    // A list that is one text is what it looks like, and that is said (specification §6.2).
    let text = "streaming { store: file, dir: d, cluster { node_id: a, secret: s, peers: [\"a@h:1, b@i:1\"] } }";
    let (member, notices) = member_of(text, "-sc f");
    assert_eq!(
        member.membership,
        Membership::With(vec![peer("b", Some(address("i", 1)))])
    );
    assert!(notices[0].contains("holds commas"), "{notices:?}");
}

#[test]
fn the_secret_of_the_routes_serves_and_nothing_at_all_is_warned_of() {
    let line = "-store file -dir d -cluster_bootstrap -cluster_node_id a";
    let secret = |more: &str| {
        let (member, notices) = member_of("", &format!("{line} {more}"));
        let is_warned = notices.iter().any(|notice| notice.contains("neither a secret nor TLS"));
        (member.secret.map(|secret| secret.expose().to_owned()), is_warned)
    };
    let routes = "-cluster nats://r:pw@h:1 -cluster_name n";
    let tls = "-cluster_members_tls_cert C -cluster_members_tls_key K -cluster_members_tls_ca A";
    assert_eq!(secret(""), (None, true));
    assert_eq!(secret(routes), (Some("pw".to_owned()), false));
    assert_eq!(
        secret(&format!("{routes} -cluster_members_secret own")),
        (Some("own".to_owned()), false)
    );
    assert_eq!(secret(&format!("{routes} {tls}")), (None, false));
}

#[test]
fn what_is_acknowledged_is_synced_whatever_is_said() {
    let (options, problems) = read(
        "",
        &format!("{MEMBER} -cluster_bootstrap -cluster_node_id a -file_sync=false"),
    );
    assert_eq!(problems, Vec::<String>::new());
    assert!(options.streaming.file_sync);
    assert!(
        options
            .notices
            .iter()
            .any(|notice| notice.contains("-file_sync=false has no effect"))
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let seed = "-cluster_bootstrap -cluster_node_id a";
    let many: Vec<String> = (0..40).map(|number| format!("m{number}@h{number}:1")).collect();
    for (line, expected) in [
        (
            seed.to_owned(),
            "stan: clustering mode not supported with MEMORY store type: give -store FILE",
        ),
        (
            format!("{MEMBER} {seed} -ft_group g"),
            "-ft_group cannot be given with -clustered",
        ),
        (
            format!("{MEMBER} {seed} -adopt"),
            "-adopt cannot be given with -clustered",
        ),
        (
            format!("{MEMBER} {seed} -file_truncate_bad_eof"),
            "-file_truncate_bad_eof cannot be given with -clustered",
        ),
        (
            format!("{MEMBER} {seed} -encryption_key k"),
            "-encrypt with -clustered needs TLS between members",
        ),
        (
            format!("{MEMBER} {seed} -cluster_members_tls_cert C"),
            "needs a certificate, its key and authorities",
        ),
        (
            format!("{MEMBER} -cluster_bootstrap"),
            "-cluster_bootstrap needs -cluster_node_id",
        ),
        (
            format!("{MEMBER} -cluster_peers b@h:1"),
            "-cluster_peers needs -cluster_node_id",
        ),
        (MEMBER.to_owned(), "needs somebody to found the cluster with or to join"),
        (
            format!("{MEMBER} -cluster_node_id a -cluster_peers b@h:1,c"),
            "nobody could find c: give c@host:port",
        ),
        (
            format!("{MEMBER} -cluster_node_id a -cluster_peers b@h:1,b@i:1"),
            "b stands there with two addresses",
        ),
        (
            format!("{MEMBER} -cluster_node_id a -cluster_peers b@h:1,c@h:1"),
            "h:1 stands there with two names",
        ),
        (
            format!("{MEMBER} -cluster_node_id a -cluster_peers {}", many.join(",")),
            "a cluster has at most 32 members",
        ),
        (format!("{MEMBER} -cluster_node_id a*b"), ""),
    ] {
        let refusal = refusal(&line);
        assert!(!refusal.is_empty() && refusal.contains(expected), "{line}: {refusal}");
    }
    let text = "streaming { store: file, dir: d, partitioning: true, store_limits { channels { x: {} } }, cluster { node_id: a } }";
    let (_, problems) = read(text, "-sc f");
    assert!(
        problems[0].contains("stan: channels partitioning in clustering mode is not supported"),
        "{problems:?}"
    );
}

#[test]
fn names_and_addresses_that_are_none_are_refused() {
    for (line, expected) in [
        ("-cluster_node_id a..b", "\"a..b\" is no name of a member"),
        ("-cluster_node_id a@b", "\"a@b\" is no name of a member"),
        ("-cluster_peers *@h:1", "\"*\" is no name of a member"),
        ("-cluster_peers b@", "\"\" is no host with a port"),
        ("-cluster_peers b@h:70000", "\"70000\" is no port"),
        ("-cluster_peers b@h:0", "needs a port"),
        ("-cluster_peers b@nats://h:1", "no host with a port"),
        ("-cluster_members_listen :5", "no host with a port"),
        (
            "-cluster_members_advertise h:-1",
            "cluster_members_advertise needs a port",
        ),
        ("-cluster_members_listen u:p@h:5", "no host with a port"),
    ] {
        let refusal = refusal(&format!("{MEMBER} {line}"));
        assert!(refusal.contains(expected), "{line}: {refusal}");
    }
}
