"""
The verbs of `offset_ctrl.sdk.node` for scripts without an event loop.

    with connect("node.ticket", "app.ident") as node:
        print(node.balance("bob", "FST"))

An event loop runs in a thread of its own; each verb waits for it. A `BlockingNode` may be used from several threads.
`history` is a plain iterator here; with ``follow=True`` it waits for the next entry for as long as it takes.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from offset_crypto.identity import Identity
from offset_ctrl.rules.moving import Move
from offset_ctrl.sdk.node import Node
from offset_ctrl.sdk.node import connect as connect_async
from offset_ctrl.sdk.payment import Payment, PaymentState, PayOptions
from offset_proto.files import FriendTicket, Invoice
from offset_proto.messages.app import AppPermissions
from offset_proto.messages.extensions import Extension, PartReport
from offset_proto.messages.payment import Commit, Receipt, RelayAddress
from offset_proto.messages.report import FriendReport, McBalanceReport
from offset_proto.report_view import ReportView
from offset_proto.types import I128, PaymentId, PublicKey

__all__ = ["BlockingNode", "BlockingPayment", "connect"]

T = TypeVar("T")
P = ParamSpec("P")


def _blocking(
    verb: Callable[Concatenate[Node, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[BlockingNode, P], T]":
    def call(self: "BlockingNode", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(verb(self._node, *args, **kwargs))

    call.__name__, call.__doc__ = verb.__name__, verb.__doc__
    return call


def _iterating(
    verb: Callable[Concatenate[Node, P], AsyncIterator[T]],
) -> "Callable[Concatenate[BlockingNode, P], Iterator[T]]":
    def call(self: "BlockingNode", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        values = verb(self._node, *args, **kwargs)
        assert isinstance(values, AsyncGenerator)
        nothing_more = object()

        async def step() -> Any:
            return await anext(values, nothing_more)

        try:
            while (value := self._wait(step())) is not nothing_more:
                yield value
        finally:
            self._wait(values.aclose())

    call.__name__, call.__doc__ = verb.__name__, verb.__doc__
    return call


class BlockingNode:
    """An open node; made by `connect`. See `offset_ctrl.sdk.node.Node` for what each verb does."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop) -> None:
        self._node = node
        self._loop = loop

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C ends the verb, too
            future.cancel()
            raise

    def _look(self, look: Callable[[Node], T]) -> T:
        async def run() -> T:
            return look(self._node)

        return self._wait(run())

    @property
    def public_key(self) -> PublicKey:
        """The key by which friends and buyers know the node."""
        return self._look(lambda node: node.public_key)

    @property
    def permissions(self) -> AppPermissions:
        """What this app may ask for."""
        return self._look(lambda node: node.permissions)

    @property
    def extensions(self) -> Extension:
        """What the node can do beyond the original's protocol."""
        return self._look(lambda node: node.extensions)

    @property
    def payments(self) -> "list[BlockingPayment]":
        """Payments of this app that have not ended, also of earlier runs where there is a journal."""
        return self._look(lambda node: [BlockingPayment(self, payment) for payment in node.payments])

    @property
    def report(self) -> ReportView:
        """A copy of the node's report as it is now."""
        return self._look(lambda node: ReportView(node.report.snapshot()))

    def friend(self, name: str | PublicKey) -> FriendReport:
        """What the report says of a friend."""
        return self._look(lambda node: node.friend(name))

    def balance(self, friend: str | PublicKey, currency: str) -> I128:
        """Credits that a friend owes us; negative where we owe."""
        return self._look(lambda node: node.balance(friend, currency))

    def ledger(self, friend: str | PublicKey, currency: str) -> McBalanceReport:
        """Balance and frozen credits with a friend."""
        return self._look(lambda node: node.ledger(friend, currency))

    def friend_ticket(self) -> FriendTicket:
        """What to hand to somebody who is to become a friend."""
        return self._look(lambda node: node.friend_ticket())

    wait_until = _blocking(Node.wait_until)
    add_relay = _blocking(Node.add_relay)
    remove_relay = _blocking(Node.remove_relay)
    add_index_server = _blocking(Node.add_index_server)
    remove_index_server = _blocking(Node.remove_index_server)
    add_friend = _blocking(Node.add_friend)
    rename_friend = _blocking(Node.rename_friend)
    set_friend_relays = _blocking(Node.set_friend_relays)
    enable_friend = _blocking(Node.enable_friend)
    disable_friend = _blocking(Node.disable_friend)
    remove_friend = _blocking(Node.remove_friend)
    open_currency = _blocking(Node.open_currency)
    close_currency = _blocking(Node.close_currency)
    remove_currency = _blocking(Node.remove_currency)
    set_max_debt = _blocking(Node.set_max_debt)
    set_rate = _blocking(Node.set_rate)
    reset_channel = _blocking(Node.reset_channel)
    unheard = _blocking(Node.unheard)
    history = _iterating(Node.history)
    set_note = _blocking(Node.set_note)
    find_routes = _blocking(Node.find_routes)
    capacity = _blocking(Node.capacity)
    create_invoice = _blocking(Node.create_invoice)
    plan_payment = _blocking(Node.plan_payment)
    open_invoices = _blocking(Node.open_invoices)
    open_payments = _blocking(Node.open_payments)
    cancel_invoice = _blocking(Node.cancel_invoice)
    accept_commit = _blocking(Node.accept_commit)
    wait_for_payment = _blocking(Node.wait_for_payment)
    plan_rebalance = _blocking(Node.plan_rebalance)
    rebalance = _blocking(Node.rebalance)
    plan_clear = _blocking(Node.plan_clear)
    clear = _blocking(Node.clear)
    move_friend = _blocking(Node.move_friend)

    def plan_move(
        self, old: str | PublicKey, ticket: FriendTicket, *, name: str | None = None, counts_frozen: bool = False
    ) -> Move:
        """What `move_friend` would carry over."""
        return self._look(lambda node: node.plan_move(old, ticket, name=name, counts_frozen=counts_frozen))

    def start_payment(self, invoice: Invoice, options: PayOptions = PayOptions()) -> "BlockingPayment":
        """Begin to pay; wait for `commit`, hand that to the seller, wait for `receipt`."""
        return self._look(lambda node: BlockingPayment(self, node.start_payment(invoice, options)))

    def pay(
        self,
        invoice: Invoice,
        deliver: Callable[[Commit], object],
        options: PayOptions = PayOptions(),
        *,
        deliver_timeout: float = 300.0,
        receipt_timeout: float = 300.0,
    ) -> Receipt:
        """Pay an invoice, from the search for routes to the receipt; *deliver* is called in a thread of its own."""

        async def deliver_in_thread(commit: Commit) -> None:
            await asyncio.to_thread(deliver, commit)

        return self._wait(
            self._node.pay(
                invoice,
                deliver_in_thread,
                options,
                deliver_timeout=deliver_timeout,
                receipt_timeout=receipt_timeout,
            )
        )


