//! Arbitrary bytes never panic the reader of frames between members, and what it takes is written again as it was, but for checksums
//! that nobody wrote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seaway_replica::{FRAME_ENTRY_BYTES, Frame, Identity};

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = Frame::read(data) else { return };
    let bodies = frame.bodies();
    let mut written = Vec::new();
    frame.outgoing().write_head(&Identity([0; 16]), &bodies, &mut written).expect("the bodies are the entries'");
    // The heads of entries end with their checksums and stand right before the bodies.
    let heads = written.len() - bodies.len() * FRAME_ENTRY_BYTES;
    // So does the head of the frame, in its bytes 12 to 16.
    assert_eq!(written[..12], data[..12]);
    assert_eq!(written[16..heads], data[16..heads]);
    let given = data[heads..written.len()].chunks(FRAME_ENTRY_BYTES);
    for (written, given) in written[heads..].chunks(FRAME_ENTRY_BYTES).zip(given) {
        assert_eq!(written[..12], given[..12]);
    }
    assert_eq!(bodies.concat(), data[written.len()..]);
});
