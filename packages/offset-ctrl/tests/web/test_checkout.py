"""The pages for buyers: what they show, to whom, and what a stranger can do with them."""

import asyncio
import re
from dataclasses import replace

import httpx
import pytest

from offset_ctrl.connection import session
from offset_ctrl.testing import build_commit
from offset_ctrl.web import dispatch, in_hand, seats
from offset_ctrl.web.invoice_book import InvoiceState
from offset_ctrl.web.listening import make_front
from offset_proto.files import COMMIT, INVOICE
from offset_proto.message_json import format_json, parse_json
from offset_proto.messages.app import AddInvoice, CommitInvoice
from offset_proto.messages.extensions import AddExpiringInvoice, OpenInvoiceReport
from offset_proto.uri import format_uri, parse_uri

INVOICES = "/api/v1/nodes/node/invoices"
BACK = "https://shop.example.org/orders/17?thanks=1"


def _knows_invoices(server):
    """The node tells what is open: each invoice that it was asked for, until it is collected."""

    def reports():
        gone = {each.commit.invoice_id for each in server.fake.asked(CommitInvoice)}
        return tuple(
            OpenInvoiceReport(each.invoice_id, each.currency, each.total_dest_payment, 0, 0, 0, None)
            for each in [*server.fake.asked(AddInvoice), *server.fake.asked(AddExpiringInvoice)]
            if each.invoice_id not in gone
        )

    server.fake.invoices = reports


def _stranger(server, **headers):
    return httpx.AsyncClient(base_url=server.url, trust_env=False, headers=headers, timeout=20.0)


async def _sell(server, key="order", **more):
    """An invoice that a shop's program has made: what the API says, the address of its page, and a commit for it."""
    _knows_invoices(server)
    body = {"currency": "FST", "amount": "1200", "description": "Tea & cake", "return_to": BACK, **more}
    answer = await server.client.post(INVOICES, json=body, headers={"idempotency-key": key})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    invoice = INVOICE.parse(format_json(made["invoice"]))
    return made, httpx.URL(made["checkout"]).path, invoice


def test_a_buyer_sees_what_to_pay(run_server, web):
    """Amount, words, code and text; nothing else of the seller, and no log-in."""

    async def body(server):
        made, path, invoice = await _sell(server)
        async with _stranger(server) as client:
            answer = await client.get(path)
            saved = await client.get(f"{path}/file")
        page = answer.text
        assert answer.status_code == 200
        assert "Tea &amp; cake" in page
        assert "1\N{NARROW NO-BREAK SPACE}200" in page
        assert "<svg" in page
        text = re.search(r"offset:invoice1[a-z0-9]+", page)[0]
        assert text == made["text"]
        assert parse_uri(text).description == "Tea & cake"
        assert INVOICE.parse(saved.text) == invoice
        assert f'href="{BACK}"' in page
        for secret in ("bob", "wallet/node", "webmanifest", made["node"] + "<", "app"):
            assert secret not in re.sub(r"<script.*?</script>|offset:\w+", "", page), secret
        assert answer.headers["cache-control"] == "no-store"
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert "set-cookie" not in answer.headers

    run_server(body)


def test_the_page_is_told_when_it_is_paid(run_server, web):
    """At once, by whichever way the commit has come; then it leads back to the shop."""

    async def body(server):
        _, path, invoice = await _sell(server)
        commit = build_commit(invoice, web.NODE)
        async with _stranger(server) as client:
            waiting = asyncio.create_task(client.get(f"{path}/state"))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            answer = await client.post(path, data={"text": format_uri(commit)})
            assert (answer.status_code, httpx.URL(str(answer.url)).join(answer.headers["location"]).path) == (303, path)
            assert (await waiting).json() == {"state": "collected"}
            page = (await client.get(path)).text
            assert (await client.post(path, data={"text": COMMIT.format(commit)})).status_code == 303
        assert "<h1>Paid</h1>" in page
        assert "offset:" not in page
        assert "data-wait" not in page
        assert len(server.fake.asked(CommitInvoice)) == 1

    run_server(body)


