"""
Figures of whole networks, on this machine.

    python -m bench                     everything, three rounds
    python -m bench --only relay        rows whose name contains this; may be repeated
    python -m bench --rounds 1 --quick  a look

With OFFSET_RUST_BIN set, the original's programs are measured in alternating rounds with ours, where a row can be
measured from outside. ``--against DIR`` does the same with an earlier build of ours, whose programs are in DIR (the
``bin`` of a virtual environment): whether a change has paid is seen within one run, and nowhere else.

A round that stalls is noted and repeated, a bounded number of times, and the run goes on with the next row. Results go
to a JSON file with what the machine is; ``python -m bench.report`` makes tables and plots of it.
"""

import asyncio
import contextlib
import os
import platform
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bench.backups import measure_backups, measure_locks
from bench.clearing import LIVES, measure_clearing
from bench.counted import KINDS, counted_programs, read_counts
from bench.floor import floor_cpu_seconds
from bench.indexes import run_graph, run_index
from bench.measured import Figures, Measured, stall_reason
from bench.payments import PaymentRun, build_chain, run_payments
from bench.relays import hold_listeners, run_tunnel
from bench.report import PERCENTILES, STORED_PERCENTS, table
from bench.routes import NETWORKS, measure_carried, measure_fees, measure_times
from bench.stored_state import add_stored_state, measure_start
from bench.watched import SERVERS, UNWATCHED, reading, watched
from bench.wire_bytes import ByteCounter
from interop.network import Cast, Network
from interop.programs import OURS, Implementation, MissingPrograms, find_original, find_programs

STALLS_MAX: Final = 3
"""Rounds of a row that may stall with one implementation; after so many, the row is not measured again with it."""

MEASURE_SECONDS: Final = 600.0
"""For a measurement that has no time limits of its own."""

COMMAND_SECONDS: Final = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """How much is done for each row; less for a look."""

    payments: int = 1000
    long_payments: int = 10_000
    messages: int = 40_000
    listeners: int = 15_000
    listener_seconds: float = 70.0
    routes: int = 4000
    idle_seconds: float = 64.0  # signs of life come every 16


QUICK = Scale(200, 500, 5000, 500, 5.0, 500, 16.0)

Measure = Callable[[Network, Scale], Figures]


def _run(work: Coroutine[Any, Any, T], limit: float | None = None) -> T:
    import uvloop

    async def within_limit() -> T:
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError as error:
            raise TimeoutError(str(error) or f"not done within {limit} s") from error

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(within_limit())


def _payment_figures(run: PaymentRun) -> Figures:
    latencies = sorted(run.latencies_seconds)
    count = len(latencies)
    figures = {"payments/s": run.per_second}
    for percent in PERCENTILES:
        figures[f"p{percent:g} ms"] = latencies[min(count - 1, int(count * percent / 100))] * 1000
    return figures | {f"CPU ms {name}": cpu / count * 1000 for name, cpu in run.cpu_seconds.items() if name != "index"}


def _payments(nodes: int, in_flight: int) -> Measure:
    def measure(network: Network, scale: Scale) -> Figures:
        names = build_chain(network, nodes)
        _run(run_payments(network, names, count=50, in_flight=in_flight))
        return _payment_figures(_run(run_payments(network, names, count=scale.payments, in_flight=in_flight)))

    return measure


def _floor(nodes: int, in_flight: int) -> Measure:
    """Processor time of each role beside that of the bare work that it was seen to do."""

    def measure(network: Network, scale: Scale) -> Figures:
        count = scale.payments
        used = _payments(nodes, in_flight)(network, scale)
        with tempfile.TemporaryDirectory(prefix="offset-counts-") as counts:
            each = _counts_of_a_payment(Path(counts), nodes, in_flight, count)
        figures: Figures = {}
        for name, done in each.items():
            least = floor_cpu_seconds(done, count) / count * 1000
            figures |= {
                f"CPU ms {name}": used[f"CPU ms {name}"],
                f"floor, CPU ms {name}": least,
                f"ours / floor, {name}": used[f"CPU ms {name}"] / least,
            }
            figures |= {f"{kind}, {name}": number for kind, number in done.items() if "bytes" not in kind}
        return figures

    return measure


