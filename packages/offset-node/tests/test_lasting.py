"""What is stored of a batch: nothing that it takes back or overwrites itself. `test_rows` has the general rule."""

import pytest

from offset_funder import mutations as m
from offset_funder.bookkeeping import Entry
from offset_funder.ledger import LedgerChange, Side
from offset_funder.state import CanceledPayment, FunderState, InProgress, Payment, fresh_channel
from offset_node.database import tables
from offset_node.lasting import lasting
from offset_node.state import AddEntry, NodeState, SetAsker, apply
from offset_proto.messages.friend import CancelSendFundsOp
from offset_proto.messages.history import EntryKind
from offset_proto.types import Currency, PaymentId, PlainLock, PublicKey, Uid

LOCAL, FRIEND, OTHER = PublicKey(b"\x05" * 32), PublicKey(b"\x04" * 32), PublicKey(b"\x06" * 32)
FST = Currency("FST")
PAYMENT = PaymentId(b"\x01" * 16)


def _uid(number: int) -> Uid:
    return Uid(bytes([number]) * 16)


def _push(number: int, friend: PublicKey = FRIEND) -> m.FriendMutation:
    return m.FriendMutation(friend, m.PushBackPendingBackwardsOp(FST, CancelSendFundsOp(_uid(number))))


def _pop(friend: PublicKey = FRIEND) -> m.FriendMutation:
    return m.FriendMutation(friend, m.PopFrontPendingBackwardsOp())


def _direction(friend: PublicKey = FRIEND) -> m.FriendMutation:
    return m.FriendMutation(friend, m.SetDirection(fresh_channel(LOCAL, friend).direction))


def _payment(stage: InProgress | CanceledPayment = InProgress(1)) -> m.UpdatePayment:  # noqa: B008 - frozen
    return m.UpdatePayment(PAYMENT, Payment(PlainLock(bytes(32)), stage))


def _state(*mutations: m.Mutation) -> FunderState:
    state = NodeState(FunderState(LOCAL))
    for mutation in (m.AddFriend(FRIEND, (), "one"), m.AddFriend(OTHER, (), "other"), *mutations):
        state = apply(state, mutation)
    return state.funder


CLOSED = m.FriendMutation(FRIEND, m.RemovePendingRequestsCurrency(FST))


@pytest.mark.parametrize(
    ("before", "batch", "kept"),
    [
        ([], [_push(1), _pop()], []),
        ([], [_push(1), _push(2), _pop()], [1]),  # what came first goes first
        ([], [_push(1), _pop(OTHER)], [0, 1]),  # another friend's queue
        ([_push(9)], [_push(1), _pop()], [0, 1]),  # the pop takes what was there before
        ([_push(9)], [_push(1), _pop(), _pop()], [1]),
        ([_push(9)], [_pop(), _push(1), _push(2), _pop()], [0, 2]),
        ([], [_push(1), _pop(), CLOSED, _push(2), _pop()], [2, 3, 4]),
        ([], [_push(1), CLOSED, _pop()], [0, 1, 2]),
        ([], [_direction(), _push(1), _direction()], [1, 2]),
        ([], [_direction(), _direction(OTHER)], [0, 1]),
        ([], [_payment(), _payment(CanceledPayment(_uid(1)))], [1]),
        ([], [_payment(), m.RemovePayment(PAYMENT)], []),
        ([_payment()], [_payment(), m.RemovePayment(PAYMENT)], [1]),
        ([_payment()], [m.RemovePayment(PAYMENT), _payment()], [1]),
    ],
)
def test_what_later_mutations_take_back_is_left_out(before, batch, kept):
    """By the numbers of those that are stored; the state comes out the same."""
    state = _state(*before)
    stored = lasting(state, batch)
    assert stored == [batch[number] for number in kept]
    whole = shortened = NodeState(state)
    for mutation in batch:
        whole = apply(whole, mutation)
    for mutation in stored:
        shortened = apply(shortened, mutation)
    assert shortened == whole


def _change(balance: int, friend: PublicKey = FRIEND) -> m.FriendMutation:
    return m.FriendMutation(friend, m.ChangeLedger(FST, LedgerChange(balance, 0, 0, Side.LOCAL, _uid(balance), None)))


def test_a_ledger_is_written_once_for_a_batch():
    """As the last operation leaves it; of each operation its transaction is written."""
    statements = tables.write_batch(LOCAL, [_change(1), _change(2, OTHER), _change(3)], ())
    balances = [values[0] for text, values in statements if text.startswith("UPDATE ledgers")]
    assert balances == ["2", "3"]
    assert sum("pending_transactions" in text for text, _ in statements) == 3


def test_names_are_not_written_again():
    """A name that is stored already stays for ever; another one is written."""
    entry, other = (Entry(friend, FST, EntryKind.LIMIT, 0, 0, 5) for friend in (FRIEND, OTHER))
    first = tables.write_batch(LOCAL, [AddEntry(1, 0, entry), SetAsker(PAYMENT, FRIEND)], set())
    done = {statement for statement in first if statement[0] in tables.ONCE}
    assert len(done) == 3  # of the friend, the currency and the app
    again = tables.write_batch(LOCAL, [AddEntry(2, 0, entry), SetAsker(PAYMENT, FRIEND)], done)
    assert len(again) == len(first) - 3
    news = tables.write_batch(LOCAL, [AddEntry(3, 0, other)], done)
    assert [values for text, values in news if text in tables.ONCE] == [(OTHER,)]
