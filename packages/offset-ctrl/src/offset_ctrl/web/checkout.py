"""
The pages for buyers, one for each invoice: what to pay, the code and the text to pay it with, and whether it is paid.

Anybody may see such a page who knows its address. The address has 24 random bytes, and only the program that has made
the invoice is told it. A page shows what the request of the buyer says and where the invoice stands, and nothing else
of the node: no name, no friend, no other invoice.

What buyers can do here is bounded. Nothing asks the node but a commit that was checked before, and that is its own
proof (`offset_ctrl.web.api.delivering`). Where an invoice stands is what the book says, and the clock. A page that
waits for the payment asks for it, and is answered when it is there, or after `WAIT_SECONDS`; of those that wait, there
are only so many (`offset_ctrl.web.seats`), and the others are told to ask again later. Addresses that lead nowhere are
counted with all that strangers do wrong.

All links of a page are relative, so that a proxy may show it under a path of its own.
"""

import asyncio
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from offset_ctrl.web.accepting import peer_of
from offset_ctrl.web.api.selling import request_of
from offset_ctrl.web.api.waiting import wait_until
from offset_ctrl.web.desk import Desk
from offset_ctrl.web.dispatch import Entrance, problem_response
from offset_ctrl.web.guard import CHECKOUT_PATH
from offset_ctrl.web.invoice_book import InvoiceRow, InvoiceState
from offset_ctrl.web.problems import Rejected, for_strangers, rejection
from offset_ctrl.web.seats import Seat, Seats
from offset_ctrl.web.settling import collect
from offset_ctrl.web.wallet.rendering import render
from offset_ctrl.web.wallet.taking import take_commit
from offset_ctrl.web.wallet.visits import read_fields
from offset_proto.errors import OffsetError
from offset_proto.files import INVOICE
from offset_proto.uri import format_uri
from offset_proto.web_address import parse_web_address

__all__ = ["Checkout"]

WAIT_SECONDS: Final = 25.0
"""Shorter than the time after which proxies give an answer up."""

ASK_AGAIN_SECONDS: Final = 10


class Checkout:
    """
    The pages for buyers.

    Args:
        desk: Of the server.
        entrance: Counts what strangers do wrong.
        knows_peers: Clients connect directly, so that their addresses tell them apart.
    """

    def __init__(self, desk: Desk, entrance: Entrance, *, knows_peers: bool) -> None:
        self._desk = desk
        self._entrance = entrance
        self._knows_peers = knows_peers
        self._seats = Seats()

    def routes(self) -> list[Route]:
        """What an application serves them with; nothing, where buyers do not reach the server."""
        if self._desk.shop is None:
            return []
        page = CHECKOUT_PATH + "{checkout}"
        return [
            Route(page, self.show, methods=["GET"]),
            Route(page, self.take, methods=["POST"]),
            Route(f"{page}/state", self.wait, methods=["GET"]),
            Route(f"{page}/file", self.save, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """The page of an invoice."""
        try:
            return self._page(self._find(request))
        except Rejected as error:
            return self._no_page(error)

    async def take(self, request: Request) -> Response:
        """Collect with what the buyer has pasted; then the page says that it is paid, or what was wrong."""
        try:
            row = self._find(request)
        except Rejected as error:
            return self._no_page(error)
        try:
            await self._collect(row, read_fields(await request.body()).get("text", ""))
        except Rejected as error:
            return self._page(row, self._entrance.strange(error))
        except OffsetError as error:
            return self._page(row, self._entrance.strange(for_strangers(error) or _UNKNOWN))
        return RedirectResponse(str(row.checkout), 303)

    async def wait(self, request: Request) -> Response:
        """Where an invoice stands; while it is open, as soon as it is not, or after a while."""
        try:
            row = self._find(request)
        except Rejected as error:
            return problem_response(error)
        is_lost = asyncio.Event()
        peer = peer_of(request.client.host) if self._knows_peers and request.client is not None else None
        seat = Seat(str(row.checkout), peer, is_lost.set)
        if not self._seats.take(seat):
            return problem_response(_ask_again())
        try:
            await wait_until(self._desk, WAIT_SECONDS, lambda: self._again(row).state is not InvoiceState.OPEN, is_lost)
        finally:
            self._seats.leave(seat)
        state = self._again(row).state.value
        if is_lost.is_set() and state == "open":
            return problem_response(_ask_again())
        return JSONResponse({"state": state})

    async def save(self, request: Request) -> Response:
        """The invoice as a file, for programs that read no texts."""
        try:
            row = self._find(request)
        except Rejected as error:
            return self._no_page(error)
        headers = {"content-disposition": 'attachment; filename="request.invoice"'}
        return Response(INVOICE.format(row.invoice), 200, headers, "application/json")

    def _find(self, request: Request) -> InvoiceRow:
        row = self._desk.invoice_book.find_by_checkout(request.path_params["checkout"])
        if row is None or row.state is InvoiceState.ADDING or all(node.key != row.node for node in self._desk.nodes):
            raise self._entrance.strange(rejection(404, "UnknownInvoice", "there is no such request here"))
        return row

    def _again(self, row: InvoiceRow) -> InvoiceRow:
        """What the book says of an invoice now."""
        return self._desk.invoice_book.find_by_checkout(str(row.checkout)) or row

    def _state(self, row: InvoiceRow) -> str:
        """
        open, ending, collected, cancelled, over or unpaid.

        The book learns late of an end that comes by itself. Meanwhile the invoice is *ending*: it may have been paid in
        time. It is *unpaid* where the node has proved that it was not.
        """
        if row.state is InvoiceState.OPEN and row.expires is not None and row.expires <= self._desk.database.now():
            return "ending"
        return "unpaid" if row.state is InvoiceState.OVER and row.is_proved else row.state.value

    async def _collect(self, row: InvoiceRow, text: str) -> None:
        commit = take_commit(text)
        if commit.invoice_id != row.invoice.invoice_id:
            raise rejection(400, "InvalidProof", "this pays another request than the one on this page")
        node = next(node for node in self._desk.nodes if node.key == row.node)
        await collect(self._desk, node, row, commit)

    def _page(self, row: InvoiceRow, error: Rejected | None = None) -> Response:
        row = self._again(row)
        request = request_of(self._desk, row)
        back = row.return_to
        values: dict[str, Any] = {
            "row": row,
            "state": self._state(row),
            "request": request,
            "text": format_uri(request),
            "host": None if back is None else parse_web_address(back, "return_to").authority,
            "problem": None if error is None else error.problem,
        }
        status, headers = (200, None) if error is None else (error.problem.status, error.headers)
        return HTMLResponse(render("checkout.html", values), status, headers)

    def _no_page(self, error: Rejected) -> Response:
        page = render("checkout.html", {"row": None, "state": "", "problem": error.problem})
        return HTMLResponse(page, error.problem.status, error.headers)


_UNKNOWN: Final = rejection(503, "NotCollected", "this could not be collected now; try it again in a while")


def _ask_again() -> Rejected:
    headers = {"retry-after": str(ASK_AGAIN_SECONDS)}
    return rejection(429, "TooManyWait", "too many wait here; ask again later", headers)
