"""The connections of apps: who is let in, what each may ask for, what each is sent. Spec 07 §1, §3."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from offset_crypto.aio import Receiver
from offset_node.apps import server as app_server
from offset_node.apps.server import AppServer
from offset_node.apps.tickets import TrustedApps
from offset_node.pauses import Pausable, ReadingPauses
from offset_node.plugins.host import PluginHost
from offset_node.plugins.scope import EVERYTHING, ReportScope
from offset_node.plugins.ticket import NO_PERMISSIONS, add_permissions
from offset_node.plugins.values import App
from offset_proto import wire
from offset_proto.limits import APP_OUTBOX_BYTES_MAX
from offset_proto.messages.app import (
    AppPermissions,
    AppServerToApp,
    AppToAppServer,
    ClientResponseRoutes,
    ReportMutations,
    ResponseClosePayment,
    TransactionResult,
)
from offset_proto.types import PublicKey

__all__ = ["AppConnection", "AppLinks", "NodeEffect"]

log = logging.getLogger("offset.node")

NodeEffect = (
    app_server.TellFunder | app_server.ChangeIndexServers | app_server.AskIndexClient | app_server.DeclareCapacities
)
"""Effects of the app server that concern others than apps."""


class AppConnection(Pausable, Protocol):
    """A connection whose other end has proved to be an app: a socket, or a program that the node runs in."""

    outbox_bytes_max: int

    @property
    def remote_public_key(self) -> PublicKey:
        """The app's key."""

    def attach(self, receiver: Receiver) -> None:
        """Hand what the app says to *receiver*."""

    def send(self, message: bytes) -> None:
        """Say something; never waits."""

    def close(self, reason: str) -> None:
        """End it."""


@dataclass(eq=False)
class _AppLink:
    """An app's connection; receives its requests."""

    apps: "AppLinks"
    app_id: int
    connection: AppConnection
    waiting: deque[AppToAppServer] = field(default_factory=deque)
    is_judged: bool = False

    def message_received(self, message: bytes) -> None:
        self.apps.requested(self, wire.APP_TO_APP_SERVER.decode(message))

    def connection_closed(self) -> None:
        self.apps.forget(self)


