"""
Circles of one node: asked for, planned, and paid. What a circle is, is in `offset_ctrl.rules.circles`.

Nothing may stay frozen when the app is killed in the middle of a circle, though nobody else will cancel an invoice that
we made for ourselves. Two things take care of that.

* The invoice has an end, where the node can end it by itself. Then everything comes back without us.
* With a journal, the payment is found again by the next run. Before that pays a circle, it sees the old ones through:
  with a commit, it collects; without one, it cancels the invoice.

A node of the original can not end an invoice, so there a journal is needed.

Fees. The rates that are known are paid, and nothing is offered beyond. Where some are not known, or the servers were
wrong about them (those of the original add up rates of the wrong ends, spec 06 §6.6b), what the app allows is offered
instead: mediators take what they have published, and the rest comes back to us, as we are the seller.

One circle is paid at a time: each changes what the next one can use.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from offset_ctrl.connection.client import NotAnnounced
from offset_ctrl.rules.capacity import FriendCredit, friend_credits
from offset_ctrl.rules.circles import CLEARED_HOPS, Circle, Transfer, transfers
from offset_ctrl.sdk.circle_search import CircleSearch
from offset_ctrl.sdk.errors import InvoiceNotOpen
from offset_ctrl.sdk.failures import AmountTooLarge, FeesTooHigh, NoRoute, PartsRefused, PaymentFailed
from offset_ctrl.sdk.payment import PaymentState, PayOptions
from offset_proto.errors import InvalidInput
from offset_proto.messages.extensions import Extension
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Commit, Rate
from offset_proto.types import U32_MAX, U128, Currency, PublicKey

if TYPE_CHECKING:
    from offset_ctrl.sdk.node import Node

__all__ = ["PAIRS_MAX", "ROUNDS_MAX", "Circles", "ClearedCircle"]

PAIRS_MAX: Final = 64
"""Pairs of friends for which one plan looks for a circle."""

ROUNDS_MAX: Final = 8
"""Plans that are made one after another to clear what can be cleared."""

LEARN_TICKS: Final = 2
"""After a round, until index servers know what it has changed."""

LEEWAY_SECONDS: Final = 60.0
"""The invoice of a circle ends so long after the time for its payment."""


@dataclass(frozen=True, slots=True)
class ClearedCircle:
    """A circle that was to be paid, and why it was not; None where it was."""

    circle: Circle
    failure: PaymentFailed | None


class Circles:
    """
    The circles of *node*.

    Args:
        node: Whose verbs are used.
        tick_seconds: How long a tick is.
    """

    def __init__(self, node: "Node", tick_seconds: float) -> None:
        self._node = node
        self._tick_seconds = tick_seconds
        self._lock = asyncio.Lock()

    async def plan(self, currency: Currency, wanted: Transfer, fees_max: U128 | None) -> Circle:
        """
        One circle for all of *wanted*.

        Raises:
            NoRoute: There is none; `AmountTooLarge`: the largest one carries less.
            FeesTooHigh: It costs more than *fees_max* credits.
            RoutesUnavailable, NodeConnectionError, ConnectionClosed: As `Node.find_routes`.
        """
        if wanted.out == wanted.back:
            raise InvalidInput("a circle goes out through one friend and comes back through another one")
        if wanted.amount < 1:
            raise InvalidInput("a circle carries a credit at least")
        for friend in friend_credits(self._node.report.friends, currency):
            if friend.public_key == wanted.back and friend.receive < wanted.amount:
                raise AmountTooLarge(friend.receive, currency)
        search = CircleSearch(self._node, currency)
        circle = await search.circle(wanted)
        if circle is None:
            circle = await search.largest(wanted)
            if circle is None:
                raise NoRoute("no circle leads from the one friend to the other")
            if circle.amount < wanted.amount:  # otherwise another answer has come meanwhile, which carries it
                raise AmountTooLarge(circle.amount, currency)
        if fees_max is not None and circle.fees > fees_max:
            raise FeesTooHigh(f"fees of {circle.fees}, more than {fees_max}")
        return circle

    async def plan_all(
        self, currency: Currency, targets: Mapping[PublicKey, int], fees_max: U128 | None
    ) -> tuple[Circle, ...]:
        """
        Circles that bring the balances nearer to their *targets*, all together for *fees_max* credits at most.

        Each is one that could be paid if it were the only one: two of them may need the credit of the same strangers.
        The shortest ones come first (`CLEARED_HOPS`), and a pair of friends gets one of them. What it does not carry
        is left to the plan that is made when these are paid.

        Raises:
            RoutesUnavailable, NodeConnectionError, ConnectionClosed: As `Node.find_routes`.
        """
        friends = friend_credits(self._node.report.friends, currency)
        search = CircleSearch(self._node, currency)
        out_left: dict[PublicKey, int] = {}
        back_left: dict[PublicKey, int] = {}
        wanted = transfers(friends, targets)
        for pair in wanted:
            out_left[pair.out] = max(out_left.get(pair.out, 0), _surplus(friends, pair.out, targets))
            back_left[pair.back] = max(back_left.get(pair.back, 0), _lack(friends, pair.back, targets))
        fees_left = fees_max
        circles = list[Circle]()
        for hops_max, pair in itertools.product(CLEARED_HOPS, wanted[:PAIRS_MAX]):
            most = min(out_left[pair.out], back_left[pair.back])
            if most < 1 or any((circle.out, circle.back) == (pair.out, pair.back) for circle in circles):
                continue
            circle = await search.largest(Transfer(pair.out, pair.back, most), out_left[pair.out], hops_max)
            if circle is None or (fees_left is not None and circle.fees > fees_left):
                continue
            fees_left = None if fees_left is None else fees_left - circle.fees
            out_left[pair.out] -= circle.amount + circle.fees
            back_left[pair.back] -= circle.amount
            circles.append(circle)
        return tuple(circles)

    async def pay(self, currency: Currency, wanted: Transfer, fees_max: U128 | None, timeout: float) -> Circle:
        """
        Pay one circle for all of *wanted*.

        Raises:
            NotAnnounced: The node can not end an invoice, and there is no journal; nothing was sent.
            PaymentFailed: Nothing was paid, and why.
        """
        self._check_safe()
        async with self._lock:
            await self._see_old_ones_through()
            circle = await self.plan(currency, wanted, fees_max)
            return await self._pay(currency, circle, fees_max, timeout)

    async def pay_all(
        self,
        currency: Currency,
        targets: Mapping[PublicKey, int],
        fees_max: U128 | None,
        timeout: float,
        tell: Callable[[ClearedCircle], None] | None,
    ) -> tuple[ClearedCircle, ...]:
        """
        Pay circles until the balances have come as near to *targets* as they can now.

        Args:
            currency: Of all circles.
            targets: The balance that is wanted of each friend; 0 for one that is not named.
            fees_max: Credits for all mediators of all circles; None: any.
            timeout: Seconds for each circle.
            tell: Is told of each circle as soon as it has ended.

        Raises:
            NotAnnounced: As `pay`.
        """
        self._check_safe()
        done: list[ClearedCircle] = []
        async with self._lock:
            await self._see_old_ones_through()
            for number in range(ROUNDS_MAX):
                if number:
                    await asyncio.sleep(LEARN_TICKS * self._tick_seconds)
                paid = 0
                for circle in await self.plan_all(currency, targets, fees_max):
                    ended = await self._try(currency, circle, fees_max, timeout)
                    if ended.failure is None:
                        paid += 1
                        fees_max = None if fees_max is None else max(0, fees_max - ended.circle.fees)
                    done.append(ended)
                    if tell is not None:
                        tell(ended)
                if not paid:
                    break
        return tuple(done)

    # Inside.

    def _check_safe(self) -> None:
        if Extension.EXPIRING_INVOICES not in self._node.extensions and not self._node.has_journal:
            raise NotAnnounced(Extension.EXPIRING_INVOICES)

    async def _try(self, currency: Currency, circle: Circle, fees_max: U128 | None, timeout: float) -> ClearedCircle:
        try:
            if fees_max is not None and circle.fees > fees_max:
                raise FeesTooHigh(f"fees of {circle.fees}, more than the {fees_max} that are left")
            return ClearedCircle(await self._pay(currency, circle, fees_max, timeout), None)
        except PaymentFailed as error:
            return ClearedCircle(circle, error)

    async def _pay(self, currency: Currency, circle: Circle, fees_max: U128 | None, timeout: float) -> Circle:
        """Pay *circle* for its fees; where that is refused, for all that is allowed. Returns it with these fees."""
        spare = 0 if fees_max is None else min((fees_max - circle.fees) // len(circle.parts), U32_MAX)
        offers = [0, spare] if circle.are_fees_known else [spare]
        for extra in dict.fromkeys(offers):
            try:
                return await self._pay_once(currency, circle, extra, timeout)
            except PartsRefused:
                if extra == offers[-1]:
                    raise
        raise AssertionError("there is an offer at least")

    async def _pay_once(self, currency: Currency, circle: Circle, extra: int, timeout: float) -> Circle:
        parts = tuple(replace(part, fees=part.fees + extra) for part in circle.parts)
        offered = Circle(circle.out, circle.back, parts, circle.are_fees_known)
        can_expire = Extension.EXPIRING_INVOICES in self._node.extensions
        invoice = await self._node.create_invoice(
            currency, circle.amount, expires=timeout + LEEWAY_SECONDS if can_expire else None
        )
        is_collected = False

        async def collect(commit: Commit) -> None:
            nonlocal is_collected
            is_collected = True  # from here on it may be, whatever happens
            await self._node.accept_commit(invoice, commit)

        try:
            await self._node.pay(invoice, collect, _options(offered, timeout))
        except (PaymentFailed, asyncio.CancelledError):
            if not is_collected:
                await self._node.cancel_invoice(invoice)
            raise
        return offered

    async def _see_old_ones_through(self) -> None:
        """The circles of earlier runs: collect those that have a commit, and take the others' invoices back."""
        for payment in self._node.payments:
            if payment.invoice.dest_public_key != self._node.public_key or not payment.is_resumed:
                continue
            if payment.state is PaymentState.COMMITTED:
                with contextlib.suppress(InvoiceNotOpen):  # it was collected before, or has come to its end
                    await self._node.accept_commit(payment.invoice, await payment.commit())
            else:
                payment.give_up("the circle was stopped")
                await self._node.cancel_invoice(payment.invoice)


def _options(circle: Circle, timeout: float) -> PayOptions:
    """The routes and fees of the circle, and nothing else."""
    routes = tuple(
        RouteCapacityRate(
            FriendsRoute(part.public_keys), part.dest_payment + part.fees, Rate(0, min(part.fees, U32_MAX))
        )
        for part in circle.parts
    )
    return PayOptions(timeout=timeout, fees_max=circle.fees, routes=(MultiRoute(routes),))


def _surplus(friends: tuple[FriendCredit, ...], key: PublicKey, targets: Mapping[PublicKey, int]) -> int:
    return sum(friend.balance - friend.sending - targets.get(key, 0) for friend in friends if friend.public_key == key)


def _lack(friends: tuple[FriendCredit, ...], key: PublicKey, targets: Mapping[PublicKey, int]) -> int:
    return sum(
        min(targets.get(key, 0) - friend.balance - friend.receiving, friend.receive)
        for friend in friends
        if friend.public_key == key
    )
