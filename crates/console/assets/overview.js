// How the server is.

import { fill, h, say } from "./dom.js";
import { Counter, between, quantile, spark } from "./charts.js";
import { look, monitoring } from "./server.js";
import { bytes, count, limit, nanoseconds, rate } from "./words.js";

export function page(main, words, parameters, signal) {
  const health = h("p", { class: "health" }, "…");
  const traffic = h("dl", { class: "tiles" });
  const kept = h("dl", { class: "tiles" });
  const process = h("dl", { class: "tiles" });
  const about = h("dl", { class: "facts" });
  fill(main, h("h1", {}, "Overview"), health, h("h2", {}, "Traffic"), traffic, h("h2", {}, "Store"), kept,
    h("h2", {}, "Process"), process, h("h2", {}, "Server"), about);
  const counters = { in: new Counter(), out: new Counter(), core: new Counter(), redelivered: new Counter() };
  let commits = null;

  async function refresh() {
    const [server, figures, broker] = await Promise.all([
      look("server", {}, signal), look("figures", {}, signal).catch(() => null), monitoring("varz", {}, signal),
    ]);
    showHealth(health, server, figures);
    const rates = {
      in: counters.in.take(server.in_msgs),
      out: counters.out.take(server.out_msgs),
      core: counters.core.take(broker.in_msgs + broker.out_msgs),
      redelivered: figures && counters.redelivered.take(figures.redelivered),
    };
    fill(traffic,
      tile("Published", rate(rates.in), `${count(server.in_msgs)} since the start`, counters.in),
      tile("Delivered", rate(rates.out), `${count(server.out_msgs)} since the start`, counters.out),
      tile("Sent again", rate(rates.redelivered ?? null), figures && `${count(figures.redelivered)} since the start`),
      tile("NATS messages, in and out", rate(rates.core), null, counters.core),
      tile("Streaming clients", count(server.clients), figures && `${count(figures.lost_clients)} lost since the start`),
      tile("Subscriptions", count(server.subscriptions)),
      tile("NATS connections", count(broker.connections)));
    const journal = figures?.journal;
    const recent = journal && between(commits, journal.commits);
    const current = recent?.count ? recent : journal?.commits;
    commits = journal?.commits ?? null;
    fill(kept,
      tile("Channels", count(server.channels), `of ${limit(server.store.limits.max_channels)}`),
      tile("Messages", count(server.total_msgs), bytes(server.total_bytes)),
      journal && tile("On the disk", bytes(journal.disk_bytes), `${bytes(journal.live_bytes)} of it live`),
      journal && tile("Write and sync", current?.count ? nanoseconds(current.sum / current.count) : "–",
        current?.count ? `99 % within ${nanoseconds(quantile(current, 0.99))}` : "nothing written yet"),
      figures && tile("Not durable yet", bytes(figures.backlog_bytes)),
      tile("Kind", server.store.type));
    fill(process,
      tile("Memory", bytes(broker.mem)),
      tile("Processor", `${count(broker.cpu)} %`, `of one, over its life; ${count(broker.cores)} there`),
      tile("Open files", count(server.open_fds ?? 0), server.max_fds ? `of ${count(server.max_fds)}` : null),
      tile("Up for", server.uptime));
    fill(about, pairs(server, broker));
  }

  return { title: "Overview", refresh };
}

function showHealth(element, server, figures) {
  const problems = [];
  if (figures?.refusing) problems.push("The store refuses new messages.");
  if (figures && !figures.bus_up) problems.push("Nothing can be carried to clients.");
  if (figures?.damaged) problems.push(`${count(figures.damaged)} stored messages cannot be read.`);
  const reason = server.reason ?? "";
  const kind = !server.ready ? "bad" : reason || problems.length ? "warn" : "";
  element.className = `health ${kind}`;
  const words = !server.ready ? `Not ready: ${reason}` : reason ? `Ready, and degraded: ${reason}` : "Ready. It does its work.";
  say(element, [words, ...problems].join(" "));
}

function tile(name, value, small = null, counter = null) {
  return h("div", { class: "tile" }, h("dt", {}, name),
    h("dd", {}, value, small && h("small", {}, small), counter && counter.rates.length > 1 ? spark(counter.rates, `${name} over the last minutes`) : null));
}

function pairs(server, broker) {
  const group = server.fault_tolerance;
  return [
    ["Role", [server.role, server.state].filter(Boolean).join(", ").toLowerCase()],
    ["Cluster ID", server.cluster_id],
    ["Version", `Seaway ${server.seaway_version}; as NATS Streaming ${server.version}, as NATS ${broker.version}`],
    ["Name", broker.server_name],
    ["Started", server.start_time],
    server.tenure !== undefined && ["Tenure", count(server.tenure)],
    group && ["Group", `${group.group}: ${group.reason}`],
    server.nats && ["Attached to", `${server.nats.url} (${server.nats.connected ? "connected" : `not connected: ${server.nats.last_error ?? ""}`})`],
  ].filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}
