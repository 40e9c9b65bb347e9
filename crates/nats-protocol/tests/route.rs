//! What servers say to each other (core specification §4.5): every shape, every cut, and what is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use seaway_nats_protocol::limits::ROUTE_WEIGHT_MAX;
use seaway_nats_protocol::route::{
    write_interest, write_no_interest, write_route_message_prefix, write_route_message_rest,
};
use seaway_nats_protocol::{ParseError, ParseLimits, Parsed, RouteMessage, RouteOperation, parse_route_operation};

const LIMITS: ParseLimits = ParseLimits {
    max_control_line: 256,
    max_payload: 1024,
    headers: true,
};

/// The whole input as one operation.
fn parse(input: &[u8]) -> RouteOperation<'_> {
    match parse_route_operation(input, &LIMITS) {
        Ok(Parsed::Operation { operation, consumed }) if consumed == input.len() => operation,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(input)),
    }
}

fn message(input: &[u8]) -> RouteMessage<'_> {
    match parse(input) {
        RouteOperation::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

fn refusal(input: &[u8]) -> ParseError {
    parse_route_operation(input, &LIMITS).unwrap_err()
}

#[test]
fn interest_of_section_4_5() {
    let interest = |queue| RouteOperation::Interest {
        account: b"$G",
        subject: b"foo.*",
        queue,
    };
    assert_eq!(parse(b"RS+ $G foo.*\r\n"), interest(None));
    assert_eq!(parse(b"rs+  $G\tfoo.*  \r\n"), interest(None));
    assert_eq!(parse(b"RS+ $G foo.* q 3\r\n"), interest(Some((b"q", 3))));
    assert_eq!(parse(b"RS+ $G foo.* q 0\r\n"), interest(Some((b"q", 1))));
    assert_eq!(
        parse(b"RS+ $G foo.* q 999999999\r\n"),
        interest(Some((b"q", ROUTE_WEIGHT_MAX)))
    );
    let no_interest = |queue| RouteOperation::NoInterest {
        account: b"$G",
        subject: b"foo",
        queue,
    };
    assert_eq!(parse(b"RS- $G foo\r\n"), no_interest(None));
    assert_eq!(parse(b"RS- $G foo q\r\n"), no_interest(Some(b"q")));
    for bad in [
        "RS+ $G\r\n",
        "RS+ $G foo q\r\n",
        "RS+ $G foo q w\r\n",
        "RS+ $G foo q 1 2\r\n",
        "RS- $G\r\n",
    ] {
        assert_eq!(refusal(bad.as_bytes()), ParseError::Arguments, "{bad}");
    }
    assert_eq!(refusal(b"RS- $G foo q 1\r\n"), ParseError::Arguments);
}

#[test]
fn messages_of_section_4_5() {
    let plain = message(b"RMSG $G zed 2\r\nok\r\n");
    assert_eq!(
        (plain.account, plain.subject, plain.reply),
        (&b"$G"[..], &b"zed"[..], None)
    );
    assert_eq!((plain.body, plain.header_size), (&b"ok"[..], 0));
    assert_eq!(plain.tail, Some(&b"2\r\nok\r\n"[..]));
    let reply = message(b"RMSG $G zed rep 2\r\nok\r\n");
    assert_eq!(
        (reply.reply, reply.tail),
        (Some(&b"rep"[..]), Some(&b"rep 2\r\nok\r\n"[..]))
    );
    let queues = message(b"RMSG $G zq | qq rr 1\r\nx\r\n");
    assert_eq!((queues.reply, queues.tail), (None, None));
    assert_eq!(queues.queues.iter().collect::<Vec<_>>(), [b"qq", b"rr"]);
    let both = message(b"RMSG $G foo + rep q 2\r\nok\r\n");
    assert_eq!(both.reply, Some(&b"rep"[..]));
    assert_eq!(both.queues.iter().collect::<Vec<_>>(), [b"q"]);
    let headers = message(b"HMSG $G zed 12 14\r\nNATS/1.0\r\n\r\nok\r\n");
    assert_eq!((headers.header_size, headers.body.len()), (12, 14));
    assert_eq!(headers.tail, Some(&b"12 14\r\nNATS/1.0\r\n\r\nok\r\n"[..]));
    let all = message(b"HMSG $G zed + r q1 q2 12 14\r\nNATS/1.0\r\n\r\nok\r\n");
    assert_eq!((all.reply, all.header_size), (Some(&b"r"[..]), 12));
    assert_eq!(all.queues.iter().collect::<Vec<_>>(), [b"q1", b"q2"]);
    // A reply that looks like a size is one.
    let number = message(b"RMSG $G zed 7 2\r\nok\r\n");
    assert_eq!((number.reply, number.body), (Some(&b"7"[..]), &b"ok"[..]));
    // Nor do the signs for queue groups stand for anything alone: clients choose their replies.
    for sign in ["+", "|"] {
        let odd = message(format!("RMSG $G zed {sign} 2\r\nok\r\n").as_bytes().to_vec().leak());
        assert_eq!(
            (odd.reply, odd.queues.iter().count(), odd.body),
            (Some(sign.as_bytes()), 0, &b"ok"[..])
        );
        let odd = message(
            format!("HMSG $G zed {sign} 12 14\r\nNATS/1.0\r\n\r\nok\r\n")
                .as_bytes()
                .to_vec()
                .leak(),
        );
        assert_eq!((odd.reply, odd.header_size), (Some(sign.as_bytes()), 12));
    }
    // Another spacing is not taken over as it is.
    for spaced in [
        "RMSG $G  zed 2\r\nok\r\n",
        "RMSG $G zed\t2\r\nok\r\n",
        "RMSG $G zed 2 \r\nok\r\n",
        "RMSG $G zed 2\nok\r\n",
    ] {
        let spaced = message(spaced.as_bytes());
        assert_eq!(
            (spaced.subject, spaced.body, spaced.tail),
            (&b"zed"[..], &b"ok"[..], None)
        );
    }
}

#[test]
fn what_is_no_message_is_refused() {
    for bad in [
        "RMSG 2\r\nok\r\n",
        "RMSG $G 2\r\nok\r\n",
        "RMSG $G zed two\r\nok\r\n",
        "RMSG $G zed a b 2\r\nok\r\n",
        "HMSG $G zed 3 2\r\nok\r\n",
        "HMSG $G zed x 2\r\nok\r\n",
        "HMSG $G 1 2\r\nok\r\n",
    ] {
        assert_eq!(refusal(bad.as_bytes()), ParseError::Arguments, "{bad}");
    }
    for unknown in [
        "RMSG $G zed 2\r\nok..",
        "LMSG o $G zed 0 2\r\nok\r\n",
        "LS+ o $G zed\r\n",
        "SUB a 1\r\n",
        "RS\r\n",
    ] {
        assert_eq!(refusal(unknown.as_bytes()), ParseError::UnknownOperation, "{unknown}");
    }
    assert_eq!(refusal(b"RMSG $G zed 1025\r\n"), ParseError::PayloadExceeded);
    let long = [b"RS+ $G ".as_slice(), &[b'x'; 300]].concat();
    assert_eq!(refusal(&long), ParseError::ControlLineExceeded);
}

#[test]
fn a_cut_changes_nothing() {
    let inputs: [&[u8]; 7] = [
        b"RS+ $G foo q 3\r\n",
        b"RS- $G foo\r\n",
        b"RMSG $G foo + rep q 2\r\nok\r\n",
        b"HMSG $G zed 12 14\r\nNATS/1.0\r\n\r\nok\r\n",
        b"PING\r\n",
        b"INFO {\"server_id\":\"N\"} \r\n",
        b"-ERR 'x'\r\n",
    ];
    for input in inputs {
        for cut in 0..input.len() {
            match parse_route_operation(&input[..cut], &LIMITS) {
                Ok(Parsed::Incomplete { needed }) => assert!(needed == 0 || needed == input.len()),
                other => panic!("{}: {other:?}", String::from_utf8_lossy(&input[..cut])),
            }
        }
        parse(input);
    }
}

#[test]
fn what_is_written_is_read() {
    let mut out = Vec::new();
    write_interest(&mut out, b"$G", b"foo", None);
    write_interest(&mut out, b"$G", b"foo", Some((b"q", 12)));
    write_no_interest(&mut out, b"$G", b"foo", Some(b"q"));
    assert_eq!(out, b"RS+ $G foo\r\nRS+ $G foo q 12\r\nRS- $G foo q\r\n");
    for (reply, queues, header_size, expected) in [
        (None, &[][..], None, "RMSG $G foo 2\r\n"),
        (Some(&b"r"[..]), &[][..], None, "RMSG $G foo r 2\r\n"),
        (
            Some(&b"r"[..]),
            &[&b"a"[..], b"b"][..],
            None,
            "RMSG $G foo + r a b 2\r\n",
        ),
        (None, &[&b"a"[..]][..], Some(1), "HMSG $G foo | a 1 2\r\n"),
    ] {
        out.clear();
        write_route_message_prefix(&mut out, b"$G", b"foo", header_size.is_some());
        write_route_message_rest(&mut out, reply, queues.iter().copied(), header_size, 2);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        out.extend_from_slice(b"ok\r\n");
        let read = message(&out);
        assert_eq!((read.reply, read.header_size), (reply, header_size.unwrap_or(0)));
        assert_eq!(read.queues.iter().collect::<Vec<_>>(), queues);
    }
}
