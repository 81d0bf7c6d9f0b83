"""
stctrl history: what changed the balances with friends. Spec 12 §6.

It asks and changes nothing. What shows entries takes them from a node, from archives, or from both
(`offset_ctrl.programs.stctrl.archives`). A node of the original keeps no history, nor does an older one of ours.
"""

import csv
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from offset_ctrl.connection.client import NotAnnounced
from offset_ctrl.connection.history import HistoryPlace
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.archives import GROUP, NamedSource, tell_archived, whole_history
from offset_ctrl.programs.stctrl.session import CommandError, parse_currency
from offset_ctrl.programs.stctrl.waiting import moment
from offset_ctrl.programs.table import format_table, printable, shown_json
from offset_ctrl.rules.entry_words import describe_entry, friend_name
from offset_ctrl.rules.refusals import known_names
from offset_ctrl.sdk.history import archived_through, build_filter, last_entries, note_of, note_request, read_entries
from offset_proto.errors import InvalidInput
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import EVERY_ENTRY, EntryKind, HistoryEntry, HistoryFilter, check_note
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import PublicKey
from offset_proto.uri import PaymentRequest

__all__ = [
    "check_ends",
    "day",
    "history",
    "is_midnight",
    "not_announced",
    "note",
    "parse_date",
    "parse_range",
    "payment_note",
    "read_filter",
    "show_last",
]

_COLUMNS: Final = (
    "number",
    "time",
    "friend",
    "currency",
    "kind",
    "change",
    "balance",
    "amount",
    "fee",
    "party",
    "friend_key",
    "party_key",
    "invoice_id",
    "payment_id",
    "request_id",
    "note",
    "app",
)
"""Of CSV, and the members of JSON."""


async def history(
    session: NodeSession,
    *,
    since: str | None,
    until: str | None,
    friend: str | None,
    currency: str | None,
    kinds: tuple[str, ...],
    limit: int,
    follow: bool,
    as_json: bool,
    as_csv: bool,
    archives: tuple[Path, ...] = (),
) -> None:
    """
    Print the last entries, the oldest of them first; and with *follow*, what comes after them.

    What was moved out of the node is read from *archives*.

    Raises:
        CommandError: The node keeps no history, the archives are not its own, or there is no such friend, kind or date.
    """
    wanted = read_filter(session.report, since, until, friend, currency, kinds)
    try:
        async with whole_history(session, archives) as whole:
            if follow:
                _check_form(as_json=as_json, as_csv=as_csv)
                await _follow(session, whole, wanted, limit, as_json=as_json, as_csv=as_csv)
            else:
                await show_last(whole, wanted, limit, as_json=as_json, as_csv=as_csv)
    except NotAnnounced as error:
        raise not_announced(error) from None


async def show_last(source: NamedSource, wanted: HistoryFilter, limit: int, *, as_json: bool, as_csv: bool) -> None:
    """
    Print the last entries, the oldest of them first.

    Raises:
        CommandError: They can not be JSON and CSV.
        NotAnnounced: The node keeps no history.
    """
    _check_form(as_json=as_json, as_csv=as_csv)
    found = await last_entries(source, wanted, limit)
    _print_all(source.report, found, as_json=as_json, as_csv=as_csv)
    if len(found) < limit or found[0].kind is EntryKind.OPENING:
        await tell_archived(source)


