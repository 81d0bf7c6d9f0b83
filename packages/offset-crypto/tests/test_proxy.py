"""Links through a SOCKS5 proxy: who is asked for names, who connects, and what is said where it fails. Spec 02 §3.1."""

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio
import pytest
import uvloop
from anyio.abc import SocketAttribute
from tiny_proxy import Socks5Proxy, Socks5ProxyHandler

from offset_crypto.aio import ConnectFailed, Connection, Proxy, Ticker, connect, serve
from offset_crypto.aio.proxy import ProxyUnavailable
from offset_crypto.identity import Identity
from offset_proto.proxies import ProxyUrl
from offset_proto.types import PrivateKey

C = Identity(PrivateKey(bytes(range(32))))
S = Identity(PrivateKey(bytes(range(32, 64))))

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
NAMES = {"relay.invalid": "127.0.0.1", ONION: "127.0.0.1"}
"""What only the proxy knows."""


class _Told(Socks5Proxy):
    """A proxy that knows `NAMES` and writes down what it is asked for."""

    asked: list[str]

    async def negotiate(self) -> tuple[str, int]:
        host, port = await super().negotiate()
        self.asked.append(host)
        return NAMES.get(host, host), port


class _Handler(Socks5ProxyHandler):
    def __init__(self, *login: str) -> None:
        super().__init__(*login)
        self.asked: list[str] = []

    def create_proxy(self, stream):
        proxy = _Told(stream, self.username, self.password)
        proxy.asked = self.asked
        return proxy


class ProxyThread:
    """A SOCKS5 proxy in a thread of its own, so that what it does is told apart from what we do."""

    def __init__(self, *login: str, port: int = 0) -> None:
        self._handler = _Handler(*login)
        self._ready = threading.Event()
        self._port = port
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def asked(self) -> list[str]:
        """The hosts, in order."""
        return self._handler.asked

    def __enter__(self) -> "ProxyThread":
        self._thread.start()
        assert self._ready.wait(30)
        self.ident = self._thread.ident
        self.url = ProxyUrl("127.0.0.1", self.port)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._scope.cancel)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port, reuse_port=True)
        self.port = listener.extra_attributes[SocketAttribute.local_port]()
        with anyio.CancelScope() as self._scope:
            self._ready.set()
            await listener.serve(self._handler.handle)
        await listener.aclose()


_watchers: list[Callable[[str, tuple], None]] = []
sys.addaudithook(lambda event, arguments: [watch(event, arguments) for watch in _watchers] and None)


@contextmanager
def watched(other_thread: int | None = None) -> Iterator[list[tuple]]:
    """What this process looks up and connects to meanwhile, but for *other_thread*."""
    seen: list[tuple] = []

    def watch(event: str, arguments: tuple) -> None:
        if threading.get_ident() == other_thread:
            return
        if event == "socket.getaddrinfo":
            seen.append(("look up", arguments[0]))
        elif event == "socket.connect":
            seen.append(("connect", *arguments[1][:2]))

    _watchers.append(watch)
    try:
        yield seen
    finally:
        _watchers.remove(watch)


@asynccontextmanager
async def serving():
    """A server of links on loopback: the ticker, its port, and what it accepted."""
    ticker, accepted = Ticker(0.5), asyncio.Queue[Connection]()
    async with serve("127.0.0.1", 0, S, ticker, accepted.put_nowait, handshakes_max=4) as port:
        yield ticker, port, accepted


class _Collector:
    def __init__(self) -> None:
        self.messages = asyncio.Queue[bytes]()
        self.closed = asyncio.Event()

    def message_received(self, message: bytes) -> None:
        self.messages.put_nowait(message)

    def connection_closed(self) -> None:
        self.closed.set()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_told_to_the_proxy_and_to_nobody_else(run, name):
    """This process connects to the proxy alone, and looks nothing up; messages pass."""

    async def body(through: ProxyThread) -> None:
        async with serving() as (ticker, port, accepted):
            with watched(through.ident) as seen:
                connection = await connect(f"{name}:{port}", C, S.public_key, ticker, proxy=Proxy(through.url))
            assert [("connect", "127.0.0.1", through.port)] == seen
            collector = _Collector()
            (await accepted.get()).attach(collector)
            connection.send(b"hello")
            assert await collector.messages.get() == b"hello"
            connection.close()
            await collector.closed.wait()

    with ProxyThread() as through:
        run(body(through))
        assert through.asked == [name]


def test_loopback_is_reached_directly():
    """The proxy is not even there; other numbers go to it."""
    proxy = Proxy(ProxyUrl("127.0.0.1", 1))

    async def body() -> None:
        async with serving() as (ticker, port, _):
            with watched() as seen:
                connection = await connect(f"127.0.0.1:{port}", C, S.public_key, ticker, proxy=proxy)
            assert seen == [("connect", "127.0.0.1", port)]
            connection.close()

    asyncio.run(body())
    taken = ["192.0.2.1", "::ffff:127.0.0.1", "localhost", "127.1", "0.0.0.0"]  # noqa: S104
    assert [host for host in [*taken, "127.0.0.2", "::1"] if proxy.takes(host)] == taken


@pytest.mark.parametrize("host", [ONION, f"{ONION.upper()}.", f"www.{ONION}", "duckduckgo.onion"])
def test_without_a_proxy_nobody_is_asked_for_an_onion_service(host):
    """RFC 7686 §2: no query, and a word on what to do."""

    async def body() -> None:
        with watched() as seen, pytest.raises(ConnectFailed, match=r"through a proxy only; give --proxy"):
            await connect(f"{host}:4000", C, S.public_key, Ticker(0.1))
        assert seen == []

    asyncio.run(body())


