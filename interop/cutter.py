"""
Links that break: a forwarder before each relay of a network passes bytes on, and cuts connections when it is told to.

Everything between two friends passes a relay, so cutting the connections of relays breaks tunnels in the middle of a
message, takes away listeners, and lets dialling fail, without a hook in any program.
"""

from pathlib import Path
from random import Random

from interop.forwarder import Forwarder

__all__ = ["LinkCutter"]


class LinkCutter(Forwarder):
    """
    Stands before the relays of a `Network`; other servers are reached directly.

    Attributes:
        cuts: Connections that were cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cuts = 0

    def tap(self, kind: str, identity: Path, port: int) -> int:
        """Stand before a server, if it is a relay; the port that its clients are to be told."""
        return super().tap(kind, identity, port) if kind == "relay" else port

    def cut(self, chance: Random) -> bool:
        """Cut a connection that *chance* chooses, at both ends; False where there is none."""

        async def cut() -> bool:
            if not self.open_links:
                return False
            _, *writers = self.open_links[chance.choice(sorted(self.open_links))]
            for writer in writers:
                writer.transport.abort()
            self.cuts += 1
            return True

        return self.run(cut())
