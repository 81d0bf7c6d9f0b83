"""The relay on sockets. Spec 03 §4."""

import asyncio
import logging
from dataclasses import dataclass

import offset_relay
from offset_crypto.aio import Connection, Ticker, serve
from offset_crypto.identity import Identity
from offset_proto import wire
from offset_proto.limits import RELAY_HANDSHAKES_MAX
from offset_proto.log_events import LIMIT_REACHED, LINK_REFUSED, LISTENING, STARTED, tell
from offset_proto.text import format_b64, format_host_port
from offset_relay.server import CloseLink, Effect, JoinLinks, NotifyListener, RelayServer

__all__ = ["RelayService"]

log = logging.getLogger("offset.relay")


@dataclass(eq=False)
class _ClientLink:
    """A link before it is part of a tunnel; receives its messages."""

    service: "RelayService"
    connection: Connection
    is_first: bool = True

    def message_received(self, message: bytes) -> None:
        self.service.message_received(self, message)

    def connection_closed(self) -> None:
        self.service.link_closed(self)


@dataclass(eq=False)
class _TunnelEnd:
    """One direction of a tunnel: what this link receives goes to the other, one to one."""

    link: Connection
    other: Connection

    def message_received(self, message: bytes) -> None:
        self.other.send(message)

    def connection_closed(self) -> None:
        self.other.close("the other end of the tunnel closed")

    def other_writing_changed(self, paused: bool) -> None:
        """The other end reads slowly: stop to read from this one, and go on later."""
        if paused:
            self.link.pause_reading()
        else:
            self.link.resume_reading()


class RelayService:
    """
    A relay that runs.

    Args:
        identity: The relay's.
        ticker: Ticks of the process.
    """

    def __init__(self, identity: Identity, ticker: Ticker) -> None:
        self._engine = RelayServer()
        self._identity = identity
        self._ticker = ticker

    async def run(self, address: tuple[str, int]) -> None:
        """Serve until cancelled. Raises OSError where the address can not be listened on."""
        self._ticker.subscribe(self._tick)
        listening = serve(*address, self._identity, self._ticker, self._accept, handshakes_max=RELAY_HANDSHAKES_MAX)
        async with listening as port:
            tell(log, LISTENING, address=format_host_port(address[0], port), what="nodes")
            tell(
                log,
                STARTED,
                program="offset-relay",
                version=offset_relay.__version__,
                key=format_b64(self._identity.public_key),
                loaded={"handshakes at once": RELAY_HANDSHAKES_MAX},
            )
            await asyncio.get_running_loop().create_future()

    def message_received(self, link: _ClientLink, message: bytes) -> None:
        """A message of a link that is not part of a tunnel; raises PeerError for the link to be closed."""
        if link.is_first:
            link.is_first = False
            first = wire.INIT_CONNECTION.decode(message)
            key = link.connection.remote_public_key
            self._perform(self._engine.receive_first(link, key, first))
        elif self._engine.is_listener(link):
            self._perform(self._engine.receive_reject(link, wire.REJECT_CONNECTION.decode(message)))
        elif self._engine.is_waiting(link):
            self._perform(self._engine.receive_pending(link, message))

    def link_closed(self, link: _ClientLink) -> None:
        """A link that is not part of a tunnel ended."""
        self._perform(self._engine.close_link(link))

    def _accept(self, connection: Connection) -> None:
        link = _ClientLink(self, connection)
        self._engine.open_link(link)
        connection.attach(link)

    def _tick(self) -> None:
        self._perform(self._engine.tick())

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case CloseLink(_ClientLink() as link, reason, limit):
                    if limit is not None:
                        tell(log, LIMIT_REACHED, limit=limit, what=reason)
                    else:
                        tell(log, LINK_REFUSED, key=format_b64(link.connection.remote_public_key), reason=reason)
                    link.connection.close(reason)
                case NotifyListener(_ClientLink() as link, message):
                    link.connection.send(wire.INCOMING_CONNECTION.encode(message))
                case JoinLinks(_ClientLink() as connector, _ClientLink() as acceptor, pending):
                    _join(connector.connection, acceptor.connection, pending)


def _join(connector: Connection, acceptor: Connection, pending: tuple[bytes, ...]) -> None:
    for message in pending:
        acceptor.send(message)
    connector.carry_link()
    acceptor.carry_link()
    to_acceptor, to_connector = _TunnelEnd(connector, acceptor), _TunnelEnd(acceptor, connector)
    acceptor.writing_changed = to_acceptor.other_writing_changed
    connector.writing_changed = to_connector.other_writing_changed
    connector.attach(to_acceptor)
    acceptor.attach(to_connector)
