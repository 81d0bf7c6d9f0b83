"""A connection of an app to its node, against a node that says what the test wants. Spec 07 §5."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from offset_crypto.aio import Connection, Ticker, serve
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import (
    ConnectionClosed,
    NodeConnection,
    NodeConnectionError,
    RoutesUnavailable,
    open_node,
)
from offset_ctrl.programs.stctrl.seller import create_invoice
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.testing import build_report
from offset_proto import wire
from offset_proto.files import INVOICE
from offset_proto.messages.app import (
    AppPermissions,
    AppToAppServer,
    ClientResponseRoutes,
    CreateTransaction,
    EnableFriend,
    Failure,
    PaymentNotFound,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFailure,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RequestRoutes
from offset_proto.types import Currency, PaymentId, PrivateKey, PublicKey, Uid

NODE, APP = Identity(PrivateKey(b"\x01" * 32)), Identity(PrivateKey(b"\x02" * 32))
FRIEND = PublicKey(b"\x03" * 32)
ROUTES = RequestRoutes(Uid(b"\x04" * 16), Currency("FST"), 5, NODE.public_key, FRIEND, None)
TRANSACTION = CreateTransaction(
    PaymentId(b"\x05" * 16), Uid(b"\x06" * 16), FriendsRoute((NODE.public_key, FRIEND)), 5, 0
)
REPORT = build_report(NODE.public_key)

Answer = Callable[[Connection, AppToAppServer], None]


class _Node:
    """The node's end: greets, and answers each request as the test says."""

    def __init__(self, connection: Connection, answer: Answer) -> None:
        self._connection = connection
        self._answer = answer
        connection.send(wire.APP_PERMISSIONS.encode(AppPermissions(True, True, True, True)))
        connection.send(wire.NODE_REPORT.encode(REPORT))
        connection.attach(self)

    def message_received(self, message: bytes) -> None:
        self._answer(self._connection, wire.APP_TO_APP_SERVER.decode(message))

    def connection_closed(self) -> None:
        pass


def _run(answer: Answer | None, body: Callable[[NodeConnection], Awaitable[None]]) -> None:
    """Run *body* with a connection to a node; with no *answer* it does not even greet."""

    async def main() -> None:
        ticker = Ticker(0.02)
        nodes = []

        def accept(connection: Connection) -> None:
            nodes.append(connection if answer is None else _Node(connection, answer))

        async with (
            serve("127.0.0.1", 0, NODE, ticker, accept, handshakes_max=4) as port,
            open_node(f"127.0.0.1:{port}", NODE.public_key, APP, ticker) as node,
        ):
            await body(node)

    asyncio.run(main())


def _send(connection: Connection, *messages: object) -> None:
    for message in messages:
        connection.send(wire.APP_SERVER_TO_APP.encode(message))


def test_nothing_is_lost_while_something_else_is_awaited():
    """D57: results that come before the acknowledgement that is waited for, in any order."""
    result = TransactionResult(TRANSACTION.request_id, Failure())
    ended = ResponseClosePayment(TRANSACTION.payment_id, PaymentNotFound())

    def answer(connection, message):
        if isinstance(message.app_request, RequestClosePayment):
            foreign = ReportMutations(Uid(b"\x09" * 16), ())
            _send(connection, ended, result, foreign, ReportMutations(message.app_request_id, ()))

    async def body(node):
        results = asyncio.Queue()
        node.start_transaction(TRANSACTION, results)
        assert await node.close_payment(TRANSACTION.payment_id) == ended
        assert results.get_nowait() == result

    _run(answer, body)


def test_no_index_server_is_an_error_at_once():
    """D58: a failure ends the wait for routes."""

    def answer(connection, message):
        _send(connection, ReportMutations(message.app_request_id, ()))
        _send(connection, ClientResponseRoutes(message.app_request.request_id, RoutesFailure()))

    async def body(node):
        with pytest.raises(RoutesUnavailable):
            await node.request_routes(ROUTES)

    _run(answer, body)


def test_every_wait_ends():
    """D59: a node that never greets, and one that never answers."""

    async def never(node):
        raise AssertionError("there is no connection without a greeting")

    with pytest.raises(NodeConnectionError, match="no answer of the node within 8 seconds"):
        _run(None, never)

    async def body(node):
        with pytest.raises(ConnectionClosed, match="within 30 seconds"):
            await node.request(EnableFriend(FRIEND))
        with pytest.raises(ConnectionClosed, match="within 38 seconds"):
            await node.request_routes(ROUTES)

    _run(lambda connection, message: None, body)


def test_a_node_that_goes_away_ends_every_wait():
    """Requests, routes and the end of a payment: all fail when the connection does."""

    async def body(node):
        waiting = [
            node.request(EnableFriend(FRIEND)),
            node.request_routes(ROUTES),
            node.close_payment(TRANSACTION.payment_id),
        ]
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in ended] == [ConnectionClosed] * 3
        with pytest.raises(ConnectionClosed):
            await node.request(EnableFriend(FRIEND))

    _run(lambda connection, message: connection.close(), body)


def test_an_invoice_has_its_file_first(tmp_path):
    """D84: where the file can not be written the node is asked for nothing; where no answer comes the file stays."""
    asked = []

    def ignore(connection, message):
        asked.append(message.app_request)

    async def body(node):
        with pytest.raises(CommandError, match="IoError"):
            await create_invoice(node, "FST", 5, tmp_path / "no" / "such.invoice")
        with pytest.raises(CommandError, match=r"SellerError\(ZeroAmount\): an invoice is over 1 credit at least"):
            await create_invoice(node, "FST", 0, tmp_path / "zero.invoice")
        assert not (tmp_path / "zero.invoice").exists()
        assert asked == []
        with pytest.raises(CommandError, match="cancel-invoice"):
            await create_invoice(node, "FST", 5, tmp_path / "kept.invoice")
        (request,) = asked
        assert request.invoice_id == INVOICE.load(tmp_path / "kept.invoice").invoice_id

    _run(ignore, body)
