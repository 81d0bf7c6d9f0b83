"""
What a program counts and measures, declared once: its name, its meaning, and where it is read.

A `Measure` is a metric of Prometheus together with the way to read it, so nothing is declared that is not given, and
nothing is given that is not declared. The pages of `offset_crypto.status_pages` and the reference of the documentation
are made of the same tables. Pure: those who count have plain integers, and `Distribution` where the spread matters.

Names follow the conventions of Prometheus: seconds and bytes, ``_total`` at the end of what only grows. A label has
values that this code knows beforehand, or the names of the plugins. Never is one a key, a friend's name or a currency:
what strangers choose would make the number of series grow, and would tell whoever reads them who trusts whom.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

__all__ = ["SECONDS", "Distribution", "Kind", "Measure", "Value", "counter", "gauge", "histogram"]

Subject = TypeVar("Subject")

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds in seconds, from a fast disk to the patience of a person; about a factor of two between them."""


class Kind(Enum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Distribution:
    """
    How often a value fell between which bounds; costs the same memory for any number of values.

    Args:
        bounds: Ascending upper bounds; a value that equals one belongs to it. Above the last one there is no limit.

    Attributes:
        total: Sum of all values.
        count: How many there were.
    """

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0
        self.count = 0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value
        self.count += 1

    def copy(self) -> "Distribution":
        """The same values, to which nothing is added any more."""
        made = Distribution(self._bounds)
        made._counts, made.total, made.count = list(self._counts), self.total, self.count
        return made

    def cumulative(self) -> list[tuple[float, int]]:
        """Each bound, infinity as the last, with the number of values that are not above it."""
        steps: list[tuple[float, int]] = []
        so_far = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            so_far += count
            steps.append((bound, so_far))
        return steps


Value = float | Mapping[str, float] | Distribution
"""One figure; one for each value of the label; or a histogram."""


@dataclass(frozen=True)
class Measure(Generic[Subject]):
    """
    A metric and how it is read.

    Attributes:
        name: As Prometheus shows it.
        kind: What it is to Prometheus.
        text: What it says, in one sentence without an end; with the unit where the name has none.
        read: The present value, of what is measured. It must not wait.
        label: Name of the label, or empty.
        values: All values that the label can have; none: the names of the plugins that were installed at the start.
    """

    name: str
    kind: Kind
    text: str
    read: Callable[[Subject], Value]
    label: str = ""
    values: tuple[str, ...] = ()


def counter(
    name: str, text: str, read: Callable[[Subject], Value], label: str = "", values: tuple[str, ...] = ()
) -> Measure[Subject]:
    """A metric that only grows, until the process starts again; its name ends with ``_total``."""
    return Measure(name, Kind.COUNTER, text, read, label, values)


def gauge(
    name: str, text: str, read: Callable[[Subject], Value], label: str = "", values: tuple[str, ...] = ()
) -> Measure[Subject]:
    """A metric that goes up and down."""
    return Measure(name, Kind.GAUGE, text, read, label, values)


def histogram(name: str, text: str, read: Callable[[Subject], Distribution]) -> Measure[Subject]:
    """How often a value fell between which bounds."""
    return Measure(name, Kind.HISTOGRAM, text, read)
