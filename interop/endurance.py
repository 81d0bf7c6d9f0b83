"""
Endurance: many payments through nodes of both implementations, while links are cut and nodes of ours are killed.

    python -m interop.endurance --payments 10000 --at-once 20 --cut-every 5 --kill-every 60 -o endurance.md

The payments go along a chain of three nodes, once original - ours - original and once ours - original - ours. Meanwhile
connections of the relays are cut at random, and nodes of ours are killed with -9 and started again, until the last
payment has begun. The original stops for good under load. So when nothing has been paid for ``--stall-seconds``, the
nodes of the original that do not answer their app are stopped and started again, or all of them where all answer; the
table counts how often that was needed.

At the end nothing may be frozen, each balance has to be the negation of the one at the other side, and the balances
have to be what the receipts say. What is still frozen then is told apart: it was released by starting the original
again, or by starting ours again, which is a fault of ours, or it stays frozen.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import click

from interop.cutter import LinkCutter
from interop.network import Cast, Network, NodeSpec
from interop.programs import OURS, PROGRAMS, Implementation, find_original
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import Node, PaymentEndUnknown, PaymentFailed, PayOptions, connect
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.rules.proofs import check_receipt
from offset_proto.errors import OffsetError
from offset_proto.files import IDENTITY, TICKET
from offset_proto.messages.app import AddInvoice, CancelInvoice
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import ChannelConsistentReport, FriendReport, McBalanceReport
from offset_proto.types import Currency, InvoiceId, PublicKey

__all__ = ["CHAINS", "Endurance", "Outcome", "Plan", "build", "cast_chain", "check", "open_network", "run", "table"]

CHAINS: Final = ("original - ours - original", "ours - original - ours")

CURRENCY: Final = Currency("FST")
AMOUNT: Final = 3
FEE: Final = 1
"""Credits that each mediator takes."""

LIMIT: Final = 10**9
PATIENT: Final = PayOptions(timeout=240.0, route_seconds=180.0)

PAUSE_SECONDS: Final = 1.0
"""After something failed, until it is tried again."""

PROBE_SECONDS: Final = 10.0
"""For a node to answer a request of its app that takes it a moment."""

RESTARTS_IN_VAIN_MAX: Final = 3
"""After so many restarts of the original without a payment, ours are started again, once; then the run is given up."""

Ledgers = dict[tuple[str, str], McBalanceReport]
"""By node and friend; a channel that is inconsistent has none."""

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """
    What is to happen.

    Attributes:
        payments: To be made.
        at_once: Of them under way at the same time.
        cut_every: Seconds between two cuts, on average.
        kill_every: Seconds between two kills, on average.
        stall_seconds: Without a payment, until the original is started again.
        settle_seconds: For everything to be settled at the end, before that is taken as frozen.
        seed: Of the choice of cuts and kills.
        minutes: After so long no further payment is begun.
        is_route_known: Whether the buyer knows its route, and so pays faster, instead of asking an index server for
            each payment; a payment is cancelled then when its one attempt fails.
    """

    payments: int = 10_000
    at_once: int = 20
    cut_every: float = 5.0
    kill_every: float = 60.0
    stall_seconds: float = 60.0
    settle_seconds: float = 90.0
    seed: int = 0
    minutes: float = 24 * 60.0
    is_route_known: bool = False


@dataclass
class Outcome:
    """
    What came of it.

    Attributes:
        paid: Payments with a receipt.
        cancelled: Payments of which the buyer's node said that nothing was paid.
        unknown: Payments whose end nobody told.
        seconds: From the first invoice until the last payment had ended.
        cuts: Connections that were cut.
        kills: By node.
        longest_pause: Seconds between two payments that were paid one after the other, at most.
        stalls: Seconds of each time for which nothing was paid, from the last payment before it to the first after it.
        restarts: Of nodes of the original because of stalls, by node.
        ended: How often a node of the original ended by itself, by node.
        frozen: Credits, added up over all ledgers, that were frozen when everything should have been settled.
        frozen_after_restart: What was left of that after the original was started again.
        faults: What must not happen, in words.
        notes: What happened at each stall, in words.
    """

    paid: int = 0
    cancelled: int = 0
    unknown: int = 0
    seconds: float = 0.0
    cuts: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    longest_pause: float = 0.0
    stalls: list[float] = field(default_factory=list)
    restarts: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    frozen: int = 0
    frozen_after_restart: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# The network.


def cast_chain(chain: str, original: Implementation, servers: Implementation = OURS) -> tuple[list[str], Cast]:
    """Names of the nodes of a chain, the buyer's first, and who plays whom."""
    players = [{"ours": OURS, "original": original}[word.strip()] for word in chain.split(" - ")]
    names = [chr(ord("A") + number) for number in range(len(players))]
    roles = dict(zip(names, players, strict=True))
    return names, Cast(OURS, roles | dict.fromkeys(("relay0", "relay1", "index"), servers))


