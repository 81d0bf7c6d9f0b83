"""
What the command lines of the servers have more than others: a configuration file, and logs. Spec 09 §3.4.

A configuration file is TOML. Its keys are the long options of the server, so there is one list of settings and not two;
what the command line says goes before what the file says. Paths in it start at the directory of the file, so that a
directory that is moved goes on working. The level of the log may also stand in RUST_LOG, which goes before the file.

Needs click, like `offset_proto.cli`.
"""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from offset_proto.cli import SOCKET_ADDRESS, OffsetCommand, PathOrUrl
from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.logs import FORMATS, LEVELS, parse_level, set_up_server_logging
from offset_proto.reloading import Change, RunningSettings
from offset_proto.text import format_host_port
from offset_proto.toml_text import parse_toml

__all__ = ["METRICS", "METRICS_NAME", "ConfigError", "ServerCommand", "log_options", "reading_again"]

METRICS: Final = click.option(
    "--metrics",
    type=SOCKET_ADDRESS,
    help="Address to serve /metrics (for Prometheus), /healthz and /readyz on, IP:port. Best a loopback address: "
    "whoever reaches it can read them.",
)
"""The option of all servers that show how they are doing."""

METRICS_NAME: Final = click.option(
    "--metrics-name",
    "metrics_names",
    metavar="NAME",
    multiple=True,
    help="A name by which others reach the address of --metrics, without a port; may be repeated. Numbers and "
    "localhost need none.",
)
"""Goes with `METRICS`."""

CONFIG_BYTES_MAX: Final = 65_536

_ORIGINS: Final = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
}

_IS_CHECK: Final = "offset_proto.server_cli.is_check"
_ARGUMENTS: Final = "offset_proto.server_cli.arguments"
_FILE: Final = "offset_proto.server_cli.file"
_VALUES: Final = "offset_proto.server_cli.values"


class ConfigError(OffsetError):
    """A configuration file can not be used; the text names the file, the key, and what is wrong."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"ConfigError({path}: {reason})")


class _LevelType(click.ParamType[str]):
    name = "|".join(LEVELS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        level = parse_level(value)
        if level is not None:
            return level
        if ctx is not None and ctx.get_parameter_source("log_level") is ParameterSource.ENVIRONMENT:
            return "info"  # RUST_LOG is not ours alone, and may say what means nothing here
        self.fail(f"{value!r} is none of {', '.join(LEVELS)}", param, ctx)


def log_options() -> list[click.Option]:
    """The options *log_level* and *log_format* of a program that runs for long; for `set_up_server_logging`."""
    return [
        click.Option(
            ["--log-level"],
            type=_LevelType(),
            envvar="RUST_LOG",
            help="Least level of what is logged, info by default. It goes before the variable RUST_LOG.",
        ),
        click.Option(
            ["--log-format"],
            type=click.Choice(FORMATS),
            help="Form of the lines of the log, text by default; json is one object in each line.",
        ),
    ]


class ServerCommand(OffsetCommand):
    """
    A command with the original's grammar, whose options may also stand in the file that ``--config`` names.

    Its options for logs are its own: the command does not see them.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += [
            *log_options(),
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path),
                is_eager=True,
                expose_value=False,
                callback=_read,
                help="TOML file with any of these options: keys are their long names. The command line goes before it.",
            ),
            click.Option(
                ["--check-config"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_note_check,
                help="Show the settings and where each comes from, check them, and exit.",
            ),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the command line, for when it is read again."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the server; with ``--check-config`` only show its settings."""
        if ctx.meta.get(_IS_CHECK):
            return _show(ctx)
        ctx.meta[_VALUES] = dict(ctx.params)
        set_up_server_logging(str(self.name), ctx.params.pop("log_level"), ctx.params.pop("log_format"))
        return super().invoke(ctx)


def reading_again(changes: Mapping[str, Change] | None = None) -> Callable[[], None] | None:
    """
    What reads the configuration file of the running command again; None where it has none.

    Args:
        changes: Of settings that count at once, besides those of the log.
    """
    ctx = click.get_current_context()
    file = ctx.meta.get(_FILE)
    if file is None:
        return None
    parameters = {key: str(option.name) for key, option in _settings(ctx.command).items()}
    values, arguments = ctx.meta[_VALUES], ctx.meta[_ARGUMENTS]
    return RunningSettings(ctx.command, arguments, file, values, parameters, changes or {}).read_again


def _note_check(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[_IS_CHECK] = value


def _settings(command: click.Command) -> dict[str, click.Option]:
    """The options that may stand in a file, by their keys."""
    return {
        param.opts[-1].removeprefix("--"): param
        for param in command.params
        if isinstance(param, click.Option) and param.expose_value
    }


def _read(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None or ctx.resilient_parsing:
        return
    settings = _settings(ctx.command)
    values: dict[str, Any] = {}
    for key, value in _load(path).items():
        option = settings.get(key)
        if option is None:
            near = difflib.get_close_matches(key, settings, n=1, cutoff=0)
            raise ConfigError(path, f"{key} is no setting of {ctx.command.name}; the nearest one is {near[0]}")
        values[str(option.name)] = _value(ctx, path, key, option, value)
    ctx.default_map = values
    ctx.meta[_FILE] = path


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(path, error.strerror or str(error)) from None
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigError(path, f"longer than {CONFIG_BYTES_MAX} bytes")
    try:
        return parse_toml(data)
    except InvalidInput as error:
        raise ConfigError(path, str(error)) from None


def _value(ctx: click.Context, path: Path, key: str, option: click.Option, value: Any) -> Any:
    """What the option would be given as on the command line; paths start at the directory of the file."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise ConfigError(path, f"{key} is true or false, such as {key} = true")
        return value
    words = value if option.multiple and isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words):
        form = f'a list of texts, such as {key} = ["NAME"]' if option.multiple else f'a text, such as {key} = "VALUE"'
        raise ConfigError(path, f"{key} is {form}")
    if isinstance(option.type, click.Path):
        is_url = option.type.is_url if isinstance(option.type, PathOrUrl) else lambda word: False
        words = [word if is_url(word) else str(path.parent / word) for word in words]
    given: Any = words if option.multiple else words[0]
    try:
        option.type_cast_value(ctx, given)
    except click.BadParameter as error:
        raise ConfigError(path, f"{key}: {error.message}") from None
    return given


def _show(ctx: click.Context) -> int:
    """Print each setting and where it comes from; 1 if a file or directory that is named is not there."""
    is_complete = True
    for key, option in _settings(ctx.command).items():
        value = ctx.params[str(option.name)]
        origin = _ORIGINS.get(ctx.get_parameter_source(str(option.name)) or ParameterSource.DEFAULT)
        if origin is None:
            click.echo(f"{key}: not set")
            continue
        missing = isinstance(value, Path) and not value.exists()
        is_complete = is_complete and not missing
        click.echo(f"{key}: {_text(value)} ({origin}{', not there' if missing else ''})")
    return 0 if is_complete else 1


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int):
        return format_host_port(*value)
    return ", ".join(value) if isinstance(value, tuple) else str(value)
