"""
What people hand to each other as one line of text: ``offset:invoice1…``. Spec 13.

A text is a URI of the scheme ``offset``, whose rest is in Bech32m (`offset_proto.bech32m`): the kind, the digit 1, a
symbol for the version, the value as bytes (`offset_proto.payload`), and the checksum. So one glance tells what it is,
a mistyped character is found, and a program that is too old says so.

Lower case is for people. The same text in upper case has only characters of the alphanumeric mode of QR codes, which
takes 5.5 bits for each of them (ISO/IEC 18004): a tenth more than the 5 bits that it stands for, where base64url in
bytes takes a third more.

Rules.
1. Reading leaves white space out, so a text that a mail has broken into lines is good. The scheme may be missing.
2. Kind and version are looked at before anything else is read, so what is wrong is said of the right thing.
3. One value has one text, but for the case of its letters, and for records that a reader leaves out.
4. A text has at most as many characters as the largest QR code holds. Longer ones are refused before any work is done.

A checksum is no signature: it finds slips, and nobody who wants to cheat.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from offset_proto import bech32m
from offset_proto.errors import InvalidInput
from offset_proto.files import FriendTicket, Invoice
from offset_proto.layout import layout_of
from offset_proto.messages.payment import Commit, Receipt, RelayAddress
from offset_proto.payload import PayloadReader, bytes_of, number_bytes, record_bytes
from offset_proto.types import U64_MAX
from offset_proto.web_address import ADDRESS_BYTES_MAX, parse_web_address

__all__ = [
    "ADDRESS_BYTES_MAX",
    "COMMITS_PATH",
    "DESCRIPTION_BYTES_MAX",
    "KINDS",
    "SCHEME",
    "TEXT_CHARACTERS_MAX",
    "PaymentRequest",
    "Texted",
    "check_delivery",
    "format_uri",
    "kind_of",
    "parse_uri",
    "parse_uri_of",
]

SCHEME: Final = "offset:"
VERSION: Final = 0

TEXT_CHARACTERS_MAX: Final = 4296
"""Alphanumeric characters of a QR code of version 40 with the least error correction. ISO/IEC 18004, table 7."""

DESCRIPTION_BYTES_MAX: Final = 256
"""UTF-8 bytes of a description: about as much as people read before they pay."""

COMMITS_PATH: Final = "/api/v1/commits"
"""
Where stweb takes commits. A delivery address on the buyer's own machine has this path and no other, so that no request
for a payment can make the buyer's program post to whatever else listens there.
"""

_HTTPS: Final = "https://"
_HTTP: Final = "http://"

_DESCRIPTION, _DELIVERY, _END, _HERE = 1, 3, 5, 9  # types of records: old programs may go on without each


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """
    An invoice, and what a seller may say beside it; none of that is in the file of an invoice.

    Attributes:
        invoice: What is to be paid.
        description: For what, in words: 1 to 256 bytes of UTF-8 without control characters, or None.
        delivery: Address at which a program may deliver the commit: HTTPS, at most 256 bytes, or HTTP on the machine
            itself with the path `COMMITS_PATH`. None: people hand it over.
        end: When the seller's node cancels the invoice, in seconds since 1970. None: nothing is said about that.

    Raises:
        InvalidInput: One of them is not as it should be.
    """

    invoice: Invoice
    description: str | None = None
    delivery: str | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        if self.description is not None:
            _check_description(self.description)
        if self.delivery is not None:
            check_delivery(self.delivery)
        if self.end is not None and not 0 <= self.end <= U64_MAX:
            raise InvalidInput(f"the end of an invoice is seconds since 1970, from 0 to {U64_MAX}, not {self.end}")


Texted = PaymentRequest | FriendTicket | Commit | Receipt | RelayAddress
"""What has a text: a payment request, the ticket of a node for its friends, a commit, a receipt, a server's ticket."""

T = TypeVar("T", PaymentRequest, FriendTicket, Commit, Receipt, RelayAddress)

KINDS: Final[dict[str, type[Texted]]] = {
    "invoice": PaymentRequest,
    "friend": FriendTicket,
    "commit": Commit,
    "receipt": Receipt,
    "server": RelayAddress,
}
"""The kinds of texts, by the names that they begin with."""

_NAMES: Final = {cls: name for name, cls in KINDS.items()}

_OURS: Final = re.compile(f"{SCHEME}|(?:{'|'.join(KINDS)})1", re.IGNORECASE)
"""How a text of ours begins; of any other one it is not worth while to say what is wrong with its characters."""


