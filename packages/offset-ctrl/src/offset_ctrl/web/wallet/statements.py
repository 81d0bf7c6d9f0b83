"""
The statement of a month: each account as a bank has it, as a page and on paper.

What is read and added up is `offset_ctrl.sdk.statement`, as with ``stctrl statement``; a page shows fewer entries than
that writes into a file. Laying the paper out keeps a processor busy, so that happens beside the event loop.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from offset_ctrl.rules.statement import Account
from offset_ctrl.sdk.history import EntriesArchived, build_filter
from offset_ctrl.sdk.statement import (
    build_sheet,
    describe_nothing,
    missing_for_pdf,
    month_bounds,
    present_time,
    read_accounts,
)
from offset_ctrl.web.problems import Rejected, problem_of, rejection
from offset_ctrl.web.wallet.history import ShownEntry, check_history, friend_choices, shown, take_friend_key
from offset_ctrl.web.wallet.home import name_of
from offset_ctrl.web.wallet.visits import Answer, Pages, Saved, Shown, Visit
from offset_proto.errors import InvalidInput
from offset_proto.text import format_b64

__all__ = ["pages"]

pages = Pages()

ENTRIES_MAX: Final = 5000
"""Of one statement; on paper some 130 pages. ``stctrl statement`` writes longer ones."""


@pages.page("/wallet/{node}/statement")
async def show_statement(visit: Visit) -> Answer:
    """The accounts of a month; by default the present one, and all friends."""
    check_history(visit)
    month = _month(visit)
    values: dict[str, Any] = {
        "month": month,
        "friends": friend_choices(visit),
        "missing": missing_for_pdf(),
        "period": None,
        "accounts": [],
    }
    try:
        since, until = _bounds(month)
        accounts, now = await _read(visit, since, until)
    except EntriesArchived as error:
        return Shown("statement.html", {**values, "problem": _archived(error).problem}, 404)
    except InvalidInput as error:
        return Shown("statement.html", {**values, "problem": problem_of(error)}, 400)
    values["period"] = _words(since)
    values["earlier"] = f"{since - timedelta(days=1):%Y-%m}" if since.timestamp() > 0 else None
    values["later"] = f"{until:%Y-%m}" if until <= now else None
    values["so_far"] = now if until > now else None
    values["accounts"] = [_shown_account(visit, account) for account in accounts]
    values["nothing"] = "" if accounts else await describe_nothing(visit.web_node.session, until)
    return Shown("statement.html", values)


@pages.page("/wallet/{node}/statement/pdf")
async def save_statement(visit: Visit) -> Answer:
    """The same on paper."""
    check_history(visit)
    if (name := missing_for_pdf()) is not None:
        raise rejection(501, "PdfUnavailable", f"a PDF needs {name}: pip install 'offset-ctrl[pdf]'")
    from offset_ctrl.sdk.statement_pdf import build_pdf

    month = _month(visit)
    since, until = _bounds(month)
    node = visit.web_node
    try:
        accounts, now = await _read(visit, since, until)
    except EntriesArchived as error:
        raise _archived(error) from None
    nothing = "" if accounts else await describe_nothing(node.session, until)
    words, is_running = _words(since), until > now
    sheet = build_sheet(node.node.report, accounts, node.name, words, made=now, is_running=is_running, nothing=nothing)
    data, _ = await asyncio.to_thread(build_pdf, sheet)
    return Saved(f"statement-{month}.pdf", data, "application/pdf")


def _archived(error: EntriesArchived) -> Rejected:
    detail = (
        f"{error}; where that is, stctrl statement --month MONTH --archive FILE shows the whole month, and stmgr"
        " archived-statement what is in there"
    )
    return rejection(404, "EntriesArchived", detail)


def _month(visit: Visit) -> str:
    """The month that is wanted, as it was entered; by default the present one."""
    return visit.text("month") or f"{_here(visit):%Y-%m}"


def _here(visit: Visit) -> datetime:
    return datetime.fromtimestamp(visit.desk.database.now(), UTC)


def _bounds(month: str) -> tuple[datetime, datetime]:
    """When a month begins and ends. Raises InvalidInput where it is none."""
    since, until = month_bounds(month[:40])
    if since.timestamp() < 0:
        raise InvalidInput("a node has no history from before 1970")
    return since, until


def _words(since: datetime) -> str:
    return f"{since:%B %Y}"


async def _read(visit: Visit, since: datetime, until: datetime) -> tuple[list[Account], datetime]:
    """The accounts of a period, and the present time."""
    node = visit.web_node
    wanted = build_filter(take_friend_key(visit), None, (), None, None)
    now = await present_time(node.session, _here(visit))
    session, report = node.session, node.node.report
    return await read_accounts(session, report, since, until, wanted, entries_max=ENTRIES_MAX, now=now), now


def _shown_account(visit: Visit, account: Account) -> tuple[Account, str, Sequence[ShownEntry]]:
    """An account, the name of its friend, and its entries."""
    name = name_of(visit.web_node, account.friend) or format_b64(account.friend)
    return account, name, shown(visit, account.entries)
