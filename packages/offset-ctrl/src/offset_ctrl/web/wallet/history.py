"""
The history in the wallet: what changed the balances with friends, the newest entry first, a page at a time.

A page goes on where the one before it ended, by the number of an entry and not by counting. So nothing is shown twice
or left out when something happens in between.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from offset_ctrl.connection.client import ConnectionClosed, NodeConnectionError, NotAnnounced
from offset_ctrl.sdk.errors import NotPermitted
from offset_ctrl.sdk.history import archived_through, build_filter, last_entries
from offset_ctrl.web.problems import problem_of, rejection
from offset_ctrl.web.wallet.home import name_of
from offset_ctrl.web.wallet.visits import Answer, Pages, Shown, Visit
from offset_proto.entered import parse_currency
from offset_proto.errors import InvalidInput
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import EntryKind, HistoryEntry, HistoryFilter
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import PublicKey

__all__ = [
    "ShownEntry",
    "check_history",
    "friend_choices",
    "pages",
    "recent_entries",
    "shown",
    "take_friend_key",
]

pages = Pages()

ENTRIES_SHOWN: Final = 50
"""On one page."""

NUMBER_DIGITS_MAX: Final = 19

KINDS: Final[dict[str, tuple[str, tuple[EntryKind, ...]]]] = {
    "paid": ("Paid", (EntryKind.PAID,)),
    "received": ("Received", (EntryKind.RECEIVED,)),
    "passed": ("Passed on", (EntryKind.FORWARDED,)),
    "changed": (
        "Limits, fees and currencies",
        (EntryKind.LIMIT, EntryKind.RATE, EntryKind.OPENED, EntryKind.CLOSED, EntryKind.WITHDRAWN),
    ),
    "broken": ("Disagreements and partings", (EntryKind.BROKEN, EntryKind.RESET, EntryKind.FORGIVEN)),
    "began": ("Balances brought forward", (EntryKind.OPENING,)),
}
"""What a person can choose: by the names of the fields, the words beside them, and what they stand for."""

ShownEntry = tuple[HistoryEntry, str, str]
"""An entry, the name of its friend, and that of whoever else it names; where there is no name, the key."""


def check_history(visit: Visit) -> None:
    """
    Check that there is a history to be shown.

    Raises:
        NodeAway: The node can not be reached.
        NotPermitted: The ticket of this app lets it not read the history.
        Rejected: The node keeps none.
    """
    visit.check_reached()
    node = visit.web_node.node
    if not node.permissions.allows("history"):
        raise NotPermitted("the ticket of this app has no permission 'history'; stmgr app-ticket --phistory gives it")
    if Extension.HISTORY not in node.extensions:
        raise rejection(501, "NotAnnounced", "this node keeps no history; one of Offset in Python does, from 0.2 on")


async def recent_entries(visit: Visit, friend: PublicKey, number: int) -> list[HistoryEntry] | None:
    """The last entries with a friend, the newest first; None: there is no history to be shown now."""
    if not visit.keeps_history or visit.web_node.reach.away is not None:
        return None
    try:
        found = await last_entries(visit.web_node.session, build_filter(friend, None, (), None, None), number)
    except (NotAnnounced, NodeConnectionError, ConnectionClosed):
        return None
    return found[::-1]


def shown(visit: Visit, entries: Iterable[HistoryEntry]) -> list[ShownEntry]:
    """Entries with the names that a person knows."""

    def name(key: PublicKey | None) -> str:
        return "nobody any more" if key is None else name_of(visit.web_node, key) or format_b64(key)

    return [(entry, name(entry.friend), name(entry.opt_party)) for entry in entries]


def friend_choices(visit: Visit) -> list[tuple[str, str]]:
    """Keys and names of the friends, by name, for a field in which one is chosen."""
    friends = visit.web_node.node.report.friends.items()
    return sorted(((format_b64(key), friend.name) for key, friend in friends), key=lambda each: each[1].casefold())


def take_friend_key(visit: Visit) -> PublicKey | None:
    """
    The friend that the field *friend* chooses, who may have been removed since; None: all of them.

    Raises:
        InvalidInput: It is no key.
    """
    text = visit.text("friend")
    try:
        return parse_b64(PublicKey, text) if text else None
    except InvalidInput:
        raise InvalidInput(f"no friend has the key {text[:60]!r}; choose one from the list") from None


@pages.page("/wallet/{node}/history")
async def show_history(visit: Visit) -> Answer:
    """Entries of the history, as the fields choose them."""
    check_history(visit)
    values: dict[str, Any] = {
        "friends": friend_choices(visit),
        "currencies": visit.currencies,
        "kinds": [(name, words) for name, (words, _) in KINDS.items()],
        "is_chosen": any(visit.text(name) for name in ("friend", "currency", "since", "until", *KINDS)),
        "is_newest": not visit.text("before"),
        "newest": urlencode({name: value for name, value in visit.fields.items() if name != "before"}),
        "entries": [],
        "older": None,
        "archived": 0,
    }
    try:
        wanted, before = _filter(visit), _number(visit.text("before"))
    except InvalidInput as error:
        return Shown("history.html", {**values, "problem": problem_of(error)}, 400)
    session = visit.web_node.session
    found = await last_entries(session, wanted, ENTRIES_SHOWN + 1, before=before)
    if len(found) > ENTRIES_SHOWN:
        found = found[1:]
        values["older"] = urlencode({**visit.fields, "before": str(found[0].number)})
    else:
        values["archived"] = await archived_through(session)
    values["entries"] = shown(visit, reversed(found))
    return Shown("history.html", values)


def _filter(visit: Visit) -> HistoryFilter:
    """What the fields choose. Raises InvalidInput where one of them can not be used."""
    currency = visit.text("currency")
    kinds = [kind for name, (_, found) in KINDS.items() if visit.text(name) for kind in found]
    since, until = _day(visit.text("since")), _day(visit.text("until"))
    if until is not None:
        until += timedelta(days=1)
    if since is not None and until is not None and until <= since:
        raise InvalidInput("the last day is before the first one")
    friend = take_friend_key(visit)
    return build_filter(friend, str(parse_currency(currency)) if currency else None, kinds, since, until)


def _day(text: str) -> datetime | None:
    """When a day begins, in UTC."""
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.max
    if found.year > 9998:  # there has to be a day after it
        raise InvalidInput(f"{text[:40]!r} is no day; write 2026-11-30")
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def _number(text: str) -> int:
    """The number of an entry; 0: none is given."""
    if text and not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        raise InvalidInput("this is no address of a page of the history; open the history again")
    return int(text or 0)
