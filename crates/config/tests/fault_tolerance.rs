//! Fault-tolerance groups (`stores-and-clustering.md` §7.1, streaming specification §7.2): what gives a server its group, and what does
//! not go together with one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use seaway_config::{FaultToleranceOptions, Options, Personality, usage};
use support::{Fake, complaint_about, options_of};

const FILE: &str = "-store file -dir d -ft_group";

fn group(name: &str, milliseconds: u64) -> Option<FaultToleranceOptions> {
    Some(FaultToleranceOptions {
        group: name.to_owned(),
        lease: Duration::from_millis(milliseconds),
    })
}

#[test]
fn flag_file_and_variable_name_the_group() {
    let of = |options: Options| options.streaming.fault_tolerance;
    let fake = Fake::default();
    assert_eq!(of(fake.options("")), None);
    assert_eq!(of(fake.options(&format!("{FILE} g"))), group("g", 1_250));
    assert_eq!(of(fake.options(&format!("{FILE} g -ft_lease 400ms"))), group("g", 400));
    for key in ["ft_group", "ft_group_name"] {
        let text = format!("streaming {{ store: file, dir: d, {key}: a.b, ft_lease: \"2s\" }}");
        assert_eq!(of(options_of(&text)), group("a.b", 2_000), "{key}");
    }
    let fake = Fake::with_variables(&[("SEAWAY_FT_GROUP", "v"), ("SEAWAY_FT_LEASE", "1m")]);
    assert_eq!(of(fake.options("-store file -dir d")), group("v", 60_000));
    assert!(usage(Personality::NatsStreamingServer).contains("-ft_lease <duration>"));
}

#[test]
fn what_does_not_go_together_with_a_group_is_refused() {
    let fake = Fake::default();
    for (line, expected) in [
        (
            "-ft_group g",
            "ft: only FILE or SQL stores supported in FT mode: give -store FILE and -dir",
        ),
        ("-store sql -ft_group g", "this build does not have an SQL store yet"),
        (
            &format!("{FILE} g -clustered"),
            "this build does not have clustering yet",
        ),
        (
            &format!("{FILE} g -file_sync=false"),
            "-file_sync=false cannot be given with -ft_group",
        ),
        (
            &format!("{FILE} g -file_truncate_bad_eof"),
            "-file_truncate_bad_eof cannot be given with -ft_group",
        ),
        (&format!("{FILE} g -adopt"), "-adopt cannot be given with -ft_group"),
        (&format!("{FILE} a..b"), "invalid fault-tolerance group \"a..b\""),
        (&format!("{FILE} a.*"), "invalid fault-tolerance group"),
        (
            &format!("{FILE} g -ft_lease 249ms"),
            "ft_lease must be 250ms to 1m0s, and not 249ms",
        ),
        (
            &format!("{FILE} g -ft_lease 61s"),
            "ft_lease must be 250ms to 1m0s, and not 1m1s",
        ),
        (&format!("{FILE} g -ft_lease -1s"), "ft_lease must be 250ms to 1m0s"),
    ] {
        let complaint = fake.complaint(line);
        assert!(complaint.contains(expected), "{line}: {complaint}");
    }
    let complaint = complaint_about("streaming {\n ft_group: g }");
    assert!(complaint.contains("only FILE or SQL stores"), "{complaint}");
}
