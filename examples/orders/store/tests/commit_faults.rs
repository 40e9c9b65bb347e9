//! Commits that fail: a proxy before PostgreSQL cuts the connection at a commit or gives another answer than the server's.
//!
//! Whatever happens, the caller is told that its change is there, and it is there once.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod backends;

use std::sync::{Arc, Mutex};

use backends::{Fresh, event};
use seaway_orders_store::{Appended, EventLog, ReadModel, Ticket, Tickets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection is cut, and the server never hears of the commit.
    CutBefore,
    /// The server commits, and the connection is cut before its answer.
    CutAfter,
    /// The transaction is taken back, with the state that asks for a repetition.
    SerializationFailure,
    /// The server commits, and says that it does not know.
    CompletionUnknown,
}

const FAULTS: [Fault; 4] = [
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::SerializationFailure,
    Fault::CompletionUnknown,
];

/// What happens to the next commits, the last one first.
type Faults = Arc<Mutex<Vec<Fault>>>;

/// Puts a proxy before a database; its address, and what shall happen.
async fn proxy(database: &Fresh) -> (String, Faults) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (scheme, rest) = database.address.split_once("://").unwrap();
    let (user, host) = rest.split_once('@').unwrap();
    let (host, name) = host.split_once('/').unwrap();
    let address = format!("{scheme}://{user}@{}/{name}", listener.local_addr().unwrap());
    let faults = Faults::default();
    let (host, commits) = (host.to_owned(), Arc::clone(&faults));
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&host).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            tokio::spawn(pass(client, server, Arc::clone(&commits)));
        }
    });
    (address, faults)
}

async fn pass(client: TcpStream, server: TcpStream, faults: Faults) {
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let now = Arc::new(Mutex::new(None));
    // Whichever way ends first ends the other.
    tokio::select! {
        _ = requests(client_in, server_out, faults, Arc::clone(&now)) => {}
        _ = answers(server_in, client_out, now) => {}
    }
}

/// A message: its kind and everything behind it, the length included.
async fn frame(from: &mut OwnedReadHalf, has_kind: bool) -> std::io::Result<(Option<u8>, Vec<u8>)> {
    let kind = if has_kind { Some(from.read_u8().await?) } else { None };
    let length = from.read_u32().await?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.resize(length as usize, 0);
    from.read_exact(&mut bytes[4..]).await?;
    Ok((kind, bytes))
}

async fn send(to: &mut OwnedWriteHalf, kind: Option<u8>, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(&[kind.as_slice(), bytes].concat()).await
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: Faults,
    now: Arc<Mutex<Option<Fault>>>,
) -> std::io::Result<()> {
    // The first message has no kind.
    let (_, first) = frame(&mut from, false).await?;
    send(&mut to, None, &first).await?;
    loop {
        let (kind, bytes) = frame(&mut from, true).await?;
        let fault = match kind == Some(b'Q') && bytes.ends_with(b"COMMIT\0") {
            true => faults.lock().unwrap().pop(),
            false => None,
        };
        *now.lock().unwrap() = fault;
        match fault {
            Some(Fault::CutBefore) => return Ok(()),
            Some(Fault::SerializationFailure) => send(&mut to, kind, b"\0\0\0\x0dROLLBACK\0").await?,
            Some(Fault::CutAfter | Fault::CompletionUnknown) | None => send(&mut to, kind, &bytes).await?,
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    now: Arc<Mutex<Option<Fault>>>,
) -> std::io::Result<()> {
    loop {
        let (kind, bytes) = frame(&mut from, true).await?;
        let fault = *now.lock().unwrap();
        let state = match fault {
            None => {
                send(&mut to, kind, &bytes).await?;
                continue;
            }
            // The server has not finished.
            Some(_) if kind != Some(b'Z') => continue,
            Some(Fault::CutBefore | Fault::CutAfter) => return Ok(()),
            Some(Fault::SerializationFailure) => "40001",
            Some(Fault::CompletionUnknown) => "40003",
        };
        let fields = format!("SERROR\0VERROR\0C{state}\0Mby the proxy\0\0");
        let mut error = u32::try_from(fields.len() + 4).unwrap().to_be_bytes().to_vec();
        error.extend_from_slice(fields.as_bytes());
        send(&mut to, Some(b'E'), &error).await?;
        send(&mut to, kind, &bytes).await?;
        *now.lock().unwrap() = None;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_commit_the_change_is_there_once() {
    let Some(database) = backends::postgres().await else {
        return eprintln!("not tested: there is no PostgreSQL");
    };
    let (address, faults) = proxy(&database).await;
    let url = address.parse().unwrap();
    let log = EventLog::open(&url).await.unwrap();
    let model = ReadModel::open(&url).await.unwrap();
    let tickets = Tickets::open(&url).await.unwrap();
    let mut position = 0;
    for (round, fault) in FAULTS.into_iter().chain(FAULTS).enumerate() {
        // In the second half twice in a row.
        let times = 1 + round / FAULTS.len();
        let strike = || *faults.lock().unwrap() = vec![fault; times];
        let struck = || assert!(faults.lock().unwrap().is_empty(), "{fault:?}: there was no commit");
        let id = format!("order-{round}");
        let new = event(&id, 1);

        strike();
        assert_eq!(
            log.append(new.clone()).await,
            Ok(Appended::Stored(new.clone())),
            "{fault:?}"
        );
        struck();
        assert_eq!(
            log.events_of(&id, 0, 10).await.unwrap(),
            std::slice::from_ref(&new),
            "{fault:?}"
        );
        let unpublished = log.unpublished(10).await.unwrap();
        position += 1;
        assert_eq!(unpublished.len(), 1, "{fault:?}");
        assert_eq!(unpublished[0].position, position, "{fault:?}");

        strike();
        log.published(position).await.unwrap();
        struck();
        assert_eq!(log.unpublished(10).await.unwrap(), [], "{fault:?}");

        strike();
        model.record(vec![new]).await.unwrap();
        struck();
        assert_eq!(model.counts().await.unwrap().created, round as u64 + 1, "{fault:?}");

        strike();
        let ticket = Ticket {
            order_id: id,
            customer: "ann".to_owned(),
            decision: "approved".to_owned(),
            reason: String::new(),
            decided_on_ms: 1,
        };
        assert_eq!(tickets.decide(ticket.clone()).await, Ok(ticket), "{fault:?}");
        struck();
    }
}
