"""Links without sockets and with them. Spec 02 §3, §4, §7."""

import asyncio
import random
import socket
import time

import pytest
import uvloop

from offset_crypto.aio import ConnectFailed, Connection, Ticker, connect, listen, open_tunnel, serve
from offset_crypto.backoff import Backoff
from offset_crypto.identity import Identity
from offset_crypto.keepalive import Keepalive, RemoteTimeout
from offset_crypto.link import HandshakeTimeout, MessageReceived, Opened, StreamLink, VersionMismatch
from offset_proto.errors import PeerError
from offset_proto.frames import FrameTooLarge, encode_frame
from offset_proto.types import PrivateKey

C = Identity(PrivateKey(bytes(range(32))))
S = Identity(PrivateKey(bytes(range(32, 64))))

MEBIBYTE = random.Random(5).randbytes(1024 * 1024)  # zeros would be packed to nothing


def _open_pair(cut: int = 0) -> tuple[StreamLink, StreamLink, list]:
    """Two links with their streams joined, in pieces of *cut* bytes (0: whole)."""
    links = StreamLink(C, S.public_key, random.Random(1).randbytes), StreamLink(S, None, random.Random(2).randbytes)
    for link in links:
        link.start()
    return *links, _exchange(*links, cut)


def _exchange(first: StreamLink, second: StreamLink, cut: int = 0) -> list:
    happened = []
    moving = True
    while moving:
        moving = False
        for sender, receiver in ((first, second), (second, first)):
            stream = b"".join(sender.take_outgoing())
            moving |= bool(stream)
            size = cut or len(stream) or 1
            for start in range(0, len(stream), size):
                happened += receiver.receive_data(stream[start : start + size])
    return happened


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_links_open_and_carry_messages(cut):
    """Streams may be cut anywhere."""
    first, second, happened = _open_pair(cut)
    assert [Opened(C.public_key), Opened(S.public_key)] == sorted(happened, key=lambda e: e.remote_public_key)
    first.send(b"")
    first.send(b"hello" * 1000)
    assert [MessageReceived(b""), MessageReceived(b"hello" * 1000)] == _exchange(first, second, cut)


@pytest.mark.parametrize("frame", [b"", b"\x00\x00\x00\x01", b"\x00" * 5])
def test_versions_must_match(frame):
    """Spec 02 §4: another version, or no version at all."""
    link = StreamLink(S, None, random.Random(1).randbytes)
    with pytest.raises(VersionMismatch):
        link.receive_data(encode_frame(frame))


def test_frames_are_small_until_the_link_is_open():
    """D2: 16 KiB from a stranger, more from an authenticated peer."""
    link = StreamLink(S, None, random.Random(1).randbytes)
    with pytest.raises(FrameTooLarge):
        link.receive_data((16 * 1024 + 1).to_bytes(8, "big"))
    first, second, _ = _open_pair()
    first.send(bytes(1_000_000))
    assert [MessageReceived(bytes(1_000_000))] == _exchange(first, second)


def test_a_silent_peer_has_eight_ticks():
    """Spec 02 §8: one limit for the whole handshake, not one per message."""
    link = StreamLink(S, None, random.Random(1).randbytes)
    link.start()
    for _ in range(7):
        link.tick()
    link.receive_data(encode_frame(bytes(4)))
    with pytest.raises(HandshakeTimeout):
        link.tick()


def test_keepalive_is_sent_after_16_ticks_and_silence_ends_after_32():
    """Spec 02 §7."""
    keepalive = Keepalive()
    sent = [keepalive.tick() is not None for _ in range(31)]
    assert [index + 1 for index, was_sent in enumerate(sent) if was_sent] == [16]
    with pytest.raises(RemoteTimeout):
        keepalive.tick()


def test_any_message_is_a_sign_of_life_and_only_own_messages_delay_ours():
    """Receiving does not put off our own keepalive."""
    first, second = Keepalive(), Keepalive()
    for _ in range(15):
        assert first.tick() is None
        assert first.receive(second.wrap(b"x")) == b"x"
    assert first.tick() is not None


