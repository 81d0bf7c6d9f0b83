"""
The node: who is told what, in which order. Spec 07 §6, §7.2.

Everything that changes the state goes through one inbox. What waits there is handled, stored as one batch,
and only then made visible, so one disk sync serves all that came meanwhile, and nothing leaves the node
that a crash could take back:

    inbox -> funder -> mutations -> database (durable) -> friends, channeler, apps, index servers

No component waits for another: sending never blocks, and an app or a friend that sends too much is not
read from until the inbox is empty again.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from offset_crypto.aio import Connection, Ticker, serve
from offset_crypto.identity import Identity
from offset_funder.effects import (
    Effect,
    ForgetFriend,
    Occurrence,
    SendFriendMessage,
    SendToApps,
    SetRelays,
    UpdateFriend,
)
from offset_funder.engine import Funder, Outcome
from offset_funder.events import (
    AppRequested,
    Event,
    FriendMessageReceived,
    FriendWentOffline,
    FriendWentOnline,
    Started,
)
from offset_funder.reports import initial_report
from offset_node.apps import server as app_server
from offset_node.apps.connections import AppLinks, NodeEffect
from offset_node.apps.server import AppServer, AskIndexClient, ChangeIndexServers, DeclareCapacities
from offset_node.apps.tickets import TrustedApps
from offset_node.links.channeler import ReportOffline, ReportOnline
from offset_node.links.friends import FriendLinks, LinkEvent
from offset_node.links.index import IndexLink
from offset_node.metrics import NodeCounts
from offset_node.pauses import Pausable, ReadingPauses
from offset_node.plugins.host import PluginHost
from offset_node.plugins.values import forwardings_of
from offset_node.state import (
    AddIndexServer,
    IndexServerMutation,
    NodeState,
    PluginMutation,
    PluginRecords,
    RemoveIndexServer,
    StateMutation,
)
from offset_proto.errors import OffsetError
from offset_proto.limits import APP_HANDSHAKES_MAX
from offset_proto.messages.app import AddIndexServer as AddIndexServerRequest
from offset_proto.messages.app import ClientResponseRoutes, ReportMutations
from offset_proto.messages.friend import FriendMessage
from offset_proto.messages.report import (
    AddIndexServerReport,
    IndexClientMutationReport,
    RemoveIndexServerReport,
    SetConnectedServer,
)
from offset_proto.types import PublicKey

__all__ = ["DatabaseIdentityMismatch", "Node"]

log = logging.getLogger("offset.node")

BATCH_EVENTS_MAX = 256
"""Events that share one disk sync."""

INBOX_EVENTS_MAX = 1024
"""Events that wait before their senders are not read from."""


class DatabaseIdentityMismatch(OffsetError):
    """The database belongs to another identity."""

    def __init__(self) -> None:
        super().__init__("NetNodeError(NodeError(DatabaseIdentityMismatch))")


Item = Event | ChangeIndexServers


class NodeDatabase(Protocol):
    """Where a node keeps its state: SQLite, or the file of the original."""

    async def apply(self, mutations: Iterable[StateMutation | PluginMutation]) -> None:
        """Store a batch, all or nothing; durable when this returns. Raises DatabaseWriteError."""

    async def load_plugins(self) -> PluginRecords:
        """What is kept for plugins."""


class Node:
    """
    A node that runs.

    Args:
        database: Open and loaded.
        state: What was loaded.
        identity: The node's.
        trusted: Directory of app tickets; None: no app comes from outside.
        ticker: Ticks of the process.
        plugins: Started; are stopped by whoever started them.

    Attributes:
        apps: Those that are connected.
        counts: For metrics.

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
    ) -> None:
        if state.funder.local_public_key != identity.public_key:
            raise DatabaseIdentityMismatch
        self.counts = NodeCounts()
        self._plugins = plugins
        self._pauses = ReadingPauses()
        tickets = None if trusted is None else TrustedApps(trusted)
        server = AppServer(initial_report(state.funder, state.index_servers))
        self.apps = AppLinks(server, tickets, plugins, self._pauses, self._perform_for_app)
        self._database = database
        self._identity = identity
        self._ticker = ticker
        self._funder = Funder(state.funder, identity, os.urandom, returns_tokens=True)
        self._links = FriendLinks(identity, ticker, self._link_changed, self._friend_message)
        self._index = IndexLink(state.index_servers, identity, ticker, self._index_connected, self._routes_answered)
        self._inbox: deque[Item] = deque([Started()])
        self._inbox_filled = asyncio.Event()
        self._inbox_filled.set()
        self._judged: dict[Connection, deque[FriendMessageReceived]] = {}

    async def run(self, address: tuple[str, int] | None) -> None:
        """Serve until cancelled, apps at *address* too. Raises OSError where that can not be listened on."""
        async with contextlib.AsyncExitStack() as stack:
            if address is not None:
                listening = serve(
                    *address, self._identity, self._ticker, self.apps.accept, handshakes_max=APP_HANDSHAKES_MAX
                )
                await stack.enter_async_context(listening)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            self._links.start(tasks)
            self._index.start(tasks)
            self.apps.start(tasks)
            self._tasks = tasks
            self._ticker.subscribe(self.apps.look_at_tickets)
            tasks.create_task(self._plugins.run())
            tasks.create_task(self._work())

    # The inbox.

    def _put(self, item: Item, source: Pausable | None = None) -> None:
        self._inbox.append(item)
        self._inbox_filled.set()
        if source is not None and len(self._inbox) > INBOX_EVENTS_MAX:
            self._pauses.pause(source, "inbox")

    async def _work(self) -> None:
        """Handle, store, perform; for ever."""
        while True:
            await self._inbox_filled.wait()
            mutations: list[StateMutation | PluginMutation] = []
            effects: list[Effect] = []
            occurrences: list[Occurrence] = []
            performed: list[ChangeIndexServers] = []
            count = min(len(self._inbox), BATCH_EVENTS_MAX)
            for _ in range(count):
                item = self._inbox.popleft()
                self.counts.events += 1
                if isinstance(item, ChangeIndexServers):
                    mutations.append(_index_mutation(item))
                    performed.append(item)
                    break  # keep the order of effects: what came before it is performed first
                outcome = self._handle(item, hold=count > 1)
                mutations += outcome.mutations
                effects += outcome.effects
                occurrences += outcome.occurrences
            sent = self._funder.send_held()
            mutations += sent.mutations
            effects += sent.effects
            recorded = self._plugins.record(occurrences) if occurrences else []
            if mutations:
                await self._database.apply([*mutations, *recorded])
                self.counts.batches += 1
                self.counts.mutations += len(mutations)
            for effect in effects:
                self._perform(effect)
            for change in performed:
                self._change_index_servers(change)
            if occurrences:
                self._tell(occurrences, recorded)
            self.counts.inbox, self.counts.apps = len(self._inbox), len(self.apps)
            self.counts.friends_online = len(self._funder.online)
            if not self._inbox:
                self._inbox_filled.clear()
                self._pauses.resume_all("inbox")

    def _handle(self, event: Event, *, hold: bool) -> Outcome:
        outcome = self._funder.handle(event, hold=hold)
        if outcome.error is not None:
            self.counts.refused_events += 1
            if isinstance(event, AppRequested):
                log.warning("handle_control_error(): %s", outcome.error)
            else:
                log.warning("dropped an event of a friend: %s", outcome.error)
        for note in outcome.notes:
            log.info("%s", note)
        return outcome

    def _tell(self, occurrences: list[Occurrence], recorded: list[PluginMutation]) -> None:
        for occurrence in occurrences:
            self.counts.occurrences[type(occurrence).__name__] += 1
        self._plugins.tell_occurrences(occurrences, recorded)

    # Effects of the funder.

    def _perform(self, effect: Effect) -> None:
        channeler = self._links.channeler
        match effect:
            case SetRelays(relays):
                self._links.perform(channeler.set_relays(relays))
            case UpdateFriend(public_key, friend_relays, local_relays):
                self._links.perform(channeler.update_friend(public_key, friend_relays, local_relays))
            case ForgetFriend(public_key):
                self._links.perform(channeler.remove_friend(public_key))
            case SendFriendMessage(public_key, message):
                self._links.send(public_key, message)
            case SendToApps(message):
                if isinstance(message, ReportMutations):
                    self.apps.report(message)
                else:
                    self.apps.answer(message)

    def _link_changed(self, event: LinkEvent) -> None:
        match event:
            case ReportOnline(friend):
                self._put(FriendWentOnline(friend))
            case ReportOffline(friend):
                self._put(FriendWentOffline(friend))

    def _friend_message(self, friend: PublicKey, message: FriendMessage, connection: Connection) -> None:
        event = FriendMessageReceived(friend, message)
        if connection in self._judged:
            self._judged[connection].append(event)
        elif self._plugins.judges_forwarding and any(forwardings_of(friend, message)):
            self._judged[connection] = deque([event])
            self._pauses.pause(connection, "plugins")
            self._tasks.create_task(self._judge_forwarding(connection))
        else:
            self._put(event, connection)

    async def _judge_forwarding(self, connection: Connection) -> None:
        """Ask the plugins about the messages that wait on a connection, in order; what came after them waits, too."""
        waiting = self._judged[connection]
        while waiting:
            event = waiting.popleft()
            refused = await self._plugins.judge_forwarding(forwardings_of(event.public_key, event.message))
            if connection.is_closed:
                break  # the friend repeats what we did not answer
            self._put(replace(event, refused=refused), connection)
        del self._judged[connection]
        self._pauses.resume(connection, "plugins")

    # Apps.

    def _perform_for_app(self, effect: NodeEffect, source: Pausable | None) -> None:
        """What the app server asks of others."""
        match effect:
            case app_server.TellFunder(event):
                self._put(event, source)
            case ChangeIndexServers():
                self._put(effect, source)
            case AskIndexClient(request):
                self._index.perform(self._index.client.request_routes(request))
            case DeclareCapacities(mutations):
                self._index.perform(self._index.client.apply_mutations(mutations))

    # Index servers.

    def _change_index_servers(self, change: ChangeIndexServers) -> None:
        """The change is stored: report it, then connect or disconnect. Spec 06 §7.8."""
        client = self._index.client
        match change.request:
            case AddIndexServerRequest(server):
                report = IndexClientMutationReport(AddIndexServerReport(server))
                effects = client.add_server(server)
            case removed:
                report = IndexClientMutationReport(RemoveIndexServerReport(removed.public_key))
                effects = client.remove_server(removed.public_key)
        self.apps.report(ReportMutations(change.app_request_id, (report,)))
        self._index.perform(effects)

    def _index_connected(self, public_key: PublicKey | None) -> None:
        report = IndexClientMutationReport(SetConnectedServer(public_key))
        self.apps.report(ReportMutations(None, (report,)))

    def _routes_answered(self, response: ClientResponseRoutes) -> None:
        self.apps.answer(response)


def _index_mutation(change: ChangeIndexServers) -> IndexServerMutation:
    match change.request:
        case AddIndexServerRequest(server):
            return AddIndexServer(server)
        case removed:
            return RemoveIndexServer(removed.public_key)
