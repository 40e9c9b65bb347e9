//! Arbitrary bytes never panic the client parser, and splitting them changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seaway_nats_protocol::{ParseLimits, Parsed, parse_operation};

fuzz_target!(|data: &[u8]| {
    let Some((cut, input)) = data.split_first() else { return };
    let limits = ParseLimits { max_control_line: 128, max_payload: 1024, headers: true };
    let mut at = 0;
    loop {
        let whole = parse_operation(&input[at..], &limits);
        let early = parse_operation(&input[at..input.len().min(at + usize::from(*cut))], &limits);
        match (whole, early) {
            (Ok(Parsed::Operation { consumed, .. }), early) => {
                if let Ok(Parsed::Operation { consumed: earlier, .. }) = early {
                    assert_eq!(earlier, consumed);
                }
                assert!(early.is_ok() && consumed > 0);
                at += consumed;
            }
            (Err(error), Err(earlier)) => {
                assert_eq!(error, earlier);
                return;
            }
            (Err(_), Ok(early)) => {
                assert!(matches!(early, Parsed::Incomplete { .. }));
                return;
            }
            (Ok(Parsed::Incomplete { .. }), early) => {
                assert!(matches!(early, Ok(Parsed::Incomplete { .. })));
                return;
            }
        }
    }
});
