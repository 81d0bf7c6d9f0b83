"""Plugins: found, checked, asked, told; and none of them harms the node."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from offset_funder.effects import InvoicePaid, PaymentFinished
from offset_funder.state import FunderState
from offset_node.database.sqlite import Database, create_database
from offset_node.plugins import host as plugin_host
from offset_node.plugins import loading as plugins
from offset_node.plugins import worker as plugin_worker
from offset_node.plugins.access import StoreFull
from offset_node.plugins.hooks import HOOKS_VERSION, hookimpl
from offset_node.plugins.host import PluginHost
from offset_node.plugins.loading import Plugin, PluginError, find_plugins, list_plugins, load_settings
from offset_node.plugins.scope import NOTHING, ReportScope
from offset_node.plugins.values import App, Grant, NotGranted, Refusal
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput
from offset_proto.files import StringSerdeError
from offset_proto.messages.app import AddInvoice, AppPermissions
from offset_proto.types import Currency, InvoiceId, PaymentId, PublicKey

NODE = PublicKey(b"\x07" * 32)
ALL = AppPermissions(routes=True, buyer=True, seller=True, config=True)
NONE = AppPermissions(routes=False, buyer=False, seller=False, config=False)
APP = App(PublicKey(b"\x08" * 32), ALL)
STRANGER = App(PublicKey(b"\x09" * 32), NONE)
REQUEST = AddInvoice(InvoiceId(bytes(32)), Currency("FST"), 1)
PAID = InvoicePaid(InvoiceId(b"\x01" * 32), Currency("FST"), 2**100)
CANCELLED = PaymentFinished(PaymentId(b"\x02" * 16), None)


class Recorder:
    """Keeps what it is told."""

    hooks_version = HOOKS_VERSION

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.node: Any = None

    @hookimpl
    def offset_startup(self, node):
        self.node = node

    @hookimpl
    def offset_invoice_paid(self, invoice):
        self.told.append(invoice)

    @hookimpl
    def offset_payment_finished(self, payment):
        self.told.append(payment)

    @hookimpl
    def offset_request_judged(self, app, refusal):
        self.told.append((app, refusal))


def _judge(answer: Callable[[], Any]) -> object:
    class Judge:
        hooks_version = HOOKS_VERSION

        @hookimpl
        def offset_judge_request(self):
            return answer()

    return Judge()


def _scope(answer: Callable[[], Any]) -> object:
    class Scope:
        hooks_version = HOOKS_VERSION

        @hookimpl
        def offset_report_scope(self):
            return answer()

    return Scope()


def _raise() -> None:
    raise KeyError("broken")


def _exit() -> None:
    raise SystemExit(3)


@pytest.fixture
def database_path(tmp_path) -> Path:
    """A database of a node."""
    create_database(tmp_path / "node.db", NodeState(FunderState(NODE)))
    return tmp_path / "node.db"


def _host_plugins(named: dict[str, object]) -> list[Plugin]:
    ticket = plugins.find_plugins()[0]
    return [ticket, *(plugins._check(name, plugin) for name, plugin in named.items())]


def _run(
    database_path: Path,
    named: dict[str, object],
    scenario: Callable[[PluginHost, Database], Awaitable[None]],
    settings: dict[str, dict[str, Any]] | None = None,
) -> None:
    async def run() -> None:
        database = await Database.open(database_path)
        try:
            state = (await database.load()).funder
            host = PluginHost(_host_plugins(named), settings or {}, database, state)
            await host.start()
            try:
                async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(host.run())
                    await scenario(host, database)
                    running.cancel()
            finally:
                await host.stop()
        finally:
            await database.close()

    asyncio.run(run())


async def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


# Finding and checking.


def _install(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    entries = [EntryPoint(name, value, plugins.GROUP) for name, value in values.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)


def test_what_is_installed_is_found_and_can_be_left_out(monkeypatch):
    """By its entry point; a class is made into an object."""
    _install(monkeypatch, recorder=f"{__name__}:Recorder")
    monkeypatch.setattr(EntryPoint, "load", lambda entry: Recorder)
    assert [plugin.name for plugin in find_plugins()] == ["ticket", "recorder"]
    assert [plugin.name for plugin in find_plugins(["recorder"])] == ["ticket"]
    assert [plugin.name for plugin in find_plugins(["ticket"])] == ["recorder"]
    with pytest.raises(PluginError, match="nobody: no plugin of this name"):
        find_plugins(["nobody"])
    listed = {row.name: row for row in list_plugins(["recorder"])}
    assert listed["recorder"].state == "off"
    assert listed["recorder"].hooks == "invoice_paid, payment_finished, request_judged, startup"
    assert listed["ticket"].hooks == "judge_request"


class _WrongVersion:
    hooks_version = 99


class _NoVersion:
    pass


class _UnknownHook:
    hooks_version = HOOKS_VERSION

    @hookimpl
    def offset_make_coffee(self):
        """There is no such hook."""


class _UnknownArgument:
    hooks_version = HOOKS_VERSION

    @hookimpl
    def offset_judge_request(self, app, milk):
        """There is no such argument."""


class _Broken:
    def __init__(self) -> None:
        raise RuntimeError("out of order")


@pytest.mark.parametrize(
    ("loaded", "reason"),
    [
        (_WrongVersion, "made for hooks version 99; this node has version 1"),
        (_NoVersion, "has no hooks_version"),
        (_UnknownHook, "offset_make_coffee"),
        (_UnknownArgument, "milk"),
        (_Broken, "RuntimeError: out of order; --without bad starts without it"),
    ],
)
def test_what_is_no_plugin_keeps_the_node_from_starting(monkeypatch, loaded, reason):
    """With a message that names it and what is wrong; switched off, it is not even loaded."""
    _install(monkeypatch, bad="bad:Plugin")
    monkeypatch.setattr(EntryPoint, "load", lambda entry: loaded)
    with pytest.raises(PluginError, match=r"PluginError\(bad: ") as raised:
        find_plugins()
    assert reason in str(raised.value)
    assert [plugin.name for plugin in find_plugins(["bad"])] == ["ticket"]
    assert reason.split(";")[0] in list_plugins()[1].hooks


def test_a_module_that_is_not_there(monkeypatch):
    """A package that was removed in part."""
    _install(monkeypatch, gone="no_such_module:Plugin")
    with pytest.raises(PluginError, match="gone: no_such_module:Plugin can not be loaded"):
        find_plugins()


def test_two_plugins_of_one_name(monkeypatch):
    """Nobody can say which one is meant."""
    entries = [EntryPoint("same", "a:b", plugins.GROUP), EntryPoint("same", "c:d", plugins.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    with pytest.raises(PluginError, match="two plugins have this name"):
        find_plugins()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[nobody]\n", r"\[nobody\]: no plugin of this name is installed and switched on"),
        ("ticket = 1\n", "ticket: expected a table"),
        ("[ticket\n", "Expected ']'"),
    ],
)
def test_settings_that_are_none(tmp_path, text, reason):
    """A table that nobody reads would leave a limit unset that its author believes in."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(StringSerdeError, match=reason):
        load_settings(path, find_plugins())


