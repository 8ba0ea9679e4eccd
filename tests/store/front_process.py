"""Servers for tests: the native front as a process to start, order faults from, freeze and kill; or a real one."""

import os
import secrets
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ledgerd.config.rules import Secret
from ledgerd.store.server import ServerEngine

REAL = "LEDGERD_TEST_CLICKHOUSE_URL"
"""Names a real server to test against, as clickhouse://user:password@host:9000."""
ROOT = Path(__file__).resolve().parents[2]


class FrontProcess:
    """One server process; ``folder`` keeps its data."""

    def __init__(self, folder, *options):
        self._folder = folder
        self._options = [str(option) for option in options]
        self.port = 0
        self.start()

    def start(self):
        """Start it, on the port it had before."""
        where = ["--data", self._folder, "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.native_front", *where, *self._options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._process.stdout.readline())

    def order(self, what):
        """One of ``native_front.ORDERS``, with its argument; in force when this returns."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        """Without a chance to say goodbye."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def restart(self, *options):
        """Kill it and start it anew with other ``options``."""
        self.kill()
        self._options = [str(option) for option in options]
        self.start()

    def url(self, scheme="clickhouse"):
        return f"{scheme}://localhost:{self.port}"


def server_engine(url, database="poe", *, user="", password="", memory_bytes_max=1_000_000_000):
    """The server engine, not yet open."""
    return ServerEngine(url, user=user, password=Secret(password), database=database, memory_bytes_max=memory_bytes_max)


@asynccontextmanager
async def server(url, **login):
    """An open engine on a database of its own, dropped in the end."""
    name = f"ledgerd_test_{secrets.token_hex(4)}"
    engine = server_engine(url, name, **login)
    await engine.open()
    yield engine
    await engine.close()
    await engine.open()
    await engine.execute(f"DROP DATABASE {name}")
    await engine.close()


def real_server():
    """``server`` on the one that REAL names."""
    url = urlsplit(os.environ[REAL])
    login = {"user": unquote(url.username or ""), "password": unquote(url.password or "")}
    return server(f"{url.scheme}://{url.hostname}:{url.port or 9000}", **login)
