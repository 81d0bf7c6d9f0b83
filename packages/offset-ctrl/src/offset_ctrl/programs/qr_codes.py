"""
Texts as QR codes, in a terminal and as pictures. Spec 13 §1; ISO/IEC 18004.

A text goes into a code in upper case, which the code stores in its alphanumeric mode. The level of error correction is
the least, and a higher one where the code is no larger for it: a code on a screen or on clean paper is not damaged.

A terminal has no square modules, and nobody knows whether it is dark or light. So a character stands for two modules,
one above the other, and both colours are said. Where colours are taken away, in a file for instance, what is light is
drawn and what is dark is left, as it has to be on a dark ground.

Needs segno, which comes with the extra ``offset-ctrl[qr]``.
"""

import io
from typing import TYPE_CHECKING, Any, Final

import click

from offset_proto.errors import OffsetError

if TYPE_CHECKING:
    import segno

__all__ = ["PICTURES", "QrCodesUnavailable", "check_available", "columns_of", "for_terminal", "picture"]

PICTURES: Final = (".svg", ".png")
"""Endings of the files that can be written."""

_QUIET_ZONE: Final = 4
"""Modules of light around a code. ISO/IEC 18004 §6.3.8."""

_PIXELS: Final = 8
"""Of a picture, for each module."""

_HALF_BLOCKS: Final = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
"""By what is dark, above and below: light is drawn."""

_BLACK, _WHITE = 16, 231  # of the 256 colours, whose first 16 have other values in many terminals


class QrCodesUnavailable(OffsetError):
    """segno is not installed."""


def _segno() -> Any:
    try:
        import segno
    except ModuleNotFoundError:
        raise QrCodesUnavailable("QR codes need segno: pip install 'offset-ctrl[qr]'") from None
    return segno


def check_available() -> None:
    """Raises QrCodesUnavailable where segno is not installed."""
    _segno()


def _code(text: str) -> "segno.QRCode":
    code: segno.QRCode = _segno().make_qr(text.upper(), mode="alphanumeric", error="l", boost_error=True)
    return code


def columns_of(text: str) -> int:
    """How wide the code of a text is in a terminal."""
    return int(_code(text).symbol_size(border=_QUIET_ZONE)[0])


def for_terminal(text: str) -> str:
    """
    The code of a text in half blocks, with its quiet zone, black on white whatever the terminal's colours are.

    Raises:
        QrCodesUnavailable: segno is not installed.
    """
    rows = [[bool(module) for module in row] for row in _code(text).matrix_iter(border=_QUIET_ZONE)]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    lines = (
        "".join(_HALF_BLOCKS[pair] for pair in zip(above, below, strict=True))
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(click.style(line, fg=_WHITE, bg=_BLACK) for line in lines)


def picture(text: str, ending: str) -> bytes:
    """
    The code of a text, black on white with its quiet zone, as a file with one of the endings in `PICTURES`.

    Raises:
        QrCodesUnavailable: segno is not installed.
    """
    file = io.BytesIO()
    _code(text).save(file, kind=ending.removeprefix("."), scale=_PIXELS, border=_QUIET_ZONE, light="white")
    return file.getvalue()
