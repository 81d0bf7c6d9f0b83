"""The history and the statement of a month, as pages of the wallet."""

import io
import re
import sys
from dataclasses import replace

import pytest
from pypdf import PdfReader

from offset_ctrl.web.wallet import history
from offset_proto.messages.app import AppPermissions
from offset_proto.messages.extensions import ALL_EXTENSIONS, Extension
from offset_proto.messages.history import EntryKind, HistoryEntry, ReadHistory
from offset_proto.text import format_b64
from offset_proto.types import Currency, PublicKey

HISTORY, STATEMENT = "/wallet/node/history", "/wallet/node/statement"
EVE = PublicKey(bytes([9]) * 32)
NOVEMBER, DECEMBER = 1_793_491_200, 1_796_083_200
"""The seconds at which these months of 2026 began, in UTC."""


def _entry(web, number, time, before, balance, **fields):
    moved = abs(balance - before)
    fst, nothing = Currency("FST"), (None, None, None, None, "", None)
    plain = (number, time, web.BOB.public_key, fst, EntryKind.RECEIVED, before, balance, moved, 0, *nothing)
    return replace(HistoryEntry(*plain), **fields)


@pytest.fixture
def story(fake, web):
    """Bob: 10 at the end of October, +5 and -7 in November, -2 in December. Eve, a friend no more: -5 in November."""
    fake.history = [
        _entry(web, 1, NOVEMBER - 1, 0, 10, kind=EntryKind.OPENING),
        _entry(web, 2, NOVEMBER, 10, 15, note="Rent & more"),
        _entry(web, 3, NOVEMBER + 86_400, 15, 8, kind=EntryKind.PAID, fee=1),
        _entry(web, 4, NOVEMBER + 86_401, 0, -5, kind=EntryKind.FORWARDED, friend=EVE, fee=2),
        _entry(web, 5, DECEMBER, 8, 6, kind=EntryKind.PAID),
    ]
    return fake.history


def _balances(page):
    return [text.replace("\N{NARROW NO-BREAK SPACE}", "") for text in re.findall(r"balance ([−\d\u202f]+)", page)]


def test_the_newest_entry_comes_first(visit, story):
    """All friends together; who is none any more goes by the key."""

    async def body(server, browser):
        page = await browser.open(HISTORY)
        assert _balances(page) == ["6", "−5", "8", "15", "10"]
        assert "Rent &amp; more" in page
        assert page.count("<bdi>bob</bdi>") == 4
        assert format_b64(EVE)[:6] in page
        assert "Older" not in page
        assert f'href="{HISTORY}"' in await browser.open("/wallet/node")

    visit(body)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"friend": format_b64(EVE)}, (0, 0)),
        ({"currency": "FST"}, (0, 0)),
        ({"since": "2026-11-02"}, (NOVEMBER + 86_400, 0)),
        ({"until": "2026-11-30"}, (0, DECEMBER)),
        ({"since": "2026-11-01", "until": "2026-11-01"}, (NOVEMBER, NOVEMBER + 86_400)),
    ],
)
def test_what_the_node_is_asked_for(visit, story, fake, query, numbers):
    """The fields are what the node chooses by; the last day belongs to the period."""

    async def body(server, browser):
        page = (await browser.client.get(HISTORY, params=query)).text
        asked = fake.asked(ReadHistory)[0].filter
        assert (asked.since, asked.until) == numbers
        assert asked.opt_friend == (EVE if "friend" in query else None)
        assert asked.opt_currency == query.get("currency")
        for value in query.values():
            assert f'value="{value}"' in page

    visit(body)


def test_kinds(visit, story, fake):
    """A box stands for one kind, or for several that belong together."""

    async def body(server, browser):
        await browser.client.get(HISTORY, params={"paid": "yes", "broken": "yes"})
        kinds = (EntryKind.PAID, EntryKind.BROKEN, EntryKind.RESET, EntryKind.FORGIVEN)
        assert fake.asked(ReadHistory)[0].filter.kinds == kinds
        assert {kind for _, kinds in history.KINDS.values() for kind in kinds} == set(EntryKind)

    visit(body)


