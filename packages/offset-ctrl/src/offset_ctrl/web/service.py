"""The server as a whole: its state directory, its nodes, and what it says when it starts."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from offset_crypto.aio import Ticker
from offset_crypto.identity import Identity
from offset_ctrl.connection.client import NodeConnection
from offset_ctrl.connection.session import open_session
from offset_ctrl.sdk.node import use_session
from offset_ctrl.web.accepting import serve_http
from offset_ctrl.web.application import build_application
from offset_ctrl.web.bell import Bell
from offset_ctrl.web.circle_runs import CircleRuns
from offset_ctrl.web.database import Database, StateInUse, lock_state, open_database
from offset_ctrl.web.desk import Desk, WebNode
from offset_ctrl.web.going_on import Late, keep_going
from offset_ctrl.web.invoice_book import InvoiceBook
from offset_ctrl.web.keys import forget_old
from offset_ctrl.web.listening import Certificate, Front, bind, make_front
from offset_ctrl.web.paying import BookedJournal, Payments
from offset_ctrl.web.payment_book import PaymentBook
from offset_ctrl.web.reach import Reach
from offset_ctrl.web.requests import Requests
from offset_ctrl.web.settling import Settling
from offset_ctrl.web.tokens import Tokens
from offset_ctrl.web.webhooks import Webhooks
from offset_proto.errors import InvalidInput
from offset_proto.log_events import LISTENING, STARTED, tell
from offset_proto.messages.payment import RelayAddress
from offset_proto.node_tickets import NODE_TICKET, other_addresses
from offset_proto.text import format_b64, format_host_port

__all__ = ["LINK_IS_VOID", "Settings", "StateInUse", "format_link", "log_in_link", "open_desk", "run"]

log = logging.getLogger("offset.web")

LINK_IS_VOID: Final = "The link that was printed before is void; browsers that are logged in stay so."

_URL: Final = "url"


@dataclass(frozen=True, slots=True)
class Settings:
    """
    How to serve.

    Attributes:
        identity: Of this app; the nodes must trust it.
        tickets: Of the nodes.
        address: Where to listen: IP address and port.
        state: The state directory.
        certificate: For HTTPS.
        proxy: The origin of a proxy in front of the server.
        public: Where buyers and their programs reach the server, to see what they pay and to deliver commits.
    """

    identity: Identity
    tickets: tuple[Path, ...]
    address: tuple[str, int]
    state: Path
    certificate: Certificate | None = None
    proxy: str | None = None
    public: str | None = None


async def run(settings: Settings, say: Callable[[str], None]) -> None:
    """
    Serve until cancelled.

    Args:
        settings: How.
        say: Tells the person who has started the server.

    Raises:
        OffsetError: A file, an address or a node can not be used; it says which one, and why.
    """
    front = make_front(settings.address, settings.certificate, settings.proxy, settings.public)
    tickets = _load_tickets(settings.tickets)
    with (
        bind(settings.address) as listener,
        lock_state(settings.state),
        open_database(settings.state, is_locked=True) as database,
    ):
        async with AsyncExitStack() as stack:
            desk = await open_desk(
                stack,
                settings.identity,
                tickets,
                settings.state,
                database,
                delivery=front.delivery,
                shop=front.shop,
            )
            tell(log, LISTENING, address=format_host_port(*settings.address), what="browsers and programs")
            _tell_start(settings.identity, len(tickets))
            _introduce(front, database, desk.tokens, say)
            app = build_application(desk, front)
            await serve_http(app, listener, settings.certificate, desk.closing)


def _tell_start(identity: Identity, nodes: int) -> None:
    number, key = version("offset-ctrl"), format_b64(identity.public_key)
    tell(log, STARTED, program="offset-ctrl", version=number, key=key, loaded={"nodes": nodes})


def _load_tickets(paths: tuple[Path, ...]) -> dict[str, RelayAddress]:
    """
    The tickets, by the names of the nodes: those of the files without the ending.

    In a directory that ``stmgr setup-node`` made, the file is called node.ticket, and the node like the directory.
    """
    tickets: dict[str, RelayAddress] = {}
    for path in paths:
        name = path.resolve().parent.name if path.name == "node.ticket" else path.stem
        if name in tickets:
            raise InvalidInput(f"two nodes are called {name!r}, after the files of their tickets; rename one")
        tickets[name] = NODE_TICKET.load(path)
    return tickets


async def open_desk(
    stack: AsyncExitStack,
    identity: Identity,
    tickets: dict[str, RelayAddress],
    state: Path,
    database: Database,
    ticker: Ticker | None = None,
    *,
    delivery: str | None = None,
    shop: str | None = None,
) -> Desk:
    """
    Connect to all nodes, and go on with the payments of earlier runs.

    Args:
        stack: Ends what was begun.
        identity: Of this app.
        tickets: Of the nodes, by their names here.
        state: The state directory; the journal of each node is in it, under the node's key.
        database: In the same directory.
        ticker: Ticks of the process, where it has some already.
        delivery: The address at which buyers' programs deliver commits.
        shop: Where buyers find the pages of invoices.

    Raises:
        NodeConnectionError: A node was not reached, or does not trust this app.
    """
    forget_old(database)
    bell, book, ticker = Bell(), PaymentBook(database), ticker or Ticker()
    late, requests = Late(bell), Requests(database)
    stack.callback(late.try_again)
    nodes = []
    for name, ticket in tickets.items():
        journal = BookedJournal(state / "payments" / format_b64(ticket.public_key), book, bell, late)
        in_doubt, untold = asyncio.Event(), dict[str, bool]()
        reach = Reach(name, ticket.address, database.now, bell, partial(_back, in_doubt, untold))
        session = await stack.enter_async_context(
            open_session(
                ticket.address,
                ticket.public_key,
                identity,
                ticker,
                others=other_addresses(ticket),
                follows=(NodeConnection.follow_unheard,),
            ),
        )
        reach.told(None)
        session.on_link = reach.told
        node = await stack.enter_async_context(use_session(session, journal, None))
        payments = Payments(node, journal, book, bell, late, requests=requests)
        payments.go_on()
        stack.push_async_callback(payments.close)
        nodes.append(WebNode(name, format_b64(node.public_key), node, session, payments, reach, in_doubt, untold))
    runs = CircleRuns(database, bell, late)
    stack.push_async_callback(runs.close)
    books = (book, InvoiceBook(database), requests)
    desk = Desk(database, Tokens(database), *books, tuple(nodes), bell, runs, late, delivery=delivery, shop=shop)
    parts = [("sending webhooks", Webhooks(database, bell).run), ("writing late", late.run)]
    parts += [(f"settling the invoices of {node.name}", Settling(desk, node).run) for node in nodes]
    for name, run_part in parts:
        stack.push_async_callback(_end, asyncio.create_task(keep_going(name, run_part)))
    return desk


def _back(in_doubt: asyncio.Event, untold: dict[str, bool]) -> None:
    """A node can be reached again, and is asked again for what it has not told."""
    untold.clear()
    in_doubt.set()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _introduce(front: Front, database: Database, tokens: Tokens, say: Callable[[str], None]) -> None:
    """Say where the server is; and how to log in, as long as no browser has."""
    with database.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_URL, front.url))
    say(f"stweb serves {front.url}")
    if not tokens.had_browser():
        if tokens.has_link():
            say(LINK_IS_VOID)
        say(f"To log a browser in, within an hour: {format_link(front.url, tokens.create_link())}")


def format_link(url: str, secret: str) -> str:
    """The link that logs a browser in."""
    return f"{url}/log-in?link={secret}"


def log_in_link(database: Database) -> str:
    """
    A new link for a server that has run before.

    Raises:
        InvalidInput: None has.
    """
    row = database.ask_one("SELECT value FROM facts WHERE name = ?", _URL)
    if row is None:
        raise InvalidInput(f"no server has run with {database.path.parent} yet; start one, and it prints a link")
    return format_link(row["value"], Tokens(database).create_link())
