"""The ledger of one currency. Numbers are those of spec 04 §4, §10, §14."""

import random

import pytest

from offset_crypto.hashing import hash_lock
from offset_crypto.identity import Identity
from offset_crypto.signed import response_buffer
from offset_funder.ledger import (
    CreditsCalcOverflow,
    DestPaymentExceedsTotal,
    InvalidDestPlainLock,
    InvalidOperation,
    InvalidResponseSignature,
    InvalidRoute,
    InvalidSrcPlainLock,
    NotExpectingCollect,
    NotExpectingResponse,
    RequestAlreadyExists,
    RequestDoesNotExist,
    RequestReceived,
    RequestRefused,
    change_ledger,
    receive_operation,
    send_operation,
)
from offset_funder.state import Ledger, fresh_ledger
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    FriendsRoute,
    RequestSendFundsOp,
    ResponseSendFundsOp,
)
from offset_proto.types import I128_MAX, U128_MAX, Currency, InvoiceId, PlainLock, PrivateKey, RandValue, Uid

SELLER = Identity(PrivateKey(b"\x03" * 32))
LOCAL, REMOTE = Identity(PrivateKey(b"\x01" * 32)).public_key, SELLER.public_key
FST = Currency("FST")
SOURCE, DESTINATION = PlainLock(b"\x0a" * 32), PlainLock(b"\x0b" * 32)


def _request(number: int = 1, payment: int = 10, fees: int = 5, **other) -> RequestSendFundsOp:
    values = {
        "request_id": Uid(bytes([number]) * 16),
        "src_hashed_lock": hash_lock(SOURCE),
        "route": FriendsRoute(()),
        "dest_payment": payment,
        "total_dest_payment": payment,
        "invoice_id": InvoiceId(b"\x11" * 32),
        "left_fees": fees,
    }
    return RequestSendFundsOp(**{**values, **other})


def _response(request: RequestSendFundsOp, signer: Identity = SELLER) -> ResponseSendFundsOp:
    nonce = RandValue(b"\x05" * 16)
    buffer = response_buffer(
        request_id=request.request_id,
        rand_nonce=nonce,
        src_hashed_lock=request.src_hashed_lock,
        dest_hashed_lock=hash_lock(DESTINATION),
        is_complete=True,
        dest_payment=request.dest_payment,
        total_dest_payment=request.total_dest_payment,
        invoice_id=request.invoice_id,
        currency=FST,
    )
    return ResponseSendFundsOp(request.request_id, hash_lock(DESTINATION), True, nonce, signer.sign(buffer))


def _collect(request: RequestSendFundsOp, source=SOURCE, destination=DESTINATION) -> CollectSendFundsOp:
    return CollectSendFundsOp(request.request_id, source, destination)


def _pair() -> tuple[Ledger, Ledger]:
    return fresh_ledger(LOCAL, REMOTE, FST), fresh_ledger(REMOTE, LOCAL, FST)


def _send(ledgers, op, limit=100):
    """The first sends, the second receives."""
    sender, receiver = ledgers
    sender = change_ledger(sender, send_operation(sender, op))
    change, output = receive_operation(receiver, op, limit)
    return (sender, change_ledger(receiver, change)), output


def _numbers(ledger: Ledger) -> tuple[int, int, int]:
    return ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt


def test_request_response_collect():
    """Spec 04 §14.1-1: [0,15,0] until the collect, then [-15,0,0]; the friend holds the mirror."""
    request = _request()
    ledgers, output = _send(_pair(), request)
    assert isinstance(output, RequestReceived)
    assert tuple(map(_numbers, ledgers)) == ((0, 15, 0), (0, 0, 15))
    buyer, seller = ledgers
    (seller, buyer), _ = _send((seller, buyer), _response(request))
    assert _numbers(buyer) == (0, 15, 0)
    (seller, buyer), _ = _send((seller, buyer), _collect(request))
    assert (_numbers(buyer), _numbers(seller)) == ((-15, 0, 0), (15, 0, 0))


@pytest.mark.parametrize("responded", [False, True])
def test_cancel_restores_everything(responded):
    """Spec 04 §11-11: in any stage."""
    request = _request()
    (buyer, seller), _ = _send(_pair(), request)
    if responded:
        (seller, buyer), _ = _send((seller, buyer), _response(request))
    (seller, buyer), _ = _send((seller, buyer), CancelSendFundsOp(request.request_id))
    assert _pair() == (buyer, seller)


