"""
What a server tells the supervisor that started it, which is systemd where its unit has ``Type=notify``.

========================  =============================================================================
``READY=1``               it listens, so what comes after it may start
``STATUS=...``            what it does, in words, for whoever asks the supervisor
``STOPPING=1``            it was asked to end, and does so now
``WATCHDOG=1``            its event loop answers; told twice in the time that the supervisor grants
========================  =============================================================================

Each is one datagram to the socket that the environment names (sd_notify(3)). Where it names none, nobody wants to be
told, and nothing happens. The watchdog is fed by a timer of the event loop and by nothing else: a loop that hangs feeds
nothing, and the supervisor starts the program again.

These are the lines that are needed of a protocol that is documented as stable, so no library is. A supervisor that can
not be reached is no reason for a server to end.
"""

import asyncio
import logging
import os
import socket
from typing import Final

__all__ = ["feed_watchdog", "tell_ready", "tell_status", "tell_stopping"]

log = logging.getLogger("offset")

SEND_SECONDS: Final = 1.0
"""How long a supervisor that does not read may hold us up."""


def tell_ready() -> None:
    """Say that the server listens."""
    _tell(b"READY=1")


def tell_status(text: str) -> None:
    """Say what the server does, in one line, until something else is said."""
    _tell(f"STATUS={' '.join(text.split())}".encode())


def tell_stopping() -> None:
    """Say that the server ends."""
    _tell(b"STOPPING=1")


def feed_watchdog(loop: asyncio.AbstractEventLoop) -> None:
    """Say again and again that *loop* answers, for as long as it runs; nothing, where nobody watches."""
    seconds = _granted_seconds()
    if seconds is None:
        return

    def feed() -> None:
        _tell(b"WATCHDOG=1")
        loop.call_later(seconds / 2, feed)

    loop.call_soon(feed)


def _granted_seconds() -> float | None:
    """The longest silence that the supervisor bears of this process; None: any."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it is another process that is watched
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 else None


def _tell(state: bytes) -> None:
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    address = b"\0" + os.fsencode(place[1:]) if place.startswith("@") else os.fsencode(place)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(SEND_SECONDS)
            sending.sendto(state, address)
    except OSError as error:
        log.warning("the supervisor can not be told %s: %s", state.decode(), error)
