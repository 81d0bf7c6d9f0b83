"""
What the API can do, as declarations: one function for each operation.

    @section.get("/nodes/{node}/history", may=(Scope.READ,))
    async def read_history(call: Call, query: HistoryQuery) -> forms.HistoryEntries:
        \"""What changed the balances, entry by entry.\"""

Path, scopes, and the annotations of *query*, *body* and the result are all that there is to be said of an operation.
The routes (`application`), the checks before it runs (`dispatch`) and the OpenAPI document (`openapi`) are made of the
same declaration, so none of them can lack what another has. An operation without scopes can not be written down.

Why Starlette, and not FastAPI or Litestar. What both would add is the way from annotated classes to checks and to an
OpenAPI document. msgspec does that in one module of C, and this package makes the document of it in a hundred lines.
FastAPI brings pydantic, whose core alone takes about as much memory as all of this server with its node connections;
Litestar brings msgspec, and with it some dozens of modules for what a server of one user does not need. And neither has
what matters most here: scopes as a part of the declaration, without which nothing is served.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from offset_ctrl.web.desk import Desk, WebNode
from offset_ctrl.web.grants import Scope
from offset_ctrl.web.problems import rejection
from offset_ctrl.web.tokens import Visitor

__all__ = ["HINT", "PREFIX", "Call", "Operation", "Section", "Streamed"]

PREFIX: Final = "/api/v1"

HINT: Final = "Offset-Hint"
"""A header of answers, for people: what stands in the way of what was asked for, which was done all the same."""

Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """
    A request that was let in.

    Attributes:
        desk: What the server has.
        visitor: Who asks.
        path: The variables of the path.
        key: The idempotency key, and the hash of the request; empty where the operation takes none.
        last_event_id: Of a client that goes on with a stream; empty: it begins.
        is_welcome: Whether the visitor would be let in now; for operations that take long.
        hints: What the visitor is told beside the answer, in the header `HINT`: all went well, and yet.
    """

    desk: Desk
    visitor: Visitor
    path: dict[str, str]
    key: tuple[str, bytes]
    last_event_id: str
    is_welcome: Callable[[], bool]
    hints: list[str] = field(default_factory=list)

    @property
    def node(self) -> WebNode:
        """
        The node that the path names.

        Raises:
            Rejected: There is none.
        """
        name = self.path["node"]
        for node in self.desk.nodes:
            if name in (node.name, node.key):
                return node
        raise rejection(404, "UnknownNode", f"there is no node {name[:80]!r} here")

    @property
    def owner(self) -> str | None:
        """Whose payments and invoices the visitor sees; None: everybody's."""
        return None if self.visitor.grants.has(Scope.READ) else self.visitor.owner


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One thing that the API can do.

    Attributes:
        name: Of the function, and of the operation in the document.
        method, path: Where it is.
        may: A token must have one of these scopes.
        status: Of the answer where all went well.
        takes_key: It needs an idempotency key, and answers 200 where it was carried out before.
        handle: The function.
        query, body, answer: What it takes and gives; None: nothing.
    """

    name: str
    method: str
    path: str
    may: tuple[Scope, ...]
    status: int
    takes_key: bool
    handle: Handler
    query: Any
    body: Any
    answer: Any

    @property
    def about(self) -> str:
        """What the operation does."""
        return inspect.getdoc(self.handle) or ""


@dataclass(frozen=True, slots=True)
class Streamed:
    """
    The answer of an operation that sends events until the client goes.

    Attributes:
        events: In the form of text/event-stream.
        release: Is called when the stream has ended, however it did.
    """

    events: AsyncIterator[bytes]
    release: Callable[[], None]


@dataclass
class Section:
    """Operations that belong together; the document shows them under one tag."""

    name: str
    about: str
    operations: list[Operation] = field(default_factory=list)

    def get(self, path: str, *, may: tuple[Scope, ...]) -> Callable[[Handler], Handler]:
        """An operation that changes nothing."""
        return self._declare("GET", path, may)

    def post(
        self, path: str, *, may: tuple[Scope, ...], status: int = 200, takes_key: bool = False
    ) -> Callable[[Handler], Handler]:
        """An operation that makes something."""
        return self._declare("POST", path, may, status, takes_key)

    def patch(self, path: str, *, may: tuple[Scope, ...]) -> Callable[[Handler], Handler]:
        """An operation that changes something."""
        return self._declare("PATCH", path, may)

    def delete(self, path: str, *, may: tuple[Scope, ...]) -> Callable[[Handler], Handler]:
        """An operation that removes something."""
        return self._declare("DELETE", path, may, 204)

    def _declare(
        self, method: str, path: str, may: tuple[Scope, ...], status: int = 200, takes_key: bool = False
    ) -> Callable[[Handler], Handler]:
        assert may, f"{path} has no scope"

        def declare(handle: Handler) -> Handler:
            types = inspect.signature(handle)
            annotation = {name: parameter.annotation for name, parameter in types.parameters.items()}
            query, body, answer = annotation.get("query"), annotation.get("body"), types.return_annotation
            if takes_key:
                answer = get_args(answer)[0]  # what takes a key gives a pair: the answer, and whether it is new
            self.operations.append(
                Operation(handle.__name__, method, path, may, status, takes_key, handle, query, body, answer)
            )
            return handle

        return declare
