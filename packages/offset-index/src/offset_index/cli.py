"""The program stindex. Spec 09 §3.2."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from offset_proto.cli import PASSPHRASE_FILE, PROXY, SOCKET_ADDRESS, run_program
from offset_proto.server_cli import METRICS, METRICS_NAME, ServerCommand, reading_again

if TYPE_CHECKING:
    from offset_proto.proxies import ProxyUrl

__all__ = ["main"]

_PATH = click.Path(path_type=Path)


@click.command("stindex", cls=ServerCommand)
@click.option("-i", "--idfile", type=_PATH, required=True, help="Identity file of the index server.")
@click.option("-c", "--lclient", type=SOCKET_ADDRESS, required=True, help="Address to listen on for nodes, IP:port.")
@click.option("-s", "--lserver", type=SOCKET_ADDRESS, required=True, help="Address to listen on for servers, IP:port.")
@click.option("-t", "--trusted", type=_PATH, required=True, help="Directory of the tickets of other index servers.")
@PASSPHRASE_FILE
@PROXY
@METRICS
@METRICS_NAME
def _stindex(
    *,
    idfile: Path,
    lclient: tuple[str, int],
    lserver: tuple[str, int],
    trusted: Path,
    passphrase_file: Path | None,
    proxy: "ProxyUrl | None",
    metrics: tuple[str, int] | None,
    metrics_names: tuple[str, ...],
) -> None:
    """Index server of the Offset credit network: collects what nodes declare, finds routes for payments."""
    from offset_crypto.aio import Proxy, Ticker
    from offset_crypto.program import ListenError, load_identity, run_server
    from offset_crypto.status_pages import serve_status
    from offset_index.metrics import show_index
    from offset_index.service import IndexService
    from offset_index.trusted import load_trusted_servers

    identity = load_identity(idfile, passphrase_file)
    through = None if proxy is None else Proxy(proxy)
    service = IndexService(identity, load_trusted_servers(trusted), Ticker(), through)

    async def serve() -> None:
        async with serve_status(metrics, show_index(service), metrics_names):
            try:
                await service.run(lclient, lserver)
            except OSError as error:
                raise ListenError(lclient, error) from None

    run_server(serve, reading_again({"trusted": lambda directory: service.trust(load_trusted_servers(directory))}))


def main() -> None:
    """Run the program with the arguments of the command line."""
    run_program("stindex", "run() error", _stindex)
