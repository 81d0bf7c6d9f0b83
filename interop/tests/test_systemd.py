"""Units of systemd, and servers that tell the one who started them how they are, as systemd would start them."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interop.ports import find_free_port
from interop.programs import OURS

EXPOSURE_BELOW = 30
"""Tenths, of what ``systemd-analyze security`` says."""

PATIENCE = 60.0

_NO_WRITABLE_CODE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, of Linux 6.3; an older one says no, and nothing happens
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program as MemoryDenyWriteExecute= would: no memory can be written and run."""

ANALYZE = shutil.which("systemd-analyze")

needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not on this machine")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The unit of each server; one of the directories has a name that needs care."""
    made = tmp_path_factory.mktemp("units")
    places = [f"127.0.0.1:{find_free_port()}" for _ in range(3)]
    OURS.run("stmgr", "setup-relay", made / "relay", "-a", places[0], "--systemd")
    OURS.run("stmgr", "setup-index", made / "index", "-a", places[1], "--server-address", places[2], "--systemd")
    said = OURS.run("stmgr", "setup-node", made / "my 100% $node", "--systemd").stdout
    assert "systemctl enable --now offset-my-100---node.service" in said
    return {path.parent.name: path for path in made.glob("*/*.service")}


def _value(unit: Path, key: str) -> str:
    (found,) = re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)
    return str(found)


def _command(unit: Path) -> list[str]:
    """The words of ExecStart, as systemd reads them."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(_value(unit, "ExecStart"))]


@needs_analyze
@pytest.mark.parametrize("name", ["relay", "index", "my 100% $node"])
def test_a_unit_leaves_little_open(units: dict[str, Path], name: str) -> None:
    """Less than 3 of 10; and systemd understands each line."""
    rated = _analyze("security", "--offline=true", f"--threshold={EXPOSURE_BELOW - 1}", units[name])
    assert rated.returncode == 0, rated.stdout[-200:] + rated.stderr
    verified = _analyze("verify", units[name])
    assert (verified.returncode, verified.stderr) == (0, "")


def _analyze(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, timeout=PATIENCE)


def test_what_may_be_written(units: dict[str, Path]) -> None:
    """A node writes into its directory, the other servers nowhere."""
    for name, unit in units.items():
        writes = "ReadWritePaths=" in unit.read_text()
        assert writes == (name not in ("relay", "index"))


@contextmanager
def _started(unit: Path, place: Path) -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    """The program of a unit, and the socket that it tells its state."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reading:
        reading.bind(str(place))
        reading.settimeout(PATIENCE)
        environment = {**os.environ, "NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "400000"}
        words = [sys.executable, "-c", _NO_WRITABLE_CODE, *_command(unit)]
        with subprocess.Popen(words, env=environment) as process:
            try:
                yield process, reading
            finally:
                process.kill()


def _until(reading: socket.socket, state: bytes) -> list[bytes]:
    """All that is told up to *state*."""
    found = [reading.recv(100)]
    while found[-1] != state:
        found.append(reading.recv(100))
    return found


@pytest.mark.parametrize("name", ["relay", "index", "my 100% $node"])
def test_a_server_tells_how_it_is(units: dict[str, Path], tmp_path: Path, name: str) -> None:
    """It is ready when it listens, answers, is silent while it hangs, and says so when it ends."""
    settings = (units[name].parent / Path(_command(units[name])[-1]).name).read_text()
    ports = [int(port) for port in re.findall(r'^l[a-z]+ = "127.0.0.1:(\d+)"', settings, re.MULTILINE)]
    assert ports
    with _started(units[name], tmp_path / "notify") as (process, reading):
        _until(reading, b"READY=1")
        for port in ports:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        _until(reading, b"WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        reading.setblocking(False)
        try:
            while True:
                reading.recv(100)  # told before it stopped
        except BlockingIOError:
            reading.settimeout(1)
        with pytest.raises(TimeoutError):
            reading.recv(100)
        process.send_signal(signal.SIGCONT)
        reading.settimeout(PATIENCE)
        _until(reading, b"WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        _until(reading, b"STOPPING=1")
        assert process.wait(PATIENCE) == 0
