//! Arbitrary bytes never panic the parser of routes, splitting them changes nothing, and what it finds lies in what it was given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seaway_nats_protocol::{ParseLimits, RouteInfo, RouteOperation, RouteParsed, parse_route_operation};

fuzz_target!(|data: &[u8]| {
    let Some((cut, input)) = data.split_first() else { return };
    let limits = ParseLimits { max_control_line: 128, max_payload: 1024, headers: true };
    let mut at = 0;
    loop {
        let whole = parse_route_operation(&input[at..], &limits);
        let early = parse_route_operation(&input[at..input.len().min(at + usize::from(*cut))], &limits);
        match (whole, early) {
            (Ok(RouteParsed::Operation { operation, consumed }), early) => {
                if let Ok(RouteParsed::Operation { consumed: earlier, .. }) = early {
                    assert_eq!(earlier, consumed);
                }
                assert!(early.is_ok() && consumed > 0);
                match operation {
                    RouteOperation::Message(message) => {
                        assert!(message.header_size <= message.body.len() && message.body.len() <= 1024);
                        assert!(message.queues.iter().all(|queue| !queue.is_empty()));
                        assert!(message.tail.is_none_or(|tail| tail.ends_with(b"\r\n")));
                    }
                    RouteOperation::Info(json) => drop(RouteInfo::parse(json)),
                    _ => {}
                }
                at += consumed;
            }
            (Err(error), Err(earlier)) => {
                assert_eq!(error, earlier);
                return;
            }
            (Err(_), Ok(early)) => {
                assert!(matches!(early, RouteParsed::Incomplete { .. }));
                return;
            }
            (Ok(RouteParsed::Incomplete { .. }), early) => {
                assert!(matches!(early, Ok(RouteParsed::Incomplete { .. })));
                return;
            }
        }
    }
});
