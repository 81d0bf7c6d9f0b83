"""
How connections are taken: uvicorn with the limits that it lacks.

A connection has a place from the moment at which it is accepted, also while its TLS handshake goes on. The servers of
asyncio tell nobody of a connection before that is over, for which they give a client a minute. So the loop here accepts
by itself, and hands a connection on to uvicorn when there is something for it to read.

uvicorn limits the time between two requests, and not the time in which the headers of one must come: a client that
sends a byte each minute would keep its connection for ever. `LimitedProtocol` adds that. It can also drop a connection
whose client does not read, which an application can not do.
"""

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Iterator
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
        drop: Ends the connection at once.
        is_open: uvicorn has it.
    """

    drop: Callable[[], object]
    is_open: bool = False


class Places:
    """The places for connections."""

    def __init__(self) -> None:
        self._taken: set[Place] = set()

    def take(self) -> Place | None:
        """A place for a new connection; None: there is none."""
        if len(self._taken) >= CONNECTIONS_MAX:
            return None
        place = Place(lambda: None)
        self._taken.add(place)
        return place

    def leave(self, place: Place) -> None:
        """The connection is gone."""
        self._taken.discard(place)


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
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_clock()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

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
                    connected, _ = await loop.sock_accept(listener)
                except OSError as error:
                    log.error("no connection can be accepted now: %s", error.strerror or error)
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    self._take(connected)
        finally:
            for task in self._opening:
                task.cancel()
            await asyncio.gather(*self._opening, return_exceptions=True)

    def _take(self, connected: socket.socket) -> None:
        place = self._places.take()
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
