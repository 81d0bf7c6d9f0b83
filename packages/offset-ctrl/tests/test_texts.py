"""Texts and QR codes on the command line. Spec 13, 09 §4.3, §5.3. Codes are read by zxing, which is none of ours."""

import asyncio
import base64
import io
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import zxingcpp
from PIL import Image

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.programs import qr_codes, stmgr
from offset_ctrl.programs.stctrl import cli, config, info, seller
from offset_ctrl.programs.stctrl.buyer import pay_invoice
from offset_ctrl.programs.stctrl.payment_status import payment_status
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.programs.texts import TextOutput
from offset_ctrl.testing import ScriptedNode, build_commit, build_receipt, build_report
from offset_proto import bech32m
from offset_proto.errors import OffsetError
from offset_proto.files import (
    COMMIT,
    FRIEND_TICKET,
    IDENTITY,
    INVOICE,
    RECEIPT,
    TICKET,
    FriendTicket,
    IdentityFile,
    Invoice,
)
from offset_proto.messages.app import (
    AddFriend,
    AddInvoice,
    CommitInvoice,
    Complete,
    CreateTransaction,
    PaymentStatusSuccess,
)
from offset_proto.messages.extensions import (
    AddExpiringInvoice,
    Extension,
    OpenPaymentReport,
    PaymentStageReport,
    PaymentTarget,
)
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import NamedRelayAddress, Rate, RelayAddress
from offset_proto.text import format_b64
from offset_proto.types import Currency, InvoiceId, NetAddress, PrivateKey, PublicKey, Uid
from offset_proto.uri import PaymentRequest, format_uri, parse_uri, parse_uri_of

NODE, APP, SELLER = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3))
BOB = PublicKey(b"\x05" * 32)
RELAY = RelayAddress(PublicKey(b"\x06" * 32), NetAddress("relay.example.net:7001"))
BILL = Invoice(InvoiceId(b"\x07" * 32), Currency("FST"), SELLER.public_key, 20)
ASKED = PaymentRequest(BILL, "Tea for two, table 7", "https://shop.example.net/commit", 4_000_000_000)
FILES: dict[str, tuple[Any, Any]] = {
    "invoice": (INVOICE, BILL),
    "friend": (FRIEND_TICKET, FriendTicket(BOB, (RELAY, RELAY))),
    "commit": (COMMIT, build_commit(BILL, SELLER)),
    "receipt": (RECEIPT, build_receipt(BILL, SELLER)),
    "server": (TICKET, RELAY),
}

