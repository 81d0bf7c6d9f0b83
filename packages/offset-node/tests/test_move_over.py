"""Import and export of the original's database. Spec 08 §6."""

import asyncio
import contextlib
import json
import sqlite3
import stat
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offset_funder.testing import SimulatedNetwork
from offset_node.database.audit import audit
from offset_node.database.errors import DatabaseInUse, LoadDbError
from offset_node.database.move_over import export_database, import_database
from offset_node.database.original import format_database, parse_database
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.state import NodeState
from offset_proto.errors import InvalidInput
from offset_proto.files import IoError, OutputAlreadyExists, StringSerdeError
from offset_proto.messages.app import RemoveFriend, RequestClosePayment
from offset_proto.messages.payment import NamedIndexServerAddress
from offset_proto.text import format_b64
from offset_proto.types import PublicKey


def _busy_network() -> SimulatedNetwork:
    """A - B - C with a finished payment, and another whose response C has just signed."""
    network = SimulatedNetwork(["A", "B", "C"], Random(0))
    network.befriend("A", "B")
    network.befriend("B", "C")
    network.pay(["A", "B", "C"], 50, fees=3)
    payment = network.payment("A", "C", network.invoice("C", 20), 20)
    network.transact(["A", "B", "C"], payment, 20, fees=1)
    while not any(invoice.incoming_transactions for invoice in network.nodes["C"].stored.open_invoices.values()):
        assert network.step()
    return network


def _texts(network: SimulatedNetwork) -> dict[str, str]:
    servers = (NamedIndexServerAddress(PublicKey(b"\x07" * 32), "127.0.0.1:1", "index"),)
    return {name: format_database(NodeState(node.stored, servers)) for name, node in network.nodes.items()}


def test_there_and_back(tmp_path):
    """The text survives byte for byte; both files are private; the exported database is not run on."""
    for name, text in _texts(_busy_network()).items():
        original, ours, back = (tmp_path / f"{name}.{suffix}" for suffix in ("json", "db", "back"))
        original.write_text(text)
        state = import_database(original, ours)
        assert load_database(ours) == state
        export_database(ours, back)
        assert back.read_text() == text
        assert {stat.S_IMODE(path.stat().st_mode) for path in (ours, back)} == {0o600}
        with pytest.raises(LoadDbError, match="exported"):
            load_database(ours)


def test_every_state_of_a_payment_passes():
    """The audit refuses nothing that a node can be in: tokens in both directions, each stage, an inconsistency."""
    network = SimulatedNetwork(["A", "B", "C"], Random(1))
    network.befriend("A", "B")
    network.befriend("B", "C")
    payment = network.payment("A", "C", network.invoice("C", 20), 20)
    network.transact(["A", "B", "C"], payment, 20, fees=1)
    while network.step():
        for text in _texts(network).values():
            audit(parse_database(text))
    network.request("A", RequestClosePayment(payment))
    for text in _texts(network).values():
        audit(parse_database(text))


def test_a_copy_leaves_the_node_where_it_is(tmp_path):
    """An export marks the database before anything is written; a copy never does."""
    path = tmp_path / "a.db"
    create_database(path, NodeState(_busy_network().nodes["A"].stored))
    export_database(path, tmp_path / "copy.json", copy=True)
    load_database(path)
    with pytest.raises(IoError):
        export_database(path, tmp_path / "no" / "such.json")
    load_database(path)
    export_database(path, tmp_path / "1.json")
    with pytest.raises(OutputAlreadyExists):
        export_database(path, tmp_path / "1.json")
    export_database(path, tmp_path / "2.json")
    assert (tmp_path / "1.json").read_text() == (tmp_path / "2.json").read_text()
    export_database(path, tmp_path / "3.json", copy=True)
    with pytest.raises(LoadDbError, match="exported"):
        load_database(path)


def test_a_running_node_is_not_exported(tmp_path):
    """Its database is held."""
    path = tmp_path / "a.db"
    create_database(path, NodeState(_busy_network().nodes["A"].stored))
    with asyncio.Runner() as runner:
        running = runner.run(Database.open(path))
        with pytest.raises(DatabaseInUse):
            export_database(path, tmp_path / "a.json")
        runner.run(running.close())
    assert {found.name for found in tmp_path.iterdir()} <= {"a.db", "a.db.lock", "a.db-wal", "a.db-shm"}


