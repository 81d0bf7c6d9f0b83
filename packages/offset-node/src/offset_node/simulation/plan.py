"""What a run is made of: topology, faults and size; and what came of it. Pure values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from offset_node.simulation.world import Chance

__all__ = ["SOME_FAULTS", "TOPOLOGIES", "Edge", "Faults", "Plan", "Summary"]

Edge = tuple[int, int]
"""Two nodes that are friends, by number."""


@dataclass(frozen=True)
class Faults:
    """
    What goes wrong; chances are per tick unless said otherwise.

    Attributes:
        crash: A node is killed.
        crash_before_storing: A node is killed with a batch in memory; for each batch.
        crash_after_storing: A node is killed with a batch stored and unsent; for each batch.
        loss: A link breaks.
        silence: A link swallows everything until keepalive notices.
        server_crash: A relay or index server loses its memory.
        index_change: The owner of a node replaces its index server by another one.
        slow: Share of nodes that take 50 times as long.
        malicious: Share of nodes that repeat, reorder, withhold or alter what they say.
        asleep: A node stops for some seconds up to some minutes, and then goes on as if nothing had happened.
        restore: A node loses its database, and goes on from a backup of any age.
    """

    crash: float = 0.0
    crash_before_storing: float = 0.0
    crash_after_storing: float = 0.0
    loss: float = 0.0
    silence: float = 0.0
    server_crash: float = 0.0
    index_change: float = 0.0
    slow: float = 0.0
    malicious: float = 0.0
    asleep: float = 0.0
    restore: float = 0.0


SOME_FAULTS: Final = Faults(
    crash=0.0005,
    crash_before_storing=0.0002,
    crash_after_storing=0.0002,
    loss=0.001,
    silence=0.0002,
    server_crash=0.005,
    index_change=0.0005,
    slow=0.02,
    malicious=0.01,
)
"""Faults of every kind, each of them rare."""


@dataclass(frozen=True)
class Plan:
    """
    What to run.

    Attributes:
        nodes: Number of nodes.
        payments: Number of payments.
        topology: A name of `TOPOLOGIES`.
        per_tick: Payments begun in each tick.
        faults: What goes wrong meanwhile.
        invoice_ticks: An invoice is cancelled by its node so many ticks after it was made, and buyers leave it to that;
            0: invoices have no end, and the seller cancels what the buyer has given up.
    """

    nodes: int
    payments: int
    topology: str = "scale-free"
    per_tick: float = 10.0
    faults: Faults = field(default_factory=Faults)
    invoice_ticks: int = 0


@dataclass(frozen=True)
class Summary:
    """
    What came of a run.

    Attributes:
        outcomes: How many payments ended in which way.
        ticks: How long the run took, in the time of the network.
        steps: Events of the network.
        tokens: Tokens that nodes signed.
        checked: States of a friendship that were checked.
        crashes: Of nodes and servers.
        resets: Channels that their owners had to reset.
        index_changes: Replacements of an index server.
        restores: Of nodes from backups.
        fingerprint: Of what all nodes have stored at the end; two runs of one seed have the same.
    """

    outcomes: dict[str, int]
    ticks: float
    steps: int
    tokens: int
    checked: int
    crashes: int
    resets: int
    index_changes: int
    restores: int
    fingerprint: str

    def __str__(self) -> str:
        ended = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return (
            f"payments: {ended}; {self.ticks:.0f} ticks, {self.steps} events, {self.tokens} tokens signed, "
            f"{self.checked} states checked, {self.crashes} crashes, {self.resets} channels reset, "
            f"{self.index_changes} index servers replaced, {self.restores} nodes restored; "
            f"fingerprint {self.fingerprint}"
        )


def _line(count: int, chance: Chance) -> Iterator[Edge]:
    yield from ((number, number + 1) for number in range(count - 1))


def _ring(count: int, chance: Chance) -> Iterator[Edge]:
    yield from ((number, (number + 1) % count) for number in range(count))


def _star(count: int, chance: Chance) -> Iterator[Edge]:
    yield from ((0, number) for number in range(1, count))


def _scale_free(count: int, chance: Chance) -> Iterator[Edge]:
    """Each newcomer befriends two nodes, drawn in proportion to the number of friends that these have."""
    ends = [0, 1]
    yield 0, 1
    for number in range(2, count):
        met = sorted({chance.choice(ends) for _ in range(2)})
        for other in met:
            yield other, number
            ends += [other, number]


TOPOLOGIES: Final[dict[str, Callable[[int, Chance], Iterator[Edge]]]] = {
    "line": _line,
    "ring": _ring,
    "star": _star,
    "scale-free": _scale_free,
}
"""By name: which nodes are friends of each other."""
