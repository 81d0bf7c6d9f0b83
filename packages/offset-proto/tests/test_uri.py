"""
What people hand over as one line of text. Spec 13.

The recorded texts are those of the specification: payloads that were put together by hand from the hex digits of each
field, with the checksum by the reference code of BIP-350.
"""

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offset_proto import bech32m
from offset_proto.errors import InvalidInput
from offset_proto.files import FriendTicket, Invoice
from offset_proto.messages.payment import Commit, Receipt, RelayAddress
from offset_proto.payload import PayloadReader, number_bytes
from offset_proto.types import (
    U64_MAX,
    U128_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    NetAddress,
    PlainLock,
    PublicKey,
    Signature,
)
from offset_proto.uri import TEXT_CHARACTERS_MAX, PaymentRequest, format_uri, parse_uri, parse_uri_of

ALPHANUMERIC = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")  # ISO/IEC 18004


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


A = PublicKey(_bytes("iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"))
B = PublicKey(_bytes("gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q"))
INVOICE = Invoice(InvoiceId(b"\x11" * 32), Currency("FST"), A, 50)
COMMIT = Commit(
    response_hash=HashResult(_bytes("YILk1BJfZ1WrxMWEDwxwRmQHUUnrTAyO13CmdNX-o2w")),
    src_plain_lock=PlainLock(b"\x22" * 32),
    dest_hashed_lock=HashedLock(_bytes("ls9yhe4PkjtXPZCBCNNLJY4R_a-e57gsBgfXL-Wfoig")),
    dest_payment=50,
    total_dest_payment=50,
    invoice_id=InvoiceId(b"\x11" * 32),
    currency=Currency("FST"),
    signature=Signature(
        _bytes("QiUFZZsOz1j6TTtqgS2sgh5z6dlWAcapxNxM_6KhfJnAopksnyMJqKJ66yMbfPtN4WErNJygiiuyT0uSNuH9Dg")
    ),
)
RECEIPT = Receipt(
    response_hash=COMMIT.response_hash,
    invoice_id=COMMIT.invoice_id,
    currency=COMMIT.currency,
    src_plain_lock=COMMIT.src_plain_lock,
    dest_plain_lock=PlainLock(b"\x33" * 32),
    is_complete=True,
    dest_payment=50,
    total_dest_payment=50,
    signature=COMMIT.signature,
)

PLAIN = (
    "offset:invoice1qzyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygsx3jn2j9g3c7awsylr90a2tdj6096t4ev5ecfhuwegysm7d6"
    "gsqd5pah4cv"
)
"""The text of the invoice without its last symbol and checksum."""

RECORDED = {
    f"{PLAIN}srxgkgn": PaymentRequest(INVOICE),
    f"{PLAIN}sppd2x2cfqvehhygr5wahsxyrndphhqtn90psk6urvv5hxuet5q5zcp5kz6crq5r5dap": PaymentRequest(
        INVOICE, "Tea for two", "https://shop.example.net", 1_792_059_648
    ),
    "offset:friend1q32yw8ht5p8cetl2jmvknewjawt9xwzdlrk2pyxlnwjyqrdq0dawqrqfewu82slghtat2x4rxcdx8anxt3k9frd8wx739mas0tw8u"
    "nvu5pucnydewxqhrqt338g6rzdesxgwax43l": FriendTicket(A, (RelayAddress(B, NetAddress("127.0.0.1:41702")),)),
    "offset:commit1qvzpwf4qjtan4t27yckzq7rrsgejqw52fadxqerkhwzn8f4075dkzyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3z"
    "yg5keaegtms0jga4w0vssyydxje93cglmtu7u7uzcps86uh7t8az9qeryyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3qdr9x4z"
    "zy5zktxcweav05nfmd2qjmtyzree7nk2kq8r2n3xufnl69gtun8q29xfvnu3sn29z0t4jxxmuldx7zcftxjw2pz3tkf85hy3ku87suaadur9": (
        COMMIT
    ),
    "offset:receipt1qvzpwf4qjtan4t27yckzq7rrsgejqw52fadxqerkhwzn8f4075dkpzyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg"
    "3zygrgef4gg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zxvenxvenxvenxvenxvenxvenxvenxvenxvenxvenxvenxvenxveszv3"
    "jggjs2evmpm8437jd8d4gztdvsg0886we2cqud2wym3x0lg4p0jvupg5e9j0jxzdg5fawkgcm0na5mctp9v6fegy29wey7jujxmsl6rsxwecm4": (
        RECEIPT
    ),
    "offset:server1q32yw8ht5p8cetl2jmvknewjawt9xwzdlrk2pyxlnwjyqrdq0dawpvun9d3shjtn90psk6urvv5hxxmmd8gcnxveh0mz2ex": (
        RelayAddress(A, NetAddress("relay.example.com:1337"))
    ),
}


