"""stweb on a real network: payments through its API, and kill -9 in the middle of them."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from interop.network import Network
from interop.programs import wait_until
from interop.web import LIMIT, Web
from offset_ctrl import Node, connect
from offset_proto.files import COMMIT, INVOICE, Invoice
from offset_proto.message_json import format_json, parse_json

PAYMENTS = 24
PAYMENTS_PATH = "/api/v1/nodes/C/payments"


@pytest.fixture
def web(chain: Network, tmp_path: Path) -> Iterator[Web]:
    """Runs for one test."""
    web = Web(chain, tmp_path)
    yield web
    web.server.stop()


async def _ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> Any:
    """Ask until there is an answer: the server may be down for a moment, and every request here may be repeated."""
    for _ in range(300):
        try:
            answer = await client.request(method, path, **more)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if answer.status_code < 500:
            return answer.json()
        await asyncio.sleep(0.1)
    raise AssertionError(f"no answer to {method} {path}")


async def _pay(client: httpx.AsyncClient, seller: Node, invoice: Invoice, key: str) -> Any:
    """A payment from its invoice to its end."""
    body = {"invoice": parse_json(INVOICE.format(invoice)), "fees_max": "5"}
    asked = {"json": body, "headers": {"idempotency-key": key}, "params": {"wait": 10}}
    payment = await _ask(client, "POST", PAYMENTS_PATH, **asked)
    path = f"{PAYMENTS_PATH}/{payment['payment_id']}"
    is_delivered = is_cancelled = False
    async with asyncio.timeout(120):
        while payment["state"] not in ("paid", "failed", "unknown"):
            if payment["commit"] is not None and not is_delivered:
                await seller.accept_commit(invoice, COMMIT.parse(format_json(payment["commit"])))
                is_delivered = True
            elif payment["state"] == "closing" and not is_cancelled:
                await seller.cancel_invoice(invoice)  # what is frozen for a payment that was given up waits for that
                is_cancelled = True
            payment = await _ask(client, "GET", path, params={"wait": 5, "wait_for": "end"})
            again = await _ask(client, "POST", PAYMENTS_PATH, **{**asked, "params": {}})
            assert again["payment_id"] == payment["payment_id"]
    assert (payment["state"] == "paid") == is_delivered
    return payment


def test_stweb_killed_in_the_middle_of_payments(chain: Network, web: Web) -> None:
    """Each payment has its true end, none is made twice, and the limit of the day counts what was paid."""
    before = chain.balance("A", "B", "FST")["balance"]
    owed = chain.balance("C", "B", "FST")["balance"]

    async def scenario() -> list[Any]:
        async with (
            connect(chain.path("A.ticket"), chain.path("A-app.ident")) as seller,
            web.client() as client,
        ):
            invoices = [await seller.create_invoice("FST", 100 + number) for number in range(PAYMENTS)]
            await asyncio.sleep(1)

            async def pay(number: int) -> Any:
                await asyncio.sleep(number * 0.1)
                return await _pay(client, seller, invoices[number], f"key-{number}")

            paying = [asyncio.create_task(pay(number)) for number in range(PAYMENTS)]
            for _ in range(3):
                await asyncio.sleep(0.7)
                await asyncio.to_thread(web.server.kill)
                await asyncio.to_thread(web.server.start)
            payments = await asyncio.gather(*paying)
            refused = await client.post(
                PAYMENTS_PATH,
                json={"invoice": parse_json(INVOICE.format(invoices[0])), "fees_max": str(2 * LIMIT)},
                headers={"idempotency-key": "too much"},
            )
            assert refused.json()["title"] == "DailyLimitReached"
            paid = sum(_cost(payment) for payment in payments if payment["state"] == "paid")
            assert int(refused.json()["available"]) == LIMIT - paid
            listed = await _ask(client, "GET", PAYMENTS_PATH, params={"limit": 500})
            assert {each["payment_id"] for each in listed["payments"]} == {each["payment_id"] for each in payments}
            return payments

    payments = asyncio.run(scenario())
    states = [payment["state"] for payment in payments]
    assert "unknown" not in states
    assert "paid" in states
    received = sum(int(each["invoice"]["dest_payment"]) for each in payments if each["state"] == "paid")
    spent = sum(_cost(each) for each in payments if each["state"] == "paid")
    wait_until("what was paid to arrive", lambda: chain.balance("A", "B", "FST")["balance"] == before + received, 30)
    wait_until("what was paid to leave", lambda: chain.balance("C", "B", "FST")["balance"] == owed - spent, 30)


def _cost(payment: Any) -> int:
    return int(payment["invoice"]["dest_payment"]) + int(payment["fees"])


@pytest.fixture
def shop(chain: Network, tmp_path: Path) -> Iterator[Web]:
    """A stweb of the seller's node A, where buyers' programs deliver commits."""
    shop = Web(chain, tmp_path, "A")
    yield shop
    shop.server.stop()


def _ask_for(shop: Web, amount: int) -> Any:
    """An invoice of the shop."""
    body = {"currency": "FST", "amount": str(amount), "expires_in": 600}
    with httpx.Client(base_url=shop.url, headers=shop.headers, timeout=30.0, trust_env=False) as client:
        headers = {"idempotency-key": f"invoice of {amount}"}
        answer = client.post("/api/v1/nodes/A/invoices", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()


def test_a_text_is_paid_by_one_command(chain: Network, shop: Web, tmp_path: Path) -> None:
    """The buyer's program delivers the commit to the shop by itself, and the receipt is there."""
    asked = _ask_for(shop, 211)
    invoice, receipt = tmp_path / "x.invoice", tmp_path / "x.receipt"
    files = ["-p", tmp_path / "x.payment", "-c", tmp_path / "x.commit", "-r", receipt]
    said = chain.stctrl("C", "buyer", "pay-invoice", "--text", asked["text"], *files, "--timeout", 60).stdout
    assert f"The commit was delivered to {shop.url}/api/v1/commits" in said
    chain.run("stmgr", "text", asked["text"], "-o", invoice)
    chain.run("stverify", "verify-receipt", "-i", invoice, "-r", receipt)
    with httpx.Client(base_url=shop.url, headers=shop.headers, trust_env=False) as client:
        path = f"/api/v1/nodes/A/invoices/{asked['invoice']['invoice_id']}"
        assert client.get(path).json()["state"] == "collected"


