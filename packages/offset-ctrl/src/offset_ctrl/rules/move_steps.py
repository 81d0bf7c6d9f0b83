"""
An account that moves to another key, step by step. Pure.

A friend has lost its key, and has a new one. So there are two friends for a while, the old one and the new one, and the
balance with the old one is to be the balance with the new one. A balance can not be carried over: it is signed by both
sides. But a payment over the direct link between us and the new friend changes that balance, and nobody else's:

======================  =====================  ==========================================================
balance with the old    who pays the invoice   what it needs of the new friend
======================  =====================  ==========================================================
above 0, it owes us     the new friend, ours   it pays, and hands the commit to us
below 0, we owe         we, the new friend's   it makes the invoice, and collects with the commit from us
0                       nobody                 nothing
======================  =====================  ==========================================================

The balance with the old friend stays as it is until the old friend is removed, which forgives it. So nothing is lost if
the move ends anywhere: for as long as both friends are there, what the old one says has a second account.

A move goes through these steps; `next_step` says which one is next. All of it follows from what was written down of the
move, what the node's report says, and the files that the new friend has handed over.

    disable the old friend, so that no balance with it changes any more
    fix: write down its balances, limits, rates and openings
    add and enable the new friend; give it the same limits, rates and openings
    for each currency with a balance, as soon as the new friend has agreed to it:
        (it owes us)  make an invoice -> tell the node -> wait for a commit -> collect -> moved
        (we owe)      wait for an invoice -> take it -> pay -> wait for the receipt -> moved
    settle: the limits are those of the old friend again; keep both last tokens as proofs
    remove the old friend, when a person says so; the new one gets the name that it is to have

Why nothing is paid twice: a currency has one invoice in the whole move, which is written down before anybody can pay
it, and a node collects for an invoice once. Why nothing is counted that has not come: a payment is over with its
receipt, and what the new friend pays is over when the node says that it was received. It must have come over the direct
link: before the node gets the commit, as much as the invoice asks for has to be frozen on the way in from the new
friend.

While a currency is moved, the new friend may owe us as much as the old one does, even if the limit is lower by now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from offset_ctrl.rules import changes
from offset_ctrl.rules.changes import Change
from offset_ctrl.rules.moving import Move, MovedCurrency, MoveRefused, balance_to_move, ledger_with
from offset_ctrl.rules.proofs import InvalidProof, check_commit
from offset_proto.files import Invoice
from offset_proto.messages.payment import Commit
from offset_proto.messages.report import ChannelConsistentReport, FriendLivenessReport, FriendStatusReport
from offset_proto.report_view import ReportView
from offset_proto.types import Currency

__all__ = [
    "Asked",
    "Collect",
    "Configure",
    "Done",
    "Fix",
    "MakeInvoice",
    "MoveStep",
    "Papers",
    "Pay",
    "Remove",
    "Settle",
    "TakeInvoice",
    "TellNode",
    "Unfinished",
    "Wanted",
    "next_step",
]


@dataclass(frozen=True, slots=True)
class Configure:
    """Ask the node for a change of its configuration."""

    change: Change


@dataclass(frozen=True, slots=True)
class Fix:
    """Write down the balances by `fix_balances`: they do not change any more."""


@dataclass(frozen=True, slots=True)
class MakeInvoice:
    """Write down an invoice that the new friend is to pay."""

    currency: Currency


@dataclass(frozen=True, slots=True)
class TellNode:
    """Tell the node to expect the payment of our invoice. It may have heard of it before, which changes nothing."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class TakeInvoice:
    """Write down the invoice of the new friend; no other one is paid from now on."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class Collect:
    """Write the commit down, let the node collect with it, and wait until the credits have been received."""

    currency: Currency
    commit: Commit


@dataclass(frozen=True, slots=True)
class Pay:
    """Pay the invoice of the new friend over the direct link, or go on with that; wait for the receipt."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class Settle:
    """Keep the last tokens of both friends, and write down that the account has moved."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the old friend, which forgives its balance."""

    change: Change


class Wanted(Enum):
    """What a person has to do."""

    PAYMENT = "the new friend pays our invoice, and hands over the commit"
    INVOICE = "the new friend makes an invoice, and hands it over"
    COLLECTION = "the new friend collects with our commit"
    REMOVAL = "the owner of this node has the old friend removed"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person has to do for one currency; *moved* is None for the removal of the old friend."""

    wanted: Wanted
    moved: MovedCurrency | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """
    Nothing can be done now.

    Attributes:
        asked: Of persons; the move goes on when it is begun again after that.
        waits: For what of the new friend's node, in words; the report will show it.
    """

    asked: tuple[Asked, ...]
    waits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The account has moved, and the old friend is gone."""


MoveStep: TypeAlias = (
    Configure | Fix | MakeInvoice | TellNode | TakeInvoice | Collect | Pay | Settle | Remove | Unfinished | Done
)


@dataclass(frozen=True, slots=True)
class Papers:
    """
    What is known besides the report.

    Attributes:
        invoices, commits: Which the new friend has handed over.
        told: Currencies of whose invoice the node has heard since the move was begun or begun again.
        later: Currencies that nothing more is tried for until the move is begun again, and why; empty: a person has
            to act first, as `Asked` says.
    """

    invoices: Mapping[Currency, Invoice]
    commits: Mapping[Currency, Commit]
    told: frozenset[Currency]
    later: Mapping[Currency, str]


