"""
A statement of account on paper: pages of A4, laid out as a bank's.

The first page of an account has a head: whose account it is, with whom, in which currency, of which period, and a box
with the sums. Then comes the table, whose titles are repeated on each page. If there are several accounts, a page with
all their sums comes first.

An amount may have 39 digits, and three columns of them are wider than the page. So columns get what their widest
amount needs, up to a bound; a longer amount goes on in the next line, between two groups of digits.

The letters are those of Noto Sans (Latin, Greek, Cyrillic, and digits that are equally wide), then those of FiraGO
(Arabic, Hebrew, Devanagari, Thai, Georgian). Both come with pymupdf-fonts, which is data and imports nothing of
PyMuPDF. Text that runs from right to left, or whose letters join, needs uharfbuzz. What no font has is shown by its
number, such as ``<U+4E2D>``, never left out: names are what tells accounts apart. Further fonts can be given, for
Chinese, Japanese and Korean first of all.

The extra ``offset-ctrl[pdf]`` brings all of that; without it, this module can not be imported.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import uharfbuzz  # noqa: F401  # fpdf2 goes on without it where it is missing, with letters that do not join
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.fonts import TTFFont
from pymupdf_fonts import FiraGO_Bold, FiraGO_Regular, NotoSans_Bold, NotoSans_Regular

from offset_ctrl.sdk.statement import AccountSheet, StatementSheet
from offset_proto.errors import InvalidInput

__all__ = ["ROWS_MAX", "build_pdf"]

ROWS_MAX: Final = 20_000
"""Entries of one PDF, some 500 pages. More of them are for a program to read, as CSV or JSON."""

_FONTS: Final = {"Noto": (NotoSans_Regular, NotoSans_Bold), "FiraGO": (FiraGO_Regular, FiraGO_Bold)}

_TEXT_MAX: Final = 400
"""Letters of a description or name; the rest is cut off, with three dots."""

_MARGIN: Final = 15.0
_BOTTOM: Final = 277.0
"""Where the table ends, in mm from the top; below it is the foot of the page."""
_WIDTH: Final = 180.0
_DATE: Final = 19.0
_AMOUNT_MIN, _AMOUNT_MAX = 21.0, 40.0
_LINE: Final = 4.2
_GREY, _PALE = 110, 238

_THIN_SPACE, _MINUS = "\u2009", "\u2212"


def build_pdf(sheet: StatementSheet, fonts: Sequence[Path] = ()) -> tuple[bytes, list[str]]:
    """
    The file, and the letters that no font has.

    Args:
        sheet: What it says.
        fonts: Files of fonts (TrueType or OpenType) that are used for letters which our own have not, in this order.

    Raises:
        InvalidInput: There are too many entries, or a file holds no font that can be used.
    """
    if (rows := sum(len(account.rows) for account in sheet.accounts)) > ROWS_MAX:
        raise InvalidInput(f"{rows} entries are too many for a PDF, which has {ROWS_MAX} at most: write CSV or JSON")
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of tables of Noto which no PDF needs
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(_Pages(sheet.made)) as pdf:
        for family, modules in _FONTS.items():
            for style, module in zip(("", "B"), modules, strict=True):
                path = Path(folder, f"{family}{style}.ttf")  # fpdf2 takes the names of files only
                path.write_bytes(module.fontbuffer)
                pdf.add_font(family, style, path)
        for number, path in enumerate(fonts):
            _add_font(pdf, f"font{number}", path)
        pdf.set_fallback_fonts(["FiraGO", *(f"font{number}" for number in range(len(fonts)))], exact_match=False)
        printer = _Printer(pdf, sheet)
        printer.print()
        return bytes(pdf.output()), sorted(printer.missing)


class _Pages(FPDF):
    """Pages with a foot."""

    def __init__(self, made: datetime) -> None:
        super().__init__(format="A4")
        self._made = f"Made on {made:%Y-%m-%d %H:%M} UTC from the history of the node"
        self.set_auto_page_break(False)
        self.set_margins(_MARGIN, _MARGIN)
        self.c_margin = 1
        self.set_creation_date(made)
        self.set_title("Statement of account")
        self.set_draw_color(190)
        self.set_line_width(0.2)

    def close(self) -> None:
        """Close the files of the fonts, which fpdf2 leaves open."""
        for font in self.fonts.values():
            if isinstance(font, TTFFont):
                font.ttfont.close()

    def use_font(self, size: float, style: str = "", *, grey: bool = False) -> None:
        """Write on with this size, in points, and style."""
        self.set_text_color(_GREY if grey else 0)
        self.set_font("Noto", style, size)

    def footer(self) -> None:
        """Called by fpdf2 when a page is full; the number of pages is put in when it is known."""
        self.set_xy(_MARGIN, 284)
        self.use_font(7, grey=True)
        self.cell(_WIDTH / 2, 4, self._made)
        self.set_x(_MARGIN + _WIDTH - 26)
        self.cell(26, 4, f"Page {self.page_no()} of {{nb}}")


def _add_font(pdf: FPDF, name: str, path: Path) -> None:
    try:
        TTFont(io.BytesIO(path.read_bytes())).close()  # fpdf2 leaves a file that is no font open
        pdf.add_font(name, "", path)
    except Exception as error:  # noqa: BLE001  # fontTools raises whatever a damaged file leads to
        raise InvalidInput(f"{path} is no font that can be used: {error or type(error).__name__}") from None


class _Printer:
    def __init__(self, pdf: _Pages, sheet: StatementSheet) -> None:
        self.missing: set[str] = set()
        self.pdf = pdf
        self._sheet = sheet
        self._closing = "Balance so far" if sheet.is_running else "Closing balance"
        self._period = f"{sheet.period}, so far ({sheet.made:%Y-%m-%d %H:%M} UTC)" if sheet.is_running else sheet.period
        self._letters = {letter for font in pdf.fonts.values() if isinstance(font, TTFFont) for letter in font.cmap}
        names = "".join([sheet.holder, *(account.friend + account.currency for account in sheet.accounts)])
        words = (row.words for account in sheet.accounts for row in account.rows)
        if any(letter >= "\u0300" and not "\u0370" <= letter < "\u0590" for text in (names, *words) for letter in text):
            pdf.set_text_shaping(True)  # Latin, Greek and Cyrillic do without, which is much quicker

    def print(self) -> None:
        accounts = self._sheet.accounts
        if len(accounts) != 1:
            self._print_overview()
        for account in accounts:
            self._print_account(account)

    def _print_overview(self) -> None:
        def start_page() -> None:
            self.pdf.add_page()
            self._head("Statement of accounts", [("Period", self._period)])

        accounts = self._sheet.accounts
        amounts = [n for a in accounts for n in (a.opening, a.received, a.paid, a.closing)]
        # Four columns of amounts leave room for names if none of them gets more than a fifth of the page.
        width = min(self._amount_width(amounts), _WIDTH / 5.6)
        table = _Table(self, [_WIDTH - 18 - 4 * width, 18, *[width] * 4], 2, start_page)
        start_page()
        closing = "So far" if self._sheet.is_running else "Closing"
        table.start(["Friend", "Currency", "Opening", "Received", "Paid", closing])
        for account in accounts:
            numbers = (account.opening, account.received, account.paid, account.closing)
            table.add([account.friend, account.currency, *map(_grouped, numbers)])
        if not accounts:
            table.add(["None", "", "", "", "", ""])
        if self._sheet.nothing:
            table.note(self._sheet.nothing)

    def _print_account(self, account: AccountSheet) -> None:
        pdf = self.pdf
        pdf.add_page()
        facts = [("Friend", account.friend), ("Friend's key", account.friend_key), ("Currency", account.currency)]
        self._head("Statement of account", [*facts, ("Period", self._period)])
        self._print_sums(account)
        amounts = [account.received, account.paid, account.opening, *(row.balance for row in account.rows)]
        width = self._amount_width(amounts)
        widths = [_DATE, _WIDTH - _DATE - 3 * width, *[width] * 3]
        table = _Table(self, widths, 2, lambda: self._start_next_page(account))
        table.start(["Date", "Description", "Received", "Paid", "Balance"])
        table.add(["", "Opening balance", "", "", _grouped(account.opening)], is_bold=True)
        for row in account.rows:
            changes = [_grouped(amount) if amount > 0 else "" for amount in (row.change, -row.change)]
            table.add([row.date, row.words, *changes, _grouped(row.balance)])
        sums = [_grouped(account.received), _grouped(account.paid), _grouped(account.closing)]
        table.add(["", self._closing, *sums], is_bold=True)
        table.note(
            "The balance is what this friend owes to the holder of the node; below zero, what the holder owes to this"
            " friend. Fees paid are a part of what was paid; fees earned were taken of payments that were passed on to"
            " this friend. Days are in UTC."
        )

    def _head(self, title: str, facts: Iterable[tuple[str, str]]) -> None:
        pdf, sheet = self.pdf, self._sheet
        pdf.set_y(_MARGIN)
        self.pdf.use_font(17, "B")
        pdf.cell(95, 9, title)
        pdf.set_x(_MARGIN + 95)
        self.pdf.use_font(10, "B")
        pdf.multi_cell(_WIDTH - 95, 5, self.visible(sheet.holder) or "Offset node", align="R", new_x="LMARGIN")
        self.pdf.use_font(7, grey=True)
        pdf.cell(_WIDTH, 4, sheet.node_key, align="R", new_x="LMARGIN", new_y="NEXT")
        pdf.set_y(max(pdf.get_y(), _MARGIN + 10) + 2)
        pdf.line(_MARGIN, pdf.get_y(), _MARGIN + _WIDTH, pdf.get_y())
        pdf.set_y(pdf.get_y() + 3)
        for name, value in facts:
            self.pdf.use_font(9, grey=True)
            pdf.cell(28, 5, name)
            self.pdf.use_font(9)
            pdf.multi_cell(_WIDTH - 28, 5, self.visible(value), align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.set_y(pdf.get_y() + 3)

    def _print_sums(self, account: AccountSheet) -> None:
        """A box with the sums of an account, three in a row."""
        pdf = self.pdf
        sums = [
            ("Opening balance", account.opening),
            ("Received", account.received),
            ("Fees paid", account.fees_paid),
            (self._closing, account.closing),
            ("Paid", account.paid),
            ("Fees earned", account.fees_earned),
        ]
        self.pdf.use_font(10, "B")
        width = _WIDTH / 3
        lines = [self.amount_lines(_grouped(value), width - 2) for _, value in sums]
        top = pdf.get_y()
        for first in (0, 3):
            height = 5 + 5 * max(len(cell) for cell in lines[first : first + 3]) + 2
            pdf.set_fill_color(_PALE)
            pdf.rect(_MARGIN, top, _WIDTH, height, style="F")
            for column in range(3):
                x = _MARGIN + column * width + 1
                self.pdf.use_font(7.5, grey=True)
                pdf.set_xy(x, top + 1)
                pdf.cell(width, 4, sums[first + column][0])
                self.pdf.use_font(10, "B")
                for number, line in enumerate(lines[first + column]):
                    pdf.set_xy(x, top + 5 + 5 * number)
                    pdf.cell(width, 5, line)
            top += height
        pdf.set_y(top + 5)

    def _start_next_page(self, account: AccountSheet) -> None:
        self.pdf.add_page()
        self.pdf.set_y(_MARGIN)
        self.pdf.use_font(8, grey=True)
        text = f"{account.friend} · {account.currency} · {self._period}"
        self.pdf.multi_cell(_WIDTH, 4, self.visible(text), align="L", new_x="LMARGIN", new_y="NEXT")
        self.pdf.set_y(self.pdf.get_y() + 2)

    def _amount_width(self, amounts: Iterable[int]) -> float:
        """In mm: as the widest of them needs, within bounds."""
        self.pdf.use_font(8, "B")
        widest = max((_grouped(amount) for amount in amounts), key=len, default="")
        return min(max(self.pdf.get_string_width(widest) + 3, _AMOUNT_MIN), _AMOUNT_MAX)

    def visible(self, text: str) -> str:
        """*text* within its limit; a letter that no font has is shown as its number, and remembered as missing."""
        short = text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "..."
        absent = {letter for letter in short if ord(letter) not in self._letters}
        self.missing |= absent
        for letter in absent:
            short = short.replace(letter, f"<U+{ord(letter):04X}>")
        return short

    def amount_lines(self, text: str, width: float) -> list[str]:
        """An amount in lines of *width* mm, which end between groups of digits."""
        groups = text.split(_THIN_SPACE)
        lines = [groups[0]]
        for group in groups[1:]:
            longer = f"{lines[-1]}{_THIN_SPACE}{group}"
            if self.pdf.get_string_width(longer) + 2 <= width:
                lines[-1] = longer
            else:
                lines.append(group)
        return lines

    def text_lines(self, text: str, width: float) -> list[str]:
        """A text in lines of *width* mm."""
        shown = self.visible(text)
        if self.pdf.get_string_width(shown) + 2 <= width:
            return [shown]
        found = self.pdf.multi_cell(width, _LINE, shown, align="L", dry_run=True, output="LINES")
        assert isinstance(found, list)
        return found


class _Table:
    """
    A table over as many pages as it needs.

    Args:
        printer: Whose pages it is on.
        widths: Of the columns, in mm.
        texts: The first so many columns are text, and the others amounts, which stand to the right.
        start_page: Begins the next page, down to where the table goes on.
    """

    def __init__(self, printer: _Printer, widths: list[float], texts: int, start_page: Callable[[], None]) -> None:
        self._printer = printer
        self._pdf = printer.pdf
        self._widths = widths
        self._texts = texts
        self._start_page = start_page
        self._titles: list[str] = []

    def start(self, titles: list[str]) -> None:
        """Print the titles, and again on each page that follows."""
        self._titles = titles
        self._pdf.use_font(8, "B")
        self._pdf.set_fill_color(_PALE)
        top = self._pdf.get_y()
        self._pdf.rect(_MARGIN, top, _WIDTH, 6, style="F")
        self._pdf.set_xy(_MARGIN, top)
        for column, (title, width) in enumerate(zip(titles, self._widths, strict=True)):
            self._pdf.cell(width, 6, title, align="L" if column < self._texts else "R")
        self._pdf.set_xy(_MARGIN, top + 6)

    def add(self, cells: list[str], *, is_bold: bool = False) -> None:
        """Print a row; it is never split."""
        printer, pdf = self._printer, self._pdf
        style = "B" if is_bold else ""
        pdf.use_font(8, style)
        lines = [
            printer.text_lines(cell, width) if column < self._texts else printer.amount_lines(cell, width)
            for column, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
        ]
        height = max(map(len, lines)) * _LINE + 1.6
        if pdf.get_y() + height > _BOTTOM:
            self._start_page()
            self.start(self._titles)
            pdf.use_font(8, style)
        top, x = pdf.get_y(), _MARGIN
        for column, (cell, width) in enumerate(zip(lines, self._widths, strict=True)):
            for number, line in enumerate(cell):
                pdf.set_xy(x, top + 0.8 + number * _LINE)
                pdf.cell(width, _LINE, line, align="L" if column < self._texts else "R")
            x += width
        pdf.line(_MARGIN, top + height, _MARGIN + _WIDTH, top + height)
        pdf.set_xy(_MARGIN, top + height)

    def note(self, text: str) -> None:
        """Print what explains the table, below it."""
        if self._pdf.get_y() + 14 > _BOTTOM:
            self._start_page()
        self._pdf.set_xy(_MARGIN, self._pdf.get_y() + 3)
        self._pdf.use_font(7, grey=True)
        self._pdf.multi_cell(_WIDTH, 3.6, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _grouped(amount: int) -> str:
    """An amount with a thin space between groups of three digits."""
    return f"{amount:,}".replace(",", _THIN_SPACE).replace("-", _MINUS)
