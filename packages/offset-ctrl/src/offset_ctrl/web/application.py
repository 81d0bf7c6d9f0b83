"""The server as an ASGI application: the routes of the declared operations, of the wallet, and of pages for buyers."""

from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from offset_ctrl.web.api import buying, circles, configuration, delivering, events, history, nodes, selling, webhooks
from offset_ctrl.web.checkout import Checkout
from offset_ctrl.web.desk import Desk
from offset_ctrl.web.dispatch import Entrance, dispatch, problem_response
from offset_ctrl.web.guard import Guard
from offset_ctrl.web.listening import Front
from offset_ctrl.web.openapi import build_document
from offset_ctrl.web.operations import PREFIX, Operation
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.wallet import asking, friends, friendship, home, paying, settings, statements
from offset_ctrl.web.wallet import history as past
from offset_ctrl.web.wallet.entrance import Doors

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
WALLET: Final = tuple(each.pages for each in (home, paying, asking, friends, friendship, past, statements, settings))
DOCUMENT_PATH: Final = f"{PREFIX}/openapi.json"


def build_application(desk: Desk, front: Front) -> ASGIApp:
    """
    All that the server answers.

    Args:
        desk: What it has.
        front: How it is reached. Where browsers do so by HTTPS, they are told to send the cookie over nothing else.
    """
    entrance = Entrance(desk, front.port)
    document = msgspec.json.encode(build_document(SECTIONS))

    async def read_document(request: Request) -> Response:
        return Response(document, media_type="application/json")

    by_path: dict[str, dict[str, Operation]] = {}
    for section in SECTIONS:
        for operation in section.operations:
            by_path.setdefault(operation.path, {})[operation.method] = operation
    routes = [
        *Doors(desk, entrance, is_secure=front.is_secure).routes(),
        *[route for section in WALLET for route in section.routes(desk, entrance)],
        *Checkout(desk, entrance, knows_peers=front.is_direct).routes(),
        Route(DOCUMENT_PATH, read_document, methods=["GET"]),
        *[_route(path, operations, desk, entrance) for path, operations in by_path.items()],
    ]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _not_routed}), front.origins)


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
