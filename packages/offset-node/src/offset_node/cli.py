"""The program stnode. Spec 09 §3.3."""

import logging
from pathlib import Path

import click

from offset_proto.cli import SOCKET_ADDRESS, OffsetCommand, run_program

__all__ = ["main"]

log = logging.getLogger("offset.node")

_PATH = click.Path(path_type=Path)


@click.command("stnode", cls=OffsetCommand)
@click.option("-i", "--idfile", type=_PATH, required=True, help="Identity file of the node.")
@click.option("-l", "--laddr", type=SOCKET_ADDRESS, required=True, help="Address to listen on for apps, IP:port.")
@click.option("-d", "--database", type=_PATH, required=True, help="Database of the node, made by stmgr init-node-db.")
@click.option("-t", "--trusted", type=_PATH, required=True, help="Directory of the tickets of trusted apps.")
def _stnode(idfile: Path, laddr: tuple[str, int], database: Path, trusted: Path) -> None:
    """Node of the Offset credit network: keeps balances with friends and pushes payments through them."""
    from offset_crypto.aio import Ticker
    from offset_crypto.program import ListenError, load_identity, run_server
    from offset_node.node import Node
    from offset_node.storage import Database

    identity = load_identity(idfile)
    opened = Database(database)
    if not trusted.is_dir():  # allowed: it is read anew for every app (spec 09 §3.3)
        log.error("trusted apps: %s is not a directory; no app can connect until it is", trusted)
    try:
        state = opened.load()

        async def serve() -> None:
            node = Node(opened, state, identity, trusted, Ticker())
            try:
                await node.run(laddr)
            except OSError as error:
                raise ListenError(laddr, error) from None

        run_server(serve)
    finally:
        opened.close()


def main() -> None:
    """Entry point."""
    run_program("stnode", "run() error", _stnode)
