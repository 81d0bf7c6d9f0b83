"""Links on TCP sockets."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, cast

from aiohappyeyeballs import start_connection

from offset_crypto.aio.connection import ConnectFailed, Connection
from offset_crypto.aio.proxy import Proxy
from offset_crypto.aio.ticker import Ticker
from offset_crypto.identity import Identity
from offset_crypto.link import MessageReceived, Opened, StreamLink
from offset_proto.limits import FRAME_BYTES_MAX, HANDSHAKE_TICKS, PROXY_TICKS
from offset_proto.log_events import LIMIT_REACHED, tell
from offset_proto.proxies import is_onion
from offset_proto.text import split_host_port
from offset_proto.types import PublicKey

__all__ = ["Listening", "connect", "listen", "serve"]

log = logging.getLogger("offset.link")

_NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long the addresses of a name have to themselves before the next one is tried as well. RFC 8305 §5."""

_NEEDS_PROXY: Final = "an onion service is reached through a proxy only; give --proxy, such as socks5h://127.0.0.1:9050"


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
        """Start the handshake: at once when we connected, in its turn when we listen (`serve`)."""
        if not self.is_closed:
            self.resume_reading()
            self._start()

    def data_received(self, data: bytes) -> None:
        self._ticker.links.received_bytes += len(data)
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
        before = self._stream_link.received_frames
        try:
            return self._stream_link.receive_data(data)
        finally:
            self._ticker.links.received_frames += self._stream_link.received_frames - before

    def _write(self, outgoing: list[bytes]) -> None:
        if self._transport is not None:
            joined = b"".join(outgoing)
            self._ticker.links.sent_frames += len(outgoing)
            self._ticker.links.sent_bytes += len(joined)
            self._transport.write(joined)

    def _close_carrier(self) -> None:
        if self._transport is None:
            return
        self._ticker.links.closed += 1
        if self._remote_public_key is None:
            self._ticker.links.handshakes_failed += 1
        if self._stalled_ticks:
            self._transport.abort()  # it would wait for ever to write what the peer does not read
        else:
            self._transport.close()

    def _outbox_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()


async def connect(
    address: str,
    identity: Identity,
    remote_public_key: PublicKey,
    ticker: Ticker,
    *,
    frame_bytes_max: int = FRAME_BYTES_MAX,
    proxy: Proxy | None = None,
) -> Connection:
    """
    Open a link to *address* (``host:port``) whose owner must prove *remote_public_key*.

    Connecting and handshake have `HANDSHAKE_TICKS` ticks together (D9). Where a name resolves to several addresses, one
    that does not answer does not hold up the others (Happy Eyeballs, RFC 8305).

    With a *proxy* no name is looked up here, and nothing but a number of loopback is connected to directly. The proxy
    has `PROXY_TICKS` more. Without one, onion services are not reached, and nobody is asked for them (RFC 7686).

    Raises:
        ConnectFailed: No link, for whatever cause; the text says it.
    """
    link = StreamLink(identity, remote_public_key, os.urandom, frame_bytes_max)
    connection: _SocketConnection | None = None
    is_handed_over = False
    through: Proxy | None = None

    def begin(made: _SocketConnection) -> None:
        ticker.links.dialed += 1
        made.begin()

    try:
        host, port = split_host_port(address)
        through = proxy if proxy is not None and proxy.takes(host) else None
        ticks = HANDSHAKE_TICKS + (0 if through is None else PROXY_TICKS)
        async with asyncio.timeout(ticks * ticker.seconds):
            connection = await _create_connection(lambda: _SocketConnection(link, ticker, begin), host, port, through)
            await connection.opened()
        is_handed_over = True
    except (OSError, ValueError) as error:
        reason = str(error)
        if isinstance(error, TimeoutError):
            reason = "timed out" if through is None else f"timed out, through the proxy {through.url}"
        raise ConnectFailed(f"{address}: {reason}") from None
    except ConnectFailed as error:
        raise ConnectFailed(f"{address}: {error}") from None
    finally:
        if connection is not None and not is_handed_over:  # also where the caller is cancelled as the link opens
            connection.close("gave up")
    return connection


