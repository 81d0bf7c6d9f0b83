"""
Order of the updates of each node: sessions and counters. Spec 06 §5.6.

An update counts if its session is new or its counter grew. A session that was replaced is remembered
for as long as a message of it could still be fresh, and refused: the original accepts it again (D63).

A node is unknown, or it has one present session with the highest counter accepted in it, and some retired sessions.
An update of an unknown node is always accepted. In the present session the counter must exceed the last one. An
update of any other session that is not retired makes that session the present one, with whatever counter it has.

The server asks `is_stale` before it does the costly checks of an update, and calls `accept` only for an update that
passed them, so that a forged update can not advance the counter of a node. `tick` is called once a tick; it forgets
the nodes without an accepted update for `ticks_to_live` ticks and returns them, so that the server can remove what
they declared. At most `RETIRED_SESSIONS_MAX` retired sessions of a node are kept, and the oldest goes first.
"""

from collections import OrderedDict
from dataclasses import dataclass

from offset_proto.limits import INDEX_NODE_TICKS
from offset_proto.types import PublicKey, Uid

__all__ = ["Ratchets"]

RETIRED_SESSIONS_MAX = 64
"""Of one node; it can only harm itself by more."""


@dataclass(slots=True)
class _Ratchet:
    session_id: Uid
    counter: int
    accepted_at: int
    retired: dict[Uid, int] | None = None  # most nodes have none


class Ratchets:
    """
    The ratchets of all nodes that were heard of recently.

    Args:
        ticks_to_live: Ticks without an accepted update after which a node is forgotten.
    """

    def __init__(self, ticks_to_live: int = INDEX_NODE_TICKS) -> None:
        self._ticks_to_live = ticks_to_live
        self._now = 0
        # In the order of the last accepted update, so that those to forget come first.
        self._nodes: OrderedDict[PublicKey, _Ratchet] = OrderedDict()

    def __len__(self) -> int:
        """The number of nodes that are remembered."""
        return len(self._nodes)

    def is_stale(self, node: PublicKey, session_id: Uid, counter: int) -> bool:
        """Tell, without changing anything, whether an update is a repetition or of a retired session."""
        known = self._nodes.get(node)
        if known is None:
            return False
        if known.session_id == session_id:
            return counter <= known.counter
        retired_at = None if known.retired is None else known.retired.get(session_id)
        return retired_at is not None and self._now - retired_at < self._ticks_to_live

    def accept(self, node: PublicKey, session_id: Uid, counter: int) -> bool:
        """Take an update in; False where it is stale."""
        if self.is_stale(node, session_id, counter):
            return False
        known = self._nodes.get(node)
        if known is None:
            known = self._nodes[node] = _Ratchet(session_id, counter, self._now)
        if known.session_id != session_id:
            if known.retired is None:
                known.retired = {}
            known.retired[known.session_id] = self._now
            if len(known.retired) > RETIRED_SESSIONS_MAX:
                del known.retired[next(iter(known.retired))]
        known.session_id, known.counter, known.accepted_at = session_id, counter, self._now
        self._nodes.move_to_end(node)
        return True

    def tick(self) -> list[PublicKey]:
        """A tick passed; returns the nodes that are forgotten by it."""
        self._now += 1
        expired = []
        for node, known in self._nodes.items():
            if self._now - known.accepted_at < self._ticks_to_live:
                break
            expired.append(node)
        for node in expired:
            del self._nodes[node]
        return expired
