"""
Mutations of one friend: its channel, what waits for it, and how it is configured. Spec 05 §3. Pure.

`mutations` puts them together with those of the whole funder.

======================  ==================================================================================
`ChannelMutation`       the token channel: ledgers, active currencies, the last token
`QueueMutation`         operations that wait to be sent
`FriendPart`            these, and the friend's name, relays, limits, rates; a channel that breaks or starts anew
======================  ==================================================================================
"""

from typing import assert_never

from offset_funder.ledger import LedgerChange, change_ledger
from offset_funder.state import (
    BackwardsOp,
    Consistent,
    CurrencyConfig,
    Direction,
    Friend,
    Inconsistent,
    SentLocalRelays,
    TokenChannel,
    fresh_ledger,
)
from offset_proto.errors import invariant
from offset_proto.message import frozen, replace
from offset_proto.messages.friend import RequestSendFundsOp
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import Currency, Uid

__all__ = [
    "AddLedger",
    "ChangeLedger",
    "ChannelMutation",
    "FriendPart",
    "PopFrontPendingBackwardsOp",
    "PopFrontPendingRequest",
    "PopFrontPendingUserRequest",
    "PushBackPendingBackwardsOp",
    "PushBackPendingRequest",
    "PushBackPendingUserRequest",
    "QueueMutation",
    "RemoveCurrencyConfig",
    "RemovePendingRequests",
    "RemovePendingRequestsCurrency",
    "RemovePendingUserRequest",
    "SetConsistent",
    "SetDirection",
    "SetHeard",
    "SetInconsistent",
    "SetLocalActiveCurrencies",
    "SetName",
    "SetRemoteActiveCurrencies",
    "SetRemoteRelays",
    "SetSentLocalRelays",
    "SetStatus",
    "UpdateCurrencyConfig",
    "apply_channel",
    "apply_friend",
]

# Mutations of a token channel.


@frozen
class ChangeLedger:
    """One operation on the ledger of a currency."""

    currency: Currency
    change: LedgerChange


@frozen
class AddLedger:
    """Both sides have announced the currency, so it gets a ledger, with nothing in it."""

    currency: Currency


@frozen
class SetLocalActiveCurrencies:
    """A token of ours announces these currencies to the friend: the whole list, with all that have a ledger."""

    currencies: frozenset[Currency]


@frozen
class SetRemoteActiveCurrencies:
    """A token of the friend announced these currencies to us: the whole list, with all that have a ledger."""

    currencies: frozenset[Currency]


@frozen
class SetDirection:
    """The token changed hands, by a token that we signed or a valid one of the friend; the last mutation of each."""

    direction: Direction


ChannelMutation = ChangeLedger | AddLedger | SetLocalActiveCurrencies | SetRemoteActiveCurrencies | SetDirection


# Mutations of a friend.


@frozen
class SetInconsistent:
    """The chain is broken: channel and queues are gone."""

    channel: Inconsistent


@frozen
class SetConsistent:
    """The chain starts anew, with empty queues."""

    token_channel: TokenChannel


@frozen
class UpdateCurrencyConfig:
    """Insert or replace the owner's settings for a currency; the first ones propose the currency to the friend."""

    currency: Currency
    config: CurrencyConfig


@frozen
class RemoveCurrencyConfig:
    """Withdraw a currency that is not active."""

    currency: Currency


@frozen
class PushBackPendingRequest:
    """Another friend has sent a request that goes on to this one; it waits behind those that wait already."""

    currency: Currency
    op: RequestSendFundsOp


@frozen
class PopFrontPendingRequest:
    """The first of the forwarded requests is in a token now, or was dropped."""


@frozen
class PushBackPendingBackwardsOp:
    """A response, cancel or collect to pass back."""

    currency: Currency
    op: BackwardsOp


@frozen
class PopFrontPendingBackwardsOp:
    """The first of the replies is in a token now, or was dropped."""


@frozen
class PushBackPendingUserRequest:
    """Our own user has sent a request along a route that begins with this friend; it waits behind the others."""

    currency: Currency
    op: RequestSendFundsOp


@frozen
class PopFrontPendingUserRequest:
    """The first of our own user's requests is in a token now, or was dropped."""


@frozen
class RemovePendingRequestsCurrency:
    """Forwarded requests of one currency were cancelled."""

    currency: Currency


@frozen
class RemovePendingRequests:
    """All queued requests, forwarded and our user's, were cancelled."""


@frozen
class RemovePendingUserRequest:
    """One of our own user's requests was cancelled before it was in a token."""

    currency: Currency
    request_id: Uid


@frozen
class SetStatus:
    """The owner enables the friend, which lets the node keep up a link to it, or disables it."""

    is_enabled: bool


