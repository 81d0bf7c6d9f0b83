"""The example apps, as their READMEs run them, on a network of three friends."""

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interop.network import Network, NodeSpec
from interop.programs import Server, wait_until

APPS = Path(__file__).parents[1] / "apps"


@pytest.fixture(scope="module")
def triangle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A, B and C, each a friend of the others."""
    network = Network(tmp_path_factory.mktemp("triangle"))
    try:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in "ABC":
            network.add_node(NodeSpec(name, "relay", "index", ("--without", "webhook")))
        for one, other in ("AB", "BC", "CA"):
            network.befriend(one, other, "FST")
            network.set_limit(one, other, "FST", 1000)
            network.set_limit(other, one, "FST", 1000)
        yield network
    finally:
        network.stop()


@contextmanager
def _started(network: Network, script: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(APPS / script), *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=network.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        yield process
        process.terminate()


def _run(network: Network, script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(APPS / script), *map(str, arguments)]
    return subprocess.run(command, cwd=network.directory, capture_output=True, text=True, timeout=120)


def _refusal(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of an answer that is no success."""
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url, body, timeout=10)
    with raised.value as answer:
        return answer.code, answer.read()


@contextmanager
def _shop(network: Network) -> Iterator[str]:
    port = network._free_port("shop")
    with _started(network, "shop/shop.py", *network.login("A"), "--price", 5, "--port", port) as shop:
        assert shop.stdout is not None
        assert shop.stdout.readline() == f"open: http://127.0.0.1:{port}/\n"
        yield f"http://127.0.0.1:{port}"


def test_the_shop_sells_its_page(triangle: Network) -> None:
    """For five credits; not for four, and not for a commit that is none."""
    before = triangle.balance("A", "B", "FST")["balance"] + triangle.balance("A", "C", "FST")["balance"]
    with _shop(triangle) as url:
        bought = _run(triangle, "shop/buy.py", f"{url}/page", *triangle.login("B"))
        assert bought.returncode == 0, bought.stderr
        assert "worth every credit" in bought.stdout
        assert bought.stderr == "paid 5 FST\n"
        cheap = _run(triangle, "shop/buy.py", f"{url}/page", *triangle.login("B"), "--at-most", 4)
        assert (cheap.returncode, cheap.stdout) == (1, "")
        assert "costs 5 FST" in cheap.stderr
        for body in (b"nonsense", b"{}", b"x" * 20_000):
            assert _refusal(f"{url}/page", body)[0] == 400
        with urllib.request.urlopen(f"{url}/", timeout=10) as response:
            assert response.read() == b"GET /page for 5 FST\n"

    def is_paid() -> bool:
        after = triangle.balance("A", "B", "FST")["balance"] + triangle.balance("A", "C", "FST")["balance"]
        return after == before + 5

    wait_until("five credits", is_paid, 20)


@contextmanager
def _stweb(network: Network, name: str) -> Iterator[tuple[str, str]]:
    """A node's stweb that buyers reach: its address, and a token that may ask for payments."""
    port = network._free_port("stweb")
    url, state = f"http://127.0.0.1:{port}", network.path(f"{name}-web")
    options = ["-l", f"127.0.0.1:{port}", "--state", str(state), "--public-address", url]
    command = [network.cast.of("stweb").program("stweb"), *map(str, network.login(name)), *options]
    server = Server("stweb", command, port, network.path("stweb.log"))
    server.start()
    try:
        asking = ["--name", "shop", "--may", "ask", "--until", "2099-12-31", "--state", state]
        yield url, network.run("stweb", "token", "create", *asking).stdout.strip()
    finally:
        server.stop()


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Says where it is sent to, and does not go there."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def test_the_shop_for_people(triangle: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer is sent to a page of stweb, pays what that says, and gets what was bought; before that, nothing."""
    port = triangle._free_port("web-shop")
    with _stweb(triangle, "A") as (url, token):
        monkeypatch.setenv("STWEB_TOKEN", token)
        with _started(triangle, "shop/web_shop.py", f"{url}/api/v1/nodes/A", "--port", port) as shop:
            assert shop.stdout is not None
            assert shop.stdout.readline() == f"open: http://127.0.0.1:{port}/\n"
            with pytest.raises(urllib.error.HTTPError) as raised:
                urllib.request.build_opener(_StayHere).open(f"http://127.0.0.1:{port}/buy", b"", timeout=30)
            with raised.value as sent:
                checkout = sent.headers["location"]
            assert checkout.startswith(f"{url}/checkout/")
            with urllib.request.urlopen(checkout, timeout=30) as answer:
                page = answer.read().decode()
            [order] = set(re.findall(rf'href="(http://127.0.0.1:{port}/orders/[^"]+)"', page))
            status, body = _refusal(order)
            assert (status, checkout in body.decode(), "worth" in body.decode()) == (402, True, False)
            assert _refusal(f"http://127.0.0.1:{port}/orders/x")[0] == 404
            text = triangle.path("order.txt")
            text.write_text(re.search(r"offset:invoice1[a-z0-9]+", page)[0])  # type: ignore[index]
            files = ["-p", triangle.path("order.payment"), "-c", triangle.path("order.commit")]
            receipt = triangle.path("order.receipt")
            triangle.stctrl("B", "buyer", "pay-invoice", "--text", text.read_text(), *files, "-r", receipt)
            with urllib.request.urlopen(order, timeout=30) as answer:
                assert "worth every credit" in answer.read().decode()
            with urllib.request.urlopen(checkout, timeout=30) as answer:
                assert "<h1>Paid</h1>" in answer.read().decode()


