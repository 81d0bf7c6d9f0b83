"""
A connection of an app to its node. Spec 07 §5.

One receiver dispatches what arrives: the report is kept up to date, acknowledgements and results go to whoever waits
for their id, and nothing is thrown away while something else is awaited (D57). Every wait has a time limit, except the
one for the end of a payment, which may take as long as the seller likes: whoever waits for that sets a limit.

A request of an extension is sent only to a node that has announced the extension (spec 12 §1); `NodeConnection.request`
sees to it, so that no caller can forget it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from offset_crypto.aio import ConnectFailed, Connection, Proxy, Ticker, connect
from offset_crypto.identity import Identity
from offset_ctrl.connection.addresses import first_to_greet
from offset_ctrl.connection.announced import NotAnnounced, check_announced
from offset_ctrl.connection.errors import ConnectionClosed, NodeConnectionError, RoutesUnavailable
from offset_ctrl.connection.greeting import Greeting
from offset_ctrl.connection.history import HistoryFeed, HistoryPlace
from offset_ctrl.rules.open_reports import InvoiceReports, OpenReports, apply_payments
from offset_proto import wire
from offset_proto.errors import PeerError
from offset_proto.limits import APP_ACK_TICKS, APP_GREETING_TICKS, INDEX_REQUEST_TICKS
from offset_proto.messages.app import (
    AppPermissions,
    AppRequest,
    AppServerToApp,
    AppToAppServer,
    ClientResponseRoutes,
    CreateTransaction,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFailure,
    RoutesFound,
    TransactionResult,
)
from offset_proto.messages.extensions import (
    Extension,
    FollowInvoices,
    FollowPayments,
    FollowUnheard,
    GiveUpPayment,
    OpenInvoices,
    OpenPaymentReport,
    OpenPayments,
    UnheardFriends,
)
from offset_proto.messages.history import FollowHistory, HistoryEnd, HistoryPage, ReadHistory
from offset_proto.messages.index import MultiRoute, RequestRoutes
from offset_proto.messages.report import NodeReportMutation
from offset_proto.report_view import ReportView
from offset_proto.types import PaymentId, PublicKey, Uid

__all__ = [
    "ConnectionClosed",
    "NodeConnection",
    "NodeConnectionError",
    "NotAnnounced",
    "RoutesUnavailable",
    "open_node",
]

REPORT_FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of a node that we chose to trust; its report grows with its friends."""

T = TypeVar("T")


