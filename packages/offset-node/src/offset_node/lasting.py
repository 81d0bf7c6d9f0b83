"""
What of the mutations of a batch lasts: others are taken back, or overwritten, by later ones of the same batch. Pure.

A batch is stored as a whole or not at all, so nobody ever sees the state in the middle of it. What only the middle has
does not have to be stored:

==================  ============================================================================================
mutation            is left out, if in the same batch
==================  ============================================================================================
a push to a queue   what it pushed is taken out again, as a token had room for it; and so is the pop that did it
`SetDirection`      a later one follows: the token that came in was answered at once
`UpdatePayment`     a later one of the same payment follows, or `RemovePayment`
`RemovePayment`     a later `UpdatePayment` follows, or the payment was not there before
==================  ============================================================================================

Why the state comes out the same. A queue gives first what came first. So the first pops of a batch take what was there
before, as many as that was, and each further one takes the oldest of what the batch has pushed itself. Those two
belong together, and no mutation between them looks at the queue. Where a batch changes the queues of a friend in any
other way (a reset, a currency that is closed, a friend that is removed), no later pop is left out. The direction of a
channel, and a payment, are replaced as a whole by each of their mutations; none depends on what was there before.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from offset_funder import mutations as m
from offset_funder.state import Consistent, FunderState
from offset_node.state import Mutation
from offset_proto.types import PublicKey

__all__ = ["lasting"]

_PUSHED_TO: Final[dict[type, str]] = {
    m.PushBackPendingBackwardsOp: "pending_backwards_ops",
    m.PushBackPendingRequest: "pending_requests",
    m.PushBackPendingUserRequest: "pending_user_requests",
}

_POPPED_FROM: Final[dict[type, str]] = {
    m.PopFrontPendingBackwardsOp: "pending_backwards_ops",
    m.PopFrontPendingRequest: "pending_requests",
    m.PopFrontPendingUserRequest: "pending_user_requests",
}

_OTHERS_OF_QUEUES: Final = {
    m.SetInconsistent,
    m.SetConsistent,
    m.RemovePendingRequests,
    m.RemovePendingRequestsCurrency,
    m.RemovePendingUserRequest,
}


def lasting(before: FunderState, mutations: Sequence[Mutation]) -> list[Mutation]:
    """
    The mutations that are to be stored of a batch: they lead to the same state as all of them.

    Args:
        before: What the batch begins with.
        mutations: All of them, in order.
    """
    batch = _Batch(before)
    for number, mutation in enumerate(mutations):
        batch.look(number, mutation)
    return [mutation for number, mutation in enumerate(mutations) if number not in batch.left_out]


@dataclass(slots=True)
class _Queue:
    """How many operations are left in a queue of those before the batch, and the pushes of the batch itself."""

    earlier: int
    pushes: deque[int] = field(default_factory=deque)


class _Batch:
    """The mutations that were looked at, by their numbers."""

    def __init__(self, before: FunderState) -> None:
        self.left_out: set[int] = set()
        self._before = before
        self._queues: dict[tuple[PublicKey, str], _Queue] = {}
        self._otherwise_changed: set[PublicKey] = set()
        self._written: dict[Hashable, int] = {}

    def look(self, number: int, mutation: Mutation) -> None:
        match mutation:
            case m.FriendMutation(friend, part):
                self._look_at_part(number, friend, type(part))
            case m.AddFriend(friend) | m.RemoveFriend(friend):
                self._otherwise_changed.add(friend)
            case m.UpdatePayment(payment_id):
                self._overwrite(number, payment_id)
            case m.RemovePayment(payment_id):
                self._overwrite(number, payment_id)
                if payment_id not in self._before.payments:
                    self.left_out.add(self._written.pop(payment_id))

    def _look_at_part(self, number: int, friend: PublicKey, kind: type) -> None:
        if kind in _PUSHED_TO:
            self._queue(friend, _PUSHED_TO[kind]).pushes.append(number)
        elif kind in _POPPED_FROM:
            if friend not in self._otherwise_changed:
                self._pop(number, self._queue(friend, _POPPED_FROM[kind]))
        elif kind is m.SetDirection:
            self._overwrite(number, friend)
        elif kind in _OTHERS_OF_QUEUES:
            self._otherwise_changed.add(friend)

    def _queue(self, friend: PublicKey, name: str) -> _Queue:
        queue = self._queues.get((friend, name))
        if queue is None:
            known = self._before.friends.get(friend)
            channel = None if known is None else known.channel
            earlier = len(getattr(channel, name)) if isinstance(channel, Consistent) else 0
            queue = self._queues[friend, name] = _Queue(earlier)
        return queue

    def _pop(self, number: int, queue: _Queue) -> None:
        if queue.earlier:
            queue.earlier -= 1
        elif queue.pushes:
            self.left_out |= {number, queue.pushes.popleft()}

    def _overwrite(self, number: int, what: Hashable) -> None:
        """*what* is a friend, for its direction, or a payment: their keys have different lengths."""
        if what in self._written:
            self.left_out.add(self._written[what])
        self._written[what] = number
