"""What a node reports, and what could be paid."""

from typing import Annotated

from msgspec import Meta, Struct

from offset_ctrl.web import forms, views
from offset_ctrl.web.api.names import friend_key, name_or_key
from offset_ctrl.web.desk import WebNode
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section
from offset_proto.text import parse_b64
from offset_proto.types import PublicKey

__all__ = ["section", "summary"]

section = Section("nodes", "The nodes of this server: their reports, capacities and routes.")


class CapacityQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """For which currency; *to*: a friend, or the key of any node."""

    currency: forms.Currency
    to: forms.Name | None = None


class RoutesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to arrive, and where; *source* is this node by default."""

    currency: forms.Currency
    amount: forms.Amount
    destination: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]
    source: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")] | None = None


def summary(node: WebNode) -> forms.NodeSummary:
    """A node in short."""
    may = node.node.permissions
    return forms.NodeSummary(
        name=node.name,
        public_key=node.key,
        is_connected=node.reach.away is None,
        may_routes=may.routes,
        may_buy=may.buyer,
        may_sell=may.seller,
        may_configure=may.config,
        extensions=views.extension_names(node.node.extensions),
    )


@section.get("/nodes", may=(Scope.READ, Scope.ASK, Scope.PAY, Scope.CONFIGURE))
async def list_nodes(call: Call) -> list[forms.NodeSummary]:
    """The nodes of this server."""
    return [summary(node) for node in call.desk.nodes]


@section.get("/nodes/{node}", may=(Scope.READ, Scope.ASK, Scope.PAY, Scope.CONFIGURE))
async def read_node(call: Call) -> forms.NodeSummary:
    """One node, by its name here or by its key."""
    return summary(call.node)


@section.get("/nodes/{node}/report", may=(Scope.READ,))
async def read_report(call: Call) -> forms.Report:
    """All that the node reports."""
    return views.report_form(call.node.node.report)


@section.get("/nodes/{node}/friends", may=(Scope.READ,))
async def list_friends(call: Call) -> list[forms.Friend]:
    """The friends of the node, and their ledgers."""
    return [views.friend_form(key, friend) for key, friend in call.node.node.report.friends.items()]


@section.get("/nodes/{node}/friends/{friend}", may=(Scope.READ,))
async def read_friend(call: Call) -> forms.Friend:
    """One friend, by its local name or its key."""
    node = call.node.node
    key = friend_key(node, call.path["friend"])
    return views.friend_form(key, node.friend(key))


@section.get("/nodes/{node}/relays", may=(Scope.READ,))
async def list_relays(call: Call) -> list[forms.Server]:
    """The relays through which friends reach the node."""
    return [views.relay_form(relay) for relay in call.node.node.report.relays]


@section.get("/nodes/{node}/index-servers", may=(Scope.READ,))
async def list_index_servers(call: Call) -> list[forms.Server]:
    """The index servers that are asked for routes."""
    report = call.node.node.report
    return [views.index_server_form(server, report.connected_server) for server in report.index_servers]


@section.get("/nodes/{node}/friend-ticket", may=(Scope.READ, Scope.CONFIGURE))
async def read_friend_ticket(call: Call) -> forms.FriendTicketForm:
    """What to hand to somebody who is to become a friend."""
    return views.friend_ticket_form(call.node.node.friend_ticket())


@section.get("/nodes/{node}/capacity", may=(Scope.READ,))
async def read_capacity(call: Call, query: CapacityQuery) -> forms.CapacityReport:
    """How much can be paid and received now. Index servers are asked some dozens of questions; nothing is reserved."""
    node = call.node.node
    to = None
    if query.to is not None:
        names = [friend.name for friend in node.report.friends.values()]
        to = query.to if query.to in names else name_or_key(query.to)
    return views.capacity_form(await node.capacity(query.currency, to))


@section.get("/nodes/{node}/routes", may=(Scope.READ,))
async def find_routes(call: Call, query: RoutesQuery) -> list[list[forms.Route]]:
    """Routes as an index server knows them: alternatives, the best first, each of routes to be used together."""
    found = await call.node.node.find_routes(
        query.currency,
        views.read_amount(query.amount),
        parse_b64(PublicKey, query.destination),
        source=None if query.source is None else parse_b64(PublicKey, query.source),
    )
    return [views.route_forms(each) for each in found]
