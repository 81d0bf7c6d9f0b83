"""What a batch costs the database does not depend on what is in it: counted in SQLite's instructions, not in time."""

import asyncio
from random import Random

import pytest

from offset_funder.testing import SimulatedNetwork
from offset_node.database.checking import check_database
from offset_node.database.move_over import export_database
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.state import NodeState
from offset_proto.messages.app import AddFriend, EnableFriend
from offset_proto.types import PublicKey

PAYMENTS = 10


class _CountingNetwork(SimulatedNetwork):
    """What the buyer's database executes is counted."""

    database: Database | None = None
    count = 0

    def store_in(self, database: Database, runner: asyncio.Runner) -> None:
        self.database, self._runner = database, runner
        runner.run(database.load())
        runner.run(database._connection.set_progress_handler(self._progress, 1))

    def _progress(self) -> None:
        self.count += 1

    def handle(self, name, event, **options):
        outcome = super().handle(name, event, **options)
        if self.database is not None and name == "A":
            self._runner.run(self.database.apply(outcome.mutations))
        return outcome

    def cost(self) -> int:
        start = self.count
        for _ in range(PAYMENTS):
            self.pay(["A", "B"], 5)
        return self.count - start


def _cost(path, others: int) -> int:
    network = _CountingNetwork("AB", Random(5))
    network.befriend("A", "B", limit=10**6)
    for number in range(others):
        friend = PublicKey(network.draws.randbytes(32))
        network.request("A", AddFriend(friend, (), f"friend {number}"))
        network.request("A", EnableFriend(friend))
        network.payment("A", "B", network.invoice("A", 7), 7)
    create_database(path, NodeState(network.nodes["A"].stored))
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(path))
        network.store_in(database, runner)
        cost = network.cost()
        stored = runner.run(database.load()).funder
        runner.run(database.close())
    assert stored == network.nodes["A"].stored
    return cost


def test_batches_cost_the_same_beside_many_others(tmp_path):
    """No statement of a payment scans a table."""
    assert _cost(tmp_path / "many", 300) < 1.1 * _cost(tmp_path / "few", 1)


def test_what_is_acknowledged_is_on_disk(tmp_path):
    """A commit returns when the write-ahead log is synced; no measurement runs with less."""
    path = tmp_path / "node.db"
    network = SimulatedNetwork("A", Random(0))
    create_database(path, NodeState(network.nodes["A"].stored))
    full = 2
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(path))
        assert runner.run(database._pragma("synchronous")) == full
        assert runner.run(database._pragma("journal_mode")) == "wal"
        runner.run(database.close())


def _export(path):
    export_database(path, path.with_suffix(".json"))


@pytest.mark.parametrize("load", [load_database, check_database, _export])
def test_nobody_writes_the_state_as_text(load, tmp_path, monkeypatch):
    """Its repr takes as long as to load it; `asyncio.run` of Python 3.11 and 3.12 makes that of a task's result."""
    path = tmp_path / "node.db"
    create_database(path, NodeState(SimulatedNetwork("A", Random(0)).nodes["A"].stored))
    written = []
    monkeypatch.setattr(NodeState, "__repr__", lambda state: written.append(state) or "")
    load(path)
    assert not written
