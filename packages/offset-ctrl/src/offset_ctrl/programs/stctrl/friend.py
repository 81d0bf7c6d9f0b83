"""
stctrl friend move: the account of a friend who has lost its key moves to its new key.

The command does what can be done now, and says in one screen what the other person has to do, with the commands for it.
The same command goes on after that. What it does is `offset_ctrl.sdk.moving`; what it says is here.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.session import CommandError, load
from offset_ctrl.programs.stctrl.waiting import NOT_FINISHED, command_line
from offset_ctrl.programs.table import format_table, printable
from offset_ctrl.rules.move_steps import Asked, Unfinished, Wanted
from offset_ctrl.rules.moving import Move, MovedCurrency, MoveRefused
from offset_ctrl.sdk.errors import NotPermitted, RequestRefused, UnknownName
from offset_ctrl.sdk.move_files import MoveFiles
from offset_ctrl.sdk.node import use_session
from offset_proto.files import FRIEND_TICKET, FriendTicket
from offset_proto.text import format_b64

__all__ = ["move"]

GROUP: Final = "FriendError"


async def move(
    session: NodeSession,
    old: str,
    ticket: Path,
    *,
    name: str | None,
    count_frozen: bool,
    dry_run: bool,
    remove_old: bool,
    journal: Path | None,
    timeout: float,
) -> int | None:
    """
    Move the account of the friend *old* to the key of *ticket*, as far as that goes now, and say what is left to do.

    Args:
        session: To the node.
        old: Local name of the friend.
        ticket: Friend ticket of the new key.
        name: Local name of the new friend in the end; None: that of the old one.
        count_frozen: Count what is frozen with the old friend, as the terms of a reset do.
        dry_run: Only print what would be moved, or how far the move is.
        remove_old: Remove the old friend at the end.
        journal: Directory of the move; None: ``move-`` and the old name.
        timeout: Seconds to wait for the new friend's node.

    Returns:
        None where the account has moved, and `NOT_FINISHED` where the other person or its node has to act first.

    Raises:
        CommandError: It can not be moved as things are, and why.
    """
    parsed = load(GROUP, FRIEND_TICKET, ticket, "FriendFileNotFound")
    directory = journal or _default_directory(old, parsed)
    go_on = command_line("friend", "move", old, ticket, *_options(name, journal, count_frozen=count_frozen))

    def tell(moving: Move, unfinished: Unfinished) -> None:
        click.echo("\n".join(_screen(moving, unfinished, directory, go_on, removes=remove_old)))

    try:
        async with use_session(session, None, None) as node:
            if dry_run:
                begun = MoveFiles(directory).load() if directory.exists() else None
                _tell_plan(begun or node.plan_move(old, parsed, name=name, counts_frozen=count_frozen))
                return None
            unfinished = await node.move_friend(
                old,
                parsed,
                directory,
                name=name,
                counts_frozen=count_frozen,
                removes_old=remove_old,
                timeout=timeout,
                tell=tell,
            )
    except UnknownName as error:
        raise CommandError(GROUP, f"FriendNameNotFound({old})", printable(str(error))) from None
    except NotPermitted as error:
        raise CommandError("", f"InsufficientPermissions({error})") from None
    except MoveRefused as error:
        raise CommandError(GROUP, "MoveRefused", printable(str(error))) from None
    except RequestRefused as error:
        raise CommandError(GROUP, f"RequestRefused({error})") from None
    if unfinished is None:
        click.echo(f"The account of {printable(old)} has moved, and the old friend is removed.")
        return None
    if unfinished == Unfinished((Asked(Wanted.REMOVAL),), ()):
        return None
    click.echo(f"go on: {go_on}", err=True)
    return NOT_FINISHED


def _options(name: str | None, journal: Path | None, *, count_frozen: bool) -> Iterator[str | Path]:
    if name is not None:
        yield from ("--name", name)
    if count_frozen:
        yield "--count-frozen"
    if journal is not None:
        yield from ("--journal", journal)


def _default_directory(old: str, ticket: FriendTicket) -> Path:
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", old) is not None
    return Path(f"move-{old if plain else format_b64(ticket.public_key)}")


def _tell_plan(moving: Move) -> None:
    rows = [
        [
            printable(moved.currency),
            str(moved.balance),
            _payer(moved),
            str(moved.max_debt),
            f"{moved.rate.mul}/2^32 + {moved.rate.add}",
            "open" if moved.is_open else "closed",
        ]
        for moved in moving.currencies
    ]
    click.echo(f"{printable(moving.old_name)} moves to the key {format_b64(moving.new)}:")
    click.echo(format_table(["currency", "balance", "to be paid by", "limit", "rate", "currency is"], rows))
    click.echo("Nothing was changed.")


def _payer(moved: MovedCurrency) -> str:
    if moved.is_moved:
        return "nobody, it is moved" if moved.amount else "nobody"
    return "the friend" if moved.balance > 0 else "you"


def _screen(moving: Move, unfinished: Unfinished, directory: Path, go_on: str, *, removes: bool) -> Iterator[str]:
    """What has to be done by whom, line by line."""
    files, name = MoveFiles(directory), printable(moving.new_name)
    if unfinished.waits:
        yield "waits for " + ", and ".join(map(printable, unfinished.waits))
        yield f"{name} needs this, where it is not done yet (NAME is how {name} calls you):"
        yield f"    you:    {command_line('info', 'export-ticket', '-t', 'my.friend')}"
        yield f"            Give my.friend to {name}."
        for words in _set_up(moving):
            yield f"    {name}: {shlex.join(['stctrl', *map(str, words)])}"
    for asked in unfinished.asked:
        if asked.moved is None:
            yield from _removal(moving, go_on, removes=removes)
            continue
        invoice, commit = (str(files.path(asked.moved.currency, suffix)) for suffix in ("invoice", "commit"))
        yield from _wanted(asked.wanted, asked.moved, name, invoice, commit)
    if any(asked.moved is not None for asked in unfinished.asked):
        yield f"Then: {go_on}"


def _set_up(moving: Move) -> Iterator[tuple[object, ...]]:
    """What the new friend's node has to be told before anything can be paid."""
    yield "config", "add-friend", "-f", "my.friend", "-n", "NAME"
    yield "config", "enable-friend", "-n", "NAME"
    for moved in moving.currencies:
        if moved.is_moved:
            continue
        which = ("-n", "NAME", "-c", printable(moved.currency))
        yield "config", "set-currency-rate", *which, "-m", 0, "-a", 0
        yield "config", "open-currency", *which
        if moved.balance < 0:
            yield "config", "set-currency-max-debt", *which, "-m", moved.amount