@pytest.mark.parametrize("ends", ["cancelled", "over", "unpaid"])
def test_an_invoice_that_is_not_open_any_more(run_server, web, ends):
    """The page says so, and shows nothing to pay; that nobody has paid it says only where that is proved."""
    words = {"cancelled": "does not expect this payment", "over": "is not known here", "unpaid": "Nobody has paid"}

    async def body(server):
        made, path, _ = await _sell(server, expires_in=60)
        name, book = made["invoice"]["invoice_id"], server.desk.invoice_book
        if ends == "cancelled":
            await server.client.delete(f"{INVOICES}/{name}")
        else:
            (book.end if ends == "unpaid" else book.change)(name, InvoiceState.OVER)
        async with _stranger(server) as client:
            page = (await client.get(path)).text
            state = (await client.get(f"{path}/state")).json()
        assert state == {"state": "cancelled" if ends == "cancelled" else "over"}
        assert ("<h1>Cancelled</h1>" if ends == "cancelled" else "<h1>Ended</h1>") in page
        assert [end for end, said in words.items() if said in page] == [ends]
        assert "offset:" not in page

    run_server(body)


def test_what_pays_nothing(run_server, web):
    """The page says what was wrong, keeps what is to be paid, and the node hears of nothing."""

    async def body(server):
        _, path, invoice = await _sell(server)
        _, _, other = await _sell(server, "other")
        async with _stranger(server) as client:
            for text, says in (
                ("rubbish", "This is no text that begins with offset:commit1"),
                ("", "is missing"),
                (format_uri(build_commit(other, web.NODE)), "another request"),
                (format_uri(build_commit(invoice, web.SELLER)), "does not|signature|wrong"),
            ):
                answer = await client.post(path, data={"text": text})
                assert answer.status_code == 400, text
                assert re.search(says, answer.text), says
                assert "offset:invoice1" in answer.text
        assert not server.fake.asked(CommitInvoice)

    run_server(body)


def test_names_that_are_guessed(run_server, monkeypatch):
    """Lead to nothing, whatever stands behind them; after too many of them the answer is another one."""
    monkeypatch.setattr(dispatch, "STRANGE_MAX", 5)

    async def body(server):
        made, path, _ = await _sell(server)
        async with _stranger(server) as client:
            for guess in (made["invoice"]["invoice_id"], "x", path.rsplit("/")[-1][:-1]):
                answer = await client.get(f"/checkout/{guess}")
                assert (answer.status_code, "There is no such request here" in answer.text) == (404, True)
            statuses = [(await client.get(f"/checkout/{n}/state")).status_code for n in range(4)]
            assert statuses == [404, 404, 429, 429]
            assert (await client.get(path)).status_code == 200

    run_server(body)


def test_only_so_many_wait(run_server, web, monkeypatch):
    """The others are told to ask again later, and so is one that makes room; seats are free again after an answer."""
    monkeypatch.setattr(seats, "SEATS_MAX", 3)
    monkeypatch.setattr(seats, "OF_ONE_INVOICE_MAX", 2)

    async def body(server):
        _, path, invoice = await _sell(server)
        _, other, _ = await _sell(server, "other")
        _, third, _ = await _sell(server, "third")
        async with _stranger(server) as client:
            waiting = []
            for each in (path, path, other):
                waiting.append(asyncio.create_task(client.get(f"{each}/state")))
                await asyncio.sleep(0.1)
            refused = await client.get(f"{path}/state")
            waiting.append(asyncio.create_task(client.get(f"{third}/state")))
            for answer in (refused, await waiting[0], await client.get(f"{other}/state")):
                assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
            await client.post(path, data={"text": format_uri(build_commit(invoice, web.NODE))})
            assert (await waiting[1]).json() == {"state": "collected"}
            again = asyncio.create_task(client.get(f"{other}/state"))
            done, pending = await asyncio.wait({again, *waiting[2:]}, timeout=0.2)
            assert (len(done), len(pending)) == (0, 3)
            for task in pending:
                task.cancel()

    run_server(body)


