"""The program strelay. Spec 09 §3.1."""

from pathlib import Path
from typing import Final

import click

from offset_proto.cli import PASSPHRASE_FILE, SOCKET_ADDRESS, run_program
from offset_proto.server_cli import METRICS, METRICS_NAME, ServerCommand, reading_again

__all__ = ["main"]

GRACE_SECONDS: Final = 5
"""Longer than a payment takes, and short enough for whoever starts the relay again."""


@click.command("strelay", cls=ServerCommand)
@click.option("-i", "--idfile", type=click.Path(path_type=Path), required=True, help="Identity file of the relay.")
@click.option("-l", "--laddr", type=SOCKET_ADDRESS, required=True, help="Address to listen on, IP:port.")
@PASSPHRASE_FILE
@METRICS
@METRICS_NAME
@click.option(
    "--grace",
    type=click.IntRange(0, 3600),
    default=GRACE_SECONDS,
    help=f"Seconds that tunnels have after SIGTERM, {GRACE_SECONDS} unless given; a second SIGTERM ends at once.",
)
def _strelay(
    idfile: Path,
    laddr: tuple[str, int],
    passphrase_file: Path | None,
    metrics: tuple[str, int] | None,
    metrics_names: tuple[str, ...],
    grace: int,
) -> None:
    """Relay of the Offset credit network: lets nodes reach each other without open ports of their own."""
    from offset_crypto.aio import Ticker
    from offset_crypto.program import ListenError, load_identity, run_server
    from offset_crypto.status_pages import serve_status
    from offset_relay.metrics import show_relay
    from offset_relay.service import RelayService

    identity = load_identity(idfile, passphrase_file)

    relay = RelayService(identity, Ticker())

    async def serve() -> None:
        async with serve_status(metrics, show_relay(relay), metrics_names):
            try:
                await relay.run(laddr)
            except OSError as error:
                raise ListenError(laddr, error) from None

    run_server(serve, reading_again(), lambda: relay.end(grace))


def main() -> None:
    """Run the program with the arguments of the command line."""
    run_program("strelay", "run() error", _strelay)
