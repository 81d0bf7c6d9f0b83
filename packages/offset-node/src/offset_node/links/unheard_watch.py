"""
Notices friends that could speak and do not, on a node that must hear them first. Pure.

`offset_funder.unheard` says why a node that was restored keeps silent until a friend has spoken. Each friend of ours or
of the original speaks as soon as the link is up. One that does not was restored itself, or is wedged (D54), and both
sides would wait for ever. So after `SILENCE_TICKS` of one link the funder is told, and breaks the channel. The
owner reads in the log who is waited for, and what came of it.

Contract: call `look` every `LOOK_TICKS` ticks, with the state as it is stored and the friends that have a link.
"""

from collections.abc import Set
from typing import Final

from offset_funder.events import FriendSilent
from offset_funder.state import Consistent, Friend, FunderState
from offset_node.links.token_watch import LOOK_TICKS, PATIENCE_TICKS
from offset_proto.types import PublicKey

__all__ = ["UnheardWatch"]

SILENCE_TICKS: Final = 2 * PATIENCE_TICKS
"""Whoever is busy answers within `PATIENCE_TICKS`. Twice that, because a broken channel costs both owners a choice."""


_NAMED_MAX: Final = 100
"""Friends that one line names; the metric counts all of them."""


class UnheardWatch:
    """
    The friends of one node that are not heard.

    Attributes:
        unheard: How many they are, whether they have a link or not.
        silent: Those that have kept silent for too long, as of the last look.
    """

    def __init__(self, state: FunderState) -> None:
        unheard = _unheard(state)
        self._waited_for = _waited_for(unheard)
        self._untold = _who_is_waited_for([unheard[key].name for key in self._waited_for])
        self._ticks: dict[PublicKey, int] = {}
        self.silent: list[FriendSilent] = []
        self.unheard = len(unheard)

    def look(self, state: FunderState, online: Set[PublicKey]) -> list[str]:
        """`LOOK_TICKS` ticks have passed: what is to be logged."""
        unheard = _unheard(state)
        self.unheard = len(unheard)
        waited_for = _waited_for(unheard)
        self._ticks = {key: self._ticks.get(key, -LOOK_TICKS) + LOOK_TICKS for key in waited_for & online}
        self.silent = [FriendSilent(key) for key, ticks in self._ticks.items() if ticks >= SILENCE_TICKS]
        said = self._untold + [
            _what_came(state.friends[key]) for key in self._waited_for - waited_for if key in state.friends
        ]
        self._untold, self._waited_for = [], waited_for
        return said


def _unheard(state: FunderState) -> dict[PublicKey, Friend]:
    return {key: friend for key, friend in state.friends.items() if not friend.is_heard} if state.has_forgotten else {}


def _waited_for(unheard: dict[PublicKey, Friend]) -> frozenset[PublicKey]:
    """Those who have not spoken at all."""
    return frozenset(key for key, friend in unheard.items() if isinstance(friend.channel, Consistent))


def _who_is_waited_for(names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    listed = ", ".join(map(repr, sorted(names)[:_NAMED_MAX])) + more
    return [f"restored, so nothing is said to these friends before they have said where they are: {listed}"]


def _what_came(friend: Friend) -> str:
    if isinstance(friend.channel, Consistent):
        return f"friend {friend.name!r} is heard, and all goes on with it"
    return f"friend {friend.name!r} is not where this node remembers it to be: accept its terms, or let it accept ours"
