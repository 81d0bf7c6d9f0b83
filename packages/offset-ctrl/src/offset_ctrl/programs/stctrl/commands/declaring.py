"""How a command of stctrl is declared: its options, and the module that does what it says, imported only then."""

import functools
from collections.abc import Callable
from typing import Any, Final

import click

from offset_ctrl.programs.stctrl.commands.options import Decorator
from offset_ctrl.programs.texts import take_output
from offset_proto.cli import OffsetCommand, OffsetGroup

__all__ = ["STARTING_SECONDS", "add", "build", "build_group"]

STARTING_SECONDS: Final = 30
"""How long the first commands after the start of a node try to reach it."""

_PERMISSIONS: Final = {"info": None, "stctrl": "config", "friend": "config", "history": "config"}
"""What commands of a group need; of other groups, the permission with the group's name."""

_OUTLIVING: Final = frozenset({"buyer", "stctrl", "friend", "history"})
"""Groups whose commands go on over another connection: a payment outlives one, and so does who follows."""


def add(group: click.Group, name: str, help_text: str, *options: Decorator, **settings: Any) -> None:
    """Add the command *name* to *group*; all else is as in `build`."""
    group.add_command(build(str(group.name), name, help_text, *options, **settings))


def build(
    group: str,
    name: str,
    help_text: str,
    *options: Decorator,
    home: str | None = None,
    permission: str | None = None,
    patience: float = 0,
    one_of: tuple[str, ...] = (),
) -> click.Command:
    """
    The command *name* of the group of that name.

    It calls the function of that name in the module of the group, or in the module *home*, which is imported only then.
    The function returns the exit status; None is 0.

    Args:
        group: Says which permission is needed, unless *permission* does, and whether the command outlives a connection.
        name: As it is given; the function has underscores for its hyphens.
        help_text: What it does.
        options: What may be given.
        home: Module of the function.
        permission: What the app needs.
        patience: Seconds for which a node that is not reached is tried again.
        one_of: Parameters of which exactly one has to be given.
    """
    made = _callback(group, name, *options, home=home, permission=permission, patience=patience, one_of=one_of)
    return click.command(name, cls=OffsetCommand, help=help_text)(made)


def build_group(
    group: str, name: str, help_text: str, *options: Decorator, permission: str | None = None
) -> click.Group:
    """The command *name* as in `build`, which is a group, too: instead of it, commands of the group can be given."""
    made = _callback(group, name, *options, home=name, permission=permission, patience=0, one_of=())
    return click.group(name, cls=OffsetGroup, help=help_text, invoke_without_command=True)(made)


def _callback(
    group: str,
    name: str,
    *options: Decorator,
    home: str | None,
    permission: str | None,
    patience: float,
    one_of: tuple[str, ...],
) -> Callable[..., Any]:
    @click.pass_context
    def command(ctx: click.Context, /, **arguments: Any) -> Any:
        import importlib

        if ctx.invoked_subcommand is not None:
            return None
        _check_login(ctx)
        _check_one_of(ctx, one_of, arguments)
        if "as_qr" in arguments:
            arguments["output"] = take_output(arguments)
        from offset_ctrl.connection.client import open_node
        from offset_ctrl.connection.session import open_session
        from offset_ctrl.programs.stctrl.session import Login, run

        module = importlib.import_module(f"offset_ctrl.programs.stctrl.{home or group}")
        function = getattr(module, name.replace("-", "_"))
        open_: Any = open_session if group in _OUTLIVING else open_node
        needed = _PERMISSIONS.get(group, group) if permission is None else permission
        return run(Login(*ctx.obj), needed, open_, lambda node: function(node, **arguments), patience)

    return functools.reduce(lambda made, option: option(made), reversed(options), command)


def _check_login(ctx: click.Context) -> None:
    """Both files are required, but only by a command that runs: ``stctrl info --help`` needs neither."""
    missing = [name for name, path in zip(("--idfile", "--ticket"), ctx.obj[:2], strict=True) if path is None]
    if missing:
        text = f"Missing option before the command: {', '.join(missing)} (or --directory)"
        raise click.UsageError(text, ctx.find_root())


def _check_one_of(ctx: click.Context, one_of: tuple[str, ...], arguments: dict[str, Any]) -> None:
    if one_of and sum(arguments[parameter] is not None for parameter in one_of) != 1:
        names = {param.name: param.opts[-1] for param in ctx.command.params}
        raise click.UsageError(f"Give one of {' and '.join(names[parameter] for parameter in one_of)}", ctx)
