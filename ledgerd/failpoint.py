"""Named places where a test can pull the plug: ``LEDGERD_FAILPOINT=batch_sealed:2`` dies at the second one.

The process kills itself with SIGKILL, as a power cut would, so that a crash test reaches each line of the failure table
for certain. Unset, which is always outside the crash tests, a failpoint is one dictionary look-up.
"""

import os
import signal

POINTS = (
    "request_sent",
    "page_half_written",
    "page_frozen",
    "batch_sealed",
    "insert_sent",
    "insert_acked",
    "committed",
    "etl_written",
    "etl_watermarked",
)


def _armed() -> dict[str, int]:
    name, _, nth = os.environ.get("LEDGERD_FAILPOINT", "").partition(":")
    return {name: int(nth or 1)} if name else {}


_countdown = _armed()


def failpoint(name: str) -> None:
    """Die here by SIGKILL if the environment armed ``name`` and this is its n-th passing."""
    if name not in _countdown:
        return
    _countdown[name] -= 1
    if _countdown[name] == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def is_armed_now(name: str) -> bool:
    """True if the next passing of ``name`` dies: for a place that must do half its work first."""
    return _countdown.get(name) == 1
