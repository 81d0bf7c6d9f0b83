"""What waits to be paid, whoever has asked for it, and the one place where it is collected."""

import re

import pytest

from offset_ctrl.testing import build_commit
from offset_proto.files import COMMIT, Invoice
from offset_proto.messages.app import CommitInvoice
from offset_proto.messages.extensions import ALL_EXTENSIONS, AddExpiringInvoice, Extension, OpenInvoiceReport
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId
from offset_proto.uri import format_uri, parse_uri

HOME, ASK = "/wallet/node", "/wallet/node/ask"
FST = Currency("FST")


@pytest.fixture
def elsewhere(fake, web):
    """An invoice of another app; the node tells of it, and of those that were made here, until each is paid."""
    made = Invoice(InvoiceId(bytes([7]) * 32), FST, web.NODE.public_key, 4500)

    def collected():
        return tuple(each.commit.invoice_id for each in fake.asked(CommitInvoice))

    def reports():
        asked = [OpenInvoiceReport(made.invoice_id, FST, 4500, 20, 1, 1_790_000_000, None)]
        asked += [
            OpenInvoiceReport(each.invoice_id, each.currency, each.total_dest_payment, 0, 0, 0, None)
            for each in fake.asked(AddExpiringInvoice)
        ]
        return tuple(report for report in asked if report.invoice_id not in collected())

    fake.invoices, fake.collected = reports, collected
    return made


def _path(invoice):
    return f"{HOME}/requests/{format_b64(invoice.invoice_id)}"


async def _ask(browser, amount, note):
    page = await browser.open(ASK)
    made = await browser.send(page, "/ask", amount=amount, currency="FST", note=note)
    return parse_uri(re.search(r"offset:invoice1[a-z0-9]+", made.text)[0]).invoice, made.url.path


def test_all_that_wait_are_shown(visit, elsewhere):
    """On both pages, with what has arrived, and a way to each."""

    async def body(server, browser):
        _, path = await _ask(browser, "30", "Tea & cake")
        for page in (await browser.open(HOME), await browser.open(ASK)):
            section = page[page.index("Waiting to be paid") :]
            assert f'href="{_path(elsewhere)}"' in section
            assert f'href="{path}"' in section
            assert "20 of it has arrived" in section
            assert "Tea &amp; cake" in section
        page = await browser.open(_path(elsewhere))
        assert "<h1>Waiting to be paid</h1>" in page
        assert "made with another program" in page

    visit(body)


@pytest.mark.parametrize("form", [format_uri, COMMIT.format])
def test_one_place_collects_them_all(visit, web, elsewhere, form):
    """With a text or the content of a file; which request it pays is in what was handed over."""

    async def body(server, browser):
        mine, path = await _ask(browser, "30", "Tea")
        page = await browser.open(ASK)
        for invoice, leads_to in ((elsewhere, _path(elsewhere)), (mine, path)):
            answer = await browser.send(page, "/collect", commit=form(build_commit(invoice, web.NODE)))
            assert answer.url.path == leads_to
            assert "<h1>Paid</h1>" in answer.text
        collected = [each.commit.invoice_id for each in server.fake.asked(CommitInvoice)]
        assert collected == [elsewhere.invoice_id, mine.invoice_id]
        assert "Waiting to be paid" not in await browser.open(HOME)

    visit(body)


def test_what_collects_nothing(visit, web, elsewhere):
    """The page says why, keeps what was entered, and the node hears of nothing."""

    async def body(server, browser):
        page = await browser.open(ASK)
        unknown = format_uri(build_commit(server.invoice(99), web.SELLER))
        forged = format_uri(build_commit(elsewhere, web.SELLER))
        for text, status, says in (
            ("rubbish", 400, "This is no text that begins with offset:commit1"),
            ("", 400, "is missing; paste it"),
            (unknown, 404, "no request that is open at your node"),
            (forged, 400, "signature"),
        ):
            answer = await browser.send(page, "/collect", commit=text)
            assert answer.status_code == status
            assert says in answer.text
            assert text in answer.text
        assert not server.fake.asked(CommitInvoice)

    visit(body)


def test_a_request_that_nobody_knows(visit, elsewhere):
    """Has no page."""

    async def body(server, browser):
        for name in (format_b64(bytes(32)), "rubbish"):
            answer = await browser.client.get(f"{HOME}/requests/{name}")
            assert answer.status_code in (400, 404)
            assert "That did not work" in answer.text

    visit(body)


def test_a_node_that_does_not_tell_what_is_open(visit, fake):
    """An original's: then it is what was made here."""
    fake.extensions = ALL_EXTENSIONS & ~Extension.OPEN_PAYMENTS

    async def body(server, browser):
        _, path = await _ask(browser, "30", "Tea")
        for page in (await browser.open(HOME), await browser.open(ASK)):
            assert f'href="{path}"' in page[page.index("Waiting to be paid") :]

    visit(body)
