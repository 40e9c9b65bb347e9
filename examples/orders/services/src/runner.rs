//! Runs the whole system on this machine: a Seaway server and the six processes, then some orders, shown as they go their way.
//!
//! Everything listens on loopback, on ports that the system chooses. The processes are the ordinary binaries with the ordinary
//! flags; nothing here is needed to run them by hand.

mod children;
pub(crate) mod http;
mod programs;
mod sample;
mod watching;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser};
use seaway_orders_store::DatabaseUrl;

use crate::program::{SeawayArguments, Stop};
use crate::runner::children::Children;
use crate::runner::programs::Programs;
use crate::runner::watching::Watching;

/// How long all orders may take to their end.
const ORDERS_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs the whole order system: a Seaway server, all services, and some orders.
#[derive(Clone, Debug, Parser)]
#[command(name = "orders")]
pub struct Arguments {
    #[command(flatten)]
    places: Places,
    /// Orders to place
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    orders: u32,
    /// Stops when all orders have reached their end; the exit code is 1 if they do not
    #[arg(long)]
    exit: bool,
}

/// Where things are and are kept.
#[derive(Args, Clone, Debug)]
struct Places {
    /// Folder for the databases and the log, kept afterwards. Default: a temporary one
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// One database for all services instead of a SQLite file each: postgres://… or cockroachdb://…
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseArgument>,
    /// The Seaway server's program. Default: the one beside this program, built if need be
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Address of the page; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
}

/// The text of a database's address, known to be one.
#[derive(Clone)]
struct DatabaseArgument(String);

impl std::str::FromStr for DatabaseArgument {
    type Err = seaway_orders_store::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<DatabaseUrl>().map(|_| Self(text.to_owned()))
    }
}

impl std::fmt::Debug for DatabaseArgument {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may hold a password.
        formatter.write_str("DatabaseArgument")
    }
}

/// Where the running system is.
struct Addresses {
    nats: String,
    page: String,
}

/// Runs the system until the process shall end or, with `--exit`, until all orders have reached their end.
///
/// # Errors
/// When a program is missing, a process does not start or ends by itself, or orders do not reach their end.
pub async fn run(arguments: Arguments, stop: Stop) -> anyhow::Result<()> {
    let programs = Programs::find(arguments.places.server.as_deref()).await?;
    let temporary = tempfile::tempdir().context("make a temporary folder")?;
    let data = arguments.places.data.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(data).with_context(|| format!("make {}", data.display()))?;
    let mut children = Children::new();
    let working = work(&arguments, &programs, data, &mut children, &stop);
    let outcome = stop.unless(working).await.unwrap_or(Ok(()));
    children.stop().await;
    outcome
}

async fn work(
    arguments: &Arguments,
    programs: &Programs,
    data: &Path,
    children: &mut Children,
    stop: &Stop,
) -> anyhow::Result<()> {
    let addresses = start(&arguments.places, programs, data, children).await?;
    children::say(&format!("the page: {}/", addresses.page));
    let placing = async {
        let seaway = SeawayArguments {
            nats: addresses.nats.clone(),
            cluster_id: "test-cluster".to_owned(),
            client_id: None,
        };
        let mut watching = Watching::start(&seaway).await?;
        let ids = place(&addresses.page, arguments.orders).await?;
        let finishing = watching.until_final(&addresses.page, &ids);
        let summary = tokio::time::timeout(ORDERS_TIMEOUT, finishing).await;
        let summary = summary.with_context(|| format!("orders have not ended within {ORDERS_TIMEOUT:?}"))??;
        children::say(&summary);
        if !arguments.exit {
            children::say(&format!("look at {}/ and stop with Ctrl-C", addresses.page));
            stop.requested().await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        outcome = placing => outcome,
        (name, status) = children.ended() => bail!("{name} has ended by itself: {status}"),
    }
}

/// Starts everything, each process when those it speaks to are ready.
async fn start(
    places: &Places,
    programs: &Programs,
    data: &Path,
    children: &mut Children,
) -> anyhow::Result<Addresses> {
    let nats = children.start_server(&programs.server, data).await?;
    let database = |file: &str| match &places.database {
        Some(url) => url.0.clone(),
        None => format!("sqlite:{}", data.join(file).display()),
    };
    let seaway = ["--nats", &nats];
    let events = database("events.db");
    let listen = ["--listen", "127.0.0.1:0", "--database", &events];
    let event_store = programs.service("event-store");
    let address = children
        .start("event-store", &event_store, &[&seaway[..], &listen].concat())
        .await?;
    let event_store = format!("http://{address}");
    let event_store = ["--event-store", &event_store];
    let (tickets, read_model) = (database("tickets.db"), database("read-model.db"));
    let tickets = ["--database", &tickets];
    let read_model = ["--database", &read_model];
    let restaurant = [&seaway[..], &event_store, &tickets].concat();
    children
        .start(
            "restaurant-service",
            &programs.service("restaurant-service"),
            &restaurant,
        )
        .await?;
    let payment = [&seaway[..], &event_store].concat();
    children
        .start("payment-service", &programs.service("payment-service"), &payment)
        .await?;
    for name in ["order-query-store-1", "order-query-store-2"] {
        let query_store = [&seaway[..], &read_model, &["--client-id", name]].concat();
        children
            .start(name, &programs.service("order-query-store"), &query_store)
            .await?;
    }
    let listen = places.listen.to_string();
    let orders = [&seaway[..], &event_store, &read_model, &["--listen", &listen]].concat();
    let page = children
        .start("order-service", &programs.service("order-service"), &orders)
        .await?;
    Ok(Addresses { nats, page })
}

/// Places orders, one after another; their IDs.
async fn place(page: &str, orders: u32) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for number in 0..orders {
        let answer = http::post(&format!("{page}/api/orders"), &sample::order(number)).await;
        let answer = answer.with_context(|| format!("place order {number}"))?;
        let id = answer["id"].as_str().context("the answer to an order holds no ID")?;
        ids.push(id.to_owned());
    }
    Ok(ids)
}
