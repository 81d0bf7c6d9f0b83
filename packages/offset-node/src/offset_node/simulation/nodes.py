"""
A node of a simulated network: the engine that stnode runs, on simulated links.

What `offset_node.node` does with sockets and a database is done here with `World`: events wait in the engine's inbox,
a batch of them is stored as one, and only then are its effects performed. A crash can come before the batch is stored,
between storing and performing, or while nothing happens; the node then starts again from what is stored. The entries
of its history are added up, and whenever some were added they come to the balances.
"""

from collections import deque
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

from offset_crypto.identity import Identity
from offset_funder.bookkeeping import Book
from offset_funder.effects import SendFriendMessage
from offset_funder.events import FriendMessageReceived
from offset_funder.state import FunderState
from offset_funder.unheard import forgotten
from offset_index import client as index_client
from offset_node.apps.outputs import CloseApp, ReadPage, SendToApp
from offset_node.batch import NodeEvent
from offset_node.effects import EffectQueue, NodeEffect, TellOccurrences, TellTransactionEnded
from offset_node.engine import NodeEngine, Output
from offset_node.plugins.ticket import ALL_PERMISSIONS
from offset_node.plugins.values import Grant
from offset_node.simulation.links import NodeLinks
from offset_node.simulation.world import LinkEnd, World
from offset_node.state import AddEntry, BeginTimeline, Mutation, NodeState, PluginMutation, SetAsker, SetNote, apply
from offset_proto.errors import InvariantBroken
from offset_proto.messages.app import AppServerToApp, AppToAppServer
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.history import HistoryEnd
from offset_proto.types import PublicKey

__all__ = ["Backup", "Disk", "NodeMonitor", "SimulatedNode"]


@dataclass(frozen=True)
class Backup:
    """What a node had stored at some time, and what the entries of its history came to."""

    stored: NodeState
    book: Book


class NodeMonitor(Protocol):
    """Who looks at a node after each batch."""

    def batch_stored(self, node: "SimulatedNode", mutations: Iterable[Mutation]) -> None:
        """The node stored a batch, and has not performed its effects yet."""

    def message_stored(self, node: "SimulatedNode", sender: PublicKey, message: FriendMessage) -> None:
        """The node has got a message of a friend, and stored what came of it."""

    def restored(self, node: "SimulatedNode") -> None:
        """The node goes on from a backup, and has forgotten what it signed after that."""


