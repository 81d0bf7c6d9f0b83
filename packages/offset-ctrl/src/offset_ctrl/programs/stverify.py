"""The program stverify: receipts and friend tokens, checked offline. Spec 09 §10."""

from pathlib import Path

import click

from offset_proto.cli import OffsetGroup, run_program
from offset_proto.text import printable

__all__ = ["main"]

_PATH = click.Path(path_type=Path)


@click.group("stverify", cls=OffsetGroup)
def _stverify() -> None:
    """Verify receipts and tokens of the Offset credit network."""


@_stverify.command("verify-receipt")
@click.option("-i", "--invoice", "invoice_path", type=_PATH, required=True, help="Your own copy of the invoice.")
@click.option("-r", "--receipt", "receipt_path", type=_PATH, required=True, help="Receipt file.")
def _verify_receipt(invoice_path: Path, receipt_path: Path) -> None:
    """Check that an invoice was paid."""
    from offset_ctrl.rules.proofs import check_receipt
    from offset_proto.files import INVOICE, RECEIPT

    invoice, receipt = INVOICE.load(invoice_path), RECEIPT.load(receipt_path)
    check_receipt(receipt, invoice)
    click.echo("Receipt is valid!")
    if receipt.dest_payment != receipt.total_dest_payment:
        click.echo(f"It stands for a part of {receipt.dest_payment} of {receipt.total_dest_payment}.")


@_stverify.command("verify-token")
@click.option("-t", "--token", "token_path", type=_PATH, required=True, help="Token file.")
def _verify_token(token_path: Path) -> None:
    """Check that a friend signed the balances in a token, and print them as the friend sees them."""
    from offset_crypto.identity import InvalidSignature
    from offset_crypto.verify import verify_token
    from offset_proto.errors import OffsetError
    from offset_proto.files import FRIEND_TOKEN
    from offset_proto.text import format_b64

    token = FRIEND_TOKEN.load(token_path)
    try:
        verify_token(token)
    except InvalidSignature:
        raise OffsetError("TokenInvalid") from None
    mc, counters = token.token_info.mc, token.token_info.counters
    click.echo("Token is valid!\n")
    click.echo(f"local_public_key: {format_b64(mc.local_public_key)}")
    click.echo(f"remote_public_key: {format_b64(mc.remote_public_key)}")
    click.echo(f"inconsistency_counter: {counters.inconsistency_counter}")
    click.echo(f"move_token_counter: {counters.move_token_counter}")
    click.echo("balances:\n")
    for entry in mc.balances:
        info = entry.balance_info
        pending = f"lpd={info.local_pending_debt}, rpd={info.remote_pending_debt}"
        click.echo(f"- {printable(entry.currency)}: balance={info.balance}, {pending}")


def main() -> None:
    """Run the program stverify with the arguments of the command line."""
    run_program("stverify", "error", _stverify)
