"""
The driver of the figures: nothing is switched off while it measures, and it goes on where a program does not answer.
"""

import asyncio
import http.server
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import bench.__main__ as driver
import bench.payments
import bench.watched
from bench.measured import Figures, Measured, PaymentStalled, stall_reason
from bench.payments import CURRENCY, LIMIT, PaymentRun, build_chain, login, public_key, run_payments
from bench.report import table
from bench.watched import reading
from interop.network import Network
from interop.programs import OURS, Implementation, ServerEnded, wait_until
from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import open_node
from offset_proto.files import TICKET
from offset_proto.messages.app import CreatePayment, CreateTransaction, Failure, TransactionResult
from offset_proto.messages.friend import FriendsRoute
from offset_proto.types import InvoiceId, PaymentId, PrivateKey, Signature, Uid

PAYMENTS = 500


class _Forger(Identity):
    """Says that it has a key, and can not sign with it."""

    def sign(self, message: bytes) -> Signature:
        signature = super().sign(message)
        return Signature(bytes([signature[0] ^ 1]) + signature[1:])


class _Ended:
    """Waits for the end of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.event = asyncio.Event()
        connection.attach(self)

    def message_received(self, message: bytes) -> None:
        """Nothing is expected."""

    def connection_closed(self) -> None:
        """The end."""
        self.event.set()


async def _forge(network: Network, name: str, ticker: Ticker) -> None:
    """Connect to a node with a signature that proves nothing; returns when the node has refused it."""
    address = TICKET.load(network.path(f"{name}.ticket")).address
    try:
        forged = await connect(address, _Forger(PrivateKey(bytes(32))), public_key(network, name), ticker)
    except ConnectFailed:
        return
    async with asyncio.timeout(10):  # our end has checked the node, and does not know yet that the node has checked us
        await _Ended(forged).event.wait()


async def _overdraw(network: Network, names: list[str], ticker: Ticker) -> None:
    """Try to pay more than there is credit for."""
    buyer, seller = names
    seller_key = public_key(network, seller)
    route = FriendsRoute((public_key(network, buyer), seller_key))
    payment_id, amount = PaymentId(os.urandom(16)), 2 * LIMIT
    results: asyncio.Queue[TransactionResult] = asyncio.Queue()
    async with open_node(*login(network, buyer), ticker) as app:
        await app.request(CreatePayment(payment_id, InvoiceId(os.urandom(32)), CURRENCY, amount, seller_key))
        app.start_transaction(CreateTransaction(payment_id, Uid(os.urandom(16)), route, amount, 0), results)
        async with asyncio.timeout(30):
            assert isinstance((await results.get()).result, Failure)


async def _measure(network: Network, names: list[str]) -> tuple[PaymentRun, int]:
    """Measure, and count how often everything that must be refused was refused meanwhile."""
    refused = 0

    async def attack() -> None:
        nonlocal refused
        ticker = Ticker()
        while True:
            for name in names:
                await _forge(network, name, ticker)
            await _overdraw(network, names, ticker)
            refused += 1

    attacking = asyncio.ensure_future(attack())
    run = await run_payments(network, names, count=PAYMENTS, in_flight=10)
    assert not attacking.done()
    attacking.cancel()
    return run, refused


def test_guards_stay_on_while_payments_are_measured(tmp_path: Path) -> None:
    """Signatures and credit are checked, and what was acknowledged is there after kill -9."""
    with Network(tmp_path) as network:
        names = build_chain(network, 2)
        run, refused = asyncio.run(_measure(network, names))
        assert len(run.latencies_seconds) == PAYMENTS
        assert refused > 0
        for name in names:
            network.servers[name].kill()
        for name in names:
            network.servers[name].start()
        network.wait_until_back(names[0])
        buyer, seller = names
        assert network.balance(seller, buyer, CURRENCY)["balance"] == PAYMENTS
        assert network.balance(buyer, seller, CURRENCY)["balance"] == -PAYMENTS


# Nodes that are watched.


class _Page(http.server.BaseHTTPRequestHandler):
    """Some metrics, for whoever asks for them."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(b"x 1\n")

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


