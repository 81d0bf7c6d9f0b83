"""A node and the archives that were made of it, read as the one history that they were."""

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl import archives
from offset_ctrl.programs.stctrl.history import history
from offset_ctrl.programs.stctrl.income import income
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.programs.stctrl.statement import statement
from offset_ctrl.sdk.history import (
    EntriesArchived,
    archived_through,
    collect_range,
    last_before,
    last_entries,
    read_range,
)
from offset_ctrl.sdk.whole_history import ArchivesDoNotFit, WholeHistory, join_history
from offset_ctrl.testing import ScriptedNode, build_friend, build_report
from offset_proto.errors import OffsetError
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import (
    EVERY_ENTRY,
    EntryKind,
    HistoryEnd,
    HistoryEntry,
    HistoryFilter,
    HistoryPage,
    ReadHistory,
)
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    CurrencyConfigReport,
    FriendLivenessReport,
)
from offset_proto.report_view import ReportView
from offset_proto.types import Currency, PrivateKey, PublicKey, Uid

NODE, OTHER = (Identity(PrivateKey(bytes([number]) * 32)) for number in (1, 9))
BOB, EVE = (PublicKey(bytes([number]) * 32) for number in (3, 4))
FST = Currency("FST")
NOVEMBER = 1_793_491_200
"""The second at which November 2026 began, in UTC."""

SEAM = 6


def _entry(number: int, friend: PublicKey, before: int, balance: int, **fields: Any) -> HistoryEntry:
    moved, nothing = abs(balance - before), (None, None, None, None, "", None)
    kind = EntryKind.RECEIVED if balance >= before else EntryKind.PAID
    plain = HistoryEntry(number, NOVEMBER + number, friend, FST, kind, before, balance, moved, 0, *nothing)
    return replace(plain, **fields)


STORY = [
    _entry(1, BOB, 0, 5, time=NOVEMBER - 9),
    _entry(2, EVE, 0, 7, time=NOVEMBER - 8),
    _entry(3, BOB, 5, 8),
    _entry(4, EVE, 7, 6, kind=EntryKind.FORWARDED, amount=1, fee=3, opt_party=BOB),
    _entry(5, BOB, 8, 9),
    _entry(6, BOB, 9, 2, amount=6, fee=1),
    _entry(7, EVE, 6, 9),
    _entry(8, BOB, 2, 3),
    _entry(9, EVE, 9, 5, kind=EntryKind.FORWARDED, amount=4, fee=2, opt_party=BOB),
    _entry(10, BOB, 3, 1),
]
OPENINGS = [
    _entry(5, BOB, 0, 2, kind=EntryKind.OPENING, amount=0, time=NOVEMBER + 6),
    _entry(6, EVE, 0, 6, kind=EntryKind.OPENING, amount=0),
]


class _Pages:
    """Pages of three entries at most, from a list."""

    def __init__(self, entries: list[HistoryEntry], archived: int = 0, key: PublicKey = NODE.public_key) -> None:
        self.node = _node(entries, archived, key)
        self.report = ReportView(self.node._report)

    async def read_history(self, request: ReadHistory) -> HistoryPage:
        return self.node._page(request)


def _node(entries: list[HistoryEntry], archived: int = 0, key: PublicKey = NODE.public_key) -> ScriptedNode:
    configs = (CurrencyConfigReport(FST, Rate(0, 0), 0, True),)
    settings = {"currency_configs": configs, "liveness": FriendLivenessReport.OFFLINE}
    friends = {friend: build_friend(name, **settings) for friend, name in ((BOB, "bob"), (EVE, "eve"))}
    fake = ScriptedNode(NODE, build_report(key, friends))
    fake.extensions = Extension.HISTORY
    fake.history, fake.archived = list(entries), archived
    return fake


def _node_pages() -> _Pages:
    return _Pages([*OPENINGS, *STORY[SEAM:]], SEAM)


def _archive_pages() -> _Pages:
    return _Pages(STORY[:SEAM])


# Pages.


@pytest.mark.parametrize("wanted", [EVERY_ENTRY, HistoryFilter(EVE, None, (), 0, 0)], ids=["all", "eve"])
def test_the_whole_is_what_was_there(wanted: HistoryFilter) -> None:
    """Page after page, in either direction, between any bounds; the opening entries are in none of them."""

    async def read(whole: WholeHistory, after: int, last: int, limit: int, newest_first: bool) -> list[HistoryEntry]:
        found, low, high = [], after, last + 1
        while low + 1 < high:
            asked = ReadHistory(Uid(bytes(16)), low, high, newest_first, limit, wanted)
            page = await whole.read_history(asked)
            assert (page.request_id, page.end, page.archived) == (asked.request_id, 10, 0)
            found += page.entries
            low, high = (low, page.through) if newest_first else (page.through, high)
        return found

    async def main() -> None:
        whole = await join_history(_node_pages(), _archive_pages())
        bounds = itertools.product(range(10), range(1, 11), (1, 2, 9), (False, True))
        for after, last, limit, newest_first in bounds:
            expected = [
                entry for entry in STORY if after < entry.number <= last and wanted.opt_friend in (None, entry.friend)
            ]
            found = await read(whole, after, last, limit, newest_first)
            assert found == (expected[::-1] if newest_first else expected), (after, last, limit, newest_first)

    asyncio.run(main())


