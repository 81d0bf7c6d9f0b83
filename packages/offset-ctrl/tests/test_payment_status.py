"""stctrl buyer payment-status and give-up: how a payment ended, or where it has no end yet."""

import json
from pathlib import Path

import pytest

from buying import (
    ACK,
    ALL,
    BILL,
    BUILT,
    ORIGINAL,
    OTHER_BILL,
    PAID,
    PAYMENT_ID,
    SELLER,
    SINCE,
    Files,
    ask_status,
    buyers_node,
    open_payment,
    pay,
    run_command,
)
from offset_crypto.aio import Connection
from offset_ctrl.programs.stctrl.buyer import give_up, pay_invoice
from offset_ctrl.programs.stctrl.payment_files import PaymentFiles
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.testing import ScriptedNode, build_receipt
from offset_proto.files import COMMIT, PAYMENT, RECEIPT
from offset_proto.messages.app import (
    AckClosePayment,
    AppRequest,
    Canceled,
    Complete,
    CreateTransaction,
    PaymentNotFound,
    PaymentStatus,
    PaymentStatusSuccess,
    RequestClosePayment,
    RequestResult,
)
from offset_proto.messages.extensions import (
    Extension,
    GiveUpPayment,
    PartStateReport,
    PaymentStageReport,
)
from offset_proto.uri import PaymentRequest, format_uri

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
    fake = buyers_node(extensions)
    fake.status = lambda asked: status
    saved_before: list[bool] = []

    def before(_: Connection, asked: AppRequest) -> bool:
        if isinstance(asked, AckClosePayment):
            saved_before.append(files.receipt.exists())
        return True

    fake.before = before
    assert ask_status(fake, files) is None
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
    fake = buyers_node()
    fake.status = lambda asked: PAID
    assert ask_status(fake, files, receipt=None) is None
    assert capsys.readouterr().out == "Payment succeeded; -r FILE saves the receipt.\n"
    assert fake.asked(AckClosePayment) == []
    assert ask_status(fake, files) is None
    assert files.left() == ["receipt"]


def test_a_receipt_that_proves_nothing_is_not_acknowledged(files: Files) -> None:
    """The node keeps it, and somebody may look."""
    files.begun()
    fake = buyers_node()
    fake.status = lambda asked: PaymentStatusSuccess(build_receipt(OTHER_BILL, SELLER), ACK)
    with pytest.raises(
        CommandError,
        match=r"^BuyerError\(InvoiceIdMismatch\): the receipt is one of another invoice; the node keeps it$",
    ):
        ask_status(fake, files)
    assert fake.asked(AckClosePayment) == []
    assert files.payment.exists()


def test_a_receipt_file_that_is_there(files: Files) -> None:
    """Nothing is sent, and nothing is overwritten."""
    files.begun()
    files.receipt.touch()
    fake = buyers_node()
    with pytest.raises(CommandError, match=r"^BuyerError\(ReceiptFileAlreadyExists\("):
        ask_status(fake, files)
    assert fake.requests == []


# A payment without an end.


