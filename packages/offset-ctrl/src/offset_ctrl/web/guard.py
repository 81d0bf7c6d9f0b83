"""
What holds for every request, before anything else looks at it.

* *Host.* A page of somebody else can point its own name at this address (DNS rebinding), and its scripts would then be
  of our origin. So the ``Host`` must be one of the names that the server was told. By the name under which buyers
  reach it, it answers at `PUBLIC_PATHS` and nowhere else, whatever the proxy of that name lets through.
* *Origin.* A browser says from where a request comes. What comes from elsewhere is refused, but for a person who
  follows a link to a page (``Sec-Fetch-Mode: navigate`` with a GET). Programs send neither header, and pass.
* *Size and time.* A body has a limit of bytes, must have come within a limit of seconds, and is read before the request
  is handled. A client that does not read its answer is dropped. uvicorn limits neither; it limits the time between two
  requests, the size of the headers and not the time for them (`accepting`).
* *Headers of the answer*: no page is framed, sniffed, or told to others, nor cached where it does not say so
  itself; and pages show and run only what comes from here as a file of its own.
"""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offset_ctrl.web.dispatch import problem_response
from offset_ctrl.web.problems import Rejected, rejection
from offset_proto.uri import COMMITS_PATH

__all__ = ["BODY_BYTES_MAX", "CHECKOUT_PATH", "PUBLIC_PATHS", "Guard", "Origins"]

CHECKOUT_PATH: Final = "/checkout/"
"""Where the pages for buyers are, which anybody may see."""

PUBLIC_PATHS: Final = (COMMITS_PATH, CHECKOUT_PATH, "/static/")
"""What buyers may reach; one that ends with a slash stands for all that begin with it."""

BODY_BYTES_MAX: Final = 64 * 1024
"""An invoice with a payment around it has less than one KiB, a friend's ticket with 100 relays about 40."""

DROPPED_BYTES_MAX: Final = 16 * BODY_BYTES_MAX
"""So much of a body that is too large is still taken from the client."""

BODY_SECONDS: Final = 10.0
SEND_SECONDS: Final = 30.0
"""For a client to make room for more of an answer."""

_ANSWER_HEADERS: Final = [
    (
        b"content-security-policy",
        b"; ".join(
            (
                b"default-src 'none'",
                b"script-src 'self'",
                b"style-src 'self'",
                b"img-src 'self'",
                b"connect-src 'self'",
                b"manifest-src 'self'",
                b"form-action 'self'",
                b"base-uri 'none'",
                b"frame-ancestors 'none'",
            )
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not no-referrer: with that, browsers send the forms of our own pages with an Origin of null (Fetch, section 3.2).
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NOT_CACHED: Final = (b"cache-control", b"no-store")


@dataclass(frozen=True, slots=True)
class Origins:
    """
    By which names the server is known.

    Attributes:
        hosts: What ``Host`` may say, in lower case: a name, with its port where that is not the usual one.
        origins: What ``Origin`` may say.
        public_hosts: What ``Host`` may say besides for `PUBLIC_PATHS`.
        shops: What ``Origin`` may say, too, where buyers send the form of their page. A proxy that lets strangers
            through to that may serve pages of somebody else beside it, and those have no business in the wallet.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    public_hosts: frozenset[str] = frozenset()
    shops: frozenset[str] = frozenset()


class Guard:
    """
    An ASGI application around another one.

    Args:
        app: Handles what is let through.
        origins: By which names the server is known.
        body_seconds, send_seconds: Limits of time.
    """

    def __init__(
        self,
        app: ASGIApp,
        origins: Origins,
        body_seconds: float = BODY_SECONDS,
        send_seconds: float = SEND_SECONDS,
    ) -> None:
        self._app = app
        self._origins = origins
        self._body_seconds = body_seconds
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_ANSWER_HEADERS]
                if all(name.lower() != b"cache-control" for name, _ in headers):
                    headers.append(_NOT_CACHED)
                message = {**message, "headers": headers}
            try:
                async with asyncio.timeout(self._send_seconds):
                    await send(message)
            except TimeoutError:
                scope["state"]["abort"]()  # whoever goes on to send finds out that the client has gone

        try:
            self._check_names(scope)
            body = await self._read_body(receive)
        except Rejected as error:
            # What is left of the body would be taken for the next request; after this answer there is none.
            error.headers["connection"] = "close"
            await problem_response(error)(scope, receive, send_on)
            return
        await self._app(scope, _replay(body, receive), send_on)

    def _check_names(self, scope: MutableMapping[str, Any]) -> None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        hosts = [host.lower() for host in headers.get(b"host", [])]
        if len(hosts) == 1 and hosts[0] in self._origins.public_hosts - self._origins.hosts:
            if not _is_public(scope["path"]):
                raise rejection(404, "NotFound", "there is nothing at this path for those who come by this name")
        elif len(hosts) != 1 or hosts[0] not in self._origins.hosts:
            known = ", ".join(sorted(self._origins.hosts))
            raise rejection(421, "WrongHost", f"this server is known as {known}, and the request names another host")
        is_visit = scope["method"] in ("GET", "HEAD") and headers.get(b"sec-fetch-mode") == ["navigate"]
        shops = self._origins.shops if scope["path"].startswith(CHECKOUT_PATH) else frozenset[str]()
        for origin in headers.get(b"origin", []):
            if origin.lower() not in self._origins.origins | shops:
                raise rejection(403, "CrossSite", "a page from elsewhere has no business here")
        for site in headers.get(b"sec-fetch-site", []):
            if site not in ("same-origin", "none") and not is_visit:
                raise rejection(403, "CrossSite", "a page from elsewhere has no business here")

    async def _read_body(self, receive: Receive) -> bytes:
        """
        The whole body.

        One that is too large is read on for a while, and dropped. Otherwise the system would cut the connection off
        while the client is sending, and the client would never see the answer that says why.
        """
        body, size = bytearray(), 0
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    message = await receive()
                    piece = message.get("body", b"")
                    size += len(piece)
                    body += piece if size <= BODY_BYTES_MAX else b""
                    if not message.get("more_body", False) or size > DROPPED_BYTES_MAX:
                        break
        except TimeoutError:
            detail = f"the body has not come within {self._body_seconds:g} seconds"
            raise rejection(408, "TooSlow", detail) from None
        if size > BODY_BYTES_MAX:
            raise rejection(413, "BodyTooLarge", f"a body has at most {BODY_BYTES_MAX} bytes")
        return bytes(body)


def _is_public(path: str) -> bool:
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in PUBLIC_PATHS)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then what comes after it: that the client has gone."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