def _wanted(wanted: Wanted, moved: MovedCurrency, name: str, invoice: str, commit: str) -> Iterator[str]:
    currency = printable(moved.currency)
    match wanted:
        case Wanted.PAYMENT:
            yield f"{name} pays you {moved.amount} {currency}, which the old friend owes you:"
            yield f"    you:    Give {invoice} to {name}."
            yield f"    {name}: stctrl buyer pay-invoice -i IN.invoice -p OUT.payment -c OUT.commit --direct"
            yield "            (a stctrl of the original has no --direct) Give OUT.commit back."
            yield f"    you:    Save it as {commit}"
        case Wanted.INVOICE:
            yield f"You pay {name} {moved.amount} {currency}, which you owe the old friend:"
            makes = shlex.join(["stctrl", "seller", "create-invoice", "-c", currency, "-a", str(moved.amount)])
            yield f"    {name}: {makes} -i OUT.invoice"
            yield "            Give OUT.invoice to its friend, you."
            yield f"    you:    Save it as {invoice}"
        case Wanted.COLLECTION:
            yield f"{name} collects the {moved.amount} {currency} that you have paid:"
            yield f"    you:    Give {commit} to {name}."
            yield f"    {name}: stctrl seller commit-invoice -i OUT.invoice -c IN.commit"
        case Wanted.REMOVAL:
            return


def _removal(moving: Move, go_on: str, *, removes: bool) -> Iterator[str]:
    yield f"The account of {printable(moving.old_name)} has moved to {printable(moving.new_name)}."
    yield "On this side the old friend, who is disabled, still has the balances that have moved:"
    for moved in moving.currencies:
        yield f"    {printable(moved.currency)} {moved.balance}"
    if removes:
        yield "The old friend is removed now, and these are forgiven."
        return
    look = command_line("info", "friends")
    yield f"Look at the balances of the new friend ({look}). This removes the old one and forgives these:"
    yield f"    {go_on} --remove-old"
