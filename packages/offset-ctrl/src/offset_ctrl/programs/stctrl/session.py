"""What all commands of stctrl share: the connection, the permission gate, names of errors. Spec 09 §5."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from offset_crypto.aio import Proxy
from offset_crypto.passphrase import open_identity
from offset_ctrl.connection.client import ConnectionClosed, NodeConnection, NodeConnectionError
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.waiting import command_line
from offset_ctrl.programs.table import printable
from offset_ctrl.programs.texts import TextOutput
from offset_ctrl.rules.changes import Change
from offset_ctrl.rules.refusals import known_names, why_refused
from offset_proto import entered
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import FileKind, IoError, StringSerdeError
from offset_proto.messages.report import FriendReport
from offset_proto.node_tickets import NODE_TICKET, other_addresses
from offset_proto.proxies import ProxyUrl
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PublicKey
from offset_proto.uri import Texted

__all__ = [
    "NOTHING",
    "CommandError",
    "Login",
    "find_friend",
    "given",
    "load",
    "parse_currency",
    "refused",
    "request",
    "run",
    "show",
]

NOTHING = TextOutput()
"""What was made for others is not shown."""


RETRY_SECONDS: Final = 0.2
"""Between two attempts to reach a node that may be starting."""


class CommandError(OffsetError):
    """
    A command failed, for a reason that scripts may tell by its name.

    Args:
        group: ``InfoError``, ``ConfigError``, ``BuyerError`` or ``SellerError``; empty for none.
        name: The stable name of the reason (spec 09 §1.2), with details after it where they help.
        words: What that means here, for a person.
    """

    def __init__(self, group: str, name: str, words: str = "") -> None:
        super().__init__((f"{group}({name})" if group else name) + (f": {words}" if words else ""))


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are, the node, and the way there: options -I, -T, --passphrase-file and --proxy."""

    idfile: Path
    ticket: Path
    passphrase_file: Path | None = None
    proxy: ProxyUrl | None = None


T = TypeVar("T")

Node = TypeVar("Node", NodeConnection, NodeSession)

Open = Callable[..., AbstractAsyncContextManager[Node]]
"""`open_node` or `open_session`."""


def run(
    login: Login,
    permission: str | None,
    open_: Open[Node],
    command: Callable[[Node], Awaitable[int | None]],
    patience: float = 0,
) -> int | None:
    """
    Connect, check that the app has *permission* (None: none needed), carry the command out.

    Args:
        login: Who we are, and the node.
        permission: What the command needs, as in `AppPermissions.allows`.
        open_: `open_node`; or `open_session`, for a command that outlives a connection.
        command: What to do; returns an exit status, None for 0.
        patience: Seconds for which a node that can not be reached is tried again: it may be starting.

    Raises:
        OffsetError: Whatever went wrong; nothing else.
    """
    if not login.idfile.exists():
        raise CommandError("", f"IdFileDoesNotExist({login.idfile})")
    if not login.ticket.exists():
        raise CommandError("", f"NodeTicketFileDoesNotExist({login.ticket})")
    ticket = NODE_TICKET.load(login.ticket)
    try:
        identity = open_identity(login.idfile, login.passphrase_file)
    except OffsetError as error:
        raise CommandError("", f"SpawnIdentityServiceError({error})") from None

    proxy = None if login.proxy is None else Proxy(login.proxy)

    async def connected() -> int | None:
        async with contextlib.AsyncExitStack() as stack:
            others = other_addresses(ticket)
            opening = functools.partial(open_, ticket.address, ticket.public_key, identity, None, proxy, others=others)
            try:
                node = await _opened(stack, opening, patience)
            except NodeConnectionError as error:
                more = f"{command_line('doctor')} tells more"
                words = f"look whether stnode runs, and whether {login.ticket} is its ticket; {more}"
                raise CommandError("", str(error), words) from None
            if permission is not None and not node.permissions.allows(permission):
                raise CommandError("", f"InsufficientPermissions({permission})")
            return await command(node)

    return asyncio.run(connected())


async def _opened(
    stack: contextlib.AsyncExitStack, open_: Callable[[], AbstractAsyncContextManager[Node]], patience: float
) -> Node:
    end = time.monotonic() + patience
    while True:
        try:
            return await stack.enter_async_context(open_())
        except NodeConnectionError:
            if time.monotonic() >= end:
                raise
            await asyncio.sleep(RETRY_SECONDS)


def load(group: str, kind: FileKind[T], path: Path, missing: str) -> T:
    """The value in a file; *missing* names the error where there is no such file."""
    if not path.exists():
        raise CommandError(group, f"{missing}({path})", "no such file")
    try:
        return kind.load(path)
    except (IoError, StringSerdeError) as error:
        raise CommandError(group, str(error)) from None


def given(group: str, kind: FileKind[T], path: Path | None, value: T | None, missing: str) -> T:
    """The *value* that was given as a text, or else what is in the file at *path*, as by `load`."""
    if value is not None:
        return value
    assert path is not None
    return load(group, kind, path, missing)


def show(group: str, output: TextOutput, value: Texted) -> None:
    """Show *value* to hand it over; a CommandError where it has no text, or the picture can not be written."""
    try:
        output.show(value)
    except OffsetError as error:
        raise CommandError(group, f"TextError({error})") from None


def find_friend(group: str, report: ReportView, name: str) -> tuple[PublicKey, FriendReport]:
    """The friend of this local name; of several, the one of the lowest key."""
    keys = [key for key, friend in report.friends.items() if friend.name == name]
    if not keys:
        names = known_names(friend.name for friend in report.friends.values())
        raise CommandError(group, f"FriendNameNotFound({name})", printable(f"among the friends, {names}"))
    return min(keys), report.friends[min(keys)]


def parse_currency(group: str, text: str, *, is_new: bool = False) -> Currency:
    """
    The currency of the name *text*; a CommandError where no currency can have that name.

    Where it may be new to this node, a name that cannot be seen or typed is refused, too.
    """
    try:
        return entered.parse_currency(text) if is_new else Currency(text)
    except InvalidInput as error:
        raise CommandError(group, f"InvalidCurrencyName({error})") from None


async def request(node: NodeConnection, failure: tuple[str, str], change: Change) -> None:
    """
    Ask for a change, and check that it took effect.

    Args:
        node: The connection.
        failure: Group and name of the error where no acknowledgement comes.
        change: What is asked for.
    """
    group, name = failure
    try:
        await node.request(change.request)
    except ConnectionClosed as error:
        raise CommandError(group, f"{name}({error})") from None
    if not change.holds(node.report):
        raise refused(group, change, node.report)


def refused(group: str, change: Change, report: ReportView) -> CommandError:
    """The error where a node has not made a *change*, with the reason, as far as its *report* shows it."""
    words = why_refused(change.request, report) or "the node did not carry the request out; its log says why"
    return CommandError(group, "RequestRefused", printable(words))
