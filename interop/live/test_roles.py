"""The matrix: a chain A - B - C - D with two relays and two index servers, once for each casting."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.live.castings import CASTINGS, Casting
from interop.live.conftest import open_recorder
from interop.live.payments import is_settled, try_route, wait_for_route, wait_until_settled
from interop.live.rows import Row
from interop.live.watching import WatchedNetwork
from interop.load import App, Paid, pay_and_kill, run_payments
from interop.network import Network, NodeSpec
from interop.programs import Implementation, wait_until
from interop.recorder import Recorder
from offset_proto.messages.app import Failure

NAMES = ["A", "B", "C", "D"]
PAIRS = [("A", "B"), ("B", "C"), ("C", "D")]
NODES = [
    NodeSpec("A", "relay0", "index0"),
    NodeSpec("B", "relay1", "index0"),
    NodeSpec("C", "relay0", "index1"),
    NodeSpec("D", "relay1", "index1"),
]
RATES = {("A", "B"): 1, ("B", "C"): 2, ("C", "D"): 3}
"""Flat fees, equal at both ends of a friendship: the original's index servers look at the wrong one (spec 06 §9)."""

LIMIT = 100_000

STALL_SECONDS = 45.0
"""After so long without the end of a payment, payments are taken for stopped."""

CHECK_PATIENCE = 6.0
"""Seconds of waiting for a sign that a network still works."""


def _build(network: Network) -> None:
    network.add_relay("relay0")
    network.add_relay("relay1")
    network.add_index_servers(["index0", "index1"])
    for spec in NODES:
        network.add_node(spec)
    for pair, rate in RATES.items():
        network.befriend(*pair, "FST", rates=(rate, rate))
        for node, friend in (pair, pair[::-1]):
            network.set_limit(node, friend, "FST", LIMIT)


@pytest.fixture(scope="module", params=CASTINGS, ids=lambda casting: casting.name)
def row(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    original: Implementation,
    record_directory: Path | None,
) -> Iterator[Row[Network]]:
    """The networks of one row, one after the other."""
    casting: Casting = request.param
    recorders: list[Recorder] = []

    def make() -> Network:
        directory = tmp_path_factory.mktemp("chain")
        print(f"network: {directory}")
        recorder = open_recorder(record_directory, f"{casting.name} {len(recorders)}", directory)
        network = WatchedNetwork(directory, casting.cast(original), recorder)
        recorders.extend([] if recorder is None else [recorder])
        try:
            _build(network)
        except BaseException:
            network.stop()
            raise
        return network

    networks = Row(make, _is_whole)
    try:
        yield networks
    finally:
        networks.close()
        for recorder in recorders:
            recorder.close()


def _is_whole(network: Network) -> bool:
    """Whether A and D can pay each other, and nothing is frozen."""
    network.patience = CHECK_PATIENCE
    try:
        for buyer, seller in ("AD", "DA"):
            wait_for_route(network, buyer, seller, "FST", 1)
            names = sorted(NAMES, reverse=buyer == "D")
            if isinstance(try_route(network, names, "FST", 1, 50, CHECK_PATIENCE).result, Failure):
                return False
        wait_until_settled(network, PAIRS, "FST")
    except Exception:
        return False
    return True


def _balances(network: Network) -> dict[tuple[str, str], int]:
    return {pair: network.balance(*pair, "FST")["balance"] for pair in PAIRS}


@pytest.mark.step("set up")
def test_set_up(row: Row[Network]) -> None:
    """Four nodes, which are friends in a row, with limits and rates."""
    row.network()


@pytest.mark.step("{hops}")
@pytest.mark.parametrize("hops", ["1 hop", "2 hops", "3 hops"])
def test_payment(chain: Network, hops: str) -> None:
    """A pays: the seller gets the amount, each mediator its own rate, and the receipt verifies."""
    seller, fees = {"1 hop": ("B", []), "2 hops": ("C", [1]), "3 hops": ("D", [1, 2])}[hops]
    before = _balances(chain)
    amount = 40
    wait_for_route(chain, "A", seller, "FST", amount)
    assert chain.pay("A", seller, "FST", amount, f"to-{seller}") == "Receipt is valid!"
    wait_until_settled(chain, PAIRS, "FST")
    expected = dict(before)
    for index in range(len(fees) + 1):
        expected[PAIRS[index]] -= amount + sum(fees[index:])
    assert _balances(chain) == expected


@pytest.mark.step("back")
def test_payment_back(chain: Network) -> None:
    """D pays A: the roles of buyer and seller, and of the rates, the other way round."""
    before = _balances(chain)
    wait_for_route(chain, "D", "A", "FST", 25)
    assert chain.pay("D", "A", "FST", 25, "back") == "Receipt is valid!"
    wait_until_settled(chain, PAIRS, "FST")
    gained = {pair: after - before[pair] for pair, after in _balances(chain).items()}
    assert gained == {("A", "B"): 25, ("B", "C"): 27, ("C", "D"): 30}


