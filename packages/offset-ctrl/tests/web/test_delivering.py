"""Commits that buyers' programs deliver by themselves, on both sides."""

import asyncio
import json

import httpx
import pytest

from offset_crypto.identity import Identity
from offset_ctrl.sdk import delivery
from offset_ctrl.testing import build_commit
from offset_ctrl.web import deliveries, dispatch, in_hand
from offset_proto.files import COMMIT, INVOICE
from offset_proto.message_json import format_json, parse_json
from offset_proto.messages.app import AddInvoice, CommitInvoice
from offset_proto.messages.extensions import OpenInvoiceReport
from offset_proto.types import PrivateKey
from offset_proto.uri import PaymentRequest, format_uri, parse_uri_of

NODE, SELLER = Identity(PrivateKey(b"\x01" * 32)), Identity(PrivateKey(b"\x03" * 32))
COMMITS = "/api/v1/commits"
INVOICES = "/api/v1/nodes/node/invoices"
PAYMENTS = "/api/v1/nodes/node/payments"


def _knows_invoices(server):
    def reports():
        gone = {each.commit.invoice_id for each in server.fake.asked(CommitInvoice)}
        return tuple(
            OpenInvoiceReport(each.invoice_id, each.currency, each.total_dest_payment, 0, 0, 0, None)
            for each in server.fake.asked(AddInvoice)
            if each.invoice_id not in gone
        )

    server.fake.invoices = reports


async def _invoice(server, key="a", amount="30"):
    _knows_invoices(server)
    body = {"currency": "FST", "amount": amount}
    found = (await server.client.post(INVOICES, json=body, headers={"idempotency-key": key})).json()
    invoice = INVOICE.parse(format_json(found["invoice"]))
    return found, invoice, parse_json(COMMIT.format(build_commit(invoice, NODE)))


def _stranger(server):
    return httpx.AsyncClient(base_url=server.url, trust_env=False)


def test_a_stranger_delivers_a_commit(run_server):
    """It is its own proof: no token is needed, and the second time changes nothing."""

    async def body(server):
        found, _, commit = await _invoice(server)
        async with _stranger(server) as client:
            answers = await asyncio.gather(*(client.post(COMMITS, json=commit) for _ in range(5)))
            answers.append(await client.post(COMMITS, json=commit))
        for answer in answers:
            expected = {"invoice_id": found["invoice"]["invoice_id"], "state": "collected"}
            assert (answer.status_code, answer.json()) == (200, expected)
        assert len(server.fake.asked(CommitInvoice)) == 1
        path = f"{INVOICES}/{found['invoice']['invoice_id']}"
        assert (await server.client.get(path)).json()["state"] == "collected"
        assert not server.desk.in_hand

    run_server(body)


def test_what_a_stranger_may_not(run_server):
    """Nothing of it reaches the node, and none is told what becomes of an invoice."""

    async def body(server):
        _, invoice, commit = await _invoice(server)
        other = parse_json(COMMIT.format(build_commit(server.invoice(1), SELLER)))
        forged = parse_json(COMMIT.format(build_commit(invoice, SELLER)))
        less = {**commit, "dest_payment": "1", "total_dest_payment": "1"}
        async with _stranger(server) as client:
            for sent, status, title in (
                (other, 404, "UnknownInvoice"),
                (forged, 400, "InvalidProof"),
                (less, 400, "InvalidProof"),
                ({**commit, "more": 1}, 400, "InvalidInput"),
                ([], 400, "InvalidInput"),
            ):
                answer = await client.post(COMMITS, json=sent)
                assert (answer.status_code, answer.json()["title"]) == (status, title)
            page = {"origin": "https://elsewhere.example"}
            assert (await client.post(COMMITS, json=commit, headers=page)).json()["title"] == "CrossSite"
            assert (await client.get(COMMITS)).status_code == 405
            assert (await client.post(INVOICES, json={})).status_code == 401
        assert not server.fake.asked(CommitInvoice)

    run_server(body)


def test_an_invoice_that_is_not_open(run_server):
    """The buyer who has paid for it in vain is told so."""

    async def body(server):
        found, _, commit = await _invoice(server)
        await server.client.delete(f"{INVOICES}/{found['invoice']['invoice_id']}")
        async with _stranger(server) as client:
            answer = await client.post(COMMITS, json=commit)
        assert (answer.status_code, answer.json()["title"]) == (409, "InvoiceNotOpen")

    run_server(body)


def test_good_commits_are_taken_among_many_bad_ones(run_server, monkeypatch):
    """After too many, the bad ones get no reason any more; and wrong secrets are counted apart."""
    monkeypatch.setattr(dispatch, "STRANGE_MAX", 5)

    async def body(server):
        _, _, commit = await _invoice(server)
        async with _stranger(server) as client:
            answers = [await client.post(COMMITS, json={}) for _ in range(8)]
            assert [answer.status_code for answer in answers] == [400] * 5 + [429] * 3
            assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
            assert (await client.post(COMMITS, json=commit)).status_code == 200
            assert (await client.get(INVOICES)).status_code == 401

    run_server(body)


