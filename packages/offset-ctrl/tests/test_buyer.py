"""stctrl buyer: the words, the files and the exit status at every end of a payment, and where it has none yet."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.aio import Connection, Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.programs.stctrl import buyer, payment_files
from offset_ctrl.programs.stctrl.buyer import give_up, pay_invoice
from offset_ctrl.programs.stctrl.payment_files import PROGRESS, PaymentFiles
from offset_ctrl.programs.stctrl.payment_status import payment_status
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.testing import ScriptedNode, build_commit, build_receipt
from offset_proto.files import COMMIT, INVOICE, PAYMENT, RECEIPT, FileKind, Invoice, IoError, PaymentFile
from offset_proto.messages.app import (
    AckClosePayment,
    AppRequest,
    Canceled,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    PaymentStatus,
    PaymentStatusSuccess,
    RequestClosePayment,
    RequestResult,
)
from offset_proto.messages.extensions import (
    Extension,
    GiveUpPayment,
    OpenPaymentReport,
    PartReport,
    PartStateReport,
    PaymentStageReport,
    PaymentTarget,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.history import NotePayment
from offset_proto.messages.index import MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    ChannelConsistentReport,
    CurrencyReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
    FunderReport,
    IndexClientReport,
    McBalanceReport,
    NodeReport,
    PkFriendReport,
    PkFriendReportList,
)
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, PublicKey, Uid
from offset_proto.uri import PaymentRequest, format_uri

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
BOB = PublicKey(b"\x05" * 32)
BILL = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
OTHER_BILL = replace(BILL, invoice_id=InvoiceId(b"\x08" * 32))
PAYMENT_ID, ACK = PaymentId(b"\x05" * 16), Uid(b"\x01" * 16)
BUILT = build_commit(BILL, SELLER)
PAID = PaymentStatusSuccess(build_receipt(BILL, SELLER), ACK)
ALL = Extension.OPEN_PAYMENTS | Extension.EXPIRING_INVOICES | Extension.GIVE_UP
ORIGINAL = Extension(0)
ROUTE = FriendsRoute((NODE.public_key, BOB, SELLER.public_key))
SINCE = 1_795_973_400  # 2026-11-29T17:30:00Z


def _node(extensions: Extension = ALL, friend: PublicKey = BOB) -> ScriptedNode:
    bob = FriendReport(
        "bob",
        (),
        (),
        None,
        FriendLivenessReport.ONLINE,
        ChannelConsistentReport((CurrencyReport(BILL.currency, McBalanceReport(0, 0, 0)),)),
        FriendStatusReport.ENABLED,
    )
    friends = PkFriendReportList((PkFriendReport(friend, bob),))
    node = ScriptedNode(NODE, NodeReport(FunderReport(NODE.public_key, (), friends), IndexClientReport((), None)))
    node.extensions = extensions
    node.routes = lambda asked: (MultiRoute((RouteCapacityRate(ROUTE, 1000, Rate(0, 1)),)),)
    return node


def _open(
    stage: PaymentStageReport = PaymentStageReport.SENDING,
    state: PartStateReport = PartStateReport.FROZEN,
    **changes: Any,
) -> OpenPaymentReport:
    """What a node says of the payment of the bill."""
    part = PartReport(Uid(b"\x0e" * 16), ROUTE, 20, 1, state, SINCE)
    target = PaymentTarget(BILL.invoice_id, BILL.currency, 20, SELLER.public_key)
    return replace(OpenPaymentReport(PAYMENT_ID, stage, target, (part,), None), **changes)


@dataclass
class Files:
    """The files that the person names."""

    folder: Path

    def __post_init__(self) -> None:
        self.invoice, self.payment, self.commit, self.receipt = (
            self.folder / f"bill.{kind}" for kind in ("invoice", "payment", "commit", "receipt")
        )
        self.progress = self.folder / "bill.payment.progress"
        INVOICE.save(self.invoice, BILL)

    def left(self) -> list[str]:
        """Which are there beside the invoice."""
        return sorted(path.name.removeprefix("bill.") for path in self.folder.iterdir() if path != self.invoice)

    def begun(self, *, by_us: bool = True) -> None:
        """An earlier command has begun to pay; or another program."""
        if by_us:
            PaymentFiles(self.payment, invoice=self.invoice, commit=self.commit).begin(PAYMENT_ID, BILL)
        else:
            PAYMENT.save(self.payment, PaymentFile(PAYMENT_ID))

    def sent(self) -> CreateTransaction:
        """It has sent one part."""
        self.begun()
        request = CreateTransaction(PAYMENT_ID, Uid(b"\x0e" * 16), ROUTE, 20, 1)
        PaymentFiles(self.payment).sending(PAYMENT_ID, (request,))
        return request


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The invoice is there, and nothing else."""
    return Files(tmp_path)