@pytest.mark.parametrize(
    ("limit", "accepted"), [(14, False), (15, True), (0, False), (U128_MAX, True), (I128_MAX + 1, True)]
)
def test_trust_limit_includes_equality_and_has_no_upper_end(limit, accepted):
    """Spec 04 §4.3, D40: RequestCancel freezes all the same; a limit beyond 2**127 is a limit."""
    ledgers, output = _send(_pair(), _request(), limit)
    assert isinstance(output, RequestReceived if accepted else RequestRefused)
    assert _numbers(ledgers[1]) == (0, 0, 15)


@pytest.mark.parametrize(
    ("op", "error"),
    [
        (_request(route=FriendsRoute((LOCAL, LOCAL))), InvalidRoute),
        (_request(total_dest_payment=9), DestPaymentExceedsTotal),
        (_request(1), RequestAlreadyExists),
        (_request(2, U128_MAX, 1), CreditsCalcOverflow),
        (_request(2, I128_MAX - 14, 0), CreditsCalcOverflow),
        (CancelSendFundsOp(Uid(b"\x09" * 16)), RequestDoesNotExist),
        (_response(_request(9)), RequestDoesNotExist),
        (_response(_request(1), Identity(PrivateKey(b"\x07" * 32))), InvalidResponseSignature),
        (_collect(_request(1)), NotExpectingCollect),
    ],
)
def test_guards(op, error):
    """Spec 04 §4.3: the friend's operation is refused with the specification's name, and nothing changes."""
    ours, theirs = _pair()
    (ours, theirs), _ = _send((ours, theirs), _request(1))
    side = theirs if isinstance(op, RequestSendFundsOp) else ours
    with pytest.raises(error):
        receive_operation(side, op, 100)
    mirror = ours if isinstance(op, RequestSendFundsOp) else theirs
    with pytest.raises(error):
        send_operation(mirror, op)


def test_locks_and_stages():
    """A second response, swapped locks, a second collect."""
    request = _request()
    (buyer, seller), _ = _send(_pair(), request)
    (seller, buyer), _ = _send((seller, buyer), _response(request))
    with pytest.raises(NotExpectingResponse):
        receive_operation(buyer, _response(request), 0)
    with pytest.raises(InvalidSrcPlainLock):
        receive_operation(buyer, _collect(request, DESTINATION, SOURCE), 0)
    with pytest.raises(InvalidDestPlainLock):
        receive_operation(buyer, _collect(request, SOURCE, SOURCE), 0)
    (seller, buyer), _ = _send((seller, buyer), _collect(request))
    with pytest.raises(RequestDoesNotExist):
        receive_operation(buyer, _collect(request), 0)


def test_precedence_differs_between_in_and_out():
    """Spec 04 §14.2-2: a duplicate id that also overflows: In says the id, Out the overflow."""
    both = _request(1, U128_MAX, 1)
    (ours, theirs), _ = _send(_pair(), _request(1))
    with pytest.raises(RequestAlreadyExists):
        receive_operation(theirs, both, 0)
    with pytest.raises(CreditsCalcOverflow):
        send_operation(ours, both)


def test_random_operations_keep_both_sides_mirrored():
    """Spec 04 §11, 1-3 and 5: whatever the ledger accepts, debts are the sums and balances mirror."""
    source = random.Random(11)
    ledgers = list(_pair())
    requests = {}
    for step in range(3000):
        side = source.randrange(2)
        pair = (ledgers[side], ledgers[1 - side])
        if not requests or source.random() < 0.4:
            amount = source.choice([0, 1, 50, I128_MAX // 2, U128_MAX])
            op = _request(1, amount, source.choice([0, 3]), request_id=Uid(step.to_bytes(16, "big")))
        else:
            request_id, request = source.choice(list(requests.items()))
            op = source.choice([CancelSendFundsOp(request_id), _response(request), _collect(request)])
        try:
            (first, second), _ = _send(pair, op, U128_MAX)
        except InvalidOperation:
            continue
        ledgers[side], ledgers[1 - side] = first, second
        if isinstance(op, RequestSendFundsOp):
            requests[op.request_id] = op
        elif not isinstance(op, ResponseSendFundsOp):
            del requests[op.request_id]
        a, b = ledgers
        assert a.balance == -b.balance
        assert (a.pending_local, a.pending_remote) == (b.pending_remote, b.pending_local)
        for ledger in ledgers:
            assert ledger.local_pending_debt == sum(t.frozen_credits for t in ledger.pending_local.values())
            assert ledger.balance + ledger.remote_pending_debt <= I128_MAX
            assert ledger.balance - ledger.local_pending_debt >= -I128_MAX
