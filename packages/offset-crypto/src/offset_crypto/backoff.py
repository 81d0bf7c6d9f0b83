"""
When to try again: one policy for every outgoing link, counted in ticks. Spec 02 §8.2.

A failed attempt waits 1, 2, 4, then 8 ticks, some of them one tick less so that a network that went down
together does not come back in step. A link that lived resets that; one that ended within 8 ticks waits
the full 8, which is what keeps a peer that accepts and hangs up from being dialled in a loop (D25, D68).
"""

from offset_crypto.secure_channel import RandomBytes
from offset_proto.limits import BACKOFF_TICKS_MAX

__all__ = ["Backoff"]


class Backoff:
    """
    The pauses of one outgoing link.

    Args:
        random_bytes: Source of the jitter.
        ticks_max: The longest pause.
    """

    def __init__(self, random_bytes: RandomBytes, ticks_max: int = BACKOFF_TICKS_MAX) -> None:
        self._random_bytes = random_bytes
        self._ticks_max = ticks_max
        self._next_ticks = 1

    def after_failure(self) -> int:
        """Ticks to wait after an attempt that failed."""
        ticks = self._next_ticks
        self._next_ticks = min(ticks * 2, self._ticks_max)
        return ticks - (self._random_bytes(1)[0] & 1) if ticks > 2 else ticks

    def after_link(self, lived_ticks: int) -> int:
        """Ticks to wait after a link that lived so long: none, or the most."""
        if lived_ticks < self._ticks_max:
            self._next_ticks = self._ticks_max
            return self._ticks_max
        self._next_ticks = 1
        return 0