def _counts_of_a_payment(directory: Path, nodes: int, in_flight: int, count: int) -> dict[str, dict[str, float]]:
    """What each node and the relay do for a payment, in a network of its own."""
    with _network(counted_programs(directory), "") as network:
        names = build_chain(network, nodes)
        _run(run_payments(network, names, count=50, in_flight=in_flight))
        running = {name: network.servers[name].process for name in (*names, "relay")}
        pids = {name: process.pid for name, process in running.items() if process is not None}
        before = {name: read_counts(directory, pid) for name, pid in pids.items()}
        _run(run_payments(network, names, count=count, in_flight=in_flight))
        after = {name: read_counts(directory, pid) for name, pid in pids.items()}
    return {name: {kind: (after[name][kind] - before[name][kind]) / count for kind in KINDS} for name in pids}


def _endurance(network: Network, scale: Scale) -> Figures:
    names = build_chain(network, 2)
    figures = {}
    for in_flight in (1, 10, 50, 100):
        run = _run(run_payments(network, names, count=scale.long_payments, in_flight=in_flight))
        figures[f"payments/s, {in_flight} in flight"] = run.per_second
        figures[f"slowest ms, {in_flight} in flight"] = max(run.latencies_seconds) * 1000
    return figures


def _stored(network: Network, scale: Scale) -> Figures:
    """
    Two nodes that store ever more, and two that store nothing, which pay in turns with them.

    At 100 percent there are 1,000 friends, 10,000 invoices and 100,000 payments.
    """
    figures: Figures = {}
    with _network(OURS, "") as empty:
        pairs = [(network, build_chain(network, 2)), (empty, build_chain(empty, 2))]
        stored = 0
        for percent in STORED_PERCENTS:
            more = (percent - stored) * scale.payments // Scale().payments
            stored = percent
            for pair, names in pairs:
                for name in names:  # all are stopped and started
                    count = more if pair is network else 0
                    add_stored_state(pair, name, friends=10 * count, invoices=100 * count, payments=1000 * count)
                pair.wait_for("both to be online", names[0], names[1], lambda friend: bool(friend["online"]))
            turns = _rates_in_turns(pairs, scale.payments // 4)
            figures[f"payments/s, {percent}% stored"] = statistics.median(full for full, _ in turns)
            figures[f"payments/s, nothing stored, beside {percent}%"] = statistics.median(none for _, none in turns)
            figures[f"kept at {percent}%"] = statistics.median(full / none for full, none in turns)
    return figures


def _rates_in_turns(pairs: list[tuple[Network, list[str]]], payments: int) -> list[tuple[float, float]]:
    """Payments in a second of both pairs, 10 in flight, in twelve turns; either is the first in half of them."""
    rates: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(-1, 12):  # the first one warms up
        for which in (0, 1) if turn % 2 else (1, 0):
            network, names = pairs[which]
            run = _run(run_payments(network, names, count=payments, in_flight=10))
            if turn >= 0:
                rates[which].append(run.per_second)
    return list(zip(rates[0], rates[1], strict=True))


def _watched(network: Network, scale: Scale) -> Figures:
    """A pair of nodes with default logs and metrics, and one with neither, which pay in turns."""
    network.options = watched()
    with _network(OURS, "") as quiet:
        quiet.options = UNWATCHED
        pairs = [(network, build_chain(network, 2)), (quiet, build_chain(quiet, 2))]
        with reading(network.options) as read:
            turns = _rates_in_turns(pairs, scale.payments)
        logs = sum(network.path(f"{name}.log").stat().st_size for name in SERVERS)
    return {
        "payments/s, watched": statistics.median(rate for rate, _ in turns),
        "payments/s, not watched": statistics.median(rate for _, rate in turns),
        "kept": statistics.median(rate / other for rate, other in turns),
        "bytes of log": logs,
        "metrics read, times": len(read),
    }


def _wire(in_flight: int) -> Measure:
    """A row of its own for each number in flight: where many stall, the bytes with one still count."""

    def measure(network: Network, scale: Scale) -> Figures:
        counter = _counter(network)
        names = build_chain(network, 2)
        time.sleep(2)
        counter.passed.clear()
        _run(run_payments(network, names, count=scale.payments, in_flight=in_flight))
        return {"bytes per payment": sum(counter.passed.values()) / scale.payments}

    return measure


def _wire_idle(network: Network, scale: Scale) -> Figures:
    counter = _counter(network)
    build_chain(network, 2)
    time.sleep(5)
    counter.passed.clear()
    time.sleep(scale.idle_seconds)
    return {
        "relay links": counter.links["relay"],
        "B/s of an idle relay link": counter.passed["relay"] / scale.idle_seconds / counter.links["relay"],
    }


def _counter(network: Network) -> ByteCounter:
    assert isinstance(network.recorder, ByteCounter)
    return network.recorder


def _tunnel(network: Network, scale: Scale) -> Figures:
    network.add_relay("relay")
    run = _run(run_tunnel(network, scale.messages), MEASURE_SECONDS)
    return {
        "messages/s": run.messages_per_second,
        "relay CPU us each": run.relay_cpu_us,
        "round trip p50 ms": run.round_trip_ms,
    }


def _listeners(network: Network, scale: Scale) -> Figures:
    network.add_relay("relay")
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    holding = hold_listeners(network, min(scale.listeners, descriptors - 200), scale.listener_seconds)
    run = _run(holding, MEASURE_SECONDS)
    return {
        "held": run.listeners,
        "set up/s": run.per_second,
        "kB each when fresh": run.bytes_each / 1000,
        "kB each later": run.bytes_each_later / 1000,
    }


def _index(network: Network, scale: Scale) -> Figures:
    network.add_index_servers(["index"])
    run = _run(run_index(network, 10_000, 30_000, scale.routes), MEASURE_SECONDS)
    return {
        "routes/s": run.routes_per_second,
        "p50 ms": run.p50_ms,
        "p95 ms": run.p95_ms,
        "found": run.found_share,
        "updates/s": run.updates_per_second,
    }


def _index_by_size(network: Network, scale: Scale) -> Figures:
    figures: Figures = {}
    for nodes in (1000, 5000, 20_000, 50_000, 100_000) if scale.routes > 1000 else (1000, 5000):
        name = f"index{nodes}"
        network.add_index_servers([name])
        run = _run(run_index(network, nodes, 3 * nodes, scale.routes // 4, name), MEASURE_SECONDS)
        figures |= {f"{nodes} nodes, p50 ms": run.p50_ms, f"{nodes} nodes, p95 ms": run.p95_ms}
        network.servers[name].stop()
    return figures


def _index_graph(network: Network, scale: Scale) -> Figures:
    del network  # the engine alone
    nodes = 250 * scale.routes
    run = run_graph(nodes, 5 * nodes, 500)
    return {
        "nodes": nodes,
        "GiB": run.resident_bytes / 2**30,
        "p50 ms": run.p50_ms,
        "p95 ms": run.p95_ms,
        "found": run.found_share,
    }


def _routes_carried(name: str) -> Measure:
    return lambda network, scale: measure_carried(name, 7, scale.routes // 40)


def _routes_fees(network: Network, scale: Scale) -> Figures:
    del network  # the engine alone
    return measure_fees(7, scale.routes // 20)


def _routes_times(nodes_for_each: int) -> Measure:
    def measure(network: Network, scale: Scale) -> Figures:
        del network  # the engine alone
        nodes = nodes_for_each * scale.routes // 4
        return {"nodes": nodes} | measure_times(nodes, 5 * nodes, 500)

    return measure


def _clearing(name: str) -> Measure:
    return lambda network, scale: measure_clearing(LIVES[name], 7, 52 * scale.payments // Scale().payments)


def _start(network: Network, scale: Scale) -> Figures:
    return {"seconds with 10,000 friends": measure_start(network, 10_000)}


def _backups(network: Network, scale: Scale) -> Figures:
    names = build_chain(network, 2)
    add_stored_state(network, names[0], friends=10 * scale.payments, invoices=0, payments=0)
    network.wait_for("it to be back", names[1], names[0], lambda friend: bool(friend["online"]))
    return measure_locks() | _run(measure_backups(network, names, scale.payments // 2), MEASURE_SECONDS)


def _command_line(network: Network, scale: Scale) -> Figures:
    names = build_chain(network, 2)
    figures = {}
    stctrl = network.cast.of("stctrl").program("stctrl")
    for title, words in (("info friends ms", [*network.login(names[0]), "info", "friends"]), ("--help ms", ["--help"])):
        took = []
        for _ in range(10):
            started = time.perf_counter()
            subprocess.run([stctrl, *words], check=True, stdout=subprocess.DEVNULL, timeout=COMMAND_SECONDS)
            took.append(time.perf_counter() - started)
        figures[title] = statistics.median(took) * 1000
    return figures


ROWS: dict[str, tuple[Measure, bool]] = {
    **{
        f"payments, {nodes} nodes, {in_flight} in flight": (_payments(nodes, in_flight), True)
        for nodes in (2, 3, 5)
        for in_flight in (1, 10, 50)
    },
    **{
        f"floor, {nodes} nodes, {in_flight} in flight": (_floor(nodes, in_flight), False)
        for nodes in (2, 3)
        for in_flight in (1, 50)
    },
    "payments, 10,000 at each of 1, 10, 50, 100": (_endurance, True),
    "rate with stored state": (_stored, False),
    "rate with logs and metrics": (_watched, False),
    "bytes on the wire, idle": (_wire_idle, True),
    **{f"bytes on the wire, {in_flight} in flight": (_wire(in_flight), True) for in_flight in (1, 10)},
    "relay, one tunnel": (_tunnel, True),
    "relay, idle listeners": (_listeners, True),
    "index, 10,000 nodes": (_index, True),
    "index, by size": (_index_by_size, True),
    "index engine, 1,000,000 nodes": (_index_graph, False),
    **{f"routes, {name}": (_routes_carried(name), False) for name in NETWORKS},
    "routes, fees": (_routes_fees, False),
    "routes, 10,000 nodes": (_routes_times(10), False),
    "routes, 1,000,000 nodes": (_routes_times(1000), False),
    **{f"clearing, {name}": (_clearing(name), False) for name in LIVES},
    "node start": (_start, True),
    "keys and backups, 10,000 friends": (_backups, False),
    "command line": (_command_line, True),
}
"""Row: how it is measured, and whether that works for every implementation."""


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A signal to end that comes meanwhile counts at the end of the block."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def _network(player: Implementation, row: str) -> Iterator[Network]:
    """A network for one round; however the round ends, no process, port or file of it is left."""
    counter = ByteCounter() if row.startswith("bytes on the wire") else None
    directory = tempfile.TemporaryDirectory(prefix="offset-bench-")
    network = Network(Path(directory.name), Cast(player), counter)
    try:
        yield network
    finally:
        with _uninterrupted():
            network.stop()
            if counter is not None:
                counter.close()
            directory.cleanup()


def _measure(measured: Measured, row: str, player: Implementation, scale: Scale) -> None:
    """One round of a row; where it stalls it is repeated, until `STALLS_MAX` rounds have stalled."""
    measure, _ = ROWS[row]
    while len(measured.stalls_of(row, player.name)) < STALLS_MAX:
        try:
            with _network(player, row) as network:
                figures = measure(network, scale)
        except Exception as error:
            reason = stall_reason(error)
            if reason is None:
                raise
            measured.add_stall(row, player.name, reason)
            click.echo(f"\n{row} ({player.name}): a round stalled: {reason}", err=True)
        else:
            measured.add_figures(row, player.name, figures)
            return


def _machine() -> dict[str, Any]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": model[0].partition(":")[2].strip() if model else platform.processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def _players(against: Path | None) -> list[Implementation]:
    """Ours, and those that are measured beside it."""
    try:
        before = None if against is None else find_programs("before", against, "--against ")
        others = (before, find_original())
    except MissingPrograms as error:
        raise click.UsageError(str(error)) from None
    return [OURS, *(player for player in others if player is not None)]


def _in_turn(players: list[Implementation], number: int) -> list[Implementation]:
    """In the order of this round: the next one goes backwards, so that none has the better place."""
    return players[::-1] if number % 2 else players


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--only", multiple=True, metavar="TEXT", help="Rows whose name contains this; may be repeated.")
@click.option("--quick", is_flag=True, help="Less of everything: a look, no figures to keep.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("bench.json"), show_default=True)
@click.option("--against", metavar="DIR", type=click.Path(path_type=Path), help="Programs of an earlier build of ours.")
def main(rounds: int, only: tuple[str, ...], quick: bool, output: Path, against: Path | None) -> None:
    """Measure, and write the results to a JSON file."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the processes end as well
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    players = _players(against)
    rows = {name: row for name, row in ROWS.items() if not only or any(each in name for each in only)}
    if not rows:
        raise click.BadParameter(f"no such row; there are {', '.join(ROWS)}")
    scale, measured = QUICK if quick else Scale(), Measured(_machine())
    with click.progressbar(length=rounds * len(rows), label="measuring", show_pos=True, file=sys.stderr) as bar:
        for number in range(rounds):
            for name, (_, is_for_all) in rows.items():
                for player in _in_turn(players, number) if is_for_all else [OURS]:
                    _measure(measured, name, player, scale)
                    measured.store(output)
                bar.update(1)
    click.echo(table(measured))


if __name__ == "__main__":
    main()
