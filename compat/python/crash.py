"""The Python side of the crash test: `publish` numbers without end while the server is killed, or `read` a channel back."""

import asyncio
import os
import sys
import threading
import time

from connection import Connection
from scenario import receive

# How many publishes may be under way, and for how long (seconds) one that got no acknowledgement counts as such.
INFLIGHT = 256
ACK_WAIT = 2

# How often (seconds) how many numbers are published: SEAWAY_PACE names the milliseconds for one; otherwise they come in bursts, so
# that batches form at the server.
PACE, BURST = (int(os.environ["SEAWAY_PACE"]) / 1000, 1) if "SEAWAY_PACE" in os.environ else (0.002, 7)


async def publish():
    """Prints `acked CHANNEL NUMBER` for every publish that the server acknowledged, until its input is closed."""
    client_id, channels = os.environ["SEAWAY_CLIENT"], os.environ["SEAWAY_CHANNELS"].split(",")
    connection = await Connection.open(
        client_id, reconnect_wait=0.005, max_pub_acks_inflight=10_000_000, ping_max_out=1_000
    )
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(1), stop.set()), daemon=True).start()
    outstanding = {}

    async def send(number):
        channel = channels[number % len(channels)]

        async def on_ack(acknowledgement):
            outstanding.pop(number, None)
            if not acknowledgement.error:
                print(f"acked {channel} {number}", flush=True)

        outstanding[number] = time.monotonic()
        await connection.stan.publish(channel, str(number).encode(), ack_handler=on_ack)

    def forget_lost():
        oldest = time.monotonic() - ACK_WAIT
        for number in [number for number, sent in outstanding.items() if sent < oldest]:
            del outstanding[number]

    number = 0
    while not stop.is_set():
        # Nothing while the server is away.
        for _ in range(BURST):
            if connection.nats.is_connected and len(outstanding) < INFLIGHT:
                await send(number)
                number += 1
        forget_lost()
        await asyncio.sleep(PACE)
    while outstanding:
        forget_lost()
        await asyncio.sleep(0.002)
    print("done", flush=True)


async def read():
    """Prints `message SEQUENCE PAYLOAD` for everything from sequence 1 to a final message that it adds itself."""
    connection = await Connection.open(os.environ["SEAWAY_CLIENT"])
    channel = os.environ["SEAWAY_CHANNEL"]
    await connection.publish(channel, "end")
    _, received = await connection.subscribe(channel, start_at="sequence", sequence=1)
    while True:
        message = await receive(received, f"the end of {channel}")
        print(f"message {message.sequence} {message.data.decode()}")
        if message.data == b"end":
            break
    await connection.close()


asyncio.run({"publish": publish, "read": read}[sys.argv[1]]())