@pytest.mark.parametrize("text", list(RECORDED), ids=lambda text: text[7:15])
def test_recorded_texts(text):
    """Spec 13 §5: the values of chapter 8, as texts, in either case."""
    assert text == format_uri(RECORDED[text])
    assert RECORDED[text] == parse_uri(text) == parse_uri(text.upper())
    assert set(text.upper()) <= ALPHANUMERIC


# Any value.


def bytes_of(cls: Any) -> st.SearchStrategy[Any]:
    """Any value of a class of byte strings."""
    return st.binary(min_size=cls.SIZE, max_size=cls.SIZE).map(cls)


amounts = st.integers(0, U128_MAX) | st.integers(0, 1000)
currencies = (
    st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda text: len(text.encode()) <= 16).map(Currency)
)
servers = st.builds(
    RelayAddress, bytes_of(PublicKey), st.text(st.characters(codec="ascii"), max_size=60).map(NetAddress)
)
invoices = st.builds(Invoice, bytes_of(InvoiceId), currencies, bytes_of(PublicKey), amounts)
descriptions = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=60)
hosts = st.from_regex(r"[a-z]{1,20}\.example(:[1-9][0-9]{0,3})?(/[A-Za-z0-9~_.-]{0,30}){0,3}", fullmatch=True)
requests = st.builds(
    PaymentRequest,
    invoices,
    st.none() | descriptions,
    st.none() | hosts.map("https://{}".format),
    st.none() | st.integers(0, U64_MAX),
)
commits = st.builds(
    Commit,
    bytes_of(HashResult),
    bytes_of(PlainLock),
    bytes_of(HashedLock),
    amounts,
    amounts,
    bytes_of(InvoiceId),
    currencies,
    bytes_of(Signature),
)
receipts = st.builds(
    Receipt,
    bytes_of(HashResult),
    bytes_of(InvoiceId),
    currencies,
    bytes_of(PlainLock),
    bytes_of(PlainLock),
    st.booleans(),
    amounts,
    amounts,
    bytes_of(Signature),
)
tickets = st.builds(FriendTicket, bytes_of(PublicKey), st.lists(servers, max_size=16).map(tuple))
texted = requests | tickets | commits | receipts | servers


@given(texted)
def test_any_value_survives_its_text(value):
    """And it has one text only: what is read is written again to the letter."""
    text = format_uri(value)
    assert value == parse_uri(text) == parse_uri_of(type(value), text.upper())
    assert text == format_uri(parse_uri(text))
    assert set(text.upper()) <= ALPHANUMERIC


@given(texted, st.data())
def test_white_space_and_a_missing_scheme_change_nothing(value, data):
    """Spec 13 §2: a mail breaks long lines, and a person may leave out what looks like no part of it."""
    text = format_uri(value)
    position = data.draw(st.integers(0, len(text)))
    assert value == parse_uri(f" {text[:position]}\r\n  {text[position:]}\n")
    assert value == parse_uri(text.removeprefix("offset:")) == parse_uri("Offset:" + text[7:])


