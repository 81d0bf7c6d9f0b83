"""
What plugins keep: values of their own, and events that they have not taken yet. Pure.

An event is stored in the transaction of what it tells, and removed when the plugin has taken it. So the plugin is
told at least once, whatever happens to the process.
"""

from collections.abc import Iterator
from typing import assert_never

from offset_node.database.tables.cells import Rows, Statement
from offset_node.state import (
    AddPluginEvent,
    PluginMutation,
    PluginRecords,
    RemovePluginEvent,
    RemovePluginValue,
    SetPluginValue,
)

__all__ = ["READS", "SCHEMA", "read", "write"]

SCHEMA = """
CREATE TABLE plugin_values (
    plugin TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE plugin_events (
    position INTEGER PRIMARY KEY, plugin TEXT NOT NULL, hook TEXT NOT NULL, arguments TEXT NOT NULL
) STRICT;
"""

_VALUE = "plugin, key, value"
_EVENT = "position, plugin, hook, arguments"
_INSERT_VALUE = (
    f"INSERT INTO plugin_values ({_VALUE}) VALUES (?, ?, ?)"
    " ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value"
)
_VALUES = f"SELECT {_VALUE} FROM plugin_values"
_EVENTS = f"SELECT {_EVENT} FROM plugin_events ORDER BY position"

READS = (_VALUES, _EVENTS)


def write(mutation: PluginMutation) -> Iterator[Statement]:
    """The statements that carry a mutation out on the tables."""
    match mutation:
        case SetPluginValue(plugin, key, value):
            yield _INSERT_VALUE, (plugin, key, value)
        case RemovePluginValue(plugin, key):
            yield "DELETE FROM plugin_values WHERE plugin = ? AND key = ?", (plugin, key)
        case AddPluginEvent(position, plugin, hook, arguments):
            insert = f"INSERT INTO plugin_events ({_EVENT}) VALUES (?, ?, ?, ?)"
            yield insert, (position, plugin, hook, arguments)
        case RemovePluginEvent(position):
            yield "DELETE FROM plugin_events WHERE position = ?", (position,)
        case _:
            assert_never(mutation)


def read(rows: Rows) -> PluginRecords:
    """All that is kept for plugins, events in the order in which they were added."""
    values: dict[str, dict[str, bytes]] = {}
    for plugin, key, value in rows[_VALUES]:
        values.setdefault(plugin, {})[key] = value
    return PluginRecords(values, [AddPluginEvent(*event) for event in rows[_EVENTS]])
