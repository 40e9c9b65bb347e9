//! Behaviour of the parser: tables from the core specification §1.2, §1.3, §1.7 and properties.

use proptest::prelude::*;
use seaway_nats_protocol::{Operation, ParseError, ParseLimits, Parsed, Publish, parse_operation};

fn limits() -> ParseLimits {
    ParseLimits {
        max_control_line: 64,
        max_payload: 32,
        headers: true,
    }
}

/// Parses everything at once: the operations as text and the error that ended it, if any.
fn parse_all(mut input: &[u8], limits: &ParseLimits) -> (Vec<String>, Option<ParseError>, usize) {
    let mut operations = Vec::new();
    loop {
        match parse_operation(input, limits) {
            Ok(Parsed::Operation { operation, consumed }) => {
                operations.push(format!("{operation:?}"));
                input = &input[consumed..];
            }
            Ok(Parsed::Incomplete { .. }) => return (operations, None, input.len()),
            Err(error) => return (operations, Some(error), 0),
        }
    }
}

/// Feeds `input` in pieces, as reads from a socket would.
fn parse_pieces(input: &[u8], cuts: &[usize], limits: &ParseLimits) -> (Vec<String>, Option<ParseError>, usize) {
    let mut buffer = Vec::new();
    let mut operations = Vec::new();
    let mut from = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    for end in ends {
        buffer.extend_from_slice(&input[from..end]);
        from = end;
        loop {
            match parse_operation(&buffer, limits) {
                Ok(Parsed::Operation { operation, consumed }) => {
                    operations.push(format!("{operation:?}"));
                    buffer.drain(..consumed);
                }
                Ok(Parsed::Incomplete { needed }) => {
                    assert!(needed == 0 || needed > buffer.len());
                    break;
                }
                Err(error) => return (operations, Some(error), 0),
            }
        }
    }
    (operations, None, buffer.len())
}

fn single(input: &[u8]) -> Operation<'_> {
    match parse_operation(input, &limits()) {
        Ok(Parsed::Operation { operation, consumed }) => {
            assert_eq!(consumed, input.len(), "{:?}", String::from_utf8_lossy(input));
            operation
        }
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(input)),
    }
}

