"""Command line of stctrl: options only; what the commands do is in the modules beside it. Spec 09 §5-§9."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from offset_proto.cli import U32_OPTION, U128_OPTION, OffsetGroup, run_program

__all__ = ["main"]

_PATH = click.Path(path_type=Path)


@click.group("stctrl", cls=OffsetGroup)
@click.option("-I", "--idfile", type=_PATH, help="Identity file of this app (required).")
@click.option("-T", "--ticket", type=_PATH, help="Ticket of the node (required).")
@click.pass_context
def _stctrl(ctx: click.Context, idfile: Path | None, ticket: Path | None) -> None:
    """Control a node of the Offset credit network."""
    ctx.obj = (idfile, ticket)


def _check_login(ctx: click.Context) -> None:
    """Both are required, but only by a command that runs: ``stctrl info --help`` needs neither."""
    missing = [name for name, path in zip(("--idfile", "--ticket"), ctx.obj, strict=True) if path is None]
    if missing:
        raise click.UsageError(f"Missing option before the command: {', '.join(missing)}", ctx.find_root())


@_stctrl.group("info")
def _info() -> None:
    """Show relays, index servers, friends; export tickets and tokens."""


@_stctrl.group("config")
def _config() -> None:
    """Configure relays, index servers, friends and currencies."""


@_stctrl.group("buyer")
def _buyer() -> None:
    """Pay invoices, and fetch the receipts of payments."""


@_stctrl.group("seller")
def _seller() -> None:
    """Create and cancel invoices, and collect their payments."""


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _option(*names: str, **settings: Any) -> Decorator:
    settings = {"required": True, **settings}
    return click.option(*names, **settings)


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_NAME = _option("-n", "--name", help="Local name.")
_CURRENCY = _option("-c", "--currency", help="Currency, at most 16 bytes.")


def _add(group: click.Group, name: str, help_text: str, *options: Decorator) -> None:
    """
    Add the command *name* to *group*.

    It calls the function of that name in the module of the group, which is imported only then.
    """

    @click.pass_context
    def command(ctx: click.Context, /, **arguments: Any) -> None:
        import importlib

        _check_login(ctx)
        from offset_ctrl.programs.stctrl.session import Login, run

        group_name = str(group.name)
        module = importlib.import_module(f"offset_ctrl.programs.stctrl.{group_name}")
        function = getattr(module, name.replace("-", "_"))
        permission = None if group_name == "info" else group_name
        run(Login(*ctx.obj), permission, lambda node: function(node, **arguments))

    made: Callable[..., Any] = functools.reduce(lambda made, option: option(made), reversed(options), command)
    group.command(name, help=help_text)(made)


_add(_info, "relays", "List the relays of the node.", _JSON)
_add(_info, "index", "List the index servers of the node; (*) marks the connected one.", _JSON)
_add(_info, "friends", "List the friends of the node and the balances with them.", _JSON)
_add(
    _info,
    "export-ticket",
    "Write the ticket by which friends add this node.",
    _option("-t", "--ticket", type=_PATH, help="Output file."),
    _JSON,
)
_add(
    _info,
    "friend-last-token",
    "Write the last token of a friend, a proof of the balance.",
    _NAME,
    _option("-t", "--token", type=_PATH, help="Output file."),
    _JSON,
)

_add(
    _config,
    "add-relay",
    "Use one more relay. Friends reach the node through it.",
    _option("-r", "--relay", type=_PATH, help="Relay ticket."),
    _NAME,
)
_add(_config, "remove-relay", "Stop using a relay. Friends do not reach the node through it any more.", _NAME)
_add(
    _config,
    "add-index",
    "Use one more index server. The node asks there for routes, and declares there what it can receive.",
    _option("-i", "--index", type=_PATH, help="Index ticket."),
    _NAME,
)
_add(
    _config,
    "remove-index",
    "Stop using an index server. The node asks there for no routes, and declares nothing there.",
    _NAME,
)
_FRIEND = _option("-f", "--friend", type=_PATH, help="Friend ticket.")
_add(_config, "add-friend", "Add a friend by the ticket that it exported.", _FRIEND, _NAME)
_add(
    _config,
    "set-friend-relays",
    "Say where a friend is reached now. A new ticket of the friend names its relays.",
    _FRIEND,
    _NAME,
)
_add(_config, "remove-friend", "Remove a friend. The balance and all that is open with it are forgotten.", _NAME)
_add(_config, "enable-friend", "Connect to a friend. The node keeps connected until the friend is disabled.", _NAME)
_add(_config, "disable-friend", "Close the connection to a friend, and open none.", _NAME)
_add(_config, "open-currency", "Forward requests of and to a friend.", _NAME, _CURRENCY)
_add(_config, "close-currency", "Forward no new requests of or to a friend.", _NAME, _CURRENCY)
_add(
    _config,
    "set-currency-max-debt",
    "Set how much a friend may owe.",
    _NAME,
    _CURRENCY,
    _option("-m", "--mdebt", type=U128_OPTION, help="Credits."),
)
_add(
    _config,
    "set-currency-rate",
    "Set what a friend pays for forwarding: floor(amount * mul / 2^32) + add.",
    _NAME,
    _CURRENCY,
    _option("-m", "--mul", type=U32_OPTION, help="Share of the amount, in units of 1/2^32."),
    _option("-a", "--add", type=U32_OPTION, help="Flat fee in credits."),
)
_add(_config, "remove-currency", "Withdraw a currency that the friend has not agreed to.", _NAME, _CURRENCY)
_add(_config, "reset-friend", "Accept a friend's terms for an inconsistent channel.", _NAME)

_add(
    _buyer,
    "pay-invoice",
    "Pay an invoice; hand the commit file to the seller.",
    _option("-i", "--invoice", "invoice_path", type=_PATH, help="Invoice file."),
    _option("-p", "--payment", type=_PATH, help="Output: payment file."),
    _option("-c", "--commit", type=_PATH, help="Output: commit file."),
    click.option(
        "--extra-fees",
        type=U32_OPTION,
        default=0,
        help="Credits offered to mediators beyond what the index server says; the seller gets what they leave.",
    ),
)
_add(
    _buyer,
    "payment-status",
    "Wait for the end of a payment; save the receipt.",
    _option("-p", "--payment", type=_PATH, help="Payment file; deleted at the end."),
    _option("-r", "--receipt", type=_PATH, help="Output: receipt file."),
)

_INVOICE = _option("-i", "--invoice", type=_PATH, help="Invoice file.")
_add(
    _seller,
    "create-invoice",
    "Make an invoice: the file that the buyer pays.",
    _CURRENCY,
    _option("-a", "--amount", type=U128_OPTION, help="Credits."),
    _INVOICE,
)
_add(_seller, "cancel-invoice", "Cancel an invoice: it can not be paid any more.", _INVOICE)
_add(
    _seller,
    "commit-invoice",
    "Collect a payment with the buyer's commit file.",
    _INVOICE,
    _option("-c", "--commit", type=_PATH, help="Commit file."),
)


def main() -> None:
    """Run the program stctrl with the arguments of the command line."""
    run_program("stctrl", "error", _stctrl)
