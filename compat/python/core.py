"""Core scenarios with nats-py."""

import asyncio
import os

import nats
from nats.errors import MaxPayloadError, NoRespondersError

from scenario import DEADLINE, check, fail, run_all, wait_for


async def dial(**options):
    return await nats.connect(
        os.environ["SEAWAY_URL"], reconnect_time_wait=0.02, max_reconnect_attempts=-1, connect_timeout=DEADLINE, **options
    )


async def settle(connection):
    """Returns once the server has taken everything the connection sent. This client's flush sends its PING past what
    is still queued, so a message to the connection itself makes the round instead."""
    subject = connection.new_inbox()
    own = await connection.subscribe(subject)
    await connection.publish(subject, b"")
    await own.next_msg(timeout=DEADLINE)
    await own.unsubscribe()


async def expect_text(subscription, want):
    message = await subscription.next_msg(timeout=DEADLINE)
    check(message.data == want.encode(), f"received {message.data!r}, not {want!r}")
    return message


async def publish_subscribe():
    publisher, subscriber = await dial(), await dial()
    subscription = await subscriber.subscribe("core.plain")
    await settle(subscriber)
    payload = bytes([0, 1, 13, 10, 255]) * 1000
    await publisher.publish("core.plain", payload)
    await publisher.publish("core.plain", b"")
    await publisher.publish("core.other", b"not for us")
    await publisher.publish("core.plain", b"last", reply="answers.here")
    first = await subscription.next_msg(timeout=DEADLINE)
    check(first.data == payload, f"{len(payload)} bytes came back differently")
    await expect_text(subscription, "")
    last = await expect_text(subscription, "last")
    check((last.subject, last.reply) == ("core.plain", "answers.here"), f"subject {last.subject}, reply {last.reply}")
    # No echo: a connection that asked for it does not hear itself.
    quiet = await dial(no_echo=True)
    own = await quiet.subscribe("core.echo")
    await quiet.publish("core.echo", b"own")
    # It hears nothing of its own, so it is told again until it listens.
    heard = None
    for _ in range(int(DEADLINE / 0.1)):
        await publisher.publish("core.echo", b"foreign")
        try:
            heard = await own.next_msg(timeout=0.1)
            break
        except asyncio.TimeoutError:
            pass
    check(heard is not None and heard.data == b"foreign", f"the first message heard is {heard}")
    for connection in (publisher, subscriber, quiet):
        await connection.close()


async def wildcards():
    connection = await dial()
    star = await connection.subscribe("wild.*.end")
    tail = await connection.subscribe("wild.>")
    literal = await connection.subscribe("wild.a.end")
    for subject in ("wild", "wild.a.end", "wild.a.b.end", "wild.b.end", "wild.done"):
        await connection.publish(subject, subject.encode())
    await expect_text(star, "wild.a.end")
    await expect_text(star, "wild.b.end")
    for want in ("wild.a.end", "wild.a.b.end", "wild.b.end", "wild.done"):
        got = await expect_text(tail, want)
        check(got.subject == want, f"subject {got.subject}, not {want}")
    await expect_text(literal, "wild.a.end")
    await settle(connection)
    for subscription in (star, tail, literal):
        check(subscription.pending_msgs == 0, f"{subscription.pending_msgs} messages too many on {subscription.subject}")
    await connection.close()


async def queue_groups():
    count = 300
    publisher = await dial()
    seen, per_member, connections = [], [0, 0, 0], []

    def member(index):
        async def receive(message):
            seen.append(message.data)
            per_member[index] += 1

        return receive

    for index in range(3):
        connection = await dial()
        connections.append(connection)
        await connection.subscribe("queue.work", queue="workers", cb=member(index))
        await settle(connection)
    other = await publisher.subscribe("queue.*", queue="auditors")
    for number in range(count):
        await publisher.publish("queue.work", str(number).encode())
    for number in range(count):
        await expect_text(other, str(number))
    await wait_for("every message to reach one worker", lambda: len(seen) >= count)
    check(len(seen) == count and len(set(seen)) == count, f"{len(seen)} deliveries of {len(set(seen))} messages")
    check(all(per_member), f"one of three members received none of {count} messages: {per_member}")
    for connection in [publisher, *connections]:
        await connection.close()


async def request_reply():
    server, client = await dial(), await dial()

    async def upper(message):
        await message.respond(message.data.upper())

    await server.subscribe("service.upper", cb=upper)
    await settle(server)
    for number in range(100):
        answer = await client.request("service.upper", f"call {number}".encode(), timeout=DEADLINE)
        check(answer.data == f"CALL {number}".encode(), f"answered {answer.data!r}")
    await server.close()
    await client.close()


