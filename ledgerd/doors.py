"""Where the daemon can be reached: the unix socket of its data directory, and the public port."""

import asyncio
import fcntl
import os
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from ledgerd.config import Config
from ledgerd.errors import CannotStart, StoreLocked
from ledgerd.web.app import create_app, create_control_app
from ledgerd.web.deps import Deps
from ledgerd.web.unreadable import Runner, ServerLog, count_unreadable

LOCK = "ledgerd.lock"
"""The file in the data directory whose lock the one daemon of that directory holds."""
CLOSE_S = 2.0
"""How long a stop waits for answers under way, before it lets go of their clients."""


class Doors:
    """Both doors. Whoever has opened them owns the data directory until `unlock`."""

    def __init__(self) -> None:
        self._lock_file: int | None = None
        self._runners: list[web.AppRunner] = []

    async def open(self, config: Config, deps: Deps) -> str:
        """Open the unix socket and the public port; returns the public URL. StoreLocked or CannotStart if one is taken.

        The socket first: whoever has it has this data directory, and is named rather than the port.
        """
        count_unreadable(asyncio.get_running_loop())
        # an operator sees stale prices, marked, where clients may be refused them
        unrefusing = replace(deps, freshness=lambda: deps.freshness().serving())
        await self._open_socket(config.socket_path, await self._runner(create_control_app(unrefusing)))
        host, port = config.http.address
        public = await self._runner(create_app(deps))
        try:
            await web.TCPSite(public, host, port).start()
        except OSError as error:
            hint = "See who does: ss -lntp; or change http.listen, then: ledgerd check-config"
            raise CannotStart(f"Cannot listen on {host}:{port}: {_reason(error)}.", hint) from error
        host, port = public.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Answer nobody any more."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))

    def unlock(self) -> None:
        """Let another process have the data directory."""
        if self._lock_file is not None:
            os.close(self._lock_file)

    async def _runner(self, app: web.Application) -> web.AppRunner:
        """``app``, to be put behind a port or a socket, and let go at the stop."""
        runner = Runner(app, logger=ServerLog(), shutdown_timeout=CLOSE_S, handler_cancellation=True)
        self._runners.append(runner)
        await runner.setup()
        return runner

    async def _open_socket(self, path: Path, runner: web.AppRunner) -> None:
        """Serve the commands of this installation, and nobody else: mode 0600."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = _locked(path.with_name(LOCK))
            path.unlink(missing_ok=True)  # noqa: ASYNC240  one entry; a killed process left it: whoever lives holds the lock
            before = os.umask(0o177)
            try:
                await web.UnixSite(runner, path).start()
            finally:
                os.umask(before)
        except OSError as error:
            hint = "Change daemon.data_dir or its owner, then: ledgerd check-config"
            raise CannotStart(f"Cannot make the socket {path}: {_reason(error)}.", hint) from error


def _reason(error: OSError) -> str:
    """What the system says, without the address that asyncio puts in front of it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _locked(path: Path) -> int:
    """The lock at ``path``, ours until the descriptor is closed or the process ends. StoreLocked: somebody has it."""
    lock_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_file)
        if isinstance(error, BlockingIOError):
            raise StoreLocked(f"Another ledgerd serves {path.parent}.", "See it with: ledgerd status") from error
        raise
    return lock_file
