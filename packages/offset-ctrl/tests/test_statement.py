"""Statements of account: the sums, the period, and the forms that they are printed in."""

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymupdf_fonts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader

from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl import statement as command
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.rules.statement import Account, build_accounts
from offset_ctrl.sdk import statement_pdf
from offset_ctrl.sdk.history import collect_range, last_before, read_range
from offset_ctrl.sdk.statement import AccountSheet, SheetRow, StatementSheet, month_bounds
from offset_ctrl.sdk.statement_pdf import build_pdf
from offset_ctrl.testing import ScriptedNode, build_friend, build_report
from offset_proto.errors import InvalidInput
from offset_proto.files import OutputAlreadyExists
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import EVERY_ENTRY, EntryKind, HistoryEntry, ReadHistory
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    CurrencyConfigReport,
    FriendLivenessReport,
)
from offset_proto.text import format_b64
from offset_proto.types import Currency, PrivateKey, PublicKey

NODE = Identity(PrivateKey(b"\x01" * 32))
BOB, EVE, SHOP = (PublicKey(bytes([number]) * 32) for number in (3, 4, 5))
FST, EUR = Currency("FST"), Currency("EUR")
OCTOBER, NOVEMBER, DECEMBER = 1_790_812_800, 1_793_491_200, 1_796_083_200
"""The seconds at which these months of 2026 began, in UTC."""

I128_MAX = 2**127 - 1


def _entry(number: int, time: int, before: int, balance: int, **fields: Any) -> HistoryEntry:
    moved = abs(balance - before)
    nothing = None, None, None, None, "", None
    plain = HistoryEntry(number, time, BOB, FST, EntryKind.RECEIVED, before, balance, moved, 0, *nothing)
    return replace(plain, **fields)


# Bob: 10 at the end of October, +5 and -7 in November (1 of it a fee), -2 in December. Eve: only November, forwarded.
STORY = [
    _entry(1, OCTOBER, 0, 10, kind=EntryKind.OPENING),
    _entry(2, OCTOBER + 9, 0, 4, currency=EUR),
    _entry(3, NOVEMBER, 10, 15),
    _entry(4, NOVEMBER + 1, 15, 8, kind=EntryKind.PAID, amount=6, fee=1, opt_party=SHOP),
    _entry(5, NOVEMBER + 2, 0, -5, friend=EVE, kind=EntryKind.FORWARDED, amount=5, fee=2, opt_party=BOB),
    _entry(6, DECEMBER - 1, 8, 8, kind=EntryKind.LIMIT, amount=99),
    _entry(7, DECEMBER, 8, 6, kind=EntryKind.PAID, amount=2, opt_party=SHOP),
]


# The sums.


def test_the_sums_of_a_month() -> None:
    """As a person adds them up."""
    bob, eve = build_accounts(STORY[2:6], {})
    assert (bob.friend, bob.currency, bob.opening, bob.closing) == (BOB, FST, 10, 8)
    assert (bob.received, bob.paid, bob.fees_paid, bob.fees_earned) == (5, 7, 1, 0)
    assert [entry.number for entry in bob.entries] == [3, 4, 6]
    assert (eve.friend, eve.currency, eve.opening, eve.closing) == (EVE, FST, 0, -5)
    assert (eve.received, eve.paid, eve.fees_paid, eve.fees_earned) == (0, 5, 0, 2)


def test_an_account_without_entries_closes_as_it_opened() -> None:
    """With what the caller knows of it."""
    assert build_accounts([], {(BOB, FST): -3}) == [Account(BOB, FST, -3, ())]
    (quiet,) = build_accounts([], {(BOB, FST): -3})
    assert (quiet.closing, quiet.received, quiet.paid) == (-3, 0, 0)


