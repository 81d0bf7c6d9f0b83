"""The index server on sockets: whom it connects to, and how often."""

import asyncio
import contextlib
import socket

from offset_crypto.aio import Ticker, serve
from offset_crypto.identity import Identity
from offset_index.server import initiates
from offset_index.service import IndexService
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import NetAddress, PrivateKey

KEYS = [Identity(PrivateKey(bytes([value]) * 32)) for value in range(1, 9)]
OTHER = KEYS[0]
OWN = next(identity for identity in KEYS[1:] if initiates(identity.public_key, OTHER.public_key))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _attempts_at(remote: Identity, ticks: int) -> int:
    """How often a server connects, in so many ticks, to one that ends each link as soon as it is open."""
    accepted = 0

    def refuse(connection) -> None:
        nonlocal accepted
        accepted += 1
        connection.close()

    async def main() -> None:
        ticker = Ticker(0.02)
        async with serve("127.0.0.1", 0, remote, ticker, refuse, handshakes_max=8) as port:
            trusted = {remote.public_key: RelayAddress(remote.public_key, NetAddress(f"127.0.0.1:{port}"))}
            service = IndexService(OWN, trusted, ticker)
            listening = ("127.0.0.1", _free_port()), ("127.0.0.1", _free_port())
            running = asyncio.ensure_future(service.run(*listening))
            passed = asyncio.Event()
            left = ticks

            def count() -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    passed.set()

            ticker.subscribe(count)
            await passed.wait()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(main())
    return accepted


def test_the_own_ticket_is_ignored():
    """D68: a server whose own ticket lies among the trusted ones does not talk to itself."""
    assert _attempts_at(OWN, 20) == 0


def test_a_server_that_refuses_is_not_stormed():
    """D68: 8 ticks of pause after a link that lived shorter."""
    assert 1 <= _attempts_at(OTHER, 40) <= 6
