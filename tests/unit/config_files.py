"""What the tests of configuration share: a file with a contact in it, and the problems of one."""

import pytest

from ledgerd.config.load import load
from ledgerd.errors import ConfigError

CONTACT = 'daemon.contact = "me@example.org"\n'


def write(folder, text="", contact=CONTACT):
    path = folder / "config.toml"
    path.write_text(contact + text)
    return path


def problems(path, env=None):
    with pytest.raises(ConfigError) as error:
        load(path, env or {})
    return error.value.message.splitlines()
