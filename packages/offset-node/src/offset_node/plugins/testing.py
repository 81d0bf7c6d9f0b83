"""For tests of plugins: what a plugin gets from a node, without a node."""

from collections.abc import Mapping
from typing import Any

from offset_node.plugins.access import NodeAccess, PluginStore
from offset_proto.types import Currency, PaymentId, PublicKey

__all__ = ["build_node_access"]


def build_node_access(
    settings: Mapping[str, Any],
    values: dict[str, bytes] | None = None,
    open_payments: Mapping[PaymentId, Currency] | None = None,
) -> NodeAccess:
    """
    What ``offset_startup`` is given.

    Args:
        settings: The plugin's table.
        values: What its store holds; changed in place, so handing it in again is a restart.
        open_payments: As `NodeAccess` has them.
    """
    store = PluginStore("test", {} if values is None else values, lambda mutations: None)
    return NodeAccess(PublicKey(b"\x01" * PublicKey.SIZE), settings, store, open_payments or {})
