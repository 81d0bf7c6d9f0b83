"""
stweb under what no honest client would do: how much memory it takes, and how others fare meanwhile.

    python -m interop.web_overload [--only NAME]

Each attack is under way for some seconds against a stweb of a real node, over loopback, where no limit for one address
holds. Meanwhile somebody else asks for the friends, over a new connection each time. Printed are the connections that
the attack has got at most, the resident memory before and at most, and how long the other one waited.
"""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
import httpx

from interop.by_hand import run_by_hand
from interop.network import Network, NodeSpec
from interop.web import Web

__all__ = ["main"]

CLIENTS: Final = 1000
SECONDS: Final = 12.0


class _Attack:
    """What all clients of an attack know, and how many of them have an answer or a place now."""

    def __init__(self, web: Web) -> None:
        where = urlsplit(web.url)
        self.port = where.port or 0
        self.host = where.netloc
        self.token = web.headers["authorization"]
        self.held = 0
        self.statuses: dict[str, int] = {}

    async def hold(self, head: str, go_on: bytes, pause: float) -> None:
        """Connect, say *head*, then *go_on* again and again; begin anew whenever the server ends it."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                self.held += 1
                reading = asyncio.create_task(self._read(reader))
                try:
                    writer.write(head.format(host=self.host, token=self.token).encode())
                    while not reading.done():
                        writer.write(go_on)
                        await writer.drain()
                        await asyncio.wait({reading}, timeout=pause)
                finally:
                    self.held -= 1
                    writer.close()
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
            await asyncio.sleep(0.2)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            status = (await reader.readline()).decode("latin-1")[9:12] or "none"
            self.statuses[status] = self.statuses.get(status, 0) + 1
            while await reader.read(65536):
                pass


_HOST: Final = "Host: {host}\r\n"
_STREAM: Final = f"GET /api/v1/nodes/A/events?topic=report HTTP/1.1\r\n{_HOST}Authorization: {{token}}\r\n\r\n"
_BODY: Final = f"POST /log-in HTTP/1.1\r\n{_HOST}Content-Length: 1000000000\r\n\r\n"

ATTACKS: Final[dict[str, Callable[[_Attack], Awaitable[None]]]] = {
    "event streams": lambda attack: attack.hold(_STREAM, b"", 60.0),
    "silence": lambda attack: attack.hold("", b"", 60.0),
    "headers, a byte a second": lambda attack: attack.hold(f"GET /log-in HTTP/1.1\r\n{_HOST}X: ", b"x", 1.0),
    "bodies, a byte a second": lambda attack: attack.hold(_BODY, b"x", 1.0),
    "huge bodies": lambda attack: attack.hold(_BODY, b"x" * 65536, 0.0),
    "headers without end": lambda attack: attack.hold(f"GET /log-in HTTP/1.1\r\n{_HOST}X: ", b"x" * 4096, 0.0),
}


def _resident(pid: int) -> float:
    """MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def _try(web: Web, name: str) -> None:
    attack, waits, failures = _Attack(web), list[float](), 0
    assert web.server.process is not None
    before = most = _resident(web.server.process.pid)
    clients = [asyncio.ensure_future(ATTACKS[name](attack)) for _ in range(CLIENTS)]
    end, held = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        await asyncio.sleep(0.2)
        began = time.monotonic()
        try:
            async with web.client() as other:
                failures += (await other.get("/api/v1/nodes/A/friends")).status_code != 200
            waits.append(time.monotonic() - began)
        except httpx.TransportError:
            failures += 1
        held, most = max(held, attack.held), max(most, _resident(web.server.process.pid))
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    median, longest = (statistics.median(waits), max(waits)) if waits else (0.0, 0.0)
    served = f"{len(waits)} served, median {median:.3f} s, longest {longest:.3f} s, {failures} failed"
    click.echo(
        f"{name}: at most {held} at once, answers {dict(sorted(attack.statuses.items()))}; memory {before:.0f} to "
        f"{most:.0f} MiB; others: {served}"
    )


@click.command()
@click.option("--only", default="", help="Attacks whose name contains this.")
def main(only: str) -> None:
    """Try each attack for some seconds, and print what came of it."""
    with tempfile.TemporaryDirectory(prefix="offset-web-") as place, Network(Path(place)) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in ("A", "B"):
            network.add_node(NodeSpec(name, "relay", "index"))
        network.befriend("A", "B", "FST")
        web = Web(network, Path(place), "A")
        try:
            for name in ATTACKS:
                if only in name:
                    asyncio.run(_try(web, name))
        finally:
            web.server.stop()


if __name__ == "__main__":
    sys.exit(run_by_hand(main))
