"""What a plugin is given when the node starts: its settings, and a store that outlives the node's process."""

import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from offset_node.state import PluginMutation, RemovePluginValue, SetPluginValue
from offset_proto.errors import InvalidInput, RefusedError
from offset_proto.types import Currency, PaymentId, PublicKey

__all__ = ["NodeAccess", "PluginStore", "StoreFull"]

T = TypeVar("T")

KEY_BYTES_MAX: Final = 256
VALUE_BYTES_MAX: Final = 1024 * 1024
STORE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Keys and values of one plugin; they are all in memory, too."""


class StoreFull(RefusedError):
    """The plugin keeps more than `STORE_BYTES_MAX` bytes; nothing of this change was stored."""


class PluginStore(MutableMapping[str, bytes]):
    """
    The values of one plugin, in the node's database: a mapping of text to bytes.

    A change is durable when the statement that makes it returns; `change` makes several as one. May be used from any
    thread of the plugin's, from start-up until shut-down has returned.

    Args:
        plugin: Whose values.
        values: As stored.
        store: Stores mutations, all or nothing; returns when they are durable.
    """

    def __init__(
        self,
        plugin: str,
        values: dict[str, bytes],
        store: Callable[[list[PluginMutation]], object],
    ) -> None:
        self._plugin = plugin
        self._values = values
        self._store = store
        self._lock = threading.Lock()
        self._bytes = sum(len(key.encode()) + len(value) for key, value in values.items())

    def __getitem__(self, key: str) -> bytes:
        return self._values[key]

    def __setitem__(self, key: str, value: bytes) -> None:
        self.change({key: value})

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        self.change({key: None})

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def change(self, changes: Mapping[str, bytes | None]) -> None:
        """
        Set several values, or remove them where None, all or nothing.

        Raises:
            InvalidInput: A key of more than 256 bytes, or a value of more than 1 MiB.
            StoreFull: The plugin keeps too much.
            DatabaseWriteError: Not stored; the node is about to end.
            TimeoutError: The database is busy for half a minute; it may still be stored.
        """
        with self._lock:
            grown = self._bytes
            for key, value in changes.items():
                grown += _checked_bytes(key, value) - self._bytes_of(key)
            if grown > STORE_BYTES_MAX:
                raise StoreFull(f"plugin {self._plugin} keeps more than {STORE_BYTES_MAX} bytes")
            mutations: list[PluginMutation] = [
                RemovePluginValue(self._plugin, key) if value is None else SetPluginValue(self._plugin, key, value)
                for key, value in changes.items()
            ]
            self._store(mutations)
            for key, value in changes.items():
                if value is None:
                    self._values.pop(key, None)
                else:
                    self._values[key] = value
            self._bytes = grown

    def _bytes_of(self, key: str) -> int:
        value = self._values.get(key)
        return 0 if value is None else len(key.encode()) + len(value)


def _checked_bytes(key: str, value: bytes | None) -> int:
    key_bytes = len(key.encode())
    if key_bytes > KEY_BYTES_MAX:
        raise InvalidInput(f"a key of {key_bytes} bytes, at most {KEY_BYTES_MAX}")
    if value is None:
        return 0
    if not isinstance(value, bytes):
        raise InvalidInput(f"the value of {key!r} is no bytes")
    if len(value) > VALUE_BYTES_MAX:
        raise InvalidInput(f"a value of {len(value)} bytes, at most {VALUE_BYTES_MAX}")
    return key_bytes + len(value)


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """
    A plugin's part of the node.

    Attributes:
        public_key: The node's.
        settings: The table of the plugin's name in the file of ``--plugin-settings``; empty where there is none.
        store: The plugin's own values.
        open_payments: Payments of ours that may get more transactions, when the node starts, and their currencies.
    """

    public_key: PublicKey
    settings: Mapping[str, Any]
    store: PluginStore
    open_payments: Mapping[PaymentId, Currency] = field(default_factory=dict)

    def setting(self, key: str, kind: type[T], default: T | None = None) -> T:
        """
        A setting of the type *kind*; *default* where it is not given, required where that is None.

        Raises:
            InvalidInput: Missing, or of another type.
        """
        if key not in self.settings:
            if default is None:
                raise InvalidInput(f"setting {key!r} is missing")
            return default
        value = self.settings[key]
        if type(value) is not kind:
            raise InvalidInput(f"setting {key!r}: expected {kind.__name__}, found {type(value).__name__}")
        found: T = value
        return found