ORIGINAL = Extension(0)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs stmgr text, or another program, in this process: its status, what it said, what it complained of."""

    def run_main(
        *arguments: object, entered: bytes = b"", main: Callable[[], object] = stmgr.main
    ) -> tuple[int, str, str]:
        words = ["text", *arguments] if main is stmgr.main else arguments
        monkeypatch.setattr(sys, "argv", ["program", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(entered)))
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return run_main


# Files and texts.


@pytest.mark.parametrize("kind", list(FILES))
def test_a_file_becomes_a_text_and_the_same_file_again(kind: str, run: Run, tmp_path: Path) -> None:
    """To the byte; by the command line, by standard input, and by a file that holds the text."""
    file_kind, value = FILES[kind]
    first, again, third, saved = (tmp_path / name for name in ("first", "again", "third", "mail.txt"))
    file_kind.save(first, value)
    status, text, complaint = run(first)
    assert (status, complaint) == (0, "")
    assert text.startswith(f"offset:{kind}1")
    assert run(text.strip(), "-o", again) == (0, "", "")
    mail = f"\n{text[:50]}\r\n {text[50:]}\n".upper().encode()
    assert run("-o", third, "-", entered=mail) == (0, "", "")
    saved.write_bytes(mail)
    assert first.read_bytes() == again.read_bytes() == third.read_bytes()
    assert run("-", entered=mail)[1] == first.read_text() + "\n"
    assert run(saved)[1] == text


def test_what_a_file_has_no_place_for_is_said(run: Run, tmp_path: Path) -> None:
    """The description, the address and the end of an invoice; what could do harm in a terminal is not."""
    status, said, rest = run(format_uri(PaymentRequest(BILL, "Tea \u202e\u202e", "https://a.example", 1_792_059_648)))
    assert (status, said) == (0, INVOICE.format(BILL) + "\n")
    assert rest.splitlines() == [
        "For: Tea \\u202e\\u202e",
        "The seller takes the commit at https://a.example",
        "It ends at 2026-10-15T10:20:48Z.",
    ]
    assert run(format_uri(ASKED), "-o", tmp_path / "bill")[2].startswith("For: Tea for two")
    assert run(format_uri(PaymentRequest(BILL, end=2**64 - 1)))[2] == f"It ends at {2**64 - 1} seconds after 1970.\n"


def test_what_is_no_text_and_no_such_file(run: Run, tmp_path: Path) -> None:
    """Status 1, and one line that says what is wrong; nothing is written."""
    identity, other, out = (tmp_path / name for name in ("a.ident", "other", "out"))
    IDENTITY.save(identity, IdentityFile(PrivateKey(b"\x01" * 32)))
    other.write_text("[1]")
    slip = format_uri(ASKED).replace("invoice1qqurs", "invoice1qqucs")
    for source, reason in [
        (identity, "this holds a private key, which is not handed over"),
        (other, "this is none of them"),
        (tmp_path / "none", "No such file or directory"),
        (slip, "character 19 is probably wrong"),
        ("offset:payment1qqqqqqqqq", "'payment' is no kind of text"),
    ]:
        status, said, complaint = run(source, "-o", out)
        assert (status, said) == (1, "")
        assert len(complaint.splitlines()) == 1
        assert "run() error: TextError(" in complaint
        assert reason in complaint
    assert "is not UTF-8 at byte 0" in run("-", entered=b"\xff")[2]
    assert "more than a text is on standard input" in run("-", entered=b" " * 100_000)[2]
    assert "OutputAlreadyExists" in run(format_uri(ASKED), "-o", other)[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ident", "other"]


# QR codes.


def _read(image: Image.Image) -> str:
    """The text of the one QR code in a picture."""
    (found,) = zxingcpp.read_barcodes(image, formats=zxingcpp.BarcodeFormat.QRCode)
    return str(found.text)


def _read_image(pixels: list[list[int]]) -> str:
    """The text of the one QR code among grey pixels."""
    data = bytes(pixel for row in pixels for pixel in row)
    return _read(Image.frombytes("L", (len(pixels[0]), len(pixels)), data))


def _read_terminal(lines: str, light: int, dark: int) -> list[list[int]]:
    """What a terminal shows, 4 pixels to a module; characters are drawn in *light* on *dark*."""
    upper = {"█": light, "▀": light, "▄": dark, " ": dark}
    lower = {"█": light, "▀": dark, "▄": light, " ": dark}
    rows = []
    for line in lines.splitlines():
        for half in (upper, lower):
            rows += [[half[character] for character in line for _ in range(4)]] * 4
    return rows


@pytest.mark.parametrize("kind", [*FILES, "asked"])
def test_a_picture_is_read_by_another_program(kind: str, run: Run, tmp_path: Path) -> None:
    """PNG; in upper case, and it is the same value."""
    value = ASKED if kind == "asked" else PaymentRequest(BILL) if kind == "invoice" else FILES[kind][1]
    path = tmp_path / "code.png"
    assert run(format_uri(value), "-o", path) == (0, "", "")
    text = _read(Image.open(path))
    assert text == format_uri(value).upper()
    assert value == parse_uri(text)


def test_a_drawing_has_the_same_modules(run: Run, tmp_path: Path) -> None:
    """SVG: black on a white ground, on which the quiet zone stands out wherever the picture is put."""
    path = tmp_path / "code.SVG"
    assert run(format_uri(ASKED), "-o", path) == (0, "", "")
    drawing = path.read_text()
    assert 'fill="#fff"' in drawing
    assert 'stroke="#000"' in drawing
    side = qr_codes.columns_of(format_uri(ASKED))
    pixels = [[255] * side for _ in range(side)]
    (strokes,) = re.findall(r'stroke="#000" d="([^"]*)"', drawing)
    x, y = 0, 0.0
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", strokes):
        parts = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if command == "h":
            for column in range(x, x + int(parts[0])):
                pixels[int(y)][column] = 0
            x += int(parts[0])
        else:
            x, y = (int(parts[0]), parts[1]) if command == "M" else (x + int(parts[0]), y + parts[1])
    wide = [[pixel for pixel in row for _ in range(4)] for row in pixels for _ in range(4)]
    assert parse_uri(_read_image(wide)) == ASKED


@pytest.mark.parametrize("kind", list(FILES))
def test_a_code_in_a_terminal_is_read_by_another_program(kind: str, run: Run) -> None:
    """Where colours are taken away it is read on a dark ground, by programs that know no inverted codes."""
    value = PaymentRequest(BILL) if kind == "invoice" else FILES[kind][1]
    status, said, complaint = run(format_uri(value), "--qr")
    assert (status, complaint) == (0, "")
    assert parse_uri(_read_image(_read_terminal(said, 255, 0))) == value
    lines = said.splitlines()
    width = qr_codes.columns_of(format_uri(value))
    assert {len(line) for line in lines} == {width}
    assert len(lines) == (width + 1) // 2
    quiet = lines[:2] + lines[-2:] + [line[:4] for line in lines] + [line[-4:] for line in lines]
    assert set("".join(quiet)) == {"█"}


def test_a_terminal_of_any_colours_shows_black_on_white() -> None:
    """Both colours are said on each line, and taken back at its end, so neither a dark nor a light terminal matters."""
    for line in qr_codes.for_terminal(format_uri(ASKED)).splitlines():
        assert re.fullmatch(r"\x1b\[38;5;231m\x1b\[48;5;16m[ ▄▀█]+\x1b\[0m", line)


def test_the_form_for_qr_codes_takes_fewer_modules_than_base64url() -> None:
    """Spec 13 §6, at the two lower levels of error correction: base64url with a checksum of 4 bytes, in byte mode."""
    import segno

    def side(text: str, mode: str, level: str) -> int:
        return int(segno.make_qr(text, mode=mode, error=level, boost_error=False).symbol_size(border=0)[0])

    for value in (PaymentRequest(BILL), ASKED, *(value for kind, (_, value) in FILES.items() if kind != "invoice")):
        text = format_uri(value)
        kind, symbols = bech32m.decode(text.removeprefix("offset:"))
        data = bytes(1) + bech32m.bytes_of(symbols[1:]) + bytes(4)
        other = f"offset:{kind}1" + base64.urlsafe_b64encode(data).rstrip(b"=").decode()
        for level in "lm":
            assert side(text.upper(), "alphanumeric", level) < side(other, "byte", level)


def test_without_segno(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command says what to install, before it does anything; a text needs nothing."""
    monkeypatch.setitem(sys.modules, "segno", None)
    for options in (["--qr"], ["-o", tmp_path / "code.png"]):
        status, said, complaint = run(format_uri(ASKED), *options)
        assert (status, said) == (1, "")
        assert "pip install 'offset-ctrl[qr]'" in complaint
        login = ["-I", tmp_path / "no.ident", "-T", tmp_path / "no.ticket"]
        create = ["seller", "create-invoice", "-c", "FST", "-a", "1", "-i", tmp_path / "x.invoice"]
        assert "pip install 'offset-ctrl[qr]'" in run(*login, *create, *options, main=cli.main)[2]
    assert list(tmp_path.iterdir()) == []
    assert run(format_uri(ASKED))[0] == 0


