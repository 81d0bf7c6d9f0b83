"""Options that several commands of stctrl have, and the forms of their values. Spec 09 §5."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from offset_proto.cli import U32_OPTION

if TYPE_CHECKING:
    from offset_proto.messages.payment import Rate

__all__ = ["CURRENCY", "JSON", "NAME", "PATH", "RATE", "SECONDS", "Decorator", "option", "timeout"]

PATH: Final = click.Path(path_type=Path)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(*names: str, **settings: Any) -> Decorator:
    """An option that is required, unless *settings* say otherwise."""
    settings = {"required": True, **settings}
    return click.option(*names, **settings)


class _Seconds(click.ParamType[int]):
    """A time as 30s, 10m, 1h or 2d, in seconds."""

    name = "time"
    _UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([0-9]{1,10})([smhd])", value)
        seconds = int(found[1]) * self._UNITS[found[2]] if found else 0
        if not 0 < seconds < 2**32:
            self.fail(f"{value!r} is no time from 1s to 49710d; write 30s, 10m, 1h or 2d", param, ctx)
        return seconds


class _Rate(click.ParamType["Rate"]):
    """A fee as MUL,ADD: a part of 2**32 of the amount, and credits."""

    name = "mul,add"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Rate":
        from offset_proto.messages.payment import Rate

        mul, comma, add = value.partition(",")
        if not comma:
            self.fail(f"{value!r} is no rate; write MUL,ADD, such as 0,2 for 2 credits", param, ctx)
        return Rate(*(U32_OPTION.convert(number, param, ctx) for number in (mul, add)))


SECONDS: Final = _Seconds()
RATE: Final = _Rate()


def timeout(seconds: int, text: str) -> Decorator:
    """The option --timeout, *seconds* by default; *text* says what of."""
    limits = click.FloatRange(min=0, max=31_536_000)  # a year
    return click.option("--timeout", type=limits, default=seconds, show_default=True, help=text)


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
NAME = option("-n", "--name", help="Local name.")
CURRENCY = option("-c", "--currency", help="Currency, at most 16 bytes.")
