//! What is found in arbitrary bytes is the same however they are cut.

use seaway_nats_protocol::{ParseError, Parsed};

/// Parses what follows the first byte of `data`, which says where it is cut; `found` looks at each operation.
pub fn check<'a, O>(
    data: &'a [u8],
    parse: impl Fn(&'a [u8]) -> Result<Parsed<O>, ParseError>,
    mut found: impl FnMut(O),
) {
    let Some((cut, input)) = data.split_first() else { return };
    let mut at = 0;
    loop {
        let whole = parse(&input[at..]);
        let early = parse(&input[at..input.len().min(at + usize::from(*cut))]);
        match (whole, early) {
            (Ok(Parsed::Operation { operation, consumed }), early) => {
                if let Ok(Parsed::Operation { consumed: earlier, .. }) = early {
                    assert_eq!(earlier, consumed);
                }
                assert!(early.is_ok() && consumed > 0);
                found(operation);
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
}
