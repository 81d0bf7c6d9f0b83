"""stctrl info: what the node's report says; no requests are sent. Spec 09 §6."""

from pathlib import Path
from typing import Any

import click

from offset_ctrl.connection.client import NodeConnection
from offset_ctrl.programs.stctrl.session import NOTHING, CommandError, find_friend, show
from offset_ctrl.programs.table import format_table, shown_json
from offset_ctrl.programs.texts import TextOutput
from offset_ctrl.rules.recovery import contacts_of
from offset_proto.contacts import CONTACTS
from offset_proto.errors import OffsetError
from offset_proto.files import FRIEND_TICKET, FRIEND_TOKEN, FileKind, FriendTicket, OutputAlreadyExists
from offset_proto.messages.extensions import Extension
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.report import (
    ChannelConsistentReport,
    ChannelInconsistentReport,
    FriendLivenessReport,
    FriendReport,
    FriendStatusReport,
)
from offset_proto.text import format_b64

__all__ = ["contacts", "export_ticket", "friend_last_token", "friends", "index", "relays"]


def _print_json(value: Any) -> None:
    click.echo(shown_json(value))


async def relays(node: NodeConnection, *, as_json: bool) -> None:
    """Print the relays in report order."""
    rows = [[relay.name, format_b64(relay.public_key), str(relay.address)] for relay in node.report.relays]
    if as_json:
        _print_json([dict(zip(("name", "public_key", "address"), row, strict=True)) for row in rows])
    elif rows:
        click.echo(format_table(["relay name", "public key", "address"], rows))
    else:
        click.echo("No configured relay servers.")


async def index(node: NodeConnection, *, as_json: bool) -> None:
    """Print the index servers in report order; the connected one is marked."""
    report = node.report
    servers: list[dict[str, Any]] = [
        {
            "name": server.name,
            "public_key": format_b64(server.public_key),
            "address": str(server.address),
            "connected": server.public_key == report.connected_server,
        }
        for server in report.index_servers
    ]
    if as_json:
        _print_json(servers)
    elif servers:
        rows = [[s["name"] + (" (*)" if s["connected"] else ""), s["public_key"], s["address"]] for s in servers]
        click.echo(format_table(["index server name", "public key", "address"], rows))
    else:
        click.echo("No configured index servers.")


async def friends(node: NodeConnection, *, as_json: bool) -> None:
    """Print the friends and their balances, sorted by name (D87), and who of them was not heard, where it is told."""
    tells = Extension.UNHEARD in node.extensions
    if tells:
        await node.follow_unheard()
    ordered = sorted(node.report.friends.items(), key=lambda item: (item[1].name, item[0]))
    if as_json:
        heard = [{"heard": key not in node.unheard} if tells else {} for key, _ in ordered]
        values = [_friend_json(format_b64(key), friend) for key, friend in ordered]
        _print_json([{**value, **mark} for value, mark in zip(values, heard, strict=True)])
    elif ordered:
        marks = ["Not heard. " if key in node.unheard else "" for key, _ in ordered]
        texts = [mark + _balance_text(friend) for mark, (_, friend) in zip(marks, ordered, strict=True)]
        rows = [[_status(friend), friend.name, text] for (_, friend), text in zip(ordered, texts, strict=True)]
        click.echo(format_table(["st", "name", "balance"], rows))
    else:
        click.echo("No configured friends.")


def _status(friend: FriendReport) -> str:
    enabled = friend.status is FriendStatusReport.ENABLED
    online = friend.liveness is FriendLivenessReport.ONLINE
    return ("E" if enabled else "D") + ("+" if online else "-")


def _terms(balances: tuple[CurrencyBalance, ...]) -> str:
    ordered = sorted(balances, key=lambda balance: balance.currency)
    return "".join(f"- {balance.currency}: {balance.balance}\n" for balance in ordered)


