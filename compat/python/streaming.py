"""Streaming scenarios with asyncio-nats-streaming."""

import asyncio
import os
import time
import urllib.error
import urllib.request

from connection import Connection
from scenario import check, fail, receive, run_all, server_control, wait_for
from stan.aio.errors import StanError

# What the client must be told word for word (specification section 3).
DUPLICATE_CLIENT = "stan: clientID already registered"
DUPLICATE_DURABLE = "stan: duplicate durable registration"
# Keeps redelivery out of scenarios that are about something else (seconds).
LONG_ACK_WAIT = 60


def show(message):
    return f"sequence {message.sequence}, {message.data!r}, redelivered {message.proto.redelivered}"


async def expect(deliveries, sequence, payload, redelivered=False):
    """Takes the next delivery and holds it against sequence, payload and redelivery flag. (This client knows no count.)"""
    want = f"sequence {sequence}, {payload.encode()!r}, redelivered {redelivered}"
    got = await receive(deliveries, want)
    check(show(got) == want, f"received {show(got)}; expected {want}")
    return got


async def expect_status(path, want):
    """Asks the monitoring endpoints whether the server knows something."""

    def status():
        try:
            with urllib.request.urlopen(os.environ["SEAWAY_HTTP"] + path, timeout=10) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    got = await asyncio.get_running_loop().run_in_executor(None, status)
    check(got == want, f"{path} answered with status {got}, not {want}")


async def connect():
    connection = await Connection.open("connect-python")
    await expect_status("/streaming/clientsz?client=connect-python", 200)
    await connection.close()
    await expect_status("/streaming/clientsz?client=connect-python", 404)
    again = await Connection.open("connect-python")
    await again.close()
    try:
        await Connection.open("connect python")
        fail("a client ID with a space was accepted")
    except StanError as error:
        want = "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed"
        check(str(error) == want, f"a client ID with a space was answered with {error}")


async def publish():
    connection = await Connection.open("publish-python")
    _, received = await connection.subscribe("publish.python")
    before = time.time_ns()
    await connection.publish("publish.python", "one", "", "three")
    for sequence, payload in enumerate(["one", "", "three"], 1):
        got = await expect(received, sequence, payload)
        check(before <= got.timestamp <= time.time_ns(), f"timestamp {got.timestamp} is not now")
        check(got.proto.subject == "publish.python", f"subject {got.proto.subject}")
    refused = await connection.stan.publish("publish.*", b"nowhere")
    check(refused.error == "stan: invalid publish request", f"a publish to a wildcard ended with {refused.error!r}")
    await connection.close()


async def publish_async():
    count = 10_000
    connection = await Connection.open("async-python")
    acknowledged, errors, every_ack = [], [], asyncio.Event()

    async def on_ack(acknowledgement):
        acknowledged.append(acknowledgement.guid)
        if acknowledgement.error:
            errors.append(acknowledgement.error)
        if len(acknowledged) == count:
            every_ack.set()

    for number in range(count):
        await connection.stan.publish("async.python", f"message {number}".encode(), ack_handler=on_ack)
    await wait_for("every acknowledgement", every_ack.is_set)
    check(not errors and len(set(acknowledged)) == count, f"{len(set(acknowledged))} acknowledged, errors {errors[:3]}")
    _, received = await connection.subscribe("async.python", deliver_all_available=True)
    for number in range(count):
        await expect(received, number + 1, f"message {number}")
    await connection.close()


async def start_new_only():
    connection = await Connection.open("new-only-python")
    await connection.publish("new.only.python", "1", "2", "3")
    _, received = await connection.subscribe("new.only.python")
    await connection.publish("new.only.python", "4", "5")
    await expect(received, 4, "4")
    await expect(received, 5, "5")
    await connection.close()


async def start_last_received():
    connection = await Connection.open("last-python")
    await connection.publish("last.python", "1", "2", "3")
    _, received = await connection.subscribe("last.python", start_at="last_received")
    await expect(received, 3, "3")
    await connection.publish("last.python", "4")
    await expect(received, 4, "4")
    await connection.close()