def test_a_picture_of_another_kind_and_one_that_is_there(tmp_path: Path) -> None:
    """It is known before anything is done."""
    with pytest.raises(OffsetError, match=r"ends with \.svg or \.png"):
        TextOutput(picture=tmp_path / "code.pdf").check()
    (tmp_path / "code.png").touch()
    with pytest.raises(OffsetError, match="OutputAlreadyExists"):
        TextOutput(picture=tmp_path / "code.png").check()


def test_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A code whose lines are broken can not be read, so the text is there instead; what was done stays done."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    TextOutput(as_qr=True).show(ASKED)
    said = capsys.readouterr()
    assert said.out == format_uri(ASKED) + "\n"
    assert said.err == "The QR code needs a terminal of 53 columns; -o FILE.png draws it.\n"
    monkeypatch.setenv("COLUMNS", "53")
    TextOutput(as_qr=True).show(ASKED)
    assert parse_uri(_read_image(_read_terminal(click.unstyle(capsys.readouterr().out), 255, 0))) == ASKED


# The commands of stctrl.


def _node(extensions: Extension = ORIGINAL) -> ScriptedNode:
    relay = NamedRelayAddress(RELAY.public_key, RELAY.address, "relay")
    node = ScriptedNode(NODE, build_report(NODE.public_key, relays=(relay,)))
    node.extensions = extensions
    route = FriendsRoute((NODE.public_key, BOB, SELLER.public_key))
    node.routes = lambda asked: (MultiRoute((RouteCapacityRate(route, 1000, Rate(0, 1)),)),)
    return node


