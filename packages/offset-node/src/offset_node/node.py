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
import logging
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from offset_crypto.aio import Connection, Ticker, serve
from offset_crypto.identity import Identity
from offset_funder.effects import Effect, ForgetFriend, SendFriendMessage, SendToApps, SetRelays, UpdateFriend
from offset_funder.engine import Funder
from offset_funder.events import (
    AppRequested,
    Event,
    FriendMessageReceived,
    FriendWentOffline,
    FriendWentOnline,
    Started,
)
from offset_funder.mutations import Mutation
from offset_funder.reports import initial_report
from offset_node import app_server
from offset_node.app_server import AppServer, AskIndexClient, ChangeIndexServers, DeclareCapacities
from offset_node.channeler import ReportOffline, ReportOnline
from offset_node.index_link import IndexLink
from offset_node.links import FriendLinks, LinkEvent
from offset_node.rust_database import NodeState
from offset_node.storage import Database
from offset_node.tables import AddIndexServer, IndexServerMutation, RemoveIndexServer
from offset_node.trusted_apps import TrustedApps
from offset_proto import wire
from offset_proto.errors import OffsetError
from offset_proto.limits import APP_HANDSHAKES_MAX, APP_OUTBOX_BYTES_MAX
from offset_proto.messages.app import AddIndexServer as AddIndexServerRequest
from offset_proto.messages.app import AppServerToApp, ClientResponseRoutes, ReportMutations
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


@dataclass(eq=False)
class _AppLink:
    """An app's connection; receives its requests."""

    node: "Node"
    app_id: int
    connection: Connection

    def message_received(self, message: bytes) -> None:
        received = wire.APP_TO_APP_SERVER.decode(message)
        self.node.perform_apps(self.node.apps.receive(self.app_id, received), self.connection)

    def connection_closed(self) -> None:
        self.node.app_closed(self)


