"""
How much a node can pay and receive now: what the report says, and a handful of questions to an index server.

Both are as of this moment, and nothing is reserved: payments of others may use the same credit a second later.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from offset_ctrl.connection.client import RoutesUnavailable
from offset_ctrl.rules.capacity import FriendCredit, Largest, LargestSearch, direct_capacity, friend_credits
from offset_proto.messages.index import Edge, MultiRoute, RequestRoutes
from offset_proto.report_view import ReportView
from offset_proto.types import U128, Currency, PublicKey, Uid

__all__ = ["FRIENDS_ASKED_MAX", "Ask", "Capacity", "ask_capacity", "ask_friends", "ask_largest", "routes_request"]

FRIENDS_ASKED_MAX: Final = 32
"""Friends that it is asked for how much we can bring them; of more than that it stays unknown."""

Ask = Callable[[RequestRoutes], Awaitable[tuple[MultiRoute, ...]]]
"""Asks an index server; a connection to a node has it."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """
    How much can be paid and received now, in credits of one currency.

    Attributes:
        friends: What the report says of each friend that has a balance in the currency.
        pay: How much can go out to each of these friends; without those of which it is not known.
        largest: The most that can arrive at the destination, where there is one and an index server was asked.
    """

    friends: tuple[FriendCredit, ...]
    pay: dict[PublicKey, int]
    largest: Largest | None

    @property
    def total_pay(self) -> int | None:
        """What can go out to all friends together; None where it is not known of each."""
        if any(friend.public_key not in self.pay for friend in self.friends):
            return None
        return sum(self.pay.values())

    @property
    def total_receive(self) -> int:
        """What can be received from all friends together."""
        return sum(friend.receive for friend in self.friends)


def routes_request(
    currency: Currency, amount: U128, source: PublicKey, destination: PublicKey, exclude: Edge | None = None
) -> RequestRoutes:
    """A request for routes, with an id that no other has."""
    return RequestRoutes(Uid(os.urandom(Uid.SIZE)), currency, amount, source, destination, exclude)


async def ask_capacity(ask: Ask | None, report: ReportView, currency: Currency, to: PublicKey | None) -> Capacity:
    """
    How much can be paid and received now.

    Args:
        ask: Asks an index server; None: what only such a server knows stays unknown.
        report: Of the node.
        currency: Which amounts are meant.
        to: The destination of `Capacity.largest`; None: there is none.

    Raises:
        RoutesUnavailable: There is a destination, and the node is not connected to an index server.
        NodeConnectionError, ConnectionClosed: The connection to the node was lost.
    """
    friends = friend_credits(report.friends, currency)
    if ask is None:
        return Capacity(friends, {}, None)
    try:
        pay = await ask_friends(ask, report.local_public_key, friends, currency)
    except RoutesUnavailable:
        if to is not None:
            raise
        return Capacity(friends, {}, None)
    capacity = Capacity(friends, pay, None)
    if to is None:
        return capacity
    largest = await ask_largest(ask, report.local_public_key, to, currency, capacity.total_pay)
    return Capacity(friends, pay, largest)


async def ask_friends(
    ask: Ask, local: PublicKey, friends: tuple[FriendCredit, ...], currency: Currency
) -> dict[PublicKey, int]:
    """
    How much can go out to each of *friends*, as it has declared it; at most `FRIENDS_ASKED_MAX` are asked for.

    Raises:
        RoutesUnavailable, NodeConnectionError, ConnectionClosed: As `ask_capacity`.
    """
    pay = {friend.public_key: 0 for friend in friends if not friend.is_usable}
    for friend in [friend for friend in friends if friend.is_usable][:FRIENDS_ASKED_MAX]:
        pay[friend.public_key] = direct_capacity(await ask(routes_request(currency, 1, local, friend.public_key)))
    return pay


async def ask_largest(ask: Ask, local: PublicKey, to: PublicKey, currency: Currency, most: int | None) -> Largest:
    """
    The most that can arrive at *to*; *most* credits can go out to all friends together, None where that is not known.

    Raises:
        RoutesUnavailable, NodeConnectionError, ConnectionClosed: As `ask_capacity`.
    """
    search = LargestSearch(most)
    while (amount := search.question()) is not None:
        search.answered(amount, await ask(routes_request(currency, amount, local, to)))
    return search.largest