def _run(fake: ScriptedNode, command: Callable[[NodeSession], Awaitable[int | None]]) -> int | None:
    async def main() -> int | None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_session(ticket.address, ticket.public_key, APP, ticker) as session,
        ):
            return await command(session)

    return asyncio.run(main())


def _pay(fake: ScriptedNode, files: Files, timeout: float = 10.0, **options: Any) -> int | None:
    options = {"extra_fees": 0, "timeout": timeout, **options}
    return _run(fake, lambda session: pay_invoice(session, files.invoice, files.payment, files.commit, **options))


def _status(fake: ScriptedNode, files: Files, **options: Any) -> int | None:
    """With the receipt and no commit, as scripts for the original ask."""
    options = {"receipt": files.receipt, "timeout": 0.0, **options}
    return _run(fake, lambda session: payment_status(session, files.payment, **options))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offset_ctrl.programs.stctrl.payment_status.ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(buyer, "CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(buyer, "WHY_SECONDS", 0.3)


# Paying.


def test_a_commit_is_saved_for_the_seller(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The words are the original's, and so are the files; the end of the payment is left to the other command."""
    fake = _node()
    fake.results = lambda asked: Complete(BUILT)
    assert _pay(fake, files) is None
    assert capsys.readouterr().out == "Total fees: 1\nPayment successful!\n"
    assert COMMIT.load(files.commit) == BUILT
    assert files.left() == ["commit", "payment", "payment.progress"]
    assert files.progress.stat().st_mode & 0o777 == 0o600
    (created,) = fake.asked(CreatePayment)
    assert PAYMENT.load(files.payment).payment_id == created.payment_id
    assert fake.asked(RequestClosePayment) != []
    assert fake.asked(AckClosePayment) == fake.asked(GiveUpPayment) == []


def test_a_direct_payment_takes_no_other_way(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the friend refuses; and the command that goes on is direct, too."""
    fake = _node(friend=SELLER.public_key)
    direct = FriendsRoute((NODE.public_key, SELLER.public_key))
    assert _pay(fake, files, 0.3, direct=True) == 3
    assert capsys.readouterr().err.endswith(" --direct\n")
    assert fake.asked(RequestRoutes) == []
    fake.routes = lambda asked: (MultiRoute((RouteCapacityRate(direct, 1000, Rate(0, 0)),)),)
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError, match="CreateTransactionFailed"):
        _pay(fake, files, direct=True)
    ways = {asked.route.public_keys for asked in fake.asked(CreateTransaction)}
    assert ways == {(NODE.public_key, SELLER.public_key)}
    assert {asked.fees for asked in fake.asked(CreateTransaction)} == {0}


def test_only_a_friend_can_be_paid_directly(files: Files) -> None:
    """Nothing is sent."""
    fake = _node()
    with pytest.raises(CommandError, match=r"NoSuitableRoute\): the seller is no friend"):
        _pay(fake, files, direct=True)
    assert fake.requests == []
    assert files.left() == []


def test_a_note_is_kept_before_anything_is_paid(files: Files) -> None:
    """With the id that the payment is going to have; and where it can not be kept, nothing is paid."""
    fake = _node(ALL | Extension.HISTORY)
    fake.results = lambda asked: Complete(BUILT)
    for extensions, note, words in [
        (ALL, "bread", "NotAnnounced.*without --note"),
        (ALL | Extension.HISTORY, "two\nlines", "InvalidNote"),
    ]:
        fake.extensions = extensions
        with pytest.raises(CommandError, match=words):
            _pay(fake, files, note=note)
    assert fake.requests == []
    assert _pay(fake, files, note="bread") is None
    (created,), (noted,) = fake.asked(CreatePayment), fake.asked(NotePayment)
    assert noted == NotePayment(created.payment_id, "bread")
    assert fake.requests.index(noted) < fake.requests.index(created)


def test_without_a_route_nothing_is_left(files: Files) -> None:
    """The same command can be given again, as scripts do until index servers know a route."""
    fake = _node()
    fake.routes, fake.status = lambda asked: (), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError, match=r"^BuyerError\(NoSuitableRoute\): "):
        _pay(fake, files)
    assert files.left() == []
    fake.routes = lambda asked: None
    with pytest.raises(CommandError, match=r"^BuyerError\(AppRoutesError\): .* index server"):
        _pay(fake, files)
    assert files.left() == []


def test_what_does_not_get_through_is_canceled(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts for the original ask afterwards how the payment ended; after that it can be paid anew."""
    fake = _node()
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError, match=r"^BuyerError\(CreateTransactionFailed\): "):
        _pay(fake, files)
    assert files.left() == ["payment", "payment.progress"]
    assert len(fake.asked(AckClosePayment)) == 1
    assert _status(fake, files) is None
    assert capsys.readouterr().out == "Payment was canceled.\n"
    assert files.left() == []


def test_what_has_failed_is_paid_anew_by_the_same_command(files: Files) -> None:
    """Nobody has to delete a file."""
    fake = _node()
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError):
        _pay(fake, files)
    fake.results = lambda asked: Complete(BUILT)
    assert _pay(fake, files) is None
    assert len({asked.payment_id for asked in fake.asked(CreatePayment)}) == 2


def test_what_failed_and_is_still_frozen_says_so(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The payment is given up, and the command says which one waits for the rest."""
    fake = _node()
    fake.results = lambda asked: Failure()
    with pytest.raises(CommandError, match="CreateTransactionFailed"):
        _pay(fake, files)
    assert "go on: stctrl buyer payment-status -p " in capsys.readouterr().err
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentGivenUp\(.*payment-status"):
        _pay(fake, files)
    assert not files.commit.exists()


@pytest.mark.parametrize("extensions", [ALL, ORIGINAL])
def test_a_payment_without_an_answer_goes_on_without_the_command(
    files: Files, capsys: pytest.CaptureFixture[str], extensions: Extension
) -> None:
    """A status of its own and four lines; nothing is given up, and the same command has the commit when it is there."""
    fake = _node(extensions)
    assert _pay(fake, files, timeout=0.3) == 3
    why, frozen, look, go_on = capsys.readouterr().err.splitlines()
    assert why.startswith("no commit within 0.3 s: of 20 FST, 20 are under way and have no answer; the seller, or some")
    assert look == f"look: stctrl buyer payment-status -p {files.payment}"
    assert frozen.startswith("frozen: 21 behind bob since 20")
    assert go_on == f"go on: stctrl buyer pay-invoice -i {files.invoice} -p {files.payment} -c {files.commit}"
    assert fake.asked(RequestClosePayment) == fake.asked(GiveUpPayment) == []
    (sent,) = fake.asked(CreateTransaction)
    report = replace(_open(), payment_id=sent.payment_id, opt_commit=BUILT)
    fake.payments, fake.results = lambda: (report,), lambda asked: Complete(BUILT)

    assert _pay(fake, files) is None
    assert COMMIT.load(files.commit) == BUILT
    assert set(fake.asked(CreateTransaction)) == {sent}
    assert len(fake.asked(CreatePayment)) == 1


@pytest.mark.parametrize(
    ("routes", "why"),
    [
        ((), "and the index server knows none that carries 20 FST to the seller; is the seller's node connected, with"),
        (None, "and the node is connected to no index server: see stctrl info index, or stctrl doctor"),
    ],
)
def test_a_payment_without_a_way_says_what_was_tried(
    files: Files, capsys: pytest.CaptureFixture[str], routes: tuple[()] | None, why: str
) -> None:
    """Where the time is over before the search has an end, which would be an error with its reason."""
    fake = _node()
    fake.routes = lambda asked: routes
    fake.before = lambda connection, asked: len(fake.asked(RequestRoutes)) < 3  # one of them has no answer
    assert _pay(fake, files, timeout=1.0) == 3
    told = capsys.readouterr().err.splitlines()
    assert re.match(rf"no commit within 1 s: routes were asked for \d+ times?, {re.escape(why)}", told[0])
    assert told[1] == "frozen: nothing"


def test_a_payment_without_a_way_says_why_as_a_dry_run_does(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Bob carries 7; the time was over before the payment found that out, as one question has no answer."""
    fake = _node()
    fake.before = lambda connection, asked: len(fake.asked(RequestRoutes)) != 2
    toward_bob = MultiRoute((RouteCapacityRate(FriendsRoute((NODE.public_key, BOB)), 7, Rate(0, 0)),))
    fake.routes = lambda asked: (toward_bob,) if asked.destination == BOB else ()
    assert _pay(fake, files, timeout=1.0) == 3
    why = capsys.readouterr().err.splitlines()[0]
    assert why == (
        "no commit within 1 s: no route that can carry the payment: "
        "not enough credit with all friends together, 7 FST at most"
    )


def test_a_payment_that_has_failed_before(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said of what waits for an answer now."""
    fake = _node()
    results: list[Any] = [Failure()]
    fake.results = lambda asked: results.pop() if results else None
    assert _pay(fake, files, timeout=0.8) == 3
    assert "are under way and have no answer; 1 failed before; the seller" in capsys.readouterr().err


def test_ctrl_c_leaves_everything_for_the_next_command(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told the same as at the end of the time."""
    fake = _node()

    async def command(session: NodeSession) -> None:
        paying = asyncio.ensure_future(
            pay_invoice(session, files.invoice, files.payment, files.commit, extra_fees=0, timeout=60)
        )
        for _ in range(1000):
            if fake.asked(CreateTransaction):
                break
            await asyncio.sleep(0.01)
        paying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await paying

    _run(fake, command)
    assert "frozen: 21 behind bob" in capsys.readouterr().err
    assert files.left() == ["payment", "payment.progress"]
    assert fake.asked(RequestClosePayment) == []


@pytest.mark.parametrize("extensions", [ALL, ORIGINAL])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(5))
def test_a_payment_stopped_at_any_file_that_it_writes_goes_on(
    files: Files, monkeypatch: pytest.MonkeyPatch, extensions: Extension, after: bool, number: int
) -> None:
    """Just before or just after each of them: the same command pays, once, and the other one has the receipt."""
    fake = _node(extensions)
    fake.results = lambda asked: Complete(BUILT)
    fake.status = lambda payment_id: PAID if fake.asked(CreateTransaction) else PaymentNotFound()

    def payments() -> tuple[OpenPaymentReport, ...]:
        is_sent = bool(fake.asked(CreateTransaction))
        told = _open(opt_commit=BUILT) if is_sent else _open(parts=())
        return tuple(replace(told, payment_id=created.payment_id) for created in fake.asked(CreatePayment))

    fake.payments = payments
    main: list[asyncio.Task[Any]] = []
    left = [number]

    def stopping(write: Callable[..., None]) -> Callable[..., None]:
        def stop_or_write(*arguments: Any) -> None:
            left[0] -= 1
            if left[0] == -1:
                if after:
                    write(*arguments)
                main[0].cancel()
                raise asyncio.CancelledError
            write(*arguments)

        return stop_or_write

    monkeypatch.setattr(payment_files, "replace_text", stopping(payment_files.replace_text))
    monkeypatch.setattr(FileKind, "save", stopping(FileKind.save))

    async def command(session: NodeSession) -> None:
        main.append(asyncio.current_task())
        await pay_invoice(session, files.invoice, files.payment, files.commit, extra_fees=0, timeout=10)

    with pytest.raises(asyncio.CancelledError):
        _run(fake, command)
    assert left == [-1]
    assert _pay(fake, files) is None
    assert COMMIT.load(files.commit) == BUILT
    assert len({asked.request_id for asked in fake.asked(CreateTransaction)}) == 1
    fake.payments = lambda: ()
    assert _status(fake, files) is None
    assert files.left() == ["commit", "receipt"]


def test_a_commit_that_was_not_handed_over_is_pointed_to(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The command has nothing to do any more; the person has."""
    fake = _node()
    fake.results = lambda asked: Complete(BUILT)
    _pay(fake, files)
    fake.requests.clear()
    capsys.readouterr()
    assert _pay(fake, files) is None
    assert f"The commit is in {files.commit}; hand it to the seller" in capsys.readouterr().out
    assert fake.requests == []


def test_a_payment_that_was_paid_meanwhile(files: Files) -> None:
    """Another program has handed its commit over: there is none to be had, and the receipt waits to be saved."""
    files.sent()
    fake = _node()
    fake.payments = lambda: (_open(stage=PaymentStageReport.PAID, parts=()),)
    fake.status = lambda asked: PAID
    with pytest.raises(CommandError, match=r"^BuyerError\(AlreadyPaid\): .*payment-status -p .* -r "):
        _pay(fake, files)
    assert fake.asked(AckClosePayment) == fake.asked(CreateTransaction) == []
    assert _status(fake, files) is None
    assert files.left() == ["receipt"]


def test_files_of_something_else_are_left_alone(files: Files, tmp_path: Path) -> None:
    """A commit without its payment, and a payment of another invoice; nothing is sent."""
    fake = _node()
    COMMIT.save(files.commit, BUILT)
    with pytest.raises(CommandError, match=r"^BuyerError\(CommitFileAlreadyExists\("):
        _pay(fake, files)
    files.commit.unlink()
    PaymentFiles(files.payment, invoice=files.invoice, commit=files.commit).begin(PAYMENT_ID, OTHER_BILL)
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*another invoice"):
        _pay(fake, files)
    assert fake.requests == []


def test_a_payment_that_another_program_began(files: Files) -> None:
    """It goes on where the node says that it pays this invoice; otherwise nothing can be told of it."""
    files.begun(by_us=False)
    original = _node(ORIGINAL)
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*does not tell how far"):
        _pay(original, files)
    fake = _node()
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*knows of no open payment"):
        _pay(fake, files)
    other = PaymentTarget(OTHER_BILL.invoice_id, BILL.currency, 20, SELLER.public_key)
    fake.payments = lambda: (_open(opt_target=other),)
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*another invoice"):
        _pay(fake, files)
    assert original.requests == fake.asked(CreatePayment) == fake.asked(CreateTransaction) == []
    fake.payments = lambda: (_open(opt_commit=BUILT),)
    assert _pay(fake, files) is None
    assert COMMIT.load(files.commit) == BUILT


def test_an_app_that_may_not_ask_for_routes(files: Files) -> None:
    """The original's name; the node would close the connection."""
    fake = _node()
    fake.permissions = replace(fake.permissions, routes=False)
    with pytest.raises(CommandError, match=r"^BuyerError\(AppRoutesError\("):
        _pay(fake, files)
    assert fake.requests == []


# How a payment ended.


@pytest.mark.parametrize("extensions", [ALL, ORIGINAL])
@pytest.mark.parametrize("by_us", [True, False])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (PAID, "Payment succeeded. Saving receipt to file.\n"),
        (Canceled(ACK), "Payment was canceled.\n"),
        (PaymentNotFound(), "Payment could not be found\n"),
    ],
)
def test_the_end_of_a_payment(
    files: Files,
    capsys: pytest.CaptureFixture[str],
    extensions: Extension,
    by_us: bool,
    status: PaymentStatus,
    words: str,
) -> None:
    """The receipt is on the disk before the node may forget it, and the payment is over for the person."""
    files.begun(by_us=by_us)
    if by_us:
        PaymentFiles(files.payment, commit=files.commit).committed(PAYMENT_ID, BUILT)
    acknowledged = [] if status == PaymentNotFound() else [AckClosePayment(PAYMENT_ID, ACK)]
    fake = _node(extensions)
    fake.status = lambda asked: status
    saved_before: list[bool] = []

    def before(_: Connection, asked: AppRequest) -> bool:
        if isinstance(asked, AckClosePayment):
            saved_before.append(files.receipt.exists())
        return True

    fake.before = before
    assert _status(fake, files) is None
    assert capsys.readouterr().out == words
    assert fake.asked(AckClosePayment) == acknowledged
    assert saved_before == [status == PAID for _ in acknowledged]
    assert (RECEIPT.load(files.receipt) if files.receipt.exists() else None) == (
        PAID.receipt if status == PAID else None
    )
    assert not files.payment.exists()
    assert not files.progress.exists()


def test_a_receipt_that_nobody_wants_stays_at_the_node(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """And so does the payment file, for the command that wants it."""
    files.begun()
    fake = _node()
    fake.status = lambda asked: PAID
    assert _status(fake, files, receipt=None) is None
    assert capsys.readouterr().out == "Payment succeeded; -r FILE saves the receipt.\n"
    assert fake.asked(AckClosePayment) == []
    assert _status(fake, files) is None
    assert files.left() == ["receipt"]


def test_a_receipt_that_proves_nothing_is_not_acknowledged(files: Files) -> None:
    """The node keeps it, and somebody may look."""
    files.begun()
    fake = _node()
    fake.status = lambda asked: PaymentStatusSuccess(build_receipt(OTHER_BILL, SELLER), ACK)
    with pytest.raises(
        CommandError,
        match=r"^BuyerError\(InvoiceIdMismatch\): the receipt is one of another invoice; the node keeps it$",
    ):
        _status(fake, files)
    assert fake.asked(AckClosePayment) == []
    assert files.payment.exists()


def test_a_receipt_file_that_is_there(files: Files) -> None:
    """Nothing is sent, and nothing is overwritten."""
    files.begun()
    files.receipt.touch()
    fake = _node()
    with pytest.raises(CommandError, match=r"^BuyerError\(ReceiptFileAlreadyExists\("):
        _status(fake, files)
    assert fake.requests == []


# A payment without an end.


def test_an_open_payment_is_told_and_not_closed(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, and what is frozen where since when, and the command that goes on."""
    files.sent()
    fake = _node()
    fake.payments = lambda: (_open(),)
    assert _status(fake, files) == 3
    told = capsys.readouterr()
    assert told.out == ("Payment is open: of 20 FST, 20 are under way and have no answer; waits for answers\n")
    assert told.err.splitlines() == [
        "frozen: 21 behind bob since 2026-11-29T17:30:00Z",
        f"go on: stctrl buyer pay-invoice -i {files.invoice} -p {files.payment} -c {files.commit}",
    ]
    assert fake.asked(RequestClosePayment) == fake.asked(GiveUpPayment) == []
    assert files.left() == ["payment", "payment.progress"]


def test_a_payment_of_which_nothing_is_left(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The seller's invoice has ended while nobody paid: it can be tried again or given up, and is not closed."""
    files.sent()
    fake = _node()
    fake.payments = lambda: (_open(parts=()),)
    assert _status(fake, files) == 3
    told = capsys.readouterr()
    assert told.out == (
        "Payment is open: of 20 FST, nothing is under way; waits for pay-invoice to try again, or for give-up\n"
    )
    assert told.err.startswith("frozen: nothing\n")
    assert fake.asked(RequestClosePayment) == []


def test_the_command_that_goes_on_is_the_one_that_began(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the address for the commit, the end and the receipt; relative names hold from wherever it is looked at."""
    request = PaymentRequest(BILL, "bread", "https://shop.example/api/v1/commits", 2_000_000_000)
    fake = _node(friend=SELLER.public_key)
    options = {"asked": request, "delivers": True, "receipt": Path("bill.receipt"), "direct": True, "extra_fees": 2}
    monkeypatch.chdir(files.folder)
    paying = {"timeout": 1.0, **options}
    assert _run(fake, lambda session: pay_invoice(session, None, files.payment, files.commit, **paying)) == 3
    capsys.readouterr()
    fake.payments = lambda: (_open(payment_id=PAYMENT.load(files.payment).payment_id),)
    assert _status(fake, files) == 3
    options = f"-r {files.receipt} --extra-fees 2 --direct"
    invoice = f"--text {format_uri(request)}"
    go_on = f"go on: stctrl buyer pay-invoice {invoice} -p {files.payment} -c {files.commit} {options}\n"
    assert capsys.readouterr().err.endswith(go_on)


def test_a_progress_of_an_earlier_version(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not have the words of the command; the invoice is named all the same."""
    files.sent()
    value = json.loads(files.progress.read_text())
    del value["go_on"]
    files.progress.write_text(json.dumps(value))
    fake = _node()
    fake.payments = lambda: (_open(),)
    assert _status(fake, files) == 3
    go_on = f"go on: stctrl buyer pay-invoice -i {files.invoice} -p {files.payment} -c {files.commit}\n"
    assert capsys.readouterr().err.endswith(go_on)


def test_an_open_payment_for_a_script(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything by name, amounts as text as in all files."""
    files.sent()
    fake = _node()
    fake.payments = lambda: (_open(state=PartStateReport.ANSWERED),)
    assert _status(fake, files, as_json=True) == 3
    told = json.loads(capsys.readouterr().out)
    (part,) = told.pop("parts")
    assert (part["friend"], part["state"], part["since"]) == ("bob", "answered", SINCE)
    assert (part["dest_payment"], part["fees"]) == ("20", "1")
    assert (told["state"], told["stage"], told["commit"], told["has_commit"]) == ("open", "sending", None, False)
    assert "20 have reached the seller" in told["waits_for"]
    fake.status = lambda asked: PAID
    assert _status(fake, files, as_json=True, close=True) is None
    assert json.loads(capsys.readouterr().out)["state"] == "paid"


def test_a_payment_is_closed_where_that_is_asked_for(files: Files) -> None:
    """Once, and its end is waited for."""
    files.sent()
    fake = _node()
    fake.payments = lambda: (_open(),)
    assert _status(fake, files, close=True) == 3
    assert fake.asked(RequestClosePayment) == [RequestClosePayment(PAYMENT_ID)]


def test_a_commit_is_written_as_soon_as_there_is_one(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The command does not wait on, since the seller has to get it; without -c it is only told of."""
    files.sent()
    fake = _node()
    fake.payments = lambda: (_open(state=PartStateReport.ANSWERED, opt_commit=BUILT),)
    assert _status(fake, files) == 3
    assert "There is a commit; -c FILE writes it." in capsys.readouterr().out
    assert not files.commit.exists()
    assert _status(fake, files, commit=files.commit, timeout=15.0) == 3
    assert COMMIT.load(files.commit) == BUILT
    told = capsys.readouterr()
    assert f"The commit is in {files.commit}" in told.out
    assert "payment-status" in told.err
    with pytest.raises(CommandError, match="CommitMayBeHandedOver"):
        _run(fake, lambda session: give_up(session, files.payment, timeout=0.3))


def test_an_originals_node_is_asked_for_results_and_not_for_the_end(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """To ask for the end would close the payment."""
    sent = files.sent()
    fake = _node(ORIGINAL)
    assert _status(fake, files) == 3
    assert "20 are under way and have no answer" in capsys.readouterr().out
    assert fake.requests == [sent]
    fake.results = lambda asked: Complete(BUILT)
    assert _status(fake, files) == 3
    assert "20 have reached the seller; complete" in capsys.readouterr().out
    assert fake.asked(RequestClosePayment) == []
    assert not files.commit.exists()
    assert _status(fake, files, commit=files.commit) == 3
    assert COMMIT.load(files.commit) == BUILT


def test_an_originals_node_is_not_closed_before_the_commit_is_written(files: Files) -> None:
    """It would forget the commit: so it is written, to where the payment was to write it."""
    files.sent()
    fake = _node(ORIGINAL)

    def results(asked: CreateTransaction) -> RequestResult | None:
        return None if fake.asked(RequestClosePayment) else Complete(BUILT)

    fake.results = results
    assert _status(fake, files, close=True) == 3
    assert COMMIT.load(files.commit) == BUILT
    assert fake.asked(RequestClosePayment) == [RequestClosePayment(PAYMENT_ID)]


def test_a_node_that_is_frozen_is_not_waited_for(files: Files) -> None:
    """It is the node that does not answer, and not the seller."""
    files.sent()
    fake = _node()
    fake.before = lambda connection, asked: False
    with pytest.raises(CommandError, match=r"^BuyerError\(RequestClosePaymentError\(the node has not answered"):
        _status(fake, files)


# Giving up.


def _give_up(fake: ScriptedNode, files: Files) -> int | None:
    return _run(fake, lambda session: give_up(session, files.payment, timeout=0.3))


def test_a_payment_that_is_given_up_is_gone_once_nothing_is_frozen(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until then it is told what is; the commit is not handed out, even if it comes."""
    files.sent()
    fake = _node()
    fake.payments = lambda: (_open(stage=PaymentStageReport.CLOSING),)
    assert _give_up(fake, files) == 3
    assert "frozen: 21 behind bob" in capsys.readouterr().err
    assert fake.asked(GiveUpPayment) == [GiveUpPayment(PAYMENT_ID)]
    fake.payments = lambda: (_open(stage=PaymentStageReport.CLOSING, opt_commit=BUILT),)
    assert _status(fake, files, commit=files.commit) == 3
    assert "given up" in capsys.readouterr().out
    with pytest.raises(CommandError, match="PaymentGivenUp"):
        _pay(fake, files)
    assert not files.commit.exists()
    fake.status = lambda asked: Canceled(ACK)
    assert _give_up(fake, files) is None
    assert capsys.readouterr().out == "Payment was canceled.\n"
    assert files.left() == []


def test_an_originals_node_can_only_close(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is said."""
    files.sent()
    fake = _node(ORIGINAL)
    fake.status = lambda asked: Canceled(ACK)
    assert _give_up(fake, files) is None
    assert "can only close the payment" in capsys.readouterr().err
    assert fake.asked(RequestClosePayment) == [RequestClosePayment(PAYMENT_ID)]


def test_what_was_given_up_is_not_sent_again(files: Files) -> None:
    """An original's node would take a transaction that has failed for a new one."""
    files.sent()
    fake = _node(ORIGINAL)
    assert _give_up(fake, files) == 3
    assert _status(fake, files, commit=files.commit) == 3
    assert fake.asked(CreateTransaction) == []
    assert not files.commit.exists()


def test_what_may_be_handed_over_is_not_given_up(files: Files) -> None:
    """Our own commit file, also where it is gone; and another program's commit, where the node knows one."""
    files.begun()
    PaymentFiles(files.payment, commit=files.commit).committed(PAYMENT_ID, BUILT)
    fake = _node()
    for _ in range(2):
        with pytest.raises(CommandError, match=r"^BuyerError\(CommitMayBeHandedOver\("):
            _give_up(fake, files)
        files.commit.unlink(missing_ok=True)
    files.progress.unlink()
    fake.payments = lambda: (_open(opt_commit=BUILT),)
    with pytest.raises(CommandError, match=r"^BuyerError\(CommitMayBeHandedOver\): another program"):
        _give_up(fake, files)
    assert fake.asked(GiveUpPayment) == fake.asked(RequestClosePayment) == []


def test_a_payment_that_was_paid_before_it_was_given_up(files: Files) -> None:
    """Somebody else has handed its commit over; the receipt is not lost."""
    files.begun()
    fake = _node()
    fake.status = lambda asked: PAID
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentSucceeded\): .*payment-status"):
        _give_up(fake, files)
    assert fake.asked(AckClosePayment) == []
    assert files.payment.exists()


# On a terminal.


def test_a_terminal_shows_what_is_waited_for(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, which is gone when the command says its last word; without a terminal nothing is shown."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert _pay(_node(), files, timeout=0.3) == 3
    shown, _, last = capsys.readouterr().err.rpartition("\r\x1b[K")
    assert "\r\x1b[Kof 20 FST, nothing is under way (0 s)" in shown
    assert last.startswith("no commit within 0.3 s: ")


# The files.


def test_commit_and_giving_up_shut_each_other_out(files: Files) -> None:
    """Whichever command is first; the other one learns of it."""
    files.begun()
    first = PaymentFiles(files.payment, commit=files.commit)
    first.given_up(PAYMENT_ID)
    with pytest.raises(CommandError, match="PaymentGivenUp"):
        first.committed(PAYMENT_ID, BUILT)
    assert not files.commit.exists()


def test_a_lock_that_is_kept_is_not_waited_for_without_end(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command was stopped while it wrote."""
    files.begun()
    monkeypatch.setattr(payment_files, "LOCK_SECONDS", 0.05)
    held = PaymentFiles(files.payment)
    with held._locked(), pytest.raises(IoError, match="keeps it locked"):
        PaymentFiles(files.payment).given_up(PAYMENT_ID)


def test_a_commit_goes_over_no_other_file(files: Files) -> None:
    """The same commit again is no harm."""
    files.begun()
    kept = PaymentFiles(files.payment, commit=files.commit)
    kept.committed(PAYMENT_ID, BUILT)
    kept.committed(PAYMENT_ID, BUILT)
    with pytest.raises(CommandError, match="CommitFileAlreadyExists"):
        kept.committed(PAYMENT_ID, build_commit(OTHER_BILL, SELLER))
    assert COMMIT.load(files.commit) == BUILT
    assert PROGRESS.load(files.progress).is_committed
