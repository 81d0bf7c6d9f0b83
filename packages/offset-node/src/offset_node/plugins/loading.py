"""
Plugins that are installed: found by the entry point group ``offset.node``, checked, listed, switched off.

A plugin that can not be loaded keeps the node from starting, since what it was to forbid would be allowed without it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Any, Final

import pluggy

from offset_node.plugins import hooks as hookspecs
from offset_node.plugins.ticket import TicketPlugin
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import StringSerdeError, read_bytes
from offset_proto.toml_text import parse_toml

__all__ = ["GROUP", "TICKET", "Plugin", "PluginError", "PluginListing", "find_plugins", "list_plugins", "load_settings"]

GROUP: Final = "offset.node"
TICKET: Final = "ticket"
"""Name of the plugin that every node has."""


class PluginError(OffsetError):
    """A plugin can not be used, or did not start; says which, and how to go on without it."""

    def __init__(self, name: str, reason: object) -> None:
        super().__init__(f"PluginError({name}: {reason})")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that is loaded, and the hooks that it has."""

    name: str
    plugin: object
    hooks: frozenset[str]


@dataclass(frozen=True, slots=True)
class PluginListing:
    """What ``stnode --plugins`` tells of a plugin."""

    name: str
    state: str
    origin: str
    hooks: str


def find_plugins(without: Collection[str] = (), *, only_ticket: bool = False) -> tuple[Plugin, ...]:
    """
    All plugins that are installed, the ticket's first, but those named in *without*; or the ticket's alone.

    Raises:
        PluginError: One can not be loaded, is of another version, has a hook that there is not; or a name in *without*
            is no plugin's.
    """
    found = {} if only_ticket else _entry_points()
    for name in without:
        if name != TICKET and name not in found:
            raise PluginError(name, "no plugin of this name is installed; stnode --plugins lists them")
    plugins = [] if TICKET in without else [_check(TICKET, TicketPlugin())]
    return (*plugins, *(_load(entry) for name, entry in found.items() if name not in without))


def list_plugins(without: Collection[str] = ()) -> list[PluginListing]:
    """Every plugin that is installed; a broken one says what is wrong with it in place of its hooks."""
    rows = [PluginListing(TICKET, _state(TICKET, without), f"offset-node {version('offset-node')}", _hooks(None))]
    for name, entry in _entry_points(unique=False).items():
        distribution = entry.dist
        origin = "unknown" if distribution is None else f"{distribution.name} {distribution.version}"
        rows.append(PluginListing(name, _state(name, without), origin, _hooks(entry)))
    return rows


def load_settings(path: Path | None, plugins: Iterable[Plugin]) -> Mapping[str, Mapping[str, Any]]:
    """
    The settings of plugins: a TOML file with one table for each.

    Raises:
        IoError: It can not be read.
        StringSerdeError: It is no TOML, or names a plugin that is not there or switched off.
    """
    if path is None:
        return {}
    try:
        settings = parse_toml(read_bytes(path))
    except InvalidInput as error:
        raise StringSerdeError(path, error) from None
    names = {plugin.name for plugin in plugins}
    for name, table in settings.items():
        if name not in names:
            raise StringSerdeError(path, f"[{name}]: no plugin of this name is installed and switched on")
        if not isinstance(table, dict):
            raise StringSerdeError(path, f"{name}: expected a table")
    return settings


def _entry_points(*, unique: bool = True) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if unique and (entry.name in found or entry.name == TICKET):
            raise PluginError(entry.name, "two plugins have this name; uninstall one")
        found[entry.name] = entry
    return found


def _load(entry: EntryPoint) -> Plugin:
    try:
        loaded = entry.load()
        plugin = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:  # noqa: BLE001 - code of others may raise anything
        reason = f"{entry.value} can not be loaded: {type(error).__name__}: {error}"
        raise PluginError(entry.name, f"{reason}; --without {entry.name} starts without it") from None
    return _check(entry.name, plugin)


def _check(name: str, plugin: object) -> Plugin:
    made_for = getattr(plugin, "hooks_version", None)
    if made_for != hookspecs.HOOKS_VERSION:
        reason = "has no hooks_version" if made_for is None else f"is made for hooks version {made_for!r}"
        raise PluginError(name, f"{reason}; this node has version {hookspecs.HOOKS_VERSION}")
    checker = pluggy.PluginManager("offset")
    checker.add_hookspecs(hookspecs)
    try:
        checker.register(plugin, name)
        checker.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(name, " ".join(str(error).split())) from None
    return Plugin(name, plugin, frozenset(caller.name for caller in checker.get_hookcallers(plugin) or ()))


def _state(name: str, without: Collection[str]) -> str:
    return "off" if name in without else "on"


def _hooks(entry: EntryPoint | None) -> str:
    try:
        plugin = _check(TICKET, TicketPlugin()) if entry is None else _load(entry)
    except PluginError as error:
        return str(error)
    return ", ".join(sorted(hook.removeprefix("offset_") for hook in plugin.hooks)) or "none"