def test_what_reads_a_history_reads_the_whole() -> None:
    """Moments are found on both sides of the seam; ranges and the last entries go over it."""

    async def main() -> None:
        whole, undivided = await join_history(_node_pages(), _archive_pages()), _Pages(STORY)
        for second in (-10, -9, 0, 4, 6, 7, 8, 11):
            moment = datetime.fromtimestamp(NOVEMBER + second, UTC)
            assert await last_before(whole, moment) == await last_before(undivided, moment)
        assert await last_before(whole, None) == 10
        assert await archived_through(whole) == 0
        assert await collect_range(whole, 2, 9, EVERY_ENTRY, 10) == STORY[2:9]
        for limit in (1, 4, 5, 9, 11):
            assert await last_entries(whole, EVERY_ENTRY, limit) == STORY[-limit:]

    asyncio.run(main())


def test_the_history_goes_on() -> None:
    """The end is that of the last page of the node."""

    async def main() -> None:
        node = _node_pages()
        whole = await join_history(node, _archive_pages())
        node.node.history.append(_entry(11, BOB, 1, 2))
        assert (await last_entries(whole, EVERY_ENTRY, 1))[0].number == 11
        assert await last_before(whole, None) == 11

    asyncio.run(main())


def test_a_node_after_which_nothing_came() -> None:
    """All that there is was moved."""

    async def main() -> None:
        whole = await join_history(_Pages(OPENINGS, SEAM), _archive_pages())
        assert await last_before(whole, None) == SEAM
        assert await last_entries(whole, EVERY_ENTRY, 9) == STORY[:SEAM]
        assert [entry async for entry in read_range(whole, 0, SEAM, EVERY_ENTRY)] == STORY[:SEAM]

    asyncio.run(main())


def test_what_is_moved_meanwhile_is_missed() -> None:
    """By who would read it, and by nobody else: what is in the archives stays there."""

    async def main() -> None:
        node = _node_pages()
        whole = await join_history(node, _archive_pages())
        node.node.history = [_entry(8, BOB, 0, 3, kind=EntryKind.OPENING), *STORY[8:]]
        node.node.archived = 8
        with pytest.raises(EntriesArchived, match="up to number 8"):
            _ = [entry async for entry in read_range(whole, 0, 10, EVERY_ENTRY)]
        assert [entry async for entry in read_range(whole, 0, SEAM, EVERY_ENTRY)] == STORY[:SEAM]
        assert [entry async for entry in read_range(whole, 8, 10, EVERY_ENTRY)] == STORY[8:]

    asyncio.run(main())


def test_the_first_archives_may_be_missing() -> None:
    """What was moved before them counts as archived, as it does where there is only the node."""

    async def main() -> None:
        second = _Pages([_entry(2, EVE, 0, 7, kind=EntryKind.OPENING), *STORY[2:SEAM]], 2)
        whole = await join_history(_node_pages(), second)
        assert await archived_through(whole) == 2
        assert [entry async for entry in read_range(whole, 2, 10, EVERY_ENTRY)] == STORY[2:]
        with pytest.raises(EntriesArchived, match="up to number 2"):
            _ = [entry async for entry in read_range(whole, 1, 10, EVERY_ENTRY)]

    asyncio.run(main())


# What does not fit.


@pytest.mark.parametrize(
    ("node", "archive", "words"),
    [
        (_Pages(STORY), _archive_pages(), "nothing of the history of this node was moved.*leave the archives out"),
        (_node_pages(), _Pages(STORY[:5]), "end with number 5, .*goes on after 6; give the archives between them"),
        (_node_pages(), _Pages(STORY[:7]), "end with number 7, .*no entry after 6; leave out the archives"),
        (
            _Pages([replace(OPENINGS[0], balance=3), *OPENINGS[1:]], SEAM),
            _archive_pages(),
            "a balance of 2 FST with AwMD.*goes on from 3; give those that were made of its present database",
        ),
        (_node_pages(), _Pages([replace(entry, friend=BOB) for entry in STORY[:SEAM]]), "a balance of 0 FST with BAQE"),
    ],
    ids=["nothing moved", "too short", "too long", "another balance", "no such account"],
)
def test_archives_that_are_not_those_of_the_node(node: _Pages, archive: _Pages, words: str) -> None:
    """Each error says what does not fit, and what to do."""
    with pytest.raises(ArchivesDoNotFit, match=words):
        asyncio.run(join_history(node, archive))


