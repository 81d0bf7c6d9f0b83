"""Where a server listens, by which names it is known, and HTTPS."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.responses import PlainTextResponse, StreamingResponse

from offset_crypto.program import ListenError
from offset_ctrl.web import accepting
from offset_ctrl.web.accepting import serve_http
from offset_ctrl.web.guard import Guard
from offset_ctrl.web.listening import Certificate, bind, make_front
from offset_proto.errors import InvalidInput
from offset_proto.files import IoError


def _certificate(directory, *names):
    """A certificate of these names, that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key, hashes.SHA256())
    certificate = Certificate(directory / "cert.pem", directory / "key.pem")
    certificate.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate.key.write_bytes(key.private_bytes(*form))
    return certificate


def test_a_public_address():
    """Buyers' programs are told it; it is no name of the wallet's, and no origin of a page."""
    front = make_front(("127.0.0.1", 8080), None, None, "https://shop.example.org/pay/")
    assert front.delivery == "https://shop.example.org/pay/api/v1/commits"
    assert front.origins.hosts == {"127.0.0.1:8080", "localhost:8080"}
    assert front.origins.public_hosts == {"shop.example.org"}
    assert front.origins.origins == {"http://127.0.0.1:8080", "http://localhost:8080"}
    assert make_front(("127.0.0.1", 80), None, None, "http://127.0.0.1").delivery == "http://127.0.0.1/api/v1/commits"
    for public in ("http://shop.example.org", "shop.example.org", "https://a@b", "http://127.0.0.1/pay", "https://a#b"):
        with pytest.raises(InvalidInput, match="--public-address"):
            make_front(("127.0.0.1", 8080), None, None, public)


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("shop.example.org", "/api/v1/commits", 200),
        ("SHOP.example.org", "/checkout/abc", 200),
        ("shop.example.org", "/static/wallet.css", 200),
        ("shop.example.org", "/checkout", 404),
        ("shop.example.org", "/api/v1/commits/", 404),
        ("shop.example.org", "/", 404),
        ("shop.example.org", "/log-in", 404),
        ("shop.example.org", "/api/v1/nodes", 404),
        ("shop.example.org", "/api/v1/openapi.json", 404),
        ("elsewhere.example.org", "/api/v1/commits", 421),
        ("127.0.0.1:8080", "/log-in", 200),
        ("127.0.0.1:8080", "/api/v1/commits", 200),
    ],
)
def test_what_is_reached_by_the_public_address(host, path, status):
    """The paths for buyers, and nothing of the wallet or of the API."""
    front = make_front(("127.0.0.1", 8080), None, None, "https://shop.example.org")
    guarded = httpx.ASGITransport(Guard(PlainTextResponse("fine"), front.origins))

    async def ask():
        async with httpx.AsyncClient(transport=guarded, base_url="http://127.0.0.1:8080") as client:
            return (await client.get(path, headers={"host": host})).status_code

    assert asyncio.run(ask()) == status


def test_a_public_address_that_is_the_own_one():
    """The wallet stays where it is."""
    front = make_front(("0.0.0.0", 8080), None, "https://shop.example.org", "https://shop.example.org")  # noqa: S104
    guarded = httpx.ASGITransport(Guard(PlainTextResponse("fine"), front.origins))

    async def ask():
        async with httpx.AsyncClient(transport=guarded, base_url="http://shop.example.org") as client:
            return (await client.get("/log-in")).status_code

    assert asyncio.run(ask()) == 200


def _serve(app, body, certificate=None):
    """Does something while *app* is served; *body* gets the port."""

    async def main():
        async with asyncio.timeout(30):
            with bind(("127.0.0.1", 0)) as listener:
                serving = asyncio.create_task(serve_http(app, listener, certificate, asyncio.Event()))
                try:
                    await body(listener.getsockname()[1])
                finally:
                    serving.cancel()
                    await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(main())


