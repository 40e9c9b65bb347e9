//! The question whether another server with the same cluster ID is within reach (`streaming-protocol.md` §9.3).
//!
//! Asked through the bus before the service subscriptions are opened, so that a server does not find itself. It is an
//! ordinary request to connect: whoever answers it, with a success or an error, is a server.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use seaway_stan_protocol::Message;
use seaway_stan_protocol::messages::{CloseRequest, ConnectRequest, ConnectResponse};
use tokio::sync::Notify;

use crate::bus::{Attachment, Batch, Bus, Listener, Sender, is_no_responders};
use crate::limits::{STANDALONE_PATIENCE, STANDALONE_QUESTIONS_MAX};

/// Keeps the first answer, which may be that nobody answers.
#[derive(Default)]
struct FirstAnswer {
    answer: Mutex<Option<Option<Vec<u8>>>>,
    arrived: Notify,
}

impl Listener for FirstAnswer {
    fn deliver(&self, batch: Batch) {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(message) = batch.get(0) else { return };
        if answer.is_none() {
            let is_nobody = is_no_responders(&message);
            *answer = Some((!is_nobody).then(|| message.payload.to_vec()));
            self.arrived.notify_one();
        }
    }
}

/// Fails when another server answers for `cluster_id`. When nobody listens to `discover` this is known at once; otherwise
/// an answer may take [`STANDALONE_PATIENCE`].
///
/// # Errors
/// The texts of §3.
pub(crate) async fn check(bus: &Bus, cluster_id: &str, discover: &str) -> Result<()> {
    let answers = Arc::new(FirstAnswer::default());
    let attachment = bus.attach("stand-alone check", Arc::clone(&answers));
    let mut sender = attachment.sender();
    let request = ConnectRequest {
        client_id: cluster_id.to_owned().into(),
        heartbeat_inbox: inbox().into(),
        ..ConnectRequest::default()
    };
    let request = request.encode_to_vec();
    let (mut answer, mut is_known) = (None, false);
    for _ in 0..STANDALONE_QUESTIONS_MAX {
        let reach = bus.reach();
        bus.subscribed().await?;
        answer = ask(&attachment, &mut sender, &answers, discover, &request).await?;
        // Silence says nothing when the question may have been lost with a connection.
        is_known = answer.is_some() || bus.external_snapshot().is_none() || !reach.has_changed();
        if is_known {
            break;
        }
        tracing::warn!(target: "stream", "The connection was lost while another server was asked for: asking again");
    }
    if !is_known {
        bail!("whether another server has this cluster ID is not known: no connection to the NATS servers lasts");
    }
    let Some(answer) = answer else { return Ok(()) };
    let response = match ConnectResponse::decode(answer.as_slice()) {
        Ok(response) => response,
        Err(error) => bail!("unmarshall error while detecting another server instance: {error}"),
    };
    // The other server may have registered a client of that name; it is told that there is none.
    let close = CloseRequest {
        client_id: cluster_id.to_owned().into(),
    };
    let subject = String::from_utf8_lossy(&response.close_requests).into_owned();
    if !subject.is_empty() {
        // Whether it answers makes no difference any more.
        let _ = ask(&attachment, &mut sender, &answers, &subject, &close.encode_to_vec()).await;
    }
    let name = seaway_stan_protocol::quote(cluster_id.as_bytes());
    bail!("discovered another streaming server with cluster ID {name}")
}

/// Sends a request; the first answer, or `None` when nobody listens or nobody answers in time.
async fn ask(
    attachment: &Attachment,
    sender: &mut Sender,
    answers: &FirstAnswer,
    subject: &str,
    request: &[u8],
) -> Result<Option<Vec<u8>>> {
    let reply = inbox();
    if let Err(error) = attachment.subscribe(&reply, 0, false) {
        bail!("request error detecting another server instance: {error}");
    }
    let sent = sender.send(subject.as_bytes(), Some(reply.as_bytes()), &[request]);
    sender.flush();
    let taken = || answers.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    if sent.receivers > 0 {
        let wait = async {
            loop {
                answers.arrived.notified().await;
                if let Some(answer) = taken() {
                    return answer;
                }
            }
        };
        let answer = tokio::time::timeout(STANDALONE_PATIENCE, wait).await;
        attachment.unsubscribe(0);
        return Ok(answer.ok().flatten());
    }
    attachment.unsubscribe(0);
    Ok(None)
}