def test_user_and_password():
    """The right ones, wrong ones, and none."""
    tries = [(("ann", "s3cret"), None), (("ann", "other"), "authentication failure"), ((), "No acceptable")]

    async def body(through: ProxyThread, login: tuple[str, ...], reason: str | None) -> None:
        async with serving() as (ticker, port, _):
            address, proxy = f"relay.invalid:{port}", Proxy(ProxyUrl("127.0.0.1", through.port, *login))
            if reason is None:
                (await connect(address, C, S.public_key, ticker, proxy=proxy)).close()
                return
            with pytest.raises(ConnectFailed) as failed:
                await connect(address, C, S.public_key, ticker, proxy=proxy)
            assert "other" not in str(failed.value)

    with ProxyThread("ann", "s3cret") as through:
        for login, reason in tries:
            asyncio.run(body(through, login, reason))
        assert through.asked == ["relay.invalid"]


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answer):
    """A proxy of a kind that no library has: it does what *answer* does, and hangs up."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield ProxyUrl("127.0.0.1", server.sockets[0].getsockname()[1])


def test_each_destination_has_a_user_of_its_own():
    """As Tor takes them apart by (IsolateSOCKSAuth): by destination, and by process; the methods offered are both."""
    told: list[tuple[bytes, bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(4) == b"\x05\x02\x00\x02"
        writer.write(b"\x05\x02")
        assert await reader.readexactly(1) == b"\x01"
        told.append(tuple([await reader.readexactly((await reader.readexactly(1))[0]) for _ in range(2)]))

    async def body() -> None:
        async with answering(answer) as url:
            first, second = Proxy(url), Proxy(url)
            for proxy, address in ((first, "a.invalid:1"), (first, "b.invalid:1"), (first, "a.invalid:1")):
                with pytest.raises(ConnectFailed):
                    await connect(address, C, S.public_key, Ticker(0.5), proxy=proxy)
            with pytest.raises(ConnectFailed):
                await connect("a.invalid:1", C, S.public_key, Ticker(0.5), proxy=second)

    asyncio.run(body())
    (user, at_a), (_, at_b), again, (other, _) = told
    assert again == (user, at_a)
    assert at_a != at_b
    assert user != other


_BOUND = b"\x01" + bytes(6)
"""The address that ends a reply, and means nothing where the proxy has failed. RFC 1928 §6."""


async def _say(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(4)
    writer.write(b"\x05\x00")
    await reader.readexactly(7 + len("a.invalid"))
    writer.write(data)


async def _say_at_once(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(4)
    writer.write(data)


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (partial(_say, b"\x05\x04\x00" + _BOUND), r"the proxy socks5h://127.0.0.1:\d+ says: Host unreachable"),
        (partial(_say, b"\x05\x02\x00" + _BOUND), r"says: Connection not allowed"),
        (partial(_say, b"\x05\xf0\x00" + _BOUND), r"says: Invalid reply code"),
        (partial(_say, b"\x05\x00\x00\x09"), r"says: Invalid address type"),
        (partial(_say, b"\x05\x00\x00\x03\x01\xff\x00\x00"), r"by the proxy"),
        (partial(_say, b"\x05\x00"), r"Connection closed"),
        (partial(_say_at_once, b"HTTP/1.1 400 Bad Request\r\n\r\n"), r"Unexpected SOCKS version|Invalid auth"),
        (partial(_say_at_once, b"\x05\xff"), r"No acceptable authentication"),
        (partial(_say_at_once, b""), r"Connection closed"),
        (_say_nothing, r"timed out, through the proxy socks5h://127.0.0.1:\d+$"),
    ],
    ids=["unreachable", "forbidden", "unknown", "address", "letters", "half", "web server", "login", "away", "silent"],
)
def test_what_a_proxy_may_answer(run, answer, reason):
    """Each is a failed attempt that says whose fault it is; there is no other attempt beside the proxy."""

    async def body() -> None:
        async with answering(answer) as url:
            with watched() as seen, pytest.raises(ConnectFailed, match=f"a.invalid:1: .*{reason}"):
                await connect("a.invalid:1", C, S.public_key, Ticker(0.02), proxy=Proxy(url))
            assert seen == [("connect", url.host, url.port)]

    run(body())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_proxy_that_goes_and_comes_back(run):
    """Links through it end with it; none is made past it while it is away; then there are links again."""

    async def body(proxies: list[ProxyThread]) -> None:
        through = proxies.pop(0)
        async with serving() as (ticker, port, _):
            address, proxy = f"relay.invalid:{port}", Proxy(through.url)
            connection, collector = await connect(address, C, S.public_key, ticker, proxy=proxy), _Collector()
            connection.attach(collector)
            await asyncio.to_thread(through.__exit__)
            await collector.closed.wait()
            with pytest.raises(ConnectFailed, match=r"the proxy socks5h://127.0.0.1:\d+ is not reached"):
                await connect(address, C, S.public_key, ticker, proxy=proxy)
            proxies.append(await asyncio.to_thread(ProxyThread(port=through.port).__enter__))
            (await connect(address, C, S.public_key, ticker, proxy=proxy)).close()

    proxies = [ProxyThread().__enter__()]
    try:
        run(body(proxies))
    finally:
        for left in proxies:
            left.__exit__()


def test_a_missing_library_is_told_at_the_start(monkeypatch):
    """Not with the first link, hours later."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProxyUnavailable, match=r"offset-crypto\[proxy\]"):
        Proxy(ProxyUrl("127.0.0.1", 9050))