fn published(input: &[u8]) -> Publish<'_> {
    match single(input) {
        Operation::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn verbs_of_section_1_3_in_any_case_and_spacing() {
    let subscribe = Operation::Subscribe {
        subject: b"foo",
        queue: None,
        sid: b"1",
    };
    for line in [
        "SUB foo 1\r\n",
        "sub foo 1\r\n",
        "Sub\tfoo \t 1\r\n",
        "SUB foo 1\n",
        "SUB   foo 1  \r\n",
    ] {
        assert_eq!(single(line.as_bytes()), subscribe, "{line:?}");
    }
    assert_eq!(
        single(b"SUB foo q 1\r\n"),
        Operation::Subscribe {
            subject: b"foo",
            queue: Some(b"q"),
            sid: b"1"
        }
    );
    assert_eq!(single(b"UNSUB 1\r\n"), Operation::Unsubscribe { sid: b"1", max: None });
    assert_eq!(
        single(b"UNSUB 1 5\r\n"),
        Operation::Unsubscribe {
            sid: b"1",
            max: Some(5)
        }
    );
    assert_eq!(
        single(b"UNSUB 1 x\r\n"),
        Operation::Unsubscribe { sid: b"1", max: None }
    );
    for line in [
        "PING\r\n",
        "ping\r\n",
        "PING   \r\n",
        "PINGxyz\r\n",
        "PING \r \r\n",
        "PING\n",
    ] {
        assert_eq!(single(line.as_bytes()), Operation::Ping, "{line:?}");
    }
    assert_eq!(single(b"PONG\r\n"), Operation::Pong);
    assert_eq!(single(b"+OK\r\n"), Operation::Ok);
    assert_eq!(single(b"INFO {}\r\n"), Operation::Info(b"{}"));
    assert_eq!(single(b"-ERR 'x'\r\n"), Operation::Error(b"'x'"));
    assert_eq!(single(b"CONNECT {}\r\n"), Operation::Connect(b"{}"));
    assert_eq!(single(b"CONNECT{}\r\n"), Operation::Connect(b"{}"));
}

#[test]
fn publications_of_section_1_7() {
    let publish = published(b"PUB foo 5\r\nhello\r\n");
    assert_eq!(
        (publish.subject, publish.reply, publish.body),
        (&b"foo"[..], None, &b"hello"[..])
    );
    assert_eq!(publish.tail, Some(&b"5\r\nhello\r\n"[..]));
    let publish = published(b"PUB foo bar 002\r\nok\r\n");
    assert_eq!(publish.reply, Some(&b"bar"[..]));
    assert_eq!(publish.size_text, b"002");
    assert_eq!(publish.tail, Some(&b"bar 002\r\nok\r\n"[..]));
    assert_eq!(published(b"PUB foo 0\r\n\r\n").body, b"");
    assert_eq!(published(b"PUB foo 2\nok\r\n").tail, None);
    assert_eq!(published(b"PUB foo bar  2\r\nok\r\n").tail, None);
    assert_eq!(published(b"PUB foo\t2 \r\nok\r\n").tail, None);
    let publish = published(b"HPUB foo bar 12 14\r\nK1:V1,K2:V2 ok\r\n");
    assert_eq!(
        (publish.header_size, publish.headers(), publish.payload()),
        (12, &b"K1:V1,K2:V2 "[..], &b"ok"[..])
    );
    assert_eq!(publish.tail, Some(&b"bar 12 14\r\nK1:V1,K2:V2 ok\r\n"[..]));
    let publish = published(b"HPUB foo 0 2\r\nok\r\n");
    assert_eq!((publish.header_size, publish.tail), (0, None));
    assert_eq!(published(b"PUB foo 9\r\n\r\nPUB x 1\r\n").body, b"\r\nPUB x 1");
}

#[test]
fn refusals_of_sections_1_2_and_1_7() {
    use ParseError::*;
    let table: &[(&[u8], ParseError)] = &[
        (b"ZZZ\r\n", UnknownOperation),
        (b"Z", UnknownOperation),
        (b" PING\r\n", UnknownOperation),
        (b"\r\n", UnknownOperation),
        (b"PUBS foo 1\r\n", UnknownOperation),
        (b"SUBZZZ", UnknownOperation),
        (b"UNSUBX", UnknownOperation),
        (b"UNSUB\r\n", UnknownOperation),
        (b"SUB\r\n", UnknownOperation),
        (b"MSG foo 1 2\r\n", UnknownOperation),
        (b"HMSG foo", UnknownOperation),
        (b"RS+ foo", UnknownOperation),
        (b"LMSG", UnknownOperation),
        (b"A+ foo", UnknownOperation),
        (b"PUB foo 2\r\nokay\r\n", UnknownOperation),
        (b"PUB foo 2\r\nok\rx", UnknownOperation),
        (b"PUB foo\r\n", Arguments),
        (b"PUB a b c 1\r\n", Arguments),
        (b"PUB foo -1\r\n", Arguments),
        (b"PUB foo 0x1\r\n", Arguments),
        (b"PUB foo 99999999999\r\n", Arguments),
        (b"SUB foo\r\n", Arguments),
        (b"SUB a b c d\r\n", Arguments),
        (b"UNSUB 1 2 3\r\n", Arguments),
        (b"HPUB foo 1\r\n", Arguments),
        (b"HPUB foo 3 2\r\n", Arguments),
        (b"HPUB foo x 2\r\n", Arguments),
        (b"PUB foo 33\r\n", PayloadExceeded),
        (b"HPUB foo 3 33\r\n", PayloadExceeded),
        (b"PUB foo 999999999\r\n", PayloadExceeded),
    ];
    for (input, expected) in table {
        assert_eq!(
            parse_operation(input, &limits()),
            Err(*expected),
            "{:?}",
            String::from_utf8_lossy(input)
        );
    }
    let without = ParseLimits {
        headers: false,
        ..limits()
    };
    assert_eq!(parse_operation(b"HPUB foo 0 0\r\n", &without), Err(HeadersNotSupported));
}

#[test]
fn control_line_limit_of_section_1_2_counts_arguments_only() {
    for (length, refused) in [(64, false), (65, true), (66, true)] {
        let mut line = b"CONNECT ".to_vec();
        line.resize(8 + length, b'x');
        line.extend_from_slice(b"\r\n");
        let result = parse_operation(&line, &limits());
        assert_eq!(
            result == Err(ParseError::ControlLineExceeded),
            refused,
            "{length}: {result:?}"
        );
    }
    for verb in ["SUB ", "PING", "CONNECT ", "PUB "] {
        for filler in [b'x', b' '] {
            let mut endless = verb.as_bytes().to_vec();
            endless.resize(200, filler);
            assert_eq!(
                parse_operation(&endless, &limits()),
                Err(ParseError::ControlLineExceeded),
                "{verb}"
            );
        }
    }
}

#[test]
fn the_whole_length_is_announced_once_known() {
    assert_eq!(
        parse_operation(b"PUB foo 5\r\nhe", &limits()),
        Ok(Parsed::Incomplete { needed: 18 })
    );
    assert_eq!(
        parse_operation(b"PUB foo 5\r", &limits()),
        Ok(Parsed::Incomplete { needed: 0 })
    );
    assert_eq!(parse_operation(b"", &limits()), Ok(Parsed::Incomplete { needed: 0 }));
}

/// Bytes that look like the protocol often enough to reach every branch.
fn protocol_soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"PUB foo 2\r\nok\r\n".to_vec()),
        Just(b"PUB foo bar 3\r\nabc\r\n".to_vec()),
        Just(b"HPUB foo 2 4\r\nhhok\r\n".to_vec()),
        Just(b"SUB a.* q 1\r\n".to_vec()),
        Just(b"UNSUB 1 2\r\n".to_vec()),
        Just(b"PING\r\n".to_vec()),
        Just(b"CONNECT {}\r\n".to_vec()),
        Just(b"+OK\r\n".to_vec()),
        Just(b"SUB ".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"   \t ".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
        prop::collection::vec(Just(b'x'), 55..70),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9._*>-]{1,12}"
}

