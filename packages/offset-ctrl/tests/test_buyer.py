"""stctrl buyer pay-invoice: the words, the files and the exit status at every end of a payment."""

import asyncio
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buying import (
    ACK,
    ALL,
    BILL,
    BOB,
    BUILT,
    NODE,
    ORIGINAL,
    OTHER_BILL,
    PAID,
    PAYMENT_ID,
    SELLER,
    Files,
    ask_status,
    buyers_node,
    open_payment,
    pay,
    run_command,
)
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl import payment_files
from offset_ctrl.programs.stctrl.buyer import pay_invoice
from offset_ctrl.programs.stctrl.payment_files import PaymentFiles
from offset_ctrl.programs.stctrl.session import CommandError
from offset_proto.files import COMMIT, PAYMENT, FileKind
from offset_proto.messages.app import (
    AckClosePayment,
    Canceled,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentNotFound,
    RequestClosePayment,
)
from offset_proto.messages.extensions import (
    Extension,
    GiveUpPayment,
    OpenPaymentReport,
    PaymentStageReport,
    PaymentTarget,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.history import NotePayment
from offset_proto.messages.index import MultiRoute, RequestRoutes, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.uri import PaymentRequest


def test_a_commit_is_saved_for_the_seller(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The words are the original's, and so are the files; the end of the payment is left to the other command."""
    fake = buyers_node()
    fake.results = lambda asked: Complete(BUILT)
    assert pay(fake, files) is None
    shown = capsys.readouterr()
    assert shown.out == "Total fees: 1\nPayment successful!\n"
    assert shown.err.splitlines() == [
        f"next: hand {files.commit} to the seller, who collects with it; nothing is paid before that",
        f"then, for the receipt: stctrl buyer payment-status -p {files.payment} -r {files.receipt} --timeout 30",
    ]
    assert COMMIT.load(files.commit) == BUILT
    assert files.left() == ["commit", "payment", "payment.progress"]
    assert files.progress.stat().st_mode & 0o777 == 0o600
    (created,) = fake.asked(CreatePayment)
    assert PAYMENT.load(files.payment).payment_id == created.payment_id
    assert fake.asked(RequestClosePayment) != []
    assert fake.asked(AckClosePayment) == fake.asked(GiveUpPayment) == []


def test_a_direct_payment_takes_no_other_way(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the friend refuses; and the command that goes on is direct, too."""
    fake = buyers_node(friend=SELLER.public_key)
    direct = FriendsRoute((NODE.public_key, SELLER.public_key))
    assert pay(fake, files, 0.3, direct=True) == 3
    assert capsys.readouterr().err.endswith(" --direct\n")
    assert fake.asked(RequestRoutes) == []
    fake.routes = lambda asked: (MultiRoute((RouteCapacityRate(direct, 1000, Rate(0, 0)),)),)
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError, match="CreateTransactionFailed"):
        pay(fake, files, direct=True)
    ways = {asked.route.public_keys for asked in fake.asked(CreateTransaction)}
    assert ways == {(NODE.public_key, SELLER.public_key)}
    assert {asked.fees for asked in fake.asked(CreateTransaction)} == {0}


def test_only_a_friend_can_be_paid_directly(files: Files) -> None:
    """Nothing is sent."""
    fake = buyers_node()
    with pytest.raises(CommandError, match=r"NoSuitableRoute\): the seller is no friend"):
        pay(fake, files, direct=True)
    assert fake.requests == []
    assert files.left() == []


def test_a_note_is_kept_before_anything_is_paid(files: Files) -> None:
    """With the id that the payment is going to have; and where it can not be kept, nothing is paid."""
    fake = buyers_node(ALL | Extension.HISTORY)
    fake.results = lambda asked: Complete(BUILT)
    for extensions, note, words in [
        (ALL, "bread", "NotAnnounced.*without --note"),
        (ALL | Extension.HISTORY, "two\nlines", "InvalidNote"),
    ]:
        fake.extensions = extensions
        with pytest.raises(CommandError, match=words):
            pay(fake, files, note=note)
    assert fake.requests == []
    assert pay(fake, files, note="bread") is None
    (created,), (noted,) = fake.asked(CreatePayment), fake.asked(NotePayment)
    assert noted == NotePayment(created.payment_id, "bread")
    assert fake.requests.index(noted) < fake.requests.index(created)


@pytest.mark.parametrize(
    ("extensions", "given", "noted"),
    [
        (ALL | Extension.HISTORY, {}, ["Bread\\u200b, two loaves"]),
        (ALL | Extension.HISTORY, {"note": "mine"}, ["mine"]),
        (ALL, {}, []),
    ],
)
def test_what_a_text_is_for_is_the_note(
    files: Files, extensions: Extension, given: dict[str, str], noted: list[str]
) -> None:
    """Where there is no other one, and where the node keeps notes; what can not be shown is made visible."""
    fake = buyers_node(extensions)
    fake.results = lambda asked: Complete(BUILT)
    assert pay(fake, files, asked=PaymentRequest(BILL, "Bread\u200b, two loaves"), **given) is None
    assert [asked.note for asked in fake.asked(NotePayment)] == noted


def test_without_a_route_nothing_is_left(files: Files) -> None:
    """The same command can be given again, as scripts do until index servers know a route."""
    fake = buyers_node()
    fake.routes, fake.status = lambda asked: (), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError, match=r"^BuyerError\(NoSuitableRoute\): "):
        pay(fake, files)
    assert files.left() == []
    fake.routes = lambda asked: None
    with pytest.raises(CommandError, match=r"^BuyerError\(AppRoutesError\): .* index server"):
        pay(fake, files)
    assert files.left() == []


def test_what_does_not_get_through_is_canceled(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts for the original ask afterwards how the payment ended; after that it can be paid anew."""
    fake = buyers_node()
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError, match=r"^BuyerError\(CreateTransactionFailed\): "):
        pay(fake, files)
    assert files.left() == ["payment", "payment.progress"]
    assert len(fake.asked(AckClosePayment)) == 1
    assert ask_status(fake, files) is None
    assert capsys.readouterr().out == "Payment was canceled.\n"
    assert files.left() == []


def test_what_has_failed_is_paid_anew_by_the_same_command(files: Files) -> None:
    """Nobody has to delete a file."""
    fake = buyers_node()
    fake.results, fake.status = lambda asked: Failure(), lambda asked: Canceled(ACK)
    with pytest.raises(CommandError):
        pay(fake, files)
    fake.results = lambda asked: Complete(BUILT)
    assert pay(fake, files) is None
    assert len({asked.payment_id for asked in fake.asked(CreatePayment)}) == 2


def test_what_failed_and_is_still_frozen_says_so(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The payment is given up, and the command says which one waits for the rest."""
    fake = buyers_node()
    fake.results = lambda asked: Failure()
    with pytest.raises(CommandError, match="CreateTransactionFailed"):
        pay(fake, files)
    assert "go on: stctrl buyer payment-status -p " in capsys.readouterr().err
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentGivenUp\(.*payment-status"):
        pay(fake, files)
    assert not files.commit.exists()


@pytest.mark.parametrize("extensions", [ALL, ORIGINAL])
def test_a_payment_without_an_answer_goes_on_without_the_command(
    files: Files, capsys: pytest.CaptureFixture[str], extensions: Extension
) -> None:
    """A status of its own and four lines; nothing is given up, and the same command has the commit when it is there."""
    fake = buyers_node(extensions)
    assert pay(fake, files, timeout=0.3) == 3
    why, frozen, look, go_on = capsys.readouterr().err.splitlines()
    assert why.startswith("no commit within 0.3 s: of 20 FST, 20 are under way and have no answer; the seller, or some")
    assert look == f"look: stctrl buyer payment-status -p {files.payment}"
    assert frozen.startswith("frozen: 21 behind bob since 20")
    assert go_on == f"go on: stctrl buyer pay-invoice -i {files.invoice} -p {files.payment} -c {files.commit}"
    assert fake.asked(RequestClosePayment) == fake.asked(GiveUpPayment) == []
    (sent,) = fake.asked(CreateTransaction)
    report = replace(open_payment(), payment_id=sent.payment_id, opt_commit=BUILT)
    fake.payments, fake.results = lambda: (report,), lambda asked: Complete(BUILT)

    assert pay(fake, files) is None
    assert COMMIT.load(files.commit) == BUILT
    assert set(fake.asked(CreateTransaction)) == {sent}
    assert len(fake.asked(CreatePayment)) == 1


@pytest.mark.parametrize(
    ("routes", "why"),
    [
        ((), "and the index server knows none that carries 20 FST to the seller; is the seller's node connected, with"),
        (None, "and the node is connected to no index server: stctrl info index shows them, and stctrl doctor tries"),
    ],
)
def test_a_payment_without_a_way_says_what_was_tried(
    files: Files, capsys: pytest.CaptureFixture[str], routes: tuple[()] | None, why: str
) -> None:
    """Where the time is over before the search has an end, which would be an error with its reason."""
    fake = buyers_node()
    fake.routes = lambda asked: routes
    fake.before = lambda connection, asked: len(fake.asked(RequestRoutes)) < 3  # one of them has no answer
    assert pay(fake, files, timeout=1.0) == 3
    told = capsys.readouterr().err.splitlines()
    assert re.match(rf"no commit within 1 s: routes were asked for \d+ times?, {re.escape(why)}", told[0])
    assert told[1] == "frozen: nothing"


def test_a_payment_without_a_way_says_why_as_a_dry_run_does(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Bob carries 7; the time was over before the payment found that out, as one question has no answer."""
    fake = buyers_node()
    fake.before = lambda connection, asked: len(fake.asked(RequestRoutes)) != 2
    toward_bob = MultiRoute((RouteCapacityRate(FriendsRoute((NODE.public_key, BOB)), 7, Rate(0, 0)),))
    fake.routes = lambda asked: (toward_bob,) if asked.destination == BOB else ()
    assert pay(fake, files, timeout=1.0) == 3
    why = capsys.readouterr().err.splitlines()[0]
    assert why == (
        "no commit within 1 s: no route that can carry the payment: "
        "not enough credit with all friends together, 7 FST at most"
    )


def test_a_payment_that_has_failed_before(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said of what waits for an answer now."""
    fake = buyers_node()
    results: list[Any] = [Failure()]
    fake.results = lambda asked: results.pop() if results else None
    assert pay(fake, files, timeout=0.8) == 3
    assert "are under way and have no answer; 1 failed before; the seller" in capsys.readouterr().err


def test_ctrl_c_leaves_everything_for_the_next_command(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told the same as at the end of the time."""
    fake = buyers_node()

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

    run_command(fake, command)
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
    fake = buyers_node(extensions)
    fake.results = lambda asked: Complete(BUILT)
    fake.status = lambda payment_id: PAID if fake.asked(CreateTransaction) else PaymentNotFound()

    def payments() -> tuple[OpenPaymentReport, ...]:
        is_sent = bool(fake.asked(CreateTransaction))
        told = open_payment(opt_commit=BUILT) if is_sent else open_payment(parts=())
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
        run_command(fake, command)
    assert left == [-1]
    assert pay(fake, files) is None
    assert COMMIT.load(files.commit) == BUILT
    assert len({asked.request_id for asked in fake.asked(CreateTransaction)}) == 1
    fake.payments = lambda: ()
    assert ask_status(fake, files) is None
    assert files.left() == ["commit", "receipt"]


def test_a_commit_that_was_not_handed_over_is_pointed_to(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The command has nothing to do any more; the person has."""
    fake = buyers_node()
    fake.results = lambda asked: Complete(BUILT)
    pay(fake, files)
    fake.requests.clear()
    capsys.readouterr()
    assert pay(fake, files) is None
    assert f"The commit is in {files.commit}; hand it to the seller" in capsys.readouterr().out
    assert fake.requests == []


def test_a_payment_that_was_paid_meanwhile(files: Files) -> None:
    """Another program has handed its commit over: there is none to be had, and the receipt waits to be saved."""
    files.sent()
    fake = buyers_node()
    fake.payments = lambda: (open_payment(stage=PaymentStageReport.PAID, parts=()),)
    fake.status = lambda asked: PAID
    with pytest.raises(CommandError, match=r"^BuyerError\(AlreadyPaid\): .*payment-status -p .* -r "):
        pay(fake, files)
    assert fake.asked(AckClosePayment) == fake.asked(CreateTransaction) == []
    assert ask_status(fake, files) is None
    assert files.left() == ["receipt"]


def test_files_of_something_else_are_left_alone(files: Files, tmp_path: Path) -> None:
    """A commit without its payment, and a payment of another invoice; nothing is sent."""
    fake = buyers_node()
    COMMIT.save(files.commit, BUILT)
    with pytest.raises(CommandError, match=r"^BuyerError\(CommitFileAlreadyExists\("):
        pay(fake, files)
    files.commit.unlink()
    PaymentFiles(files.payment, invoice=files.invoice, commit=files.commit).begin(PAYMENT_ID, OTHER_BILL)
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*another invoice"):
        pay(fake, files)
    assert fake.requests == []


def test_a_payment_that_another_program_began(files: Files) -> None:
    """It goes on where the node says that it pays this invoice; otherwise nothing can be told of it."""
    files.begun(by_us=False)
    original = buyers_node(ORIGINAL)
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*does not tell how far"):
        pay(original, files)
    fake = buyers_node()
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*knows of no open payment"):
        pay(fake, files)
    other = PaymentTarget(OTHER_BILL.invoice_id, BILL.currency, 20, SELLER.public_key)
    fake.payments = lambda: (open_payment(opt_target=other),)
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentFileAlreadyExists\(.*another invoice"):
        pay(fake, files)
    assert original.requests == fake.asked(CreatePayment) == fake.asked(CreateTransaction) == []
    fake.payments = lambda: (open_payment(opt_commit=BUILT),)
    assert pay(fake, files) is None
    assert COMMIT.load(files.commit) == BUILT


def test_an_app_that_may_not_ask_for_routes(files: Files) -> None:
    """The original's name; the node would close the connection."""
    fake = buyers_node()
    fake.permissions = replace(fake.permissions, routes=False)
    with pytest.raises(CommandError, match=r"^BuyerError\(AppRoutesError\("):
        pay(fake, files)
    assert fake.requests == []


def test_a_terminal_shows_what_is_waited_for(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, which is gone when the command says its last word; without a terminal nothing is shown."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert pay(buyers_node(), files, timeout=0.3) == 3
    shown, _, last = capsys.readouterr().err.rpartition("\r\x1b[K")
    assert "\r\x1b[Kof 20 FST, nothing is under way (0 s)" in shown
    assert last.startswith("no commit within 0.3 s: ")
