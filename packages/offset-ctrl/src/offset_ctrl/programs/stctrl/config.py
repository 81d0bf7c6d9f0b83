"""stctrl config: relays, index servers, friends and their currencies. Spec 09 §7."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

import click

from offset_crypto.aio import Proxy, Ticker
from offset_ctrl.connection.client import NodeConnection
from offset_ctrl.programs.stctrl.session import CommandError, find_friend, given, load, parse_currency, request
from offset_ctrl.programs.stctrl.trying import try_server
from offset_ctrl.programs.stctrl.waiting import command_line
from offset_ctrl.programs.table import printable
from offset_ctrl.rules import changes
from offset_ctrl.rules.diagnosis import Manners, mistaken
from offset_ctrl.rules.refusals import known_currencies, known_names
from offset_proto.errors import InvalidInput
from offset_proto.files import FRIEND_TICKET, TICKET, FriendTicket
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress, Rate, RelayAddress
from offset_proto.messages.report import ChannelInconsistentReport
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


P = ParamSpec("P")


async def _change(
    node: NodeConnection, build: Callable[P, changes.Change], *arguments: P.args, **options: P.kwargs
) -> None:
    try:
        change = changes.as_entered(build(*arguments, **options))
    except InvalidInput as error:
        raise CommandError(GROUP, f"InvalidInput({error})") from None
    await request(node, (GROUP, "AppConfigError"), change)


def _known(kind: str, servers: list[NamedRelayAddress] | list[NamedIndexServerAddress]) -> str:
    return printable(f"among the {kind}, {known_names(server.name for server in servers)}")


def _check_kind(
    ticket: RelayAddress, others: list[NamedRelayAddress] | list[NamedIndexServerAddress], kind: str
) -> None:
    """Raises CommandError where the address of a ticket is that of a server of the other *kind*: it is one only."""
    name = next(
        (each.name for each in others if (each.public_key, each.address) == (ticket.public_key, ticket.address)), None
    )
    if name is not None:
        words = f"its address is that of the {kind} {name}; a server of another kind has an address of its own"
        raise CommandError(GROUP, f"ServerOfAnotherKind({ticket.address})", printable(words))


async def _try(ticket: RelayAddress, wanted: Manners, kind: str) -> None:
    """Connect to a server that is to be added. Raises CommandError where no server of that kind answers."""
    context = click.get_current_context(silent=True)
    url = None if context is None else context.find_root().params.get("proxy")
    found = await try_server(ticket, Ticker(), None if url is None else Proxy(url))
    if (problem := found.problem or mistaken(found, wanted)) is not None:
        words = f"nothing was changed; ask who runs it for the ticket of {kind}, or leave --try out"
        raise CommandError(GROUP, "ServerTriedInVain", f"{ticket.address}: {problem}; {words}")


def _tell_replaced(
    ticket: RelayAddress, before: list[NamedRelayAddress] | list[NamedIndexServerAddress], kind: str
) -> None:
    """A node has one server for each key, and takes the new name and address of it."""
    for server in before:
        if server.public_key == ticket.public_key:
            words = f"this replaces the {kind} {server.name} at {server.address}, which has the same key"
            click.echo(printable(words), err=True)


async def add_relay(node: NodeConnection, relay: Path, name: str, *, tries: bool = False) -> None:
    """Use one more relay: friends reach the node through it. With *tries* it has to answer as one now."""
    if any(known.name == name for known in node.report.relays):
        raise CommandError(GROUP, f"RelayNameAlreadyExists({name})")
    ticket = load(GROUP, TICKET, relay, "RelayFileNotFound")
    _check_kind(ticket, node.report.index_servers, "index server")
    if tries:
        await _try(ticket, Manners.RELAY, "a relay")
    known = node.report.relays
    await _change(node, changes.add_relay, ticket, name)
    _tell_replaced(ticket, known, "relay")


async def remove_relay(node: NodeConnection, name: str) -> None:
    """Stop using a relay: friends do not reach the node through it any more."""
    key = next((relay.public_key for relay in node.report.relays if relay.name == name), None)
    if key is None:
        raise CommandError(GROUP, f"RelayNameNotFound({name})", _known("relays", node.report.relays))
    await _change(node, changes.remove_relay, key)


async def add_index(node: NodeConnection, index: Path, name: str, *, tries: bool = False) -> None:
    """
    Use one more index server, to ask for routes and to declare what the node can receive.

    With *tries* it has to answer as one now.
    """
    if any(known.name == name for known in node.report.index_servers):
        raise CommandError(GROUP, f"IndexNameAlreadyExists({name})")
    ticket = load(GROUP, TICKET, index, "IndexFileNotFound")
    _check_kind(ticket, node.report.relays, "relay")
    if tries:
        await _try(ticket, Manners.INDEX_SERVER, "an index server")
    known = node.report.index_servers
    await _change(node, changes.add_index_server, ticket, name)
    _tell_replaced(ticket, known, "index server")


async def remove_index(node: NodeConnection, name: str) -> None:
    """Stop using an index server: no routes are asked for there, and nothing is declared to it."""
    key = next((server.public_key for server in node.report.index_servers if server.name == name), None)
    if key is None:
        words = _known("index servers", node.report.index_servers)
        raise CommandError(GROUP, f"IndexNameNotFound({name})", words)  # D86
    await _change(node, changes.remove_index_server, key)


async def add_friend(
    node: NodeConnection, friend: Path | None, name: str, *, ticket: FriendTicket | None = None
) -> None:
    """Add a friend by the ticket that it exported, from a file or as it was given by its text."""
    if any(known.name == name for known in node.report.friends.values()):
        raise CommandError(GROUP, f"FriendNameAlreadyExists({name})")
    ticket = given(GROUP, FRIEND_TICKET, friend, ticket, "FriendFileNotFound")
    await _change(node, changes.add_friend, ticket, name)


async def set_friend_relays(
    node: NodeConnection, friend: Path | None, name: str, *, ticket: FriendTicket | None = None
) -> None:
    """Say where a friend is reached now."""
    key, _ = find_friend(GROUP, node.report, name)
    ticket = given(GROUP, FRIEND_TICKET, friend, ticket, "FriendFileNotFound")
    if ticket.public_key != key:
        raise CommandError(GROUP, f"FriendPublicKeyMismatch({friend or 'the text'} is not a ticket of {name})")
    await _change(node, changes.set_friend_relays, key, ticket.relays)


async def remove_friend(node: NodeConnection, name: str) -> None:
    """Remove a friend: the balance and all that is open with it are forgotten."""
    key, _ = find_friend(GROUP, node.report, name)
    await _change(node, changes.remove_friend, key)


async def enable_friend(node: NodeConnection, name: str) -> None:
    """Connect to a friend, and keep connected until the friend is disabled."""
    key, _ = find_friend(GROUP, node.report, name)
    await _change(node, changes.enable_friend, key)


async def disable_friend(node: NodeConnection, name: str) -> None:
    """Close the connection to a friend, and open none until the friend is enabled again."""
    key, _ = find_friend(GROUP, node.report, name)
    await _change(node, changes.disable_friend, key)


async def open_currency(node: NodeConnection, name: str, currency: str) -> None:
    """Forward requests of and to a friend."""
    with _telling_of_new(node, name, currency) as place:
        await _change(node, changes.open_currency, *place)


async def close_currency(node: NodeConnection, name: str, currency: str) -> None:
    """Forward no new requests of or to a friend; what is under way is finished."""
    await _change(node, changes.close_currency, *_known_currency(node, name, currency))


async def set_currency_max_debt(node: NodeConnection, name: str, currency: str, mdebt: int) -> None:
    """Set how much a friend may owe."""
    with _telling_of_new(node, name, currency) as place:
        await _change(node, changes.set_max_debt, *place, mdebt)


async def set_currency_rate(node: NodeConnection, name: str, currency: str, mul: int, add: int) -> None:
    """Set what a friend is charged for forwarding."""
    with _telling_of_new(node, name, currency) as place:
        await _change(node, changes.set_rate, *place, Rate(mul, add))


async def remove_currency(node: NodeConnection, name: str, currency: str) -> None:
    """Withdraw a currency that the friend has not agreed to."""
    await _change(node, changes.remove_currency, *_known_currency(node, name, currency))


@contextlib.contextmanager
def _telling_of_new(node: NodeConnection, name: str, currency: str) -> Iterator[tuple[PublicKey, Currency]]:
    """
    A friend and a currency of which something is set in the block, and which the node sets up where it is new.

    That is told on stderr afterwards: it is proposed to the friend, and a name that was misspelt is seen at once.
    """
    key, friend = find_friend(GROUP, node.report, name)
    parsed = parse_currency(GROUP, currency)
    yield key, parsed
    if all(config.currency != parsed for config in friend.currency_configs):
        words = f"{currency} is new with {name}, and is proposed to it; before, {known_currencies(friend)}"
        undo = command_line("config", "remove-currency", "-n", name, "-c", currency)
        click.echo(printable(words), err=True)
        click.echo(printable(f"take it back: {undo}"), err=True)


def _known_currency(node: NodeConnection, name: str, currency: str) -> tuple[PublicKey, Currency]:
    """A friend and a currency that is set up with it. Raises CommandError where one of them is not there."""
    key, friend = find_friend(GROUP, node.report, name)
    parsed = parse_currency(GROUP, currency)
    if all(config.currency != parsed for config in friend.currency_configs):
        words = f"among the currencies that are set up with {name}, {known_currencies(friend)}"
        raise CommandError(GROUP, f"CurrencyNotFound({currency})", printable(words))
    return key, parsed


async def reset_friend(node: NodeConnection, name: str) -> None:
    """Accept a friend's terms for an inconsistent channel."""
    key, friend = find_friend(GROUP, node.report, name)
    if not isinstance(friend.channel_status, ChannelInconsistentReport):
        words = f"you and {name} agree about the balances, so there is nothing to reset"
        raise CommandError(GROUP, f"ChannelNotInconsistent({name})", printable(words))
    remote = friend.channel_status.opt_remote_reset_terms
    if remote is None:
        words = f"the terms of {name} have not come yet; they come when {name} is online"
        raise CommandError(GROUP, f"UnknownRemoteResetTerms({name})", printable(words))
    await _change(node, changes.reset_channel, key, remote.reset_token)