def format_uri(value: Texted) -> str:
    """
    The text of *value* in lower case; ``.upper()`` of it is the form for QR codes.

    Raises:
        InvalidInput: It has more characters than a QR code holds; says of what there is too much.
    """
    cls: Any = type(value)
    kind = _NAMES[cls]
    if isinstance(value, PaymentRequest):
        payload = bytes_of(layout_of(Invoice), value.invoice) + record_bytes(_records(value))
    else:
        payload = bytes_of(layout_of(cls), value)
    characters = len(SCHEME) + bech32m.characters_of(kind, 1 - len(payload) * 8 // -5)
    if characters > TEXT_CHARACTERS_MAX:
        much = f"{len(value.relays)} relays" if isinstance(value, FriendTicket) else f"{len(payload)} bytes"
        raise InvalidInput(
            f"as text this {kind} with its {much} has {characters} characters, and a QR code holds "
            f"{TEXT_CHARACTERS_MAX}: hand it over as a file"
        )
    return SCHEME + bech32m.encode(kind, [VERSION, *bech32m.symbols_of(payload)])


def kind_of(value: Texted) -> str:
    """The name that the text of *value* begins with."""
    return _NAMES[type(value)]


def parse_uri(text: str) -> Texted:
    """
    What *text* stands for, in either case.

    Raises:
        InvalidInput: It is no such text. Says what is wrong, and where if that can be told: characters are counted from
            1, without white space.
    """
    if len(text) > 2 * TEXT_CHARACTERS_MAX:
        raise InvalidInput(f"a text has at most {TEXT_CHARACTERS_MAX} characters, and this has {len(text)}")
    kind, symbols = _kind_and_symbols(text)
    version, *rest = symbols or [VERSION]
    if version != VERSION:
        raise InvalidInput(
            f"this {kind} has the version {version}, and this program reads version {VERSION}: take a newer program"
        )
    reader = PayloadReader(bech32m.bytes_of(rest))
    cls: Any = KINDS[kind]
    if cls is PaymentRequest:
        invoice = reader.value(layout_of(Invoice), kind)
        return _request(invoice, reader.records(frozenset((_DESCRIPTION, _DELIVERY, _END, _HERE))))
    value: Texted = reader.value(layout_of(cls), kind)
    reader.records(frozenset())
    return value


def parse_uri_of(cls: type[T], text: str) -> T:
    """
    What *text* stands for, which has to be of the class *cls*.

    Raises:
        InvalidInput: As `parse_uri`, or it stands for something else.
    """
    if len(text) <= TEXT_CHARACTERS_MAX and _OURS.match("".join(text.split())) is None:
        raise InvalidInput(f"this is no text that begins with {SCHEME}{_NAMES[cls]}1")
    value = parse_uri(text)
    if not isinstance(value, cls):
        given, needed = (_with_article(_NAMES[of]) for of in (type(value), cls))
        raise InvalidInput(f"this is the text of {given}, and here that of {needed} is needed")
    return value


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _kind_and_symbols(text: str) -> tuple[str, list[int]]:
    body = "".join(text.split())
    first = 1
    scheme, colon, rest = body.partition(":")
    if colon:
        if scheme.lower() + colon != SCHEME:
            raise InvalidInput(f"the text begins with {(scheme + colon)[:20]!r}, and should begin with {SCHEME!r}")
        body = rest
        first += len(SCHEME)
    if len(body) > TEXT_CHARACTERS_MAX - len(SCHEME):
        raise InvalidInput(f"a text has at most {TEXT_CHARACTERS_MAX} characters, and this has more")
    kind, _ = bech32m.split(body, first)
    if kind not in KINDS:
        *most, last = KINDS
        raise InvalidInput(f"{kind[:20]!r} is no kind of text; there are {', '.join(most)} and {last}")
    return bech32m.decode(body, first)


def _records(request: PaymentRequest) -> dict[int, bytes]:
    records = {}
    if request.description is not None:
        records[_DESCRIPTION] = request.description.encode()
    if request.delivery is not None and request.delivery.startswith(_HTTPS):
        records[_DELIVERY] = request.delivery.removeprefix(_HTTPS).encode()
    elif request.delivery is not None:
        records[_HERE] = request.delivery.removeprefix(_HTTP).removesuffix(COMMITS_PATH).encode()
    if request.end is not None:
        records[_END] = number_bytes(request.end)
    return records


def _request(invoice: Invoice, records: dict[int, bytes]) -> PaymentRequest:
    description, end = (records.get(kind) for kind in (_DESCRIPTION, _END))
    try:
        return PaymentRequest(
            invoice,
            None if description is None else description.decode(),
            _delivery(records),
            None if end is None else _whole_number(end),
        )
    except UnicodeDecodeError:
        raise InvalidInput("invoice: its description or delivery address is not UTF-8") from None


def _delivery(records: dict[int, bytes]) -> str | None:
    if _DELIVERY in records and _HERE in records:
        raise InvalidInput(f"record {_HERE}: there is a delivery address already, in record {_DELIVERY}")
    if _DELIVERY in records:
        return _HTTPS + records[_DELIVERY].decode()
    return _HTTP + records[_HERE].decode() + COMMITS_PATH if _HERE in records else None


def _whole_number(data: bytes) -> int:
    reader = PayloadReader(data)
    value = reader.number("invoice.end", U64_MAX)
    if number_bytes(value) != data:
        raise InvalidInput(f"invoice.end: {len(data)} bytes are more than a number has")
    return value


def _check_description(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput("the description of an invoice is not valid Unicode") from None
    if not 1 <= size <= DESCRIPTION_BYTES_MAX:
        raise InvalidInput(f"the description of an invoice has 1 to {DESCRIPTION_BYTES_MAX} bytes, not {size}")
    for position, character in enumerate(text, start=1):
        if unicodedata.category(character) == "Cc":
            raise InvalidInput(
                f"the description of an invoice has a control character: number {position}, {character!r}"
            )


def check_delivery(text: str) -> None:
    """
    Check that a payment request may name this address.

    Raises:
        InvalidInput: It may not, and why.
    """
    address = parse_web_address(text, "the delivery address")
    if not address.is_secure and text != f"{_HTTP}{address.authority}{COMMITS_PATH}":
        raise InvalidInput(f"the delivery address {text!r} is here, and addresses here have the path {COMMITS_PATH}")
