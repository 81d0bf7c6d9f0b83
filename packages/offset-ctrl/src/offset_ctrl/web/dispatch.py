"""
From a request to an operation and back: the one place where it is decided who may do what.

For each request, in this order:

1. Whose it is: the token in ``Authorization: Bearer``, or the cookie of a session. Both are looked up in the database
   each time, so what was revoked is refused at once. A cookie counts for reading only (`Scope.READ`); a page that
   makes a browser send it can change nothing. (The wallet goes by the same sessions, and has a rule of its own for
   what its forms may do: `offset_ctrl.web.wallet.visits`.)
2. Whether the owner has one of the scopes of the operation. What anybody may do (`Scope.ANYBODY`) is done for nobody in
   particular, whoever asks.
3. Whether query and body have the form that the operation declares.
4. Then the operation runs, and its errors become problem details.

Of wrong secrets, only so many are looked at in a minute, and of the wrong things that strangers send where anybody may.
Right ones are let in all the same, so nobody can be locked out by somebody else's attempts.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, get_origin

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from offset_ctrl.web import grants
from offset_ctrl.web.desk import Desk
from offset_ctrl.web.form_parts import encode_form
from offset_ctrl.web.keys import hash_request
from offset_ctrl.web.operations import HINT, Call, Operation, Streamed
from offset_ctrl.web.problems import Rejected, answer_of, for_strangers, rejection
from offset_ctrl.web.tokens import Visitor
from offset_proto.text import printable

__all__ = ["Entrance", "dispatch", "problem_response"]

log = logging.getLogger("offset.web")

FAILURES_MAX: Final = 20
STRANGE_MAX: Final = 60
"""Wrong things that strangers have sent, in so many seconds as the next line says."""

_NOT_STRANGE: Final = 429
"""There is no room for a good commit; its buyer must hear that."""

_ALWAYS_TOLD: Final = 409
"""A good commit does not collect any more. That counts, since it may be sent for ever; its buyer must hear it."""

FAILURE_SECONDS: Final = 60.0
KEY_CHARACTERS_MAX: Final = 128

_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"


class _Attempts:
    """Counts what was wrong in the last minute."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=most)

    def count(self) -> int | None:
        """One more; None, or the seconds to wait where there were too many."""
        now = self._clock()
        while self._times and self._times[0] <= now - FAILURE_SECONDS:
            self._times.popleft()
        if len(self._times) == self._times.maxlen:
            return 1 + int(self._times[0] + FAILURE_SECONDS - now)
        self._times.append(now)
        return None


