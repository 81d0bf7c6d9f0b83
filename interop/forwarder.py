"""
Stands before the servers of a `Network`, in the place of its recorder, and passes on what comes, without reading it.

What is to be noticed or done about the connections is said by a subclass.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Forwarder"]

T = TypeVar("T")


class Forwarder:
    """
    Passes bytes between clients and servers, on a thread of its own.

    Attributes:
        open_links: Connections by number: the kind of the server, and the writers of both ends. Changed by the
            forwarder's thread alone.
        passing: Not set: nothing passes, as where a network is cut, and nobody who connects gets any further.
    """

    def __init__(self) -> None:
        self.open_links: dict[int, tuple[str, asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self.passing = asyncio.Event()
        self.passing.set()
        self._servers: list[asyncio.Server] = []
        self._opened = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder", daemon=True)
        self._thread.start()

    def tap(self, kind: str, identity: Path, port: int) -> int:
        """
        Stand before a server.

        Args:
            kind: Of its links: "relay", "app", "index-client" or "index-server".
            identity: The server's; not needed.
            port: Where it listens, or is going to, on loopback.

        Returns:
            The port that the clients are to be told.
        """
        return self.run(self._listen(kind, port))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have *work* done on the forwarder's thread; its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def note_passed(self, kind: str, count: int) -> None:
        """So many bytes passed on a link, in either direction; called on the forwarder's thread."""

    def close(self) -> None:
        """Cut everything, and listen no more."""

        async def close() -> None:
            for server in self._servers:
                server.close()
            for _, *writers in self.open_links.values():
                for writer in writers:
                    writer.transport.abort()
            if others := asyncio.all_tasks() - {asyncio.current_task()}:  # they end by themselves now
                await asyncio.wait(others, timeout=5)

        self.run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, kind: str, port: int) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.passing.wait()
            try:
                there, back = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.close()
                return
            self._opened += 1
            number = self._opened
            self.open_links[number] = kind, writer, back
            try:
                await asyncio.gather(self._forward(kind, reader, back), self._forward(kind, there, writer))
            finally:
                del self.open_links[number]

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _forward(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):  # a server or a client was killed
                while data := await reader.read(65536):
                    await self.passing.wait()
                    if writer.is_closing():
                        return
                    self.note_passed(kind, len(data))
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()
