"""
What the rows of a database come to is what `offset_node.state.apply` makes of the state as a value. Spec 07 §7.

Each kind of mutation has a function here that draws one that fits a state, or nothing where none fits.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offset_funder import mutations as m
from offset_funder.ledger import LedgerChange, Side
from offset_funder.state import (
    AfterSuccessAck,
    CanceledPayment,
    Consistent,
    CurrencyConfig,
    FunderState,
    Incoming,
    Inconsistent,
    InProgress,
    LastSent,
    NeverSent,
    NewTransactions,
    Outgoing,
    Payment,
    PendingTransaction,
    Responded,
    SuccessfulPayment,
    TokenChannel,
    Transition,
    fresh_channel,
    hash_token,
)
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.lasting import lasting
from offset_node.state import (
    AddIndexServer,
    NodeState,
    RemoveIndexServer,
    RemovePendingSince,
    SetPendingSince,
    StateMutation,
    apply,
)
from offset_proto.messages.friend import (
    CancelSendFundsOp,
    CollectSendFundsOp,
    CurrencyBalance,
    FriendsRoute,
    RequestSendFundsOp,
    ResetTerms,
    ResponseSendFundsOp,
)
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, Receipt, RelayAddress
from offset_proto.types import (
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    NetAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

LOCAL = PublicKey(b"\x05" * 32)  # lower than one friend and higher than the other: both kinds of a first token

KEYS = st.sampled_from([PublicKey(bytes([number]) * 32) for number in (4, 6)])
CURRENCIES = st.sampled_from([Currency("FST"), Currency("EUR")])
UIDS = st.sampled_from([Uid(bytes([number]) * 16) for number in range(3)])
PAYMENT_IDS = st.sampled_from([PaymentId(bytes([number]) * 16) for number in range(2)])
INVOICE_IDS = st.sampled_from([InvoiceId(bytes([number]) * 32) for number in range(2)])
BYTES = st.sampled_from([b"\x00", b"\x01", b"\xff"])
HASHED_LOCKS = BYTES.map(lambda byte: HashedLock(byte * 32))
PLAIN_LOCKS = BYTES.map(lambda byte: PlainLock(byte * 32))
HASHES = BYTES.map(lambda byte: HashResult(byte * 32))
SIGNATURES = BYTES.map(lambda byte: Signature(byte * 64))
NONCES = BYTES.map(lambda byte: RandValue(byte * 16))
TEXTS = st.text(max_size=5)
AMOUNTS = st.integers(0, 2**128 - 1)
COUNTS = st.integers(0, 2**64 - 1)
TIMES = st.integers(0, 2**40)
ADDRESSES = st.integers(1, 9).map(lambda number: NetAddress(f"server:{number}"))
NAMED_RELAYS = st.lists(st.builds(NamedRelayAddress, KEYS, ADDRESSES, TEXTS), max_size=2).map(tuple)
RELAYS = st.lists(st.builds(RelayAddress, KEYS, ADDRESSES), max_size=2).map(tuple)
ROUTES = st.lists(KEYS, max_size=2, unique=True).map(tuple)

REQUESTS = st.builds(
    RequestSendFundsOp, UIDS, HASHED_LOCKS, ROUTES.map(FriendsRoute), AMOUNTS, AMOUNTS, INVOICE_IDS, AMOUNTS
)
RESPONSES = st.builds(ResponseSendFundsOp, UIDS, HASHED_LOCKS, st.booleans(), NONCES, SIGNATURES)
BACKWARDS_OPS = st.one_of(
    RESPONSES, st.builds(CancelSendFundsOp, UIDS), st.builds(CollectSendFundsOp, UIDS, PLAIN_LOCKS, PLAIN_LOCKS)
)
PENDING = st.builds(
    PendingTransaction,
    UIDS,
    ROUTES,
    st.integers(0, 2**96),  # so that no sum of a ledger leaves its range
    AMOUNTS,
    INVOICE_IDS,
    st.integers(0, 2**96),
    HASHED_LOCKS,
    st.none() | st.builds(Responded, HASHED_LOCKS, st.booleans()),
)
RECEIPTS = st.builds(
    Receipt, HASHES, INVOICE_IDS, CURRENCIES, PLAIN_LOCKS, PLAIN_LOCKS, st.booleans(), AMOUNTS, AMOUNTS, SIGNATURES
)
PAYMENTS = st.builds(
    Payment,
    PLAIN_LOCKS,
    st.one_of(
        st.builds(NewTransactions, COUNTS, INVOICE_IDS, CURRENCIES, AMOUNTS, KEYS),
        st.builds(InProgress, COUNTS),
        st.builds(SuccessfulPayment, COUNTS, RECEIPTS, UIDS),
        st.builds(CanceledPayment, UIDS),
        st.builds(AfterSuccessAck, COUNTS),
    ),
)
BALANCES = st.lists(st.builds(CurrencyBalance, CURRENCIES, st.integers(-(2**127) + 1, 2**127 - 1)), max_size=2).map(
    tuple
)
TERMS = st.builds(ResetTerms, SIGNATURES, COUNTS, BALANCES)
CONFIGS = st.builds(CurrencyConfig, st.builds(Rate, *[st.integers(0, 2**32 - 1)] * 2), AMOUNTS, st.booleans())
SENT = st.one_of(
    st.just(NeverSent()), st.builds(LastSent, NAMED_RELAYS), st.builds(Transition, NAMED_RELAYS, NAMED_RELAYS)
)

PENDING_KEYS = st.tuples(KEYS, CURRENCIES, st.sampled_from(Side), UIDS)

Mutations = list[StateMutation]


# Mutations of a friend that is known.


def _direction(draw: st.DrawFn, friend: PublicKey, channel: Consistent) -> Mutations:
    fresh = fresh_channel(LOCAL, friend).direction
    other = fresh_channel(friend, LOCAL).direction
    out = fresh if isinstance(fresh, Outgoing) else other
    assert isinstance(out, Outgoing)
    token = replace(out.move_token_out, new_token=draw(SIGNATURES), opt_local_relays=draw(st.none() | RELAYS))
    if draw(st.booleans()):
        return [m.FriendMutation(friend, m.SetDirection(Incoming(hash_token(token, out.token_info))))]
    previous = draw(st.none() | st.just(hash_token(out.move_token_out, out.token_info)))
    return [m.FriendMutation(friend, m.SetDirection(Outgoing(token, out.token_info, previous)))]


def _change_ledger(draw: st.DrawFn, friend: PublicKey, channel: Consistent) -> Mutations:
    """A transaction that begins, gets its response, or ends; the sums are those of what is pending then."""
    ledgers = channel.token_channel.ledgers
    if not ledgers:
        return []
    currency = draw(st.sampled_from(sorted(ledgers)))
    ledger = ledgers[currency]
    side = draw(st.sampled_from(Side))
    transaction = draw(PENDING)
    known = ledger.pending_local if side is Side.LOCAL else ledger.pending_remote
    is_removed = transaction.request_id in known and draw(st.booleans())
    pending = dict(known)
    if is_removed:
        del pending[transaction.request_id]
    else:
        pending[transaction.request_id] = transaction
    debt = sum(one.frozen_credits for one in pending.values())
    change = LedgerChange(
        balance=draw(st.integers(-(2**120), 2**120)),
        local_pending_debt=debt if side is Side.LOCAL else ledger.local_pending_debt,
        remote_pending_debt=debt if side is Side.REMOTE else ledger.remote_pending_debt,
        side=side,
        request_id=transaction.request_id,
        transaction=None if is_removed else transaction,
    )
    return [m.FriendMutation(friend, m.ChangeLedger(currency, change))]


def _actives(channel: TokenChannel, currency: Currency) -> list[m.FriendPart]:
    """Both sides want a currency, and its ledger begins."""
    return [
        m.SetLocalActiveCurrencies(channel.active_local | {currency}),
        m.SetRemoteActiveCurrencies(channel.active_remote | {currency}),
    ]


def _add_ledger(draw: st.DrawFn, friend: PublicKey, channel: Consistent) -> Mutations:
    currency = draw(CURRENCIES)
    if currency in channel.token_channel.ledgers:
        return []
    parts = [*_actives(channel.token_channel, currency), m.AddLedger(currency)]
    return [m.FriendMutation(friend, part) for part in parts]


def _set_active(is_local: bool) -> Callable[[st.DrawFn, PublicKey, Consistent], Mutations]:
    """One side names what it wants: with a ledger for what both want, and nothing else, the state stays valid."""

    def draw_one(draw: st.DrawFn, friend: PublicKey, channel: Consistent) -> Mutations:
        token = channel.token_channel
        other = token.active_remote if is_local else token.active_local
        wanted = frozenset(set(token.ledgers) | (draw(st.frozensets(CURRENCIES)) - other))
        if is_local:
            return [m.FriendMutation(friend, m.SetLocalActiveCurrencies(wanted))]
        return [m.FriendMutation(friend, m.SetRemoteActiveCurrencies(wanted))]

    return draw_one


def _part(strategy: Callable[[], st.SearchStrategy[Any]]) -> Callable[[st.DrawFn, PublicKey, Consistent], Mutations]:
    return lambda draw, friend, channel: [m.FriendMutation(friend, draw(strategy()))]


OF_CONSISTENT: dict[type, Callable[[st.DrawFn, PublicKey, Consistent], Mutations]] = {
    m.SetDirection: _direction,
    m.ChangeLedger: _change_ledger,
    m.AddLedger: _add_ledger,
    m.SetLocalActiveCurrencies: _set_active(True),
    m.SetRemoteActiveCurrencies: _set_active(False),
    m.PushBackPendingRequest: _part(lambda: st.builds(m.PushBackPendingRequest, CURRENCIES, REQUESTS)),
    m.PushBackPendingUserRequest: _part(lambda: st.builds(m.PushBackPendingUserRequest, CURRENCIES, REQUESTS)),
    m.PushBackPendingBackwardsOp: _part(lambda: st.builds(m.PushBackPendingBackwardsOp, CURRENCIES, BACKWARDS_OPS)),
    m.PopFrontPendingRequest: _part(lambda: st.just(m.PopFrontPendingRequest())),
    m.PopFrontPendingUserRequest: _part(lambda: st.just(m.PopFrontPendingUserRequest())),
    m.PopFrontPendingBackwardsOp: _part(lambda: st.just(m.PopFrontPendingBackwardsOp())),
    m.RemovePendingRequestsCurrency: _part(lambda: st.builds(m.RemovePendingRequestsCurrency, CURRENCIES)),
    m.RemovePendingRequests: _part(lambda: st.just(m.RemovePendingRequests())),
    m.RemovePendingUserRequest: _part(lambda: st.builds(m.RemovePendingUserRequest, CURRENCIES, UIDS)),
}
"""What needs a consistent channel."""

TOKENS = KEYS.map(lambda key: fresh_channel(key, LOCAL).direction).map(
    lambda direction: direction.move_token_in if isinstance(direction, Incoming) else None
)

OF_FRIEND: dict[type, Callable[[PublicKey], st.SearchStrategy[m.FriendPart]]] = {
    m.SetInconsistent: lambda friend: st.builds(
        m.SetInconsistent, st.builds(Inconsistent, TOKENS, TERMS, st.none() | TERMS)
    ),
    m.SetConsistent: lambda friend: st.just(m.SetConsistent(fresh_channel(LOCAL, friend))),
    m.UpdateCurrencyConfig: lambda friend: st.builds(m.UpdateCurrencyConfig, CURRENCIES, CONFIGS),
    m.SetStatus: lambda friend: st.builds(m.SetStatus, st.booleans()),
    m.SetRemoteRelays: lambda friend: st.builds(m.SetRemoteRelays, RELAYS),
    m.SetName: lambda friend: st.builds(m.SetName, TEXTS),
    m.SetSentLocalRelays: lambda friend: st.builds(m.SetSentLocalRelays, SENT),
    m.SetHeard: lambda friend: st.builds(m.SetHeard, st.booleans()),
}
"""What fits any friend."""


# Mutations of the rest.


def _known(draw: st.DrawFn, known: Any) -> Any:
    return draw(st.sampled_from(sorted(known))) if known else None


def _add_friend(draw: st.DrawFn, state: NodeState) -> Mutations:
    key = draw(KEYS)
    return [] if key in state.funder.friends else [m.AddFriend(key, draw(RELAYS), draw(TEXTS), draw(st.booleans()))]


def _remove_friend(draw: st.DrawFn, state: NodeState) -> Mutations:
    friend = _known(draw, state.funder.friends)
    return [] if friend is None else [m.RemoveFriend(friend)]


def _remove_config(draw: st.DrawFn, state: NodeState) -> Mutations:
    friend = _known(draw, state.funder.friends)
    currency = None if friend is None else _known(draw, state.funder.friends[friend].currency_configs)
    return [] if currency is None else [m.FriendMutation(friend, m.RemoveCurrencyConfig(currency))]


def _add_invoice(draw: st.DrawFn, state: NodeState) -> Mutations:
    invoice_id = draw(INVOICE_IDS)
    if invoice_id in state.funder.open_invoices:
        return []
    end = draw(st.none() | TIMES)
    return [m.AddInvoice(invoice_id, draw(CURRENCIES), draw(AMOUNTS), draw(PLAIN_LOCKS), end)]


def _of_invoice(make: Callable[[st.DrawFn, InvoiceId], StateMutation]) -> Callable[[st.DrawFn, NodeState], Mutations]:
    def draw_one(draw: st.DrawFn, state: NodeState) -> Mutations:
        invoice_id = _known(draw, state.funder.open_invoices)
        return [] if invoice_id is None else [make(draw, invoice_id)]

    return draw_one


def _add_transaction(draw: st.DrawFn, state: NodeState) -> Mutations:
    request_id = draw(UIDS)
    return [] if request_id in state.funder.open_transactions else [m.AddTransaction(request_id, draw(PAYMENT_IDS))]


def _set_response(draw: st.DrawFn, state: NodeState) -> Mutations:
    request_id = _known(draw, state.funder.open_transactions)
    if request_id is None:
        return []
    return [m.SetTransactionResponse(replace(draw(RESPONSES), request_id=request_id))]


def _remove_transaction(draw: st.DrawFn, state: NodeState) -> Mutations:
    request_id = _known(draw, state.funder.open_transactions)
    return [] if request_id is None else [m.RemoveTransaction(request_id)]


def _remove_payment(draw: st.DrawFn, state: NodeState) -> Mutations:
    payment_id = _known(draw, state.funder.payments)
    return [] if payment_id is None else [m.RemovePayment(payment_id)]


def _remove_time(draw: st.DrawFn, state: NodeState) -> Mutations:
    keys = list(state.pending_since)
    return [RemovePendingSince(draw(st.sampled_from(keys)))] if keys else []


OF_NODE: dict[type, Callable[[st.DrawFn, NodeState], Mutations]] = {
    m.ForgetSome: lambda draw, state: [m.ForgetSome()],
    m.AddRelay: lambda draw, state: [m.AddRelay(draw(st.builds(NamedRelayAddress, KEYS, ADDRESSES, TEXTS)))],
    m.RemoveRelay: lambda draw, state: [m.RemoveRelay(draw(KEYS))],
    AddIndexServer: lambda draw, state: [
        AddIndexServer(draw(st.builds(NamedIndexServerAddress, KEYS, ADDRESSES, TEXTS)))
    ],
    RemoveIndexServer: lambda draw, state: [RemoveIndexServer(draw(KEYS))],
    m.AddFriend: _add_friend,
    m.RemoveFriend: _remove_friend,
    m.RemoveCurrencyConfig: _remove_config,
    m.AddInvoice: _add_invoice,
    m.AddIncomingTransaction: _of_invoice(lambda draw, invoice: m.AddIncomingTransaction(invoice, draw(UIDS))),
    m.RemoveIncomingTransaction: _of_invoice(lambda draw, invoice: m.RemoveIncomingTransaction(invoice, draw(UIDS))),
    m.SetInvoiceSrcHashedLock: _of_invoice(
        lambda draw, invoice: m.SetInvoiceSrcHashedLock(invoice, draw(HASHED_LOCKS))
    ),
    m.RemoveInvoice: _of_invoice(lambda draw, invoice: m.RemoveInvoice(invoice)),
    m.AddTransaction: _add_transaction,
    m.SetTransactionResponse: _set_response,
    m.RemoveTransaction: _remove_transaction,
    SetPendingSince: lambda draw, state: [SetPendingSince(draw(PENDING_KEYS), draw(TIMES))],
    RemovePendingSince: _remove_time,
    m.UpdatePayment: lambda draw, state: [m.UpdatePayment(draw(PAYMENT_IDS), draw(PAYMENTS))],
    m.RemovePayment: _remove_payment,
}

KINDS = sorted([*OF_CONSISTENT, *OF_FRIEND, *OF_NODE], key=lambda kind: kind.__name__)


DRAWN = [*KINDS, *[m.ChangeLedger] * 6]
"""Credits move by this one, and it has the most cases: it is drawn more often."""


def test_every_mutation_is_drawn() -> None:
    """A new mutation has a place in this test before it has one in a database."""
    kinds = set(get_args(StateMutation)) - {m.FriendMutation} | set(get_args(m.FriendPart))
    assert set(KINDS) == kinds


def _draw_kind(draw: st.DrawFn, state: NodeState, kind: type) -> Mutations:
    if kind in OF_NODE:
        return OF_NODE[kind](draw, state)
    friend = _known(draw, state.funder.friends)
    if friend is None:
        return []
    if kind in OF_FRIEND:
        return [m.FriendMutation(friend, draw(OF_FRIEND[kind](friend)))]
    channel = state.funder.friends[friend].channel
    return OF_CONSISTENT[kind](draw, friend, channel) if isinstance(channel, Consistent) else []


def _lived_in() -> NodeState:
    """A node that has two of everything: most mutations fit from the start, and there is more than what they change."""
    uids = [Uid(bytes([number]) * 16) for number in (1, 0)]  # not in their order
    invoice_ids = [InvoiceId(bytes([number]) * 32) for number in (1, 0)]
    mutations: Mutations = []
    for invoice_id in invoice_ids:
        mutations.append(m.AddInvoice(invoice_id, Currency("FST"), 5, PlainLock(bytes(32))))
        mutations += [m.AddIncomingTransaction(invoice_id, uid) for uid in uids]
    for uid in uids:
        mutations.append(m.AddTransaction(uid, PaymentId(uid)))
        mutations.append(m.UpdatePayment(PaymentId(uid), Payment(PlainLock(bytes(32)), InProgress(1))))
    for number in (4, 6):
        friend = PublicKey(bytes([number]) * 32)
        mutations.append(m.AddFriend(friend, (), "friend"))
        mutations += [m.FriendMutation(friend, part) for part in _lived_in_parts(uids, invoice_ids[0])]
    state = NodeState(FunderState(LOCAL))
    for mutation in mutations:
        state = apply(state, mutation)
    return state


def _lived_in_parts(uids: list[Uid], invoice_id: InvoiceId) -> list[m.FriendPart]:
    """Two ledgers with two transactions in each, and two operations in each queue."""
    both = frozenset({Currency("FST"), Currency("EUR")})
    lock = HashedLock(bytes(32))
    parts: list[m.FriendPart] = [m.SetLocalActiveCurrencies(both), m.SetRemoteActiveCurrencies(both)]
    for currency in sorted(both):
        parts += [m.UpdateCurrencyConfig(currency, CurrencyConfig()), m.AddLedger(currency)]
        for count, uid in enumerate(uids, 1):
            pending = PendingTransaction(uid, (), 2, 2, invoice_id, 1, lock)
            request = RequestSendFundsOp(uid, lock, FriendsRoute(()), 2, 2, invoice_id, 1)
            parts += [
                m.ChangeLedger(currency, LedgerChange(7, 3 * count, 0, Side.LOCAL, uid, pending)),
                m.PushBackPendingBackwardsOp(currency, CancelSendFundsOp(uid)),
                m.PushBackPendingRequest(currency, request),
                m.PushBackPendingUserRequest(currency, request),
            ]
    return parts


@st.composite
def _histories(draw: st.DrawFn) -> tuple[NodeState, list[tuple[list[StateMutation], NodeState]]]:
    """A state, and batches that fit it one after the other, each with the state that it comes to."""
    first = state = draw(st.sampled_from([NodeState(FunderState(LOCAL)), _lived_in(), _lived_in(), _lived_in()]))
    batches = []
    for kinds in draw(st.lists(st.lists(st.sampled_from(DRAWN), min_size=5, max_size=15), min_size=2, max_size=8)):
        batch: list[StateMutation] = []
        for kind in kinds:
            for mutation in _draw_kind(draw, state, kind):
                state = apply(state, mutation)
                batch.append(mutation)
        batches.append((batch, state))
    return first, batches


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=_histories())
def test_rows_are_the_state(tmp_path_factory: pytest.TempPathFactory, history: Any) -> None:
    """
    What is stored after each batch is what it makes of the state as a value; stored as a whole it is the same.

    Every other batch is stored as a node does it, without what the batch itself takes back.
    """
    first, batches = history
    before = [first, *(state for _, state in batches)]
    directory = tmp_path_factory.mktemp("rows")
    create_database(directory / "node.db", first)

    async def run() -> None:
        database = await Database.open(directory / "node.db")
        try:
            assert await database.load() == first
            for number, (batch, state) in enumerate(batches):
                await database.apply(lasting(before[number].funder, batch) if number % 2 else batch)
                assert await database.load() == state
        finally:
            await database.close()  # or aiosqlite's thread would keep the process, should anything above fail

    asyncio.run(run())
    create_database(directory / "whole.db", batches[-1][1])
    assert load_database(directory / "whole.db") == batches[-1][1]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=_histories())
def test_what_lasts_of_a_batch_leads_to_the_same_state(history: Any) -> None:
    """Whatever the batch holds, and whatever was there before."""
    state, batches = history
    for batch, after in batches:
        for mutation in lasting(state.funder, batch):
            state = apply(state, mutation)
        assert state == after
