"""What a node counts: how long payments take, how they end, and what it cancels."""

from offset_funder.effects import PaymentFinished, RequestForwarded
from offset_funder.friend_mutations import PushBackPendingBackwardsOp
from offset_funder.mutations import FriendMutation
from offset_node.counts import PAYMENTS_TIMED_MAX, NodeCounts, PaymentClock
from offset_proto.messages.friend import CancelSendFundsOp, CollectSendFundsOp
from offset_proto.messages.payment import Receipt
from offset_proto.types import Currency, HashResult, InvoiceId, PaymentId, PlainLock, PublicKey, Signature, Uid

FRIEND, FST, LOCK = PublicKey(b"\x0f" * 32), Currency("FST"), PlainLock(bytes(32))
RECEIPT = Receipt(HashResult(bytes(32)), InvoiceId(bytes(32)), FST, LOCK, LOCK, True, 1, 1, Signature(bytes(64)))


def _id(number: int) -> PaymentId:
    return PaymentId(number.to_bytes(16, "big"))


def test_a_payment_lasts_from_the_request_to_the_receipt() -> None:
    """One that is asked for again began with the first request; one that is cancelled is left out."""
    now = 100.0
    clock = PaymentClock(lambda: now)
    clock.begin(_id(1))
    clock.begin(_id(2))
    now += 2.0
    clock.begin(_id(1))
    clock.end(PaymentFinished(_id(2), None))
    now += 1.0
    clock.end(PaymentFinished(_id(1), RECEIPT))
    clock.end(PaymentFinished(_id(1), RECEIPT))
    clock.end(PaymentFinished(_id(3), RECEIPT))
    assert (clock.paid.count, clock.paid.total) == (1, 3.0)


def test_payments_that_never_end_take_no_more_than_their_room() -> None:
    """Whoever asks for them keeps no other payment from being timed: those that began first are forgotten."""
    clock = PaymentClock(lambda: 0.0)
    for number in range(2 * PAYMENTS_TIMED_MAX):
        clock.begin(_id(number))
    for number in range(PAYMENTS_TIMED_MAX):
        clock.end(PaymentFinished(_id(number), RECEIPT))
    assert clock.paid.count == 0
    for number in range(PAYMENTS_TIMED_MAX, 2 * PAYMENTS_TIMED_MAX):
        clock.end(PaymentFinished(_id(number), RECEIPT))
    assert clock.paid.count == PAYMENTS_TIMED_MAX


def test_a_batch_that_is_stored_counts() -> None:
    """Cancels that go back to a friend, payments by their end, what was forwarded; no batch that stores nothing."""
    counts = NodeCounts()
    request_id = Uid(bytes(16))
    back = [CancelSendFundsOp(request_id), CollectSendFundsOp(request_id, LOCK, LOCK), CancelSendFundsOp(request_id)]
    mutations = [FriendMutation(FRIEND, PushBackPendingBackwardsOp(FST, op)) for op in back]
    forwarded = RequestForwarded(FRIEND, FRIEND, FST, request_id, 1, 0)
    counts.take(mutations, [PaymentFinished(_id(1), RECEIPT), PaymentFinished(_id(2), None), forwarded])
    counts.take([], [])
    assert (counts.batches, counts.requests_cancelled, counts.payments_paid) == (1, 2, 1)
    assert counts.occurrences == {"InvoicePaid": 0, "PaymentFinished": 2, "RequestForwarded": 1}
