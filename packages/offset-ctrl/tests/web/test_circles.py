"""Circles through the API: what they would do, what they do, and what that counts."""

import asyncio
import itertools

import pytest

from offset_crypto.identity import Identity
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_ctrl.web import circle_runs
from offset_proto.files import Invoice
from offset_proto.messages.app import (
    Canceled,
    CancelInvoice,
    Complete,
    CreateTransaction,
    Failure,
    PaymentStatusSuccess,
)
from offset_proto.messages.extensions import AddExpiringInvoice, Extension
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import Edge, MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    CurrencyConfigReport,
)
from offset_proto.text import format_b64
from offset_proto.types import Currency, PrivateKey, PublicKey, Uid

NODE = Identity(PrivateKey(b"\x01" * 32))
US, BOB, CAROL = NODE.public_key, PublicKey(b"\x05" * 32), PublicKey(b"\x06" * 32)
FST = Currency("FST")
CIRCLES = "/api/v1/nodes/node/circles"
AROUND = {(US, BOB, CAROL): (80, Rate(0, 1)), (BOB, CAROL, US): (1000, Rate(0, 2))}
"""A triangle: Bob takes 1 of what comes from us, Carol 2 of what comes from Bob."""

ONE = {"currency": "FST", "amount": "40", "out": "bob", "back": "carol"}


def _friend(name, balance):
    config = CurrencyConfigReport(FST, Rate(0, 0), 100, True)
    return build_friend(name, build_ledger(FST, balance), currency_configs=(config,))


@pytest.fixture
def fake():
    """Bob owes 60 and Carol is owed 50; what is paid around is paid."""
    node = ScriptedNode(NODE, build_report(US, {BOB: _friend("bob", 60), CAROL: _friend("carol", -50)}))
    node.extensions = Extension.EXPIRING_INVOICES

    def routes(asked):
        return tuple(
            MultiRoute((RouteCapacityRate(FriendsRoute(way), capacity, rate),))
            for way, (capacity, rate) in AROUND.items()
            if (way[0], way[-1]) == (asked.source, asked.destination)
            and capacity >= asked.capacity
            and asked.opt_exclude not in [Edge(*hop) for hop in itertools.pairwise(way)]
        )

    def invoice():
        made = node.asked(AddExpiringInvoice)[-1]
        return Invoice(made.invoice_id, made.currency, US, made.total_dest_payment)

    node.routes = routes
    node.results = lambda asked: Complete(build_commit(invoice(), NODE))
    node.status = lambda asked: PaymentStatusSuccess(build_receipt(invoice(), NODE), Uid(b"\x01" * 16))
    return node


async def _do(server, what, body, key="a", headers=None):
    sent = {"idempotency-key": key, **(headers or {})}
    return await server.client.post(f"{CIRCLES}/{what}?wait=20", json=body, headers=sent)


async def _available(server, headers):
    """What the token may still pay."""
    answer = await _do(server, "rebalance", {**ONE, "fees_max": str(10**6)}, "too much", headers)
    assert answer.json()["title"] == "DailyLimitReached"
    return int(answer.json()["available"])


def test_a_plan(run_server):
    """The circle and its fees; nothing is sent, and a token that reads may ask."""

    async def body(server):
        reads = server.token("reads", "read")
        plan = (await server.client.post(f"{CIRCLES}/rebalance/plan", json=ONE, headers=reads)).json()
        (circle,) = plan["circles"]
        assert (circle["amount"], circle["fees"], plan["fees"], circle["are_fees_known"]) == ("40", "3", "3", True)
        assert [circle["out"], circle["back"]] == [format_b64(BOB), format_b64(CAROL)]
        clearing = (await server.client.post(f"{CIRCLES}/clear/plan", json={"currency": "FST"}, headers=reads)).json()
        assert [each["amount"] for each in clearing["circles"]] == ["50"]
        kept = {"currency": "FST", "keep": {"carol": "-20"}}
        clearing = (await server.client.post(f"{CIRCLES}/clear/plan", json=kept, headers=reads)).json()
        assert [each["amount"] for each in clearing["circles"]] == ["30"]
        assert not server.fake.asked(CreateTransaction)
        refused = await server.client.post(f"{CIRCLES}/rebalance", json=ONE, headers={**reads, "idempotency-key": "a"})
        assert (refused.status_code, refused.json()["title"]) == (403, "NotGranted")

    run_server(body)


@pytest.mark.parametrize(
    ("changes", "status", "title"),
    [
        ({"out": "eve"}, 404, "UnknownName"),
        ({"amount": "78"}, 409, "AmountTooLarge"),
        ({"back": "bob"}, 400, "InvalidInput"),
        ({"fees_max": "2"}, 409, "FeesTooHigh"),
        ({"amount": "0"}, 400, "InvalidInput"),
        ({"currency": ""}, 400, "InvalidInput"),
    ],
)
def test_what_can_not_be_planned(run_server, changes, status, title):
    """It is said by the names of the SDK."""

    async def body(server):
        answer = await server.client.post(f"{CIRCLES}/rebalance/plan", json={**ONE, **changes})
        assert (answer.status_code, answer.json()["title"]) == (status, title)

    run_server(body)


