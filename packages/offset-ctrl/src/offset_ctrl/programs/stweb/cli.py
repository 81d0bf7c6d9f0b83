"""Command line of stweb: options only; what it does is in `offset_ctrl.web`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offset_proto.cli import PASSPHRASE_FILE, SOCKET_ADDRESS, OffsetGroup, run_program
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.logs import set_up_server_logging
from offset_proto.server_cli import log_options

if TYPE_CHECKING:
    from offset_ctrl.web.database import Database

__all__ = ["main"]

_PATH = click.Path(path_type=Path)


class WebUnavailable(OffsetError):
    """What stweb serves with is not installed."""

    def __init__(self, error: ImportError) -> None:
        super().__init__(f"stweb needs {error.name}: pip install 'offset-ctrl[web]'")


@contextmanager
def _web() -> Iterator[None]:
    """Around the import of what needs the extra."""
    try:
        yield
    except ImportError as error:
        raise WebUnavailable(error) from None


def _default_state() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "offset-stweb"


_STATE = click.option(
    "--state",
    type=_PATH,
    default=_default_state,
    show_default="$XDG_STATE_HOME/offset-stweb",
    help="Directory of tokens and payments; made where it is missing.",
)


class _ServingGroup(OffsetGroup):
    """A group that serves where no subcommand is named, and logs as a server does."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += log_options()

    def invoke(self, ctx: click.Context) -> Any:
        return click.Group.invoke(self, ctx)


@click.group("stweb", cls=_ServingGroup, invoke_without_command=True)
@click.option("-I", "--idfile", type=_PATH, help="Identity file of this app, which the nodes must trust.")
@click.option(
    "-T",
    "--ticket",
    "tickets",
    type=_PATH,
    multiple=True,
    help="Ticket of a node; may be repeated. The node is called like the file, node.ticket like its directory.",
)
@click.option(
    "-l",
    "--listen",
    type=SOCKET_ADDRESS,
    default="127.0.0.1:8080",
    show_default=True,
    help="Address to listen on; others than loopback need one of the next three options.",
)
@click.option("--tls-cert", type=_PATH, help="PEM file of a certificate; the server answers to the names in it.")
@click.option("--tls-key", type=_PATH, help="PEM file of the certificate's key.")
@click.option(
    "--behind-proxy", metavar="ORIGIN", help="Origin of a proxy in front, such as https://wallet.example.org."
)
@click.option(
    "--public-address",
    "public",
    metavar="URL",
    help="Where buyers reach this server, to see what they pay and to deliver commits, such as "
    "https://shop.example.org; nothing of the wallet is served there.",
)
@_STATE
@PASSPHRASE_FILE
@click.pass_context
def _stweb(
    ctx: click.Context,
    *,
    idfile: Path | None,
    tickets: tuple[Path, ...],
    listen: tuple[str, int],
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: str | None,
    public: str | None,
    state: Path,
    passphrase_file: Path | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Serve an API over HTTP for the nodes of the tickets; or, with a command, say who may use it."""
    if ctx.invoked_subcommand is not None:
        return
    if idfile is None or not tickets:
        raise click.UsageError("to serve, stweb needs --idfile and --ticket", ctx)
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together", ctx)
    set_up_server_logging("stweb", log_level, log_format)
    from offset_crypto.program import load_identity, run_server

    with _web():
        from offset_ctrl.web.listening import Certificate
        from offset_ctrl.web.service import Settings, run

    certificate = Certificate(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    identity = load_identity(idfile, passphrase_file)
    settings = Settings(identity, tickets, listen, state, certificate, behind_proxy, public)
    run_server(lambda: run(settings, _say))


def _say(text: str) -> None:
    click.echo(text)


@contextmanager
def _database(state: Path) -> "Iterator[Database]":
    with _web():
        from offset_ctrl.web.database import open_database
    with open_database(state) as database:
        yield database


@_stweb.command("link")
@_STATE
def _link(state: Path) -> None:
    """Print a link that logs one browser in, within an hour; an earlier one that was not used is void from then on."""
    with _database(state) as database:
        from offset_ctrl.web.service import LINK_IS_VOID, log_in_link
        from offset_ctrl.web.tokens import Tokens

        is_instead = Tokens(database).has_link()
        click.echo(log_in_link(database))
        if is_instead:
            click.echo(LINK_IS_VOID, err=True)


@_stweb.group("token")
def _token() -> None:
    """Say which programs may use the API, and for what."""


@_token.command("create")
@click.option("-n", "--name", required=True, help="Name of the program; payments, keys and limits go by it.")
@click.option(
    "-m",
    "--may",
    multiple=True,
    required=True,
    help="What it may do: read, ask, configure, or pay:N:CURRENCY/day; may be repeated.",
)
@click.option("-u", "--until", required=True, metavar="DATE", help="Last day on which it is good (UTC): YYYY-MM-DD.")
@_STATE
def _create(name: str, may: tuple[str, ...], until: str, state: Path) -> None:
    """Make a token, and print its secret, which is shown this once."""
    with _database(state) as database:
        from offset_ctrl.web.grants import parse_grants
        from offset_ctrl.web.tokens import Tokens

        click.echo(Tokens(database).create(name, parse_grants(may), _end_of(until)))


def _end_of(day: str) -> int:
    try:
        after = datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{day!r} is no date; write YYYY-MM-DD") from None
    return int(after.timestamp())


@_token.command("list")
@_STATE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _list(state: Path, *, as_json: bool) -> None:
    """List all tokens: what they may do, until when, and when they were used last."""
    with _database(state) as database:
        from offset_ctrl.programs.table import format_table, printable
        from offset_ctrl.web.tokens import Tokens
        from offset_proto.message_json import format_json

        tokens, now = Tokens(database).list(), database.now()
    if as_json:
        members = ("name", "until", "created", "used", "revoked")
        click.echo(
            format_json(
                [{**{key: getattr(each, key) for key in members}, "may": each.grants.texts()} for each in tokens]
            )
        )
        return
    rows = [
        [
            printable(each.name),
            printable(" ".join(each.grants.texts())),
            _moment(each.until),
            "never" if each.used is None else _moment(each.used),
            "revoked" if each.revoked is not None else "over" if each.until <= now else "good",
        ]
        for each in tokens
    ]
    click.echo(format_table(["name", "may", "until", "last used", "state"], rows))


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


@_token.command("revoke")
@click.option("-n", "--name", required=True, help="Name of the token.")
@_STATE
def _revoke(name: str, state: Path) -> None:
    """End a token now; a server that runs refuses it from the next request on."""
    with _database(state) as database:
        from offset_ctrl.web.tokens import Tokens

        Tokens(database).revoke(name)


def main() -> None:
    """Run the program stweb with the arguments of the command line."""
    run_program("stweb", "error", _stweb)
