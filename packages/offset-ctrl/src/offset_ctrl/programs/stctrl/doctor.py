"""
stctrl doctor: facts about a node, and a page of what they come to. Spec 09 §6.

What is judged and how is `offset_ctrl.rules.diagnosis`. The command asks the node for nothing but what every app gets
and what is open, connects to the servers with a key that is made for it, and reads the database without writing.
"""

import asyncio
import platform
import time
from collections import Counter
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import click

from offset_crypto.aio import Proxy, Ticker
from offset_crypto.passphrase import open_identity
from offset_ctrl.connection.client import NodeConnection, open_node
from offset_ctrl.programs.stctrl.database_facts import StoredNode, clock_is_set, read_database
from offset_ctrl.programs.stctrl.trying import try_servers
from offset_ctrl.programs.stctrl.waiting import login_words, moment
from offset_ctrl.programs.table import printable, shown_json
from offset_ctrl.rules.diagnosis import DatabaseFacts, Facts, NodeFacts, diagnose
from offset_ctrl.rules.findings import Finding, Severity, short_key, worst
from offset_ctrl.rules.friendships import Frozen
from offset_ctrl.rules.open_reports import waiting_parts
from offset_proto.errors import OffsetError
from offset_proto.files import TICKET
from offset_proto.messages.extensions import Extension, OpenPaymentReport, PartStateReport
from offset_proto.node_tickets import NODE_TICKET, other_addresses
from offset_proto.proxies import ProxyUrl
from offset_proto.report_view import ReportView

__all__ = ["STATUS", "doctor"]

STATUS: Final = {Severity.FINE: 0, Severity.ATTENTION: 4, Severity.BROKEN: 5}
"""Exit statuses; 1 and 2 say that the command itself failed, and 3 that something was waited for in vain."""

_PACKAGES: Final = ("offset-ctrl", "offset-node", "offset-relay", "offset-index")
_FROZEN: Final = (PartStateReport.FROZEN, PartStateReport.ANSWERED)


def doctor(
    idfile: Path | None,
    ticket: Path | None,
    passphrase_file: Path | None,
    proxy: ProxyUrl | None = None,
    *,
    database: Path | None,
    tries: bool,
    as_json: bool,
    ticker: Ticker | None = None,
) -> int:
    """
    Look at everything, and print the page; nothing that is wrong with the node is an error of the command.

    Args:
        idfile, ticket, passphrase_file, proxy: Who we are, the node, and the way there, as for all commands. Relays and
            index servers are tried by the same way.
        database: Of the node; None: ``node.db`` beside *ticket*, where there is one.
        tries: Whether to connect to relays and index servers.
        as_json: For a script.
        ticker: Ticks of the process; None: new ones of a second.

    Returns:
        The exit status, by the worst finding.
    """
    if database is None and ticket is not None and ticket.with_name("node.db").exists():
        database = ticket.with_name("node.db")
    stored = None if database is None else _of_this_node(read_database(database), ticket)
    through = None if proxy is None else Proxy(proxy)
    facts = asyncio.run(_look(idfile, ticket, passphrase_file, through, stored, tries=tries, ticker=ticker))
    configuration = None if ticket is None else ticket.with_name("node.toml")
    facts = replace(
        facts,
        is_clock_set=clock_is_set(),
        stctrl=login_words(),
        configuration=str(configuration) if configuration is not None and configuration.exists() else None,
    )
    findings = diagnose(facts)
    (_print_json if as_json else _print)(facts.now, findings)
    return STATUS[worst(findings)]


def _of_this_node(stored: StoredNode, ticket: Path | None) -> StoredNode:
    """What was found in a database; of one of another node than the *ticket* is of, only whose it is."""
    if stored.report is None or ticket is None:
        return stored
    try:
        node = TICKET.load(ticket).public_key
    except OffsetError:  # told where the node is asked
        return stored
    owner = stored.report.funder_report.local_public_key
    if owner == node:
        return stored
    problem = f"this is the database of {short_key(owner)}, and the node is {short_key(node)}"
    return StoredNode(DatabaseFacts(stored.facts.path, problem, False, 0, 0, is_database=False), None)


