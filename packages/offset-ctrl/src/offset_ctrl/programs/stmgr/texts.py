"""The command of stmgr that turns files into texts, and texts into files. Spec 09 §4.3, 13."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from offset_ctrl.programs.stmgr.files import PATH, in_group
from offset_ctrl.programs.texts import TextOutput, file_of, load, read_given
from offset_proto.cli import OffsetCommand

if TYPE_CHECKING:
    from offset_proto.uri import Texted

__all__ = ["COMMANDS"]


@click.command("text", cls=OffsetCommand)
@click.argument("source")
@click.option("-o", "--output", type=PATH, help="Write a file; a QR code, where it ends with .svg or .png.")
@click.option("--qr", "as_qr", is_flag=True, help="Print a QR code.")
def _text(source: str, output: Path | None, *, as_qr: bool) -> None:
    """
    Turn a file into a text to hand over, or a text into a file.

    SOURCE is an invoice, friend ticket, commit, receipt or server's ticket: a file, a text (offset:...), or - for a
    text on standard input. Of a file the text is printed, and of a text what its file holds.
    """
    in_group("TextError", lambda: _convert(source, output, as_qr=as_qr))


def _convert(source: str, output: Path | None, *, as_qr: bool) -> None:
    from offset_ctrl.programs.qr_codes import PICTURES
    from offset_proto.uri import SCHEME, parse_uri

    is_text = source == "-" or source.lower().startswith(SCHEME)
    value = parse_uri(read_given(source)) if is_text else load(Path(source))
    is_picture = output is not None and output.suffix.lower() in PICTURES
    shown = TextOutput(
        as_text=not is_text and output is None and not as_qr, as_qr=as_qr, picture=output if is_picture else None
    )
    shown.check()
    if output is not None and not is_picture:
        kind, content = file_of(value)
        kind.save(output, content)
    elif is_text and not shown.is_wanted:
        kind, content = file_of(value)
        click.echo(kind.format(content))
    if is_text and not shown.is_wanted:
        _tell_rest(value)
    shown.show(value)


def _tell_rest(value: "Texted") -> None:
    """What a text says and its file does not."""
    from offset_ctrl.programs.texts import request_lines
    from offset_proto.uri import PaymentRequest

    if isinstance(value, PaymentRequest):
        for line in request_lines(value):
            click.echo(line, err=True)


COMMANDS = (_text,)
