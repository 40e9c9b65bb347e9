//! The pages for people: what runs, how it is, and where to look.

use tokio::time::timeout;

use crate::json::span;
use crate::limits::PAGE_STATUS_TIME_MAX;
use crate::moment::Moment;
use crate::snapshot::{Broker, Health, Source, Unavailable};

/// A path, what its link says, and what is found there.
type Link = (&'static str, &'static str, &'static str);

const CONSOLE: &[Link] = &[(
    "/console/",
    "console",
    "All of this for people; who logs in sees messages too, and changes what his user may.",
)];

const STREAMING: &[Link] = &[
    (
        "/streaming/serverz",
        "server",
        "The streaming server: role, clients, channels, traffic since the start.",
    ),
    (
        "/streaming/storez",
        "store",
        "Kind of store, its limits, and how much is in it.",
    ),
    (
        "/streaming/clientsz",
        "clients",
        "Clients that are registered; with ?client=ID&amp;subs=1 what one of them subscribes to.",
    ),
    (
        "/streaming/channelsz?subs=1",
        "channels",
        "Channels with first and last sequence, and each subscription with what it has not acknowledged.",
    ),
    (
        "/streaming/why?channel=&amp;format=text",
        "why",
        "Why the subscriptions of a channel receive, or do not: add the channel's name.",
    ),
    (
        "/streaming/auditz",
        "audit",
        "Who changed what, and when: the newest changes that operators have made.",
    ),
];

const BROKER: &[Link] = &[
    (
        "/varz",
        "general",
        "Options in force, traffic, memory and processor of this process.",
    ),
    (
        "/connz?subs=1",
        "connections",
        "Who is connected from where, with subscriptions and what waits to be read.",
    ),
    ("/connz?state=closed", "closed connections", "Who has left, and why."),
    (
        "/subsz",
        "subscriptions",
        "How many subscriptions there are, and how they are found.",
    ),
    ("/accountz", "accounts", "Accounts, and their connections."),
    ("/accstatz", "account statistics", "Traffic by account."),
    ("/routez", "routes", "Connections to other servers."),
    ("/gatewayz", "gateways", "Gateways to other clusters: none."),
    ("/leafz", "leaf nodes", "Leaf nodes: none."),
    ("/jsz", "jetstream", "JetStream: not in this server."),
];

const ALWAYS: &[Link] = &[
    ("/metrics", "metrics", "Everything for Prometheus."),
    (
        "/healthz",
        "health",
        "200 while the server does its work, else 503 with the reason.",
    ),
    (
        "/healthz/ready",
        "ready",
        "The same, for probes that have a name for it.",
    ),
    (
        "/healthz/live",
        "live",
        "200 while the process is worth keeping, also while it recovers.",
    ),
];

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Seaway</title>\n<style>\n\
    :root { color-scheme: light dark; }\n\
    body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }\n\
    h1 { margin-bottom: 0; } h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; }\n\
    dl { display: grid; grid-template-columns: 10rem minmax(0, 1fr); gap: .35rem 1.5rem; margin: 0; }\n\
    dd { margin: 0; overflow-wrap: anywhere; } .state { font-weight: bold; }\n\
    @media (max-width: 32rem) { dl { display: block; } dt { margin-top: .6rem; opacity: .8; } }\n\
    </style></head>\n<body>\n<h1>Seaway</h1>\n";

/// `/`; links to the broker's endpoints go to `base_path`.
pub(crate) async fn root(source: &dyn Source, moment: &Moment, base_path: &str) -> Result<String, Unavailable> {
    let broker = source.broker().await?;
    let mut page = HEAD.to_owned();
    describe(&mut page, source, moment, &broker).await;
    if source.has_console() {
        list(&mut page, "Console", base_path, CONSOLE);
    }
    list(&mut page, "Streaming", "", STREAMING);
    list(&mut page, "Broker", base_path, BROKER);
    list(&mut page, "Metrics and health", "", ALWAYS);
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

/// `/streaming`
pub(crate) fn streaming() -> String {
    let mut page = HEAD.to_owned();
    list(&mut page, "Streaming", "", STREAMING);
    list(&mut page, "Metrics and health", "", ALWAYS);
    page.push_str("</body>\n</html>\n");
    page
}

async fn describe(page: &mut String, source: &dyn Source, moment: &Moment, broker: &Broker) {
    let identity = source.streaming_identity();
    // Probes ask for this page: an engine that is slow to answer must not hold it up.
    let state = match timeout(PAGE_STATUS_TIME_MAX, source.readiness()).await {
        Ok(Ok(Health::Ok)) => "ready".to_owned(),
        Ok(Ok(Health::Degraded { reason })) => format!("ready, and degraded: {reason}"),
        Ok(Ok(Health::Unavailable { reason }) | Err(Unavailable(reason))) => format!("not ready: {reason}"),
        Err(_) => "not known: the streaming engine takes long to answer".to_owned(),
    };
    page.push_str("<dl>\n");
    for (name, value) in [
        ("status", state),
        ("version", format!("{}, speaks NATS {}", broker.runtime, broker.version)),
        ("server", broker.server_name.clone()),
        ("cluster ID", identity.cluster_id),
        ("mode", identity.state.name().to_lowercase()),
        ("up for", span(broker.start_ns, moment.now_ns())),
        ("connections", broker.connections.to_string()),
    ] {
        let class = if name == "status" { " class=\"state\"" } else { "" };
        page.push_str(&format!("<dt>{name}</dt><dd{class}>{}</dd>\n", text(&value)));
    }
    page.push_str("</dl>\n");
}

fn list(page: &mut String, head: &str, base_path: &str, links: &[Link]) {
    page.push_str(&format!("<h2>{head}</h2>\n<dl>\n"));
    for (path, name, sentence) in links {
        let base = text(base_path);
        page.push_str(&format!(
            "<dt><a href=\"{base}{path}\">{name}</a></dt><dd>{sentence}</dd>\n"
        ));
    }
    page.push_str("</dl>\n");
}

/// A text that means nothing to HTML.
fn text(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
