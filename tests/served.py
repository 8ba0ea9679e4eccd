"""An application of aiohttp on loopback in a thread of its own, for clients that block."""

import asyncio
import threading
from contextlib import contextmanager
from queue import Queue

from aiohttp import web

START_S = 120
"""A wait that costs nothing where the application starts: an engine opens in half a minute on a slow machine."""


@contextmanager
def serving(opening):
    """The address of the application that the asynchronous context manager ``opening()`` gives."""
    told, loop = Queue(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve():
        async with opening() as app:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            told.put(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await stop.wait()
            await runner.cleanup()

    def run():
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(serve())
            except BaseException as error:
                told.put(error)
                raise

    thread = threading.Thread(target=run, name="served")
    thread.start()
    try:
        address = told.get(timeout=START_S)
        if isinstance(address, BaseException):
            raise address
        yield address
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
