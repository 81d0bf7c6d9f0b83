"""
One node of a wallet: payments and invoices on top of what its app connection offers. Spec 10 §7. Pure.

    initPayment -> SearchingRoute -> FoundRoute -> [user confirms] Sending -> Committed -> Succeeded -> [user acks] gone
                   any of the first three, and Committed where the seller cancels -> Failed -> [user acks] gone

What an event changes is decided by the table of `offset_ctrl.rules.payment`. The statuses that are stored are those of
the original: its first three are one state of the table, and it has none for a payment whose end is unknown.

What must be stored precedes, in the effects, whatever follows from it. The user's request is acknowledged after the
report that it changed.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from offset_crypto.identity import InvalidSignature
from offset_crypto.secure_channel import RandomBytes
from offset_crypto.verify import verify_commit
from offset_ctrl.programs.stcompact.messages import (
    AckPaymentDone,
    AddInvoice,
    CancelInvoice,
    CancelPayment,
    CommitInvoice,
    CompactToUser,
    ConfirmPaymentFees,
    Fees,
    InitPayment,
    PaymentCommit,
    PaymentDone,
    PaymentFees,
    RequestVerifyCommit,
    ResponseVerifyCommit,
    Unreachable,
    UserToCompact,
)
from offset_ctrl.programs.stcompact.report_form import CompactReport, build_report
from offset_ctrl.programs.stcompact.state import (
    Committed,
    CompactState,
    Failed,
    FoundRoute,
    OpenInvoice,
    OpenPayment,
    PaymentStatus,
    SearchingRoute,
    Sending,
    Succeeded,
)
from offset_ctrl.rules.payment import PaymentEffect, PaymentEvent, PaymentState, advance
from offset_ctrl.rules.routes import choose_routes
from offset_proto.messages import app
from offset_proto.messages.app import (
    AckClosePayment,
    AppPermissions,
    AppRequest,
    AppServerToApp,
    AppToAppServer,
    Canceled,
    ClientResponseRoutes,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    ReportMutations,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFound,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RequestRoutes
from offset_proto.rate import FeeOverflow, calc_fee
from offset_proto.report_view import ReportDiverged, ReportView
from offset_proto.types import InvoiceId, PaymentId, Uid

__all__ = ["AckUser", "AskNode", "CompactNode", "Effect", "End", "Save", "TellUser"]


@dataclass(frozen=True, slots=True)
class AskNode:
    """A request for the node."""

    message: AppToAppServer


@dataclass(frozen=True, slots=True)
class TellUser:
    """Something for the user."""

    message: CompactToUser


@dataclass(frozen=True, slots=True)
class AckUser:
    """A request of the user is done."""

    request_id: Uid


@dataclass(frozen=True, slots=True)
class Save:
    """To be on the disk before the next effect."""

    state: CompactState


@dataclass(frozen=True, slots=True)
class End:
    """The compact node can not go on; nothing comes after this."""

    reason: str


Effect = AskNode | TellUser | AckUser | Save | End

_PERMISSIONS: dict[type, tuple[str, ...]] = {
    InitPayment: ("buyer", "routes"),  # D100
    ConfirmPaymentFees: ("buyer",),
    CancelPayment: ("buyer",),
    AckPaymentDone: ("buyer",),
    AddInvoice: ("seller",),
    CancelInvoice: ("seller",),
    CommitInvoice: ("seller",),
    RequestVerifyCommit: (),
}
"""Everything else needs ``config``."""

_STATES: Final[dict[type, PaymentState]] = {
    SearchingRoute: PaymentState.SENDING,
    FoundRoute: PaymentState.SENDING,
    Sending: PaymentState.SENDING,
    Committed: PaymentState.COMMITTED,
    Succeeded: PaymentState.PAID,
    Failed: PaymentState.FAILED,
}
"""The state that each stored status stands for. A payment that is CLOSING or UNKNOWN is stored as `Failed`."""

_FAILING: Final = frozenset({PaymentEffect.TELL_FAILED, PaymentEffect.TELL_UNKNOWN})
"""A wallet has no word for an end that is not known, and says that the payment failed."""


class CompactNode:
    """
    An open node.

    Args:
        permissions: Of the app that we are for the node.
        report: The node's report; is kept up to date here.
        state: As stored.
        random_bytes: Source of ids.
    """

    def __init__(
        self, permissions: AppPermissions, report: ReportView, state: CompactState, random_bytes: RandomBytes
    ) -> None:
        self.permissions = permissions
        self._report = report
        self._state = state
        self._random_bytes = random_bytes
        self._told = build_report(report, state)
        self._pending: Counter[Uid] = Counter()
        self._committing: dict[Uid, InvoiceId] = {}
        self._effects: list[Effect] = []

    @property
    def report(self) -> CompactReport:
        """What the user is told when the node is opened."""
        return self._told

    # Inputs.

    def start(self) -> list[Effect]:
        """Go on with the payments and invoices of an earlier run; `report` shows the result (D98)."""
        for payment_id, payment in list(self._state.open_payments.items()):
            match payment.status:
                case SearchingRoute() | FoundRoute():
                    self._end(payment_id, PaymentEvent.BREAK_OFF)
                case Sending():
                    self._ask(RequestClosePayment(payment_id))
                    self._end(payment_id, PaymentEvent.BREAK_OFF)
                case Committed(commit, _):
                    self._ask(RequestClosePayment(payment_id))
                    self._tell(PaymentCommit(payment_id, commit))
                case Succeeded() | Failed():
                    self._tell(PaymentDone(payment_id, payment.status))
        if self.permissions.seller:  # D99; the node ignores those that it has
            for invoice_id, invoice in self._state.open_invoices.items():
                if invoice.opt_commit is None:
                    self._ask(app.AddInvoice(invoice_id, invoice.currency, invoice.total_dest_payment))
        # The report of the opening shows all that; none of its own follows.
        is_report = [isinstance(e, TellUser) and isinstance(e.message, CompactReport) for e in self._effects]
        self._effects = [e for e, skipped in zip(self._effects, is_report, strict=True) if not skipped]
        return self._take_effects()

    def handle_user(self, request_id: Uid, request: UserToCompact) -> list[Effect]:
        """A request of the user."""
        needed = _PERMISSIONS.get(type(request), ("config",))
        missing = [name for name in needed if not getattr(self.permissions, name)]
        if missing:
            return [End(f"no permission {missing[0]} for {type(request).__name__}")]
        match request:
            case InitPayment():
                self._init_payment(request_id, request)
            case ConfirmPaymentFees():
                self._confirm_fees(request_id, request)
            case CancelPayment(payment_id):
                self._cancel_payment(request_id, payment_id)
            case AckPaymentDone():
                self._ack_payment(request_id, request)
            case AddInvoice():
                self._add_invoice(request_id, request)
            case CancelInvoice(invoice_id):
                self._cancel_invoice(request_id, invoice_id)
            case RequestVerifyCommit():
                self._verify_commit(request_id, request)
            case CommitInvoice(invoice_id):
                self._commit_invoice(request_id, invoice_id)
            case _:
                self._ask_for_user(request_id, request)
        return self._take_effects()

    def handle_node(self, message: AppServerToApp) -> list[Effect]:
        """A message of the node."""
        match message:
            case ReportMutations(app_request_id, mutations):
                try:
                    self._report.apply(mutations)
                except ReportDiverged as error:
                    return [End(str(error))]
                self._acknowledged(app_request_id)
            case ClientResponseRoutes():
                self._routes_answered(message)
            case TransactionResult():
                self._transaction_ended(message)
            case ResponseClosePayment():
                self._payment_closed(message)
        return self._take_effects()

    # Outputs.

    def _take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _tell(self, message: CompactToUser) -> None:
        self._effects.append(TellUser(message))

    def _ack(self, request_id: Uid) -> None:
        self._effects.append(AckUser(request_id))

    def _ask(self, request: AppRequest, request_id: Uid | None = None) -> None:
        self._effects.append(AskNode(AppToAppServer(request_id or self._draw_uid(), request)))

    def _ask_for_user(self, request_id: Uid, request: AppRequest) -> None:
        """The node's acknowledgement becomes the user's."""
        self._pending[request_id] += 1
        self._ask(request, request_id)

    def _acknowledged(self, request_id: Uid | None) -> None:
        """The report may have changed; and a request of the user's is done. Ids of other apps mean nothing to us."""
        if request_id is not None and request_id in self._committing:
            self._update(self._state.with_invoice(self._committing.pop(request_id), None))  # D102
        self._tell_report()
        if request_id is not None and self._pending[request_id] > 0:
            self._pending[request_id] -= 1
            self._ack(request_id)
            if not self._pending[request_id]:
                del self._pending[request_id]

    def _update(self, state: CompactState) -> None:
        if state != self._state:
            self._state = state
            self._effects.append(Save(state))
            self._tell_report()

    def _tell_report(self) -> None:
        report = build_report(self._report, self._state)
        if report != self._told:
            self._told = report
            self._tell(report)

    def _draw_uid(self) -> Uid:
        return Uid(self._random_bytes(Uid.SIZE))

    # Payments.

    def _set_status(self, payment_id: PaymentId, status: PaymentStatus) -> None:
        payment = self._state.open_payments[payment_id]
        self._update(self._state.with_payment(payment_id, replace(payment, status=status)))

    def _effects_of(self, payment_id: PaymentId, event: PaymentEvent) -> tuple[PaymentEffect, ...]:
        """What the table wants done when *event* happens to a payment that is stored."""
        _, effects = advance(_STATES[type(self._state.open_payments[payment_id].status)], event)
        return effects

    def _end(self, payment_id: PaymentId, event: PaymentEvent) -> None:
        """Something ended a payment without a receipt: it fails, if the table says that somebody has to be told."""
        if _FAILING.intersection(self._effects_of(payment_id, event)):
            self._fail(payment_id)

    def _fail(self, payment_id: PaymentId, before_telling: Callable[[], None] | None = None) -> None:
        """Store a payment as failed, and tell the user; *before_telling* comes between."""
        failed = Failed(self._draw_uid())
        self._set_status(payment_id, failed)
        if before_telling is not None:
            before_telling()
        self._tell(PaymentDone(payment_id, failed))

    def _init_payment(self, request_id: Uid, request: InitPayment) -> None:
        known = self._state.open_payments.get(request.payment_id)
        if known is not None:
            self._ack(request_id)  # also while searching (D97)
            if isinstance(known.status, FoundRoute):
                self._tell_fees(request.payment_id, known.status)
            return
        routes_id = self._draw_uid()
        payment = OpenPayment(
            request.invoice_id,
            request.currency,
            request.dest_public_key,
            request.dest_payment,
            request.description,
            self._state.generation,
            SearchingRoute(routes_id),
        )
        self._update(
            replace(
                self._with_next_generation(), open_payments={**self._state.open_payments, request.payment_id: payment}
            )
        )
        source, destination = self._report.local_public_key, request.dest_public_key
        self._ask_for_user(
            request_id, RequestRoutes(routes_id, request.currency, request.dest_payment, source, destination, None)
        )

    def _with_next_generation(self) -> CompactState:
        return replace(self._state, generation=self._state.generation + 1)

    def _tell_fees(self, payment_id: PaymentId, status: FoundRoute) -> None:
        self._tell(PaymentFees(payment_id, Fees(status.fees, status.confirm_id)))

    def _routes_answered(self, message: ClientResponseRoutes) -> None:
        payment_id = self._find_payment(
            lambda status: isinstance(status, SearchingRoute) and status.request_routes_id == message.request_id
        )
        if payment_id is None:
            return
        found = self._choose(payment_id, message)
        if found is None:
            self._set_status(payment_id, Failed(self._draw_uid()))
            self._tell(PaymentFees(payment_id, Unreachable()))
            return
        self._set_status(payment_id, found)
        self._tell_fees(payment_id, found)

    def _choose(self, payment_id: PaymentId, message: ClientResponseRoutes) -> FoundRoute | None:
        if not isinstance(message.result, RoutesFound):
            return None
        multi_routes = message.result.multi_routes
        try:
            choice = choose_routes(multi_routes, self._state.open_payments[payment_id].dest_payment)
        except FeeOverflow:
            return None
        if choice is None:
            return None
        parts = tuple((part.route_index, part.dest_payment) for part in choice.parts)
        return FoundRoute(self._draw_uid(), multi_routes[choice.multi_route_index], parts, choice.total_fees)

    def _find_payment(self, is_it: Callable[[PaymentStatus], bool]) -> PaymentId | None:
        return next((key for key, payment in self._state.open_payments.items() if is_it(payment.status)), None)

    def _confirm_fees(self, request_id: Uid, request: ConfirmPaymentFees) -> None:
        payment = self._state.open_payments.get(request.payment_id)
        status = None if payment is None else payment.status
        if payment is None or not isinstance(status, FoundRoute) or status.confirm_id != request.confirm_id:
            self._ack(request_id)
            return
        transactions = {self._draw_uid(): part for part in status.multi_route_choice}
        self._set_status(request.payment_id, Sending(status.fees, frozenset(transactions)))
        self._ask(
            CreatePayment(
                request.payment_id, payment.invoice_id, payment.currency, payment.dest_payment, payment.dest_public_key
            )
        )
        for transaction_id, (index, amount) in transactions.items():
            route = status.multi_route.routes[index]
            keys = FriendsRoute(route.route.public_keys)
            fees = calc_fee(route.rate, amount)
            self._ask(CreateTransaction(request.payment_id, transaction_id, keys, amount, fees))
        self._ask_for_user(request_id, RequestClosePayment(request.payment_id))

    def _cancel_payment(self, request_id: Uid, payment_id: PaymentId) -> None:
        is_open = payment_id in self._state.open_payments
        if is_open and PaymentEffect.TELL_FAILED in self._effects_of(payment_id, PaymentEvent.GIVE_UP):
            self._fail(payment_id, before_telling=lambda: self._ack(request_id))
        else:
            self._ack(request_id)

    def _ack_payment(self, request_id: Uid, request: AckPaymentDone) -> None:
        payment = self._state.open_payments.get(request.payment_id)
        status = None if payment is None else payment.status
        if isinstance(status, Succeeded | Failed) and status.ack_uid == request.ack_uid:
            self._update(self._state.with_payment(request.payment_id, None))
        self._ack(request_id)

    def _transaction_ended(self, message: TransactionResult) -> None:
        payment_id = self._find_payment(
            lambda status: isinstance(status, Sending) and message.request_id in status.open_transactions
        )
        if payment_id is None:
            return
        status = self._state.open_payments[payment_id].status
        assert isinstance(status, Sending)
        match message.result:
            case Complete(commit):
                for effect in self._effects_of(payment_id, PaymentEvent.COMMIT):
                    if effect is PaymentEffect.WRITE_COMMIT:
                        self._set_status(payment_id, Committed(commit, status.fees))
                    elif effect is PaymentEffect.HAND_OUT_COMMIT:
                        self._tell(PaymentCommit(payment_id, commit))
            case Failure():
                self._end(payment_id, PaymentEvent.GIVE_UP)
            case _:
                left = status.open_transactions - {message.request_id}
                if left:
                    self._set_status(payment_id, replace(status, open_transactions=left))
                else:
                    self._end(payment_id, PaymentEvent.GIVE_UP)  # all have arrived, and they are not enough (D103)

    def _payment_closed(self, message: ResponseClosePayment) -> None:
        payment = self._state.open_payments.get(message.payment_id)
        status = None if payment is None else payment.status
        if isinstance(status, Sending | Committed):  # before, the node has not heard of the payment; after, it was told
            self._take_end(message.payment_id, status, message.status)
        match message.status:
            case PaymentStatusSuccess(_, ack_uid) | Canceled(ack_uid):
                self._ask(AckClosePayment(message.payment_id, ack_uid))
            case PaymentNotFound():
                pass

    def _take_end(self, payment_id: PaymentId, status: Sending | Committed, end: app.PaymentStatus) -> None:
        """Take what the node says of the end of a payment."""
        match end:
            case PaymentStatusSuccess() if isinstance(status, Sending):
                # No commit was handed out, so the seller can not have collected this payment.
                self._end(payment_id, PaymentEvent.GIVE_UP)
            case PaymentStatusSuccess(receipt, _):
                if PaymentEffect.TELL_RECEIPT in self._effects_of(payment_id, PaymentEvent.RECEIPT):
                    done = Succeeded(receipt, status.fees, self._draw_uid())
                    self._set_status(payment_id, done)
                    self._tell(PaymentDone(payment_id, done))
            case Canceled():
                self._end(payment_id, PaymentEvent.CANCELLED)
            case PaymentNotFound():
                self._end(payment_id, PaymentEvent.FORGOTTEN)

    # Invoices.

    def _add_invoice(self, request_id: Uid, request: AddInvoice) -> None:
        if request.invoice_id in self._state.open_invoices:
            self._ack(request_id)
            return
        invoice = OpenInvoice(
            request.currency, request.total_dest_payment, request.description, None, self._state.generation
        )
        self._update(self._with_next_generation().with_invoice(request.invoice_id, invoice))
        self._ask_for_user(request_id, app.AddInvoice(request.invoice_id, request.currency, request.total_dest_payment))

    def _cancel_invoice(self, request_id: Uid, invoice_id: InvoiceId) -> None:
        if invoice_id not in self._state.open_invoices:
            self._ack(request_id)
            return
        self._ask_for_user(request_id, app.CancelInvoice(invoice_id))
        self._update(self._state.with_invoice(invoice_id, None))

    def _verify_commit(self, request_id: Uid, request: RequestVerifyCommit) -> None:
        self._ack(request_id)
        commit = request.commit
        invoice = self._state.open_invoices.get(commit.invoice_id)
        is_good = (
            invoice is not None
            and (commit.currency, commit.total_dest_payment) == (invoice.currency, invoice.total_dest_payment)
            and invoice.opt_commit in (None, commit)
            and self._is_signed(request)
        )
        self._tell(ResponseVerifyCommit(request.request_id, is_good))
        if is_good and invoice is not None:  # D101
            self._update(self._state.with_invoice(commit.invoice_id, replace(invoice, opt_commit=commit)))

    def _is_signed(self, request: RequestVerifyCommit) -> bool:
        try:
            verify_commit(request.commit, self._report.local_public_key)
        except InvalidSignature:
            return False
        return True

    def _commit_invoice(self, request_id: Uid, invoice_id: InvoiceId) -> None:
        invoice = self._state.open_invoices.get(invoice_id)
        if invoice is None or invoice.opt_commit is None or request_id in self._pending:
            self._ack(request_id)
            return
        self._committing[request_id] = invoice_id
        self._ask_for_user(request_id, app.CommitInvoice(invoice.opt_commit))