@pytest.mark.parametrize(
    "entries",
    [
        [STORY[2], STORY[6]],  # what lies between changed the balance
        [STORY[2], STORY[2]],
        [STORY[3], STORY[2]],
        [STORY[3]],  # and the opening balance is said to be 10
    ],
)
def test_a_gap_does_not_stay_unseen(entries: list[HistoryEntry]) -> None:
    """Each entry goes on from the one before it."""
    with pytest.raises(InvalidInput, match=r"entry \d goes on from a balance of \d+ FST"):
        build_accounts(entries, {(BOB, FST): 10})


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BOB, EVE]),
            st.sampled_from([FST, EUR]),
            st.integers(-I128_MAX, I128_MAX),
        ),
        max_size=30,
    ),
    st.integers(-I128_MAX, I128_MAX),
)
def test_opening_and_changes_come_to_the_last_balance(moves: list[tuple[PublicKey, Currency, int]], start: int) -> None:
    """For each friend and currency: opening + received - paid = closing, which is the balance of the last entry."""
    balances = {(friend, currency): start for friend in (BOB, EVE) for currency in (FST, EUR)}
    entries = []
    for number, (friend, currency, balance) in enumerate(moves, 1):
        before = balances[friend, currency]
        entries.append(_entry(number, NOVEMBER, before, balance, friend=friend, currency=currency))
        balances[friend, currency] = balance
    accounts = build_accounts(entries, {(BOB, FST): start})
    assert sum(len(account.entries) for account in accounts) == len(entries)
    for account in accounts:
        assert account.opening == start
        assert account.opening + account.received - account.paid == account.closing
        assert account.closing == balances[account.friend, account.currency]
        assert min(account.received, account.paid) >= 0


@pytest.mark.parametrize(
    ("text", "first", "next_one"),
    [("2026-11", NOVEMBER, DECEMBER), ("2026-12", DECEMBER, 1_798_761_600), ("1970-01", 0, 2_678_400)],
)
def test_a_month(text: str, first: int, next_one: int) -> None:
    """From its first second to that of the next one."""
    assert [bound.timestamp() for bound in month_bounds(text)] == [first, next_one]


@pytest.mark.parametrize("text", ["november", "2026-13", "2026", "", "2026-11-30"])
def test_what_is_no_month(text: str) -> None:
    """It says how one is written."""
    with pytest.raises(InvalidInput, match="write 2026-11"):
        month_bounds(text)


# The period.