@contextlib.contextmanager
def open_network(directory: Path, cast: Cast) -> Iterator[tuple[Network, LinkCutter]]:
    """An empty network whose relays can be cut off."""
    with contextlib.closing(LinkCutter()) as cutter, Network(directory, cast, cutter) as network:
        yield network, cutter


async def build(network: Network, names: list[str]) -> None:
    """Make two relays, an index server and the nodes, friends in a row, with credit in both directions."""
    servers = [asyncio.to_thread(network.add_relay, relay) for relay in ("relay0", "relay1")]
    await asyncio.gather(*servers, asyncio.to_thread(network.add_index_servers, ["index"]))
    specs = [NodeSpec(name, f"relay{number % 2}", "index") for number, name in enumerate(names)]
    await asyncio.gather(*(asyncio.to_thread(network.add_node, spec) for spec in specs))
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(_app(network, name)) for name in names]
        for (one, first), (other, second) in itertools.pairwise(zip(names, nodes, strict=True)):
            sides = ((first, second, other), (second, first, one))
            for node, friend, name in sides:
                await node.add_friend(friend.friend_ticket(), name)
                await node.enable_friend(name)
            for node, _, name in sides:
                await node.set_rate(name, CURRENCY, add=FEE)
            for node, friend, name in sides:
                await _wait_for_ledger(node, friend.public_key)
                await node.open_currency(name, CURRENCY)
                await node.set_max_debt(name, CURRENCY, LIMIT)


def _chain_route(network: Network, names: list[str]) -> MultiRoute:
    """The whole chain, as an index server would answer."""
    keys = [Identity(IDENTITY.load(network.path(f"{name}.ident")).private_key).public_key for name in names]
    return MultiRoute((RouteCapacityRate(FriendsRoute(tuple(keys)), LIMIT, Rate(0, FEE * (len(names) - 2))),))


async def _wait_for_ledger(node: Node, friend: PublicKey) -> None:
    await node.wait_until(lambda report: _ledger(report.friends[friend]) is not None)


def _ledger(friend: FriendReport) -> McBalanceReport | None:
    status = friend.channel_status
    if isinstance(status, ChannelConsistentReport):
        for report in status.currency_reports:
            if report.currency == CURRENCY:
                return report.balance
    return None


def _app(network: Network, name: str) -> contextlib.AbstractAsyncContextManager[Node]:
    return connect(network.path(f"{name}.ticket"), network.path(f"{name}-app.ident"))


@contextlib.asynccontextmanager
async def _connection(network: Network, name: str) -> AsyncIterator[NodeConnection]:
    """A fresh connection, whose report is of now."""
    ticket = TICKET.load(network.path(f"{name}.ticket"))
    app = Identity(IDENTITY.load(network.path(f"{name}-app.ident")).private_key)
    async with open_node(ticket.address, ticket.public_key, app, Ticker()) as node:
        yield node


# The run.