@given(st.binary(max_size=300), st.sampled_from(["invoice", "friend", "commit", "receipt", "server"]))
def test_bytes_that_are_no_value(data, kind):
    """Whatever a good checksum stands on: a value, or an error that begins with where it was."""
    text = "offset:" + bech32m.encode(kind, [0, *bech32m.symbols_of(data)])
    complaint, value = "", None
    try:
        value = parse_uri(text)
    except InvalidInput as error:
        complaint = str(error)
    assert value is not None or complaint.startswith((kind, "record", "the description", "the delivery"))


# Slips.

SLIPS = "qpzry9x8gf2tvdw0s3jn54khce6mua7lbio1 -_.:QL"
TYPED = f"{PLAIN}srxgkgn"


def _is_refused(text: str) -> bool:
    try:
        return parse_uri(text) != RECORDED[TYPED]
    except InvalidInput:
        return True


def test_every_wrong_character_is_found():
    """Each place of a text with each of many other characters; not the first letter of the scheme in upper case."""
    passed = [
        (position, slip)
        for position, right in enumerate(TYPED)
        for slip in SLIPS.replace(right, "")
        if not _is_refused(TYPED[:position] + slip + TYPED[position + 1 :])
    ]
    assert passed == []


def test_every_change_of_places_is_found():
    """Any two characters, neighbours or not."""
    for first in range(len(TYPED)):
        for second in range(first + 1, len(TYPED)):
            swapped = list(TYPED)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            assert TYPED[first] == TYPED[second] or _is_refused("".join(swapped))


def test_every_missing_or_doubled_character_is_found():
    """One, or a stretch of them; the colon alone may be missed, as it ends nothing but the scheme."""
    for position in range(len(TYPED)):
        assert _is_refused(TYPED[:position] + TYPED[position] + TYPED[position:])
        for end in range(position + 1, len(TYPED) + 1):
            assert (position, end) == (0, 7) or _is_refused(TYPED[:position] + TYPED[end:])


# What is wrong is said.


@pytest.mark.parametrize("text", ["", "hello", "https://shop.example.net", "1", "o f f"])
def test_what_is_no_text_of_ours(text: str) -> None:
    """How the wanted one begins is all that helps; what begins like one of ours is looked at."""
    with pytest.raises(InvalidInput, match=r"^this is no text that begins with offset:commit1$"):
        parse_uri_of(Commit, text)
    with pytest.raises(InvalidInput, match="the checksum alone has 6"):
        parse_uri_of(Commit, "commit1qqq")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no 1 after the kind"),
        ("offset:", "there is no 1 after the kind"),
        ("https://shop.example.net", "begins with 'https:', and should begin with 'offset:'"),
        (TYPED.replace("offset", "offzet"), "begins with 'offzet:'"),
        (TYPED.replace("invoice1", "invoixe1"), "'invoixe' is no kind of text; there are invoice, friend, "),
        (TYPED.replace("invoice1", "friend1"), "the checksum does not match: characters are wrong"),
        (TYPED[:-3], "the checksum does not match: characters are wrong, missing"),
        (TYPED.replace("srxg", "srxq"), "the checksum does not match: character 130 is probably wrong"),
        (TYPED.replace("srxg", "srxq")[7:], "the checksum does not match: character 123 is probably wrong"),
        (TYPED[:60] + TYPED[60:].upper(), "letters of both cases are mixed, from character 61 on"),
        (TYPED.replace("zyg3", "zyb3", 1), "character 19 is 'b', which no such text has"),
        (TYPED.replace("3zyg", "\u0435zyg", 1), "character 20 is '\u0435', which no such text has"),
        ("offset:invoice1" + "q" * 5000, "at most 4296 characters, and this has"),
        (" " * 9000, "at most 4296 characters, and this has 9000"),
    ],
)
def test_slips_are_named(text, reason):
    """Spec 13 §4."""
    with pytest.raises(InvalidInput, match=reason):
        parse_uri(text)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", r"invoice\.invoice_id: 32 bytes are missing at the end \(byte 0\)"),
        ("11" * 20, r"invoice\.invoice_id: 12 bytes are missing at the end \(byte 0\)"),
        ("11" * 32 + "05" + "46535446", r"invoice\.currency: 1 bytes are missing"),
        ("11" * 32 + "02" + "ff00", r"invoice\.currency: it is not UTF-8"),
        ("11" * 32 + "11" + "41" * 17, r"invoice\.currency: CurrencyNameTooLong: 17 bytes"),
        ("11" * 32 + "ffffff7f", r"invoice\.currency: .* beyond 4096"),
        ("11" * 32 + "8300" + "465354", r"invoice\.currency: the number 3 has more bytes than it needs"),
        ("+" + "ff" * 18 + "07", f"invoice.dest_payment: {2**129 - 1} is beyond"),
        ("+" + "ff" * 30, r"invoice\.dest_payment: a number is beyond"),
        ("+" + "b200", "the number 50 has more bytes"),
        ("+32" + "0401aa", r"record 4: this program does not know it, .* a newer one may \(byte 72\)"),
        ("+32" + "010141" + "010142", "record 1: it comes after record 1"),
        ("+32" + "0302" + "7878" + "010141", "record 1: it comes after record 3"),
        ("+32" + "010541", "record 1: 4 bytes are missing"),
        ("+32" + "0100", "the description of an invoice has 1 to 256 bytes, not 0"),
        ("+32" + "01021b5b", "has a control character: number 1"),
        ("+32" + "0102ff00", "is not UTF-8"),
        ("+32" + "03024023", "the delivery address 'https://@#' is no https:// address"),
        ("+32" + "05023200", r"invoice\.end: 2 bytes are more than a number has"),
    ],
)
def test_payloads_are_named(payload, reason):
    """Spec 13 §3: a good checksum on bytes that are no invoice. A + stands for what comes before the amount."""
    before = "11" * 32 + "03" + "465354" + A.hex()
    data = bytes.fromhex(payload.replace("+", before))
    with pytest.raises(InvalidInput, match=reason):
        parse_uri(bech32m.encode("invoice", [0, *bech32m.symbols_of(data)]))


