"""Kill -9 of nodes and followers at random moments: no entry of a history is lost, doubled or invented."""

import asyncio
import contextlib
import json
import os
import sqlite3
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from interop.load import App, Paid, run_payments
from interop.network import Network
from interop.programs import OURS
from offset_crypto.passphrase import open_identity
from offset_ctrl import connect
from offset_funder.testing import FST, SimulatedNetwork
from offset_node.database.sqlite import create_database
from offset_node.state import NodeState
from offset_proto.messages.app import AddInvoice
from offset_proto.messages.extensions import AddExpiringInvoice
from offset_proto.messages.history import EntryKind, HistoryEntry
from offset_proto.text import format_b64
from offset_proto.types import InvoiceId

KILLS = 6
COUNT = 60
NAMES = ["A", "B", "C"]


def _app(network: Network, name: str) -> App:
    return App(network.path(f"{name}-app.ident"), network.path(f"{name}.ticket"))


def _database(network: Network, name: str) -> Path:
    command = network.servers[name].command
    return Path(command[command.index("-d") + 1])


async def _read(app: App) -> list[HistoryEntry]:
    async with connect(app.ticket_path, app.identity_path) as node:
        return [entry async for entry in node.history()]


async def _follow(app: App, kept: list[HistoryEntry]) -> None:
    """Go on where *kept* ends; what it holds is what a follower has written down."""
    async with connect(app.ticket_path, app.identity_path) as node:
        async for entry in node.history(kept[-1].number, follow=True):
            kept.append(entry)  # noqa: PERF401 - it has no end, and what came before the kill is kept


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _pay_and_kill(network: Network, chance: Random, kept: dict[str, list[HistoryEntry]]) -> list[Paid]:
    """Payments from C to A, while nodes are killed, and followers begin again from what they have written down."""
    buyer, seller = _app(network, "C"), _app(network, "A")
    following = {name: asyncio.create_task(_follow(_app(network, name), kept[name])) for name in NAMES}
    payments = asyncio.create_task(run_payments(buyer, seller, "FST", 7, count=COUNT, at_once=8))
    async with asyncio.timeout(200):
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            name, other = chance.choice(NAMES), chance.choice(NAMES)
            server = network.servers[name]
            await asyncio.to_thread(server.kill)
            await _end(following[other])
            await asyncio.to_thread(server.start)
            while True:  # the node of this follower may be the one that is starting
                following[other] = asyncio.create_task(_follow(_app(network, other), kept[other]))
                await asyncio.sleep(0.5)
                if not following[other].done():
                    break
        ended = await payments
        for name in NAMES:
            whole = await _read(_app(network, name))
            while len(kept[name]) < len(whole):  # noqa: ASYNC110 - a test looks on from outside
                await asyncio.sleep(0.1)
    for task in following.values():
        await _end(task)
    return ended


def test_histories_survive_kills(chain: Network) -> None:
    """What followers have is the history; it has what was paid, once; and it comes to the balances."""
    seed = int.from_bytes(os.urandom(4), "big")
    kept = {name: asyncio.run(_read(_app(chain, name))) for name in NAMES}
    began = {name: len(entries) for name, entries in kept.items()}
    ended = asyncio.run(_pay_and_kill(chain, Random(seed), kept))
    paid = Counter(payment.receipt.invoice_id for payment in ended if payment.receipt is not None)
    assert paid, f"seed {seed}"
    for name in NAMES:
        whole = asyncio.run(_read(_app(chain, name)))
        assert kept[name] == whole, f"seed {seed}"
        assert [entry.number for entry in whole] == list(range(1, len(whole) + 1)), f"seed {seed}"
    new = {name: kept[name][began[name] :] for name in NAMES}
    for name, kind in (("C", EntryKind.PAID), ("A", EntryKind.RECEIVED)):
        assert {entry.kind for entry in new[name]} == {kind}, f"seed {seed}"
        assert Counter(entry.opt_invoice_id for entry in new[name]) == paid, f"seed {seed}"
    fees = [entry.fee for entry in new["B"] if entry.change < 0]
    assert fees == [1] * len(paid), f"seed {seed}"
    for name in NAMES:
        chain.servers[name].stop()
        said = OURS.run("stmgr", "check-db", "-d", _database(chain, name)).stdout
        assert f"entries of the history: {len(kept[name])}" in said, f"seed {seed}"
        chain.servers[name].start()