class Endurance:
    """
    One chain under load.

    Args:
        network: With the chain, as `build` has made it.
        cutter: Before the relays of the network.
        names: Of the nodes, the buyer's first.
        plan: What is to happen.
        tell: Where the run says what happens.
    """

    def __init__(
        self,
        network: Network,
        cutter: LinkCutter,
        names: list[str],
        plan: Plan,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.outcome = Outcome()
        self._network = network
        self._cutter = cutter
        self._names = names
        self._plan = plan
        self._tell = tell
        self._ours = [name for name in names if network.cast.of(name).name == OURS.name]
        self._originals = [name for name in names if name not in self._ours]
        self._servers_lock = asyncio.Lock()
        self._last_paid = time.monotonic()
        self._is_stalled = False
        self._payments_left = iter(range(plan.payments))
        self._options = replace(PATIENT, routes=(_chain_route(network, names),)) if plan.is_route_known else PATIENT
        self._before: Ledgers | None = None
        self._is_ending = False

    async def run(self) -> Outcome:
        """Make the payments, and settle; the faults of the outcome are empty where all is well."""
        self._before = await self._ledgers()
        outcome, started = self.outcome, time.monotonic()
        self._last_paid = started
        paying = asyncio.ensure_future(self._pay_all())
        disturbing = [asyncio.ensure_future(work) for work in (self._cut(), self._kill(), self._revive())]
        watching = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait([paying, watching, *disturbing], return_when=asyncio.FIRST_COMPLETED)
            if not paying.done():
                outcome.faults.append("the run was given up, since nothing was paid any more")
        finally:
            for task in (paying, watching, *disturbing):
                task.cancel()
            ends = await asyncio.gather(paying, watching, *disturbing, return_exceptions=True)
        outcome.faults += [f"{type(end).__name__}: {end}" for end in ends if isinstance(end, Exception)]
        outcome.seconds = time.monotonic() - started
        outcome.cuts = self._cutter.cuts
        await self._settle()
        return outcome

    # Payments.

    async def _pay_all(self) -> None:
        async with (
            _app(self._network, self._names[0]) as buyer,
            _app(self._network, self._names[-1]) as seller,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(self._plan.at_once):
                tasks.create_task(self._work(buyer, seller))

    async def _work(self, buyer: Node, seller: Node) -> None:
        end = time.monotonic() + 60 * self._plan.minutes
        for _ in self._payments_left:
            self.outcome.unknown += 1  # until its end is known
            if await self._pay(buyer, seller):
                self.outcome.unknown -= 1
            if time.monotonic() > end:
                break
        self._is_ending = True

    async def _pay(self, buyer: Node, seller: Node) -> bool:
        """One payment; False where its end can not be told."""
        invoice = await _insist(lambda: seller.create_invoice(CURRENCY, AMOUNT))
        payment = buyer.start_payment(invoice, self._options)
        try:
            commit = await payment.commit()
            while True:
                await _insist(lambda: seller.accept_commit(invoice, commit))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._plan.stall_seconds):
                        receipt = await payment.receipt()
                        break
            check_receipt(receipt, invoice)
        except PaymentEndUnknown:
            return False
        except PaymentFailed:
            await _insist(lambda: seller.cancel_invoice(invoice))
            await payment.ended()
            self.outcome.cancelled += 1
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            self.outcome.paid += 1
            self._note_progress()
        return True

    def _note_progress(self) -> None:
        now = time.monotonic()
        self.outcome.longest_pause = max(self.outcome.longest_pause, now - self._last_paid)
        if self._is_stalled:
            self.outcome.stalls.append(now - self._last_paid)
            self._is_stalled = False
        self._last_paid = now

    # Disturbances.

    async def _cut(self) -> None:
        chance = Random(f"cuts {self._plan.seed}")
        while True:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * self._plan.cut_every)
            if not self._is_ending:
                await asyncio.to_thread(self._cutter.cut, chance)

    async def _kill(self) -> None:
        chance = Random(f"kills {self._plan.seed}")
        while True:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * self._plan.kill_every)
            if not self._ours:
                continue  # a chain of the original alone, for comparison
            name, pause = chance.choice(self._ours), chance.uniform(0.1, 1.0)
            if not self._is_ending:
                await self._exclusively(partial(self._kill_one, name, pause))

    async def _kill_one(self, name: str, pause: float) -> None:
        server = self._network.servers[name]
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(pause)
        await asyncio.to_thread(server.start)
        self.outcome.kills[name] += 1

    async def _revive(self) -> None:
        """Start nodes that ended by themselves again: ours must not, the original's are counted."""
        while True:
            await asyncio.sleep(1)
            await self._exclusively(self._start_those_that_ended)

    async def _start_those_that_ended(self) -> None:
        for name in self._names:
            server = self._network.servers[name]
            if server.process is not None and (status := server.process.poll()) is not None:
                if name in self._ours:
                    self.outcome.faults.append(f"our node {name} ended by itself, with status {status}")
                self.outcome.ended[name] += 1
                self._note(f"node {name} has ended by itself, with status {status}; it is started again")
                await asyncio.to_thread(server.start)

    async def _exclusively(self, work: Callable[[], Awaitable[None]]) -> None:
        """One stop or start of servers after another, each to its end even where whoever wants it is cancelled."""

        async def carry_out() -> None:
            async with self._servers_lock:
                await work()

        await asyncio.shield(asyncio.ensure_future(carry_out()))

    # Stalls.

    async def _watch(self) -> None:
        """Start the original again whenever it has stopped; returns where nothing helps any more."""
        in_vain, tried, told = 0, self._last_paid, time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, self._plan.stall_seconds / 4))
            if time.monotonic() - told > 60:
                told = time.monotonic()
                self._tell(f"{self.outcome.paid} paid, {len(self.outcome.stalls)} stalls, {self._cutter.cuts} cuts")
            if self._last_paid > tried:
                in_vain, tried = 0, self._last_paid
            if time.monotonic() - max(tried, self._last_paid) < self._plan.stall_seconds:
                continue
            self._is_stalled = True
            async with self._servers_lock:  # no node is just starting
                silent = [name for name in self._names if not await self._answers(name)]
                frozen = await self._describe_frozen()
            if not self._is_stalled:
                continue  # something was paid while the nodes were asked
            self._note(
                f"nothing was paid for {time.monotonic() - self._last_paid:.0f} s, after {self.outcome.paid} payments; "
                f"{' and '.join(silent) or 'no node'} without an answer; frozen: {frozen}"
            )
            self.outcome.faults += [f"our node {name} does not answer" for name in silent if name in self._ours]
            if in_vain > RESTARTS_IN_VAIN_MAX:
                return
            if in_vain == RESTARTS_IN_VAIN_MAX:
                self._note("starting ours again")
                await self._exclusively(partial(self._restart, self._ours))
            else:
                stuck = [name for name in silent if name in self._originals]
                await self._exclusively(partial(self._restart, stuck or self._originals))
            in_vain, tried = in_vain + 1, time.monotonic()

    async def _answers(self, name: str) -> bool:
        """Whether a node carries out a request of its app that needs nobody else."""
        invoice_id = InvoiceId(os.urandom(InvoiceId.SIZE))
        try:
            async with asyncio.timeout(PROBE_SECONDS), _connection(self._network, name) as node:
                await node.request(AddInvoice(invoice_id, CURRENCY, AMOUNT))
                await node.request(CancelInvoice(invoice_id))
        except (OffsetError, OSError):
            return False
        return True

    async def _restart(self, names: Iterable[str]) -> None:
        for name in names:
            await self._start_again(name)
            self.outcome.restarts[name] += 1

    async def _start_again(self, name: str) -> None:
        server = self._network.servers[name]
        await asyncio.to_thread(server.stop)
        try:
            await asyncio.to_thread(server.start)
        except (RuntimeError, TimeoutError) as error:  # its database can not be loaded, for example
            self.outcome.faults.append(f"node {name} does not start again: {' '.join(str(error).split())}")

    def _note(self, text: str) -> None:
        self.outcome.notes.append(text)
        self._tell(text)

    # The end.

    async def _ledgers(self) -> Ledgers | None:
        """What each node says of each of its friends; None where one does not answer."""
        ledgers: Ledgers = {}
        for name in self._names:
            try:
                async with asyncio.timeout(PROBE_SECONDS), _connection(self._network, name) as node:
                    for friend in node.report.friends.values():
                        ledger = _ledger(friend)
                        if ledger is not None:
                            ledgers[name, friend.name] = ledger
            except (OffsetError, OSError):
                return None
        return ledgers

    async def _describe_frozen(self) -> str:
        ledgers = await self._ledgers()
        if ledgers is None:
            return "not known"
        held = [f"{name} for {friend} {ledger.remote_pending_debt}" for (name, friend), ledger in ledgers.items()]
        return ", ".join(text for text in held if not text.endswith(" 0")) or "nothing"

    def _pairs(self) -> list[tuple[str, str]]:
        return list(itertools.pairwise(self._names))

    def _is_settled(self, ledgers: Ledgers | None) -> bool:
        if ledgers is None or len(ledgers) != 2 * len(self._pairs()):
            return False
        mirrored = all(ledgers[one, other].balance == -ledgers[other, one].balance for one, other in self._pairs())
        return mirrored and not _frozen(ledgers)

    async def _settled_ledgers(self) -> Ledgers | None:
        """The ledgers as soon as all is settled, or as they are after a while."""
        end = time.monotonic() + self._plan.settle_seconds
        while True:
            ledgers = await self._ledgers()
            if self._is_settled(ledgers) or time.monotonic() > end:
                return ledgers
            await asyncio.sleep(0.5)

    async def _settle(self) -> None:
        outcome = self.outcome
        async with self._servers_lock:  # a node may just be starting
            ledgers = await self._settled_ledgers()
        if not self._is_settled(ledgers):
            outcome.frozen = _frozen(ledgers or {})
            self._note(f"not settled at the end: {await self._describe_frozen()}; starting the original again")
            await self._restart(self._originals)
            ledgers = await self._settled_ledgers()
        if not self._is_settled(ledgers):
            outcome.frozen_after_restart = _frozen(ledgers or {})
            self._note(f"not settled after that: {await self._describe_frozen()}; starting ours again")
            await self._restart(self._ours)
            ledgers = await self._settled_ledgers()
            if self._is_settled(ledgers):
                outcome.faults.append("starting our nodes again settled what they should have settled before")
        outcome.faults += check(self._names, self._before, ledgers, outcome)


