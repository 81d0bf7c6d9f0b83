"""The four plugins together on a running node; their grants and refusals as a person at stctrl sees them."""

import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from interop.network import Network, NodeSpec
from interop.programs import OURS, wait_until
from offset_crypto.program import load_identity
from offset_proto.text import format_b64

ALL = ("--proutes", "--pbuyer", "--pseller", "--pconfig")
PLUGINS = ("app-limits", "auditor", "spending-limit", "webhook")


class Shop(HTTPServer):
    """Where the webhook sends to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """On loopback."""
    with Shop() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Live:
    """Nodes A and B, friends in FST and EUR; B has the plugins, and three apps besides its owner's."""

    def __init__(self, directory: Path, shop: Shop) -> None:
        self.network = network = Network(directory)
        self.metrics = f"127.0.0.1:{network._free_port('metrics')}"
        network.add_relay("relay")
        network.add_index_servers(["index"])
        without = tuple(word for name in PLUGINS for word in ("--without", name))
        network.add_node(NodeSpec("A", "relay", "index", without))
        keys = {app: self._key(app) for app in ("child", "clerk", "auditor")} | {"A": self._key("A")}
        network.path("webhook.secret").write_bytes(b"sixteen bytes and more")
        network.path("plugins.toml").write_text(
            f"""
            [spending-limit.limits."{keys["child"]}"]
            FST = 50
            [app-limits.apps."{keys["clerk"]}"]
            currencies = ["EUR"]
            friends = ["{keys["A"]}"]
            grant = ["seller"]
            [auditor]
            apps = ["{keys["auditor"]}"]
            [webhook]
            url = "http://127.0.0.1:{shop.server_port}/"
            secret_file = "{network.path("webhook.secret")}"
            """
        )
        options = ("--plugin-settings", str(network.path("plugins.toml")), "--metrics", self.metrics)
        network.add_node(NodeSpec("B", "relay", "index", options))
        self.logins = {
            "child": network.add_app("B", "child", "--proutes", "--pbuyer"),
            "clerk": network.add_app("B", "clerk", "--pconfig"),
            "auditor": network.add_app("B", "auditor", *ALL),
            "owner": network.login("B"),
        }
        for currency in ("FST", "EUR"):
            network.befriend("A", "B", currency)
            network.set_limit("A", "B", currency, 1000)
            network.set_limit("B", "A", currency, 1000)

    def _key(self, name: str) -> str:
        return format_b64(load_identity(self.network.identity(name)).public_key)

    def stctrl(self, app: str, *words: object) -> "subprocess.CompletedProcess[str]":
        """As an app of B."""
        return self.network.run("stctrl", *self.logins[app], *words, check=False)

    def pay(self, app: str, amount: int, label: str) -> "subprocess.CompletedProcess[str]":
        """An app of B pays A, as far as that goes."""
        network = self.network
        invoice, payment, commit = (network.path(f"{label}.{kind}") for kind in ("invoice", "payment", "commit"))
        network.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", amount, "-i", invoice)
        words = ("buyer", "pay-invoice", "-i", invoice, "-p", payment, "-c", commit)

        def is_routed() -> bool:
            nonlocal result
            result = self.stctrl(app, *words)
            return "NoSuitableRoute" not in result.stderr and "AppRoutesError" not in result.stderr

        result = self.stctrl(app, "info", "friends")
        wait_until("a route", is_routed)
        if result.returncode == 0:
            network.stctrl("A", "seller", "commit-invoice", "-i", invoice, "-c", commit)
            network.wait_for_receipt("B", payment, network.path(f"{label}.receipt"))
        return result


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Live]:
    """The network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUST_LOG", "warn")
        made = Live(tmp_path_factory.mktemp("live"), shop)
        yield made
        made.network.stop()


def test_all_four_are_listed() -> None:
    """With where they come from, and their hooks; a plugin that is switched off says so."""
    listed = OURS.run("stnode", "--without", "webhook", "--plugins").stdout
    for name in PLUGINS:
        assert f"offset-{name} 0.1.0" in listed
    assert [line.split()[1] for line in listed.splitlines()[::2]] == ["on", "on", "on", "on", "off"]


def test_the_child_spends_fifty_a_day(live: Live) -> None:
    """30 pass, 30 more do not, 20 do; the owner is not limited; kill -9 does not reset the counter."""
    assert live.pay("child", 30, "first").returncode == 0
    refused = live.pay("child", 30, "second")
    assert refused.returncode == 1
    assert "CreateTransactionFailed" in refused.stderr
    assert live.pay("owner", 60, "third").returncode == 0
    server = live.network.servers["B"]
    server.kill()
    server.start()
    live.network.wait_for("A and B to be online", "B", "A", lambda friend: bool(friend["online"]))
    assert "CreateTransactionFailed" in live.pay("child", 30, "fourth").stderr
    assert live.pay("child", 20, "fifth").returncode == 0
    assert "plugin spending-limit: 30 FST more than 20 left of 50 for today" in server.log.read_text()


def test_the_clerk_sells_in_one_currency(live: Live) -> None:
    """Its ticket has no seller flag: the plugin grants it, for EUR; FST it neither uses nor sees."""
    invoice = live.network.path("clerk.invoice")
    create = ("seller", "create-invoice", "-a", 5, "-i", invoice)
    assert live.stctrl("clerk", *create, "-c", "EUR").returncode == 0
    other = ("seller", "create-invoice", "-a", 5, "-i", live.network.path("other.invoice"), "-c", "FST")
    assert "AddInvoiceError(the node closed the connection" in live.stctrl("clerk", *other).stderr
    limit = ("config", "set-currency-max-debt", "-n", "A", "-m", 77, "-c")
    assert live.stctrl("clerk", *limit, "EUR").returncode == 0
    assert "RequestRefused" in live.stctrl("clerk", *limit, "FST").stderr
    assert "RequestRefused" in live.stctrl("clerk", "config", "remove-relay", "-n", "relay").stderr
    shown = live.stctrl("clerk", "info", "friends").stdout
    assert "EUR" in shown
    assert "FST" not in shown
    assert "FST" in live.stctrl("owner", "info", "friends").stdout


def test_the_auditor_looks(live: Live) -> None:
    """Its ticket has all flags; it sees everything, and may do nothing."""
    assert live.stctrl("auditor", "info", "friends").stdout == live.stctrl("owner", "info", "friends").stdout
    assert "RequestRefused" in live.stctrl("auditor", "config", "disable-friend", "-n", "A").stderr
    invoice = live.network.path("auditor.invoice")
    create = ("seller", "create-invoice", "-c", "FST", "-a", 5, "-i", invoice)
    assert "AddInvoiceError(the node closed the connection" in live.stctrl("auditor", *create).stderr
    assert "auditor " in live.network.servers["B"].log.read_text()


def test_the_shop_is_told(live: Live, shop: Shop) -> None:
    """A pays an invoice of B's owner: one request, with the amount."""
    assert "valid" in live.network.pay("A", "B", "FST", 7, "told")
    wait_until("the webhook", lambda: bool(shop.bodies), 20)
    (body,) = shop.bodies
    assert '"currency": "FST", "amount": "7"' in body


def test_metrics(live: Live) -> None:
    """Of the node and of each plugin."""
    with urllib.request.urlopen(f"http://{live.metrics}/metrics", timeout=10) as response:
        text = response.read().decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures["offset_friends_online"]) == 1
    assert float(figures["offset_events_total"]) > 0
    assert 'offset_plugin_refusals_total{plugin="auditor"}' in figures
    assert any(name.startswith('offset_spending_left{app="') for name in figures)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--plugin-settings", "nowhere.toml"], "nowhere.toml"),
        (["--without", "nobody"], "PluginError(nobody: no plugin of this name is installed"),
        ([], "PluginError(webhook: InvalidInput: setting 'url' is missing"),
    ],
)
def test_wrong_options(live: Live, options: list[str], reason: str) -> None:
    """One line, status 1; nothing is served."""
    network = live.network
    files = ["-i", network.path("C.ident"), "-d", network.path("C.db"), "-t", network.path("A-trusted")]
    network.identity("C")
    if not network.path("C.db").exists():
        network.run("stmgr", "init-node-db", "-i", network.path("C.ident"), "-o", network.path("C.db"))
    result = network.run("stnode", *files, "-l", "127.0.0.1:1", *options, check=False)
    assert result.returncode == 1
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1
