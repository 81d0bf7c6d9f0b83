"""
What changes the balance with a friend, as entries of a book. Pure.

The *balance* with a friend in a currency is what the friend owes us, in credits; below zero, what we owe. It is defined
in every state of a channel:

==============  ===========================================================================
channel         balance
==============  ===========================================================================
consistent      that of the ledger; 0 where there is no ledger of the currency
inconsistent    what our own reset terms ask for: both sides have signed nothing better
no friend       0
==============  ===========================================================================

The book is double entry: for each friend and currency the changes of all entries add up to the balance, always. That
none can be missed follows from where entries are made. The state changes by mutations alone, `Session.mutate` asks
`entries_of` about each of them, and these are the ones that can move a balance:

=====================================  ==================================================================
mutation                               entries
=====================================  ==================================================================
`ChangeLedger` with another balance    one. Only a collect does that, so a pending transaction is removed:
                                       of our own (we pay), or of the friend (we are paid). Where it came
                                       from or goes to tells whether we are buyer, seller or mediator
`SetInconsistent`, `SetConsistent`     one for each currency of the channel before or after
`RemoveFriend`                         one for each currency, by which the balance is forgiven
`UpdateCurrencyConfig`,                one for each setting that is another one; the balance stays
`RemoveCurrencyConfig`
=====================================  ==================================================================

A request that passes through us makes two entries, each when its own ledger changes. The collect reaches us from the
friend that we sent the request to: from then on we owe, and know our fee, since the ledger of the friend before still
holds what that one froze for it. We are owed when our own collect is in a token to that friend. In between, the fee
stands in the book and the credits are frozen. If they are lost, with a channel that breaks or a friend that is removed,
the entry of that loss says so.
"""

from collections.abc import Iterable, Iterator

from offset_funder.ledger import LedgerChange, Side
from offset_funder.mutations import (
    ChangeLedger,
    FriendMutation,
    Mutation,
    RemoveCurrencyConfig,
    RemoveFriend,
    SetConsistent,
    SetInconsistent,
    UpdateCurrencyConfig,
    apply,
)
from offset_funder.open_requests import LOCAL_USER, OpenRequests
from offset_funder.state import Channel, Consistent, CurrencyConfig, FunderState, PendingTransaction
from offset_proto.errors import InvalidInput, invariant
from offset_proto.message import frozen, replace
from offset_proto.messages.history import EntryKind
from offset_proto.text import format_b64
from offset_proto.types import I128, U128, Currency, InvoiceId, PaymentId, PublicKey, Uid

__all__ = ["Book", "Entry", "balances", "channel_balances", "entries_of"]


@frozen
class Entry:
    """
    One entry; `offset_proto.messages.history` says what each kind means, and which fields tell something then.

    Attributes:
        friend, currency: Whose balance it is about.
        kind: What happened.
        before, balance: Credits that the friend owed us before and after it.
        amount, fee: In credits.
        party: The seller of a payment, or the other friend of a request that was forwarded.
        invoice_id, payment_id, request_id: Of the payment, as far as they are known here.
    """

    friend: PublicKey
    currency: Currency
    kind: EntryKind
    before: I128
    balance: I128
    amount: U128 = 0
    fee: U128 = 0
    party: PublicKey | None = None
    invoice_id: InvoiceId | None = None
    payment_id: PaymentId | None = None
    request_id: Uid | None = None


def channel_balances(channel: Channel) -> dict[Currency, I128]:
    """The balance of each currency of a channel, in credits."""
    if isinstance(channel, Consistent):
        return {currency: ledger.balance for currency, ledger in channel.token_channel.ledgers.items()}
    return {entry.currency: entry.balance for entry in channel.local_reset_terms.balance_for_reset}


def balances(state: FunderState) -> dict[tuple[PublicKey, Currency], I128]:
    """The balance of each friend and currency, in credits; 0 for each other pair."""
    return {
        (key, currency): balance
        for key, friend in state.friends.items()
        for currency, balance in channel_balances(friend.channel).items()
    }


class Book:
    """
    What entries come to that are read one after the other.

    Args:
        end: Number of the entry before the first one of the book.

    Attributes:
        end: Number of the last one that was read.
        count: Of those that were read.
    """

    def __init__(self, end: int = 0) -> None:
        self.end = end
        self.count = 0
        self._balances: dict[tuple[PublicKey, Currency], I128] = {}

    def openings(self) -> list[Entry]:
        """One opening entry for each friend and currency: a book that begins with them goes on from this one."""
        opened = sorted(self._balances.items())
        return [Entry(friend, currency, EntryKind.OPENING, 0, balance) for (friend, currency), balance in opened]

    def add(self, number: int, friend: PublicKey, currency: Currency, before: I128, balance: I128) -> None:
        """
        Take the next entry.

        Raises:
            InvalidInput: It does not go on from those before it; says which entry, and why.
        """
        if number != self.end + 1:
            raise InvalidInput(f"entry {number}: comes after entry {self.end}")
        known = self._balances.get((friend, currency), 0)
        if before != known:
            raise InvalidInput(
                f"entry {number}: goes on from a balance of {before} {currency} with {format_b64(friend)},"
                f" which was {known}"
            )
        self.end = number
        self.count += 1
        self._balances[friend, currency] = balance

    def check(self, state: FunderState) -> None:
        """
        Compare the sums with the balances.

        Raises:
            InvalidInput: A balance is another one; says which.
        """
        known = balances(state)
        for friend, currency in sorted({*known, *self._balances}):
            balance, total = known.get((friend, currency), 0), self._balances.get((friend, currency), 0)
            if balance != total:
                raise InvalidInput(
                    f"after entry {self.end}: the entries come to {total} {currency} with {format_b64(friend)},"
                    f" and the balance is {balance}"
                )


