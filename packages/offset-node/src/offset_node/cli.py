"""The program stnode. Spec 09 §3.3."""

import asyncio
import functools
import gc
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from offset_node.database.names import DatabaseName, PostgresAddress, database_name
from offset_proto.cli import PASSPHRASE_FILE, PROXY, SOCKET_ADDRESS, PathOrUrl, run_program
from offset_proto.errors import InvalidInput
from offset_proto.server_cli import METRICS, METRICS_NAME, ServerCommand, reading_again

if TYPE_CHECKING:
    from offset_crypto.status_pages import Status
    from offset_node.database.stored_node import StoredNode
    from offset_proto.types import PublicKey

__all__ = ["main"]

log = logging.getLogger("offset.node")

_PATH = click.Path(path_type=Path)


class _DatabaseType(PathOrUrl):
    def __init__(self) -> None:
        super().__init__("postgresql", "postgres")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return database_name(value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


class _NodeCommand(ServerCommand):
    """Refuses a standby of a file as soon as the options are known, so that ``--check-config`` does, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        database = ctx.params.get("database")
        if ctx.params.get("standby") and isinstance(database, Path):
            raise click.UsageError(
                f"--standby waits for a node on another machine, and no other machine can reach the file {database}; "
                "it needs a database on a server, -d postgresql://..."
            )
        return rest


def _print_plugins(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from offset_node.plugins.loading import list_plugins

    for row in list_plugins(ctx.params.get("without", ())):
        click.echo(f"{row.name:20} {row.state:4} {row.origin}\n    {row.hooks}")
    ctx.exit()


def _warn_of_password(database: DatabaseName) -> None:
    """On a command line a password is no secret."""
    origin = click.get_current_context().get_parameter_source("database")
    if isinstance(database, PostgresAddress) and database.secrets and origin is ParameterSource.COMMANDLINE:
        log.warning(
            "the list of processes shows the password in the address of the database to all who use this machine; "
            "keep it in the file of --config, or in PostgreSQL's password file or service file"
        )


def _check_address(laddr: tuple[str, int]) -> None:
    """Whether nobody else listens there: a standby will listen only on the day on which it is needed."""
    from offset_crypto.program import ListenError

    family = socket.AF_INET6 if ":" in laddr[0] else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as whoever listens does
            probe.bind(laddr)
    except OSError as error:
        raise ListenError(laddr, error) from None


async def _open(database: DatabaseName, waiting: "PublicKey | None", status: "Status") -> "StoredNode":
    """Open the database of a node; of the node *waiting* as a standby, which shows that it is one."""
    from offset_crypto.supervision import tell_ready, tell_status
    from offset_node.database.opening import open_database, stand_by

    if waiting is None or isinstance(database, Path):
        return await open_database(database)

    def show(text: str) -> None:
        status.missing = lambda: [text]
        tell_status(text)
        tell_ready()  # a standby does what it was started for

    opened = await stand_by(database, waiting, show)
    show("runs as node, since no other one does any more")
    return opened


@click.command("stnode", cls=_NodeCommand)
@click.option("-i", "--idfile", type=_PATH, required=True, help="Identity file of the node.")
@click.option("-l", "--laddr", type=SOCKET_ADDRESS, required=True, help="Address to listen on for apps, IP:port.")
@click.option(
    "-d",
    "--database",
    type=_DatabaseType(),
    required=True,
    help="Database of the node, made by stmgr init-node-db: a file, or an address postgresql://... of a server.",
)
@click.option(
    "--standby",
    is_flag=True,
    help="Wait as long as another node runs on the database, which is on a server, and take over when it has ended.",
)
@click.option("-t", "--trusted", type=_PATH, required=True, help="Directory of the tickets of trusted apps.")
@PASSPHRASE_FILE
@PROXY
@click.option("--without", metavar="NAME", multiple=True, is_eager=True, help="Switch a plugin off; may be repeated.")
@click.option("--plugin-settings", type=_PATH, help="TOML file with a table of settings for each plugin.")
@METRICS
@METRICS_NAME
@click.option(
    "--plugins",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_plugins,
    help="List the plugins that are installed, and exit.",
)
def _stnode(
    idfile: Path,
    laddr: tuple[str, int],
    database: DatabaseName,
    trusted: Path,
    **options: Any,
) -> None:
    """Node of the Offset credit network: keeps balances with friends and pushes payments through them."""
    from offset_crypto.aio import Proxy, Ticker
    from offset_crypto.program import ListenError, load_identity, run_server
    from offset_crypto.status_pages import Status, serve_status
    from offset_node.database.backup_stamp import backup_age, remind_of_backups
    from offset_node.metrics import show_node
    from offset_node.node import Node
    from offset_node.plugins.host import PluginHost
    from offset_node.plugins.loading import find_plugins, load_settings

    _warn_of_password(database)
    identity = load_identity(idfile, options["passphrase_file"])
    proxy = None if options["proxy"] is None else Proxy(options["proxy"])
    plugins = find_plugins(options["without"])
    settings = load_settings(options["plugin_settings"], plugins)

    file = database if isinstance(database, Path) else None  # a server has backups of its own
    age = None if file is None else functools.partial(backup_age, file)

    async def run(node: Node) -> None:
        reminding = None if file is None else asyncio.create_task(remind_of_backups(file))
        try:
            await node.run(laddr)
        finally:
            if reminding is not None:
                reminding.cancel()

    async def serve() -> None:
        status = Status("offset-node", "the database is not open yet")
        async with serve_status(options["metrics"], status, options["metrics_names"]) as registry:
            await serve_node(status, registry)

    async def serve_node(status: Status, registry: object | None) -> None:
        if not trusted.is_dir():  # allowed: it is read anew for every app (spec 09 §3.3)
            log.error("trusted apps: %s is not a directory; no app can connect until it is", trusted)
        if options["standby"]:
            _check_address(laddr)
        opened = await _open(database, identity.public_key if options["standby"] else None, status)
        try:
            state = await opened.load()
            gc.freeze()  # what is stored lives as long as the process: no collection has to look at it
            host = PluginHost(plugins, settings, opened, state.funder)
            try:
                await host.start()
                # On a thread: with many friends it takes seconds, and meanwhile a lease has to be prolonged.
                node = await asyncio.to_thread(Node, opened, state, identity, trusted, Ticker(), host, proxy=proxy)
                show_node(status, node, host, age)
                if registry is not None:
                    host.register_metrics(registry)
                await run(node)
            except OSError as error:
                raise ListenError(laddr, error) from None
            finally:
                await host.stop()
        finally:
            await opened.close()

    run_server(serve, reading_again())


def main() -> None:
    """Run the program stnode with the arguments of the command line."""
    run_program("stnode", "run() error", _stnode)
