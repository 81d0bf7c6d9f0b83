"""
The program stclear, for the treasurer of a community: the circles in which its members clear most of their debts.

The original has no such program. What it computes is in `offset_ctrl.clearing`; here are files, options and tables.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from offset_proto.cli import U128_OPTION, OffsetGroup, run_program

if TYPE_CHECKING:
    from offset_ctrl.clearing.exports import Member
    from offset_proto.types import Currency

__all__ = ["main"]

MEMBERS_MAX: Final = 1000
"""Members of a community; each circle needs some of them online together, and more than these have more than one circle
of friends."""

EXPORT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one export: some 4,000 friends with a relay and a currency each."""

DEBTS_MAX: Final = 50_000
"""Debts in one plan, which then takes seconds."""

_PATH = click.Path(path_type=Path)


@click.group("stclear", cls=OffsetGroup)
def _stclear() -> None:
    """Plan how the members of a community clear their debts in circles."""


@_stclear.command("plan")
@click.option(
    "-d",
    "--directory",
    type=_PATH,
    required=True,
    help="Of each member NAME: NAME.friend (stctrl info export-ticket) and NAME.json (stctrl info friends --json).",
)
@click.option("-c", "--currency", required=True, help="Currency, at most 16 bytes.")
@click.option(
    "-f", "--fees-max", type=U128_OPTION, default=0, show_default=True, help="Credits that a circle may cost its payer."
)
@click.option(
    "-m",
    "--mediator",
    "mediators",
    multiple=True,
    help="Member that pays no circle, such as one whose node is the original's program; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _plan(directory: Path, currency: str, fees_max: int, mediators: tuple[str, ...], as_json: bool) -> None:
    """Say who pays which circle, and what is left of the debts then."""
    from offset_ctrl.clearing.plan import make_plan
    from offset_ctrl.clearing.report import plan_as_json
    from offset_proto.errors import InvalidInput
    from offset_proto.message_json import format_json
    from offset_proto.types import Currency

    name = Currency(currency)
    members = _read_members(directory, name)
    unknown = sorted(set(mediators) - {member.name for member in members})
    if unknown:
        raise InvalidInput(f"--mediator {unknown[0]}: there is no {unknown[0]}.json in {directory}")
    payers = [member.public_key for member in members if member.name not in mediators]
    report = plan_as_json(make_plan(members, name, fees_max=fees_max, payers=payers))
    click.echo(format_json(report) if as_json else _text(report))


# Files.


def _read_members(directory: Path, currency: "Currency") -> list["Member"]:
    """The members by name. Raises OffsetError, which names the file and says what to do."""
    from offset_proto.errors import InvalidInput
    from offset_proto.files import IoError

    try:
        files = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise IoError(directory, error.strerror or str(error)) from None
    names = sorted(
        {name.removesuffix(suffix) for suffix in (".json", ".friend") for name in files if name.endswith(suffix)}
    )
    if len(names) > MEMBERS_MAX:
        raise InvalidInput(f"{directory} has files of {len(names)} members, at most {MEMBERS_MAX} can be planned")
    for name in names:
        for file, command in (
            (f"{name}.json", "friends --json"),
            (f"{name}.friend", f"export-ticket -t {name}.friend"),
        ):
            if file not in files:
                raise InvalidInput(f"{directory} has no {file}: let {name} make it with stctrl info {command}")
    members = [_read_member(directory, name, currency) for name in names]
    _check(directory, members, currency)
    return members


def _read_member(directory: Path, name: str, currency: "Currency") -> "Member":
    from offset_ctrl.clearing.exports import read_member
    from offset_proto.errors import InvalidInput
    from offset_proto.files import FRIEND_TICKET, read_text

    key = FRIEND_TICKET.load(directory / f"{name}.friend").public_key
    export = directory / f"{name}.json"
    try:
        return read_member(name, key, read_text(export, EXPORT_BYTES_MAX), currency)
    except InvalidInput as error:
        raise InvalidInput(f"{export} is not what stctrl info friends --json prints for {name}: {error}") from None


def _check(directory: Path, members: list["Member"], currency: "Currency") -> None:
    """Raises InvalidInput for members of whom no plan can be made."""
    from offset_proto.errors import InvalidInput

    if len(members) < 3:
        raise InvalidInput(f"{directory} has files of {len(members)} members, and a circle needs three")
    known: dict[bytes, str] = {}
    for member in members:
        other = known.setdefault(member.public_key, member.name)
        if other != member.name:
            raise InvalidInput(f"{directory}: {other}.friend and {member.name}.friend are tickets of one node")
    if not any(member.sides for member in members):
        raise InvalidInput(f"{directory}: nobody has a ledger in the currency {str(currency)!r}")
    debts = sum(len(member.sides) for member in members) // 2
    if debts > DEBTS_MAX:
        raise InvalidInput(f"{directory}: about {debts} debts, at most {DEBTS_MAX} can be planned")


# What a person reads.


def _text(report: dict[str, Any]) -> str:
    from offset_ctrl.programs.table import format_table

    debts, currency = report["debts"], report["currency"]
    members = report["members"]
    rows = [
        [
            member["name"],
            *(member[side][when] for side in ("owes", "is_owed") for when in ("before", "after")),
            str(len(member["circles"])),
            member["public_key"],
        ]
        for member in members
    ]
    parts = [
        f"Debts of {len(members)} members in {currency}: {debts['before']} before, {debts['after']} after.",
        f"No set-off clears more than {debts['clearable']}.",
        format_table(["member", "owes", "then", "is owed", "then", "circles", "public key"], rows),
        _circles_text(members),
        *_remarks(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _circles_text(members: list[dict[str, Any]]) -> str:
    from offset_ctrl.programs.table import format_table

    rows = [
        [member["name"], str(circle["number"]), circle["amount"], circle["fees"], " > ".join(circle["names"])]
        for member in members
        for circle in member["circles"]
    ]
    if not rows:
        return "There is no circle to pay."
    return format_table(["payer", "circle", "amount", "fees", "route"], rows)


def _remarks(report: dict[str, Any]) -> list[str]:
    """What could not be counted or planned, a paragraph for each kind."""
    disagreements = []
    for entry in report["disagreements"]:
        (first, second), balances = entry["between"], entry["balances"]
        disagreements.append(f"- {_claim(first, second, balances[0])}; {_claim(second, first, balances[1])}.")
    hindrances = [f"- {' and '.join(entry['between'])}: {entry['reason']}." for entry in report["hindrances"]]
    left_out = [
        f"- {entry['amount']} around {' > '.join(entry['members'])}: {entry['reason']}." for entry in report["left_out"]
    ]
    outside = [
        f"- {member['name']}: {member['friends_without_export']}"
        for member in report["members"]
        if member["friends_without_export"]
    ]
    return [
        "\n".join([title, *map(_printable, lines)])
        for title, lines in (
            ("Exports that do not fit together. The smaller debt counts; new exports of both say more.", disagreements),
            ("Debts that nothing can be taken off now:", hindrances),
            ("Circles that are not planned, or not with all that they could clear:", left_out),
            ("Friends with a balance who exported nothing, so that it does not count:", outside),
        )
        if lines
    ]


def _claim(name: str, friend: str, balance: str | None) -> str:
    if balance is None:
        return f"{name} has no ledger with {friend}"
    if balance.startswith("-"):
        return f"{name} says: I owe {friend} {balance[1:]}"
    return f"{name} says: {friend} owes me {balance}"


def _printable(line: str) -> str:
    """What would steer the terminal is spelled out: names come from names of files."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def main() -> None:
    """Run the program stclear with the arguments of the command line."""
    run_program("stclear", "error", _stclear)
