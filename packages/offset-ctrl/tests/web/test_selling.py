"""Invoices through the API."""

import asyncio

import pytest

from offset_crypto.identity import Identity
from offset_ctrl.connection.client import ConnectionClosed
from offset_ctrl.connection.history import HistoryPlace
from offset_ctrl.sdk.node import Node
from offset_ctrl.testing import build_commit
from offset_proto.files import COMMIT, INVOICE
from offset_proto.message_json import format_json, parse_json
from offset_proto.messages.app import AddInvoice, CancelInvoice, CommitInvoice
from offset_proto.messages.extensions import ALL_EXTENSIONS, AddExpiringInvoice, Extension, OpenInvoiceReport
from offset_proto.messages.history import EntryKind, HistoryEntry
from offset_proto.types import Currency, InvoiceId, PrivateKey, PublicKey, Uid

INVOICES = "/api/v1/nodes/node/invoices"
NODE = Identity(PrivateKey(b"\x01" * 32))


def _knows_invoices(server, arrived=0):
    """The node tells what is open: each invoice that it was asked for."""

    def reports():
        asked = [*server.fake.asked(AddInvoice), *server.fake.asked(AddExpiringInvoice)]
        gone = {each.invoice_id for each in server.fake.asked(CancelInvoice)}
        gone |= {each.commit.invoice_id for each in server.fake.asked(CommitInvoice)}
        return tuple(
            OpenInvoiceReport(each.invoice_id, each.currency, each.total_dest_payment, arrived, 0, 0, None)
            for each in asked
            if each.invoice_id not in gone
        )

    server.fake.invoices = reports


async def _create(server, key="a", **more):
    body = {"currency": "FST", "amount": "30", **more}
    return await server.client.post(INVOICES, json=body, headers={"idempotency-key": key})


def _commit(found):
    invoice = INVOICE.parse(format_json(found["invoice"]))
    return parse_json(COMMIT.format(build_commit(invoice, NODE)))


def test_an_invoice_that_is_paid(run_server):
    """Made once for its key, collected once with the buyer's commit, which may be sent again."""

    async def body(server):
        _knows_invoices(server, arrived=7)
        first = await _create(server, expires_in=60)
        found = first.json()
        assert (first.status_code, found["state"], found["arrived"]) == (201, "open", "7")
        assert found["expires"] - found["created"] == 60
        again = await _create(server, expires_in=60)
        assert (again.status_code, again.json()["invoice"]) == (200, found["invoice"])
        assert len(server.fake.asked(AddExpiringInvoice)) == 1
        assert (await _create(server, expires_in=61)).json()["title"] == "KeyReused"
        path = f"{INVOICES}/{found['invoice']['invoice_id']}"
        commit = _commit(found)
        for _ in range(2):
            collected = await server.client.post(f"{path}/commit", json=commit)
            assert (collected.status_code, collected.json()["state"]) == (200, "collected")
        assert len(server.fake.asked(CommitInvoice)) == 1
        assert (await server.client.get(f"{path}?wait=20")).json()["state"] == "collected"
        assert (await server.client.delete(path)).json()["title"] == "InvoiceNotOpen"

    run_server(body)


def test_an_invoice_that_nobody_can_pay_now(run_server):
    """It is made like any other, and a header says what is missing, in ASCII."""

    async def body(server):
        _knows_invoices(server)
        made = await _create(server)
        assert "offset-hint" not in made.headers
        other = await _create(server, key="b", currency="Złoty")
        assert (other.status_code, other.json().keys()) == (201, made.json().keys())
        assert other.headers["offset-hint"] == (
            r"no friend trades Z\u0142oty with you yet, so nobody can pay this; open it with a friend who opens it, too"
        )
        assert "offset-hint" not in (await _create(server, key="b", currency="Złoty")).headers

    run_server(body)


@pytest.mark.parametrize(("may", "sees_friends"), [(("ask",), False), (("ask", "read"), True)])
def test_who_may_not_see_the_friends_gets_no_hint_about_them(run_server, may, sees_friends):
    """Not even whether there is one: by asking for more and less, one would find how much friends could bring."""

    async def body(server):
        _knows_invoices(server)
        headers = {"idempotency-key": "a", **server.token("shop", *may)}
        friends = await server.client.get("/api/v1/nodes/node/friends", headers=headers)
        assert friends.status_code == (200 if sees_friends else 403)
        made = await server.client.post(INVOICES, json={"currency": "EUR", "amount": "30"}, headers=headers)
        assert made.status_code == 201
        assert ("offset-hint" in made.headers) is sees_friends

    run_server(body)