def _do(fake: ScriptedNode, command: Callable[[Any], Awaitable[object]], open_: Any = open_node) -> object:
    async def main() -> object:
        ticker = Ticker(0.03)
        async with (
            asyncio.timeout(20),
            fake.serve(ticker) as ticket,
            open_(ticket.address, ticket.public_key, APP, ticker) as node,
        ):
            return await command(node)

    return asyncio.run(main())


def _create(node: NodeConnection, path: Path, **options: Any) -> Awaitable[None]:
    return seller.create_invoice(node, "FST", 20, path, **options)


def test_an_invoice_is_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text says what the file does, what it is for, and when the node cancels it."""
    fake = _node(Extension.EXPIRING_INVOICES)
    monkeypatch.setattr("offset_ctrl.programs.stctrl.seller.time.time", lambda: 1_792_000_000.5)
    path, output = tmp_path / "x.invoice", TextOutput(as_text=True, picture=tmp_path / "x.png")
    _do(
        fake,
        lambda node: _create(node, path, expires=600, description="Tea", deliver_to="https://a.example", output=output),
    )
    (request,) = [request for request in fake.requests if isinstance(request, AddExpiringInvoice)]
    shown = parse_uri_of(PaymentRequest, capsys.readouterr().out)
    assert shown == PaymentRequest(INVOICE.load(path), "Tea", "https://a.example", 1_792_000_600)
    assert shown.invoice == Invoice(request.invoice_id, Currency("FST"), NODE.public_key, 20)
    assert parse_uri(_read(Image.open(tmp_path / "x.png"))) == shown


def test_an_invoice_without_a_text_says_nothing_beside_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would be lost is refused before the node hears of the invoice, and so is what no text may say."""
    fake, path = _node(), tmp_path / "x.invoice"
    with pytest.raises(CommandError, match=r"SellerError\(NoText\): the file has no place for --deliver-to"):
        _do(fake, lambda node: _create(node, path, deliver_to="https://a.example"))
    with pytest.raises(CommandError, match=r"SellerError\(NotAnnounced"):  # the node keeps no notes, either
        _do(fake, lambda node: _create(node, path, description="Tea"))
    with pytest.raises(CommandError, match=r"SellerError\(InvalidText\(the delivery address 'http://"):
        _do(fake, lambda node: _create(node, path, deliver_to="http://a.example", output=TextOutput(as_text=True)))
    assert fake.requests == []
    assert not path.exists()
    _do(fake, lambda node: _create(node, path))
    assert [type(request) for request in fake.requests] == [AddInvoice]
    assert capsys.readouterr().out == ""


