"""
How connections are taken: uvicorn with the limits that it lacks.

A connection has a place from the moment at which it is accepted, also while its TLS handshake goes on. The servers of
asyncio tell nobody of a connection before that is over, for which they give a client a minute. So the loop here accepts
by itself, and hands a connection on to uvicorn when there is something for it to read.

uvicorn limits the time between two requests, and not the time in which the headers of one must come: a client that
sends a byte each minute would keep its connection for ever. `LimitedProtocol` adds that. It can also drop a connection
whose client does not read, which an application can not do.

When all places are taken, the connection that has waited longest makes room for a new one. So whoever holds many and
asks for nothing keeps nobody out, and a page that was opened a minute ago connects again by itself.

    accepted --(handshake)--> waits for a request --(the whole of it is here)--> busy
                                      ^                                            |
                                      '------------ the answer is sent ------------'

A busy connection is never closed for another one. A request that is still coming is not busy: nothing has been done for
it, and otherwise bodies that come a byte at a time would hold places. Its time of waiting begins with its first byte,
and does not begin anew with each.

Where clients connect directly, which is where there is a certificate, one address has `CONNECTIONS_OF_ONE_MAX` places
at most, and beyond these its own connections make room: so requests that are answered slowly, too, take a part of the
places and not all of them. Behind a proxy, every client has the address of the proxy, and on loopback that of this
machine: a limit for these would be one for everybody, so there is none. Of IPv6, a network of 64 bits counts as one
address, as that is what one customer is given.
"""

import asyncio
import contextlib
import functools
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from offset_ctrl.web.listening import Certificate
from offset_proto.files import IoError

__all__ = ["serve_http"]

log = logging.getLogger("offset.web")

CONNECTIONS_MAX: Final = 256
CONNECTIONS_OF_ONE_MAX: Final = 64
HANDSHAKE_SECONDS: Final = 5.0
HEADER_BYTES_MAX: Final = 16 * 1024
HEADER_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 60
END_SECONDS: Final = 5
"""For requests under way when the server ends; then they are cancelled."""

PAUSE_SECONDS: Final = 1.0
"""Before the next one is accepted where the system has no descriptor left."""


@dataclass(eq=False, slots=True)
class Place:
    """
    The place of a connection.

    Attributes:
        peer: The address that counts, as `peer_of` says; None: it has no limit of its own.
        since: The loop's seconds at which it began to wait.
        drop: Ends the connection at once.
        is_open: uvicorn has it.
        is_busy: A whole request is here, and the answer is not sent yet.
    """

    peer: str | None
    since: float
    drop: Callable[[], object] = lambda: None
    is_open: bool = False
    is_busy: bool = False


class Places:
    """The places for connections."""

    def __init__(self) -> None:
        self._taken: set[Place] = set()

    def take(self, peer: str | None, now: float) -> Place | None:
        """A place for a new connection, where need be that of another one, which is dropped; None: all are busy."""
        own = [place for place in self._taken if place.peer == peer]
        is_full = len(self._taken) >= CONNECTIONS_MAX
        if peer is not None and len(own) >= CONNECTIONS_OF_ONE_MAX:
            if not self._make_room(own):
                return None
        elif is_full and not self._make_room(self._taken):
            return None
        place = Place(peer, now)
        self._taken.add(place)
        return place

    def leave(self, place: Place) -> None:
        """The connection is gone."""
        self._taken.discard(place)

    def _make_room(self, places: Iterable[Place]) -> bool:
        waiting = [place for place in places if not place.is_busy]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda place: place.since)
        self.leave(oldest)
        oldest.drop()
        return True


def peer_of(host: str) -> str | None:
    """
    What counts as one address; None: loopback, where a proxy or a program of this machine is.

    Args:
        host: A number, as the system tells it; of IPv6 it may have a zone.
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


class LimitedProtocol(H11Protocol):
    """uvicorn's connection, with the limits that it lacks."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, config: uvicorn.Config, server_state: ServerState, places: Places, place: Place) -> None:
        super().__init__(config, server_state, app_state={})
        self._places = places
        self._place = place

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected, and its handshake is over."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        self._place.is_open, self._place.drop = True, transport.abort
        self._deadline = self.loop.call_later(HEADER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: if they are not a whole request yet, the time for it runs."""
        is_first = self._deadline is None and (self.cycle is None or self.cycle.response_complete)
        super().data_received(data)
        if is_first:
            self._place.since = self.loop.time()
        self._note()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_clock()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def on_response_complete(self) -> None:
        """An answer is sent, and the next request may be here already."""
        self._place.since = self.loop.time()
        super().on_response_complete()
        self._note()

    def _note(self) -> None:
        cycle = self.cycle
        self._place.is_busy = cycle is not None and not cycle.response_complete and not cycle.more_body

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_clock()
        self._places.leave(self._place)
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Acceptor:
    """
    Takes connections.

    Args:
        config: Of uvicorn, loaded.
        state: Of uvicorn's server.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        self._config = config
        self._state = state
        self._places = Places()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket) -> None:
        """Take connections until cancelled; those that have a handshake behind them stay."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        try:
            while True:
                try:
                    connected, address = await loop.sock_accept(listener)
                except OSError as error:
                    log.error("no connection can be accepted now: %s", error.strerror or error)
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    self._take(connected, address[0])
        finally:
            for task in self._opening:
                task.cancel()
            await asyncio.gather(*self._opening, return_exceptions=True)

    def _take(self, connected: socket.socket, host: str) -> None:
        peer = None if self._config.ssl is None else peer_of(host)
        place = self._places.take(peer, asyncio.get_running_loop().time())
        if place is None:
            connected.close()
            return
        task = asyncio.create_task(self._open(connected, place))
        place.drop = task.cancel
        self._opening.add(task)
        task.add_done_callback(functools.partial(self._opened, connected, place))

    async def _open(self, connected: socket.socket, place: Place) -> None:
        loop, context = asyncio.get_running_loop(), self._config.ssl
        handshake, shutdown = (None, None) if context is None else (HANDSHAKE_SECONDS, float(END_SECONDS))
        with contextlib.suppress(OSError):  # the client has gone, or does not shake hands as it should
            await loop.connect_accepted_socket(
                lambda: LimitedProtocol(self._config, self._state, self._places, place),
                connected,
                ssl=context,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=shutdown,
            )

    def _opened(self, connected: socket.socket, place: Place, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not place.is_open:
            connected.close()
            self._places.leave(place)


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the program has its own, as all programs here do."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(
    app: ASGIApp, listener: socket.socket, certificate: Certificate | None, closing: asyncio.Event
) -> None:
    """
    Serve until cancelled; then requests under way have a moment to end.

    Args:
        app: Answers.
        listener: Listens.
        certificate: For HTTPS.
        closing: Is set when the server ends, so that streams end by themselves.

    Raises:
        IoError: The certificate can not be used.
    """
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        ssl_certfile=None if certificate is None else str(certificate.path),
        ssl_keyfile=None if certificate is None else str(certificate.key),
    )
    try:
        config.load()
    except OSError as error:
        assert certificate is not None
        raise IoError(certificate.key, error.strerror or str(error)) from None
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it says of its start, we say ourselves
    server = _Server(config)
    accepting = asyncio.create_task(_Acceptor(config, server.server_state).run(listener))
    serving = asyncio.create_task(server.serve(sockets=[]))
    try:
        await asyncio.wait((accepting, serving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        accepting.cancel()
        closing.set()
        server.should_exit = True
        ended = await asyncio.gather(accepting, serving, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, Exception):
            raise failure
