"""
Links that break: a forwarder before each relay of a network passes bytes on, and cuts connections when it is told to.

Everything between two friends passes a relay, so cutting the connections of relays breaks tunnels in the middle of a
message, takes away listeners, and lets dialling fail, without a hook in any program.
"""

import asyncio
import contextlib
import threading
from pathlib import Path
from random import Random

__all__ = ["LinkCutter"]


class LinkCutter:
    """
    Stands before the relays of a `Network`, in the place of its recorder; other servers are reached directly.

    Attributes:
        cuts: Connections that were cut.
    """

    def __init__(self) -> None:
        self.cuts = 0
        self._links: dict[int, tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._servers: list[asyncio.Server] = []
        self._opened = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cutter", daemon=True)
        self._thread.start()

    def tap(self, kind: str, identity: Path, port: int) -> int:
        """Stand before a server, if it is a relay; the port that its clients are to be told."""
        if kind != "relay":
            return port
        return asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(10)

    def cut(self, chance: Random) -> bool:
        """Cut a connection that *chance* chooses, at both ends; False where there is none."""

        async def cut() -> bool:
            if not self._links:
                return False
            for writer in self._links[chance.choice(sorted(self._links))]:
                writer.transport.abort()
            self.cuts += 1
            return True

        return asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def close(self) -> None:
        """Cut everything, and listen no more."""

        async def close() -> None:
            for server in self._servers:
                server.close()
            for writer in [writer for link in self._links.values() for writer in link]:
                writer.transport.abort()
            if others := asyncio.all_tasks() - {asyncio.current_task()}:  # they end by themselves now
                await asyncio.wait(others, timeout=5)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, port: int) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.close()
                return
            self._opened += 1
            number = self._opened
            self._links[number] = writer, back
            try:
                await asyncio.gather(self._forward(reader, back), self._forward(there, writer))
            finally:
                del self._links[number]

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()
