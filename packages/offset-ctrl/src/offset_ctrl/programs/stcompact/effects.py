"""
What a compact node wants done, in the order in which it is to be done.

The server performs them (`server`): it sends, it tells, it writes, and it ends the node. A `Save` is on the disk before
the effect after it is performed, so whatever follows from a change is seen by others only when the change is stored.
"""

from dataclasses import dataclass

from offset_ctrl.programs.stcompact.messages import CompactToUser
from offset_ctrl.programs.stcompact.state import CompactState
from offset_proto.messages.app import AppToAppServer
from offset_proto.types import Uid

__all__ = ["AckUser", "AskNode", "Effect", "End", "Save", "TellUser"]


@dataclass(frozen=True, slots=True)
class AskNode:
    """Send a request to the node; its answer comes as a message of the node."""

    message: AppToAppServer


@dataclass(frozen=True, slots=True)
class TellUser:
    """Tell the user something of this node."""

    message: CompactToUser


@dataclass(frozen=True, slots=True)
class AckUser:
    """Tell the user that the request of this id is done, whatever came of it."""

    request_id: Uid


@dataclass(frozen=True, slots=True)
class Save:
    """Store the state; it is to be on the disk before the next effect is performed."""

    state: CompactState


@dataclass(frozen=True, slots=True)
class End:
    """Close the node, for *reason*: the compact node can not go on, and no effect comes after this one."""

    reason: str


Effect = AskNode | TellUser | AckUser | Save | End
