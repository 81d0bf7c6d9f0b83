"""
The payments of a compact node, each of which is a state machine. Spec 10 §7. Pure.

States. A payment exists from the user's `InitPayment` until its `AckPaymentDone`, and is stored all that time.

===================  ==============================================================================================
`SearchingRoute`     Routes were asked for. Nothing is frozen, and the node does not know the payment yet.
`FoundRoute`         The user was told the fees, and has to confirm them.
`Sending`            The transactions were sent, and the node was asked how the payment ends. No commit exists.
`Committed`          The user has the commit, for the seller. The node tells how the payment ends.
`Succeeded`          The receipt is there; the user has to acknowledge it.
`Failed`             The payment ended without a receipt; the user has to acknowledge that.
===================  ==============================================================================================

    InitPayment -> SearchingRoute -> FoundRoute -> [user confirms] Sending -> Committed -> Succeeded -> [user acks] gone
                   any of the first three, and Committed where the seller cancels -> Failed -> [user acks] gone

Rules.
1. The table of `offset_ctrl.rules.payment` decides what an event changes. The statuses that are stored are those of the
   original. Its first three are one state of the table, SENDING. It has none for a payment whose end is unknown, which
   therefore fails here.
2. The commit is stored before the user is told of it. Until then the user can cancel, and anything that goes wrong
   makes the payment fail. Afterwards only the node can end it, since the seller may have the commit.
3. A transaction that fails is not sent again over another route: the payment fails. It fails, too, when all of its
   transactions have arrived and are not enough (D103).
4. A receipt for a payment without a commit does not make it succeed, since nobody was given anything to collect with.
5. The node may forget how a payment ended as soon as that is stored here, in whatever status the payment was. The user
   acknowledges later, by another id, and is told the end at each start until then.
6. After a restart, a payment without a commit fails, and the node is asked again how a payment with one ends.
7. The user is told of an end by `PaymentDone`; only where there are no routes, `Unreachable` stands in its place.

Calling contract. Call `resume` once, before anything else. Then call one method for each request of the user and for
each message of the node; who may ask for what is checked before. A method leaves its effects on the workbench. A
request of the user is acknowledged exactly once: at once where the node has nothing to do for it, and otherwise when
the node has processed what it was asked. A message of the node about a payment that is not known here changes nothing
in the state; the node is told all the same that it may forget how that payment ended.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from offset_ctrl.programs.stcompact.messages import (
    AckPaymentDone,
    ConfirmPaymentFees,
    Fees,
    InitPayment,
    PaymentCommit,
    PaymentDone,
    PaymentFees,
    Unreachable,
)
from offset_ctrl.programs.stcompact.state import (
    Committed,
    Failed,
    FoundRoute,
    OpenPayment,
    PaymentStatus,
    SearchingRoute,
    Sending,
    Succeeded,
)
from offset_ctrl.programs.stcompact.workbench import Workbench
from offset_ctrl.rules.payment import PaymentEffect, PaymentEvent, PaymentState, advance
from offset_ctrl.rules.routes import choose_routes
from offset_proto.messages import app
from offset_proto.messages.app import (
    AckClosePayment,
    Canceled,
    ClientResponseRoutes,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatusSuccess,
    RequestClosePayment,
    ResponseClosePayment,
    RoutesFound,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import RequestRoutes
from offset_proto.rate import FeeOverflow, calc_fee
from offset_proto.types import PaymentId, Uid

__all__ = ["Payments"]

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


class Payments:
    """The payments that a workbench remembers."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def resume(self) -> None:
        """Go on with the payments of an earlier run of the program."""
        for payment_id, payment in list(self._bench.state.open_payments.items()):
            match payment.status:
                case SearchingRoute() | FoundRoute():
                    self._end(payment_id, PaymentEvent.BREAK_OFF)
                case Sending():
                    self._bench.ask(RequestClosePayment(payment_id))
                    self._end(payment_id, PaymentEvent.BREAK_OFF)
                case Committed(commit, _):
                    self._bench.ask(RequestClosePayment(payment_id))
                    self._bench.tell(PaymentCommit(payment_id, commit))
                case Succeeded() | Failed():
                    self._bench.tell(PaymentDone(payment_id, payment.status))

    # What the user asks for.

    def init(self, request_id: Uid, request: InitPayment) -> None:
        """Begin a payment by asking for routes; for one that is known already, the fees are told again."""
        known = self._bench.state.open_payments.get(request.payment_id)
        if known is not None:
            self._bench.ack(request_id)  # also while searching (D97)
            if isinstance(known.status, FoundRoute):
                self._tell_fees(request.payment_id, known.status)
            return
        routes_id = self._bench.draw_uid()
        payment = OpenPayment(
            request.invoice_id,
            request.currency,
            request.dest_public_key,
            request.dest_payment,
            request.description,
            self._bench.state.generation,
            SearchingRoute(routes_id),
        )
        self._bench.update(self._bench.state.with_next_generation().with_payment(request.payment_id, payment))
        source, destination = self._bench.report.local_public_key, request.dest_public_key
        self._bench.ask_for_user(
            request_id, RequestRoutes(routes_id, request.currency, request.dest_payment, source, destination, None)
        )

    def confirm_fees(self, request_id: Uid, request: ConfirmPaymentFees) -> None:
        """Send the transactions that the user was told the fees of, and ask the node how the payment ends."""
        payment = self._bench.state.open_payments.get(request.payment_id)
        status = None if payment is None else payment.status
        if payment is None or not isinstance(status, FoundRoute) or status.confirm_id != request.confirm_id:
            self._bench.ack(request_id)
            return
        transactions = {self._bench.draw_uid(): part for part in status.multi_route_choice}
        self._set_status(request.payment_id, Sending(status.fees, frozenset(transactions)))
        self._bench.ask(
            CreatePayment(
                request.payment_id, payment.invoice_id, payment.currency, payment.dest_payment, payment.dest_public_key
            )
        )
        for transaction_id, (index, amount) in transactions.items():
            route = status.multi_route.routes[index]
            keys = FriendsRoute(route.route.public_keys)
            fees = calc_fee(route.rate, amount)
            self._bench.ask(CreateTransaction(request.payment_id, transaction_id, keys, amount, fees))
        self._bench.ask_for_user(request_id, RequestClosePayment(request.payment_id))

    def cancel(self, request_id: Uid, payment_id: PaymentId) -> None:
        """Let a payment fail that has no commit yet; the user is told after the acknowledgement."""
        is_open = payment_id in self._bench.state.open_payments
        if is_open and PaymentEffect.TELL_FAILED in self._effects_of(payment_id, PaymentEvent.GIVE_UP):
            self._fail(payment_id, before_telling=lambda: self._bench.ack(request_id))
        else:
            self._bench.ack(request_id)

    def acknowledge(self, request_id: Uid, request: AckPaymentDone) -> None:
        """Forget a payment that has ended, if the user names the id by which it was told the end."""
        payment = self._bench.state.open_payments.get(request.payment_id)
        status = None if payment is None else payment.status
        if isinstance(status, Succeeded | Failed) and status.ack_uid == request.ack_uid:
            self._bench.update(self._bench.state.with_payment(request.payment_id, None))
        self._bench.ack(request_id)

    # What the node says.

    def routes_answered(self, message: ClientResponseRoutes) -> None:
        """Tell the user what the payment costs by the best routes, or that there are none."""
        payment_id = self._find_payment(
            lambda status: isinstance(status, SearchingRoute) and status.request_routes_id == message.request_id
        )
        if payment_id is None:
            return
        found = self._choose(payment_id, message)
        if found is None:
            self._set_status(payment_id, Failed(self._bench.draw_uid()))
            self._bench.tell(PaymentFees(payment_id, Unreachable()))
            return
        self._set_status(payment_id, found)
        self._tell_fees(payment_id, found)

    def transaction_ended(self, message: TransactionResult) -> None:
        """Store and tell the commit, wait for the other transactions, or let the payment fail."""
        payment_id = self._find_payment(
            lambda status: isinstance(status, Sending) and message.request_id in status.open_transactions
        )
        if payment_id is None:
            return
        status = self._bench.state.open_payments[payment_id].status
        assert isinstance(status, Sending)
        match message.result:
            case Complete(commit):
                for effect in self._effects_of(payment_id, PaymentEvent.COMMIT):
                    if effect is PaymentEffect.WRITE_COMMIT:
                        self._set_status(payment_id, Committed(commit, status.fees))
                    elif effect is PaymentEffect.HAND_OUT_COMMIT:
                        self._bench.tell(PaymentCommit(payment_id, commit))
            case Failure():
                self._end(payment_id, PaymentEvent.GIVE_UP)
            case _:
                left = status.open_transactions - {message.request_id}
                if left:
                    self._set_status(payment_id, replace(status, open_transactions=left))
                else:
                    self._end(payment_id, PaymentEvent.GIVE_UP)  # all have arrived, and they are not enough (D103)

    def payment_closed(self, message: ResponseClosePayment) -> None:
        """Take over how a payment ended, and let the node forget it."""
        payment = self._bench.state.open_payments.get(message.payment_id)
        status = None if payment is None else payment.status
        if isinstance(status, Sending | Committed):  # before, the node has not heard of the payment; after, it was told
            self._take_end(message.payment_id, status, message.status)
        match message.status:
            case PaymentStatusSuccess(_, ack_uid) | Canceled(ack_uid):
                self._bench.ask(AckClosePayment(message.payment_id, ack_uid))
            case PaymentNotFound():
                pass

    # Inside.

    def _choose(self, payment_id: PaymentId, message: ClientResponseRoutes) -> FoundRoute | None:
        if not isinstance(message.result, RoutesFound):
            return None
        multi_routes = message.result.multi_routes
        try:
            choice = choose_routes(multi_routes, self._bench.state.open_payments[payment_id].dest_payment)
        except FeeOverflow:
            return None
        if choice is None:
            return None
        parts = tuple((part.route_index, part.dest_payment) for part in choice.parts)
        return FoundRoute(self._bench.draw_uid(), multi_routes[choice.multi_route_index], parts, choice.total_fees)

    def _find_payment(self, is_it: Callable[[PaymentStatus], bool]) -> PaymentId | None:
        return next((key for key, payment in self._bench.state.open_payments.items() if is_it(payment.status)), None)

    def _tell_fees(self, payment_id: PaymentId, status: FoundRoute) -> None:
        self._bench.tell(PaymentFees(payment_id, Fees(status.fees, status.confirm_id)))

    def _take_end(self, payment_id: PaymentId, status: Sending | Committed, end: app.PaymentStatus) -> None:
        """Take what the node says of the end of a payment."""
        match end:
            case PaymentStatusSuccess() if isinstance(status, Sending):
                # No commit was handed out, so the seller can not have collected this payment.
                self._end(payment_id, PaymentEvent.GIVE_UP)
            case PaymentStatusSuccess(receipt, _):
                if PaymentEffect.TELL_RECEIPT in self._effects_of(payment_id, PaymentEvent.RECEIPT):
                    done = Succeeded(receipt, status.fees, self._bench.draw_uid())
                    self._set_status(payment_id, done)
                    self._bench.tell(PaymentDone(payment_id, done))
            case Canceled():
                self._end(payment_id, PaymentEvent.CANCELLED)
            case PaymentNotFound():
                self._end(payment_id, PaymentEvent.FORGOTTEN)

    def _set_status(self, payment_id: PaymentId, status: PaymentStatus) -> None:
        payment = self._bench.state.open_payments[payment_id]
        self._bench.update(self._bench.state.with_payment(payment_id, replace(payment, status=status)))

    def _effects_of(self, payment_id: PaymentId, event: PaymentEvent) -> tuple[PaymentEffect, ...]:
        """What the table wants done when *event* happens to a payment that is stored."""
        _, effects = advance(_STATES[type(self._bench.state.open_payments[payment_id].status)], event)
        return effects

    def _end(self, payment_id: PaymentId, event: PaymentEvent) -> None:
        """Something ended a payment without a receipt: it fails, if the table says that somebody has to be told."""
        if _FAILING.intersection(self._effects_of(payment_id, event)):
            self._fail(payment_id)

    def _fail(self, payment_id: PaymentId, before_telling: Callable[[], None] | None = None) -> None:
        """Store a payment as failed, and tell the user; *before_telling* comes between."""
        failed = Failed(self._bench.draw_uid())
        self._set_status(payment_id, failed)
        if before_telling is not None:
            before_telling()
        self._bench.tell(PaymentDone(payment_id, failed))