def entries_of(before: FunderState, open_requests: OpenRequests, mutation: Mutation) -> Iterable[Entry]:
    """
    What a mutation means for the book.

    Args:
        before: The state that it is going to change.
        open_requests: The index of that state.
        mutation: Fits the state.
    """
    match mutation:
        case FriendMutation(friend, ChangeLedger(currency, change)):
            return _of_ledger(before, open_requests, friend, currency, change)
        case FriendMutation(friend, SetInconsistent()):
            is_new = isinstance(before.friends[friend].channel, Consistent)
            return _of_channel(before, friend, mutation, EntryKind.BROKEN) if is_new else ()
        case FriendMutation(friend, SetConsistent()):
            return _of_channel(before, friend, mutation, EntryKind.RESET)
        case RemoveFriend(friend):
            owed = channel_balances(before.friends[friend].channel)
            return [
                Entry(friend, currency, EntryKind.FORGIVEN, balance, 0) for currency, balance in sorted(owed.items())
            ]
        case FriendMutation(friend, UpdateCurrencyConfig(currency, config)):
            return _of_config(before, friend, currency, config)
        case FriendMutation(friend, RemoveCurrencyConfig(currency)):
            balance = _balance(before, friend, currency)
            return [Entry(friend, currency, EntryKind.WITHDRAWN, balance, balance)]
        case _:
            return ()


def _balance(state: FunderState, friend: PublicKey, currency: Currency) -> I128:
    return channel_balances(state.friends[friend].channel).get(currency, 0)


def _of_channel(before: FunderState, friend: PublicKey, mutation: FriendMutation, kind: EntryKind) -> Iterable[Entry]:
    """Also where a balance stays as it was, since the owner is to see that the channel broke."""
    old = channel_balances(before.friends[friend].channel)
    new = channel_balances(apply(before, mutation).friends[friend].channel)
    return [
        Entry(friend, currency, kind, old.get(currency, 0), new.get(currency, 0)) for currency in sorted({*old, *new})
    ]


def _of_config(before: FunderState, friend: PublicKey, currency: Currency, config: CurrencyConfig) -> Iterator[Entry]:
    """The first settings of a currency are compared with the default ones, which grant nothing."""
    old = before.friends[friend].currency_configs.get(currency, CurrencyConfig())
    if old == config:
        return
    balance = _balance(before, friend, currency)
    if config.remote_max_debt != old.remote_max_debt:
        yield Entry(friend, currency, EntryKind.LIMIT, balance, balance, config.remote_max_debt)
    if config.rate != old.rate:
        yield Entry(friend, currency, EntryKind.RATE, balance, balance, config.rate.mul, config.rate.add)
    if config.is_open != old.is_open:
        kind = EntryKind.OPENED if config.is_open else EntryKind.CLOSED
        yield Entry(friend, currency, kind, balance, balance)


def _of_ledger(
    before: FunderState, open_requests: OpenRequests, friend: PublicKey, currency: Currency, change: LedgerChange
) -> Iterable[Entry]:
    channel = before.friends[friend].channel
    assert isinstance(channel, Consistent)
    ledger = channel.token_channel.ledgers[currency]
    if change.balance == ledger.balance:
        return ()  # a request, a response, a cancel; or a collect of nothing at all, which changes nothing
    invariant(change.transaction is None, "only the end of a transaction moves a balance")
    if change.side is Side.LOCAL:
        transaction = ledger.pending_local[change.request_id]
        entry = Entry(friend, currency, EntryKind.PAID, ledger.balance, change.balance)
        return [_sent(before, open_requests, entry, transaction)]
    transaction = ledger.pending_remote[change.request_id]
    entry = Entry(friend, currency, EntryKind.RECEIVED, ledger.balance, change.balance)
    return [_got(entry, transaction)]


def _sent(state: FunderState, open_requests: OpenRequests, entry: Entry, transaction: PendingTransaction) -> Entry:
    """We owe the friend more: the end of a payment of ours, or of a request that came from another friend."""
    request_id, amount = transaction.request_id, transaction.dest_payment
    origin = open_requests.origin(entry.friend, entry.currency, request_id)
    if origin is LOCAL_USER:
        return replace(
            entry,
            amount=amount,
            fee=transaction.left_fees,
            party=transaction.route[-1] if transaction.route else entry.friend,
            invoice_id=transaction.invoice_id,
            payment_id=state.open_transactions[request_id].payment_id,
            request_id=request_id,
        )
    fee = 0
    if origin is not None:
        channel = state.friends[origin].channel
        assert isinstance(channel, Consistent)  # or the index would not name it as the origin
        frozen = channel.token_channel.ledgers[entry.currency].pending_remote[request_id].frozen_credits
        fee = frozen - transaction.frozen_credits
    return replace(entry, kind=EntryKind.FORWARDED, amount=amount, fee=fee, party=origin, request_id=request_id)


def _got(entry: Entry, transaction: PendingTransaction) -> Entry:
    """The friend owes us more: the end of a request that it sent for an invoice of ours, or for somebody further on."""
    entry = replace(entry, amount=transaction.dest_payment, request_id=transaction.request_id)
    if transaction.route:
        return replace(entry, kind=EntryKind.FORWARDED, party=transaction.route[0])
    return replace(entry, fee=transaction.left_fees, invoice_id=transaction.invoice_id)
