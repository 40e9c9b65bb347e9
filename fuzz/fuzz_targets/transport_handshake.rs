//! Arbitrary bytes never panic what reads the handshake between members, their questions, lists of members and frames; what is taken is
//! written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seaway_transport::{Answer, Decoder, HEAD_BYTES, Head, Message, PieceName, Purpose, Question, read_members, write_members};

fuzz_target!(|data: &[u8]| {
    if let Some(head) = data.first_chunk::<HEAD_BYTES>()
        && let Ok(head) = Head::read(head)
        && let Some(body) = data[HEAD_BYTES..].get(..head.length)
        && head.is_readable()
        && let Ok(message) = Message::read(&head, body)
    {
        assert_eq!(&message.written()[HEAD_BYTES..], body);
    }
    if let Ok(question) = Question::read(data) {
        assert_eq!(question.written(), data);
    }
    if let Ok(answer) = Answer::read(data) {
        assert_eq!(answer.written(), data);
    }
    if let Ok(members) = read_members(data) {
        let mut written = Vec::new();
        write_members(&members, &mut written);
        assert_eq!(written, data);
    }
    let _ = PieceName::read(data);
    for purpose in [Purpose::Control, Purpose::Bulk, Purpose::Snapshot, Purpose::Ask] {
        let mut decoder = Decoder::new(purpose);
        decoder.buffer().extend_from_slice(data);
        while let Ok(Some(_)) = decoder.next_frame() {}
    }
});