class AppLinks:
    """
    The apps of a node.

    Args:
        server: Says who is told what.
        trusted: Tickets; None: nobody comes from outside.
        plugins: Judge requests, and what an app gets to see.
        pauses: Of reading.
        perform: Carries out what concerns others than apps; told which connection it came from.
    """

    def __init__(
        self,
        server: AppServer,
        trusted: TrustedApps | None,
        plugins: PluginHost,
        pauses: ReadingPauses,
        perform: Callable[[NodeEffect, Pausable | None], None],
    ) -> None:
        self.server = server
        self._trusted = trusted
        self._plugins = plugins
        self._pauses = pauses
        self._perform_elsewhere = perform
        self._tasks: asyncio.TaskGroup | None = None
        self._links: dict[int, _AppLink] = {}

    def __len__(self) -> int:
        return len(self._links)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Whatever takes time runs in *tasks*."""
        self._tasks = tasks

    def accept(self, connection: AppConnection) -> None:
        """An app proved its key."""
        trusted = {} if self._trusted is None else self._trusted.read()
        permissions = trusted.get(connection.remote_public_key)
        if permissions is None:
            connection.close("not a trusted app")
        elif self._plugins.shapes_greetings:
            self._spawn(self._greet(connection, permissions))
        else:
            self.open(connection, permissions)

    async def _greet(self, connection: AppConnection, permissions: AppPermissions) -> None:
        app = App(connection.remote_public_key, permissions)
        scope = await self._plugins.report_scope(app)
        extra = await self._plugins.announced_permissions(app)
        if not connection.is_closed:
            self.open(connection, permissions, scope, extra)

    def open(
        self,
        connection: AppConnection,
        permissions: AppPermissions,
        scope: ReportScope = EVERYTHING,
        extra: AppPermissions = NO_PERMISSIONS,
    ) -> None:
        """
        Greet an app, then listen to it.

        Args:
            connection: Of the app.
            permissions: Of its ticket.
            scope: What it gets to see.
            extra: What plugins may allow it beyond its ticket.
        """
        app_id, snapshot = self.server.open_app(permissions, scope)
        link = self._links[app_id] = _AppLink(self, app_id, connection)
        greeting = wire.NODE_REPORT.encode(snapshot)
        connection.outbox_bytes_max = APP_OUTBOX_BYTES_MAX + len(greeting)
        connection.send(wire.APP_PERMISSIONS.encode(add_permissions(permissions, extra)))
        connection.send(greeting)
        self._plugins.tell("offset_app_connected", app=App(connection.remote_public_key, permissions))
        connection.attach(link)

    def look_at_tickets(self) -> None:
        """On each tick: a ticket that was changed or removed counts for the connections that are open, too."""
        if self._trusted is None:
            return
        trusted = self._trusted.read()
        for app_id, link in list(self._links.items()):
            permissions = trusted.get(link.connection.remote_public_key)
            self.perform(self.server.permissions_changed(app_id, permissions))

    def requested(self, link: _AppLink, message: AppToAppServer) -> None:
        """A request of an app. Requests of one connection are judged one after the other, in order."""
        if not self._plugins.judges_requests:
            app = self._app(link)
            if app is not None:
                verdict = self._plugins.judge_by_ticket(app, message.app_request)
                self.perform(self.server.receive(link.app_id, message, verdict), link.connection)
            return
        link.waiting.append(message)  # what came in one read; no more is read until these are judged
        if not link.is_judged:
            link.is_judged = True
            self._pauses.pause(link.connection, "plugins")
            self._spawn(self._judge(link))

    async def _judge(self, link: _AppLink) -> None:
        while link.waiting:
            message = link.waiting.popleft()
            app = self._app(link)
            if app is None:
                break
            verdict = await self._plugins.judge_request(app, message.app_request)
            self.perform(self.server.receive(link.app_id, message, verdict), link.connection)
        link.is_judged = False
        self._pauses.resume(link.connection, "plugins")

    def _app(self, link: _AppLink) -> App | None:
        permissions = self.server.permissions_of(link.app_id)
        return None if permissions is None else App(link.connection.remote_public_key, permissions)

    def forget(self, link: _AppLink) -> None:
        """An app's connection ended."""
        app = self._app(link)
        self.server.close_app(link.app_id)
        if self._links.pop(link.app_id, None) is not None:
            permissions = NO_PERMISSIONS if app is None else app.permissions
            self._plugins.tell("offset_app_disconnected", app=App(link.connection.remote_public_key, permissions))

    def perform(self, effects: list[app_server.Effect], source: Pausable | None = None) -> None:
        """Carry out what the app server asks for; *source* is the connection of the app that caused it."""
        last: tuple[AppServerToApp | None, bytes] = (None, b"")  # reports go to all apps
        for effect in effects:
            match effect:
                case app_server.SendToApp(app_id, message):
                    if last[0] is not message:
                        last = (message, wire.APP_SERVER_TO_APP.encode(message))
                    link = self._links.get(app_id)
                    if link is not None:
                        link.connection.send(last[1])
                case app_server.CloseApp(app_id, reason):
                    log.warning("%s", reason)
                    link = self._links.get(app_id)
                    if link is not None:
                        link.connection.close(reason)
                case _:
                    self._perform_elsewhere(effect, source)

    def report(self, message: ReportMutations) -> None:
        """The report of the node has changed, or a request is acknowledged."""
        self.perform(self.server.report(message))

    def answer(self, message: TransactionResult | ResponseClosePayment | ClientResponseRoutes) -> None:
        """There is a result for the app that waits for it."""
        if isinstance(message, TransactionResult):
            self._plugins.transaction_ended(message)
        self.perform(self.server.answer(message))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None
        self._tasks.create_task(work)