def test_metrics_are_read_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all servers; where one does not answer, the round is none."""
    monkeypatch.setattr(bench.watched, "READING_SECONDS", 0.01)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        options = dict.fromkeys("ab", ("--metrics", f"127.0.0.1:{server.server_port}"))
        try:
            with reading(options) as read:
                wait_until("both to be read", lambda: len(read) > 1)
        finally:
            server.shutdown()
            thread.join()
    assert set(read) == {4}
    threads = threading.active_count()
    with pytest.raises(OSError, match="refused"), reading(options):
        wait_until("the reader to give up", lambda: threading.active_count() == threads)


# Rounds that stall.

ORIGINAL = Implementation("original", OURS.directory)
"""Our programs in the original's place."""

ROW = "payments, 2 nodes, 10 in flight"
FIGURES = {"payments/s": 20.0, "CPU ms n0": 9.0, "CPU ms n1": 8.0, "CPU ms relay": 7.0}


def _processes_in(directory: Path) -> list[str]:
    """Command lines of the processes that have a file below *directory* in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(f"{directory}/") for word in words):
            found.append(" ".join(words))
    return found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the networks of rounds have their directories."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _script(monkeypatch: pytest.MonkeyPatch, outcomes: Iterator[Figures | Exception]) -> None:
    """Rounds of `ROW` start a relay, and then end as *outcomes* say."""

    def measure(network: Network, scale: driver.Scale) -> Figures:
        network.add_relay("relay")
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setitem(driver.ROWS, ROW, (measure, True))


def _left_in(directory: Path) -> list[Path]:
    """What rounds have left there. Commands are forked from a server of multiprocessing, which stays for them all."""
    return [path for path in directory.iterdir() if not path.name.startswith("pymp-")]


def test_a_stalled_round_is_counted_and_repeated(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """Two rounds to measure, one that stalls between them: the table has the figures, and says what stalled."""
    stalls = ExceptionGroup("workers", [PaymentStalled("stuck after 312 | payments"), PaymentStalled("another")])
    _script(monkeypatch, iter([FIGURES, stalls, FIGURES | {"payments/s": 30.0}]))
    measured = Measured()
    for _ in range(2):
        driver._measure(measured, ROW, ORIGINAL, driver.QUICK)
    assert len(measured.figures_of(ROW, "original")) == 2
    assert measured.stalls == {ROW: {"original": ["stuck after 312 | payments"]}}
    measured.add_figures(ROW, "ours", FIGURES | {"payments/s": 200.0})
    measured.store(temporary / "bench.json")
    text = table(Measured.load(temporary / "bench.json"))
    assert f"| {ROW} | payments/s | 200 (200 - 200) | 25 (measured here); 1 of 3 rounds stalled | 8.00x |" in text
    assert f"| {ROW} (original) | 1 of 3 rounds stalled | stuck after 312 / payments |" in text
    assert _left_in(temporary) == [temporary / "bench.json"]
    assert _processes_in(temporary) == []


def test_a_row_whose_rounds_all_stall(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """It is tried a bounded number of times, whatever the number of rounds; the table says so instead of a figure."""
    _script(monkeypatch, iter([ConnectionResetError("gone")] * driver.STALLS_MAX))
    measured = Measured()
    for _ in range(3):
        driver._measure(measured, ROW, ORIGINAL, driver.QUICK)
    assert measured.stalls_of(ROW, "original") == ["gone"] * driver.STALLS_MAX
    assert f"| {ROW} | payments/s | - | 3 of 3 rounds stalled | - |" in table(measured)
    measured.add_figures(ROW, "ours", FIGURES)
    assert f"| {ROW} | payments/s | 20 (20 - 20) | 3 of 3 rounds stalled | - |" in table(measured)
    assert "| 3 of 3 rounds stalled | 39 | - |" in table(Measured(stalls={ROW: {"ours": ["gone"] * 3}}))
    assert _processes_in(temporary) == []


def test_ratios_to_the_build_before(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """Round by round: what the machine does meanwhile strikes both; a round that only one of them has ended is left."""
    measured = Measured()
    figures = FIGURES | {"nothing": 0.0}
    for rates in ((30.0, 20.0), (10.0, 5.0), (90.0, 100.0)):
        for player, rate in zip(("ours", "before"), rates, strict=True):
            measured.add_figures(ROW, player, figures | {"payments/s": rate})
    measured.add_figures(ROW, "ours", figures)
    text = table(measured)
    assert f"| {ROW} | payments/s | 1.500 (0.900 - 2.000) |" in text
    assert f"| {ROW} | CPU ms relay | 1.000 (1.000 - 1.000) |" in text
    assert "nothing | 0 (0 - 0)" in text
    assert text.count("| nothing |") == 2
    assert "ours / before" not in table(Measured(results={ROW: {"ours": [FIGURES]}}))


def test_the_build_before_is_measured_in_turns(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """Either is the first in half of the rounds; a directory that lacks a program is told before anything is run."""
    monkeypatch.delenv("OFFSET_RUST_BIN", raising=False)
    players = driver._players(OURS.directory)
    turns = [[player.name for player in driver._in_turn(players, number)] for number in range(3)]
    assert turns == [["ours", "before"], ["before", "ours"], ["ours", "before"]]
    with pytest.raises(click.UsageError, match=r"--against .*: no program stnode, strelay"):
        driver._players(temporary)


def test_an_error_of_the_benchmark_is_no_stall(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """What is wrong in the driver itself ends the run, and leaves no process behind either."""
    _script(monkeypatch, iter([KeyError("a figure")]))
    with pytest.raises(KeyError):
        driver._measure(Measured(), ROW, OURS, driver.QUICK)
    assert stall_reason(ExceptionGroup("two", [PaymentStalled("one"), KeyError("two")])) is None
    assert _left_in(temporary) == []
    assert _processes_in(temporary) == []


def test_the_reason_of_a_stall_names_no_directories() -> None:
    """The table is published, and the directories of a round are gone."""
    words = ["/usr/local/bin/stctrl", "-I", "/var/lib/offset-bench-x/n1-app.ident", "config", "open-currency"]
    reason = stall_reason(subprocess.TimeoutExpired(words, 90))
    expected = "Command '['stctrl', '-I', 'n1-app.ident', 'config', 'open-currency']' timed out after 90 seconds"
    assert reason == expected


def test_a_server_that_does_not_start() -> None:
    """Somebody has taken its port since it was free; one such round does not end a run of hours."""
    assert stall_reason(ServerEnded("index ended: ListenError")) == "index ended: ListenError"


def test_a_node_that_stops_for_good(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    """The seller's node stands still in the middle of the payments: the round stalls, and even that node is gone."""
    monkeypatch.setattr(bench.payments, "STALL_SECONDS", 2.0)
    monkeypatch.setattr("interop.programs.STOP_SECONDS", 0.5)

    def stop_the_seller(network: Network, scale: driver.Scale) -> Figures:
        names = build_chain(network, 2)
        seller = network.servers[names[1]].process
        assert seller is not None
        paid = 0

        def on_paid() -> None:
            nonlocal paid
            paid += 1
            if paid == 5:
                seller.send_signal(signal.SIGSTOP)

        driver._run(run_payments(network, names, count=100, in_flight=5, on_paid=on_paid))
        return {}

    monkeypatch.setitem(driver.ROWS, ROW, (stop_the_seller, True))
    monkeypatch.setattr(driver, "STALLS_MAX", 1)
    measured = Measured()
    driver._measure(measured, ROW, ORIGINAL, driver.QUICK)
    (reason,) = measured.stalls_of(ROW, "original")
    assert reason.startswith("a payment did not end within 2 s; 5 in flight, ")
    assert _left_in(temporary) == []
    assert _processes_in(temporary) == []


@pytest.fixture
def sigint_is_heard() -> Iterator[None]:
    """A process that a shell has started in the background ignores SIGINT, and its children would, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_is_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """The servers of a round are started away from the terminal, so the driver has to end them."""
    command = [sys.executable, "-m", "bench", "--only", "relay, one tunnel", "--rounds", "100", "--quick"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "bench.json")], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_until("the relay to run", lambda: any("strelay" in words for words in _processes_in(tmp_path)))
        process.send_signal(number)
        process.communicate(timeout=120)
    assert process.returncode != 0
    assert [words for words in _processes_in(tmp_path) if "strelay" in words] == []
    assert list(tmp_path.glob("offset-bench-*")) == []
