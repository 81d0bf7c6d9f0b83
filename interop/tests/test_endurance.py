"""
The endurance run, with our programs in the place of the original's: what it disturbs, what it notices, what it counts.
"""

import asyncio
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from interop.cutter import LinkCutter
from interop.endurance import disturbed
from interop.endurance.accounts import check
from interop.endurance.chain import Ledgers, build, cast_chain, open_network
from interop.endurance.disturbed import Endurance
from interop.endurance.plan import Outcome, Plan
from interop.endurance.table import table
from interop.network import Network
from interop.programs import OURS, Implementation
from offset_proto.messages.report import McBalanceReport

ORIGINAL = Implementation("original", OURS.directory)
"""Our programs in the original's place."""

Chain = tuple[Network, LinkCutter, list[str]]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain A - B - C, in which B counts as the original's."""
    names, cast = cast_chain("ours - original - ours", ORIGINAL)
    with open_network(tmp_path_factory.mktemp("chain"), cast) as (network, cutter):
        asyncio.run(build(network, names))
        yield network, cutter, names


def test_cuts_and_kills(chain: Chain) -> None:
    """Payments go on while links are cut and the buyer's or the seller's node is killed, and all credits are exact."""
    network, cutter, names = chain
    plan = Plan(at_once=4, cut_every=3.0, kill_every=4.0, minutes=0.1, seed=1)
    outcome = asyncio.run(Endurance(network, cutter, names, plan).run())
    assert outcome.faults == []
    assert outcome.paid > 0
    assert outcome.unknown == 0
    assert outcome.cuts > 0
    assert sum(outcome.kills.values()) > 0
    assert outcome.restarts["A"] == outcome.restarts["C"] == 0


