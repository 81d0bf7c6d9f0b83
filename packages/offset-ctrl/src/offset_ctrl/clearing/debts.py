"""
The debts of a community, from what both sides of each friendship say.

Both friends hold the same balance with opposite signs, so each debt is told twice. Where the two exports do not agree,
one was made later than the other, or a payment ended between the two. The smaller debt counts then, since it is not
known which is right and a circle must not take off more than there is; where they do not even agree on who owes,
nothing counts. A friend who has no export has not consented, and no debt with it counts.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from offset_ctrl.clearing.exports import Member, Side
from offset_proto.messages.payment import Rate
from offset_proto.types import I128, U128, PublicKey

__all__ = ["Comparison", "Debt", "Disagreement", "Hindrance", "compare"]


class Hindrance(enum.Enum):
    """Why no payment can pass between two friends, and what they can do about it."""

    CLOSED = "the currency is closed on one side; open it with stctrl config open-currency -n FRIEND -c CURRENCY"
    DISABLED = "one of them has disabled the other; stctrl config enable-friend -n FRIEND takes that back"


@dataclass(frozen=True, slots=True)
class Debt:
    """
    What one member owes another, and what the debtor's node lets the creditor push against it.

    Attributes:
        debtor: Who owes.
        creditor: Who is owed.
        amount: Credits, at least 1.
        frozen: Credits of it that payments under way from the creditor to the debtor may take off.
        max_debt: Credits that the creditor may owe the debtor, once the debt is gone.
        rate: What the debtor charges the creditor for forwarding.
        hindrance: Why nothing can be cleared of it, or None.
    """

    debtor: PublicKey
    creditor: PublicKey
    amount: U128
    frozen: U128
    max_debt: U128
    rate: Rate
    hindrance: Hindrance | None

    @property
    def clearable(self) -> U128:
        """Credits that can be taken off now."""
        return 0 if self.hindrance else max(0, self.amount - self.frozen)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """
    Two members whose exports do not fit together; the balances are as each of them says.

    A balance is None where the member's export has no ledger with the other, in this currency.
    """

    first: Member
    second: Member
    first_balance: I128 | None
    second_balance: I128 | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All debts between members, those who do not agree, and pairs without an agreed balance (inconsistent)."""

    debts: tuple[Debt, ...]
    disagreements: tuple[Disagreement, ...]
    inconsistent: tuple[tuple[Member, Member], ...]


def compare(members: Sequence[Member]) -> Comparison:
    """
    The debts between *members*, whose public keys differ; what they say of others is passed over.

    The pairs come in the order of the public keys, whatever the order of *members* is.
    """
    debts: list[Debt] = []
    disagreements: list[Disagreement] = []
    inconsistent: list[tuple[Member, Member]] = []
    by_key = {member.public_key: member for member in members}
    pairs = {(min(key, other), max(key, other)) for key, member in by_key.items() for other in member.sides}
    for one, other in sorted(pair for pair in pairs if pair[0] in by_key and pair[1] in by_key):
        first, second = by_key[one], by_key[other]
        ours, theirs = first.sides.get(other), second.sides.get(one)
        if any(side is not None and side.balance is None for side in (ours, theirs)):
            inconsistent.append((first, second))
            continue
        balance, mirrored = (None if side is None else side.balance for side in (ours, theirs))
        if (balance or 0) != -(mirrored or 0):
            disagreements.append(Disagreement(first, second, balance, mirrored))
        if balance is None or mirrored is None or ours is None or theirs is None:
            continue
        if balance > 0 > mirrored:
            debts.append(_debt((second, theirs), (first, ours), min(balance, -mirrored)))
        elif balance < 0 < mirrored:
            debts.append(_debt((first, ours), (second, theirs), min(-balance, mirrored)))
    return Comparison(tuple(debts), tuple(disagreements), tuple(inconsistent))


def _debt(debtor: tuple[Member, Side], creditor: tuple[Member, Side], amount: U128) -> Debt:
    sides = (debtor[1], creditor[1])
    hindrance = None
    if not all(side.is_enabled for side in sides):
        hindrance = Hindrance.DISABLED
    elif not all(side.is_open for side in sides):
        hindrance = Hindrance.CLOSED
    return Debt(
        debtor=debtor[0].public_key,
        creditor=creditor[0].public_key,
        amount=amount,
        frozen=max(debtor[1].remote_pending_debt, creditor[1].local_pending_debt),
        max_debt=debtor[1].max_debt,
        rate=debtor[1].rate,
        hindrance=hindrance,
    )