def next_step(move: Move, report: ReportView, papers: Papers, *, removes: bool) -> MoveStep:
    """
    The next step of *move*; after it is done, ask again.

    Args:
        move: As it was written down last.
        report: Of the node, now.
        papers: What the new friend has handed over, and what was done already.
        removes: A person wants the old friend removed at the end.

    Raises:
        MoveRefused: Something is not as it was left, or what the new friend has handed over is for something else.
    """
    if not move.is_settled:
        step = _keep_old(move, report)
        if step is None:
            step = _configure_new(move, report)
        if step is None and not all(moved.is_moved for moved in move.currencies):
            step = _transfer(move, report, papers)
        return step or Settle()
    if move.old in report.friends:
        if not removes:
            return Unfinished((Asked(Wanted.REMOVAL),), ())
        return Remove(changes.remove_friend(move.old))
    friend = report.friends.get(move.new)
    if friend is not None and friend.name == move.new_name != move.final_name:
        return Configure(changes.set_friend_name(move.new, move.final_name))
    return Done()


def _keep_old(move: Move, report: ReportView) -> MoveStep | None:
    """The old friend is disabled, and nothing has changed with it."""
    friend = report.friends.get(move.old)
    if friend is None:
        raise MoveRefused("the old friend was removed before its account had moved")
    if friend.status is not FriendStatusReport.DISABLED:
        return Configure(changes.disable_friend(move.old))
    if not move.is_fixed:
        return Fix()
    for moved in move.currencies:
        balance = balance_to_move(ledger_with(report, move.old, moved.currency))
        if balance != moved.balance:
            raise MoveRefused(
                f"the balance with the old friend is {balance} {moved.currency}, and was {moved.balance} when it was "
                "disabled for the move: it was enabled meanwhile"
            )
    return None


def _configure_new(move: Move, report: ReportView) -> Configure | None:
    """The new friend is there, enabled, and configured as the old one was; None where it is."""
    wanted = []
    if move.new not in report.friends:
        wanted.append(changes.add_friend(move.ticket, move.new_name))
    wanted.append(changes.enable_friend(move.new))
    for moved in move.currencies:
        max_debt = moved.max_debt if moved.is_moved else max(moved.max_debt, moved.balance)
        is_open = moved.is_open or not moved.is_moved
        wanted += changes.set_up_currency(move.new, moved.currency, rate=moved.rate, max_debt=max_debt, is_open=is_open)
    return next((Configure(change) for change in wanted if not change.holds(report)), None)


def _transfer(move: Move, report: ReportView, papers: Papers) -> MoveStep:
    """The first currency for which something can be done; what all wait for, where there is none."""
    asked, waits = [], []
    for moved in move.currencies:
        if moved.is_moved:
            continue
        step = _of_them(move, moved, report, papers) if moved.balance > 0 else _of_us(move, moved, report, papers)
        match step:
            case Asked():
                asked.append(step)
            case str():
                waits.append(step)
            case _:
                return step
    for moved in move.currencies:
        words = _is_not_ready(move, moved, report)
        if words is not None and not moved.is_moved and words not in waits:
            waits.append(words)
    return Unfinished(tuple(asked), tuple(waits))


def _of_them(move: Move, moved: MovedCurrency, report: ReportView, papers: Papers) -> MoveStep | Asked | str:
    """The old friend owes us, so the new one pays an invoice of ours."""
    if not moved.invoices:
        return MakeInvoice(moved.currency)
    (invoice,) = moved.invoices
    if papers.later.get(moved.currency):
        return papers.later[moved.currency]
    if moved.commits:
        return Collect(moved.currency, moved.commits[0])
    if moved.currency not in papers.told:
        return TellNode(invoice)
    commit = papers.commits.get(moved.currency)
    if commit is None:
        return Asked(Wanted.PAYMENT, moved)
    try:
        check_commit(commit, invoice)
    except InvalidProof as error:
        raise MoveRefused(f"the commit of {moved.currency} collects nothing, {error}; ask for the right one") from None
    ledger = ledger_with(report, move.new, moved.currency)
    if ledger is None or ledger.remote_pending_debt < moved.amount:
        raise MoveRefused(
            f"the payment of {moved.amount} {moved.currency} has not come over the direct link; cancel the invoice, "
            "delete the commit, and let the new friend pay the same invoice directly"
        )
    return Collect(moved.currency, commit)


def _of_us(move: Move, moved: MovedCurrency, report: ReportView, papers: Papers) -> MoveStep | Asked | str:
    """We owe the old friend, so we pay an invoice of the new one."""
    if not moved.invoices:
        invoice = papers.invoices.get(moved.currency)
        if invoice is None:
            return Asked(Wanted.INVOICE, moved)
        if (invoice.dest_public_key, invoice.currency, invoice.dest_payment) != (
            move.new,
            moved.currency,
            moved.amount,
        ):
            raise MoveRefused(f"the invoice is not one of the new friend over {moved.amount} {moved.currency}")
        return TakeInvoice(invoice)
    if moved.currency in papers.later:
        return papers.later[moved.currency] or Asked(Wanted.COLLECTION, moved)
    return _is_not_ready(move, moved, report) or Pay(moved.invoices[0])


def _is_not_ready(move: Move, moved: MovedCurrency, report: ReportView) -> str | None:
    """Why nothing can be paid between us and the new friend, in words."""
    friend = report.friends[move.new]
    if friend.liveness is not FriendLivenessReport.ONLINE:
        return f"{move.new_name} to be online"
    if not isinstance(friend.channel_status, ChannelConsistentReport):
        return f"the channel with {move.new_name} to be reset"
    if ledger_with(report, move.new, moved.currency) is None:
        return f"{move.new_name} to agree to {moved.currency}"
    return None
