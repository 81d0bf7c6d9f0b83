"""
The node at work: the engine of `offset_node.engine` on sockets and a database. Spec 07 §6, §7.2.

Everything that changes the state goes through the engine's inbox. What waits there is handled, stored as one batch,
and only then made visible. So one disk sync serves all that came meanwhile, and nothing leaves the node that a crash
could take back:

    sockets -> engine -> mutations -> database (durable) -> engine -> effects -> sockets

This module waits for events, stores, performs effects in their order, and asks plugins. It decides nothing else.

A database that other machines can reach may be taken over by another node. From then on nothing is said any more, not
even what nothing has to be stored for, and the node ends.

No part waits for another. Sending never blocks. An app or a friend that sends too much is not read from until the
inbox is empty again.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Protocol

import offset_node
from offset_crypto.aio import Connection, Proxy, Ticker, serve
from offset_crypto.identity import Identity
from offset_crypto.supervision import tell_ready
from offset_funder.effects import PaymentFinished, SendFriendMessage
from offset_funder.events import AppRequested, FriendMessageReceived
from offset_funder.state import Inconsistent
from offset_index import client as index_client
from offset_node.apps.connections import AppLinks
from offset_node.apps.outputs import CloseApp, ReadPage, SendToApp
from offset_node.apps.tickets import TrustedApps
from offset_node.batch import Batch
from offset_node.counts import PaymentClock
from offset_node.effects import EffectQueue, NodeEffect, TellOccurrences, TellTransactionEnded
from offset_node.engine import NodeEngine, Output
from offset_node.links.friends import FriendLinks
from offset_node.links.index import IndexLink
from offset_node.pauses import Pausable, ReadingPauses
from offset_node.plugins.host import PluginHost
from offset_node.plugins.judging import JudgedMessages
from offset_node.plugins.values import forwardings_of
from offset_node.state import HistoryScope, Mutation, NodeState
from offset_node.tasks import NodeTasks
from offset_node.telling import NodeLog
from offset_proto.errors import OffsetError
from offset_proto.limits import APP_HANDSHAKES_MAX
from offset_proto.message import replace
from offset_proto.messages.app import CreateTransaction
from offset_proto.messages.extensions import Extension
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.history import HistoryEnd, HistoryPage, ReadHistory
from offset_proto.types import PublicKey

__all__ = ["INBOX_EVENTS_MAX", "DatabaseIdentityMismatch", "Node", "NodeDatabase"]

log = logging.getLogger("offset.node")

INBOX_EVENTS_MAX = 1024
"""Events in the inbox beyond which the connection that sends one more is not read from."""


class DatabaseIdentityMismatch(OffsetError):
    """The database belongs to another identity."""

    def __init__(self) -> None:
        super().__init__("NetNodeError(NodeError(DatabaseIdentityMismatch))")


class NodeDatabase(Protocol):
    """
    Where a node keeps its state: SQLite, PostgreSQL, or the file of the original.

    Attributes:
        extensions: Of the app protocol, for which it has a place.
        history_end: Number of the last entry of the history that was loaded.
    """

    extensions: Extension
    history_end: int

    @property
    def timeline(self) -> int:
        """Which history of the node it is."""

    def is_ours(self) -> bool:
        """Whether what it holds may be acted on, now: nobody else can write it."""

    async def keep(self) -> None:
        """Wait until it is not ours any more; returns where that can not happen. Raises DatabaseWriteError."""

    async def apply(self, mutations: Iterable[Mutation]) -> None:
        """Store a batch, all or nothing; it is durable when this returns. Raises DatabaseWriteError."""

    async def read_history(self, request: ReadHistory, scope: HistoryScope) -> HistoryPage:
        """A page of the entries in *scope*, as far as they are durable; no batch waits for it. Raises LoadDbError."""


class Node:
    """
    A node that runs.

    Args:
        database: Open and loaded.
        state: What was loaded.
        identity: The node's.
        trusted: Directory of app tickets; None: no app comes from outside.
        ticker: Ticks of the process.
        plugins: Started; whoever started them stops them, too.
        proxy: Relays and index servers are reached through it; None: directly.

    Attributes:
        apps: Those that are connected.
        links: Those to friends and relays.
        index: The link to an index server.
        engine: Decides everything.
        counts: For metrics.
        clock: How long payments take.

    Raises:
        DatabaseIdentityMismatch: State and identity do not belong together.
    """

    def __init__(
        self,
        database: NodeDatabase,
        state: NodeState,
        identity: Identity,
        trusted: Path | None,
        ticker: Ticker,
        plugins: PluginHost,
        *,
        proxy: Proxy | None = None,
    ) -> None:
        if state.funder.local_public_key != identity.public_key:
            raise DatabaseIdentityMismatch
        self.engine = engine = NodeEngine(
            state,
            identity,
            os.urandom,
            plugins.record,
            now=int(time.time()),
            extensions=database.extensions,
            history=HistoryEnd(database.history_end, database.timeline),
        )
        self.counts = engine.counts
        self._database = database
        self._identity = identity
        self._ticker = ticker
        self._plugins = plugins
        self._pauses = ReadingPauses()
        self._judged = JudgedMessages[tuple[Connection, FriendMessageReceived]](self._pauses, self._judge_forwarding)
        tickets = None if trusted is None else TrustedApps(trusted)
        self._log = said = NodeLog(self._name_of, time.monotonic)
        self.clock = PaymentClock(time.monotonic)
        self.apps = AppLinks(
            engine.apps,
            tickets,
            plugins,
            self._pauses,
            self._follow,
            log=said,
            clock=self.clock,
            may_speak=database.is_ours,
        )
        self.links = FriendLinks(
            engine.channeler, identity, ticker, self._follow, self._friend_message, log=said, proxy=proxy
        )
        self.index = IndexLink(engine.index, identity, ticker, self._follow, log=said, proxy=proxy)
        self._loaded = _loaded(state)
        self._inbox_filled = asyncio.Event()
        self._inbox_filled.set()
        self._is_inbox_told = False
        self._effects = EffectQueue(self._perform)

    @property
    def ticker(self) -> Ticker:
        """Ticks of the process."""
        return self._ticker

    def missing(self) -> list[str]:
        """What keeps the node from reaching friends or finding routes, a line for each."""
        found = [f"relay {relay.address}: not connected" for relay in self.links.relays_missing]
        if self.index.client.has_servers and not self.index.client.is_connected:
            found.append("no index server is connected")
        return found

    async def run(self, address: tuple[str, int] | None) -> None:
        """Serve until cancelled, and apps at *address*. Raises OSError where that can not be listened on."""
        async with contextlib.AsyncExitStack() as stack:
            if address is not None:
                listening = serve(
                    *address, self._identity, self._ticker, self.apps.accept, handshakes_max=APP_HANDSHAKES_MAX
                )
                self._log.listening(address[0], await stack.enter_async_context(listening))
            self._tell_start()
            stack.callback(self.links.stop)
            stack.callback(self.index.stop)
            stack.callback(self._ticker.unsubscribe, self._tick)
            stack.callback(self._log.end)
            tasks = self._tasks = await stack.enter_async_context(NodeTasks())
            self.links.start(tasks)
            self.index.start(tasks)
            self.apps.start(tasks)
            self._ticker.subscribe(self._tick)
            tasks.spawn(self._plugins.run())
            tasks.spawn(self._database.keep())
            tasks.spawn(self._work())
            if address is not None:  # otherwise it is a part of another program, which speaks for itself
                tell_ready()

    def _tell_start(self) -> None:
        friends = self.engine.funder_state.friends
        channels = ((key, friend.channel) for key, friend in friends.items())
        self._log.started(offset_node.__version__, self._identity.public_key, self._loaded)
        self._log.inconsistent_from_before((key, c) for key, c in channels if isinstance(c, Inconsistent))

    def _name_of(self, friend: PublicKey) -> str | None:
        known = self.engine.funder_state.friends.get(friend)
        return None if known is None else known.name

    def _tick(self) -> None:
        self._log.tick()
        self.apps.look_at_tickets()
        for warning in self.engine.tick(int(time.time())):
            log.error("%s", warning, extra={"cause": warning})  # each of many friends has a line of its own
        self._look_at_inbox(None)

    async def _work(self) -> None:
        """Handle what is in the inbox, store it, make it visible; for ever."""
        engine = self.engine
        while True:
            await self._inbox_filled.wait()
            batch = engine.next_batch()
            self._tell_refused(batch)
            for note in batch.notes:
                log.info("%s", note, extra={"cause": note})
            if batch.mutations:
                began = time.monotonic()
                await self._database.apply(batch.mutations)
                seconds = time.monotonic() - began
                self._log.stored(batch.mutations, seconds)
                self.counts.commits.observe(seconds)
            self._effects.perform(engine.stored(batch))
            self.counts.apps = len(self.apps)
            if not engine.waiting:
                self._inbox_filled.clear()
                self._is_inbox_told = False
                self._pauses.resume_all("inbox")

    def _tell_refused(self, batch: Batch) -> None:
        for event, error in batch.refused:
            match event:
                case AppRequested(request=CreateTransaction() as request, app=app):
                    self._log.transaction_refused(request, app, str(error))
                case AppRequested(request=request, app=app):
                    self._log.request_refused(request, app, "node", str(error))
                case FriendMessageReceived(public_key=friend):
                    self._log.friend_message_refused(friend, str(error))
                case _:
                    log.warning("dropped %s: %s", type(event).__name__, error)

    # Effects.

    def _follow(self, outputs: Iterable[Output], source: Pausable | None = None) -> None:
        """Let the engine pass on what a part of it said; *source* is the connection that caused it."""
        self._effects.perform(self.engine.follow(outputs))
        self._look_at_inbox(source)

    def _look_at_inbox(self, source: Pausable | None) -> None:
        waiting = self.engine.waiting
        if waiting:
            self._inbox_filled.set()
        if source is not None and waiting > INBOX_EVENTS_MAX:
            self.counts.inbox_pauses += 1
            self._pauses.pause(source, "inbox")
            if not self._is_inbox_told:
                self._is_inbox_told = True
                self._log.limit_reached("INBOX_EVENTS_MAX", "whoever sends more is not read from until all is handled")

    def _perform(self, effect: NodeEffect) -> None:
        if not self._database.is_ours():
            return  # another node may have gone on from what is stored: this one says nothing more, and `keep` ends it
        match effect:
            case SendFriendMessage(public_key, message):
                self.links.send(public_key, message)
            case SendToApp() | CloseApp():
                self.apps.perform(effect)
            case ReadPage():
                self._spawn(self._read_page(effect))
            case index_client.Connect() | index_client.Disconnect() | index_client.SendToServer():
                self.index.perform(effect)
            case TellTransactionEnded(result):
                self._plugins.transaction_ended(result)
            case TellOccurrences(occurrences, recorded):
                for occurrence in occurrences:
                    if isinstance(occurrence, PaymentFinished):
                        self.clock.end(occurrence)
                self._plugins.tell_occurrences(occurrences, recorded)
            case _:
                self.links.perform(effect)

    async def _read_page(self, wanted: ReadPage) -> None:
        try:
            page = await self._database.read_history(wanted.request, wanted.scope)
        except OffsetError as error:
            log.error("the history can not be read: %s", error)
            self.apps.perform(CloseApp(wanted.app_id, "no page of the history"))
            return
        self._follow(self.engine.apps.page_read(wanted.app_id, page))

    # Messages of friends.

    def _friend_message(self, friend: PublicKey, message: FriendMessage, connection: Connection) -> None:
        event = FriendMessageReceived(friend, message)
        is_judged = connection in self._judged or (
            self._plugins.judges_forwarding and any(forwardings_of(friend, message))
        )
        if is_judged:
            self._judged.put(connection, (connection, event), self._spawn)
        else:
            self._put(event, connection)

    async def _judge_forwarding(self, judged: tuple[Connection, FriendMessageReceived]) -> bool:
        """Ask the plugins about a message. The friend repeats what came over a connection that has ended by then."""
        connection, event = judged
        refused = await self._plugins.judge_forwarding(forwardings_of(event.public_key, event.message))
        if connection.is_closed:
            return False
        self._put(replace(event, refused=refused), connection)
        return True

    def _put(self, event: FriendMessageReceived, source: Connection) -> None:
        self.engine.put(event)
        self._look_at_inbox(source)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.spawn(work)


def _loaded(state: NodeState) -> dict[str, int]:
    """How many of what a node begins with."""
    friends = state.funder.friends.values()
    return {
        "friends": len(state.funder.friends),
        "inconsistent channels": sum(isinstance(friend.channel, Inconsistent) for friend in friends),
        "relays": len(state.funder.relays),
        "index servers": len(state.index_servers),
    }
