"""The SDK on a real network: nodes and apps are killed in the middle, and no payment is forgotten."""

import asyncio
import subprocess
import sys
from pathlib import Path

from interop.network import Network
from interop.programs import wait_until
from offset_ctrl import PaymentFailed, PaymentState, PayOptions, connect
from offset_ctrl.sdk.journal import Journal
from offset_proto.files import COMMIT, INVOICE, Invoice
from offset_proto.messages.payment import Commit

OPTIONS = PayOptions(route_seconds=30.0, timeout=60.0)

VANISHING_APP = """
import asyncio, os, signal, sys
from offset_ctrl import PayOptions, connect
from offset_proto.files import COMMIT, INVOICE
from pathlib import Path

async def main(ticket, ident, journal, invoice, commit):
    async with connect(ticket, ident, journal=journal) as node:
        payment = node.start_payment(INVOICE.load(Path(invoice)), PayOptions(route_seconds=30.0))
        if commit:
            COMMIT.save(Path(commit), await payment.commit())
        else:
            while not list(Path(journal).glob("*.payment")):
                await asyncio.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


def _files(network: Network, node: str) -> tuple[Path, Path]:
    return network.path(f"{node}.ticket"), network.path(f"{node}-app.ident")


def _frozen(network: Network, node: str, friend: str) -> int:
    balance = network.balance(node, friend, "FST")
    return balance["local_pending_debt"] + balance["remote_pending_debt"]


def test_nodes_that_are_killed_while_their_apps_pay(chain: Network) -> None:
    """Ten payments from C to A; each node of the route is killed and started again meanwhile."""
    before = chain.balance("A", "B", "FST")["balance"]

    async def scenario() -> None:
        async with connect(*_files(chain, "A")) as seller, connect(*_files(chain, "C")) as buyer:

            async def pay(number: int) -> None:
                for _ in range(3):
                    invoice = await seller.create_invoice("FST", 10 + number)

                    async def deliver(commit: Commit, invoice: Invoice = invoice) -> None:
                        await seller.accept_commit(invoice, commit)

                    try:
                        await buyer.pay(invoice, deliver, OPTIONS, receipt_timeout=90)
                        return
                    except PaymentFailed:  # a node went down with it: nothing was paid, so again
                        await seller.cancel_invoice(invoice)
                raise AssertionError("three payments failed")

            paying = [asyncio.create_task(pay(number)) for number in range(10)]
            for name in ("C", "B", "A"):
                await asyncio.sleep(1)
                server = chain.servers[name]
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            async with asyncio.timeout(150):
                await asyncio.gather(*paying)

    asyncio.run(scenario())
    wait_until("all credits", lambda: chain.balance("A", "B", "FST")["balance"] == before + 145, 30)
    wait_until("nothing to be frozen", lambda: _frozen(chain, "C", "B") + _frozen(chain, "A", "B") == 0, 30)


def _vanish(chain: Network, journal: Path, invoice: Path, commit: str) -> None:
    command = [sys.executable, "-c", VANISHING_APP, *map(str, _files(chain, "C")), str(journal), str(invoice), commit]
    ended = subprocess.run(command, timeout=90, capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr


def test_an_app_that_is_killed_before_its_commit(chain: Network, tmp_path: Path) -> None:
    """When it is back the payment is closed, and nothing stays frozen."""
    invoice = tmp_path / "early.invoice"
    chain.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", 7, "-i", invoice)
    _vanish(chain, tmp_path / "payments", invoice, "")
    assert len(Journal(tmp_path / "payments").unfinished()) == 1

    async def come_back() -> None:
        async with connect(*_files(chain, "C"), journal=tmp_path / "payments") as node:
            for payment in node.payments:
                async with asyncio.timeout(20):
                    assert await payment.ended() is PaymentState.FAILED

    chain.stctrl("A", "seller", "cancel-invoice", "-i", invoice)
    asyncio.run(come_back())
    assert list((tmp_path / "payments").iterdir()) == []
    wait_until("nothing to be frozen", lambda: _frozen(chain, "C", "B") == 0, 20)


def test_an_app_that_is_killed_after_its_commit(chain: Network, tmp_path: Path) -> None:
    """The seller collects meanwhile; when the app is back it gets the receipt."""
    invoice, commit = tmp_path / "late.invoice", tmp_path / "late.commit"
    chain.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", 9, "-i", invoice)
    _vanish(chain, tmp_path / "payments", invoice, str(commit))
    (entry,) = Journal(tmp_path / "payments").unfinished()
    assert entry.commit == COMMIT.load(commit)
    chain.stctrl("A", "seller", "commit-invoice", "-i", invoice, "-c", commit)

    async def come_back() -> None:
        async with connect(*_files(chain, "C"), journal=tmp_path / "payments") as node:
            for payment in node.payments:
                assert payment.state is PaymentState.COMMITTED
                async with asyncio.timeout(30):
                    assert await payment.ended() is PaymentState.PAID

    asyncio.run(come_back())
    ((paid, receipt),) = Journal(tmp_path / "payments").receipts()
    assert paid == INVOICE.load(invoice)
    assert receipt.total_dest_payment == 9
    assert Journal(tmp_path / "payments").unfinished() == []