def test_only_so_many_commits_are_in_hand_at_once(run_server, monkeypatch, poll):
    """Whoever comes then may come again in a moment."""
    monkeypatch.setattr(in_hand, "COMMITS_MAX", 1)

    async def body(server):
        _, _, first = await _invoice(server, "a")
        _, _, second = await _invoice(server, "b")
        server.fake.before = lambda connection, asked: not isinstance(asked, CommitInvoice)
        async with _stranger(server) as client:
            waiting = asyncio.create_task(client.post(COMMITS, json=first))
            await poll(lambda: server.fake.asked(CommitInvoice))
            answer = await client.post(COMMITS, json=second)
            assert (answer.status_code, answer.json()["title"]) == (429, "TooManyCommits")
            waiting.cancel()

    run_server(body)


def test_the_text_of_an_invoice(run_server):
    """It asks for the same, and names the address where the server has one."""

    async def body(server):
        found, invoice, _ = await _invoice(server)
        assert parse_uri_of(PaymentRequest, found["text"]) == PaymentRequest(invoice)
        object.__setattr__(server.desk, "delivery", "https://shop.example.org/api/v1/commits")
        again = (await server.client.get(f"{INVOICES}/{found['invoice']['invoice_id']}")).json()
        assert parse_uri_of(PaymentRequest, again["text"]).delivery == "https://shop.example.org/api/v1/commits"

    run_server(body)


# The buyer's side.


class Shop:
    """A seller's program that gives each delivery the status of the moment."""

    def __init__(self, status=200):
        self.status = status
        self.heard = []

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.heard.append(json.loads(await reader.readexactly(length)))
        assert b"authorization" not in head.lower()
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % self.status)


def _address(port):
    return f"http://127.0.0.1:{port}{COMMITS}"


async def _until(server, path, state):
    while True:
        payment = (await server.client.get(path)).json()
        if payment["delivery"]["state"] == state:
            return payment
        await asyncio.sleep(0.02)


def _text(server, address, number=1):
    return format_uri(PaymentRequest(server.invoice(number), delivery=address))


def test_a_payment_by_text_is_delivered(run_server, listen):
    """The commit goes to the address by itself; without *deliver* it does not."""

    async def body(server):
        server.let_pay(server.invoice(1), server.invoice(2))
        shop = Shop()
        async with listen(shop.serve) as port:
            paid = (await server.pay("a", {"text": _text(server, _address(port))})).json()
            assert paid["state"] == "paid"
            assert paid["delivery"]["address"] == _address(port)
            by_hand = await server.pay("b", {"text": _text(server, _address(port), 2), "deliver": False})
            assert by_hand.json()["delivery"] is None
        assert len(shop.heard) <= 1

    run_server(body)


def test_a_refusal_is_shown(run_server, listen):
    """The commit is there, to be handed over in another way."""

    async def body(server):
        server.let_pay(server.invoice(1), collects=False)
        shop = Shop(404)
        async with listen(shop.serve) as port:
            payment = (await server.pay("a", {"text": _text(server, _address(port))}, "?wait=20")).json()
            payment = await _until(server, f"{PAYMENTS}/{payment['payment_id']}", "refused")
        assert payment["delivery"]["detail"].endswith("has answered 404")
        assert payment["state"] == "committed"
        assert payment["commit"] == shop.heard[0]

    run_server(body)


def test_a_delivery_goes_on_after_a_restart(run_server, monkeypatch, listen, poll):
    """The shop was down; the next run of the server delivers what the earlier one could not."""
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.02)
    shop, made = Shop(503), []

    async def first(server):
        server.let_pay(server.invoice(1), collects=False)
        async with listen(shop.serve) as port:
            payment = (await server.pay("a", {"text": _text(server, _address(port))}, "?wait=20")).json()
            await poll(lambda: len(shop.heard) > 1)
        made.extend((payment["payment_id"], port))

    async def second(server):
        shop.status = 200
        payment_id, port = made
        async with listen(shop.serve, port):
            payment = await _until(server, f"{PAYMENTS}/{payment_id}", "delivered")
        assert payment["state"] == "committed"
        assert len({json.dumps(each) for each in shop.heard}) == 1

    run_server(first)
    run_server(second)


def test_a_shop_that_is_never_there(run_server, monkeypatch):
    """After its time the server says so, and tries no more."""
    monkeypatch.setattr(deliveries, "DELIVERY_SECONDS", 0.2)

    async def body(server):
        server.let_pay(server.invoice(1), collects=False)
        text = _text(server, f"http://127.0.0.1:1{COMMITS}")
        payment = (await server.pay("a", {"text": text}, "?wait=20")).json()
        payment = await _until(server, f"{PAYMENTS}/{payment['payment_id']}", "failed")
        assert "can not be reached" in payment["delivery"]["detail"]

    run_server(body)


@pytest.mark.parametrize(
    "sent",
    [{}, {"text": "offset:invoice1qqqqqqqqqqqq"}, {"text": "x", "invoice": None}, {"text": ""}],
    ids=["nothing", "a slip", "no text of ours", "an empty text"],
)
def test_what_is_nothing_to_pay(run_server, sent):
    """The request is wrong, and nothing is paid."""

    async def body(server):
        answer = await server.pay("a", sent)
        assert (answer.status_code, answer.json()["title"]) == (400, "InvalidInput")
        both = {**server.form(server.invoice(1)), "text": _text(server, None)}
        assert "not by both" in (await server.pay("b", both)).json()["detail"]

    run_server(body)