@frozen
class SetRemoteRelays:
    """The relays where the friend is reached, as the owner or the friend itself said last."""

    relays: tuple[RelayAddress, ...]


@frozen
class SetName:
    """The owner calls the friend by another name, which the friend does not learn."""

    name: str


@frozen
class SetSentLocalRelays:
    """What the friend was told of our relays."""

    sent: SentLocalRelays


@frozen
class SetHeard:
    """The friend has said where the channel is; or that is not known any more, as in a restored database."""

    is_heard: bool


QueueMutation = (
    PushBackPendingRequest
    | PopFrontPendingRequest
    | PushBackPendingBackwardsOp
    | PopFrontPendingBackwardsOp
    | PushBackPendingUserRequest
    | PopFrontPendingUserRequest
    | RemovePendingRequestsCurrency
    | RemovePendingRequests
    | RemovePendingUserRequest
)
"""What waits to be sent to a friend; needs a consistent channel."""

FriendPart = (
    ChannelMutation
    | QueueMutation
    | SetInconsistent
    | SetConsistent
    | UpdateCurrencyConfig
    | RemoveCurrencyConfig
    | SetStatus
    | SetRemoteRelays
    | SetName
    | SetSentLocalRelays
    | SetHeard
)


def apply_friend(friend: Friend, part: FriendPart) -> Friend:
    """The friend after a mutation of it."""
    match part:
        case SetInconsistent(inconsistent):
            return replace(friend, channel=inconsistent)
        case SetConsistent(token_channel):
            return replace(friend, channel=Consistent(token_channel))
        case UpdateCurrencyConfig(currency, config):
            return replace(friend, currency_configs=friend.currency_configs.set(currency, config))
        case RemoveCurrencyConfig(currency):
            return replace(friend, currency_configs=friend.currency_configs.delete(currency))
        case SetStatus(is_enabled):
            return replace(friend, is_enabled=is_enabled)
        case SetRemoteRelays(relays):
            return replace(friend, remote_relays=relays)
        case SetName(name):
            return replace(friend, name=name)
        case SetSentLocalRelays(sent):
            return replace(friend, sent_local_relays=sent)
        case SetHeard(is_heard):
            return replace(friend, is_heard=is_heard)
        case _:
            invariant(isinstance(friend.channel, Consistent), "the channel of a friend is consistent")
            assert isinstance(friend.channel, Consistent)
            return friend.with_channel(_apply_consistent(friend.channel, part))


def _apply_consistent(channel: Consistent, part: ChannelMutation | QueueMutation) -> Consistent:
    match part:
        case PushBackPendingRequest(currency, op):
            return replace(channel, pending_requests=(*channel.pending_requests, (currency, op)))
        case PopFrontPendingRequest():
            return replace(channel, pending_requests=channel.pending_requests[1:])
        case PushBackPendingBackwardsOp(currency, op):
            return replace(channel, pending_backwards_ops=(*channel.pending_backwards_ops, (currency, op)))
        case PopFrontPendingBackwardsOp():
            return replace(channel, pending_backwards_ops=channel.pending_backwards_ops[1:])
        case PushBackPendingUserRequest(currency, op):
            return replace(channel, pending_user_requests=(*channel.pending_user_requests, (currency, op)))
        case PopFrontPendingUserRequest():
            return replace(channel, pending_user_requests=channel.pending_user_requests[1:])
        case RemovePendingRequestsCurrency(currency):
            kept = tuple(item for item in channel.pending_requests if item[0] != currency)
            return replace(channel, pending_requests=kept)
        case RemovePendingRequests():
            return replace(channel, pending_requests=(), pending_user_requests=())
        case RemovePendingUserRequest(currency, request_id):
            users = channel.pending_user_requests
            kept = tuple(item for item in users if (item[0], item[1].request_id) != (currency, request_id))
            return replace(channel, pending_user_requests=kept)
        case _:
            return channel.with_token_channel(apply_channel(channel.token_channel, part))


def apply_channel(channel: TokenChannel, mutation: ChannelMutation) -> TokenChannel:
    """The token channel after a mutation of it."""
    match mutation:
        case ChangeLedger(currency, change):
            return channel.with_ledger(change_ledger(channel.ledgers[currency], change))
        case AddLedger(currency):
            ledger = fresh_ledger(channel.local_public_key, channel.remote_public_key, currency)
            return replace(channel, ledgers=channel.ledgers.set(currency, ledger))
        case SetLocalActiveCurrencies(currencies):
            return replace(channel, active_local=currencies)
        case SetRemoteActiveCurrencies(currencies):
            return replace(channel, active_remote=currencies)
        case SetDirection(direction):
            return replace(channel, direction=direction)
        case _:
            assert_never(mutation)