# Questions.


@pytest.mark.parametrize(
    ("answers", "app", "verdict"),
    [
        ({}, APP, Grant()),
        ({}, STRANGER, NotGranted()),
        ({"generous": lambda: Grant()}, STRANGER, Grant()),
        ({"generous": lambda: Grant(), "strict": lambda: Refusal("no")}, APP, Refusal("plugin strict: no")),
        ({"silent": lambda: None}, APP, Grant()),
    ],
)
def test_verdicts(database_path, answers, app, verdict):
    """A plugin grants beyond the ticket, or refuses within it; a refusal wins."""

    async def scenario(host: PluginHost, database: Database) -> None:
        assert await host.judge_request(app, REQUEST) == verdict

    _run(database_path, {name: _judge(answer) for name, answer in answers.items()}, scenario)


@pytest.mark.parametrize(("answer", "reason"), [(_raise, "KeyError"), (_exit, "SystemExit"), (lambda: True, "bool")])
def test_a_broken_plugin_refuses(database_path, caplog, answer, reason):
    """Whatever it raises or answers; the log names it."""

    async def scenario(host: PluginHost, database: Database) -> None:
        verdict = await host.judge_request(APP, REQUEST)
        assert isinstance(verdict, Refusal)
        assert "broken" in verdict.reason
        assert reason in verdict.reason
        assert host.states()["broken"][1] == 1

    with caplog.at_level(logging.ERROR):
        _run(database_path, {"broken": _judge(answer), "generous": _judge(Grant)}, scenario)
    assert any("plugin broken" in record.message for record in caplog.records)


