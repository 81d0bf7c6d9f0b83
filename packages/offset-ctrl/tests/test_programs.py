"""stmgr and stverify, and tables. Spec 09 §4, §6, §10."""

import base64
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from offset_crypto.identity import Identity
from offset_ctrl.programs import stmgr, stverify
from offset_ctrl.programs.table import format_table
from offset_proto.files import APP_TICKET, IDENTITY, INVOICE, NODE_ENTRY, RECEIPT, TICKET, Invoice
from offset_proto.messages.payment import Receipt
from offset_proto.types import Currency, HashResult, InvoiceId, PlainLock, PrivateKey, Signature

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a program in this process: its status, what it said, and what it complained of."""

    def run_main(main: Callable[[], None], *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return run_main


def test_table_of_the_specification():
    """Spec 09 §6, to the character."""
    cell = "Consistent:\n- FST: B  =0\nLPD=0\nRPD=0\n\n"
    assert format_table(["st", "name", "balance"], [["E+", "node1", cell]]) == (
        "+----+-------+--------------+\n"
        "| st | name  | balance      |\n"
        "+====+=======+==============+\n"
        "| E+ | node1 | Consistent:  |\n"
        "|    |       | - FST: B  =0 |\n"
        "|    |       | LPD=0        |\n"
        "|    |       | RPD=0        |\n"
        "|    |       |              |\n"
        "+----+-------+--------------+"
    )


def test_tables_of_wide_and_hostile_names():
    """A wide character takes two columns; what would steer the terminal is spelled out."""
    table = format_table(["name"], [["日本"], ["\x1b[2J"]])
    assert "| 日本    |" in table
    assert "\x1b" not in table
    assert r"\x1b[2J" in table


def test_tickets(run, tmp_path):
    """Each kind of file holds the public key of the identity, or names what it needs."""
    ident, entry = tmp_path / "a.ident", tmp_path / "a.entry"
    assert run(stmgr.main, "gen-ident", "-o", ident)[0] == 0
    identity = Identity(IDENTITY.load(ident).private_key)
    for kind in ("relay", "index", "node"):
        ticket = tmp_path / f"{kind}.ticket"
        assert run(stmgr.main, f"{kind}-ticket", "-i", ident, "-a", "127.0.0.1:1337", "-o", ticket)[0] == 0
        assert TICKET.load(ticket).public_key == identity.public_key
        assert TICKET.load(ticket).address == "127.0.0.1:1337"
    app = tmp_path / "app.ticket"
    assert run(stmgr.main, "app-ticket", "-i", ident, "-o", app, "--pbuyer", "--proutes")[0] == 0
    permissions = APP_TICKET.load(app).permissions
    assert (permissions.routes, permissions.buyer, permissions.seller, permissions.config) == (True, True, False, False)
    assert not permissions.allows("history")
    assert "history" not in app.read_text()
    reader = tmp_path / "reader.ticket"
    assert run(stmgr.main, "app-ticket", "-i", ident, "-o", reader, "--phistory")[0] == 0
    may = APP_TICKET.load(reader).permissions
    assert [flag for flag in ("routes", "buyer", "seller", "config", "history") if may.allows(flag)] == ["history"]
    assert run(stmgr.main, "node-entry", "-n", ident, "-p", ident, "-a", "h:1", "-o", entry)[0] == 0
    assert NODE_ENTRY.load(entry).app_private_key == IDENTITY.load(ident).private_key
    status, _, complaint = run(stmgr.main, "gen-ident", "-o", ident)
    assert status == 1
    assert complaint.endswith(f"ERROR stmgr] run() error: GenIdentityError(OutputAlreadyExists({ident}))\n")
    assert Identity(IDENTITY.load(ident).private_key).public_key == identity.public_key


def test_a_database_needs_the_node(run, tmp_path, monkeypatch):
    """stmgr alone says which package to install, and leaves no file."""
    ident, database = tmp_path / "a.ident", tmp_path / "a.db"
    run(stmgr.main, "gen-ident", "-o", ident)
    for module in (
        "offset_node.database.sqlite",
        "offset_node.database.original",
        "offset_funder.state",
        "offset_node",
    ):
        monkeypatch.setitem(sys.modules, module, None)
    status, _, complaint = run(stmgr.main, "init-node-db", "-i", ident, "-o", database)
    assert status == 1
    assert "pip install offset-node" in complaint
    assert not database.exists()


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["gen-ident"], ["gen-ident", "-x", "1"], ["gen-ident", "-o"]])
def test_usage(run, arguments):
    """What is wrong with the command line has status 2, on stderr."""
    for main in (stmgr.main, stverify.main):
        status, said, complaint = run(main, *arguments)
        assert (status, said) == (2, "")
        if arguments:
            assert complaint.startswith("error: ")
            assert len(complaint.splitlines()) == 1
        else:
            assert complaint.startswith("Usage: ")


def test_recorded_receipt(run, tmp_path):
    """Spec 09 §10.1: a receipt that the original made."""
    signature = "u3JUozNtfZmjftudduXMdC111lx70VaPA8y-6hF8Cb8tfuT2le4PRIOB7pHPU1kUP5461AVEBDeTA7NnFJ8ZBA"
    receipt = Receipt(
        response_hash=HashResult(b"\x02" * 32),
        invoice_id=InvoiceId(b"\x05" * 32),
        currency=Currency("FST"),
        src_plain_lock=PlainLock(b"\x03" * 32),
        dest_plain_lock=PlainLock(b"\x04" * 32),
        is_complete=True,
        dest_payment=50,
        total_dest_payment=50,
        signature=Signature(base64.urlsafe_b64decode(signature + "==")),
    )
    seller = Identity(PrivateKey(b"\x01" * 32)).public_key
    INVOICE.save(tmp_path / "x.invoice", Invoice(InvoiceId(b"\x05" * 32), Currency("FST"), seller, 50))
    RECEIPT.save(tmp_path / "x.receipt", receipt)
    command = ["verify-receipt", "-i", tmp_path / "x.invoice", "-r", tmp_path / "x.receipt"]
    assert run(stverify.main, *command) == (0, "Receipt is valid!\n", "")


def _receipt_and_invoice(tmp_path: Path, **changed: object) -> tuple[Path, Path]:
    seller = Identity(PrivateKey(b"\x01" * 32))
    invoice = Invoice(
        **{
            "invoice_id": InvoiceId(b"\x02" * 32),
            "currency": Currency("FST"),
            "dest_public_key": seller.public_key,
            "dest_payment": 10,
        }
        | changed
    )
    receipt = Receipt(
        response_hash=HashResult(bytes(32)),
        invoice_id=InvoiceId(b"\x02" * 32),
        currency=Currency("FST"),
        src_plain_lock=PlainLock(bytes(32)),
        dest_plain_lock=PlainLock(bytes(32)),
        is_complete=True,
        dest_payment=10,
        total_dest_payment=10,
        signature=Signature(bytes(64)),
    )
    paths = tmp_path / "x.invoice", tmp_path / "x.receipt"
    INVOICE.save(paths[0], invoice)
    RECEIPT.save(paths[1], receipt)
    return paths


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"invoice_id": InvoiceId(b"\x03" * 32)}, "InvoiceIdMismatch: the receipt is one of another invoice"),
        ({"dest_payment": 11}, "DestPaymentMismatch: the receipt is one for another amount than the invoice asks for"),
        (
            {"currency": Currency("EUR")},
            "CurrencyMismatch: the receipt is one in another currency than that of the invoice",
        ),
        ({}, "InvalidReceipt: the seller of the invoice has not signed this receipt"),
    ],
)
def test_receipts_that_prove_nothing(run, tmp_path, changed, complaint):
    """Spec 09 §10.1: of another invoice, another amount, another currency (D88), and unsigned."""
    invoice, receipt = _receipt_and_invoice(tmp_path, **changed)
    status, said, complained = run(stverify.main, "verify-receipt", "-i", invoice, "-r", receipt)
    assert (status, said) == (1, "")
    assert complained.endswith(f"ERROR stverify] error: {complaint}\n")
