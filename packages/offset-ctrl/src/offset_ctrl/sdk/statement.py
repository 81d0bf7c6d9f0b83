"""
Statements of account: the accounts of a period, read from a history, and what is printed of them.

A period is turned into numbers of entries first (`offset_ctrl.sdk.history`), so that the statements of two months that
follow each other leave nothing out and have nothing in common. `offset_ctrl.rules.statement` says what an account is.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Final

from offset_ctrl.rules.entry_words import describe_entry, friend_name
from offset_ctrl.rules.statement import Account, build_accounts
from offset_ctrl.sdk.history import (
    EntriesArchived,
    HistorySource,
    archived_through,
    collect_range,
    history_begins,
    last_before,
    last_entries,
)
from offset_proto.errors import InvalidInput
from offset_proto.messages.history import EVERY_ENTRY, HistoryEntry, HistoryFilter
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64, printable
from offset_proto.types import Currency, PublicKey

__all__ = [
    "AccountSheet",
    "NotBegun",
    "PeriodArchived",
    "SheetRow",
    "StatementSheet",
    "StatementTooLong",
    "build_sheet",
    "describe_nothing",
    "missing_for_pdf",
    "month_bounds",
    "present_time",
    "read_accounts",
]

_PDF_MODULES: Final = ("fpdf", "pymupdf_fonts", "uharfbuzz")


class StatementTooLong(InvalidInput):
    """A statement is held in memory as a whole, and the period has more entries than the caller has room for."""

    def __init__(self, entries_max: int) -> None:
        super().__init__(f"a statement has {entries_max} entries at most: choose a shorter one")


class PeriodArchived(EntriesArchived):
    """
    Entries of a period were moved to an archive by the owner of the node, who has the file. The text says which.

    Args:
        through: Number of the last entry that was moved.
        last: When that was, in seconds since 1970; None: this app is not shown it.
        is_whole: Nothing of the period is in the node any more.
    """

    def __init__(self, through: int, last: int | None, *, is_whole: bool) -> None:
        which = "all entries" if is_whole else "the first entries"
        when = "" if last is None else f" of {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(last))}"
        super().__init__(
            through, f"{which} of this period were moved to an archive, which goes up to entry {through}{when}"
        )


class NotBegun(InvalidInput):
    """
    A period is still to come. The text says which months there are.

    Args:
        since: When it begins.
        begins: When the history does, in seconds since 1970; None: it has no entry yet.
        now: The present time.
    """

    def __init__(self, since: datetime, begins: int | None, now: datetime) -> None:
        last = f"{now:%Y-%m}"
        first = last if begins is None else time.strftime("%Y-%m", time.gmtime(begins))
        months = f"is the month {last}, and no other" if first >= last else f"are the months {first} to {last}"
        super().__init__(f"{since:%Y-%m-%d} is still to come; so far there {months}")


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One entry: its day, what happened, and credits: by which the balance changed, and what it came to."""

    date: str
    words: str
    change: int
    balance: int


@dataclass(frozen=True, slots=True)
class AccountSheet:
    """An account as it is printed. Amounts are in credits."""

    friend: str
    friend_key: str
    currency: str
    opening: int
    closing: int
    received: int
    paid: int
    fees_paid: int
    fees_earned: int
    rows: tuple[SheetRow, ...]


@dataclass(frozen=True, slots=True)
class StatementSheet:
    """
    What is printed.

    Attributes:
        holder: Whose node it is, in words; may be empty.
        node_key: The public key of the node.
        period: In words.
        made: When the statement was made.
        accounts: In the order in which they are printed.
        nothing: Why there are none, in words; empty where there are.
        is_running: The period had not ended when it was made, so that closing balances are those so far.
    """

    holder: str
    node_key: str
    period: str
    made: datetime
    accounts: tuple[AccountSheet, ...]
    nothing: str = ""
    is_running: bool = False


def month_bounds(text: str) -> tuple[datetime, datetime]:
    """
    When a month begins, and when the next one does, in UTC.

    Raises:
        InvalidInput: *text* is no month, such as ``2026-11``.
    """
    try:
        first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        return first, first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    except ValueError:
        raise InvalidInput(f"{text!r} is no month; write 2026-11") from None


async def present_time(source: HistorySource, here: datetime) -> datetime:
    """The time *here*, or that of the last entry, where the clock of the node is ahead; errors as `read_accounts`."""
    latest = await last_entries(source, EVERY_ENTRY, 1)
    return max([here, *(datetime.fromtimestamp(entry.time, UTC) for entry in latest)])


