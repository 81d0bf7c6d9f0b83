"""
A node of a simulated network: the engines that stnode runs, in the same order, on simulated links.

What `offset_node.node`, `links` and `index_link` do with sockets and SQLite is done here with `World`: events
wait in an inbox, a batch of them is stored as one, and only then its effects are performed. A crash can come
before the batch is stored, between storing and performing, or while nothing happens.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from offset_crypto.identity import Identity
from offset_funder import effects as funder_effects
from offset_funder.engine import Funder
from offset_funder.events import Event, FriendMessageReceived, FriendWentOffline, FriendWentOnline, Started
from offset_funder.mutations import Mutation, apply
from offset_funder.reports import initial_report
from offset_funder.state import FunderState
from offset_funder.statements import Statements
from offset_index import client as index_client
from offset_node.apps import server as app_server
from offset_node.apps.server import AppServer
from offset_node.links import channeler as channels
from offset_node.plugins.values import Grant
from offset_node.simulation.world import Attempt, LinkEnd, World
from offset_node.state import NodeState
from offset_proto.limits import HANDSHAKE_TICKS
from offset_proto.messages.app import (
    AddIndexServer,
    AppPermissions,
    AppServerToApp,
    AppToAppServer,
    ClientResponseRoutes,
    ReportMutations,
)
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.relay import Accept, Connect, IncomingConnection, Listen
from offset_proto.messages.report import AddIndexServerReport, IndexClientMutationReport, SetConnectedServer
from offset_proto.types import PublicKey
from offset_relay.client import AcceptTunnel, Listener, SendReject

__all__ = ["Disk", "NodeMonitor", "SimulatedNode"]

EVERYTHING = AppPermissions(routes=True, buyer=True, seller=True, config=True)

Item = Event | app_server.ChangeIndexServers


class NodeMonitor(Protocol):
    """Who looks at a node after each batch."""

    def batch_stored(self, node: "SimulatedNode", mutations: list[Mutation]) -> None:
        """The node stored a batch, and has not performed its effects yet."""


class Disk(Protocol):
    """When a node crashes around a batch."""

    def crashes_before_storing(self) -> bool:
        """Whether the batch is lost with the process."""

    def crashes_after_storing(self) -> bool:
        """Whether the batch is kept, and its effects are lost."""


@dataclass(eq=False)
class _Tunnel:
    """A tunnel whose two ends prove their keys to each other, as the inner handshake does."""

    node: "SimulatedNode"
    end: LinkEnd
    friend: PublicKey
    opened: Callable[["_FriendLink"], object]
    failed: Callable[[], object]
    is_decided: bool = False

    def begin(self) -> None:
        self.end.send(bytes(self.node.public_key))
        self.node.after(HANDSHAKE_TICKS, self._give_up)
        self.end.attach(self)

    def message_received(self, message: Any) -> None:
        if self.is_decided or message != bytes(self.friend):
            self._give_up()
            return
        self.is_decided = True
        self.opened(_FriendLink(self.node, self.friend, self.end))

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

    node: "SimulatedNode"
    friend: PublicKey
    end: LinkEnd
    said: Statements = field(default_factory=Statements)

    def message_received(self, message: Any) -> None:
        self.node.put(FriendMessageReceived(self.friend, message))

    def link_closed(self) -> None:
        self.node.friend_link_closed(self)


@dataclass(eq=False)
class _ListenLink:
    """A listen link at a relay."""

    node: "SimulatedNode"
    relay: RelayAddress
    generation: int
    end: LinkEnd
    listener: Listener

    def message_received(self, message: IncomingConnection) -> None:
        self._act(self.listener.receive(message))

    def link_closed(self) -> None:
        self.node.perform_channels(self.node.channeler.listener_ended(self.relay, self.generation))

    def _act(self, effect: AcceptTunnel | SendReject | None) -> None:
        match effect:
            case AcceptTunnel(friend):
                self.node.connect(
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
        _Tunnel(self.node, end, friend, self._opened, lambda: self._ended(friend, accepted=True)).begin()

    def _opened(self, link: _FriendLink) -> None:
        self.node.attach(link, self.node.channeler.accepted(link.friend, link))
        self._ended(link.friend, accepted=True)

    def _ended(self, friend: PublicKey, *, accepted: bool) -> None:
        self._act(self.listener.accept_ended(friend, accepted=accepted))


@dataclass(eq=False)
class _IndexAttempt:
    """A link to an index server."""

    node: "SimulatedNode"
    number: int
    end: LinkEnd

    def message_received(self, message: Any) -> None:
        self.node.perform_index(self.node.index.receive(self.number, message))

    def link_closed(self) -> None:
        self.node.perform_index(self.node.index.link_closed(self.number))


class SimulatedNode:
    """
    A node with one app.

    Args:
        world: Where it lives.
        identity: Its keys.
        monitor: Looks at each batch.
        disk: When it crashes around a batch.
        to_app: Told each message for the app.
    """

    def __init__(
        self,
        world: World,
        identity: Identity,
        monitor: NodeMonitor,
        disk: Disk,
        to_app: Callable[["SimulatedNode", AppServerToApp], object],
    ) -> None:
        self.public_key = identity.public_key
        self.is_up = False
        self.slowness = 1.0
        self.life = 0
        self.stored = NodeState(FunderState(identity.public_key))
        self._world = world
        self._identity = identity
        self._monitor = monitor
        self._disk = disk
        self._to_app = to_app
        self.start()

    def start(self) -> None:
        """Run, from what is stored."""
        world, funder_state = self._world, self.stored.funder
        self.is_up = True
        self.life += 1
        self.funder = Funder(funder_state, self._identity, world.chance.randbytes, returns_tokens=True)
        self.channeler = channels.Channeler(self.public_key, world.chance.randbytes)
        self.index = index_client.IndexClient(self.stored.index_servers, self._identity, world.chance.randbytes)
        self.apps = AppServer(initial_report(funder_state, self.stored.index_servers))
        self._app_id, _ = self.apps.open_app(EVERYTHING)
        self._inbox: deque[Item] = deque()
        self._is_working = False
        self._attempts: dict[int, Attempt] = {}
        self._listen_ends: dict[int, LinkEnd] = {}
        self._links: dict[PublicKey, _FriendLink] = {}
        self._index_attempt: Attempt | None = None
        self._index_link: _IndexAttempt | None = None
        self._ends: dict[LinkEnd, None] = {}
        self.put(Started())
        self.perform_index(self.index.start())
        self.after(world.chance.random(), self._tick)

    def crash(self, down_ticks: float) -> None:
        """kill -9, and start again later."""
        self.is_up = False
        self.life += 1
        for end in self._ends:
            end.drop()
        self._world.after(down_ticks, self.start)

    def after(self, ticks: float, action: Callable[[], object]) -> None:
        """Let something happen later, unless the node has crashed by then."""
        life = self.life

        def act() -> None:
            if self.life == life:
                action()

        self._world.after(ticks, act)

    def request(self, message: AppToAppServer) -> None:
        """A request of the app; lost where the node is down."""
        if self.is_up:
            self.perform_apps(self.apps.receive(self._app_id, message, Grant()))

    # The inbox.

    def put(self, item: Item) -> None:
        """Something is to be handled."""
        if not self.is_up:
            return
        self._inbox.append(item)
        if not self._is_working:
            self._is_working = True
            self.after(self._world.delay() / 10 * self.slowness, self._work)

    def _work(self) -> None:
        self._is_working = False
        if self._disk.crashes_before_storing():
            self.crash(self._world.chance.uniform(0.5, 5))
            return
        mutations: list[Mutation] = []
        effects: list[funder_effects.Effect] = []
        changes: list[app_server.ChangeIndexServers] = []
        hold = len(self._inbox) > 1
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, app_server.ChangeIndexServers):
                changes.append(item)
                continue
            outcome = self.funder.handle(item, hold=hold)
            mutations += outcome.mutations
            effects += outcome.effects
        sent = self.funder.send_held()
        mutations += sent.mutations
        effects += sent.effects
        self._store(mutations, changes)
        self._monitor.batch_stored(self, mutations)
        if self._disk.crashes_after_storing():
            self.crash(self._world.chance.uniform(0.5, 5))
            return
        for effect in effects:
            self._perform(effect)
        for change in changes:
            self._add_index_server(change)

    def _store(self, mutations: list[Mutation], changes: list[app_server.ChangeIndexServers]) -> None:
        funder = self.stored.funder
        for mutation in mutations:
            funder = apply(funder, mutation)
        servers = self.stored.index_servers
        for change in changes:
            if isinstance(change.request, AddIndexServer):
                servers = (*servers, change.request.server)
        self.stored = replace(self.stored, funder=funder, index_servers=servers)

    def _perform(self, effect: funder_effects.Effect) -> None:
        match effect:
            case funder_effects.SetRelays(relays):
                self.perform_channels(self.channeler.set_relays(relays))
            case funder_effects.UpdateFriend(friend, friend_relays, local_relays):
                self.perform_channels(self.channeler.update_friend(friend, friend_relays, local_relays))
            case funder_effects.ForgetFriend(friend):
                self.perform_channels(self.channeler.remove_friend(friend))
            case funder_effects.SendFriendMessage(friend, message):
                link = self._links.get(friend)
                if link is not None and link.said.is_news(message):
                    self.say(link.end, message)
            case funder_effects.SendToApps(ReportMutations() as report):
                self.perform_apps(self.apps.report(report))
            case funder_effects.SendToApps(result) if not isinstance(result, ReportMutations):
                self.perform_apps(self.apps.answer(result))

    def say(self, end: LinkEnd, message: FriendMessage) -> None:
        """Send to a friend. A node that means no good does something else here."""
        end.send(message)

    # Apps and index servers.

    def perform_apps(self, effects: list[app_server.Effect]) -> None:
        """Carry out what the app server asks for."""
        for effect in effects:
            match effect:
                case app_server.SendToApp(_, message):
                    self._to_app(self, message)
                case app_server.TellFunder(event):
                    self.put(event)
                case app_server.ChangeIndexServers():
                    self.put(effect)
                case app_server.AskIndexClient(request):
                    self.perform_index(self.index.request_routes(request))
                case app_server.DeclareCapacities(mutations):
                    self.perform_index(self.index.apply_mutations(mutations))
                case app_server.CloseApp(_, reason):
                    raise AssertionError(reason)

    def _add_index_server(self, change: app_server.ChangeIndexServers) -> None:
        if isinstance(change.request, AddIndexServer):
            server = change.request.server
            report = IndexClientMutationReport(AddIndexServerReport(server))
            self.perform_apps(self.apps.report(ReportMutations(change.app_request_id, (report,))))
            self.perform_index(self.index.add_server(server))

    def perform_index(self, effects: list[index_client.Effect]) -> None:
        """Carry out what the index client asks for."""
        for effect in effects:
            match effect:
                case index_client.Connect(number, server):
                    self._index_attempt = self._connect_index(number, server)
                case index_client.Disconnect(number):
                    self._end_index_attempt(number)
                case index_client.SendToServer(number, message):
                    if self._index_link is not None and self._index_link.number == number:
                        self._index_link.end.send(message)
                case index_client.ConnectedServerChanged(public_key):
                    report = IndexClientMutationReport(SetConnectedServer(public_key))
                    self.perform_apps(self.apps.report(ReportMutations(None, (report,))))
                case index_client.RespondRoutes(ClientResponseRoutes() as response):
                    self.perform_apps(self.apps.answer(response))

    def _connect_index(self, number: int, server: Any) -> Attempt:
        def opened(end: LinkEnd) -> None:
            self._index_link = _IndexAttempt(self, number, end)
            end.attach(self._index_link)

        def failed() -> None:
            self.perform_index(self.index.attempt_failed(number))

        return self.connect(server, opened, failed)

    def _end_index_attempt(self, number: int) -> None:
        if self._index_attempt is not None:
            self._index_attempt.cancel()
        link, self._index_link = self._index_link, None
        if link is not None and link.number == number:
            link.end.close()

    # Links.

    def connect(self, server: Any, opened: Callable[[LinkEnd], object], failed: Callable[[], object]) -> Attempt:
        """Open a link to a server, given by its ``address`` and ``public_key``; none of it outlives a crash."""
        life = self.life

        def keep(end: LinkEnd) -> None:
            if self.life != life:
                end.cut()
                return
            self._ends[end] = None
            opened(end)

        return self._world.connect(
            server.address, server.public_key, self, keep, lambda: None if self.life != life else failed()
        )

    def perform_channels(self, effects: list[channels.Effect]) -> None:
        """Carry out what the channeler asks for."""
        for effect in effects:
            match effect:
                case channels.StartListener(relay, generation):
                    self._listen(relay, generation)
                case channels.StopListener(number) | channels.CancelDial(number):
                    self._stop(number)
                case channels.Dial():
                    self._dial(effect)
                case channels.CloseFriendLink(_FriendLink() as link):
                    link.end.close()
                case channels.ReportOnline(friend):
                    self.put(FriendWentOnline(friend))
                case channels.ReportOffline(friend):
                    self.put(FriendWentOffline(friend))

    def attach(self, link: _FriendLink, effects: list[channels.Effect]) -> None:
        """Follow the channeler's verdict on a new link; messages are read only once Online was reported."""
        if any(isinstance(effect, channels.ReportOnline) for effect in effects):
            self._links[link.friend] = link
        self.perform_channels(effects)
        if self._links.get(link.friend) is link:
            link.end.attach(link)

    def friend_link_closed(self, link: _FriendLink) -> None:
        """A link to a friend ended."""
        self._ends.pop(link.end, None)
        if self._links.get(link.friend) is link:
            del self._links[link.friend]
        if self.is_up:
            self.perform_channels(self.channeler.link_closed(link.friend, link))

    def _listen(self, relay: RelayAddress, generation: int) -> None:
        def opened(end: LinkEnd) -> None:
            self._listen_ends[generation] = end
            listener = Listener(lambda friend: self.channeler.is_allowed(relay, friend))
            end.send(Listen())
            end.attach(_ListenLink(self, relay, generation, end, listener))

        def failed() -> None:
            self.perform_channels(self.channeler.listener_ended(relay, generation))

        self._attempts[generation] = self.connect(relay, opened, failed)

    def _dial(self, dial: channels.Dial) -> None:
        def failed() -> None:
            self.perform_channels(self.channeler.dial_failed(dial.friend, dial.attempt))

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

    def _tick(self) -> None:
        self.after(1, self._tick)
        self._ends = {end: None for end in self._ends if not end.is_closed}
        self.perform_channels(self.channeler.tick())
        self.perform_index(self.index.tick())

    # A node is a host that nobody connects to.

    def accept(self, end: LinkEnd) -> None:
        """Nodes are reached through relays only."""
        end.close()
