"""The command of stctrl that looks for what is wrong, as it is given. Spec 09 §6."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from offset_ctrl.programs.stctrl.commands.options import JSON, PATH
from offset_proto.cli import OffsetCommand

if TYPE_CHECKING:
    from offset_proto.proxies import ProxyUrl

__all__ = ["COMMANDS"]


@click.command("doctor", cls=OffsetCommand)
@click.option("-d", "--database", type=PATH, help="Database of the node.  [default: node.db beside the node's ticket]")
@click.option("--local", is_flag=True, help="Try no relays and no index servers.")
@JSON
@click.pass_obj
def _doctor(
    login: "tuple[Path | None, Path | None, Path | None, ProxyUrl | None]",
    database: Path | None,
    *,
    local: bool,
    as_json: bool,
) -> int:
    """
    Say what is wrong with the node and what to do about it, on one page without secrets.

    It looks at the node, its friends and what is frozen behind them, relays and index servers, the clock, and where the
    database is at hand at that, its backups and its disk. It changes nothing, and it helps where the node does not
    answer, too. Friends and amounts are named.

    Status 0: all is well; 4: something needs attention; 5: something is broken.
    """
    from offset_ctrl.programs.stctrl.doctor import doctor

    return doctor(*login, database=database, tries=not local, as_json=as_json)


COMMANDS = (_doctor,)
