"""
Friends, currencies, relays and index servers of a node.

Each of these says what shall be so, and can be repeated. An operation that changes several things makes the changes in
the order of its form; where one is refused, those before it have been made.
"""

from typing import Final

from offset_ctrl.web import forms, views
from offset_ctrl.web.api.names import friend_key, name_or_key
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section
from offset_proto.entered import parse_address, parse_currency, parse_name
from offset_proto.messages.payment import RelayAddress
from offset_proto.text import parse_b64
from offset_proto.types import PublicKey

__all__ = ["section"]

section = Section("configuration", "Friends, limits, rates, relays and index servers.")

_MAY: Final = (Scope.CONFIGURE,)


def _relays(relays: list[forms.RelayForm]) -> tuple[RelayAddress, ...]:
    for relay in relays:
        parse_address(relay.address)
    return tuple(views.read_relay(relay) for relay in relays)


@section.post("/nodes/{node}/friends", may=_MAY, status=201)
async def add_friend(call: Call, body: forms.NewFriend) -> forms.Friend:
    """Add a friend by its ticket, under a local name."""
    node, ticket = call.node.node, views.read_friend_ticket(body.ticket)
    _relays(body.ticket.relays)
    await node.add_friend(ticket, parse_name(body.name))
    if body.is_enabled:
        await node.enable_friend(ticket.public_key)
    return views.friend_form(ticket.public_key, node.friend(ticket.public_key))


@section.patch("/nodes/{node}/friends/{friend}", may=_MAY)
async def change_friend(call: Call, body: forms.FriendChanges) -> forms.Friend:
    """Give a friend another name or other relays, connect to it, or pause."""
    node = call.node.node
    key = friend_key(node, call.path["friend"])
    if body.name is not None:
        await node.rename_friend(key, parse_name(body.name))
    if body.relays is not None:
        await node.set_friend_relays(key, _relays(body.relays))
    if body.is_enabled is not None:
        await (node.enable_friend(key) if body.is_enabled else node.disable_friend(key))
    return views.friend_form(key, node.friend(key))


@section.delete("/nodes/{node}/friends/{friend}", may=_MAY)
async def remove_friend(call: Call) -> None:
    """Forget a friend, its balances, and all that is open with it."""
    node = call.node.node
    await node.remove_friend(friend_key(node, call.path["friend"]))


@section.post("/nodes/{node}/friends/{friend}/reset", may=_MAY)
async def reset_channel(call: Call) -> forms.Friend:
    """Accept the terms of a friend for a channel that is inconsistent."""
    node = call.node.node
    key = friend_key(node, call.path["friend"])
    await node.reset_channel(key)
    return views.friend_form(key, node.friend(key))


@section.patch("/nodes/{node}/friends/{friend}/currencies/{currency}", may=_MAY)
async def change_currency(call: Call, body: forms.CurrencySettings) -> forms.Friend:
    """Set how much a friend may owe in a currency, what forwarding costs it, and whether the currency is open."""
    node, currency = call.node.node, parse_currency(call.path["currency"])
    key = friend_key(node, call.path["friend"])
    if body.max_debt is not None:
        await node.set_max_debt(key, currency, views.read_amount(body.max_debt))
    if body.rate is not None:
        await node.set_rate(key, currency, body.rate.mul, body.rate.add)
    if body.is_open is not None:
        await (node.open_currency(key, currency) if body.is_open else node.close_currency(key, currency))
    return views.friend_form(key, node.friend(key))


@section.delete("/nodes/{node}/friends/{friend}/currencies/{currency}", may=_MAY)
async def remove_currency(call: Call) -> None:
    """Withdraw a currency that the friend has not agreed to."""
    node = call.node.node
    await node.remove_currency(friend_key(node, call.path["friend"]), parse_currency(call.path["currency"]))


@section.post("/nodes/{node}/relays", may=_MAY, status=201)
async def add_relay(call: Call, body: forms.NewServer) -> list[forms.Server]:
    """Use one more relay."""
    node = call.node.node
    await node.add_relay(_server(body), parse_name(body.name))
    return [views.relay_form(relay) for relay in node.report.relays]


@section.delete("/nodes/{node}/relays/{server}", may=_MAY)
async def remove_relay(call: Call) -> None:
    """Stop using a relay."""
    await call.node.node.remove_relay(name_or_key(call.path["server"]))


@section.post("/nodes/{node}/index-servers", may=_MAY, status=201)
async def add_index_server(call: Call, body: forms.NewServer) -> list[forms.Server]:
    """Use one more index server."""
    node = call.node.node
    await node.add_index_server(_server(body), parse_name(body.name))
    report = node.report
    return [views.index_server_form(server, report.connected_server) for server in report.index_servers]


@section.delete("/nodes/{node}/index-servers/{server}", may=_MAY)
async def remove_index_server(call: Call) -> None:
    """Stop using an index server."""
    await call.node.node.remove_index_server(name_or_key(call.path["server"]))


def _server(body: forms.NewServer) -> RelayAddress:
    return RelayAddress(parse_b64(PublicKey, body.public_key), parse_address(body.address))
