"""
Outgoing links through a SOCKS5 proxy, such as Tor. Spec 02 §3.1; RFC 1928, RFC 1929.

The proxy is given each name as it is: this machine looks up none. Which hosts go through it is said in
`offset_proto.proxies`. A proxy that is not there, or refuses, is a failed attempt like any other, and never a reason to
connect directly.

Tor sends streams whose user and password differ over different circuits (``IsolateSOCKSAuth``, which is on by default).
Where the person gives no user, each destination gets one of its own, by chance for each process: so no exit sees that
the relays and index servers of one node belong together, and the links to one destination share a circuit and open
quickly. A proxy that asks for no user ignores it, since "no authentication" is always offered, too.

This needs python-socks, which comes with the extra ``offset-crypto[proxy]``.
"""

import hashlib
import importlib.util
import os
import socket
from typing import Final

from offset_proto.errors import OffsetError
from offset_proto.proxies import ProxyUrl, is_loopback

__all__ = ["Proxy", "ProxyUnavailable"]

_TOKEN_BYTES: Final = 8


class ProxyUnavailable(OffsetError):
    """A proxy is asked for, and python-socks is not installed."""

    def __init__(self) -> None:
        super().__init__("a proxy needs python-socks: pip install 'offset-crypto[proxy]'")


class Proxy:
    """
    The proxy of a process.

    Args:
        url: Where it is, and what it is told.

    Raises:
        ProxyUnavailable: python-socks is not installed.
    """

    def __init__(self, url: ProxyUrl) -> None:
        if importlib.util.find_spec("python_socks") is None:  # told at the start, and not with the first link
            raise ProxyUnavailable
        self.url = url
        self._token = os.urandom(_TOKEN_BYTES).hex()

    def takes(self, host: str) -> bool:
        """Whether *host* is reached through the proxy."""
        return not is_loopback(host)

    async def connect(self, host: str, port: int) -> socket.socket:
        """
        A socket that the proxy has joined to *host*. The caller limits the time.

        Raises:
            OSError: The proxy is not reached, or does not reach *host*; the text says which, and why.
        """
        from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType
        from python_socks.async_.asyncio import Proxy as Client

        user, password = self._login(f"{host}:{port}")
        client = Client(ProxyType.SOCKS5, self.url.host, self.url.port, user, password, rdns=True)
        try:
            return await client.connect(host, port)
        except ProxyTimeoutError:
            raise TimeoutError from None
        except ProxyConnectionError as error:
            raise OSError(f"the proxy {self.url} is not reached: {_reason(error)}") from None
        except ProxyError as error:
            raise OSError(f"the proxy {self.url} says: {error}") from None
        except (OSError, ValueError) as error:  # it hung up, or no name can be written in that way
            raise OSError(f"by the proxy {self.url}: {error}") from None

    def _login(self, destination: str) -> tuple[str, str]:
        if self.url.user is not None and self.url.password is not None:
            return self.url.user, self.url.password
        return self._token, hashlib.sha256(destination.encode()).hexdigest()


def _reason(error: OSError) -> str:
    """Of a failed connection; the errors of resolvers have negative numbers, and a text of their own."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error.__cause__ or error)
