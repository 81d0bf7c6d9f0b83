"""
What the database keeps for plugins: their own values, and events that they have not taken yet. Pure.

An event is stored in the transaction that it tells of, and removed when the plugin has taken it, so it is told at
least once whatever happens to the process.
"""

from collections.abc import Iterator

from offset_node.state import AddPluginEvent, PluginMutation, RemovePluginEvent, RemovePluginValue, SetPluginValue

__all__ = [
    "PLUGIN_SCHEMA",
    "plugin_statements",
]

PLUGIN_SCHEMA = """
CREATE TABLE plugin_values (
    plugin TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE plugin_events (
    position INTEGER PRIMARY KEY, plugin TEXT NOT NULL, hook TEXT NOT NULL, arguments TEXT NOT NULL
) STRICT;
"""


def plugin_statements(mutation: PluginMutation) -> Iterator[tuple[str, tuple[str | bytes | int, ...]]]:
    """What one mutation comes to."""
    match mutation:
        case SetPluginValue(plugin, key, value):
            yield "INSERT OR REPLACE INTO plugin_values VALUES (?, ?, ?)", (plugin, key, value)
        case RemovePluginValue(plugin, key):
            yield "DELETE FROM plugin_values WHERE plugin = ? AND key = ?", (plugin, key)
        case AddPluginEvent(position, plugin, hook, arguments):
            yield "INSERT INTO plugin_events VALUES (?, ?, ?, ?)", (position, plugin, hook, arguments)
        case RemovePluginEvent(position):
            yield "DELETE FROM plugin_events WHERE position = ?", (position,)
