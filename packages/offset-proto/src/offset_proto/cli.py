"""
What the command lines of all programs have in common: grammar, errors. Spec 09 §1.

Needs click, which comes with the extra ``offset-proto[cli]``; nothing else in this package imports it.

The grammar is that of the original, so its users' scripts go on working: ``-x VAL``, ``-xVAL``, ``-x=VAL``,
``--long VAL``, ``--long=VAL``; an option at most once, unless it is made to be repeated; a value of its own word
never starts with ``-``; ``-h`` and ``-V`` on every level; ``help`` as a subcommand wherever there are subcommands.

A runtime failure is one line on stderr, ``[TIME ERROR PROGRAM] PREFIX: NAME(...)``, and exit status 1; a
usage error has 2.
"""

import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.logs import end_sums, set_up_logging
from offset_proto.text import parse_integer, parse_socket_address
from offset_proto.types import Integer

if TYPE_CHECKING:
    from offset_proto.proxies import ProxyUrl

__all__ = [
    "PASSPHRASE_FILE",
    "PROXY",
    "SOCKET_ADDRESS",
    "U32_OPTION",
    "U128_OPTION",
    "OffsetCommand",
    "OffsetGroup",
    "PathOrUrl",
    "fail",
    "run_program",
    "set_up_logging",
]


