"""
Sums instead of floods: the same from the same cause is told a few times, and then counted. Pure.

A friend on a bad line comes and goes every ten seconds, and one line for each time would bury what matters. So whatever
is told has a *cause*, and each cause has lines of its own. A cause is in one of four states:

=========  ===============================  ==========================================================================
cause      what happens                     what comes of it
=========  ===============================  ==========================================================================
not known  something is told                a line; the cause is *new*
new        told                             a line; after `LINES_FREE` lines it is *held*, in its first window
held       told                             it is counted
held       the window ends, some counted    a line with the last one and their number; held, in the next window
held       the window ends, none counted    *let go*
let go     told                             a line; held, in the next window
any        nothing for `QUIET_SECONDS`      not known
=========  ===============================  ==========================================================================

Each window is longer than the one before, as `WINDOWS` says; the last one is repeated. So a cause that gives no rest
has a line in each hour, after the first ones; what is rare is told at once; and what came last is told within an hour.

A table of causes that strangers could make grow would be a way to fill memory and disk. It has at most `CAUSES_MAX`;
more causes share one for each group of events, of which the code has a fixed number.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["CAUSES_MAX", "LINES_FREE", "QUIET_SECONDS", "WINDOWS", "Sum", "Sums"]

LINES_FREE: Final = 6
"""Lines of a new cause, which are written as they come."""

WINDOWS: Final = (60, 240, 960, 3600)
"""Seconds for which a cause is held."""

QUIET_SECONDS: Final = 3 * 3600
"""A cause that says nothing for so long is new the next time."""

CAUSES_MAX: Final = 1024
"""Causes that are told apart."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Sum(Generic[Item]):
    """What was counted: the last one, how many there were, and in how many seconds."""

    last: Item
    times: int
    seconds: float


@dataclass(slots=True)
class _Cause(Generic[Item]):
    seen: float
    lines: int = 0
    windows: int = 0
    begun: float = 0
    ends: float = 0
    counted: int = 0
    last: Item | None = None

    def written(self, now: float) -> None:
        """A line was written: from the last free one on, each begins a window."""
        self.lines += 1
        self.counted, self.last = 0, None
        if self.lines >= LINES_FREE:
            self.begun, self.ends = now, now + WINDOWS[min(self.windows, len(WINDOWS) - 1)]
            self.windows += 1

    @property
    def due(self) -> float:
        return self.seen + QUIET_SECONDS if self.last is None else self.ends


class Sums(Generic[Item]):
    """The causes of one log. Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._causes: dict[Hashable, _Cause[Item]] = {}
        self._next_due = float("inf")

    def admit(self, group: Hashable, cause: Hashable, item: Item, now: float) -> bool:
        """
        Whether to write *item*; otherwise it is counted.

        Args:
            group: One of a fixed number.
            cause: Whatever is told apart in the group.
            item: What is told.
            now: When.
        """
        key: Hashable = (group, cause)
        if key not in self._causes and len(self._causes) >= CAUSES_MAX:
            key = (group,)
        known = self._causes.setdefault(key, _Cause(now))
        known.seen = now
        is_written = now >= known.ends and known.last is None
        if is_written:
            known.written(now)
        else:
            known.counted += 1
            known.last = item
        self._next_due = min(self._next_due, known.due)
        return is_written

    def due(self, now: float) -> list[Sum[Item]]:
        """The sums of windows that have ended, to be written."""
        if now < self._next_due:
            return []
        sums: list[Sum[Item]] = []
        for key, cause in list(self._causes.items()):
            if now < cause.due:
                continue
            if cause.last is None:
                del self._causes[key]
                continue
            sums.append(Sum(cause.last, cause.counted, now - cause.begun))
            cause.written(now)
        self._next_due = min((cause.due for cause in self._causes.values()), default=float("inf"))
        return sums

    def end(self, now: float) -> list[Sum[Item]]:
        """The sums of all that was counted and not written, at the end of the log; all causes are forgotten."""
        causes, self._causes = self._causes, {}
        return [Sum(c.last, c.counted, now - c.begun) for c in causes.values() if c.last is not None]
