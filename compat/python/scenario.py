"""Runs scenarios one after another and prints `ok NAME` or `FAIL NAME: REASON` for each; see ../README.md."""

import asyncio
import os
import sys
import time
import traceback

# Every wait ends by this deadline (seconds) at the latest; a healthy run is far quicker.
DEADLINE = 30


class Failure(Exception):
    pass


def fail(reason):
    raise Failure(reason)


def check(condition, reason):
    if not condition:
        fail(reason)


async def wait_for(what, condition):
    """Polls a condition that no callback announces."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            fail(f"waited {DEADLINE} s for {what}")
        await asyncio.sleep(0.002)


async def receive(queue, what):
    """Takes the next value of a queue, or fails."""
    try:
        return await asyncio.wait_for(queue.get(), DEADLINE)
    except asyncio.TimeoutError:
        fail(f"waited {DEADLINE} s for {what}")


async def server_control(command):
    """Asks the runner to `kill`, `start` or `restart` the server; returns when it is done."""
    host, port = os.environ["SEAWAY_CONTROL"].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(command.encode() + b"\n")
    answer = (await reader.readline()).decode().strip()
    writer.close()
    check(answer == "ok", f"the runner answered {answer!r} to {command!r}")


async def _run_all(scenarios):
    only = [name for name in os.environ.get("SEAWAY_SCENARIOS", "").split(",") if name]
    failures = 0
    for name, run in scenarios:
        if only and name not in only:
            continue
        try:
            await asyncio.wait_for(run(), 4 * DEADLINE)
            print(f"ok {name}", flush=True)
        except Exception as error:
            failures += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = str(error) if isinstance(error, Failure) else f"{type(error).__name__} {error} (line {place.lineno})"
            print(f"FAIL {name}: {reason}".replace("\n", " "), flush=True)
    return failures


def run_all(scenarios):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    failures = loop.run_until_complete(_run_all(scenarios))
    sys.stdout.flush()
    # The clients leave tasks behind when a connection is cut; they are not waited for.
    os._exit(1 if failures else 0)
