"""What all tests of this package share."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from buying import Files
from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.testing import ScriptedNode
from offset_proto.types import PrivateKey

APP = Identity(PrivateKey(b"\x02" * 32))

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Listen = Callable[..., contextlib.AbstractAsyncContextManager[int]]
RunSession = Callable[[ScriptedNode, Callable[[NodeSession], Awaitable[object]]], None]


@pytest.fixture(autouse=True)
def patient_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have ticks of milliseconds, and a busy machine may need many of them for a handshake."""
    for module in ("offset_crypto.aio.sockets", "offset_crypto.link"):
        monkeypatch.setattr(f"{module}.HANDSHAKE_TICKS", 1000)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The invoice is there, and nothing else; the commands of a buyer wait for little."""
    monkeypatch.setattr("offset_ctrl.programs.stctrl.payment_status.ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("offset_ctrl.programs.stctrl.buyer.CLOSE_SECONDS", 0.3)
    monkeypatch.setattr("offset_ctrl.programs.stctrl.buyer.WHY_SECONDS", 0.3)
    return Files(tmp_path)


@pytest.fixture
def run_session() -> RunSession:
    """Does something over a session with a scripted node, within 20 seconds."""

    def run(fake: ScriptedNode, body: Callable[[NodeSession], Awaitable[object]]) -> None:
        async def main() -> None:
            ticker = Ticker(0.03)
            async with (
                asyncio.timeout(20),
                fake.serve(ticker) as ticket,
                open_session(ticket.address, ticket.public_key, APP, ticker) as session,
            ):
                await body(session)

        asyncio.run(main())

    return run


@contextlib.asynccontextmanager
async def _listen(peer: Peer, port: int = 0, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve *peer* for the length of a block; the port. At its end no connection is left open."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await peer(reader, writer)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def listen() -> Listen:
    """`_listen`, for tests that are no coroutines."""
    return _listen


async def _poll(is_so: Callable[[], bool]) -> None:
    """Until it is so; the limit is that of the test."""
    while not is_so():  # noqa: ASYNC110 - it is somebody else who changes it
        await asyncio.sleep(0.01)


@pytest.fixture
def poll() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """`_poll`."""
    return _poll
