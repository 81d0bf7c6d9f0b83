"""
Ports on loopback for servers that are started in a moment.

They lie below the range from which a system takes ports for connections by itself (32768 and up on Linux, 49152 and up
elsewhere). A port of that range may be free when it is looked for and belong to a connection of somebody else when the
server listens, the sooner the more tests run at the same time.
"""

import random
import socket
from typing import Final

__all__ = ["find_free_port"]

_FIRST: Final = 12_000
_LAST: Final = 32_000


def find_free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens now."""
    while True:
        port = random.SystemRandom().randrange(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
