"""stctrl info capacity: how much can be paid and received now."""

from typing import Any, Final

import click

from offset_ctrl.connection.client import NodeConnection, RoutesUnavailable
from offset_ctrl.programs.stctrl.session import CommandError, find_friend, parse_currency
from offset_ctrl.programs.table import format_table, printable, shown_json
from offset_ctrl.rules.capacity import Largest
from offset_ctrl.sdk.capacity import Capacity, ask_capacity
from offset_proto.errors import InvalidInput
from offset_proto.text import format_b64, parse_b64
from offset_proto.types import PublicKey

__all__ = ["capacity", "largest_words"]

GROUP: Final = "InfoError"

UNKNOWN: Final = "?"


async def capacity(node: NodeConnection, currency: str, to: str | None, *, as_json: bool) -> None:
    """
    Print what can be paid to each friend and received from it, and with *to* the most that can arrive there.

    Raises:
        CommandError: *to* is neither the name of a friend nor a key, or nobody could be asked for routes to it.
    """
    parsed = parse_currency(GROUP, currency)
    destination = None if to is None else _destination(node, to)
    may_ask = node.permissions.routes
    if destination is not None and not may_ask:
        raise CommandError(GROUP, "AppRoutesError(the ticket of this app has no permission 'routes')")
    try:
        found = await ask_capacity(node.request_routes if may_ask else None, node.report, parsed, destination)
    except RoutesUnavailable as error:
        raise CommandError(GROUP, f"AppRoutesError({error})") from None
    if as_json:
        click.echo(shown_json(_json(found)))
    else:
        _tell(found, printable(currency), None if to is None else printable(to))


def _destination(node: NodeConnection, to: str) -> PublicKey:
    """The friend of that name; where there is none, the key."""
    try:
        return find_friend(GROUP, node.report, to)[0]
    except CommandError as error:
        try:
            return parse_b64(PublicKey, to)
        except InvalidInput:
            raise error from None


def _tell(found: Capacity, currency: str, to: str | None) -> None:
    if not found.friends:
        click.echo(f"No friend has a balance in {currency}.")
    else:
        rows = [
            [
                friend.name + ("" if friend.is_usable else " (not usable now)"),
                str(found.pay.get(friend.public_key, UNKNOWN)),
                str(friend.receive),
                str(friend.balance),
                str(friend.max_debt),
                f"{friend.sending} out, {friend.receiving} in",
            ]
            for friend in found.friends
        ]
        total = UNKNOWN if found.total_pay is None else str(found.total_pay)
        rows.append(["all", total, str(found.total_receive), "", "", ""])
        click.echo(format_table(["friend", "can pay", "can receive", "balance", "max debt", "frozen"], rows))
    if found.pay.keys() < {friend.public_key for friend in found.friends}:
        click.echo("? is known to index servers only; the node is connected to none, or the app may not ask.", err=True)
    if found.largest is not None:
        click.echo(f"To {to} can be paid now: {largest_words(found.largest, currency)}")


def largest_words(largest: Largest, currency: str) -> str:
    """An amount that can be paid, for a person."""
    return f"{largest.amount} {currency}" + ("" if largest.is_exact else " at least")


def _json(found: Capacity) -> dict[str, Any]:
    """Amounts are decimal strings: they have 128 bits."""

    def known(amount: int | None) -> str | None:
        return None if amount is None else str(amount)

    return {
        "friends": [
            {
                "name": friend.name,
                "public_key": format_b64(friend.public_key),
                "usable": friend.is_usable,
                "pay": known(found.pay.get(friend.public_key)),
                "receive": str(friend.receive),
                "balance": str(friend.balance),
                "remote_max_debt": str(friend.max_debt),
                "local_pending_debt": str(friend.sending),
                "remote_pending_debt": str(friend.receiving),
            }
            for friend in found.friends
        ],
        "pay": known(found.total_pay),
        "receive": str(found.total_receive),
        "largest": None
        if found.largest is None
        else {"amount": str(found.largest.amount), "exact": found.largest.is_exact},
    }