def test_the_history_of_a_payment(chain: Network) -> None:
    """As the command shows it to buyer, mediator and seller; what the mediator earned."""
    for name in NAMES:
        chain.wait_until_back(name)
    assert chain.pay("C", "A", "FST", 9, "told") == "Receipt is valid!"
    last = ["history", "--limit", "1"]
    assert "paid 9 to " in chain.stctrl("C", *last).stdout
    assert "received 9" in chain.stctrl("A", *last).stdout
    assert "forwarded 9 from " in chain.stctrl("B", "history", "--kind", "forwarded").stdout
    assert "FST" in chain.stctrl("B", "income", "--by", "friend").stdout


def test_notes_and_statements(chain: Network, tmp_path: Path) -> None:
    """What one app notes another one reads; the statement has it, closes with the balance, and survives a kill."""
    for name in NAMES:
        chain.wait_until_back(name)
    invoice, month = tmp_path / "a.invoice", f"{datetime.now(UTC):%Y-%m}"
    described = ["create-invoice", "-c", "FST", "-a", "9", "-i", invoice, "--description", "a chair"]
    chain.stctrl("A", "seller", *described)
    outputs = ["-p", tmp_path / "a.payment", "-c", tmp_path / "a.commit"]
    chain.stctrl("C", "buyer", "pay-invoice", "-i", invoice, *outputs, "--note", "oak")
    chain.stctrl("A", "seller", "commit-invoice", "-i", invoice, "-c", tmp_path / "a.commit")
    status = ["payment-status", "-p", tmp_path / "a.payment", "-r", tmp_path / "a.receipt", "--timeout", "20"]
    chain.stctrl("C", "buyer", *status)
    for name, words in (("A", "a chair"), ("C", "oak")):
        chain.servers[name].kill()
        chain.servers[name].start()
        chain.wait_until_back(name)
        (last,) = json.loads(chain.stctrl(name, "history", "--limit", "1", "--json").stdout)
        assert last["note"] == words
        assert last["app"] == format_b64(open_identity(chain.path(f"{name}-app.ident"), None).public_key)
        chain.stctrl(name, "history", "note", last["number"], "as agreed")
        assert "as agreed" in chain.stctrl(name, "history", "--limit", "1").stdout
        output = tmp_path / f"{name}.json"
        chain.stctrl(name, "statement", "--month", month, "-o", output)
        (account,) = json.loads(output.read_text())["accounts"]
        assert account["closing"] == last["balance"]
        assert account["entries"][-1]["note"] == "as agreed"


def test_what_the_original_has_no_place_for(tmp_path: Path) -> None:
    """Export says that the history stays, and which invoices lose their end; import begins a history with balances."""
    network = SimulatedNetwork("AB", Random(1))
    network.befriend("A", "B")
    network.pay(["B", "A"], 5)
    kept, lost = (InvoiceId(bytes([number]) * 32) for number in (1, 2))
    network.request("A", AddInvoice(kept, FST, 7))
    network.request("A", AddExpiringInvoice(lost, FST, 7, 60))
    ours, theirs, again = (tmp_path / name for name in ("node.db", "node.json", "again.db"))
    create_database(ours, NodeState(network.nodes["A"].stored))
    said = OURS.run("stmgr", "export-db", "-d", ours, "-o", theirs).stdout.splitlines()
    assert said[1:] == [
        f"The history stays behind in {ours}: the original keeps none.",
        f"The invoice {format_b64(lost)} loses its end: it stays open until it is paid or cancelled.",
    ]
    assert "begins with the balances" in OURS.run("stmgr", "import-db", "-d", theirs, "-o", again).stdout
    assert "entries of the history: 1" in OURS.run("stmgr", "check-db", "-d", again).stdout
    damage = sqlite3.connect(again)
    with contextlib.closing(damage), damage:
        damage.execute("UPDATE history SET balance = '6'")
    refused = OURS.run("stmgr", "check-db", "-d", again, check=False)
    assert refused.returncode == 1
    assert "after entry 1: the entries come to 6 FST" in refused.stderr
