"""
The open payments, as an app that follows them is told. Pure. Spec 12 §3.

A payment is in one place of the state and its parts are in others: which transactions there are, what the ledger of
the first friend has frozen, what waits for that friend's token. The view remembers for each transaction of ours which
payment it belongs to and which friend it went to, so that a change costs what it touches and no more.

A part that ends leaves nothing in the state. It is told once more, as it was last, with its end.

Contract: `observe` gets the mutations of each event, and the transactions that the event failed; `changes` is called
when a batch is through. A view is made when the first app follows, and dropped when none does.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from offset_funder import mutations as m
from offset_funder.ledger import Side
from offset_funder.payment_proofs import build_commit
from offset_funder.state import (
    AfterSuccessAck,
    CanceledPayment,
    Consistent,
    FunderState,
    InProgress,
    NewTransactions,
    Payment,
    PendingTransaction,
    SuccessfulPayment,
)
from offset_node.waiting.times import PendingTimes
from offset_proto.message import replace
from offset_proto.messages.extensions import (
    OpenPaymentReport,
    OpenPayments,
    PartReport,
    PartStateReport,
    PaymentStageReport,
    PaymentTarget,
)
from offset_proto.messages.friend import FriendsRoute, RequestSendFundsOp
from offset_proto.messages.payment import Commit
from offset_proto.types import U64, Currency, PaymentId, PublicKey, Uid

__all__ = ["OpenPaymentsView"]

_STAGES: Final = {
    NewTransactions: PaymentStageReport.SENDING,
    InProgress: PaymentStageReport.CLOSING,
    SuccessfulPayment: PaymentStageReport.PAID,
    CanceledPayment: PaymentStageReport.CANCELLED,
    AfterSuccessAck: PaymentStageReport.ACKNOWLEDGED,
}


@dataclass(slots=True)
class _Part:
    """A transaction of ours: where it is, and what was last to be said of it."""

    payment_id: PaymentId
    friend: PublicKey
    currency: Currency
    last: PartReport | None = None


class OpenPaymentsView:
    """
    What is told of the payments of one node.

    Args:
        state: As it is now.
        times: Since when requests have been pending.
    """

    def __init__(self, state: FunderState, times: PendingTimes) -> None:
        self._times = times
        self._parts: dict[Uid, _Part] = {}
        self._of_payment: dict[PaymentId, dict[Uid, None]] = {}
        self._changed: dict[PaymentId, None] = {}
        self._ended: dict[PaymentId, list[PartReport]] = {}
        for friend in state.friends.values():
            if isinstance(friend.channel, Consistent):
                for currency, request_id in _sent_to(friend.channel):
                    self._add(state, request_id, friend.remote_public_key, currency)

    def _add(self, state: FunderState, request_id: Uid, friend: PublicKey, currency: Currency) -> None:
        transaction = state.open_transactions.get(request_id)
        if transaction is not None:
            self._parts[request_id] = _Part(transaction.payment_id, friend, currency)
            self._of_payment.setdefault(transaction.payment_id, {})[request_id] = None

    def snapshot(self, state: FunderState, now: U64) -> OpenPayments:
        """All payments that the node knows."""
        reports = [self._report(state, now, payment_id, payment) for payment_id, payment in state.payments.items()]
        return OpenPayments(True, tuple(reports), ())

    def observe(self, state: FunderState, now: U64, mutations: Iterable[m.Mutation], failed: Collection[Uid]) -> None:
        """
        An event has changed the state to *state*.

        Args:
            state: After the event.
            now: Seconds since 1970.
            mutations: Of the event, in order.
            failed: Transactions that were cancelled; each other one that was removed was collected.
        """
        for mutation in mutations:
            match mutation:
                case m.UpdatePayment(payment_id, _) | m.RemovePayment(payment_id):
                    self._changed[payment_id] = None
                case m.FriendMutation(friend, m.PushBackPendingUserRequest(currency, op)):
                    self._add(state, op.request_id, friend, currency)
                    part = self._parts.get(op.request_id)
                    if part is not None:
                        part.last = self._report_part(state, now, part, op)
                        self._changed[part.payment_id] = None
                case m.FriendMutation(_, m.ChangeLedger(_, change)) if change.side is Side.LOCAL:
                    self._touch(change.request_id)
                case m.SetTransactionResponse(response):
                    self._touch(response.request_id)
                case m.RemoveTransaction(request_id):
                    self._touch(request_id)
                    self._end(request_id, failed)

    def _touch(self, request_id: Uid) -> None:
        part = self._parts.get(request_id)
        if part is not None:
            self._changed[part.payment_id] = None

    def _end(self, request_id: Uid, failed: Collection[Uid]) -> None:
        part = self._parts.pop(request_id, None)
        if part is None:
            return
        of_payment = self._of_payment[part.payment_id]
        del of_payment[request_id]
        if not of_payment:
            del self._of_payment[part.payment_id]
        if part.last is not None:
            end = PartStateReport.CANCELLED if request_id in failed else PartStateReport.COLLECTED
            self._ended.setdefault(part.payment_id, []).append(replace(part.last, state=end))

    def changes(self, state: FunderState, now: U64) -> OpenPayments | None:
        """What has changed since the last answer; None where nothing has."""
        changed, self._changed = self._changed, {}
        parts, self._ended = self._ended, {}
        if not changed:
            return None
        reports, ended = [], []
        for payment_id in changed:
            payment = state.payments.get(payment_id)
            if payment is None:
                ended.append(payment_id)
            else:
                report = self._report(state, now, payment_id, payment)
                reports.append(replace(report, parts=(*report.parts, *parts.get(payment_id, ()))))
        return OpenPayments(False, tuple(reports), tuple(ended))

    # What the state says of one payment.

    def _report(self, state: FunderState, now: U64, payment_id: PaymentId, payment: Payment) -> OpenPaymentReport:
        parts: list[PartReport] = []
        target, commit = None, None
        if isinstance(payment.stage, NewTransactions):
            stage = payment.stage
            target = PaymentTarget(stage.invoice_id, stage.currency, stage.total_dest_payment, stage.dest_public_key)
        for request_id in self._of_payment.get(payment_id, ()):
            part = self._parts[request_id]
            found = _find(state, part, request_id)
            if found is None:
                continue
            part.last = self._report_part(state, now, part, found)
            parts.append(part.last)
            seller = part.last.route.public_keys[-1]
            target = target or PaymentTarget(found.invoice_id, part.currency, found.total_dest_payment, seller)
            commit = commit or _commit(state, payment, part.currency, found)
        return OpenPaymentReport(payment_id, _STAGES[type(payment.stage)], target, tuple(parts), commit)

    def _report_part(
        self, state: FunderState, now: U64, part: _Part, found: PendingTransaction | RequestSendFundsOp
    ) -> PartReport:
        if isinstance(found, RequestSendFundsOp):
            where, rest = PartStateReport.QUEUED, found.route.public_keys
        else:
            is_answered = state.open_transactions[found.request_id].opt_response is not None
            where, rest = PartStateReport.ANSWERED if is_answered else PartStateReport.FROZEN, found.route
        if where is not PartStateReport.QUEUED:
            since = self._times.since((part.friend, part.currency, Side.LOCAL, found.request_id), now)
        elif part.last is None:
            since = now
        else:
            since = part.last.since
        route = FriendsRoute((state.local_public_key, part.friend, *rest))
        return PartReport(found.request_id, route, found.dest_payment, found.left_fees, where, since)


def _sent_to(channel: Consistent) -> Iterable[tuple[Currency, Uid]]:
    for currency, ledger in channel.token_channel.ledgers.items():
        for request_id in ledger.pending_local:
            yield currency, request_id
    for currency, op in channel.pending_user_requests:
        yield currency, op.request_id


def _find(state: FunderState, part: _Part, request_id: Uid) -> PendingTransaction | RequestSendFundsOp | None:
    channel = state.friends[part.friend].channel
    if not isinstance(channel, Consistent):
        return None
    pending = channel.token_channel.ledgers[part.currency].pending_local.get(request_id)
    if pending is not None:
        return pending
    return next((op for _, op in channel.pending_user_requests if op.request_id == request_id), None)


def _commit(
    state: FunderState, payment: Payment, currency: Currency, found: PendingTransaction | RequestSendFundsOp
) -> Commit | None:
    """The commit, where *found* is the part whose response says that the invoice is covered."""
    response = state.open_transactions[found.request_id].opt_response
    is_open = isinstance(payment.stage, NewTransactions | InProgress)
    if not is_open or response is None or not response.is_complete or isinstance(found, RequestSendFundsOp):
        return None
    return build_commit(currency, found, response, payment.src_plain_lock)