async def start_all_available():
    connection = await Connection.open("all-python")
    await connection.publish("all.python", "1", "2", "3")
    _, received = await connection.subscribe("all.python", deliver_all_available=True)
    await connection.publish("all.python", "4")
    for number in range(1, 5):
        await expect(received, number, str(number))
    await connection.close()


async def start_sequence():
    connection = await Connection.open("sequence-python")
    await connection.publish("sequence.python", "1", "2", "3", "4")
    _, inside = await connection.subscribe("sequence.python", start_at="sequence", sequence=3)
    _, beyond = await connection.subscribe("sequence.python", start_at="sequence", sequence=100)
    _, below = await connection.subscribe("sequence.python", start_at="sequence", sequence=0)
    await connection.publish("sequence.python", "5")
    for number in range(3, 6):
        await expect(inside, number, str(number))
    await expect(beyond, 5, "5")
    for number in range(1, 6):
        await expect(below, number, str(number))
    await connection.close()


async def time_gap(connection, channel):
    """Publishes 1 and 2, lets the clock run for over 1.5 s, then publishes 3 and 4."""
    await connection.publish(channel, "1", "2")
    old = time.monotonic()
    await wait_for("the clock", lambda: time.monotonic() - old > 1.5)
    await connection.publish(channel, "3", "4")


async def start_time():
    connection = await Connection.open("time-python")
    await time_gap(connection, "time.python")
    # This client cuts the distance to whole seconds: 1.2 s ago becomes 1 s ago, which still lies in the gap.
    _, received = await connection.subscribe("time.python", start_at="time", time=time.time() - 1.2)
    _, early = await connection.subscribe("time.python", start_at="time", time=time.time() - 3600)
    _, future = await connection.subscribe("time.python", start_at="time", time=time.time() + 3600)
    await connection.publish("time.python", "5")
    for number in range(3, 6):
        await expect(received, number, str(number))
    await expect(early, 1, "1")
    await expect(future, 5, "5")
    await connection.close()


async def start_time_delta():
    """This client has one way to ask for a time, and sends it as a delta; here at exactly one second."""
    connection = await Connection.open("delta-python")
    await time_gap(connection, "delta.python")
    _, received = await connection.subscribe("delta.python", start_at="time", time=time.time() - 1)
    await expect(received, 3, "3")
    await expect(received, 4, "4")
    await connection.close()


async def durable_resume_client_restart():
    publisher = await Connection.open("durable-publisher-python")
    first = await Connection.open("durable-python")
    options = dict(durable_name="keeper", deliver_all_available=True, manual_acks=True, ack_wait=LONG_ACK_WAIT)
    _, received = await first.subscribe("durable.python", **options)
    await publisher.publish("durable.python", "1", "2", "3", "4", "5")
    for number in range(1, 6):
        got = await expect(received, number, str(number))
        if number <= 3:
            await first.acknowledge(got)
    await first.close()
    await publisher.publish("durable.python", "6")

    second = await Connection.open("durable-python")
    _, resumed = await second.subscribe("durable.python", **options)
    await second.acknowledge(await expect(resumed, 4, "4", redelivered=True))
    await second.acknowledge(await expect(resumed, 5, "5", redelivered=True))
    await second.acknowledge(await expect(resumed, 6, "6"))
    await publisher.publish("durable.python", "7")
    await second.acknowledge(await expect(resumed, 7, "7"))
    await second.close()
    await publisher.close()


