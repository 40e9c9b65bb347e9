//! Every answer against its whole text, and what happens when it does not fit.

use super::*;
use crate::site::fake::Fake;
use crate::site::tests::moment;
use crate::snapshot::StreamingState;

fn run<T>(fake: &Fake, len_max: usize, ask: impl AsyncFnOnce(&Answers<'_>) -> T) -> T {
    let answers = Answers {
        moment: moment(),
        ..Answers::new(fake, len_max)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { ask(&answers).await })
}

const HEAD: &str = r#"{"cluster_id":"test-cluster","server_id":"SERVER","now":"2023-11-14T23:14:22.123456789+01:00","#;

#[test]
fn lists() {
    let fake = Fake::default();
    let channel = |name: &str, subs: u64| {
        format!(r#"{{"name":"{name}","msgs":12,"bytes":1632,"first_seq":1,"last_seq":12,"subs_count":{subs}}}"#)
    };
    assert_eq!(
        run(&fake, 9999, async |answers| answers.channels("", 1, 5).await).unwrap(),
        format!(
            r#"{HEAD}"offset":1,"limit":5,"count":2,"total":3,"channels":[{},{}]}}"#,
            channel("bar", 0),
            channel("orders", 1)
        )
    );
    assert_eq!(
        run(&fake, 9999, async |answers| answers.channels("or", 0, 5).await).unwrap(),
        format!(
            r#"{HEAD}"offset":0,"limit":5,"count":1,"total":1,"channels":[{}]}}"#,
            channel("orders", 1)
        )
    );
    assert_eq!(
        run(&fake, 9999, async |answers| answers.channels("none", 0, 5).await).unwrap(),
        format!(r#"{HEAD}"offset":0,"limit":5,"count":0,"total":0,"channels":[]}}"#)
    );
    assert_eq!(
        run(&fake, 9999, async |answers| answers.clients(0, 1).await).unwrap(),
        format!(
            r#"{HEAD}"offset":0,"limit":1,"count":1,"total":2,"clients":[{{"id":"billing","hb_inbox":"_INBOX.hb","subs_count":1}}]}}"#
        )
    );
    let durables = format!(
        r#"{HEAD}"offset":0,"limit":9,"count":1,"total":1,"durables":[{{"channel":"orders","name":"dur","queue":"workers","client_id":"","members":1,"is_durable":true,"is_online":true,"last_sent":12,"pending_count":3,"is_stalled":false}}]}}"#
    );
    for channel in [None, Some("orders")] {
        let answer = run(&fake, 9999, async |answers| answers.durables(channel, 0, 9).await);
        assert_eq!(answer.unwrap(), durables);
    }
}

#[test]
fn single_things() {
    let fake = Fake::default();
    let subscription = r#"{"client_id":"billing","inbox":"_INBOX.aaa","ack_inbox":"_INBOX.bbb","queue_name":"dur:workers","is_durable":true,"is_offline":false,"max_inflight":1024,"ack_wait":30,"last_sent":12,"pending_count":3,"is_stalled":false}"#;
    assert_eq!(
        run(&fake, 9999, async |answers| answers.channel("orders", 0, 7).await).unwrap(),
        format!(
            r#"{{"name":"orders","msgs":12,"bytes":1632,"first_seq":1,"last_seq":12,"subs_count":1,"limits":{{"max_msgs":10,"max_bytes":0,"max_age":0,"max_subscriptions":0,"max_inactivity":0}},"limits_set":{{}},"offset":0,"limit":7,"count":1,"total":1,"subscriptions":[{subscription}]}}"#
        )
    );
    assert_eq!(
        run(&fake, 9999, async |answers| answers.client("billing").await).unwrap(),
        format!(
            r#"{{"id":"billing","hb_inbox":"_INBOX.hb","subs_count":1,"subscriptions":{{"orders":[{subscription}]}}}}"#
        )
    );
    let server = run(&fake, 9999, async |answers| answers.server("1.2.3").await).unwrap();
    for part in [
        r#"{"cluster_id":"test-cluster","server_id":"SERVER","version":"0.25.6","go":"rust","state":"STANDALONE","#,
        r#""seaway_version":"1.2.3","ready":true,"tenure":7,"store":{"type":"FILE","limits":{"max_channels":100,"max_msgs":1000000,"#,
        r#""channels":{"orders":{"max_msgs":10,"#,
    ] {
        assert!(server.contains(part), "{part} is missing in {server}");
    }
    let member = Fake {
        state: Some(StreamingState::FtStandby),
        ..Fake::default()
    };
    let server = run(&member, 9999, async |answers| answers.server("1.2.3").await).unwrap();
    let part = r#""fault_tolerance":{"group":"orders","active":"b","active_tenure":8,"changes":3,"seconds":61,"reason":"its lock is free"},"store""#;
    assert!(server.contains(part), "{part} is missing in {server}");
    let question = || WhyQuestion {
        channel: b"orders".to_vec(),
        limit: 10,
        ..WhyQuestion::default()
    };
    let why = run(&fake, 9999, async |answers| answers.why(question()).await).unwrap();
    assert!(why.contains(r#""channel":"orders","verdict":"stalled","words":"Two are stalled.","#));
}

#[test]
fn what_does_not_exist_is_named() {
    let fake = Fake::default();
    let not_found = |text: &str| Err(Refusal::NotFound(text.to_owned()));
    let unknown = || not_found("Two are stalled. See below.");
    let why = WhyQuestion {
        channel: b"order".to_vec(),
        ..WhyQuestion::default()
    };
    assert_eq!(run(&fake, 9999, async |answers| answers.why(why).await), unknown());
    assert_eq!(
        run(&fake, 9999, async |answers| answers.channel("order", 0, 1).await),
        unknown()
    );
    assert_eq!(
        run(&fake, 9999, async |answers| answers.durables(Some("order"), 0, 1).await),
        unknown()
    );
    assert_eq!(
        run(&fake, 9999, async |answers| answers.client("no\nbody").await),
        not_found(r#"there is no client "no\nbody": it is not connected, or was lost"#)
    );
}

#[test]
fn what_does_not_fit_is_less_or_refused() {
    let fake = Fake::default();
    let all = run(&fake, 9999, async |answers| answers.channels("", 0, 9).await).unwrap();
    let less = run(&fake, all.len() - 1, async |answers| answers.channels("", 0, 9).await).unwrap();
    assert!(less.contains(r#""limit":9,"count":1,"total":3,"#), "{less}");
    let refused = run(&fake, less.len() - 1, async |answers| answers.channels("", 0, 9).await);
    assert_eq!(refused, Err(Refusal::TooLong(less.len())));
    let whole = run(&fake, 9999, async |answers| answers.client("billing").await).unwrap();
    let refused = run(&fake, whole.len() - 1, async |answers| answers.client("billing").await);
    assert_eq!(refused, Err(Refusal::TooLong(whole.len())));
}

#[test]
fn a_server_that_recovers_says_so() {
    let fake = Fake {
        engine_broken: true,
        ..Fake::default()
    };
    let refused = run(&fake, 9999, async |answers| answers.server("1").await);
    assert_eq!(refused, Err(Refusal::Unavailable("recovering".to_owned())));
}