def _pay_asked(fake: ScriptedNode, folder: Path, timeout: float = 10.0) -> object:
    files = (folder / "x.payment", folder / "x.commit")
    return _do(
        fake,
        lambda session: pay_invoice(
            session, None, *files, extra_fees=0, timeout=timeout, asked=ASKED, output=TextOutput(as_text=True)
        ),
        open_session,
    )


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offset_ctrl.programs.stctrl.payment_status.ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("offset_ctrl.programs.stctrl.buyer.CLOSE_SECONDS", 0.3)


@pytest.mark.usefixtures("_short")
def test_a_payment_request_is_paid_by_texts_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The buyer sees what it is for, and gets a commit and a receipt to hand over; the commit also a second time."""
    fake = _node()
    commit, receipt = FILES["commit"][1], FILES["receipt"][1]
    fake.results = lambda asked: Complete(commit)
    assert _pay_asked(fake, tmp_path) is None
    *words, text = capsys.readouterr().out.splitlines()
    assert words == [
        f"Asked for: 20 FST to {format_b64(SELLER.public_key)}",
        "For: Tea for two, table 7",
        "The seller takes the commit at https://shop.example.net/commit",
        "It ends at 2096-10-02T07:06:40Z.",
        "Total fees: 1",
        "Payment successful!",
    ]
    assert parse_uri(text) == COMMIT.load(tmp_path / "x.commit") == commit
    assert _pay_asked(fake, tmp_path) is None
    assert capsys.readouterr().out.splitlines()[-1] == text

    fake.status = lambda asked: PaymentStatusSuccess(receipt, Uid(b"\x01" * 16))
    status = {"receipt": tmp_path / "x.receipt", "output": TextOutput(as_text=True)}
    _do(fake, lambda session: payment_status(session, tmp_path / "x.payment", **status), open_session)
    said, text = capsys.readouterr().out.splitlines()
    assert said == "Payment succeeded. Saving receipt to file."
    assert parse_uri(text) == RECEIPT.load(tmp_path / "x.receipt") == receipt


@pytest.mark.usefixtures("_short")
def test_a_commit_that_is_delivered(tmp_path: Path, capsys: pytest.CaptureFixture[str], listen: Any) -> None:
    """One command pays, delivers, and saves the receipt; where the address refuses, the commit is shown."""
    statuses, heard = [404, 200], list[bytes]()
    fake = _node()
    fake.results = lambda asked: Complete(FILES["commit"][1])

    async def shop(reader: Any, writer: Any) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])))
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % statuses.pop(0))
        fake.status = lambda asked: PaymentStatusSuccess(FILES["receipt"][1], Uid(b"\x01" * 16))

    def pay(session: NodeSession, port: int) -> Awaitable[object]:
        asked = replace(ASKED, delivery=f"http://127.0.0.1:{port}/api/v1/commits")
        files = (tmp_path / "x.payment", tmp_path / "x.commit")
        options = {"asked": asked, "output": TextOutput(as_text=True), "receipt": tmp_path / "x.receipt"}
        return pay_invoice(session, None, *files, extra_fees=0, timeout=10.0, delivers=True, **options)

    async def both(session: NodeSession) -> None:
        async with listen(shop) as port:
            assert await pay(session, port) == 3
            said = capsys.readouterr()
            assert "was not delivered" in said.err
            assert said.out.splitlines()[-1] == format_uri(FILES["commit"][1])
            (go_on,) = [line for line in said.err.splitlines() if line.startswith("go on: ")]
            asked = parse_uri_of(PaymentRequest, go_on.partition("--text ")[2].partition(" ")[0])
            assert asked.delivery == f"http://127.0.0.1:{port}/api/v1/commits"
            assert go_on.endswith(f"-r {tmp_path / 'x.receipt'}")
            assert await pay(session, port) is None

    _do(fake, both, open_session)
    assert [COMMIT.parse(body.decode()) for body in heard] == [FILES["commit"][1]] * 2
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("The commit was delivered to http://127.0.0.1:")
    assert said[-1] == "Payment succeeded. Saving receipt to file."
    assert RECEIPT.load(tmp_path / "x.receipt") == FILES["receipt"][1]
    assert not (tmp_path / "x.payment").exists()


def test_a_receipt_that_can_not_come(tmp_path: Path) -> None:
    """It is said before anything is paid."""
    fake = _node()
    files = (tmp_path / "x.payment", tmp_path / "x.commit")
    pay = {"extra_fees": 0, "timeout": 10.0, "receipt": tmp_path / "x.receipt", "asked": PaymentRequest(BILL)}
    with pytest.raises(OffsetError, match="NoDeliveryAddress"):
        _do(fake, lambda session: pay_invoice(session, None, *files, delivers=True, **pay), open_session)
    RECEIPT.save(tmp_path / "x.receipt", FILES["receipt"][1])
    pay["asked"] = ASKED
    with pytest.raises(OffsetError, match="ReceiptFileAlreadyExists"):
        _do(fake, lambda session: pay_invoice(session, None, *files, delivers=True, **pay), open_session)
    assert fake.requests == []


@pytest.mark.usefixtures("_short")
def test_a_payment_by_text_goes_on_by_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file has the invoice, so both commands say the text with which to go on, which is the whole one."""
    fake = _node(Extension.OPEN_PAYMENTS)
    assert _pay_asked(fake, tmp_path, timeout=0.3) == 3
    (go_on,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("go on: ")]
    assert go_on == (
        f"go on: stctrl buyer pay-invoice --text {format_uri(ASKED)} "
        f"-p {tmp_path / 'x.payment'} -c {tmp_path / 'x.commit'} --by-hand"
    )
    (sent,) = fake.asked(CreateTransaction)
    target = PaymentTarget(BILL.invoice_id, BILL.currency, 20, SELLER.public_key)
    report = OpenPaymentReport(sent.payment_id, PaymentStageReport.SENDING, target, (), None)
    fake.payments = lambda: (report,)
    _do(fake, lambda session: payment_status(session, tmp_path / "x.payment"), open_session)
    assert go_on in capsys.readouterr().err.splitlines()
    fake.payments = lambda: (replace(report, opt_commit=FILES["commit"][1]),)
    assert _pay_asked(fake, tmp_path) is None
    assert parse_uri(capsys.readouterr().out.splitlines()[-1]) == FILES["commit"][1]


