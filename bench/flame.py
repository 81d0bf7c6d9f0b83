"""
Where a node spends its time while it pays: a flame graph.

    python -m bench.flame docs/performance/flame.svg

Samples the buyer's node, 10 payments in flight over two nodes. Needs py-spy, and the right to look into a process.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Final

import click
import uvloop

from bench.payments import build_chain, run_payments
from interop.network import Cast, Network
from interop.programs import OURS

SAMPLES_PER_SECOND: Final = 500


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--payments", default=5000, show_default=True, type=click.IntRange(1))
def main(output: Path, payments: int) -> None:
    """Write a flame graph of the buyer's node to OUTPUT, an SVG file."""
    with (
        tempfile.TemporaryDirectory(prefix="offset-flame-") as directory,
        Network(Path(directory), Cast(OURS)) as network,
    ):
        names = build_chain(network, 2)
        buyer = network.servers[names[0]].process
        assert buyer is not None
        rate = ["--rate", str(SAMPLES_PER_SECOND)]
        command = ["py-spy", "record", "--pid", str(buyer.pid), *rate, "--output", str(output)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as profiler:
            try:
                uvloop.run(run_payments(network, names, count=payments, in_flight=10))
            finally:
                network.servers[names[0]].stop()  # py-spy writes, and ends, when the process has ended
            _, errors = profiler.communicate()
        if profiler.returncode:
            raise click.ClickException(f"py-spy: {errors.strip()}")


if __name__ == "__main__":
    main()
