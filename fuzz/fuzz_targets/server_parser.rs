//! Arbitrary bytes never panic the parser of what servers send to clients, splitting them changes nothing, and what it finds lies in
//! what it was given.
#![no_main]

#[path = "../splitting.rs"]
mod splitting;

use libfuzzer_sys::fuzz_target;
use seaway_nats_protocol::{ParseLimits, ServerOperation, parse_server_operation};

const LIMITS: ParseLimits = ParseLimits { max_control_line: 128, max_payload: 1024, headers: true };

fuzz_target!(|data: &[u8]| {
    splitting::check(data, |input| parse_server_operation(input, &LIMITS), |operation| match operation {
        ServerOperation::Message(message) => {
            assert!(message.header_size <= message.body.len() && message.body.len() <= 1024);
            assert_eq!(message.headers().len() + message.payload().len(), message.body.len());
        }
        ServerOperation::Info(json) => assert!(json.len() <= 128),
        _ => {}
    });
});
