"""Command line of stctrl: options only; what the commands do is in the modules beside it. Spec 09 §5-§9."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from offset_ctrl.programs.stctrl.options import (
    CURRENCY,
    JSON,
    NAME,
    PATH,
    RATE,
    SECONDS,
    Decorator,
    option,
    timeout,
)
from offset_proto.cli import PASSPHRASE_FILE, U32_OPTION, U128_OPTION, OffsetGroup, run_program

__all__ = ["main"]


@click.group("stctrl", cls=OffsetGroup)
@click.option("-I", "--idfile", type=PATH, help="Identity file of this app.")
@click.option("-T", "--ticket", type=PATH, help="Ticket of the node.")
@click.option("-C", "--directory", type=PATH, help="Directory made by stmgr setup-node, in place of -I and -T.")
@PASSPHRASE_FILE
@click.pass_context
def _stctrl(
    ctx: click.Context,
    idfile: Path | None,
    ticket: Path | None,
    directory: Path | None,
    passphrase_file: Path | None,
) -> None:
    """
    Control a node of the Offset credit network.

    Without -I, -T and -C, the environment variable OFFSET_DIRECTORY names the directory, or else the key directory in
    offset/stctrl.toml of the user's configuration directory.
    """
    if directory is None and None in (idfile, ticket):
        from offset_ctrl.programs.stctrl.profile import default_directory

        directory = default_directory()
    if directory is not None:
        idfile, ticket = idfile or directory / "app.ident", ticket or directory / "node.ticket"
    ctx.obj = (idfile, ticket, passphrase_file)


def _check_login(ctx: click.Context) -> None:
    """Both files are required, but only by a command that runs: ``stctrl info --help`` needs neither."""
    missing = [name for name, path in zip(("--idfile", "--ticket"), ctx.obj[:2], strict=True) if path is None]
    if missing:
        text = f"Missing option before the command: {', '.join(missing)} (or --directory)"
        raise click.UsageError(text, ctx.find_root())


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


@_stctrl.group("friend")
def _friend() -> None:
    """See to a friend as a whole."""


STARTING_SECONDS: Final = 30
"""How long the first commands after the start of a node try to reach it."""


def _needed_to_pay(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is None and not ctx.params["dry_run"]:
        raise click.MissingParameter(ctx=ctx, param=param)
    return value


def _add(
    group: click.Group,
    name: str,
    help_text: str,
    *options: Decorator,
    home: str | None = None,
    patience: float = 0,
) -> None:
    """
    Add the command *name* to *group*.

    It calls the function of that name in the module of the group, or in the module *home*, which is imported only then.
    The function returns the exit status; None is 0. A node that is not reached is tried again for *patience* seconds.
    """

    @click.pass_context
    def command(ctx: click.Context, /, **arguments: Any) -> Any:
        import importlib

        _check_login(ctx)
        from offset_ctrl.connection.client import open_node
        from offset_ctrl.connection.session import open_session
        from offset_ctrl.programs.stctrl.session import Login, run

        group_name = str(group.name)
        module = importlib.import_module(f"offset_ctrl.programs.stctrl.{home or group_name}")
        function = getattr(module, name.replace("-", "_"))
        permission = {"info": None, "stctrl": "config", "friend": "config"}.get(group_name, group_name)
        # A payment outlives a connection, and so does who follows.
        outlives = group_name in ("buyer", "stctrl", "friend")
        open_: Any = open_session if outlives else open_node
        return run(Login(*ctx.obj), permission, open_, lambda node: function(node, **arguments), patience)

    made: Callable[..., Any] = functools.reduce(lambda made, option: option(made), reversed(options), command)
    group.command(name, help=help_text)(made)


_add(_info, "relays", "List the relays of the node.", JSON)
_add(_info, "index", "List the index servers of the node; (*) marks the connected one.", JSON)
_add(_info, "friends", "List the friends of the node and the balances with them.", JSON)
_add(
    _info,
    "export-ticket",
    "Write the ticket by which friends add this node.",
    option("-t", "--ticket", type=PATH, help="Output file."),
    JSON,
)
_add(
    _info,
    "friend-last-token",
    "Write the last token of a friend, a proof of the balance.",
    NAME,
    option("-t", "--token", type=PATH, help="Output file."),
    JSON,
)
_add(
    _info,
    "capacity",
    "Say how much can be paid and received now, by friend.",
    CURRENCY,
    click.option("--to", help="Local name of a friend, or the public key of any node: how much can arrive there."),
    JSON,
    home="capacity",
)

_add(
    _config,
    "add-relay",
    "Use one more relay. Friends reach the node through it.",
    option("-r", "--relay", type=PATH, help="Relay ticket."),
    NAME,
)
_add(_config, "remove-relay", "Stop using a relay. Friends do not reach the node through it any more.", NAME)
_add(
    _config,
    "add-index",
    "Use one more index server. The node asks there for routes, and declares there what it can receive.",
    option("-i", "--index", type=PATH, help="Index ticket."),
    NAME,
)
_add(
    _config,
    "remove-index",
    "Stop using an index server. The node asks there for no routes, and declares nothing there.",
    NAME,
)
_FRIEND = option("-f", "--friend", type=PATH, help="Friend ticket.")
_add(_config, "add-friend", "Add a friend by the ticket that it exported.", _FRIEND, NAME)
_add(
    _config,
    "set-friend-relays",
    "Say where a friend is reached now. A new ticket of the friend names its relays.",
    _FRIEND,
    NAME,
)
_add(_config, "remove-friend", "Remove a friend. The balance and all that is open with it are forgotten.", NAME)
_add(_config, "enable-friend", "Connect to a friend. The node keeps connected until the friend is disabled.", NAME)
_add(_config, "disable-friend", "Close the connection to a friend, and open none.", NAME)
_add(_config, "open-currency", "Forward requests of and to a friend.", NAME, CURRENCY)
_add(_config, "close-currency", "Forward no new requests of or to a friend.", NAME, CURRENCY)
_add(
    _config,
    "set-currency-max-debt",
    "Set how much a friend may owe.",
    NAME,
    CURRENCY,
    option("-m", "--mdebt", type=U128_OPTION, help="Credits."),
)
_add(
    _config,
    "set-currency-rate",
    "Set what a friend pays for forwarding: floor(amount * mul / 2^32) + add.",
    NAME,
    CURRENCY,
    option("-m", "--mul", type=U32_OPTION, help="Share of the amount, in units of 1/2^32."),
    option("-a", "--add", type=U32_OPTION, help="Flat fee in credits."),
)
_add(_config, "remove-currency", "Withdraw a currency that the friend has not agreed to.", NAME, CURRENCY)
_add(_config, "reset-friend", "Accept a friend's terms for an inconsistent channel.", NAME)

_add(
    _buyer,
    "pay-invoice",
    "Pay an invoice; hand the commit file to the seller.",
    option("-i", "--invoice", "invoice_path", type=PATH, help="Invoice file."),
    click.option("-p", "--payment", type=PATH, callback=_needed_to_pay, help="Output: payment file."),
    click.option("-c", "--commit", type=PATH, callback=_needed_to_pay, help="Output: commit file."),
    click.option(
        "--dry-run",
        is_flag=True,
        is_eager=True,
        help="Only say what would be paid over which routes, and the most that could be paid; needs neither -p nor -c.",
    ),
    click.option(
        "--extra-fees",
        type=U32_OPTION,
        default=0,
        help="Credits offered to mediators beyond what the index server says; the seller gets what they leave.",
    ),
    click.option(
        "--direct", is_flag=True, help="Only over the link to the seller, who is a friend; no index server is asked."
    ),
    timeout(60, "Seconds to wait for the commit; then the payment goes on without this command."),
)
_PAYMENT = option("-p", "--payment", type=PATH, help="Payment file; deleted at the end.")
_add(
    _buyer,
    "payment-status",
    "Say where a payment stands; save the commit and the receipt.",
    _PAYMENT,
    option("-r", "--receipt", type=PATH, required=False, help="Output: receipt file, once there is a receipt."),
    option("-c", "--commit", type=PATH, required=False, help="Output: commit file, once there is a commit."),
    click.option("--close", is_flag=True, help="Let no further parts of the payment be sent."),
    timeout(1, "Seconds to wait for the end of the payment."),
    JSON,
    home="payment_status",
)
_add(
    _buyer,
    "give-up",
    "Give a payment up: nothing more is sent, and no commit is ever handed out.",
    _PAYMENT,
    timeout(10, "Seconds to wait until nothing is frozen for it; then that goes on without this command."),
)
_add(_buyer, "payments", "List the payments that are open, and what each waits for.", JSON, home="open_lists")

_FEES_MAX = click.option(
    "--fees-max",
    type=U128_OPTION,
    help="Credits that mediators may take. Where a rate is not known, so much is offered; what is left comes back.",
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would be paid.")
_JOURNAL = click.option(
    "--journal",
    type=PATH,
    help="Directory from which the next such command sees a stopped one through; a node of the original needs it.",
)
_add(
    _buyer,
    "rebalance",
    "Pay yourself in a circle, so that what one friend owes and what is owed to another one shrink.",
    option("--from", "out", help="Local name of the friend through whom it goes out: one who owes you."),
    option("--to", "back", help="Local name of the friend through whom it comes back: one whom you owe."),
    CURRENCY,
    option("-a", "--amount", type=U128_OPTION, help="Credits."),
    _FEES_MAX,
    _DRY_RUN,
    _JOURNAL,
    timeout(60, "Seconds for the payment; then it is given up."),
    home="circles",
)
_add(
    _buyer,
    "clear",
    "Pay yourself in all circles that bring balances nearer to 0, or to what you want to keep.",
    CURRENCY,
    click.option("--towards", type=int, default=0, show_default=True, help="Balance that is wanted with each friend."),
    click.option(
        "--keep", multiple=True, metavar="F=AMOUNT", help="Balance that is wanted with the friend F; may be repeated."
    ),
    _FEES_MAX,
    _DRY_RUN,
    _JOURNAL,
    timeout(60, "Seconds for each circle; then it is given up."),
    home="circles",
)

_add(
    _friend,
    "invite",
    "Write the ticket by which somebody adds this node as a friend.",
    option("-o", "--output", type=PATH, help="Output file; must not exist."),
    home="befriending",
    patience=STARTING_SECONDS,
)
_add(
    _friend,
    "add",
    "Make somebody a friend by the ticket TICKET: add, enable, open currencies with a limit and a rate.",
    click.argument("ticket", type=PATH),
    NAME,
    click.option("--open", "currencies", metavar="CURRENCY", multiple=True, help="Open it; may be repeated."),
    click.option("--limit", type=U128_OPTION, help="Credits of each currency that the friend may owe.  [default: 0]"),
    click.option("--rate", type=RATE, help="MUL,ADD: what the friend pays for forwarding.  [default: 0,0]"),
    click.option("--wait", is_flag=True, help="Until the friend is online and has opened the currencies, too."),
    timeout(60, "With --wait: seconds of that."),
    home="befriending",
    patience=STARTING_SECONDS,
)
_add(
    _friend,
    "move",
    "Move the account of the friend OLD, who has lost its key, to the new key of the friend ticket TICKET.",
    click.argument("old"),
    click.argument("ticket", type=PATH),
    click.option("--name", help="Local name of the new friend in the end.  [default: OLD]"),
    click.option("--dry-run", is_flag=True, help="Only say what would be moved."),
    click.option("--remove-old", is_flag=True, help="At the end remove the old friend, which forgives its balance."),
    click.option(
        "--journal",
        type=PATH,
        help="Directory of this move: how far it is, and the files that the two of you exchange.  [default: move-OLD]",
    ),
    timeout(60, "Seconds to wait for the new friend's node."),
)

_INVOICE = option("-i", "--invoice", type=PATH, help="Invoice file.")
_add(
    _seller,
    "create-invoice",
    "Make an invoice: the file that the buyer pays.",
    CURRENCY,
    option("-a", "--amount", type=U128_OPTION, help="Credits."),
    _INVOICE,
    click.option(
        "--expires",
        type=SECONDS,
        help="The node cancels the invoice after this time, if it is not collected by then: 30s, 10m, 1h, 2d.",
    ),
)
_add(_seller, "invoices", "List the invoices that are open, and what each waits for.", JSON, home="open_lists")
_add(_seller, "cancel-invoice", "Cancel an invoice: it can not be paid any more.", _INVOICE)
_add(
    _seller,
    "commit-invoice",
    "Collect a payment with the buyer's commit file.",
    _INVOICE,
    option("-c", "--commit", type=PATH, help="Commit file."),
)

_SINCE = click.option("--since", "since", metavar="DATE", help="Not before this day, or time, in UTC.")
_UNTIL = click.option("--until", "until", metavar="DATE", help="Before this day, or time, in UTC.")
_ONE_CURRENCY = click.option("-c", "--currency", help="Of this currency only.")
_add(
    _stctrl,
    "history",
    "Show what changed the balances with friends, and why.",
    _SINCE,
    _UNTIL,
    click.option("-f", "--friend", help="With this friend only: a local name, or the key of one that was removed."),
    _ONE_CURRENCY,
    click.option("-k", "--kind", "kinds", multiple=True, help="Of this kind only, such as forwarded; may be repeated."),
    click.option("-l", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The last so many."),
    click.option("--follow", is_flag=True, help="Go on with what comes, until the command is ended."),
    JSON,
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
    home="history",
)
_add(
    _stctrl,
    "income",
    "Show the fees that were earned and paid.",
    click.option("--by", type=click.Choice(["month", "friend"]), default="month", show_default=True, help="Sums of."),
    _SINCE,
    _UNTIL,
    _ONE_CURRENCY,
    JSON,
    home="history",
)


def main() -> None:
    """Run the program stctrl with the arguments of the command line."""
    run_program("stctrl", "error", _stctrl)