def _balance_text(friend: FriendReport) -> str:
    match friend.channel_status:
        case ChannelConsistentReport(reports):
            return "Consistent:\n" + "".join(
                f"- {report.currency}: B  ={report.balance.balance}\n"
                f"LPD={report.balance.local_pending_debt}\n"
                f"RPD={report.balance.remote_pending_debt}\n\n"
                for report in sorted(reports, key=lambda report: report.currency)
            )
        case ChannelInconsistentReport(local, remote):
            text = "Inconsistent:\nLocal Reset Terms:\n" + _terms(local)
            if remote is None:
                return text + "Remote Reset Terms: Unknown\n"
            return text + "Remote Reset Terms:\n" + _terms(remote.balance_for_reset)


def _friend_json(public_key: str, friend: FriendReport) -> dict[str, Any]:
    """Amounts are decimal strings: they have 128 bits."""
    value: dict[str, Any] = {
        "name": friend.name,
        "public_key": public_key,
        "enabled": friend.status is FriendStatusReport.ENABLED,
        "online": friend.liveness is FriendLivenessReport.ONLINE,
        "relays": [
            {"public_key": format_b64(relay.public_key), "address": str(relay.address)}
            for relay in friend.remote_relays
        ],
        "currency_configs": [
            {
                "currency": str(config.currency),
                "rate": {"mul": config.rate.mul, "add": config.rate.add},
                "remote_max_debt": str(config.remote_max_debt),
                "is_open": config.is_open,
            }
            for config in friend.currency_configs
        ],
    }
    match friend.channel_status:
        case ChannelConsistentReport(reports):
            balances = [
                {
                    "currency": str(report.currency),
                    "balance": str(report.balance.balance),
                    "local_pending_debt": str(report.balance.local_pending_debt),
                    "remote_pending_debt": str(report.balance.remote_pending_debt),
                }
                for report in sorted(reports, key=lambda report: report.currency)
            ]
            return {**value, "channel": "consistent", "balances": balances}
        case ChannelInconsistentReport(local, remote):
            return {
                **value,
                "channel": "inconsistent",
                "local_reset_terms": _terms_json(local),
                "remote_reset_terms": None if remote is None else _terms_json(remote.balance_for_reset),
            }


def _terms_json(balances: tuple[CurrencyBalance, ...]) -> list[dict[str, str]]:
    return [{"currency": str(entry.currency), "balance": str(entry.balance)} for entry in balances]


async def export_ticket(
    node: NodeConnection, ticket: Path | None, *, as_json: bool, output: TextOutput = NOTHING
) -> None:
    """Write what friends need to reach this node; None: it is only shown as *output* says."""
    relays_of_node = tuple(relay.without_name() for relay in node.report.relays)
    value = FriendTicket(node.report.local_public_key, relays_of_node)
    if ticket is not None:
        _save(FRIEND_TICKET, ticket, value)
    show("InfoError", output, value)
    if as_json:
        _print_json({"ticket": None if ticket is None else str(ticket), "public_key": format_b64(value.public_key)})


async def contacts(node: NodeConnection, output: Path) -> None:
    """Write who the friends are and how they are configured, for the day on which the database is lost."""
    _save(CONTACTS, output, contacts_of(node.report))


async def friend_last_token(node: NodeConnection, name: str, token: Path, *, as_json: bool) -> None:
    """Write the last token of a friend, which proves the balance."""
    if token.exists():
        raise CommandError("InfoError", f"OutputFileAlreadyExists({token})")
    _, friend = find_friend("InfoError", node.report, name)
    last = friend.opt_last_incoming_move_token
    if last is None:
        raise CommandError("InfoError", f"MissingLastIncomingMoveToken({name})")
    _save(FRIEND_TOKEN, token, last)
    if as_json:
        _print_json({"token": str(token), "public_key": format_b64(last.token_info.mc.local_public_key)})


def _save(kind: FileKind[Any], path: Path, value: Any) -> None:
    try:
        kind.save(path, value)
    except OutputAlreadyExists:
        raise CommandError("InfoError", f"OutputFileAlreadyExists({path})") from None
    except OffsetError as error:
        raise CommandError("InfoError", str(error)) from None
