//! A process that did not run for a while: what waited in its sockets counts before any deadline does.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};
use rustix::process::{Pid, Signal, kill_process};
use seaway_bench::stan::subscription;
use seaway_stan_protocol::messages::SubscriptionRequest;

/// §13.4 RedeliveryRaceWithAck.
#[test]
fn an_ack_that_waited_out_a_pause_prevents_the_redelivery() {
    let server = Server::in_memory(&["-hbi", "1h"]);
    let mut session = server.session("me");
    let subscribed = session
        .subscribe(SubscriptionRequest {
            ack_wait_in_secs: 1,
            ..subscription("foo")
        })
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    for sequence in 1..=5 {
        session.publish("foo", b"x").unwrap();
        let message = session.next_message(PATIENCE).unwrap();
        assert_eq!((message.sequence, message.redelivered), (sequence, false));
        kill_process(pid, Signal::STOP).unwrap();
        session.ack(&subscribed, sequence);
        session.connection.flush().unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1200) {
            thread::park_timeout(Duration::from_millis(50));
        }
        kill_process(pid, Signal::CONT).unwrap();
        let again = session.next_message(Duration::from_millis(200));
        assert!(again.is_err(), "sent again although its ack was waiting: {again:?}");
    }
}