@pytest.mark.parametrize("verb", ["accept_commit", "cancel_invoice"])
def test_an_invoice_that_is_in_hand(run_server, monkeypatch, verb):
    """The node has collected or cancelled it, and the book has not heard: whoever looks does not take it for over."""
    is_done, may_end = asyncio.Event(), asyncio.Event()
    carry_out = getattr(Node, verb)

    async def hold(*given):
        ending = await carry_out(*given)
        is_done.set()
        await may_end.wait()
        return ending

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        path = f"{INVOICES}/{found['invoice']['invoice_id']}"
        monkeypatch.setattr(Node, verb, hold)
        collects = verb == "accept_commit"
        post, delete = server.client.post(f"{path}/commit", json=_commit(found)), server.client.delete(path)
        first, second = (post, delete) if collects else (delete, post)
        ending = asyncio.ensure_future(first)
        await is_done.wait()
        assert (await server.client.get(path)).json()["state"] == "open"
        other = asyncio.ensure_future(second)  # waits for the first one, and comes too late
        await asyncio.sleep(0.1)
        may_end.set()
        assert (await ending).status_code == (200 if collects else 204)
        assert (await other).status_code == 409
        assert (await server.client.get(path)).json()["state"] == ("collected" if collects else "cancelled")

    run_server(body)


def test_a_commit_that_pays_something_else(run_server):
    """Collects nothing."""

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        other = (await _create(server, "b", amount="31")).json()
        answer = await server.client.post(f"{INVOICES}/{found['invoice']['invoice_id']}/commit", json=_commit(other))
        assert (answer.status_code, answer.json()["title"]) == (400, "InvalidProof")
        assert not server.fake.asked(CommitInvoice)

    run_server(body)


def test_an_invoice_that_is_cancelled(run_server):
    """Is collected no more."""

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        path = f"{INVOICES}/{found['invoice']['invoice_id']}"
        assert (await server.client.delete(path)).status_code == 204
        assert (await server.client.get(path)).json()["state"] == "cancelled"
        answer = await server.client.post(f"{path}/commit", json=_commit(found))
        assert (answer.status_code, answer.json()["title"]) == (409, "InvoiceNotOpen")

    run_server(body)


def test_an_invoice_that_the_node_has_ended(run_server):
    """Is over."""

    async def body(server):
        found = (await _create(server)).json()
        assert found["state"] == "over"  # the node knows of none

    run_server(body)


def _is_cut_off(monkeypatch, server, *, is_collected):
    """The node has the commit, and has collected or not, when the connection ends: the server does not learn which."""
    carry_out = Node.accept_commit

    async def cut_off(node, invoice, commit, handing):
        if not is_collected:
            handing(HistoryPlace(0))
        else:
            await carry_out(node, invoice, commit, handing)
            received = (invoice.invoice_id, None, Uid(bytes(16)))
            kind, party = EntryKind.RECEIVED, PublicKey(bytes(32))
            entry = HistoryEntry(1, 1000, party, invoice.currency, kind, 0, 30, 30, 0, None, *received, "", None)
            server.fake.history = [entry]
        monkeypatch.setattr(Node, "accept_commit", carry_out)
        raise ConnectionClosed("the test wants it")

    monkeypatch.setattr(Node, "accept_commit", cut_off)


@pytest.mark.parametrize("looks", [True, False])
def test_a_server_that_is_stopped_while_it_collects(run_server, monkeypatch, looks):
    """Whoever looks later is told that it was collected, and so is the buyer who hands the commit over again."""

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        path, commit = f"{INVOICES}/{found['invoice']['invoice_id']}", _commit(found)
        _is_cut_off(monkeypatch, server, is_collected=True)
        assert (await server.client.post(f"{path}/commit", json=commit)).status_code == 503
        if looks:
            assert (await server.client.get(path)).json()["state"] == "collected"
            assert (await server.client.get(INVOICES)).json()["invoices"][0]["state"] == "collected"
        again = await server.client.post(f"{path}/commit", json=commit)
        assert (again.status_code, again.json()["state"]) == (200, "collected")
        assert len(server.fake.asked(CommitInvoice)) == 1

    run_server(body)


def test_what_was_collected_unseen_is_not_cancelled(run_server, monkeypatch):
    """The book has it open; whoever cancels is told that it was collected, and so is the book."""

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        path, commit = f"{INVOICES}/{found['invoice']['invoice_id']}", _commit(found)
        _is_cut_off(monkeypatch, server, is_collected=True)
        assert (await server.client.post(f"{path}/commit", json=commit)).status_code == 503
        server.fake.cancels = lambda invoice_id: False
        answer = await server.client.delete(path)
        assert (answer.status_code, answer.json()["title"]) == (409, "InvoiceNotOpen")
        assert (await server.client.get(path)).json()["state"] == "collected"

    run_server(body)


def test_a_server_that_is_stopped_before_the_node_has_the_commit(run_server, monkeypatch):
    """The invoice is open, and the commit collects when it comes again."""

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        path, commit = f"{INVOICES}/{found['invoice']['invoice_id']}", _commit(found)
        _is_cut_off(monkeypatch, server, is_collected=False)
        assert (await server.client.post(f"{path}/commit", json=commit)).status_code == 503
        assert (await server.client.get(path)).json()["state"] == "open"
        again = await server.client.post(f"{path}/commit", json=commit)
        assert (again.status_code, again.json()["state"]) == (200, "collected")

    run_server(body)