class Disk(Protocol):
    """When a node crashes around a batch."""

    def crashes_before_storing(self) -> bool:
        """Whether the batch is lost with the process."""

    def crashes_after_storing(self) -> bool:
        """Whether the batch is kept, and its effects are lost."""


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
        self.asleep_until = 0.0
        self.stored = NodeState(FunderState(identity.public_key))
        self.book = Book()
        self._world = world
        self._identity = identity
        self._monitor = monitor
        self._disk = disk
        self._to_app = to_app
        self.start()

    def start(self) -> None:
        """Run, from what is stored."""
        self.is_up = True
        self.life += 1
        draw, now = self._world.chance.randbytes, int(self._world.now)
        self.engine = NodeEngine(self.stored, self._identity, draw, now=now, history=HistoryEnd(self.book.end, 0))
        self._app_id, _ = self.engine.apps.open_app(ALL_PERMISSIONS)
        self._links = NodeLinks(self._world, self)
        self._effects = EffectQueue(self._perform)
        self._is_working = False
        self._handled = 0
        self._heard: deque[tuple[int, PublicKey, FriendMessage]] = deque()
        self._work_soon()
        self.follow(self.engine.index.start())
        self.after(self._world.chance.random(), self._tick)

    def crash(self, down_ticks: float) -> None:
        """End at once, as a process does that is killed, and start again later."""
        self.is_up = False
        self.life += 1
        self._links.drop()
        self._world.after(down_ticks, self.start)

    def back_up(self) -> Backup:
        """What is stored now."""
        return Backup(self.stored, deepcopy(self.book))

    def restore(self, backup: Backup, down_ticks: float) -> None:
        """Lose the process and the database, and start again later from a backup."""
        self.stored, self.book = backup.stored, deepcopy(backup.book)
        for mutation in forgotten(backup.stored.funder, self._world.chance.randbytes):
            self.stored = apply(self.stored, mutation)
        self._monitor.restored(self)
        if self.is_up:
            self.crash(down_ticks)

    def sleep(self, ticks: float) -> None:
        """Do nothing for a while, as a process does that is stopped; what arrives meanwhile waits."""
        self.asleep_until = max(self.asleep_until, self._world.now + ticks)

    def after(self, ticks: float, action: Callable[[], object]) -> None:
        """Let something happen later, or when the node is awake again, unless it has crashed by then."""
        life = self.life

        def act() -> None:
            if self.life != life:
                return
            if self._world.now < self.asleep_until:
                self._world.after(self.asleep_until - self._world.now, act)
            else:
                action()

        self._world.after(ticks, act)

    def request(self, message: AppToAppServer) -> None:
        """A request of the app; lost where the node is down."""
        if self.is_up:
            self.follow(self.engine.apps.receive(self._app_id, message, Grant()))

    # Batches.

    def put(self, event: NodeEvent) -> None:
        """An event for the engine; lost where the node is down."""
        if self.is_up:
            self.engine.put(event)
            self._work_soon()

    def _work_soon(self) -> None:
        if self.engine.waiting and not self._is_working:
            self._is_working = True
            self.after(self._world.delay() / 10 * self.slowness, self._work)

    def _work(self) -> None:
        self._is_working = False
        waiting = self.engine.waiting
        batch = self.engine.next_batch()
        handled = waiting - self.engine.waiting
        if self._disk.crashes_before_storing():
            self.crash(self._world.chance.uniform(0.5, 5))
            return
        booked = self.book.end
        for mutation in batch.mutations:
            if isinstance(mutation, PluginMutation | BeginTimeline | SetAsker | SetNote):
                raise InvariantBroken("nothing is stored for plugins where there are none, and nobody notes anything")
            if isinstance(mutation, AddEntry):
                entry = mutation.entry
                self.book.add(mutation.number, entry.friend, entry.currency, entry.before, entry.balance)
            else:
                self.stored = apply(self.stored, mutation)
        if self.book.end != booked:
            self.book.check(self.stored.funder)
        self._monitor.batch_stored(self, batch.mutations)
        self._handled += handled
        while self._heard and self._heard[0][0] <= self._handled:
            _, friend, message = self._heard.popleft()
            self._monitor.message_stored(self, friend, message)
        if self._disk.crashes_after_storing():
            self.crash(self._world.chance.uniform(0.5, 5))
            return
        self._effects.perform(self.engine.stored(batch))
        self._work_soon()

    # Effects.

    def follow(self, outputs: Iterable[Output]) -> None:
        """Let the engine pass on what a part of it said, and perform what is left."""
        self._effects.perform(self.engine.follow(outputs))
        self._work_soon()

    def _perform(self, effect: NodeEffect) -> None:
        match effect:
            case SendFriendMessage(friend, message):
                self._links.send(friend, message)
            case SendToApp(_, message):
                self._to_app(self, message)
            case CloseApp(_, reason):
                raise InvariantBroken(f"the app may do everything, and was closed: {reason}")
            case ReadPage():
                raise InvariantBroken("no app of a simulated network reads the history")
            case index_client.Connect() | index_client.Disconnect() | index_client.SendToServer():
                self._links.perform_index(effect)
            case TellOccurrences() | TellTransactionEnded():
                pass  # there are no plugins
            case _:
                self._links.perform(effect)

    def hear(self, friend: PublicKey, message: FriendMessage) -> None:
        """A message of a friend has arrived. It counts once what came of it is stored: a crash before loses it."""
        self.put(FriendMessageReceived(friend, message))
        if self.is_up:
            self._heard.append((self._handled + self.engine.waiting, friend, message))

    def say(self, end: LinkEnd, message: FriendMessage) -> None:
        """Send a message to a friend; a malicious node tampers with it here."""
        end.send(message)

    def _tick(self) -> None:
        self.after(1, self._tick)
        self._links.forget_closed()
        self.engine.tick(int(self._world.now))
        self.follow(self.engine.channeler.tick())
        self.follow(self.engine.index.tick())

    # A node is a host that nobody connects to.

    def accept(self, end: LinkEnd) -> None:
        """Nodes are reached through relays only."""
        end.close()
