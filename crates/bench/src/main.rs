//! `seaway-bench`: a first look at a streaming server's speed.
#![allow(clippy::print_stdout, reason = "a command line program")]

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};
use seaway_bench::load::{Load, Outcome};
use seaway_bench::process;

/// Loads a streaming server and says what it made of it.
#[derive(Parser)]
struct Arguments {
    /// Server to load.
    #[arg(long, default_value = "127.0.0.1:4222")]
    address: String,
    /// Its cluster ID.
    #[arg(long, default_value = "test-cluster")]
    cluster_id: String,
    /// Its process, to say what each message cost.
    #[arg(long)]
    pid: Option<u32>,
    /// Messages to publish.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Payload bytes.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Publishes in flight.
    #[arg(long, default_value_t = 1024)]
    in_flight: u64,
    /// Channels, filled in turn.
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Channel name, or its beginning.
    #[arg(long, default_value = "bench")]
    channel: String,
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Subcommand)]
enum Workload {
    /// Publish only.
    Publish,
    /// Publish at a fixed rate, whatever the server does; says how long acks take from the moment each publish is due.
    Paced {
        /// Publishes per second.
        #[arg(long, default_value_t = 20_000)]
        rate: u64,
    },
    /// Publish to one channel while one subscriber receives and acknowledges everything.
    Deliver,
    /// Receive what one channel holds.
    Receive,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let load = Load {
        address: arguments.address.clone(),
        cluster_id: arguments.cluster_id.clone(),
        channel_prefix: arguments.channel.clone(),
        channels: arguments.channels.max(1),
        messages: arguments.messages,
        size: arguments.size,
        in_flight: arguments.in_flight.max(1),
    };
    let before = arguments.pid.and_then(process::cpu_time);
    match arguments.workload {
        Workload::Publish => report("publish", &load.publish().context("publishing")?),
        Workload::Paced { rate } => {
            let latencies = load.publish_paced(rate).context("publishing")?;
            println!(
                "paced: {} messages, {rate} per second: median {:.1?}, 99 % {:.1?}, 99.9 % {:.1?}, worst {:.1?}",
                latencies.count(),
                latencies.quantile(0.5),
                latencies.quantile(0.99),
                latencies.quantile(0.999),
                latencies.quantile(1.0)
            );
        }
        Workload::Receive => report("receive", &load.receive(|| {}).context("receiving")?),
        Workload::Deliver => {
            let receiver = load.clone();
            let (ready, is_ready) = std::sync::mpsc::channel();
            let receiving = thread::spawn(move || {
                receiver.receive(|| {
                    let _ = ready.send(());
                })
            });
            let _ = is_ready.recv_timeout(Duration::from_secs(10));
            let published = load.publish().context("publishing")?;
            let received = receiving
                .join()
                .map_err(|_| anyhow!("the subscriber panicked"))?
                .context("receiving")?;
            report("publish", &published);
            report("deliver", &received);
        }
    }
    if let (Some(pid), Some(before)) = (arguments.pid, before) {
        let after = process::cpu_time(pid).context("the server is gone")?;
        let millions = load.messages as f64 / 1e6;
        println!(
            "server: {:.3} CPU-seconds per million messages, {:.1} MB resident",
            (after - before).as_secs_f64() / millions,
            process::resident_bytes(pid).unwrap_or(0) as f64 / 1e6
        );
    }
    Ok(())
}

fn report(what: &str, outcome: &Outcome) {
    println!(
        "{what}: {} messages in {:.2?}, {:.0} per second",
        outcome.messages,
        outcome.elapsed,
        outcome.rate()
    );
    if let Some((median, worst)) = outcome.latency {
        println!("{what}: median {median:.1?}, worst {worst:.1?}");
    }
}
