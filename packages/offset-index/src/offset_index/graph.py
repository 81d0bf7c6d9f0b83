"""
The capacities that nodes declared. Spec 06 §6.

A declaration of a node about a friend says how much the node can receive from that friend. Credit flows
from u to v over what v declared about u, provided that u declared v as well. Currencies have nothing
to do with each other.
"""

from dataclasses import dataclass
from typing import Final

from offset_index.currency_graph import CurrencyGraph, Declaration
from offset_proto.limits import EDGE_AGE_BASE, INDEX_DECLARATIONS_MAX, INDEX_NODE_CURRENCIES_MAX
from offset_proto.types import Currency, PublicKey

__all__ = ["CapacityGraph"]


SHARES: Final = 256
"""A node may have as many declarations as this part of what is free."""

LOOKS: Final = 8
"""Between two looks for what expired, a node makes as many updates as this part of its declarations."""


@dataclass(slots=True)
class _Node:
    """What is known of a node in all currencies: its counts, and when to look for declarations that expired."""

    updates: int = 0
    declarations: int = 0
    currencies: tuple[Currency, ...] = ()
    look_at: int = 0

    @property
    def age_limit(self) -> int:
        return EDGE_AGE_BASE + 3 * self.declarations

    @property
    def soonest_look(self) -> int:
        """A look takes as long as there are declarations, so not every update has one."""
        return self.updates + 1 + self.declarations // LOOKS


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
        self._nodes: dict[PublicKey, _Node] = {}
        self._declarations_max = declarations_max
        self._free = declarations_max
        self.refused = 0
        """Declarations that found no room."""

    @property
    def declarations(self) -> int:
        """How many declarations there are, of all nodes."""
        return self._declarations_max - self._free

    def currency(self, currency: Currency) -> CurrencyGraph | None:
        """The graph of a currency; None where nobody declared anything in it."""
        return self._currencies.get(currency)

    def update(self, currency: Currency, node: PublicKey, friend: PublicKey, declaration: Declaration) -> None:
        """*node* declares something about *friend*; ignored where the node has no room for one more."""
        known = self._nodes.get(node) or _Node()
        graph = self._currencies.get(currency) or CurrencyGraph()
        if not graph.declares(node, friend):
            if known.declarations * SHARES >= self._free:
                self.refused += 1
                return
            if not graph.has_declared(node):
                if len(known.currencies) >= INDEX_NODE_CURRENCIES_MAX:
                    self.refused += 1
                    return
                known.currencies += (currency,)
            known.declarations += 1
            if known.declarations == 1:
                known.look_at = known.updates + known.age_limit
            self._free -= 1
            self._nodes[node] = known
            self._currencies[currency] = graph
        graph.declare(node, friend, declaration, known.updates)

    def remove(self, currency: Currency, node: PublicKey, friend: PublicKey) -> None:
        """*node* takes a declaration back; no effect where there is none (D60)."""
        graph = self._currencies.get(currency)
        if graph is None or not graph.declares(node, friend):
            return
        graph.remove(node, friend)
        if not graph:
            del self._currencies[currency]
        known = self._nodes[node]
        if not graph.has_declared(node):
            known.currencies = tuple(other for other in known.currencies if other != currency)
        self._free += 1
        known.declarations -= 1
        if not known.declarations:
            del self._nodes[node]
        else:  # the others have less time now
            known.look_at = min(known.look_at, known.soonest_look)

    def remove_node(self, node: PublicKey) -> None:
        """Delete what *node* declared, in every currency, and nothing else (D61)."""
        known = self._nodes.get(node)
        for currency in () if known is None else known.currencies:
            for friend in self._currencies[currency].declared(node):
                self.remove(currency, node, friend)

    def age(self, node: PublicKey) -> None:
        """
        Count an update of *node*: a declaration that too many of them did not refresh is deleted.

        The limit is 16 updates and 3 more for each pair of the node, in all currencies (D65). Where a node has
        eight pairs or more, a declaration may outlive it by an eighth of their number of updates. Spec 06 §6.3, §9.3.
        """
        known = self._nodes.get(node)
        if known is None:
            return
        known.updates += 1
        if known.updates >= known.look_at:
            self._look(node, known)

    def _look(self, node: PublicKey, known: _Node) -> None:
        """Delete what expired, and tell when something may expire next."""
        oldest, expired = 0, []
        for currency in known.currencies:
            for friend, age in self._currencies[currency].ages(node, known.updates):
                if age >= known.age_limit:
                    expired.append((currency, friend))
                else:
                    oldest = max(oldest, age)
        for currency, friend in expired:
            self.remove(currency, node, friend)
        known.look_at = max(known.soonest_look, known.updates + known.age_limit - oldest)