def test_a_commit_whose_end_the_node_does_not_tell(fake, run_server, monkeypatch):
    """The invoice is not called over: it may have been paid."""
    fake.extensions = ALL_EXTENSIONS ^ Extension.HISTORY

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        path = f"{INVOICES}/{found['invoice']['invoice_id']}"
        _is_cut_off(monkeypatch, server, is_collected=True)
        await server.client.post(f"{path}/commit", json=_commit(found))
        assert (await server.client.get(path)).json()["state"] == "open"

    run_server(body)


def test_an_invoice_that_ends_just_before_its_commit_comes(run_server):
    """Is not collected, and the buyer is told so, each time."""

    async def body(server):
        _knows_invoices(server)
        server.fake.collects = lambda commit: False
        found = (await _create(server)).json()
        path = f"{INVOICES}/{found['invoice']['invoice_id']}"
        for _ in range(2):
            answer = await server.client.post(f"{path}/commit", json=_commit(found))
            assert (answer.status_code, answer.json()["title"]) == (409, "InvoiceNotOpen")
        assert (await server.client.get(path)).json()["state"] == "over"

    run_server(body)


def test_a_node_that_does_not_tell(fake, run_server):
    """What the server knows by itself is what it says; and an end needs a node that can end invoices."""
    fake.extensions = Extension(0)

    async def body(server):
        found = (await _create(server)).json()
        assert (found["state"], found["arrived"]) == ("open", None)
        answer = await _create(server, "b", expires_in=60)
        assert (answer.status_code, answer.json()["title"]) == (501, "NotAnnounced")

    run_server(body)


def test_a_request_that_ended_in_the_middle(run_server, monkeypatch):
    """The same key asks the node for the same invoice again."""

    async def body(server):
        _knows_invoices(server)
        with monkeypatch.context() as patched:

            async def fail(*arguments, **named):
                raise RuntimeError("killed")

            patched.setattr("offset_ctrl.sdk.node.Node.create_invoice", fail)
            assert (await _create(server)).status_code == 500
        [kept] = server.database.ask("SELECT invoice_id, state FROM invoices")
        assert kept["state"] == "adding"
        found = (await _create(server)).json()
        assert (found["state"], found["invoice"]["invoice_id"]) == ("open", kept["invoice_id"])
        assert len(server.fake.asked(AddInvoice)) == 1

    run_server(body)


def test_whose_an_invoice_is(run_server):
    """A token that may ask sees and changes its own; one that reads sees all and changes none."""

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        path = f"{INVOICES}/{found['invoice']['invoice_id']}"
        asker, reader = server.token("asker", "ask"), server.token("reader", "read")
        assert (await server.client.get(path, headers=asker)).status_code == 404
        assert (await server.client.get(INVOICES, headers=asker)).json()["invoices"] == []
        assert (await server.client.delete(path, headers=asker)).status_code == 404
        assert (await server.client.get(path, headers=reader)).json()["owner"] == "app"
        assert [each["owner"] for each in (await server.client.get(INVOICES, headers=reader)).json()["invoices"]] == [
            "app"
        ]
        assert (await server.client.delete(path, headers=reader)).status_code == 403
        [open_invoice] = (await server.client.get("/api/v1/nodes/node/open-invoices", headers=reader)).json()
        assert open_invoice["invoice_id"] == found["invoice"]["invoice_id"]

    run_server(body)


def test_currencies_and_amounts_that_are_none(run_server):
    """What nobody could type is refused, and what has more than 128 bits."""

    async def body(server):
        for more in ({"currency": "\x07"}, {"currency": "€" * 6}, {"amount": str(2**128)}, {"amount": 5}):
            answer = await _create(server, **more)
            assert (answer.status_code, answer.json()["title"]) == (400, "InvalidInput")
        assert not server.fake.asked(AddInvoice)

    run_server(body)


def test_an_invoice_over_nothing(run_server):
    """It is refused before anything is written down or made."""

    async def body(server):
        answer = await _create(server, amount="0")
        assert (answer.status_code, "1 credit at least" in answer.json()["detail"]) == (400, True)
        assert (await server.client.get(INVOICES)).json()["invoices"] == []
        assert not server.fake.asked(AddInvoice)

    run_server(body)


def test_ids_are_those_of_the_node(run_server):
    """What the node was asked for is what the client has."""

    async def body(server):
        _knows_invoices(server)
        found = (await _create(server)).json()
        [asked] = server.fake.asked(AddInvoice)
        invoice = INVOICE.parse(format_json(found["invoice"]))
        assert (asked.invoice_id, asked.currency, asked.total_dest_payment) == (invoice.invoice_id, Currency("FST"), 30)
        assert isinstance(asked.invoice_id, InvoiceId)

    run_server(body)
