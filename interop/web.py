"""A stweb of a node of a network."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from interop.network import Network
from interop.ports import find_free_port
from interop.programs import Server

__all__ = ["LIMIT", "Web"]

NEXT_YEAR: Final = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 365 * 86400))
LIMIT: Final = 50_000


class Web:
    """A stweb of a node, and a token that may do everything."""

    def __init__(self, network: Network, directory: Path, node: str = "C", options: Sequence[str] = ()) -> None:
        self.state = directory / f"{node}-state"
        self.url = f"http://127.0.0.1:{(port := find_free_port())}"
        listen = ["-l", f"127.0.0.1:{port}", "--state", str(self.state), "--public-address", self.url]
        command = [network.cast.of("stweb").program("stweb"), *network.login(node), *listen, *options]
        self.log = directory / f"{node}-stweb.log"
        self.server = Server("stweb", command, port, self.log)
        self.server.start()
        may = [word for text in ("read", "ask", "configure", f"pay:{LIMIT}:FST/day") for word in ("--may", text)]
        state = ["--state", self.state]
        made = network.run("stweb", "token", "create", "--name", "test", *may, "--until", NEXT_YEAR, *state)
        self.headers = {"authorization": f"Bearer {made.stdout.strip()}"}

    def client(self) -> httpx.AsyncClient:
        """A client that is let in."""
        return httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=30.0, trust_env=False)
