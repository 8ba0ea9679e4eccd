"""Small files that are only ever there whole, and for nobody else to read."""

import os
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Make ``data`` the whole content of ``path`` in one step, mode 0600 from its first byte. Raises OSError.

    It is not synced: after a power cut the file may be torn.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # one left behind would keep its mode
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123  a handle, opened with its mode
        file.write(data)
    fresh.replace(path)
