"""
Plugins at work: each in a thread of its own, so that none holds up the node.

What keeps a plugin from harming the node:

* A question has `worker.ANSWER_SECONDS`. A late, failing or nonsensical answer counts as a refusal (an empty scope), is
  logged with the plugin's name, and as long as the plugin is busy with it, further questions are refused at once.
* Nobody waits for an observation. At most `worker.CALLS_WAITING_MAX` wait; more are dropped, counted and logged.
* Events that must not be missed are stored in the transaction that they tell of, and told until they are taken.
* A thread that never comes back does not keep the process from ending.

A plugin is code in the node's process all the same: it sees keys in memory, and computing in Python takes time from
the other threads. Only what its owner trusts belongs there.
"""

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from offset_funder.effects import Occurrence, RequestForwarded
from offset_funder.state import FunderState, NewTransactions
from offset_node.plugins.access import NodeAccess, PluginStore
from offset_node.plugins.durable_events import EVENT_HOOKS, format_event, parse_event
from offset_node.plugins.loading import TICKET, Plugin, PluginError
from offset_node.plugins.scope import EVERYTHING, NOTHING, ReportScope
from offset_node.plugins.ticket import NO_PERMISSIONS, add_permissions
from offset_node.plugins.values import App, Forwarding, Grant, Refusal, Verdict, decide
from offset_node.plugins.worker import PluginFailed, Worker
from offset_node.state import AddPluginEvent, PluginMutation, PluginRecords, RemovePluginEvent
from offset_proto.errors import InvalidInput
from offset_proto.messages.app import AppPermissions, AppRequest, TransactionResult
from offset_proto.types import Currency, Uid

__all__ = ["PluginHost"]

log = logging.getLogger("offset.plugins")

STARTUP_SECONDS: Final = 30.0
SHUTDOWN_SECONDS: Final = 5.0
STORE_SECONDS: Final = 30.0
EVENTS_STORED_MAX: Final = 65_536
"""Events of one plugin that wait in the database."""


class PluginDatabase(Protocol):
    """Where values and events of plugins are kept."""

    async def apply(self, mutations: Iterable[PluginMutation]) -> None:
        """Store a batch, all or nothing; durable when this returns."""

    async def load_plugins(self) -> PluginRecords:
        """
        Values and events of all plugins, as they were stored last.

        Raises:
            LoadDbError: They are damaged.
        """


