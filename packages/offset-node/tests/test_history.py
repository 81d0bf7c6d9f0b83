"""The history of a node: stored with what it tells, read page by page, checked as a whole. Spec 12 §6."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from offset_funder.bookkeeping import Book, Entry, balances
from offset_funder.events import FriendMessageReceived
from offset_funder.state import FunderState, Inconsistent
from offset_funder.testing import FST, SimulatedNetwork
from offset_node.apps.outputs import CloseApp, ReadPage, SendToApp
from offset_node.apps.server import PAGES_MAX
from offset_node.database.checking import check_database
from offset_node.database.errors import LoadDbError
from offset_node.database.sqlite import Database, create_database, load_database
from offset_node.database.tables import history
from offset_node.plugins.scope import ReportScope
from offset_node.plugins.ticket import ALL_PERMISSIONS, NO_PERMISSIONS, is_permitted
from offset_node.plugins.values import Grant
from offset_node.state import WHOLE_HISTORY, AddEntry, NodeState, SetAsker, SetNote
from offset_proto.messages.app import (
    AddInvoice,
    AppPermissions,
    AppToAppServer,
    ReportMutations,
    SetFriendCurrencyMaxDebt,
)
from offset_proto.messages.friend import MoveToken, MoveTokenRequest
from offset_proto.messages.history import (
    EVERY_ENTRY,
    HISTORY_PAGE_ENTRIES_MAX,
    NOTE_LETTERS_MAX,
    EntryKind,
    FollowHistory,
    HistoryEnd,
    HistoryEntry,
    HistoryFilter,
    HistoryPage,
    NoteEntry,
    NoteInvoice,
    NotePayment,
    ReadHistory,
)
from offset_proto.permissions import ExtendedPermissions
from offset_proto.types import Currency, HashResult, InvoiceId, PaymentId, PublicKey, RandValue, Signature, Uid

EUR = Currency("EUR")
FRIENDS = [PublicKey(bytes([number]) * 32) for number in (1, 2, 3)]
UID = Uid(bytes(16))
NODE = NodeState(FunderState(PublicKey(b"\x09" * 32)))


def _ask(**wanted: Any) -> ReadHistory:
    """Everything from the start, but for what is said otherwise."""
    fields = {"after": 0, "before": 0, "newest_first": False, "limit": 1000, "filter": EVERY_ENTRY} | wanted
    return ReadHistory(UID, **fields)


def _filter(**wanted: Any) -> HistoryFilter:
    return replace(EVERY_ENTRY, **wanted)


def _run(path: Path, work: Callable[[Database], Any]) -> Any:
    """Do something with an open and loaded database."""

    async def run() -> Any:
        database = await Database.open(path)
        try:
            await database.load()
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _read(path: Path, *requests: ReadHistory) -> list[HistoryPage]:
    async def work(database: Database) -> list[HistoryPage]:
        return [await database.read_history(request) for request in requests]

    pages: list[HistoryPage] = _run(path, work)
    return pages


# The tables.


@pytest.fixture
def filled(tmp_path):
    """Ten rounds: each of three friends pays one FST, and one has a limit in EUR set; entry n is of second 1000 + n."""
    path = tmp_path / "node.db"
    create_database(path, NODE)
    made, book = [], dict.fromkeys(FRIENDS, 0)
    for _ in range(10):
        for friend in FRIENDS:
            made.append(Entry(friend, FST, EntryKind.RECEIVED, book[friend], book[friend] + 1, 1, request_id=UID))
            book[friend] += 1
        made.append(Entry(FRIENDS[0], EUR, EntryKind.LIMIT, 0, 0, 7))
    entries = [AddEntry(number, 1000 + number, entry) for number, entry in enumerate(made, 1)]
    _run(path, lambda database: database.apply(entries))
    return path, entries


def test_what_is_read_is_what_was_written(tmp_path):
    """Every field, at its bounds, and without."""
    path = tmp_path / "node.db"
    create_database(path, NODE)
    high = 2**127 - 1
    ids = PublicKey(b"\x07" * 32), InvoiceId(b"\x08" * 32), PaymentId(b"\x09" * 16), Uid(b"\x0a" * 16)
    full = Entry(FRIENDS[0], Currency("x" * 16), EntryKind.RESET, 0, high, 2**128 - 1, 2**128 - 1, *ids)
    back = replace(full, before=high, balance=-high)
    bare = [Entry(FRIENDS[1], FST, kind, 0, 0) for kind in EntryKind]
    sold = Entry(FRIENDS[1], FST, EntryKind.RECEIVED, -high, high, high, high)
    entries = [full, back, *bare, sold]
    _run(path, lambda database: database.apply([AddEntry(n, 2**40 + n, entry) for n, entry in enumerate(entries, 1)]))
    (page,) = _read(path, _ask())
    assert (page.request_id, page.through, page.end) == (UID, len(entries), len(entries))
    assert [entry.number for entry in page.entries] == list(range(1, len(entries) + 1))
    assert page.entries[0] == HistoryEntry(
        1, 2**40 + 1, FRIENDS[0], Currency("x" * 16), EntryKind.RESET, 0, high, 2**128 - 1, 2**128 - 1, *ids, "", None
    )
    assert page.entries[1].change == -2 * high
    assert page.entries[-1].amount == page.entries[-1].fee == high
    assert page.entries[2:-1] == tuple(
        HistoryEntry(n, 2**40 + n, FRIENDS[1], FST, kind, 0, 0, 0, 0, None, None, None, None, "", None)
        for n, kind in enumerate(EntryKind, 3)
    )


@pytest.mark.parametrize(
    ("request_", "numbers", "through"),
    [
        (_ask(limit=3), [1, 2, 3], 3),
        (_ask(after=38), [39, 40], 40),
        (_ask(after=40), [], 40),
        (_ask(after=2**64 - 1), [], 40),
        (_ask(before=3), [1, 2], 40),
        (_ask(limit=2, newest_first=True), [40, 39], 39),
        (_ask(after=37, newest_first=True), [40, 39, 38], 38),
        (_ask(before=3, newest_first=True), [2, 1], 1),
        (_ask(filter=_filter(opt_friend=FRIENDS[1]), limit=3), [2, 6, 10], 10),
        (_ask(filter=_filter(opt_friend=FRIENDS[1]), limit=2, newest_first=True), [38, 34], 34),
        (_ask(filter=_filter(opt_friend=PublicKey(b"\x55" * 32))), [], 40),
        (_ask(filter=_filter(opt_currency=EUR), limit=2), [4, 8], 8),
        (_ask(filter=_filter(opt_currency=Currency("no"))), [], 40),
        (_ask(filter=_filter(kinds=(EntryKind.LIMIT, EntryKind.PAID)), after=34), [36, 40], 40),
        (_ask(filter=_filter(since=1039)), [39, 40], 40),
        (_ask(filter=_filter(since=1003, until=1005)), [3, 4], 40),
        (_ask(filter=_filter(since=2**64 - 1, until=2**64 - 1)), [], 40),
        (_ask(filter=HistoryFilter(FRIENDS[0], EUR, (EntryKind.LIMIT,), 1030, 1040)), [32, 36], 40),
        (_ask(limit=0), [1], 1),  # a page that says nothing would be asked for for ever
    ],
)
def test_a_page_has_what_was_asked_for(filled, request_, numbers, through):
    """Bounds, order and filters, alone and together; and how far the page leaves nothing out."""
    (page,) = _read(filled[0], request_)
    assert [entry.number for entry in page.entries] == numbers
    assert (page.through, page.end) == (through, 40)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_page_looks_at_so_many_entries_and_no_more(filled, monkeypatch, newest_first):
    """Pages may be empty on the way; nothing is left out, and nothing comes twice."""
    monkeypatch.setattr(history, "LOOKED_AT_MAX", 7)
    wanted = _filter(kinds=(EntryKind.LIMIT,))
    found, pages, bound = [], 0, 0
    while True:
        bounds = {"before": bound} if newest_first else {"after": bound}
        (page,) = _read(filled[0], _ask(filter=wanted, newest_first=newest_first, **bounds))
        found += [entry.number for entry in page.entries]
        pages += 1
        bound = page.through
        if bound == (1 if newest_first else 40):
            break
    assert found == sorted(range(4, 41, 4), reverse=newest_first)
    assert pages == 6


def test_a_page_has_a_limit(tmp_path):
    """Whatever an app asks for."""
    path = tmp_path / "node.db"
    create_database(path, NODE)
    many = [AddEntry(n, 1, Entry(FRIENDS[0], FST, EntryKind.OPENED, 0, 0)) for n in range(1, 1200)]
    _run(path, lambda database: database.apply(many))
    (page,) = _read(path, _ask(limit=2**32 - 1))
    assert len(page.entries) == page.through == HISTORY_PAGE_ENTRIES_MAX


def test_an_entry_costs_at_most_300_bytes(tmp_path):
    """With everything that an entry can have, and amounts of 39 digits."""
    path = tmp_path / "node.db"
    create_database(path, NODE)
    high, count = 2**127 - 1, 5000
    ids = PublicKey(b"\x07" * 32), InvoiceId(b"\x08" * 32), PaymentId(b"\x09" * 16), Uid(b"\x0a" * 16)
    worst = Entry(FRIENDS[0], Currency("x" * 16), EntryKind.PAID, high, 1 - high, high, high - 1, *ids)
    before = _pages(path)
    _run(path, lambda database: database.apply([AddEntry(n, 2**33, worst) for n in range(1, count + 1)]))
    assert (_pages(path) - before) / count <= 300


def _pages(path: Path) -> int:
    """Bytes of the pages of a database."""
    with closing(sqlite3.connect(path)) as connection:
        ((count,),), ((size,),) = (connection.execute(f"PRAGMA {name}") for name in ("page_count", "page_size"))
        return int(count) * int(size)


# A book that begins with balances.


def _broken_token(network: SimulatedNetwork, friend: str) -> FriendMessageReceived:
    zero = Signature(bytes(64))
    token = MoveToken(zero, (), None, None, HashResult(bytes(32)), RandValue(bytes(16)), zero)
    return FriendMessageReceived(network.nodes[friend].key, MoveTokenRequest(token, False))


@pytest.fixture
def node_with_balances():
    """B owes A 5 FST and A owes C 3; the channel with C is broken, with 2 more that A had frozen; EUR is at nothing."""
    network = SimulatedNetwork("ABC", Random(3))
    for friend in "BC":
        network.befriend("A", friend)
        network.befriend("A", friend, currency=EUR)
    network.pay(["B", "A"], 5)
    network.pay(["A", "C"], 3)
    network.transact(["C", "A"], network.payment("C", "A", network.invoice("A", 2), 2), 2)
    network.settle()
    network.handle("A", _broken_token(network, "C"))
    state = NodeState(network.nodes["A"].stored)
    keys = [network.nodes[name].key for name in "BC"]
    assert isinstance(state.funder.friends[keys[1]].channel, Inconsistent)
    return state, [(key, FST, balance) for key, balance in sorted(zip(keys, (5, -1), strict=True))]


def test_a_new_database_begins_with_the_balances(node_with_balances, tmp_path):
    """As after an import: one opening entry for each balance, and none for nothing."""
    state, expected = node_with_balances
    path = tmp_path / "node.db"
    create_database(path, state)
    assert check_database(path) == (state, 2)
    (page,) = _read(path, _ask())
    assert [(entry.friend, entry.currency, entry.balance) for entry in page.entries] == expected
    assert all((entry.kind, entry.before) == (EntryKind.OPENING, 0) for entry in page.entries)
    assert all(entry.time > 1_700_000_000 for entry in page.entries)


def test_an_older_database_is_brought_up_with_its_balances(node_with_balances, tmp_path):
    """The migration, which is SQL, finds the same as the program does."""
    state, _ = node_with_balances
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    for path in (old, new):
        create_database(path, state)
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.executescript(
            "DROP TABLE askers; DROP TABLE entry_askers; DROP TABLE apps; DROP TABLE notes; DROP TABLE entry_notes;"
            "DROP TABLE unheard; DROP TABLE forgotten;"
            "DROP TABLE history_archives; DROP TABLE history_timeline;"
            "DROP TABLE history; DROP TABLE history_friends; DROP TABLE history_currencies; PRAGMA user_version = 3;"
        )
    assert check_database(old) == (state, 2)
    ((brought,), (made,)) = _read(old, _ask()), _read(new, _ask())
    assert [replace(entry, time=0) for entry in brought.entries] == [replace(entry, time=0) for entry in made.entries]
    assert all(entry.time > 1_700_000_000 for entry in brought.entries)


# The check.


@pytest.fixture
def lived_in(tmp_path):
    """The database of B after three payments of 10, 1 and 1 from A to C, with all entries of B; 1 of each for B."""
    network = SimulatedNetwork("ABC", Random(4))
    network.befriend("A", "B")
    network.befriend("B", "C")
    for amount in (10, 1, 1):
        network.pay(["A", "B", "C"], amount)
    path, node = tmp_path / "node.db", network.nodes["B"]
    create_database(path, NodeState(node.stored))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM history")
    _run(path, lambda database: database.apply([AddEntry(n, 1, entry) for n, entry in enumerate(node.entries, 1)]))
    assert len(node.entries) == 10  # four of settings, then two of each payment, C first
    return path


def test_a_history_that_fits_is_said_to(lived_in):
    """With the number of its entries."""
    state, entries = check_database(lived_in)
    assert (state, entries) == (load_database(lived_in), 10)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM history WHERE number = 7", "entry 8: comes after entry 6"),
        ("DELETE FROM history WHERE number = 1", "entry 2: comes after entry 0"),
        ("DELETE FROM history WHERE number > 8", "after entry 8: the entries come to -?11 FST .* the balance is -?12"),
        ("DELETE FROM history", "after entry 0: the entries come to 0 FST .* the balance is -?12"),
        ("UPDATE history SET balance = '77' WHERE number = 5", "entry 7: goes on from a balance of -10 FST .* was 77"),
        ("UPDATE history SET before = '7' WHERE number = 5", "entry 5: goes on from a balance of 7 FST .* was 0"),
        ("UPDATE history SET friend = 3 - friend WHERE number = 9", "entry 9: goes on from a balance of -11 FST"),
        ("UPDATE history SET balance = 'much' WHERE number = 3", "entry 3: "),
        ("UPDATE history SET balance = '11' WHERE number = 10", "after entry 10: the entries come to 11 FST"),
        (
            "UPDATE ledgers SET balance = '13' WHERE balance = '12'",
            "after entry 10: the entries come to 12 FST .* is 13",
        ),
        ("UPDATE history_friends SET public_key = x'00' WHERE id = 1", "entry 1: "),
    ],
)
def test_what_does_not_fit_is_named(lived_in, damage, words):
    """The first entry, or the balance that the entries do not come to."""
    with closing(sqlite3.connect(lived_in)) as connection, connection:
        connection.execute(damage)
    with pytest.raises(LoadDbError, match=f"history: {words}"):
        check_database(lived_in)


def test_damage_is_found_by_who_reads_it(lived_in):
    """It is an error that names the entry; the others can be read."""
    with closing(sqlite3.connect(lived_in)) as connection, connection:
        connection.execute("UPDATE history SET kind = 99 WHERE number = 4")
    with pytest.raises(LoadDbError, match="entry 4: 99 is no kind"):
        _read(lived_in, _ask())
    (page,) = _read(lived_in, _ask(after=4))
    assert len(page.entries) == 6


def test_a_read_and_a_batch_do_not_wait_for_each_other(filled):
    """A transaction that is being written is not seen, and does not hold up the page; nor the page the batch."""
    path, _ = filled

    async def work(database: Database) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("DELETE FROM history WHERE number > 35")
            page = await asyncio.wait_for(database.read_history(_ask()), 10)
            assert (page.end, len(page.entries)) == (40, 40)
            writer.execute("ROLLBACK")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM history").fetchone() == (40,)
            entry = Entry(FRIENDS[0], FST, EntryKind.OPENED, 10, 10)
            await asyncio.wait_for(database.apply([AddEntry(41, 1, entry)]), 10)
            assert reader.execute("SELECT count(*) FROM history").fetchone() == (40,)
        assert (await database.read_history(_ask())).end == 41

    _run(path, work)


def test_a_read_that_is_cancelled_leaves_nothing_behind(filled):
    """At any of its steps: the thread of the connection ends with the database, and the next read is answered."""
    path, _ = filled

    async def work(database: Database) -> None:
        for steps in range(12):
            reading = asyncio.create_task(database.read_history(_ask()))
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert (await database.read_history(_ask())).end == 40

    # One that a test before has left may end meanwhile: how many there are says nothing.
    before = set(threading.enumerate())
    _run(path, work)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)  # closing is told from within the thread, just before it ends
    assert set(threading.enumerate()) <= before


# The engine.


def test_entries_are_stored_with_what_they_tell_and_told_afterwards(new_pair):
    """Numbers go on from batch to batch; who follows is told how far it goes, and never before it is stored."""
    pair = new_pair()
    buyer, seller = pair.nodes
    for node in pair.nodes:
        node.ask(FollowHistory())
    pair.settle()
    already = [len(node.history) for node in pair.nodes]
    pair.pay()
    for node, told, before in zip(pair.nodes, pair.effects, already, strict=True):
        assert [entry.number for entry in node.history] == list(range(1, len(node.history) + 1))
        ends = [effect.message.end for effect in told if isinstance(getattr(effect, "message", None), HistoryEnd)]
        assert ends == [before, len(node.history)]
        book = Book()
        for added in node.history:
            entry = added.entry
            book.add(added.number, entry.friend, entry.currency, entry.before, entry.balance)
        book.check(node.stored.funder)
    assert balances(buyer.stored.funder) == {(seller.key, FST): -30}
    assert (buyer.history[-1].entry.kind, seller.history[-1].entry.kind) == (EntryKind.PAID, EntryKind.RECEIVED)


def test_nothing_is_told_before_it_is_stored(new_node):
    """The end of the history is in the effects of its batch, and whoever asks meanwhile hears of the last one."""
    node = new_node(1)
    node.work()
    node.ask(FollowHistory())
    (told,) = [effect for effect in node.work() if isinstance(effect.message, HistoryEnd)]
    assert told.message.end == 0


def test_time_is_that_of_the_last_tick(new_pair):
    """The engine has no clock."""
    pair = new_pair()
    node, friend = pair.nodes
    node.engine.tick(1_800_000_000)
    node.ask(SetFriendCurrencyMaxDebt(friend.key, FST, 5))
    pair.settle()
    last = node.history[-1]
    assert (last.time, last.entry.kind, last.entry.amount) == (1_800_000_000, EntryKind.LIMIT, 5)


# Notes.

INVOICE, PAYMENT = InvoiceId(b"\x21" * 32), PaymentId(b"\x22" * 16)


def _notes(path: Path) -> list[str]:
    (page,) = _read(path, _ask())
    return [entry.note for entry in page.entries]


def test_notes_are_shown_with_the_entries_that_they_are_about(tmp_path):
    """Of an entry, before that of its payment or invoice; whichever was there first; and the last one counts."""
    path = tmp_path / "node.db"
    create_database(path, NODE)
    received = Entry(FRIENDS[0], FST, EntryKind.RECEIVED, 0, 5, 5, invoice_id=INVOICE)
    paid = Entry(FRIENDS[1], FST, EntryKind.PAID, 0, -5, 5, invoice_id=INVOICE, payment_id=PAYMENT)
    bare = Entry(FRIENDS[0], FST, EntryKind.LIMIT, 5, 5, 9)
    entries = [AddEntry(number, 1, entry) for number, entry in enumerate([received, paid, bare], 1)]
    _run(path, lambda database: database.apply([SetNote(PAYMENT, "bread"), *entries, SetNote(INVOICE, "a chair")]))
    assert _notes(path) == ["a chair", "bread", ""]
    _run(path, lambda database: database.apply([SetNote(3, "as agreed"), SetNote(2, "two loaves"), SetNote(4, "none")]))
    assert _notes(path) == ["a chair", "two loaves", "as agreed"]
    _run(path, lambda database: database.apply([SetNote(INVOICE, "a table"), SetNote(2, ""), SetNote(PAYMENT, "")]))
    assert _notes(path) == ["a table", "", "as agreed"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM entry_notes").fetchone() == (
            1,
        )  # of no entry that is not there


@pytest.mark.parametrize(
    ("request_", "mutation"),
    [
        (NoteInvoice(INVOICE, "a chair"), SetNote(INVOICE, "a chair")),
        (NotePayment(PAYMENT, "bread"), SetNote(PAYMENT, "bread")),
        (NoteEntry(7, "ж" * NOTE_LETTERS_MAX), SetNote(7, "ж" * NOTE_LETTERS_MAX)),
        (NoteEntry(7, ""), SetNote(7, "")),
    ],
)
def test_a_note_is_durable_before_it_is_acknowledged(new_node, request_, mutation):
    """It is stored like all else, and the app is told then."""
    engine = new_node(1).engine
    app, _ = engine.apps.open_app(ALL_PERMISSIONS)
    while engine.waiting:
        engine.stored(engine.next_batch())
    (wanted,) = engine.apps.receive(app, AppToAppServer(UID, request_), Grant())
    assert engine.follow([wanted]) == []
    batch = engine.next_batch()
    assert batch.mutations == (mutation,)
    assert SendToApp(app, ReportMutations(UID, ())) in engine.stored(batch)


@pytest.mark.parametrize("note", ["x" * (NOTE_LETTERS_MAX + 1), "two\nlines", "\x1b[2J", "\x00", "\u202e"])
def test_what_can_not_be_a_note_ends_the_connection(new_node, note):
    """Nothing else says to an app that its request was refused; and nothing is stored."""
    node = new_node(1)
    (closed,) = _ask_server(node, NotePayment(PAYMENT, note))
    assert isinstance(closed, CloseApp)
    assert "note" in closed.reason


def test_who_may_note_what():
    """A buyer to payments, a seller to invoices, and who may configure the node to entries."""
    requests = {
        "buyer": NotePayment(PAYMENT, ""),
        "seller": NoteInvoice(INVOICE, ""),
        "config": NoteEntry(1, ""),
        "routes": None,
    }
    for flag in requests:
        permissions = replace(NO_PERMISSIONS, **{flag: True})
        for needed, request in requests.items():
            if request is not None:
                assert is_permitted(permissions, request) == (needed == flag)


# Which app asked.

APPS = [PublicKey(bytes([number]) * 32) for number in (0x31, 0x32)]


def test_who_asked_is_read_with_the_entries(tmp_path):
    """Of payments and invoices the first one to ask; of settings the one of the entry; else nobody."""
    path = tmp_path / "node.db"
    create_database(path, NODE)
    received = Entry(FRIENDS[0], FST, EntryKind.RECEIVED, 0, 5, 5, invoice_id=INVOICE)
    circle = Entry(FRIENDS[1], FST, EntryKind.PAID, 0, -5, 5, invoice_id=INVOICE, payment_id=PAYMENT)
    limit = Entry(FRIENDS[0], FST, EntryKind.LIMIT, 5, 5, 9)
    passed = Entry(FRIENDS[0], FST, EntryKind.FORWARDED, 5, 6, 1, request_id=UID)
    one, other = APPS
    askers = [SetAsker(INVOICE, one), SetAsker(PAYMENT, other), SetAsker(INVOICE, other)]
    made = [(received, None), (circle, None), (limit, one), (limit, other), (limit, None), (passed, None)]
    entries = [AddEntry(number, 1, entry, app) for number, (entry, app) in enumerate(made, 1)]
    _run(path, lambda database: database.apply([*askers, *entries]))
    (page,) = _read(path, _ask())
    assert [entry.opt_app for entry in page.entries] == [one, other, one, other, None, None]


def test_an_app_is_known_by_what_it_asks_for(new_pair):
    """Settings name it in the entry; payments and invoices are remembered with it, and what was refused is not."""
    pair = new_pair()
    buyer, seller = pair.nodes
    for node, app in zip(pair.nodes, APPS, strict=True):
        node.app, _ = node.engine.apps.open_app(ALL_PERMISSIONS, key=app)
    pair.pay()
    assert buyer.askers == [SetAsker(PaymentId(b"\x01" * 16), APPS[0])]
    assert seller.askers == [SetAsker(InvoiceId(b"\x01" * 32), APPS[1])]
    assert (buyer.history[-1].app, seller.history[-1].app) == (None, None)
    seller.ask(AddInvoice(InvoiceId(b"\x02" * 32), FST, 5))
    seller.ask(AddInvoice(InvoiceId(b"\x02" * 32), FST, 5))
    seller.ask(SetFriendCurrencyMaxDebt(buyer.key, FST, 77))
    pair.settle()
    assert [asker.subject for asker in seller.askers] == [InvoiceId(bytes([number]) * 32) for number in (1, 2)]
    assert (seller.history[-1].entry.kind, seller.history[-1].app) == (EntryKind.LIMIT, APPS[1])


# Who may read what.


def _ask_server(node: Any, request: Any) -> list:
    return node.engine.apps.receive(node.app, AppToAppServer(UID, request), Grant())


def test_an_app_may_have_so_many_pages_read_at_once(new_node):
    """The next one ends its connection; one that has come makes room."""
    node = new_node(1)
    page = HistoryPage(UID, (), 0, 0, 0, True, 0)
    for _ in range(2 * PAGES_MAX):
        assert _ask_server(node, _ask()) == [ReadPage(node.app, _ask(), WHOLE_HISTORY)]
        assert node.engine.apps.page_read(node.app, page) == [SendToApp(node.app, page)]
    for _ in range(PAGES_MAX):
        assert _ask_server(node, _ask()) == [ReadPage(node.app, _ask(), WHOLE_HISTORY)]
    (closed,) = _ask_server(node, _ask())
    assert isinstance(closed, CloseApp)
    assert node.engine.apps.page_read(node.app, page) == []


@pytest.mark.parametrize("request_", [_ask(), FollowHistory()])
def test_who_may_configure_the_node_may_read_its_history(request_):
    """And who has a permission for just that, but nobody else: it says more than an app that pays has to know."""
    assert is_permitted(replace(NO_PERMISSIONS, config=True), request_)
    assert is_permitted(ExtendedPermissions(False, False, False, False, True), request_)
    assert not is_permitted(ExtendedPermissions(True, True, True, False, False), request_)
    assert not is_permitted(AppPermissions(routes=True, buyer=True, seller=True, config=False), request_)


@pytest.mark.parametrize("request_", [NoteEntry(1, ""), NoteInvoice(INVOICE, ""), NotePayment(PAYMENT, "")])
def test_who_may_read_may_not_write(request_):
    """The permission for the history is for looking at it."""
    assert not is_permitted(ExtendedPermissions(True, False, False, False, True), request_)


def test_an_app_of_limited_scope_reads_what_it_sees(new_node):
    """Entries of its friends and currencies; the other friend of what was forwarded only where it sees that, too."""
    node = new_node(1)
    seen, hidden, seller = FRIENDS
    app, _ = node.engine.apps.open_app(ALL_PERMISSIONS, ReportScope(frozenset({seen}), frozenset({FST})))
    node.app = app
    plain = HistoryEntry(1, 5, seen, FST, EntryKind.FORWARDED, 0, 3, 3, 0, hidden, None, None, None, "", None)
    paid = replace(plain, number=2, kind=EntryKind.PAID, opt_party=seller)
    entries = plain, paid, replace(plain, number=3, friend=hidden), replace(plain, number=4, currency=EUR)
    _ask_server(node, _ask())
    (sent,) = node.engine.apps.page_read(app, HistoryPage(UID, entries, 4, 4, 0, True, 0))
    assert sent.message == HistoryPage(UID, (replace(plain, opt_party=None), paid), 4, 4, 0, False, 0)