@pytest.mark.step("too little credit")
def test_too_little_credit(chain: Network) -> None:
    """A mediator without credit cancels: the buyer learns it, nothing is paid, nothing stays frozen."""
    before = _balances(chain)
    attempt = try_route(chain, ["A", "B", "C", "D"], "FST", LIMIT + before["C", "D"] + 5000, 50)
    assert isinstance(attempt.result, Failure)
    assert not attempt.was_paid
    wait_until_settled(chain, PAIRS, "FST")
    assert _balances(chain) == before


@pytest.mark.step("second currency")
def test_second_currency(chain: Network) -> None:
    """EUR between A and B beside FST; a proposal that the friend never took can be removed again."""
    chain.befriend("A", "B", "EUR")
    chain.set_limit("B", "A", "EUR", 10)
    wait_for_route(chain, "A", "B", "EUR", 7)
    assert chain.pay("A", "B", "EUR", 7, "euro") == "Receipt is valid!"
    wait_until_settled(chain, [("A", "B")], "EUR")
    assert chain.balance("B", "A", "EUR")["balance"] == 7
    chain.stctrl("A", "config", "set-currency-rate", "-n", "B", "-c", "USD", "-m", 0, "-a", 0)
    chain.stctrl("A", "config", "remove-currency", "-n", "B", "-c", "USD")
    wait_until_settled(chain, PAIRS, "FST")


@pytest.mark.step("closed and opened")
def test_closed_and_opened(chain: Network) -> None:
    """A mediator that closed a currency towards a friend forwards no request to it; opened again, it does."""
    chain.stctrl("C", "config", "close-currency", "-n", "D", "-c", "FST")
    attempt = try_route(chain, ["A", "B", "C", "D"], "FST", 10, 50)
    chain.stctrl("C", "config", "open-currency", "-n", "D", "-c", "FST")
    assert isinstance(attempt.result, Failure)
    wait_until_settled(chain, PAIRS, "FST")
    wait_for_route(chain, "A", "D", "FST", 10)
    assert chain.pay("A", "D", "FST", 10, "opened") == "Receipt is valid!"


@pytest.mark.step("last token")
def test_last_token(chain: Network) -> None:
    """The friend's last token, written by stctrl, verified by stverify."""
    token = chain.path("D-of-C.token")
    chain.stctrl("D", "info", "friend-last-token", "-n", "C", "-t", token)
    assert chain.run("stverify", "verify-token", "-t", token).returncode == 0


def _app(network: Network, name: str) -> App:
    return App(network.path(f"{name}-app.ident"), network.path(f"{name}.ticket"))


async def _pay_while_it_goes_on(network: Network, amount: int, *, count: int, at_once: int) -> list[Paid]:
    """Payments from A to D. Raises TimeoutError as soon as none has ended for a while."""
    newest = time.monotonic()

    def on_paid(_: int) -> None:
        nonlocal newest
        newest = time.monotonic()

    apps = _app(network, "A"), _app(network, "D")
    running = asyncio.ensure_future(run_payments(*apps, "FST", amount, count=count, at_once=at_once, on_paid=on_paid))
    while not running.done():
        await asyncio.wait([running], timeout=1)
        if time.monotonic() - newest > STALL_SECONDS:
            running.cancel()
            raise TimeoutError(f"no payment has ended for {STALL_SECONDS:g} s")
    return running.result()


@pytest.mark.step("many payments")
def test_many_payments(chain: Network) -> None:
    """200 payments, 20 at a time: all are paid, and every balance is mirrored."""
    wait_for_route(chain, "A", "D", "FST", 3)
    before = _balances(chain)

    ended = asyncio.run(_pay_while_it_goes_on(chain, 3, count=200, at_once=20))
    wait_until_settled(chain, PAIRS, "FST")
    assert is_settled(chain, PAIRS, "FST")
    assert all(payment.receipt is not None for payment in ended)
    spent = {pair: before[pair] - after for pair, after in _balances(chain).items()}
    assert spent == {("A", "B"): 200 * 6, ("B", "C"): 200 * 5, ("C", "D"): 200 * 3}


@pytest.mark.step("changed relays")
def test_changed_relays(chain: Network) -> None:
    """B moves to another relay: its friends are told through the channel, and find it there."""

    def relays_of_b() -> list[str]:
        return [relay["address"] for relay in chain.friends("A")["B"]["relays"]]

    before = relays_of_b()
    chain.stctrl("B", "config", "add-relay", "-r", chain.path("relay0.ticket"), "-n", "new")
    wait_until("A to know both relays of B", lambda: len(relays_of_b()) == 2)
    chain.stctrl("B", "config", "remove-relay", "-n", "relay1")
    wait_until("A to know the new relay of B", lambda: len(relays_of_b()) == 1)
    assert relays_of_b() != before
    for name in ("A", "B", "C"):
        chain.servers[name].kill()
        chain.servers[name].start()
    for friend in ("A", "C"):
        chain.wait_for(f"{friend} to be online", "B", friend, lambda found: bool(found["online"]))
    chain.stctrl("B", "config", "add-relay", "-r", chain.path("relay1.ticket"), "-n", "relay1")
    chain.stctrl("B", "config", "remove-relay", "-n", "new")
    wait_until("A to know the first relay of B", lambda: relays_of_b() == before)
    wait_for_route(chain, "A", "C", "FST", 5)
    assert chain.pay("A", "C", "FST", 5, "relays") == "Receipt is valid!"


