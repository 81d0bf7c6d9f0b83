"""
Who may see a page or send a form; from a request to a page.

For each request, in this order:

1. The session of the cookie is looked up. Without one the answer is the page that says how to log in.
2. A form must carry the token of the session (`offset_ctrl.web.tokens.form_token`). Origin and host were looked at
   before (`offset_ctrl.web.guard`), and the cookie is not sent from elsewhere (``SameSite=Strict``): either one would
   do, and none of them is trusted alone.
3. The page is made, with all that the owner of the node may do. A form is answered by sending the browser on to a page,
   so that loading it again sends nothing; where something is wrong, the page of the form says what, and keeps what was
   entered.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from offset_ctrl.web.desk import Desk, WebNode
from offset_ctrl.web.dispatch import Entrance
from offset_ctrl.web.forms import Problem
from offset_ctrl.web.grants import EVERYTHING
from offset_ctrl.web.keys import hash_request
from offset_ctrl.web.operations import Call
from offset_ctrl.web.problems import Rejected, problem_of, rejection
from offset_ctrl.web.tokens import Visitor, form_token, is_form_token
from offset_ctrl.web.wallet.rendering import render
from offset_proto.errors import OffsetError, RefusedError
from offset_proto.messages.extensions import Extension

__all__ = [
    "Answer",
    "Gone",
    "Handler",
    "NodeAway",
    "Pages",
    "Saved",
    "Shown",
    "Visit",
    "locked",
    "read_fields",
    "wallet_path",
]

log = logging.getLogger("offset.web")

FIELDS_MAX: Final = 100
_OWNER: Final = Visitor("", EVERYTHING, is_browser=True)


class NodeAway(OffsetError):
    """The node can not be reached, and this needs it."""

    def __init__(self, node: WebNode) -> None:
        super().__init__(f"the node {node.name} at {node.reach.address} can not be reached: {node.session.why_away}")


@dataclass(frozen=True, slots=True)
class Visit:
    """
    A request of the owner.

    Attributes:
        call: As the operations of the API want it.
        fields: Of the form; of the query, where there is no form.
        session: The secret of the session.
        problem: What was wrong with the form, where its page is shown again.
    """

    call: Call
    fields: dict[str, str]
    session: str
    problem: Problem | None = None

    @property
    def desk(self) -> Desk:
        """What the server has."""
        return self.call.desk

    @property
    def web_node(self) -> WebNode:
        """The node that the path names. Raises Rejected where there is none."""
        return self.call.node

    @property
    def base(self) -> str:
        """Where the pages of this node begin."""
        return wallet_path(self.web_node)

    @property
    def currencies(self) -> list[str]:
        """Those that the node has with its friends, in order."""
        configs = [friend.currency_configs for friend in self.web_node.node.report.friends.values()]
        return sorted({str(config.currency) for each in configs for config in each})

    @property
    def keeps_history(self) -> bool:
        """Whether the node keeps a history, and shows it to this app."""
        node = self.web_node.node
        return Extension.HISTORY in node.extensions and node.permissions.allows("history")

    def check_reached(self) -> None:
        """Raises NodeAway where the node of this page can not be reached."""
        if self.web_node.reach.away is not None:
            raise NodeAway(self.web_node)

    def text(self, name: str) -> str:
        """A field without the white space around it; empty where it is missing."""
        return self.fields.get(name, "").strip()

    def check_key(self) -> None:
        """Raises Rejected where a form that must not take effect twice has no idempotency key."""
        if not self.call.key[0]:
            raise rejection(400, "NoIdempotencyKey", "this form is incomplete; open its page again")


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: its template, and what that is filled with."""

    template: str
    values: dict[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Gone:
    """The browser is sent on to another page."""

    path: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that the browser saves; *name* has letters, digits, dots and hyphens only."""

    name: str
    content: str | bytes
    media_type: str = "application/json"


Answer = Shown | Gone | Saved
Handler = Callable[[Visit], Coroutine[Any, Any, Answer]]


def wallet_path(node: WebNode) -> str:
    """Where the pages of a node begin."""
    return f"/wallet/{quote(node.name, safe='')}"


class Pages:
    """Pages and forms, as declarations: one function for each."""

    def __init__(self) -> None:
        self._pages: dict[str, Handler] = {}
        self._forms: dict[str, tuple[Handler, Handler]] = {}

    def page(self, path: str) -> Callable[[Handler], Handler]:
        """A page, which changes nothing."""

        def declare(handle: Handler) -> Handler:
            self._pages[path] = handle
            return handle

        return declare

    def form(self, path: str, shown_on: Handler, *, needs_node: bool = True) -> Callable[[Handler], Handler]:
        """A form that changes something; *shown_on* is the page that says what was wrong with it."""

        def declare(handle: Handler) -> Handler:
            self._forms[path] = (_needing_node(handle) if needs_node else handle, shown_on)
            return handle

        return declare

    def paths(self) -> tuple[str, ...]:
        """Of the pages, as they were declared."""
        return tuple(self._pages)

    def routes(self, desk: Desk, entrance: Entrance) -> list[Route]:
        """What an application serves these pages with."""
        pages = [Route(path, _page_of(handle, desk, entrance), methods=["GET"]) for path, handle in self._pages.items()]
        forms = [
            Route(path, _form_of(handle, shown_on, desk, entrance), methods=["POST"])
            for path, (handle, shown_on) in self._forms.items()
        ]
        return pages + forms


def _needing_node(handle: Handler) -> Handler:
    async def check_and_handle(visit: Visit) -> Answer:
        visit.check_reached()
        return await handle(visit)

    return check_and_handle


Endpoint = Callable[[Request], Awaitable[Response]]


def _page_of(handle: Handler, desk: Desk, entrance: Entrance) -> Endpoint:
    async def serve(request: Request) -> Response:
        session = entrance.session(request)
        if session is None:
            return locked()
        visit = _visit(desk, request, session, dict(request.query_params), b"")
        return _response(visit, await _show(handle, visit))

    return serve


def _form_of(handle: Handler, shown_on: Handler, desk: Desk, entrance: Entrance) -> Endpoint:
    async def serve(request: Request) -> Response:
        session = entrance.session(request)
        if session is None:
            return locked()
        body = await request.body()
        visit = _visit(desk, request, session, read_fields(body), body)
        if not is_form_token(session, visit.fields.get("form_token", "")):
            detail = "this form is not from a page of this session; open the page again"
            return _response(visit, _problem_page(rejection(403, "CrossSite", detail).problem))
        try:
            return _response(visit, await handle(visit))
        except (Rejected, OffsetError) as error:
            problem = _problem_of(error)
        except Exception:
            log.exception("a fault of ours in %s", request.url.path)
            problem = _FAULT
        again = replace(visit, problem=problem)
        return _response(again, await _show(shown_on, again), problem.status)

    return serve


async def _show(handle: Handler, visit: Visit) -> Answer:
    try:
        return await _while_reached(handle, visit)
    except NodeAway:
        return Shown("away.html", status=503)
    except (Rejected, OffsetError) as error:
        return _problem_page(_problem_of(error))
    except Exception:
        log.exception("a fault of ours in a page of %s", visit.call.path)
        return _problem_page(_FAULT)


async def _while_reached(handle: Handler, visit: Visit) -> Answer:
    """What *handle* makes. Raises NodeAway as soon as the node of the page is lost; it may have been lost before."""
    here = _node_of(visit)
    if here is None or here.reach.away is not None:
        return await handle(visit)
    made, lost = asyncio.create_task(handle(visit)), asyncio.create_task(here.reach.lost())
    try:
        await asyncio.wait((made, lost), return_when=asyncio.FIRST_COMPLETED)
        if not made.done():
            raise NodeAway(here)
    finally:
        made.cancel()
        lost.cancel()
        await asyncio.gather(made, lost, return_exceptions=True)
    return made.result()


def _node_of(visit: Visit) -> WebNode | None:
    """The node of a page; None: it is of none, or of one that is not there."""
    return next((node for node in visit.desk.nodes if visit.call.path.get("node") in (node.name, node.key)), None)


_FAULT: Final = rejection(500, "Fault", "a fault of this program; its log says more").problem


def _problem_of(error: Rejected | OffsetError) -> Problem:
    """What to say; the owner may know what any error of ours says."""
    if isinstance(error, Rejected):
        return error.problem
    if isinstance(error, NodeAway):
        return rejection(503, "NodeConnectionError", str(error)).problem
    status = 409 if isinstance(error, RefusedError) else 500
    return problem_of(error) or rejection(status, type(error).__name__, str(error)).problem


def _problem_page(problem: Problem) -> Shown:
    return Shown("problem.html", {"problem": problem}, problem.status)


def read_fields(body: bytes) -> dict[str, str]:
    """The fields of a form; of those with one name the last one. Too many, or no UTF-8: none."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        return {}


def _visit(desk: Desk, request: Request, session: str, fields: dict[str, str], body: bytes) -> Visit:
    path = {name: str(value) for name, value in request.path_params.items()}
    key = fields.get("key", "")[:64]
    call = Call(desk, _OWNER, path, (key, hash_request(request.url.path.encode(), body)), "", lambda: True)
    return Visit(call, fields, session)


def locked() -> Response:
    """The page for a browser without a session."""
    return HTMLResponse(render("locked.html", {"is_wrong": False, "is_limited": False}), 401)


def _response(visit: Visit, answer: Answer, status: int | None = None) -> Response:
    match answer:
        case Gone(path):
            return RedirectResponse(path, 303)
        case Saved(name, content, media_type):
            headers = {"content-disposition": f'attachment; filename="{name}"'}
            return Response(content, 200, headers, media_type)
        case Shown(template, values, own_status):
            values = {**_frame(visit), **values}
            return HTMLResponse(render(template, values), own_status if status is None else status)


def _frame(visit: Visit) -> dict[str, Any]:
    """What every page needs."""
    nodes = [(node.name, wallet_path(node)) for node in visit.desk.nodes]
    here = _node_of(visit)
    return {
        "nodes": nodes,
        "node": here,
        "base": None if here is None else wallet_path(here),
        "form_token": form_token(visit.session),
        "key": secrets.token_urlsafe(16),
        "fields": visit.fields,
        "problem": visit.problem,
        "away": None if here is None else here.reach.away,
        "now": visit.desk.database.now(),
    }
