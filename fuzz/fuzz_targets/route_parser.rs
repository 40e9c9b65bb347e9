//! Arbitrary bytes never panic the parser of routes, splitting them changes nothing, and what it finds lies in what it was given.
#![no_main]

#[path = "../splitting.rs"]
mod splitting;

use libfuzzer_sys::fuzz_target;
use seaway_nats_protocol::{ParseLimits, RouteInfo, RouteOperation, parse_route_operation};

const LIMITS: ParseLimits = ParseLimits { max_control_line: 128, max_payload: 1024, headers: true };

fuzz_target!(|data: &[u8]| {
    splitting::check(data, |input| parse_route_operation(input, &LIMITS), |operation| match operation {
        RouteOperation::Message(message) => {
            assert!(message.header_size <= message.body.len() && message.body.len() <= 1024);
            assert!(message.queues.iter().all(|queue| !queue.is_empty()));
            assert!(message.tail.is_none_or(|tail| tail.ends_with(b"\r\n")));
        }
        RouteOperation::Info(json) => drop(RouteInfo::parse(json)),
        _ => {}
    });
});