def test_an_invoice_that_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and left to the seller's node, whose clock counts."""
    asked = PaymentRequest(BILL, end=1_000_000_000)
    fake = _node()
    pay = {"extra_fees": 0, "timeout": 10.0, "dry_run": True, "asked": asked}
    _do(fake, lambda session: pay_invoice(session, None, None, None, **pay), open_session)
    assert "the seller's node has cancelled this invoice already" in capsys.readouterr().err


def test_a_commit_is_collected_by_its_text(tmp_path: Path) -> None:
    """As by its file: it has to be the commit of this invoice."""
    fake, path, commit = _node(), tmp_path / "x.invoice", FILES["commit"][1]
    INVOICE.save(path, BILL)
    _do(fake, lambda node: seller.commit_invoice(node, path, None, commit_text=commit))
    assert fake.requests == [CommitInvoice(commit)]
    other = replace(commit, invoice_id=InvoiceId(b"\x08" * 32))
    with pytest.raises(CommandError, match=r"^SellerError\("):
        _do(fake, lambda node: seller.commit_invoice(node, path, None, commit_text=other))
    assert len(fake.requests) == 1


def test_a_node_is_added_by_the_text_of_its_ticket(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exported without a file, and taken without one; the file is written where it is asked for, too."""
    _do(_node(), lambda node: info.export_ticket(node, None, as_json=False, output=TextOutput(as_text=True)))
    ticket = parse_uri_of(FriendTicket, capsys.readouterr().out)
    assert ticket == FriendTicket(NODE.public_key, (RELAY,))
    _do(_node(), lambda node: info.export_ticket(node, tmp_path / "x", as_json=False, output=TextOutput(as_text=True)))
    assert FRIEND_TICKET.load(tmp_path / "x") == parse_uri(capsys.readouterr().out) == ticket

    fake = _node()
    with pytest.raises(CommandError, match="RequestRefused"):  # a scripted node carries nothing out
        _do(fake, lambda node: config.add_friend(node, None, "bob", ticket=ticket))
    (added,) = fake.asked(AddFriend)
    assert (added.friend_public_key, added.relays, added.name) == (NODE.public_key, (RELAY,), "bob")


def test_a_ticket_that_no_qr_code_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says how large it is, and what to do instead."""
    fake = _node()
    relay = NamedRelayAddress(RELAY.public_key, NetAddress("x" * 256), "relay")
    fake._report = replace(fake._report, funder_report=replace(fake._report.funder_report, relays=(relay,) * 16))
    with pytest.raises(CommandError, match=r"InfoError\(TextError\(.* 16 relays .*: hand it over as a file"):
        _do(fake, lambda node: info.export_ticket(node, None, as_json=False, output=TextOutput(as_text=True)))
    assert capsys.readouterr().out == ""


LOGIN = ["-I", "a.ident", "-T", "a.ticket"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["buyer", "pay-invoice", "-p", "p", "-c", "c"], "Give one of --invoice and --text"),
        (["buyer", "pay-invoice", "-p", "p", "-c", "c", "-i", "i", "--text", "T"], "Give one of --invoice and --text"),
        (["buyer", "pay-invoice", "--text", "T"], "Missing option '-p' / '--payment'"),
        (["buyer", "pay-invoice", "-p", "p", "-c", "c", "--text", "offset:x1"], "after the 1 stand 0 characters"),
        (["seller", "commit-invoice", "-i", "i"], "Give one of --commit and --text"),
        (["seller", "commit-invoice", "-i", "i", "--text", "T"], "this is the text of an invoice, .* of a commit"),
        (["config", "add-friend", "-n", "bob"], "Give one of --friend and --text"),
        (["config", "set-friend-relays", "-n", "bob"], "Give one of --friend and --text"),
        (["config", "add-friend", "-n", "bob", "--text", "T"], "this is the text of an invoice, .* of a friend"),
        (["info", "export-ticket"], "Missing option '-t' / '--ticket'"),
        (["info", "export-ticket", "-t", "t", "--json", "--text"], "--json prints JSON only"),
        (["buyer", "payment-status", "-p", "p", "--qr", "--json"], "--json prints JSON only"),
    ],
)
def test_usage(run: Run, words: list[str], reason: str) -> None:
    """A wrong text is an error of the command line, which is found before anybody connects."""
    given = [format_uri(ASKED) if word == "T" else word for word in words]
    status, said, complaint = run(*LOGIN, *given, main=cli.main)
    assert (status, said) == (2, "")
    assert re.search(reason, complaint)


def test_a_text_from_standard_input(run: Run) -> None:
    """With -, whatever a mail has done to it; here the command gets as far as the missing identity."""
    pay = [*LOGIN, "buyer", "pay-invoice", "-p", "p", "-c", "c", "--text", "-"]
    text = format_uri(ASKED)
    status, _, complaint = run(*pay, entered=f"{text[:70]}\n{text[70:]}\n".encode(), main=cli.main)
    assert (status, "IdFileDoesNotExist" in complaint) == (1, True)
    assert "the checksum does not match" in run(*pay, entered=text[:-1].encode(), main=cli.main)[2]
