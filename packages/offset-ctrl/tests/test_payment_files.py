"""The files of a payment: commands that shut each other out, and what is not overwritten."""

import pytest

from buying import BUILT, OTHER_BILL, PAYMENT_ID, SELLER, Files
from offset_ctrl.programs.stctrl import payment_files
from offset_ctrl.programs.stctrl.payment_files import PROGRESS, PaymentFiles
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.testing import build_commit
from offset_proto.files import COMMIT, IoError


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