async def _look(
    idfile: Path | None,
    ticket: Path | None,
    passphrase_file: Path | None,
    proxy: Proxy | None,
    stored: StoredNode | None,
    *,
    tries: bool,
    ticker: Ticker | None,
) -> Facts:
    ticker = ticker or Ticker()
    node, problem = None, None
    try:
        node = await _ask(idfile, ticket, passphrase_file, proxy, ticker)
    except OffsetError as error:
        problem = str(error)
    if node is None and stored is not None and stored.report is not None:
        node = NodeFacts(ReportView(stored.report), is_live=False)
    servers = await try_servers(node.report, ticker, proxy) if tries and node is not None else ()
    return Facts(int(time.time()), node, problem, servers, None if stored is None else stored.facts)


async def _ask(
    idfile: Path | None, ticket: Path | None, passphrase_file: Path | None, proxy: Proxy | None, ticker: Ticker
) -> NodeFacts:
    """
    What the node tells.

    Raises:
        OffsetError: It can not be asked, and why.
    """
    if idfile is None or ticket is None:
        raise OffsetError("nobody said which one it is")
    place = NODE_TICKET.load(ticket)
    app = open_identity(idfile, passphrase_file)
    async with open_node(place.address, place.public_key, app, ticker, proxy, others=other_addresses(place)) as node:
        return await _told(node)


async def _told(node: NodeConnection) -> NodeFacts:
    unheard = None
    if Extension.UNHEARD in node.extensions:
        await node.follow_unheard()
        unheard = frozenset(node.unheard)
    if not (node.permissions.buyer and Extension.OPEN_PAYMENTS in node.extensions):
        return NodeFacts(node.report, is_live=True, extensions=node.extensions, unheard=unheard)
    await node.follow_payments()
    payments = tuple(node.payments.reports.values())
    parts = [part for payment in payments for part in waiting_parts(payment)]
    queued = Counter(part.route.public_keys[1] for part in parts if part.state is PartStateReport.QUEUED)
    latest = max((part.since for part in parts), default=0)
    frozen = tuple(each for payment in payments for each in _frozen(payment))
    return NodeFacts(node.report, True, node.extensions, frozen, tuple(queued.items()), latest, unheard)


def _frozen(payment: OpenPaymentReport) -> list[Frozen]:
    if payment.opt_target is None:
        return []
    return [
        Frozen(part.route.public_keys[1], payment.opt_target.currency, part.dest_payment + part.fees, part.since, True)
        for part in waiting_parts(payment)
        if part.state in _FROZEN
    ]


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "Python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}


def _print_json(now: int, findings: tuple[Finding, ...]) -> None:
    listed: list[dict[str, Any]] = [
        {"about": each.about, "severity": each.severity.value, "words": each.words, "remedy": each.remedy}
        for each in findings
    ]
    page = {"time": moment(now), "versions": _versions(), "worst": worst(findings).value, "findings": listed}
    click.echo(shown_json(page))


def _print(now: int, findings: tuple[Finding, ...]) -> None:
    click.echo(f"stctrl doctor, {moment(now)}")
    click.echo("installed here: " + ", ".join(f"{name} {number}" for name, number in _versions().items()))
    about = ""
    for finding in findings:
        if finding.about != about:
            about = finding.about
            click.echo(f"\n{printable(about)}")
        click.echo(printable(f"  {finding.severity.value:9}  {finding.words}"))
        if finding.remedy:
            click.echo(printable(f"             -> {finding.remedy}"))
    counts = Counter(finding.severity for finding in findings)
    click.echo("\n" + ", ".join(f"{severity.value}: {counts[severity]}" for severity in Severity))
