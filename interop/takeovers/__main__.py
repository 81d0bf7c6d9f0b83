"""The command: `python -m interop.takeovers`."""

import sys
import tempfile
from pathlib import Path
from random import Random

import click

from interop.by_hand import run_by_hand
from interop.cluster.server import find_postgres
from interop.programs import CommandFailed
from interop.takeovers.run import Plan, run, table
from offset_proto.errors import InvariantBroken

__all__ = ["main"]


@click.command()
@click.option("--count", default=20, show_default=True, type=click.IntRange(1), help="Of take-overs.")
@click.option("--at-once", default=50, show_default=True, type=click.IntRange(1), help="Payments that are under way.")
@click.option("--seed", default=None, type=int, help="Of the moments and the choices.")
def _takeovers(count: int, at_once: int, seed: int | None) -> int:
    """Let the processes of a node take over from each other while payments pass, and look whether all is exact."""
    programs = find_postgres()
    if programs is None:
        raise click.UsageError("there is no PostgreSQL on this machine; python -m interop.cluster.server installs it")
    with tempfile.TemporaryDirectory(prefix="offset-takeovers-") as name:
        outcome = run(Path(name), programs, Plan(count, at_once, Random(seed), click.echo))
    click.echo(table(outcome))
    return 1 if outcome.faults else 0


def main() -> int:
    """Run it; the exit status tells whether all was well."""
    return run_by_hand(_takeovers, CommandFailed, InvariantBroken, TimeoutError, RuntimeError)


if __name__ == "__main__":
    sys.exit(main())
