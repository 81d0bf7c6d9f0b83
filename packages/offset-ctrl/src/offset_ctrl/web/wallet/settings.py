"""Settings: relays, index servers, tokens of programs, and logging out."""

from collections.abc import Sequence
from typing import Final

from offset_ctrl.web.api.names import name_or_key
from offset_ctrl.web.grants import parse_grants
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.wallet.taking import take_amount, take_server
from offset_ctrl.web.wallet.visits import Answer, Gone, Pages, Shown, Visit
from offset_proto.entered import parse_address, parse_currency, parse_name
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, RelayAddress

__all__ = ["pages"]

pages = Pages()

ENDS: Final = {"month": 30, "year": 365, "ten": 3650}
"""When a token ends, in days, by what the form says."""


@pages.page("/wallet/{node}/settings")
async def show_settings(visit: Visit) -> Answer:
    """All settings of a node, and the tokens of the server."""
    return _settings(visit)


def _settings(visit: Visit, secret: str | None = None) -> Shown:
    report, now = visit.web_node.node.report, visit.desk.database.now()
    values = {
        "relays": report.relays,
        "index_servers": report.index_servers,
        "connected": report.connected_server,
        "tokens": [each for each in visit.desk.tokens.list() if each.revoked is None and each.until > now],
        "secret": secret,
    }
    return Shown("settings.html", values)


@pages.form("/wallet/{node}/settings/relays", show_settings)
async def add_relay(visit: Visit) -> Answer:
    """Use one more relay."""
    ticket = take_server(visit.text("text"))
    parse_address(ticket.address)
    name, node = parse_name(visit.text("name")), visit.web_node.node
    if _is_new(ticket, name, node.report.relays, "relay"):
        await node.add_relay(ticket, name)
    return Gone(f"{visit.base}/settings")


def _is_new(
    ticket: RelayAddress, name: str, known: Sequence[NamedRelayAddress] | Sequence[NamedIndexServerAddress], kind: str
) -> bool:
    """
    Whether a server is to be added; False: it is there, by the same name and address.

    Raises:
        Rejected: The node has one with this key, whose name or address would be replaced; or another one of this name.
    """
    for server in known:
        if server.public_key == ticket.public_key:
            if (server.name, server.address) == (name, ticket.address):
                return False
            words = f"this {kind} is there already, as {server.name} at {server.address}; remove it first"
            raise rejection(409, "RequestRefused", words)
        if server.name == name:
            raise rejection(409, "RequestRefused", f"there is another {kind} of this name; choose another name")
    return True


@pages.form("/wallet/{node}/settings/relays/remove", show_settings)
async def remove_relay(visit: Visit) -> Answer:
    """Use a relay no more."""
    await visit.web_node.node.remove_relay(name_or_key(visit.text("server")))
    return Gone(f"{visit.base}/settings")


@pages.form("/wallet/{node}/settings/index-servers", show_settings)
async def add_index_server(visit: Visit) -> Answer:
    """Use one more index server."""
    ticket = take_server(visit.text("text"))
    parse_address(ticket.address)
    name, node = parse_name(visit.text("name")), visit.web_node.node
    if _is_new(ticket, name, node.report.index_servers, "index server"):
        await node.add_index_server(ticket, name)
    return Gone(f"{visit.base}/settings")


@pages.form("/wallet/{node}/settings/index-servers/remove", show_settings)
async def remove_index_server(visit: Visit) -> Answer:
    """Use an index server no more."""
    await visit.web_node.node.remove_index_server(name_or_key(visit.text("server")))
    return Gone(f"{visit.base}/settings")


@pages.form("/wallet/{node}/settings/tokens", show_settings, needs_node=False)
async def create_token(visit: Visit) -> Answer:
    """Make a token; this answer shows its secret, and no other page does."""
    texts = [scope for scope in ("read", "ask", "configure") if visit.text(scope)]
    amount, currency = visit.text("amount"), visit.text("currency")
    if amount or currency:
        texts.append(f"pay:{take_amount(amount, 'the daily limit')}:{parse_currency(currency)}/day")
    if visit.text("end") not in ENDS:
        raise rejection(400, "InvalidInput", "choose when the token ends")
    until = visit.desk.database.now() + ENDS[visit.text("end")] * 86400
    return _settings(visit, visit.desk.tokens.create(visit.text("name"), parse_grants(texts), until))


@pages.form("/wallet/{node}/settings/tokens/revoke", show_settings, needs_node=False)
async def revoke_token(visit: Visit) -> Answer:
    """End a token now."""
    visit.desk.tokens.revoke(visit.text("name"))
    return Gone(f"{visit.base}/settings")


@pages.form("/wallet/{node}/settings/log-out-everywhere", show_settings, needs_node=False)
async def log_out_everywhere(visit: Visit) -> Answer:
    """End the sessions of all browsers, this one's too."""
    visit.desk.tokens.end_sessions()
    return Gone("/")
