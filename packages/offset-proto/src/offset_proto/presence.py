"""
What is there and what is not, since when, and what has been told of it: for logs that tell changes and no states. Pure.

A thing, such as a friend or a relay, is *there* or *away*; in the beginning all are away. Of a thing that is away,
the first attempt that fails is worth a line, and the next thousand are not.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Presence"]

Key = TypeVar("Key", bound=Hashable)


class Presence(Generic[Key]):
    """
    The presence of some things, whose number somebody else limits. Times are seconds of a clock that never goes back.

    Args:
        now: When the program has begun, since when all are away.
    """

    def __init__(self, now: float) -> None:
        self._begun = now
        self._there: dict[Key, float] = {}
        self._away: dict[Key, float] = {}
        self._missed: set[Key] = set()

    def came(self, key: Key, now: float) -> float:
        """It is there; the seconds for which it was away."""
        self._missed.discard(key)
        self._there[key] = now
        return now - self._away.pop(key, self._begun)

    def went(self, key: Key, now: float) -> float | None:
        """It is away; the seconds for which it was there, None where it was not."""
        since = self._there.pop(key, None)
        if since is None:
            return None
        self._away[key] = now
        return now - since

    def since(self, key: Key) -> float | None:
        """Since when it is there; None: it is away."""
        return self._there.get(key)

    def is_news(self, key: Key) -> bool:
        """An attempt failed: whether it is the first one since the thing is away."""
        if key in self._missed:
            return False
        self._missed.add(key)
        return True

    def forget_misses(self) -> None:
        """All attempts that fail from now on are news again."""
        self._missed.clear()