def test_a_list_is_paid(triangle: Network) -> None:
    """Two by the shop, one by file, one not at all; the second run pays nothing twice."""
    directory = triangle.path("list")
    directory.mkdir()
    with _shop(triangle) as url:
        lines = ["invoice,deliver"]
        for number in range(2):
            (directory / f"{number}.invoice").write_bytes(_refusal(f"{url}/page")[1])
            lines.append(f"{number}.invoice,{url}/page")
        triangle.stctrl("C", "seller", "create-invoice", "-c", "FST", "-a", 7, "-i", directory / "file.invoice")
        triangle.stctrl("C", "seller", "create-invoice", "-c", "EUR", "-a", 7, "-i", directory / "euro.invoice")
        lines += ["file.invoice,file.commit", "euro.invoice,euro.commit"]
        (directory / "list.csv").write_text("\n".join(lines) + "\n")
        arguments = [directory / "list.csv", *triangle.login("B"), "--fees-max", 3]
        with _started(triangle, "pay-list/pay_list.py", *arguments) as paying:
            wait_until("the commit", (directory / "file.commit").exists)
            files = ["-i", directory / "file.invoice", "-c", directory / "file.commit"]
            triangle.stctrl("C", "seller", "commit-invoice", *files)
            assert paying.stdout is not None
            said = paying.stdout.read()
            assert paying.wait(60) == 1
        assert "3 of 4 paid" in said
        assert f"Error: line 5: {directory / 'euro.invoice'}: no route" in said
        for name in ("0", "1", "file"):
            pair = ["-i", directory / f"{name}.invoice", "-r", directory / f"{name}.receipt"]
            assert "valid" in triangle.run("stverify", "verify-receipt", *pair).stdout
        again = _run(triangle, "pay-list/pay_list.py", *arguments)
        assert "3 of 4 paid" in again.stdout
    empty = directory / "empty.csv"
    empty.write_text("invoice,deliver\n")
    assert _run(triangle, "pay-list/pay_list.py", empty, *triangle.login("B")).stdout == "nothing to pay\n"
    empty.write_text("a,b\n1,2\n")
    wrong = _run(triangle, "pay-list/pay_list.py", empty, *triangle.login("B"))
    assert wrong.returncode == 1
    assert "no titles invoice, deliver" in wrong.stderr


def test_balances_are_made_even(triangle: Network) -> None:
    """C owes A, A owes B: a circle from A through C and B settles both, but for what is tolerated."""

    def balances() -> tuple[int, int]:
        return triangle.balance("A", "C", "FST")["balance"], triangle.balance("A", "B", "FST")["balance"]

    arguments = [*triangle.login("A"), "--once", "--tolerance", 1]
    first = _run(triangle, "even-balances/even_balances.py", *arguments)
    assert first.returncode == 0, first.stderr
    with_c, with_b = balances()
    triangle.pay("C", "A", "FST", 60 + abs(with_c), "circle1")
    triangle.pay("A", "B", "FST", 50 + abs(with_b), "circle2")
    wait_until("both debts", lambda: min(balances()[0], -balances()[1]) > 1, 20)
    time.sleep(2)  # until the index server knows
    settled = _run(triangle, "even-balances/even_balances.py", *arguments)
    assert settled.returncode == 0, settled.stderr
    assert "settled" in settled.stdout
    with_c, with_b = balances()
    assert min(with_c, -with_b) <= 1