def test_files_that_are_none(tmp_path):
    """A missing file, one of ours, text that is not JSON: named, and nothing is written."""
    ours = tmp_path / "ours.db"
    create_database(ours, NodeState(_busy_network().nodes["A"].stored))
    (tmp_path / "noise.json").write_bytes(b"\xff\xfe")
    (tmp_path / "list.json").write_text("[]")
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, error in (
        ("missing.json", IoError),
        ("ours.db", StringSerdeError),
        ("noise.json", StringSerdeError),
        ("list.json", LoadDbError),
    ):
        with pytest.raises(error, match=name):
            import_database(tmp_path / name, tmp_path / "new.db")
    with pytest.raises(OutputAlreadyExists):
        import_database(tmp_path / "list.json", ours)
    with pytest.raises(LoadDbError, match="list"):
        export_database(tmp_path / "list.json", tmp_path / "new.json")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == before
    with contextlib.closing(sqlite3.connect(ours)) as connection:
        assert connection.execute("SELECT * FROM node").fetchone()


def test_a_database_of_the_original_is_recognised(tmp_path):
    """Somebody who starts our node on it is told what to do; no lock file is left beside it."""
    path = tmp_path / "node.json"
    path.write_text(_texts(_busy_network())["A"])
    with pytest.raises(LoadDbError, match="stmgr import-db"):
        load_database(path)
    assert list(tmp_path.iterdir()) == [path]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every scalar and every empty array or object."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not items or not value:
        yield path
    for key, item in items:
        yield from _places(item, (*path, key))


