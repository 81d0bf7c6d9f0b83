"""Tunnels through relays of both kinds: payloads of any size up to 1 MiB pass unchanged, both ways."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interop.network import Cast, Network
from interop.programs import Implementation
from interop.ready import OURS_READY
from offset_crypto.aio import Connection, Ticker, connect
from offset_crypto.identity import Identity
from offset_proto import wire
from offset_proto.files import TICKET
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.relay import Accept, Connect, InitConnection, Listen
from offset_proto.types import PrivateKey

SIZES = [0, 1, 100, 65_536, 1024 * 1024 - 64, 1024 * 1024]


class _Inbox:
    def __init__(self) -> None:
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()

    def message_received(self, message: bytes) -> None:
        self._messages.put_nowait(message)

    def connection_closed(self) -> None:
        self._messages.put_nowait(b"closed")

    async def next(self) -> bytes:
        """The next message; b"closed" at the end."""
        return await asyncio.wait_for(self._messages.get(), 20)


@asynccontextmanager
async def _link(
    relay: RelayAddress, identity: Identity, first: InitConnection
) -> AsyncIterator[tuple[Connection, _Inbox]]:
    connection = await connect(relay.address, identity, relay.public_key, Ticker())
    inbox = _Inbox()
    connection.send(wire.INIT_CONNECTION.encode(first))
    connection.attach(inbox)
    yield connection, inbox
    connection.close()
    assert await inbox.next() == b"closed"


async def _exchange(relay: RelayAddress) -> None:
    listener, connector = (Identity(PrivateKey(os.urandom(32))) for _ in range(2))
    async with _link(relay, listener, Listen()) as (_, notices):
        await asyncio.sleep(0.5)  # the relay answers a connector only where the listener is known
        async with _link(relay, connector, Connect(listener.public_key)) as (near, near_inbox):
            notice = wire.INCOMING_CONNECTION.decode(await notices.next())
            assert notice.public_key == connector.public_key
            async with _link(relay, listener, Accept(connector.public_key)) as (far, far_inbox):
                for size in SIZES:
                    payload = os.urandom(size)
                    for sender, inbox in ((near, far_inbox), (far, near_inbox)):
                        sender.send(payload)
                        assert await inbox.next() == payload


@pytest.mark.parametrize("player", ["ours", "original"])
def test_payloads(tmp_path: Path, original: Implementation, player: str) -> None:
    """Our clients at a relay of either kind."""
    with Network(tmp_path, Cast(original if player == "original" else OURS_READY)) as network:
        network.add_relay("relay")
        asyncio.run(_exchange(TICKET.load(network.path("relay.ticket"))))