def test_a_text_is_paid_through_the_api(shop: Web, web: Web) -> None:
    """From one stweb to the other: one request, and at its end there is the receipt."""
    asked = _ask_for(shop, 212)
    with httpx.Client(base_url=web.url, headers=web.headers, timeout=90.0, trust_env=False) as client:
        body, headers = {"text": asked["text"], "fees_max": "5"}, {"idempotency-key": "a text"}
        query = {"wait": "60", "wait_for": "end"}
        paid = client.post(PAYMENTS_PATH, params=query, json=body, headers=headers).json()
    assert (paid["state"], paid["receipt"]["total_dest_payment"]) == ("paid", "212")
    assert paid["delivery"]["address"] == f"{shop.url}/api/v1/commits"


class _Receiver(ThreadingHTTPServer):
    """Takes events from the moment on at which it may; until then it fails."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Events)
        self.may_take = threading.Event()
        self.attempts = 0
        self.taken: list[str] = []


class _Events(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.attempts += 1
        is_taken = self.server.may_take.is_set()
        if is_taken:
            self.server.taken.append(event["data"]["amount"])
        self.send_response(204 if is_taken else 503)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    """On loopback."""
    with _Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_events_survive_a_kill(shop: Web, web: Web, receiver: _Receiver) -> None:
    """The receiver is down when invoices are paid, and stweb is killed before it is back: it hears of all."""
    address = f"http://127.0.0.1:{receiver.server_port}/events"
    with httpx.Client(base_url=shop.url, headers=shop.headers, timeout=30.0, trust_env=False) as client:
        body = {"address": address, "topics": ["invoice.paid"]}
        made = client.post("/api/v1/nodes/A/webhooks", json=body, headers={"idempotency-key": "events"})
        assert made.status_code == 201, made.text
    query = {"wait": "60", "wait_for": "end"}
    with httpx.Client(base_url=web.url, headers=web.headers, timeout=90.0, trust_env=False) as client:
        for amount in (221, 222, 223):
            sent, headers = {"text": _ask_for(shop, amount)["text"], "fees_max": "5"}, {"idempotency-key": str(amount)}
            paid = client.post(PAYMENTS_PATH, params=query, json=sent, headers=headers).json()
            assert paid["state"] == "paid"
    wait_until("an attempt", lambda: receiver.attempts > 0, 30)
    shop.server.kill()
    receiver.may_take.set()
    shop.server.start()
    wait_until("the events", lambda: len(receiver.taken) == 3, 60)
    assert receiver.taken == ["221", "222", "223"]


def test_stweb_ends_when_it_is_told_to(web: Web) -> None:
    """Within seconds, although clients follow its events."""
    topics = {"topic": ["report", "payments", "invoices", "history"]}

    async def scenario() -> tuple[int, float, list[str]]:
        async with web.client() as client, client.stream("GET", "/api/v1/nodes/C/events", params=topics) as stream:
            lines = stream.aiter_lines()
            first = [await anext(lines) for _ in range(4)]
            started = time.monotonic()
            assert web.server.process is not None
            web.server.process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines]
            status = await asyncio.to_thread(web.server.process.wait, 30)
            return status, time.monotonic() - started, first + rest

    status, seconds, lines = asyncio.run(scenario())
    assert status == 0
    assert seconds < 20
    assert "event: report" in lines


def test_the_first_link(chain: Network, web: Web) -> None:
    """It is printed when no browser has logged in, and logs one in."""
    links = [line for line in Path(web.log).read_text().splitlines() if "log-in?link=" in line]
    assert links[0].startswith("To log a browser in")
    url = chain.run("stweb", "link", "--state", web.state).stdout.strip()
    with httpx.Client(base_url=web.url, trust_env=False) as browser:
        secret = url.partition("link=")[2]
        assert browser.post("/log-in", data={"link": secret}).status_code == 303
        report = browser.get("/api/v1/nodes/C/report").json()
        assert [friend["name"] for friend in report["friends"]] == ["B"]
    assert json.loads(chain.run("stweb", "token", "list", "--state", web.state, "--json").stdout)[0]["name"] == "test"
