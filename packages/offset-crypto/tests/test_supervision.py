"""What a supervisor is told, by a socket of the test's own. sd_notify(3)."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from offset_crypto.supervision import feed_watchdog, tell_ready, tell_status, tell_stopping


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where the supervisor reads."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reading:
        reading.bind(str(tmp_path / "notify"))
        reading.setblocking(False)
        yield reading


def _all(reading: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(reading.recv(100))
        except BlockingIOError:
            return found


def test_each_state_is_a_datagram(told: socket.socket) -> None:
    """In the words of the protocol."""
    tell_ready()
    tell_status("waits for a\nserver of the name ü\n")
    tell_stopping()
    assert _all(told) == [b"READY=1", "STATUS=waits for a server of the name ü".encode(), b"STOPPING=1"]


@pytest.mark.skipif(not hasattr(socket, "SO_PEERSEC"), reason="only Linux has sockets without a file")
def test_a_socket_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name begins with @."""
    name = f"offset-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reading:
        reading.bind(b"\0" + name.encode())
        tell_ready()
        assert reading.recv(100) == b"READY=1"


@pytest.mark.parametrize("place", [None, "", "relative", "/nobody/reads/here", "/" + 200 * "a", "vsock:2:3"])
def test_where_nobody_reads(monkeypatch: pytest.MonkeyPatch, place: str | None) -> None:
    """Nothing happens."""
    if place is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", place)
    tell_ready()


def test_the_watchdog_is_fed_while_the_loop_answers(told: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again; a loop that hangs feeds nothing."""
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    async def body() -> list[bytes]:
        feed_watchdog(asyncio.get_running_loop())
        fed: list[bytes] = []
        while len(fed) < 3:
            await asyncio.sleep(0.01)
            fed += _all(told)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop hangs
        assert _all(told) == []
        return fed

    assert set(asyncio.run(body())) == {b"WATCHDOG=1"}


@pytest.mark.parametrize(("granted", "process"), [(None, None), ("0", None), ("soon", None), ("1000", "1")])
def test_nobody_watches(
    told: socket.socket, monkeypatch: pytest.MonkeyPatch, granted: str | None, process: str | None
) -> None:
    """No time is granted, or it is another process that is watched."""
    for name, value in (("WATCHDOG_USEC", granted), ("WATCHDOG_PID", process)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)

    async def body() -> None:
        feed_watchdog(asyncio.get_running_loop())
        await asyncio.sleep(0.02)

    asyncio.run(body())
    assert _all(told) == []