def test_a_node_that_stops_for_good(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """B stands still: it is started again, as one of the original that does not answer, and everything is paid."""
    monkeypatch.setattr("interop.programs.STOP_SECONDS", 0.5)
    monkeypatch.setattr(disturbed, "PROBE_SECONDS", 1.0)
    network, cutter, names = chain
    mediator = network.servers["B"].process
    assert mediator is not None
    mediator.send_signal(signal.SIGSTOP)
    # Friends wait for up to 8 seconds before they dial B again, and a busy machine takes its time: that is no stall.
    plan = Plan(payments=3, at_once=3, cut_every=1000.0, kill_every=1000.0, stall_seconds=60.0)
    outcome = asyncio.run(Endurance(network, cutter, names, plan).run())
    assert outcome.paid == 3
    assert outcome.restarts["B"] >= 1
    assert outcome.restarts["A"] == outcome.restarts["C"] == 0
    assert len(outcome.stalls) == 1
    assert "B without an answer" in outcome.notes[0]


# What is exact, and what is told apart.


def _ledgers(*balances: int, frozen: int = 0) -> Ledgers:
    """Of a chain A - B - C: what B owes A, and C owes B; credits that A has frozen for B."""
    ledgers: Ledgers = {}
    for (one, other), balance in zip((("A", "B"), ("B", "C")), balances, strict=True):
        local = frozen if one == "A" else 0
        ledgers[one, other] = McBalanceReport(balance, local, 0)
        ledgers[other, one] = McBalanceReport(-balance, 0, local)
    return ledgers


@pytest.mark.parametrize(
    ("after", "unknown", "said"),
    [
        (_ledgers(-8, -6), 0, []),
        (_ledgers(-12, -9), 1, []),
        (_ledgers(-12, -9), 0, ["are of 3 payments, the receipts of 2"]),
        (_ledgers(-4, -3), 5, ["are of 1 payments, the receipts of 2"]),
        (_ledgers(-8, -9), 1, ["not of one number of payments"]),
        (_ledgers(-8, -7), 0, ["not of one number of payments"]),
        (_ledgers(-8, -6, frozen=4), 0, ["4 credits between A and B stay frozen"]),
        (_ledgers(-8, -6) | {("B", "A"): McBalanceReport(7, 0, 0)}, 0, ["A and B do not agree: -8 and 7"]),
        ({("A", "B"): McBalanceReport(-8, 0, 0)}, 0, ["A and B is not consistent", "B and C is not consistent"]),
        (None, 0, ["does not answer"]),
    ],
)
def test_what_is_exact(after: Ledgers | None, unknown: int, said: list[str]) -> None:
    """Two payments of 3 credits, of which B takes one more; a payment of unknown end may have been paid or not."""
    faults = check(["A", "B", "C"], _ledgers(0, 0), after, Outcome(paid=2, unknown=unknown))
    assert len(faults) == len(said)
    for fault, text in zip(faults, said, strict=True):
        assert text in fault


class _Scripted(Endurance):
    """Credits that are frozen until certain nodes are started again."""

    def __init__(self, released_by: str | None) -> None:
        names, cast = cast_chain("ours - original - ours", ORIGINAL)
        super().__init__(Network(Path("nowhere"), cast), LinkCutter(), names, Plan(settle_seconds=0.01))
        self._cutter.close()
        self._released_by = released_by
        self._before = _ledgers(0, 0)

    async def _ledgers(self) -> Ledgers | None:
        is_released = self._released_by is None or self.outcome.restarts[self._released_by] > 0
        return _ledgers(0, 0, frozen=0 if is_released else 40)

    async def _start_again(self, name: str) -> None:
        """Nothing runs."""


@pytest.mark.parametrize(
    ("released_by", "restarts", "frozen", "faults"),
    [
        (None, [], "nothing", 0),
        ("B", ["B"], "40 credits, released when the original was started again", 0),
        ("A", ["B", "A", "C"], "40 credits, 40 of them after the original was started again", 1),
        ("nobody", ["B", "A", "C"], "40 credits, 40 of them after the original was started again", 1),
    ],
)
def test_what_is_frozen_is_told_apart(released_by: str | None, restarts: list[str], frozen: str, faults: int) -> None:
    """What the original releases when it is started again is no fault; what ours release then is."""
    run = _Scripted(released_by)
    asyncio.run(run._settle())
    run.outcome.seconds = 1.0
    assert run.outcome.restarts == Counter(restarts)
    assert len(run.outcome.faults) == faults
    assert f"| frozen at the end | {frozen} |" in table({"a chain": run.outcome})


def test_the_table() -> None:
    """A column for each chain."""
    one = Outcome(paid=1000, cancelled=2, seconds=100.0, cuts=9, kills=Counter(B=3), stalls=[20.0, 30.0])
    lines = table({"one": one, "other": Outcome(seconds=1.0, faults=["a", "b"])}).splitlines()
    assert lines[0] == "| | one | other |"
    assert "| payments paid | 1,000 | 0 |" in lines
    assert "| kills of ours | 3 (B 3) | 0 |" in lines
    assert "| stalls | 2, 50 s in all, 30 s at most | 0 |" in lines
    assert "| payments/s between stalls | 20.0 | 0.0 |" in lines
    assert lines[-1] == "| faults | none | a; b |"


def test_the_cutter() -> None:
    """It passes bytes on in both directions until it cuts, before relays alone; then both ends see the end."""
    with socket.create_server(("127.0.0.1", 0)) as relay:
        seen: list[bytes] = []

        def echo() -> None:
            connection, _ = relay.accept()
            with connection:
                connection.sendall(connection.recv(100))
                seen.append(connection.recv(100))

        answering = threading.Thread(target=echo)
        answering.start()
        cutter = LinkCutter()
        port = relay.getsockname()[1]
        assert cutter.tap("app", Path("unused"), port) == port
        assert not cutter.cut(Random(0))
        with socket.create_connection(("127.0.0.1", cutter.tap("relay", Path("unused"), port)), timeout=10) as client:
            client.sendall(b"there and back")
            assert client.recv(100) == b"there and back"
            assert cutter.cut(Random(0))
            assert client.recv(100) == b""
        answering.join(10)
        assert seen == [b""]
        assert cutter.cuts == 1
        cutter.close()
