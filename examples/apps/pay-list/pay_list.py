"""
Pay a list of invoices from a CSV file, several at once, with a progress bar; write receipts.

The file has a line with titles and the columns ``invoice`` (path of an invoice file) and ``deliver`` (where the commit
goes: an http:// or https:// address to post it to, or the path of a file to write). Paths are relative to the CSV file.
A receipt goes beside the invoice, with the ending ``.receipt``; an invoice that has one already is not paid again.
A payment of an earlier run goes on: its commit is delivered, if that has not happened yet, and its receipt written.
"""

import asyncio
import csv
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from offset_ctrl import AlreadyPaid, Node, PayOptions, connect
from offset_proto.errors import OffsetError
from offset_proto.files import COMMIT, INVOICE, RECEIPT
from offset_proto.messages.payment import Commit

HTTP_SECONDS: Final = 30


@dataclass(frozen=True)
class Row:
    """One line of the list."""

    line: int
    invoice: Path
    deliver: str

    @property
    def receipt(self) -> Path:
        """Where the receipt goes."""
        return self.invoice.with_suffix(".receipt")


def read_list(path: Path) -> Iterator[Row]:
    """The lines of a CSV file. Raises ClickException where one is wrong."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if not {"invoice", "deliver"} <= set(reader.fieldnames or ()):
            raise click.ClickException(f"{path}: the first line has no titles invoice, deliver")
        for fields in reader:
            if not fields["invoice"] or not fields["deliver"]:
                raise click.ClickException(f"{path}, line {reader.line_num}: invoice or deliver is empty")
            deliver = fields["deliver"]
            if not deliver.startswith(("http://", "https://")):
                deliver = str(path.parent / deliver)
            yield Row(reader.line_num, path.parent / fields["invoice"], deliver)


def deliver_commit(destination: str, commit: Commit) -> None:
    """Post it, or write it."""
    if destination.startswith(("http://", "https://")):
        with urllib.request.urlopen(destination, COMMIT.format(commit).encode(), timeout=HTTP_SECONDS):
            return
    if not Path(destination).exists():  # an earlier run may have written it
        COMMIT.save(Path(destination), commit)


async def pay_row(node: Node, row: Row, options: PayOptions, wait: float) -> str:
    """Pay one line; what came of it."""
    if row.receipt.exists():
        return "paid before"

    async def deliver(commit: Commit) -> None:
        await asyncio.to_thread(deliver_commit, row.deliver, commit)

    invoice = INVOICE.load(row.invoice)
    earlier = next((payment for payment in node.payments if payment.invoice == invoice), None)
    try:
        if earlier is None:
            receipt = await node.pay(invoice, deliver, options, receipt_timeout=wait)
        else:
            await deliver(await earlier.commit(wait))
            receipt = await earlier.receipt(wait)
    except AlreadyPaid as error:
        if error.receipt is None:
            raise
        receipt = error.receipt
    RECEIPT.save(row.receipt, receipt)
    return f"paid {receipt.total_dest_payment} {receipt.currency}"


async def pay_all(login: tuple[str, str], rows: list[Row], options: PayOptions, at_once: int, wait: float) -> list[str]:
    """Pay all lines, and show how far it is; the failures."""
    failures = []
    places = asyncio.Semaphore(at_once)

    async def pay(node: Node, row: Row) -> tuple[Row, str | None, str]:
        async with places:
            try:
                return row, await pay_row(node, row, options, wait), ""
            except (OffsetError, OSError) as error:
                return row, None, str(error)

    async with connect(*login, journal=rows[0].invoice.parent / "payments", go_on=options) as node:
        paying = [asyncio.ensure_future(pay(node, row)) for row in rows]
        with click.progressbar(length=len(rows), label="paying", show_pos=True) as bar:
            for ended in asyncio.as_completed(paying):
                row, result, reason = await ended
                bar.update(1)
                if result is None:
                    failures.append(f"line {row.line}: {row.invoice}: {reason}")
    return failures


@click.command()
@click.argument("csv_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-T", "--ticket", required=True, help="Ticket of the node.")
@click.option("-I", "--idfile", required=True, help="Identity file of this app; needs the permissions routes, buyer.")
@click.option("--fees-max", type=click.IntRange(0), help="Credits for mediators, per invoice.")
@click.option("--at-once", default=4, show_default=True, type=click.IntRange(1, 32), help="Payments at the same time.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds for a seller to collect.")
def main(csv_file: Path, ticket: str, idfile: str, fees_max: int | None, at_once: int, wait: float) -> None:
    """Pay the invoices in CSV_FILE; status 1 if one was not paid."""
    rows = list(read_list(csv_file))
    if not rows:
        click.echo("nothing to pay")
        return
    try:
        failures = asyncio.run(pay_all((ticket, idfile), rows, PayOptions(fees_max=fees_max), at_once, wait))
    except OffsetError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{len(rows) - len(failures)} of {len(rows)} paid")
    if failures:
        raise click.ClickException("\n".join(failures))


if __name__ == "__main__":
    main()
