"""Command line of stclear: options only; what the commands do is in the modules beside it."""

from pathlib import Path

import click

from offset_proto.cli import PASSPHRASE_FILE, U32_OPTION, OffsetGroup, run_program

__all__ = ["main"]

_PATH = click.Path(path_type=Path)


@click.group("stclear", cls=OffsetGroup)
def _stclear() -> None:
    """Clear the debts of a community in circles: plan them, and pay them."""


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
    "-f", "--fees-max", type=U32_OPTION, default=0, show_default=True, help="Credits that a circle may cost its payer."
)
@click.option(
    "-m",
    "--mediator",
    "mediators",
    multiple=True,
    help="Member that pays no circle, such as one whose node is the original's program; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which stclear pay takes.")
def _plan(directory: Path, currency: str, fees_max: int, mediators: tuple[str, ...], as_json: bool) -> None:
    """Say who pays which circle, and what is left of the debts then."""
    from offset_ctrl.clearing.plan import make_plan
    from offset_ctrl.clearing.report import plan_as_json
    from offset_ctrl.programs.stclear.members import read_members
    from offset_ctrl.programs.stclear.text import plan_as_text
    from offset_proto.errors import InvalidInput
    from offset_proto.message_json import format_json
    from offset_proto.types import Currency

    name = Currency(currency)
    members = read_members(directory, name)
    unknown = sorted(set(mediators) - {member.name for member in members})
    if unknown:
        raise InvalidInput(f"--mediator {unknown[0]}: there is no {unknown[0]}.json in {directory}")
    payers = [member.public_key for member in members if member.name not in mediators]
    report = plan_as_json(make_plan(members, name, fees_max=fees_max, payers=payers))
    click.echo(format_json(report) if as_json else plan_as_text(report))


@_stclear.command("pay")
@click.option("-I", "--idfile", type=_PATH, required=True, help="Identity file of this app.")
@click.option("-T", "--ticket", type=_PATH, required=True, help="Ticket of the node.")
@PASSPHRASE_FILE
@click.option("-p", "--plan", "plan_path", type=_PATH, required=True, help="What stclear plan --json printed.")
@click.option(
    "-d",
    "--directory",
    type=_PATH,
    required=True,
    help="Remembers what was paid of this plan, so that nothing is paid twice; made where it is missing.",
)
@click.option(
    "-f", "--fees-max", type=U32_OPTION, default=0, show_default=True, help="Credits that a circle may cost you."
)
@click.option("--dry-run", is_flag=True, help="Only say what there is to pay, and whether the debts are still there.")
def _pay(
    idfile: Path,
    ticket: Path,
    plan_path: Path,
    directory: Path,
    *,
    passphrase_file: Path | None,
    fees_max: int,
    dry_run: bool,
) -> None:
    """Pay the circles of a plan that the node has to pay, in their order."""
    import asyncio

    from offset_crypto.passphrase import open_identity
    from offset_ctrl.programs.stclear.pay import pay

    identity = open_identity(idfile, passphrase_file)
    asyncio.run(pay(identity, ticket, plan_path, directory, fees_max=fees_max, dry_run=dry_run))


def main() -> None:
    """Run the program stclear with the arguments of the command line."""
    run_program("stclear", "error", _stclear)