def _check_form(*, as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise CommandError(GROUP, "JsonAndCsv", "the options --json and --csv exclude each other")


async def _follow(
    session: NodeSession, whole: NamedSource, wanted: HistoryFilter, limit: int, *, as_json: bool, as_csv: bool
) -> None:
    report = session.report
    await session.follow_history()
    end = session.history_place
    found = await last_entries(whole, wanted, limit)
    writer = csv.writer(sys.stdout)
    if as_csv:
        writer.writerow(_COLUMNS)
    async for entry in _and_what_comes(session, wanted, [entry for entry in found if entry.number <= end.number], end):
        if as_csv:
            writer.writerow(_cells(report, entry).values())
        else:
            click.echo(shown_json(_cells(report, entry), None) if as_json else _line(report, entry))
        sys.stdout.flush()


async def note(session: NodeSession, *, number: int, text: str) -> None:
    """
    Keep a note with one entry.

    Raises:
        CommandError: The node keeps no history, or has no such entry; or the text can not be a note.
    """
    try:
        request = note_request(number, text)
        if not await last_entries(session, EVERY_ENTRY, 1, after=number - 1, before=number + 1):
            if number <= await archived_through(session):
                words = f"entry {number} was moved to an archive, where nothing is changed any more"
                raise CommandError(GROUP, "EntryArchived", words)
            raise CommandError(GROUP, f"NoSuchEntry({number})")
        await session.request(request)
    except NotAnnounced as error:
        raise not_announced(error) from None
    except InvalidInput as error:
        raise CommandError(GROUP, f"InvalidNote({error})") from None


def payment_note(session: NodeSession, asked: PaymentRequest | None, note: str | None) -> str | None:
    """
    What is to be noted to a payment, known before it is made: by default what a text is for, where notes are kept.

    Raises:
        CommandError: *note* can not be one, or the node keeps none.
    """
    if note is None:
        if asked is None or asked.description is None or Extension.HISTORY not in session.extensions:
            return None
        return note_of(asked.description)
    try:
        check_note(note)
    except InvalidInput as error:
        raise CommandError("BuyerError", f"InvalidNote({error})") from None
    if Extension.HISTORY not in session.extensions:
        raise CommandError("BuyerError", "NotAnnounced", "this node keeps no history, and no notes; pay without --note")
    return note


async def _and_what_comes(
    session: NodeSession, wanted: HistoryFilter, found: list[HistoryEntry], end: HistoryPlace
) -> AsyncIterator[HistoryEntry]:
    for entry in found:
        yield entry
    async for entry in read_entries(session, end, wanted, follow=True):
        yield entry


def not_announced(error: NotAnnounced) -> CommandError:
    """The error that says in one line that the node keeps no history."""
    return CommandError(GROUP, "NotAnnounced", str(error))


def read_filter(
    report: ReportView,
    since: str | None,
    until: str | None,
    friend: str | None,
    currency: str | None,
    kinds: Iterable[str],
) -> HistoryFilter:
    """
    Which entries the options of a command want.

    Raises:
        CommandError: There is no such friend, kind or date, or no time between the dates.
    """
    names = {kind.value: kind for kind in EntryKind}
    for kind in kinds:
        if kind not in names:
            raise CommandError(GROUP, f"UnknownKind({kind})", f"the kinds are {', '.join(names)}")
    try:
        return build_filter(
            None if friend is None else _friend_key(report, friend),
            None if currency is None else parse_currency(GROUP, currency),
            [names[kind] for kind in kinds],
            *parse_range(since, until),
        )
    except InvalidInput as error:
        raise CommandError(GROUP, f"InvalidDate({error})") from None


def _friend_key(report: ReportView, name: str) -> PublicKey:
    """By name among the friends that there are; else the text of a key, of one that was removed perhaps."""
    keys = [key for key, friend in report.friends.items() if friend.name == name]
    if keys:
        return min(keys)
    try:
        return parse_b64(PublicKey, name)
    except InvalidInput:
        names = known_names(friend.name for friend in report.friends.values())
        words = printable(f"no key, and among the friends, {names}")
        raise CommandError(GROUP, f"FriendNameNotFound({name})", words) from None


def parse_date(text: str | None) -> datetime | None:
    """
    A day, or a moment; in UTC, where it names no zone.

    Raises:
        CommandError: It is neither.
    """
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        words = "a day is written 2026-11-30, a time 2026-11-30T12:00:00"
        raise CommandError(GROUP, f"InvalidDate({text})", words) from None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def parse_range(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """
    The two ends of a period, as by `parse_date`.

    Raises:
        CommandError: One of them is no date, or there is no time between them.
    """
    first, last = parse_date(since), parse_date(until)
    if first is not None and last is not None and last <= first:
        words = f"--until {until} is not after --since {since}, so there is nothing between them"
        raise CommandError(GROUP, "WhichPeriod", words)
    return first, last


def check_ends(since: datetime | None, until: datetime | None, ends: datetime) -> None:
    """
    Check that a period is in archives, which have nothing from the moment *ends* on; None is no bound.

    Raises:
        CommandError: A part of it is after that.
    """
    if (until is not None and until > ends) or (since is not None and since >= ends):
        words = "what came then is in the history of the node, or in a later archive"
        raise CommandError(GROUP, f"ArchiveEnds({day(ends)})", words)


def day(when: datetime) -> str:
    """A day, where it begins with this moment; the moment otherwise."""
    utc = when.astimezone(UTC)
    return f"{utc:%Y-%m-%d}" if is_midnight(when) else f"{utc:%Y-%m-%dT%H:%M:%SZ}"


def is_midnight(when: datetime) -> bool:
    """Whether a day begins then, in UTC."""
    return when.timestamp() % 86400 == 0


def _cells(report: ReportView, entry: HistoryEntry) -> dict[str, Any]:
    """An entry for a script: amounts as decimal strings, as in all files."""
    party = entry.opt_party
    values = (
        entry.number,
        moment(entry.time),
        friend_name(report, entry.friend),
        printable(entry.currency),
        entry.kind.value,
        str(entry.change),
        str(entry.balance),
        str(entry.amount),
        str(entry.fee),
        None if party is None else friend_name(report, party),
        format_b64(entry.friend),
        None if party is None else format_b64(party),
        None if entry.opt_invoice_id is None else format_b64(entry.opt_invoice_id),
        None if entry.opt_payment_id is None else format_b64(entry.opt_payment_id),
        None if entry.opt_request_id is None else format_b64(entry.opt_request_id),
        entry.note or None,
        None if entry.opt_app is None else format_b64(entry.opt_app),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _row(report: ReportView, entry: HistoryEntry) -> list[str]:
    return [
        str(entry.number),
        moment(entry.time),
        friend_name(report, entry.friend),
        printable(entry.currency),
        describe_entry(report, entry),
        f"{entry.change:+}" if entry.change else "",
        str(entry.balance),
    ]


def _line(report: ReportView, entry: HistoryEntry) -> str:
    number, time, friend, currency, words, change, balance = _row(report, entry)
    return f"{number} {time} {friend} {currency}: {words}" + (f" ({change}, balance {balance})" if change else "")


def _print_all(report: ReportView, entries: list[HistoryEntry], *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        click.echo(shown_json([_cells(report, entry) for entry in entries]))
    elif as_csv:
        _print_csv(_COLUMNS, [list(_cells(report, entry).values()) for entry in entries])
    elif entries:
        titles = ["number", "time", "friend", "currency", "what", "change", "balance"]
        click.echo(format_table(titles, [_row(report, entry) for entry in entries]))
    else:
        click.echo("No entries.")


def _print_csv(titles: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(titles)
    writer.writerows(rows)
