"""One take-over after the other, and what has to be so in the end."""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from interop.cluster.server import PostgresServer
from interop.network import Cast, Network, NodeSpec
from interop.ports import find_free_port
from interop.programs import wait_until
from interop.ready import OURS_READY
from interop.recorder import Recorder
from interop.restores import observe
from interop.takeovers.pair import NODE, Fault, Pair
from interop.takeovers.payments import CURRENCY, Payments
from offset_ctrl import connect

__all__ = ["Outcome", "Plan", "run", "table"]

FRIEND: Final = "B"
LIMIT: Final = 100_000_000
PAY_SECONDS: Final = 120.0
PAUSE_SECONDS: Final = (9.0, 12.0)
"""
Between two take-overs, for figures. A link that lived for less than 8 seconds is not made again at once
(`offset_crypto.backoff`), and nobody's standby takes over so often.
"""

SETTLE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Plan:
    """
    What is to happen.

    Attributes:
        count: Of take-overs.
        at_once: Payments that are under way at the same time.
        chance: What happens, and when.
        tell: Is told of each take-over.
        pause: The shortest and the longest time between two, in seconds.
    """

    count: int
    at_once: int
    chance: Random
    tell: Callable[[str], object]
    pause: tuple[float, float] = PAUSE_SECONDS


@dataclass
class Outcome:
    """
    What came of it.

    Attributes:
        taken_over: Seconds until the standby listened, for each take-over by what had happened.
        paid: Seconds until the first payment after that, from what had happened on.
        ended: How many payments ended how.
        tokens: That a friend has seen; none of them has two successors.
        faults: What must not happen, in words.
    """

    taken_over: dict[Fault, list[float]] = field(default_factory=lambda: {fault: [] for fault in Fault})
    paid: dict[Fault, list[float]] = field(default_factory=lambda: {fault: [] for fault in Fault})
    ended: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    faults: list[str] = field(default_factory=list)


class _RelayRecorder(Recorder):
    """Reads along on what passes a relay; apps reach their nodes directly."""

    def tap(self, kind: str, identity: Path, port: int) -> int:
        return super().tap(kind, identity, port) if kind == "relay" else port


def run(directory: Path, programs: Path, plan: Plan) -> Outcome:
    """
    Let a plan happen.

    Args:
        directory: For all files; empty.
        programs: Where PostgreSQL's are.
        plan: What is to happen.

    Raises:
        TimeoutError: Nobody takes over, or nothing is paid any more.
        RuntimeError: A process that was taken over from has ended otherwise than it should.
        CommandFailed: A database is not as it should be.
        InvariantBroken: A token has two successors.
    """
    port, outcome = find_free_port(), Outcome()
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(PostgresServer(programs, port))
        recorder = stack.enter_context(contextlib.closing(_RelayRecorder(directory / "records", directory)))
        network = stack.enter_context(Network(directory, Cast(OURS_READY), recorder))
        pair = stack.enter_context(contextlib.closing(Pair(network, database, port)))
        _set_up(network, pair)
        payments = asyncio.run(_disturb(network, pair, plan, outcome))
        _settle(network, payments, outcome)
        network.stop()
        for server in (pair.running, network.servers[FRIEND]):
            network.run("stmgr", "check-db", "-d", server.command[server.command.index("-d") + 1])
    outcome.ended = dict(payments.ended)
    outcome.tokens = observe(directory / "records")
    return outcome


def _set_up(network: Network, pair: Pair) -> None:
    network.add_relay("relay")
    network.add_index_servers(["index"])
    network.add_node(NodeSpec(FRIEND, "relay", "index"))
    pair.set_up("relay", "index")
    network.befriend(NODE, FRIEND, CURRENCY)
    for name, friend in ((NODE, FRIEND), (FRIEND, NODE)):
        network.set_limit(name, friend, CURRENCY, LIMIT)


def _faults(chance: Random) -> Iterator[Fault]:
    """Each once, in an order that *chance* gives; and so on."""
    for _ in itertools.count():
        yield from chance.sample(list(Fault), len(Fault))


async def _disturb(network: Network, pair: Pair, plan: Plan, outcome: Outcome) -> Payments:
    payments = Payments()

    def app(name: str) -> tuple[Path, Path]:
        return network.path(f"{name}.ticket"), network.path(f"{name}-app.ident")

    async with connect(*app(NODE)) as first, connect(*app(FRIEND)) as second, asyncio.TaskGroup() as tasks:
        tasks.create_task(payments.run(first, second, plan.at_once))
        async with asyncio.timeout(PAY_SECONDS):
            await payments.paid_after(0.0)
        for fault in itertools.islice(_faults(plan.chance), plan.count):
            await asyncio.sleep(plan.chance.uniform(*plan.pause))
            struck = time.monotonic()
            seconds = await pair.strike(fault)
            async with asyncio.timeout(PAY_SECONDS):
                paid = await payments.paid_after(struck + seconds) - struck
            outcome.taken_over[fault].append(seconds)
            outcome.paid[fault].append(paid)
            said = await pair.make_good(fault)
            plan.tell(f"{fault.value}: taken over after {seconds:.1f} s, paid after {paid:.1f} s; {said or 'no word'}")
        payments.end()
    return payments


def _settle(network: Network, payments: Payments, outcome: Outcome) -> None:
    """Wait until nothing is under way, and compare."""

    def balances() -> list[dict[str, int]]:
        pairs = ((NODE, FRIEND), (FRIEND, NODE))
        return [network.balance(name, friend, CURRENCY) for name, friend in pairs]

    def is_settled() -> bool:
        one, other = balances()
        frozen = [debt for each in (one, other) for kind, debt in each.items() if kind != "balance"]
        return one["balance"] == -other["balance"] and not any(frozen)

    try:
        wait_until("both sides to say the same, with nothing frozen", is_settled, SETTLE_SECONDS)
    except TimeoutError:
        outcome.faults.append(f"not settled: {balances()}")
    if (balance := balances()[0]["balance"]) != payments.received:
        outcome.faults.append(f"the balance is {balance}, and by the receipts {payments.received}")
    if unknown := payments.ended["end is not known"]:
        outcome.faults.append(f"of {unknown} payments nobody has told the end")


def table(outcome: Outcome) -> str:
    """The figures, one row for each thing that happened."""
    head = f"{'what happened':30}{'times':>6}" + "".join(f"{word:>14}" for word in _COLUMNS)
    rows = [_row(fault.value, outcome.taken_over[fault], outcome.paid[fault]) for fault in Fault if outcome.paid[fault]]
    taken_over, paid = ([*itertools.chain(*found.values())] for found in (outcome.taken_over, outcome.paid))
    ends = ", ".join(f"{how}: {number}" for how, number in sorted(outcome.ended.items()))
    tail = f"payments {ends}; {outcome.tokens} tokens seen, none of them with two successors"
    return "\n".join([head, *rows, _row("all", taken_over, paid), tail, *outcome.faults])


_COLUMNS: Final = ("over p50, s", "p95, s", "paid p50, s", "p95, s", "at most, s")


def _row(what: str, taken_over: list[float], paid: list[float]) -> str:
    figures = [_share(taken_over, 0.5), _share(taken_over, 0.95), _share(paid, 0.5), _share(paid, 0.95), max(paid)]
    return f"{what:30}{len(paid):>6}" + "".join(f"{figure:>14.1f}" for figure in figures)


def _share(seconds: list[float], share: float) -> float:
    """What such a share of them does not exceed."""
    return sorted(seconds)[math.ceil(share * len(seconds)) - 1]
