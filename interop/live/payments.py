"""Single steps of an app, over the app protocol: the same for a node of ours and for one of the original."""

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from interop.network import Network
from interop.programs import wait_until
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection, RoutesUnavailable, open_node
from offset_ctrl.rules.routes import choose_routes
from offset_proto.files import IDENTITY, TICKET
from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    CancelInvoice,
    CreatePayment,
    CreateTransaction,
    PaymentStatusSuccess,
    RequestResult,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RequestRoutes
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = ["Attempt", "has_route", "is_settled", "try_route", "wait_for_route", "wait_until_settled"]

ANSWER_SECONDS = 30.0


def _key(network: Network, name: str) -> PublicKey:
    return Identity(IDENTITY.load(network.identity(name)).private_key).public_key


def _open(network: Network, name: str) -> AbstractAsyncContextManager[NodeConnection]:
    """A connection to a node, as its app."""
    app = Identity(IDENTITY.load(network.identity(f"{name}-app")).private_key)
    ticket = TICKET.load(network.path(f"{name}.ticket"))
    return open_node(ticket.address, ticket.public_key, app, Ticker())


async def _has_route(network: Network, buyer: str, seller: str, currency: str, amount: int) -> bool:
    keys = _key(network, buyer), _key(network, seller)
    async with _open(network, buyer) as node:
        asked = RequestRoutes(Uid(os.urandom(16)), Currency(currency), amount, *keys, None)
        try:
            return choose_routes(await node.request_routes(asked), amount) is not None
        except RoutesUnavailable:
            return False


def has_route(network: Network, buyer: str, seller: str, currency: str, amount: int) -> bool:
    """Whether the buyer's index server knows a way to pay."""
    return asyncio.run(_has_route(network, buyer, seller, currency, amount))


def wait_for_route(network: Network, buyer: str, seller: str, currency: str, amount: int) -> None:
    """
    Wait until there is a way to pay; the original's stctrl waits for ever where there is none (D58, D81).

    Originals that were started again have been seen to need over two minutes until one of them had told their index
    server of both its friends, among themselves as well.
    """
    found = f"a route from {buyer} to {seller}"
    wait_until(found, lambda: has_route(network, buyer, seller, currency, amount), 3 * network.patience)


@dataclass(frozen=True)
class Attempt:
    """How a payment over a given route ended."""

    result: RequestResult
    was_paid: bool


async def _try_route(
    network: Network, names: list[str], currency: str, amount: int, fees: int, seconds: float
) -> Attempt:
    route = tuple(_key(network, name) for name in names)
    invoice_id, payment_id = InvoiceId(os.urandom(32)), PaymentId(os.urandom(16))
    async with _open(network, names[0]) as buyer, _open(network, names[-1]) as seller:
        await seller.request(AddInvoice(invoice_id, Currency(currency), amount))
        await buyer.request(CreatePayment(payment_id, invoice_id, Currency(currency), amount, route[-1]))
        results: asyncio.Queue[TransactionResult] = asyncio.Queue()
        request = CreateTransaction(payment_id, Uid(os.urandom(16)), FriendsRoute(route), amount, fees)
        buyer.start_transaction(request, results)
        result = await asyncio.wait_for(results.get(), seconds)
        await seller.request(CancelInvoice(invoice_id))
        return Attempt(result.result, await _close(buyer, payment_id))


async def _close(buyer: NodeConnection, payment_id: PaymentId) -> bool:
    status = (await asyncio.wait_for(buyer.close_payment(payment_id), ANSWER_SECONDS)).status
    ack_uid = getattr(status, "ack_uid", None)
    if ack_uid is not None:
        await buyer.request(AckClosePayment(payment_id, ack_uid))
    return isinstance(status, PaymentStatusSuccess)


def try_route(
    network: Network, names: list[str], currency: str, amount: int, fees: int, seconds: float = ANSWER_SECONDS
) -> Attempt:
    """
    Send credits along a route that no index server was asked for; the seller cancels its invoice afterwards.

    Raises TimeoutError where there is no answer within so many seconds.
    """
    return asyncio.run(_try_route(network, names, currency, amount, fees, seconds))


def is_settled(network: Network, pairs: list[tuple[str, str]], currency: str) -> bool:
    """Nothing is frozen, and each balance is the negation of the one on the other side."""
    for one, other in pairs:
        first, second = network.balance(one, other, currency), network.balance(other, one, currency)
        if first["balance"] != -second["balance"]:
            return False
        if any(side[debt] for side in (first, second) for debt in ("local_pending_debt", "remote_pending_debt")):
            return False
    return True


def wait_until_settled(network: Network, pairs: list[tuple[str, str]], currency: str) -> None:
    """Wait until `is_settled`. Raises TimeoutError."""
    wait_until("all credits to be settled", lambda: is_settled(network, pairs, currency), 1.5 * network.patience)
