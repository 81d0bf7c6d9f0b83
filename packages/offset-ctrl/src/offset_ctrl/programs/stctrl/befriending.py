"""
stctrl friend invite, friend add: from nothing to a friend, each person with one ticket of the other.

What is asked for and waited for is `offset_ctrl.rules.befriending`.
"""

import asyncio
from pathlib import Path
from typing import Final

import click

from offset_ctrl.connection.client import ConnectionClosed
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.session import CommandError, load, parse_currency, refused
from offset_ctrl.programs.stctrl.waiting import NOT_FINISHED, command_line, login_words, showing
from offset_ctrl.programs.table import printable
from offset_ctrl.rules.befriending import FriendWish, WishRefused, awaited, missing
from offset_proto.errors import InvalidInput
from offset_proto.files import FRIEND_TICKET, FriendTicket, IoError, OutputAlreadyExists
from offset_proto.messages.payment import Rate, RelayAddress
from offset_proto.types import U128

__all__ = ["add", "invite"]

GROUP: Final = "FriendError"


async def invite(session: NodeSession, output: Path) -> None:
    """Write the ticket by which somebody adds this node as a friend."""
    relays = tuple(RelayAddress(relay.public_key, relay.address) for relay in session.report.relays)
    if not relays:
        adds = command_line("config", "add-relay", "-r", "TICKET", "-n", "NAME")
        words = f"friends reach a node through its relays: add one first, by {adds}"
        raise CommandError(GROUP, "NoRelays", words)
    try:
        FRIEND_TICKET.save(output, FriendTicket(session.report.local_public_key, relays))
    except OutputAlreadyExists:
        raise CommandError(GROUP, f"OutputFileAlreadyExists({output})") from None
    except IoError as error:
        raise CommandError(GROUP, str(error)) from None


async def add(
    session: NodeSession,
    ticket: Path,
    name: str,
    *,
    currencies: tuple[str, ...],
    limit: U128 | None,
    rate: Rate | None,
    wait: bool,
    timeout: float,
) -> int | None:
    """
    Make somebody a friend, as far as this side can: added, enabled, currencies opened with a limit and a rate.

    Asked for again, it asks the node only for what is missing.

    Args:
        session: To the node.
        ticket: What the other one wrote by `invite`.
        name: Local name.
        currencies: To be opened.
        limit: Credits of each currency that the friend may owe.
        rate: What the friend is charged for forwarding.
        wait: Until the friend is online and has opened the currencies, too.
        timeout: Seconds of that.

    Returns:
        None, or `NOT_FINISHED` where the friend is not there after *timeout* seconds.

    Raises:
        CommandError: The file is no ticket, the name is taken, or the node refuses.
    """
    parsed = tuple(parse_currency(GROUP, currency, is_new=True) for currency in currencies)
    wish = FriendWish(load(GROUP, FRIEND_TICKET, ticket, "FriendFileNotFound"), name, parsed, limit, rate)
    try:
        for change in missing(session.report, wish):
            await session.request(change.request)
            if not change.holds(session.report):
                raise refused(GROUP, change, session.report)
    except WishRefused as error:
        raise CommandError(GROUP, printable(str(error))) from None
    except InvalidInput as error:
        raise CommandError(GROUP, f"InvalidInput({error})") from None
    except ConnectionClosed as error:
        raise CommandError(GROUP, f"AppConfigError({error})") from None
    if not wait:
        return None
    try:
        async with asyncio.timeout(timeout), showing(lambda: f"waits for {_words(session, wish)}"):
            while awaited(session.report, wish) is not None:
                await session.changed(session.version)
    except TimeoutError:
        click.echo(f"waits for {_words(session, wish)}", err=True)
        again = ["--name", name, *(word for currency in currencies for word in ("--open", currency)), "--wait"]
        click.echo(f"go on: {command_line('friend', 'add', ticket, *again)}", err=True)
        return NOT_FINISHED
    return None


def _words(session: NodeSession, wish: FriendWish) -> str:
    return printable(awaited(session.report, wish, login_words()) or "nothing")
