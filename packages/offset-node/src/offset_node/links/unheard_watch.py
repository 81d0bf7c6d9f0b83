"""
Notices friends that could speak and do not, on a node that must hear them first. Pure.

`offset_funder.unheard` says why a node that was restored keeps silent until a friend has spoken. Each friend of ours or
of the original speaks as soon as the link is up. One that does not was restored itself, or is wedged (D54), and both
sides would wait for ever. So after `SILENCE_TICKS` of one link the funder is told, and breaks the channel.

Contract: call `look` every `LOOK_TICKS` ticks, with the state as it is stored and the friends that have a link.
"""

from collections.abc import Set
from typing import Final

from offset_funder.events import FriendSilent
from offset_funder.state import Consistent, FunderState
from offset_node.links.token_watch import LOOK_TICKS, PATIENCE_TICKS
from offset_proto.types import PublicKey

__all__ = ["UnheardWatch"]

SILENCE_TICKS: Final = 2 * PATIENCE_TICKS
"""Whoever is busy answers within `PATIENCE_TICKS`. Twice that, because a broken channel costs both owners a choice."""


class UnheardWatch:
    """
    The friends of one node that are not heard.

    Attributes:
        unheard: How many they are, whether they have a link or not.
    """

    def __init__(self, state: FunderState) -> None:
        self._silent: dict[PublicKey, int] = {}
        self.unheard = self._count(state)

    def _count(self, state: FunderState) -> int:
        return sum(not friend.is_heard for friend in state.friends.values()) if state.has_forgotten else 0

    def look(self, state: FunderState, online: Set[PublicKey]) -> list[FriendSilent]:
        """`LOOK_TICKS` ticks have passed: which friends have kept silent for too long."""
        self.unheard = self._count(state)
        if not self.unheard:
            self._silent.clear()
            return []
        waited_for = {
            key
            for key in online
            if (friend := state.friends.get(key)) and not friend.is_heard and isinstance(friend.channel, Consistent)
        }
        self._silent = {key: self._silent.get(key, -LOOK_TICKS) + LOOK_TICKS for key in waited_for}
        return [FriendSilent(key) for key, ticks in self._silent.items() if ticks >= SILENCE_TICKS]
