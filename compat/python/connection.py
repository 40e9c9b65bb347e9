"""A streaming connection with asyncio-nats-streaming, and the core connection below it, which this client leaves to its user."""

import asyncio
import os

import loop_argument
from nats.aio.client import Client as Nats
from scenario import DEADLINE, check
from stan.aio.client import Client as Stan

loop_argument.apply()


class Connection:
    @classmethod
    async def open(cls, client_id, reconnect_wait=0.02, **options):
        self = cls()
        self.nats = Nats()

        async def ignore(error):
            """Errors on the way to a reconnect are no news here."""

        await self.nats.connect(
            servers=os.environ["SEAWAY_URL"].split(","),
            io_loop=asyncio.get_running_loop(),
            reconnect_time_wait=reconnect_wait,
            max_reconnect_attempts=-1,
            error_cb=ignore,
        )
        self.stan = Stan()
        try:
            await self.stan.connect(
                os.environ["SEAWAY_CLUSTER"], client_id, nats=self.nats, connect_timeout=DEADLINE, **options
            )
        except Exception:
            await self.nats.close()
            raise
        return self

    async def close(self):
        await self.stan.close()
        await self.nats.close()

    async def die(self):
        """Cuts the connection without a goodbye, as a crash would."""
        await self.nats.close()

    async def publish(self, channel, *payloads):
        for payload in payloads:
            acknowledgement = await self.stan.publish(channel, payload.encode())
            check(acknowledgement.error == "", f"publish {payload}: {acknowledgement.error}")

    async def subscribe(self, channel, into=None, member="", **options):
        """Subscribes and gathers the deliveries in a queue."""
        deliveries = into or asyncio.Queue()

        async def collect(message):
            message.member = member
            await deliveries.put(message)

        subscription = await self.stan.subscribe(channel, cb=collect, **options)
        return subscription, deliveries

    async def acknowledge(self, message):
        await self.stan.ack(message)
