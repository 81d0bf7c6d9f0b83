"""A chain of nodes of both implementations, whose relays can be cut off, and connections to its nodes."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from interop.cutter import LinkCutter
from interop.network import Cast, Network, NodeSpec
from interop.programs import OURS, Implementation
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import Node, connect
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_proto.files import IDENTITY, TICKET
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import ChannelConsistentReport, FriendReport, McBalanceReport
from offset_proto.types import Currency, PublicKey

__all__ = [
    "AMOUNT",
    "CURRENCY",
    "FEE",
    "Ledgers",
    "build",
    "cast_chain",
    "chain_route",
    "ledger_of",
    "open_app",
    "open_connection",
    "open_network",
]

CURRENCY: Final = Currency("FST")
AMOUNT: Final = 3
FEE: Final = 1
"""Credits that each mediator takes."""

LIMIT: Final = 10**9

Ledgers = dict[tuple[str, str], McBalanceReport]
"""By node and friend; a channel that is inconsistent has none."""


def cast_chain(chain: str, original: Implementation, servers: Implementation = OURS) -> tuple[list[str], Cast]:
    """Names of the nodes of a chain, the buyer's first, and who plays whom."""
    players = [{"ours": OURS, "original": original}[word.strip()] for word in chain.split(" - ")]
    names = [chr(ord("A") + number) for number in range(len(players))]
    roles = dict(zip(names, players, strict=True))
    return names, Cast(OURS, roles | dict.fromkeys(("relay0", "relay1", "index"), servers))


@contextlib.contextmanager
def open_network(directory: Path, cast: Cast) -> Iterator[tuple[Network, LinkCutter]]:
    """An empty network whose relays can be cut off."""
    with contextlib.closing(LinkCutter()) as cutter, Network(directory, cast, cutter) as network:
        yield network, cutter


async def build(network: Network, names: list[str]) -> None:
    """Make two relays, an index server and the nodes, friends in a row, with credit in both directions."""
    servers = [asyncio.to_thread(network.add_relay, relay) for relay in ("relay0", "relay1")]
    await asyncio.gather(*servers, asyncio.to_thread(network.add_index_servers, ["index"]))
    specs = [NodeSpec(name, f"relay{number % 2}", "index") for number, name in enumerate(names)]
    await asyncio.gather(*(asyncio.to_thread(network.add_node, spec) for spec in specs))
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(open_app(network, name)) for name in names]
        for (one, first), (other, second) in itertools.pairwise(zip(names, nodes, strict=True)):
            sides = ((first, second, other), (second, first, one))
            for node, friend, name in sides:
                await node.add_friend(friend.friend_ticket(), name)
                await node.enable_friend(name)
            for node, _, name in sides:
                await node.set_rate(name, CURRENCY, add=FEE)
            for node, friend, name in sides:
                await _wait_for_ledger(node, friend.public_key)
                await node.open_currency(name, CURRENCY)
                await node.set_max_debt(name, CURRENCY, LIMIT)


def chain_route(network: Network, names: list[str]) -> MultiRoute:
    """The whole chain, as an index server would answer."""
    keys = [Identity(IDENTITY.load(network.path(f"{name}.ident")).private_key).public_key for name in names]
    return MultiRoute((RouteCapacityRate(FriendsRoute(tuple(keys)), LIMIT, Rate(0, FEE * (len(names) - 2))),))


async def _wait_for_ledger(node: Node, friend: PublicKey) -> None:
    await node.wait_until(lambda report: ledger_of(report.friends[friend]) is not None)


def ledger_of(friend: FriendReport) -> McBalanceReport | None:
    """The balance with a friend; None while there is none."""
    status = friend.channel_status
    if isinstance(status, ChannelConsistentReport):
        for report in status.currency_reports:
            if report.currency == CURRENCY:
                return report.balance
    return None


def open_app(network: Network, name: str) -> contextlib.AbstractAsyncContextManager[Node]:
    """A node, as its app has it for the whole run."""
    return connect(network.path(f"{name}.ticket"), network.path(f"{name}-app.ident"))


@contextlib.asynccontextmanager
async def open_connection(network: Network, name: str) -> AsyncIterator[NodeConnection]:
    """A fresh connection, whose report is of now."""
    ticket = TICKET.load(network.path(f"{name}.ticket"))
    app = Identity(IDENTITY.load(network.path(f"{name}-app.ident")).private_key)
    async with open_node(ticket.address, ticket.public_key, app, Ticker()) as node:
        yield node