class BlockingPayment:
    """A payment of this app. See `offset_ctrl.sdk.payment.Payment` for what each verb does and raises."""

    def __init__(self, node: BlockingNode, payment: Payment) -> None:
        self._node = node
        self._payment = payment

    @property
    def invoice(self) -> Invoice:
        """What is paid."""
        return self._payment.invoice

    @property
    def payment_id(self) -> PaymentId:
        """By which the node knows the payment."""
        return self._payment.payment_id

    @property
    def state(self) -> PaymentState:
        """Where the payment stands."""
        return self._node._look(lambda _: self._payment.state)

    @property
    def parts(self) -> tuple[PartReport, ...]:
        """The parts that have no end, as they are now."""
        return self._node._look(lambda _: self._payment.parts)

    @property
    def fees(self) -> int:
        """Credits for mediators, of all parts that have not failed."""
        return self._node._look(lambda _: self._payment.fees)

    def commit(self, timeout: float = 3600.0) -> Commit:
        """Wait for what the seller needs to collect."""
        return self._node._wait(self._payment.commit(timeout))

    def receipt(self, timeout: float = 3600.0) -> Receipt:
        """Wait until the seller has collected."""
        return self._node._wait(self._payment.receipt(timeout))

    def ended(self, timeout: float = 3600.0) -> PaymentState:
        """Wait until nothing is left to be done."""
        return self._node._wait(self._payment.ended(timeout))

    def give_up(self, reason: str = "the payment was given up") -> None:
        """Close the payment, if there is no commit yet."""
        self._node._look(lambda _: self._payment.give_up(reason))


@contextmanager
def connect(
    ticket: RelayAddress | Path | str,
    app: Identity | Path | str,
    *,
    journal: Path | str | None = None,
    go_on: PayOptions | None = None,
    proxy: str | None = None,
) -> Iterator[BlockingNode]:
    """
    Connect an app to its node, for the length of a ``with`` block. See `offset_ctrl.sdk.node.connect`.

    Raises:
        InvalidInput, ProxyUnavailable: *proxy* is none, or the extra ``offset-ctrl[proxy]`` is not installed.
        IoError, StringSerdeError: A file can not be read, or is another one.
        NodeConnectionError: The node was not reached, has another key, or does not trust this app.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="offset", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        manager: AbstractAsyncContextManager[Node] = connect_async(
            ticket, app, journal=journal, go_on=go_on, proxy=proxy
        )
        node = run(_enter(manager))
        try:
            yield BlockingNode(node, loop)
        finally:
            run(_exit(manager))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _enter(manager: AbstractAsyncContextManager[Node]) -> Node:
    return await manager.__aenter__()


async def _exit(manager: AbstractAsyncContextManager[Node]) -> None:
    await manager.__aexit__(None, None, None)