@pytest.mark.step("kill {victim}")
@pytest.mark.parametrize("victim", ["A", "B", "C", "D"])
def test_kill_in_the_middle(chain: Network, victim: str) -> None:
    """kill -9 while payments pass: each ends as paid or cancelled, and the balances say so on both sides."""
    wait_for_route(chain, "A", "D", "FST", 7)
    before = _balances(chain)
    ended = asyncio.run(pay_and_kill(chain, victim, "FST", 7, buyer="A", seller="D", count=30, killed_after=6))
    wait_until_settled(chain, PAIRS, "FST")
    paid = sum(1 for payment in ended if payment.receipt is not None)
    assert len(ended) == 30
    assert before["C", "D"] - 7 * paid == _balances(chain)["C", "D"]


@pytest.mark.step("disabled and enabled")
def test_disabled_and_enabled(chain: Network) -> None:
    """B and C do not talk while one of them has disabled the other, and go on where they were."""
    before = _balances(chain)
    chain.stctrl("B", "config", "disable-friend", "-n", "C")
    chain.wait_for("B to be offline", "C", "B", lambda friend: not friend["online"])
    chain.stctrl("B", "config", "enable-friend", "-n", "C")
    for node, friend in (("B", "C"), ("C", "B")):
        chain.wait_for(f"{friend} to be online", node, friend, lambda found: bool(found["online"]))
    assert _balances(chain) == before


@pytest.mark.step("parted friends")
def test_friend_removed_on_both_sides(chain: Network) -> None:
    """C and D part and meet again: a fresh channel, from the first token on."""
    chain.stctrl("C", "config", "remove-friend", "-n", "D")
    chain.stctrl("D", "config", "remove-friend", "-n", "C")
    chain.befriend("C", "D", "FST", rates=(3, 3))
    for node, friend in (("C", "D"), ("D", "C")):
        chain.set_limit(node, friend, "FST", LIMIT)
    assert chain.balance("C", "D", "FST")["balance"] == 0
    wait_for_route(chain, "A", "D", "FST", 5)
    assert chain.pay("A", "D", "FST", 5, "again") == "Receipt is valid!"


def _add_again(network: Network, node: str, friend: str) -> None:
    network.stctrl(node, "config", "add-friend", "-f", network.path(f"{friend}.friend"), "-n", friend)
    network.stctrl(node, "config", "enable-friend", "-n", friend)


def _allow_again(network: Network, node: str, friend: str) -> None:
    rate = RATES[min((node, friend), (friend, node))]
    network.stctrl(node, "config", "set-currency-rate", "-n", friend, "-c", "FST", "-m", 0, "-a", rate)
    network.set_limit(node, friend, "FST", LIMIT)
    network.stctrl(node, "config", "open-currency", "-n", friend, "-c", "FST")


@pytest.mark.step("broken by {breaks}, reset by {resets}")
@pytest.mark.parametrize("resets", ["B", "C"])
@pytest.mark.parametrize("breaks", ["B", "C"])
def test_inconsistency_and_reset(chain: Network, breaks: str, resets: str) -> None:
    """One side forgets the other; either side accepts the other's terms, and the channel works again."""
    other = {"B": "C", "C": "B"}
    before = chain.balance(resets, other[resets], "FST")["balance"]
    chain.stctrl(breaks, "config", "remove-friend", "-n", other[breaks])
    _add_again(chain, breaks, other[breaks])
    for node in ("B", "C"):
        chain.wait_for("terms", node, other[node], lambda friend: friend.get("remote_reset_terms") is not None)
    chain.stctrl(resets, "config", "reset-friend", "-n", other[resets])
    for node in ("B", "C"):
        chain.wait_for("consistency", node, other[node], lambda friend: friend["channel"] == "consistent")
    forgot = resets != breaks  # then the terms of the one that forgot hold: nothing
    if forgot:
        chain.befriend("B", "C", "FST", rates=(2, 2))
    _allow_again(chain, breaks, other[breaks])
    for node in ("B", "C"):
        chain.set_limit(node, other[node], "FST", LIMIT)
    wait_until_settled(chain, [("B", "C")], "FST")
    assert chain.balance(resets, other[resets], "FST")["balance"] == (0 if forgot else before)
    wait_for_route(chain, "A", "D", "FST", 5)
    assert chain.pay("A", "D", "FST", 5, f"reset-{breaks}-{resets}") == "Receipt is valid!"
