"""
Payments over the app protocol, many at once, by apps that survive the end of their node.

Every step can be repeated: ids are chosen once, and whatever was lost with a connection is asked for again
when the node is back. So a run ends with every payment paid or cancelled, whatever was killed meanwhile.
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from interop.network import Network
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_crypto.verify import verify_receipt
from offset_ctrl.client import ConnectionClosed, NodeConnection, NodeConnectionError, RoutesUnavailable, open_node
from offset_ctrl.routes import RouteChoice, choose_routes
from offset_proto.files import IDENTITY, TICKET
from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    Canceled,
    CancelInvoice,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    PaymentStatus,
    PaymentStatusSuccess,
    RequestResult,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RequestRoutes
from offset_proto.messages.payment import Receipt
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = ["App", "Paid", "pay_and_kill", "run_payments"]

T = TypeVar("T")


@dataclass
class App:
    """
    An app of a node that connects again whenever the connection is lost.

    Attributes:
        identity_path: Identity file of the app.
        ticket_path: Ticket of the node.
    """

    identity_path: Path
    ticket_path: Path
    _node: NodeConnection | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep_connected(self) -> None:
        """Run for as long as the app is used."""
        identity = Identity(IDENTITY.load(self.identity_path).private_key)
        ticket = TICKET.load(self.ticket_path)
        ticker = Ticker()
        while True:
            try:
                async with open_node(ticket.address, ticket.public_key, identity, ticker) as node:
                    self._node = node
                    self._ready.set()
                    await asyncio.shield(node.closed)
            except NodeConnectionError:
                pass  # the node is down: it was killed, and comes back
            self._ready.clear()
            await asyncio.sleep(0.2)

    async def insist(self, step: Callable[[NodeConnection], Awaitable[T]]) -> T:
        """Carry *step* out, again on each new connection, until it comes to its end."""
        while True:
            await self._ready.wait()
            assert self._node is not None
            try:
                return await step(self._node)
            except ConnectionClosed:
                await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Paid:
    """How one payment ended; no receipt where it was cancelled."""

    receipt: Receipt | None


@dataclass(frozen=True)
class _Payment:
    buyer: App
    seller: App
    buyer_key: PublicKey
    seller_key: PublicKey
    currency: Currency
    amount: int
    invoice_id: InvoiceId
    payment_id: PaymentId

    async def run(self) -> Paid:
        invoice = AddInvoice(self.invoice_id, self.currency, self.amount)
        await self.seller.insist(lambda node: node.request(invoice))
        created = CreatePayment(self.payment_id, self.invoice_id, self.currency, self.amount, self.seller_key)
        await self.buyer.insist(lambda node: node.request(created))
        choice = await self._find_routes()
        results = await asyncio.gather(*[self._transact(choice, index) for index in range(len(choice.parts))])
        commits = [result.commit for result in results if isinstance(result, Complete)]
        if commits:
            await self.seller.insist(lambda node: node.request(CommitInvoice(commits[0])))
        else:
            await self.seller.insist(lambda node: node.request(CancelInvoice(self.invoice_id)))
        return await self._close()

    async def _find_routes(self) -> RouteChoice:
        while True:
            asked = RequestRoutes(
                Uid(os.urandom(16)), self.currency, self.amount, self.buyer_key, self.seller_key, None
            )
            try:
                found = await self.buyer.insist(functools.partial(NodeConnection.request_routes, request=asked))
            except RoutesUnavailable:
                found = ()
            choice = choose_routes(found, self.amount)
            if choice is not None:
                return choice
            await asyncio.sleep(0.3)

    async def _transact(self, choice: RouteChoice, index: int) -> RequestResult:
        part, request_id = choice.parts[index], Uid(os.urandom(16))
        route = FriendsRoute(part.public_keys)
        request = CreateTransaction(self.payment_id, request_id, route, part.dest_payment, part.fees)

        async def transact(node: NodeConnection) -> RequestResult:
            results: asyncio.Queue[TransactionResult] = asyncio.Queue()
            node.start_transaction(request, results)
            getting = asyncio.ensure_future(results.get())
            endings: list[asyncio.Future[Any]] = [getting, node.closed]
            await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                raise ConnectionClosed("the node went away")
            return getting.result().result

        return await self.buyer.insist(transact)

    async def _close(self) -> Paid:
        async def close(node: NodeConnection) -> PaymentStatus:
            return (await node.close_payment(self.payment_id)).status

        match await self.buyer.insist(close):
            case PaymentStatusSuccess(receipt, ack_uid):
                await self._acknowledge(ack_uid)
                verify_receipt(receipt, self.seller_key)
                return Paid(receipt)
            case Canceled(ack_uid):
                await self._acknowledge(ack_uid)
        return Paid(None)

    async def _acknowledge(self, ack_uid: Uid) -> None:
        acknowledged = AckClosePayment(self.payment_id, ack_uid)
        await self.buyer.insist(lambda node: node.request(acknowledged))


async def run_payments(
    buyer: App,
    seller: App,
    currency: str,
    amount: int,
    *,
    count: int,
    at_once: int,
    on_paid: Callable[[int], None] = lambda done: None,
) -> list[Paid]:
    """
    Make *count* payments of *amount* credits each, *at_once* at the same time.

    Args:
        buyer: App of the paying node.
        seller: App of the paid node.
        currency: What is paid.
        amount: Credits of each payment.
        count: Number of payments.
        at_once: How many are under way at the same time.
        on_paid: Told after each payment how many have ended.

    Returns:
        How each ended; every receipt has been verified.
    """
    buyer_key, seller_key = (TICKET.load(app.ticket_path).public_key for app in (buyer, seller))
    free = asyncio.Semaphore(at_once)
    ended: list[Paid] = []

    async def pay() -> None:
        async with free:
            invoice_id, payment_id = InvoiceId(os.urandom(32)), PaymentId(os.urandom(16))
            payment = _Payment(buyer, seller, buyer_key, seller_key, Currency(currency), amount, invoice_id, payment_id)
            ended.append(await payment.run())
            on_paid(len(ended))

    connections = [asyncio.ensure_future(app.keep_connected()) for app in (buyer, seller)]
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(pay())
    finally:
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
    return ended


async def pay_and_kill(
    network: Network, victim: str, currency: str, amount: int, *, buyer: str, seller: str, count: int, killed_after: int
) -> list[Paid]:
    """
    Make payments, and kill -9 a server once *killed_after* of them have ended; it is started again.

    Returns:
        How each payment ended.
    """
    paying, paid = (App(network.path(f"{name}-app.ident"), network.path(f"{name}.ticket")) for name in (buyer, seller))
    reached = asyncio.Event()

    def on_paid(done: int) -> None:
        if done == killed_after:
            reached.set()

    running = asyncio.ensure_future(
        run_payments(paying, paid, currency, amount, count=count, at_once=8, on_paid=on_paid)
    )
    await reached.wait()
    server = network.servers[victim]
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(180):
        return await running
