"""The server as an ASGI application: routes of the declared operations, the first page, and the log-in of a browser."""

import html
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from offset_ctrl.web.api import buying, circles, configuration, delivering, events, history, nodes, selling, webhooks
from offset_ctrl.web.desk import Desk
from offset_ctrl.web.dispatch import SESSION_COOKIE, Entrance, dispatch, problem_response
from offset_ctrl.web.guard import Guard, Origins
from offset_ctrl.web.openapi import build_document
from offset_ctrl.web.operations import PREFIX, Operation
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.tokens import SESSION_SECONDS

__all__ = ["DOCUMENT_PATH", "SECTIONS", "build_application"]

SECTIONS: Final = (
    nodes.section,
    configuration.section,
    selling.section,
    buying.section,
    delivering.section,
    circles.section,
    history.section,
    events.section,
    webhooks.section,
)
DOCUMENT_PATH: Final = f"{PREFIX}/openapi.json"

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>stweb</title>
<h1>stweb</h1>
{body}
</html>
"""


def build_application(desk: Desk, origins: Origins, *, is_secure: bool) -> ASGIApp:
    """
    All that the server answers.

    Args:
        desk: What it has.
        origins: By which names it is known.
        is_secure: Browsers reach it by HTTPS, and are told to send the cookie over nothing else.
    """
    entrance = Entrance(desk)
    pages = _Pages(desk, entrance, is_secure=is_secure)
    document = msgspec.json.encode(build_document(SECTIONS))

    async def read_document(request: Request) -> Response:
        return Response(document, media_type="application/json")

    by_path: dict[str, dict[str, Operation]] = {}
    for section in SECTIONS:
        for operation in section.operations:
            by_path.setdefault(operation.path, {})[operation.method] = operation
    routes = [
        Route("/", pages.first, methods=["GET"]),
        Route("/log-in", pages.ask, methods=["GET"]),
        Route("/log-in", pages.log_in, methods=["POST"]),
        Route(DOCUMENT_PATH, read_document, methods=["GET"]),
        *[_route(path, operations, desk, entrance) for path, operations in by_path.items()],
    ]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _not_routed}), origins)


def _route(path: str, operations: dict[str, Operation], desk: Desk, entrance: Entrance) -> Route:
    async def handle(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await dispatch(operations[method], desk, entrance, request)

    return Route(PREFIX + path, handle, methods=list(operations))


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    names = {404: ("NotFound", "there is nothing at this path"), 405: ("WrongMethod", "this path has other methods")}
    name, detail = names.get(error.status_code, ("Refused", error.detail))
    return problem_response(rejection(error.status_code, name, detail, dict(error.headers or {})))


class _Pages:
    """The pages for a browser."""

    def __init__(self, desk: Desk, entrance: Entrance, *, is_secure: bool) -> None:
        self._desk = desk
        self._entrance = entrance
        self._is_secure = is_secure

    async def first(self, request: Request) -> Response:
        """What there is: nodes for whoever has logged in, and the way in for others."""
        if self._entrance.find(request) is None:
            return _page("<p>To log in, run <code>stweb link</code> and open the link that it prints.</p>")
        rows = "".join(
            f"<li>{html.escape(node.name)}: {'connected' if node.node.is_connected else 'not connected'}, "
            f'<a href="{PREFIX}/nodes/{node.key}/report">report</a></li>'
            for node in self._desk.nodes
        )
        return _page(f'<ul>{rows}</ul><p><a href="{DOCUMENT_PATH}">The API as an OpenAPI document</a></p>')

    async def ask(self, request: Request) -> Response:
        """
        A page with one button. A link alone changes nothing, since programs that show a preview of it open it, too.
        """
        link = html.escape(request.query_params.get("link", ""), quote=True)
        return _page(
            f'<form method="post" action="/log-in"><input type="hidden" name="link" value="{link}">'
            "<button>Log this browser in</button></form>"
        )

    async def log_in(self, request: Request) -> Response:
        """Use a link up."""
        form: dict[str, list[Any]] = parse_qs((await request.body()).decode("utf-8", "replace"))
        session = self._desk.tokens.use_link(form.get("link", [""])[0])
        if session is None:
            return problem_response(self._entrance.failed())
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            SESSION_COOKIE,
            session,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._is_secure,
        )
        return answer


def _page(body: str) -> Response:
    return HTMLResponse(_PAGE.format(body=body))
