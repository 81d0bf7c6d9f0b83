"""
The questions and observations of a node for which a plugin can have methods.

A plugin is an object with methods marked ``@hookimpl`` and the attribute ``hooks_version = 1``, which an entry point of
the group ``offset.node`` names. A hook may leave out arguments that it does not need. All hooks of one plugin run in a
thread of its own, one after the other: they need no locks, and may block for a while without holding up the node. A
question has to be answered within 2 seconds. An exception, a late answer or an unknown one counts as a refusal, or as
an empty scope.
"""

# docs/plugins.md is the tutorial.

from typing import Any, Final

import pluggy

from offset_funder.effects import InvoicePaid, PaymentFinished, RequestForwarded
from offset_node.plugins.access import NodeAccess
from offset_node.plugins.scope import ReportScope
from offset_node.plugins.values import App, Forwarding, Grant, Refusal
from offset_proto.messages.app import AppPermissions, AppRequest, RequestResult
from offset_proto.types import Uid

__all__ = ["HOOKS_VERSION", "hookimpl", "hookspec"]

HOOKS_VERSION: Final = 1
"""The version of these hooks. A plugin says in its attribute ``hooks_version`` for which version it was written; a node
with another version does not start with it."""

hookspec = pluggy.HookspecMarker("offset")
"""Marks the signature of a hook in this module; plugins have no use for it."""

hookimpl = pluggy.HookimplMarker("offset")
"""Marks a method of a plugin as its answer to the hook of the same name. A method without this mark is never called."""


@hookspec
def offset_startup(node: NodeAccess) -> None:
    """The node is about to start; *node* has the plugin's settings and store. Raising keeps the node from starting."""


@hookspec
def offset_shutdown() -> None:
    """The node is about to end; 5 seconds are left."""


@hookspec
def offset_judge_request(app: App, request: AppRequest) -> Grant | Refusal | None:
    """Question: may *app* have *request* carried out? None leaves it to others; a refusal wins over any grant."""


@hookspec
def offset_request_judged(app: App, request: AppRequest, refusal: Refusal | None) -> None:
    """*request* was carried out, or refused, by whomever."""


@hookspec
def offset_transaction_ended(request_id: Uid, result: RequestResult) -> None:
    """A transaction has a result; a failure may follow a success where the seller cancels its invoice."""


@hookspec
def offset_report_scope(app: App) -> ReportScope | None:
    """Question: what of the node's report does *app* get to see? Asked when it connects. None: all of it."""


@hookspec
def offset_announce_permissions(app: App) -> AppPermissions | None:
    """Question: what may *app* ask for beyond its ticket? The app is told when it connects; this grants nothing yet."""


@hookspec
def offset_app_connected(app: App) -> None:
    """*app* connected; one app may have several connections."""


@hookspec
def offset_app_disconnected(app: App) -> None:
    """A connection of *app* ended."""


@hookspec
def offset_judge_forwarding(forwarding: Forwarding) -> Refusal | None:
    """Question: is there a reason not to forward a friend's request? May be asked again for the same one."""


@hookspec
def offset_request_forwarded(forwarded: RequestForwarded) -> None:
    """A request was handed on to the next friend."""


@hookspec
def offset_invoice_paid(invoice: InvoicePaid) -> None:
    """An invoice was collected. Told at least once, also after a crash: the event is stored with the payment."""


@hookspec
def offset_payment_finished(payment: PaymentFinished) -> None:
    """A payment of ours has its end. Told at least once, also after a crash."""


@hookspec
def offset_metrics(registry: Any) -> None:
    """With ``--metrics``: register collectors with *registry*, a ``prometheus_client.CollectorRegistry``."""
