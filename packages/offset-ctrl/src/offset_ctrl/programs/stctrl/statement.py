"""
stctrl statement: what happened to the balance with each friend in a period, as text, CSV, JSON or PDF. Spec 12 §6.

It asks a node, archives or both, and changes nothing. What the accounts are is found out by
`offset_ctrl.sdk.statement`.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from offset_ctrl.connection.client import NotAnnounced
from offset_ctrl.programs.stctrl.archives import GROUP, READ_ARCHIVE, NamedSource, whole_history
from offset_ctrl.programs.stctrl.history import (
    check_ends,
    day,
    is_midnight,
    not_announced,
    parse_range,
    read_filter,
)
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.programs.stctrl.waiting import moment
from offset_ctrl.programs.table import format_table, printable, shown_json
from offset_ctrl.rules.entry_words import describe_entry, friend_name
from offset_ctrl.rules.statement import Account
from offset_ctrl.sdk.history import EntriesArchived
from offset_ctrl.sdk.statement import (
    NotBegun,
    StatementSheet,
    StatementTooLong,
    build_sheet,
    describe_nothing,
    missing_for_pdf,
    month_bounds,
    present_time,
    read_accounts,
)
from offset_proto.errors import InvalidInput
from offset_proto.files import save_bytes
from offset_proto.messages.history import HistoryEntry
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64

__all__ = ["ENTRIES_MAX", "statement"]

ENTRIES_MAX: Final = 500_000
"""Of one statement, which is held in memory as a whole; about 1 kB each."""

_COLUMNS: Final = ("friend", "currency", "row", "number", "time", "description", "received", "paid", "balance", "fee")
"""Of CSV. *row* is opening, entry or closing; closing has a time where the period has not ended then."""


@dataclass(frozen=True, slots=True)
class _Period:
    """From a moment on, and up to another one, or to the end of the history."""

    since: datetime
    until: datetime | None

    def is_running(self, now: datetime) -> bool:
        """Whether it has not ended, so that its last balances are those so far."""
        return self.until is None or self.until > now

    def words(self) -> str:
        """Days, where it begins and ends with days."""
        if self.until is None:
            return f"since {day(self.since)}"
        last = self.until - timedelta(days=1) if is_midnight(self.until) else self.until
        return f"{day(self.since)} to {day(last)}"

    def within(self, ends: datetime) -> "_Period":
        """
        The period in an archive, which has nothing from the moment *ends* on; where it says no end, it ends there.

        Raises:
            CommandError: A part of it is after that.
        """
        check_ends(self.since, self.until, ends)
        return replace(self, until=ends if self.until is None else self.until)


async def statement(
    source: NamedSource,
    *,
    month: str | None,
    since: str | None,
    until: str | None,
    friend: str | None,
    currency: str | None,
    output: Path | None,
    holder: str,
    fonts: tuple[Path, ...],
    archives: tuple[Path, ...] = (),
    ends: datetime | None = None,
    now: datetime | None = None,
) -> None:
    """
    Print the statement of a period, or write it into a new file, in the form that the end of its name says.

    What was moved out of a node is read from *archives*. With *ends*, the source itself is archives, which have nothing
    from that moment on. *now* is the present time, unless it is given.

    Raises:
        CommandError: The node keeps no history; the archives are not its own; there is not all of the period; it is
            still to come; there is no such period, friend or currency; or what makes a PDF is not installed.
        OutputAlreadyExists, IoError: The file can not be written.
    """
    period = _period(month, since, until)
    if ends is not None:
        period = period.within(ends)
    form = "" if output is None else output.suffix
    if form not in ("", ".csv", ".json", ".pdf"):
        raise CommandError(GROUP, f"UnknownForm({form})", "the name of the file ends in .pdf, .csv or .json")
    wanted = read_filter(source.report, None, None, friend, currency, ())
    report = source.report
    try:
        async with whole_history(source, archives) as whole:
            now = await present_time(whole, now or datetime.now(UTC))
            bounds = period.since, period.until
            accounts = await read_accounts(whole, report, *bounds, wanted, entries_max=ENTRIES_MAX, now=now)
            nothing = "" if accounts else await describe_nothing(whole, period.until)
    except NotAnnounced as error:
        raise not_announced(error) from None
    except EntriesArchived as error:
        raise CommandError(GROUP, f"EntriesArchived({error.through})", f"{error}; {READ_ARCHIVE}") from None
    except NotBegun as error:
        raise CommandError(GROUP, f"NotBegun({day(period.since)})", str(error)) from None
    except StatementTooLong as error:
        raise CommandError(GROUP, "TooMany", str(error)) from None
    except InvalidInput as error:
        raise CommandError(GROUP, f"DamagedHistory({error})") from None
    running = now if period.is_running(now) else None
    if output is None:
        click.echo(nothing or _as_text(report, period, accounts, running))
        return
    if form == ".csv":
        data = _as_csv(report, accounts, running).encode()
    elif form == ".json":
        data = _as_json(report, period, accounts, running).encode()
    else:
        words, is_running = period.words(), running is not None
        sheet = build_sheet(report, accounts, holder, words, made=now, is_running=is_running, nothing=nothing)
        data = _as_pdf(sheet, fonts)
    save_bytes(output, data, secret=True)
    if nothing:
        click.echo(nothing, err=True)


def _period(month: str | None, since: str | None, until: str | None) -> _Period:
    if (month is None) == (since is None) or (month is not None and until is not None):
        words = "give either --month 2026-11, or --since DATE and perhaps --until DATE"
        raise CommandError(GROUP, "WhichPeriod", words)
    if month is not None:
        try:
            return _Period(*month_bounds(month))
        except InvalidInput as error:
            raise CommandError(GROUP, f"InvalidDate({error})") from None
    first, last = parse_range(since, until)
    assert first is not None
    return _Period(first, last)


def _changes(entry: HistoryEntry) -> tuple[str, str]:
    """Credits received and paid; one of them is empty, or both."""
    change = entry.change
    return str(change) if change > 0 else "", str(-change) if change < 0 else ""


def _so_far(running: datetime | None) -> str:
    """The present time, where a period has not ended."""
    return "" if running is None else moment(int(running.timestamp()))


def _as_text(report: ReportView, period: _Period, accounts: Sequence[Account], running: datetime | None) -> str:
    last = "closing balance" if running is None else "balance so far"
    parts = []
    for account in accounts:
        rows = [["", "opening balance", "", "", str(account.opening)]]
        rows += [
            [moment(entry.time), describe_entry(report, entry), *_changes(entry), str(entry.balance)]
            for entry in account.entries
        ]
        rows.append([_so_far(running), last, str(account.received), str(account.paid), str(account.closing)])
        head = f"{friend_name(report, account.friend)}, {printable(account.currency)}, {period.words()} (UTC)"
        fees = f"fees paid: {account.fees_paid}, fees earned: {account.fees_earned}"
        parts.append(f"{head}\n{format_table(['time', 'what', 'received', 'paid', 'balance'], rows)}\n{fees}")
    return "\n\n".join(parts)


def _as_csv(report: ReportView, accounts: Sequence[Account], running: datetime | None) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for account in accounts:
        names = [friend_name(report, account.friend), printable(account.currency)]
        writer.writerow([*names, "opening", "", "", "", "", "", account.opening, ""])
        for entry in account.entries:
            words = [entry.number, moment(entry.time), describe_entry(report, entry)]
            writer.writerow([*names, "entry", *words, *_changes(entry), entry.balance, entry.fee])
        fees = account.fees_paid + account.fees_earned
        sums = account.received, account.paid, account.closing, fees
        writer.writerow([*names, "closing", "", _so_far(running), "", *sums])
    return text.getvalue()


def _as_json(report: ReportView, period: _Period, accounts: Sequence[Account], running: datetime | None) -> str:
    """Amounts as decimal strings, as in all files."""

    def account_json(account: Account) -> dict[str, Any]:
        return {
            "friend": friend_name(report, account.friend),
            "friend_key": format_b64(account.friend),
            "currency": printable(account.currency),
            "opening": str(account.opening),
            "received": str(account.received),
            "paid": str(account.paid),
            "closing": str(account.closing),
            "fees_paid": str(account.fees_paid),
            "fees_earned": str(account.fees_earned),
            "entries": [entry_json(entry) for entry in account.entries],
        }

    def entry_json(entry: HistoryEntry) -> dict[str, Any]:
        return {
            "number": entry.number,
            "time": moment(entry.time),
            "kind": entry.kind.value,
            "description": describe_entry(report, entry),
            "note": entry.note or None,
            "change": str(entry.change),
            "balance": str(entry.balance),
            "fee": str(entry.fee),
        }

    until = None if period.until is None else moment(int(period.until.timestamp()))
    whole = {
        "node_key": format_b64(report.local_public_key),
        "since": moment(int(period.since.timestamp())),
        "until": until,
        "so_far": _so_far(running) or None,
        "accounts": [account_json(account) for account in accounts],
    }
    return shown_json(whole) + "\n"


def _as_pdf(sheet: StatementSheet, fonts: tuple[Path, ...]) -> bytes:
    if (name := missing_for_pdf()) is not None:
        raise CommandError(GROUP, "PdfUnavailable", f"a PDF needs {name}: pip install 'offset-ctrl[pdf]'")
    from offset_ctrl.sdk.statement_pdf import build_pdf

    try:
        data, missing = build_pdf(sheet, fonts)
    except InvalidInput as error:
        raise CommandError(GROUP, f"NoPdf({error})") from None
    if missing:
        shown = " ".join(missing[:20])
        click.echo(f"no font has {shown}: they are shown by their numbers; give one with --font FILE", err=True)
    return data
