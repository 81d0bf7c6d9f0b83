"""
Apps of Offset: an SDK and the command-line programs.

==============  ===============================================================================
`sdk`           `connect` and the verbs of an app: pay, sell, configure, watch
`blocking`      the same for scripts without an event loop
`rules`         what an app decides without a connection: routes, requests, proofs
`clearing`      what a community can clear of its debts in circles
`connection`    one connection to a node; a connection that is made again
`testing`       a node that says what a test of an app wants
`web`           a web server for nodes, with the extra ``offset-ctrl[web]``
`programs`      stctrl, stmgr, stverify, stclear, stcompact, stweb
==============  ===============================================================================
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offset_ctrl.connection.client import ConnectionClosed, NodeConnectionError, NotAnnounced, RoutesUnavailable
    from offset_ctrl.rules.moving import MoveRefused
    from offset_ctrl.rules.proofs import InvalidProof
    from offset_ctrl.sdk.delivery import DeliveryFailed, deliver_commit, deliver_to
    from offset_ctrl.sdk.errors import (
        CommitNotDelivered,
        InvoiceEndUnknown,
        InvoiceNotOpen,
        NotPermitted,
        PaymentPending,
        RequestRefused,
        UnknownName,
    )
    from offset_ctrl.sdk.failures import (
        AlreadyPaid,
        AmountTooLarge,
        FeesTooHigh,
        FriendNotReady,
        MediatorRefused,
        NoFriendOnline,
        NoIndexServer,
        NoRoute,
        NotEnoughCredit,
        PartsRefused,
        PaymentEndUnknown,
        PaymentFailed,
        SellerRefused,
        SellerUnknown,
    )
    from offset_ctrl.sdk.history import EntriesArchived, HistoryPlace, HistoryReplaced
    from offset_ctrl.sdk.node import Node, connect
    from offset_ctrl.sdk.payment import Payment, PaymentState, PayOptions

__all__ = [
    "AlreadyPaid",
    "AmountTooLarge",
    "CommitNotDelivered",
    "ConnectionClosed",
    "DeliveryFailed",
    "EntriesArchived",
    "FeesTooHigh",
    "FriendNotReady",
    "HistoryPlace",
    "HistoryReplaced",
    "InvalidProof",
    "InvoiceEndUnknown",
    "InvoiceNotOpen",
    "MediatorRefused",
    "MoveRefused",
    "NoFriendOnline",
    "NoIndexServer",
    "NoRoute",
    "Node",
    "NodeConnectionError",
    "NotAnnounced",
    "NotEnoughCredit",
    "NotPermitted",
    "PartsRefused",
    "PayOptions",
    "Payment",
    "PaymentEndUnknown",
    "PaymentFailed",
    "PaymentPending",
    "PaymentState",
    "RequestRefused",
    "RoutesUnavailable",
    "SellerRefused",
    "SellerUnknown",
    "UnknownName",
    "connect",
    "deliver_commit",
    "deliver_to",
]

__version__ = "0.2.0"

_HOMES = {
    "connection.client": ("ConnectionClosed", "NodeConnectionError", "NotAnnounced", "RoutesUnavailable"),
    "sdk.delivery": ("DeliveryFailed", "deliver_commit", "deliver_to"),
    "sdk.errors": (
        "CommitNotDelivered",
        "InvoiceEndUnknown",
        "InvoiceNotOpen",
        "NotPermitted",
        "PaymentPending",
        "RequestRefused",
        "UnknownName",
    ),
    "sdk.failures": (
        "AlreadyPaid",
        "AmountTooLarge",
        "FeesTooHigh",
        "FriendNotReady",
        "MediatorRefused",
        "NoFriendOnline",
        "NoIndexServer",
        "NoRoute",
        "NotEnoughCredit",
        "PartsRefused",
        "PaymentEndUnknown",
        "PaymentFailed",
        "SellerRefused",
        "SellerUnknown",
    ),
    "sdk.history": ("EntriesArchived", "HistoryPlace", "HistoryReplaced"),
    "sdk.payment": ("PayOptions", "Payment", "PaymentState"),
    "rules.moving": ("MoveRefused",),
    "rules.proofs": ("InvalidProof",),
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the command-line programs do without, and start faster.
    if name not in __all__:
        raise AttributeError(f"module 'offset_ctrl' has no attribute {name!r}")
    from importlib import import_module

    home = next((module for module, names in _HOMES.items() if name in names), "sdk.node")
    return getattr(import_module(f"offset_ctrl.{home}"), name)
