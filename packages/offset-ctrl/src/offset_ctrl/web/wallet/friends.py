"""Friends: all of them, inviting somebody, and accepting an invitation."""

from offset_ctrl.web.problems import rejection
from offset_ctrl.web.wallet.home import friendships_of, item_path
from offset_ctrl.web.wallet.taking import take_amount, take_friend
from offset_ctrl.web.wallet.visits import Answer, Gone, Pages, Saved, Shown, Visit
from offset_proto.entered import parse_currency, parse_name
from offset_proto.errors import InvalidInput
from offset_proto.files import FRIEND_TICKET
from offset_proto.messages.report import FriendReport
from offset_proto.text import format_b64
from offset_proto.types import U128, Currency
from offset_proto.uri import format_uri

__all__ = ["pages"]

pages = Pages()


@pages.page("/wallet/{node}/friends")
async def show_friends(visit: Visit) -> Answer:
    """All friends."""
    return Shown("friends.html", {"friendships": friendships_of(visit.web_node)})


@pages.page("/wallet/{node}/friends/new")
async def show_new(visit: Visit) -> Answer:
    """Our own invitation to hand over, and where that of the other person is pasted."""
    node = visit.web_node.node
    ticket = node.friend_ticket()
    try:
        text = format_uri(ticket)
    except InvalidInput:  # more relays than a text has room for; the file is good
        text = None
    values = {"invitation": text, "has_relay": bool(ticket.relays), "currencies": visit.currencies}
    return Shown("new_friend.html", values)


@pages.page("/wallet/{node}/friends/invitation")
async def save_invitation(visit: Visit) -> Answer:
    """Our own invitation as a file."""
    return Saved("invitation.friend", FRIEND_TICKET.format(visit.web_node.node.friend_ticket()))


@pages.form("/wallet/{node}/friends/new", show_new)
async def add_friend(visit: Visit) -> Answer:
    """Accept an invitation. It changes nothing with somebody who is a friend already; it may be sent twice."""
    ticket = take_friend(visit.text("text"))
    name = parse_name(visit.text("name"))
    currency, limit = visit.text("currency"), visit.text("limit")
    if limit and not currency:
        raise rejection(400, "InvalidInput", "a limit needs a currency")
    wanted = parse_currency(currency) if currency else None
    max_debt = take_amount(limit, "the limit") if limit else None
    node, key = visit.web_node.node, ticket.public_key
    if key == node.public_key:
        raise rejection(400, "InvalidInput", "this is your own invitation; paste that of the other person")
    known = node.report.friends.get(key)
    if known is not None:
        if known.name != name or not _has(known, wanted, max_debt):
            words = f"this is your friend {known.name} already; the limit is changed on the page of {known.name}"
            raise rejection(409, "RequestRefused", words)
        return Gone(item_path(visit.web_node, "friends", format_b64(key)))
    if any(friend.name == name for friend in node.report.friends.values()):
        raise rejection(409, "RequestRefused", "you have a friend of this name already; choose another name")
    await node.add_friend(ticket, name)
    await node.enable_friend(key)
    if wanted is not None:
        await node.set_rate(key, wanted)
        if max_debt is not None:
            await node.set_max_debt(key, wanted, max_debt)
        await node.open_currency(key, wanted)
    return Gone(item_path(visit.web_node, "friends", format_b64(key)))


def _has(friend: FriendReport, wanted: Currency | None, max_debt: U128 | None) -> bool:
    """Whether the invitation of a friend asks for nothing that is not so already."""
    if wanted is None:
        return True
    config = next((each for each in friend.currency_configs if each.currency == wanted), None)
    return config is not None and config.is_open and max_debt in (None, config.remote_max_debt)
