"""What is to happen to a chain, and what came of it."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Outcome", "Plan"]


@dataclass(frozen=True)
class Plan:
    """
    What is to happen.

    Attributes:
        payments: To be made.
        at_once: Of them under way at the same time.
        cut_every: Seconds between two cuts, on average.
        kill_every: Seconds between two kills, on average.
        stall_seconds: Without a payment, until the original is started again.
        settle_seconds: For everything to be settled at the end, before that is taken as frozen.
        seed: Of the choice of cuts and kills.
        minutes: After so long no further payment is begun.
        is_route_known: Whether the buyer knows its route, and so pays faster, instead of asking an index server for
            each payment; a payment is cancelled then when its one attempt fails.
    """

    payments: int = 10_000
    at_once: int = 20
    cut_every: float = 5.0
    kill_every: float = 60.0
    stall_seconds: float = 60.0
    settle_seconds: float = 90.0
    seed: int = 0
    minutes: float = 24 * 60.0
    is_route_known: bool = False


@dataclass
class Outcome:
    """
    What came of it.

    Attributes:
        paid: Payments with a receipt.
        cancelled: Payments of which the buyer's node said that nothing was paid.
        unknown: Payments whose end nobody told.
        seconds: From the first invoice until the last payment had ended.
        cuts: Connections that were cut.
        kills: By node.
        longest_pause: Seconds between two payments that were paid one after the other, at most.
        stalls: Seconds of each time for which nothing was paid, from the last payment before it to the first after it.
        restarts: Of nodes of the original because of stalls, by node.
        ended: How often a node of the original ended by itself, by node.
        frozen: Credits, added up over all ledgers, that were frozen when everything should have been settled.
        frozen_after_restart: What was left of that after the original was started again.
        faults: What must not happen, in words.
        notes: What happened at each stall, in words.
    """

    paid: int = 0
    cancelled: int = 0
    unknown: int = 0
    seconds: float = 0.0
    cuts: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    longest_pause: float = 0.0
    stalls: list[float] = field(default_factory=list)
    restarts: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    frozen: int = 0
    frozen_after_restart: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
