"""One friend: its currencies and limits, a disagreement with it, and what has happened."""

import csv
import io
from typing import Final

from offset_ctrl.web.api.names import friend_key
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.wallet.history import recent_entries, shown
from offset_ctrl.web.wallet.home import friendship_of, item_path
from offset_ctrl.web.wallet.rendering import moment_text
from offset_ctrl.web.wallet.taking import take_amount, take_share
from offset_ctrl.web.wallet.visits import Answer, Gone, Pages, Saved, Shown, Visit
from offset_proto.entered import parse_currency, parse_name
from offset_proto.text import format_b64
from offset_proto.types import U32_MAX, PublicKey

__all__ = ["pages"]

pages = Pages()

ENTRIES_SHOWN: Final = 25
ENTRIES_SAVED: Final = 5000


def _key(visit: Visit) -> PublicKey:
    return friend_key(visit.web_node.node, visit.call.path["friend"])


def _here(visit: Visit) -> Gone:
    return Gone(item_path(visit.web_node, "friends", format_b64(_key(visit))))


@pages.page("/wallet/{node}/friends/{friend}")
async def show_friend(visit: Visit) -> Answer:
    """All about a friend."""
    node, key = visit.web_node, _key(visit)
    entries = await recent_entries(visit, key, ENTRIES_SHOWN)
    return Shown("friend.html", {"friend": friendship_of(node, key), "entries": shown(visit, entries or ())})


@pages.page("/wallet/{node}/friends/{friend}/statement.csv")
async def save_statement(visit: Visit) -> Answer:
    """The last entries of the history with a friend, as a table for a spreadsheet."""
    entries = await recent_entries(visit, _key(visit), ENTRIES_SAVED)
    if entries is None:
        raise rejection(404, "NoHistory", "this node keeps no history, or can not be reached now")
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["number", "time", "currency", "kind", "amount", "fee", "change", "balance", "party", "note"])
    for each in reversed(entries):
        what = (str(each.currency), each.kind.value, each.amount, each.fee, each.change, each.balance)
        party = "" if each.opt_party is None else format_b64(each.opt_party)
        table.writerow([_cell(value) for value in (each.number, moment_text(each.time), *what, party, each.note)])
    return Saved("statement.csv", file.getvalue(), "text/csv")


def _cell(value: int | str) -> int | str:
    """A value that no spreadsheet takes for a formula, whoever has chosen it."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


@pages.form("/wallet/{node}/friends/{friend}/currency", show_friend)
async def set_currency(visit: Visit) -> Answer:
    """Set what the friend may owe in a currency, what forwarding costs, and whether it is open."""
    node, key = visit.web_node.node, _key(visit)
    currency = parse_currency(visit.text("currency"))
    limit = take_amount(visit.text("limit"), "the limit")
    share, fixed = take_share(visit.text("share")), take_amount(visit.text("fixed") or "0", "the fixed fee")
    if fixed > U32_MAX:
        raise rejection(400, "InvalidInput", f"the fixed fee is at most {U32_MAX}")
    config = next((each for each in node.friend(key).currency_configs if each.currency == currency), None)
    if config is None or (config.rate.mul, config.rate.add) != (share, fixed):
        await node.set_rate(key, currency, share, fixed)
    await node.set_max_debt(key, currency, limit)
    await (node.open_currency if visit.text("is_open") else node.close_currency)(key, currency)
    return _here(visit)


@pages.form("/wallet/{node}/friends/{friend}/name", show_friend)
async def rename(visit: Visit) -> Answer:
    """Give a friend another name."""
    await visit.web_node.node.rename_friend(_key(visit), parse_name(visit.text("name")))
    return _here(visit)


@pages.form("/wallet/{node}/friends/{friend}/pause", show_friend)
async def pause(visit: Visit) -> Answer:
    """Keep no connection to a friend."""
    await visit.web_node.node.disable_friend(_key(visit))
    return _here(visit)


@pages.form("/wallet/{node}/friends/{friend}/connect", show_friend)
async def connect(visit: Visit) -> Answer:
    """Keep connected to a friend."""
    await visit.web_node.node.enable_friend(_key(visit))
    return _here(visit)


@pages.form("/wallet/{node}/friends/{friend}/accept", show_friend)
async def accept_terms(visit: Visit) -> Answer:
    """Take the friend's balances for right."""
    await visit.web_node.node.reset_channel(_key(visit))
    return _here(visit)


@pages.page("/wallet/{node}/friends/{friend}/part")
async def show_part(visit: Visit) -> Answer:
    """The question before a friend is removed."""
    key = _key(visit)
    return Shown("part.html", {"friend": friendship_of(visit.web_node, key)})


@pages.form("/wallet/{node}/friends/{friend}/part", show_part)
async def part(visit: Visit) -> Answer:
    """Forget a friend and what is owed; the person has said so by a box of its own."""
    if not visit.text("is_sure"):
        raise rejection(400, "InvalidInput", "tick the box to say that you are sure")
    await visit.web_node.node.remove_friend(_key(visit))
    return Gone(f"{visit.base}/friends")
