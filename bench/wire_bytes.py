"""Bytes on the wire: a forwarder before each server counts what passes, without reading it."""

import asyncio
import contextlib
import threading
from collections import Counter
from pathlib import Path

__all__ = ["ByteCounter"]


class ByteCounter:
    """
    Stands before the servers of a `Network`, in the place of its recorder.

    Attributes:
        passed: Bytes in both directions, by kind of link: "relay", "app", "index-client", "index-server".
        links: Open connections, by the same kinds.
    """

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.links: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def tap(self, kind: str, identity: Path, port: int) -> int:
        """Stand before a server; the port that its clients are to be told."""
        return asyncio.run_coroutine_threadsafe(self._listen(kind, port), self._loop).result(10)

    def close(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _listen(self, kind: str, port: int) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.close()
                return
            self.links[kind] += 1
            await asyncio.gather(self._forward(kind, reader, back), self._forward(kind, there, writer))
            self.links[kind] -= 1

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _forward(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.passed[kind] += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()
