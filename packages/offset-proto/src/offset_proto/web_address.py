"""
Addresses to which programs post by themselves: ``https://`` anywhere, ``http://`` on the machine itself. Pure.

Whoever posts to an address that somebody else has named lets that person choose with whom it talks. So there is no
user name in it, which would only mislead (RFC 9110 §4.2.4), and nothing goes over a network in the clear.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from offset_proto.errors import InvalidInput
from offset_proto.proxies import is_loopback

__all__ = ["ADDRESS_BYTES_MAX", "WebAddress", "parse_web_address"]

ADDRESS_BYTES_MAX: Final = 256
"""Bytes of an address, as of a network address."""

_ADDRESS: Final = re.compile(r"(https?)://[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+", re.ASCII)
"""RFC 3986: what a URI has, without the fragment."""

_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class WebAddress:
    """
    An address; made by `parse_web_address`.

    Attributes:
        text: All of it.
        is_secure: It is one of https.
        host, port: Where it leads; an IPv6 address has no brackets.
        authority: Host and port as they stand in *text*, for the header ``Host``.
        target: Path and query, for the first line of a request.
    """

    text: str
    is_secure: bool
    host: str
    port: int
    authority: str
    target: str

    @property
    def is_here(self) -> bool:
        """Whether it leads to a program of this machine."""
        return _is_here(self.host)


def parse_web_address(text: str, what: str) -> WebAddress:
    """
    An address that somebody has named.

    Args:
        text: The address.
        what: What it is, for errors, such as ``the delivery address``.

    Raises:
        InvalidInput: It is none, or one that a program must not post to by itself.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{what} {text[:300]!r} is no https:// address without a fragment (#)")
    if len(text) > ADDRESS_BYTES_MAX:
        raise InvalidInput(f"{what} has at most {ADDRESS_BYTES_MAX} bytes, and this has {len(text)}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{what} {text!r} is wrong: {error}") from None
    if not host or "@" in parts.netloc or port == 0:
        raise InvalidInput(f"{what} {text!r} needs a host, and must have no user name and no port 0")
    scheme = found[1]
    if scheme == "http" and not _is_here(host):
        raise InvalidInput(f"{what} {text!r} is no https:// address, and http:// is only for this machine")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress(text, scheme == "https", host, port or _PORTS[scheme], parts.netloc, target)


def _is_here(host: str) -> bool:
    return host == "localhost" or is_loopback(host)
