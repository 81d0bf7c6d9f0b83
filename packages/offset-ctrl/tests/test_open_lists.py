"""stctrl buyer payments, seller invoices, create-invoice --expires, and a commit that is handed over twice."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.programs.stctrl import cli, open_lists
from offset_ctrl.programs.stctrl.commands.options import SECONDS
from offset_ctrl.programs.stctrl.seller import commit_invoice, create_invoice
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.programs.stctrl.waiting import command_line
from offset_ctrl.testing import ScriptedNode, build_commit, build_report
from offset_proto.files import COMMIT, INVOICE, Invoice
from offset_proto.messages.app import AddInvoice, CommitInvoice
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    Extension,
    OpenInvoiceReport,
    OpenPaymentReport,
    PartReport,
    PartStateReport,
    PaymentStageReport,
    PaymentTarget,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, PublicKey, Uid

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
FST, EVIL = Currency("FST"), Currency("\x1b[31mFST")
BOB = PublicKey(b"\x05" * 32)
ALL = Extension.OPEN_PAYMENTS | Extension.EXPIRING_INVOICES | Extension.GIVE_UP
ROUTE = FriendsRoute((NODE.public_key, BOB, SELLER.public_key))


def _payment(number: int, stage: PaymentStageReport, since: int, currency: Currency = FST) -> OpenPaymentReport:
    part = PartReport(Uid(bytes([number]) * 16), ROUTE, 20, 1, PartStateReport.FROZEN, since)
    target = PaymentTarget(InvoiceId(bytes([number]) * 32), currency, 20, SELLER.public_key)
    return OpenPaymentReport(PaymentId(bytes([number]) * 16), stage, target, (part,), None)


def _invoice(number: int, arrived: int, end: int | None = None) -> OpenInvoiceReport:
    parts = 1 if arrived else 0
    return OpenInvoiceReport(InvoiceId(bytes([number]) * 32), FST, 20, arrived, parts, 1000 * number, end)


def _node(extensions: Extension = ALL) -> ScriptedNode:
    node = ScriptedNode(NODE, build_report(NODE.public_key))
    node.extensions = extensions
    return node


def _seller(fake: ScriptedNode, command: Callable[[NodeConnection], Awaitable[None]]) -> None:
    async def main() -> None:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_node(ticket.address, ticket.public_key, APP, ticker) as node,
        ):
            await command(node)

    asyncio.run(main())


def test_payments_oldest_first(capsys: pytest.CaptureFixture[str], run_session: Callable[..., None]) -> None:
    """Each with what it waits for; what a stranger has chosen reaches no terminal as it is."""
    fake = _node()
    young = _payment(1, PaymentStageReport.SENDING, 90, EVIL)
    old = _payment(2, PaymentStageReport.PAID, 60)
    fake.payments = lambda: (young, old)
    run_session(fake, lambda session: open_lists.payments(session, as_json=False))
    text = capsys.readouterr().out
    assert text.index(format_b64(old.payment_id)) < text.index(format_b64(young.payment_id))
    assert "paid; waits for payment-status to save the receipt" in text
    assert f"frozen: 21 behind {format_b64(BOB)} since 1970-01-01T00:01:30Z" in text
    assert "\x1b" not in text
    run_session(fake, lambda session: open_lists.payments(session, as_json=True))
    listed = json.loads(capsys.readouterr().out)
    assert [payment["stage"] for payment in listed] == ["paid", "sending"]
    assert listed[1]["parts"][0]["state"] == "frozen"
    fake.payments = lambda: ()
    run_session(fake, lambda session: open_lists.payments(session, as_json=False))
    assert capsys.readouterr().out == "No open payments.\n"


def test_invoices_oldest_first(capsys: pytest.CaptureFixture[str]) -> None:
    """What has come for each, and when it ends."""
    fake = _node()
    fake.invoices = lambda: (_invoice(3, 0), _invoice(2, 20, end=5), _invoice(1, 15))
    _seller(fake, lambda node: open_lists.invoices(node, as_json=False))
    text = capsys.readouterr().out
    said = ["the rest; 15 are frozen for it", "the buyer's commit; all is frozen", "a buyer"]
    assert sorted(said, key=text.index) == said
    assert "1970-01-01T00:00:05Z" in text
    _seller(fake, lambda node: open_lists.invoices(node, as_json=True))
    listed = json.loads(capsys.readouterr().out)
    assert [(invoice["arrived"], invoice["ends"]) for invoice in listed] == [("15", None), ("20", 5), ("0", None)]
    fake.invoices = lambda: ()
    _seller(fake, lambda node: open_lists.invoices(node, as_json=False))
    assert capsys.readouterr().out == "No open invoices.\n"


def test_an_originals_node_does_not_tell(run_session: Callable[..., None]) -> None:
    """Which is said, with the name of the group."""
    fake = _node(Extension(0))
    with pytest.raises(CommandError, match=r"^BuyerError\(NotAnnounced\(this node can not tell what is open"):
        run_session(fake, lambda session: open_lists.payments(session, as_json=False))
    with pytest.raises(CommandError, match=r"^SellerError\(NotAnnounced\(this node can not tell what is open"):
        _seller(fake, lambda node: open_lists.invoices(node, as_json=False))
    assert fake.requests == []


def test_an_invoice_that_ends(tmp_path: Path) -> None:
    """The file is that of the original; an original's node is not asked, and no file is left."""
    fake, path = _node(), tmp_path / "tea.invoice"
    _seller(fake, lambda node: create_invoice(node, "FST", 20, path, expires=30))
    invoice = INVOICE.load(path)
    assert fake.requests == [AddExpiringInvoice(invoice.invoice_id, FST, 20, 30)]
    path.unlink()
    original = _node(Extension(0))
    with pytest.raises(CommandError, match=r"^SellerError\(NotAnnounced\(this node can not end an invoice by itself"):
        _seller(original, lambda node: create_invoice(node, "FST", 20, path, expires=30))
    assert original.requests == []
    assert not path.exists()
    _seller(original, lambda node: create_invoice(node, "FST", 20, path))
    assert original.requests == [AddInvoice(INVOICE.load(path).invoice_id, FST, 20)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("30s", 30), ("10m", 600), ("1h", 3600), ("2d", 172_800), ("49710d", 4_294_944_000)],
)
def test_times(text: str, seconds: int) -> None:
    """A number and a unit."""
    assert SECONDS.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "30", "0s", "-1s", "1.5h", "1 h", "1w", "49711d", "99999999999s", "\u0663s"])
