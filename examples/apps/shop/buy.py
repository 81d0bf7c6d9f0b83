"""
A customer of shop.py: gets an invoice, pays it, posts the commit, prints the page.
"""

import asyncio
import urllib.error
import urllib.request

import click

from offset_ctrl import PayOptions, connect
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT, INVOICE, Invoice
from offset_proto.messages.payment import Commit

HTTP_SECONDS = 30


def get_invoice(url: str) -> Invoice:
    """What the shop wants for the page."""
    try:
        with urllib.request.urlopen(url, timeout=HTTP_SECONDS):
            raise click.ClickException(f"{url} is free")
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 402:
                raise click.ClickException(f"{url}: {error}") from None
            return INVOICE.parse(error.read().decode())


def post_commit(url: str, commit: Commit) -> str:
    """The page for the commit."""
    with urllib.request.urlopen(url, COMMIT.format(commit).encode(), timeout=HTTP_SECONDS) as response:
        return str(response.read().decode())


async def buy(url: str, ticket: str, idfile: str, at_most: int, journal: str) -> str:
    """Pay at most so many credits, fees included, and return the page."""
    invoice = await asyncio.to_thread(get_invoice, url)
    if invoice.dest_payment > at_most:
        raise click.ClickException(f"{url} costs {invoice.dest_payment} {invoice.currency}")
    pages: list[str] = []

    async def deliver(commit: Commit) -> None:
        pages.append(await asyncio.to_thread(post_commit, url, commit))

    async with connect(ticket, idfile, journal=journal) as node:
        receipt = await node.pay(invoice, deliver, PayOptions(fees_max=at_most - invoice.dest_payment))
    click.echo(f"paid {receipt.total_dest_payment} {receipt.currency}", err=True)
    return pages[0]


@click.command()
@click.argument("url")
@click.option("-T", "--ticket", required=True, help="Ticket of the node.")
@click.option("-I", "--idfile", required=True, help="Identity file of this app; needs the permissions routes, buyer.")
@click.option("--at-most", default=10, show_default=True, help="Credits to spend, fees included.")
@click.option("--journal", default="payments", show_default=True, help="Directory to remember payments in.")
def main(url: str, ticket: str, idfile: str, at_most: int, journal: str) -> None:
    """Buy the page at URL, and print it."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("expected http:// or https://")
    try:
        click.echo(asyncio.run(buy(url, ticket, idfile, at_most, journal)), nl=False)
    except (OffsetError, OSError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
