"""Payments through the API: once for each key, within the limit of the token, and with their true end."""

import asyncio

import pytest

from offset_ctrl.web.payment_book import DAY_SECONDS
from offset_proto.messages.app import AckClosePayment, Canceled, CreatePayment, PaymentNotFound
from offset_proto.messages.extensions import GiveUpPayment
from offset_proto.types import Uid

NODE = "/api/v1/nodes/node"
PAYMENTS = f"{NODE}/payments"


def _spent(server, owner="app"):
    return server.desk.payment_book.spent(owner, "FST", server.database.now() // DAY_SECONDS)


def test_a_payment(run_server):
    """From the invoice to the receipt; the same key gives the same payment, and nothing is paid again."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice)
        first = await server.pay("a", server.form(invoice, fees_max="5"))
        assert first.status_code == 201
        found = first.json()
        assert (found["state"], found["fees"], found["commit"], found["failure"]) == ("paid", "0", None, None)
        assert found["receipt"]["invoice_id"] == found["invoice"]["invoice_id"]
        assert _spent(server) == 20
        again = await server.pay("a", server.form(invoice, fees_max="5"))
        assert (again.status_code, again.json()) == (200, found)
        other = await server.pay("a", server.form(invoice, fees_max="6"))
        assert (other.status_code, other.json()["title"]) == (422, "KeyReused")
        twice = await server.pay("b", server.form(invoice))
        assert (twice.status_code, twice.json()["title"]) == (409, "AlreadyPaid")
        assert _spent(server) == 20
        assert len(server.fake.asked(CreatePayment)) == 1
        [paid] = (await server.client.get(f"{NODE}/receipts")).json()
        assert paid == {"invoice": found["invoice"], "receipt": found["receipt"]}
        assert (await server.client.get(f"{PAYMENTS}/{found['payment_id']}")).json() == found
        listed = (await server.client.get(PAYMENTS)).json()
        assert listed == {"payments": [found], "next": found["sequence"]}
        assert (await server.client.get(f"{PAYMENTS}?after={listed['next']}")).json()["payments"] == []

    run_server(body)


def test_a_wait_has_an_end(run_server):
    """The seller does not collect: the answer comes all the same, and says how it is."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)
        found = (await server.pay("a", server.form(invoice), "?wait=20")).json()
        assert found["state"] == "committed"
        asked = server.client.get(f"{PAYMENTS}/{found['payment_id']}?wait=0.3&wait_for=end")
        assert (await asyncio.wait_for(asked, 20)).json()["state"] == "committed"

    run_server(body)


def test_the_commit_is_for_whoever_pays(run_server):
    """A token that may only read, or pays something else, is not shown what lets the seller collect."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)
        found = (await server.pay("a", server.form(invoice), "?wait=20")).json()
        assert found["state"] == "committed"
        assert found["commit"]["invoice_id"] == found["invoice"]["invoice_id"]
        path = f"{PAYMENTS}/{found['payment_id']}"
        reader = await server.client.get(path, headers=server.token("reader", "read"))
        assert (reader.json()["state"], reader.json()["commit"]) == ("committed", None)
        payer = await server.client.get(path, headers=server.token("payer", "pay:1:FST/day"))
        assert (payer.status_code, payer.json()["title"]) == (404, "UnknownPayment")
        both = await server.client.get(path, headers=server.token("both", "read", "pay:1:FST/day"))
        assert both.json()["commit"] is None
        gone = await server.client.post(f"{path}/give-up")
        assert (gone.status_code, gone.json()["title"]) == (409, "PaymentNotOpen")

    run_server(body)


def test_fifty_requests_at_once_keep_the_limit_to_the_credit(run_server):
    """Of 50 payments of 20 credits, a limit of 130 lets six out; what is refused is not sent."""

    async def body(server):
        invoices = [server.invoice(number) for number in range(50)]
        server.let_pay(*invoices)
        server.client.headers.update(server.token("limited", "pay:130:FST/day"))
        answers = await asyncio.gather(*(server.pay(f"{n}", server.form(each)) for n, each in enumerate(invoices)))
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(201), statuses.count(403)) == (6, 44)
        refused = next(answer.json() for answer in answers if answer.status_code == 403)
        assert (refused["title"], refused["available"]) == ("DailyLimitReached", "10")
        assert {answer.json()["state"] for answer in answers if answer.status_code == 201} == {"paid"}
        assert len(server.fake.asked(CreatePayment)) == 6
        assert _spent(server, "limited") == 120
        last = await server.pay("last", server.form(server.invoice(99, 10), fees_max="1"))
        assert last.status_code == 403

    run_server(body)


def test_fifty_requests_at_once_under_one_key_pay_once(run_server):
    """All get the same payment, and one of them is told that it is new."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice)
        answers = await asyncio.gather(*(server.pay("a", server.form(invoice)) for _ in range(50)))
        assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
        assert len({answer.json()["payment_id"] for answer in answers}) == 1
        assert len(server.fake.asked(CreatePayment)) == 1
        assert _spent(server) == 20

    run_server(body)


def test_a_payment_that_fails_gives_back_what_it_counted(run_server):
    """And says why, by the name of the SDK."""

    async def body(server):
        server.fake.routes = lambda asked: ()
        server.fake.status = lambda asked: PaymentNotFound()
        found = (await server.pay("a", server.form(server.invoice(1), timeout=0.2))).json()
        assert found["state"] == "failed"
        assert found["failure"]["name"] in ("PaymentFailed", "SellerUnknown", "NoRoute", "NotEnoughCredit")
        assert found["failure"]["detail"]
        assert found["receipt"] is None
        assert _spent(server) == 0

    run_server(body)


def test_a_seller_who_cancels(run_server):
    """Nothing was paid, although there was a commit."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice)
        server.fake.status = lambda asked: Canceled(Uid(bytes(16)))
        found = (await server.pay("a", server.form(invoice))).json()
        assert (found["state"], found["failure"]["name"]) == ("failed", "PaymentFailed")
        assert _spent(server) == 0

    run_server(body)


def test_giving_up(run_server):
    """A payment without a commit is closed, and may be paid by another one."""

    async def body(server):
        server.fake.status = lambda asked: Canceled(Uid(bytes(16)))
        found = (await server.pay("a", server.form(server.invoice(1)), "")).json()
        assert found["state"] == "sending"
        path = f"{PAYMENTS}/{found['payment_id']}/give-up"
        assert (await server.client.post(path, headers=server.token("other", "pay:9:FST/day"))).status_code == 404
        closed = (await server.client.post(path)).json()
        assert closed["state"] == "failed"
        assert len(server.fake.asked(GiveUpPayment)) == 1
        assert (await server.client.post(path)).status_code == 409

    run_server(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "invoice"),
        ({"invoice": {}}, r"\$.invoice"),
        ({"fees_max": 5}, r"\$.fees_max"),
        ({"fees_max": "-5"}, r"\$.fees_max"),
        ({"fees_max": str(2**128)}, "too large"),
        ({"timeout": 0}, r"\$.timeout"),
        ({"more": 1}, "unknown field"),
    ],
)
def test_bodies_that_are_wrong(run_server, body, says):
    """An error says where, and nothing is counted."""

    async def check(server):
        whole = body if "invoice" in body or not body else server.form(server.invoice(1), **body)
        answer = await server.pay("a", whole)
        assert (answer.status_code, answer.json()["title"]) == (400, "InvalidInput")
        assert says.replace("\\", "") in answer.json()["detail"]
        assert _spent(server) == 0

    run_server(check)


def test_a_payment_without_a_key(run_server):
    """Is not made: whoever sends it could not repeat it."""

    async def body(server):
        answer = await server.client.post(PAYMENTS, json=server.form(server.invoice(1)))
        assert (answer.status_code, answer.json()["title"]) == (400, "NoIdempotencyKey")
        assert (await server.pay("x" * 129, server.form(server.invoice(1)))).status_code == 400

    run_server(body)


def test_a_plan_sends_nothing(run_server):
    """But questions for routes."""

    async def body(server):
        answer = await server.client.post(f"{PAYMENTS}/plan", json=server.form(server.invoice(1)))
        plan = answer.json()
        assert (plan["total"], plan["fees"], plan["failure"], len(plan["parts"])) == ("20", "0", None, 1)
        server.fake.routes = lambda asked: ()
        failing = (await server.client.post(f"{PAYMENTS}/plan", json=server.form(server.invoice(1)))).json()
        assert failing["parts"] == []
        assert failing["failure"]["name"]
        assert not server.fake.asked(CreatePayment)

    run_server(body)


def test_a_server_that_is_back(run_server):
    """A payment with a commit goes on, under its key, and is not made again; its receipt settles what it counts."""

    async def before(server):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)
        found = (await server.pay("a", server.form(invoice, fees_max="7"), "?wait=20")).json()
        assert found["state"] == "committed"

    async def after(server):
        invoice = server.invoice(1)
        [payment] = server.desk.nodes[0].node.payments
        server.let_pay(invoice)
        server.paid[payment.payment_id] = invoice
        found = await server.pay("a", server.form(invoice, fees_max="7"))
        assert (found.status_code, found.json()["state"], found.json()["fees"]) == (200, "paid", "0")
        assert found.json()["payment_id"]
        assert _spent(server) == 20
        assert len(server.fake.asked(CreatePayment)) == 1  # of the first run

    run_server(before)
    run_server(after)


def test_a_server_that_is_stopped_before_a_commit_is_written(run_server, monkeypatch):
    """The book has it and the journal does not: nobody has got the commit, and the payment comes back, and says so."""

    async def before(server):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)
        found = (await server.pay("a", server.form(invoice, fees_max="7"), "?wait=20")).json()
        assert found["state"] == "committed"

    async def after(server):
        invoice = server.invoice(1)
        found = (await server.pay("a", server.form(invoice, fees_max="7"), "?wait=0")).json()
        assert (found["state"], found["commit"]) == ("closing", None)
        assert "before the payment was complete" in found["failure"]["detail"]
        server.fake.status = lambda asked: Canceled(Uid(bytes(16)))
        server.fake.drop()  # the node is asked again
        found = (await server.pay("a", server.form(invoice, fees_max="7"))).json()
        assert (found["state"], _spent(server)) == ("failed", 0)

    with monkeypatch.context() as patched:
        patched.setattr("offset_ctrl.sdk.journal.Journal.committed", lambda self, payment_id, commit: None)
        run_server(before)
    run_server(after)


def test_a_payment_that_was_never_sent(run_server, monkeypatch):
    """It was written down and the process ended: nothing was paid, and it counts nothing."""

    async def before(server):
        async def run(payment):
            await asyncio.Event().wait()

        monkeypatch.setattr("offset_ctrl.sdk.payment.Payment.run", run)
        found = (await server.pay("a", server.form(server.invoice(1)), "")).json()
        assert found["state"] == "sending"
        assert _spent(server) == 20

    async def after(server):
        found = await server.pay("a", server.form(server.invoice(1)))
        assert (found.status_code, found.json()["state"]) == (200, "failed")
        assert "before the payment was sent" in found.json()["failure"]["detail"]
        assert _spent(server) == 0
        assert not server.fake.asked(CreatePayment)

    with monkeypatch.context():
        run_server(before)
    monkeypatch.undo()
    run_server(after)


def test_an_end_that_nobody_knows(run_server):
    """Where the node has forgotten a payment that had its commit, it goes on to count."""

    async def body(server):
        invoice = server.invoice(1)
        server.let_pay(invoice)
        server.fake.status = lambda asked: PaymentNotFound()
        found = (await server.pay("a", server.form(invoice, fees_max="3"))).json()
        assert (found["state"], found["failure"]["name"]) == ("unknown", "PaymentEndUnknown")
        assert _spent(server) == 23
        assert not server.fake.asked(AckClosePayment)

    run_server(body)
