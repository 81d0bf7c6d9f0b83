"""
Where the server listens, by which names it is known, and uvicorn with the limits that it lacks.

Without a certificate and without a proxy the server listens on loopback and nowhere else: tokens would pass the network
in the clear. With a certificate it is known by the names in that; behind a proxy, by the origin that people type.

uvicorn limits the time between two requests, and not the time in which the headers of one must come: a client that
sends a byte each minute would keep its connection for ever. `LimitedProtocol` adds that, and the number of connections.
It can also drop a connection whose client does not read, which an application can not do.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from offset_crypto.program import ListenError
from offset_ctrl.web.guard import Origins
from offset_proto.errors import InvalidInput
from offset_proto.files import IoError, read_bytes
from offset_proto.proxies import is_loopback
from offset_proto.uri import COMMITS_PATH, check_delivery
from offset_proto.web_address import parse_web_address

__all__ = ["Certificate", "Front", "bind", "make_front", "serve_http"]

CONNECTIONS_MAX: Final = 256
HEADER_BYTES_MAX: Final = 16 * 1024
HEADER_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 60
END_SECONDS: Final = 5
"""For requests under way when the server ends; then they are cancelled."""


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
    """

    origins: Origins
    url: str
    is_secure: bool
    delivery: str | None = None


def make_front(
    address: tuple[str, int], certificate: Certificate | None, proxy: str | None, public: str | None = None
) -> Front:
    """
    How a server is reached that listens on *address*.

    Args:
        address: IP address and port.
        certificate: For HTTPS.
        proxy: The origin of a proxy in front of it, such as ``https://wallet.example.org``.
        public: Where buyers' programs reach it, to deliver commits: ``https://shop.example.org``. It may be a proxy
            that lets nothing through but that.

    Raises:
        InvalidInput: Others could reach it, and listen; or *proxy* is no origin, or *public* no address to deliver to,
            or the certificate has no names.
        IoError: The certificate can not be read.
    """
    front = _make_front(address, certificate, proxy)
    if public is None:
        return front
    delivery = public.rstrip("/") + COMMITS_PATH
    try:
        check_delivery(delivery)
    except InvalidInput as error:
        raise InvalidInput(f"--public-address: {error}") from None
    authority = parse_web_address(delivery, "the delivery address").authority.lower()
    origins = replace(front.origins, hosts=front.origins.hosts | {authority})
    return replace(front, origins=origins, delivery=delivery)


def _make_front(address: tuple[str, int], certificate: Certificate | None, proxy: str | None) -> Front:
    if proxy is not None:
        if certificate is not None:
            raise InvalidInput("--behind-proxy and --tls-cert exclude each other: the proxy has the certificate")
        return _behind_proxy(proxy)
    host, port = address
    if certificate is not None:
        return _front("https", _certified_names(certificate), port)
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
    if port == {"http": 80, "https": 443}[scheme]:
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


class LimitedProtocol(H11Protocol):
    """uvicorn's connection, with the limits that it lacks."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._deadline = self.loop.call_later(HEADER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: if they are not a whole request yet, the time for it runs."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_clock()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the program has its own, as all programs here do."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(
    app: ASGIApp, listener: socket.socket, certificate: Certificate | None, closing: asyncio.Event
) -> None:
    """
    Serve until cancelled; then requests under way have a moment to end.

    Args:
        app: Answers.
        listener: Listens.
        certificate: For HTTPS.
        closing: Is set when the server ends, so that streams end by themselves.

    Raises:
        IoError: The certificate can not be used.
    """
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        ssl_certfile=None if certificate is None else str(certificate.path),
        ssl_keyfile=None if certificate is None else str(certificate.key),
    )
    try:
        config.load()
    except OSError as error:
        assert certificate is not None
        raise IoError(certificate.key, error.strerror or str(error)) from None
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await asyncio.shield(serving)
    finally:
        closing.set()
        server.should_exit = True
        await serving
