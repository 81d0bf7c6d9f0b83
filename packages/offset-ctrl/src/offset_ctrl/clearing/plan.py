"""
Who pays which circle, and what is left of the debts then.

A circle in which each member owes the next is cleared by a payment that one of them makes to itself, in the opposite
direction: from the payer to the one who owes it, and on from each creditor to its debtor, until the last one, whom the
payer owes, pays the payer. A hop from the creditor to the debtor takes what is paid off the debt between them (spec 04
§4.3, collect). The same amount comes in and goes out at each node, so the position of nobody changes but by fees.

**The order.** A node lets a friend push credits to it while what the friend owes stays within the max debt. Each hop
goes against a debt, and all payments of the plan go the same way over a pair of friends. So a balance moves in one
direction only, and what can be refused is the sum over a pair, whatever order the payments come in. A payment is
planned if this sum is within the debt (less what is frozen), and the max debt beyond it where fees lead there. Hence
each payment is possible when its turn comes, and also where another one before it failed. They are numbered so
that those that clear most come first.

**Fees.** Each mediator charges the friend that the payment comes from. The payer is no mediator of its own circle, so
it is the member that would charge most; of several, one that has the fewest circles to pay so far. A circle that
would cost more than it may, or whose fees would lead beyond a max debt, is paid with as much as can be, and what is not
planned of it is told.
"""

import enum
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from offset_ctrl.clearing.circles import Circle, find_circles
from offset_ctrl.clearing.debts import Comparison, Debt, compare
from offset_ctrl.clearing.exports import Member
from offset_ctrl.clearing.flow import largest_set_off
from offset_proto.rate import calc_fee
from offset_proto.types import U128, Currency, PublicKey

__all__ = ["CirclePayment", "LeftOut", "Plan", "Position", "Reason", "make_plan"]


class Reason(enum.Enum):
    """Why a part of a circle is not planned."""

    FEES = "it would cost more than allowed"
    CREDIT = "its fees would lead beyond a max debt"
    PAYER = "none of its members can pay it"


@dataclass(frozen=True, slots=True)
class CirclePayment:
    """
    One circle to pay.

    Attributes:
        route: Public keys; the payer comes first and last.
        amount: Credits of the invoice, which the payer makes and pays itself.
        fees: Credits that the payer offers, and the mediators take.
    """

    route: tuple[PublicKey, ...]
    amount: U128
    fees: U128

    @property
    def payer(self) -> PublicKey:
        """Who pays itself around the circle."""
        return self.route[0]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """*amount* credits of a circle that are not planned; in it each member owes the next."""

    circle: Circle[PublicKey]
    amount: U128
    reason: Reason