def _node(story: list[HistoryEntry]) -> ScriptedNode:
    currencies = tuple(CurrencyConfigReport(currency, Rate(0, 0), 0, True) for currency in (FST, EUR))
    bob = build_friend("bob", currency_configs=currencies, liveness=FriendLivenessReport.OFFLINE)
    fake = ScriptedNode(NODE, build_report(NODE.public_key, {BOB: bob}))
    fake.extensions = Extension.HISTORY
    fake.history = story
    return fake


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_the_last_entry_before_a_moment(run_session: Callable[..., None]) -> None:
    """Whatever the number of entries; and a moment belongs to what comes after it."""

    async def body(session: NodeSession) -> None:
        for count in range(10):
            fake.history = [_entry(number, 100 + number // 2, 0, 0) for number in range(1, count + 1)]
            for moment in range(99, 107):
                expected = sum(entry.time < moment for entry in fake.history)
                assert await last_before(session, _at(moment)) == expected
            assert await last_before(session, None) == count

    fake = _node([])
    run_session(fake, body)


def test_a_bound_stays_when_the_history_goes_on(run_session: Callable[..., None]) -> None:
    """Also where the clock was set back in between: the end of one month is the beginning of the next, always."""
    times = [10, 20, 30, 12, 13, 31, 40, 41, 42, 43, 44]

    async def body(session: NodeSession) -> None:
        places = set()
        for count in range(7, len(times) + 1):
            fake.history = [_entry(number, time, 0, 0) for number, time in enumerate(times[:count], 1)]
            places.add(await last_before(session, _at(25)))
        assert len(places) == 1

    fake = _node([])
    run_session(fake, body)


def test_entries_that_an_app_may_not_see_do_not_lead_astray(run_session: Callable[..., None]) -> None:
    """The next entry that it sees stands for them."""
    seen = [_entry(number, 100 + number, 0, 0) for number in (2, 3, 6, 7)]

    async def body(session: NodeSession) -> None:
        for moment in range(100, 110):
            place = await last_before(session, _at(moment))
            assert [e.number for e in seen if e.number <= place] == [e.number for e in seen if e.time < moment]
            shown = [entry.number async for entry in read_range(session, place, 7, EVERY_ENTRY)]
            assert shown == [e.number for e in seen if e.time >= moment]

    fake = _node(seen)
    run_session(fake, body)


@pytest.mark.parametrize(("after", "through"), [(0, 11), (0, 1), (3, 4), (4, 9), (5, 5), (6, 11)])
def test_a_range_is_read_from_two_places(run_session: Callable[..., None], after: int, through: int) -> None:
    """And is the same as from one: all of it, in order."""
    fake = _node([_entry(number, 100, 0, 0) for number in range(1, 12)])

    async def body(session: NodeSession) -> None:
        found = await collect_range(session, after, through, EVERY_ENTRY, 11)
        assert found == [entry async for entry in read_range(session, after, through, EVERY_ENTRY)]
        assert await collect_range(session, 0, 11, EVERY_ENTRY, 10) is None

    run_session(fake, body)


# The command.


@pytest.fixture
def show(run_session: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What ``stctrl statement`` prints of the story."""

    def run(**options: Any) -> str:
        given = {**dict.fromkeys(("month", "since", "until", "friend", "currency", "output")), **options}
        given = {"holder": "", "fonts": (), **given}
        fake = _node(given.pop("story", STORY))
        run_session(fake, lambda session: command.statement(session, **given))
        return "".join(capsys.readouterr())

    return run


def _cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_the_statement_of_a_month(show: Callable[..., str]) -> None:
    """Each account by itself; one of which there is no entry opens and closes with what it had."""
    eve, bob_eur, bob = show(month="2026-11").split("\n\n")
    title = ["time", "what", "received", "paid", "balance"]
    assert bob.startswith("bob, FST, 2026-11-01 to 2026-11-30 (UTC)\n")
    assert _cells(bob) == [
        title,
        ["", "opening balance", "", "", "10"],
        ["2026-11-01T00:00:00Z", "received 5", "5", "", "15"],
        ["2026-11-01T00:00:01Z", f"paid 6 to {format_b64(SHOP)}, 1 in fees", "", "7", "8"],
        ["2026-11-30T23:59:59Z", "may owe us 99", "", "", "8"],
        ["", "closing balance", "5", "7", "8"],
    ]
    assert bob.endswith("fees paid: 1, fees earned: 0\n")
    assert _cells(bob_eur) == [title, ["", "opening balance", "", "", "4"], ["", "closing balance", "0", "0", "4"]]
    assert _cells(eve)[-1] == ["", "closing balance", "0", "5", "-5"]
    assert eve.endswith("fees paid: 0, fees earned: 2")


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        ({"month": "2026-12"}, ["bob, EUR", "bob, FST"]),
        ({"month": "2026-11", "friend": "bob", "currency": "FST"}, ["bob, FST"]),
        ({"month": "2026-11", "friend": format_b64(EVE)}, [f"{format_b64(EVE)}, FST"]),
        ({"since": "2026-11-01", "until": "2026-11-02"}, [f"{format_b64(EVE)}, FST", "bob, EUR", "bob, FST"]),
        ({"since": "2026-12-01"}, ["bob, EUR", "bob, FST"]),
        ({"month": "2026-09"}, []),
    ],
)
def test_which_accounts(show: Callable[..., str], options: dict[str, str], heads: list[str]) -> None:
    """Those with an entry in the period, or a balance; of those, what the options choose."""
    shown = show(**options)
    assert [", ".join(part.split(", ")[:2]) for part in shown.split("\n\n") if "|" in part] == heads
    assert bool(heads) != ("No account has entries" in shown)


def test_months_follow_each_other(show: Callable[..., str]) -> None:
    """What one closes with, the next one opens with."""
    november, december = (_cells(show(month=f"2026-{month}", friend="bob", currency="FST")) for month in (11, 12))
    assert november[-1][-1] == december[1][-1] == "8"
    assert december[-1] == ["2026-12-01T00:00:00Z", "balance so far", "0", "2", "6"]


NOON = _at(DECEMBER + 43_200)


@pytest.mark.parametrize("period", [{"month": "2026-12"}, {"since": "2026-11-15"}])
def test_a_period_that_has_not_ended(show: Callable[..., str], tmp_path: Path, period: dict[str, str]) -> None:
    """The last balance is the one so far, with the time, in each form; of one that has ended, it is the closing one."""
    only_bob = {**period, "friend": "bob", "currency": "FST", "now": NOON}
    assert _cells(show(**only_bob))[-1][:2] == ["2026-12-01T12:00:00Z", "balance so far"]
    path = tmp_path / "running.json"
    show(**only_bob, output=path)
    assert json.loads(path.read_text())["so_far"] == "2026-12-01T12:00:00Z"
    path = tmp_path / "running.csv"
    show(**only_bob, output=path)
    assert list(csv.DictReader(io.StringIO(path.read_text())))[-1]["time"] == "2026-12-01T12:00:00Z"
    path = tmp_path / "running.pdf"
    show(**period, now=NOON, output=path)
    overview, *pages = _pages(path.read_bytes())
    assert "So far" in overview
    assert all("so far (2026-12-01 12:00 UTC)" in " ".join(page.split()) for page in (overview, *pages))
    assert all("Balance so far" in page for page in pages)
    assert not any("Closing" in page for page in (overview, *pages))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"month": "2027-01"}, r"NotBegun\(2027-01-01\)\): 2027-01-01 is still .* the months 2026-10 to 2026-12$"),
        ({"since": "2026-12-02"}, r"NotBegun\(2026-12-02\)\): 2026-12-02 is still to come"),
        ({"month": "2027-01", "story": STORY[-1:]}, "so far there is the month 2026-12, and no other$"),
        ({"month": "2027-01", "story": []}, "so far there is the month 2026-12, and no other$"),
    ],
)
def test_a_period_that_has_not_begun(show: Callable[..., str], options: dict[str, Any], words: str) -> None:
    """It is refused, with the months that there are."""
    with pytest.raises(CommandError, match=words):
        show(**options, now=NOON)


def test_the_clock_of_the_node_is_ahead(show: Callable[..., str]) -> None:
    """What it has entries of has begun."""
    long_ago = _at(OCTOBER)
    assert _cells(show(month="2026-12", friend="bob", currency="FST", now=long_ago))[-1][1] == "balance so far"
    assert _cells(show(month="2026-11", friend="bob", currency="FST", now=long_ago))[-1][1] == "closing balance"


@pytest.mark.parametrize(
    ("options", "which"),
    [
        ({"month": "2026-09"}, "all entries"),
        ({"month": "2026-10"}, "all entries"),
        ({"since": "2026-09-20"}, "the first entries"),
        ({"since": "2026-10-01", "until": "2026-11-02"}, "the first entries"),
    ],
)
def test_what_is_archived_is_no_statement(
    run_session: Callable[..., None], options: dict[str, str], which: str
) -> None:
    """Nor is a part of it, or nothing; it says which part of the history that is, and how to see the whole."""
    fake = _node(STORY[1:])
    fake.archived = 2
    given = {**dict.fromkeys(("month", "since", "until", "friend", "currency", "output")), **options}
    with pytest.raises(CommandError) as raised:
        run_session(fake, lambda session: command.statement(session, holder="", fonts=(), **given))
    assert str(raised.value) == (
        f"HistoryError(EntriesArchived(2)): {which} of this period were moved to an archive, which goes up to entry 2"
        " of 2026-10-01T00:00:09Z; to see the whole, give the same command with --archive FILE; without a node, stmgr"
        " archived-history, stmgr archived-statement and stmgr archived-income read it"
    )


@pytest.mark.parametrize("form", ["", ".json", ".csv", ".pdf"])
def test_before_the_history_begins(show: Callable[..., str], tmp_path: Path, form: str) -> None:
    """A period that ends before the first entry has nothing, and it is said since when there is something."""
    path = tmp_path / f"september{form}"
    since_when = "the history is there since 2026-10-01T00:00:00Z"
    shown = show(month="2026-09", output=path if form else None)
    assert since_when in shown
    if form == ".pdf":
        assert since_when in " ".join(_pages(path.read_bytes())[0].split())
    assert "there is no entry in this history yet" in show(month="2026-09", story=[])
    assert since_when not in show(month="2026-11", friend="bob", currency="GBP")


def test_a_statement_goes_on_from_an_archive(
    run_session: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The opening entries say what there was, and are none of the month themselves."""
    opening = {"kind": EntryKind.OPENING, "amount": 0}
    fake = _node([_entry(1, OCTOBER, 0, 10, **opening), _entry(2, OCTOBER, 0, 4, currency=EUR, **opening), *STORY[2:]])
    fake.archived = 2
    given = {**dict.fromkeys(("since", "until", "friend", "currency", "output")), "month": "2026-11"}
    run_session(fake, lambda session: command.statement(session, holder="", fonts=(), **given))
    _, euro, bob = capsys.readouterr().out.split("\n\n")
    assert (_cells(euro)[1][-1], _cells(bob)[1][-1], len(_cells(bob))) == ("4", "10", 6)


def test_csv_and_json(show: Callable[..., str], tmp_path: Path) -> None:
    """For programs; only the owner reads the file, and no file is overwritten."""
    path = tmp_path / "november.json"
    assert show(month="2026-11", output=path) == ""
    assert path.stat().st_mode & 0o777 == 0o600
    whole = json.loads(path.read_text())
    assert (whole["since"], whole["until"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    bob = whole["accounts"][2]
    assert {name: bob[name] for name in ("friend", "currency", "opening", "received", "paid", "closing")} == {
        "friend": "bob",
        "currency": "FST",
        "opening": "10",
        "received": "5",
        "paid": "7",
        "closing": "8",
    }
    assert [entry["change"] for entry in bob["entries"]] == ["5", "-7", "0"]
    with pytest.raises(OutputAlreadyExists):
        show(month="2026-11", output=path)
    path = tmp_path / "november.csv"
    show(month="2026-11", output=path, friend="bob", currency="FST")
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [(row["row"], row["received"], row["paid"], row["balance"], row["fee"]) for row in rows] == [
        ("opening", "", "", "10", ""),
        ("entry", "5", "", "15", "0"),
        ("entry", "", "7", "8", "1"),
        ("entry", "", "", "8", "0"),
        ("closing", "5", "7", "8", "1"),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "WhichPeriod.*--month 2026-11"),
        ({"month": "2026-11", "since": "2026-11-01"}, "WhichPeriod"),
        ({"month": "2026-11", "until": "2026-11-01"}, "WhichPeriod"),
        ({"until": "2026-11-01"}, "WhichPeriod"),
        ({"since": "2026-11-02", "until": "2026-11-02"}, "WhichPeriod.*not after"),
        ({"month": "11"}, "InvalidDate.*write 2026-11"),
        ({"since": "yesterday"}, r"InvalidDate\(yesterday\)"),
        ({"month": "2026-11", "friend": "carol"}, r"FriendNameNotFound\(carol\)"),
        ({"month": "2026-11", "output": Path("november.doc")}, r"UnknownForm\(.doc\)"),
        ({"month": "2026-11", "story": [STORY[0], STORY[2], replace(STORY[3], before=9)]}, "DamagedHistory"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    run_session: Callable[..., None], options: dict[str, Any], words: str
) -> None:
    """With the word that is wrong."""
    given = {**dict.fromkeys(("month", "since", "until", "friend", "currency", "output")), **options}
    fake = _node(given.pop("story", STORY))
    with pytest.raises(CommandError, match=words):
        run_session(fake, lambda session: command.statement(session, holder="", fonts=(), **given))


def test_a_statement_has_a_limit(show: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A friend can make entries; what is held in memory has a bound."""
    monkeypatch.setattr(command, "ENTRIES_MAX", 3)
    with pytest.raises(CommandError, match=r"TooMany.*3 entries at most"):
        show(month="2026-11")
    assert len(_cells(show(month="2026-11", friend="bob"))) == 3 + 6


def test_a_node_that_keeps_none(run_session: Callable[..., None]) -> None:
    """One line that says so."""
    fake = _node([])
    fake.extensions = Extension(0)
    given: dict[str, Any] = dict.fromkeys(("since", "until", "friend", "currency", "output"))
    with pytest.raises(CommandError, match=r"^HistoryError\(NotAnnounced\): .*it keeps no history[^\n]*$"):
        run_session(fake, lambda session: command.statement(session, month="2026-11", holder="", fonts=(), **given))
    assert fake.asked(ReadHistory) == []


# On paper.


def _pages(data: bytes) -> list[str]:
    """The text of each page, with plain spaces and minus signs, as someone copies it."""
    pages = (page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    return [page.replace("\u2009", "").replace("\u2212", "-") for page in pages]


def _account(count: int = 0, **fields: Any) -> AccountSheet:
    """Bob pays one a day; the fields that matter to a test can be set."""
    made = tuple(SheetRow("2026-11-01", f"payment {n} of many", 1, n) for n in range(1, count + 1))
    return replace(AccountSheet("bob", "KEY", "FST", 0, count, count, 0, 0, 0, made), **fields)


def _sheet(*accounts: AccountSheet, **fields: Any) -> StatementSheet:
    plain = StatementSheet("", "NODE", "2026-11-01 to 2026-11-30", datetime(2026, 12, 1, tzinfo=UTC), accounts)
    return replace(plain, **fields)


def test_a_pdf_says_what_the_text_says(show: Callable[..., str], tmp_path: Path) -> None:
    """With the holder's name, and the accounts together on a page of their own."""
    path = tmp_path / "november.pdf"
    show(month="2026-11", output=path, holder="Café Möwe, Łódź")
    overview, *pages = _pages(path.read_bytes())
    assert "Statement of accounts" in overview
    assert "Page 1 of 4" in overview
    assert len(pages) == 3
    assert all("Café Möwe, Łódź" in page and format_b64(NODE.public_key) in page for page in [overview, *pages])
    for words in ("bob", "FST", "2026-11-01 to 2026-11-30", "received 5", "may owe us 99", "Closing balance"):
        assert words in pages[2]
    assert "Opening balance10" in pages[2].replace(" ", "").replace("Openingbalance", "Opening balance").replace(
        "\n", ""
    )


def test_many_pages() -> None:
    """No row is lost or printed twice where a page ends, and each page has the titles and its number."""
    data, missing = build_pdf(_sheet(_account(150)))
    pages = _pages(data)
    assert missing == []
    assert len(pages) == 4
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of 4" in page
        assert page.count("Description") == 1
    whole = "\n".join(pages)
    assert [whole.count(f"payment {n} of many") for n in range(1, 151)] == [1] * 150


def test_the_longest_amounts_are_there_to_the_last_digit() -> None:
    """39 digits in each column, below zero, and sums of them."""
    row = SheetRow("2026-11-01", "all there is", -2 * I128_MAX, -I128_MAX)
    account = _account(
        opening=I128_MAX, closing=-I128_MAX, received=I128_MAX, paid=2 * I128_MAX, fees_paid=2**128 - 1, rows=(row,)
    )
    for page in _pages(build_pdf(_sheet(account, account))[0]):
        digits = "".join(page.split())
        assert str(I128_MAX) in digits
        assert str(-I128_MAX) in digits
        assert str(2 * I128_MAX) in digits


@pytest.mark.parametrize("name", ["Zażółć gęślą jaźń", "Αλέξανδρος", "Олександр", "მარიამ", "שלום", "محمد"])
def test_the_letters_of_names(name: str) -> None:
    """Latin, Greek, Cyrillic, Georgian, Hebrew and Arabic letters are printed, not replaced."""
    data, missing = build_pdf(_sheet(_account(1, friend=name), holder=name))
    assert missing == []
    assert "U+" not in _pages(data)[0]


def test_letters_that_no_font_has_are_shown_by_their_numbers(tmp_path: Path) -> None:
    """Two names stay two names; and a font that has them can be given."""
    account = _account(1, friend="\u2654 and \u4e2d")
    data, missing = build_pdf(_sheet(account))
    assert missing == ["\u2654", "\u4e2d"]
    assert "<U+2654> and <U+4E2D>" in _pages(data)[0]
    font = tmp_path / "symbols.ttf"
    font.write_bytes(pymupdf_fonts.myfont("symbol2"))
    data, missing = build_pdf(_sheet(account), [font])
    assert missing == ["\u4e2d"]
    assert "\u2654 and <U+4E2D>" in _pages(data)[0]


def test_long_names_are_wrapped_and_cut() -> None:
    """They go on in the next line, and end after 400 letters; nothing leaves the page."""
    data, _ = build_pdf(_sheet(_account(1, friend="W" * 1000, currency="W" * 16), holder="M" * 200))
    (page,) = _pages(data)
    assert page.count("W") == 400 + 16
    assert page.count("M") == 200 + 1  # "Made on"
    assert max(line.count("W") for line in page.splitlines()) < 60


def test_a_file_that_is_no_font(tmp_path: Path) -> None:
    """It is named."""
    path = tmp_path / "letter.ttf"
    with pytest.raises(InvalidInput, match=r"letter.ttf is no font"):
        build_pdf(_sheet(), [path])
    path.write_bytes(b"Dear Bob")
    with pytest.raises(InvalidInput, match=r"letter.ttf is no font"):
        build_pdf(_sheet(), [path])


def test_a_pdf_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what to do beyond it."""
    monkeypatch.setattr(statement_pdf, "ROWS_MAX", 5)
    build_pdf(_sheet(_account(5)))
    with pytest.raises(InvalidInput, match=r"6 entries are too many for a PDF.*CSV"):
        build_pdf(_sheet(_account(3), _account(3)))


def test_without_the_extra(show: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line says what to install; nothing is written."""
    monkeypatch.setitem(sys.modules, "fpdf", None)
    with pytest.raises(CommandError, match=r"PdfUnavailable\): a PDF needs fpdf: pip install 'offset-ctrl\[pdf\]'$"):
        show(month="2026-11", output=tmp_path / "november.pdf")
    assert list(tmp_path.iterdir()) == []
