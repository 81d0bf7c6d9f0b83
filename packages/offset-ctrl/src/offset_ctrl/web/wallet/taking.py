"""
What a person pastes or opens: the text of something (spec 13), or the content of its file. Pure.

A person does not see the difference, so every field takes both.
"""

from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar

from offset_proto.errors import InvalidInput
from offset_proto.files import COMMIT, FRIEND_TICKET, INVOICE, TICKET, FileKind, FriendTicket
from offset_proto.messages.payment import Commit, RelayAddress
from offset_proto.text import parse_integer
from offset_proto.types import Integer
from offset_proto.uri import PaymentRequest, parse_uri_of

__all__ = ["take_amount", "take_commit", "take_friend", "take_request", "take_server", "take_share"]

_U128: Final = Integer(128)
_SHARES: Final = 2**32
T = TypeVar("T")


def take_request(text: str) -> PaymentRequest:
    """A request to pay. Raises InvalidInput where it is none."""
    if _is_file(text):
        return PaymentRequest(_parse(INVOICE, text, "a request to pay"))
    return parse_uri_of(PaymentRequest, _given(text, "the request to pay"))


def take_commit(text: str) -> Commit:
    """What a buyer hands to the seller. Raises InvalidInput where it is none."""
    if _is_file(text):
        return _parse(COMMIT, text, "a commit")
    return parse_uri_of(Commit, _given(text, "what the buyer has handed over"))


def take_friend(text: str) -> FriendTicket:
    """An invitation. Raises InvalidInput where it is none."""
    if _is_file(text):
        return _parse(FRIEND_TICKET, text, "an invitation")
    return parse_uri_of(FriendTicket, _given(text, "the invitation"))


def take_server(text: str) -> RelayAddress:
    """The ticket of a relay or an index server. Raises InvalidInput where it is none."""
    if _is_file(text):
        return _parse(TICKET, text, "the ticket of a server")
    return parse_uri_of(RelayAddress, _given(text, "the ticket of the server"))


def _is_file(text: str) -> bool:
    return text.lstrip().startswith("{")


def _given(text: str, what: str) -> str:
    if not text.strip():
        raise InvalidInput(f"{what} is missing; paste it, or open its file")
    return text


def _parse(kind: FileKind[T], text: str, what: str) -> T:
    try:
        return kind.parse(text)
    except InvalidInput as error:
        raise InvalidInput(kind.mistaken(text) or f"this is not {what}: {error}") from None


def take_amount(text: str, what: str) -> int:
    """
    Credits, with or without spaces between the digits.

    Raises:
        InvalidInput: It is no whole number, or has more than 128 bits; *what* is named in the text.
    """
    digits = "".join(text.split())
    if not digits.isascii() or not digits.isdigit():
        raise InvalidInput(f"{what} is a whole number such as 30, not {text[:40]!r}")
    return parse_integer(_U128, str(int(digits[:50])) if len(digits) <= 50 else digits)


def take_share(text: str) -> int:
    """
    A share of 100 in units of 1/2**32, as rates have it.

    Raises:
        InvalidInput: It is no number from 0 to less than 100.
    """
    try:
        share = Decimal(text or "0")
    except InvalidOperation:
        share = Decimal(-1)
    if not share.is_finite() or not 0 <= share < 100:
        raise InvalidInput(f"a share is a number from 0 to less than 100, such as 0.5, not {text[:40]!r}")
    return min(int((share * _SHARES / 100).to_integral_value()), _SHARES - 1)
