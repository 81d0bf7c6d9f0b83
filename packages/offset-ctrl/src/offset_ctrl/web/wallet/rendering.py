"""
Templates, and how amounts, times and keys are written on a page.

Jinja2 escapes whatever is put into a template, and a name that is missing there is an error. Nothing that comes from
elsewhere is ever marked as safe; the only markup that is made outside of a template is the QR code of a text.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from offset_proto.text import format_b64

__all__ = ["OFFLINE_PATH", "STATIC", "moment_text", "render", "render_service_worker"]

_PAGES: Final = Path(__file__).parent.parent / "pages"
STATIC: Final[dict[str, tuple[bytes, str]]] = {
    name: ((_PAGES / "static" / name).read_bytes(), media_type)
    for name, media_type in (
        ("wallet.css", "text/css"),
        ("wallet.js", "text/javascript"),
        ("camera.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
        ("icon-180.png", "image/png"),
        ("icon-192.png", "image/png"),
        ("icon-512.png", "image/png"),
        ("icon-maskable-512.png", "image/png"),
        ("wallet.webmanifest", "application/manifest+json"),
    )
}
"""What is served to everybody, with its media type."""

SHELL: Final = ("wallet.css", "wallet.js", "camera.js", "icon.svg")
"""What the page for a server that can not be reached needs, and every other one, too."""

OFFLINE_PATH: Final = "/offline"

_NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
_QUIET_ZONE: Final = 4  # ISO/IEC 18004 §6.3.8


def _amount(value: int | str) -> str:
    """Credits in groups of three digits; a minus is one."""
    number = int(value)
    return f"{'−' if number < 0 else ''}{abs(number):,}".replace(",", _NARROW)


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%-d %B %Y, %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds after 1970"


def moment_text(seconds: int) -> str:
    """A time in seconds since 1970 as ISO 8601, in UTC; empty where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def _short(key: bytes | str) -> str:
    """The ends of a key, for people to tell it from others."""
    text = format_b64(key) if isinstance(key, bytes) else key
    return f"{text[:6]}…{text[-4:]}"


def _b64(key: bytes) -> str:
    """A key or an id as text."""
    return format_b64(key)


def _percent(mul: int) -> str:
    """A rate in units of 1/2**32 as a share of 100, without digits that say nothing."""
    return f"{(Decimal(mul) * 100 / 2**32).quantize(Decimal('0.0001')).normalize():f}"


def _qr(text: str) -> Markup:
    """
    The QR code of a text, black on white whatever the page looks like.

    In upper case, which a code stores in fewer modules (spec 13 §1). It has attributes and no styles, since the content
    security policy lets no style of a page take effect.
    """
    import segno  # takes memory, and a server that only programs use shows no code

    code = segno.make_qr(text.upper(), mode="alphanumeric", error="l", boost_error=True)
    return Markup(code.svg_inline(border=_QUIET_ZONE, light="white", omitsize=True, svgclass="qr"))  # noqa: S704


def _address(name: str) -> str:
    """Where a browser gets something of `STATIC`; another address for other content, so that it may keep it."""
    return f"/static/{name}?v={hashlib.sha256(STATIC[name][0]).hexdigest()[:12]}"


_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_PAGES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    amount=_amount, moment=_moment, iso=moment_text, short=_short, b64=_b64, percent=_percent, qr=_qr
)
_ENVIRONMENT.globals["static"] = _address
_OUTSIDE: Final[dict[str, Any]] = {
    "nodes": [],
    "node": None,
    "base": None,
    "form_token": "",
    "problem": None,
    "away": None,
    "section": "",
}


def render(template: str, values: Mapping[str, Any]) -> str:
    """The page that *template* gives with *values*."""
    return _ENVIRONMENT.get_template(template).render({**_OUTSIDE, **values})


def render_service_worker() -> str:
    """
    The script that answers in the place of a server that can not be reached: with one page, and the files of that.

    It is another script whenever one of them is, and browsers then take the new one.
    """
    page = render("offline.html", {})
    version = hashlib.sha256("".join([page, *map(_address, SHELL)]).encode()).hexdigest()[:12]
    return render("service-worker.js", {"files": SHELL, "page": OFFLINE_PATH, "version": version})
