"""The tasks of a node: children of one group, so that none outlives the node."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

__all__ = ["NodeTasks"]


class NodeTasks:
    """
    The group of all tasks of one node; the context lasts as long as the node runs.

    When the node ends, its tasks are cancelled. Links that close, and ticks, go on for a moment after that and may ask
    for new tasks. They get none, since nobody would wait for them any more.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> "NodeTasks":
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, traceback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None] | None":
        """Run *work* as a part of the node; None if the node is ending, or has ended."""
        try:
            return self._group.create_task(work)
        except RuntimeError:
            work.close()
            return None
