"""stctrl config: relays, index servers, friends and their currencies. Spec 09 §7."""

from collections.abc import Callable
from pathlib import Path

from offset_ctrl.client import NodeConnection
from offset_ctrl.stctrl.session import CommandError, find_friend, load, parse_currency, request
from offset_proto.files import FRIEND_TICKET, TICKET
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
    SetFriendRelays,
)
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CurrencyConfigReport,
    FriendStatusReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PublicKey

__all__ = [
    "add_friend",
    "add_index",
    "add_relay",
    "close_currency",
    "disable_friend",
    "enable_friend",
    "open_currency",
    "remove_currency",
    "remove_friend",
    "remove_index",
    "remove_relay",
    "reset_friend",
    "set_currency_max_debt",
    "set_currency_rate",
    "set_friend_relays",
]

GROUP = "ConfigError"
NO_ACK = (GROUP, "AppConfigError")


async def add_relay(node: NodeConnection, relay: Path, name: str) -> None:
    """Use a relay."""
    if any(known.name == name for known in node.report.relays):
        raise CommandError(GROUP, f"RelayNameAlreadyExists({name})")
    ticket = load(GROUP, TICKET, relay, "RelayFileNotFound")
    named = NamedRelayAddress(ticket.public_key, ticket.address, name)
    await request(node, NO_ACK, AddRelay(named), lambda report: named in report.relays)


async def remove_relay(node: NodeConnection, name: str) -> None:
    """Stop to use a relay."""
    key = next((relay.public_key for relay in node.report.relays if relay.name == name), None)
    if key is None:
        raise CommandError(GROUP, f"RelayNameNotFound({name})")
    gone = RemoveRelay(key)
    await request(node, NO_ACK, gone, lambda report: all(r.public_key != key for r in report.relays))


async def add_index(node: NodeConnection, index: Path, name: str) -> None:
    """Use an index server."""
    if any(known.name == name for known in node.report.index_servers):
        raise CommandError(GROUP, f"IndexNameAlreadyExists({name})")
    ticket = load(GROUP, TICKET, index, "IndexFileNotFound")
    named = NamedIndexServerAddress(ticket.public_key, ticket.address, name)
    await request(node, NO_ACK, AddIndexServer(named), lambda report: named in report.index_servers)


async def remove_index(node: NodeConnection, name: str) -> None:
    """Stop to use an index server."""
    key = next((server.public_key for server in node.report.index_servers if server.name == name), None)
    if key is None:
        raise CommandError(GROUP, f"IndexNameNotFound({name})")  # D86
    gone = RemoveIndexServer(key)
    await request(node, NO_ACK, gone, lambda report: all(s.public_key != key for s in report.index_servers))


async def add_friend(node: NodeConnection, friend: Path, name: str) -> None:
    """Add a friend by the ticket that it exported."""
    if any(known.name == name for known in node.report.friends.values()):
        raise CommandError(GROUP, f"FriendNameAlreadyExists({name})")
    ticket = load(GROUP, FRIEND_TICKET, friend, "FriendFileNotFound")
    key = ticket.public_key

    def holds(report: ReportView) -> bool:
        return key in report.friends and report.friends[key].name == name

    await request(node, NO_ACK, AddFriend(key, ticket.relays, name), holds)


async def set_friend_relays(node: NodeConnection, friend: Path, name: str) -> None:
    """Say where a friend is reached now."""
    key, _ = find_friend(GROUP, node.report, name)
    ticket = load(GROUP, FRIEND_TICKET, friend, "FriendFileNotFound")
    if ticket.public_key != key:
        raise CommandError(GROUP, f"FriendPublicKeyMismatch({friend} is not a ticket of {name})")

    def holds(report: ReportView) -> bool:
        return key in report.friends and report.friends[key].remote_relays == ticket.relays

    await request(node, NO_ACK, SetFriendRelays(key, ticket.relays), holds)