def test_an_open_payment_is_told_and_not_closed(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, and what is frozen where since when, and the command that goes on."""
    files.sent()
    fake = buyers_node()
    fake.payments = lambda: (open_payment(),)
    assert ask_status(fake, files) == 3
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
    fake = buyers_node()
    fake.payments = lambda: (open_payment(parts=()),)
    assert ask_status(fake, files) == 3
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
    fake = buyers_node(friend=SELLER.public_key)
    options = {"asked": request, "delivers": True, "receipt": Path("bill.receipt"), "direct": True, "extra_fees": 2}
    monkeypatch.chdir(files.folder)
    paying = {"timeout": 1.0, **options}
    assert run_command(fake, lambda session: pay_invoice(session, None, files.payment, files.commit, **paying)) == 3
    capsys.readouterr()
    fake.payments = lambda: (open_payment(payment_id=PAYMENT.load(files.payment).payment_id),)
    assert ask_status(fake, files) == 3
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
    fake = buyers_node()
    fake.payments = lambda: (open_payment(),)
    assert ask_status(fake, files) == 3
    go_on = f"go on: stctrl buyer pay-invoice -i {files.invoice} -p {files.payment} -c {files.commit}\n"
    assert capsys.readouterr().err.endswith(go_on)


def test_an_open_payment_for_a_script(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything by name, amounts as text as in all files."""
    files.sent()
    fake = buyers_node()
    fake.payments = lambda: (open_payment(state=PartStateReport.ANSWERED),)
    assert ask_status(fake, files, as_json=True) == 3
    told = json.loads(capsys.readouterr().out)
    (part,) = told.pop("parts")
    assert (part["friend"], part["state"], part["since"]) == ("bob", "answered", SINCE)
    assert (part["dest_payment"], part["fees"]) == ("20", "1")
    assert (told["state"], told["stage"], told["commit"], told["has_commit"]) == ("open", "sending", None, False)
    assert "20 have reached the seller" in told["waits_for"]
    fake.status = lambda asked: PAID
    assert ask_status(fake, files, as_json=True, close=True) is None
    assert json.loads(capsys.readouterr().out)["state"] == "paid"


def test_a_payment_is_closed_where_that_is_asked_for(files: Files) -> None:
    """Once, and its end is waited for."""
    files.sent()
    fake = buyers_node()
    fake.payments = lambda: (open_payment(),)
    assert ask_status(fake, files, close=True) == 3
    assert fake.asked(RequestClosePayment) == [RequestClosePayment(PAYMENT_ID)]


def test_a_commit_is_written_as_soon_as_there_is_one(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The command does not wait on, since the seller has to get it; without -c it is only told of."""
    files.sent()
    fake = buyers_node()
    fake.payments = lambda: (open_payment(state=PartStateReport.ANSWERED, opt_commit=BUILT),)
    assert ask_status(fake, files) == 3
    assert "There is a commit; -c FILE writes it." in capsys.readouterr().out
    assert not files.commit.exists()
    assert ask_status(fake, files, commit=files.commit, timeout=15.0) == 3
    assert COMMIT.load(files.commit) == BUILT
    told = capsys.readouterr()
    assert f"The commit is in {files.commit}" in told.out
    assert "payment-status" in told.err
    with pytest.raises(CommandError, match="CommitMayBeHandedOver"):
        run_command(fake, lambda session: give_up(session, files.payment, timeout=0.3))


def test_an_originals_node_is_asked_for_results_and_not_for_the_end(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """To ask for the end would close the payment."""
    sent = files.sent()
    fake = buyers_node(ORIGINAL)
    assert ask_status(fake, files) == 3
    assert "20 are under way and have no answer" in capsys.readouterr().out
    assert fake.requests == [sent]
    fake.results = lambda asked: Complete(BUILT)
    assert ask_status(fake, files) == 3
    assert "20 have reached the seller; complete" in capsys.readouterr().out
    assert fake.asked(RequestClosePayment) == []
    assert not files.commit.exists()
    assert ask_status(fake, files, commit=files.commit) == 3
    assert COMMIT.load(files.commit) == BUILT


def test_an_originals_node_is_not_closed_before_the_commit_is_written(files: Files) -> None:
    """It would forget the commit: so it is written, to where the payment was to write it."""
    files.sent()
    fake = buyers_node(ORIGINAL)

    def results(asked: CreateTransaction) -> RequestResult | None:
        return None if fake.asked(RequestClosePayment) else Complete(BUILT)

    fake.results = results
    assert ask_status(fake, files, close=True) == 3
    assert COMMIT.load(files.commit) == BUILT
    assert fake.asked(RequestClosePayment) == [RequestClosePayment(PAYMENT_ID)]


def test_a_node_that_is_frozen_is_not_waited_for(files: Files) -> None:
    """It is the node that does not answer, and not the seller."""
    files.sent()
    fake = buyers_node()
    fake.before = lambda connection, asked: False
    with pytest.raises(CommandError, match=r"^BuyerError\(RequestClosePaymentError\(the node has not answered"):
        ask_status(fake, files)


# Giving up.


def _give_up(fake: ScriptedNode, files: Files) -> int | None:
    return run_command(fake, lambda session: give_up(session, files.payment, timeout=0.3))


def test_a_payment_that_is_given_up_is_gone_once_nothing_is_frozen(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until then it is told what is; the commit is not handed out, even if it comes."""
    files.sent()
    fake = buyers_node()
    fake.payments = lambda: (open_payment(stage=PaymentStageReport.CLOSING),)
    assert _give_up(fake, files) == 3
    assert "frozen: 21 behind bob" in capsys.readouterr().err
    assert fake.asked(GiveUpPayment) == [GiveUpPayment(PAYMENT_ID)]
    fake.payments = lambda: (open_payment(stage=PaymentStageReport.CLOSING, opt_commit=BUILT),)
    assert ask_status(fake, files, commit=files.commit) == 3
    assert "given up" in capsys.readouterr().out
    with pytest.raises(CommandError, match="PaymentGivenUp"):
        pay(fake, files)
    assert not files.commit.exists()
    fake.status = lambda asked: Canceled(ACK)
    assert _give_up(fake, files) is None
    assert capsys.readouterr().out == "Payment was canceled.\n"
    assert files.left() == []


def test_an_originals_node_can_only_close(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is said."""
    files.sent()
    fake = buyers_node(ORIGINAL)
    fake.status = lambda asked: Canceled(ACK)
    assert _give_up(fake, files) is None
    assert "can only close the payment" in capsys.readouterr().err
    assert fake.asked(RequestClosePayment) == [RequestClosePayment(PAYMENT_ID)]


def test_what_was_given_up_is_not_sent_again(files: Files) -> None:
    """An original's node would take a transaction that has failed for a new one."""
    files.sent()
    fake = buyers_node(ORIGINAL)
    assert _give_up(fake, files) == 3
    assert ask_status(fake, files, commit=files.commit) == 3
    assert fake.asked(CreateTransaction) == []
    assert not files.commit.exists()


def test_what_may_be_handed_over_is_not_given_up(files: Files) -> None:
    """Our own commit file, also where it is gone; and another program's commit, where the node knows one."""
    files.begun()
    PaymentFiles(files.payment, commit=files.commit).committed(PAYMENT_ID, BUILT)
    fake = buyers_node()
    for _ in range(2):
        with pytest.raises(CommandError, match=r"^BuyerError\(CommitMayBeHandedOver\("):
            _give_up(fake, files)
        files.commit.unlink(missing_ok=True)
    files.progress.unlink()
    fake.payments = lambda: (open_payment(opt_commit=BUILT),)
    with pytest.raises(CommandError, match=r"^BuyerError\(CommitMayBeHandedOver\): another program"):
        _give_up(fake, files)
    assert fake.asked(GiveUpPayment) == fake.asked(RequestClosePayment) == []


def test_a_payment_that_was_paid_before_it_was_given_up(files: Files) -> None:
    """Somebody else has handed its commit over; the receipt is not lost."""
    files.begun()
    fake = buyers_node()
    fake.status = lambda asked: PAID
    with pytest.raises(CommandError, match=r"^BuyerError\(PaymentSucceeded\): .*payment-status"):
        _give_up(fake, files)
    assert fake.asked(AckClosePayment) == []
    assert files.payment.exists()