def test_https(tmp_path):
    """With the names of the certificate, and those alone."""
    certificate = _certificate(tmp_path, x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1")))

    async def body(port):
        context = ssl.create_default_context(cafile=str(certificate.path))
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            assert (await client.get(f"https://127.0.0.1:{port}/")).text == "fine"

    _serve(PlainTextResponse("fine"), body, certificate)
    front = make_front(("0.0.0.0", 443), certificate, None)  # noqa: S104
    assert front.is_direct
    assert not make_front(("127.0.0.1", 8080), None, "https://wallet.example").is_direct
    assert front.origins.hosts == {"localhost", "localhost:443", "127.0.0.1", "127.0.0.1:443"}
    assert (front.url, front.is_secure) == ("https://localhost", True)


def test_handshakes_count_and_have_a_limit_of_time(tmp_path, monkeypatch):
    """A client of HTTPS that connects and says nothing has one of the places, and loses it soon."""
    monkeypatch.setattr(accepting, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(accepting, "HANDSHAKE_SECONDS", 1.0)
    certificate = _certificate(tmp_path, x509.DNSName("localhost"))

    async def body(port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        ends = [asyncio.create_task(_end_of(reader)) for reader, _ in silent]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert sum(end.done() for end in ends) == 1
        await asyncio.wait(ends)
        context = ssl.create_default_context(cafile=str(certificate.path))
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            assert (await client.get(f"https://localhost:{port}/")).text == "fine"
        for _, writer in silent:
            writer.close()

    _serve(PlainTextResponse("fine"), body, certificate)


async def _end_of(reader):
    with contextlib.suppress(ConnectionError):
        await reader.read()


def test_certificates_that_can_not_be_used(tmp_path):
    """Without a name the server would not know its own, and a key must fit."""
    for names in ((), (x509.DNSName("*.example.org"),)):
        with pytest.raises(InvalidInput, match=r"cert\.pem"):
            make_front(("127.0.0.1", 1), _certificate(tmp_path, *names), None)
    with pytest.raises(IoError, match="nothing"):
        make_front(("127.0.0.1", 1), Certificate(tmp_path / "nothing", tmp_path / "key.pem"), None)
    certificate = _certificate(tmp_path, x509.DNSName("localhost"))
    certificate.key.write_bytes(b"no key")

    async def main():
        with bind(("127.0.0.1", 0)) as listener:
            await serve_http(PlainTextResponse("fine"), listener, certificate, asyncio.Event())

    with pytest.raises(IoError, match=r"key\.pem"):
        asyncio.run(main())


def test_an_address_that_is_taken():
    """Is named by the error."""
    with bind(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with pytest.raises(ListenError, match=str(address[1])), bind(address):
            pass


def test_a_client_that_does_not_read_is_dropped():
    """After its time to make room is over, so that it holds up nothing."""
    ended = asyncio.Event()

    async def endless():
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def app(scope, receive, send):
        await StreamingResponse(endless())(scope, receive, send)

    async def body(port):
        front = make_front(("127.0.0.1", port), None, None)
        guarded.append(Guard(app, front.origins, send_seconds=0.3))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
        await ended.wait()
        with contextlib.suppress(ConnectionError):
            await reader.read()  # comes to an end
        writer.close()

    guarded = []

    async def guard(scope, receive, send):
        await guarded[0](scope, receive, send)

    _serve(guard, body)


def test_where_a_server_may_listen():
    """On loopback; elsewhere with a certificate or behind a proxy, and by the names that these say."""
    front = make_front(("127.0.0.1", 8080), None, None)
    assert front.origins.hosts == {"127.0.0.1:8080", "localhost:8080"}
    assert (front.url, front.is_secure, front.port) == ("http://127.0.0.1:8080", False, 8080)
    assert make_front(("::1", 80), None, None).origins.hosts == {"[::1]", "localhost", "[::1]:80", "localhost:80"}
    for address in ("0.0.0.0", "192.0.2.1", "::"):  # noqa: S104
        with pytest.raises(InvalidInput, match="--tls-cert"):
            make_front((address, 80), None, None)
    proxied = make_front(("0.0.0.0", 80), None, "https://Wallet.example")  # noqa: S104
    assert proxied.origins.hosts == {"wallet.example"}
    assert (proxied.is_secure, proxied.port) == (True, 443)
    assert make_front(("::1", 80), None, None).port == 80
    assert make_front(("::1", 80), None, "http://wallet.example:81").port == 81
    for wrong in ("wallet.example", "https://", "https://a/b", "ftp://a", "https://a@b"):
        with pytest.raises(InvalidInput, match="no origin"):
            make_front(("127.0.0.1", 80), None, wrong)
