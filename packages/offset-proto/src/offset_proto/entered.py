"""
What a person enters: addresses, names, and currencies, checked before they are stored or sent.

Reading is generous: files, databases and peers may hold whatever the original lets through (spec 01 §1.1), and it is
shown with odd characters made visible. Writing is strict: an address to which nobody could ever connect, or a name that
nobody could see or type again, is refused where it enters, with a word on what is wrong with it. Spec 09 §1.5.
"""

import base64
import binascii
import hashlib
import ipaddress
import re
import unicodedata
from typing import Final

from offset_proto.errors import InvalidInput
from offset_proto.types import Currency, NetAddress

__all__ = ["parse_address", "parse_currency", "parse_name"]

_HOST_CHARACTERS_MAX: Final = 253
_LABEL = re.compile("[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_NO_CHARACTERS_OF_TEXT: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTIONS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn what follows around, so that a name looks like another one."""


def parse_address(text: str) -> NetAddress:
    """
    The address ``HOST:PORT``; HOST is a host name, an IPv4 address, an IPv6 address in brackets, or an onion service.

    Raises:
        InvalidInput: It is none; the text says what is wrong and what to write.

    Sources: host names by RFC 1123 §2.1 and RFC 1035 §2.3.4; IPv6 in brackets by RFC 3986 §3.2.2; onion addresses by
    Tor's rend-spec-v3.
    """
    try:
        address = NetAddress(text)
        _check_characters(text)
        host, port = _parted(text)
        _check_port(port)
        _check_host(host)
        return address
    except InvalidInput as error:
        raise InvalidInput(f"invalid address {text[:300]!r}: {error}") from None


def _check_characters(text: str) -> None:
    if not text:
        raise InvalidInput("it is empty; write HOST:PORT, such as relay.example.org:4000")
    if any(character.isspace() or not character.isprintable() for character in text):
        raise InvalidInput("it has a blank or a control character in it")
    if "://" in text:
        raise InvalidInput(f"it is a URL; write HOST:PORT, without {text.partition('://')[0]}://")
    if "/" in text:
        raise InvalidInput("it goes on after the port; write HOST:PORT, without a path")


def _parted(text: str) -> tuple[str, str]:
    """Host, still in its brackets, and port."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise InvalidInput("it has no port; write HOST:PORT")
    if not host:
        raise InvalidInput("it has no host; write HOST:PORT")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise InvalidInput("an IPv6 address stands in brackets: [2001:db8::1]:4000")
    return host, port


def _check_port(port: str) -> None:
    is_number = re.fullmatch("[0-9]{1,9}", port, re.ASCII) is not None
    if not is_number or port != str(int(port)) or not 1 <= int(port) <= 65535:
        raise InvalidInput(f"{port!r} is no port; a port is a number from 1 to 65535")


def _check_host(host: str) -> None:
    if host.startswith("["):
        try:
            is_numeric = ipaddress.IPv6Address(host[1:-1]).scope_id is None
        except ValueError:
            is_numeric = False
        if not is_numeric:
            raise InvalidInput(f"{host} is no IPv6 address")
        return
    if not host.isascii():
        raise InvalidInput("a host name has ASCII letters only; write the form that begins with xn--")
    labels = host.removesuffix(".").lower().split(".")
    if labels[-1].isdigit():
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise InvalidInput(f"{host} is no IPv4 address") from None
        return
    if len(host) > _HOST_CHARACTERS_MAX:
        raise InvalidInput(f"a host name has at most {_HOST_CHARACTERS_MAX} characters, not {len(host)}")
    for label in labels:
        if not _LABEL.fullmatch(label):
            what = f"{label[:80]!r} in it is neither" if label else "a part between two dots is empty, and not"
            raise InvalidInput(f"{what} 1 to 63 letters, digits and hyphens that begin and end in a letter or digit")
    if labels[-1] == "onion":
        _check_onion(labels[-2] if len(labels) > 1 else "")


def _check_onion(label: str) -> None:
    """Key, checksum and version, as an onion address of version 3 holds them."""
    try:
        data = base64.b32decode(label.upper())
    except binascii.Error:
        data = b""
    if len(data) != 35 or data[34] != 3:
        raise InvalidInput("an onion address has 56 letters and digits before .onion, and is of version 3")
    if hashlib.sha3_256(b".onion checksum" + data[:32] + data[34:]).digest()[:2] != data[32:34]:
        raise InvalidInput("the checksum of the onion address does not fit; it is mistyped")


def parse_name(text: str) -> str:
    """
    The name *text*, of a friend, a relay or an index server.

    Raises:
        InvalidInput: It is empty or blank, or has characters that cannot be seen: controls, line ends, turns of the
            direction of writing.
    """
    if not text.strip():
        raise InvalidInput(f"the name {text[:80]!r} is empty" if not text else f"the name {text[:80]!r} is only blanks")
    for character in text:
        if unicodedata.category(character) in _NO_CHARACTERS_OF_TEXT or character in _DIRECTIONS:
            raise InvalidInput(f"the name {text[:80]!r} has the control character {character!a} in it")
    return text


def parse_currency(text: str) -> Currency:
    """
    The currency of the name *text*, at most 16 bytes of UTF-8.

    Raises:
        InvalidInput: It is longer; or as `parse_name`.
    """
    return Currency(parse_name(text))
