"""
What stctrl says of a payment that waits: in words for a person, as JSON for a script. Spec 09 §8.

Everything that has to be said comes from the parts of the payment: where each is, since when, and behind which friend.
Which friend further on has not answered, nobody here knows: a node sees its own friends only.
"""

import asyncio
import contextlib
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import click

from offset_ctrl.programs.table import printable
from offset_ctrl.rules.entry_words import friend_name
from offset_ctrl.sdk.search import Tried
from offset_proto.files import Invoice
from offset_proto.messages.extensions import PartReport, PartStateReport, PaymentStageReport
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64
from offset_proto.types import PublicKey

__all__ = [
    "NOT_FINISHED",
    "bar",
    "command_line",
    "describe_parts",
    "describe_stage",
    "frozen_line",
    "login_words",
    "moment",
    "part_json",
    "showing",
    "tell_next",
    "tell_not_finished",
    "why_waiting",
]

NOT_FINISHED: Final = 3
"""Exit status: what the command was to wait for has not come, and goes on without it."""

SHOWN_SECONDS: Final = 0.5

BAR_WIDTH: Final = 20
"""Characters of a bar, without its ends; so a line has room for two amounts."""


def moment(seconds: int) -> str:
    """A time in seconds since 1970 as ISO 8601, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def describe_parts(parts: Iterable[PartReport], total: int, currency: str) -> str:
    """How much of *total* credits is where, in words."""
    credits_in = dict.fromkeys(PartStateReport, 0)
    for part in parts:
        credits_in[part.state] += part.dest_payment
    words = [
        f"{credits_in[state]} {text}"
        for state, text in (
            (PartStateReport.ANSWERED, "have reached the seller"),
            (PartStateReport.FROZEN, "are under way and have no answer"),
            (PartStateReport.QUEUED, "wait for a friend to be sent to"),
        )
        if credits_in[state]
    ]
    return f"of {total} {printable(currency)}, " + (", ".join(words) if words else "nothing is under way")


def describe_stage(stage: PaymentStageReport, *, has_parts: bool, has_commit: bool, is_given_up: bool) -> str:
    """What a payment without an end waits for, in words."""
    if is_given_up:
        return "given up; what is frozen comes back when the seller cancels, or when its invoice ends"
    if has_commit:
        return "complete; waits for the seller to collect with the commit"
    if stage is PaymentStageReport.CLOSING:
        return "closed; waits for the answers to what was sent"
    return "waits for answers" if has_parts else "waits for pay-invoice to try again, or for give-up"


def frozen_line(report: ReportView, parts: Iterable[PartReport]) -> str:
    """What is frozen, behind which friends, since when; one line."""
    amounts: dict[PublicKey, tuple[int, int]] = {}
    for part in parts:
        if part.state in (PartStateReport.FROZEN, PartStateReport.ANSWERED):
            friend = part.route.public_keys[1]
            amount, since = amounts.get(friend, (0, part.since))
            amounts[friend] = amount + part.dest_payment + part.fees, min(since, part.since)
    if not amounts:
        return "frozen: nothing"
    return "frozen: " + ", ".join(
        f"{amount} behind {friend_name(report, friend)} since {moment(since)}"
        for friend, (amount, since) in sorted(amounts.items())
    )


def why_waiting(tried: Tried, parts: Iterable[PartReport], invoice: Invoice, away: str | None) -> str:
    """
    What a payment without a commit waits for, and what was tried, in words.

    Args:
        tried: To find a way.
        parts: Those that are open.
        invoice: What is paid.
        away: Why there is no connection to the node now; None: there is one.
    """
    parts = tuple(parts)
    if away is not None:
        return f"there is no connection to the node: {away}"
    failed = f"; {tried.failed} failed before" if tried.failed else ""
    if any(part.state is PartStateReport.FROZEN for part in parts):
        silent = "the seller, or somebody on the way there, has not answered, and who it is can not be seen from here"
        return describe_parts(parts, invoice.dest_payment, invoice.currency) + failed + f"; {silent}"
    if parts:
        return describe_parts(parts, invoice.dest_payment, invoice.currency) + failed
    return _why_no_part(tried, f"{invoice.dest_payment} {printable(invoice.currency)}") + failed


def _why_no_part(tried: Tried, amount: str) -> str:
    if not tried.questions:
        return "the node has not answered yet"
    asked = f"routes were asked for {tried.questions} {'time' if tried.questions == 1 else 'times'}"
    if tried.unavailable and not (tried.fruitless or tried.fruitful):
        look = f"{command_line('info', 'index')} shows them, and {command_line('doctor')} tries them"
        return f"{asked}, and the node is connected to no index server: {look}"
    if not tried.fruitful and tried.fruitless:
        words = "is the seller's node connected, with a friend that trades this currency?"
        return f"{asked}, and the index server knows none that carries {amount} to the seller; {words}"
    if not tried.fruitful:
        return f"{asked}, and the index server has not answered"
    return f"{asked}, and the answers have no way that is left to try"


def part_json(report: ReportView, part: PartReport) -> dict[str, Any]:
    """A part for a script: amounts as decimal strings, as in all files."""
    return {
        "friend": friend_name(report, part.route.public_keys[1]),
        "state": part.state.value,
        "since": part.since,
        "dest_payment": str(part.dest_payment),
        "fees": str(part.fees),
        "route": [format_b64(key) for key in part.route.public_keys],
    }


def login_words() -> tuple[str, ...]:
    """
    With what commands for the same node begin: the program, and the login as it was given, which may be nothing.

    A password of the proxy is none of it.
    """
    context = click.get_current_context(silent=True)
    login = context.find_root().params if context is not None else {}
    names = {
        "-I": "idfile",
        "-T": "ticket",
        "-C": "directory",
        "--passphrase-file": "passphrase_file",
        "--proxy": "proxy",
    }
    options = {name: login.get(parameter) for name, parameter in names.items()}
    return ("stctrl", *(text for name, value in options.items() if value is not None for text in (name, str(value))))


def command_line(*words: str | Path) -> str:
    """A command of stctrl with the login of the present one, to be copied into a shell."""
    return shlex.join([*login_words(), *map(str, words)])


def tell_next(payment: Path, commit: Path) -> None:
    """Say what is left to be done; on stderr, since what a payment that went well prints is the original's."""
    receipt = payment.with_suffix(".receipt")
    saves = command_line("buyer", "payment-status", "-p", payment, "-r", receipt, "--timeout", "30")
    click.echo(f"next: hand {commit} to the seller, who collects with it; nothing is paid before that", err=True)
    click.echo(f"then, for the receipt: {saves}", err=True)


