"""
Links on asyncio: sockets, a ticker, and nothing of the protocol. The other shell of this package is `program`.

* `ticker`: the ticks of a process.
* `connection`: `Connection`, one authenticated link whatever carries it, and the `Receiver` of its messages.
* `sockets`: links on TCP: `connect`, `listen` and `serve`.
* `proxy`: outgoing links through a SOCKS5 proxy, such as Tor.
* `tunnel`: a link inside another connection: `open_tunnel`.

Messages go to the `Receiver` that is attached to a connection; sending never waits. What keeps memory bounded: reading
pauses until a receiver is attached, or while it asks for it; a peer that does not read for `WRITE_TICKS` ticks, or lets
more than ``outbox_bytes_max`` pile up, loses its link (spec 02 §10.2).

All connections of a process share one `Ticker`; there is no task or timer for each.
"""

from offset_crypto.aio.connection import ConnectFailed, Connection, Receiver
from offset_crypto.aio.proxy import Proxy
from offset_crypto.aio.sockets import Listening, connect, listen, serve
from offset_crypto.aio.ticker import Ticker
from offset_crypto.aio.tunnel import open_tunnel

__all__ = [
    "ConnectFailed",
    "Connection",
    "Listening",
    "Proxy",
    "Receiver",
    "Ticker",
    "connect",
    "listen",
    "open_tunnel",
    "serve",
]
