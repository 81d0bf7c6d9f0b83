"""A web server on loopback in front of a scripted node, for all tests of it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.testing import ScriptedNode, build_commit, build_friend, build_ledger, build_receipt, build_report
from offset_ctrl.web.accepting import serve_http
from offset_ctrl.web.application import build_application
from offset_ctrl.web.database import Database, open_database
from offset_ctrl.web.desk import Desk
from offset_ctrl.web.grants import parse_grants
from offset_ctrl.web.guard import Guard
from offset_ctrl.web.listening import bind, make_front
from offset_ctrl.web.service import open_desk
from offset_ctrl.web.tokens import UnknownToken
from offset_proto.files import INVOICE, Invoice
from offset_proto.message_json import parse_json
from offset_proto.messages.app import AppRequest, Complete, CreatePayment, PaymentStatus, PaymentStatusSuccess
from offset_proto.messages.extensions import ALL_EXTENSIONS
from offset_proto.messages.friend import FriendsRoute
from offset_proto.messages.index import MultiRoute, RouteCapacityRate
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    CurrencyConfigReport,
    FriendReport,
)
from offset_proto.rate import FREE
from offset_proto.types import Currency, InvoiceId, PaymentId, PrivateKey, Uid

NODE, APP, SELLER, BOB = (Identity(PrivateKey(bytes([n]) * 32)) for n in (1, 2, 3, 4))
FST = Currency("FST")
PAYMENTS = "/api/v1/nodes/node/payments"


class Clock:
    """Seconds since 1970, as the test sets them; at first the noon of a day."""

    def __init__(self) -> None:
        self.now = 86_400 * 20_000 + 43_200

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Of `database`."""
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    """A new database."""
    with open_database(tmp_path / "state", clock) as made:
        yield made


def _friend(name: str) -> FriendReport:
    configs = (CurrencyConfigReport(FST, Rate(0, 1), 2**128 - 1, True),)
    return build_friend(name, build_ledger(FST, -30, out=1, back=2), currency_configs=configs)


@pytest.fixture
def fake() -> ScriptedNode:
    """A node with a friend, by whose way every payment succeeds at once."""
    node = ScriptedNode(NODE, build_report(NODE.public_key, {BOB.public_key: _friend("bob")}))
    node.extensions = ALL_EXTENSIONS
    route = RouteCapacityRate(FriendsRoute((NODE.public_key, SELLER.public_key)), 2**100, FREE)
    node.routes = lambda asked: (MultiRoute((route,)),)
    return node


@dataclass
class Server:
    """A server that runs, and a client that it lets in as the token *app*, which may do everything."""

    fake: ScriptedNode
    desk: Desk
    database: Database
    client: httpx.AsyncClient
    url: str
    app: Guard
    paid: dict[PaymentId, Invoice] = field(default_factory=dict)
    """What the node was asked to pay."""

    def token(self, name: str, *may: str) -> dict[str, str]:
        """The header of a new token; one of the same name ends."""
        with contextlib.suppress(UnknownToken):
            self.desk.tokens.revoke(name)
        secret = self.desk.tokens.create(name, parse_grants(may), self.database.now() + 1000)
        return {"authorization": f"Bearer {secret}"}

    @staticmethod
    def invoice(number: int, amount: int = 20, currency: str = "FST") -> Invoice:
        """An invoice of a seller; *number* makes it different from others."""
        return Invoice(InvoiceId(number.to_bytes(32, "big")), Currency(currency), SELLER.public_key, amount)

    @staticmethod
    def form(invoice: Invoice, **more: object) -> dict[str, object]:
        """The body of a request to pay."""
        return {"invoice": parse_json(INVOICE.format(invoice)), **more}

    async def pay(self, key: str, body: dict[str, object], query: str = "?wait=20&wait_for=end") -> httpx.Response:
        """Ask for a payment."""
        return await self.client.post(f"{PAYMENTS}{query}", json=body, headers={"idempotency-key": key})

    def let_pay(self, *invoices: Invoice, collects: bool = True) -> None:
        """The seller accepts payments of these invoices, and collects at once, or never."""
        by_id = {invoice.invoice_id: invoice for invoice in invoices}

        def before(connection: object, asked: AppRequest) -> bool:
            if isinstance(asked, CreatePayment):
                self.paid[asked.payment_id] = by_id[asked.invoice_id]
            return True

        def status(payment_id: PaymentId) -> PaymentStatus | None:
            if not collects:
                return None
            return PaymentStatusSuccess(build_receipt(self.paid[payment_id], SELLER), Uid(bytes(16)))

        self.fake.before = before
        self.fake.results = lambda asked: Complete(build_commit(self.paid[asked.payment_id], SELLER))
        self.fake.status = status