async def read_accounts(
    source: HistorySource,
    report: ReportView,
    since: datetime,
    until: datetime | None,
    wanted: HistoryFilter,
    *,
    entries_max: int,
    now: datetime,
) -> list[Account]:
    """
    The accounts that have an entry in a period, or a balance; in the order of the friends' names.

    Args:
        source: Of the history.
        report: Of the node, with its friends.
        since, until: When the period begins, and when what comes after it does; None: it has no end yet.
        wanted: Of these friends and currencies only.
        entries_max: How many entries may be read.
        now: The present time, as `present_time` says it.

    Raises:
        NotAnnounced: The node keeps no history.
        NotBegun: The period is still to come.
        PeriodArchived: Entries of the period were moved to an archive.
        StatementTooLong: There are more than *entries_max*.
        InvalidInput: The history is damaged: an entry does not go on from the one before it.
        NodeConnectionError, ConnectionClosed: As `NodeSession.insist`.
    """
    if since > now:
        raise NotBegun(since, await history_begins(source), now)
    through, after, archived = await asyncio.gather(
        last_before(source, until), last_before(source, since), archived_through(source)
    )
    after = min(through, after)
    if after < archived:  # also where the whole period is, of which nothing would be found
        opening = await last_entries(source, EVERY_ENTRY, 1, before=archived + 1)
        raise PeriodArchived(archived, opening[0].time if opening else None, is_whole=through <= archived)
    entries = await collect_range(source, after, through, wanted, entries_max)
    if entries is None:
        raise StatementTooLong(entries_max)
    openings: dict[tuple[PublicKey, Currency], int] = {}
    for friend, currency in _without_entries(report, wanted, entries):
        this_one = HistoryFilter(friend, currency, (), 0, 0)
        found = await last_entries(source, this_one, 1, before=after + 1)
        if found and found[0].balance:
            openings[friend, currency] = found[0].balance
    accounts = build_accounts(entries, openings)
    return sorted(accounts, key=lambda each: (friend_name(report, each.friend), each.friend, each.currency))


async def describe_nothing(source: HistorySource, until: datetime | None) -> str:
    """
    Why there is no account to be shown of a period, in words; errors are as with `read_accounts`.

    Args:
        source: Of the history.
        until: When what comes after the period begins; None: it has no end yet.
    """
    begins = await history_begins(source)
    if begins is None:
        return "No account has entries or a balance: there is no entry in this history yet."
    words = "No account has entries or a balance in this period"
    if until is None or until.timestamp() > begins:
        return f"{words}."
    return f"{words}: the history is there since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(begins))}."


def _without_entries(
    report: ReportView, wanted: HistoryFilter, entries: Sequence[HistoryEntry]
) -> list[tuple[PublicKey, Currency]]:
    """
    Friends and currencies of which there is no entry in the period.

    Friends that are not in the report have been removed. Of them there is nothing to tell, except where an entry does.
    """
    seen = {(entry.friend, entry.currency) for entry in entries}
    return sorted(
        (key, config.currency)
        for key, friend in report.friends.items()
        for config in friend.currency_configs
        if wanted.opt_friend in (None, key)
        and wanted.opt_currency in (None, config.currency)
        and (key, config.currency) not in seen
    )


def build_sheet(
    report: ReportView,
    accounts: Sequence[Account],
    holder: str,
    period: str,
    *,
    made: datetime,
    is_running: bool,
    nothing: str = "",
) -> StatementSheet:
    """
    What `offset_ctrl.sdk.statement_pdf` prints of accounts.

    Args:
        report: Of the node, with the names of its friends.
        accounts: In the order in which they are printed.
        holder: Whose node it is, in words; may be empty.
        period: In words.
        made: The present time.
        is_running: The period has not ended.
        nothing: Why there are no accounts, as `describe_nothing` says it.
    """
    sheets = tuple(_account_sheet(report, account) for account in accounts)
    key = format_b64(report.local_public_key)
    return StatementSheet(printable(holder), key, period, made, sheets, nothing, is_running)


def _account_sheet(report: ReportView, account: Account) -> AccountSheet:
    return AccountSheet(
        friend=friend_name(report, account.friend),
        friend_key=format_b64(account.friend),
        currency=printable(account.currency),
        opening=account.opening,
        closing=account.closing,
        received=account.received,
        paid=account.paid,
        fees_paid=account.fees_paid,
        fees_earned=account.fees_earned,
        rows=tuple(
            SheetRow(
                time.strftime("%Y-%m-%d", time.gmtime(entry.time)),
                describe_entry(report, entry),
                entry.change,
                entry.balance,
            )
            for entry in account.entries
        ),
    )


def missing_for_pdf() -> str | None:
    """A module that `offset_ctrl.sdk.statement_pdf` needs and that is not installed; None: a PDF can be made."""
    return next((name for name in _PDF_MODULES if find_spec(name) is None), None)