fn inbox() -> String {
    format!("_INBOX.{}", crate::token::token())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    const DISCOVER: &str = "_STAN.discover.here";

    fn bus() -> Bus {
        Bus::new(&seaway_broker::Broker::new(seaway_broker::BrokerOptions::default()))
    }

    /// Subject, reply and payload.
    type Request = (String, String, Vec<u8>);

    /// Subject and payload of a request.
    type Seen = (String, Vec<u8>);

    /// Another server, as far as the check can tell: takes requests and answers as it is told.
    struct Other {
        sender: Mutex<Option<mpsc::Sender<Request>>>,
    }

    impl Listener for Other {
        fn deliver(&self, batch: Batch) {
            for message in batch.iter() {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let request = (
                    text(message.subject),
                    text(message.reply.unwrap_or_default()),
                    message.payload.to_vec(),
                );
                self.sender.lock().unwrap().as_ref().unwrap().send(request).unwrap();
            }
        }
    }

    /// Checks while another server answers with `answer` (`None`: not at all); the outcome and the requests it saw.
    fn check_beside(answer: Option<Vec<u8>>) -> (Result<(), String>, Vec<Seen>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let bus = bus();
        let (sender, requests) = mpsc::channel();
        let sink = Arc::new(Other {
            sender: Mutex::new(Some(sender)),
        });
        let other = bus.attach("other", Arc::clone(&sink));
        other.subscribe(DISCOVER, 1, false).unwrap();
        other.subscribe("close.here", 2, false).unwrap();
        let mut sender = other.sender();
        let serving = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for (subject, reply, payload) in requests {
                if let Some(answer) = &answer {
                    let answer = if subject == DISCOVER { answer.as_slice() } else { &[] };
                    let _ = sender.send(reply.as_bytes(), None, &[answer]);
                    sender.flush();
                }
                seen.push((subject, payload));
            }
            seen
        });
        let outcome = runtime.block_on(check(&bus, "here", DISCOVER));
        sink.sender.lock().unwrap().take();
        (outcome.map_err(|error| error.to_string()), serving.join().unwrap())
    }

    /// §9.3: a reply means another server, which is told to forget the client it may have registered. §3: the text.
    /// §13.8 EnsureStandAlone.
    #[test]
    fn another_server_is_found_and_told_to_close() {
        let response = ConnectResponse {
            close_requests: "close.here".into(),
            ..ConnectResponse::default()
        };
        let (outcome, seen) = check_beside(Some(response.encode_to_vec()));
        assert_eq!(
            outcome.unwrap_err(),
            "discovered another streaming server with cluster ID \"here\""
        );
        let request = ConnectRequest::decode(seen[0].1.as_slice()).unwrap();
        assert_eq!((seen[0].0.as_str(), &request.client_id[..]), (DISCOVER, &b"here"[..]));
        assert!(request.heartbeat_inbox.starts_with(b"_INBOX."));
        assert_eq!(seen[1].0, "close.here");
        assert_eq!(
            &CloseRequest::decode(seen[1].1.as_slice()).unwrap().client_id[..],
            b"here"
        );
    }

    /// §9.3: an error is an answer too.
    #[test]
    fn a_refusal_is_an_answer_too() {
        let response = ConnectResponse {
            error: seaway_stan_protocol::errors::INVALID_CONNECTION_REQUEST.into(),
            ..ConnectResponse::default()
        };
        let (outcome, seen) = check_beside(Some(response.encode_to_vec()));
        assert!(outcome.unwrap_err().starts_with("discovered another streaming server"));
        assert_eq!(seen.len(), 1, "it names no subject for a close");
    }

    /// §3.
    #[test]
    fn what_is_no_answer_stops_the_start_as_well() {
        let (outcome, _) = check_beside(Some(vec![0xff; 3]));
        let text = outcome.unwrap_err();
        assert!(
            text.starts_with("unmarshall error while detecting another server instance: "),
            "{text}"
        );
    }

    /// §9.3: silence for 250 ms means to be alone.
    #[test]
    fn somebody_who_only_listens_is_no_server() {
        let begin = Instant::now();
        let (outcome, seen) = check_beside(None);
        assert_eq!((outcome, seen.len()), (Ok(()), 1));
        assert!(begin.elapsed() >= STANDALONE_PATIENCE);
    }

    /// §9.3: when nobody listens there is nothing to wait for.
    #[test]
    fn without_listeners_there_is_no_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let bus = bus();
        runtime.block_on(async {
            // A timer that is polled after the check tells whether the check waited, whatever the machine does meanwhile.
            let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
            tokio::select! {
                biased;
                outcome = check(&bus, "here", DISCOVER) => outcome.unwrap(),
                () = &mut timer => panic!("the check waited"),
            }
        });
    }
}
