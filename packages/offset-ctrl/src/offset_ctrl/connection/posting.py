"""
One request over HTTP to somebody else's program: a commit to a seller, an event to whoever wants to hear of it.

It is all that this package needs of HTTP, so that it needs no library for it: one POST on a connection of its own,
whose answer ends with the connection. The answer is read as bytes with a limit, and given to the parser of the standard
library then, which so never waits for anybody. Redirections are not followed: the address was checked, and another one
would not be.

Whoever is at the other end may be slow, or send for ever. There is one limit of time for everything, from looking the
name up to the last byte, and one of bytes.
"""

import asyncio
import contextlib
import http.client
import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from offset_crypto.aio import Proxy
from offset_proto.errors import OffsetError
from offset_proto.proxies import is_onion
from offset_proto.web_address import WebAddress

__all__ = ["Answer", "PostFailed", "post"]

ANSWER_BYTES_MAX: Final = 64 * 1024


class PostFailed(OffsetError):
    """There is no answer; nobody knows whether the other side has got what was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side has said."""

    status: int
    body: bytes


async def post(
    address: WebAddress, headers: Mapping[str, str], body: bytes, seconds: float, proxy: Proxy | None = None
) -> Answer:
    """
    Send *body* to *address*; what is answered.

    Args:
        address: Where to.
        headers: Beyond those that every request has; names and values are our own, without line breaks.
        body: At most as much as a peer takes at once.
        seconds: For all of it.
        proxy: Joins us to hosts that are not of this machine, and looks their names up; None: nobody does.

    Raises:
        PostFailed: There is no answer in time, or too much of it, or no HTTP.
    """
    lines = [
        f"POST {address.target} HTTP/1.1",
        f"Host: {address.authority}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    request = "\r\n".join([*lines, "", ""]).encode("ascii") + body
    try:
        async with asyncio.timeout(seconds):
            return _parse(address, await _exchange(address, request, proxy))
    except TimeoutError:
        raise PostFailed(f"{address.text} has not answered within {seconds:g} seconds") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: of a name that no name server could know
        raise PostFailed(f"{address.text} can not be reached: {error}") from None


async def _exchange(address: WebAddress, request: bytes, proxy: Proxy | None) -> bytes:
    if is_onion(address.host) and proxy is None:
        raise PostFailed(f"{address.text} is an onion service, which is not reached from here; nobody is asked for it")
    context = ssl.create_default_context() if address.is_secure else None
    if proxy is not None and proxy.takes(address.host):
        joined = await proxy.connect(address.host, address.port)
        name = address.host if address.is_secure else None
        reader, writer = await asyncio.open_connection(sock=joined, ssl=context, server_hostname=name)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    received = bytearray()
    try:
        writer.write(request)
        # Who refuses a request may answer and go before it has read all of it.
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        while data := await reader.read(ANSWER_BYTES_MAX):
            received += data
            if len(received) > ANSWER_BYTES_MAX:
                raise PostFailed(f"{address.text} has answered more than {ANSWER_BYTES_MAX} bytes")
    finally:
        writer.transport.abort()  # there is nothing left to be said, and the other side need not agree
    return bytes(received)


class _Received:
    """What the parser takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(address: WebAddress, data: bytes) -> Answer:
    response = http.client.HTTPResponse(_Received(data), method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        return Answer(response.status, response.read())
    except (http.client.HTTPException, ValueError, OverflowError) as error:  # the last one: absurd lengths
        raise PostFailed(f"{address.text} has answered no HTTP: {type(error).__name__}") from None