class PluginHost:
    """
    The plugins of one node.

    Args:
        plugins: As found.
        settings: Of each plugin, by name.
        database: Keeps values and events of plugins; open and loaded.
        state: Of the node, as loaded.
    """

    def __init__(
        self,
        plugins: Sequence[Plugin],
        settings: Mapping[str, Mapping[str, Any]],
        database: PluginDatabase,
        state: FunderState,
    ) -> None:
        loop = asyncio.get_running_loop()
        # The ticket's plugin is ours: it is asked in place, as it neither blocks nor fails.
        self._ticket: Any = next((plugin.plugin for plugin in plugins if plugin.name == TICKET), None)
        self._workers = [Worker(plugin, loop) for plugin in plugins if plugin.name != TICKET]
        self._settings = settings
        self._database = database
        self._state = state
        self._loop = loop
        self._events_taken: asyncio.Queue[int] = asyncio.Queue()
        self._next_position = 1
        self.refusals: Counter[str] = Counter()
        """Refusals by the name of the plugin."""

    # Start and end.

    async def start(self) -> None:
        """
        Let each plugin start, and tell it what the database still has for it.

        Raises:
            PluginError: One raised, or took longer than `STARTUP_SECONDS`.
            LoadDbError: What is stored for plugins is damaged.
        """
        stored = await self._database.load_plugins()
        open_payments = {
            payment_id: payment.stage.currency
            for payment_id, payment in self._state.payments.items()
            if isinstance(payment.stage, NewTransactions)
        }
        for worker in self._workers:
            store = PluginStore(worker.name, stored.values.get(worker.name, {}), self._store)
            settings = self._settings.get(worker.name, {})
            node = NodeAccess(self._state.local_public_key, settings, store, open_payments)
            if "offset_startup" in worker.hooks:
                try:
                    await worker.ask("offset_startup", {"node": node}, STARTUP_SECONDS)
                except PluginFailed as error:
                    raise PluginError(worker.name, error) from None
            elif node.settings:
                raise PluginError(worker.name, "has settings, and takes none")
            worker.is_started = True
        by_name = {worker.name: worker for worker in self._workers}
        for event in stored.events:
            self._next_position = event.position + 1
            if event.plugin in by_name:
                by_name[event.plugin].events += 1
                self._tell_event(by_name[event.plugin], event)

    def _store(self, mutations: list[PluginMutation]) -> None:
        """Called by threads of plugins."""
        asyncio.run_coroutine_threadsafe(self._database.apply(mutations), self._loop).result(STORE_SECONDS)

    async def run(self) -> None:
        """Remove what plugins have taken from the database; for ever."""
        while True:
            positions = [await self._events_taken.get()]
            while not self._events_taken.empty():
                positions.append(self._events_taken.get_nowait())
            await self._database.apply([RemovePluginEvent(position) for position in positions])

    async def stop(self) -> None:
        """Let each plugin end; one that does not within `SHUTDOWN_SECONDS` is left behind."""
        endings = [
            worker.ask("offset_shutdown", {}, SHUTDOWN_SECONDS)
            for worker in self._workers
            if worker.is_started and "offset_shutdown" in worker.hooks
        ]
        for result in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a plugin did not end well: %s", result)
        for worker in self._workers:
            worker.end()

    def register_metrics(self, registry: object) -> None:
        """Let plugins add collectors of their own."""
        self.tell("offset_metrics", registry=registry)

    def states(self) -> dict[str, tuple[int, int, int]]:
        """By plugin: calls that wait, calls that failed, observations that were dropped."""
        return {worker.name: (worker.waiting, worker.failures, worker.dropped) for worker in self._workers}

    # Questions.

    @property
    def judges_requests(self) -> bool:
        """Whether a verdict on a request may take time."""
        return any(w.hooks & {"offset_judge_request", "offset_request_judged"} for w in self._workers)

    @property
    def judges_forwarding(self) -> bool:
        """Whether a plugin wants to be asked before a request is forwarded."""
        return any("offset_judge_forwarding" in worker.hooks for worker in self._workers)

    @property
    def shapes_greetings(self) -> bool:
        """Whether plugins are to be asked when an app connects."""
        return any(w.hooks & {"offset_report_scope", "offset_announce_permissions"} for w in self._workers)

    def judge_by_ticket(self, app: App, request: AppRequest) -> Verdict:
        """What the ticket alone says."""
        return decide([] if self._ticket is None else [self._ticket.offset_judge_request(app, request)])

    async def judge_request(self, app: App, request: AppRequest) -> Verdict:
        """The verdict of all plugins; the plugins are told of it."""
        by_ticket = None if self._ticket is None else self._ticket.offset_judge_request(app, request)
        answers = await self._ask_all(
            "offset_judge_request", {"app": app, "request": request}, Grant | Refusal, _refuse
        )
        verdict = decide([*answers, by_ticket])
        refusal = verdict if isinstance(verdict, Refusal) else None
        self.tell("offset_request_judged", app=app, request=request, refusal=refusal)
        return verdict

    async def report_scope(self, app: App) -> ReportScope:
        """What all plugins let *app* see."""
        scope = EVERYTHING
        for answer in await self._ask_all("offset_report_scope", {"app": app}, ReportScope, lambda reason: NOTHING):
            scope = scope if answer is None else scope & answer
        return scope

    async def announced_permissions(self, app: App) -> AppPermissions:
        """What *app* may ask for beyond its ticket, as the plugins say."""
        permissions = NO_PERMISSIONS
        for answer in await self._ask_all(
            "offset_announce_permissions", {"app": app}, AppPermissions, lambda reason: None
        ):
            permissions = permissions if answer is None else add_permissions(permissions, answer)
        return permissions

    async def judge_forwarding(self, forwardings: Iterable[Forwarding]) -> frozenset[tuple[Currency, Uid]]:
        """Which requests are not to be forwarded."""
        refused = set()
        for forwarding in forwardings:
            answers = await self._ask_all("offset_judge_forwarding", {"forwarding": forwarding}, Refusal, _refuse)
            refusals = [answer for answer in answers if answer is not None]
            if refusals:
                log.info("did not forward request %r: %s", forwarding.request_id, refusals[0].reason)
                refused.add((forwarding.currency, forwarding.request_id))
        return frozenset(refused)

    async def _ask_all(
        self, hook: str, arguments: dict[str, Any], kind: Any, on_failure: Callable[[str], Any]
    ) -> list[Any]:
        """The answers of all plugins that have *hook*, asked at the same time; *on_failure* stands in for a bad one."""

        async def ask(worker: Worker) -> Any:
            try:
                answer = await worker.ask(hook, arguments)
                if answer is None or isinstance(answer, kind):
                    if isinstance(answer, Refusal):
                        self.refusals[worker.name] += 1
                        return Refusal(f"plugin {worker.name}: {answer.reason}")
                    return answer
                reason = f"plugin {worker.name} answered {hook} with {type(answer).__name__}"
            except PluginFailed as error:
                reason = f"plugin {worker.name}, {hook}: {error}"
            worker.failures += 1
            log.error("%s", reason, extra={"cause": reason})
            return on_failure(reason)

        return await asyncio.gather(*(ask(worker) for worker in self._workers if hook in worker.hooks))

    # Observations.

    def tell(self, hook: str, **arguments: Any) -> None:
        """Tell the plugins that have *hook*; nobody waits for them."""
        for worker in self._workers:
            if hook not in worker.hooks:
                continue
            if worker.is_full:
                if worker.dropped == 0:
                    log.error("plugin %s is too slow: %s is dropped, and maybe more", worker.name, hook)
                worker.dropped += 1
                continue
            worker.call(hook, arguments).add_done_callback(functools.partial(self._told, worker, hook))

    def transaction_ended(self, result: TransactionResult) -> None:
        """A transaction of the node has a result."""
        self.tell("offset_transaction_ended", request_id=result.request_id, result=result.result)

    def _told(self, worker: Worker, hook: str, future: "asyncio.Future[Any]") -> None:
        if not future.cancelled() and future.exception() is not None:
            worker.failures += 1
            log.error("plugin %s, %s: %s", worker.name, hook, future.exception())

    # Events that must not be missed.

    def record(self, occurrences: Iterable[Occurrence]) -> list[PluginMutation]:
        """What is to be stored of *occurrences*, together with the mutations that they come from."""
        mutations: list[PluginMutation] = []
        listening = [worker for worker in self._workers if worker.hooks & EVENT_HOOKS]
        if not listening:
            return mutations
        for occurrence in occurrences:
            if isinstance(occurrence, RequestForwarded):
                continue
            hook, arguments = format_event(occurrence)
            for worker in listening:
                if hook not in worker.hooks:
                    continue
                if worker.events >= EVENTS_STORED_MAX:
                    log.error("plugin %s does not take its events: %s is dropped", worker.name, hook)
                    worker.dropped += 1
                    continue
                mutations.append(AddPluginEvent(self._next_position, worker.name, hook, arguments))
                self._next_position += 1
                worker.events += 1
        return mutations

    def tell_occurrences(self, occurrences: Iterable[Occurrence], recorded: Iterable[PluginMutation]) -> None:
        """Tell what happened, now that it is stored; *recorded* is what `record` gave for it."""
        for occurrence in occurrences:
            if isinstance(occurrence, RequestForwarded):
                self.tell("offset_request_forwarded", forwarded=occurrence)
        by_name = {worker.name: worker for worker in self._workers}
        for event in recorded:
            if isinstance(event, AddPluginEvent):
                self._tell_event(by_name[event.plugin], event)

    def _tell_event(self, worker: Worker, event: AddPluginEvent) -> None:
        try:
            arguments = parse_event(event)
        except InvalidInput as error:
            log.error("an event of plugin %s is damaged, and left out: %s", worker.name, error)
            return

        def taken(future: "asyncio.Future[Any]") -> None:
            worker.events -= 1
            self._told(worker, event.hook, future)
            self._events_taken.put_nowait(event.position)

        worker.call(event.hook, arguments).add_done_callback(taken)


def _refuse(reason: str) -> Refusal:
    return Refusal(reason)
