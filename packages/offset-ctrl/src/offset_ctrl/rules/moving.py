"""
An account that moves to another key: what is written down of it, and its plan. Pure.

What is done with it, and why that is right, is in `offset_ctrl.rules.move_steps`.

A key is seldom lost while nothing is under way. What is *frozen* with the old friend then stays so for ever, because
the one who could end it has no key any more. So the owner may have it counted, as the terms of a reset count it (spec
04 §7.2): what the old friend froze with us as paid, since we may have to pay for it further on, and what we froze with
it as not paid. Whoever lost the key bears the loss, if there is one.
"""

from dataclasses import replace

from offset_proto.errors import RefusedError
from offset_proto.files import FriendTicket, Invoice
from offset_proto.message import frozen
from offset_proto.messages.payment import Commit, Rate
from offset_proto.messages.report import ChannelConsistentReport, FriendReport, McBalanceReport
from offset_proto.rate import FREE
from offset_proto.report_view import ReportView
from offset_proto.types import I128, U128, Currency, PublicKey

__all__ = ["Move", "MoveRefused", "MovedCurrency", "balance_to_move", "fix_balances", "ledger_with", "plan_move"]


class MoveRefused(RefusedError):
    """The account can not be moved as things are; the text says what to do. Nothing has changed."""


@frozen
class MovedCurrency:
    """
    One currency of the account.

    Attributes:
        currency: Which one.
        balance: Credits that the old friend owes us; below zero what we owe.
        max_debt, rate, is_open: As we had them with the old friend.
        invoices: The invoice by which the balance moves; none until it is known, one from then on.
        commits: The commit by which we collect; none until the node is about to get it. Where we pay there is none.
        is_moved: The new friend has this balance.
    """

    currency: Currency
    balance: I128
    max_debt: U128
    rate: Rate
    is_open: bool
    invoices: tuple[Invoice, ...]
    commits: tuple[Commit, ...]
    is_moved: bool

    @property
    def amount(self) -> int:
        """Credits of the invoice."""
        return abs(self.balance)


@frozen
class Move:
    """
    All that must not be forgotten of a move.

    Attributes:
        old: The key that was lost.
        old_name: The local name of its friend.
        ticket: The new key, and where it is reached.
        new_name: The local name of the new friend while both are there.
        final_name: Its local name in the end.
        is_fixed: The balances are what they were when the old friend was disabled; before, they are only planned.
        is_settled: All currencies are moved, and the proofs are kept.
        counts_frozen: What is frozen with the old friend is counted, and does not stop the move.
        currencies: Of the old friend.
    """

    old: PublicKey
    old_name: str
    ticket: FriendTicket
    new_name: str
    final_name: str
    is_fixed: bool
    is_settled: bool
    counts_frozen: bool
    currencies: tuple[MovedCurrency, ...]

    @property
    def new(self) -> PublicKey:
        """The key of the new friend."""
        return self.ticket.public_key

    def of(self, currency: Currency) -> MovedCurrency:
        """One currency of the account. Raises KeyError where it is none."""
        for moved in self.currencies:
            if moved.currency == currency:
                return moved
        raise KeyError(currency)

    def with_currency(self, changed: MovedCurrency) -> "Move":
        """The same move with one currency in another state."""
        return replace(
            self, currencies=tuple(changed if it.currency == changed.currency else it for it in self.currencies)
        )


