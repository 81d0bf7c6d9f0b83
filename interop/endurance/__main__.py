"""The command: `python -m interop.endurance`."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from interop.cutter import LinkCutter
from interop.endurance.chain import (
    build,
    cast_chain,
    open_network,
)
from interop.endurance.disturbed import Endurance
from interop.endurance.plan import Outcome, Plan
from interop.endurance.table import table
from interop.network import Network
from interop.programs import OURS, PROGRAMS, Implementation, find_original

__all__ = ["main", "run"]

CHAINS: Final = ("original - ours - original", "ours - original - ours")


def run(
    chain: str,
    plan: Plan,
    original: Implementation,
    servers: Implementation = OURS,
    tell: Callable[[str], object] = lambda text: None,
) -> Outcome:
    """Build one chain in a temporary directory, and let it endure."""
    names, cast = cast_chain(chain, original, servers)

    async def endure(network: Network, cutter: LinkCutter) -> Outcome:
        await build(network, names)
        return await Endurance(network, cutter, names, plan, tell).run()

    with (
        tempfile.TemporaryDirectory(prefix="offset-endurance-") as directory,
        open_network(Path(directory), cast) as (network, cutter),
    ):
        return asyncio.run(endure(network, cutter))


@click.command()
@click.option("--payments", default=Plan.payments, show_default=True, type=click.IntRange(1))
@click.option("--at-once", default=Plan.at_once, show_default=True, type=click.IntRange(1))
@click.option("--cut-every", default=Plan.cut_every, show_default=True, type=click.FloatRange(0.01), help="Seconds.")
@click.option("--kill-every", default=Plan.kill_every, show_default=True, type=click.FloatRange(0.1), help="Seconds.")
@click.option("--stall-seconds", default=Plan.stall_seconds, show_default=True, type=click.FloatRange(1))
@click.option("--minutes", default=Plan.minutes, show_default=True, help="Begin no payment after so long, each chain.")
@click.option("--known-route", "is_route_known", is_flag=True, help="Pay faster, without asking an index server.")
@click.option("--seed", default=0, show_default=True, help="Of the choice of cuts and kills.")
@click.option("--chain", "chains", multiple=True, help=f"Buyer's node first.  [default: {CHAINS[0]}, {CHAINS[1]}]")
@click.option("--servers", type=click.Choice(["ours", "original"]), default="ours", show_default=True)
@click.option("--rehearse", is_flag=True, help="Let our programs play the original's.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the table to this file, too.")
def main(chains: tuple[str, ...], servers: str, rehearse: bool, output: Path | None, **plan: Any) -> None:
    """Make many payments while links are cut and nodes are killed; OFFSET_RUST_BIN names the original's programs."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the processes end as well
    original = Implementation("original", OURS.directory) if rehearse else find_original()
    if original is None:
        raise click.UsageError(f"OFFSET_RUST_BIN does not name a directory with {', '.join(PROGRAMS)}")
    outcomes: dict[str, Outcome] = {}
    for chain in chains or CHAINS:

        def tell(text: str, chain: str = chain) -> None:
            click.echo(f"{time.strftime('%H:%M:%S')} {chain}: {text}", err=True)

        outcomes[chain] = run(chain, Plan(**plan), original, original if servers == "original" else OURS, tell)
        text = table(outcomes)
        if output is not None:
            output.write_text(text)
    click.echo(text)
    if any(outcome.faults for outcome in outcomes.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