def test_page_after_page(visit, web, fake):
    """Each goes on where the one before ended, also when something has happened meanwhile; the choice stays."""
    count = 2 * history.ENTRIES_SHOWN + 7
    fake.history = [_entry(web, number, NOVEMBER, number - 1, number) for number in range(1, count + 1)]

    async def body(server, browser):
        seen, path = [], f"{HISTORY}?currency=FST"
        while path:
            page = await browser.open(path)
            seen += map(int, _balances(page))
            fake.history.append(_entry(web, len(fake.history) + 1, NOVEMBER, 0, 0))
            older = re.search(r'href="([^"]+)">Older', page)
            path = older and older[1].replace("&amp;", "&")
            assert path is None or "currency=FST" in path
        assert seen == list(range(count, 0, -1))

    visit(body)


def test_what_was_moved_to_an_archive(visit, story, fake):
    """The last page says so, so that nobody takes it for all there was."""
    fake.archived = 12

    async def body(server, browser):
        assert "up to number 12 were moved to an archive" in await browser.open(HISTORY)
        for path in (STATEMENT, f"{STATEMENT}/pdf"):
            answer = await browser.client.get(path, params={"month": "2026-11"})
            assert answer.status_code == 404
            assert "were moved to an archive, which goes up to entry 12 of 2026-12-01T00:00:00Z" in answer.text
            assert "stctrl statement --month MONTH --archive FILE" in answer.text

    visit(body)


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        (HISTORY, {"friend": "bob!"}, "[Nn]o friend has the key"),
        (HISTORY, {"currency": "x" * 17}, "16 bytes|too long|at most"),
        (HISTORY, {"since": "yesterday"}, "no day; write 2026-11-30"),
        (HISTORY, {"until": "9999-12-31"}, "no day; write 2026-11-30"),
        (HISTORY, {"since": "1969-12-31"}, "before 1970"),
        (HISTORY, {"since": "2026-11-02", "until": "2026-11-01"}, "before the first one"),
        (HISTORY, {"before": "-1"}, "no address of a page"),
        (HISTORY, {"before": "9" * 20}, "no address of a page"),
        (STATEMENT, {"month": "november"}, "no month; write 2026-11"),
        (STATEMENT, {"month": "0001-01"}, "before 1970"),
        (STATEMENT, {"month": "9999-12"}, "no month"),
        (STATEMENT, {"friend": "bob!"}, "[Nn]o friend has the key"),
        (f"{STATEMENT}/pdf", {"month": "november"}, "no month; write 2026-11"),
    ],
)
def test_what_can_not_be_shown(visit, story, path, query, says):
    """The page says what is wrong, and the form keeps what was entered."""

    async def body(server, browser):
        answer = await browser.client.get(path, params=query)
        assert answer.status_code == 400
        assert re.search(says, answer.text, re.IGNORECASE), answer.text

    visit(body)


def test_a_node_without_a_history(visit, fake):
    """Or an app that may not read it: the pages say so, and nothing leads to them."""
    fake.extensions = ALL_EXTENSIONS & ~Extension.HISTORY

    async def body(server, browser):
        for path in (HISTORY, STATEMENT, f"{STATEMENT}/pdf"):
            answer = await browser.client.get(path)
            assert (answer.status_code, "keeps no history" in answer.text) == (501, True)
        assert HISTORY not in await browser.open("/wallet/node")

    visit(body)


def test_an_app_that_may_not_read_the_history(visit, fake):
    """It says which permission is missing."""
    fake.permissions = AppPermissions(routes=True, buyer=True, seller=True, config=False)

    async def body(server, browser):
        for path in (HISTORY, STATEMENT):
            answer = await browser.client.get(path)
            assert (answer.status_code, "--phistory" in answer.text) == (403, True)

    visit(body)