async def durable_resume_server_kill():
    channel = "durable.kill.python"
    client = await Connection.open("durable-kill-python")
    options = dict(durable_name="keeper", deliver_all_available=True, manual_acks=True, ack_wait=2)
    _, received = await client.subscribe(channel, **options)
    await client.publish(channel, "1", "2", "3", "4", "5")
    for number in range(1, 6):
        got = await expect(received, number, str(number))
        if number <= 3:
            await client.acknowledge(got)
    await client.publish(channel, "6", "7")
    await client.acknowledge(await expect(received, 6, "6"))
    await client.acknowledge(await expect(received, 7, "7"))
    # Acks are recorded at the latest with the commit after the one under way: after two more publishes nothing may undo them.
    await client.publish("durable.kill.python.barrier", "one", "two")

    await server_control("kill")
    await wait_for("the client to notice", lambda: not client.nats.is_connected)
    await server_control("start")
    await wait_for("the client to come back", lambda: client.nats.is_connected)

    # The same connection and subscription go on without a new request; what was not acknowledged comes again.
    await client.publish(channel, "8")
    pending = {4, 5, 8}
    while pending:
        got = await receive(received, "4, 5 and 8 after the restart")
        check(got.sequence == 8 or got.sequence in (4, 5) and got.proto.redelivered, f"after the restart: {show(got)}")
        pending.discard(got.sequence)
        if got.sequence != 5:
            await client.acknowledge(got)
    await client.close()

    # A new connection resumes the durable, over a second kill.
    await server_control("restart")
    again = await Connection.open("durable-kill-python")
    _, resumed = await again.subscribe(channel, **options)
    await again.acknowledge(await expect(resumed, 5, "5", redelivered=True))
    await again.publish(channel, "9")
    await again.acknowledge(await expect(resumed, 9, "9"))

    _, everything = await again.subscribe(channel, deliver_all_available=True)
    for number in range(1, 10):
        await expect(everything, number, str(number))
    await again.close()


async def queue_group_member_dies():
    channel, count = "queue.python", 60
    publisher = await Connection.open("queue-publisher-python")
    received, members = asyncio.Queue(), {}
    for name in ("a", "b", "c"):
        members[name] = await Connection.open(f"queue-{name}-python")
        await members[name].subscribe(
            channel, into=received, member=name, queue="workers", manual_acks=True, ack_wait=LONG_ACK_WAIT
        )
    await publisher.publish(channel, *(str(number) for number in range(count)))
    seen = {}
    for _ in range(count):
        got = await receive(received, "every message at one member")
        check(got.sequence not in seen and not got.proto.redelivered, f"{show(got)} came twice")
        seen[got.sequence] = got.member
        if got.member != "c":
            await members[got.member].acknowledge(got)
    check(set(seen.values()) == {"a", "b", "c"}, "the work was not shared by three members")
    # The third member dies with unacknowledged messages: once the server has given it up, the others get them, flagged.
    await members["c"].die()
    missing = {sequence for sequence, member in seen.items() if member == "c"}
    while missing:
        got = await receive(received, f"the dead member's {len(missing)} messages")
        check(got.proto.redelivered and got.sequence in missing, f"unexpected {show(got)} at {got.member}")
        missing.discard(got.sequence)
        await members[got.member].acknowledge(got)
    await publisher.publish(channel, "last")
    got = await receive(received, "work goes on with two members")
    check(got.data == b"last", f"unexpected {show(got)}")
    for connection in (members["a"], members["b"], publisher):
        await connection.close()


async def manual_ack_redelivery():
    channel = "redelivery.python"
    connection = await Connection.open("redelivery-python")
    _, received = await connection.subscribe(channel, manual_acks=True, ack_wait=1)
    start = time.monotonic()
    await connection.publish(channel, "1")
    first = await expect(received, 1, "1")
    for count in (1, 2):
        await expect(received, 1, "1", redelivered=True)
        waited = time.monotonic() - start
        check(waited >= 0.9 * count, f"redelivery {count} came after {waited:.3f} s")
    await connection.acknowledge(first)
    # Message 2 is left alone for two more ack waits; message 1 must not come back meanwhile.
    await connection.publish(channel, "2")
    await expect(received, 2, "2")
    await expect(received, 2, "2", redelivered=True)
    await connection.acknowledge(await expect(received, 2, "2", redelivered=True))
    await connection.close()


