"""
The demo: three nodes, two relays, two index servers, each its own process; a payment through the middle.

    python -m interop.demo [--keep DIR]

C pays A 50 FST through B, then 7 EUR. Every step is one of the command-line programs. Without --keep
everything happens in a temporary directory, and nothing is left behind: not by success, failure or Ctrl-C.
With --keep DIR the network goes on running, and the commands to go on by hand are printed.
"""

import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

import click

from interop.by_hand import run_by_hand
from interop.network import Network, NodeSpec
from interop.programs import CommandFailed, wait_until

__all__ = ["main"]

NODES = ("A", "B", "C")


def _phase(text: str) -> None:
    click.echo(click.style(f"\n== {text}", bold=True))


def _show(network: Network) -> None:
    for name in NODES:
        click.echo(f"Node {name}:")
        click.echo(network.stctrl(name, "info", "friends").stdout.rstrip())


def _expect(network: Network, node: str, friend: str, currency: str, balance: int) -> None:
    expected = {"balance": balance, "local_pending_debt": 0, "remote_pending_debt": 0}
    wait_until(
        f"{node} to have a balance of {balance} {currency} with {friend}",
        lambda: network.balance(node, friend, currency) == expected,
        20,
    )


def _set_up(network: Network) -> None:
    _phase("Two relays, two index servers that trust each other")
    network.add_relay("relay0")
    network.add_relay("relay1")
    network.add_index_servers(["index0", "index1"])
    _phase("Three nodes, A - B - C, each with one app")
    for name, relay, index in (
        ("A", "relay0", "index0"),
        ("B", "relay1", "index0"),
        ("C", "relay0", "index1"),
    ):
        network.add_node(NodeSpec(name, relay, index))
    _phase("Friendships in FST; B takes 1 FST for each payment that it forwards for C")
    network.befriend("A", "B", "FST")
    network.befriend("B", "C", "FST", rates=(1, 0))
    network.set_limit("B", "C", "FST", 100)
    network.set_limit("A", "B", "FST", 100)


def _run(network: Network) -> None:
    started = time.monotonic()
    _set_up(network)
    _phase("Before the payment")
    _show(network)
    _phase("C pays A 50 FST through B")
    click.echo(network.pay("C", "A", "FST", 50, "first"))
    for node, friend, balance in (("A", "B", 50), ("B", "A", -50), ("B", "C", 51), ("C", "B", -51)):
        _expect(network, node, friend, "FST", balance)
    _phase("After the payment: A +50, B +1, C -51")
    _show(network)
    _phase("A second currency: C pays A 7 EUR, free of charge")
    network.befriend("A", "B", "EUR")
    network.befriend("B", "C", "EUR")
    network.set_limit("B", "C", "EUR", 10)
    network.set_limit("A", "B", "EUR", 10)
    click.echo(network.pay("C", "A", "EUR", 7, "second"))
    for node, friend, balance in (("A", "B", 7), ("B", "A", -7), ("B", "C", 7), ("C", "B", -7)):
        _expect(network, node, friend, "EUR", balance)
    _show(network)
    _phase(f"Done in {time.monotonic() - started:.1f} s")


def _explain(network: Network) -> None:
    click.echo(f"\nThe network goes on running in {network.directory}. To go on by hand:\n")
    for name in NODES:
        login = " ".join(map(shlex.quote, network.login(name)))
        click.echo(f"  {name}='{login}'")
    click.echo(
        "\n  stctrl $A info friends"
        "\n  stctrl $A seller create-invoice -c FST -a 5 -i third.invoice"
        "\n  stctrl $C buyer pay-invoice -i third.invoice -p third.payment -c third.commit"
        "\n  stctrl $A seller commit-invoice -i third.invoice -c third.commit"
        "\n  stctrl $C buyer payment-status -p third.payment -r third.receipt"
        "\n  stverify verify-receipt -i third.invoice -r third.receipt"
        "\n\nThe processes, and how each is started again:\n"
    )
    for server in network.servers.values():
        assert server.process is not None
        click.echo(f"  {server.process.pid:>8}  {shlex.join(server.command)}")
    pids = " ".join(str(server.process.pid) for server in network.servers.values() if server.process)
    click.echo(f"\nTo end them all:\n\n  kill {pids}\n")


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Leave the network running in this new directory.")
def _demo(keep: Path | None) -> int:
    """Three nodes, two relays, two index servers; C pays A through B."""
    signal.signal(signal.SIGTERM, _raise_interrupt)
    if keep is None:
        with (
            tempfile.TemporaryDirectory(prefix="offset-demo-") as directory,
            Network(Path(directory)) as network,
        ):
            _run(network)
        return 0
    try:
        keep.mkdir(parents=True)
    except OSError as error:
        raise click.ClickException(f"--keep {keep}: {error.strerror}") from None
    network = Network(keep.resolve())
    try:
        _run(network)
    except BaseException:
        network.stop()
        raise
    _explain(network)
    return 0


def main() -> int:
    """Run the demo; the exit status tells whether it succeeded."""
    return run_by_hand(_demo, CommandFailed, TimeoutError, RuntimeError)


if __name__ == "__main__":
    sys.exit(main())