def plan_move(
    report: ReportView, old: PublicKey, ticket: FriendTicket, name: str | None = None, *, counts_frozen: bool = False
) -> Move:
    """
    What a move would carry over.

    Args:
        report: Of the node.
        old: The friend whose key was lost.
        ticket: Of the new key.
        name: The local name of the new friend in the end; None: that of the old one.
        counts_frozen: Count what is frozen with the old friend.

    Raises:
        MoveRefused: The old friend is none, or its channel is broken, or something is frozen with it that is not to
            be counted; the new key is its key or ours, or has a balance already; another friend has the name.
    """
    friend = report.friends.get(old)
    if friend is None:
        raise MoveRefused("the old friend is no friend of this node")
    if ticket.public_key in (old, report.local_public_key):
        raise MoveRefused(
            "the ticket has the key of the old friend, or of this node; ask for the ticket of the new key"
        )
    names = {other.name for key, other in report.friends.items() if key != ticket.public_key}
    known = report.friends.get(ticket.public_key)
    if known is not None:
        new_name, final_name = known.name, name or known.name
    else:
        final_name = name or friend.name
        new_name = next(free for free in _names_like(final_name) if free not in names)
    if final_name in names - {friend.name}:
        raise MoveRefused(f"another friend has the name {final_name}")
    currencies = _currencies(friend, counts_frozen=counts_frozen)
    for moved in currencies:
        ledger = ledger_with(report, ticket.public_key, moved.currency)
        if moved.amount and ledger is not None and ledger != McBalanceReport(0, 0, 0):
            raise MoveRefused(f"the new friend has a balance of {moved.currency} already; settle that first")
    return Move(
        old,
        friend.name,
        ticket,
        new_name,
        final_name,
        is_fixed=False,
        is_settled=False,
        counts_frozen=counts_frozen,
        currencies=currencies,
    )


def fix_balances(move: Move, report: ReportView) -> Move:
    """
    *move* with the balances as they are now; the old friend is disabled, so they stay.

    Raises:
        MoveRefused: Something is frozen that is not to be counted, or the channel is broken. The old friend should be
            enabled again.
    """
    currencies = _currencies(report.friends[move.old], counts_frozen=move.counts_frozen)
    return replace(move, is_fixed=True, currencies=currencies)


def _names_like(name: str) -> list[str]:
    return [name, f"{name}-new", *(f"{name}-new-{number}" for number in range(2, 100_000))]


def _currencies(friend: FriendReport, *, counts_frozen: bool) -> tuple[MovedCurrency, ...]:
    if not isinstance(friend.channel_status, ChannelConsistentReport):
        raise MoveRefused("the channel with the old friend is broken, so no balance with it is agreed: reset it first")
    configs = {config.currency: config for config in friend.currency_configs}
    ledgers = {entry.currency: entry.balance for entry in friend.channel_status.currency_reports}
    frozen = [
        f"{ledger.local_pending_debt} {currency} on the way out and {ledger.remote_pending_debt} on the way in"
        for currency, ledger in ledgers.items()
        if ledger.local_pending_debt or ledger.remote_pending_debt
    ]
    if frozen and not counts_frozen:
        raise MoveRefused(
            f"frozen with the old friend: {', '.join(frozen)}; the payments that wait for it have to end first: "
            "their sellers collect or cancel. Where they can not end any more, have it counted (--count-frozen): what "
            "is on the way in as paid, what is on the way out as not paid"
        )
    found = []
    for currency in sorted({*configs, *ledgers}):
        config = configs.get(currency)
        balance = balance_to_move(ledgers.get(currency))
        found.append(
            MovedCurrency(
                currency,
                balance,
                0 if config is None else config.remote_max_debt,
                FREE if config is None else config.rate,
                config is not None and config.is_open,
                (),
                (),
                is_moved=balance == 0,
            )
        )
    return tuple(found)


def balance_to_move(ledger: McBalanceReport | None) -> I128:
    """What a ledger with the old friend comes to: what it froze counts as paid. It does not change while disabled."""
    return 0 if ledger is None else ledger.balance + ledger.remote_pending_debt


def ledger_with(report: ReportView, friend: PublicKey, currency: Currency) -> McBalanceReport | None:
    """Balance and frozen credits with a friend; None where the two have not agreed to the currency."""
    found = report.friends.get(friend)
    status = None if found is None else found.channel_status
    entries = status.currency_reports if isinstance(status, ChannelConsistentReport) else ()
    return next((entry.balance for entry in entries if entry.currency == currency), None)
