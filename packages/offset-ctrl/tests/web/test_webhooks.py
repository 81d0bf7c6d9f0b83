"""Addresses that hear of events: what they are sent, when, and what becomes of those that do not take it."""

import asyncio
import base64
import json
import sqlite3
from contextlib import asynccontextmanager

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from offset_crypto.identity import Identity
from offset_ctrl.testing import build_commit
from offset_ctrl.web import database as database_module
from offset_ctrl.web import webhook_book, webhooks
from offset_ctrl.web.grants import parse_grants
from offset_ctrl.web.keys import hash_request
from offset_ctrl.web.tokens import Tokens, Visitor
from offset_ctrl.web.webhook_book import Outbox, WebhookBook
from offset_ctrl.web.webhook_forms import PaidInvoiceData
from offset_ctrl.web.webhooks import sign
from offset_proto.files import COMMIT, INVOICE
from offset_proto.message_json import format_json, parse_json
from offset_proto.messages.app import AddInvoice, CommitInvoice
from offset_proto.messages.extensions import OpenInvoiceReport
from offset_proto.types import PrivateKey

NODE = Identity(PrivateKey(b"\x01" * 32))
WEBHOOKS = "/api/v1/nodes/node/webhooks"
INVOICES = "/api/v1/nodes/node/invoices"
BOTH = ["invoice.paid", "payment.finished"]
NEVER = None
"""A receiver that does not answer."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(webhook_book, "RETRY_SECONDS", 0)
    monkeypatch.setattr(webhooks, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(webhooks, "ATTEMPT_SECONDS", 1.0)


class Receiver:
    """Answers with the statuses of a list in turn, the last one for ever; takes what it answers with 204."""

    def __init__(self, *statuses):
        self.statuses = list(statuses) or [204]
        self.heard = []
        self.taken = []

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        self.heard.append((headers, body))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is NEVER:
            await asyncio.sleep(30)
        if status == 204:
            self.taken.append(json.loads(body))
        writer.write(b"HTTP/1.1 %d X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n" % status)


@asynccontextmanager
async def _hears(listen, receiver, port=0):
    async with listen(receiver.serve, port) as port:
        yield f"http://127.0.0.1:{port}/events"


async def _register(server, address, topics=BOTH, key="hook", **more):
    headers = {"idempotency-key": key, **more}
    return await server.client.post(WEBHOOKS, json={"address": address, "topics": topics}, headers=headers)


async def _sell(server, amount, headers=None):
    """An invoice that is made and paid."""

    def reports():
        gone = {each.commit.invoice_id for each in server.fake.asked(CommitInvoice)}
        asked = [each for each in server.fake.asked(AddInvoice) if each.invoice_id not in gone]
        return tuple(OpenInvoiceReport(each.invoice_id, each.currency, 1, 0, 0, 0, None) for each in asked)

    server.fake.invoices = reports
    body = {"currency": "FST", "amount": str(amount)}
    key = {"idempotency-key": f"invoice {amount}", **(headers or {})}
    found = (await server.client.post(INVOICES, json=body, headers=key)).json()
    commit = parse_json(COMMIT.format(build_commit(INVOICE.parse(format_json(found["invoice"])), NODE)))
    answer = await server.client.post("/api/v1/commits", json=commit)
    assert answer.status_code == 200
    return found["invoice"]["invoice_id"]


async def _list(server):
    return (await server.client.get(WEBHOOKS)).json()


def test_the_signature():
    """As the documentation of the libraries of Standard Webhooks has it."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


def test_what_is_sent(run_server, listen, poll):
    """Each event once, signed by the rules of Standard Webhooks, as a library of theirs says."""
    receiver = Receiver()

    async def body(server):
        server.let_pay(server.invoice(1), server.invoice(2))
        async with _hears(listen, receiver) as address:
            made = (await _register(server, address)).json()
            again = await _register(server, address)
            assert (again.status_code, again.json()) == (200, made)
            paid = (await server.pay("a", server.form(server.invoice(1), fees_max="3"))).json()
            await poll(lambda: len(receiver.taken) == 1)
            invoice_id = await _sell(server, 30)
            await poll(lambda: len(receiver.taken) == 2)
        node = server.desk.nodes[0].key
        finished, sold = receiver.taken
        assert finished["type"] == "payment.finished"
        assert finished["data"] == {
            "node": node,
            "payment_id": paid["payment_id"],
            "invoice_id": paid["invoice"]["invoice_id"],
            "currency": "FST",
            "amount": "20",
            "fees": "0",
            "state": "paid",
        }
        assert sold["type"] == "invoice.paid"
        assert sold["data"] == {"node": node, "invoice_id": invoice_id, "currency": "FST", "amount": "30"}
        library = Webhook(made["secret"])
        for headers, sent in receiver.heard:
            assert library.verify(sent.decode(), headers) == json.loads(sent)
            with pytest.raises(WebhookVerificationError):
                library.verify(sent.decode().replace("FST", "EUR"), headers)
        assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 2

    run_server(body)


