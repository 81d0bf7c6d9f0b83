"""
Payments over the app protocol, from invoice to acknowledged receipt, along a route that is known.

The driver is an app of the buyer's node and one of the seller's. It does what a patient app does and nothing else, so
what it measures is the network. Ids are drawn once, and every wait has a limit: a payment that does not end is a stall.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bench.measured import PaymentStalled
from bench.processes import cpu_seconds
from interop.network import Network, NodeSpec
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.rules.payment import PaymentEvent, PaymentState, advance, event_of_end
from offset_proto.errors import OffsetError
from offset_proto.files import IDENTITY, TICKET
from offset_proto.messages.app import (
    AckClosePayment,
    AddInvoice,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    PaymentStatusSuccess,
    RequestClosePayment,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.payment import Commit
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = ["PaymentRun", "build_chain", "login", "pay", "public_key", "run_payments"]

STALL_SECONDS: Final = 60.0
"""The original's keepalive gives up a dead link after 32."""

RETRY_SECONDS: Final = 0.01

CURRENCY: Final = Currency("FST")
LIMIT: Final = 10**12


@dataclass
class PaymentRun:
    """Payments that were made: how long each took, and how long all of them did."""

    latencies_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Payments in a second."""
        return len(self.latencies_seconds) / self.seconds


def build_chain(network: Network, nodes: int) -> list[str]:
    """Nodes ``n0`` to ``nN`` in a row, one relay, one index server, credit in both directions; their names."""
    network.add_relay("relay")
    network.add_index_servers(["index"])
    names = [f"n{number}" for number in range(nodes)]
    for name in names:
        network.add_node(NodeSpec(name, "relay", "index"))
    for one, other in itertools.pairwise(names):
        network.befriend(one, other, CURRENCY)
        network.set_limit(one, other, CURRENCY, LIMIT)
        network.set_limit(other, one, CURRENCY, LIMIT)
    return names


def public_key(network: Network, name: str) -> PublicKey:
    """Of a node."""
    return Identity(IDENTITY.load(network.identity(name)).private_key).public_key


async def pay(buyer: NodeConnection, seller: NodeConnection, route: FriendsRoute, amount: int = 1) -> None:
    """
    Make one payment, and acknowledge its end.

    Raises:
        PaymentStalled: It ended without a receipt.
        ConnectionClosed: A node did not answer in time, or closed its connection.
    """
    invoice_id, payment_id = InvoiceId(os.urandom(32)), PaymentId(os.urandom(16))
    await seller.request(AddInvoice(invoice_id, CURRENCY, amount))
    creating = buyer.request(CreatePayment(payment_id, invoice_id, CURRENCY, amount, route.public_keys[-1]))
    async with _beside(creating) as created:
        await asyncio.sleep(0)  # it is sent first
        commit = await _transact(buyer, payment_id, route, amount)
        state, _ = advance(PaymentState.SENDING, PaymentEvent.COMMIT)
        await created
    closed = buyer.expect_close(payment_id)
    async with _beside(buyer.request(RequestClosePayment(payment_id))) as closing:
        await seller.request(CommitInvoice(commit))
        await closing
    status = (await closed).status
    state, _ = advance(state, event_of_end(status))
    if state is not PaymentState.PAID or not isinstance(status, PaymentStatusSuccess):
        raise PaymentStalled(f"the payment ended with {type(status).__name__}")
    await buyer.request(AckClosePayment(payment_id, status.ack_uid))


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, object]) -> AsyncIterator["asyncio.Task[object]"]:
    """Do *work* beside the block; how it ends is the block's to ask, and nobody's where the block fails before that."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _transact(buyer: NodeConnection, payment_id: PaymentId, route: FriendsRoute, amount: int) -> Commit:
    """A node queues 32 requests for a friend, and refuses more: then again after a moment."""
    results: asyncio.Queue[TransactionResult] = asyncio.Queue()
    while True:
        buyer.start_transaction(CreateTransaction(payment_id, Uid(os.urandom(16)), route, amount, 0), results)
        result = (await results.get()).result
        if isinstance(result, Complete):
            return result.commit
        await asyncio.sleep(RETRY_SECONDS)


def _cpu_of(network: Network) -> dict[str, float]:
    return {
        name: cpu_seconds(server.process.pid) for name, server in network.servers.items() if server.process is not None
    }


def login(network: Network, name: str) -> tuple[str, PublicKey, Identity]:
    """What an app of a node needs: address and key of the node, and its own identity."""
    ticket = TICKET.load(network.path(f"{name}.ticket"))
    app = Identity(IDENTITY.load(network.identity(f"{name}-app")).private_key)
    return ticket.address, ticket.public_key, app


async def run_payments(
    network: Network,
    names: list[str],
    *,
    count: int,
    in_flight: int,
    on_paid: Callable[[], object] = lambda: None,
) -> PaymentRun:
    """
    Make *count* payments from the first to the last node, *in_flight* at the same time.

    Raises:
        PaymentStalled: One did not end within `STALL_SECONDS`, or a node did not answer; says how many were paid.
        NodeConnectionError: The first or the last node can not be reached.
    """
    route = FriendsRoute(tuple(public_key(network, name) for name in names))
    run = PaymentRun()
    left = iter(range(count))
    ticker = Ticker()
    async with (
        open_node(*login(network, names[0]), ticker) as buyer,
        open_node(*login(network, names[-1]), ticker) as seller,
    ):

        def stalled(why: str) -> PaymentStalled:
            return PaymentStalled(f"{why}; {in_flight} in flight, {len(run.latencies_seconds)} of {count} paid")

        async def work() -> None:
            for _ in left:
                started = time.perf_counter()
                try:
                    async with asyncio.timeout(STALL_SECONDS):
                        await pay(buyer, seller, route)
                except TimeoutError:
                    raise stalled(f"a payment did not end within {STALL_SECONDS:g} s") from None
                except (OffsetError, PaymentStalled) as error:
                    raise stalled(str(error)) from error
                run.latencies_seconds.append(time.perf_counter() - started)
                on_paid()

        before, started = _cpu_of(network), time.perf_counter()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(in_flight):
                    tasks.create_task(work())
        except ExceptionGroup as group:
            stalls, others = group.split(PaymentStalled)
            if stalls is None or others is not None:
                raise
            raise stalls.exceptions[0] from None
        run.seconds = time.perf_counter() - started
        run.cpu_seconds = {name: cpu - before[name] for name, cpu in _cpu_of(network).items()}
    return run
