"""
Where the server listens, and by which names it is known.

Without a certificate and without a proxy the server listens on loopback and nowhere else: tokens would pass the network
in the clear. With a certificate it is known by the names in that; behind a proxy, by the origin that people type.
"""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from offset_crypto.program import ListenError
from offset_ctrl.web.guard import Origins
from offset_proto.errors import InvalidInput
from offset_proto.files import read_bytes
from offset_proto.proxies import is_loopback
from offset_proto.uri import COMMITS_PATH, check_delivery
from offset_proto.web_address import parse_web_address

__all__ = ["Certificate", "Front", "bind", "make_front"]

_USUAL_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate, with those that vouch for it, and of its key; both PEM."""

    path: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Front:
    """
    How the server is reached.

    Attributes:
        origins: By which names it is known.
        url: What a person opens.
        is_secure: Browsers reach it by HTTPS.
        delivery: The address at which buyers' programs deliver commits; None: they do not.
        shop: Where buyers find the pages of invoices, without the slash at its end; None: they do not.
        is_direct: Clients elsewhere connect to it themselves, and not by way of a proxy.
    """

    origins: Origins
    url: str
    is_secure: bool
    delivery: str | None = None
    shop: str | None = None
    is_direct: bool = False

    @property
    def port(self) -> int:
        """At which browsers reach it."""
        return urlsplit(self.url).port or _USUAL_PORTS[urlsplit(self.url).scheme]


def make_front(
    address: tuple[str, int], certificate: Certificate | None, proxy: str | None, public: str | None = None
) -> Front:
    """
    How a server is reached that listens on *address*.

    Args:
        address: IP address and port.
        certificate: For HTTPS.
        proxy: The origin of a proxy in front of it, such as ``https://wallet.example.org``.
        public: Where buyers and their programs reach it, to see what they pay and to deliver commits:
            ``https://shop.example.org``. Who comes by that name reaches nothing else. None: they reach it where it
            listens, if that is without a certificate and a proxy: on this machine, to deliver by hand.

    Raises:
        InvalidInput: Others could reach it, and listen; or *proxy* is no origin, or *public* no address to deliver to,
            or the certificate has no names.
        IoError: The certificate can not be read.
    """
    front = _make_front(address, certificate, proxy)
    if public is None:
        return front if front.is_secure or proxy is not None else replace(front, shop=front.url)
    delivery = public.rstrip("/") + COMMITS_PATH
    try:
        check_delivery(delivery)
    except InvalidInput as error:
        raise InvalidInput(f"--public-address: {error}") from None
    scheme, authority = public.partition("://")[0], parse_web_address(delivery, "the address").authority.lower()
    shop = {"public_hosts": frozenset({authority}), "shops": frozenset({f"{scheme}://{authority}"})}
    return replace(front, origins=replace(front.origins, **shop), delivery=delivery, shop=public.rstrip("/"))


def _make_front(address: tuple[str, int], certificate: Certificate | None, proxy: str | None) -> Front:
    if proxy is not None:
        if certificate is not None:
            raise InvalidInput("--behind-proxy and --tls-cert exclude each other: the proxy has the certificate")
        return _behind_proxy(proxy)
    host, port = address
    if certificate is not None:
        return replace(_front("https", _certified_names(certificate), port), is_direct=True)
    if not is_loopback(host):
        raise InvalidInput(
            f"{host} can be reached by others, who could listen to what is said: listen on 127.0.0.1, "
            "or use --tls-cert and --tls-key, or --behind-proxy"
        )
    return _front("http", [_bracketed(host), "localhost"], port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _front(scheme: str, names: list[str], port: int) -> Front:
    hosts = [f"{name}:{port}".lower() for name in names]
    if port == _USUAL_PORTS[scheme]:
        hosts = [name.lower() for name in names] + hosts
    origins = Origins(frozenset(hosts), frozenset(f"{scheme}://{host}" for host in hosts))
    return Front(origins, f"{scheme}://{hosts[0]}", scheme == "https")


def _behind_proxy(origin: str) -> Front:
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or not host or set(host) & set("/?#@ "):
        raise InvalidInput(f"{origin!r} is no origin; write https://NAME or https://NAME:PORT, with nothing after it")
    origins = Origins(frozenset({host.lower()}), frozenset({origin.lower()}))
    return Front(origins, origin.lower(), scheme == "https")


def _certified_names(certificate: Certificate) -> list[str]:
    from cryptography import x509  # takes memory, and only who has a certificate needs it

    try:
        found = x509.load_pem_x509_certificate(read_bytes(certificate.path))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise InvalidInput(f"{certificate.path} is no certificate with names in it: {error}") from None
    hosts = [name for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    hosts += [_bracketed(str(address)) for address in names.get_values_for_type(x509.IPAddress)]
    if not hosts:
        raise InvalidInput(f"{certificate.path} has no names without a wildcard, so the server would not know its own")
    return hosts


@contextlib.contextmanager
def bind(address: tuple[str, int]) -> Iterator[socket.socket]:
    """
    Listen, for the length of a ``with`` block.

    Raises:
        ListenError: The address can not be used.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError as error:
            raise ListenError(address, error) from None
        yield listener
