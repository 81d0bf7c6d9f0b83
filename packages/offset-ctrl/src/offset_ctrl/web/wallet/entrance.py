"""Logging in and out, and what is served to everybody: styles, scripts, icons, and the page for when nothing is."""

from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from offset_ctrl.web.desk import Desk
from offset_ctrl.web.dispatch import Entrance, problem_response
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.tokens import SESSION_SECONDS, is_form_token
from offset_ctrl.web.wallet.rendering import OFFLINE_PATH, STATIC, render, render_service_worker
from offset_ctrl.web.wallet.visits import read_fields

__all__ = ["Doors"]

_KEPT: Final = {"cache-control": "private, max-age=604800"}
"""A week: other content has another address."""


class Doors:
    """
    The ways in and out.

    Args:
        desk: Of the server.
        entrance: Counts wrong links.
        is_secure: Browsers reach the server by HTTPS, and are told to send the cookie over nothing else.
    """

    def __init__(self, desk: Desk, entrance: Entrance, *, is_secure: bool) -> None:
        self._desk = desk
        self._entrance = entrance
        self._is_secure = is_secure
        self._service_worker = render_service_worker()

    def routes(self) -> list[Route]:
        """What an application serves them with."""
        return [
            Route("/log-in", self.ask, methods=["GET"]),
            Route("/log-in", self.log_in, methods=["POST"]),
            Route("/log-out", self.log_out, methods=["POST"]),
            Route("/static/{name}", self.static, methods=["GET"]),
            Route(OFFLINE_PATH, self.offline, methods=["GET"]),
            Route("/service-worker.js", self.service_worker, methods=["GET"]),
        ]

    async def ask(self, request: Request) -> Response:
        """
        A page with one button. A link alone changes nothing, since programs that show a preview of it open it, too.
        """
        return HTMLResponse(render("log_in.html", {"link": request.query_params.get("link", "")}))

    async def log_in(self, request: Request) -> Response:
        """Use a link up. Of wrong links, only so many are looked at in a minute."""
        session = self._desk.tokens.use_link(read_fields(await request.body()).get("link", ""))
        if session is None:
            failed = self._entrance.failed()
            page = render("locked.html", {"is_wrong": True, "is_limited": failed.problem.status == 429})
            return HTMLResponse(page, failed.problem.status, failed.headers)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._entrance.cookie,
            session,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._is_secure,
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the session of this browser."""
        session = self._entrance.session(request)
        if session is not None:
            if not is_form_token(session, read_fields(await request.body()).get("form_token", "")):
                return problem_response(rejection(403, "CrossSite", "this form is not from a page of this session"))
            self._desk.tokens.end_session(session)
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(self._entrance.cookie, httponly=True, samesite="strict", secure=self._is_secure)
        return answer

    async def offline(self, request: Request) -> Response:
        """What a browser shows where it does not reach the server; it says nothing of anybody."""
        return HTMLResponse(render("offline.html", {}))

    async def service_worker(self, request: Request) -> Response:
        """The script that shows it then; its path says for which pages it may answer, which is all of them."""
        return Response(self._service_worker, 200, {"cache-control": "no-cache"}, "text/javascript")

    async def static(self, request: Request) -> Response:
        """Style, script and icon."""
        found = STATIC.get(request.path_params["name"])
        if found is None:
            return problem_response(rejection(404, "NotFound", "there is nothing at this path"))
        content, media_type = found
        return Response(content, 200, _KEPT, media_type)
