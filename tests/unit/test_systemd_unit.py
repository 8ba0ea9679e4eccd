"""The unit file, judged by systemd's own tools."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ledgerd.config import Config

UNIT = Path(__file__).parents[2] / "systemd" / "ledgerd.service"
EXPOSURE_MOST = 1.5

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (apt-get install systemd)"
)


class Repeated(dict):
    """Section contents that keep every value of a key given more than once."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and key in self:
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


@pytest.fixture(scope="module")
def service():
    """The [Service] section: each key with all its values."""
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read(UNIT)
    return {key: values.split("\n") for key, values in parser["Service"].items()}


@pytest.fixture
def installed(tmp_path):
    """The unit with the program at a path that exists, as verify wants it."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/ledgerd/bin/ledgerd", "/bin/true"))
    return unit


def analyze(*args):
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True, check=False)


def test_verify_has_nothing_to_say(installed):
    ran = analyze("verify", "--man=no", installed)

    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_verify_would_speak_of_a_key_this_systemd_does_not_know(installed):
    installed.write_text(installed.read_text().replace("Type=notify", "Type=notify-never\nImportSecrets=yes"))

    assert "ImportSecrets" in analyze("verify", "--man=no", installed).stderr


def test_the_exposure_is_at_most_1_5(installed):
    ran = analyze("security", "--offline=yes", f"--threshold={int(EXPOSURE_MOST * 10)}", "--no-pager", installed)
    exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", ran.stdout)[1])

    assert (exposure <= EXPOSURE_MOST, ran.returncode) == (True, 0)


def test_a_wrong_configuration_makes_no_restart_loop(service):
    assert set(service["RestartPreventExitStatus"][0].split()) == {"64", "70", "74", "78"}
    assert all(command.startswith("-") for command in service["ExecStartPre"])


def test_a_reload_checks_before_it_signals(service):
    check, hup = service["ExecReload"]

    assert " check-config " in check
    assert not check.startswith("-")
    assert hup == "/bin/kill -HUP $MAINPID"


def test_systemd_waits_longer_than_the_daemon_drains(service):
    assert int(service["TimeoutStopSec"][0]) > Config().daemon.stop_deadline_s


def test_a_stalled_daemon_is_asked_where_it_stands_and_then_killed(service):
    assert (service["WatchdogSignal"], service["TimeoutAbortSec"]) == (["SIGQUIT"], ["5"])


def test_memory_stays_executable_for_the_engines_compiler(service):
    assert "MemoryDenyWriteExecute" not in service


def test_credentials_are_optional(service):
    paths = [value.split(":")[1] for value in service["LoadCredential"]]

    assert len(paths) == 4
    assert not any(path.startswith("/") for path in paths)