def check(names: list[str], before: Ledgers | None, after: Ledgers | None, outcome: Outcome) -> list[str]:
    """
    Whether all credits are exact: mirrored, nothing frozen, and moved as the receipts say.

    Args:
        names: Of the nodes of the chain, the buyer's first.
        before: The ledgers before the first payment.
        after: The ledgers at the end.
        outcome: How many payments were made.

    Returns:
        What is not exact, in words.
    """
    if before is None or after is None:
        return ["a node does not answer"]
    faults: list[str] = []
    counts: set[tuple[int, int]] = set()
    hops = list(itertools.pairwise(names))
    for number, (one, other) in enumerate(hops):
        near, far = after.get((one, other)), after.get((other, one))
        if near is None or far is None:
            faults.append(f"the channel of {one} and {other} is not consistent")
            continue
        if near.balance != -far.balance:
            faults.append(f"{one} and {other} do not agree: {near.balance} and {far.balance}")
        if frozen := near.local_pending_debt + near.remote_pending_debt:
            faults.append(f"{frozen} credits between {one} and {other} stay frozen")
        each = AMOUNT + FEE * (len(hops) - 1 - number)
        counts.add(divmod(before[one, other].balance - near.balance, each))
    if len(counts) > 1 or any(rest for _, rest in counts):
        faults.append(f"the balances are not of one number of payments: {sorted(counts)}")
    for paid, _ in sorted(counts):
        if not outcome.paid <= paid <= outcome.paid + outcome.unknown:
            faults.append(f"the balances are of {paid} payments, the receipts of {outcome.paid}")
    return faults


