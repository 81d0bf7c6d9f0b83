"""
A token channel that broke, and how it starts anew. Spec 04 §7. Pure.

Two sides that do not agree on the last token are *inconsistent*: nothing moves on the channel any more. Each side then
offers *reset terms*: the balances that it would go on from, and a token of its own choice, higher in its counter than
anything that was signed before.

==============================  ==========================================================================
what happens                    function
==============================  ==========================================================================
the channel breaks              `build_terms`: our terms, from the last state that both have signed
the friend's terms arrive       `check_terms`: whether they can be accepted at all
a person accepts them           `accept_terms`: the first token of the new channel, which we send
the friend accepts ours         `is_reset_of` knows that token, `accept_reset` starts the channel from it
==============================  ==========================================================================

Only a person accepts terms: they may say other balances than we remember, and nothing that was pending comes back.
"""

from immutables import Map

from offset_crypto.identity import InvalidSignature, verify
from offset_crypto.signed import info_hash, move_token_buffer
from offset_funder.state import (
    Incoming,
    Outgoing,
    TokenChannel,
    fresh_ledger,
    hash_token,
)
from offset_funder.token_channel import Sign
from offset_proto.errors import RefusedError
from offset_proto.message import replace
from offset_proto.messages.friend import (
    CurrencyBalance,
    MoveToken,
    ResetTerms,
)
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import (
    BalanceInfo,
    CountersInfo,
    CurrencyBalanceInfo,
    McInfo,
    MoveTokenHashedReport,
    TokenInfo,
)
from offset_proto.types import I128_MIN, U64_MAX, Currency, PublicKey, RandValue, Signature

__all__ = [
    "ResetRefused",
    "accept_reset",
    "accept_terms",
    "build_terms",
    "check_terms",
    "is_reset_of",
]


class ResetRefused(RefusedError):
    """Terms that can not be accepted: the channel stays inconsistent (D36, D37)."""


def build_terms(channel: TokenChannel, reset_token: Signature) -> ResetTerms:
    """
    What we ask for when *channel* broke: every balance plus what the friend froze. Spec 04 §7.2.

    Args:
        channel: The last valid state.
        reset_token: 64 random bytes.
    """
    match channel.direction:
        case Incoming(token):
            counter = token.token_info.counters.inconsistency_counter
        case Outgoing(_, info, _):
            counter = info.counters.inconsistency_counter
    balances = tuple(
        CurrencyBalance(currency, ledger.balance + ledger.remote_pending_debt)
        for currency, ledger in sorted(channel.ledgers.items())
    )
    return ResetTerms(reset_token, (counter + 1) & U64_MAX, balances)


def check_terms(terms: ResetTerms) -> None:
    """
    Check that *terms* can be accepted.

    Raises:
        ResetRefused: A balance of -2**127 (D36), or a currency twice (D37).
    """
    if any(balance.balance == I128_MIN for balance in terms.balance_for_reset):
        raise ResetRefused("InvalidResetTerms(a balance of -2**127)")
    names = [balance.currency for balance in terms.balance_for_reset]
    if len(set(names)) != len(names):
        raise ResetRefused("InvalidResetTerms(a currency twice)")


def _reset_info(local: PublicKey, remote: PublicKey, terms: ResetTerms) -> TokenInfo:
    """State after a reset as seen by *local*, who accepts *remote*'s terms: their order kept, negated."""
    balances = tuple(
        CurrencyBalanceInfo(balance.currency, BalanceInfo(-balance.balance, 0, 0))
        for balance in terms.balance_for_reset
    )
    return TokenInfo(McInfo(local, remote, balances), CountersInfo(terms.inconsistency_counter, 0))


def accept_terms(
    local: PublicKey,
    remote: PublicKey,
    terms: ResetTerms,
    *,
    relays: tuple[RelayAddress, ...],
    previous: MoveTokenHashedReport | None,
    rand_nonce: RandValue,
    sign: Sign,
) -> TokenChannel:
    """
    The channel after we accept the friend's *terms*: Outgoing, with the reset token. Spec 04 §7.4 A [WIRE].

    Raises:
        ResetRefused: The terms can not be accepted.
    """
    check_terms(terms)
    info = _reset_info(local, remote, terms)
    token = MoveToken(
        old_token=terms.reset_token,
        currencies_operations=(),
        opt_local_relays=relays,
        opt_active_currencies=None,
        info_hash=info_hash(info),
        rand_nonce=rand_nonce,
        new_token=Signature.zero(),
    )
    token = replace(token, new_token=sign(move_token_buffer(token)))
    balances = [(balance.currency, -balance.balance) for balance in terms.balance_for_reset]
    return _reset_channel(local, remote, Outgoing(token, info, previous), balances)


def accept_reset(local: PublicKey, remote: PublicKey, terms: ResetTerms, token: MoveToken) -> TokenChannel | None:
    """
    The channel after the friend's *token* accepted our *terms*: Incoming; None where it does not.

    Spec 04 §7.4 B [WIRE]. Active currencies in the token are ignored [QUIRK].
    """
    if token.old_token != terms.reset_token or token.currencies_operations:
        return None
    info = _reset_info(remote, local, terms)
    if token.info_hash != info_hash(info):
        return None
    try:
        verify(move_token_buffer(token), remote, token.new_token)
    except InvalidSignature:
        return None
    balances = [(balance.currency, balance.balance) for balance in terms.balance_for_reset]
    return _reset_channel(local, remote, Incoming(hash_token(token, info)), balances)


def is_reset_of(channel: TokenChannel, terms: ResetTerms) -> bool:
    """Whether our outgoing token is the one that accepts exactly these *terms* (D38). Spec 04 §7.5 row 3."""
    match channel.direction:
        case Outgoing(token, info, _):
            if token.old_token != terms.reset_token:
                return False
            return info == _reset_info(channel.local_public_key, channel.remote_public_key, terms)
        case _:
            return False


def _reset_channel(
    local: PublicKey,
    remote: PublicKey,
    direction: Incoming | Outgoing,
    balances: list[tuple[Currency, int]],
) -> TokenChannel:
    ledgers = Map({name: fresh_ledger(local, remote, name, balance) for name, balance in balances})
    names = frozenset(ledgers)
    return TokenChannel(local, remote, direction, ledgers, names, names)