def test_a_record_that_may_be_left_out():
    """Spec 13 §3: 7 is odd, so this program goes on without it. The text is one of the independent calculation."""
    assert parse_uri(f"{PLAIN}s8q24tkklgjnw") == PaymentRequest(INVOICE)


def test_a_version_of_later():
    """Spec 13 §2; the text is one of the independent calculation."""
    later = PLAIN.replace("invoice1q", "invoice1p") + "sdaa7jq"
    with pytest.raises(InvalidInput, match=r"this invoice has the version 1, .* take a newer program"):
        parse_uri(later)


def test_something_else_than_expected():
    """Each kind is told by its name."""
    with pytest.raises(InvalidInput, match="this is the text of an invoice, and here that of a commit is needed"):
        parse_uri_of(Commit, TYPED)


def test_more_than_a_qr_code_holds():
    """A friend ticket of too many relays says what there is too much of; one that just fits has a text."""
    relay = RelayAddress(B, NetAddress("x" * 255))
    ticket = FriendTicket(A, (relay,) * 10)
    with pytest.raises(
        InvalidInput, match=r"this friend with its 10 relays has 4\d{3} characters, and a QR code holds 4296"
    ):
        format_uri(ticket)
    assert len(format_uri(replace(ticket, relays=ticket.relays[1:]))) <= TEXT_CHARACTERS_MAX
    with pytest.raises(InvalidInput, match=r"its 100000 relays has 4\d{7} characters"):
        format_uri(FriendTicket(A, (relay,) * 100_000))


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_the_longest_text(size: int) -> None:
    """As long as a QR code of version 40 allows, and not one character more; the limit is that of its text."""
    relays = [RelayAddress(B, NetAddress("x" * 255))] * 9 + [RelayAddress(B, NetAddress("x" * size))]
    ticket = FriendTicket(A, tuple(relays))
    characters = len("offset:friend1") + 1 + -(-(33 + 9 * 289 + 33 + size) * 8 // 5) + 6
    if characters <= 4296:
        assert len(format_uri(ticket)) == characters
        assert parse_uri(format_uri(ticket)) == ticket
    else:
        with pytest.raises(InvalidInput, match=f"has {characters} characters"):
            format_uri(ticket)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"description": ""}, "1 to 256 bytes, not 0"),
        ({"description": "\u00e4" * 129}, "1 to 256 bytes, not 258"),
        ({"description": "Tea\x1b[2J"}, "control character: number 4"),
        ({"description": "\udc80"}, "not valid Unicode"),
        ({"delivery": "http://shop.example.net"}, "is no https:// address"),
        ({"delivery": "https://shop.example.net/a b"}, "is no https:// address"),
        ({"delivery": "https://shop.example.net/#x"}, "is no https:// address"),
        ({"delivery": "https:///pay"}, "needs a host"),
        ({"delivery": "https://bank.example.net@shop.example"}, "no user name"),
        ({"delivery": "https://shop.example.net:99999"}, "is wrong: Port out of range"),
        ({"delivery": "https://[::1"}, "is wrong"),
        ({"delivery": "https://" + "x" * 249}, "at most 256 bytes, and this has 257"),
        ({"end": -1}, "seconds since 1970"),
        ({"end": U64_MAX + 1}, "seconds since 1970"),
    ],
)
def test_what_a_request_may_say(changes: dict[str, Any], reason):
    """Spec 13 §3.1: each has a limit, in a request that is made as in one that is read."""
    with pytest.raises(InvalidInput, match=reason):
        PaymentRequest(INVOICE, **changes)


