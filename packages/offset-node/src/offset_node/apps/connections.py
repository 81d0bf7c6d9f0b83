"""Shell of the app server: the connections of apps, and who is let in. Spec 07 §1, §3."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from offset_crypto.aio import Receiver
from offset_node.apps.outputs import AppEffect, AppServerOutput, CloseApp, SendToApp
from offset_node.apps.server import AppServer
from offset_node.apps.tickets import TrustedApps
from offset_node.counts import PaymentClock
from offset_node.pauses import Pausable, ReadingPauses
from offset_node.plugins.host import PluginHost
from offset_node.plugins.judging import JudgedMessages
from offset_node.plugins.scope import EVERYTHING, ReportScope
from offset_node.plugins.ticket import NO_PERMISSIONS, add_permissions
from offset_node.plugins.values import App, NotGranted, Refusal, Verdict
from offset_node.tasks import NodeTasks
from offset_node.telling import NodeLog
from offset_proto import wire
from offset_proto.limits import APP_OUTBOX_BYTES_MAX
from offset_proto.messages.app import AppPermissions, AppServerToApp, AppToAppServer, CreatePayment
from offset_proto.messages.extensions import AppGreeting, FollowUnheard, OpenInvoices, OpenPayments, UnheardFriends
from offset_proto.types import PublicKey

__all__ = ["AppConnection", "AppLinks"]


class AppConnection(Pausable, Protocol):
    """A connection whose other end has proved to be an app: a socket, or a program that the node runs in."""

    outbox_bytes_max: int
    close_reason: str

    @property
    def remote_public_key(self) -> PublicKey:
        """The key that the app has proved."""

    def attach(self, receiver: Receiver) -> None:
        """Hand what the app says to *receiver*, what it has said already first."""

    def send(self, message: bytes) -> None:
        """Send an encoded message; this never waits."""

    def close(self, reason: str) -> None:
        """End the connection; *reason* goes to the log."""


@dataclass(eq=False)
class _AppLink:
    """An app's connection; receives its requests."""

    apps: "AppLinks"
    app_id: int
    connection: AppConnection

    def message_received(self, message: bytes) -> None:
        self.apps.requested(self, wire.APP_TO_APP_SERVER.decode(message))

    def connection_closed(self) -> None:
        self.apps.forget(self)


