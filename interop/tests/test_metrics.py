"""
Metrics and health of real processes: every figure that is declared moves, and readiness names what is missing.

While the story of the first test goes on, all pages are read again and again, as Prometheus would. In the end each
figure must have had two values somewhere, except those of `ELSEWHERE`.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from interop.live.payments import wait_for_route
from interop.network import Network, NodeSpec
from interop.ports import find_free_port
from interop.programs import wait_until
from interop.sleepers import GOES_ON, CommandPayment, asleep
from offset_crypto.aio import Ticker, connect
from offset_crypto.identity import Identity
from offset_crypto.link_counts import LINK_MEASURES
from offset_crypto.measures import Kind, Measure
from offset_crypto.status_pages import STATUS_MEASURES
from offset_index.metrics import INDEX_MEASURES
from offset_node.metrics import NODE_MEASURES
from offset_proto import wire
from offset_proto.files import IDENTITY
from offset_proto.messages.app import AppToAppServer, EnableFriend
from offset_proto.messages.index import RequestRoutes
from offset_proto.messages.relay import Connect
from offset_proto.types import Currency, PrivateKey, PublicKey, Uid
from offset_relay.metrics import RELAY_MEASURES

STRANGER: Final = Identity(PrivateKey(b"\x07" * 32))
PROGRAMS: Final[dict[str, str]] = {
    "relay0": "strelay",
    "relay1": "strelay",
    "index0": "stindex",
    "index1": "stindex",
    "A": "stnode",
    "B": "stnode",
    "C": "stnode",
}
SHARED: Final[tuple[Measure[Any], ...]] = (*STATUS_MEASURES, *LINK_MEASURES)
MEASURES: Final[dict[str, tuple[Measure[Any], ...]]] = {
    "strelay": (*SHARED, *RELAY_MEASURES),
    "stindex": (*SHARED, *INDEX_MEASURES),
    "stnode": (*SHARED, *NODE_MEASURES),
}
ELSEWHERE: Final = {
    "offset_link_unread_total": "a peer that reads nothing for 16 seconds: offset-crypto, test_links",
    "offset_index_declarations_refused_total": "a thousand currencies of one node: offset-index, test_routes",
    "offset_index_oversized_messages_total": "offset-index, test_service",
    "offset_index_requests_waiting": "a moment, between two looks: the same",
    "offset_long_pending": "an hour: offset-node, test_waiting",
    "offset_friends_overdue": "a minute: offset-node, test_token_watch",
    "offset_friends_unheard": "a backup that was restored: offset-node, test_unheard_watch",
    "offset_inbox_events": "more than the node handles in one batch: offset-node, test_node",
    "offset_inbox_pauses_total": "the same",
    "offset_plugin_calls_waiting": "plugins: examples, test_live_plugins",
    "offset_plugin_failures_total": "the same",
    "offset_plugin_dropped_total": "the same",
    "offset_plugin_refusals_total": "the same",
}
"""Figures that take more time, or other things, than a network that pays; and where they are moved."""


def read_page(port: int, page: str) -> tuple[int, str]:
    """Status and text of a page; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Watcher:
    """Reads all pages again and again, and remembers which figures moved."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._seen: dict[tuple[str, str], set[float]] = defaultdict(set)
        self._ends = threading.Event()
        # One for each: a server that is asleep holds up nobody else's.
        self._threads = [threading.Thread(target=self._watch, args=named) for named in ports.items()]
        for thread in self._threads:
            thread.start()

    def _watch(self, name: str, port: int) -> None:
        while not self._ends.wait(0.5):
            for family in text_string_to_metric_families(read_page(port, "metrics")[1]):
                for sample in family.samples:
                    labels = ",".join(sample.labels.values())
                    self._seen[PROGRAMS[name], f"{name} {sample.name} {labels}"].add(sample.value)

    def stop(self) -> None:
        """Read no more."""
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def moved(self, program: str) -> set[str]:
        """The names of the samples of a program that had more than one value."""
        return {key.split()[1] for (of, key), values in self._seen.items() if of == program and len(values) > 1}


@pytest.fixture(scope="module")
def pages() -> dict[str, int]:
    """The port of the pages of each server."""
    return {name: find_free_port() for name in PROGRAMS}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, pages: dict[str, int]) -> Iterator[Network]:
    """A chain A - B - C whose servers all have pages, and a watcher that reads them from the start."""
    options = {name: ("--metrics", f"127.0.0.1:{port}") for name, port in pages.items()}
    with Network(tmp_path_factory.mktemp("metrics"), options=options) as made:
        made.add_relay("relay0")
        made.add_relay("relay1")
        made.add_index_servers(["index0", "index1"])
        for name, relay, index in (("A", "relay0", "index0"), ("B", "relay1", "index0"), ("C", "relay0", "index1")):
            made.add_node(NodeSpec(name, relay, index))
        made.befriend("A", "B", "FST", rates=(0, 1))
        made.befriend("B", "C", "FST", rates=(1, 0))
        for node, friend in (("A", "B"), ("B", "A"), ("B", "C"), ("C", "B")):
            made.set_limit(node, friend, "FST", 100_000)
        yield made


def _wait_until_ready(pages: dict[str, int]) -> None:
    for name, port in pages.items():
        wait_until(f"{name} to be ready", lambda port=port: read_page(port, "readyz") == (200, "ready\n"), 60)  # type: ignore[misc]


async def _strangers(network: Network) -> None:
    """What nobody should send: to a relay, to an index server, to a node."""
    ticker = Ticker()

    def key(name: str) -> PublicKey:
        return Identity(IDENTITY.load(network.path(f"{name}.ident")).private_key).public_key

    ports = (network.ports["relay0"], network.ports["index0-client"], network.ports["A"])
    silent = [(await asyncio.open_connection("127.0.0.1", port))[1] for port in ports]
    relay = await connect(f"127.0.0.1:{network.ports['relay0']}", STRANGER, key("relay0"), ticker)
    relay.send(wire.INIT_CONNECTION.encode(Connect(PublicKey(bytes(32)))))
    index = await connect(f"127.0.0.1:{network.ports['index0-client']}", STRANGER, key("index0"), ticker)
    nowhere = RequestRoutes(Uid(bytes(16)), Currency("FST"), 1, key("A"), PublicKey(bytes(32)), None)
    index.send(wire.INDEX_CLIENT_TO_SERVER.encode(nowhere))
    for number in range(1, 2000):
        request = RequestRoutes(Uid(number.to_bytes(16, "big")), Currency("FST"), 1, key("A"), key("C"), None)
        index.send(wire.INDEX_CLIENT_TO_SERVER.encode(request))
    app = Identity(IDENTITY.load(network.path("A-app.ident")).private_key)
    node = await connect(f"127.0.0.1:{network.ports['A']}", app, key("A"), ticker)
    node.send(wire.APP_TO_APP_SERVER.encode(AppToAppServer(Uid(os.urandom(16)), EnableFriend(PublicKey(bytes(32))))))
    await asyncio.sleep(3)
    for connection in (relay, index, node):
        connection.close()
    for writer in silent:
        writer.close()


async def _wait_for(network: Network, name: str) -> None:
    """Ask a relay for a tunnel to somebody who does not answer."""
    key = Identity(IDENTITY.load(network.path("relay1.ident")).private_key).public_key
    listener = Identity(IDENTITY.load(network.path(f"{name}.ident")).private_key).public_key
    relay = await connect(f"127.0.0.1:{network.ports['relay1']}", STRANGER, key, Ticker())
    relay.send(wire.INIT_CONNECTION.encode(Connect(listener)))
    await asyncio.sleep(2)
    relay.close()


def _pay_a_sleeper(network: Network) -> None:
    """Credits freeze and the next request waits; one payment goes on in the end, the other one is cancelled."""
    wait_for_route(network, "A", "C", "FST", 30)
    first, second = CommandPayment(network, "first"), CommandPayment(network, "second")
    for payment in (first, second):
        payment.create_invoice(30)
    with asleep(network, "B"):
        assert first.pay(2) == GOES_ON
        assert second.pay(2) == GOES_ON
        asyncio.run(_wait_for(network, "B"))
    assert first.pay(60) == 0
    first.collect()
    network.stctrl("C", "seller", "cancel-invoice", "-i", second.invoice)
    network.stctrl("A", "buyer", "give-up", "-p", second.payment, "--timeout", 60)


def test_every_figure_moves(network: Network, pages: dict[str, int]) -> None:
    """Payments, a friend that sleeps, a relay and an index server that are lost and come back, strangers, a backup."""
    _wait_until_ready(pages)
    watcher = Watcher(pages)
    try:
        assert network.pay("A", "C", "FST", 5, "metrics") == "Receipt is valid!"
        assert network.pay("C", "A", "FST", 5, "back") == "Receipt is valid!"
        asyncio.run(_strangers(network))
        _pay_a_sleeper(network)
        network.run("stmgr", "backup", "-d", network.path("A.db"), "-o", network.path("A.backup"))
        _lose_servers(network, pages)
        _wait_until_ready(pages)
        for one, other in (("A", "B"), ("B", "C")):
            network.wait_for("both to be back", one, other, lambda friend: bool(friend["online"]))
        time.sleep(2)  # the watcher looks twice
    finally:
        watcher.stop()
    unmoved = {
        f"{program}: {measure.name}"
        for program, measures in MEASURES.items()
        for measure in measures
        if measure.name not in ELSEWHERE
        and measure.name + ("_count" if measure.kind is Kind.HISTOGRAM else "") not in watcher.moved(program)
    }
    assert not unmoved, ", ".join(sorted(unmoved))


def _lose_servers(network: Network, pages: dict[str, int]) -> None:
    """Readiness says what is missing while it is; the program goes on, and health has nothing to say of it."""
    servers = ("relay0", "relay1", "index0")
    for name in ("relay0", "relay1"):
        network.servers[name].stop()  # while tunnels are open it is not ready any more
    network.servers["index0"].kill()
    lost = f"relay 127.0.0.1:{network.ports['relay1']}: not connected\nno index server is connected\n"
    wait_until("B to miss both", lambda: read_page(pages["B"], "readyz") == (503, lost), 60)
    neighbour = f"index server 127.0.0.1:{network.ports['index0-server']}: not connected\n"
    wait_until("index1 to miss index0", lambda: read_page(pages["index1"], "readyz") == (503, neighbour), 60)
    assert read_page(pages["B"], "healthz") == (200, "ok\n")
    time.sleep(4)
    for name in servers:
        network.servers[name].start()


def test_a_process_that_hangs_has_no_health(network: Network, pages: dict[str, int]) -> None:
    """The page is answered by the loop of the program, and by nothing beside it."""
    process = network.servers["index1"].process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(f"http://127.0.0.1:{pages['index1']}/healthz", timeout=2)
    finally:
        process.send_signal(signal.SIGCONT)
    assert read_page(pages["index1"], "healthz") == (200, "ok\n")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: it comes with Debian's package prometheus")
@pytest.mark.parametrize("name", ["relay0", "index0", "A"])
def test_names_and_texts_are_as_prometheus_wants_them(network: Network, pages: dict[str, int], name: str) -> None:
    """`promtool check metrics` has nothing to say."""
    status, text = read_page(pages[name], "metrics")
    assert status == 200
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)  # noqa: S607
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
