"""The history as an app reads it: in order, each entry once, over whatever connections; the commands that show it."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import EntriesArchived, HistoryPlace, HistoryReplaced, NotAnnounced, NotPermitted, UnknownName, connect
from offset_ctrl.blocking import connect as connect_blocking
from offset_ctrl.connection.client import open_node
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl import history as commands
from offset_ctrl.programs.stctrl.income import income
from offset_ctrl.programs.stctrl.seller import create_invoice
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.sdk.history import last_entries
from offset_ctrl.sdk.node import Node
from offset_ctrl.testing import ScriptedNode, build_friend, build_report
from offset_proto.errors import InvalidInput
from offset_proto.files import INVOICE, Invoice
from offset_proto.messages.app import AddInvoice, AppPermissions
from offset_proto.messages.extensions import Extension
from offset_proto.messages.history import (
    EVERY_ENTRY,
    EntryKind,
    HistoryEnd,
    HistoryEntry,
    HistoryFilter,
    NoteEntry,
    NoteInvoice,
    NotePayment,
    ReadHistory,
)
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import (
    FriendLivenessReport,
)
from offset_proto.permissions import ExtendedPermissions
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, PublicKey

NODE = Identity(PrivateKey(b"\x01" * 32))
APP = Identity(PrivateKey(b"\x02" * 32))
BOB, EVE, SHOP = (PublicKey(bytes([number]) * 32) for number in (3, 4, 5))
FST = Currency("FST")
START = 1_793_491_200
"""The second at which November 2026 began, in UTC."""


def _entry(number: int, **fields: Any) -> HistoryEntry:
    """Bob owes one more with each; the fields that matter to a test can be set."""
    plain = HistoryEntry(
        number, START + number, BOB, FST, EntryKind.RECEIVED, number - 1, number, 1, 0, None, None, None, None, "", None
    )
    return replace(plain, **fields)


def _node(count: int = 0) -> ScriptedNode:
    bob = build_friend("bob", liveness=FriendLivenessReport.OFFLINE)
    fake = ScriptedNode(NODE, build_report(NODE.public_key, {BOB: bob}))
    fake.extensions = Extension.HISTORY
    fake.history = [_entry(number) for number in range(1, count + 1)]
    return fake


def _run(fake: ScriptedNode, body: Callable[[Node], Awaitable[None]]) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with asyncio.timeout(20), fake.serve(ticker) as ticket, connect(ticket, APP, ticker=ticker) as node:
            await body(node)

    asyncio.run(main())


# The verb.


@pytest.mark.parametrize("since", [0, 1, 4, 7, 8])
def test_from_any_number_on(since: int) -> None:
    """All that comes after it, over as many pages as it takes."""

    async def body(node: Node) -> None:
        assert [entry async for entry in node.history(since)] == [_entry(number) for number in range(since + 1, 9)]

    _run(_node(8), body)


def test_the_first_entry_waits_for_few_others() -> None:
    """The first page is a small one."""
    fake = _node(8)

    async def body(node: Node) -> None:
        assert [entry.number async for entry in node.history()] == list(range(1, 9))

    _run(fake, body)
    first, *others = [asked.limit for asked in fake.asked(ReadHistory)]
    assert len(others) == 2
    assert 10 * first <= min(others)


def test_each_entry_once_whatever_connections_are_lost() -> None:
    """Every second page is lost with its connection, before or after it was sent."""
    fake = _node(20)
    asked = 0

    def before(connection: Any, request: Any) -> bool:
        nonlocal asked
        asked += isinstance(request, ReadHistory)
        if isinstance(request, ReadHistory) and asked % 2:
            if asked % 4 == 1:
                fake.tell(fake._page(request))
            fake.drop()
            return False
        return True

    fake.before = before

    async def body(node: Node) -> None:
        assert [entry.number async for entry in node.history()] == list(range(1, 21))

    _run(fake, body)
    assert asked > 8


def test_what_is_followed_goes_on_for_ever() -> None:
    """With what was there, with what comes, and with what came while there was no connection."""
    fake = _node(4)

    async def body(node: Node) -> None:
        seen = []
        async for entry in node.history(2, follow=True):
            seen.append(entry.number)
            if entry.number in (4, 5, 7):
                fake.history += [_entry(entry.number + 1), _entry(entry.number + 2)][: 1 + (entry.number == 5)]
                if entry.number == 5:
                    fake.drop()
                else:
                    fake.tell(HistoryEnd(len(fake.history), 0))
            if entry.number == 8:
                break
        assert seen == [3, 4, 5, 6, 7, 8]

    _run(fake, body)


def test_a_history_that_has_become_another_one() -> None:
    """The node was restored while it was followed, or between two runs of an app that has written its place down."""
    fake = _node(4)

    async def follow(node: Node, seen: list[int]) -> None:
        async for entry in node.history(2, follow=True):
            seen.append(entry.number)
            if entry.number == 4:
                fake.timeline = 77
                fake.history = fake.history[:3]
                fake.drop()

    async def body(node: Node) -> None:
        place = await node.history_place()
        assert place == HistoryPlace(4)
        seen: list[int] = []
        with pytest.raises(HistoryReplaced, match="Read the history from 0 again"):
            await follow(node, seen)
        assert seen == [3, 4]
        fake.history.append(_entry(4))
        with pytest.raises(HistoryReplaced):
            _ = [entry async for entry in node.history(place)]
        assert [entry.number async for entry in node.history(HistoryPlace(2, 77))] == [3, 4]
        assert [entry.number async for entry in node.history(HistoryPlace(0))] == [1, 2, 3, 4]

    _run(fake, body)


@pytest.fixture
def archived() -> ScriptedNode:
    """A node with entries 1 to 8, of which 1 to 5 are in an archive, and an opening entry for Bob in place of 5."""
    fake = _node(8)
    fake.history = [_entry(5, kind=EntryKind.OPENING, before=0, amount=0), *fake.history[5:]]
    fake.archived = 5
    return fake


@pytest.mark.parametrize(("since", "numbers"), [(0, [5, 6, 7, 8]), (5, [6, 7, 8]), (7, [8])])
def test_an_archive_is_no_matter_to_who_has_seen_it_all(archived: ScriptedNode, since: int, numbers: list[int]) -> None:
    """Or nothing, and begins with the opening entries."""

    async def body(node: Node) -> None:
        assert [entry.number async for entry in node.history(since)] == numbers

    _run(archived, body)


def test_who_has_seen_a_part_of_what_was_archived_gets_an_error(archived: ScriptedNode) -> None:
    """Also where it follows, and the archive was made meanwhile: it would miss what is in there."""

    async def follow(node: Node, seen: list[int]) -> None:
        async for entry in node.history(follow=True):
            seen.append(entry.number)
            archived.archived = 7

    async def body(node: Node) -> None:
        for since in (1, 4):
            with pytest.raises(EntriesArchived, match="up to number 5"):
                _ = [entry async for entry in node.history(since)]
        archived.archived = 0
        archived.history = [_entry(number) for number in range(1, 9)]
        seen: list[int] = []
        with pytest.raises(EntriesArchived) as raised:
            await follow(node, seen)
        assert (seen, raised.value.through) == ([1, 2, 3], 7)

    _run(archived, body)


def test_where_the_opening_entries_take_several_pages_nobody_is_held_up() -> None:
    """Whoever began with the first of them goes on to the last."""
    fake = _node(8)
    fake.archived = 6

    async def body(node: Node) -> None:
        assert [entry.number async for entry in node.history()] == list(range(1, 9))

    _run(fake, body)


def test_scripts_iterate_plainly() -> None:
    """Each entry once, to the end or until the script has seen enough; and the node goes on answering."""
    fake = _node(8)

    async def main() -> None:
        ticker = Ticker(0.03)
        async with asyncio.timeout(20), fake.serve(ticker) as ticket:
            await asyncio.to_thread(work, ticket)

    def work(ticket: RelayAddress) -> None:
        with connect_blocking(ticket, APP) as node:
            assert list(node.history(2)) == [_entry(number) for number in range(3, 9)]
            followed = node.history(6, follow=True)
            assert [next(followed).number, next(followed).number] == [7, 8]
            followed.close()  # type: ignore[attr-defined]
            with pytest.raises(InvalidInput, match="ends at 8"):
                next(node.history(9))
            node.set_note(1, "as agreed")

    asyncio.run(main())
    assert fake.asked(NoteEntry) == [NoteEntry(1, "as agreed")]


def test_filters_are_the_nodes_matter() -> None:
    """They are sent as they are meant: friends by name or key, times in seconds."""
    fake = _node()
    moment = datetime(2026, 11, 1, tzinfo=UTC)

    async def body(node: Node) -> None:
        kinds = [EntryKind.PAID, EntryKind.RESET]
        wanted = {"currency": "FST", "kinds": kinds, "not_before": moment, "before": moment.replace(day=2)}
        assert [entry async for entry in node.history(friend="bob", **wanted)] == []
        assert [entry async for entry in node.history(friend=EVE)] == []
        with pytest.raises(UnknownName):
            _ = [entry async for entry in node.history(friend="eve")]

    _run(fake, body)
    first, second = fake.asked(ReadHistory)
    assert first.filter == HistoryFilter(BOB, FST, (EntryKind.PAID, EntryKind.RESET), START, START + 86400)
    assert second.filter == replace(EVERY_ENTRY, opt_friend=EVE)


def test_a_number_that_was_never_there() -> None:
    """The history of another database must not be taken for this one's."""

    async def body(node: Node) -> None:
        with pytest.raises(InvalidInput, match="ends at 3, before 4"):
            _ = [entry async for entry in node.history(4)]

    _run(_node(3), body)