async def _create_connection(
    make: Callable[[], _SocketConnection], host: str, port: int, proxy: Proxy | None
) -> _SocketConnection:
    """
    What *make* makes, on a socket that is connected to *host*.

    Raises:
        OSError: The name does not resolve, no address of it accepts the connection, or the proxy does not reach it.
    """
    loop = asyncio.get_running_loop()
    if proxy is not None:
        connected = await proxy.connect(host, port)
    elif _is_numeric(host):
        return (await loop.create_connection(make, host, port))[1]
    else:
        connected = await _connect_by_name(host, port)
    try:
        return (await loop.create_connection(make, sock=connected))[1]
    except BaseException:
        connected.close()
        raise


async def _connect_by_name(host: str, port: int) -> socket.socket:
    if is_onion(host):
        raise OSError(_NEEDS_PROXY)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    try:
        return await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
    except RuntimeError as error:  # what uvloop may raise for an OSError
        raise OSError(str(error)) from None


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Listening:
    """
    A socket that is listened on.

    Attributes:
        port: Of the socket.
        take_no_more: Refuses new connections from now on, and closes those whose handshake is not over. Links that are
            open go on.
    """

    port: int
    take_no_more: Callable[[], None]


@contextlib.asynccontextmanager
async def listen(
    host: str,
    port: int,
    identity: Identity,
    ticker: Ticker,
    accepted: Callable[[Connection], None],
    *,
    handshakes_max: int,
    frame_bytes_max: int = FRAME_BYTES_MAX,
) -> AsyncIterator[Listening]:
    """
    Listen, and hand each link whose handshake succeeded to *accepted*, whatever key it proved.

    At most *handshakes_max* handshakes run at once; further connections wait (spec 02 §1).

    Yields:
        What is listened on. At the end of the block all its links are closed.

    Raises:
        OSError: The address can not be listened on.
    """
    connections: set[_SocketConnection] = set()
    waiting: deque[_SocketConnection] = deque()
    running: set[_SocketConnection] = set()
    counts = ticker.links

    def begin_next() -> None:
        while waiting and len(running) < handshakes_max:
            connection = waiting.popleft()
            counts.handshakes_waiting -= 1
            if not connection.is_closed:
                running.add(connection)
                counts.handshakes_running += 1
                connection.begin()

    def made(connection: _SocketConnection) -> None:
        counts.accepted += 1
        counts.handshakes_waiting += 1
        connections.add(connection)
        connection.on_close = lambda: connections.discard(connection)
        connection._opened.add_done_callback(lambda opened: handshake_ended(connection, opened))
        waiting.append(connection)
        begin_next()
        if waiting:
            tell(log, LIMIT_REACHED, limit="handshakes at once", what=f"{host}:{port}: whoever connects waits")

    def handshake_ended(connection: _SocketConnection, opened: asyncio.Future[None]) -> None:
        if connection in running:
            running.remove(connection)
            counts.handshakes_running -= 1
        begin_next()
        if not opened.cancelled() and opened.exception() is None and not connection.is_closed:
            accepted(connection)

    def make() -> _SocketConnection:
        return _SocketConnection(StreamLink(identity, None, os.urandom, frame_bytes_max), ticker, made)

    def take_no_more() -> None:
        server.close()
        for connection in [*running, *waiting]:
            connection.close("no more connections are taken")

    server = await asyncio.get_running_loop().create_server(make, host, port, backlog=128, reuse_address=True)
    try:
        yield Listening(server.sockets[0].getsockname()[1], take_no_more)
    finally:
        server.close()
        for connection in list(connections):
            connection.close("shutting down")


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
    The same as `listen`, for those that take connections to the end.

    Yields:
        The port listened on.

    Raises:
        OSError: The address can not be listened on.
    """
    async with listen(
        host,
        port,
        identity,
        ticker,
        accepted,
        handshakes_max=handshakes_max,
        frame_bytes_max=frame_bytes_max,
    ) as listening:
        yield listening.port
