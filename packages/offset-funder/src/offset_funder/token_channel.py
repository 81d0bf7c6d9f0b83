"""
The chain of move tokens between two friends. Spec 04 §6, §7.

Whoever received the last token may send the next; each token carries the hash of the state after it, so
the two sides can not drift apart unnoticed. A side that sent is *Outgoing* and repeats its token,
byte for byte, until the answer comes; a side that received is *Incoming*.

=========  ==========================================  ====================================================
direction  token received                              result of `receive`
=========  ==========================================  ====================================================
Incoming   the stored last one once more               `Duplicate`
Incoming   any other                                   ChainInconsistency
Outgoing   built on our last token                     `Received`, or the error of the failing step
Outgoing   the one that ours was built on              `RetransmitOutgoing`
Outgoing   any other                                   ChainInconsistency
=========  ==========================================  ====================================================

Everything here works on frozen values: an error leaves the channel as it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from offset_crypto.identity import InvalidSignature, verify
from offset_crypto.signed import info_hash, move_token_buffer, prefix_hash
from offset_funder.ledger import InvalidOperation, LedgerOutput, receive_operation, send_operation
from offset_funder.mutations import (
    AddLedger,
    ChangeLedger,
    ChannelMutation,
    SetDirection,
    SetLocalActiveCurrencies,
    SetRemoteActiveCurrencies,
    apply_channel,
)
from offset_funder.state import (
    Incoming,
    Outgoing,
    TokenChannel,
    hash_token,
)
from offset_proto.canonical import flip
from offset_proto.errors import InvalidInput, PeerError, RefusedError, invariant
from offset_proto.message import frozen, replace
from offset_proto.messages.friend import (
    CurrencyOperations,
    FriendTcOp,
    MoveToken,
)
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import (
    BalanceInfo,
    CountersInfo,
    CurrencyBalanceInfo,
    McInfo,
    TokenInfo,
)
from offset_proto.types import U128, U128_MAX, Currency, RandValue, Signature

__all__ = [
    "CanNotRemoveCurrencyInUse",
    "CurrencyNotActive",
    "Duplicate",
    "InvalidMoveToken",
    "Received",
    "RetransmitOutgoing",
    "Sign",
    "TokenBuilder",
    "receive",
]

Sign = Callable[[bytes], Signature]


class InvalidMoveToken(PeerError):
    """
    The friend broke the chain: the channel becomes inconsistent.

    Attributes:
        reason: The specification's name for it (spec 04 §6.4).
        failed_operation: For InvalidTransaction: index within the currency block, and the error's name.
    """

    def __init__(self, reason: str, failed_operation: tuple[int, str] | None = None) -> None:
        super().__init__(reason if failed_operation is None else f"{reason}{failed_operation}")
        self.reason = reason
        self.failed_operation = failed_operation


class CanNotRemoveCurrencyInUse(RefusedError):
    """The list of currencies to be announced lacks one that has a ledger."""


class CurrencyNotActive(InvalidOperation):
    """The two sides have no ledger in this currency yet."""


@frozen
class Duplicate:
    """The last token once more: nothing to do."""


@frozen
class RetransmitOutgoing:
    """The friend missed our last token: send it again."""


@frozen
class Received:
    """A valid token: what it changes, and per currency block what came in it, in order."""

    mutations: tuple[ChannelMutation, ...]
    outputs: tuple[tuple[Currency, tuple[LedgerOutput, ...]], ...]
    opt_local_relays: tuple[RelayAddress, ...] | None
    activated: tuple[Currency, ...]


def receive(
    channel: TokenChannel, token: MoveToken, max_debts: Mapping[Currency, U128]
) -> Received | Duplicate | RetransmitOutgoing:
    """
    Judge the friend's token, or leave the channel as it was.

    Args:
        channel: Our side, Incoming or Outgoing. Not modified.
        token: As decoded, signature unchecked. Any number of operations (only senders limit, spec 04 §1).
        max_debts: What the friend may owe us per currency, credits; absent means 0.

    Raises:
        InvalidMoveToken: The friend broke the protocol. The channel must become inconsistent.

    Spec: 04 §6.4 [WIRE]. Vectors: 04 §13 T1-T6.
    """
    match channel.direction:
        case Incoming(last):
            # info_hash is not compared, no signature verified [QUIRK, harmless]
            same = token.rand_nonce == last.rand_nonce and token.new_token == last.new_token
            if same and prefix_hash(token) == last.prefix_hash:
                return Duplicate()
        case Outgoing(sent):
            # The order of these tests matters (spec 04 §6.4).
            if token.old_token == sent.new_token:
                return _process(channel, token, max_debts)
            if token.new_token == sent.old_token:
                return RetransmitOutgoing()
    raise InvalidMoveToken("ChainInconsistency")


def _process(channel: TokenChannel, token: MoveToken, max_debts: Mapping[Currency, U128]) -> Received:
    invariant(isinstance(channel.direction, Outgoing), "a token is processed while Outgoing")
    try:
        verify(move_token_buffer(token), channel.remote_public_key, token.new_token)
    except InvalidSignature:
        raise InvalidMoveToken("InvalidSignature") from None
    draft = _Draft(channel)
    activated: tuple[Currency, ...] = ()
    if token.opt_active_currencies is not None:
        announced = frozenset(token.opt_active_currencies)
        if not announced.issuperset(channel.ledgers):
            raise InvalidMoveToken("CanNotRemoveCurrencyInUse")
        draft.mutate(SetRemoteActiveCurrencies(announced))
        activated = draft.add_missing_ledgers()
    outputs = tuple((block.currency, _receive_block(draft, block, max_debts)) for block in token.currencies_operations)
    info = _expected_info(channel, draft.channel)
    if info_hash(info) != token.info_hash:
        raise InvalidMoveToken("InvalidTokenInfo")
    draft.mutate(SetDirection(Incoming(hash_token(token, info))))
    return Received(tuple(draft.mutations), outputs, token.opt_local_relays, activated)


def _receive_block(
    draft: "_Draft", block: CurrencyOperations, max_debts: Mapping[Currency, U128]
) -> tuple[LedgerOutput, ...]:
    if block.currency not in draft.channel.ledgers:
        raise InvalidMoveToken("InvalidCurrency")
    outputs = []
    for index, op in enumerate(block.operations):
        ledger = draft.channel.ledgers[block.currency]
        try:
            change, output = receive_operation(ledger, op, max_debts.get(block.currency, 0))
        except InvalidOperation as error:
            raise InvalidMoveToken("InvalidTransaction", (index, type(error).__name__)) from None
        draft.mutate(ChangeLedger(block.currency, change))
        outputs.append(output)
    return tuple(outputs)


def _expected_info(before: TokenChannel, after: TokenChannel) -> TokenInfo:
    """What the friend must have hashed: our state after the token, from the friend's side."""
    assert isinstance(before.direction, Outgoing)
    counters = before.direction.token_info.counters
    if counters.move_token_counter == U128_MAX:
        raise InvalidMoveToken("MoveTokenCounterOverflow")
    counters = replace(counters, move_token_counter=counters.move_token_counter + 1)
    try:
        return flip(_token_info(after, counters))
    except InvalidInput:
        raise InvalidMoveToken("InvalidTokenInfo") from None