@asynccontextmanager
async def open_server(fake: ScriptedNode, state: Path) -> AsyncIterator[Server]:
    """Serve on a free port; the node is called *node*."""
    ticker = Ticker(0.03)
    async with AsyncExitStack() as stack:
        database = stack.enter_context(open_database(state))
        ticket = await stack.enter_async_context(fake.serve(ticker))
        listener = stack.enter_context(bind(("127.0.0.1", 0)))
        address = listener.getsockname()
        front = make_front(address, None, None)
        desk = await open_desk(stack, APP, {"node": ticket}, state, database, ticker, shop=front.shop)
        app = build_application(desk, front)
        assert isinstance(app, Guard)
        serving = asyncio.create_task(serve_http(app, listener, None, desk.closing))

        async def stop() -> None:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

        stack.push_async_callback(stop)
        limits = httpx.Limits(max_connections=100)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=front.url, limits=limits, trust_env=False))
        server = Server(fake, desk, database, client, front.url, app)
        client.headers.update(server.token("app", "read", "ask", "configure", "pay:1000:FST/day"))
        yield server


class Browser:
    """A browser that has logged in, without scripts: it opens pages, and sends the forms that are in them."""

    def __init__(self, server: Server, client: httpx.AsyncClient) -> None:
        self._server = server
        self.client = client

    async def open(self, path: str) -> str:
        """A page that is there."""
        answer = await self.client.get(path, follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(self, page: str, action: str, *, follow: bool = True, **fields: str) -> httpx.Response:
        """Send the form of *page* whose action ends with *action*; *fields* are what the person has entered."""
        found = next(form for form in forms_of(page) if form.action.endswith(action))
        return await self.client.post(found.action, data={**found.fields, **fields}, follow_redirects=follow)


@dataclass
class Form:
    """A form of a page: where it goes, and what is in it before a person has entered anything."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        if tag == "form":
            self.found.append(Form(have["action"] or ""))
        elif tag == "input" and self.found and have.get("name"):
            if have.get("type") != "checkbox" or "checked" in have:
                self.found[-1].fields[str(have["name"])] = have.get("value") or ""
        elif tag == "select":
            self._select = str(have["name"])
        elif tag == "option" and "selected" in have:
            self.found[-1].fields[self._select] = have.get("value") or ""


def forms_of(page: str) -> list[Form]:
    """All forms of a page, in order."""
    parser = _Forms()
    parser.feed(page)
    return parser.found


@asynccontextmanager
async def open_browser(server: Server) -> AsyncIterator[Browser]:
    """A browser that logs in by a link."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20.0) as client:
        answer = await client.post("/log-in", data={"link": server.desk.tokens.create_link()})
        assert answer.status_code == 303
        yield Browser(server, client)


RunServer = Callable[[Callable[[Server], Awaitable[object]]], None]


@pytest.fixture
def run_server(fake: ScriptedNode, tmp_path: Path) -> RunServer:
    """Does something with a server, within half a minute; the state stays for the next server of the test."""

    def run(body: Callable[[Server], Awaitable[object]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(30), open_server(fake, tmp_path / "state") as server:
                await body(server)

        asyncio.run(main())

    return run


@pytest.fixture
def web() -> ModuleType:
    """This module, for what the tests of the wallet need of it."""
    return sys.modules[__name__]


@pytest.fixture
def visit(run_server, web):
    """Runs *body* with a server and a browser that has logged in."""

    def run(body):
        async def with_browser(server):
            async with web.open_browser(server) as browser:
                await body(server, browser)

        run_server(with_browser)

    return run
