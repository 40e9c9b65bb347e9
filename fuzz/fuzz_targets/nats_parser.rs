//! Arbitrary bytes never panic the client parser, and splitting them changes nothing.
#![no_main]

#[path = "../splitting.rs"]
mod splitting;

use libfuzzer_sys::fuzz_target;
use seaway_nats_protocol::{ParseLimits, parse_operation};

const LIMITS: ParseLimits = ParseLimits { max_control_line: 128, max_payload: 1024, headers: true };

fuzz_target!(|data: &[u8]| splitting::check(data, |input| parse_operation(input, &LIMITS), |_| {}));
