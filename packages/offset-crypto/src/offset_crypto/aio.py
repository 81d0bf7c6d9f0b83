"""
Links on asyncio: sockets, a ticker, and nothing of the protocol. The other shell of this package is `program`.

A `Connection` is one authenticated link, on a socket or inside another connection (`tunnel`). Messages go
to the `Receiver` that is attached to it; sending never waits. What keeps memory bounded: reading pauses
until a receiver is attached, or while it asks for it; a peer that does not read for `WRITE_TICKS`
ticks, or lets more than ``outbox_bytes_max`` pile up, loses its link (spec 02 §10.2).

All connections of a process share one `Ticker`; there is no task or timer for each.
"""

import asyncio
import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

from offset_crypto.identity import Identity
from offset_crypto.link import MessageReceived, Opened, SecureLink, StreamLink
from offset_proto.errors import InvariantBroken, OffsetError, PeerError
from offset_proto.limits import FRAME_BYTES_MAX, HANDSHAKE_TICKS, TICK_SECONDS, WRITE_TICKS
from offset_proto.text import split_host_port
from offset_proto.types import PublicKey

__all__ = ["ConnectFailed", "Connection", "Receiver", "Ticker", "connect", "open_tunnel", "serve"]

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


class Ticker:
    """The ticks of a process. Ticks missed because the loop was late are merged, never queued (D7)."""

    def __init__(self, seconds: float = TICK_SECONDS) -> None:
        self.seconds = seconds
        self._subscribers: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self, tick: Callable[[], None]) -> None:
        """Call *tick* on each tick from now on."""
        self._subscribers[tick] = None
        if self._timer is None:
            self._arm()

    def unsubscribe(self, tick: Callable[[], None]) -> None:
        """Stop to; harmless where it was not subscribed."""
        self._subscribers.pop(tick, None)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._subscribers:
            self._arm()
        for tick in list(self._subscribers):
            if tick in self._subscribers:
                tick()


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
            self.close("the peer does not read what we send")

    def close(self, reason: str = "closed") -> None:
        """End the connection, after what was sent; safe to call twice."""
        if self.is_closed:
            return
        self.is_closed = True
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


class _SocketConnection(Connection, asyncio.Protocol):
    """A link on a TCP socket."""

    def __init__(self, link: StreamLink, ticker: Ticker, made: Callable[["_SocketConnection"], None]) -> None:
        super().__init__(link, ticker)
        self._stream_link = link
        self._made = made
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass
        self.pause_reading()  # until the handshake may begin
        asyncio.get_running_loop().call_soon(self._stay_paused)
        self._made(self)

    def _stay_paused(self) -> None:
        # Early releases of Python 3.11 start to read after connection_made, though that has paused.
        if self._reading_paused and not self.is_closed:
            self.resume_reading()
            self.pause_reading()

    def begin(self) -> None:
        """Start the handshake."""
        if not self.is_closed:
            self.resume_reading()
            self._start()

    def data_received(self, data: bytes) -> None:
        self._arrived(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close("the peer closed the connection")

    def pause_writing(self) -> None:
        self._writing_paused(True)

    def resume_writing(self) -> None:
        self._writing_paused(False)

    def pause_reading(self) -> None:
        super().pause_reading()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        super().resume_reading()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _receive(self, data: bytes) -> list[Opened | MessageReceived]:
        return self._stream_link.receive_data(data)

    def _write(self, outgoing: list[bytes]) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(outgoing))

    def _close_carrier(self) -> None:
        if self._transport is None:
            return
        if self._stalled_ticks:
            self._transport.abort()  # it would wait for ever to write what the peer does not read
        else:
            self._transport.close()

    def _outbox_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()


