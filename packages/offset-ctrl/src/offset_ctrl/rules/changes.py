"""
Changes of a node's configuration: the request, and how the report shows that it took effect. Pure. Spec 09 §7.

A node acknowledges a request that it refused like one that it carried out (D82), so whoever asks has to look.

What a person enters goes through `as_entered` as well. What was there before does not: a list of contacts or a friend's
account may hold names, currencies and addresses that the original let through.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from offset_proto.entered import parse_address, parse_currency, parse_name
from offset_proto.files import FriendTicket
from offset_proto.messages.app import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    AppRequest,
    CloseFriendCurrency,
    DisableFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveIndexServer,
    RemoveRelay,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, RelayAddress
from offset_proto.messages.report import (
    ChannelConsistentReport,
    CurrencyConfigReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import U128, Currency, PublicKey, Signature

__all__ = [
    "Change",
    "add_friend",
    "add_index_server",
    "add_relay",
    "as_entered",
    "close_currency",
    "disable_friend",
    "enable_friend",
    "open_currency",
    "remove_currency",
    "remove_friend",
    "remove_index_server",
    "remove_relay",
    "reset_channel",
    "set_friend_name",
    "set_friend_relays",
    "set_max_debt",
    "set_rate",
    "set_up_currency",
]


@dataclass(frozen=True, slots=True)
class Change:
    """
    A change that a node may be asked for, and how a report shows that it was made.

    Attributes:
        request: What to send.
        holds: Whether a report shows it.
    """

    request: AppRequest
    holds: Callable[[ReportView], bool]


def add_relay(ticket: RelayAddress, name: str) -> Change:
    """Use one more relay, under a local name; friends reach the node through it."""
    named = NamedRelayAddress(ticket.public_key, ticket.address, name)
    return Change(AddRelay(named), lambda report: named in report.relays)


def remove_relay(key: PublicKey) -> Change:
    """Stop using a relay: friends do not reach the node through it any more."""
    return Change(RemoveRelay(key), lambda report: all(relay.public_key != key for relay in report.relays))


def add_index_server(ticket: RelayAddress, name: str) -> Change:
    """Use one more index server, under a local name; routes are asked for there."""
    named = NamedIndexServerAddress(ticket.public_key, ticket.address, name)
    return Change(AddIndexServer(named), lambda report: named in report.index_servers)


def remove_index_server(key: PublicKey) -> Change:
    """Stop using an index server: no routes are asked for there, and nothing is declared to it."""
    return Change(RemoveIndexServer(key), lambda report: all(s.public_key != key for s in report.index_servers))


def add_friend(ticket: FriendTicket, name: str) -> Change:
    """Add a friend by the ticket that it exported, under a local name."""
    request = AddFriend(ticket.public_key, ticket.relays, name)
    return _of_friend(ticket.public_key, request, lambda friend: friend.name == name)


def set_friend_relays(key: PublicKey, relays: tuple[RelayAddress, ...]) -> Change:
    """Say where a friend is reached now."""
    return _of_friend(key, SetFriendRelays(key, relays), lambda friend: friend.remote_relays == relays)


def set_friend_name(key: PublicKey, name: str) -> Change:
    """Give a friend another local name."""
    return _of_friend(key, SetFriendName(key, name), lambda friend: friend.name == name)


def remove_friend(key: PublicKey) -> Change:
    """Forget a friend, and all that is open with it."""
    return Change(RemoveFriend(key), lambda report: key not in report.friends)


def enable_friend(key: PublicKey) -> Change:
    """Connect to a friend, and keep connected until the friend is disabled."""
    return _of_friend(key, EnableFriend(key), lambda friend: friend.status is FriendStatusReport.ENABLED)


def disable_friend(key: PublicKey) -> Change:
    """Close the connection to a friend, and open none until the friend is enabled again."""
    return _of_friend(key, DisableFriend(key), lambda friend: friend.status is FriendStatusReport.DISABLED)


def open_currency(key: PublicKey, currency: Currency) -> Change:
    """Forward requests of and to a friend in a currency."""
    return _of_config(key, currency, OpenFriendCurrency(key, currency), lambda config: config.is_open)


def close_currency(key: PublicKey, currency: Currency) -> Change:
    """Forward no new requests of or to a friend in a currency; what is under way is finished."""
    return _of_config(key, currency, CloseFriendCurrency(key, currency), lambda config: not config.is_open)


def set_max_debt(key: PublicKey, currency: Currency, max_debt: U128) -> Change:
    """Set how many credits a friend may owe."""
    request = SetFriendCurrencyMaxDebt(key, currency, max_debt)
    return _of_config(key, currency, request, lambda config: config.remote_max_debt == max_debt)


def set_rate(key: PublicKey, currency: Currency, rate: Rate) -> Change:
    """Set what a friend is charged for forwarding."""
    request = SetFriendCurrencyRate(key, currency, rate)
    return _of_config(key, currency, request, lambda config: config.rate == rate)


def set_up_currency(
    key: PublicKey, currency: Currency, *, rate: Rate | None, max_debt: U128 | None, is_open: bool | None
) -> Iterator[Change]:
    """
    Give a currency with a friend these settings; None leaves one as it is.

    The rate comes first and the opening last, so that nothing is forwarded meanwhile for another rate or limit.
    """
    if rate is not None:
        yield set_rate(key, currency, rate)
    if max_debt is not None:
        yield set_max_debt(key, currency, max_debt)
    if is_open is not None:
        yield (open_currency if is_open else close_currency)(key, currency)


def remove_currency(key: PublicKey, currency: Currency) -> Change:
    """Withdraw a currency that the friend has not agreed to."""
    return Change(RemoveFriendCurrency(key, currency), lambda report: _config(report, key, currency) is None)


def reset_channel(key: PublicKey, reset_token: Signature) -> Change:
    """Accept a friend's terms for an inconsistent channel."""
    request = ResetFriendChannel(key, reset_token)
    return _of_friend(key, request, lambda friend: isinstance(friend.channel_status, ChannelConsistentReport))


def as_entered(change: Change) -> Change:
    """
    The same change, as a person has entered it.

    Raises:
        InvalidInput: Nobody could connect to the address of a relay or an index server, or see or type a name or a new
            currency. What takes something away may name anything. Spec 09 §1.5.
    """
    match change.request:
        case AddRelay(place) | AddIndexServer(place):
            parse_address(place.address)
            parse_name(place.name)
        case AddFriend(name=name) | SetFriendName(name=name):
            parse_name(name)
        case OpenFriendCurrency(currency=currency) | SetFriendCurrencyMaxDebt(currency=currency):
            parse_currency(currency)
        case SetFriendCurrencyRate(currency=currency):
            parse_currency(currency)
        case _:
            pass
    return change


def _of_friend(key: PublicKey, request: AppRequest, is_as_asked: Callable[[FriendReport], bool]) -> Change:
    return Change(request, lambda report: key in report.friends and is_as_asked(report.friends[key]))


def _of_config(
    key: PublicKey, currency: Currency, request: AppRequest, is_as_asked: Callable[[CurrencyConfigReport], bool]
) -> Change:
    def holds(report: ReportView) -> bool:
        config = _config(report, key, currency)
        return config is not None and is_as_asked(config)

    return Change(request, holds)


def _config(report: ReportView, key: PublicKey, currency: Currency) -> CurrencyConfigReport | None:
    friend = report.friends.get(key)
    configs = () if friend is None else friend.currency_configs
    return next((config for config in configs if config.currency == currency), None)