class NodeConnection:
    """
    An open connection; made by `open_node`.

    Attributes:
        address: Where the node was reached.
        permissions: What this app may ask for.
        extensions: What the node can do beyond the original's protocol.
        report: The node's report, kept up to date.
        payments, invoices: What is open, kept up to date once it is followed; see `follow_payments`.
        history: What the node says of its history.
        unheard: Friends that have to speak first, kept up to date once it is followed; see `follow_unheard`.
        closed: Done when the connection is over.
        on_report: Called after each change of the report, or of *unheard*.
        on_open: Called after each change of *payments* or *invoices*.
    """

    def __init__(self, connection: Connection, ticker: Ticker, address: str) -> None:
        self.address = address
        self._connection = connection
        self._ticker = ticker
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._greeting = Greeting(self._dispatch)
        self._acks: dict[Uid, asyncio.Future[tuple[NodeReportMutation, ...]]] = {}
        self._routes: dict[Uid, asyncio.Future[tuple[MultiRoute, ...]]] = {}
        self._results: dict[Uid, asyncio.Queue[TransactionResult]] = {}
        self._closes: dict[PaymentId, asyncio.Future[ResponseClosePayment]] = {}
        self.payments: OpenReports[PaymentId, OpenPaymentReport] = OpenReports()
        self.invoices = InvoiceReports()
        self.history = HistoryFeed()
        self.unheard: set[PublicKey] = set()
        self._snapshots: dict[type, asyncio.Future[None]] = {}
        self.on_open: Callable[[], object] | None = None
        self.on_report: Callable[[], object] | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error = ConnectionClosed("the node closed the connection")

    @property
    def permissions(self) -> AppPermissions:
        """What this app may ask for."""
        return self._greeting.permissions

    @property
    def extensions(self) -> Extension:
        """What the node can do beyond the original's protocol."""
        return self._greeting.extensions

    @property
    def report(self) -> ReportView:
        """The node's report, kept up to date."""
        return self._greeting.report

    # Requests.

    async def request(self, request: AppRequest) -> tuple[NodeReportMutation, ...]:
        """
        Send a request, and wait until the node has processed it.

        Returns:
            What it changed in the report. The node acknowledges a request that it refused in the same way, so
            an empty answer may be a refusal (spec 09 §5.2).

        Raises:
            NotAnnounced: The node does not know such a request.
            ConnectionClosed: No answer within `APP_ACK_TICKS` ticks, or the connection ended.
        """
        check_announced(request, self.extensions)
        app_request_id = Uid(os.urandom(Uid.SIZE))
        future = self._acks[app_request_id] = asyncio.get_running_loop().create_future()
        try:
            self._send(AppToAppServer(app_request_id, request))
            return await self._within(APP_ACK_TICKS, future)
        finally:
            self._acks.pop(app_request_id, None)

    async def follow_payments(self) -> None:
        """
        Have *payments* filled now, and kept up to date for as long as the connection lasts.

        Raises:
            NotAnnounced: The node does not tell what is open.
            ConnectionClosed: No answer within `APP_ACK_TICKS` ticks each for its acknowledgement and for the snapshot,
                or the connection ended.
        """
        await self._follow(FollowPayments())

    async def follow_invoices(self) -> None:
        """Have *invoices* filled now, and kept up to date; the rest is as with `follow_payments`."""
        await self._follow(FollowInvoices())

    async def follow_history(self) -> None:
        """Be told how far the history goes, now and whenever it goes on; the rest is as with `follow_payments`."""
        await self._follow(FollowHistory())

    async def last_entry(self) -> HistoryPlace:
        """How far the history goes, as said last, which is followed; errors are as with `follow_history`."""
        if not self.history.is_followed:
            await self.follow_history()
        return self.history.end

    async def follow_unheard(self) -> None:
        """Have *unheard* filled now, and kept up to date; the rest is as with `follow_payments`."""
        await self._follow(FollowUnheard())

    async def read_history(self, request: ReadHistory) -> HistoryPage:
        """
        A page of the history of the node, once there are not too many under way.

        Raises:
            NotAnnounced: The node keeps none.
            ConnectionClosed: No answer within `APP_ACK_TICKS` ticks, or the connection ended.
        """
        check_announced(request, self.extensions)
        message = AppToAppServer(Uid(os.urandom(Uid.SIZE)), request)
        page = await self.history.ask(request.request_id, lambda: self._send(message))
        return await self._within(APP_ACK_TICKS, asyncio.shield(page))

    async def _follow(self, request: FollowPayments | FollowInvoices | FollowHistory | FollowUnheard) -> None:
        future = self._snapshots.get(type(request))
        if future is None or future.done():
            future = self._snapshots[type(request)] = asyncio.get_running_loop().create_future()
        await self.request(request)
        await self._within(APP_ACK_TICKS, asyncio.shield(future))

    async def request_routes(self, request: RequestRoutes) -> tuple[MultiRoute, ...]:
        """
        Ask an index server for routes, by way of the node.

        Raises:
            RoutesUnavailable: The node is not connected to an index server, or asks too much already (D58).
            ConnectionClosed: No answer, or the connection ended.
        """
        future = self._routes[request.request_id] = asyncio.get_running_loop().create_future()
        try:
            self._send(AppToAppServer(Uid(os.urandom(Uid.SIZE)), request))
            return await self._within(INDEX_REQUEST_TICKS + APP_GREETING_TICKS, future)
        finally:
            self._routes.pop(request.request_id, None)

    def start_transaction(self, request: CreateTransaction, results: "asyncio.Queue[TransactionResult]") -> None:
        """Send a transaction without waiting; its results go to *results*."""
        self._results[request.request_id] = results
        self._send(AppToAppServer(Uid(os.urandom(Uid.SIZE)), request))

    def expect_close(self, payment_id: PaymentId) -> "asyncio.Future[ResponseClosePayment]":
        """What the node will say of the end of a payment; to be called before asking it to close."""
        if payment_id not in self._closes:
            self._closes[payment_id] = asyncio.get_running_loop().create_future()
        return self._closes[payment_id]

    async def close_payment(self, payment_id: PaymentId, *, give_up: bool = False) -> ResponseClosePayment:
        """
        Let no further parts of a payment be sent, ask how it ended, and wait for its end, however long that takes.

        Args:
            payment_id: Of the payment.
            give_up: Cancel the parts that are still queued, too, where the node can do that.

        Raises:
            ConnectionClosed: The connection ended.
        """
        future = self.expect_close(payment_id)
        can_give_up = give_up and Extension.GIVE_UP in self.extensions
        await self.request(GiveUpPayment(payment_id) if can_give_up else RequestClosePayment(payment_id))
        return await future

    def close(self) -> None:
        """End the connection; whoever waits for an answer over it gets a ConnectionClosed."""
        self._connection.close("the app is done")

    # Receiver of the connection.

    def message_received(self, message: bytes) -> None:
        """Take a message of the node."""
        self._greeting.take(message)
        if self._greeting.is_complete and not self._greeted.done():
            self._greeted.set_result(None)

    def _dispatch(self, message: AppServerToApp) -> None:
        match message:
            case ReportMutations(app_request_id, mutations):
                self.report.apply(mutations)
                if self.on_report is not None:
                    self.on_report()
                if app_request_id is not None:
                    _resolve(self._acks.get(app_request_id), mutations)
            case TransactionResult(request_id, _) as result:
                results = self._results.pop(request_id, None)
                if results is not None:
                    results.put_nowait(result)
            case ResponseClosePayment(payment_id, _) as response:
                _resolve(self._closes.pop(payment_id, None), response)
            case OpenPayments() | OpenInvoices():
                self._take_open(message)
            case HistoryPage():
                self.history.take(message)
            case HistoryEnd():
                self.history.take(message)
                _resolve(self._snapshots.get(FollowHistory), None)
            case UnheardFriends():
                self._take_unheard(message)
            case ClientResponseRoutes(request_id, RoutesFound(multi_routes)):
                _resolve(self._routes.get(request_id), multi_routes)
            case ClientResponseRoutes(request_id, RoutesFailure()):
                future = self._routes.get(request_id)
                if future is not None and not future.done():
                    future.set_exception(RoutesUnavailable("the node is not connected to an index server"))

    def _take_open(self, message: OpenPayments | OpenInvoices) -> None:
        followed: type
        if isinstance(message, OpenPayments):
            apply_payments(self.payments, message)
            followed = FollowPayments
        else:
            self.invoices.take(message)
            followed = FollowInvoices
        if message.is_snapshot:
            _resolve(self._snapshots.get(followed), None)
        if self.on_open is not None:
            self.on_open()

    def _take_unheard(self, message: UnheardFriends) -> None:
        if message.is_snapshot:
            self.unheard.clear()
        self.unheard.update(message.friends)
        self.unheard.difference_update(message.heard)
        if message.is_snapshot:
            _resolve(self._snapshots.get(FollowUnheard), None)
        if self.on_report is not None:
            self.on_report()

    def connection_closed(self) -> None:
        """The connection is over: every wait ends."""
        if not self.closed.done():
            self.closed.set_result(None)
        waiting: list[asyncio.Future[Any]] = [
            self._greeted,
            *self._acks.values(),
            *self._routes.values(),
            *self._closes.values(),
            *self._snapshots.values(),
            *self.history.waiting,
        ]
        for future in waiting:
            if not future.done():
                future.set_exception(self._error)
                future.exception()  # seen, also where nobody waits

    async def greeted(self) -> None:
        """Wait until the node has said what this app may ask for, and has sent its report."""
        await self._within(APP_GREETING_TICKS, self._greeted)

    def _send(self, message: AppToAppServer) -> None:
        if self._connection.is_closed:
            raise self._error
        self._connection.send(wire.APP_TO_APP_SERVER.encode(message))

    async def _within(self, ticks: int, future: "asyncio.Future[T]") -> T:
        try:
            async with asyncio.timeout(ticks * self._ticker.seconds):
                return await future
        except TimeoutError:
            raise ConnectionClosed(f"no answer of the node within {ticks} seconds") from None


