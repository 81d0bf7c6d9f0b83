"""
One node of a wallet: payments and invoices on top of what its app connection offers. Spec 10 §7. Pure.

This is the table of contents; what happens is in

===========  ==========================================================================
`payments`   a state machine for each payment of the user
`invoices`   a state machine for each invoice of the user
`workbench`  what both work on: the state, the report, the effects of one event
`effects`    what the server is asked to perform
===========  ==========================================================================

Everything else that a user may ask of a node is handed on to it under the user's id, and acknowledged when the node has
processed it.

Calling contract. Call `CompactNode.start` first, then `handle_user` and `handle_node` for each request and message, one
after the other. Perform the effects of each call in their order, and all of them before the next call. After `End` the
compact node is of no more use: close the connection, open another one, and make a new compact node of the stored state.
"""

from typing import Final

from offset_crypto.secure_channel import RandomBytes
from offset_ctrl.programs.stcompact.effects import AckUser, AskNode, Effect, End, Save, TellUser
from offset_ctrl.programs.stcompact.invoices import Invoices
from offset_ctrl.programs.stcompact.messages import (
    AckPaymentDone,
    AddInvoice,
    CancelInvoice,
    CancelPayment,
    CommitInvoice,
    ConfirmPaymentFees,
    InitPayment,
    RequestVerifyCommit,
    UserToCompact,
)
from offset_ctrl.programs.stcompact.payments import Payments
from offset_ctrl.programs.stcompact.report_form import CompactReport
from offset_ctrl.programs.stcompact.state import CompactState
from offset_ctrl.programs.stcompact.workbench import Workbench
from offset_proto.messages.app import (
    AppPermissions,
    AppServerToApp,
    ClientResponseRoutes,
    ReportMutations,
    ResponseClosePayment,
    TransactionResult,
)
from offset_proto.report_view import ReportDiverged, ReportView
from offset_proto.types import Uid

__all__ = ["AckUser", "AskNode", "CompactNode", "Effect", "End", "Save", "TellUser"]

_PERMISSIONS: Final[dict[type, tuple[str, ...]]] = {
    InitPayment: ("buyer", "routes"),  # D100
    ConfirmPaymentFees: ("buyer",),
    CancelPayment: ("buyer",),
    AckPaymentDone: ("buyer",),
    AddInvoice: ("seller",),
    CancelInvoice: ("seller",),
    CommitInvoice: ("seller",),
    RequestVerifyCommit: (),
}
"""What the app has to be permitted for a request of the user; every request that is not here needs ``config``."""


class CompactNode:
    """
    A node that is open, with the payments and invoices that its user has there.

    Args:
        permissions: What the node lets this app ask for.
        report: The node's report; is kept up to date here.
        state: Payments and invoices, as stored.
        random_bytes: Source of ids.
    """

    def __init__(
        self, permissions: AppPermissions, report: ReportView, state: CompactState, random_bytes: RandomBytes
    ) -> None:
        self.permissions = permissions
        self._bench = Workbench(report, state, random_bytes)
        self._payments = Payments(self._bench)
        self._invoices = Invoices(self._bench)

    @property
    def report(self) -> CompactReport:
        """The report that the user was told last; after `start`, the one to open the node with."""
        return self._bench.told

    def start(self) -> list[Effect]:
        """Go on with the payments and invoices of an earlier run; `report` shows the result (D98)."""
        self._payments.resume()
        if self.permissions.seller:
            self._invoices.resume()
        # The report of the opening shows all that; none of its own follows.
        return [effect for effect in self._bench.take_effects() if not _is_report(effect)]

    def handle_user(self, request_id: Uid, request: UserToCompact) -> list[Effect]:
        """Carry out a request of the user, or hand it on to the node; without a permission for it, the node ends."""
        needed = _PERMISSIONS.get(type(request), ("config",))
        missing = [name for name in needed if not getattr(self.permissions, name)]
        if missing:
            return [End(f"no permission {missing[0]} for {type(request).__name__}")]
        match request:
            case InitPayment():
                self._payments.init(request_id, request)
            case ConfirmPaymentFees():
                self._payments.confirm_fees(request_id, request)
            case CancelPayment(payment_id):
                self._payments.cancel(request_id, payment_id)
            case AckPaymentDone():
                self._payments.acknowledge(request_id, request)
            case AddInvoice():
                self._invoices.add(request_id, request)
            case CancelInvoice(invoice_id):
                self._invoices.cancel(request_id, invoice_id)
            case RequestVerifyCommit():
                self._invoices.verify_commit(request_id, request)
            case CommitInvoice(invoice_id):
                self._invoices.commit(request_id, invoice_id)
            case _:
                self._bench.ask_for_user(request_id, request)
        return self._bench.take_effects()

    def handle_node(self, message: AppServerToApp) -> list[Effect]:
        """Take a message of the node; a change of its report that does not fit the report ends the compact node."""
        match message:
            case ReportMutations(app_request_id, mutations):
                try:
                    self._bench.report.apply(mutations)
                except ReportDiverged as error:
                    return [End(str(error))]
                self._invoices.processed(app_request_id)
                self._bench.tell_report()
                self._bench.processed(app_request_id)
            case ClientResponseRoutes():
                self._payments.routes_answered(message)
            case TransactionResult():
                self._payments.transaction_ended(message)
            case ResponseClosePayment():
                self._payments.payment_closed(message)
        return self._bench.take_effects()


def _is_report(effect: Effect) -> bool:
    return isinstance(effect, TellUser) and isinstance(effect.message, CompactReport)
