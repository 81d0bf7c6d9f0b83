"""For tests of a database: funders without sockets, each of which has a database, whichever engine keeps it."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from offset_funder.engine import Outcome
from offset_funder.events import Event
from offset_funder.testing import SimulatedNetwork
from offset_node.database.names import DatabaseName
from offset_node.database.opening import create_database, open_database
from offset_node.database.stored_node import StoredNode
from offset_node.state import AddEntry, Mutation, NodeState
from offset_proto.errors import invariant

__all__ = ["StoringNetwork"]


class StoringNetwork(SimulatedNetwork):
    """
    A network whose nodes store what happens; after every event, state and history must stand in the database.

    Attributes:
        databases: Of the nodes, from `store_in` on.
        written: How many entries of the history each of them has.
    """

    databases: dict[str, StoredNode]
    written: dict[str, int]

    def store_in(self, place: Callable[[str], DatabaseName], runner: asyncio.Runner) -> None:
        """Make a database for each node at the *place* of its name; *runner* does all that needs an event loop."""
        self._runner = runner
        self.databases, self.written = {}, dict.fromkeys(self.nodes, 0)
        for name, node in self.nodes.items():
            create_database(place(name), NodeState(node.stored))
            self.databases[name] = runner.run(open_database(place(name)))
            invariant(self.load(name).funder == node.stored, "a new database holds the state")

    def load(self, name: str) -> NodeState:
        """What is stored of a node."""
        return self._runner.run(self.databases[name].load())

    def apply(self, name: str, mutations: Iterable[Mutation]) -> None:
        """Store a batch of a node."""
        self._runner.run(self.databases[name].apply(mutations))

    def close(self, name: str) -> None:
        """Let the database of a node go."""
        self._runner.run(self.databases.pop(name).close())

    def handle(self, name: str, event: Event, **options: Any) -> Outcome:
        """Handle an event as every network does, store what came of it, and compare. Raises InvariantBroken."""
        outcome = super().handle(name, event, **options)
        if hasattr(self, "databases"):
            numbered = enumerate(outcome.entries, self.written[name] + 1)
            self.apply(name, [*outcome.mutations, *[AddEntry(number, 1, entry) for number, entry in numbered]])
            self.written[name] += len(outcome.entries)
            state = self.load(name)
            invariant(state.funder == self.nodes[name].stored, "the database holds the state")
            entries = self._runner.run(self.databases[name].reader.check(state))
            invariant(entries == self.written[name], "the history has every entry")
        return outcome
