//! Arbitrary bytes as names: checks and quoting never panic, and keys of names are stable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seaway_stan_protocol::{quote, validate};

fuzz_target!(|name: &[u8]| {
    let _ = validate::is_client_id(name);
    let key = validate::fold_case(name);
    assert_eq!(validate::fold_case(&key), key);
    if validate::is_channel_name(name) {
        assert!(validate::is_channel_name(&key));
    }
    let quoted = quote(name);
    assert!(quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"'));
});
