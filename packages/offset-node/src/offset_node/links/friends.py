"""Shell of the channeler: links to relays and friends on sockets. Spec 03 §5, §6.5."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from offset_crypto.aio import ConnectFailed, Connection, Proxy, Ticker, connect, open_tunnel
from offset_crypto.identity import Identity
from offset_crypto.measures import Distribution
from offset_funder.statements import Statements
from offset_node.links.channeler import (
    CancelDial,
    Channeler,
    ChannelerOutput,
    CloseFriendLink,
    Dial,
    LinkEffect,
    ReportOnline,
    StartListener,
    StopListener,
)
from offset_node.tasks import NodeTasks
from offset_node.telling import NodeLog
from offset_proto import wire
from offset_proto.errors import PeerError
from offset_proto.limits import HANDSHAKE_TICKS
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.index import TimeHash
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.relay import Accept, Connect, Listen, RejectConnection
from offset_proto.types import PublicKey
from offset_relay.client import AcceptTunnel, Listener, SendReject

__all__ = ["FriendLinks"]

TUNNELS_AT_ONCE = 8
"""Tunnels of friends that are being accepted at the same time; others wait for their turn."""


@dataclass(eq=False)
class _FriendLink:
    """A live link to a friend; receives its messages."""

    links: "FriendLinks"
    friend: PublicKey
    connection: Connection
    said: Statements = field(default_factory=Statements)

    def message_received(self, message: bytes) -> None:
        try:
            decoded = wire.FRIEND_MESSAGE.decode(message)
        except PeerError as error:
            # The message is ignored, the link stays (spec 02 §9 kind 5).
            self.links.log.friend_message_refused(self.friend, str(error))
            return
        self.links.on_message(self.friend, decoded, self.connection)

    def connection_closed(self) -> None:
        self.links.forget(self)


@dataclass(eq=False)
class _ListenLink:
    """A listen link at a relay; receives its notices."""

    links: "FriendLinks"
    relay: RelayAddress
    connection: Connection
    listener: Listener
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def message_received(self, message: bytes) -> None:
        if _is_time_hash(message):
            self.connection.close("it tells the hash of a tick, as an index server does")
            return
        self.act(self.listener.receive(wire.INCOMING_CONNECTION.decode(message)))

    def connection_closed(self) -> None:
        self.closed.set()

    def act(self, effect: AcceptTunnel | SendReject | None) -> None:
        """Do what the listener asks for."""
        match effect:
            case AcceptTunnel(public_key):
                self.links.spawn(self._accept(public_key))
            case SendReject(message):
                self._reject(message)
            case None:
                pass

    def _reject(self, message: RejectConnection) -> None:
        self.connection.send(wire.REJECT_CONNECTION.encode(message))

    async def _accept(self, public_key: PublicKey) -> None:
        """Open a second link to the relay, accept the friend on it, and let it prove its key."""
        accepted = False
        if self.links.tunnels.locked():
            self.links.log.limit_reached("TUNNELS_AT_ONCE", "friends that connect wait for their turn")
        try:
            async with self.links.tunnels:
                began = time.monotonic()
                connection = await self.links.connect_relay(self.relay)
                connection.send(wire.INIT_CONNECTION.encode(Accept(public_key)))
                accepted = True
                tunnel = await self.links.open_tunnel(connection, public_key)
            self.links.counts.setups.observe(time.monotonic() - began)
            self.links.adopt_accepted(public_key, tunnel)
        except ConnectFailed as error:
            self.links.counts.failed += 1
            self.links.log.friend_not_reached(public_key, self.relay, str(error))
        finally:
            self.act(self.listener.accept_ended(public_key, accepted=accepted))


@dataclass
class FriendLinkCounts:
    """
    What became of tunnels to friends.

    Attributes:
        setups: Seconds that those took which came about, from connecting to a relay to the proof of the friend's key.
        failed: Attempts that led to nothing, of ours and of friends.
    """

    setups: Distribution = field(default_factory=Distribution)
    failed: int = 0


class FriendLinks:
    """
    The links of one node.

    Args:
        channeler: Decides which links to keep up; it is told what becomes of them.
        identity: The node's.
        ticker: Ticks of the process.
        on_output: Takes what the channeler says. What of it concerns links comes back to `perform`.
        on_message: Told each message of a friend, with the connection it came over.
        log: Told what becomes of links.
        proxy: Relays are reached through it; None: directly.

    Attributes:
        counts: What became of tunnels.
    """

    def __init__(
        self,
        channeler: Channeler,
        identity: Identity,
        ticker: Ticker,
        on_output: Callable[[list[ChannelerOutput]], None],
        on_message: Callable[[PublicKey, FriendMessage, Connection], None],
        *,
        log: NodeLog,
        proxy: Proxy | None,
    ) -> None:
        self.channeler = channeler
        self.counts = FriendLinkCounts()
        self.tunnels = asyncio.Semaphore(TUNNELS_AT_ONCE)
        self.on_message = on_message
        self.log = log
        self._on_output = on_output
        self._identity = identity
        self._ticker = ticker
        self._proxy = proxy
        self._tasks: NodeTasks | None = None
        self._numbered: dict[int, asyncio.Task[None]] = {}
        self._links: dict[PublicKey, _FriendLink] = {}
        self._listening: dict[RelayAddress, int] = {}

    @property
    def relays_connected(self) -> list[RelayAddress]:
        """The relays at which the node listens."""
        return [relay for relay in self.channeler.relays if relay in self._listening]

    @property
    def relays_missing(self) -> list[RelayAddress]:
        """The relays at which it wants to listen, and does not."""
        return [relay for relay in self.channeler.relays if relay not in self._listening]

    def start(self, tasks: NodeTasks) -> None:
        """Run all listeners and attempts in *tasks* from now on, and count ticks."""
        self._tasks = tasks
        self._ticker.subscribe(self._tick)

    def stop(self) -> None:
        """Count no more ticks, and close the links to all friends; listeners and attempts end with their tasks."""
        self._ticker.unsubscribe(self._tick)
        for link in list(self._links.values()):
            link.connection.close("the node has ended")

    def _tick(self) -> None:
        self._on_output(self.channeler.tick())

    def send(self, friend: PublicKey, message: FriendMessage) -> None:
        """Send to a friend. Without a link the message is dropped; the funder repeats it once there is one."""
        link = self._links.get(friend)
        if link is not None and link.said.is_news(message):
            link.connection.send(wire.FRIEND_MESSAGE.encode(message))

    def perform(self, effect: LinkEffect) -> None:
        """Do what the channeler asks for."""
        match effect:
            case StartListener(relay, generation):
                self._run_numbered(generation, self._listen(relay, generation))
            case StopListener(number) | CancelDial(number):
                task = self._numbered.pop(number, None)
                if task is not None:
                    task.cancel()
            case Dial():
                self._run_numbered(effect.attempt, self._dial(effect))
            case CloseFriendLink(link):
                assert isinstance(link, _FriendLink)
                link.connection.close("not wanted")

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None] | None":
        """Run *work* as a part of the node; None where the node is ending."""
        assert self._tasks is not None
        return self._tasks.spawn(work)

    async def connect_relay(self, relay: RelayAddress) -> Connection:
        """A link to a relay. Raises ConnectFailed."""
        return await connect(relay.address, self._identity, relay.public_key, self._ticker, proxy=self._proxy)

    async def open_tunnel(self, carrier: Connection, friend: PublicKey) -> Connection:
        """A link to a friend through a tunnel. Raises ConnectFailed."""
        try:
            async with asyncio.timeout(HANDSHAKE_TICKS * self._ticker.seconds):
                return await open_tunnel(carrier, self._identity, friend, self._ticker)
        except TimeoutError:
            raise ConnectFailed("the friend did not answer") from None

    def forget(self, link: _FriendLink) -> None:
        """A link to a friend ended: tell the channeler."""
        if self._links.get(link.friend) is link:
            del self._links[link.friend]
            self.log.friend_offline(link.friend, link.connection.close_reason)
        self._on_output(self.channeler.link_closed(link.friend, link))

    def adopt_accepted(self, friend: PublicKey, connection: Connection) -> None:
        """A friend came through a listener."""
        link = _FriendLink(self, friend, connection)
        self._attach(link, self.channeler.accepted(friend, link))

    def _attach(self, link: _FriendLink, outputs: list[ChannelerOutput]) -> None:
        """Do as the channeler says of a new link; its messages are read only once the friend was reported as online."""
        if any(isinstance(output, ReportOnline) for output in outputs):
            self._links[link.friend] = link
            self.log.friend_online(link.friend)
        self._on_output(outputs)
        if self._links.get(link.friend) is link:
            link.connection.attach(link)

    def _run_numbered(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        task = self.spawn(work)
        if task is not None:
            self._numbered[number] = task
            task.add_done_callback(lambda _: self._numbered.pop(number, None))

    async def _listen(self, relay: RelayAddress, generation: int) -> None:
        connection: Connection | None = None
        try:
            connection = await self.connect_relay(relay)
            listener = Listener(lambda friend: self.channeler.is_allowed(relay, friend))
            link = _ListenLink(self, relay, connection, listener)
            connection.send(wire.INIT_CONNECTION.encode(Listen()))
            connection.attach(link)
            self._listening[relay] = generation
            self.log.relay_connected(relay)
            await link.closed.wait()
            reason = connection.close_reason
        except ConnectFailed as error:
            reason = str(error)
        except asyncio.CancelledError:
            self.log.relay_left(relay)
            raise
        finally:
            if self._listening.get(relay) == generation:
                del self._listening[relay]
            if connection is not None:
                connection.close("no longer needed")
        self._on_output(self.channeler.listener_ended(relay, generation))
        self.log.relay_lost(relay, reason, self.channeler.next_attempt(relay))

    async def _dial(self, dial: Dial) -> None:
        began = time.monotonic()
        try:
            connection = await self.connect_relay(dial.relay)
            connection.send(wire.INIT_CONNECTION.encode(Connect(dial.friend)))
            tunnel = await self.open_tunnel(connection, dial.friend)
        except ConnectFailed as error:
            self.counts.failed += 1
            self.log.friend_not_reached(dial.friend, dial.relay, str(error))
            self._on_output(self.channeler.dial_failed(dial.friend, dial.attempt))
            return
        self.counts.setups.observe(time.monotonic() - began)
        link = _FriendLink(self, dial.friend, tunnel)
        self._attach(link, self.channeler.dial_succeeded(dial.friend, dial.attempt, link))


def _is_time_hash(message: bytes) -> bool:
    """
    Whether it is the hash of a tick, which an index server says to everybody, and not somebody who connects.

    Where the one is read as the other, it is well formed, too: both hold 32 bytes. So it is looked at as bytes.
    """
    try:
        said = wire.INDEX_SERVER_TO_CLIENT.decode(message)
    except PeerError:
        return False
    return isinstance(said, TimeHash) and wire.INDEX_SERVER_TO_CLIENT.encode(said) == message