def _resolve(future: "asyncio.Future[T] | None", value: T) -> None:
    if future is not None and not future.done():
        future.set_result(value)


@asynccontextmanager
async def open_node(
    address: str,
    node_public_key: PublicKey,
    app: Identity,
    ticker: Ticker | None = None,
    proxy: Proxy | None = None,
    *,
    others: Sequence[str] = (),
) -> AsyncIterator[NodeConnection]:
    """
    Connect an app to its node, for the length of a ``with`` block.

    Args:
        address: ``host:port`` of the node.
        node_public_key: The key that the node must prove.
        app: Identity of the app; the node must trust it.
        ticker: Ticks of the process; by default a new one.
        proxy: The node is reached through it; None: directly.
        others: Further addresses, each tried as well where none before it has greeted for a tick.

    Raises:
        NodeConnectionError: Not reached, another key, not trusted, or no greeting in time; at none of the addresses.
    """
    at = ticker or Ticker()
    addresses = (address, *others)
    async with first_to_greet(addresses, lambda each: _open_at(each, node_public_key, app, at, proxy), at) as node:
        yield node


async def _open_at(address: str, key: PublicKey, app: Identity, ticker: Ticker, proxy: Proxy | None) -> NodeConnection:
    try:
        connection = await connect(address, app, key, ticker, frame_bytes_max=REPORT_FRAME_BYTES_MAX, proxy=proxy)
    except ConnectFailed as error:
        raise NodeConnectionError(str(error)) from None
    node = NodeConnection(connection, ticker, address)
    try:
        connection.attach(node)
        await node.greeted()
    except BaseException as error:
        node.close()
        if not isinstance(error, (ConnectionClosed, PeerError)):
            raise
        words = "does the node trust this app, and is the ticket that of a node, and not of a relay or an index server?"
        raise NodeConnectionError(f"{address}: {error}; {words}") from None
    return node
