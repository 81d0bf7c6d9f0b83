"""
stctrl recover: become friends again with all that a contact list names, after a database was lost. Spec 09 §7.

The rules are those of `offset_ctrl.rules.recovery`. The command may be ended and run again at any time.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import click

from offset_crypto.identity import InvalidSignature
from offset_crypto.verify import verify_token
from offset_ctrl.connection.client import ConnectionClosed, NodeConnectionError
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.session import CommandError, load
from offset_ctrl.programs.stctrl.waiting import NOT_FINISHED
from offset_ctrl.programs.table import format_table
from offset_ctrl.rules import changes
from offset_ctrl.rules.changes import Change
from offset_ctrl.rules.recovery import FriendStanding, Standing, proven_balances, standings, steps
from offset_proto.contacts import CONTACTS, ContactList
from offset_proto.files import FRIEND_TOKEN
from offset_proto.messages.report import MoveTokenHashedReport
from offset_proto.types import I128, Currency, PublicKey

__all__ = ["recover"]

GROUP = "RecoverError"

Proven = dict[tuple[PublicKey, Currency], I128]


async def recover(
    session: NodeSession,
    contacts: Path,
    accept: tuple[str, ...],
    tokens: tuple[Path, ...],
    timeout: int,
    *,
    dry_run: bool,
) -> int | None:
    """Become friends again, wait for terms, accept those that are named, and print where each friend stands."""
    wanted = load(GROUP, CONTACTS, contacts, "ContactsFileNotFound")
    if wanted.public_key != session.report.local_public_key:
        raise CommandError(GROUP, "ContactsOfAnotherNode", "the list names another node as its own")
    unknown = {*accept} - {"all", "agreeing"} - {contact.name for contact in wanted.friends}
    if unknown:
        raise CommandError(GROUP, f"FriendNameNotFound({min(unknown)})", "--accept takes a name of the contact list")
    proven = proven_balances(wanted.public_key, (_load_token(path) for path in tokens))
    if not dry_run:
        try:
            async with asyncio.timeout(timeout):
                await _go_on(session, wanted, accept)
        except TimeoutError:
            pass
    found = standings(wanted, session.report)
    _print(found, proven)
    if dry_run:
        click.echo(f"Steps to ask for now: {sum(1 for _ in steps(wanted, session.report))}.")
    return None if all(friend.standing is Standing.WORKS for friend in found) else NOT_FINISHED


def _load_token(path: Path) -> MoveTokenHashedReport:
    token = load(GROUP, FRIEND_TOKEN, path, "TokenFileNotFound")
    try:
        verify_token(token)
    except InvalidSignature:
        raise CommandError(GROUP, f"InvalidToken({path})", "its signature is not that of the friend") from None
    return token


async def _go_on(session: NodeSession, wanted: ContactList, accept: tuple[str, ...]) -> None:
    """Until no friend is waited for, and nothing is left to be accepted or asked for."""
    while True:
        seen = session.version
        for change in list(steps(wanted, session.report)):
            await _request(session, change)
        found = standings(wanted, session.report)
        for friend in found:
            if friend.reset_token is not None and _is_accepted(friend, accept):
                await _request(session, changes.reset_channel(friend.contact.public_key, friend.reset_token))
        if session.version != seen:
            continue
        if all(friend.standing is not Standing.WAITING for friend in found):
            return
        await session.changed(seen)


def _is_accepted(friend: FriendStanding, accept: tuple[str, ...]) -> bool:
    return "all" in accept or friend.contact.name in accept or ("agreeing" in accept and friend.agrees)


async def _request(session: NodeSession, change: Change) -> None:
    """Ask for a change. What it did is seen at the next look: a friend's new terms may come in between."""
    try:
        await session.request(change.request)
    except (ConnectionClosed, NodeConnectionError) as error:
        raise CommandError(GROUP, f"AppConfigError({error})") from None


def _print(found: Iterable[FriendStanding], proven: Proven) -> None:
    rows = [row for friend in found for row in _rows(friend, proven)]
    if rows:
        click.echo(format_table(["friend", "", "currency", "the friend says", "the list says", "token", ""], rows))
    else:
        click.echo("No friends in the contact list.")


def _rows(friend: FriendStanding, proven: Proven) -> list[list[str]]:
    key, name, standing = friend.contact.public_key, friend.contact.name, friend.standing.value
    rows = []
    for currency in sorted({*friend.says, *friend.known}):
        says, known = friend.says.get(currency), friend.known.get(currency)
        token = proven.get((key, currency))
        differs = says is not None and (says != (known or 0) or token not in (None, says))
        cells = ["" if value is None else str(value) for value in (says, known, token)]
        rows.append([name, standing, str(currency), *cells, "differs" if differs else ""])
    return rows or [[name, standing, "", "", "", "", ""]]
