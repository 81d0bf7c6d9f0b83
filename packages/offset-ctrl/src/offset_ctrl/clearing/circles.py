"""
Cleared debts as circles that can be paid.

A circulation is a sum of circles. They are taken out one after another: for each member the shortest circle through it
is searched (breadth first), with the smallest of its debts as its amount, and taken off all of them, until no circle
goes through the member any more. This is right because

* what is left after a circle is taken out is a circulation again, so while a debt is to be cleared, a circle goes
  over it;
* each circle uses up a debt at least, so there are no more circles than debts.

Short circles are preferred because all members of a circle must be online together.

A payment has room for 32 public keys (spec 04 §4.5), and the one who pays is in it twice, so a circle has 31
members at most. A circulation may have longer circles only, such as a ring of 40. What is on them can not be paid as
it is, and there may be shorter circles instead, over debts that the circulation leaves alone. So these are taken out
of the debts themselves, until there is none of a length that can be paid.

What is too long depends on what was taken out before, so the member that the search begins with makes a difference.
Where something is left, the search is made again from other members, and the best one counts. Less may be cleared than
by the circulation even so, but nothing more could be cleared by another circle on top.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from offset_proto.limits import ROUTE_KEYS_MAX

__all__ = ["HOPS_MAX", "Circle", "find_circles", "take_apart"]

HOPS_MAX: Final = ROUTE_KEYS_MAX - 1
"""Members of a circle at most; its route names the one who pays at both ends."""

TRIES_MAX: Final = 8
"""Searches from different members, where something is left each time."""

TRIED_DEBTS_MAX: Final = 100_000
"""Debts of all these searches together, which take seconds."""

M = TypeVar("M", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Circle(Generic[M]):
    """Each member owes the next, and the last owes the first; *amount* credits of each of these debts are cleared."""

    members: tuple[M, ...]
    amount: int


def find_circles(
    debts: Mapping[tuple[M, M], int], set_off: Mapping[tuple[M, M], int], hops_max: int = HOPS_MAX
) -> list[Circle[M]]:
    """
    Circles that clear *set_off*, or as much of the debts as circles of that length can.

    Args:
        debts: Credits that the first member of a pair owes the second.
        set_off: What of them `offset_ctrl.clearing.flow.largest_set_off` clears.
        hops_max: Members of a circle at most.

    Returns:
        Circles in the order in which they were found. Together they take no more off any debt than there is.
    """
    most, cleared = sum(set_off.values()), 0
    best: list[Circle[M]] = []
    tries = max(1, min(TRIES_MAX, TRIED_DEBTS_MAX // max(1, len(debts))))
    amounts = list(set_off.items())
    for number in range(tries):
        start = len(amounts) * number // tries
        circles = take_apart(dict(amounts[start:] + amounts[:start]), hops_max)
        if _total(circles) < most:
            circles += take_apart(_left(debts, circles), hops_max)
        if _total(circles) > cleared:
            best, cleared = circles, _total(circles)
        if cleared == most:
            break
    return best


def _total(circles: Iterable[Circle[M]]) -> int:
    return sum(circle.amount * len(circle.members) for circle in circles)


def _left(debts: Mapping[tuple[M, M], int], circles: Iterable[Circle[M]]) -> dict[tuple[M, M], int]:
    """What of *debts* none of *circles* takes off."""
    left = dict(debts)
    for circle in circles:
        for hop in _hops(circle.members):
            left[hop] -= circle.amount
    return left


def take_apart(amounts: Mapping[tuple[M, M], int], hops_max: int = HOPS_MAX) -> list[Circle[M]]:
    """
    Circles that are taken off *amounts* until none of at most *hops_max* hops is left.

    Where *amounts* are a circulation that has no longer circle, they add up to it.
    """
    graph = _Graph(amounts)
    circles = []
    for member in graph.members:
        while (way := graph.shortest_circle(member, hops_max)) is not None:
            circles.append(graph.take_out(way))
    return circles


class _Graph(Generic[M]):
    """What is left to be taken apart: the amount from each member to each other one, and who has one to whom."""

    def __init__(self, amounts: Mapping[tuple[M, M], int]) -> None:
        self._out: dict[M, dict[M, int]] = {}
        self._into: dict[M, dict[M, None]] = {}
        for (tail, head), amount in amounts.items():
            if amount:
                self._out.setdefault(tail, {})[head] = amount
                self._into.setdefault(head, {})[tail] = None
        self.members = [member for member in self._out if member in self._into]

    def take_out(self, way: tuple[M, ...]) -> Circle[M]:
        """Take the circle through the members of *way* out, with as much as each of its hops has."""
        pairs = _hops(way)
        amount = min(self._out[tail][head] for tail, head in pairs)
        for tail, head in pairs:
            self._out[tail][head] -= amount
            if not self._out[tail][head]:
                del self._out[tail][head]
                del self._into[head][tail]
        return Circle(way, amount)

    def shortest_circle(self, start: M, hops_max: int) -> tuple[M, ...] | None:
        """
        The members of a shortest circle from *start* back to it; None where it has more than *hops_max* hops.

        The search goes from *start* forwards and backwards, a hop at a time on the side with fewer ends, so that it
        sees the members half way around only. Where the sides have not met before, they meet on a shortest circle.
        """
        before: dict[M, M] = {start: start}
        after: dict[M, M] = {start: start}
        forwards, backwards = [start], [start]
        for _ in range(hops_max):
            if len(forwards) <= len(backwards):
                ends, forwards = forwards, []
                for tail in ends:
                    for head in self._out.get(tail, ()):
                        if head in after:
                            return _way(before, tail, start)[::-1] + _way(after, head, start)[:-1]
                        if head not in before:
                            before[head] = tail
                            forwards.append(head)
            else:
                ends, backwards = backwards, []
                for head in ends:
                    for tail in self._into.get(head, ()):
                        if tail in before:
                            return _way(before, tail, start)[::-1] + _way(after, head, start)[:-1]
                        if tail not in after:
                            after[tail] = head
                            backwards.append(tail)
        return None


def _way(links: Mapping[M, M], member: M, start: M) -> tuple[M, ...]:
    """From *member* along *links* to *start*, both included."""
    way = [member]
    while way[-1] != start:
        way.append(links[way[-1]])
    return tuple(way)


def _hops(way: tuple[M, ...]) -> list[tuple[M, M]]:
    return list(zip(way, way[1:] + way[:1], strict=True))
