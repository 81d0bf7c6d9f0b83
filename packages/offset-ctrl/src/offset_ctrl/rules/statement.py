"""
Statements of account: what a friend owed at the start of a period, what changed that, and what it came to. Pure.

An *account* is what one friend and one currency have in the history of a node (spec 12 §6). Its balance is what the
friend owes us, in credits; below zero, what we owe. What raises it is *received*, what lowers it is *paid*::

    opening + received - paid = closing

An account without an entry in the period opens and closes with the balance that it had before; so the caller says what
that was. Where there are entries, the first of them says so itself, and each has to go on from the one before: an
entry that was left out on the way does not stay unseen.

A fee stands where the history has it. What a payment of ours cost is in the account of the friend over whom it went.
What forwarding earned is in the account of the friend to whom the payment was passed on, since that entry alone knows
it; ``stctrl income --by friend`` says which friends it came from. So the fees of all accounts together are those of the
node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offset_proto.errors import InvalidInput
from offset_proto.messages.history import EntryKind, HistoryEntry
from offset_proto.text import format_b64
from offset_proto.types import I128, Currency, PublicKey

__all__ = ["Account", "build_accounts"]


@dataclass(frozen=True, slots=True)
class Account:
    """
    One friend and one currency in a period.

    Attributes:
        friend, currency: Whose balance it is about.
        opening: Credits that the friend owed us when the period began.
        entries: Of the period, in the order of their numbers.
    """

    friend: PublicKey
    currency: Currency
    opening: I128
    entries: tuple[HistoryEntry, ...]

    @property
    def closing(self) -> I128:
        """Credits that the friend owed us when the period ended."""
        return self.entries[-1].balance if self.entries else self.opening

    @property
    def received(self) -> int:
        """Credits by which the balance rose. Of a whole period they may be more than any balance can be."""
        return sum(entry.change for entry in self.entries if entry.change > 0)

    @property
    def paid(self) -> int:
        """Credits by which the balance fell."""
        return -sum(entry.change for entry in self.entries if entry.change < 0)

    @property
    def fees_paid(self) -> int:
        """Credits that mediators took of our own payments; a part of what was paid."""
        return sum(entry.fee for entry in self.entries if entry.kind is EntryKind.PAID)

    @property
    def fees_earned(self) -> int:
        """Credits that we took of payments which were passed on to this friend."""
        return sum(entry.fee for entry in self.entries if entry.kind is EntryKind.FORWARDED)


def build_accounts(
    entries: Iterable[HistoryEntry], openings: Mapping[tuple[PublicKey, Currency], I128]
) -> list[Account]:
    """
    The accounts of a period, by the keys of the friends and by currency.

    Args:
        entries: All of the period, in the order of their numbers.
        openings: The balances of the accounts that are wanted although they may have no entry.

    Raises:
        InvalidInput: An entry does not go on from the one before it, or from the opening balance; says which.
    """
    found: dict[tuple[PublicKey, Currency], list[HistoryEntry]] = {key: [] for key in openings}
    balances = dict(openings)
    number = 0
    for entry in entries:
        key = (entry.friend, entry.currency)
        known = balances.get(key, entry.before)
        if entry.before != known or entry.number <= number:
            raise InvalidInput(
                f"entry {entry.number} goes on from a balance of {entry.before} {entry.currency} with"
                f" {format_b64(entry.friend)}, which was {known} after entry {number}"
            )
        found.setdefault(key, []).append(entry)
        balances[key] = entry.balance
        number = entry.number
    return [
        Account(*key, openings[key] if key in openings else found[key][0].before, tuple(found[key]))
        for key in sorted(found)
    ]