async def remove_friend(node: NodeConnection, name: str) -> None:
    """Forget a friend, and all that is open with it."""
    key, _ = find_friend(GROUP, node.report, name)
    await request(node, NO_ACK, RemoveFriend(key), lambda report: key not in report.friends)


async def enable_friend(node: NodeConnection, name: str) -> None:
    """Connect to a friend."""
    key, _ = find_friend(GROUP, node.report, name)
    await request(node, NO_ACK, EnableFriend(key), lambda report: _is_enabled(report, key))


async def disable_friend(node: NodeConnection, name: str) -> None:
    """Stay away from a friend."""
    key, _ = find_friend(GROUP, node.report, name)
    await request(node, NO_ACK, DisableFriend(key), lambda report: not _is_enabled(report, key))


def _is_enabled(report: ReportView, key: PublicKey) -> bool:
    return key in report.friends and report.friends[key].status is FriendStatusReport.ENABLED


async def open_currency(node: NodeConnection, name: str, currency: str) -> None:
    """Forward requests of and to a friend."""
    key, parsed = _friend_currency(node, name, currency)
    await _configure(node, key, parsed, OpenFriendCurrency(key, parsed), lambda config: config.is_open)


async def close_currency(node: NodeConnection, name: str, currency: str) -> None:
    """Forward no more requests."""
    key, parsed = _friend_currency(node, name, currency)
    await _configure(node, key, parsed, CloseFriendCurrency(key, parsed), lambda config: not config.is_open)


async def set_currency_max_debt(node: NodeConnection, name: str, currency: str, mdebt: int) -> None:
    """Set how much a friend may owe."""
    key, parsed = _friend_currency(node, name, currency)
    message = SetFriendCurrencyMaxDebt(key, parsed, mdebt)
    await _configure(node, key, parsed, message, lambda config: config.remote_max_debt == mdebt)


async def set_currency_rate(node: NodeConnection, name: str, currency: str, mul: int, add: int) -> None:
    """Set what a friend is charged for forwarding."""
    key, parsed = _friend_currency(node, name, currency)
    rate = Rate(mul, add)
    message = SetFriendCurrencyRate(key, parsed, rate)
    await _configure(node, key, parsed, message, lambda config: config.rate == rate)


async def remove_currency(node: NodeConnection, name: str, currency: str) -> None:
    """Withdraw a currency that the friend has not agreed to."""
    key, parsed = _friend_currency(node, name, currency)
    message = RemoveFriendCurrency(key, parsed)
    await request(node, NO_ACK, message, lambda report: _config(report, key, parsed) is None)


def _friend_currency(node: NodeConnection, name: str, currency: str) -> tuple[PublicKey, Currency]:
    key, _ = find_friend(GROUP, node.report, name)
    return key, parse_currency(GROUP, currency)


def _config(report: ReportView, key: PublicKey, currency: Currency) -> CurrencyConfigReport | None:
    friend = report.friends.get(key)
    configs = () if friend is None else friend.currency_configs
    return next((config for config in configs if config.currency == currency), None)


async def _configure(
    node: NodeConnection,
    key: PublicKey,
    currency: Currency,
    message: AppRequest,
    is_as_asked: Callable[[CurrencyConfigReport], bool],
) -> None:
    def holds(report: ReportView) -> bool:
        config = _config(report, key, currency)
        return config is not None and is_as_asked(config)

    await request(node, NO_ACK, message, holds)


async def reset_friend(node: NodeConnection, name: str) -> None:
    """Accept a friend's terms for an inconsistent channel."""
    key, friend = find_friend(GROUP, node.report, name)
    if not isinstance(friend.channel_status, ChannelInconsistentReport):
        raise CommandError(GROUP, f"ChannelNotInconsistent({name})")
    remote = friend.channel_status.opt_remote_reset_terms
    if remote is None:
        raise CommandError(GROUP, f"UnknownRemoteResetTerms({name})")

    def holds(report: ReportView) -> bool:
        return key in report.friends and isinstance(report.friends[key].channel_status, ChannelConsistentReport)

    await request(node, NO_ACK, ResetFriendChannel(key, remote.reset_token), holds)