def _replace(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _replace(value[path[0]], path[1:], new)
    return copied


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_any_field_of_another_type_is_named(name):
    """Each place of three busy databases in turn holds something that it must not."""
    database = json.loads(_texts(_busy_network())[name])
    places = list(_places(database))
    assert len(places) > 60
    for path in places:
        for wrong in ({"wrong": 1}, 1.5, [[]]):
            with pytest.raises(InvalidInput) as refused:
                parse_database(json.dumps(_replace(database, path, wrong)))
            message = str(refused.value)
            position = 0
            for key in path:
                if isinstance(key, str) and not key.isdecimal():
                    position = message.find(key, position)
                    assert position >= 0, (path, message)


CHANNEL = ("channel_status", "Consistent", "token_channel")


def _the_friend(database: Any, direction: str) -> tuple[Any, ...]:
    """Path of a friend with whom the token is in that direction."""
    for key, friend in database["funder_state"]["friends"].items():
        if direction in friend["channel_status"]["Consistent"]["token_channel"]["direction"]:
            return ("funder_state", "friends", key)
    raise AssertionError(f"no friend is {direction}")


def _find(direction: str, ending: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    for text in _texts(_busy_network()).values():
        database = json.loads(text)
        if f'"{direction}"' in text:
            return database, (*_the_friend(database, direction), *ending)
    raise AssertionError(direction)


LEDGER = (*CHANNEL, "mutual_credits", "FST", "state")
SENT, HELD = (*CHANNEL, "direction", "Outgoing"), (*CHANNEL, "direction", "Incoming")
OTHER_KEY, OTHER_SIGNATURE, OTHER_HASH = (format_b64(b"\x09" * size) for size in (32, 64, 32))


@pytest.mark.parametrize(
    ("direction", "ending", "new"),
    [
        ("Outgoing", ("local_public_key",), OTHER_KEY),
        ("Outgoing", ("remote_public_key",), OTHER_KEY),
        ("Outgoing", (*LEDGER, "balance", "balance"), "5"),
        ("Incoming", (*LEDGER, "balance", "balance"), "5"),
        ("Incoming", (*LEDGER, "balance", "local_pending_debt"), "5"),
        ("Outgoing", (*LEDGER, "balance", "remote_pending_debt"), "5"),
        ("Outgoing", (*LEDGER, "idents", "remote_public_key"), OTHER_KEY),
        ("Outgoing", (*LEDGER, "currency"), "EUR"),
        ("Outgoing", (*CHANNEL, "active_currencies", "remote"), []),
        ("Outgoing", (*SENT, "move_token_out", "new_token"), OTHER_SIGNATURE),
        ("Outgoing", (*SENT, "move_token_out", "old_token"), OTHER_SIGNATURE),
        ("Outgoing", (*SENT, "move_token_out", "info_hash"), OTHER_HASH),
        ("Outgoing", (*SENT, "token_info", "counters", "move_token_counter"), "99"),
        ("Outgoing", (*SENT, "token_info", "mc", "balances"), []),
        ("Outgoing", (*SENT, "token_info", "mc", "local_public_key"), OTHER_KEY),
        ("Outgoing", (*SENT, "opt_prev_move_token_in", "new_token"), OTHER_SIGNATURE),
        ("Incoming", (*HELD, "move_token_in", "new_token"), OTHER_SIGNATURE),
        ("Incoming", (*HELD, "move_token_in", "prefix_hash"), OTHER_HASH),
        ("Incoming", (*HELD, "move_token_in", "token_info", "counters", "move_token_counter"), "99"),
        ("Incoming", (*HELD, "move_token_in", "token_info", "mc", "remote_public_key"), OTHER_KEY),
    ],
)
def test_what_does_not_fit_together_is_refused(direction, ending, new):
    """Well formed, but not what the friends signed: the error names the part of the friend's channel."""
    database, path = _find(direction, ending)
    changed = json.dumps(_replace(database, path, new))
    with pytest.raises(InvalidInput, match=f"funder_state: friends: '{path[2]}'"):
        audit(parse_database(changed))


@pytest.mark.parametrize(
    ("table", "change", "complaint"),
    [
        ("payments", lambda payment: payment["stage"]["NewTransactions"].update(num_transactions=0), "stage"),
        ("payments", lambda payment: payment.update(stage={"Canceled": format_b64(bytes(16))}), "stage"),
        ("open_transactions", lambda one: one.update(payment_id=format_b64(bytes(16))), "payment_id"),
        ("open_invoices", lambda one: one.update(opt_src_hashed_lock=None), "incoming_transactions"),
    ],
)
def test_payments_and_invoices_that_do_not_fit(table, change, complaint):
    """A transaction without its payment, a count that is too low, a transaction without a lock."""
    for text in _texts(_busy_network()).values():
        database = json.loads(text)
        entries = database["funder_state"][table]
        if table == "open_invoices":
            entries = {key: one for key, one in entries.items() if one["incoming_transactions"]}
        for key, entry in entries.items():
            if entry.get("stage", {"NewTransactions": 0}).keys() != {"NewTransactions"}:
                continue
            change(entry)
            with pytest.raises(InvalidInput, match=f"funder_state: {table}: '{key}'.*{complaint}"):
                audit(parse_database(json.dumps(database)))
            return
    raise AssertionError(f"no entry in {table}")


@pytest.mark.parametrize("place", [("funder_state", "relays"), ("index_client_config", "index_servers")])
def test_nothing_stands_twice(place):
    """Relays and index servers are known by their keys."""
    database = json.loads(_texts(_busy_network())["A"])
    entries = database[place[0]][place[1]]
    assert entries
    entries.append(entries[0])
    with pytest.raises(InvalidInput, match=rf"{place[0]}: {place[1]}: \[1\]"):
        audit(parse_database(json.dumps(database)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**32)), max_size=25))
def test_any_state_survives_its_text(steps):
    """Whatever three nodes did, their databases pass the audit, and come back from the original's form unchanged."""
    network = SimulatedNetwork(["A", "B", "C"], Random(0))
    network.befriend("A", "B")
    network.befriend("B", "C")
    for action, number in steps:
        route = [["A", "B", "C"], ["C", "B", "A"], ["A", "B"], ["B", "C"]][number % 4]
        match action:
            case 0:
                invoice = network.invoice(route[-1], number % 300)
                payment = network.payment(route[0], route[-1], invoice, number % 300)
                network.transact(route, payment, number % 300, number % 3)
            case 1:
                for _ in range(number % 9):
                    network.step()
            case 2:
                network.crash(route[0])
                network.connect("A", "B")
                network.connect("B", "C")
            case 3:
                network.set_limit(route[0], route[1], number)
            case 4:
                network.request(route[0], RemoveFriend(network.nodes[route[1]].key))
            case _:
                network.disconnect("A", "B")
        for name, text in _texts(network).items():
            state = parse_database(text)
            audit(state)
            assert state.funder == network.nodes[name].stored
            assert format_database(state) == text
