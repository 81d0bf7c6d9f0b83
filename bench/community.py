"""
A community that trades on credit, in one process: who owes whom, what an index server knows of it, and its members.

Nothing is signed and nothing is sent. A hop is refused beyond its credit line, and a mediator that is offered less than
its fee refuses; everything else is the code that a person runs: the search of the index server (`offset_index.search`),
and the circles of the SDK (`offset_ctrl.sdk.circles`), to which a `Member` looks like a node.
"""

import itertools
from collections.abc import Mapping
from typing import Final, cast

from offset_ctrl.clearing import exports
from offset_ctrl.rules.routes import Part, choose_routes
from offset_ctrl.sdk.circles import Circles, ClearedCircle
from offset_ctrl.sdk.failures import NoRoute, PartsRefused
from offset_ctrl.sdk.node import Node
from offset_ctrl.sdk.payment import PayOptions
from offset_index.currency_graph import CurrencyGraph, Declaration
from offset_index.search import find_routes
from offset_proto.files import Invoice
from offset_proto.messages.extensions import Extension
from offset_proto.messages.index import Edge, MultiRoute
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    CurrencyConfigReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    McBalanceReport,
)
from offset_proto.rate import FREE, calc_fee
from offset_proto.types import Currency, InvoiceId, PublicKey

__all__ = ["CURRENCY", "Community", "Hop", "Member", "key_of"]

CURRENCY: Final = Currency("FST")

Hop = tuple[int, int]
"""Two members, by their numbers."""


def key_of(member: int) -> PublicKey:
    """The public key of a member."""
    return PublicKey(member.to_bytes(32, "big"))


def _number(key: PublicKey) -> int:
    return int.from_bytes(key, "big")


class Community:
    """
    Members, the credit lines between friends, and what they owe each other.

    Args:
        lines: What the second of two friends may owe the first, credits; both ways for each pair.
        rates: What the second charges the first for forwarding; free where not named.
    """

    def __init__(self, lines: Mapping[Hop, int], rates: Mapping[Hop, Rate]) -> None:
        self.lines = lines
        self.rates = {hop: rates.get(hop, FREE) for hop in lines}
        self.owed = dict.fromkeys(lines, 0)
        self.friends: dict[int, list[int]] = {}
        self.graph = CurrencyGraph()
        for one, other in lines:
            self.friends.setdefault(one, []).append(other)
            self._declare(one, other)

    def _declare(self, receiver: int, sender: int) -> None:
        room = self.lines[receiver, sender] - self.owed[receiver, sender]
        declaration = Declaration(room, self.rates[sender, receiver])
        self.graph.declare(key_of(receiver), key_of(sender), declaration, 0)

    @property
    def debts(self) -> dict[Hop, int]:
        """What the first member owes the second, credits, where it does."""
        return {(debtor, creditor): owed for (creditor, debtor), owed in self.owed.items() if owed > 0}

    @property
    def total(self) -> int:
        """Credits of all debts."""
        return sum(owed for owed in self.owed.values() if owed > 0)

    def position(self, member: int) -> int:
        """What *member* is owed by all friends, less what it owes."""
        return sum(self.owed[member, friend] for friend in self.friends[member])

    def trade(self, buyer: int, seller: int, amount: int) -> bool:
        """Pay over routes of the index server; whether there were any."""
        found = find_routes(self.graph, key_of(buyer), key_of(seller), amount)
        choice = choose_routes(found, amount)
        return choice is not None and self.pay(choice.parts)

    def pay(self, parts: tuple[Part, ...]) -> bool:
        """Push all *parts*, or nothing where a member on the way refuses."""
        pushed: dict[Hop, int] = {}
        for part in parts:
            hops = list(itertools.pairwise(map(_number, part.public_keys)))
            left = part.dest_payment + part.fees
            for index, hop in enumerate(hops):
                pushed[hop] = pushed.get(hop, 0) + left
                if index < len(hops) - 1:
                    left -= calc_fee(self.rates[hop], part.dest_payment)
            if left < part.dest_payment:
                return False
        if any(amount > self.room(hop) for hop, amount in pushed.items()):
            return False
        for (sender, receiver), amount in pushed.items():
            self.owed[receiver, sender] += amount
            self.owed[sender, receiver] -= amount
        for sender, receiver in pushed:
            self._declare(receiver, sender)
            self._declare(sender, receiver)
        return True

    def room(self, hop: Hop) -> int:
        """Credits that can be pushed over a hop."""
        sender, receiver = hop
        return self.lines[receiver, sender] - self.owed[receiver, sender]

    def exported(self) -> list[exports.Member]:
        """What each member exports for a planner."""
        return [exports.Member(str(member), key_of(member), self._sides(member)) for member in self.friends]

    def _sides(self, member: int) -> dict[PublicKey, exports.Side]:
        return {
            key_of(friend): exports.Side(
                balance=self.owed[member, friend],
                local_pending_debt=0,
                remote_pending_debt=0,
                max_debt=self.lines[member, friend],
                rate=self.rates[friend, member],
                is_open=True,
                is_enabled=True,
            )
            for friend in self.friends[member]
        }


