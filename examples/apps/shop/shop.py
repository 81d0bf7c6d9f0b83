"""
A shop: an HTTP server that sells a page for credits.

    GET  /            what there is, and for how much
    GET  /page        402 Payment Required, with an invoice as JSON
    POST /page        with the buyer's commit as JSON: the page

No account, no password: the commit is the proof. buy.py is the other side.
"""

import threading
from collections import OrderedDict
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import click

from offset_ctrl import InvalidProof, InvoiceNotOpen
from offset_ctrl.blocking import BlockingNode, connect
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.files import COMMIT, INVOICE, Invoice
from offset_proto.messages.extensions import Extension
from offset_proto.types import InvoiceId

INVOICES_MAX: Final = 1000
"""Invoices that may be open; the oldest is cancelled for a new one."""

EXPIRES: Final = timedelta(minutes=15)
"""A customer who vanishes keeps nobody's credits frozen for longer, also where this shop has ended meanwhile."""

BODY_BYTES_MAX: Final = 16 * 1024
PAGE = "<!doctype html><title>The page</title><h1>Thank you</h1><p>This page is worth every credit.</p>\n"


class Shop(ThreadingHTTPServer):
    """Sells the page over the node of its owner."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], node: BlockingNode, currency: str, price: int) -> None:
        super().__init__(address, _Customer)
        self._node = node
        self._currency = currency
        self._price = price
        self._lock = threading.Lock()
        self._open: OrderedDict[InvoiceId, Invoice] = OrderedDict()

    @property
    def offer(self) -> str:
        """What there is."""
        return f"GET /page for {self._price} {self._currency}\n"

    def make_invoice(self) -> Invoice:
        """For one customer."""
        can_expire = Extension.EXPIRING_INVOICES in self._node.extensions  # a node of the original can not
        expires = EXPIRES if can_expire else None
        invoice = self._node.create_invoice(self._currency, self._price, expires=expires)
        with self._lock:
            self._open[invoice.invoice_id] = invoice
            oldest = self._open.popitem(last=False)[1] if len(self._open) > INVOICES_MAX else None
        if oldest is not None:
            self._node.cancel_invoice(oldest)
        return invoice

    def collect(self, text: str) -> None:
        """
        Take a customer's commit.

        Raises:
            InvalidInput: It is none, or pays none of our invoices.
            InvoiceNotOpen: It comes too late.
        """
        commit = COMMIT.parse(text)
        with self._lock:
            invoice = self._open.get(commit.invoice_id)
        if invoice is None:
            raise InvalidProof("there is no such invoice, or it was paid already")
        self._node.accept_commit(invoice, commit)
        with self._lock:
            self._open.pop(commit.invoice_id, None)


class _Customer(BaseHTTPRequestHandler):
    server: Shop
    timeout = 30

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(HTTPStatus.OK, "text/plain", self.server.offer)
        elif self.path == "/page":
            self._offer_invoice()
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is /page\n")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", f"a commit of at most {BODY_BYTES_MAX} bytes\n")
            return
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        try:
            self.server.collect(body)
        except (InvalidInput, InvoiceNotOpen) as error:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", f"{error}\n")
        except OffsetError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n")
        else:
            self._answer(HTTPStatus.OK, "text/html", PAGE)

    def _offer_invoice(self) -> None:
        try:
            invoice = self.server.make_invoice()
        except OffsetError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n")
        else:
            self._answer(HTTPStatus.PAYMENT_REQUIRED, "application/json", INVOICE.format(invoice))

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        click.echo(f"{self.address_string()} {format % args}")


@click.command()
@click.option("-T", "--ticket", required=True, help="Ticket of the node.")
@click.option("-I", "--idfile", required=True, help="Identity file of this app; needs the permission seller.")
@click.option("-c", "--currency", default="FST", show_default=True, help="Currency of the price.")
@click.option("-p", "--price", default=5, show_default=True, type=click.IntRange(0), help="Credits for the page.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on, on 127.0.0.1.")
def main(ticket: str, idfile: str, currency: str, price: int, port: int) -> None:
    """Sell a page for credits."""
    try:
        with connect(ticket, idfile) as node, Shop(("127.0.0.1", port), node, currency, price) as shop:
            click.echo(f"open: http://127.0.0.1:{shop.server_port}/")
            shop.serve_forever()
    except OffsetError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("closed")


if __name__ == "__main__":
    main()