@pytest.mark.parametrize("status", [500, 404, 302, NEVER], ids=str)
def test_what_is_not_taken_comes_again(run_server, listen, poll, monkeypatch, status):
    """In the order in which it has happened, with the same id; a redirection is not followed."""
    monkeypatch.setattr(webhooks, "ATTEMPT_SECONDS", 0.3)
    receiver = Receiver(status, status, 204)

    async def body(server):
        async with _hears(listen, receiver) as address:
            await _register(server, address)
            for amount in (1, 2, 3):
                await _sell(server, amount)
            await poll(lambda: len(receiver.taken) == 3)
            await poll(lambda: not webhook_book.WebhookBook(server.database).waiting())
        assert [event["data"]["amount"] for event in receiver.taken] == ["1", "2", "3"]
        assert len({headers["webhook-id"] for headers, _ in receiver.heard[:3]}) == 1
        (webhook,) = await _list(server)
        assert (webhook["waiting"], webhook["lost"], webhook["failure"]) == (0, 0, None)

    run_server(body)


def test_a_receiver_that_is_down_over_a_restart(run_server, listen, poll):
    """What was not sent is sent by the next run of the server."""
    receiver, ports = Receiver(), []

    async def first(server):
        async with _hears(listen, receiver) as address:
            await _register(server, address)
            ports.append(int(address.split(":")[2].partition("/")[0]))
        await _sell(server, 7)
        (hook,) = WebhookBook(server.database).waiting()
        await poll(lambda: "can not be reached" in (WebhookBook(server.database).find(hook.webhook_id).failure or ""))
        assert (await _list(server))[0]["waiting"] == 1

    async def second(server):
        async with _hears(listen, receiver, ports[0]):
            await poll(lambda: len(receiver.taken) == 1)
        assert receiver.taken[0]["data"]["amount"] == "7"

    run_server(first)
    run_server(second)


def test_a_receiver_that_wants_no_more(run_server, listen, poll):
    """It says so with 410, and is asked no more."""
    receiver = Receiver(410)

    async def body(server):
        async with _hears(listen, receiver) as address:
            await _register(server, address)
            await _sell(server, 1)
            await poll(lambda: bool(receiver.heard))
            await poll(lambda: WebhookBook(server.database).of(server.desk.nodes[0].key, None)[0].is_over)
            await _sell(server, 2)
        (webhook,) = await _list(server)
        assert (webhook["waiting"], len(receiver.heard)) == (0, 1)

    run_server(body)


def test_a_slow_receiver_holds_up_nobody_else(run_server, listen, poll, monkeypatch):
    """It is sent one event at a time, and has its own time for it."""
    monkeypatch.setattr(webhooks, "ATTEMPT_SECONDS", 20.0)
    slow, quick = Receiver(NEVER), Receiver()

    async def body(server):
        async with _hears(listen, slow) as first, _hears(listen, quick) as second:
            await _register(server, first, key="slow")
            await _register(server, second, key="quick")
            for amount in range(1, 6):
                await _sell(server, amount)
            await poll(lambda: len(quick.taken) == 5)
            assert len(slow.heard) == 1

    run_server(body)


def test_who_hears_of_what(run_server, listen, poll):
    """A token hears of its own; one that may read, of everybody's; one that was revoked, of nothing."""
    mine, everything, gone = Receiver(), Receiver(), Receiver()

    async def body(server):
        asks, reads = server.token("asks", "ask", "configure"), server.token("reads", "read", "configure")
        lost = server.token("lost", "read", "configure")
        async with _hears(listen, mine) as a, _hears(listen, everything) as b, _hears(listen, gone) as c:
            refused = await _register(server, a, ["payment.finished"], **asks)
            assert (refused.status_code, refused.json()["title"]) == (403, "NotGranted")
            refused = await _register(server, a, ["invoice.paid"], **server.token("only asks", "ask"))
            assert (refused.status_code, "this machine" in refused.json()["detail"]) == (403, True)
            await _register(server, a, ["invoice.paid"], **asks)
            await _register(server, b, **reads)
            await _register(server, c, **lost)
            server.desk.tokens.revoke("lost")
            await _sell(server, 1)
            await _sell(server, 2, asks)
            await poll(lambda: len(everything.taken) == 2 and len(mine.taken) == 1)
        assert mine.taken[0]["data"]["amount"] == "2"
        assert gone.heard == []
        own = (await server.client.get(WEBHOOKS, headers=asks)).json()
        assert [each["owner"] for each in own] == ["asks"]
        assert len(await _list(server)) == 3
        path = f"{WEBHOOKS}/{own[0]['webhook_id']}"
        assert (await server.client.delete(path)).json()["title"] == "UnknownWebhook"
        assert (await server.client.delete(path, headers=asks)).status_code == 204
        assert (await server.client.get(WEBHOOKS, headers=asks)).json() == []
        assert not any("secret" in each for each in await _list(server))

    run_server(body)


