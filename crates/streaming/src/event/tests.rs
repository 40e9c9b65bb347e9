//! The lines as the specification has them.

use super::*;

/// Lines of `streaming-protocol.md` §9.2 and §6.1.
#[test]
fn lines_read_as_specified() {
    let subscription = Event::Subscription {
        verb: SubscriptionVerb::Started,
        client: b"me",
        channel: b"foo",
        inbox: b"_INBOX.s",
        queue: b"",
        durable: b"dur",
        number: 3,
        start: StartLine::Sequence { asked: 1, actual: 11 },
    };
    let table: [(Event<'_>, &str); 6] = [
        (
            Event::ChannelCreated { channel: b"foo" },
            "Channel \"foo\" has been created",
        ),
        (Event::TimedOut { client: b"me" }, "[Client:me] Timed out on heartbeats"),
        (
            Event::Connected {
                client: b"me",
                inbox: b"_INBOX.hb",
            },
            "[Client:me] Connected (Inbox=_INBOX.hb)",
        ),
        (
            Event::LimitsReached {
                channel: b"foo",
                messages: 11,
                messages_max: 10,
                bytes: 5,
                bytes_max: 0,
            },
            "Reached limits for store \"foo\" (msgs=11/10 bytes=5/0), dropping old messages to make room for new ones",
        ),
        (
            subscription,
            "[Client:me] Started new durable subscription, subject=foo, inbox=_INBOX.s, durable=dur, subid=3, \
             sending from sequence, asked_seq=1 actual_seq=11",
        ),
        (
            Event::ChannelDeleted { channel: b"a\n\xff" },
            "Channel \"a\\n\\xff\" has been deleted",
        ),
    ];
    for (event, text) in table {
        assert_eq!(event.to_string(), text);
    }
}
