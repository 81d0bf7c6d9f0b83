"""How a command of stctrl is declared: its options, and the module that does what it says, imported only then."""

import functools
from collections.abc import Callable
from typing import Any, Final

import click

from offset_ctrl.programs.stctrl.commands.options import Decorator
from offset_ctrl.programs.texts import take_output
from offset_proto.cli import OffsetCommand

__all__ = ["STARTING_SECONDS", "add", "build"]

STARTING_SECONDS: Final = 30
"""How long the first commands after the start of a node try to reach it."""


def add(
    group: click.Group,
    name: str,
    help_text: str,
    *options: Decorator,
    home: str | None = None,
    patience: float = 0,
    one_of: tuple[str, ...] = (),
) -> None:
    """Add the command *name* to *group*; all else is as in `build`."""
    group.add_command(build(str(group.name), name, help_text, *options, home=home, patience=patience, one_of=one_of))


def build(
    group: str,
    name: str,
    help_text: str,
    *options: Decorator,
    home: str | None = None,
    patience: float = 0,
    one_of: tuple[str, ...] = (),
) -> click.Command:
    """
    The command *name* of the group of that name. Exactly one of the parameters *one_of* has to be given.

    It calls the function of that name in the module of the group, or in the module *home*, which is imported only then.
    The function returns the exit status; None is 0. A node that is not reached is tried again for *patience* seconds.
    """

    @click.pass_context
    def command(ctx: click.Context, /, **arguments: Any) -> Any:
        import importlib

        _check_login(ctx)
        if one_of and sum(arguments[parameter] is not None for parameter in one_of) != 1:
            names = {param.name: param.opts[-1] for param in ctx.command.params}
            raise click.UsageError(f"Give one of {' and '.join(names[parameter] for parameter in one_of)}", ctx)
        if "as_qr" in arguments:
            arguments["output"] = take_output(arguments)
        from offset_ctrl.connection.client import open_node
        from offset_ctrl.connection.session import open_session
        from offset_ctrl.programs.stctrl.session import Login, run

        module = importlib.import_module(f"offset_ctrl.programs.stctrl.{home or group}")
        function = getattr(module, name.replace("-", "_"))
        permission = {"info": None, "stctrl": "config", "friend": "config"}.get(group, group)
        # A payment outlives a connection, and so does who follows.
        outlives = group in ("buyer", "stctrl", "friend")
        open_: Any = open_session if outlives else open_node
        return run(Login(*ctx.obj), permission, open_, lambda node: function(node, **arguments), patience)

    made: Callable[..., Any] = functools.reduce(lambda made, option: option(made), reversed(options), command)
    return click.command(name, cls=OffsetCommand, help=help_text)(made)


def _check_login(ctx: click.Context) -> None:
    """Both files are required, but only by a command that runs: ``stctrl info --help`` needs neither."""
    missing = [name for name, path in zip(("--idfile", "--ticket"), ctx.obj[:2], strict=True) if path is None]
    if missing:
        text = f"Missing option before the command: {', '.join(missing)} (or --directory)"
        raise click.UsageError(text, ctx.find_root())