class _Report:
    """Of a member: its friends as they are at this moment."""

    def __init__(self, community: Community, member: int) -> None:
        self._community, self._member = community, member

    @property
    def friends(self) -> dict[PublicKey, FriendReport]:
        return {key_of(friend): self._friend(friend) for friend in self._community.friends[self._member]}

    def _friend(self, friend: int) -> FriendReport:
        community, pair = self._community, (self._member, friend)
        config = CurrencyConfigReport(CURRENCY, community.rates[friend, self._member], community.lines[pair], True)
        channel = ChannelConsistentReport((CurrencyReport(CURRENCY, McBalanceReport(community.owed[pair], 0, 0)),))
        return FriendReport(
            str(friend), (), (config,), None, FriendLivenessReport.ONLINE, channel, FriendStatusReport.ENABLED
        )


class Member:
    """A member as the SDK's circles see it: what they use of `Node`, and nothing else."""

    extensions = Extension.EXPIRING_INVOICES
    has_journal = False
    payments = ()

    def __init__(self, community: Community, number: int) -> None:
        self._community = community
        self.public_key = key_of(number)
        self.report = _Report(community, number)

    async def find_routes(
        self,
        currency: str,
        amount: int,
        destination: PublicKey,
        *,
        source: PublicKey | None = None,
        exclude: Edge | None = None,
    ) -> tuple[MultiRoute, ...]:
        """As `Node.find_routes`: what the index server answers."""
        del currency  # there is one
        return find_routes(self._community.graph, source or self.public_key, destination, amount, exclude)

    async def create_invoice(self, currency: str, amount: int, *, expires: float | None = None) -> Invoice:
        """As `Node.create_invoice`."""
        del currency, expires  # what does not go through at once is refused
        return Invoice(InvoiceId(bytes(32)), CURRENCY, self.public_key, amount)

    async def cancel_invoice(self, invoice: Invoice) -> None:
        """As `Node.cancel_invoice`; no invoice is kept."""

    async def pay(self, invoice: Invoice, hand_over: object, options: PayOptions) -> None:
        """As `Node.pay`, over the routes of the *options*; who pays itself needs no commit."""
        del hand_over
        choice = choose_routes(options.routes or (), invoice.dest_payment)
        if choice is None:
            raise NoRoute()
        if not self._community.pay(choice.parts):
            raise PartsRefused(len(choice.parts))

    async def clear(self) -> tuple[ClearedCircle, ...]:
        """As `Node.clear`, towards 0 with every friend."""
        targets = dict.fromkeys(self.report.friends, 0)
        return await Circles(cast(Node, self), 0.0).pay_all(CURRENCY, targets, None, 60.0, None)