def _facts(page):
    """The sums of each account, as they stand on the page."""
    found = re.findall(r"<dt>([^<]+)</dt><dd>(?:<strong>)?<span class=\"money\">([^<]+)", page)
    return [(name, value) for name, value in found]


def test_the_statement_of_a_month(visit, story):
    """As a person adds it up: each account opens with what it had, and closes with what came of that."""

    async def body(server, browser):
        page = await browser.open(f"{STATEMENT}?month=2026-11")
        assert "<h1>Statement of November 2026</h1>" in page
        eve, bob = page.split('<section class="card"')[1:]
        assert _facts(bob) == [
            ("At the beginning", "10"),
            ("Received", "5"),
            ("Paid", "7"),
            ("At the end", "8"),
            ("Of it, fees that you paid", "1"),
        ]
        assert _facts(eve)[3:] == [("At the end", "−5"), ("Of it, fees that you earned", "2")]
        assert _balances(bob) == ["15", "8"]
        one = await browser.open(f"{STATEMENT}?month=2026-12&friend={format_b64(server.fake.history[0].friend)}")
        so_far = "So far, 01 December, 00:00 UTC"
        assert _facts(one) == [("At the beginning", "8"), ("Received", "0"), ("Paid", "2"), (so_far, "6")]
        assert "month=2026-11&amp;friend=" in one

    visit(body)


def test_a_month_in_which_nothing_was(visit, story):
    """It says so; and what is to come is led to from no page."""

    async def body(server, browser):
        page = await browser.open(f"{STATEMENT}?month=2026-09")
        assert "No account has entries or a balance in this period: the history is there since 2026-10-31" in page
        assert "month=2026-08" in page
        ahead = await browser.client.get(STATEMENT, params={"month": "2300-01"})
        assert ahead.status_code == 400
        assert "2300-01-01 is still to come; so far there are the months 2026-10 to 2026-12" in ahead.text
        assert "The month after" not in ahead.text
        assert "The month after" in page
        assert "The month after" not in await browser.open(f"{STATEMENT}?month=2026-12")
        assert "The month before" not in await browser.open(f"{STATEMENT}?month=1970-01")

    visit(body)


def test_a_statement_on_paper(visit, story):
    """The file has the name of its month, and says what the page says."""

    async def body(server, browser):
        page = await browser.open(f"{STATEMENT}?month=2026-11")
        path = re.search(r'href="([^"]+)" download>Save as a PDF', page)[1]
        answer = await browser.client.get(path)
        assert answer.headers["content-type"] == "application/pdf"
        assert 'filename="statement-2026-11.pdf"' in answer.headers["content-disposition"]
        text = "".join(each.extract_text() for each in PdfReader(io.BytesIO(answer.content)).pages)
        for words in ("November 2026", "bob", "Rent & more", "Closing balance"):
            assert words in text

    visit(body)


def test_without_what_makes_a_pdf(visit, story, monkeypatch):
    """The page is there, and says how to get it; the address of the file says so, too."""
    monkeypatch.setitem(sys.modules, "fpdf", None)

    async def body(server, browser):
        page = await browser.open(f"{STATEMENT}?month=2026-11")
        assert "offset-ctrl[pdf]" in page
        assert "Save as a PDF" not in page
        answer = await browser.client.get(f"{STATEMENT}/pdf", params={"month": "2026-11"})
        assert (answer.status_code, "A PDF needs fpdf" in answer.text) == (501, True)

    visit(body)


def test_a_statement_has_a_limit(visit, web, fake, monkeypatch):
    """A friend can make entries; what a page holds has a bound."""
    monkeypatch.setattr("offset_ctrl.web.wallet.statements.ENTRIES_MAX", 5)
    fake.history = [_entry(web, number, NOVEMBER, 0, 0) for number in range(1, 7)]

    async def body(server, browser):
        answer = await browser.client.get(STATEMENT, params={"month": "2026-11"})
        assert (answer.status_code, "5 entries at most" in answer.text) == (400, True)

    visit(body)
