"""
One plugin at work, in a thread of its own.

    call(hook) -> queue -> the thread calls the plugin -> result or PluginFailed, in the future
    ask(hook)  -> the same, for at most `ANSWER_SECONDS`; refused at once while an earlier answer is late

Everything but `_run` belongs to the event loop's thread. The counters are read by the host and by the metrics.
"""

import asyncio
import queue
import threading
from typing import Any, Final

import pluggy

from offset_node.plugins import hooks as hookspecs
from offset_node.plugins.loading import Plugin

__all__ = ["ANSWER_SECONDS", "CALLS_WAITING_MAX", "PluginFailed", "Worker"]

ANSWER_SECONDS: Final = 2.0
CALLS_WAITING_MAX: Final = 1024


class PluginFailed(Exception):
    """A hook raised, or did not answer in time."""


class Worker:
    """A plugin and the thread that its hooks run in."""

    def __init__(self, plugin: Plugin, loop: asyncio.AbstractEventLoop) -> None:
        self.name = plugin.name
        self.plugin = plugin.plugin
        self.hooks = plugin.hooks
        self.is_started = False
        self.waiting = 0
        self.dropped = 0
        self.failures = 0
        self.events = 0
        self._late: asyncio.Future[Any] | None = None
        self._loop = loop
        manager = pluggy.PluginManager("offset")
        manager.add_hookspecs(hookspecs)
        manager.register(plugin.plugin, plugin.name)
        self._hook = manager.hook
        self._calls: queue.SimpleQueue[tuple[str, dict[str, Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"plugin {plugin.name}", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether as many calls wait as may."""
        return self.waiting >= CALLS_WAITING_MAX

    def call(self, hook: str, arguments: dict[str, Any]) -> "asyncio.Future[Any]":
        """Have a hook called after those that wait; the future has its result, or a PluginFailed."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.waiting += 1
        self._calls.put((hook, arguments, future))
        return future

    async def ask(self, hook: str, arguments: dict[str, Any], seconds: float = ANSWER_SECONDS) -> Any:
        """The answer of a hook. Raises PluginFailed."""
        if self._late is not None and not self._late.done():
            raise PluginFailed("is still busy with an earlier call")
        if self.is_full:
            raise PluginFailed("has too many calls waiting")
        future = self.call(hook, arguments)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            self._late = future
            future.add_done_callback(asyncio.Future.exception)  # seen, though nobody waits any more
            raise PluginFailed(f"did not answer within {seconds:g} seconds") from None

    def end(self) -> None:
        """Let the thread end once it has nothing to do."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            hook, arguments, future = call
            result, error = None, None
            try:
                results = getattr(self._hook, hook)(**arguments)
                result = results[0] if results else None
            except BaseException as raised:  # noqa: BLE001 - SystemExit of a plugin is not the node's
                error = raised
            try:
                self._loop.call_soon_threadsafe(self._done, future, result, error)
            except RuntimeError:
                return  # the loop is closed: the node has ended

    def _done(self, future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
        self.waiting -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(PluginFailed(f"{type(error).__name__}: {error}"))
