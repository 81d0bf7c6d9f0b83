"""
What a node does to the outside: the effects that `offset_node.engine` gives out, and their order. Pure.

`NodeEffect` is all that a shell of the engine has to be able to do: on links, on connections of apps, and for plugins.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from offset_funder.effects import Occurrence, SendFriendMessage
from offset_index.client import Connect, Disconnect, SendToServer
from offset_node.apps.outputs import AppEffect, ReadPage
from offset_node.links.channeler import LinkEffect
from offset_node.state import PluginMutation
from offset_proto.messages.app import TransactionResult

__all__ = ["EffectQueue", "IndexLinkEffect", "NodeEffect", "TellOccurrences", "TellTransactionEnded"]


@dataclass(frozen=True, slots=True)
class TellOccurrences:
    """
    Tell the plugins what happened.

    Attributes:
        occurrences: What happened, in order.
        recorded: What was stored with the batch, so that no plugin misses it.
    """

    occurrences: tuple[Occurrence, ...]
    recorded: tuple[PluginMutation, ...]


@dataclass(frozen=True, slots=True)
class TellTransactionEnded:
    """Tell the plugins that a transaction of this node has a result."""

    result: TransactionResult


IndexLinkEffect = Connect | Disconnect | SendToServer
"""What is to be done on the link to an index server."""

NodeEffect = (
    SendFriendMessage | LinkEffect | AppEffect | ReadPage | IndexLinkEffect | TellOccurrences | TellTransactionEnded
)
"""What is left to whoever runs the engine: things to do on links, apps and plugins."""


class EffectQueue:
    """
    Performs effects in the order in which the engine gave them.

    To perform one may have consequences at once: a connection ends, an app asks for more. The engine is told of them,
    and what it says then is performed after what it said before.

    Args:
        perform: Performs one effect.
    """

    def __init__(self, perform: Callable[[NodeEffect], None]) -> None:
        self._perform = perform
        self._waiting: deque[NodeEffect] = deque()
        self._is_performing = False

    def perform(self, effects: Iterable[NodeEffect]) -> None:
        """Perform *effects*: now, or after those that are being performed."""
        self._waiting.extend(effects)
        if self._is_performing:
            return
        self._is_performing = True
        try:
            while self._waiting:
                self._perform(self._waiting.popleft())
        finally:
            self._is_performing = False