# The commands.

Archives = Callable[..., None]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Archives:
    """Has the commands find these pages in whatever files are named, or that they can not be read."""

    def set_pages(found: _Pages | OffsetError) -> None:
        @contextlib.asynccontextmanager
        async def open_archived(paths: tuple[Path, ...]) -> AsyncIterator[_Pages]:
            assert paths == FILES
            if isinstance(found, OffsetError):
                raise found
            yield found

        monkeypatch.setattr(archives, "open_archived", open_archived)

    return set_pages


FILES = (Path("one.archive"), Path("two.archive"))
ALL = {"since": None, "until": None, "currency": None, "archives": FILES}
ENTRIES = {**ALL, "friend": None, "kinds": (), "limit": 8, "follow": False, "as_json": True, "as_csv": False}
STATEMENT = {**ALL, "month": "2026-11", "friend": None, "output": None, "holder": "", "fonts": ()}


def test_a_month_that_is_half_in_an_archive(
    opened: Archives, run_session: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Comes out as if nothing had been moved."""
    opened(_archive_pages())
    node = _node([*OPENINGS, *STORY[SEAM:]], SEAM)
    run_session(node, lambda session: statement(session, **STATEMENT))
    shown = capsys.readouterr()
    run_session(_node(STORY), lambda session: statement(session, **{**STATEMENT, "archives": ()}))
    assert shown == capsys.readouterr()
    with pytest.raises(CommandError, match=r"EntriesArchived\(6\).*give the same command with --archive FILE"):
        run_session(node, lambda session: statement(session, **{**STATEMENT, "archives": ()}))


def test_entries_and_fees_of_both(
    opened: Archives, run_session: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """And nobody is told of an archive that is there."""
    opened(_archive_pages())
    node = _node([*OPENINGS, *STORY[SEAM:]], SEAM)
    run_session(node, lambda session: history(session, **ENTRIES))
    shown = capsys.readouterr()
    assert [entry["number"] for entry in json.loads(shown.out)] == list(range(3, 11))
    run_session(node, lambda session: income(session, by="month", as_json=True, **ALL))
    fees = capsys.readouterr()
    assert [list(row.values()) for row in json.loads(fees.out)] == [["2026-11", "FST", "5", "1"]]
    assert shown.err + fees.err == ""


def test_what_comes_is_followed(
    opened: Archives, run_session: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """After the last entries, which are in an archive in part."""
    opened(_archive_pages())
    node = _node([*OPENINGS, *STORY[SEAM:]], SEAM)

    async def body(session: NodeSession) -> None:
        following = asyncio.create_task(history(session, **{**ENTRIES, "limit": 5, "follow": True}))
        lines: list[str] = []
        while len(lines) < 6:
            await asyncio.sleep(0.01)
            lines += capsys.readouterr().out.splitlines()
            if len(lines) == 5 and len(node.history) == len(OPENINGS) + 4:
                node.history.append(_entry(11, BOB, 1, 2))
                node.tell(HistoryEnd(11, 0))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert [json.loads(line)["number"] for line in lines] == [6, 7, 8, 9, 10, 11]

    run_session(node, body)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            OffsetError("LoadDbError(one.archive: no such file)"),
            r"HistoryError\(LoadDbError\(one.archive: no such file",
        ),
        (_Pages(STORY[:SEAM], key=OTHER.public_key), r"ArchivesDoNotFit\): they are of the node .*give those of this"),
        (_Pages(STORY[:5]), r"HistoryError\(ArchivesDoNotFit\): the archives end with number 5"),
    ],
    ids=["no file", "another node", "too short"],
)
@pytest.mark.parametrize("command", ["history", "income", "statement"])
def test_what_can_not_be_joined_is_refused(
    opened: Archives, run_session: Callable[..., None], command: str, found: Any, words: str
) -> None:
    """By each command, before anything is shown."""
    opened(found)
    node = _node([*OPENINGS, *STORY[SEAM:]], SEAM)
    commands: dict[str, Callable[[NodeSession], Coroutine[Any, Any, None]]] = {
        "history": lambda session: history(session, **ENTRIES),
        "income": lambda session: income(session, by="month", as_json=False, **ALL),
        "statement": lambda session: statement(session, **STATEMENT),
    }
    with pytest.raises(CommandError, match=words):
        run_session(node, commands[command])


def test_without_the_package_that_reads_archives(
    monkeypatch: pytest.MonkeyPatch, run_session: Callable[..., None]
) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "offset_node.database.archive_series", None)
    with pytest.raises(CommandError, match=r"HistoryError\(.*is not installed: pip install offset-node"):
        run_session(_node_pages().node, lambda session: statement(session, **STATEMENT))