def test_who_may_not_is_told() -> None:
    """A node that keeps no history is not asked for it, nor is one whose ticket does not allow it."""
    fake = _node()
    fake.extensions = Extension(0)

    async def body(node: Node) -> None:
        with pytest.raises(NotAnnounced, match="keeps no history"):
            _ = [entry async for entry in node.history()]
        with pytest.raises(NotAnnounced):
            _ = [entry async for entry in node.history(follow=True)]

    _run(fake, body)
    fake.extensions = Extension.HISTORY
    fake.permissions = AppPermissions(routes=True, buyer=True, seller=True, config=False)

    async def may_not(node: Node) -> None:
        with pytest.raises(NotPermitted):
            _ = [entry async for entry in node.history()]

    _run(fake, may_not)
    assert fake.requests == []


def test_a_permission_of_its_own() -> None:
    """It is for reading: to note something with an entry takes more, and so does all else."""
    fake = _node(2)
    fake.permissions = ExtendedPermissions(routes=False, buyer=False, seller=False, config=False, history=True)

    async def body(node: Node) -> None:
        assert node.permissions == fake.permissions
        assert [entry.number async for entry in node.history()] == [1, 2]
        with pytest.raises(NotPermitted, match="config"):
            await node.set_note(1, "as agreed")

    _run(fake, body)
    assert fake.asked(NoteEntry) == []