@pytest.mark.parametrize(
    "address",
    ["http://example.org/", "ftp://127.0.0.1/", "https://user@example.org/", "https://a.example/#b", "x" * 300, ""],
)
def test_addresses_that_are_refused(run_server, address):
    """Nothing goes over a network in the clear, nor anywhere by accident."""

    async def body(server):
        answer = await _register(server, address)
        assert (answer.status_code, answer.json()["title"]) == (400, "InvalidInput")
        assert await _list(server) == []

    run_server(body)


# The book.


def _book(database, *may, owner="shop"):
    Tokens(database).create(owner, parse_grants(may), database.now() + 10**9)
    book, key = WebhookBook(database), ("key", hash_request(b"one"))
    return book, book.create(Visitor(owner, parse_grants(may)), "node", key, "https://a.example/", ["invoice.paid"])[0]


def _put(database, *amounts):
    with database.transaction():
        for amount in amounts:
            data = PaidInvoiceData(node="node", invoice_id="A" * 43, currency="FST", amount=str(amount))
            Outbox(database).invoice_paid("shop", data)


def test_an_event_is_stored_with_what_it_tells(database):
    """Or not at all: whatever ends the process between, both are there, or neither."""
    book, hook = _book(database, "ask")

    def put_and_end():
        with database.transaction():
            data = PaidInvoiceData(node="node", invoice_id="A" * 43, currency="FST", amount="1")
            Outbox(database).invoice_paid("shop", data)
            assert book.find(hook.webhook_id).waiting == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_and_end()
    assert book.find(hook.webhook_id).waiting == 0


def test_only_so_many_events_wait(database, monkeypatch):
    """The oldest are lost, and counted."""
    monkeypatch.setattr(webhook_book, "EVENTS_MAX", 3)
    book, hook = _book(database, "read")
    _put(database, *range(5))
    found = book.find(hook.webhook_id)
    assert (found.waiting, found.lost) == (3, 2)
    assert json.loads(book.first(hook.webhook_id).body)["data"]["amount"] == "2"


def test_only_so_long(database, clock):
    """An event that nobody has taken for days is given up."""
    book, hook = _book(database, "ask")
    _put(database, 1)
    clock.now += webhook_book.EVENT_SECONDS
    _put(database, 2)
    assert json.loads(book.first(hook.webhook_id).body)["data"]["amount"] == "1"
    clock.now += 1
    assert json.loads(book.first(hook.webhook_id).body)["data"]["amount"] == "2"
    assert book.find(hook.webhook_id).lost == 1


def test_waits_grow(database, clock, monkeypatch):
    """To an hour; a success begins them anew."""
    monkeypatch.setattr(webhook_book, "RETRY_SECONDS", 5)
    book, hook = _book(database, "ask")
    _put(database, 1)
    waits = []
    for _ in range(40):
        book.failed(book.find(hook.webhook_id), "x" * 1000)
        waits.append(book.find(hook.webhook_id).due - database.now())
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[9:] == [2560, *[3600] * 30]
    assert len(book.find(hook.webhook_id).failure) == webhook_book.FAILURE_CHARACTERS_MAX
    book.taken(hook.webhook_id, book.first(hook.webhook_id))
    assert book.find(hook.webhook_id).tries == 0


def test_only_so_many_webhooks(database, monkeypatch):
    """Of one token."""
    monkeypatch.setattr(webhook_book, "WEBHOOKS_MAX", 1)
    book, _ = _book(database, "ask")
    visitor = Visitor("shop", parse_grants(["ask"]))
    with pytest.raises(webhook_book.TooManyOpen, match="1 webhooks"):
        book.create(visitor, "node", ("other", hash_request(b"two")), "https://b.example/", ["invoice.paid"])


def test_a_database_of_the_first_version(tmp_path):
    """Gets what it lacks, and keeps what it has."""
    with sqlite3.connect(tmp_path / database_module.FILE_NAME) as connection:
        connection.executescript(database_module._VERSIONS[0])
        connection.execute("INSERT INTO facts VALUES ('url', 'x')")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    for _ in range(2):
        with database_module.open_database(tmp_path) as made:
            assert made.ask_one("SELECT value FROM facts")["value"] == "x"
            assert made.ask("SELECT * FROM webhooks") == made.ask("SELECT * FROM deliveries") == []