async def due_at_restart():
    """A message falls due while the server is down. The client that comes back gets it at once: it was not sent to nobody before."""
    channel, ack_wait = "due.python", 5
    connection = await Connection.open("due-python")
    _, received = await connection.subscribe(channel, durable_name="keeper", manual_acks=True, ack_wait=ack_wait)
    await connection.publish(channel, "1")
    await expect(received, 1, "1")
    due = time.monotonic() + ack_wait
    # What was delivered is recorded at the latest with the commit after the one under way.
    await connection.publish("due.python.barrier", "one", "two")
    await server_control("kill")
    await wait_for("the client to notice", lambda: not connection.nats.is_connected)
    await wait_for("the message to fall due", lambda: time.monotonic() > due)
    await server_control("start")
    await wait_for("the client to come back", lambda: connection.nats.is_connected)
    back = time.monotonic()
    got = await expect(received, 1, "1", redelivered=True)
    waited = time.monotonic() - back
    check(waited < ack_wait - 1, f"it came {waited:.1f} s after the client was back: it had been sent to nobody")
    await connection.acknowledge(got)
    await connection.close()


async def max_inflight_one():
    channel = "inflight.python"
    connection = await Connection.open("inflight-python")
    await connection.publish(channel, "1", "2", "3", "4", "5")
    _, received = await connection.subscribe(
        channel, deliver_all_available=True, manual_acks=True, max_inflight=1, ack_wait=1
    )
    # Until it is acknowledged, the first message comes again rather than the second.
    first = await expect(received, 1, "1")
    await expect(received, 1, "1", redelivered=True)
    await connection.acknowledge(first)
    for number in range(2, 6):
        await connection.acknowledge(await expect(received, number, str(number)))
    await connection.close()


async def duplicate_client_refused():
    first = await Connection.open("duplicate-python")
    try:
        await Connection.open("duplicate-python")
        fail("a second connection of the same name was accepted")
    except StanError as error:
        check(str(error) == DUPLICATE_CLIENT, f"the second connection ended with {error}")
    await first.publish("duplicate.python", "the first one still works")
    # A dead client's name is free again at once.
    await first.die()
    second = await Connection.open("duplicate-python")
    await second.publish("duplicate.python", "so does its successor")
    await second.close()


async def durable_unsubscribe_versus_close():
    channel = "durable.end.python"
    connection = await Connection.open("durable-end-python")
    options = dict(durable_name="keeper", deliver_all_available=True, manual_acks=True)
    subscription, received = await connection.subscribe(channel, **options)
    try:
        await connection.subscribe(channel, durable_name="keeper")
        fail("a second active durable of the same name was accepted")
    except StanError as error:
        check(str(error) == DUPLICATE_DURABLE, f"a second active durable of the same name ended with {error}")
    await connection.publish(channel, "1", "2")
    await connection.acknowledge(await expect(received, 1, "1"))
    await connection.acknowledge(await expect(received, 2, "2"))
    await subscription.close()
    await connection.publish(channel, "3")

    subscription, received = await connection.subscribe(channel, **options)
    await connection.acknowledge(await expect(received, 3, "3"))
    await subscription.unsubscribe()

    _, received = await connection.subscribe(channel, **options)
    for number in range(1, 4):
        await connection.acknowledge(await expect(received, number, str(number)))
    await connection.close()


run_all([
    ("connect", connect),
    ("publish", publish),
    ("publish-async-10000", publish_async),
    ("start-new-only", start_new_only),
    ("start-last-received", start_last_received),
    ("start-all-available", start_all_available),
    ("start-sequence", start_sequence),
    ("start-time", start_time),
    ("start-time-delta", start_time_delta),
    ("durable-resume-client-restart", durable_resume_client_restart),
    ("durable-resume-server-kill", durable_resume_server_kill),
    ("queue-group-member-dies", queue_group_member_dies),
    ("manual-ack-redelivery", manual_ack_redelivery),
    ("max-inflight-one", max_inflight_one),
    ("duplicate-client-refused", duplicate_client_refused),
    ("due-at-restart", due_at_restart),
    ("durable-unsubscribe-vs-close", durable_unsubscribe_versus_close),
])
