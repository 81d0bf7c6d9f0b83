"""
The relay on sockets. Spec 03 §4.

A relay ends in this order when it is asked to (`RelayService.end`), so that nodes notice as little as possible:

1. It takes no more connections, and closes half tunnels: whoever looks for a friend here tries the friend's next relay.
2. Tunnels go on, for a time that has a limit. Where all are closed before, nobody has to wait.
3. Tunnels are closed. Both ends know at once, and the one that dials goes to the next relay; a payment that was under
   way goes on there, since nodes repeat what was not answered.
4. Listeners are closed. They were open until now, so that none of them came back to a relay that is about to end.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field

import offset_relay
from offset_crypto.aio import Connection, Ticker, listen
from offset_crypto.identity import Identity
from offset_crypto.link_counts import LinkCounts
from offset_crypto.measures import Distribution
from offset_crypto.supervision import tell_ready
from offset_proto import wire
from offset_proto.limits import RELAY_HANDSHAKES_MAX
from offset_proto.log_events import LIMIT_REACHED, LINK_REFUSED, LISTENING, STARTED, tell
from offset_proto.text import format_b64, format_host_port
from offset_relay.server import CloseLink, Effect, JoinLinks, NotifyListener, RelayServer

__all__ = ["RelayCounts", "RelayService"]

log = logging.getLogger("offset.relay")


@dataclass(eq=False)
class _ClientLink:
    """A link before it is part of a tunnel; receives its messages."""

    service: "RelayService"
    connection: Connection
    is_first: bool = True
    since: float = field(default_factory=time.monotonic)

    def message_received(self, message: bytes) -> None:
        self.service.message_received(self, message)

    def connection_closed(self) -> None:
        self.service.link_closed(self)


@dataclass(eq=False)
class _TunnelEnd:
    """One direction of a tunnel: what this link receives goes to the other, one to one."""

    service: "RelayService"
    link: Connection
    other: Connection

    def message_received(self, message: bytes) -> None:
        self.service.counts.passed(message)
        self.other.send(message)

    def connection_closed(self) -> None:
        self.service.tunnel_closed(self.link)
        self.other.close("the other end of the tunnel closed")

    def other_writing_changed(self, paused: bool) -> None:
        """The other end reads slowly: stop to read from this one, and go on later."""
        if paused:
            self.link.pause_reading()
        else:
            self.link.resume_reading()


@dataclass
class RelayCounts:
    """
    What a relay counts besides its engine.

    Attributes:
        tunnels_opened: Since the start.
        setups: Seconds from the link of a connector to its tunnel.
        forwarded_messages, forwarded_bytes: Passed on through tunnels, in both directions.
    """

    tunnels_opened: int = 0
    setups: Distribution = field(default_factory=Distribution)
    forwarded_messages: int = 0
    forwarded_bytes: int = 0

    def passed(self, message: bytes) -> None:
        """A message went from one end of a tunnel to the other."""
        self.forwarded_messages += 1
        self.forwarded_bytes += len(message)


class RelayService:
    """
    A relay that runs.

    Args:
        identity: The relay's.
        ticker: Ticks of the process.

    Attributes:
        engine: Knows the listeners and who waits for them.
        counts: What passed.
    """

    def __init__(self, identity: Identity, ticker: Ticker) -> None:
        self.engine = RelayServer()
        self.counts = RelayCounts()
        self._is_listening = False
        self._end_wanted = asyncio.Event()
        self._grace_seconds = 0.0
        self._no_tunnels = asyncio.Event()
        self._no_tunnels.set()
        self._connectors: dict[Connection, None] = {}  # of each tunnel one end
        self._identity = identity
        self._ticker = ticker

    async def run(self, address: tuple[str, int]) -> None:
        """Serve until `end`, or until cancelled. Raises OSError where the address can not be listened on."""
        self._ticker.subscribe(self._tick)
        limit = RELAY_HANDSHAKES_MAX
        async with listen(*address, self._identity, self._ticker, self._accept, handshakes_max=limit) as listening:
            self._is_listening = True
            tell(log, LISTENING, address=format_host_port(address[0], listening.port), what="nodes")
            self._tell_start()
            tell_ready()
            await self._end_wanted.wait()
            self._is_listening = False
            listening.take_no_more()
            self._perform(self.engine.end())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._grace_seconds):
                    await self._no_tunnels.wait()
            for connector in list(self._connectors):
                connector.close("the relay ends")

    def end(self, grace_seconds: float) -> None:
        """End in order; tunnels that are open have so many seconds."""
        log.info("the relay ends within %g seconds; %d tunnels are open", grace_seconds, self.tunnels)
        self._grace_seconds = grace_seconds
        self._end_wanted.set()

    def _tell_start(self) -> None:
        tell(
            log,
            STARTED,
            program="offset-relay",
            version=offset_relay.__version__,
            key=format_b64(self._identity.public_key),
            loaded={"handshakes at once": RELAY_HANDSHAKES_MAX},
        )

    def message_received(self, link: _ClientLink, message: bytes) -> None:
        """A message of a link that is not part of a tunnel; raises PeerError for the link to be closed."""
        if link.is_first:
            link.is_first = False
            first = wire.INIT_CONNECTION.decode(message)
            key = link.connection.remote_public_key
            self._perform(self.engine.receive_first(link, key, first))
        elif self.engine.is_listener(link):
            self._perform(self.engine.receive_reject(link, wire.REJECT_CONNECTION.decode(message)))
        elif self.engine.is_waiting(link):
            self._perform(self.engine.receive_pending(link, message))

    def link_closed(self, link: _ClientLink) -> None:
        """A link that is not part of a tunnel ended."""
        self._perform(self.engine.close_link(link))

    def tunnel_closed(self, end: Connection) -> None:
        """One end of a tunnel closed; the other one follows."""
        self._connectors.pop(end, None)
        if not self._connectors:
            self._no_tunnels.set()

    @property
    def links(self) -> LinkCounts:
        """What the links of the relay have done."""
        return self._ticker.links

    def missing(self) -> list[str]:
        """What keeps the relay from serving anybody, a line for each."""
        if self._end_wanted.is_set():
            return ["the relay is about to end"]
        return [] if self._is_listening else ["the relay does not listen yet"]

    @property
    def tunnels(self) -> int:
        """How many tunnels are open."""
        return len(self._connectors)

    def _accept(self, connection: Connection) -> None:
        link = _ClientLink(self, connection)
        self.engine.open_link(link)
        connection.attach(link)

    def _tick(self) -> None:
        self._perform(self.engine.tick())

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case CloseLink(_ClientLink() as link, why, limit):
                    if limit is not None:
                        tell(log, LIMIT_REACHED, limit=limit, what=why.words)
                    else:
                        tell(log, LINK_REFUSED, key=format_b64(link.connection.remote_public_key), reason=why.words)
                    link.connection.close(why.words)
                case NotifyListener(_ClientLink() as link, message):
                    link.connection.send(wire.INCOMING_CONNECTION.encode(message))
                case JoinLinks(_ClientLink() as connector, _ClientLink() as acceptor, pending):
                    self.counts.tunnels_opened += 1
                    self.counts.setups.observe(time.monotonic() - connector.since)
                    self._join(connector.connection, acceptor.connection, pending)

    def _join(self, connector: Connection, acceptor: Connection, pending: tuple[bytes, ...]) -> None:
        self._connectors[connector] = None
        self._no_tunnels.clear()
        for message in pending:
            self.counts.passed(message)
            acceptor.send(message)
        connector.carry_link()
        acceptor.carry_link()
        to_acceptor, to_connector = _TunnelEnd(self, connector, acceptor), _TunnelEnd(self, acceptor, connector)
        acceptor.writing_changed = to_acceptor.other_writing_changed
        connector.writing_changed = to_connector.other_writing_changed
        connector.attach(to_acceptor)
        acceptor.attach(to_connector)
