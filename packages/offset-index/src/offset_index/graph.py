"""
The capacities that nodes declared. Spec 06 §6.

A declaration of a node about a friend says how much the node can receive from that friend. Credit flows
from u to v over what v declared about u, provided that u declared v as well. Currencies have nothing
to do with each other.
"""

from dataclasses import dataclass, field
from typing import Final

from offset_proto.limits import EDGE_AGE_BASE, INDEX_DECLARATIONS_MAX
from offset_proto.messages.payment import Rate
from offset_proto.types import U128, Currency, PublicKey

__all__ = ["CapacityGraph", "CurrencyGraph", "Declaration"]


SHARES: Final = 256
"""A node may have as many declarations as this part of what is free."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a node can receive from a friend, credits, and what it charges for forwarding that."""

    recv_capacity: U128
    rate: Rate


class CurrencyGraph:
    """Declarations of one currency: ``declared[node][friend]``."""

    def __init__(self) -> None:
        self.declared: dict[PublicKey, dict[PublicKey, Declaration]] = {}

    def neighbours(self, node: PublicKey) -> dict[PublicKey, Declaration]:
        """Whom *node* declared."""
        return self.declared.get(node, {})

    def send_capacity(self, sender: PublicKey, receiver: PublicKey) -> U128 | None:
        """Credits that can flow over a hop; None where not both sides declared it. Spec 06 §6.4."""
        if receiver not in self.neighbours(sender):
            return None
        declaration = self.neighbours(receiver).get(sender)
        return None if declaration is None else declaration.recv_capacity

    def rate(self, forwarder: PublicKey, previous: PublicKey) -> Rate:
        """What *forwarder* charges for what comes from *previous*. Spec 06 §6.6b, D62."""
        return self.declared[forwarder][previous].rate


@dataclass(slots=True)
class _NodeEdges:
    """The pairs that a node declared, least recently refreshed first, by the node's count of updates."""

    updates: int = 0
    refreshed: dict[tuple[Currency, PublicKey], int] = field(default_factory=dict)


class CapacityGraph:
    """
    The graphs of all currencies, and the age of each declaration.

    Anybody may declare anything under as many keys as he likes, so there is room for a number of declarations, and
    the more of it is taken the less a single node gets. What goes beyond is ignored; it may come again later.

    Args:
        declarations_max: Of all nodes together.
    """

    def __init__(self, declarations_max: int = INDEX_DECLARATIONS_MAX) -> None:
        self._currencies: dict[Currency, CurrencyGraph] = {}
        self._nodes: dict[PublicKey, _NodeEdges] = {}
        self._free = declarations_max

    def currency(self, currency: Currency) -> CurrencyGraph | None:
        """The graph of a currency; None where nobody declared anything in it."""
        return self._currencies.get(currency)

    def update(self, currency: Currency, node: PublicKey, friend: PublicKey, declaration: Declaration) -> None:
        """*node* declares something about *friend*; ignored where the node has no room for one more."""
        edges = self._nodes.get(node) or _NodeEdges()
        if edges.refreshed.pop((currency, friend), None) is None:
            if len(edges.refreshed) * SHARES >= self._free:
                return
            self._free -= 1
        self._nodes[node] = edges
        edges.refreshed[currency, friend] = edges.updates
        graph = self._currencies.setdefault(currency, CurrencyGraph())
        graph.declared.setdefault(node, {})[friend] = declaration

    def remove(self, currency: Currency, node: PublicKey, friend: PublicKey) -> None:
        """*node* takes a declaration back; no effect where there is none (D60)."""
        graph = self._currencies.get(currency)
        if graph is None or friend not in graph.neighbours(node):
            return
        self._nodes[node].refreshed.pop((currency, friend))
        self._free += 1
        del graph.declared[node][friend]
        if not graph.declared[node]:
            del graph.declared[node]
        if not graph.declared:
            del self._currencies[currency]

    def remove_node(self, node: PublicKey) -> None:
        """Delete what *node* declared, in every currency, and nothing else (D61)."""
        edges = self._nodes.pop(node, _NodeEdges())
        self._nodes[node] = edges
        for currency, friend in list(edges.refreshed):
            self.remove(currency, node, friend)
        del self._nodes[node]

    def age(self, node: PublicKey) -> None:
        """
        Count an update of *node*: a declaration that too many of them did not refresh is deleted.

        The limit is 16 updates and 3 more for each pair of the node, in all currencies (D65). Spec 06 §6.3.
        """
        edges = self._nodes.get(node)
        if edges is None:
            return
        edges.updates += 1
        limit = EDGE_AGE_BASE + 3 * len(edges.refreshed)
        expired = []
        for pair, refreshed in edges.refreshed.items():
            if edges.updates - refreshed < limit:
                break
            expired.append(pair)
        for currency, friend in expired:
            self.remove(currency, node, friend)
        if not edges.refreshed:
            del self._nodes[node]