def test_a_plugin_that_hangs_holds_nobody_up(database_path, monkeypatch):
    """Its first question is refused after a while, the next ones at once; it is heard again when it comes back."""
    monkeypatch.setattr(plugin_worker.Worker.ask, "__defaults__", (0.2,))
    released = threading.Event()

    def hang() -> Grant:
        released.wait()
        return Grant()

    async def scenario(host: PluginHost, database: Database) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.ensure_future(tick())
        first = await host.judge_request(APP, REQUEST)
        assert isinstance(first, Refusal)
        assert "did not answer" in first.reason
        assert ticks > 2  # the loop went on meanwhile
        second = await host.judge_request(APP, REQUEST)
        assert isinstance(second, Refusal)
        assert "busy" in second.reason
        released.set()
        await _until(lambda: host.states()["slow"][0] == 0)
        assert await host.judge_request(APP, REQUEST) == Grant()
        ticking.cancel()

    _run(database_path, {"slow": _judge(hang)}, scenario)


def test_a_plugin_that_never_comes_back_does_not_keep_the_node(database_path, monkeypatch):
    """Shut-down gives it a while, then goes."""
    monkeypatch.setattr(plugin_host, "SHUTDOWN_SECONDS", 0.1)
    forever = threading.Event()

    class Stuck:
        hooks_version = HOOKS_VERSION

        @hookimpl
        def offset_shutdown(self):
            forever.wait()

    async def scenario(host: PluginHost, database: Database) -> None:
        pass

    _run(database_path, {"stuck": Stuck()}, scenario)
    forever.set()


def test_scopes(database_path):
    """Each plugin narrows; a broken one lets nothing be seen."""
    friends = frozenset({NODE})

    async def narrow(host: PluginHost, database: Database) -> None:
        assert await host.report_scope(APP) == ReportScope(friends, servers=False)

    async def nothing(host: PluginHost, database: Database) -> None:
        assert await host.report_scope(APP) == NOTHING

    one, other = _scope(lambda: ReportScope(friends)), _scope(lambda: ReportScope(servers=False))
    _run(database_path, {"one": one, "other": other, "silent": _scope(lambda: None)}, narrow)
    _run(database_path, {"one": one, "broken": _scope(_raise)}, nothing)


# Observations and events.


def test_observations_never_wait_and_are_limited(database_path, monkeypatch, caplog):
    """A plugin that is too slow misses some, is named once, and the node goes on."""
    monkeypatch.setattr(plugin_worker, "CALLS_WAITING_MAX", 5)
    released = threading.Event()
    seen = []

    class Slow:
        hooks_version = HOOKS_VERSION

        @hookimpl
        def offset_app_connected(self, app):
            released.wait()
            seen.append(app)

    async def scenario(host: PluginHost, database: Database) -> None:
        for _ in range(100):
            host.tell("offset_app_connected", app=APP)
        released.set()
        await _until(lambda: host.states()["slow"][0] == 0)
        assert len(seen) == 5
        assert host.states()["slow"][2] == 95

    with caplog.at_level(logging.ERROR):
        _run(database_path, {"slow": Slow()}, scenario)
    assert sum("too slow" in record.message for record in caplog.records) == 1


async def _pass(host: PluginHost, database: Database, occurrences: list[Any]) -> None:
    recorded = host.record(occurrences)
    await database.apply(recorded)
    host.tell_occurrences(occurrences, recorded)