@pytest.mark.parametrize(("count", "limit", "numbers"), [(8, 5, [4, 5, 6, 7, 8]), (3, 5, [1, 2, 3]), (0, 5, [])])
def test_the_last_entries(count: int, limit: int, numbers: list[int], run_session: Callable[..., None]) -> None:
    """The oldest of them first."""

    async def body(session: NodeSession) -> None:
        assert [entry.number for entry in await last_entries(session, EVERY_ENTRY, limit)] == numbers

    run_session(_node(count), body)


# The commands.

STORY = [
    _entry(1, kind=EntryKind.OPENING, amount=0, before=0, balance=10),
    _entry(2, kind=EntryKind.PAID, amount=6, fee=1, before=10, balance=3, opt_party=SHOP),
    _entry(3, kind=EntryKind.FORWARDED, amount=5, fee=2, friend=EVE, before=0, balance=-5, opt_party=BOB),
    _entry(4, kind=EntryKind.FORWARDED, amount=5, before=3, balance=10, opt_party=EVE),
    _entry(5, kind=EntryKind.LIMIT, amount=99, before=10, balance=10, time=START - 1),
]


@pytest.fixture
def show(run_session: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What ``stctrl history`` prints of a story."""
    return lambda story, **options: _show(run_session, capsys, story, **options)


def _show(
    run_session: Callable[..., None], capsys: pytest.CaptureFixture[str], story: list[HistoryEntry], **options: Any
) -> str:
    fake = _node()
    fake.history = story
    given = {
        **dict.fromkeys(("since", "until", "friend", "currency")),
        "kinds": (),
        "limit": 50,
        "follow": False,
        "as_json": False,
        "as_csv": False,
        **options,
    }
    run_session(fake, lambda session: commands.history(session, **given))
    return capsys.readouterr().out


def test_the_history_as_a_table(show: Callable[..., str]) -> None:
    """One row for each entry, in words."""
    eve, shop = format_b64(EVE), format_b64(SHOP)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in show(STORY).splitlines()[1::2]]
    assert rows == [
        ["number", "time", "friend", "currency", "what", "change", "balance"],
        ["1", "2026-11-01T00:00:01Z", "bob", "FST", "balance brought forward", "+10", "10"],
        ["2", "2026-11-01T00:00:02Z", "bob", "FST", f"paid 6 to {shop}, 1 in fees", "-7", "3"],
        ["3", "2026-11-01T00:00:03Z", eve, "FST", "forwarded 5 from bob, earned 2", "-5", "-5"],
        ["4", "2026-11-01T00:00:04Z", "bob", "FST", f"forwarded 5 to {eve}", "+7", "10"],
        ["5", "2026-10-31T23:59:59Z", "bob", "FST", "may owe us 99", "", "10"],
    ]
    assert show([]) == "No entries.\n"


@pytest.mark.parametrize("kind", EntryKind)
def test_there_are_words_for_each_kind(kind: EntryKind, show: Callable[..., str]) -> None:
    """And what is not known is left out."""
    assert "None" not in show([_entry(1, kind=kind)])


@pytest.mark.parametrize(("limit", "is_said"), [(2, False), (3, False), (4, True), (9, True)])
def test_what_is_not_shown_since_it_is_archived_is_said(
    archived: ScriptedNode,
    limit: int,
    is_said: bool,
    run_session: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Beside the table, so that a script reads on; of fees, always."""
    given = dict.fromkeys(("since", "until", "friend", "currency"))
    options = {**given, "kinds": (), "limit": limit, "follow": False, "as_json": True, "as_csv": False}
    run_session(archived, lambda session: commands.history(session, **options))
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == min(limit, 4)
    assert ("The entries up to number 5 are in an archive" in shown.err) == is_said
    fees = {"by": "month", "since": None, "until": None, "currency": None, "as_json": True}
    run_session(archived, lambda session: income(session, **fees))
    assert "The entries up to number 5 are in an archive" in capsys.readouterr().err


def test_the_history_for_scripts(show: Callable[..., str]) -> None:
    """JSON and CSV say the same, and the names of columns do not change."""
    listed = json.loads(show(STORY, as_json=True))
    assert listed[1] == {
        "number": 2,
        "time": "2026-11-01T00:00:02Z",
        "friend": "bob",
        "currency": "FST",
        "kind": "paid",
        "change": "-7",
        "balance": "3",
        "amount": "6",
        "fee": "1",
        "party": format_b64(SHOP),
        "friend_key": format_b64(BOB),
        "party_key": format_b64(SHOP),
        "invoice_id": None,
        "payment_id": None,
        "request_id": None,
        "note": None,
        "app": None,
    }
    lines = show(STORY, as_csv=True).splitlines()
    assert lines[0].split(",") == list(listed[0])
    assert lines[2].split(",") == ["" if cell is None else str(cell) for cell in listed[1].values()]
    assert len(lines) == 1 + len(listed) == 6


def test_notes_are_shown(show: Callable[..., str]) -> None:
    """After what happened, and by themselves for scripts."""
    story = [replace(STORY[1], note="bread, two loaves")]
    assert f"paid 6 to {format_b64(SHOP)}, 1 in fees: bread, two loaves |" in show(story)
    assert json.loads(show(story, as_json=True))[0]["note"] == "bread, two loaves"
    assert show(story, as_csv=True).splitlines()[1].endswith(',"bread, two loaves",')


def test_the_command_that_notes(run_session: Callable[..., None]) -> None:
    """Of an entry that is there; what can not be a note is refused before anything is sent."""
    fake = _node(2)

    async def body(session: NodeSession) -> None:
        await commands.note(session, number=2, text="as agreed")
        with pytest.raises(CommandError, match=r"NoSuchEntry\(3\)"):
            await commands.note(session, number=3, text="as agreed")
        with pytest.raises(CommandError, match=r"InvalidNote.*letter 4 is '\\n'"):
            await commands.note(session, number=2, text="two\nlines")

    run_session(fake, body)
    assert fake.asked(NoteEntry) == [NoteEntry(2, "as agreed")]


def test_a_note_of_what_is_in_an_archive(run_session: Callable[..., None]) -> None:
    """Nothing is changed there any more, and that is the reason that is told."""
    fake = _node(4)
    fake.history, fake.archived = fake.history[2:], 3

    async def body(session: NodeSession) -> None:
        with pytest.raises(CommandError, match="entry 2 was moved to an archive, where nothing is changed any more"):
            await commands.note(session, number=2, text="as agreed")

    run_session(fake, body)
    assert fake.asked(NoteEntry) == []


def test_an_invoice_with_a_description(tmp_path: Path) -> None:
    """The node keeps it, and the file that goes to the buyer has nothing of it; where it can not, there is no file."""
    fake = _node()

    def make(name: str, description: str) -> None:
        async def main() -> None:
            ticker = Ticker(0.03)
            async with (
                asyncio.timeout(20),
                fake.serve(ticker) as ticket,
                open_node(ticket.address, ticket.public_key, APP, ticker) as node,
            ):
                await create_invoice(node, "FST", 5, tmp_path / name, description=description)

        asyncio.run(main())

    make("chair", "a chair of oak")
    invoice_id = INVOICE.load(tmp_path / "chair").invoice_id
    assert fake.requests == [AddInvoice(invoice_id, FST, 5), NoteInvoice(invoice_id, "a chair of oak")]
    assert "oak" not in (tmp_path / "chair").read_text()
    with pytest.raises(CommandError, match=r"SellerError\(InvalidNote"):
        make("table", "two\nlines")
    fake.extensions = Extension(0)
    with pytest.raises(CommandError, match=r"SellerError\(NotAnnounced"):
        make("table", "a table")
    assert [path.name for path in tmp_path.iterdir()] == ["chair"]


def test_notes_of_the_sdk() -> None:
    """Each with the permission that its subject needs, and to a node that keeps them."""
    fake = _node(1)
    invoice, payment = InvoiceId(b"\x08" * 32), PaymentId(b"\x09" * 16)

    async def body(node: Node) -> None:
        await node.set_note(Invoice(invoice, FST, BOB, 5), "a chair")
        await node.set_note(payment, "bread")
        await node.set_note(1, "")
        for subject, text in [(0, "x"), (-1, "x"), (1, "x" * 501)]:
            with pytest.raises(InvalidInput):
                await node.set_note(subject, text)

    _run(fake, body)
    assert fake.requests == [NoteInvoice(invoice, "a chair"), NotePayment(payment, "bread"), NoteEntry(1, "")]
    fake.permissions = AppPermissions(routes=False, buyer=True, seller=False, config=False)

    async def may_not(node: Node) -> None:
        await node.set_note(payment, "bread")
        for subject in (invoice, 1):
            with pytest.raises(NotPermitted):
                await node.set_note(subject, "x")

    _run(fake, may_not)
    fake.extensions = Extension(0)

    async def can_not(node: Node) -> None:
        with pytest.raises(NotAnnounced):
            await node.set_note(payment, "bread")

    _run(fake, can_not)


@pytest.mark.parametrize("options", [{}, {"as_json": True}, {"as_csv": True}])
def test_following_shows_each_entry_once(
    capsys: pytest.CaptureFixture[str], options: dict[str, bool], run_session: Callable[..., None]
) -> None:
    """The last ones first, then what comes, a line for each."""
    fake = _node(6)
    given: dict[str, Any] = {"as_json": False, "as_csv": False} | options
    given |= dict.fromkeys(("since", "until", "friend", "currency"))

    async def body(session: NodeSession) -> None:
        showing = asyncio.create_task(commands.history(session, kinds=(), limit=2, follow=True, **given))
        shown = ""
        while shown.count("\n") < 2 + given["as_csv"]:
            await asyncio.sleep(0.01)
            shown += capsys.readouterr().out
        fake.history.append(_entry(7))
        fake.tell(HistoryEnd(7, 0))
        while shown.count("\n") < 3 + given["as_csv"]:
            await asyncio.sleep(0.01)
            shown += capsys.readouterr().out
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        assert [f"T00:00:0{number}Z" in line for number, line in enumerate(shown.splitlines()[-3:], 5)] == [True] * 3

    run_session(fake, body)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"since": "yesterday"}, r"InvalidDate\(yesterday\)"),
        ({"until": "1960-01-01"}, "InvalidDate.*before 1970"),
        ({"kinds": ("paid", "gift")}, r"UnknownKind\(gift\).*opening, paid"),
        ({"friend": "eve"}, r"FriendNameNotFound\(eve\)"),
        ({"currency": "x" * 17}, "InvalidCurrencyName"),
        ({"as_json": True, "as_csv": True}, "JsonAndCsv"),
    ],
)
def test_what_can_not_be_meant_is_refused(options: dict[str, Any], words: str, show: Callable[..., str]) -> None:
    """With the word that is wrong."""
    with pytest.raises(CommandError, match=words):
        show(STORY, **options)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("month", [["2026-11", "FST", "2", "1"]]),
        ("friend", [["bob", "FST", "2", "1"]]),
    ],
)
def test_income(
    capsys: pytest.CaptureFixture[str], by: str, expected: list[list[str]], run_session: Callable[..., None]
) -> None:
    """What was forwarded is charged to the friend before us; our own fees went over the friend that we paid."""
    fake = _node()
    fake.history = STORY
    options: dict[str, Any] = dict.fromkeys(("since", "until", "currency"))
    run_session(fake, lambda session: income(session, by=by, as_json=False, **options))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[1::2]]
    assert rows == [[by, "currency", "earned", "paid"], *expected]
    run_session(fake, lambda session: income(session, by=by, as_json=True, **options))
    assert [list(row.values()) for row in json.loads(capsys.readouterr().out)] == expected