def _token_info(channel: TokenChannel, counters: CountersInfo) -> TokenInfo:
    balances = tuple(
        CurrencyBalanceInfo(
            currency, BalanceInfo(ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt)
        )
        for currency, ledger in sorted(channel.ledgers.items())
    )
    return TokenInfo(McInfo(channel.local_public_key, channel.remote_public_key, balances), counters)


class _Draft:
    """
    A channel in the making, and the mutations that lead to it.

    A mutation is applied here because the next operation is judged on the ledger that this one leaves, and because a
    token covers the state after all of them. The session applies the same mutations a second time once the token is
    good. It does not take over the draft: `Session.mutate` is the only way in which the funder's state changes, it
    carries the index of open requests along, and it lists what is stored, so that memory and storage can not differ.
    """

    def __init__(self, channel: TokenChannel) -> None:
        self.channel = channel
        self.mutations: list[ChannelMutation] = []

    def mutate(self, mutation: ChannelMutation) -> None:
        self.channel = apply_channel(self.channel, mutation)
        self.mutations.append(mutation)

    def add_missing_ledgers(self) -> tuple[Currency, ...]:
        both = self.channel.active_local & self.channel.active_remote
        missing = tuple(sorted(both.difference(self.channel.ledgers)))
        for currency in missing:
            self.mutate(AddLedger(currency))
        return missing


@dataclass
class TokenBuilder:
    """
    The next token of a channel whose token we hold, operation by operation. Spec 04 §6.3.

    Args:
        before: Our side, Incoming. Not modified.
        opt_active_currencies: Our complete list, or None for no change.

    Raises:
        CanNotRemoveCurrencyInUse: The list lacks a currency in use.
    """

    before: TokenChannel
    opt_active_currencies: tuple[Currency, ...] | None = None
    _blocks: dict[Currency, list[FriendTcOp]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        invariant(isinstance(self.before.direction, Incoming), "a token is built while Incoming")
        self._draft = _Draft(self.before)
        if self.opt_active_currencies is not None:
            wanted = frozenset(self.opt_active_currencies)
            if not wanted.issuperset(self.before.ledgers):
                raise CanNotRemoveCurrencyInUse
            self._draft.mutate(SetLocalActiveCurrencies(wanted))
            self._draft.add_missing_ledgers()

    @property
    def operations(self) -> int:
        """Number of operations taken so far."""
        return sum(len(block) for block in self._blocks.values())

    def begin(self, currency: Currency) -> None:
        """Open the block of a currency; one that stays empty is legal, if of no use."""
        self._blocks.setdefault(currency, [])

    def add(self, currency: Currency, op: FriendTcOp) -> None:
        """
        Take one more operation.

        Raises:
            InvalidOperation: The friend would refuse it; the token is as before (D42).
        """
        ledger = self._draft.channel.ledgers.get(currency)
        if ledger is None:
            raise CurrencyNotActive(f"no ledger in {currency!r}")
        self._draft.mutate(ChangeLedger(currency, send_operation(ledger, op)))
        self._blocks.setdefault(currency, []).append(op)

    def finish(
        self, opt_local_relays: tuple[RelayAddress, ...] | None, rand_nonce: RandValue, sign: Sign
    ) -> tuple[MoveToken, tuple[ChannelMutation, ...]]:
        """The signed token, and all that it changes on our side, the direction last."""
        assert isinstance(self.before.direction, Incoming)
        last = self.before.direction.move_token_in
        counters = last.token_info.counters
        counters = replace(counters, move_token_counter=(counters.move_token_counter + 1) & U128_MAX)
        info = _token_info(self._draft.channel, counters)
        token = MoveToken(
            old_token=last.new_token,
            currencies_operations=tuple(
                CurrencyOperations(currency, tuple(block)) for currency, block in self._blocks.items()
            ),
            opt_local_relays=opt_local_relays,
            opt_active_currencies=self.opt_active_currencies,
            info_hash=info_hash(info),
            rand_nonce=rand_nonce,
            new_token=Signature.zero(),
        )
        token = replace(token, new_token=sign(move_token_buffer(token)))
        self._draft.mutate(SetDirection(Outgoing(token, info, last)))
        return token, tuple(self._draft.mutations)