class _Tunnel(Connection):
    """A link whose messages are the messages of another connection; a `Receiver` of that one."""

    def __init__(self, link: SecureLink, ticker: Ticker, carrier: Connection) -> None:
        super().__init__(link, ticker)
        self._secure_link = link
        self._carrier = carrier

    def begin(self) -> None:
        """Start the handshake."""
        self._carrier.writing_changed = self._writing_paused
        self._carrier.carry_link()
        self._start()
        self._carrier.attach(self)  # what the peer sent already is handed over at once

    def message_received(self, message: bytes) -> None:
        self._arrived(message)

    def connection_closed(self) -> None:
        self.close("the tunnel was closed")

    def pause_reading(self) -> None:
        super().pause_reading()
        self._carrier.pause_reading()

    def resume_reading(self) -> None:
        super().resume_reading()
        self._carrier.resume_reading()

    def _receive(self, data: bytes) -> list[Opened | MessageReceived]:
        return self._secure_link.receive_message(data)

    def _write(self, outgoing: list[bytes]) -> None:
        for message in outgoing:
            self._carrier.send(message)

    def _close_carrier(self) -> None:
        self._carrier.close("the link inside was closed")

    def _outbox_bytes(self) -> int:
        return 0  # the carrier counts


async def connect(
    address: str,
    identity: Identity,
    remote_public_key: PublicKey,
    ticker: Ticker,
    *,
    frame_bytes_max: int = FRAME_BYTES_MAX,
) -> Connection:
    """
    Open a link to *address* (``host:port``) whose owner must prove *remote_public_key*.

    Connecting and handshake have `HANDSHAKE_TICKS` ticks together (D9). Every address that a name
    resolves to is tried in order.

    Raises:
        ConnectFailed: No link, for whatever cause; the text says it.
    """
    link = StreamLink(identity, remote_public_key, os.urandom, frame_bytes_max)
    connection: _SocketConnection | None = None
    is_handed_over = False
    try:
        host, port = split_host_port(address)
        async with asyncio.timeout(HANDSHAKE_TICKS * ticker.seconds):
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: _SocketConnection(link, ticker, _SocketConnection.begin), host, port
            )
            await connection.opened()
        is_handed_over = True
    except (OSError, ValueError) as error:
        reason = "timed out" if isinstance(error, TimeoutError) else str(error)
        raise ConnectFailed(f"{address}: {reason}") from None
    except ConnectFailed as error:
        raise ConnectFailed(f"{address}: {error}") from None
    finally:
        if connection is not None and not is_handed_over:  # also where the caller is cancelled as the link opens
            connection.close("gave up")
    return connection


async def open_tunnel(
    carrier: Connection, identity: Identity, remote_public_key: PublicKey, ticker: Ticker
) -> Connection:
    """
    Open a link inside *carrier* to whoever is at its other end and proves *remote_public_key*.

    Raises:
        ConnectFailed: No link; the carrier is closed.
    """
    tunnel = _Tunnel(SecureLink(identity, remote_public_key, os.urandom), ticker, carrier)
    try:
        tunnel.begin()
        await tunnel.opened()
    except BaseException:
        tunnel.close("gave up")
        raise
    return tunnel


@contextlib.asynccontextmanager
async def serve(
    host: str,
    port: int,
    identity: Identity,
    ticker: Ticker,
    accepted: Callable[[Connection], None],
    *,
    handshakes_max: int,
    frame_bytes_max: int = FRAME_BYTES_MAX,
) -> AsyncIterator[int]:
    """
    Listen, and hand each link whose handshake succeeded to *accepted*, whatever key it proved.

    At most *handshakes_max* handshakes run at once; further connections wait (spec 02 §1).

    Yields:
        The port listened on.

    Raises:
        OSError: The address can not be listened on.
    """
    connections: set[_SocketConnection] = set()
    waiting: deque[_SocketConnection] = deque()
    running: set[_SocketConnection] = set()

    def begin_next() -> None:
        while waiting and len(running) < handshakes_max:
            connection = waiting.popleft()
            if not connection.is_closed:
                running.add(connection)
                connection.begin()

    def made(connection: _SocketConnection) -> None:
        connections.add(connection)
        connection.on_close = lambda: connections.discard(connection)
        connection._opened.add_done_callback(lambda opened: handshake_ended(connection, opened))
        waiting.append(connection)
        begin_next()

    def handshake_ended(connection: _SocketConnection, opened: asyncio.Future[None]) -> None:
        running.discard(connection)
        begin_next()
        if not opened.cancelled() and opened.exception() is None and not connection.is_closed:
            accepted(connection)

    def make() -> _SocketConnection:
        return _SocketConnection(StreamLink(identity, None, os.urandom, frame_bytes_max), ticker, made)

    server = await asyncio.get_running_loop().create_server(make, host, port, backlog=128, reuse_address=True)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(connections):
            connection.close("shutting down")
