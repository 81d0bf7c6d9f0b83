"""Pages of the history for an app that sees a part of it: what it does not see leaves no trace in them."""

import asyncio
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random

import pytest

from offset_funder.bookkeeping import Entry
from offset_funder.state import FunderState
from offset_funder.testing import FST
from offset_node.database.reading import SqliteHistory
from offset_node.database.sqlite import Database, create_database
from offset_node.database.tables import history
from offset_node.plugins.scope import ReportScope
from offset_node.state import AddEntry, NodeState
from offset_proto.messages.history import EVERY_ENTRY, EntryKind, HistoryEntry, HistoryFilter, HistoryPage, ReadHistory
from offset_proto.types import Currency, PublicKey, Uid

EUR = Currency("EUR")
BOB, CAROL, STRANGER = (PublicKey(bytes([number]) * 32) for number in (1, 2, 3))
UID = Uid(bytes(16))
COUNT = 40
KINDS = (EntryKind.LIMIT, EntryKind.BROKEN)

SCOPES = [
    ReportScope(friends=frozenset({BOB})),
    ReportScope(currencies=frozenset({FST})),
    ReportScope(friends=frozenset({BOB}), currencies=frozenset({FST})),
    ReportScope(friends=frozenset()),
]


def _sees(scope: ReportScope, entry: Entry | HistoryEntry) -> bool:
    is_seen = scope.friends is None or entry.friend in scope.friends
    return is_seen and (scope.currencies is None or entry.currency in scope.currencies)


def _entry(random: Random, number: int) -> AddEntry:
    friend, currency, kind = random.choice([BOB, CAROL]), random.choice([FST, EUR]), random.choice(KINDS)
    return AddEntry(number, random.randrange(1000, 1100), Entry(friend, currency, kind, 0, 0))


def _hidden(random: Random, scope: ReportScope, number: int) -> AddEntry:
    while _sees(scope, (made := _entry(random, number)).entry):
        pass
    return made


def _store(path: Path, entries: list[AddEntry]) -> None:
    create_database(path, NodeState(FunderState(PublicKey(b"\x09" * 32))))

    async def run() -> None:
        database = await Database.open(path)
        await database.load()
        await database.apply(entries)
        await database.close()

    asyncio.run(run())


def _read(path: Path, scope: ReportScope, requests: list[ReadHistory]) -> list[HistoryPage]:
    async def run() -> list[HistoryPage]:
        reader = SqliteHistory(path)
        try:
            return [scope.filter_page(await reader.read(request, scope.history)) for request in requests]
        finally:
            await reader.close()

    return asyncio.run(run())


def _filters() -> list[HistoryFilter]:
    friends, currencies = (None, BOB, CAROL, STRANGER), (None, FST, EUR)
    wanted = product(friends, currencies, ((), (EntryKind.BROKEN,)), (0, 1050), (0, 1070))
    return [HistoryFilter(*each) for each in wanted]


def _requests(random: Random) -> list[ReadHistory]:
    bounds = product((0, 5, COUNT, 2**64 - 1), (0, 3, 30), (False, True), (1, 3, 1000))
    return [ReadHistory(UID, *bound, wanted) for bound in bounds for wanted in random.sample(_filters(), 4)]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("looked_at", [7, 20_000])
def test_two_histories_that_look_the_same_have_the_same_pages(tmp_path, monkeypatch, scope, looked_at):
    """Whatever an app asks for: friend, currency, kind and time of what it does not see change nothing."""
    monkeypatch.setattr(history, "LOOKED_AT_MAX", looked_at)
    random = Random(looked_at)
    one = [_entry(random, number) for number in range(1, COUNT + 1)]
    other = [each if _sees(scope, each.entry) else _hidden(random, scope, each.number) for each in one]
    assert one != other
    for name, entries in (("one", one), ("other", other)):
        _store(tmp_path / name, entries)
    requests = _requests(random)
    pages = [_read(tmp_path / name, scope, requests) for name in ("one", "other")]
    for request, first, second in zip(requests, *pages, strict=True):
        assert first == second, request


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("newest_first", [False, True])
def test_an_app_that_reads_on_gets_all_that_it_sees(tmp_path, monkeypatch, scope, newest_first):
    """Nothing is left out, and nothing comes twice; each page looks at few entries."""
    monkeypatch.setattr(history, "LOOKED_AT_MAX", 7)
    entries = [_entry(Random(number), number) for number in range(1, COUNT + 1)]
    path = tmp_path / "node.db"
    _store(path, entries)
    for kinds, limit in product(((), (EntryKind.BROKEN,)), (1, 1000)):
        wanted = replace(EVERY_ENTRY, kinds=kinds)
        found, bound = list[int](), 0
        while bound != (1 if newest_first else COUNT):
            bounds = (0, bound, True) if newest_first else (bound, 0, False)
            (page,) = _read(path, scope, [ReadHistory(UID, *bounds, limit, wanted)])
            found += [entry.number for entry in page.entries]
            assert not page.is_whole
            bound = page.through
        seen = [each.number for each in entries if _sees(scope, each.entry) and each.entry.kind in (kinds or KINDS)]
        assert found == (seen[::-1] if newest_first else seen)


def test_the_numbers_before_the_opening_entries_do_not_count():
    """Where the first million is in an archive, nobody reads empty pages for it."""
    upwards = ReadHistory(UID, 0, 0, False, 1000, EVERY_ENTRY)
    downwards = replace(upwards, newest_first=True)
    end, archived = 1_100_000, 1_000_000
    assert history.number_bound(upwards, end, archived) == archived + history.LOOKED_AT_MAX
    assert history.number_bound(replace(upwards, after=end - 5), end, archived) is None
    assert history.number_bound(downwards, end, archived) == end - history.LOOKED_AT_MAX + 1
    assert history.number_bound(replace(downwards, before=archived + 9), end, archived) is None