def test_a_circle_is_paid_once(run_server):
    """Its fees count, and nothing else; the same key gives the same run."""

    async def body(server):
        pays = server.token("pays", "pay:10:FST/day")
        asked = {**ONE, "fees_max": "5"}
        first = await _do(server, "rebalance", asked, headers=pays)
        run = first.json()
        assert (first.status_code, run["state"], run["fees"], run["failure"]) == (201, "done", "3", None)
        assert [circle["amount"] for circle in run["circles"]] == ["40"]
        again = await _do(server, "rebalance", asked, headers=pays)
        assert (again.status_code, again.json()) == (200, run)
        assert (await _do(server, "clear", asked, headers=pays)).status_code == 400
        other = await _do(server, "clear", {"currency": "FST", "fees_max": "5"}, headers=pays)
        assert other.json()["title"] == "KeyReused"
        assert len(server.fake.asked(CreateTransaction)) == 1
        assert await _available(server, pays) == 7
        found = await server.client.get(f"{CIRCLES}/{run['run_id']}", headers=pays)
        assert found.json() == run
        hidden = await server.client.get(f"{CIRCLES}/{run['run_id']}", headers=server.token("other", "pay:1:FST/day"))
        assert hidden.json()["title"] == "UnknownRun"

    run_server(body)


def test_all_circles(run_server, monkeypatch):
    """Each that has ended is told; what they cost together counts."""
    monkeypatch.setattr("offset_ctrl.sdk.circles.ROUNDS_MAX", 1)

    async def body(server):
        pays = server.token("pays", "pay:10:FST/day")
        run = (await _do(server, "clear", {"currency": "FST", "fees_max": "9"}, headers=pays)).json()
        assert (run["state"], run["fees"], run["kind"]) == ("done", "3", "clear")
        assert [(circle["amount"], circle["failure"]) for circle in run["circles"]] == [("50", None)]
        assert await _available(server, pays) == 7

    run_server(body)


def test_limits(run_server):
    """Of the token in this currency: what is offered for fees has to fit, before anything is sent."""

    async def body(server):
        pays = server.token("pays", "pay:10:FST/day")
        for changes in ({"fees_max": "11"}, {"currency": "EUR"}):
            answer = await _do(server, "rebalance", {**ONE, **changes}, headers=pays)
            assert (answer.status_code, answer.json()["title"]) == (403, "DailyLimitReached")
        assert not server.fake.asked(CreateTransaction)

    run_server(body)


def test_a_circle_that_fails(run_server):
    """Nothing is paid, nothing counts, and the invoice is taken back."""

    async def body(server):
        server.fake.results = lambda asked: Failure()
        server.fake.status = lambda asked: Canceled(Uid(b"\x01" * 16))
        pays = server.token("pays", "pay:10:FST/day")
        run = (await _do(server, "rebalance", {**ONE, "fees_max": "3"}, headers=pays)).json()
        assert (run["state"], run["fees"], run["circles"]) == ("failed", "0", [])
        assert run["failure"]["name"] == "PartsRefused"
        assert server.fake.asked(CancelInvoice)
        assert await _available(server, pays) == 10
        free = (await _do(server, "rebalance", ONE, "b", headers=pays)).json()
        assert (free["state"], free["failure"]["name"]) == ("failed", "FeesTooHigh")

    run_server(body)


def test_the_server_ends_meanwhile(run_server, poll):
    """Nobody knows how far it came: it says so, counts on, and is not begun again under its key."""
    pays, asked = {}, {**ONE, "fees_max": "5"}

    async def first(server):
        server.fake.results = lambda asked: None
        pays.update(server.token("pays", "pay:10:FST/day"))
        task = asyncio.create_task(_do(server, "rebalance", asked, headers=pays))
        await poll(lambda: server.fake.asked(CreateTransaction))
        task.cancel()

    async def second(server):
        again = await _do(server, "rebalance", asked, headers=pays)
        assert (again.status_code, again.json()["state"], again.json()["fees"]) == (200, "unknown", "5")
        assert await _available(server, pays) == 5
        assert len(server.fake.asked(CreateTransaction)) == 1

    run_server(first)
    run_server(second)


def test_only_so_many_at_once(run_server, monkeypatch, poll):
    """Of one token."""
    monkeypatch.setattr(circle_runs, "RUNS_MAX", 1)

    async def body(server):
        server.fake.results = lambda asked: None
        first = await server.client.post(
            f"{CIRCLES}/rebalance", json={**ONE, "fees_max": "3"}, headers={"idempotency-key": "a"}
        )
        assert first.json()["state"] == "running"
        assert (await _do(server, "rebalance", ONE, "b")).json()["title"] == "TooManyOpen"

    run_server(body)
