//! The worked example of the specification (§3.14), byte by byte, and what it says.

use seaway_original::{Options, Status, SubscriptionKind, Verdict, check};

/// Names and contents.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    let dumps = [
        (
            "server.dat",
            "0100000074000000670e27d80a026331 \
             12115f5354414e2e646973636f766572 \
             2e63311a0c5f5354414e2e7075622e63 \
             31220c5f5354414e2e7375622e63312a \
             0e5f5354414e2e756e7375622e633132 \
             0e5f5354414e2e636c6f73652e63313a \
             115f5354414e2e737562636c6f73652e \
             6331420c5f5354414e2e61636b2e6331",
        ),
        (
            "clients.dat",
            "0100000019000001af2a91430a026d65 \
             12085f494e424f582e681a0341424320 \
             0128053003040000022b6bf6a00a026d \
             65",
        ),
        (
            "foo/msgs.1.dat",
            "01000000180000006284c22808011203 \
             666f6f220568656c6c6f28808080c5dd \
             f0959a16180000001764f6a808021203 \
             666f6f1a0172220268692880cab5b3df \
             f0959a16",
        ),
        (
            "foo/msgs.1.idx",
            "01000000010000000000000004000000 \
             000000000000a0d88557341618000000 \
             338ce0d1020000000000000024000000 \
             0000000000656df68557341618000000 \
             453d332f",
        ),
        (
            "foo/subs.dat",
            "0100000026000001f366670d08011202 \
             6d6522085f494e424f582e732a085f49 \
             4e424f582e61308008381e4203647572 \
             50010400000503bff7d8080110010400 \
             0005b9eefe41080110020400000403bf \
             f7d8080110012a00000263284fca0801 \
             12026d6522085f494e424f582e732a08 \
             5f494e424f582e61308008381e420364 \
             7572480250015801",
        ),
    ];
    let bytes = |dump: &str| {
        let digits: Vec<u32> = dump.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).unwrap();
        digits.chunks(2).map(byte).collect::<Vec<u8>>()
    };
    dumps.iter().map(|(name, dump)| (*name, bytes(dump))).collect()
}

/// Specification §3.14.
#[test]
fn the_worked_example_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("foo")).unwrap();
    let sizes: Vec<usize> = files().iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(sizes, [128, 49, 68, 68, 136]);
    for (name, bytes) in files() {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let report = check(folder.path(), &Options::default(), |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.verdict, Verdict::Ready);
    let server = report.server.unwrap();
    assert_eq!(
        (server.cluster_id.as_str(), server.sub_close.as_str()),
        ("c1", "_STAN.subclose.c1")
    );
    assert!(report.clients.is_empty(), "the client left");
    let [channel] = &report.channels[..] else {
        panic!("{:?}", report.channels)
    };
    assert_eq!((channel.messages, channel.bytes, channel.payload_bytes), (2, 128, 7));
    assert_eq!((channel.first_sequence, channel.last_sequence), (1, 2));
    assert_eq!(channel.first_time.as_deref(), Some("2020-09-13T12:26:40Z"));
    assert_eq!(channel.last_time.as_deref(), Some("2020-09-13T12:26:40.5Z"));
    assert_eq!(channel.next_subscription_id, 2);
    let [durable] = &channel.subscriptions[..] else {
        panic!("{:?}", channel.subscriptions)
    };
    assert_eq!(
        (durable.kind, durable.status),
        (SubscriptionKind::Durable, Status::Offline)
    );
    assert_eq!(
        (durable.client_id.as_str(), durable.durable_name.as_str()),
        ("me", "dur")
    );
    assert_eq!((durable.last_sent, durable.pending), (2, 1));
    assert_eq!(durable.pending_ranges, [(2, 2)]);
    assert_eq!((durable.max_in_flight, durable.ack_wait_seconds), (1024, 30));
}
