"""
Texts on the command line: given to a command, printed by it, shown as QR codes. Spec 13, 09 §5.3.

A command that makes something for other people prints it with ``--text``, shows it with ``--qr``, and draws it with
``-o FILE``. A command that takes something of other people takes it with ``--text``: the text, or ``-`` for what is on
standard input. It is read before anything is done, and what is wrong with it is an error of the command line.
"""

import functools
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from offset_proto.errors import InvalidInput, OffsetError

if TYPE_CHECKING:
    from offset_proto.files import FileKind
    from offset_proto.uri import PaymentRequest, Texted

__all__ = [
    "QR_OUTPUT",
    "TEXT_OUTPUT",
    "TextOutput",
    "file_of",
    "load",
    "read_given",
    "request_lines",
    "take_output",
    "text_option",
]

_INPUT_BYTES_MAX: Final = 16 * 1024
"""More than a text and the white space of a mail have."""


def read_given(given: str) -> str:
    """
    What was given as a text: itself, or what is on standard input where it is ``-``.

    Raises:
        InvalidInput: Too much is there, or no UTF-8.
    """
    if given != "-":
        return given
    data = (
        sys.stdin.buffer.readline(_INPUT_BYTES_MAX) if sys.stdin.isatty() else sys.stdin.buffer.read(_INPUT_BYTES_MAX)
    )
    if len(data) == _INPUT_BYTES_MAX:
        raise InvalidInput(f"more than a text is on standard input: {_INPUT_BYTES_MAX} bytes or more")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"what is on standard input is not UTF-8 at byte {error.start}") from None


class _TextParameter(click.ParamType[Any]):
    """A text of a *kind* (spec 13 §1), or ``-``; its value is what the text stands for."""

    def __init__(self, kind: str) -> None:
        self.name = f"{kind} text"
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a usage error says what is wrong with the text."""
        if not isinstance(value, str):
            return value
        from offset_proto.uri import KINDS, parse_uri_of

        cls: Any = KINDS[self._kind]
        try:
            return parse_uri_of(cls, read_given(value))
        except InvalidInput as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class TextOutput:
    """
    How a command shows what it has made for others.

    Attributes:
        as_text: Print the text.
        as_qr: Print its QR code.
        picture: Write its QR code to this file, or None.
    """

    as_text: bool = False
    as_qr: bool = False
    picture: Path | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether anything is to be shown."""
        return self.as_text or self.as_qr or self.picture is not None

    def check(self) -> None:
        """
        Find out, before anything is done, whether it can be shown.

        Raises:
            OffsetError: segno is missing; or the picture has another ending than those of `PICTURES`, or is there.
        """
        from offset_ctrl.programs import qr_codes
        from offset_proto.files import OutputAlreadyExists

        if self.picture is not None:
            if self.picture.suffix.lower() not in qr_codes.PICTURES:
                raise OffsetError(f"a QR code is written to a file that ends with .svg or .png, not to {self.picture}")
            if self.picture.exists() or self.picture.is_symlink():
                raise OutputAlreadyExists(self.picture)
        if self.as_qr or self.picture is not None:
            qr_codes.check_available()

    def show(self, value: "Texted") -> None:
        """
        Show *value* as it is wanted. A terminal that is too narrow for its QR code gets the text.

        Raises:
            OffsetError: It is too long for a text, or the picture can not be written.
        """
        if not self.is_wanted:
            return
        from offset_ctrl.programs import qr_codes
        from offset_proto.files import save_bytes
        from offset_proto.uri import format_uri

        text = format_uri(value)
        columns = qr_codes.columns_of(text) if self.as_qr else 0
        is_too_wide = sys.stdout.isatty() and columns > shutil.get_terminal_size().columns
        if self.as_text or is_too_wide:
            click.echo(text)
        if is_too_wide:
            click.echo(f"The QR code needs a terminal of {columns} columns; -o FILE.png draws it.", err=True)
        elif self.as_qr:
            click.echo(qr_codes.for_terminal(text))
        if self.picture is not None:
            save_bytes(self.picture, qr_codes.picture(text, self.picture.suffix.lower()))


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _all(*options: Decorator) -> Decorator:
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