def _list(command: str, session: NodeSession, **given: str) -> Awaitable[None]:
    """One of the two commands that list what was."""
    options: dict[str, Any] = dict.fromkeys(("since", "until", "currency")) | {"as_json": False} | given
    if command == "history":
        options |= {"friend": None, "kinds": (), "limit": 5, "follow": False, "as_csv": False}
        return commands.history(session, **options)
    return income(session, by="month", **options)


@pytest.mark.parametrize("command", ["history", "income"])
def test_a_node_that_keeps_none(command: str, run_session: Callable[..., None]) -> None:
    """One line that says so."""
    fake = _node()
    fake.extensions = Extension(0)

    async def body(session: NodeSession) -> None:
        with pytest.raises(CommandError, match=r"^HistoryError\(NotAnnounced\): .*it keeps no history[^\n]*$"):
            await _list(command, session)

    run_session(fake, body)
    assert fake.requests == []


@pytest.mark.parametrize("until", ["2026-10-31", "2026-11-01", "2026-11-01T01:00:00+02:00"])
@pytest.mark.parametrize("command", ["history", "income"])
def test_a_period_without_any_time(command: str, until: str, run_session: Callable[..., None]) -> None:
    """It is an error, and not taken for one in which nothing was."""
    fake = _node()
    fake.history = STORY
    words = f"HistoryError(WhichPeriod): --until {until} is not after --since 2026-11-01"

    async def body(session: NodeSession) -> None:
        with pytest.raises(CommandError, match=f"^{re.escape(words)}, so there is nothing between them$"):
            await _list(command, session, since="2026-11-01", until=until)

    run_session(fake, body)
    assert fake.requests == []