def _frozen(ledgers: Ledgers) -> int:
    return sum(ledger.local_pending_debt for ledger in ledgers.values())


async def _insist(step: Callable[[], Awaitable[T]]) -> T:
    """Do it, however often the node does not answer."""
    while True:
        try:
            return await step()
        except PaymentFailed:
            raise
        except OffsetError:
            await asyncio.sleep(PAUSE_SECONDS)


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


# The table.


def _counted(counts: Counter[str]) -> str:
    total = sum(counts.values())
    return f"{total} ({', '.join(f'{name} {count}' for name, count in sorted(counts.items()))})" if total else "0"


def _stalls(stalls: list[float]) -> str:
    return f"{len(stalls)}, {sum(stalls):.0f} s in all, {max(stalls):.0f} s at most" if stalls else "0"


def _frozen_at_the_end(outcome: Outcome) -> str:
    if not outcome.frozen:
        return "nothing"
    if not outcome.frozen_after_restart:
        return f"{outcome.frozen} credits, released when the original was started again"
    return f"{outcome.frozen} credits, {outcome.frozen_after_restart} of them after the original was started again"


def table(outcomes: dict[str, Outcome]) -> str:
    """A column for each chain; Markdown."""
    rows: dict[str, Callable[[Outcome], object]] = {
        "payments paid": lambda outcome: f"{outcome.paid:,}",
        "payments cancelled": lambda outcome: outcome.cancelled,
        "payments whose end is unknown": lambda outcome: outcome.unknown,
        "links cut": lambda outcome: outcome.cuts,
        "kills of ours": lambda outcome: _counted(outcome.kills),
        "longest time without a payment": lambda outcome: f"{outcome.longest_pause:.0f} s",
        "stalls": lambda outcome: _stalls(outcome.stalls),
        "restarts that were needed": lambda outcome: _counted(outcome.restarts),
        "ends of a node by itself": lambda outcome: _counted(outcome.ended),
        "frozen at the end": _frozen_at_the_end,
        "payments/s, stalls included": lambda outcome: f"{outcome.paid / outcome.seconds:.1f}",
        "payments/s between stalls": lambda outcome: f"{outcome.paid / (outcome.seconds - sum(outcome.stalls)):.1f}",
        "faults": lambda outcome: "; ".join(outcome.faults) or "none",
    }
    lines = [f"| | {' | '.join(outcomes)} |", "|---" * (1 + len(outcomes)) + "|"]
    for title, cell in rows.items():
        lines.append(f"| {title} | {' | '.join(str(cell(outcome)) for outcome in outcomes.values())} |")
    return "\n".join(lines) + "\n"


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
