"""
A SOCKS5 proxy as a process: python -m interop.socks PORT DOMAIN LOG

It listens on loopback, and names under DOMAIN are known to it alone: they are this machine. Other hosts are not
reached. Each host that it is asked for becomes a line of LOG.

The protocol is that of tiny-proxy, which is kept by those who keep python-socks.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import anyio
from tiny_proxy import ProxyError, Socks5Proxy, Socks5ProxyHandler

HOST_UNREACHABLE = b"\x05\x04\x00\x01" + bytes(6)
"""RFC 1928 §6."""


class _Proxy(Socks5Proxy):  # type: ignore[misc]
    domain: str
    log: Path

    async def negotiate(self) -> tuple[str, int]:
        host, port = await super().negotiate()
        with self.log.open("a") as log:
            log.write(f"{host}\n")
        if not host.endswith(f".{self.domain}"):
            await self.stream.send(HOST_UNREACHABLE)
            raise ProxyError(f"{host} is not known")
        return "127.0.0.1", port


class _Handler(Socks5ProxyHandler):  # type: ignore[misc]
    def __init__(self, domain: str, log: Path) -> None:
        super().__init__()
        self._domain = domain
        self._log = log

    def create_proxy(self, stream: Any) -> _Proxy:
        proxy = _Proxy(stream)
        proxy.domain, proxy.log = self._domain, self._log
        return proxy


async def _serve(port: int, domain: str, log: Path) -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    await listener.serve(_Handler(domain, log).handle)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
