"""
Run a simulated network by hand.

    python -m offset_node.simulation --nodes 1000 --payments 100000 --seed 7 --faults crash=0.001,malicious=0.02
"""

import dataclasses
import os
import sys
import time
from random import Random

import click

from offset_node.simulation.plan import SOME_FAULTS, TOPOLOGIES, Faults, Plan
from offset_node.simulation.scenario import run
from offset_proto.errors import InvariantBroken

__all__ = ["main"]


def _parse_faults(context: click.Context, parameter: click.Parameter, text: str) -> Faults:
    if text in ("none", "some"):
        return SOME_FAULTS if text == "some" else Faults()
    known = {field.name for field in dataclasses.fields(Faults)}
    chosen: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            chosen[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"{part!r} is not NAME=CHANCE") from None
        if name not in known or not 0 <= chosen[name] <= 1:
            raise click.BadParameter(f"{part!r}: names are {', '.join(sorted(known))}; a chance is from 0 to 1")
    return Faults(**chosen)


def _repeat_with_fixed_hashes() -> None:
    """The order of sets and maps depends on a seed of the interpreter, which only counts at its start."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "offset_node.simulation", *sys.argv[1:]])


@click.command()
@click.option("--nodes", type=click.IntRange(2, 100_000), default=200, show_default=True)
@click.option("--payments", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--topology", type=click.Choice(list(TOPOLOGIES)), default="scale-free", show_default=True)
@click.option("--per-tick", type=click.FloatRange(0.01), default=50.0, show_default=True, help="Payments begun.")
@click.option("--invoice-ticks", type=click.IntRange(0), default=0, show_default=True, help="Life; 0: no end.")
@click.option("--seed", type=int, default=None, help="Of all chance; drawn and told where not given.")
@click.option(
    "--faults",
    callback=_parse_faults,
    default="some",
    show_default=True,
    help="none, some, or NAME=CHANCE,...: " + ", ".join(field.name for field in dataclasses.fields(Faults)) + ".",
)
def main(
    *,
    nodes: int,
    payments: int,
    topology: str,
    per_tick: float,
    invoice_ticks: int,
    seed: int | None,
    faults: Faults,
) -> None:
    """Nodes, apps, relays and index servers in one loop; every invariant is checked after every step."""
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    click.echo(f"seed {seed}")
    plan = Plan(nodes, payments, topology, per_tick, faults, invoice_ticks)
    started = time.monotonic()
    shown = 0
    with click.progressbar(length=payments, label="payments ended", show_pos=True, file=sys.stderr) as bar:

        def show(ended: int) -> None:
            nonlocal shown
            bar.update(ended - shown)
            shown = ended

        try:
            summary = run(plan, Random(seed), show)
        except InvariantBroken as error:
            raise click.ClickException(f"{error}\n{plan}") from None
    click.echo(summary)
    click.echo(f"{time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    _repeat_with_fixed_hashes()
    main()
