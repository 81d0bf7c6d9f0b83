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
    """
    The node is about to start, and *node* has the plugin's settings and store.

    If this hook raises an exception, the node does not start.
    """


@hookspec
def offset_shutdown() -> None:
    """The node is about to end. The plugin has 5 seconds to finish."""


@hookspec
def offset_judge_request(app: App, request: AppRequest) -> Grant | Refusal | None:
    """
    Question: may the node carry out *request* for *app*?

    None leaves the decision to others. One refusal wins over any number of grants.
    """


@hookspec
def offset_request_judged(app: App, request: AppRequest, refusal: Refusal | None) -> None:
    """A request was judged: *refusal* says why the node does not carry it out, and is None if the node does."""


@hookspec
def offset_transaction_ended(request_id: Uid, result: RequestResult) -> None:
    """A transaction has a result. A failure may follow a success, if the seller cancels its invoice."""


@hookspec
def offset_report_scope(app: App) -> ReportScope | None:
    """
    Question: which part of the node's report, of its history, and of what is open, does *app* get to see?

    It is asked when the app connects. None lets the app see everything. If several plugins answer, the app sees what
    all of them let it see.

    Of entries of the history that are out of scope the app learns how many there are and, if it follows the history,
    when one comes; nothing else. Of open payments it is told of those in scope, and of those that it has made itself.
    """


@hookspec
def offset_announce_permissions(app: App) -> AppPermissions | None:
    """
    Question: what may *app* ask for beyond its ticket?

    The app is told the answer when it connects. This grants nothing yet: `offset_judge_request` does.
    """


@hookspec
def offset_app_connected(app: App) -> None:
    """An app has connected. One app may have several connections."""


@hookspec
def offset_app_disconnected(app: App) -> None:
    """A connection of an app has ended."""


@hookspec
def offset_judge_forwarding(forwarding: Forwarding) -> Refusal | None:
    """
    Question: is there a reason not to forward a friend's request?

    It may be asked again for the same request.
    """


@hookspec
def offset_request_forwarded(forwarded: RequestForwarded) -> None:
    """The node has handed a friend's request on to the next friend."""


@hookspec
def offset_invoice_paid(invoice: InvoicePaid) -> None:
    """
    An invoice of ours was collected.

    The node tells this at least once, also after a crash, because it stores the event together with the payment.
    """


@hookspec
def offset_payment_finished(payment: PaymentFinished) -> None:
    """A payment of ours has ended. The node tells this at least once, also after a crash."""


@hookspec
def offset_metrics(registry: Any) -> None:
    """
    The node serves metrics, since it was started with ``--metrics``.

    The plugin may register collectors of its own with *registry*, a ``prometheus_client.CollectorRegistry``.
    """
