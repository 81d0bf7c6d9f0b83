"""stclear pay, against a node that says what the test wants: each circle is paid once."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl import connect
from offset_ctrl.clearing.report import PlannedCircle, circles_of
from offset_ctrl.programs.stclear.pay import CirclesNotPaid, pay, pay_circles
from offset_ctrl.sdk.journal import Journal
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_proto.errors import InvalidInput
from offset_proto.files import INVOICE, TICKET, Invoice
from offset_proto.messages.app import (
    AddInvoice,
    Canceled,
    CancelInvoice,
    CommitInvoice,
    Complete,
    CreatePayment,
    CreateTransaction,
    Failure,
    PaymentStatusSuccess,
)
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, PublicKey, Uid

NODE, APP = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2))
FST = Currency("FST")
US, BOB, CAROL = NODE.public_key, PublicKey(b"\x05" * 32), PublicKey(b"\x06" * 32)
CIRCLE = PlannedCircle(4, 20, 3, (US, CAROL, BOB, US), ("alice", "carol", "bob", "alice"))


class _Node(ScriptedNode):
    """Bob is owed 30 and Carol owes 50; what the node is asked to pay to itself is paid."""

    def __init__(self, *, bob: int = -30, carol: int = 50) -> None:
        friends = {key: build_friend("", build_ledger(FST, balance)) for key, balance in ((BOB, bob), (CAROL, carol))}
        super().__init__(NODE, build_report(US, friends))
        self.results = lambda asked: Complete(build_commit(self.invoice(), NODE))
        self.status = lambda asked: PaymentStatusSuccess(build_receipt(self.invoice(), NODE), Uid(b"\x01" * 16))

    def invoice(self) -> Invoice:
        """The one that was made last."""
        made = self.asked(AddInvoice)[-1]
        return Invoice(made.invoice_id, made.currency, US, made.total_dest_payment)

    def pay(self, directory: Path | None, *circles: PlannedCircle, fees_max: int = 3) -> None:
        """Let an app that connects anew pay *circles*."""

        async def main() -> None:
            ticker = Ticker(0.03)
            async with (
                asyncio.timeout(20),
                self.serve(ticker) as ticket,
                connect(ticket, APP, journal=directory, ticker=ticker) as node,
            ):
                await pay_circles(node, FST, circles, directory, fees_max)

        asyncio.run(main())


def test_a_circle_is_paid_once(tmp_path, capsys):
    """Invoice, transaction along the route of the plan with its fees, commit; the second run has nothing to do."""
    node = _Node()
    node.pay(tmp_path, CIRCLE)
    (transaction,) = node.asked(CreateTransaction)
    assert transaction.route.public_keys == CIRCLE.route
    assert (transaction.dest_payment, transaction.fees) == (20, 3)
    assert [request.commit.invoice_id for request in node.asked(CommitInvoice)] == [node.invoice().invoice_id]
    assert capsys.readouterr().out == "circle 4, 20 FST alice > carol > bob > alice: paid, fees 3\n"
    node.pay(tmp_path, CIRCLE)
    assert len(node.asked(CreateTransaction)) == len(node.asked(AddInvoice)) == 1
    assert capsys.readouterr().out == "circle 4, 20 FST alice > carol > bob > alice: paid before\n"


def test_a_circle_that_fails_is_paid_later(tmp_path, capsys):
    """The invoice is taken back, the others go on, and the command may be repeated."""
    node = _Node()
    works = node.results
    node.results = lambda asked: Failure() if asked.dest_payment == 20 else works(asked)
    other = PlannedCircle(5, 7, 0, CIRCLE.route, CIRCLE.names)
    with pytest.raises(CirclesNotPaid, match="1 of 2 circles are not paid"):
        node.pay(tmp_path, CIRCLE, other)
    first, _ = node.asked(AddInvoice)
    assert [request.invoice_id for request in node.asked(CancelInvoice)] == [first.invoice_id]
    assert ": paid, fees 0\n" in capsys.readouterr().out
    node.results = works
    node.pay(tmp_path, CIRCLE, other)
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "paid, fees 3",
        "paid before",
    ]


@pytest.mark.parametrize(
    ("debts", "reason"),
    [
        ({"bob": -19}, "we owe bob 19 only"),
        ({"bob": 30}, "we owe bob 0 only"),
        ({"carol": 19}, "carol owes us 19 only"),
        ({"carol": -5}, "carol owes us 0 only"),
    ],
)
def test_debts_that_are_gone(tmp_path, capsys, debts, reason):
    """A circle along which one of our debts is smaller than its amount is not paid."""
    node = _Node(**debts)
    with pytest.raises(CirclesNotPaid):
        node.pay(tmp_path, CIRCLE)
    assert reason in capsys.readouterr().out
    assert node.requests == []


def test_fees_that_the_payer_does_not_allow(tmp_path, capsys):
    """A plan does not decide what a payer spends."""
    node = _Node()
    for directory in (tmp_path, None):
        with pytest.raises(CirclesNotPaid):
            node.pay(directory, CIRCLE, fees_max=2)
        assert capsys.readouterr().out.endswith(": not paid: its fees are 3, and --fees-max is 2\n")
    assert node.requests == []


def test_a_look_only(capsys):
    """Nothing is asked of the node, and nothing is written."""
    node = _Node()
    node.pay(None, CIRCLE)
    assert capsys.readouterr().out.endswith(": to be paid, fees 3\n")
    assert node.requests == []


def _begun(directory: Path, *, has_commit: bool) -> None:
    """What an earlier run has left that ended while circle 4 was paid."""
    invoice, payment_id = Invoice(InvoiceId(b"\x07" * 32), FST, US, 20), PaymentId(b"\x08" * 16)
    INVOICE.save(directory / "4.invoice", invoice)
    journal = Journal(directory)
    journal.begin(payment_id, invoice)
    if has_commit:
        journal.committed(payment_id, build_commit(invoice, NODE))


def test_a_payment_that_was_under_way_is_seen_through(tmp_path, capsys):
    """With a commit it is collected; no second payment is made."""
    _begun(tmp_path, has_commit=True)
    node, invoice = _Node(), INVOICE.load(tmp_path / "4.invoice")
    node.status = lambda asked: PaymentStatusSuccess(build_receipt(invoice, NODE), Uid(b"\x01" * 16))
    node.pay(tmp_path, CIRCLE)
    assert capsys.readouterr().out.endswith(": paid before\n")
    assert [request.commit.invoice_id for request in node.asked(CommitInvoice)] == [invoice.invoice_id]
    assert node.asked(CreatePayment) == []


def test_a_payment_without_a_commit_is_given_up(tmp_path, capsys):
    """The old invoice is taken back, so that what is still under way can not be collected, and the circle is paid."""
    _begun(tmp_path, has_commit=False)
    node = _Node()
    paid = node.status
    node.status = lambda asked: Canceled(Uid(b"\x01" * 16)) if asked == PaymentId(b"\x08" * 16) else paid(asked)
    node.pay(tmp_path, CIRCLE)
    assert capsys.readouterr().out.endswith(": paid, fees 3\n")
    assert [request.invoice_id for request in node.asked(CancelInvoice)] == [InvoiceId(b"\x07" * 32)]
    assert INVOICE.load(tmp_path / "4.invoice") == node.invoice()


def _plan(**changes: Any) -> dict[str, Any]:
    circle = {
        "number": 4,
        "amount": "20",
        "fees": "3",
        "route": [format_b64(key) for key in CIRCLE.route],
        "names": list(CIRCLE.names),
        **changes,
    }
    return {"currency": "FST", "members": [{"public_key": format_b64(US), "circles": [circle]}]}


def test_circles_of_a_plan():
    """A member finds its own; another node is not in the plan."""
    assert circles_of(json.dumps(_plan()), US) == (FST, (CIRCLE,))
    with pytest.raises(InvalidInput, match="is not among the members"):
        circles_of(json.dumps(_plan()), BOB)


def test_circles_of_one_number():
    """Only one of them could be remembered as paid."""
    plan = _plan()
    plan["members"][0]["circles"] *= 2
    with pytest.raises(InvalidInput, match="have one number"):
        circles_of(json.dumps(plan), US)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"route": [format_b64(key) for key in (US, CAROL, BOB)]}, "circle 4: the route does not lead from"),
        ({"route": [format_b64(key) for key in (BOB, CAROL, US, BOB)]}, "circle 4: the route does not lead from"),
        ({"route": [format_b64(key) for key in (US, BOB, BOB, US)]}, "circle 4: the route does not lead from"),
        ({"route": []}, "circle 4: the route does not lead from"),
        ({"names": ["alice"]}, "circle 4: names and route are not of one length"),
        ({"fees": str(2**32)}, "circle 4: fees are at most 4294967295"),
        ({"amount": "-1"}, r"members: \[0\]: circles: \[0\]: amount: invalid digit"),
    ],
)
def test_plans_that_can_not_be_paid(changes, complaint):
    """What is wrong, and where."""
    with pytest.raises(InvalidInput, match=complaint):
        circles_of(json.dumps(_plan(**changes)), US)


def _pay(node: _Node, tmp_path: Path, plan: object, *, dry_run: bool = False) -> None:
    """Run the command on files: the plan, and a directory for it."""
    (tmp_path / "new.json").write_text(json.dumps(plan))

    async def main() -> None:
        async with asyncio.timeout(20), node.serve(Ticker(0.03)) as ticket:
            (tmp_path / "ticket").unlink(missing_ok=True)
            TICKET.save(tmp_path / "ticket", ticket)
            files = [tmp_path / name for name in ("ticket", "new.json", "paid")]
            await pay(Identity(PrivateKey(bytes([2]) * 32)), *files, fees_max=3, dry_run=dry_run)

    asyncio.run(main())


def test_one_directory_for_one_plan(tmp_path, capsys):
    """What is no plan does not take the directory, the first plan does, and another one is refused then."""
    node = _Node()
    with pytest.raises(
        InvalidInput, match=r"new.json is not what stclear plan --json prints: missing field `currency`"
    ):
        _pay(node, tmp_path, {})
    _pay(node, tmp_path, _plan(), dry_run=True)
    assert not (tmp_path / "paid" / "plan.json").exists()
    _pay(node, tmp_path, _plan())
    _pay(node, tmp_path, _plan())
    said = capsys.readouterr().out.splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["to be paid, fees 3", "paid, fees 3", "paid before"]
    with pytest.raises(InvalidInput, match="belongs to another plan"):
        _pay(node, tmp_path, _plan(amount="21"))
    assert len(node.asked(CreateTransaction)) == 1


def test_nothing_to_pay(tmp_path, capsys):
    """A member without a circle is told so, and a circle over somebody who is no friend is not paid."""
    plan = _plan()
    plan["members"][0]["circles"] = []
    _pay(_Node(), tmp_path, plan)
    assert capsys.readouterr().out == "This node has no circle to pay.\n"
    stranger = PublicKey(b"\x09" * 32)
    with pytest.raises(CirclesNotPaid):
        _Node().pay(tmp_path / "other", PlannedCircle(1, 20, 0, (US, stranger, BOB, US), ("a", "x", "bob", "a")))
    assert "x owes us 0 only" in capsys.readouterr().out
