"""What Prometheus' own parser makes of `/metrics`."""

import asyncio
import os
import urllib.request

from connection import Connection
from prometheus_client.parser import text_string_to_metric_families
from scenario import check, receive, run_all


def scrape():
    """The samples of every family, by name, after checks that hold for any answer."""
    with urllib.request.urlopen(os.environ["SEAWAY_HTTP"] + "/metrics") as answer:
        check(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers["Content-Type"])
        text = answer.read().decode()
    families = {}
    for family in text_string_to_metric_families(text):
        check(family.name not in families, f"{family.name} comes twice")
        check(family.documentation and family.type != "unknown", f"{family.name} lacks help or type")
        families[family.name] = family
    for family in families.values():
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        check(len(series) == len(set(series)), f"a series of {family.name} comes twice")
    return families


def value(families, family, sample=None, **labels):
    """The value of the one sample with these labels."""
    found = [
        one.value
        for one in families[family].samples
        if one.name == (sample or family) and labels.items() <= one.labels.items()
    ]
    check(len(found) == 1, f"{len(found)} samples of {sample or family} with {labels}")
    return found[0]


async def parsed():
    families = await asyncio.to_thread(scrape)
    check(value(families, "seaway_ready") == 1, "not ready")
    check(len(families) > 50, f"only {len(families)} families")
    for name in ["nss_server_info", "nss_server_msgs_total", "seaway_journal_commit_seconds", "process_open_fds"]:
        check(name in families or name.removesuffix("_total") in families, f"there is no {name}")


async def figures():
    connection = await Connection.open("metrics-python")
    subscription, received = await connection.subscribe("metrics.python", manual_acks=True, durable_name="keeper")
    await connection.publish("metrics.python", "1", "2", "3")
    for _ in range(3):
        message = await receive(received, "three messages")
    await connection.acknowledge(message)
    # A request and its answer: the acknowledgement in front of it counts.
    other, _ = await connection.subscribe("metrics.python")
    await other.unsubscribe()
    families = await asyncio.to_thread(scrape)
    channel = {"channel": "metrics.python"}
    check(value(families, "nss_chan_msgs_total", **channel) == 3, "messages of the channel")
    check(value(families, "nss_chan_last_seq", **channel) == 3, "last sequence of the channel")
    check(value(families, "nss_chan_subs_last_sent", durable_name="keeper", **channel) == 3, "last sent")
    check(value(families, "nss_chan_subs_pending_count", durable_name="keeper", **channel) == 2, "pending")
    commits = families["seaway_journal_commit_seconds"]
    buckets = [sample.value for sample in commits.samples if sample.name.endswith("_bucket")]
    count = value(families, "seaway_journal_commit_seconds", "seaway_journal_commit_seconds_count")
    check(buckets == sorted(buckets) and buckets[-1] == count > 0, f"buckets {buckets}, count {count}")
    await subscription.close()
    await connection.close()


async def names_with_quotes():
    connection = await Connection.open("metrics-quotes-python")
    name = 'metrics."quoted\\".python'
    await connection.publish(name, "1")
    families = await asyncio.to_thread(scrape)
    check(value(families, "nss_chan_msgs_total", channel=name) == 1, "the name came out changed")
    await connection.close()


run_all([
    ("parsed", parsed),
    ("figures", figures),
    ("names-with-quotes", names_with_quotes),
])