class Node:
    """
    A node that runs.

    Args:
        database: Open and loaded.
        state: What was loaded.
        identity: The node's.
        trusted: Directory of app tickets.
        ticker: Ticks of the process.

    Raises:
        DatabaseIdentityMismatch: State and identity do not belong together.
    """

    def __init__(self, database: Database, state: NodeState, identity: Identity, trusted: Path, ticker: Ticker) -> None:
        if state.funder.local_public_key != identity.public_key:
            raise DatabaseIdentityMismatch
        self.apps = AppServer(initial_report(state.funder, state.index_servers))
        self._database = database
        self._identity = identity
        self._trusted = TrustedApps(trusted)
        self._ticker = ticker
        self._funder = Funder(state.funder, identity, os.urandom)
        self._links = FriendLinks(identity, ticker, self._link_changed, self._friend_message)
        self._index = IndexLink(state.index_servers, identity, ticker, self._index_connected, self._routes_answered)
        self._app_links: dict[int, _AppLink] = {}
        self._inbox: deque[Item] = deque([Started()])
        self._inbox_filled = asyncio.Event()
        self._inbox_filled.set()
        self._paused: dict[Connection, None] = {}

    async def run(self, address: tuple[str, int]) -> None:
        """Serve until cancelled. Raises OSError where the address can not be listened on."""
        async with (
            serve(
                *address,
                self._identity,
                self._ticker,
                self._accept_app,
                handshakes_max=APP_HANDSHAKES_MAX,
            ),
            asyncio.TaskGroup() as tasks,
        ):
            self._links.start(tasks)
            self._index.start(tasks)
            self._ticker.subscribe(self._look_at_tickets)
            tasks.create_task(self._work())

    # The inbox.

    def _put(self, item: Item, source: Connection | None = None) -> None:
        self._inbox.append(item)
        self._inbox_filled.set()
        if source is not None and len(self._inbox) > INBOX_EVENTS_MAX and not source.is_closed:
            self._paused[source] = None
            source.pause_reading()

    async def _work(self) -> None:
        """Handle, store, perform; for ever."""
        while True:
            await self._inbox_filled.wait()
            mutations: list[Mutation | IndexServerMutation] = []
            effects: list[Effect] = []
            performed: list[ChangeIndexServers] = []
            for _ in range(min(len(self._inbox), BATCH_EVENTS_MAX)):
                item = self._inbox.popleft()
                if isinstance(item, ChangeIndexServers):
                    mutations.append(_index_mutation(item))
                    performed.append(item)
                    break  # keep the order of effects: what came before it is performed first
                outcome = self._handle(item)
                mutations += outcome[0]
                effects += outcome[1]
            if mutations:
                await self._database.apply(mutations)
            for effect in effects:
                self._perform(effect)
            for change in performed:
                self._change_index_servers(change)
            if not self._inbox:
                self._inbox_filled.clear()
                self._resume_sources()

    def _handle(self, event: Event) -> tuple[tuple[Mutation, ...], tuple[Effect, ...]]:
        outcome = self._funder.handle(event)
        if outcome.error is not None:
            if isinstance(event, AppRequested):
                log.warning("handle_control_error(): %s", outcome.error)
            else:
                log.warning("dropped an event of a friend: %s", outcome.error)
        for note in outcome.notes:
            log.info("%s", note)
        return outcome.mutations, outcome.effects

    def _resume_sources(self) -> None:
        paused, self._paused = self._paused, {}
        for connection in paused:
            if not connection.is_closed:
                connection.resume_reading()

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
                    self.perform_apps(self.apps.report(message))
                else:
                    self.perform_apps(self.apps.answer(message))

    def _link_changed(self, event: LinkEvent) -> None:
        match event:
            case ReportOnline(friend):
                self._put(FriendWentOnline(friend))
            case ReportOffline(friend):
                self._put(FriendWentOffline(friend))

    def _friend_message(self, friend: PublicKey, message: FriendMessage, connection: Connection) -> None:
        self._put(FriendMessageReceived(friend, message), connection)

    # Apps.

    def _accept_app(self, connection: Connection) -> None:
        permissions = self._trusted.read().get(connection.remote_public_key)
        if permissions is None:
            connection.close("not a trusted app")
            return
        app_id, snapshot = self.apps.open_app(permissions)
        link = self._app_links[app_id] = _AppLink(self, app_id, connection)
        greeting = wire.NODE_REPORT.encode(snapshot)
        connection.outbox_bytes_max = APP_OUTBOX_BYTES_MAX + len(greeting)
        connection.send(wire.APP_PERMISSIONS.encode(permissions))
        connection.send(greeting)
        connection.attach(link)

    def _look_at_tickets(self) -> None:
        """On each tick: a ticket that was changed or removed counts for the connections that are open, too."""
        trusted = self._trusted.read()
        for app_id, link in list(self._app_links.items()):
            permissions = trusted.get(link.connection.remote_public_key)
            self.perform_apps(self.apps.permissions_changed(app_id, permissions))

    def app_closed(self, link: _AppLink) -> None:
        """An app's connection ended."""
        self.apps.close_app(link.app_id)
        self._app_links.pop(link.app_id, None)

    def perform_apps(self, effects: list[app_server.Effect], source: Connection | None = None) -> None:
        """Carry out what the app server asks for; *source* is the connection of the app that caused it."""
        last: tuple[AppServerToApp | None, bytes] = (None, b"")  # reports go to all apps
        for effect in effects:
            match effect:
                case app_server.SendToApp(app_id, message):
                    if last[0] is not message:
                        last = (message, wire.APP_SERVER_TO_APP.encode(message))
                    link = self._app_links.get(app_id)
                    if link is not None:
                        link.connection.send(last[1])
                case app_server.CloseApp(app_id, reason):
                    log.warning("%s", reason)
                    link = self._app_links.get(app_id)
                    if link is not None:
                        link.connection.close(reason)
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
        self.perform_apps(self.apps.report(ReportMutations(change.app_request_id, (report,))))
        self._index.perform(effects)

    def _index_connected(self, public_key: PublicKey | None) -> None:
        report = IndexClientMutationReport(SetConnectedServer(public_key))
        self.perform_apps(self.apps.report(ReportMutations(None, (report,))))

    def _routes_answered(self, response: ClientResponseRoutes) -> None:
        self.perform_apps(self.apps.answer(response))


def _index_mutation(change: ChangeIndexServers) -> IndexServerMutation:
    match change.request:
        case AddIndexServerRequest(server):
            return AddIndexServer(server)
        case removed:
            return RemoveIndexServer(removed.public_key)
