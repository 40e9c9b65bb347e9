"""Lets asyncio-nats-streaming and asyncio-nats-client run on Python 3.10 and later.

Both pass a `loop` argument to asyncio functions that no longer take one. They get a view of asyncio that drops it; asyncio
itself is left alone.
"""

import asyncio
import types

import nats.aio.client
import stan.aio.client


def _without_loop(function):
    def call(*arguments, **named):
        named.pop("loop", None)
        return function(*arguments, **named)

    return call


def _view_of_asyncio():
    view = types.ModuleType("asyncio_without_loop_arguments")
    view.__dict__.update(vars(asyncio))
    for name in ("Queue", "sleep", "wait_for", "open_connection", "wait"):
        setattr(view, name, _without_loop(getattr(asyncio, name)))
    return view


def apply():
    view = _view_of_asyncio()
    nats.aio.client.asyncio = view
    stan.aio.client.asyncio = view
