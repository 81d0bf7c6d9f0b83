"""Messages that wait until plugins have judged them: of each connection one after the other. Pure."""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from offset_node.pauses import Pausable, ReadingPauses

__all__ = ["JudgedMessages"]

Message = TypeVar("Message")


class JudgedMessages(Generic[Message]):
    """
    Messages of connections that plugins judge.

    The messages of one connection are judged one after the other, in the order in which they came. While one of them is
    judged, its connection is not read from; what came in the same read waits here. Other connections do not wait.

    Args:
        pauses: Of reading.
        judge: Asks the plugins about a message, and carries it out as they say. Its answer is whether the connection is
            still of use; where it is not, its messages that wait are dropped.
    """

    def __init__(self, pauses: ReadingPauses, judge: Callable[[Message], Awaitable[bool]]) -> None:
        self._pauses = pauses
        self._judge = judge
        self._waiting: dict[Pausable, deque[Message]] = {}

    def __contains__(self, connection: Pausable) -> bool:
        """Whether a message of this connection is being judged: later ones have to wait for it."""
        return connection in self._waiting

    def put(self, connection: Pausable, message: Message, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """
        Have a message judged after those of the connection that wait.

        Args:
            connection: Where the message came from.
            message: What is to be judged.
            spawn: Runs the judging as a task of the node.
        """
        if connection in self._waiting:
            self._waiting[connection].append(message)
            return
        self._waiting[connection] = deque([message])
        self._pauses.pause(connection, "plugins")
        spawn(self._judge_all(connection))

    async def _judge_all(self, connection: Pausable) -> None:
        waiting = self._waiting[connection]
        while waiting and await self._judge(waiting.popleft()):
            pass
        del self._waiting[connection]
        self._pauses.resume(connection, "plugins")