class _IntegerType(click.ParamType[int]):
    def __init__(self, name: str, integer: Integer) -> None:
        self.name = name
        self._integer = integer

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_integer(self._integer, value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


class _SocketAddressType(click.ParamType[tuple[str, int]]):
    name = "ip:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        try:
            return parse_socket_address(value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


class _ProxyType(click.ParamType["ProxyUrl"]):
    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "ProxyUrl":
        from offset_proto.proxies import parse_proxy

        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            return parse_proxy(value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


class PathOrUrl(click.Path):
    """
    A file, or a URL of one of some schemes: a Path, or the text of the URL.

    Args:
        schemes: Of what is no file, such as ``postgresql``.
    """

    name = "path|url"

    def __init__(self, *schemes: str) -> None:
        super().__init__(path_type=Path)
        self._starts = tuple(f"{scheme}://" for scheme in schemes)

    def is_url(self, text: str) -> bool:
        """Whether *text* is no path."""
        return text.startswith(self._starts)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As `click.Path` does, unless it is a URL."""
        if isinstance(value, str) and self.is_url(value):
            return value
        return super().convert(value, param, ctx)


_NUMBERS: Final = (_IntegerType, click.types.IntParamType, click.types.FloatParamType)

U32_OPTION = _IntegerType("u32", Integer(32))
U128_OPTION = _IntegerType("u128", Integer(128))
SOCKET_ADDRESS = _SocketAddressType()
PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="File with the passphrase of a locked identity. Without it: the systemd credential offset-passphrase, the "
    "environment variable OFFSET_PASSPHRASE, or the terminal.",
)
"""The option of all programs that open an identity."""
PROXY = click.option(
    "--proxy",
    type=_ProxyType(),
    help="SOCKS5 proxy for all outgoing links, such as socks5h://127.0.0.1:9050 for Tor; it resolves the names.",
)
"""The option of all programs that connect to others."""

_SETTINGS = {"help_option_names": ["-h", "--help"]}


def _version(program: click.Command) -> str:
    """The version of the distribution that *program* comes with: the one with its package's name."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and seldom asked for

    package = (program.callback or _version).__module__.partition(".")[0]
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"  # a script of somebody else, with our grammar


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"{ctx.command_path.replace(' ', '-')} {_version(ctx.find_root().command)}")
        ctx.exit()


class _StrictGrammar(click.Command):
    """The original's rules for options, on top of click's."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings["context_settings"] = {**_SETTINGS, **settings.get("context_settings", {})}
        super().__init__(*args, **settings)
        self.params.append(
            click.Option(
                ["-V", "--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_print_version,
                help="Show the version and exit.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            args = self._checked(ctx, args)
        return super().parse_args(ctx, args)

    def _checked(self, ctx: click.Context, args: list[str]) -> list[str]:
        """*args* with ``-x=VAL`` taken apart, and the rules that click does not have."""
        options = {name: param for param in self.get_params(ctx) for name in param.opts}
        checked: list[str] = []
        seen: set[str] = set()
        position = 0
        while position < len(args):
            word = args[position]
            position += 1
            if not word.startswith("-") or word in ("-", "--"):
                return [*checked, word, *args[position:]]  # a subcommand, or an error that click reports
            name, value = _split_option(word)
            param = options.get(name)
            if not isinstance(param, click.Option) or param.is_flag:
                checked.append(word)
                continue
            if param.name in seen and not param.multiple:
                raise click.UsageError(f"The argument '{name}' was provided more than once", ctx)
            seen.add(str(param.name))
            if value is None and position < len(args):
                value = args[position]
                position += 1
                if value.startswith("-") and len(value) > 1:
                    if re.fullmatch(r"-[0-9.]+", value) and isinstance(param.type, _NUMBERS):
                        raise click.UsageError(f"'{value}' is negative: {name} takes a number from 0 on", ctx)
                    raise click.UsageError(f"Found argument '{value}' which wasn't expected", ctx)
            checked += [name] if value is None else [name, value]
        return checked


def _split_option(word: str) -> tuple[str, str | None]:
    """``--long=VAL``, ``-x=VAL``, ``-xVAL``, or an option whose value is the next word."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    name, value = word[:2], word[2:]
    return name, value.removeprefix("=") if value else None


class OffsetCommand(_StrictGrammar):
    """A command with the original's grammar."""


class OffsetGroup(_StrictGrammar, click.Group):
    """A command with subcommands, the original's grammar, and the subcommand ``help``."""

    command_class = OffsetCommand

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, no_args_is_help=False, **settings)
        self.group_class = OffsetGroup

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "help" and "help" not in self.commands:
            return click.Command(
                "help",
                callback=lambda words: self._help(ctx, words),
                params=[click.Argument(["words"], nargs=-1)],
            )
        return super().get_command(ctx, cmd_name)

    def _help(self, ctx: click.Context, words: tuple[str, ...]) -> None:
        command: click.Command = self
        for word in words:
            found = command.get_command(ctx, word) if isinstance(command, click.Group) else None
            if found is None:
                raise click.UsageError(f"No such command '{word}'.", ctx)
            ctx = click.Context(found, info_name=word, parent=ctx)
            command = found
        click.echo(command.get_help(ctx))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not (args or self.invoke_without_command or ctx.resilient_parsing):
            click.echo(self.get_help(ctx), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if not (ctx._protected_args or ctx.args or self.invoke_without_command):
            click.echo(self.get_help(ctx), err=True)
            ctx.exit(2)
        return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] == "help":
            return "help", self.get_command(ctx, "help"), args[1:]
        return super().resolve_command(ctx, args)


def fail(prefix: str, error: object) -> NoReturn:
    """Report a runtime failure, as the last line of the log, and exit with status 1."""
    end_sums()
    logging.getLogger("offset").error("%s: %s", prefix, error)
    sys.exit(1)


def _usage_error(program: str, error: click.ClickException) -> str:
    """One line that names what is wrong with the command line, and where to read more."""
    context = getattr(error, "ctx", None)
    reason = " ".join(error.format_message().split()).rstrip(".")
    return f"error: {reason} (see {program if context is None else context.command_path} --help)"


def run_program(program: str, prefix: str, command: Callable[..., Any]) -> NoReturn:
    """
    Run a program's command line, and exit.

    Args:
        program: Its name.
        prefix: What stands before the name of a failure: ``error`` or ``run() error``.
        command: The click command.
    """
    set_up_logging(program)
    try:
        status = command(prog_name=program, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        click.echo(_usage_error(program, error), err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OffsetError as error:
        fail(prefix, str(error) or type(error).__name__)
    except OSError as error:
        fail(prefix, f"IoError({error.strerror or error})")
    sys.exit(status if isinstance(status, int) else 0)
