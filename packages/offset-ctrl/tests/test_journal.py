"""The journal of an app's payments: what is written down when, and what an app that is back makes of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from offset_crypto.aio import Connection, Ticker
from offset_crypto.identity import Identity
from offset_ctrl import Node, Payment, PaymentFailed, PaymentState, PayOptions, connect
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.sdk.journal import Journal, JournalEntry
from offset_ctrl.testing import ScriptedNode, build_commit, build_receipt, build_report
from offset_proto.files import COMMIT, INVOICE, PAYMENT, RECEIPT, FileKind, Invoice, PaymentFile, StringSerdeError
from offset_proto.messages.app import (
    AckClosePayment,
    AppRequest,
    Canceled,
    Complete,
    CreatePayment,
    PaymentNotFound,
    PaymentStatusSuccess,
    RequestClosePayment,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Commit
from offset_proto.rate import FREE
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, Uid

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
INVOICE_OF_20 = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
COMMIT_OF_20, RECEIPT_OF_20 = build_commit(INVOICE_OF_20, SELLER), build_receipt(INVOICE_OF_20, SELLER)
QUICK = PayOptions(timeout=5.0, route_seconds=0.0)


def _node() -> ScriptedNode:
    """A friend of the seller, with which every payment succeeds."""
    node = ScriptedNode(NODE, build_report(NODE.public_key))
    route = RouteCapacityRate(FriendsRoute((NODE.public_key, SELLER.public_key)), 1000, FREE)
    node.routes = lambda asked: (MultiRoute((route,)),)
    node.results = lambda asked: Complete(COMMIT_OF_20)
    node.status = lambda asked: PaymentStatusSuccess(RECEIPT_OF_20, Uid(b"\x01" * 16))
    return node


def _run(fake: ScriptedNode, body: Callable[[Node], Awaitable[None]], *, journal: Path | None = None) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            connect(ticket, APP, journal=journal, ticker=ticker) as node,
        ):
            await body(node)

    asyncio.run(main())


def test_the_journal_of_a_payment(tmp_path):
    """The id before the payment, the commit before the seller has it, the receipt before the node forgets it."""
    fake, journal = _node(), tmp_path / "payments"
    seen = []

    def before(connection: Connection, asked: AppRequest) -> bool:
        seen.append((type(asked), sorted(path.suffix for path in journal.iterdir())))
        return True

    fake.before = before

    async def body(node: Node) -> None:
        async def deliver(commit: Commit) -> None:
            (path,) = journal.glob("*.commit")
            assert COMMIT.load(path) == commit

        await node.pay(INVOICE_OF_20, deliver, QUICK)

    _run(fake, body, journal=journal)
    at = dict(seen)
    assert at[CreatePayment] == [".invoice", ".payment"]
    assert at[AckClosePayment] == [".commit", ".invoice", ".payment", ".receipt"]
    assert sorted(path.suffix for path in journal.iterdir()) == [".invoice", ".receipt"]
    assert Journal(journal).receipts() == [(INVOICE_OF_20, RECEIPT_OF_20)]
    assert journal.stat().st_mode & 0o777 == 0o700


def _leave(journal: Path, commit: Commit | None) -> PaymentId:
    payment_id = PaymentId(b"\x0d" * 16)
    kept = Journal(journal)
    kept.begin(payment_id, INVOICE_OF_20)
    if commit is not None:
        kept.committed(payment_id, commit)
    return payment_id


@pytest.mark.parametrize("status", [Canceled(Uid(bytes(16))), PaymentNotFound()])
def test_a_payment_without_commit_is_closed_when_the_app_is_back(tmp_path, status):
    """Nothing was paid; nothing is left on disk."""
    fake, payment_id = _node(), _leave(tmp_path, None)
    fake.status = lambda asked: status

    async def body(node: Node) -> None:
        for payment in node.payments:
            assert payment.payment_id == payment_id
            with pytest.raises(PaymentFailed, match="the app ended"):
                await payment.receipt()

    _run(fake, body, journal=tmp_path)
    assert fake.asked(RequestClosePayment) == [RequestClosePayment(payment_id)]
    assert list(tmp_path.iterdir()) == []


def test_a_payment_with_commit_is_waited_for_when_the_app_is_back(tmp_path):
    """Its commit can be delivered again; the receipt is fetched and kept."""
    fake, payment_id = _node(), _leave(tmp_path, COMMIT_OF_20)

    async def body(node: Node) -> None:
        (payment,) = node.payments
        assert (payment.payment_id, payment.invoice) == (payment_id, INVOICE_OF_20)
        assert await payment.commit() == COMMIT_OF_20
        assert await payment.receipt() == RECEIPT_OF_20

    _run(fake, body, journal=tmp_path)
    assert Journal(tmp_path).receipts() == [(INVOICE_OF_20, RECEIPT_OF_20)]


def test_a_payment_that_is_resumed_writes_nothing_but_what_is_new(tmp_path, monkeypatch):
    """Its invoice, id and commit are on disk already; making the payment must not touch them."""
    _leave(tmp_path, COMMIT_OF_20)
    written, save = [], FileKind.save

    def watched(kind: FileKind[object], path: Path, value: object) -> None:
        written.append(path.suffix)
        save(kind, path, value)

    monkeypatch.setattr(FileKind, "save", watched)

    async def body(node: Node) -> None:
        assert written == []
        (payment,) = node.payments
        assert await payment.receipt() == RECEIPT_OF_20

    _run(_node(), body, journal=tmp_path)
    assert written == [".receipt"]


def test_making_a_payment_touches_no_file(tmp_path):
    """Neither a new one nor one of an earlier run: there is no journal that it could read or write."""
    entries = [JournalEntry(PaymentId(bytes(16)), INVOICE_OF_20, commit) for commit in (None, COMMIT_OF_20)]

    async def make() -> None:
        session = NodeSession("nowhere:1", NODE.public_key, APP, Ticker())
        journal = Journal(tmp_path / "payments")
        tmp_path.joinpath("payments").rmdir()
        states = [Payment.resume(session, journal, entry, QUICK).state for entry in entries]
        assert states == [PaymentState.CLOSING, PaymentState.COMMITTED]
        assert Payment(session, journal, INVOICE_OF_20, QUICK).state is PaymentState.SENDING

    asyncio.run(make())
    assert list(tmp_path.iterdir()) == []


def test_a_receipt_that_was_acknowledged_just_before_the_end(tmp_path):
    """The node has forgotten the payment, and the receipt is there: it was paid."""
    fake, payment_id = _node(), _leave(tmp_path, COMMIT_OF_20)
    Journal(tmp_path).paid(payment_id, RECEIPT_OF_20)
    fake.status = lambda asked: PaymentNotFound()

    async def body(node: Node) -> None:
        for payment in node.payments:
            assert await payment.receipt() == RECEIPT_OF_20

    _run(fake, body, journal=tmp_path)
    assert Journal(tmp_path).unfinished() == []
    assert len(Journal(tmp_path).receipts()) == 1


def test_a_damaged_journal_is_named(tmp_path):
    """Money may be in it: the app does not start without a word."""
    _leave(tmp_path, None)
    (path,) = tmp_path.glob("*.invoice")
    path.write_text("{")

    async def body(node: Node) -> None:
        raise AssertionError("not with this journal")

    with pytest.raises(StringSerdeError, match=path.name):
        _run(_node(), body, journal=tmp_path)


def test_open_payments_at_the_end_of_the_app(tmp_path, caplog):
    """What has no commit is closed; what has one is in the journal, or the log complains of having none."""
    fake = _node()
    fake.status = lambda asked: None

    async def body(node: Node) -> None:
        await node.start_payment(INVOICE_OF_20, QUICK).commit()

    _run(fake, body, journal=tmp_path)
    (entry,) = Journal(tmp_path).unfinished()
    assert entry.commit == COMMIT_OF_20
    with caplog.at_level(logging.WARNING):
        _run(fake, body)
    assert "1 payments have not ended, and there is no journal" in caplog.text
    fake.results, fake.status = lambda asked: None, lambda asked: Canceled(Uid(bytes(16)))
    fake.requests.clear()

    async def begin(node: Node) -> None:
        node.start_payment(INVOICE_OF_20, QUICK)
        await node.wait_until(lambda report: True)
        await asyncio.sleep(0.05)

    _run(fake, begin)
    assert [type(request) for request in fake.requests][-2:] == [RequestClosePayment, AckClosePayment]


def test_files_of_the_journal_are_those_of_stctrl(tmp_path):
    """So a person can go on with them by hand."""
    payment_id = _leave(tmp_path, COMMIT_OF_20)
    kinds = {".invoice": INVOICE, ".payment": PAYMENT, ".commit": COMMIT, ".receipt": RECEIPT}
    loaded = {path.suffix: kinds[path.suffix].load(path) for path in tmp_path.iterdir()}
    assert loaded == {
        ".invoice": INVOICE_OF_20,
        ".payment": PaymentFile(payment_id),
        ".commit": COMMIT_OF_20,
    }
