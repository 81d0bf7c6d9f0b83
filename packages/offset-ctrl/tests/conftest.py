"""What all tests of this package share."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.session import NodeSession, open_session
from offset_ctrl.testing import ScriptedNode
from offset_proto.types import PrivateKey

APP = Identity(PrivateKey(b"\x02" * 32))

RunSession = Callable[[ScriptedNode, Callable[[NodeSession], Awaitable[object]]], None]


@pytest.fixture(autouse=True)
def patient_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have ticks of milliseconds, and a busy machine may need many of them for a handshake."""
    for module in ("offset_crypto.aio.sockets", "offset_crypto.link"):
        monkeypatch.setattr(f"{module}.HANDSHAKE_TICKS", 1000)


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