def test_a_link_inside_gives_the_signs_of_life_of_both():
    """An idle tunnel says one thing in 16 ticks; the link that carries it speaks up where the tunnel is silent."""
    inside, carrier = Keepalive(), Keepalive()
    carrier.carry_link()
    said = []
    for tick in range(1, 100):
        own = carrier.tick()  # before the link inside; a relay hears of that even later
        inner = inside.tick()
        inside.receive(Keepalive().wrap(b""))
        if inner is not None:
            carrier.wrap(inner)
        carrier.receive(Keepalive().wrap(b""))
        said += [(tick, what) for what, message in (("own", own), ("inner", inner)) if message is not None]
    assert said == [(tick, "inner") for tick in range(16, 100, 16)]
    assert [carrier.tick() is not None for _ in range(18)] == [False] * 16 + [True, False]  # silent since tick 96


def test_silence_proves_nothing_while_we_do_not_read():
    """Keepalive does not depend on the consumer (spec 03 §6.9)."""
    keepalive = Keepalive()
    for _ in range(100):
        keepalive.tick(listening=False)


def test_backoff_grows_to_eight_and_starts_again():
    """Failures wait 1, 2, 4, 8, 8; a link that ended at once waits 8; one that lived none."""
    backoff = Backoff(lambda size: bytes(size))
    assert [backoff.after_failure() for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    assert backoff.after_link(7) == 8
    assert backoff.after_link(8) == 0
    assert backoff.after_failure() == 1
    jittered = Backoff(lambda size: b"\x01" * size)
    assert [jittered.after_failure() for _ in range(4)] == [1, 2, 3, 7]


class _Collector:
    """Keeps what a connection receives."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue = asyncio.Queue()
        self.closed = asyncio.Event()

    def message_received(self, message: bytes) -> None:
        if message == b"bad":
            raise PeerError("refused")
        self.messages.put_nowait(message)

    def connection_closed(self) -> None:
        self.closed.set()


async def _connected(body) -> None:
    """Run *body* with both ends of a connection over loopback."""
    ticker = Ticker(0.02)
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    async with serve("127.0.0.1", 0, S, ticker, accepted.put_nowait, handshakes_max=4) as port:
        connection = await connect(f"127.0.0.1:{port}", C, S.public_key, ticker)
        try:
            await body(connection, await accepted.get(), ticker, port)
        finally:
            connection.close()


def test_sockets_carry_messages_both_ways():
    """The acceptor learns the connector's key; what came before a receiver was attached is not lost."""

    async def body(connector, acceptor, ticker, port):
        assert acceptor.remote_public_key == C.public_key
        left, right = _Collector(), _Collector()
        connector.send(b"early")
        await asyncio.sleep(0.05)
        acceptor.attach(right)
        connector.attach(left)
        acceptor.send(b"back")
        assert await right.messages.get() == b"early"
        assert await left.messages.get() == b"back"
        connector.close()
        await right.closed.wait()

    asyncio.run(_connected(body))


def test_a_bad_message_closes_one_connection():
    """A PeerError of the receiver ends that connection; the server goes on."""

    async def body(connector, acceptor, ticker, port):
        left, right = _Collector(), _Collector()
        connector.attach(left)
        acceptor.attach(right)
        connector.send(b"bad")
        await left.closed.wait()
        again = await connect(f"127.0.0.1:{port}", C, S.public_key, ticker)
        again.close()

    asyncio.run(_connected(body))


def test_wrong_key_and_unreachable_are_failures():
    """One error for whatever went wrong, with the cause in its text."""

    async def body(connector, acceptor, ticker, port):
        for address, key in ((f"127.0.0.1:{port}", C.public_key), ("127.0.0.1:1", S.public_key), ("x", S.public_key)):
            with pytest.raises(ConnectFailed):
                await connect(address, C, key, ticker)

    asyncio.run(_connected(body))


def test_what_links_count():
    """Bytes and frames of both ends, who opened what, and handshakes that came to nothing."""

    async def body(connector, acceptor, ticker, port):
        links, collector = ticker.links, _Collector()
        acceptor.attach(collector)
        assert (links.dialed, links.accepted, links.closed, links.handshakes_failed) == (1, 1, 0, 0)
        sent_bytes, sent_frames = links.sent_bytes, links.sent_frames
        connector.send(MEBIBYTE)
        assert await collector.messages.get() == MEBIBYTE
        assert len(MEBIBYTE) < links.sent_bytes - sent_bytes < len(MEBIBYTE) + 4096  # packed and padded
        assert links.sent_frames - sent_frames == 1
        assert (links.received_bytes, links.received_frames) == (links.sent_bytes, links.sent_frames)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(encode_frame(b"another version"))
        await reader.read()  # its version, and the end
        writer.close()
        assert (links.accepted, links.closed, links.handshakes_failed) == (2, 1, 1)
        assert (links.handshakes_running, links.handshakes_waiting) == (0, 0)
        connector.close()
        await collector.closed.wait()
        assert links.dialed + links.accepted == links.closed

    asyncio.run(_connected(body))


def test_no_more_connections_are_taken():
    """New ones are refused and those at the handshake end; links that are open go on."""

    async def main() -> None:
        ticker = Ticker(0.05)
        accepted: asyncio.Queue[Connection] = asyncio.Queue()
        async with listen("127.0.0.1", 0, S, ticker, accepted.put_nowait, handshakes_max=4) as listening:
            connection = await connect(f"127.0.0.1:{listening.port}", C, S.public_key, ticker)
            collector = _Collector()
            (await accepted.get()).attach(collector)
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            await asyncio.sleep(0.05)
            listening.take_no_more()
            async with asyncio.timeout(10):
                await reader.read()
            writer.close()
            with pytest.raises(ConnectFailed):
                await connect(f"127.0.0.1:{listening.port}", C, S.public_key, ticker)
            connection.send(b"still here")
            assert await collector.messages.get() == b"still here"
            connection.close()
            await collector.closed.wait()

    asyncio.run(main())


def test_a_link_inside_a_link():
    """A tunnel proves the keys of its own ends, whatever carries it."""

    async def body(connector, acceptor, ticker, port):
        inner_c, inner_s = await asyncio.gather(
            open_tunnel(connector, C, S.public_key, ticker), open_tunnel(acceptor, S, C.public_key, ticker)
        )
        collector = _Collector()
        inner_s.attach(collector)
        inner_c.attach(_Collector())
        inner_c.send(b"through")
        assert await collector.messages.get() == b"through"
        inner_c.close()
        await collector.closed.wait()

    asyncio.run(_connected(body))


def test_a_tunnel_takes_over_where_the_peer_began_already():
    """The peer's first message waits in the carrier; another receiver had read up to there, and let go."""

    async def body(connector, acceptor, ticker, port):
        class OnlyTheFirst(_Collector):
            def message_received(self, message):
                super().message_received(message)
                acceptor.detach()

        connector.send(b"hello")
        opening = asyncio.ensure_future(open_tunnel(connector, C, S.public_key, ticker))
        await asyncio.sleep(0.1)
        first = OnlyTheFirst()
        acceptor.attach(first)
        assert await first.messages.get() == b"hello"
        inner_s = await open_tunnel(acceptor, S, C.public_key, ticker)
        inner_c = await opening
        collector = _Collector()
        inner_s.attach(collector)
        inner_c.send(b"through")
        assert await collector.messages.get() == b"through"
        assert first.messages.empty()

    asyncio.run(_connected(body))


def test_more_handshakes_than_the_limit_wait_and_succeed():
    """Spec 02 §1: excess connections are not refused."""

    async def body(connector, acceptor, ticker, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        connection = await connect(f"127.0.0.1:{port}", C, S.public_key, Ticker(0.1))
        connection.close()
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()

    asyncio.run(_connected(body))


def test_a_peer_that_does_not_read_is_left_by_bytes():
    """D53: what waits for it has a limit, which nobody else notices."""

    async def body(connector, acceptor, ticker, port):
        collector = _Collector()
        acceptor.attach(collector)
        sent = 0
        while not acceptor.is_closed:
            assert sent <= 64, "unread messages pile up without end"
            acceptor.send(MEBIBYTE)
            sent += 1
        await collector.closed.wait()
        assert sent > 16
        assert ticker.links.unread == 1
        again = await connect(f"127.0.0.1:{port}", C, S.public_key, ticker)
        again.close()

    asyncio.run(_connected(body))


def test_a_peer_that_does_not_read_is_left_by_time():
    """D8: less than the limit, but no progress for too many ticks; one that reads late is kept."""

    async def body(connector, acceptor, ticker, port):
        collector, late = _Collector(), _Collector()
        acceptor.attach(collector)
        for _ in range(14):
            acceptor.send(MEBIBYTE)
        await asyncio.sleep(5 * ticker.seconds)
        assert not acceptor.is_closed
        connector.attach(late)
        for _ in range(14):
            assert await late.messages.get() == MEBIBYTE
        connector.pause_reading()
        for _ in range(14):
            acceptor.send(MEBIBYTE)
        await collector.closed.wait()

    asyncio.run(_connected(body))


def test_connecting_has_a_time_limit():
    """D9: a server that accepts and says nothing is left after 8 ticks, however patient the operating system is."""

    async def body():
        left = asyncio.Event()

        async def say_nothing(reader, writer):
            while await reader.read(1000):
                pass
            writer.close()
            left.set()

        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectFailed, match=r"timed out|too long"):
                await connect(f"127.0.0.1:{port}", C, S.public_key, Ticker(0.01))
            await left.wait()

    asyncio.run(body())


def _deaf() -> tuple[list[socket.socket], int]:
    """Sockets that fill the queue of a port of loopback, so that nobody who connects hears anything; and the port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    sockets = [listening]
    for _ in range(4):
        filling = socket.socket()
        filling.setblocking(False)
        filling.connect_ex(listening.getsockname())
        sockets.append(filling)
    return sockets, listening.getsockname()[1]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_address_that_does_not_answer_holds_up_no_other(run):
    """Of a name with several addresses the first one is deaf, and the next is closed; the third one is reached."""

    async def body():
        ticker = Ticker(10)  # its time limit is longer than that of the test
        sockets, deaf = _deaf()
        loop_class = type(asyncio.get_running_loop())
        resolve_others = loop_class.getaddrinfo
        async with serve("127.0.0.1", 0, S, ticker, lambda connection: None, handshakes_max=1) as port:

            async def resolve(loop, host, service, **options):
                if host != "relay.example":
                    return await resolve_others(loop, host, service, **options)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in (deaf, 1, port)]

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(loop_class, "getaddrinfo", resolve)
                connection = await asyncio.wait_for(connect("relay.example:4000", C, S.public_key, ticker), 30)
            assert connection.remote_public_key == S.public_key
            connection.close()
        for each in sockets:
            each.close()

    run(body())


def test_late_ticks_are_merged():
    """D7: a loop that stood still for many ticks goes on with one, and nobody loses the subscription."""

    async def body():
        ticker = Ticker(0.01)
        counted = 0
        thrice = asyncio.Event()

        def count():
            nonlocal counted
            counted += 1
            if counted == 3:
                thrice.set()

        def stand_still():
            time.sleep(0.2)  # twenty ticks

        ticker.subscribe(count)
        stand_still()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert counted <= 1
        await thrice.wait()
        ticker.unsubscribe(count)

    asyncio.run(body())


def test_a_link_that_opens_as_its_caller_is_cancelled_is_closed(monkeypatch):
    """Nobody has it, so nobody would ever close it."""
    opened = Connection.opened

    async def cancelled(connection: Connection) -> None:
        await opened(connection)
        made.append(connection)
        raise asyncio.CancelledError

    made: list[Connection] = []
    monkeypatch.setattr(Connection, "opened", cancelled)

    async def main() -> None:
        ticker = Ticker(0.1)
        async with serve("127.0.0.1", 0, S, ticker, lambda connection: None, handshakes_max=1) as port:
            connecting = asyncio.ensure_future(connect(f"127.0.0.1:{port}", C, S.public_key, ticker))
            await asyncio.wait([connecting])
            assert connecting.cancelled()
            assert made[0].is_closed

    asyncio.run(main())
