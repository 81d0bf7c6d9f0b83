"""A commit that is handed to the node, and what became of it. The node is one that says what the test wants."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from offset_crypto.aio import Connection, Ticker
from offset_crypto.identity import Identity
from offset_ctrl import HistoryPlace, InvoiceEndUnknown, InvoiceNotOpen, Node, RequestRefused, connect
from offset_ctrl.rules.open_reports import InvoiceEnding
from offset_ctrl.testing import ScriptedNode, build_commit, build_report
from offset_proto.files import Invoice
from offset_proto.messages.app import AppPermissions, AppRequest, CancelInvoice, CommitInvoice
from offset_proto.messages.extensions import Extension, FollowInvoices, OpenInvoiceReport, OpenInvoices
from offset_proto.messages.history import EntryKind, FollowHistory, HistoryEntry, ReadHistory
from offset_proto.permissions import ExtendedPermissions
from offset_proto.types import Currency, InvoiceId, PrivateKey, PublicKey, Uid

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
FST, BOB = Currency("FST"), PublicKey(b"\x05" * 32)
BILL, OTHER = (Invoice(InvoiceId(bytes([n]) * 32), FST, NODE.public_key, 20) for n in (7, 8))
LATE = InvoiceId(b"\x0b" * 32)
COMMIT = build_commit(BILL, NODE)
TELLS = Extension.OPEN_PAYMENTS | Extension.HISTORY | Extension.COLLECTED
SELLS = AppPermissions(routes=False, buyer=False, seller=True, config=False)
READS = ExtendedPermissions(routes=False, buyer=False, seller=True, config=False, history=True)


def _node() -> ScriptedNode:
    """A node that tells everything, of which the bill is open until it has been handed the commit."""
    fake = ScriptedNode(NODE, build_report(NODE.public_key))
    fake.extensions, fake.permissions = TELLS, READS
    fake.invoices = lambda: (_open(OTHER),) if fake.asked(CommitInvoice) else (_open(BILL), _open(OTHER))
    return fake


def _open(invoice: Invoice) -> OpenInvoiceReport:
    return OpenInvoiceReport(invoice.invoice_id, FST, 20, 20, 1, 1000, None)


def _received(number: int, invoice: Invoice) -> HistoryEntry:
    """A part of an invoice was collected. The clock of the node is far behind, so that its times say nothing."""
    ids = (invoice.invoice_id, None, Uid(bytes(16)))
    kind = EntryKind.RECEIVED
    return HistoryEntry(number, 1000, BOB, FST, kind, 20 * number, 20 * number + 20, 20, 0, None, *ids, "", None)


async def _ending(node: Node, place: HistoryPlace) -> InvoiceEnding:
    """What the node tells of the bill, which was open at *place*."""
    return (await node.invoice_endings({BILL.invoice_id: place}))[BILL.invoice_id]


def _broke(number: int, kind: EntryKind = EntryKind.BROKEN) -> HistoryEntry:
    return HistoryEntry(number, 1000, BOB, FST, kind, 20, 40, 0, 0, None, None, None, None, "", None)


def _run(fake: ScriptedNode, body: Callable[[Node], Awaitable[object]]) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with asyncio.timeout(20), fake.serve(ticker) as ticket, connect(ticket, APP, ticker=ticker) as node:
            await body(node)

    asyncio.run(main())


def _is_lost_once(fake: ScriptedNode, happens: Sequence[HistoryEntry] = ()) -> None:
    """The connection ends when the commit has come, and nothing was said of it; *happens* is what it brings about."""

    def before(connection: Connection, asked: AppRequest) -> bool:
        if isinstance(asked, CommitInvoice) and len(fake.asked(CommitInvoice)) == 1:
            fake.history += happens
            fake.drop()
            return False
        return True

    fake.before = before
    fake.collects = lambda commit: None  # the commit that comes again finds no invoice


def test_who_waits_for_a_payment_gets_its_commit() -> None:
    """The node has told that it collected; it is asked for nothing more."""
    fake = _node()

    async def body(node: Node) -> None:
        await node.accept_commit(BILL, COMMIT)
        assert await node.wait_for_payment(BILL, 5) == COMMIT

    _run(fake, body)
    assert [type(each) for each in fake.requests] == [FollowHistory, FollowInvoices, CommitInvoice]


def test_an_invoice_that_ends_just_before_its_commit_comes() -> None:
    """The node acknowledges the commit; the app hands nothing out."""
    fake = _node()
    fake.collects = lambda commit: False

    async def body(node: Node) -> None:
        with pytest.raises(InvoiceNotOpen, match="came to its end, before"):
            await node.accept_commit(BILL, COMMIT)
        with pytest.raises(TimeoutError):
            await node.wait_for_payment(BILL, 0.1)

    _run(fake, body)


def test_a_commit_that_the_node_does_not_take() -> None:
    """It is acknowledged, and the invoice stays open."""
    fake = _node()
    fake.invoices, fake.collects = lambda: (_open(BILL),), lambda commit: None

    async def body(node: Node) -> None:
        with pytest.raises(RequestRefused):
            await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


def test_a_payment_of_which_a_part_has_gone() -> None:
    """The node refuses the commit, which was genuine when the buyer got it; the seller is told what is missing."""
    fake = _node()
    left = replace(_open(BILL), arrived=15)
    fake.invoices, fake.collects = lambda: (left,), lambda commit: None

    async def body(node: Node) -> None:
        with pytest.raises(RequestRefused, match=r"only 15 of 20 are there any more.*send the rest again"):
            await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


@pytest.mark.parametrize("received", [[BILL], [OTHER, BILL, *[OTHER] * 9]])
def test_a_collect_that_only_the_history_tells(received: list[Invoice]) -> None:
    """The connection was lost, and the collect is in a token by now."""
    fake = _node()
    fake.history = [_received(number, OTHER) for number in range(1, 5)]
    _is_lost_once(fake, [_received(number, invoice) for number, invoice in enumerate(received, 5)])

    async def body(node: Node) -> None:
        await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


def test_a_collect_that_is_on_its_way() -> None:
    """The snapshot of the next connection names it."""
    fake = _node()
    _is_lost_once(fake)
    fake.collected = lambda: (BILL.invoice_id,) if fake.asked(CommitInvoice) else ()

    async def body(node: Node) -> None:
        await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


@pytest.mark.parametrize("happens", [[], [_received(2, OTHER)]])
def test_an_invoice_that_is_gone_after_the_connection_was_lost(happens: list[HistoryEntry]) -> None:
    """It is in no snapshot, and nothing of it has come since it was handed over; what happened before is nothing."""
    fake = _node()
    fake.history = [_broke(1)]
    _is_lost_once(fake, happens)

    async def body(node: Node) -> None:
        with pytest.raises(InvoiceNotOpen):
            await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


@pytest.mark.parametrize(("extensions", "may"), [(TELLS ^ Extension.HISTORY, READS), (TELLS, SELLS)])
def test_an_end_that_nobody_tells(extensions: Extension, may: AppPermissions) -> None:
    """There is no history, or the app may not read it: neither paid nor not paid, and that is what it is told."""
    fake = _node()
    _is_lost_once(fake)
    fake.extensions, fake.permissions = extensions, may

    async def body(node: Node) -> None:
        with pytest.raises(InvoiceEndUnknown, match="the balance with the friend tells"):
            await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


@pytest.mark.parametrize(
    "goes_wrong",
    [
        "a plugin hides entries",
        "entries were archived",
        "the channel broke",
        "the friend was removed",
        "another database",
    ],
)
def test_what_the_history_can_not_prove(goes_wrong: str) -> None:
    """The entry that is not there might be in what is not shown; or the friend took what was queued with it."""
    fake = _node()
    fake.history = [_received(number, OTHER) for number in range(1, 4)]
    happens = [_received(4, OTHER)]
    match goes_wrong:
        case "a plugin hides entries":
            fake.shows_whole_history = False
        case "the channel broke":
            happens = [_broke(4)]
        case "the friend was removed":
            happens = [_broke(4, EntryKind.FORGIVEN)]
    _is_lost_once(fake, happens)
    lose = fake.before

    def before(connection: Connection, asked: AppRequest) -> bool:
        if isinstance(asked, CommitInvoice):
            match goes_wrong:
                case "entries were archived":
                    fake.archived = 4
                case "another database":
                    fake.history = []
        return lose(connection, asked)

    fake.before = before

    async def body(node: Node) -> None:
        with pytest.raises(InvoiceEndUnknown):
            await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


def test_a_number_that_is_newer_than_what_is_known_of_the_invoices() -> None:
    """The app has lost a connection since it looked: it looks again, before it says which number it goes by."""
    fake = _node()
    told: list[HistoryPlace] = []

    async def body(node: Node) -> None:
        await node.open_invoices()
        fake.history = [_received(1, BILL)]  # another app
        fake.invoices = lambda: None if len(fake.asked(FollowInvoices)) == 2 else (_open(OTHER),)
        fake.drop()
        with pytest.raises(InvoiceNotOpen, match="collected already, or cancelled"):
            await node.accept_commit(BILL, COMMIT, told.append)

    _run(fake, body)
    assert not told
    assert not fake.asked(CommitInvoice)


def test_an_app_that_was_killed_asks_with_the_number_that_it_was_told() -> None:
    """Which it has written down before the node heard of the commit, or the node does not hear of it."""
    fake = _node()
    fake.history = [_broke(1)]
    told: list[HistoryPlace] = []

    def refuse(after: HistoryPlace) -> None:
        raise OSError("the disk is full")

    async def body(node: Node) -> None:
        with pytest.raises(OSError, match="full"):
            await node.accept_commit(BILL, COMMIT, refuse)
        assert not fake.asked(CommitInvoice)
        fake.collects = lambda commit: False
        with pytest.raises(InvoiceNotOpen):
            await node.accept_commit(BILL, COMMIT, told.append)
        assert told == [HistoryPlace(1)]
        assert await _ending(node, told[0]) is InvoiceEnding.NOT_COLLECTED
        assert await _ending(node, HistoryPlace(0)) is InvoiceEnding.UNKNOWN

    _run(fake, body)


def test_the_ends_of_several_invoices() -> None:
    """An app that was stopped asks for all that it does not know, at once."""
    fake = _node()
    gone, paid = InvoiceId(b"\x09" * 32), InvoiceId(b"\x0a" * 32)
    fake.invoices, fake.collected = lambda: (_open(OTHER),), lambda: (BILL.invoice_id,)
    fake.history = [_received(1, Invoice(paid, FST, NODE.public_key, 20))]

    asked = (BILL.invoice_id, OTHER.invoice_id, gone, paid)

    async def body(node: Node) -> None:
        assert await node.invoice_endings(dict.fromkeys(asked, HistoryPlace(0))) == {
            BILL.invoice_id: InvoiceEnding.COLLECTED,
            OTHER.invoice_id: InvoiceEnding.OPEN,
            gone: InvoiceEnding.NOT_COLLECTED,
            paid: InvoiceEnding.COLLECTED,
        }

    _run(fake, body)


def test_a_cancellation_that_comes_after_the_collect() -> None:
    """The app is told, and does not take it for cancelled."""
    fake = _node()

    def before(connection: Connection, asked: AppRequest) -> bool:
        if asked == CancelInvoice(BILL.invoice_id):  # another app was faster
            fake.tell(OpenInvoices(False, (), (BILL.invoice_id,), (BILL.invoice_id,)))
        return True

    fake.before = before

    async def body(node: Node) -> None:
        with pytest.raises(InvoiceNotOpen, match="collected already"):
            await node.cancel_invoice(BILL)
        await node.cancel_invoice(OTHER)

    _run(fake, body)


def test_a_cancellation_long_after_the_collect() -> None:
    """No snapshot names the invoice any more; the history does."""
    fake = _node()
    fake.invoices, fake.cancels = lambda: (_open(OTHER),), lambda invoice_id: False
    fake.history = [_received(1, BILL), *(_received(number, OTHER) for number in range(2, 9))]

    async def body(node: Node) -> None:
        with pytest.raises(InvoiceNotOpen, match="collected already"):
            await node.cancel_invoice(BILL)

    _run(fake, body)


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_cancellation_that_comes_too_late(is_whole: bool) -> None:
    """Whoever cancels is told whether the history proves that nothing was collected."""
    fake = _node()
    fake.invoices, fake.cancels = lambda: (_open(OTHER),), lambda invoice_id: False
    fake.shows_whole_history = is_whole

    async def body(node: Node) -> None:
        expected = InvoiceEnding.NOT_COLLECTED if is_whole else InvoiceEnding.UNKNOWN
        assert await node.cancel_invoice(BILL) is expected

    _run(fake, body)


def test_what_an_archive_may_hold_is_not_known() -> None:
    """An entry that was moved away may have been the one."""
    fake = _node()
    fake.invoices, fake.archived = lambda: (), 5
    fake.history = [_received(6, OTHER)]

    async def body(node: Node) -> None:
        endings = await node.invoice_endings(dict.fromkeys((BILL.invoice_id, OTHER.invoice_id), HistoryPlace(0)))
        assert endings == {BILL.invoice_id: InvoiceEnding.UNKNOWN, OTHER.invoice_id: InvoiceEnding.COLLECTED}

    _run(fake, body)


def test_the_number_of_another_invoice_proves_nothing() -> None:
    """The history ends before the number at which this one was open: it is that of another database."""
    fake = _node()
    fake.invoices = lambda: ()
    fake.history = [_received(number, Invoice(InvoiceId(b"\x09" * 32), FST, NODE.public_key, 20)) for number in (1, 2)]

    async def body(node: Node) -> None:
        endings = await node.invoice_endings({BILL.invoice_id: HistoryPlace(1), OTHER.invoice_id: HistoryPlace(9)})
        assert endings == {BILL.invoice_id: InvoiceEnding.NOT_COLLECTED, OTHER.invoice_id: InvoiceEnding.UNKNOWN}

    _run(fake, body)


def test_a_place_in_the_history_that_the_node_had_before_it_was_restored() -> None:
    """
    The restored node gives the numbers again: by them, nothing was collected after the place. It is all looked at, and
    only what is found there says anything; what is not found may be forgotten.
    """
    fake = _node()
    fake.invoices, fake.timeline = lambda: (), 77
    fake.history = [_received(1, OTHER), *(_received(number, Invoice(LATE, FST, BOB, 20)) for number in range(2, 9))]

    async def body(node: Node) -> None:
        before, now = HistoryPlace(5), HistoryPlace(5, 77)
        both = dict.fromkeys((BILL.invoice_id, OTHER.invoice_id), before)
        found = {BILL.invoice_id: InvoiceEnding.UNKNOWN, OTHER.invoice_id: InvoiceEnding.COLLECTED}
        assert await node.invoice_endings(both) == found
        assert await _ending(node, HistoryPlace(0)) is InvoiceEnding.UNKNOWN
        assert await _ending(node, now) is InvoiceEnding.NOT_COLLECTED

    _run(fake, body)


def test_an_invoice_that_is_open_again_since_the_node_was_restored() -> None:
    """
    It may have been collected in the time that is forgotten. Whoever cancels it is not told that it was not, and nobody
    is asked to pay again, unless it was made after the restore.
    """
    fake = _node()
    fake.timeline = 77
    fake.history = [_received(1, Invoice(LATE, FST, BOB, 20))]
    fake.invoices = lambda: (replace(_open(BILL), arrived=0), _open(OTHER))
    fake.collects = lambda commit: None

    async def body(node: Node) -> None:
        with pytest.raises(RequestRefused, match=r"has forgotten .* Nobody is to pay again before that is known"):
            await node.accept_commit(BILL, COMMIT)
        assert await node.cancel_invoice(BILL, HistoryPlace(1)) is InvoiceEnding.UNKNOWN
        assert await node.cancel_invoice(OTHER, HistoryPlace(1, 77)) is InvoiceEnding.NOT_COLLECTED

    _run(fake, body)


def test_invoices_of_two_timelines() -> None:
    """What is looked at from the beginning for one is not looked at from there for the other."""
    fake = _node()
    fake.invoices, fake.timeline = lambda: (), 77
    fake.history = [_received(number, Invoice(LATE, FST, BOB, 20)) for number in range(1, 10)]

    async def body(node: Node) -> None:
        places = {BILL.invoice_id: HistoryPlace(9), OTHER.invoice_id: HistoryPlace(8, 77)}
        endings = await node.invoice_endings(places, pages_max=1)
        assert endings == {BILL.invoice_id: InvoiceEnding.UNKNOWN, OTHER.invoice_id: InvoiceEnding.NOT_COLLECTED}

    _run(fake, body)


def test_a_node_that_is_restored_while_its_history_is_read() -> None:
    """Pages of two histories prove nothing together."""
    fake = _node()
    fake.invoices = lambda: ()
    fake.history = [_received(number, OTHER) for number in range(1, 9)]

    def before(connection: Connection, asked: AppRequest) -> bool:
        fake.timeline = 77 if len(fake.asked(ReadHistory)) > 1 else 0
        return True

    fake.before = before

    async def body(node: Node) -> None:
        assert await _ending(node, HistoryPlace(0)) is InvoiceEnding.UNKNOWN

    _run(fake, body)


@pytest.mark.parametrize(("pages", "expected"), [(2, "unknown"), (3, "not collected"), (None, "not collected")])
def test_no_more_pages_than_one_wants_to_read(pages: int | None, expected: str) -> None:
    """Three are enough for nine entries; what was not read proves nothing."""
    fake = _node()
    fake.invoices = lambda: ()
    fake.history = [_received(number, OTHER) for number in range(1, 10)]

    async def body(node: Node) -> None:
        endings = await node.invoice_endings({BILL.invoice_id: HistoryPlace(0)}, pages_max=pages)
        assert endings == {BILL.invoice_id: InvoiceEnding(expected)}

    _run(fake, body)
    assert len(fake.asked(ReadHistory)) == (pages or 3)


def test_a_cancellation_that_the_node_does_not_carry_out() -> None:
    """It acknowledges it all the same; the invoice may still be paid."""
    fake = _node()
    fake.cancels = lambda invoice_id: False

    async def body(node: Node) -> None:
        with pytest.raises(RequestRefused, match="still open"):
            await node.cancel_invoice(BILL)

    _run(fake, body)


def test_a_commit_that_an_older_node_does_not_take() -> None:
    """It does not tell how invoices end, but what is open: so the app looks once more."""
    fake = _node()
    fake.extensions, fake.invoices = Extension.OPEN_PAYMENTS, lambda: (replace(_open(BILL), arrived=15),)

    async def body(node: Node) -> None:
        with pytest.raises(RequestRefused, match="only 15 of 20"):
            await node.accept_commit(BILL, COMMIT)

    _run(fake, body)


def test_a_node_that_does_not_tell_how_invoices_end() -> None:
    """One of the original, or an older one of ours: its acknowledgement is all there is."""
    for extensions in (Extension(0), Extension.OPEN_PAYMENTS):
        fake = _node()
        fake.extensions = extensions
        _run(fake, lambda node: node.accept_commit(BILL, COMMIT))
        assert len(fake.asked(CommitInvoice)) == 1
