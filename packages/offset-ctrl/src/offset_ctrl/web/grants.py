"""
What a token may do. Pure.

A token has scopes, and for each currency in which it may pay a limit for each day. They are written as a person enters
them, one text for each: ``read``, ``ask``, ``configure``, and ``pay:N:CURRENCY/day``.

===========  ===========================================================================================
`READ`       see the node, its friends and its history, and payments and invoices of all tokens
`ASK`        make invoices, cancel them, and collect with the buyer's commit
`PAY`        pay up to N credits of a currency on each day (UTC), fees included
`CONFIGURE`  change friends, limits, rates, relays and index servers
`ANYBODY`    what needs no token; no token has it, and everybody may
===========  ===========================================================================================

No scope contains another one. A token that may ask or pay and not read sees what was made with it, and nothing else.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from offset_proto.entered import parse_currency
from offset_proto.errors import InvalidInput
from offset_proto.text import parse_integer
from offset_proto.types import Currency, Integer

__all__ = ["EVERYTHING", "NOTHING", "READ_ONLY", "Grants", "Scope", "parse_grants"]

_DAILY_SUFFIX: Final = "/day"
_HOW: Final = "write read, ask, configure or pay:N:CURRENCY/day, such as pay:100:FST/day"


class Scope(enum.Enum):
    """One kind of thing that a token may do."""

    READ = "read"
    ASK = "ask"
    PAY = "pay"
    CONFIGURE = "configure"
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True)
class Grants:
    """
    What a token may do.

    Attributes:
        scopes: Without `PAY`, which follows from *daily*.
        daily: Credits of each currency that may be paid on one day, fees included.
        is_unlimited: It may pay whatever it likes; of the node's owner alone, and never of a token.
    """

    scopes: frozenset[Scope]
    daily: tuple[tuple[Currency, int], ...] = ()
    is_unlimited: bool = False

    def has(self, scope: Scope) -> bool:
        """Whether it may do things of this kind."""
        if scope is Scope.PAY:
            return self.is_unlimited or bool(self.daily)
        return scope in self.scopes

    def limit(self, currency: str) -> int:
        """Credits of *currency* that may be paid on one day; 0: none."""
        return dict[str, int](self.daily).get(currency, 0)

    def texts(self) -> list[str]:
        """What `parse_grants` reads."""
        plain = [scope.value for scope in Scope if scope in self.scopes]
        return plain + [f"pay:{amount}:{currency}{_DAILY_SUFFIX}" for currency, amount in self.daily]


READ_ONLY: Final = Grants(frozenset({Scope.READ}))
NOTHING: Final = Grants(frozenset())
EVERYTHING: Final = Grants(frozenset({Scope.READ, Scope.ASK, Scope.CONFIGURE}), is_unlimited=True)
"""What the owner of the node may do, in the wallet."""


def parse_grants(texts: Iterable[str]) -> Grants:
    """
    The grants that *texts* stand for.

    Raises:
        InvalidInput: One stands for nothing, a currency has two limits, or there is no text.
    """
    scopes: set[Scope] = set()
    daily: dict[Currency, int] = {}
    for text in texts:
        if text.startswith("pay:"):
            currency, amount = _parse_payment(text)
            if currency in daily:
                raise InvalidInput(f"there are two limits of {currency}")
            daily[currency] = amount
        elif text in ("read", "ask", "configure"):
            scopes.add(Scope(text))
        else:
            raise InvalidInput(f"{text[:80]!r} is nothing that a token may do; {_HOW}")
    if not scopes and not daily:
        raise InvalidInput(f"a token must be allowed to do something; {_HOW}")
    return Grants(frozenset(scopes), tuple(sorted(daily.items())))


def _parse_payment(text: str) -> tuple[Currency, int]:
    number, colon, rest = text.removeprefix("pay:").partition(":")
    if not colon or not rest.endswith(_DAILY_SUFFIX):
        raise InvalidInput(f"{text[:80]!r} has no currency or no /day; {_HOW}")
    try:
        amount = parse_integer(Integer(128), number)
        currency = parse_currency(rest.removesuffix(_DAILY_SUFFIX))
    except InvalidInput as error:
        raise InvalidInput(f"{text[:80]!r}: {error}; {_HOW}") from None
    if not amount:
        raise InvalidInput(f"{text[:80]!r} allows nothing; {_HOW}")
    return currency, amount