@pytest.mark.parametrize("by_page", [True, False])
def test_a_node_that_is_away_is_nothing_for_strangers(run_server, web, monkeypatch, by_page):
    """They are told what to do, and neither where the node is nor what has happened to the connection."""
    monkeypatch.setattr(session, "RECONNECT_TICKS", 2)

    async def body(server):
        _, path, invoice = await _sell(server)
        server.fake.accepts = False
        server.fake.drop()
        commit = build_commit(invoice, web.NODE)
        async with _stranger(server) as client:
            if by_page:
                answer = await client.post(path, data={"text": format_uri(commit)})
            else:
                answer = await client.post("/api/v1/commits", json=parse_json(COMMIT.format(commit)))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        assert "The shop can not be reached at the moment. Your amount is set aside; keep the text" in answer.text
        said = re.search('id="problem">.*?</div>', answer.text, re.DOTALL)[0] if by_page else answer.text
        assert not re.search(r"127\.0\.0\.1|Error|Closed", said)

    run_server(body)


@pytest.mark.parametrize("by_page", [True, False])
def test_a_good_commit_that_comes_too_late_is_told_so(run_server, web, monkeypatch, by_page):
    """Whatever else strangers send: the buyer must know that the payment can not be collected any more."""
    monkeypatch.setattr(dispatch, "STRANGE_MAX", 2)
    monkeypatch.setattr(in_hand, "COMMITS_MAX", 1)

    async def body(server):
        made, path, invoice = await _sell(server)
        commit = build_commit(invoice, web.NODE)

        async def hand_over(client, commit):
            if by_page:
                return await client.post(path, data={"text": format_uri(commit)})
            return await client.post("/api/v1/commits", json=parse_json(COMMIT.format(commit)))

        async with _stranger(server) as client:
            statuses = [(await hand_over(client, build_commit(invoice, web.SELLER))).status_code for _ in range(3)]
            assert statuses == [400, 400, 429]
            async with server.desk.in_hand.take("another one", has_commit=True):
                answer = await hand_over(client, commit)
                assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
            await server.client.delete(f"{INVOICES}/{made['invoice']['invoice_id']}")
            answer = await hand_over(client, commit)
            assert (answer.status_code, "was cancelled before" in answer.text) == (409, True)

    run_server(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"return_to": "javascript:alert(1)"},
        {"return_to": "http://shop.example.org/"},
        {"return_to": "https://shop.example.org/#paid"},
        {"description": "a\nb"},
        {"description": "\N{EURO SIGN}" * 100},
    ],
)
def test_pages_that_can_not_be_made(run_server, wrong):
    """Nothing is made, and the answer says why."""

    async def body(server):
        asked = {"currency": "FST", "amount": "5", **wrong}
        answer = await server.client.post(INVOICES, json=asked, headers={"idempotency-key": "a"})
        assert (answer.status_code, answer.json()["title"]) == (400, "InvalidInput")
        assert (await server.client.get(INVOICES)).json()["invoices"] == []

    run_server(body)


def test_the_same_request_has_the_same_page(run_server):
    """Also where it is sent again because an answer was lost."""

    async def body(server):
        first, _, _ = await _sell(server)
        asked = {"currency": "FST", "amount": "1200", "description": "Tea & cake", "return_to": BACK}
        again = await server.client.post(INVOICES, json=asked, headers={"idempotency-key": "order"})
        assert (again.status_code, again.json()["checkout"]) == (200, first["checkout"])

    run_server(body)


def test_where_buyers_find_pages():
    """At the public address; without one, on this machine only."""
    address = ("127.0.0.1", 8080)
    assert make_front(address, None, None).shop == "http://127.0.0.1:8080"
    assert make_front(address, None, "https://wallet.example").shop is None
    front = make_front(address, None, "https://wallet.example", "https://Shop.example.org/pay/")
    assert front.shop == "https://Shop.example.org/pay"
    assert front.origins.shops == {"https://shop.example.org"}
    assert front.origins.origins == {"https://wallet.example"}


def test_pages_of_the_public_address_have_no_business_in_the_wallet(run_server, web):
    """What comes from there may send the form of a buyer's page, and nothing else."""

    async def body(server):
        _, path, _ = await _sell(server)
        guard = server.app
        guard._origins = replace(guard._origins, shops=frozenset({"https://shop.example.org"}))
        async with _stranger(server, origin="https://shop.example.org") as client:
            assert (await client.post(path, data={"text": "x"})).status_code == 400
            for elsewhere in ("/log-in", "/wallet/node/ask", INVOICES):
                answer = await client.post(elsewhere, data={})
                assert (answer.status_code, answer.json()["title"]) == (403, "CrossSite")

    run_server(body)
