"""A link inside another connection: friends speak through a relay that reads nothing of it (spec 02 §7)."""

import os

from offset_crypto.aio.connection import Connection
from offset_crypto.aio.ticker import Ticker
from offset_crypto.identity import Identity
from offset_crypto.link import MessageReceived, Opened, SecureLink
from offset_proto.types import PublicKey

__all__ = ["open_tunnel"]


class _Tunnel(Connection):
    """A link whose messages are the messages of another connection; a `Receiver` of that one."""

    def __init__(self, link: SecureLink, ticker: Ticker, carrier: Connection) -> None:
        super().__init__(link, ticker)
        self._secure_link = link
        self._carrier = carrier

    def begin(self) -> None:
        """Start the handshake over the carrier, which gives up its own signs of life for those of the tunnel."""
        self._carrier.writing_changed = self._writing_paused
        self._carrier.carry_link()
        self._start()
        self._carrier.attach(self)  # what the peer sent already is handed over at once

    def message_received(self, message: bytes) -> None:
        self._arrived(message)

    def connection_closed(self) -> None:
        self.close("the tunnel was closed")

    def pause_reading(self) -> None:
        super().pause_reading()
        self._carrier.pause_reading()

    def resume_reading(self) -> None:
        super().resume_reading()
        self._carrier.resume_reading()

    def _receive(self, data: bytes) -> list[Opened | MessageReceived]:
        return self._secure_link.receive_message(data)

    def _write(self, outgoing: list[bytes]) -> None:
        for message in outgoing:
            self._carrier.send(message)

    def _close_carrier(self) -> None:
        self._carrier.close("the link inside was closed")

    def _outbox_bytes(self) -> int:
        return 0  # the carrier counts


async def open_tunnel(
    carrier: Connection, identity: Identity, remote_public_key: PublicKey, ticker: Ticker
) -> Connection:
    """
    Open a link inside *carrier* to whoever is at its other end and proves *remote_public_key*.

    Raises:
        ConnectFailed: No link; the carrier is closed.
    """
    tunnel = _Tunnel(SecureLink(identity, remote_public_key, os.urandom), ticker, carrier)
    try:
        tunnel.begin()
        await tunnel.opened()
    except BaseException:
        tunnel.close("gave up")
        raise
    return tunnel
