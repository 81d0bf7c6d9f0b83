"""
The invoices of a compact node, each of which is a state machine. Spec 10 §7. Pure.

States. An invoice is *open* from the user's `AddInvoice` on, and is stored all that time. It is *committed* once a
commit is stored with it that pays it. It is gone when the node has processed that commit, or when it was cancelled.

    AddInvoice -> open -> [RequestVerifyCommit with a good commit] committed -> [CommitInvoice] gone
                  either of the two -> [CancelInvoice] gone

Rules.
1. A commit is stored only if it names the currency and the amount of the invoice and our node has signed it. From then
   on no other commit is good for the invoice, and the same one is good again (D101).
2. An invoice is stored before the node hears of it. After a restart the invoices without a commit are sent to the node
   again, since it may not have heard of them (D99); it ignores those that it has.
3. An invoice with its commit stays in the list until the node has processed the commit, whatever came of that (D102).
   If the program ends before, the user can ask for it again.
4. The node is asked to cancel an invoice before the invoice is forgotten here, so that one whose cancelling was
   interrupted is still in the list, and can be cancelled again.

Calling contract. Call `resume` once, before anything else, if the node lets this app sell. Then call one method for
each request of the user, and `processed` with the id of each request that the node has processed, before the report is
told and the request is acknowledged. A method leaves its effects on the workbench. Each request of the user is
acknowledged exactly once: at once where the node has nothing to do for it, and otherwise when the node has processed
it. A `CommitInvoice` whose id is that of another request under way is acknowledged and not carried out, because nobody
could tell which of the two the node has processed.
"""

from dataclasses import replace

from offset_crypto.identity import InvalidSignature
from offset_crypto.verify import verify_commit
from offset_ctrl.programs.stcompact.messages import AddInvoice, RequestVerifyCommit, ResponseVerifyCommit
from offset_ctrl.programs.stcompact.state import OpenInvoice
from offset_ctrl.programs.stcompact.workbench import Workbench
from offset_proto.messages import app
from offset_proto.types import InvoiceId, Uid

__all__ = ["Invoices"]


class Invoices:
    """The invoices that a workbench remembers."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._committing: dict[Uid, InvoiceId] = {}

    def resume(self) -> None:
        """Send the node the invoices of an earlier run of the program that have no commit."""
        for invoice_id, invoice in self._bench.state.open_invoices.items():
            if invoice.opt_commit is None:
                self._bench.ask(app.AddInvoice(invoice_id, invoice.currency, invoice.total_dest_payment))

    def add(self, request_id: Uid, request: AddInvoice) -> None:
        """Store an invoice, and ask the node to expect its payment."""
        if request.invoice_id in self._bench.state.open_invoices:
            self._bench.ack(request_id)
            return
        invoice = OpenInvoice(
            request.currency, request.total_dest_payment, request.description, None, self._bench.state.generation
        )
        self._bench.update(self._bench.state.with_next_generation().with_invoice(request.invoice_id, invoice))
        for_node = app.AddInvoice(request.invoice_id, request.currency, request.total_dest_payment)
        self._bench.ask_for_user(request_id, for_node)

    def cancel(self, request_id: Uid, invoice_id: InvoiceId) -> None:
        """Ask the node to expect the payment no more, and forget the invoice."""
        if invoice_id not in self._bench.state.open_invoices:
            self._bench.ack(request_id)
            return
        self._bench.ask_for_user(request_id, app.CancelInvoice(invoice_id))
        self._bench.update(self._bench.state.with_invoice(invoice_id, None))

    def verify_commit(self, request_id: Uid, request: RequestVerifyCommit) -> None:
        """Tell the user whether a commit pays its invoice, and keep it if it does."""
        self._bench.ack(request_id)
        commit = request.commit
        invoice = self._bench.state.open_invoices.get(commit.invoice_id)
        is_good = (
            invoice is not None
            and (commit.currency, commit.total_dest_payment) == (invoice.currency, invoice.total_dest_payment)
            and invoice.opt_commit in (None, commit)
            and self._is_signed(request)
        )
        self._bench.tell(ResponseVerifyCommit(request.request_id, is_good))
        if is_good and invoice is not None:
            self._bench.update(self._bench.state.with_invoice(commit.invoice_id, replace(invoice, opt_commit=commit)))

    def commit(self, request_id: Uid, invoice_id: InvoiceId) -> None:
        """Ask the node to collect the payment, with the commit that is kept."""
        invoice = self._bench.state.open_invoices.get(invoice_id)
        if invoice is None or invoice.opt_commit is None or self._bench.is_pending(request_id):
            self._bench.ack(request_id)
            return
        self._committing[request_id] = invoice_id
        self._bench.ask_for_user(request_id, app.CommitInvoice(invoice.opt_commit))

    def processed(self, request_id: Uid | None) -> None:
        """The node has processed a request: forget the invoice, if the request was to collect one."""
        if request_id is not None and request_id in self._committing:
            self._bench.update(self._bench.state.with_invoice(self._committing.pop(request_id), None))

    def _is_signed(self, request: RequestVerifyCommit) -> bool:
        try:
            verify_commit(request.commit, self._bench.report.local_public_key)
        except InvalidSignature:
            return False
        return True
