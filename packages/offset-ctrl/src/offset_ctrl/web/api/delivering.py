"""
Commits that buyers' programs deliver by themselves. Spec 13 §7.

The one operation that anybody may use. A commit holds the signature of the node over one invoice, which the node has
given only to whoever has frozen the whole amount; so it is its own proof, and the worst that can be done with it is to
pay. What everybody else can do here is bounded: bodies by the guard, wrong commits in a minute by the dispatcher, which
goes on to take good ones, and commits in hand at once by the collecting itself.
"""

from offset_ctrl.web import forms, views
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.operations import Call, Section
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.settling import collect

__all__ = ["section"]

section = Section("delivery", "Where buyers' programs deliver commits by themselves.")


@section.post("/commits", may=(Scope.ANYBODY,))
async def deliver_commit(call: Call, body: forms.CommitForm) -> forms.Delivered:
    """
    Pay an invoice that was made here, with its commit; no token is needed. The same commit may be sent again.

    The answer is no receipt: that comes to the buyer's own node.
    """
    row = call.desk.invoice_book.find(body.invoice_id)
    nodes = [] if row is None else [node for node in call.desk.nodes if node.key == row.node]
    if row is None or not nodes:
        raise rejection(404, "UnknownInvoice", "no such invoice was made here")
    await collect(call.desk, nodes[0], row, views.read_commit(body))
    return forms.Delivered(invoice_id=body.invoice_id, state="collected")
