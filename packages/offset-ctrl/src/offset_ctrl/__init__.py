"""
Apps of Offset: an SDK and the command-line programs.

==============================  ==============================================================
`node`                          `connect` and the verbs of an app: pay, sell, configure, watch
`blocking`                      the same for scripts without an event loop
`payment`, `journal`            one payment from routes to receipt; payments that survive the app
`session`, `client`             a connection that is made again; one connection, with all messages
`changes`, `routes`, `proofs`   requests and how they show; which routes to pay over; commits and receipts
`testing`                       a node that says what a test of an app wants
`compact`                       the program stcompact, the engine behind a graphical wallet
`stctrl`                        the program stctrl, one module for each group of commands
`stmgr`, `stverify`             keys and tickets; offline verification
==============================  ==============================================================
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offset_ctrl.client import ConnectionClosed, NodeConnectionError, RoutesUnavailable
    from offset_ctrl.node import (
        CommitNotDelivered,
        Node,
        NotPermitted,
        PaymentPending,
        RequestRefused,
        UnknownName,
        connect,
    )
    from offset_ctrl.payment import Payment, PaymentEndUnknown, PaymentFailed, PaymentState, PayOptions
    from offset_ctrl.proofs import InvalidProof

__all__ = [
    "CommitNotDelivered",
    "ConnectionClosed",
    "InvalidProof",
    "Node",
    "NodeConnectionError",
    "NotPermitted",
    "PayOptions",
    "Payment",
    "PaymentEndUnknown",
    "PaymentFailed",
    "PaymentPending",
    "PaymentState",
    "RequestRefused",
    "RoutesUnavailable",
    "UnknownName",
    "connect",
]

__version__ = "0.1.0"

_HOMES = {
    "client": ("ConnectionClosed", "NodeConnectionError", "RoutesUnavailable"),
    "payment": ("PayOptions", "Payment", "PaymentEndUnknown", "PaymentFailed", "PaymentState"),
    "proofs": ("InvalidProof",),
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the command-line programs do without, and start faster.
    if name not in __all__:
        raise AttributeError(f"module 'offset_ctrl' has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), "node")
    return getattr(import_module(f"offset_ctrl.{home}"), name)
