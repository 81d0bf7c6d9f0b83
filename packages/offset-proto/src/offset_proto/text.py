"""
Text forms of values: base64url without padding, decimal numbers, socket addresses; and texts of others, for a terminal.
Spec 01 §12.

What is written is canonical; what is read is as lenient as the original where people may have such
texts, and strict where leniency would cut a value (D12).
"""

import base64
import binascii
import ipaddress
import re
from typing import TypeVar

from offset_proto.errors import InvalidInput
from offset_proto.types import FixedBytes, Integer

__all__ = [
    "format_b64",
    "format_host_port",
    "parse_b64",
    "parse_integer",
    "parse_socket_address",
    "printable",
    "split_host_port",
]

B = TypeVar("B", bound=FixedBytes)

_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def format_b64(value: bytes) -> str:
    """base64url without padding: 16 bytes give 22 characters, 32 give 43, 64 give 86."""
    # As base64.urlsafe_b64encode, which is two more calls: a node stores some fifty of them for a payment.
    return binascii.b2a_base64(value, newline=False).translate(_TO_URL_SAFE).rstrip(b"=").decode("ascii")


def parse_b64(cls: type[B], text: str) -> B:
    """
    The value of class *cls* that *text* stands for; ``=`` padding is tolerated.

    Raises:
        InvalidInput: Another character, non-zero unused bits, misplaced padding, or another length.

    Spec: 01 §12.1 [BEHAVIOUR].
    """
    data = _decode_b64(text)
    if len(data) != cls.SIZE:
        raise InvalidInput(f"Length mismatch: {cls.__name__} has {cls.SIZE} bytes, not {len(data)}")
    return cls(data)


def _decode_b64(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) % 4 == 1:
        raise InvalidInput("Encoded text cannot have a 6-bit remainder.")
    symbols = raw.rstrip(b"=")
    for offset, byte in enumerate(symbols):
        if byte not in _ALPHABET:
            raise InvalidInput(f"Invalid byte {byte}, offset {offset}.")
    padding = len(raw) - len(symbols)
    if padding > 2 or (padding and len(symbols) % 4 < 2) or len(symbols) % 4 == 1:
        raise InvalidInput(f"Invalid byte 61, offset {len(symbols)}.")
    try:
        data = base64.urlsafe_b64decode(symbols + b"=" * (-len(symbols) % 4))
    except binascii.Error as error:
        raise InvalidInput(str(error)) from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != symbols:
        raise InvalidInput(f"Invalid last symbol {symbols[-1]}, offset {len(symbols) - 1}.")
    return data


_DIGITS = re.compile(r"[+-]?[0-9]+", re.ASCII)


def parse_integer(integer: Integer, text: str) -> int:
    """
    The decimal number *text*: an optional sign, leading zeros accepted, nothing else.

    Raises:
        InvalidInput: No such number, or out of range; worded as the original does.

    Spec: 01 §12.2, 09 §1.1.
    """
    if not text or text in {"+", "-"}:
        reason = "cannot parse integer from empty string" if not text else "invalid digit found in string"
        raise InvalidInput(reason)
    # 10,000 digits are refused before they cost time; no range needs more than 40.
    if not _DIGITS.fullmatch(text) or (text[0] == "-" and not integer.signed):
        raise InvalidInput("invalid digit found in string")
    digits = text.lstrip("+-").lstrip("0")
    value = int(digits or "0") if len(digits) <= 40 else integer.greatest + 1
    value = -value if text[0] == "-" else value
    if value > integer.greatest or (len(digits) > 40 and text[0] != "-"):
        raise InvalidInput(f"number too large to fit in target type: it is {integer.greatest} at most")
    if value < integer.least or len(digits) > 40:
        raise InvalidInput(f"number too small to fit in target type: it is {integer.least} at least")
    return value


def split_host_port(address: str) -> tuple[str, int]:
    """
    Host and port of ``host:port``, ``1.2.3.4:port`` or ``[v6]:port``.

    Raises:
        InvalidInput: No port, or one beyond 65535. Spec 02 §3.1.
    """
    host, colon, port_text = address.rpartition(":")
    if not colon or not host or not re.fullmatch("[0-9]{1,5}", port_text, re.ASCII):
        raise InvalidInput(f"invalid network address {address!r}: expected host:port")
    port = int(port_text)
    if port > 65535:
        raise InvalidInput(f"invalid network address {address!r}: port {port} is beyond 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidInput(f"invalid network address {address!r}: put an IPv6 address in brackets")
    return host, port


def format_host_port(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_socket_address(text: str) -> tuple[str, int]:
    """
    Numeric ``IPv4:port`` or ``[IPv6]:port``, as listening addresses are given. Spec 09 §1.1.

    Raises:
        InvalidInput: A host name, no port, or no address.
    """
    try:
        host, port = split_host_port(text)
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise InvalidInput("invalid socket address syntax") from None
    if (version == 6) != text.startswith("["):
        raise InvalidInput("invalid socket address syntax")
    return host, port


def printable(text: str) -> str:
    """
    *text* with its control characters made visible, such as ``\\x1b``.

    Names, currencies, addresses and reasons that others choose may hold any, and a terminal obeys them.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
