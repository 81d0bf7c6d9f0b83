"""
A proxy for outgoing links, as a person enters it, and which hosts are reached through it. Spec 02 §3.1, 09 §3.5.

=================================  =====================  ============================
host                               without a proxy        with one
=================================  =====================  ============================
a number of loopback: 127.0.0.1    directly               directly
any other number                   directly               the proxy connects
a name                             resolved by us         the proxy resolves, connects
a name under .onion                not at all             the proxy resolves, connects
=================================  =====================  ============================

A number of loopback stays on this machine, which no proxy elsewhere could reach, so going there directly tells nobody
anything. The name localhost is a name: some resolvers ask the network for it. Names under .onion mean nothing outside
of Tor, and who asks for one in the DNS tells everybody on the way whom he wants to reach (RFC 7686 §2).
"""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from offset_proto.entered import parse_address
from offset_proto.errors import InvalidInput
from offset_proto.text import split_host_port

__all__ = ["ProxyUrl", "is_loopback", "is_onion", "parse_proxy"]

_FORM = "socks5h://HOST:PORT or socks5h://USER:PASSWORD@HOST:PORT"

_ADDRESS = re.compile(r"(\[[^]]*\]|[^:]*):[0-9]+", re.ASCII)

_LOGIN = re.compile("[!-~]{1,255}")
"""What fits into the fields of RFC 1929, and can be typed."""


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """
    A SOCKS5 proxy (RFC 1928) that resolves names itself. As text it has no password in it.

    Attributes:
        host, port: Where it listens.
        user, password: What it is told (RFC 1929), 1 to 255 bytes of ASCII each; both or none.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = "" if self.user is None else f"{self.user}:...@"
        return f"socks5h://{login}{host}:{self.port}"


def parse_proxy(text: str) -> ProxyUrl:
    """
    The proxy ``socks5h://HOST:PORT``, with ``USER:PASSWORD@`` before the host where it asks for them.

    What would end an address in a URL is written with ``%``: ``%40`` for ``@``, ``%2F`` for ``/``, ``%3A`` for ``:``.

    Raises:
        InvalidInput: It is none; the text says what is wrong, and has no password in it.
    """
    try:
        return _parse(text)
    except InvalidInput as error:
        raise InvalidInput(f"invalid proxy: {error}; write {_FORM}") from None


def _parse(text: str) -> ProxyUrl:
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() == "socks5":
        raise InvalidInput("with socks5:// this machine would look names up, and tell its DNS server of them")
    if not separator or scheme.lower() != "socks5h":
        raise InvalidInput("it does not begin with socks5h://")
    login, at, address = rest.removesuffix("/").rpartition("@")
    if "/" in address:
        raise InvalidInput("it goes on after the port; in a password, write %2F for /")
    if not _ADDRESS.fullmatch(address):  # what stands there may be a password, and is not shown
        raise InvalidInput("it has no port, or more before it than a host; an IPv6 address stands in brackets")
    host, port = split_host_port(parse_address(address))
    if is_onion(host):
        raise InvalidInput("a proxy is no onion service")
    if not at:
        return ProxyUrl(host, port)
    user, colon, password = (unquote(part) for part in login.partition(":"))
    if not colon or not _LOGIN.fullmatch(user) or not _LOGIN.fullmatch(password):
        raise InvalidInput("user and password have 1 to 255 letters, digits and signs of ASCII each")
    return ProxyUrl(host, port, user, password)


def is_onion(host: str) -> bool:
    """Whether *host* is a name of Tor, in any form that a resolver would ask the DNS for."""
    return host.rstrip(".").lower().rpartition(".")[2] == "onion"


def is_loopback(host: str) -> bool:
    """Whether *host* is a number that never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