@given(st.integers(0, U128_MAX))
def test_numbers_are_as_short_as_can_be(value):
    """LEB128: 7 bits to a byte."""
    data = number_bytes(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    assert PayloadReader(data).number("x") == value


@settings(max_examples=20)
@given(st.integers(1, 10), st.integers(0, 127))
def test_a_number_beyond_its_limit(bits, value):
    """A number may have a limit of its own."""
    greatest = 2**bits - 1
    reader = PayloadReader(number_bytes(value))
    if value <= greatest:
        assert reader.number("x", greatest) == value
    else:
        with pytest.raises(InvalidInput, match="is beyond"):
            reader.number("x", greatest)


# Delivery on the machine itself.

HERE = "http://127.0.0.1:8080/api/v1/commits"
HERE_RECORD = "090e3132372e302e302e313a38303830"


def _with_record(hex_digits: str) -> str:
    payload = bytes.fromhex("11" * 32 + "03465354") + A + bytes.fromhex("32" + hex_digits)
    return "offset:" + bech32m.encode("invoice", [0, *bech32m.symbols_of(payload)])


def test_a_delivery_on_the_machine_itself():
    """Spec 13 §3.1: record 9 has host and port, and the path is known."""
    request = PaymentRequest(INVOICE, delivery=HERE)
    assert format_uri(request) == _with_record(HERE_RECORD)
    assert parse_uri(_with_record(HERE_RECORD)) == request


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("0309612e6578616d706c65" + HERE_RECORD, "there is a delivery address already"),
        ("090b31302e302e302e313a3830", "http:// is only for this machine"),
        ("090b6c6f63616c686f73742f61", "have the path /api/v1/commits"),
        ("090c6c6f63616c686f73743f613d", "have the path /api/v1/commits"),
        ("090b6140" + b"localhost".hex(), "no user name"),
    ],
    ids=["two addresses", "another machine", "another path", "a query", "a user name"],
)
def test_a_delivery_that_leads_elsewhere(record, reason):
    """No text makes a buyer's program post to anything but stweb on its own machine."""
    with pytest.raises(InvalidInput, match=reason):
        parse_uri(_with_record(record))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:8080"])
def test_hosts_of_the_machine_itself(host):
    """Each survives its text."""
    request = PaymentRequest(INVOICE, delivery=f"http://{host}/api/v1/commits")
    assert parse_uri(format_uri(request)) == request