QR_OUTPUT: Final = _all(
    click.option("--qr", "as_qr", is_flag=True, help="Print it as a QR code."),
    click.option("-o", "--output", "picture", type=click.Path(path_type=Path), help="QR code: FILE.svg or FILE.png."),
)
"""The options of a `TextOutput` where the text is printed or not for another reason: *as_qr*, *picture*."""

TEXT_OUTPUT: Final = _all(
    click.option("--text", "as_text", is_flag=True, help="Print it as one line of text, to hand over."), QR_OUTPUT
)
"""The options of a `TextOutput`: *as_text*, *as_qr*, *picture*."""


def text_option(kind: str, name: str, instead_of: str) -> Decorator:
    """Something of other people, given as a text *instead of* another option."""
    text = f"The same as a text, offset:{kind}1..., or - for a text on standard input; instead of {instead_of}."
    return click.option("--text", name, type=_TextParameter(kind), metavar="TEXT", help=text)


def take_output(arguments: dict[str, Any]) -> TextOutput:
    """
    The output that the options in *arguments* ask for, which are taken out; checked.

    Who pays what is *asked* for in a text gets the commit as a text.

    Raises:
        OffsetError: As `TextOutput.check`.
        UsageError: JSON is asked for, too, which a text or QR code would spoil.
    """
    as_text = arguments.pop("as_text", False) or arguments.get("asked") is not None
    output = TextOutput(as_text, arguments.pop("as_qr"), arguments.pop("picture"))
    if arguments.get("as_json") and (output.as_text or output.as_qr):
        raise click.UsageError("--json prints JSON only, without --text and --qr", click.get_current_context())
    output.check()
    return output


def _file_kinds() -> "dict[str, tuple[str, FileKind[Any]]]":
    """By kind of text: a key that no other of these files has, and the kind of file."""
    from offset_proto import files

    return {
        "invoice": ("dest_public_key", files.INVOICE),
        "friend": ("relays", files.FRIEND_TICKET),
        "commit": ("dest_hashed_lock", files.COMMIT),
        "receipt": ("dest_plain_lock", files.RECEIPT),
        "server": ("address", files.TICKET),
    }


def load(path: Path) -> "Texted":
    """
    What a file stands for, of those that have a text; or what the text in it stands for.

    Raises:
        IoError: It can not be read.
        StringSerdeError: It is another file; says which have a text.
    """
    from offset_proto.files import StringSerdeError, read_text
    from offset_proto.message_json import parse_json
    from offset_proto.uri import SCHEME, PaymentRequest, parse_uri

    content = read_text(path)
    try:
        if content.lstrip().lower().startswith(SCHEME):
            return parse_uri(content)
        parsed = parse_json(content)
        keys = parsed.keys() if isinstance(parsed, dict) else ()
        found = [kind for key, kind in _file_kinds().values() if key in keys]
        if len(found) != 1:
            is_secret = any("rivateKey" in key for key in keys)
            reason = "this holds a private key, which is not handed over" if is_secret else "this is none of them"
            raise InvalidInput(
                f"an invoice, a friend ticket, a commit, a receipt and a server's ticket have a text; {reason}"
            )
        value = found[0].parse(content)
    except InvalidInput as error:
        raise StringSerdeError(path, error) from None
    return PaymentRequest(value) if found[0] is _file_kinds()["invoice"][1] else value


def file_of(value: "Texted") -> "tuple[FileKind[Any], Any]":
    """The kind of file that holds *value*, and what it holds of it."""
    from offset_proto.uri import PaymentRequest, kind_of

    _, kind = _file_kinds()[kind_of(value)]
    return kind, value.invoice if isinstance(value, PaymentRequest) else value


def request_lines(request: "PaymentRequest") -> list[str]:
    """What a payment request says beside its invoice, for people; control characters do not reach the terminal."""
    from offset_ctrl.programs.table import printable

    lines = []
    if request.description is not None:
        lines.append(f"For: {printable(request.description)}")
    if request.delivery is not None:
        lines.append(f"The seller takes the commit at {request.delivery}")
    if request.end is not None:
        lines.append(f"It ends at {_moment(request.end)}.")
    return lines


def _moment(seconds: int) -> str:
    """A time in seconds since 1970 as ISO 8601, in UTC; as it is where no calendar has it."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds after 1970"