def test_what_is_no_time(text: str) -> None:
    """The error says how to write one; nothing is connected to."""
    words = ["-I", "x", "-T", "x", "seller", "create-invoice", "-c", "FST", "-a", "1", "-i", "x", f"--expires={text}"]
    result = CliRunner().invoke(cli._stctrl, words)
    assert result.exit_code == 2
    assert "write 30s, 10m, 1h or 2d" in result.output


def test_a_commit_that_is_handed_over_twice_says_so(tmp_path: Path) -> None:
    """An original's node acknowledges it in silence, and so it can not be told there."""
    bill = Invoice(InvoiceId(b"\x07" * 32), FST, SELLER.public_key, 20)
    invoice, commit = tmp_path / "tea.invoice", tmp_path / "tea.commit"
    INVOICE.save(invoice, bill)
    COMMIT.save(commit, build_commit(bill, SELLER))
    fake = _node()
    fake.invoices = lambda: () if fake.asked(CommitInvoice) else (_invoice(7, 20),)
    _seller(fake, lambda node: commit_invoice(node, invoice, commit))
    with pytest.raises(CommandError, match=r"^SellerError\(InvoiceNotOpen\): the invoice was collected already"):
        _seller(fake, lambda node: commit_invoice(node, invoice, commit))
    assert len(fake.asked(CommitInvoice)) == 1
    original = _node(Extension(0))
    _seller(original, lambda node: commit_invoice(node, invoice, commit))
    assert len(original.asked(CommitInvoice)) == 1


def test_the_command_that_goes_on_logs_in_as_this_one(tmp_path):
    """With all options of the login that were given, in a form for a shell."""
    group = click.Group(
        "stctrl", params=[click.Option([f"--{name}"]) for name in ("idfile", "ticket", "directory", "passphrase-file")]
    )
    words = []

    @group.command("go")
    def go() -> None:
        words.append(command_line("buyer", "payment-status", "-p", tmp_path / "a payment"))

    group.main(["--idfile", "a", "--ticket", "n", "--passphrase-file", "p", "go"], standalone_mode=False)
    group.main(["--idfile", "a", "--ticket", "n", "go"], standalone_mode=False)
    group.main(["--directory", "d", "go"], standalone_mode=False)
    rest = f"buyer payment-status -p '{tmp_path}/a payment'"
    assert words == [f"stctrl -I a -T n --passphrase-file p {rest}", f"stctrl -I a -T n {rest}", f"stctrl -C d {rest}"]