class Entrance:
    """
    Lets visitors in.

    Args:
        desk: Of the server.
        port: At which browsers reach it.
        clock: Seconds, for the limits of what is wrong.

    Attributes:
        cookie: The name of the cookie of a session. The port is in it, since browsers do not tell the cookies of two
            servers of one host apart by their ports (RFC 6265 §8.5), and the second one would log the first one out.
    """

    def __init__(self, desk: Desk, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.cookie = f"stweb_session_{port}"
        self._desk = desk
        self._failures = _Attempts(FAILURES_MAX, clock)
        self._strange = _Attempts(STRANGE_MAX, clock)

    def find(self, request: Request) -> Visitor | None:
        """Whose request it is; None: nobody's that is known now."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._desk.tokens.visitor(secret.strip())
        cookie = request.cookies.get(self.cookie)
        return None if cookie is None else self._desk.tokens.browser(cookie)

    def session(self, request: Request) -> str | None:
        """The secret of the session that a browser has; None: it has none that is valid now."""
        cookie = request.cookies.get(self.cookie)
        return cookie if cookie is not None and self._desk.tokens.browser(cookie) is not None else None

    def failed(self) -> Rejected:
        """Count a wrong secret; what to answer."""
        wait = self._failures.count()
        if wait is not None:
            detail = f"too many wrong secrets; try again in {wait} seconds"
            return rejection(429, "TooManyFailures", detail, {"retry-after": str(wait)})
        detail = "send the secret of a token that is valid: Authorization: Bearer stweb_..."
        return rejection(401, "NotLetIn", detail, {"www-authenticate": "Bearer"})

    def strange(self, error: Rejected) -> Rejected:
        """Count the wrong thing of a stranger; what to answer: why it is wrong, or that there were too many."""
        status = error.problem.status
        wait = self._strange.count() if status < 500 and status != _NOT_STRANGE else None
        if wait is None or status == _ALWAYS_TOLD:
            return error
        detail = f"too much that was wrong has come here; try again in {wait} seconds"
        return rejection(429, "TooManyFailures", detail, {"retry-after": str(wait)})

    def admit(self, request: Request, operation: Operation) -> Visitor:
        """
        Whose request it is.

        Raises:
            Rejected: Nobody's, or somebody's who may not do this.
        """
        if is_open(operation):
            return Visitor("", grants.NOTHING)
        visitor = self.find(request)
        if visitor is None:
            raise self.failed()
        if not self.may(visitor, operation):
            wanted = " or ".join(scope.value for scope in operation.may)
            raise rejection(403, "NotGranted", f"this needs a token that may {wanted}")
        return visitor

    @staticmethod
    def may(visitor: Visitor, operation: Operation) -> bool:
        """Whether the visitor has a scope that the operation asks for."""
        return is_open(operation) or any(visitor.grants.has(scope) for scope in operation.may)


def is_open(operation: Operation) -> bool:
    """Whether anybody may do it."""
    return grants.Scope.ANYBODY in operation.may


async def dispatch(operation: Operation, desk: Desk, entrance: Entrance, request: Request) -> Response:
    """Carry out what a request asks for; errors are answers, too."""
    try:
        visitor = entrance.admit(request, operation)
        return await _carry_out(operation, desk, entrance, request, visitor)
    except Rejected as error:
        rejected = error
    except Exception as error:
        known = for_strangers(error) if is_open(operation) else answer_of(error)
        if known is None:
            log.exception("a fault of ours in %s", operation.name)
            return problem_response(rejection(500, "Fault", "a fault of this program; its log says more"))
        rejected = known
    return problem_response(entrance.strange(rejected) if is_open(operation) else rejected)


async def _carry_out(
    operation: Operation, desk: Desk, entrance: Entrance, request: Request, visitor: Visitor
) -> Response:
    body = await request.body()
    arguments: dict[str, Any] = {}
    if operation.query is not None:
        arguments["query"] = _read_query(operation.query, request)
    elif request.query_params:
        raise rejection(400, "InvalidInput", f"there is no parameter {next(iter(request.query_params))[:80]!r} here")
    if operation.body is not None:
        arguments["body"] = _read_body(operation.body, request, body)
    path = {name: str(value) for name, value in request.path_params.items()}
    key = _read_key(operation, request, path, body) if operation.takes_key else ("", b"")

    def is_welcome() -> bool:
        found = entrance.find(request)
        return found is not None and entrance.may(found, operation)

    call = Call(desk, visitor, path, key, request.headers.get("last-event-id", ""), is_welcome)
    answer = await operation.handle(call, **arguments)
    if isinstance(answer, Streamed):
        return _EventResponse(answer)
    if operation.takes_key:
        answer, is_new = answer
        status = operation.status if is_new else 200
    else:
        status = operation.status
    if answer is None:
        return Response(status_code=status)
    # Names of friends and currencies may be in any script, and a header is ASCII.
    hints = {HINT: printable("; ".join(call.hints)).encode("ascii", "backslashreplace").decode()} if call.hints else {}
    return Response(encode_form(answer), status, hints, _JSON)


class _EventResponse(StreamingResponse):
    """A stream, whose place is free again when it ends."""

    def __init__(self, streamed: Streamed) -> None:
        super().__init__(streamed.events, media_type="text/event-stream")
        self._release = streamed.release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until either side ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


def _read_query(form: Any, request: Request) -> Any:
    lists = {each.encode_name for each in msgspec.structs.fields(form) if _is_list(each.type)}
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise rejection(400, "InvalidInput", f"the parameter {name[:80]!r} is there twice")
        else:
            values[name] = value
    try:
        return msgspec.convert(values, form, strict=False)
    except msgspec.ValidationError as error:
        raise rejection(400, "InvalidInput", f"the query is wrong: {error}") from None


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin is list or (hasattr(annotation, "__metadata__") and get_origin(annotation.__origin__) is list)


def _read_body(form: Any, request: Request, body: bytes) -> Any:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        raise rejection(415, "NotJson", f"the body must be {_JSON}, and its content-type must say so")
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.DecodeError as error:
        raise rejection(400, "InvalidInput", f"the body is wrong: {error}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise rejection(400, "InvalidInput", f"the body is no JSON: {error}") from None


def _read_key(operation: Operation, request: Request, path: dict[str, str], body: bytes) -> tuple[str, bytes]:
    key = request.headers.get("idempotency-key", "")
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX or not key.isascii() or not key.isprintable():
        detail = (
            f"this needs a header Idempotency-Key with 1 to {KEY_CHARACTERS_MAX} characters of ASCII, "
            "the same when the request is repeated and no other time"
        )
        raise rejection(400, "NoIdempotencyKey", detail)
    return key, hash_request(operation.name.encode(), path["node"].encode(), body)


def problem_response(error: Rejected) -> Response:
    """The answer that says why a request is not carried out."""
    return Response(encode_form(error.problem), error.problem.status, error.headers, _PROBLEM)