async def no_responders():
    connection = await dial()
    try:
        await connection.request("service.nobody", b"", timeout=DEADLINE)
        fail("a request that nobody serves was answered")
    except NoRespondersError:
        pass
    await connection.close()


async def headers():
    publisher, subscriber = await dial(), await dial()
    subscription = await subscriber.subscribe("core.headers")
    await settle(subscriber)
    await publisher.publish("core.headers", b"body", headers={"Trace": "one", "Other": "with spaces: and colon"})
    got = await expect_text(subscription, "body")
    check(got.headers.get("Trace") == "one", f"headers {got.headers}")
    check(got.headers.get("Other") == "with spaces: and colon", f"headers {got.headers}")
    await publisher.close()
    await subscriber.close()


async def auto_unsubscribe():
    connection = await dial()
    limited = []

    async def count(message):
        limited.append(message.data)

    subscription = await connection.subscribe("core.limited", cb=count)
    await subscription.unsubscribe(limit=3)
    everything = await connection.subscribe("core.limited")
    for number in range(10):
        await connection.publish("core.limited", str(number).encode())
    for number in range(10):
        await expect_text(everything, str(number))
    await settle(connection)
    await wait_for("three messages", lambda: len(limited) >= 3)
    check(limited == [b"0", b"1", b"2"], f"the limited subscription received {limited}")
    await connection.close()


async def drain():
    count = 1000
    received = []

    async def handle(message):
        received.append(message.data)

    publisher, subscriber = await dial(), await dial(drain_timeout=DEADLINE)
    await subscriber.subscribe("core.drain", cb=handle)
    await settle(subscriber)
    # This client's flush does not wait for publishes, so a witness tells when the server has routed them all.
    witness = await publisher.subscribe("core.drain")
    for _ in range(count):
        await publisher.publish("core.drain", b"work")
    for _ in range(count):
        await expect_text(witness, "work")
    await subscriber.drain()
    check(subscriber.is_closed, "drained but not closed")
    check(len(received) == count, f"{len(received)} of {count} messages were handled before the drained connection closed")
    await publisher.close()


async def max_payload():
    connection = await dial()
    limit = connection.max_payload
    check(limit == 1024 * 1024, f"max_payload is {limit}")
    subscription = await connection.subscribe("core.large")
    await connection.publish("core.large", bytes(limit))
    got = await subscription.next_msg(timeout=DEADLINE)
    check(len(got.data) == limit, f"{len(got.data)} bytes came back of {limit}")
    try:
        await connection.publish("core.large", bytes(limit + 1))
        fail("one byte too many was accepted")
    except MaxPayloadError:
        pass
    await connection.close()
    await server_side_max_payload(limit)


async def server_side_max_payload(limit):
    """Past the client library's own check: the server must answer in words and hang up."""
    host, port = os.environ["SEAWAY_URL"].removeprefix("nats://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b'CONNECT {"verbose":false}\r\nPUB core.large %d\r\n' % (limit + 1))
    answer = (await asyncio.wait_for(reader.read(), DEADLINE)).decode()
    writer.close()
    check(answer.endswith("-ERR 'Maximum Payload Violation'\r\n"), f"the server's last word was {answer[-80:]!r}")


async def fan():
    count, subscribers = 10_000, 4
    received = [[] for _ in range(subscribers)]
    connections = []

    def collect(index):
        async def handle(message):
            received[index].append(message.data)

        return handle

    for index in range(subscribers):
        connection = await dial()
        connections.append(connection)
        await connection.subscribe("core.fan", cb=collect(index), pending_msgs_limit=-1, pending_bytes_limit=-1)
        await settle(connection)
    publisher = await dial()
    for number in range(count):
        await publisher.publish("core.fan", str(number).encode())
    await settle(publisher)
    await wait_for("all subscribers to receive everything", lambda: all(len(one) >= count for one in received))
    want = [str(number).encode() for number in range(count)]
    check(all(one == want for one in received), "a subscriber received something else, or in another order")
    for connection in [publisher, *connections]:
        await connection.close()


run_all([
    ("publish-subscribe", publish_subscribe),
    ("wildcards", wildcards),
    ("queue-groups", queue_groups),
    ("request-reply", request_reply),
    ("no-responders", no_responders),
    ("headers", headers),
    ("auto-unsubscribe", auto_unsubscribe),
    ("drain", drain),
    ("max-payload", max_payload),
    ("fan-10000", fan),
])
