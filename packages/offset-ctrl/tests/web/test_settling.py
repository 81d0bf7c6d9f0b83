"""The ends of invoices that nobody saw, and requests for one invoice that come at once."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from offset_crypto.signed import commit_buffer
from offset_ctrl.connection import session
from offset_ctrl.connection.history import HistoryPlace
from offset_ctrl.sdk.node import Node
from offset_ctrl.testing import build_commit
from offset_ctrl.web import in_hand, settling
from offset_ctrl.web.invoice_book import InvoiceState
from offset_proto.files import COMMIT, INVOICE
from offset_proto.message_json import format_json, parse_json
from offset_proto.messages.app import AddInvoice, CommitInvoice
from offset_proto.messages.extensions import ALL_EXTENSIONS, AddExpiringInvoice, Extension, OpenInvoiceReport
from offset_proto.messages.history import EntryKind, HistoryEntry, ReadHistory
from offset_proto.text import format_b64
from offset_proto.types import Currency, HashResult, InvoiceId, PublicKey, Uid

INVOICES = "/api/v1/nodes/node/invoices"
COMMITS = "/api/v1/commits"


class Seller:
    """What a node says of the invoices that it was asked for: open until *gone*, and received in its history."""

    def __init__(self, fake):
        self.fake = fake
        self.gone = set()
        fake.invoices = self._reports

    def _reports(self):
        asked = [*self.fake.asked(AddInvoice), *self.fake.asked(AddExpiringInvoice)]
        return tuple(
            OpenInvoiceReport(each.invoice_id, each.currency, each.total_dest_payment, 0, 0, 0, None)
            for each in asked
            if each.invoice_id not in self.gone
        )

    def collect(self, invoice):
        """It was collected, and the token with it is stored. The clock of the node is far behind."""
        self.gone.add(invoice.invoice_id)
        number, party = len(self.fake.history) + 1, PublicKey(bytes(32))
        ids = (invoice.invoice_id, None, Uid(bytes(16)))
        kind = EntryKind.RECEIVED
        entry = HistoryEntry(number, 1000, party, invoice.currency, kind, 0, 30, 30, 0, None, *ids, "", None)
        self.fake.history.append(entry)

    def goes_down(self, *, collects):
        """The node gets a commit, collects with it or not, and is away then, until `comes_back`."""

        def before(connection, asked):
            if isinstance(asked, CommitInvoice):
                if collects is not None:
                    self.gone.add(asked.commit.invoice_id)
                if collects:
                    self.collect(INVOICE.parse(format_json(self.made["invoice"])))
                self.fake.accepts = False
                self.fake.drop()
                return False
            return True

        self.fake.before = before

    def comes_back(self):
        """Connections are taken again, and answered."""
        self.fake.before = lambda connection, asked: True
        self.fake.accepts = True

    async def sell(self, server, key="a", **more):
        """What the API says of a new invoice, and a commit for it as a form."""
        body = {"currency": "FST", "amount": "30", **more}
        answer = await server.client.post(INVOICES, json=body, headers={"idempotency-key": key})
        assert answer.status_code == 201, answer.text
        self.made = answer.json()
        return self.made, INVOICE.parse(format_json(self.made["invoice"]))


def _setting(number):
    """An entry that says nothing of an invoice."""
    rest = (EntryKind.LIMIT, 5, 5, 1, 0, None, None, None, None, "", None)
    return HistoryEntry(number, 1, PublicKey(bytes(32)), Currency("FST"), *rest)


def _form(commit):
    return parse_json(COMMIT.format(commit))


async def _becomes(server, invoice_id, state):
    """The book comes to say so, and nobody has asked the node for it."""
    async with asyncio.timeout(20):
        while True:
            rung = server.desk.bell.listen()
            found = server.desk.invoice_book.find(invoice_id).state
            if found is state:
                return
            await rung.wait()


@pytest.fixture
def _gives_up_soon(monkeypatch):
    """Whoever asks while the node is away."""
    monkeypatch.setattr(session, "RECONNECT_TICKS", 3)


@pytest.mark.usefixtures("_gives_up_soon")
@pytest.mark.parametrize("collects", [True, False])
def test_the_page_of_a_buyer_is_told_when_the_node_is_back(run_server, fake, web, collects, poll):
    """The connection was lost while the payment was collected; nobody with a token looks, and it takes a while."""

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        seller.goes_down(collects=collects)
        page = httpx.URL(made["checkout"]).path
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as buyer:
            waiting = asyncio.create_task(buyer.get(f"{page}/state"))
            answer = await buyer.post(COMMITS, json=_form(build_commit(invoice, web.NODE)))
            assert answer.status_code == 503
            await poll(lambda: server.desk.nodes[0].reach.away is not None)
            assert not waiting.done()
            seller.comes_back()
            assert (await waiting).json() == {"state": "collected" if collects else "over"}

    run_server(body)


def test_a_server_that_was_killed_settles_when_it_starts(run_server, fake, web):
    """What it has written down before the node heard of the commit is enough, also where an archive was made before."""
    seller = Seller(fake)
    sold = []

    async def first(server):
        for key in ("paid", "over"):
            _, invoice = await seller.sell(server, key)
            sold.append(invoice)
            name = format_b64(invoice.invoice_id)
            server.desk.invoice_book.hand_over(name, build_commit(invoice, web.NODE), HistoryPlace(len(fake.history)))
        seller.collect(sold[0])
        seller.gone.add(sold[1].invoice_id)

    async def second(server):
        for each, state in zip(sold, (InvoiceState.COLLECTED, InvoiceState.OVER), strict=True):
            await _becomes(server, format_b64(each.invoice_id), state)

    begins = (EntryKind.OPENING, 0, 5, 5, 0, None, None, None, None, "", None)
    fake.history = [HistoryEntry(1, 1, PublicKey(bytes(32)), Currency("FST"), *begins)]
    fake.archived = 1
    run_server(first)
    run_server(second)


def test_a_node_that_was_restored_meanwhile(run_server, fake, web, poll):
    """It gives the numbers of its history again; what does not stand after one of before may have been collected."""
    seller = Seller(fake)
    sold = []

    async def first(server):
        _, invoice = await seller.sell(server)
        sold.append(invoice)
        hand_over = server.desk.invoice_book.hand_over
        hand_over(format_b64(invoice.invoice_id), build_commit(invoice, web.NODE), HistoryPlace(1))
        seller.gone.add(invoice.invoice_id)
        fake.timeline = 77

    async def second(server):
        name = format_b64(sold[0].invoice_id)
        await poll(lambda: name in server.desk.nodes[0].untold)
        assert server.desk.invoice_book.find(name).state is InvoiceState.OPEN
        assert server.desk.invoice_book.handed(name) is not None

    fake.history = [_setting(1), _setting(2)]
    run_server(first)
    run_server(second)


def test_an_invoice_that_is_cancelled_after_the_node_was_restored(run_server, fake):
    """The node expects the payment no more; nobody is told that it was not paid before."""
    seller = Seller(fake)
    fake.history = [_setting(1)]
    made = []

    async def first(server):
        made.append((await seller.sell(server))[1])
        fake.timeline = 77

    async def second(server):
        (invoice,) = made
        name = format_b64(invoice.invoice_id)
        for _ in range(2):
            answer = await server.client.delete(f"{INVOICES}/{name}")
            assert (answer.status_code, answer.json()["title"]) == (503, "InvoiceEndUnknown")
            row = server.desk.invoice_book.find(name)
            assert (row.state, row.is_proved) == (InvoiceState.CANCELLED, False)
            seller.gone.add(invoice.invoice_id)

    run_server(first)
    run_server(second)


def test_a_history_that_does_not_tell_is_read_once(run_server, fake, web, monkeypatch, poll):
    """And not again for each end of another invoice, until the node is back from being away."""
    monkeypatch.setattr(settling, "LEEWAY_SECONDS", 0.0)
    seller = Seller(fake)
    fake.history = [_setting(1)]

    async def first(server):
        _, invoice = await seller.sell(server)
        hand_over = server.desk.invoice_book.hand_over
        hand_over(format_b64(invoice.invoice_id), build_commit(invoice, web.NODE), HistoryPlace(1))
        seller.gone.add(invoice.invoice_id)
        fake.timeline = 77

    async def second(server):
        node, book = server.desk.nodes[0], server.desk.invoice_book
        await poll(lambda: True in node.untold.values())
        pages = len(fake.asked(ReadHistory))
        for key in "bcd":
            _, other = await seller.sell(server, key)
            name = format_b64(other.invoice_id)
            book.hand_over(name, build_commit(other, web.NODE), HistoryPlace(len(fake.history), 77))
            seller.collect(other)
            node.in_doubt.set()
            await _becomes(server, name, InvoiceState.COLLECTED)
        assert len(fake.asked(ReadHistory)) == pages + 3

    run_server(first)
    run_server(second)


@pytest.mark.usefixtures("_gives_up_soon")
def test_an_invoice_with_a_commit_that_comes_to_its_end(run_server, fake, web, monkeypatch):
    """The commit was lost; at its end the node is asked once more, and again where it is late."""
    monkeypatch.setattr(settling, "LEEWAY_SECONDS", 0.0)
    monkeypatch.setattr(settling, "AGAIN_SECONDS", 0.05)

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server, expires_in=1)
        seller.goes_down(collects=None)
        commit = _form(build_commit(invoice, web.NODE))
        assert (await server.client.post(COMMITS, json=commit)).status_code == 503
        seller.comes_back()
        page = httpx.URL(made["checkout"]).path
        waiting = asyncio.create_task(server.client.get(f"{page}/state"))
        await asyncio.sleep(1.5)  # by its clock the server takes it for over, and the node does not
        assert not waiting.done()
        seller.gone.add(invoice.invoice_id)
        assert (await waiting).json() == {"state": "over"}

    run_server(body)


@pytest.mark.usefixtures("_gives_up_soon")
def test_another_commit_does_not_make_the_first_one_forgotten(run_server, fake, web, poll):
    """What came of the first one is not known; so the invoice is not called over, and the other one is not taken."""
    fake.extensions = ALL_EXTENSIONS ^ Extension.HISTORY

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server, expires_in=60)
        seller.goes_down(collects=True)
        commits = [_form(build_commit(invoice, web.NODE)), _other(invoice, web)]
        assert (await server.client.post(COMMITS, json=commits[0])).status_code == 503
        seller.comes_back()
        await poll(lambda: server.desk.nodes[0].node.is_connected)
        answer = await server.client.post(COMMITS, json=commits[1])
        assert (answer.status_code, answer.json()["title"]) == (503, "InvoiceEndUnknown")
        assert len(fake.asked(CommitInvoice)) == 1
        fake.cancels = lambda invoice_id: False
        assert (await server.client.delete(f"{INVOICES}/{made['invoice']['invoice_id']}")).status_code == 503
        now = server.database.now()
        server.database._clock = lambda: now + 61
        assert (await server.client.get(f"{INVOICES}/{made['invoice']['invoice_id']}")).json()["state"] == "open"
        # The truth turns up later.
        fake.extensions = ALL_EXTENSIONS
        fake.drop()
        await _becomes(server, made["invoice"]["invoice_id"], InvoiceState.COLLECTED)
        assert (await server.client.post(COMMITS, json=commits[0])).status_code == 200
        assert (await server.client.post(COMMITS, json=commits[1])).status_code == 409

    run_server(body)


def _other(invoice, web):
    """What another payment of the same invoice has in its commit."""
    commit = replace(build_commit(invoice, web.NODE), response_hash=HashResult(b"\x01" * 32))
    return _form(replace(commit, signature=web.NODE.sign(commit_buffer(commit))))


def test_a_commit_that_is_refused_leaves_the_one_before(run_server, fake, web):
    """The invoice is open, so the first one did not collect yet; it may still be under way."""

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        name, book = made["invoice"]["invoice_id"], server.desk.invoice_book
        commit = build_commit(invoice, web.NODE)
        book.hand_over(name, commit, HistoryPlace(0))
        before = book.handed(name)
        fake.collects = lambda commit: None
        answer = await server.client.post(COMMITS, json=_other(invoice, web))
        assert (answer.status_code, answer.json()["title"]) == (409, "RequestRefused")
        assert book.handed(name) == before
        seller.collect(invoice)
        assert (await server.client.post(COMMITS, json=_form(commit))).json()["state"] == "collected"

    run_server(body)


def test_what_is_not_told_is_over_only_after_its_end(run_server, fake):
    """Another app may have collected it; a page that says "over" can not be taken back."""
    fake.shows_whole_history = False

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server, expires_in=60)
        path = f"{INVOICES}/{made['invoice']['invoice_id']}"
        seller.gone.add(invoice.invoice_id)
        assert (await server.client.get(path)).json()["state"] == "open"
        now = server.database.now()
        server.database._clock = lambda: now + 61
        assert (await server.client.get(path)).json()["state"] == "over"

    run_server(body)


def test_an_invoice_that_is_over_and_turns_out_to_be_paid(run_server, fake, web):
    """It was called over while nobody could say more; the commit that collected it comes again."""
    fake.shows_whole_history = False

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        name, book = made["invoice"]["invoice_id"], server.desk.invoice_book
        commit = build_commit(invoice, web.NODE)
        book.hand_over(name, commit, HistoryPlace(0))
        seller.collect(invoice)
        book.change(name, InvoiceState.OVER)
        assert (await server.client.post(COMMITS, json=_form(commit))).json()["state"] == "collected"
        assert book.get(name).state is InvoiceState.COLLECTED

    run_server(body)


def test_an_invoice_is_made_once_for_requests_that_come_at_once(run_server, fake, monkeypatch, web):
    """Between the two it is paid: the node is not asked to expect the same payment again."""
    create, first, may_end = Node.create_invoice, asyncio.Event(), asyncio.Event()

    async def slow(node, *given, **named):
        invoice = await create(node, *given, **named)
        if not first.is_set():
            first.set()
            await may_end.wait()
        return invoice

    monkeypatch.setattr(Node, "create_invoice", slow)

    async def body(server):
        Seller(fake)
        asked = {"currency": "FST", "amount": "30"}
        key = {"idempotency-key": "a"}
        requests = [asyncio.create_task(server.client.post(INVOICES, json=asked, headers=key)) for _ in range(2)]
        await first.wait()
        await asyncio.sleep(0.1)
        may_end.set()
        made = [(await each).json() for each in requests]
        assert made[0]["invoice"] == made[1]["invoice"]
        assert len(fake.asked(AddInvoice)) == 1
        book, name = server.desk.invoice_book, made[0]["invoice"]["invoice_id"]
        book.change(name, InvoiceState.COLLECTED)
        book.change(name, InvoiceState.OPEN)
        assert book.get(name).state is InvoiceState.COLLECTED

    run_server(body)


def test_copies_of_a_commit_wait_in_a_line_of_limited_length(run_server, fake, web):
    """The others are told to come again; another invoice is collected meanwhile."""

    async def body(server):
        seller = Seller(fake)
        _, other = await seller.sell(server, "other")
        _, invoice = await seller.sell(server)
        held = server.desk.in_hand.take(format_b64(invoice.invoice_id))
        async with held:
            commit = _form(build_commit(invoice, web.NODE))
            waiting = [asyncio.create_task(server.client.post(COMMITS, json=commit)) for _ in range(10)]
            done, pending = await asyncio.wait(waiting, timeout=1.0)
            assert len(pending) == in_hand.WAITING_MAX
            for each in done:
                answer = each.result()
                assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
                assert answer.json()["title"] == "TooManyAtOnce"
            paid = await server.client.post(COMMITS, json=_form(build_commit(other, web.NODE)))
            assert paid.status_code == 200
        assert {(await each).status_code for each in pending} == {200}
        assert len(fake.asked(CommitInvoice)) == 2
        assert not server.desk.in_hand

    run_server(body)


def _entries(fake, count, kind=EntryKind.RECEIVED):
    """The node has received something for as many other invoices."""
    for number in range(len(fake.history) + 1, len(fake.history) + count + 1):
        ids = (InvoiceId(number.to_bytes(32, "big")), None, Uid(bytes(16)))
        party, fst = PublicKey(bytes(32)), Currency("FST")
        fake.history.append(HistoryEntry(number, 1000, party, fst, kind, 0, 30, 30, 0, None, *ids, "", None))


def test_a_commit_that_comes_again_and_again_after_the_end(run_server, fake, web):
    """The history is read from where the invoice was made, once; then the book has the answer."""
    _entries(fake, 300)
    fake.collects = lambda commit: False

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        _entries(fake, 4)
        seller.gone.add(invoice.invoice_id)
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as buyer:
            for _ in range(3):
                answer = await buyer.post(COMMITS, json=_form(build_commit(invoice, web.NODE)))
                assert (answer.status_code, answer.json()["title"]) == (409, "InvoiceNotOpen")
                assert len(fake.asked(ReadHistory)) == 2  # of three entries each
                asked = len(fake.requests)
        assert len(fake.requests) == asked
        assert server.desk.invoice_book.get(made["invoice"]["invoice_id"]).is_final

    run_server(body)


@pytest.mark.parametrize("has_commit", [True, False])
def test_what_strangers_can_have_read(run_server, fake, web, monkeypatch, poll, has_commit):
    """So many pages for one invoice; what they do not tell is asked for again when the node is back."""
    monkeypatch.setattr(settling, "STRANGERS_PAGES_MAX", 2)
    fake.collects = lambda commit: False

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        name, commit = made["invoice"]["invoice_id"], build_commit(invoice, web.NODE)
        if has_commit:
            server.desk.invoice_book.hand_over(name, commit, HistoryPlace(0))
        _entries(fake, 30)
        seller.gone.add(invoice.invoice_id)
        expected = (503, "InvoiceEndUnknown") if has_commit else (409, "InvoiceNotOpen")
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as buyer:
            for _ in range(3):
                answer = await buyer.post(COMMITS, json=_form(commit))
                assert (answer.status_code, answer.json()["title"]) == expected
        assert len(fake.asked(ReadHistory)) == 2
        assert name in server.desk.nodes[0].untold
        fake.drop()
        if has_commit:
            await _becomes(server, name, InvoiceState.OVER)  # nobody has asked for it but the server itself
        else:
            await poll(lambda: not server.desk.nodes[0].untold)

    run_server(body)


@pytest.mark.parametrize("ending", ["open", "unknown", "collected"])
def test_a_cancellation_that_does_not_cancel(run_server, fake, ending):
    """The book does not call it cancelled, so that nothing which was paid is lost."""
    fake.cancels = lambda invoice_id: False
    fake.shows_whole_history = ending != "unknown"

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        name = made["invoice"]["invoice_id"]
        if ending == "unknown":
            seller.gone.add(invoice.invoice_id)
        elif ending == "collected":
            seller.collect(invoice)
        answer = await server.client.delete(f"{INVOICES}/{name}")
        assert (answer.status_code, answer.json()["title"]) == {
            "open": (409, "RequestRefused"),
            "unknown": (503, "InvoiceEndUnknown"),
            "collected": (409, "InvoiceNotOpen"),
        }[ending]
        expected = InvoiceState.COLLECTED if ending == "collected" else InvoiceState.OPEN
        assert server.desk.invoice_book.get(name).state is expected

    run_server(body)


def test_an_invoice_that_was_called_cancelled_and_was_collected(run_server, fake, web):
    """By a node that could not tell then; its commit comes again."""

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        name, book = made["invoice"]["invoice_id"], server.desk.invoice_book
        book.change(name, InvoiceState.CANCELLED)
        seller.collect(invoice)
        answer = await server.client.post(COMMITS, json=_form(build_commit(invoice, web.NODE)))
        assert answer.status_code == 409
        assert book.get(name).state is InvoiceState.COLLECTED

    run_server(body)


@pytest.mark.parametrize("is_paid", [True, False])
def test_the_page_of_a_buyer_when_the_time_is_over(run_server, fake, monkeypatch, poll, is_paid):
    """It does not say that nobody has paid before the node was asked, which another app may have given a commit."""
    monkeypatch.setattr(settling, "LEEWAY_SECONDS", 1.0)

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server, expires_in=1)
        name, page = made["invoice"]["invoice_id"], httpx.URL(made["checkout"]).path
        if is_paid:
            seller.collect(invoice)
        seller.gone.add(invoice.invoice_id)
        book = server.desk.invoice_book
        server.desk.nodes[0].in_doubt.set()  # there is an end to wait for now
        await poll(lambda: server.database.now() >= book.get(name).expires)
        text = (await server.client.get(page)).text
        assert "<h1>Its time is over</h1>" in text
        assert "Nobody has paid" not in text
        assert "data-wait" in text
        assert (await server.client.get(f"{page}/state")).json() == {"state": "collected" if is_paid else "over"}
        assert ("Nobody has paid" in (await server.client.get(page)).text) is not is_paid

    run_server(body)


def test_an_invoice_without_an_end_that_was_cancelled_elsewhere(run_server, fake):
    """A channel broke long before it was made, which says nothing of it."""
    _entries(fake, 1, EntryKind.BROKEN)
    _entries(fake, 30)

    async def body(server):
        seller = Seller(fake)
        made, invoice = await seller.sell(server)
        seller.gone.add(invoice.invoice_id)
        path = f"{INVOICES}/{made['invoice']['invoice_id']}"
        for _ in range(2):
            assert (await server.client.get(path)).json()["state"] == "over"
        assert len(fake.asked(ReadHistory)) == 1

    run_server(body)
