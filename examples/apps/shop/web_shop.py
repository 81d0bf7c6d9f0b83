"""
A shop for people with a browser: it sells a page for credits, and stweb shows what to pay.

    GET  /            what there is, for how much, and a button
    POST /buy         makes an invoice over the API of stweb, and sends the customer to its page there
    GET  /orders/ID   the page that was bought; until it is paid, where to pay it

The shop has a token that may ask for payments, and no key of the node. It keeps orders in memory. With a
database, write an order down before the customer is sent on.
"""

import json
import os
import secrets
import threading
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import click

ORDERS_MAX: Final = 1000
"""Orders that are remembered; the oldest is forgotten for a new one, and its invoice ends by itself."""

EXPIRES_SECONDS: Final = 15 * 60
API_SECONDS: Final = 30
ORDERS: Final = "/orders/"
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>The page</title>'


@dataclass(frozen=True)
class Order:
    """What the shop knows of an order: its invoice at stweb, and where that is paid."""

    invoice_id: str
    checkout: str


class ApiError(Exception):
    """Stweb was not reached, or did not do what it was asked."""


class Api:
    """What the shop asks of stweb; *address* is that of one node there: ``http://127.0.0.1:8080/api/v1/nodes/alice``."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def create_invoice(self, key: str, wanted: dict[str, Any]) -> Order:
        """An invoice; the same *key* makes the same one, so that this may be asked again where no answer has come."""
        made = self._ask("/invoices", json.dumps(wanted).encode(), {"Idempotency-Key": key})
        if made["checkout"] is None:
            raise ApiError("stweb shows nothing to buyers: start it with --public-address")
        return Order(made["invoice"]["invoice_id"], made["checkout"])

    def is_paid(self, order: Order) -> bool:
        """Whether an order is paid."""
        return bool(self._ask(f"/invoices/{order.invoice_id}", None, {})["state"] == "collected")

    def _ask(self, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(self._address + path, body, {**self._headers, **headers})
        try:
            with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                detail = json.load(error).get("detail", "")
            raise ApiError(f"{error.code}: {detail}") from None
        except OSError as error:
            raise ApiError(str(error)) from None


class Shop(ThreadingHTTPServer):
    """Sells the page."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], api: Api, currency: str, price: int) -> None:
        super().__init__(address, _Customer)
        self._api = api
        self._currency = currency
        self._price = price
        self._lock = threading.Lock()
        self._orders: OrderedDict[str, Order] = OrderedDict()

    @property
    def url(self) -> str:
        """Where customers find it."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def offer(self) -> str:
        """What there is."""
        return (
            f"{HEAD}<h1>The page</h1><p>It costs {self._price} {escape(self._currency)}.</p>"
            '<form method="post" action="/buy"><button>Buy it</button></form>\n'
        )

    def order(self) -> str:
        """A new order; where it is paid."""
        number = secrets.token_urlsafe(16)  # whoever knows it sees what was bought
        wanted = {
            "currency": self._currency,
            "amount": str(self._price),
            "expires_in": EXPIRES_SECONDS,
            "description": "The page",
            "return_to": self.url + ORDERS + number,
        }
        made = self._api.create_invoice(number, wanted)
        with self._lock:
            self._orders[number] = made
            if len(self._orders) > ORDERS_MAX:
                self._orders.popitem(last=False)
        return made.checkout

    def show(self, number: str) -> tuple[HTTPStatus, str]:
        """What was bought by an order."""
        with self._lock:
            order = self._orders.get(number)
        if order is None:
            return HTTPStatus.NOT_FOUND, f"{HEAD}<h1>There is no such order</h1>\n"
        if not self._api.is_paid(order):
            link = f'<a href="{escape(order.checkout)}">Pay it</a>'
            return HTTPStatus.PAYMENT_REQUIRED, f"{HEAD}<h1>This is not paid yet</h1><p>{link}</p>\n"
        return HTTPStatus.OK, f"{HEAD}<h1>Thank you</h1><p>This page is worth every credit.</p>\n"


class _Customer(BaseHTTPRequestHandler):
    server: Shop
    timeout = 30

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(HTTPStatus.OK, self.server.offer)
        elif self.path.startswith(ORDERS):
            self._try(lambda: self.server.show(self.path.removeprefix(ORDERS)))
        else:
            self._answer(HTTPStatus.NOT_FOUND, f"{HEAD}<h1>There is nothing here</h1>\n")

    def do_POST(self) -> None:
        if self.path != "/buy":
            self._answer(HTTPStatus.NOT_FOUND, f"{HEAD}<h1>There is nothing here</h1>\n")
            return
        self._try(self._buy)

    def _buy(self) -> tuple[HTTPStatus, str]:
        return HTTPStatus.SEE_OTHER, self.server.order()

    def _try(self, step: Callable[[], tuple[HTTPStatus, str]]) -> None:
        try:
            self._answer(*step())
        except ApiError as error:
            click.echo(f"stweb: {error}")  # for the owner of the shop, and not for its customers
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{HEAD}<h1>Nothing can be bought now</h1>\n")

    def _answer(self, status: HTTPStatus, text: str) -> None:
        is_moved = status is HTTPStatus.SEE_OTHER
        body = b"" if is_moved else text.encode()
        self.send_response(status)
        if is_moved:
            self.send_header("Location", text)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        click.echo(f"{self.address_string()} {format % args}")


@click.command()
@click.argument("api")
@click.option("-c", "--currency", default="FST", show_default=True, help="Currency of the price.")
@click.option("-p", "--price", default=5, show_default=True, type=click.IntRange(1), help="Credits for the page.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on, on 127.0.0.1.")
def main(api: str, currency: str, price: int, port: int) -> None:
    """Sell a page for credits over the API of a node, such as http://127.0.0.1:8080/api/v1/nodes/alice.

    The secret of a token that may ask for payments is in the environment variable STWEB_TOKEN.
    """
    if not api.startswith(("http://", "https://")):
        raise click.BadParameter("expected http:// or https://")
    token = os.environ.get("STWEB_TOKEN")
    if not token:
        raise click.UsageError("STWEB_TOKEN is missing; make a token with stweb token create --may ask")
    with Shop(("127.0.0.1", port), Api(api, token), currency, price) as shop:
        click.echo(f"open: {shop.url}/")
        try:
            shop.serve_forever()
        except KeyboardInterrupt:
            click.echo("closed")


if __name__ == "__main__":
    main()
