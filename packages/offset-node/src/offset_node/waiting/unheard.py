"""
The friends that have to speak first, as an app that follows them is told. Pure. Spec 12 §7.

`offset_funder.unheard` says who they are, and why. Where the node has forgotten something, a friend that is added comes
to them; who is heard or removed leaves them. Nothing else changes them, so that a batch costs what it touches, however
many friends there are.

Contract: `observe` gets the mutations of each event, `changes` is called when a batch is through. Each answer is what
the state says then.
"""

from collections.abc import Iterable

from offset_funder.friend_mutations import SetHeard
from offset_funder.mutations import AddFriend, FriendMutation, Mutation, RemoveFriend
from offset_funder.state import FunderState
from offset_proto.messages.extensions import UnheardFriends
from offset_proto.types import PublicKey

__all__ = ["UnheardView"]


class UnheardView:
    """What is told of the unheard friends of one node."""

    def __init__(self) -> None:
        self._touched: dict[PublicKey, None] = {}

    def snapshot(self, state: FunderState) -> UnheardFriends:
        """All of them; nobody, where the node has forgotten nothing."""
        unheard = (key for key, friend in state.friends.items() if not friend.is_heard)
        return UnheardFriends(True, tuple(unheard) if state.has_forgotten else (), ())

    def observe(self, mutations: Iterable[Mutation]) -> None:
        """An event has changed the state."""
        for mutation in mutations:
            match mutation:
                case AddFriend() | RemoveFriend() | FriendMutation(_, SetHeard()):
                    self._touched[mutation.public_key] = None

    def changes(self, state: FunderState) -> UnheardFriends | None:
        """What has changed since the last answer; None where nothing has."""
        touched, self._touched = self._touched, {}
        if not touched or not state.has_forgotten:
            return None
        unheard = tuple(key for key in touched if key in state.friends and not state.friends[key].is_heard)
        return UnheardFriends(False, unheard, tuple(key for key in touched if key not in unheard))
