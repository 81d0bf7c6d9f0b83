"""One request over HTTP, whoever is at the other end."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from offset_crypto.aio import Proxy
from offset_ctrl.connection import posting
from offset_ctrl.connection.posting import Answer, PostFailed, post
from offset_proto.web_address import parse_web_address

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Ask = Callable[..., Answer]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def _says(data: bytes, heard: list[bytes] | None = None) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head + await reader.readexactly(4))
        writer.write(data)

    return peer


@pytest.fixture
def ask(listen: Any) -> Ask:
    """Posts four bytes to a peer."""

    async def main(peer: Peer, seconds: float, context: ssl.SSLContext | None, host: str) -> Answer:
        async with asyncio.timeout(20), listen(peer, context=context) as port:
            scheme = "http" if context is None else "https"
            address = parse_web_address(f"{scheme}://{host}:{port}/a/b?c=d", "the address")
            return await post(address, {"X-Id": "7"}, b"body", seconds)

    def run(peer: Peer, seconds: float = 5.0, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Answer:
        return asyncio.run(main(peer, seconds, context, host))

    return run


def test_a_request_and_its_answer(ask: Ask) -> None:
    """All that is sent: where to, how long it is, what the caller says; nothing else."""
    heard: list[bytes] = []
    assert ask(_says(OK, heard)) == Answer(200, b"hi")
    first, host, *rest = heard[0].decode().split("\r\n")
    assert first == "POST /a/b?c=d HTTP/1.1"
    assert host.startswith("Host: 127.0.0.1:")
    assert rest == ["Connection: close", "Content-Length: 4", "X-Id: 7", "", "body"]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"HTTP/1.0 204 No Content\r\n\r\n", Answer(204, b"")),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n", Answer(200, b"hi!")),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\nno", Answer(302, b"no")),
        (b"HTTP/1.1 500 Oh\r\n\r\nuntil the end", Answer(500, b"until the end")),
    ],
    ids=["nothing in it", "in chunks", "a redirection, which is not followed", "without a length"],
)
def test_answers(ask: Ask, said: bytes, answer: Answer) -> None:
    """Whatever form of HTTP they have."""
    assert ask(_says(said)) == answer


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "answered no HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "answered no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi", "answered no HTTP: IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "answered no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "answered no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(posting.ANSWER_BYTES_MAX), "more than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nhi" % 10**20, "answered no HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\nhi" % 16**20, "answered no HTTP"),
    ],
    ids=[
        "nothing",
        "another protocol",
        "cut off",
        "chunks that are none",
        "too many headers",
        "too much",
        "a length beyond all",
        "a chunk beyond all",
    ],
)
def test_answers_that_are_none(ask: Ask, said: bytes, reason: str) -> None:
    """Each is said to be one."""
    with pytest.raises(PostFailed, match=reason):
        ask(_says(said))


def test_whoever_is_slow(ask: Ask) -> None:
    """One limit of time holds for all of it, also where a byte comes now and then."""

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            writer.write(b"HTTP/1.1 200 OK\r\n"[:1])
            await asyncio.sleep(0.02)

    with pytest.raises(PostFailed, match=r"has not answered within 0\.2 seconds"):
        ask(drips, seconds=0.2)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", f"https://{'a' * 64}.example/"])
def test_whoever_is_not_there(address: str) -> None:
    """Also a name that no name server could know."""
    with pytest.raises(PostFailed, match="can not be reached"):
        asyncio.run(post(parse_web_address(address, "the address"), {}, b"", 5.0))


def test_an_onion_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can not be reached from here, and nobody is asked for its name (RFC 7686 §2)."""
    monkeypatch.setattr(asyncio, "open_connection", None)
    address = parse_web_address(f"https://{'a' * 56}.onion/", "the address")
    with pytest.raises(PostFailed, match="is an onion service"):
        asyncio.run(post(address, {}, b"", 5.0))


# TLS.


def _certificate(folder: Path, host: str = "localhost") -> Path:
    """One for one host alone, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "cert.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def test_over_tls(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate must be one that this machine trusts, and of the host that the address names."""
    path = _certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    with pytest.raises(PostFailed, match="certificate verify failed"):
        ask(_says(OK), context=context, host="localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert ask(_says(OK), context=context, host="localhost") == Answer(200, b"hi")
    with pytest.raises(PostFailed, match="IP address mismatch"):
        ask(_says(OK), context=context, host="127.0.0.1")


class _JoiningProxy(Proxy):
    """Joins whoever asks to one port of this machine, whatever the host; or says no."""

    def __init__(self, port: int, refusal: OSError | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self._port, self._refusal = port, refusal

    async def connect(self, host: str, port: int) -> socket.socket:
        self.asked.append((host, port))
        if self._refusal is not None:
            raise self._refusal
        return socket.create_connection(("127.0.0.1", self._port))


@pytest.mark.parametrize("host", ["shop.example", "a" * 56 + ".onion"])
def test_through_a_proxy(listen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """The proxy gets the name, this machine looks nothing up, and the certificate is that of the name."""
    path = _certificate(tmp_path, host)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def main() -> tuple[Answer, list[tuple[str, int]]]:
        async with asyncio.timeout(20), listen(_says(OK), context=context) as port:
            proxy = _JoiningProxy(port)
            answer = await post(parse_web_address(f"https://{host}/x", "the address"), {}, b"body", 5.0, proxy)
            return answer, proxy.asked

    assert asyncio.run(main()) == (Answer(200, b"hi"), [(host, 443)])


def test_a_proxy_that_says_no() -> None:
    """There is no other way."""
    proxy = _JoiningProxy(0, OSError("by the proxy socks5h://x: no"))
    address = parse_web_address("https://shop.example/x", "the address")
    with pytest.raises(PostFailed, match="by the proxy socks5h://x: no"):
        asyncio.run(post(address, {}, b"body", 5.0, proxy))


def test_this_machine_needs_no_proxy(listen: Any) -> None:
    """It is reached directly."""

    async def main() -> list[tuple[str, int]]:
        async with asyncio.timeout(20), listen(_says(OK)) as port:
            proxy = _JoiningProxy(port)
            await post(parse_web_address(f"http://127.0.0.1:{port}/x", "the address"), {}, b"body", 5.0, proxy)
            return proxy.asked

    assert asyncio.run(main()) == []
