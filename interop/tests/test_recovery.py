"""Kill -9 of any process in the middle of payments: the network recovers by itself."""

import asyncio

import pytest

from interop.load import App, Paid, run_payments
from interop.network import Network
from interop.programs import wait_until

COUNT = 50
KILLED_AFTER = 10


async def _pay_and_kill(network: Network, victim: str) -> list[Paid]:
    buyer, seller = (App(network.path(f"{name}-app.ident"), network.path(f"{name}.ticket")) for name in ("C", "A"))
    reached = asyncio.Event()

    def on_paid(done: int) -> None:
        if done == KILLED_AFTER:
            reached.set()

    payments = asyncio.ensure_future(run_payments(buyer, seller, "FST", 7, count=COUNT, at_once=8, on_paid=on_paid))
    await reached.wait()
    server = network.servers[victim]
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(120):
        return await payments


def _is_settled(network: Network) -> bool:
    """Nothing is frozen anywhere, and each balance is the negation of the one on the other side."""
    for one, other in (("A", "B"), ("B", "C")):
        first, second = network.balance(one, other, "FST"), network.balance(other, one, "FST")
        if first["balance"] != -second["balance"]:
            return False
        if any(side[debt] for side in (first, second) for debt in ("local_pending_debt", "remote_pending_debt")):
            return False
    return True


@pytest.mark.parametrize("victim", ["relay0", "relay1", "index0", "index1", "A", "B", "C"])
def test_payments_survive_a_kill(chain: Network, victim: str) -> None:
    """Each payment ends as paid or cancelled, each receipt verifies, balances mirror, B keeps its fees."""
    before = chain.balance("B", "C", "FST")["balance"], chain.balance("A", "B", "FST")["balance"]

    ended = asyncio.run(_pay_and_kill(chain, victim))

    assert len(ended) == COUNT
    wait_until("all credits to be settled", lambda: _is_settled(chain), 60)
    paid = sum(1 for payment in ended if payment.receipt is not None)
    assert paid >= KILLED_AFTER
    assert before[1] + 7 * paid == chain.balance("A", "B", "FST")["balance"]
    assert before[0] + 8 * paid == chain.balance("B", "C", "FST")["balance"]