@dataclass(frozen=True, slots=True)
class Position:
    """What a member owes the others, and is owed by them, in credits."""

    owes: int
    is_owed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The circles to pay, and the debts before and after.

    Attributes:
        currency: Of all amounts.
        members: In the order in which they were given.
        comparison: The debts between them, and where their exports do not fit.
        most: Credits that a set-off clears at most, if circles had any length and no fees.
        payments: In the order to pay them.
        left_out: What of the circles found is not planned.
        after: What is left of each debt, in the order of the comparison; negative where fees have turned it round.
    """

    currency: Currency
    members: tuple[Member, ...]
    comparison: Comparison
    most: int
    payments: tuple[CirclePayment, ...]
    left_out: tuple[LeftOut, ...]
    after: tuple[int, ...]

    @property
    def total_before(self) -> int:
        """Credits of all debts between members now."""
        return sum(debt.amount for debt in self.comparison.debts)

    @property
    def total_after(self) -> int:
        """Credits of all debts between members when everything is paid."""
        return sum(map(abs, self.after))

    def positions(self) -> dict[PublicKey, tuple[Position, Position]]:
        """Of each member, before and after."""
        debts = self.comparison.debts
        before = _positions(self.members, debts, [debt.amount for debt in debts])
        after = _positions(self.members, debts, self.after)
        return {key: (before[key], after[key]) for key in before}


def _positions(members: Sequence[Member], debts: Sequence[Debt], amounts: Sequence[int]) -> dict[PublicKey, Position]:
    owes: Counter[PublicKey] = Counter()
    is_owed: Counter[PublicKey] = Counter()
    for debt, amount in zip(debts, amounts, strict=True):
        debtor, creditor = (debt.debtor, debt.creditor) if amount >= 0 else (debt.creditor, debt.debtor)
        owes[debtor] += abs(amount)
        is_owed[creditor] += abs(amount)
    return {member.public_key: Position(owes[member.public_key], is_owed[member.public_key]) for member in members}


def make_plan(
    members: Sequence[Member], currency: Currency, *, fees_max: U128 = 0, payers: Collection[PublicKey] | None = None
) -> Plan:
    """
    The circles that clear most of the debts between *members*.

    Args:
        members: With different public keys; what they exported is of *currency*.
        currency: What they count in.
        fees_max: Credits that a circle may cost its payer.
        payers: Members who can pay; None: all of them. The others are mediators only.
    """
    comparison = compare(members)
    clearable = {(debt.debtor, debt.creditor): debt.clearable for debt in comparison.debts}
    set_off = largest_set_off(clearable)
    circles = find_circles(clearable, set_off)
    circles.sort(key=lambda circle: (-circle.amount * len(circle.members), circle.members))
    able = {member.public_key for member in members} if payers is None else set(payers)
    draft = _Draft(comparison.debts, fees_max, able)
    for circle in circles:
        draft.add(circle)
    return Plan(
        currency=currency,
        members=tuple(members),
        comparison=comparison,
        most=sum(set_off.values()),
        payments=tuple(draft.payments),
        left_out=tuple(draft.left_out),
        after=tuple(debt.amount - draft.moved[debt.creditor, debt.debtor] for debt in comparison.debts),
    )


class _Draft:
    """The payments planned so far, and what they move over each pair from the creditor to the debtor."""

    def __init__(self, debts: Sequence[Debt], fees_max: U128, payers: Collection[PublicKey]) -> None:
        self.payments: list[CirclePayment] = []
        self.left_out: list[LeftOut] = []
        self.moved: Counter[tuple[PublicKey, PublicKey]] = Counter()
        self._debts: Mapping[tuple[PublicKey, PublicKey], Debt] = {(debt.creditor, debt.debtor): debt for debt in debts}
        self._fees_max = fees_max
        self._payers = payers
        self._paid_by: Counter[PublicKey] = Counter()

    def add(self, circle: Circle[PublicKey]) -> None:
        """Plan as much of *circle* as can be paid."""
        route = self._route(circle)
        if route is None:
            self.left_out.append(LeftOut(circle, circle.amount, Reason.PAYER))
            return
        amount = self._largest_amount(route, circle.amount)
        if amount < circle.amount:
            reason = Reason.FEES if sum(self._fees(route, circle.amount)) > self._fees_max else Reason.CREDIT
            self.left_out.append(LeftOut(circle, circle.amount - amount, reason))
        if amount:
            self.payments.append(CirclePayment(route, amount, sum(self._fees(route, amount))))
            self._paid_by[route[0]] += 1
            for hop, credits_ in zip(pairwise(route), self._pushed(route, amount), strict=True):
                self.moved[hop] += credits_

    def _route(self, circle: Circle[PublicKey]) -> tuple[PublicKey, ...] | None:
        """From the best payer against the debts back to the payer; None where nobody can pay."""
        around = circle.members[::-1]
        able = [index for index, payer in enumerate(around) if payer in self._payers]
        if not able:
            return None

        def merit(index: int) -> tuple[int, int, PublicKey]:
            would_charge = calc_fee(self._debts[around[index - 1], around[index]].rate, circle.amount)
            return -would_charge, self._paid_by[around[index]], around[index]

        start = min(able, key=merit)
        return (*around[start:], *around[: start + 1])

    def _fees(self, route: tuple[PublicKey, ...], amount: U128) -> list[int]:
        """What each mediator on *route* charges."""
        return [calc_fee(self._debts[hop].rate, amount) for hop in list(pairwise(route))[:-1]]

    def _pushed(self, route: tuple[PublicKey, ...], amount: U128) -> list[int]:
        """Credits that pass each hop: the amount, and the fees of the mediators behind it."""
        pushed = [amount]
        for fee in reversed(self._fees(route, amount)):
            pushed.append(pushed[-1] + fee)
        return pushed[::-1]

    def _can_be_paid(self, route: tuple[PublicKey, ...], amount: U128) -> bool:
        pushed = self._pushed(route, amount)
        if pushed[0] - amount > self._fees_max:
            return False
        for hop, credits_ in zip(pairwise(route), pushed, strict=True):
            debt = self._debts[hop]
            if self.moved[hop] + credits_ > debt.amount - debt.frozen + debt.max_debt:
                return False
        return True

    def _largest_amount(self, route: tuple[PublicKey, ...], amount: U128) -> U128:
        """At most *amount*. More costs more and needs more room, so the largest is found by halving."""
        if self._can_be_paid(route, amount):
            return amount
        possible, impossible = 0, amount
        while impossible - possible > 1:
            middle = (possible + impossible) // 2
            if self._can_be_paid(route, middle):
                possible = middle
            else:
                impossible = middle
        return possible