def tell_not_finished(report: ReportView, parts: Iterable[PartReport], go_on: str, look: str | None = None) -> int:
    """Say on stderr what is frozen, which command looks and which one goes on; the exit status."""
    click.echo(frozen_line(report, parts), err=True)
    if look is not None:
        click.echo(f"look: {look}", err=True)
    click.echo(f"go on: {go_on}", err=True)
    return NOT_FINISHED


def bar(done: int, total: int) -> str:
    """How much of *total* is done, as a bar; full where that is as much, or more."""
    filled = BAR_WIDTH * min(done, total) // max(total, 1)
    return f"[{'#' * filled:.<{BAR_WIDTH}}]"


@contextlib.asynccontextmanager
async def showing(words: Callable[[], str]) -> AsyncIterator[None]:
    """Show *words* in the last line of the terminal for as long as the block runs; nothing, where there is none."""
    if not sys.stderr.isatty():
        yield
        return
    task = asyncio.create_task(_show(words))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        click.echo("\r\x1b[K", nl=False, err=True)


async def _show(words: Callable[[], str]) -> None:
    started = time.monotonic()
    while True:
        click.echo(f"\r\x1b[K{words()} ({time.monotonic() - started:.0f} s)", nl=False, err=True)
        await asyncio.sleep(SHOWN_SECONDS)
