"""
A connection to a node that is made again whenever it is lost.

What is asked for over a `NodeSession` may be asked for twice: where a connection ends before the answer, the request is
sent again over the next one. All requests of the app protocol allow that, since their ids are the app's.

A node may have several addresses, of which it is at one: that of the process that runs, while others stand by. Each
attempt tries them as `addresses` says, and begins behind the one at which the node was last. So a process that greets
and then says nothing is tried last.

What is followed is followed again on each new connection. `NodeSession.payments` and `NodeSession.invoices` outlive the
connections; while there is none, they say what was so last.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeVar

from offset_crypto.aio import Proxy, Ticker
from offset_crypto.backoff import Backoff
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import (
    ConnectionClosed,
    NodeConnection,
    NodeConnectionError,
    NotAnnounced,
    open_node,
)
from offset_ctrl.connection.history import BEGINNING, HistoryPlace
from offset_ctrl.rules.open_reports import InvoiceReports, OpenReports
from offset_proto.messages.app import (
    AppPermissions,
    AppRequest,
    CreateTransaction,
    ResponseClosePayment,
    TransactionResult,
)
from offset_proto.messages.extensions import Extension, OpenPaymentReport
from offset_proto.messages.history import HistoryPage, ReadHistory
from offset_proto.messages.index import MultiRoute, RequestRoutes
from offset_proto.report_view import ReportView
from offset_proto.types import PaymentId, PublicKey, Uid

__all__ = ["NodeSession", "open_session"]

RECONNECT_TICKS: Final = 30
"""How long a request waits for a connection."""

STANDBY_TICKS: Final = 2
"""Longest pause between attempts where there are several addresses: at one of them somebody takes over soon."""

ATTEMPTS: Final = 3
"""Connections that a request may lose before it is given up: the node may be closing them because of it."""

T = TypeVar("T")


class NodeSession:
    """
    A connection to a node that is made again when it is lost; made by `open_session`.

    Attributes:
        proxy: Through which the node is reached; None: directly.
        permissions: What this app may ask for, as the node said last.
        extensions: What the node can do beyond the original's protocol, as it said last.
        report: The node's report, as last seen.
        version: Counts the changes of the report, and of *unheard*.
        payments, invoices: What is open, once it is followed.
        history_place: How far the history goes, once it is followed.
        on_link: Called with None when there is a connection again, and with the reason when one has ended.
        unheard: Friends that have to speak first, once it is followed.
    """

    permissions: AppPermissions
    extensions: Extension
    report: ReportView

    def __init__(
        self,
        address: str,
        node_public_key: PublicKey,
        app: Identity,
        ticker: Ticker,
        proxy: Proxy | None = None,
        *,
        follows: Iterable[Callable[[NodeConnection], Awaitable[None]]] = (),
        others: Sequence[str] = (),
    ) -> None:
        self._addresses = (address, *others)
        self._node_public_key = node_public_key
        self._app = app
        self._ticker = ticker
        self.proxy = proxy
        self.version = 0
        self.on_link: Callable[[str | None], None] = lambda reason: None
        self.payments: OpenReports[PaymentId, OpenPaymentReport] = OpenReports()
        self.invoices = InvoiceReports()
        self.unheard: set[PublicKey] = set()
        self._connection: NodeConnection | None = None
        self._connected = asyncio.Event()
        self._changed = asyncio.Event()
        self._open_changed = asyncio.Event()
        self.history_place = BEGINNING
        self._history_moved = asyncio.Event()
        self._followed = set(follows)
        self._why = "not connected yet"
        self._transactions: dict[Uid, tuple[CreateTransaction, asyncio.Queue[TransactionResult]]] = {}

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    @property
    def why_away(self) -> str:
        """Why there is no connection, or was none the last time that there was none, in words for a person."""
        inner = self._why.removeprefix("ConnectionError(")  # as stctrl prints it
        return self._why if inner == self._why else inner.removesuffix(")")

    @property
    def tick_seconds(self) -> float:
        """Seconds that a tick lasts, by the ticker of this session."""
        return self._ticker.seconds

    async def keep(self, first: "asyncio.Future[None]") -> None:
        """Stay connected, for ever; *first* tells how the first attempt went."""
        backoff = Backoff(os.urandom) if len(self._addresses) == 1 else Backoff(os.urandom, STANDBY_TICKS)
        while True:
            started = asyncio.get_running_loop().time()
            try:
                async with self._open() as node:
                    self._adopt(node)
                    self.on_link(None)
                    if not first.done():
                        first.set_result(None)
                    await self._follow_again(node)
                    await asyncio.shield(node.closed)
                lived = (asyncio.get_running_loop().time() - started) / self._ticker.seconds
                self._why = "the node closed the connection"
                self.on_link(self._why)
                pause = backoff.after_link(int(lived))
            except NodeConnectionError as error:
                if not first.done():
                    first.set_exception(error)
                    return
                self._why = str(error)
                pause = backoff.after_failure()
            finally:
                self._drop()
            await asyncio.sleep(pause * self._ticker.seconds)

    def _open(self) -> AbstractAsyncContextManager[NodeConnection]:
        address, *others = self._addresses
        return open_node(address, self._node_public_key, self._app, self._ticker, self.proxy, others=others)

    def _adopt(self, node: NodeConnection) -> None:
        behind = self._addresses.index(node.address) + 1
        self._addresses = self._addresses[behind:] + self._addresses[:behind]
        self._connection = node
        self.permissions, self.extensions, self.report = node.permissions, node.extensions, node.report
        node.payments, node.invoices, node.unheard = self.payments, self.invoices, self.unheard
        if Extension.UNHEARD not in self.extensions:
            self.unheard.clear()  # what another version of the node said does not stay
        node.on_report, node.on_open = self._report_changed, self._open_reports_changed
        node.history.on_end = self._history_end_told
        self.invoices.is_stale = True
        self._connected.set()
        self._report_changed()
        for request, results in self._transactions.values():
            node.start_transaction(request, results)

    async def _follow_again(self, node: NodeConnection) -> None:
        for follow in list(self._followed):
            try:
                await follow(node)
            except NotAnnounced:
                pass  # another version of the node has taken over; what is known of old stays
            except ConnectionClosed:
                node.close()  # where it did not answer in time: the next connection has another chance
                return

    def _drop(self) -> None:
        self._connection = None
        self._connected.clear()

    def _report_changed(self) -> None:
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _open_reports_changed(self) -> None:
        changed, self._open_changed = self._open_changed, asyncio.Event()
        changed.set()

    def _history_end_told(self, end: HistoryPlace) -> None:
        self.history_place = end
        moved, self._history_moved = self._history_moved, asyncio.Event()
        moved.set()

    async def history_told(self, seen: int) -> None:
        """Return at once where a history that is followed goes beyond the number *seen*, else when the node tells."""
        if self.history_place.number <= seen:
            await self._history_moved.wait()

    async def follow_history(self, *, attempts: int | None = ATTEMPTS) -> None:
        """
        Have *history_place* set now, and kept up to date for as long as the session lasts.

        *attempts* is as with `insist`.

        Raises:
            NotAnnounced: The node keeps no history.
            NodeConnectionError, ConnectionClosed: As `insist`.
        """
        await self._follow(NodeConnection.follow_history, attempts)

    async def last_entry(self) -> HistoryPlace:
        """*history_place*, followed from the first call on. It may be that of the connection before this one."""
        if NodeConnection.follow_history not in self._followed:
            await self.follow_history()
        return self.history_place

    async def read_history(self, request: ReadHistory, *, attempts: int | None = ATTEMPTS) -> HistoryPage:
        """A page of the history; *attempts* and errors are as with `follow_history`."""
        return await self.insist(lambda node: node.read_history(request), attempts=attempts)

    async def open_changed(self, timeout: float) -> bool:
        """Wait until something was said of *payments* or *invoices*; False: nothing was, for *timeout* seconds."""
        changed = self._open_changed
        try:
            async with asyncio.timeout(timeout):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    @property
    def follows_payments(self) -> bool:
        """Whether *payments* is kept up to date."""
        return NodeConnection.follow_payments in self._followed

    async def follow_payments(self, *, attempts: int | None = ATTEMPTS) -> None:
        """
        Have *payments* filled anew now, and kept up to date for as long as the session lasts.

        *attempts* is as with `insist`.

        Raises:
            NotAnnounced: The node does not tell what is open.
            NodeConnectionError, ConnectionClosed: As `insist`.
        """
        await self._follow(NodeConnection.follow_payments, attempts)

    @property
    def follows_invoices(self) -> bool:
        """Whether *invoices* is kept up to date."""
        return NodeConnection.follow_invoices in self._followed

    async def follow_invoices(self) -> None:
        """Have *invoices* filled anew now, and kept up to date; the rest is as with `follow_payments`."""
        await self._follow(NodeConnection.follow_invoices, ATTEMPTS)

    async def follow_unheard(self) -> None:
        """Have *unheard* filled anew now, and kept up to date; the rest is as with `follow_payments`."""
        await self._follow(NodeConnection.follow_unheard, ATTEMPTS)

    async def _follow(self, follow: Callable[[NodeConnection], Awaitable[None]], attempts: int | None) -> None:
        await self.insist(follow, attempts=attempts)
        self._followed.add(follow)

    async def changed(self, seen: int) -> int:
        """Wait until the report has another version than *seen*; returns which."""
        while self.version == seen:
            await self._changed.wait()
        return self.version

    async def insist(self, step: Callable[[NodeConnection], Awaitable[T]], *, attempts: int | None = ATTEMPTS) -> T:
        """
        Carry *step* out, again on a new connection where one is lost meanwhile.

        Args:
            step: What to do with a connection; raises ConnectionClosed when it is lost.
            attempts: Connections that may be lost; None: any number, and any time without one.

        Raises:
            NodeConnectionError: There is no connection.
            ConnectionClosed: One was lost each time, or the node did not answer.
        """
        lost = 0
        while True:
            node = await self._wait_for_connection(None if attempts is None else RECONNECT_TICKS)
            try:
                return await step(node)
            except ConnectionClosed:
                lost += 1
                node.close()  # where it did not answer in time
                if self._connection is node:
                    self._drop()
                if lost == attempts:
                    raise

    async def _wait_for_connection(self, ticks: int | None) -> NodeConnection:
        try:
            async with asyncio.timeout(None if ticks is None else ticks * self._ticker.seconds):
                await self._connected.wait()
        except TimeoutError:
            places = ", ".join(sorted(self._addresses))
            raise NodeConnectionError(f"no connection to the node at {places}: {self._why}") from None
        assert self._connection is not None
        return self._connection

    async def request(self, request: AppRequest, *, attempts: int | None = ATTEMPTS) -> None:
        """
        Send a request, and wait until the node has processed it; `report` shows what it changed.

        *attempts* is as with `insist`.

        Raises:
            NodeConnectionError, ConnectionClosed: As `insist`.
        """
        await self.insist(lambda node: node.request(request), attempts=attempts)

    async def request_routes(
        self, request: RequestRoutes, *, attempts: int | None = ATTEMPTS
    ) -> tuple[MultiRoute, ...]:
        """
        Ask an index server for routes, by way of the node.

        *attempts* is as with `insist`.

        Raises:
            RoutesUnavailable: The node is not connected to an index server.
            NodeConnectionError, ConnectionClosed: As `insist`.
        """
        return await self.insist(lambda node: node.request_routes(request), attempts=attempts)

    async def close_payment(self, payment_id: PaymentId, *, give_up: bool = False) -> ResponseClosePayment:
        """
        Ask how a payment ended, and wait for its end, however long that takes and whatever connections are lost.

        *give_up* is as with `NodeConnection.close_payment`. Whoever waits for this sets a limit.
        """
        return await self.insist(lambda node: node.close_payment(payment_id, give_up=give_up), attempts=None)

    def start_transaction(self, request: CreateTransaction, results: "asyncio.Queue[TransactionResult]") -> None:
        """Send a transaction, on each new connection again until it is forgotten; its results go to *results*."""
        self._transactions[request.request_id] = (request, results)
        if self._connection is not None and not self._connection.closed.done():
            self._connection.start_transaction(request, results)

    def forget_transaction(self, request_id: Uid) -> None:
        """Its result is known, or does not matter any more."""
        self._transactions.pop(request_id, None)


@asynccontextmanager
async def open_session(
    address: str,
    node_public_key: PublicKey,
    app: Identity,
    ticker: Ticker | None = None,
    proxy: Proxy | None = None,
    *,
    others: Sequence[str] = (),
    follows: Iterable[Callable[[NodeConnection], Awaitable[None]]] = (),
) -> AsyncIterator[NodeSession]:
    """
    Connect an app to its node and keep it connected, for the length of a ``with`` block.

    Args:
        address: ``host:port`` of the node.
        node_public_key: The key that the node must prove.
        app: Identity of the app; the node must trust it.
        ticker: Ticks of the process; by default a new one.
        proxy: The node is reached through it; None: directly.
        others: Further addresses, as with `open_node`.
        follows: What to follow on each connection where the node tells it, such as `NodeConnection.follow_unheard`.
            Nobody waits for its first answer.

    Raises:
        NodeConnectionError: The first attempt failed: not reached, another key, not trusted, or no greeting in time.
    """
    session = NodeSession(address, node_public_key, app, ticker or Ticker(), proxy, follows=follows, others=others)
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    keeping = asyncio.create_task(session.keep(first))
    try:
        await asyncio.wait({first, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            keeping.result()  # raises: a fault of ours
        first.result()
        yield session
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
