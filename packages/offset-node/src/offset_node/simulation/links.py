"""
The links of a simulated node: to relays, to friends through them, and to an index server.

What `offset_node.links.friends` and `offset_node.links.index` do on sockets is done here on links of `World`: they ask
for what the channeler and the index client want, and tell them what became of it. A tunnel counts as open once both of
its ends have said their keys, as after the handshake inside a real one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from offset_funder.statements import Statements
from offset_index import client as index_client
from offset_node.effects import IndexLinkEffect
from offset_node.engine import NodeEngine
from offset_node.links.channeler import (
    CancelDial,
    ChannelerOutput,
    CloseFriendLink,
    Dial,
    LinkEffect,
    ReportOnline,
    StartListener,
    StopListener,
)
from offset_node.simulation.world import Attempt, Host, LinkEnd, World
from offset_proto.limits import HANDSHAKE_TICKS
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.payment import NamedIndexServerAddress, RelayAddress
from offset_proto.messages.relay import Accept, Connect, IncomingConnection, Listen
from offset_proto.types import PublicKey
from offset_relay.client import AcceptTunnel, Listener, SendReject

__all__ = ["LinkOwner", "NodeLinks"]


class LinkOwner(Host, Protocol):
    """A node, as its links see it."""

    engine: NodeEngine
    life: int

    def after(self, ticks: float, action: Callable[[], object]) -> None:
        """Let something happen later, unless the node has crashed by then."""

    def hear(self, friend: PublicKey, message: FriendMessage) -> None:
        """Take a message of a friend."""

    def follow(self, outputs: list[Any]) -> None:
        """Let the engine pass on what a part of it said."""

    def say(self, end: LinkEnd, message: FriendMessage) -> None:
        """Send a message to a friend."""


@dataclass(eq=False)
class _Tunnel:
    """A tunnel whose two ends prove their keys to each other, as the inner handshake does."""

    links: "NodeLinks"
    end: LinkEnd
    friend: PublicKey
    opened: Callable[["_FriendLink"], object]
    failed: Callable[[], object]
    is_decided: bool = False

    def begin(self) -> None:
        self.end.send(bytes(self.links.node.public_key))
        self.links.node.after(HANDSHAKE_TICKS, self._give_up)
        self.end.attach(self)

    def message_received(self, message: Any) -> None:
        if self.is_decided or message != bytes(self.friend):
            self._give_up()
            return
        self.is_decided = True
        self.opened(_FriendLink(self.links, self.friend, self.end))

    def link_closed(self) -> None:
        self._give_up()

    def _give_up(self) -> None:
        if not self.is_decided:
            self.is_decided = True
            self.end.close()
            self.failed()


@dataclass(eq=False)
class _FriendLink:
    """A live link to a friend."""

    links: "NodeLinks"
    friend: PublicKey
    end: LinkEnd
    said: Statements = field(default_factory=Statements)

    def message_received(self, message: Any) -> None:
        self.links.node.hear(self.friend, message)

    def link_closed(self) -> None:
        self.links.friend_link_closed(self)


@dataclass(eq=False)
class _ListenLink:
    """A listen link at a relay."""

    links: "NodeLinks"
    relay: RelayAddress
    generation: int
    end: LinkEnd
    listener: Listener

    def message_received(self, message: IncomingConnection) -> None:
        self._act(self.listener.receive(message))

    def link_closed(self) -> None:
        self.links.follow(self.links.channeler.listener_ended(self.relay, self.generation))

    def _act(self, effect: AcceptTunnel | SendReject | None) -> None:
        match effect:
            case AcceptTunnel(friend):
                self.links.connect(
                    self.relay,
                    lambda end: self._accept(end, friend),
                    lambda: self._ended(friend, accepted=False),
                )
            case SendReject(message):
                self.end.send(message)
            case None:
                pass

    def _accept(self, end: LinkEnd, friend: PublicKey) -> None:
        end.send(Accept(friend))
        _Tunnel(self.links, end, friend, self._opened, lambda: self._ended(friend, accepted=True)).begin()

    def _opened(self, link: _FriendLink) -> None:
        self.links.attach(link, self.links.channeler.accepted(link.friend, link))
        self._ended(link.friend, accepted=True)

    def _ended(self, friend: PublicKey, *, accepted: bool) -> None:
        self._act(self.listener.accept_ended(friend, accepted=accepted))


@dataclass(eq=False)
class _IndexLink:
    """A link to an index server."""

    links: "NodeLinks"
    number: int
    end: LinkEnd

    def message_received(self, message: Any) -> None:
        self.links.follow(self.links.index.receive(self.number, message))

    def link_closed(self) -> None:
        self.links.follow(self.links.index.link_closed(self.number))


class NodeLinks:
    """
    The links of one life of a node: a crash ends them all.

    Args:
        world: Where the node lives.
        node: Whose links these are; it runs.
    """

    def __init__(self, world: World, node: LinkOwner) -> None:
        self.node = node
        self.channeler = node.engine.channeler
        self.index = node.engine.index
        self._world = world
        self._life = node.life
        self._attempts: dict[int, Attempt] = {}
        self._listen_ends: dict[int, LinkEnd] = {}
        self._friends: dict[PublicKey, _FriendLink] = {}
        self._index_attempt: Attempt | None = None
        self._index_link: _IndexLink | None = None
        self._ends: dict[LinkEnd, None] = {}

    @property
    def _is_over(self) -> bool:
        return self.node.life != self._life

    def follow(self, outputs: list[Any]) -> None:
        """Hand on what the channeler or the index client said, unless the node has crashed since."""
        if not self._is_over:
            self.node.follow(outputs)

    def drop(self) -> None:
        """The node has crashed: it hears nothing more, and the other sides notice."""
        for end in self._ends:
            end.drop()

    def forget_closed(self) -> None:
        """Keep no track of links that are over."""
        self._ends = {end: None for end in self._ends if not end.is_closed}

    def connect(self, server: Any, opened: Callable[[LinkEnd], object], failed: Callable[[], object]) -> Attempt:
        """Open a link to a server, given by its ``address`` and ``public_key``; none of it outlives a crash."""

        def keep(end: LinkEnd) -> None:
            if self._is_over:
                end.cut()
                return
            self._ends[end] = None
            opened(end)

        return self._world.connect(
            server.address, server.public_key, self.node, keep, lambda: None if self._is_over else failed()
        )

    # Friends.

    def perform(self, effect: LinkEffect) -> None:
        """Do what the channeler asks for."""
        match effect:
            case StartListener(relay, generation):
                self._listen(relay, generation)
            case StopListener(number) | CancelDial(number):
                self._stop(number)
            case Dial():
                self._dial(effect)
            case CloseFriendLink(link):
                assert isinstance(link, _FriendLink)
                link.end.close()

    def send(self, friend: PublicKey, message: FriendMessage) -> None:
        """Send to a friend, if there is a link, and if it was not said on this link before."""
        link = self._friends.get(friend)
        if link is not None and link.said.is_news(message):
            self.node.say(link.end, message)

    def attach(self, link: _FriendLink, outputs: list[ChannelerOutput]) -> None:
        """Do as the channeler says of a new link; its messages are read only once the friend was reported as online."""
        if any(isinstance(output, ReportOnline) for output in outputs):
            self._friends[link.friend] = link
        self.follow(outputs)
        if self._friends.get(link.friend) is link:
            link.end.attach(link)

    def friend_link_closed(self, link: _FriendLink) -> None:
        """A link to a friend ended: tell the channeler."""
        self._ends.pop(link.end, None)
        if self._friends.get(link.friend) is link:
            del self._friends[link.friend]
        self.follow(self.channeler.link_closed(link.friend, link))

    def _listen(self, relay: RelayAddress, generation: int) -> None:
        def opened(end: LinkEnd) -> None:
            self._listen_ends[generation] = end
            listener = Listener(lambda friend: self.channeler.is_allowed(relay, friend))
            end.send(Listen())
            end.attach(_ListenLink(self, relay, generation, end, listener))

        def failed() -> None:
            self.follow(self.channeler.listener_ended(relay, generation))

        self._attempts[generation] = self.connect(relay, opened, failed)

    def _dial(self, dial: Dial) -> None:
        def failed() -> None:
            self.follow(self.channeler.dial_failed(dial.friend, dial.attempt))

        def succeeded(link: _FriendLink) -> None:
            self.attach(link, self.channeler.dial_succeeded(dial.friend, dial.attempt, link))

        def opened(end: LinkEnd) -> None:
            end.send(Connect(dial.friend))
            _Tunnel(self, end, dial.friend, succeeded, failed).begin()

        self._attempts[dial.attempt] = self.connect(dial.relay, opened, failed)

    def _stop(self, number: int) -> None:
        attempt = self._attempts.pop(number, None)
        if attempt is not None:
            attempt.cancel()
        end = self._listen_ends.pop(number, None)
        if end is not None:
            end.close()

    # The index server.

    def perform_index(self, effect: IndexLinkEffect) -> None:
        """Do what the index client asks for."""
        match effect:
            case index_client.Connect(number, server):
                self._index_attempt = self._connect_index(number, server)
            case index_client.Disconnect(number):
                self._end_index_attempt(number)
            case index_client.SendToServer(number, message):
                if self._index_link is not None and self._index_link.number == number:
                    self._index_link.end.send(message)

    def _connect_index(self, number: int, server: NamedIndexServerAddress) -> Attempt:
        def opened(end: LinkEnd) -> None:
            self._index_link = _IndexLink(self, number, end)
            end.attach(self._index_link)

        def failed() -> None:
            self.follow(self.index.attempt_failed(number))

        return self.connect(server, opened, failed)

    def _end_index_attempt(self, number: int) -> None:
        if self._index_attempt is not None:
            self._index_attempt.cancel()
        link, self._index_link = self._index_link, None
        if link is not None and link.number == number:
            link.end.close()
