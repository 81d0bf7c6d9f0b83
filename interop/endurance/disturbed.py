"""
Payments along a chain while it is disturbed.

Workers pay until the last payment has ended. Beside them one task cuts links, one kills nodes of ours, one starts nodes
that ended, and one watches for stalls. Whatever stops or starts a node holds a lock, so that no two do at once.
"""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final

from interop.cutter import LinkCutter
from interop.endurance.accounts import check, frozen_credits
from interop.endurance.chain import (
    AMOUNT,
    CURRENCY,
    Ledgers,
    chain_route,
    ledger_of,
    open_app,
    open_connection,
)
from interop.endurance.plan import Outcome, Plan
from interop.load import PAUSE_SECONDS, insist
from interop.network import Network
from interop.programs import OURS
from offset_ctrl import Node, PaymentEndUnknown, PaymentFailed, PayOptions
from offset_ctrl.rules.proofs import check_receipt
from offset_proto.errors import OffsetError
from offset_proto.messages.app import AddInvoice, CancelInvoice
from offset_proto.types import InvoiceId

__all__ = ["Endurance"]

PATIENT: Final = PayOptions(timeout=240.0, route_seconds=180.0)

PROBE_SECONDS: Final = 10.0
"""For a node to answer a request of its app that takes it a moment."""

RESTARTS_IN_VAIN_MAX: Final = 3
"""After so many restarts of the original without a payment, ours are started again, once; then the run is given up."""


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
        self._options = replace(PATIENT, routes=(chain_route(network, names),)) if plan.is_route_known else PATIENT
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
            open_app(self._network, self._names[0]) as buyer,
            open_app(self._network, self._names[-1]) as seller,
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
        invoice = await insist(lambda: seller.create_invoice(CURRENCY, AMOUNT))
        payment = buyer.start_payment(invoice, self._options)
        try:
            commit = await payment.commit()
            while True:
                await insist(lambda: seller.accept_commit(invoice, commit))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._plan.stall_seconds):
                        receipt = await payment.receipt()
                        break
            check_receipt(receipt, invoice)
        except PaymentEndUnknown:
            return False
        except PaymentFailed:
            await insist(lambda: seller.cancel_invoice(invoice))
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
            async with asyncio.timeout(PROBE_SECONDS), open_connection(self._network, name) as node:
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
                async with asyncio.timeout(PROBE_SECONDS), open_connection(self._network, name) as node:
                    for friend in node.report.friends.values():
                        ledger = ledger_of(friend)
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
        return mirrored and not frozen_credits(ledgers)

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
            outcome.frozen = frozen_credits(ledgers or {})
            self._note(f"not settled at the end: {await self._describe_frozen()}; starting the original again")
            await self._restart(self._originals)
            ledgers = await self._settled_ledgers()
        if not self._is_settled(ledgers):
            outcome.frozen_after_restart = frozen_credits(ledgers or {})
            self._note(f"not settled after that: {await self._describe_frozen()}; starting ours again")
            await self._restart(self._ours)
            ledgers = await self._settled_ledgers()
            if self._is_settled(ledgers):
                outcome.faults.append("starting our nodes again settled what they should have settled before")
        outcome.faults += check(self._names, self._before, ledgers, outcome)
