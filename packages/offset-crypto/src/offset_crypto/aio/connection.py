"""
One authenticated link, whatever carries it.

    made -> handshake -> open -> closed
                |                  ^
                +------------------+   a failed handshake, a silent peer, a full outbox, an error of either side

A subclass moves bytes: it calls `_start`, `_arrived` and `_writing_paused`, and says how to write and to close. All
that the peer causes runs inside `_guard`, so that an error ends this connection and no other. Messages that come
while nobody is attached wait in `_early`; reading is paused at the same time, so only what one read brought is there.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Protocol

from offset_crypto.aio.ticker import Ticker
from offset_crypto.link import MessageReceived, Opened, SecureLink, StreamLink
from offset_proto.errors import InvariantBroken, OffsetError, PeerError
from offset_proto.limits import WRITE_TICKS
from offset_proto.types import PublicKey

__all__ = ["ConnectFailed", "Connection", "Receiver"]

log = logging.getLogger("offset.link")

OUTBOX_BYTES_MAX = 16 * 1024 * 1024


class ConnectFailed(OffsetError):
    """No link came about: address, network, handshake or time."""


class Receiver(Protocol):
    """Who takes the messages of a connection."""

    def message_received(self, message: bytes) -> None:
        """Take one message. Raising `PeerError` closes the connection."""

    def connection_closed(self) -> None:
        """The connection is over; called exactly once, and nothing after it."""


class Connection(ABC):
    """One authenticated link. Made by `connect`, `serve` and `open_tunnel`."""

    def __init__(self, link: StreamLink | SecureLink, ticker: Ticker) -> None:
        self._link = link
        self._ticker = ticker
        self._receiver: Receiver | None = None
        self._early: deque[bytes] = deque()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stalled_ticks = 0
        self._reading_paused = False
        self.writing_changed: Callable[[bool], None] | None = None
        """Called with True when the peer reads too slowly, with False when it caught up."""
        self.outbox_bytes_max = OUTBOX_BYTES_MAX
        self.is_closed = False
        self.close_reason = ""
        """Why it was closed, once it is."""
        self.on_close: Callable[[], object] | None = None
        self._remote_public_key: PublicKey | None = None

    @property
    def remote_public_key(self) -> PublicKey:
        """The key that the peer proved."""
        if self._remote_public_key is None:
            raise InvariantBroken("a connection has a remote key once it is open")
        return self._remote_public_key

    def attach(self, receiver: Receiver) -> None:
        """Hand this and all later messages to *receiver*."""
        self._receiver = receiver
        self._guard(self._deliver_early)
        if self.is_closed:
            self._receiver = None
            asyncio.get_running_loop().call_soon(receiver.connection_closed)
        else:
            self.resume_reading()

    def detach(self) -> None:
        """Hand messages to nobody: they wait for the next receiver, such as a tunnel."""
        self._receiver = None
        self.pause_reading()

    def send(self, message: bytes) -> None:
        """Send one message; nothing happens on a closed connection."""
        if self.is_closed:
            return
        self._link.send(message)
        self._flush()
        if self._outbox_bytes() > self.outbox_bytes_max:
            self._ticker.links.unread += 1
            self.close("the peer does not read what we send")

    def close(self, reason: str = "closed") -> None:
        """End the connection, after what was sent; safe to call twice."""
        if self.is_closed:
            return
        self.is_closed = True
        self.close_reason = reason
        log.debug("closed: %s", reason)
        self._ticker.unsubscribe(self._tick)
        self._close_carrier()
        if not self._opened.done():
            self._opened.set_exception(ConnectFailed(reason))
            self._opened.exception()  # seen: a listening side has nobody who awaits it
        if self.on_close is not None:
            self.on_close()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_closed()

    def carry_link(self) -> None:
        """From now on the messages are those of a link inside, which gives signs of life itself."""
        self._link.carry_link()

    async def opened(self) -> None:
        """
        Wait for the handshake.

        Raises:
            ConnectFailed: It failed.
        """
        await asyncio.shield(self._opened)

    def pause_reading(self) -> None:
        """Stop taking data from the peer; the keepalive takes this into account."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Take data from the peer again, after `pause_reading`."""
        self._reading_paused = False

    # What carries the link; a subclass says how.

    @abstractmethod
    def _write(self, outgoing: list[bytes]) -> None: ...

    @abstractmethod
    def _close_carrier(self) -> None: ...

    @abstractmethod
    def _outbox_bytes(self) -> int: ...

    @abstractmethod
    def _receive(self, data: bytes) -> list[Opened | MessageReceived]: ...

    # Events of the carrier.

    def _start(self) -> None:
        self._ticker.subscribe(self._tick)
        self._link.start()
        self._flush()

    def _arrived(self, data: bytes) -> None:
        self._guard(lambda: self._take(data))

    def _take(self, data: bytes) -> None:
        for event in self._receive(data):
            match event:
                case Opened(remote_public_key):
                    self._remote_public_key = remote_public_key
                    self.pause_reading()  # until a receiver is attached
                    self._flush()
                    if not self._opened.done():
                        self._opened.set_result(None)
                case MessageReceived(message):
                    self._early.append(message)
        if not self.is_closed:
            self._flush()
            self._deliver_early()

    def _deliver_early(self) -> None:
        while self._early and self._receiver is not None:
            self._receiver.message_received(self._early.popleft())

    def _tick(self) -> None:
        self._guard(self._count_tick)

    def _count_tick(self) -> None:
        self._link.tick(listening=not self._reading_paused)
        if self._stalled_ticks:
            self._stalled_ticks += 1
            if self._stalled_ticks > WRITE_TICKS:
                self._ticker.links.unread += 1
                raise PeerError("the peer does not read")
        self._flush()

    def _writing_paused(self, paused: bool) -> None:
        self._stalled_ticks = 1 if paused else 0
        if self.writing_changed is not None:
            self.writing_changed(paused)

    def _flush(self) -> None:
        outgoing = self._link.take_outgoing()
        if outgoing and not self.is_closed:
            self._write(outgoing)

    def _guard(self, step: Callable[[], None]) -> None:
        """Run *step*; whatever goes wrong in it ends this connection and no other."""
        if self.is_closed:
            return
        try:
            step()
        except PeerError as error:
            self.close(str(error))
        except InvariantBroken:
            self.close("broken invariant")
            raise
        except Exception:
            log.exception("a fault of ours; closing one connection")
            self.close("internal error")