proptest! {
    /// §1.2: arbitrary bytes never panic, and every step makes progress.
    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_all(&input, &limits());
    }

    /// §1.2 "Split reads": any split gives the same operations and the same error.
    #[test]
    fn any_split_gives_the_same_operations(input in protocol_soup(), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let whole = parse_all(&input, &limits());
        prop_assert_eq!(&parse_pieces(&input, &cuts, &limits()), &whole);
        let every_byte: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&parse_pieces(&input, &every_byte, &limits()), &whole);
    }

    /// What a client encodes is what the parser reads.
    #[test]
    fn publications_round_trip(subject in token(), reply in prop::option::of(token()), headers in prop::collection::vec(any::<u8>(), 0..16), payload in prop::collection::vec(any::<u8>(), 0..16), with_headers: bool) {
        let reply_text = reply.as_ref().map(|reply| format!("{reply} ")).unwrap_or_default();
        let mut body = if with_headers { headers.clone() } else { Vec::new() };
        body.extend_from_slice(&payload);
        let mut input = if with_headers {
            format!("HPUB {subject} {reply_text}{} {}\r\n", headers.len(), body.len()).into_bytes()
        } else {
            format!("PUB {subject} {reply_text}{}\r\n", body.len()).into_bytes()
        };
        input.extend_from_slice(&body);
        input.extend_from_slice(b"\r\n");
        let publish = published(&input);
        prop_assert_eq!(publish.subject, subject.as_bytes());
        prop_assert_eq!(publish.reply, reply.as_ref().map(String::as_bytes));
        prop_assert_eq!(publish.payload(), &payload[..]);
        prop_assert_eq!(publish.headers(), if with_headers { &headers[..] } else { &[][..] });
        prop_assert_eq!(publish.tail.is_some(), !with_headers || !headers.is_empty());
    }
}
