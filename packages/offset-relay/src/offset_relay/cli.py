"""The program strelay. Spec 09 §3.1."""

from pathlib import Path

import click

from offset_proto.cli import PASSPHRASE_FILE, SOCKET_ADDRESS, run_program
from offset_proto.server_cli import ServerCommand, reading_again

__all__ = ["main"]


@click.command("strelay", cls=ServerCommand)
@click.option("-i", "--idfile", type=click.Path(path_type=Path), required=True, help="Identity file of the relay.")
@click.option("-l", "--laddr", type=SOCKET_ADDRESS, required=True, help="Address to listen on, IP:port.")
@PASSPHRASE_FILE
def _strelay(idfile: Path, laddr: tuple[str, int], passphrase_file: Path | None) -> None:
    """Relay of the Offset credit network: lets nodes reach each other without open ports of their own."""
    from offset_crypto.aio import Ticker
    from offset_crypto.program import ListenError, load_identity, run_server
    from offset_relay.service import RelayService

    identity = load_identity(idfile, passphrase_file)

    async def serve() -> None:
        try:
            await RelayService(identity, Ticker()).run(laddr)
        except OSError as error:
            raise ListenError(laddr, error) from None

    run_server(serve, reading_again())


def main() -> None:
    """Run the program with the arguments of the command line."""
    run_program("strelay", "run() error", _strelay)
