"""
A manual page for each program, made from its commands and options, so that none is forgotten.

    python tools/man_pages.py DIRECTORY

writes DIRECTORY/stnode.1 and so on, in the language of man(7). All packages must be installed. `tox -e docs` makes them
beside the site; a distribution puts them where its manual pages are. No wheel has them: pip installs programs into
environments that man does not look into, and a wheel would have to be built with all that the programs import.

click-man finds commands by entry points that are commands themselves, which ours are not, since a failure has to look
as the original's; and it makes some ninety pages of them.
"""

import importlib
import inspect
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click

__all__ = ["PROGRAMS", "load", "manual_page"]

PROGRAMS = {
    "stnode": "offset_node.cli:_stnode",
    "strelay": "offset_relay.cli:_strelay",
    "stindex": "offset_index.cli:_stindex",
    "stctrl": "offset_ctrl.programs.stctrl.cli:_stctrl",
    "stmgr": "offset_ctrl.programs.stmgr.cli:_stmgr",
    "stverify": "offset_ctrl.programs.stverify:_stverify",
    "stclear": "offset_ctrl.programs.stclear.cli:_stclear",
    "stcompact": "offset_ctrl.programs.stcompact.cli:_stcompact",
    "stweb": "offset_ctrl.programs.stweb.cli:_stweb",
}
"""Each program, and where its command is."""

_STATUS = """\
.SH EXIT STATUS
.TP
.B 0
What was asked for is done.
.TP
.B 1
It could not be done; the reason is one line on standard error.
.TP
.B 2
The command line was not understood.
.PP
What has further ones says so above."""


def load(place: str) -> click.Command:
    """The command at a place of `PROGRAMS`."""
    module, _, name = place.partition(":")
    command = getattr(importlib.import_module(module), name)
    assert isinstance(command, click.Command)
    return command


def manual_page(name: str, command: click.Command, origin: str, date: str) -> str:
    """
    The page of one program.

    Args:
        name: The program.
        command: What it does.
        origin: Its distribution and version.
        date: As YYYY-MM-DD.
    """
    context = click.Context(command, info_name=name, **command.context_settings)
    paragraphs = _paragraphs(command)
    in_short = re.split(r"[:;.]", paragraphs[0])[0]
    parts = [
        f'.TH {name.upper()} 1 "{date}" "{origin}" "Offset"',
        ".SH NAME",
        f"{name} \\- {_escaped(in_short)}",
        ".SH SYNOPSIS",
        _usage(context),
        ".SH DESCRIPTION",
        "\n.PP\n".join(map(_filled, paragraphs)),
        ".SH OPTIONS",
        *_options(context),
    ]
    if isinstance(command, click.Group):
        parts += [".SH COMMANDS", *_commands(context, command)]
    *others, last = (other for other in sorted(PROGRAMS) if other != name)
    parts += [_STATUS, ".SH SEE ALSO", *(f".BR {other} (1)," for other in others), f".BR {last} (1)"]
    return "\n".join(parts) + "\n"


def _commands(context: click.Context, group: click.Group) -> Iterator[str]:
    """Each command that does something, with the words that lead to it."""
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        inner = click.Context(command, info_name=word, parent=context, **command.context_settings)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f".SS {_escaped(inner.command_path)}"
            yield _usage(inner)
            for paragraph in _paragraphs(command):
                yield f".PP\n{_filled(paragraph)}"
            yield from _options(inner)
        if isinstance(command, click.Group):
            yield from _commands(inner, command)


def _paragraphs(command: click.Command) -> list[str]:
    return [" ".join(each.split()) for each in re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))]


def _usage(context: click.Context) -> str:
    pieces = _escaped(" ".join(context.command.collect_usage_pieces(context)))
    return f".B {_escaped(context.command_path)}\n{pieces}"


def _options(context: click.Context) -> Iterator[str]:
    for param in context.command.get_params(context):
        record = param.get_help_record(context)
        if record is not None:
            names, text = record
            yield f".TP\n.B {_escaped(names)}\n{_filled(' '.join(text.split()))}"


def _escaped(text: str) -> str:
    """One line that reads as *text*, whatever is in it."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _filled(text: str) -> str:
    """A paragraph in lines of which none is long."""
    return "\n".join(map(_escaped, textwrap.wrap(text, 70, break_long_words=False, break_on_hyphens=False)))


def main(arguments: list[str]) -> int:
    """Write the pages; returns the exit status."""
    if len(arguments) != 1:
        print("usage: man_pages.py DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    directory.mkdir(parents=True, exist_ok=True)
    # https://reproducible-builds.org/docs/source-date-epoch/
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    for name, place in PROGRAMS.items():
        package = place.partition(".")[0].replace("_", "-")
        page = manual_page(name, load(place), f"{package} {version(package)}", date)
        (directory / f"{name}.1").write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
