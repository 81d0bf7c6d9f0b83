"""
Whether a relay or an index server answers at its address, and as which of the two. Spec 02 §3.

Tickets of relays and of index servers have one shape, and an operator may run both with one key. So a handshake alone
does not show that the right one answers. It is known by its manners, without a word from us: an index server tells each
client the hash of each tick, and a relay waits, 3 ticks at least, for the first message of whoever connects. A node
closes the link of an app that it does not trust at once, and so does an index server at its address for other servers.
"""

import asyncio
import os
import time
from typing import Final

from offset_crypto.aio import ConnectFailed, Connection, Proxy, Ticker, connect
from offset_crypto.identity import Identity
from offset_ctrl.rules.diagnosis import Manners, ServerFacts
from offset_proto import wire
from offset_proto.errors import OffsetError
from offset_proto.messages.index import TimeHash
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import FriendLivenessReport, FriendStatusReport
from offset_proto.proxies import is_onion
from offset_proto.report_view import ReportView
from offset_proto.text import split_host_port
from offset_proto.types import PrivateKey

__all__ = ["try_server", "try_servers"]

SERVERS_MAX: Final = 64
"""Servers that are tried, all at once. Only few of a friend's relays say more than none."""

LISTENING_TICKS: Final = 2.5
"""So long nothing is said: an index server speaks within one tick, and a relay closes after 3 at the earliest."""

AT_ONCE_TICKS: Final = 1
"""A link that is closed earlier was not wanted; one that is closed later was a relay's, whose ticks are not ours."""


async def try_servers(report: ReportView, ticker: Ticker, proxy: Proxy | None = None) -> tuple[ServerFacts, ...]:
    """
    Connect to the servers of a node and to the relays of its friends who are offline, all at once.

    Each is tried once, also where it stands in several lists.
    """
    wanted = dict.fromkeys(RelayAddress(relay.public_key, relay.address) for relay in report.relays)
    wanted |= dict.fromkeys(RelayAddress(server.public_key, server.address) for server in report.index_servers)
    for friend in report.friends.values():
        if friend.status is FriendStatusReport.ENABLED and friend.liveness is FriendLivenessReport.OFFLINE:
            wanted |= dict.fromkeys(friend.remote_relays[:2])
    chosen = list(wanted)[:SERVERS_MAX]
    return tuple(await asyncio.gather(*(try_server(place, ticker, proxy) for place in chosen)))


async def try_server(place: RelayAddress, ticker: Ticker, proxy: Proxy | None = None) -> ServerFacts:
    """
    Connect to a server, and listen for `LISTENING_TICKS` to what it is; nothing is asked of it.

    A handshake has to prove its key; the key that we prove is of this moment.
    """
    key, address = place.public_key, place.address
    if proxy is None and _is_onion_address(address):
        return ServerFacts(key, address, "it is reached through Tor only: give --proxy", is_tried=False)
    stranger = Identity(PrivateKey(os.urandom(PrivateKey.SIZE)))
    try:
        connection = await connect(address, stranger, key, ticker, proxy=proxy)
    except ConnectFailed as error:
        return ServerFacts(key, address, str(error).removeprefix(f"{address}: "))
    manners = await _listen(connection, ticker)
    connection.close("it answers")
    return ServerFacts(key, address, None, manners=manners)


class _Ear:
    """Takes the first message of a server, or the end of the link."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def message_received(self, message: bytes) -> None:
        self._hear(message)

    def connection_closed(self) -> None:
        self._hear(None)

    def _hear(self, message: bytes | None) -> None:
        if not self.heard.done():
            self.heard.set_result(message)


async def _listen(connection: Connection, ticker: Ticker) -> Manners | None:
    """As what a server behaves; None: as nobody whom we know."""
    ear, started = _Ear(), time.monotonic()
    connection.attach(ear)
    try:
        async with asyncio.timeout(LISTENING_TICKS * ticker.seconds):
            message = await ear.heard
    except TimeoutError:
        return Manners.RELAY
    if message is None:
        is_at_once = time.monotonic() - started < AT_ONCE_TICKS * ticker.seconds
        return Manners.CLOSED if is_at_once else Manners.RELAY
    try:
        said = wire.INDEX_SERVER_TO_CLIENT.decode(message)
    except OffsetError:
        return None
    return Manners.INDEX_SERVER if isinstance(said, TimeHash) else None


def _is_onion_address(address: str) -> bool:
    try:
        return is_onion(split_host_port(address)[0])
    except ValueError:
        return False
