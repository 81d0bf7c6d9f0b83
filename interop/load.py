"""
Many payments at once, by apps that survive the end of their node: the SDK as its users have it.

A run ends with every payment paid or cancelled, whatever was killed meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from interop.network import Network
from offset_ctrl import Node, PaymentFailed, PayOptions, connect
from offset_ctrl.rules.proofs import check_receipt
from offset_proto.errors import OffsetError
from offset_proto.messages.payment import Commit, Receipt

__all__ = ["PAUSE_SECONDS", "App", "Paid", "insist", "pay_and_kill", "pay_once", "run_payments"]

PATIENT = PayOptions(timeout=170.0, route_seconds=120.0)

PAUSE_SECONDS: Final = 1.0
"""After something failed, until it is tried again."""

T = TypeVar("T")


@dataclass(frozen=True)
class App:
    """
    An app of a node.

    Attributes:
        identity_path: Identity file of the app.
        ticket_path: Ticket of the node.
    """

    identity_path: Path
    ticket_path: Path


@dataclass(frozen=True)
class Paid:
    """How one payment ended; no receipt where it was cancelled."""

    receipt: Receipt | None


async def insist(step: Callable[[], Awaitable[T]]) -> T:
    """Do it, however often the node does not answer."""
    while True:
        try:
            return await step()
        except PaymentFailed:
            raise
        except OffsetError:
            await asyncio.sleep(PAUSE_SECONDS)


async def pay_once(buyer: Node, seller: Node, currency: str, amount: int, options: PayOptions = PATIENT) -> Paid:
    """A payment from invoice to receipt; one that fails is cancelled at the seller."""
    invoice = await seller.create_invoice(currency, amount)

    async def deliver(commit: Commit) -> None:
        await seller.accept_commit(invoice, commit)

    payment = buyer.start_payment(invoice, options)
    try:
        await deliver(await payment.commit())
        receipt = await payment.receipt()
    except PaymentFailed:
        await seller.cancel_invoice(invoice)
        await payment.ended()
        return Paid(None)
    check_receipt(receipt, invoice)
    return Paid(receipt)


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
    free = asyncio.Semaphore(at_once)
    ended: list[Paid] = []

    async def pay(paying: Node, paid: Node) -> None:
        async with free:
            ended.append(await pay_once(paying, paid, currency, amount))
            on_paid(len(ended))

    async with (
        connect(buyer.ticket_path, buyer.identity_path) as paying,
        connect(seller.ticket_path, seller.identity_path) as paid,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(count):
            tasks.create_task(pay(paying, paid))
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