class AppLinks:
    """
    The connections of all apps of a node.

    Args:
        server: Says who is told what.
        trusted: The tickets of apps; None: no app comes from outside.
        plugins: Judge requests, and say what an app gets to see.
        pauses: Keeps track of connections that are not read from.
        on_output: Takes what the app server says, and the connection of the app that caused it. What of it concerns
            connections comes back to `perform`.
        log: Told which apps come and go, and what is refused.
        clock: Told of payments that begin.
        may_speak: Whether anything may be said now; an app is not greeted otherwise.
    """

    def __init__(
        self,
        server: AppServer,
        trusted: TrustedApps | None,
        plugins: PluginHost,
        pauses: ReadingPauses,
        on_output: Callable[[list[AppServerOutput], Pausable | None], None],
        *,
        log: NodeLog,
        clock: PaymentClock | None = None,
        may_speak: Callable[[], bool] = lambda: True,
    ) -> None:
        self.server = server
        self._trusted = trusted
        self._plugins = plugins
        self._on_output = on_output
        self._log = log
        self._clock = clock
        self._may_speak = may_speak
        self._tasks: NodeTasks | None = None
        self._links: dict[int, _AppLink] = {}
        self._judged = JudgedMessages[tuple[_AppLink, AppToAppServer]](pauses, self._judge)
        self._encoded: tuple[AppServerToApp | None, bytes] = (None, b"")  # the last message: reports go to all apps

    def __len__(self) -> int:
        """The number of apps that are connected."""
        return len(self._links)

    def start(self, tasks: NodeTasks) -> None:
        """Ask plugins in *tasks* from now on."""
        self._tasks = tasks

    def accept(self, connection: AppConnection) -> None:
        """Greet an app that has proved its key, or end the connection where it has no ticket."""
        trusted = {} if self._trusted is None else self._trusted.read()
        permissions = trusted.get(connection.remote_public_key)
        if permissions is None:
            self._log.app_refused(connection.remote_public_key, "no ticket of it is in the directory of trusted apps")
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
        if not self._may_speak():
            connection.close("the node ends")
            return
        app_id, snapshot = self.server.open_app(permissions, scope, connection.remote_public_key)
        link = self._links[app_id] = _AppLink(self, app_id, connection)
        greeting = wire.NODE_REPORT.encode(snapshot)
        connection.outbox_bytes_max = APP_OUTBOX_BYTES_MAX + len(greeting)
        connection.send(wire.APP_GREETING.encode(self._greeting(add_permissions(permissions, extra))))
        connection.send(greeting)
        self._log.app_connected(app_id, connection.remote_public_key, permissions)
        self._plugins.tell("offset_app_connected", app=App(connection.remote_public_key, permissions))
        connection.attach(link)

    def _greeting(self, permissions: AppPermissions) -> AppGreeting:
        flags = permissions.routes, permissions.buyer, permissions.seller, permissions.config
        history = permissions.allows("history") and not permissions.config
        return AppGreeting(*flags, extensions=int(self.server.extensions), history=history)

    def look_at_tickets(self) -> None:
        """On each tick: a ticket that was changed or removed counts for the connections that are open, too."""
        if self._trusted is None:
            return
        trusted = self._trusted.read()
        for app_id, link in list(self._links.items()):
            permissions = trusted.get(link.connection.remote_public_key)
            self._on_output(self.server.permissions_changed(app_id, permissions), None)

    def requested(self, link: _AppLink, message: AppToAppServer) -> None:
        """
        A request of an app. Requests of one connection are judged one after the other, in order.

        What belongs to the report is judged as the report is, by its scope, and asks for nothing more.
        """
        if self._plugins.judges_requests and not isinstance(message.app_request, FollowUnheard):
            self._judged.put(link.connection, (link, message), self._spawn)
            return
        app = self._app(link)
        if app is not None:
            self._receive(link, message, self._plugins.judge_by_ticket(app, message.app_request))

    async def _judge(self, request: tuple[_AppLink, AppToAppServer]) -> bool:
        link, message = request
        app = self._app(link)
        if app is None:
            return False
        self._receive(link, message, await self._plugins.judge_request(app, message.app_request))
        return True

    def _receive(self, link: _AppLink, message: AppToAppServer, verdict: Verdict) -> None:
        if isinstance(verdict, Refusal):
            by = "rights" if isinstance(verdict, NotGranted) else "plugins"
            self._log.request_refused(message.app_request, link.connection.remote_public_key, by, verdict.reason)
        request = message.app_request
        if self._clock is not None and isinstance(request, CreatePayment) and not isinstance(verdict, Refusal):
            self._clock.begin(request.payment_id)
        self._on_output(self.server.receive(link.app_id, message, verdict), link.connection)

    def _app(self, link: _AppLink) -> App | None:
        permissions = self.server.permissions_of(link.app_id)
        return None if permissions is None else App(link.connection.remote_public_key, permissions)

    def forget(self, link: _AppLink) -> None:
        """The connection of an app has ended."""
        app = self._app(link)
        self.server.close_app(link.app_id)
        if self._links.pop(link.app_id, None) is not None:
            key, reason = link.connection.remote_public_key, link.connection.close_reason
            self._log.app_disconnected(link.app_id, key, reason)
            permissions = NO_PERMISSIONS if app is None else app.permissions
            self._plugins.tell("offset_app_disconnected", app=App(link.connection.remote_public_key, permissions))

    def perform(self, effect: AppEffect) -> None:
        """Do what the app server asks for; nothing where the app is gone."""
        link = self._links.get(effect.app_id)
        match effect:
            case SendToApp(_, message):
                if self._encoded[0] is not message:
                    self._encoded = (message, wire.APP_SERVER_TO_APP.encode(message))
                if link is not None:
                    if isinstance(message, OpenPayments | OpenInvoices | UnheardFriends) and message.is_snapshot:
                        self._make_room(link.connection, self._encoded[1])
                    link.connection.send(self._encoded[1])
            case CloseApp(_, reason):
                if link is not None:
                    link.connection.close(reason)

    def _make_room(self, connection: AppConnection, snapshot: bytes) -> None:
        """A snapshot has the size of what is open, as the greeting has that of the report; no app is cut off for it."""
        room = APP_OUTBOX_BYTES_MAX + len(snapshot)
        connection.outbox_bytes_max = max(connection.outbox_bytes_max, room)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None
        self._tasks.spawn(work)