def _events(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM plugin_events").fetchone()[0])


def test_events_are_told_once_they_are_stored_and_then_forgotten(database_path):
    """In order, with every value as it was."""
    recorder = Recorder()

    async def scenario(host: PluginHost, database: Database) -> None:
        await _pass(host, database, [PAID, CANCELLED])
        await _until(lambda: len(recorder.told) == 2 and not _events(database_path))

    _run(database_path, {"recorder": recorder}, scenario)
    assert recorder.told == [PAID, CANCELLED]


def test_events_survive_a_crash(database_path):
    """Stored, and the process ends before the plugin was told: it is told when the node starts again."""

    async def crash(host: PluginHost, database: Database) -> None:
        await database.apply(host.record([PAID, CANCELLED]))

    async def scenario(host: PluginHost, database: Database) -> None:
        await _until(lambda: len(again.told) == 2 and not _events(database_path))
        await _pass(host, database, [PAID])  # positions go on
        await _until(lambda: len(again.told) == 3 and not _events(database_path))

    again = Recorder()
    _run(database_path, {"recorder": Recorder()}, crash)
    assert _events(database_path) == 2
    _run(database_path, {"another": Recorder()}, _nothing)
    assert _events(database_path) == 2  # they wait for their plugin
    _run(database_path, {"recorder": again}, scenario)
    assert again.told == [PAID, CANCELLED, PAID]


async def _nothing(host: PluginHost, database: Database) -> None:
    pass


def test_too_many_events_are_dropped_and_told(database_path, monkeypatch, caplog):
    """A plugin that is stuck does not fill the disk."""
    monkeypatch.setattr(plugin_host, "EVENTS_STORED_MAX", 3)

    async def scenario(host: PluginHost, database: Database) -> None:
        assert len(host.record([PAID] * 10)) == 3

    with caplog.at_level(logging.ERROR):
        _run(database_path, {"recorder": Recorder()}, scenario)
    assert "does not take its events" in caplog.text


# Start and store.


def test_a_plugin_that_does_not_start_keeps_the_node_from_starting(database_path):
    """What it was to forbid would be allowed without it."""

    class Refuses:
        hooks_version = HOOKS_VERSION

        @hookimpl
        def offset_startup(self, node):
            node.setting("limit", int)

    with pytest.raises(PluginError, match=r"limits: InvalidInput: setting 'limit' is missing"):
        _run(database_path, {"limits": Refuses()}, _nothing)
    with pytest.raises(PluginError, match="expected int, found str"):
        _run(database_path, {"limits": Refuses()}, _nothing, {"limits": {"limit": "7"}})
    _run(database_path, {"limits": Refuses()}, _nothing, {"limits": {"limit": 7}})
    with pytest.raises(PluginError, match="silent: has settings, and takes none"):
        _run(database_path, {"silent": _judge(Grant)}, _nothing, {"silent": {"limit": 7}})


def test_the_store_outlives_the_process(database_path):
    """Each plugin has its own; a change is durable when it returns."""
    first, second = Recorder(), Recorder()

    async def write(host: PluginHost, database: Database) -> None:
        await asyncio.to_thread(first.node.store.change, {"a": b"1", "b": b"2", "c": b""})
        await asyncio.to_thread(first.node.store.__delitem__, "b")
        await asyncio.to_thread(second.node.store.__setitem__, "a", b"other")

    async def read(host: PluginHost, database: Database) -> None:
        assert dict(third.node.store) == {"a": b"1", "c": b""}
        assert "b" not in third.node.store

    third = Recorder()
    _run(database_path, {"one": first, "two": second}, write)
    _run(database_path, {"one": third}, read)


def test_the_store_has_limits(database_path, monkeypatch):
    """A change that is refused changes nothing."""
    monkeypatch.setattr("offset_node.plugins.access.STORE_BYTES_MAX", 100)
    recorder = Recorder()

    async def scenario(host: PluginHost, database: Database) -> None:
        store = recorder.node.store
        await asyncio.to_thread(store.__setitem__, "a", bytes(90))
        for changes, error in (
            ({"b": bytes(50)}, StoreFull),
            ({"k" * 257: b""}, InvalidInput),
            ({"b": bytes(2**20 + 1)}, InvalidInput),
            ({"b": "text"}, InvalidInput),
            ({"x": b"", "b": bytes(50)}, StoreFull),
        ):
            with pytest.raises(error):
                await asyncio.to_thread(store.change, changes)
        assert list(store) == ["a"]
        await asyncio.to_thread(store.change, {"a": None, "b": bytes(50)})
        assert list(store) == ["b"]

    _run(database_path, {"recorder": recorder}, scenario)
