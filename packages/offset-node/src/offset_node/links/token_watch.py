"""
Notices friends that keep the token although something waits for them. Pure. Spec 05 §10.

A friend that holds the token has to return it when it is asked to. One that does not, though its link is alive, holds
up every payment that passes it; the original does so for good at times when it is busy (D54). The node can only wait:
the token and the frozen credits are safe, and everything goes on when the friend answers. A person can talk to the
friend. So the node says it in its log: after `PATIENCE_TICKS`, at each doubling of that time, and when it is over.

Contract: call `look` every `LOOK_TICKS` ticks, with the state as it is stored and the friends that have a link.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from offset_funder.state import Consistent, Friend, FunderState, Outgoing
from offset_proto.types import PublicKey, Signature

__all__ = ["LOOK_TICKS", "PATIENCE_TICKS", "TokenWatch"]

LOOK_TICKS: Final = 16
"""Ticks between two looks, so that a node with thousands of friends does not look at all of them at each tick."""

PATIENCE_TICKS: Final = 64
"""A friend that is busy, or whose link was just made again, takes less."""


@dataclass(slots=True)
class _Kept:
    """A token that a friend has, and has been asked to return."""

    token: Signature
    ticks: int = 0
    told_at: int = 0


class TokenWatch:
    """The tokens that friends of one node keep."""

    def __init__(self) -> None:
        self._kept: dict[PublicKey, _Kept] = {}

    @property
    def overdue(self) -> int:
        """The number of friends that were told of and have not answered yet."""
        return sum(1 for kept in self._kept.values() if kept.told_at)

    def look(self, state: FunderState, online: Iterable[PublicKey]) -> list[str]:
        """`LOOK_TICKS` ticks have passed: what is to be logged."""
        said: list[str] = []
        online = frozenset(online)
        kept: dict[PublicKey, _Kept] = {}
        for public_key in online:
            friend = state.friends.get(public_key)
            token = None if friend is None else _wanted_token(friend)
            before = self._kept.get(public_key)
            if friend is None or token is None:
                continue
            if before is None or before.token != token:
                kept[public_key] = _Kept(token)
                continue
            before.ticks += LOOK_TICKS
            if before.ticks >= max(PATIENCE_TICKS, 2 * before.told_at):
                before.told_at = before.ticks
                said.append(
                    f"friend {friend.name!r} has kept the token for {before.ticks} seconds: {_waiting(friend)} "
                    "operations wait for it, and go on when it answers"
                )
            kept[public_key] = before
        for public_key, before in self._kept.items():
            friend = state.friends.get(public_key)
            is_over = kept.get(public_key) is not before and public_key in online
            if before.told_at and is_over and friend is not None:
                said.append(f"friend {friend.name!r} no longer keeps the token")
        self._kept = kept
        return said


def _wanted_token(friend: Friend) -> Signature | None:
    """Our last token, if the friend has it and something waits for it to come back."""
    if not isinstance(friend.channel, Consistent) or not _waiting(friend):
        return None
    direction = friend.channel.token_channel.direction
    return direction.move_token_out.new_token if isinstance(direction, Outgoing) else None


def _waiting(friend: Friend) -> int:
    channel = friend.channel
    if not isinstance(channel, Consistent):
        return 0
    return len(channel.pending_requests) + len(channel.pending_backwards_ops) + len(channel.pending_user_requests)
